"""What requests of the matrices over the route table carry beside a path.

Belongs here: a good value for each parameter that some endpoint requires. An endpoint that does
not know it ignores it, so each may be given to all.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

NEEDED: Final = {"q": "b", "since": "0", "mode": "0644"}
QUERY: Final = urlencode(NEEDED)
