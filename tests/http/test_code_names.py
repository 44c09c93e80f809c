"""What counts as code: the published table, listings and stat say the same.

Oracle: the table in SPECIFICATION.md. Source: wire contract, section 2, "List and stream".
"""

from __future__ import annotations

import re
from pathlib import Path

from tests import trees
from tests.client import Client

ROOT = Path(__file__).parent.parent.parent
HEADING = "## What counts as code\n"


def published() -> tuple[list[str], list[str], list[str]]:
    """Extensions, names, stems."""
    section = (ROOT / "SPECIFICATION.md").read_text().partition(HEADING)[2].partition("\n## ")[0]
    tables = [part for part in section.split("\n\n") if re.fullmatch(r"(`[^`]+`\s*)+", part)]
    extensions, names, stems = (re.findall(r"`([^`]+)`", part) for part in tables)
    return extensions, names, stems


def test_what_is_published_is_what_is_kept(client: Client, tree: Path) -> None:
    extensions, names, stems = published()
    code = {f"x.{one}" for one in extensions} | set(names) | {f"{one}.dev" for one in stems}
    code |= {one.upper() for one in code}
    other = {
        "x.png",
        "x.exe",
        "x.o",
        "x",
        "x.",
        ".x",
        "readme",
        "makefile-old",
        "x.gitignore",
        "cc",
    }
    trees.build(tree, dict.fromkeys(code | other, ""))
    (tree / "directory.py").mkdir()
    (tree / "link.py").symlink_to("x.py")
    trees.make_fifo(tree / "fifo.py")
    kept = {one["name"] for one in client.entries(path=tree, code_files_only=True)}
    assert kept == code
    for name in (*sorted(other), *sorted(code)[::20], "directory.py", "link.py", "fifo.py"):
        assert client.json("/files/stat", path=tree / name)["is_code"] == (name in code), name


def test_the_published_table_is_the_one_in_use() -> None:
    source = (ROOT / "rust/core/src/names.rs").read_text()
    for table, name in zip(published(), ("CODE_EXTENSIONS", "CODE_NAMES", "STEMS"), strict=True):
        match = re.search(rf"{name}: &\[&str\] = &\[(.*?)\];", source, re.DOTALL)
        assert match is not None
        assert re.findall(r'"([^"]+)"', match[1]) == table
