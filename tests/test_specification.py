"""SPECIFICATION.md names tests and benches; each must be there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"`((?:tests|benches|rust)/[\w/.-]+)(?:::(\w+))?`")


def test_every_named_proof_is_there() -> None:
    named = NAMED.findall((ROOT / "SPECIFICATION.md").read_text())
    assert len(named) > 50
    missing = []
    for path, test in named:
        file = ROOT / path
        if not file.exists() or (test and not re.search(rf"\b{test}\b", file.read_text())):
            missing.append(f"{path}::{test}")
    assert missing == []
