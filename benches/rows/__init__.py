"""The rows of the table, one function each, in the order they are printed.

Belongs here: what is promised, and beside what it is measured. Banned here: how anything is
timed or printed. Source of every promise: design, section 5.
"""

from __future__ import annotations

from typing import Final

from benches.bench import Row
from benches.rows import (
    commands,
    contents,
    floors,
    gateway,
    listing,
    million,
    proxied,
    search,
    small,
    stalled,
    terminals,
    transfer,
    watching,
)

ROWS: Final[dict[str, Row]] = {
    "floors": floors.floors,
    "stream": listing.stream,
    "stream-all": listing.stream_all,
    "light": listing.light,
    "node-modules": listing.node_modules,
    "tree": listing.tree,
    "million": million.million,
    "hash": contents.hashes,
    "hash-again": contents.hashes_again,
    "content": contents.content,
    "search": search.search,
    "search-stream": search.search_stream,
    "search-files": search.search_files,
    "small": small.small,
    "beside": small.beside,
    "stalled": stalled.stalled,
    "download": transfer.download,
    "upload": transfer.upload,
    "exec": commands.commands,
    "keystroke": terminals.keystroke,
    "watch": watching.watching,
    "proxy": proxied.proxied,
    "gateway": gateway.latency,
    "gateway-download": gateway.download,
    "gateway-sockets": gateway.sockets,
    "idle": small.idle,
}
