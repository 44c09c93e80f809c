"""What a terminal emulator shows, fed by `/ws` and by a plain pseudo-terminal: the same screen.

Oracle: pyte over `pty.fork`. The programs redraw themselves as editors and monitors do: cursor
addressing, scroll regions, 256 colours, the alternate screen, wide characters.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest
from tests.client import Client
from tests.serving import Target, serving
from tests.terminals import Ws, connected, terminal

COLS, ROWS = 100, 30
END = b"\x1b]0;drawn\x07"
SECONDS = 20.0

# Bars that change in place, colours, a region that scrolls, the other screen and back.
MONITOR = r"""
import sys, time
out = sys.stdout
def at(row, col, text): out.write(f"\x1b[{row};{col}H{text}")
out.write("\x1b[?1049h\x1b[2J\x1b[?25l")
for turn in range(60):
    for row in range(1, 9):
        size = (turn * row) % 40
        at(row, 1, f"{row:3d} [\x1b[3{row % 8}m{'|' * size}\x1b[0m\x1b[K")
        at(row, 47, f"{size * 2.5:5.1f}%]")
    at(10, 1, "\x1b[7m  PID USER      \u00dcbersicht \u65e5\u672c\u8a9e \x1b[0m\x1b[K")
    out.write(f"\x1b[12;25r\x1b[25;1Hline {turn} \x1b[1mbold\x1b[0m \x1b[4munder\x1b[0m\n\x1b[r")
    out.flush()
at(28, 1, "\x1b[?25hdone")
out.write("\x1b]0;drawn\x07"); out.flush()
time.sleep(600)
"""
COLOURS = r"""
import sys, time
for one in range(256):
    sys.stdout.write(f"\x1b[48;5;{one}m\x1b[38;5;{255 - one}m{one:4d}\x1b[0m")
    if one % 16 == 15: sys.stdout.write("\n")
for one in range(0, 256, 8):
    sys.stdout.write(f"\x1b[38;2;{one};{255 - one};128m#\x1b[0m")
sys.stdout.write("\x1b]0;drawn\x07"); sys.stdout.flush()
time.sleep(600)
"""
PROGRAMS: dict[str, list[str]] = {
    "a monitor": [sys.executable, "-c", MONITOR],
    "256 colours": [sys.executable, "-c", COLOURS],
}
VIM = ["vim", "-u", "NONE", "-N", "-i", "NONE", "-n", "-c", "syntax on", "-c", "set number"]
KEYS = [
    b"GO\xc3\xa4nderung\x1b",
    b"ggdd",
    b":set hlsearch\r",
    b"/line 7\r",
    b"3yyP",
    b":split\r",
    b"G",
]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with serving(tmp_path_factory.mktemp("screen")) as one:
        yield one


@pytest.fixture
def client(target: Target) -> Iterator[Client]:
    with target.client() as one:
        yield one


@pytest.fixture
def ws(target: Target) -> Iterator[Ws]:
    with connected(target) as one:
        yield one


def shown(output: bytes) -> list[list[tuple[object, ...]]]:
    """Every cell of the screen, with its colours."""
    screen = pyte.Screen(COLS, ROWS)
    # xterm's modes of its keyboard and questions about it change no screen, and pyte takes them
    # for colours.
    pyte.ByteStream(screen).feed(re.sub(rb"\x1b\[(>[0-9;]*[a-zA-Z]|\?[0-9;]*m)", b"", output))
    return [[tuple(screen.buffer[row][col]) for col in range(COLS)] for row in range(ROWS)]


class Plain:
    """A program on a pseudo-terminal of the test's own."""

    def __init__(self, words: list[str], cwd: Path) -> None:
        self.output = bytearray()
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(words[0], words, {**os.environ, "TERM": "xterm-256color"})
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLS, 0, 0))

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, bytes(self.output[-500:])
            if select.select([self.master], [], [], 0.05)[0]:
                self.output += os.read(self.master, 65536)

    def settle(self) -> None:
        """Reads until nothing has come for a while."""
        while select.select([self.master], [], [], 0.3)[0]:
            self.output += os.read(self.master, 65536)

    def end(self) -> None:
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        os.close(self.master)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_shows_the_same_as_on_a_plain_terminal(
    client: Client, ws: Ws, tmp_path: Path, name: str
) -> None:
    plain = Plain(PROGRAMS[name], tmp_path)
    try:
        plain.until(lambda: END in plain.output)
    finally:
        plain.end()
    with terminal(client, PROGRAMS[name], cols=COLS, rows=ROWS, cwd=str(tmp_path)) as one:
        ours = ws.until_seen(one["id"], END)
    assert shown(ours) == shown(bytes(plain.output))
    assert any(cell[0] not in (" ", "") for row in shown(ours) for cell in row)


@pytest.mark.skipif(shutil.which("vim") is None, reason="needs vim")
def test_vim_shows_the_same_as_on_a_plain_terminal(client: Client, ws: Ws, tmp_path: Path) -> None:
    text = "".join(f"int line_{n}(void) {{ return {n}; }} /* line {n} */\n" for n in range(1, 200))
    (tmp_path / "file.c").write_text(text)
    words = [*VIM, "file.c"]
    plain = Plain(words, tmp_path)
    try:
        plain.until(lambda: b"line_1" in plain.output)
        for keys in KEYS:
            plain.settle()
            os.write(plain.master, keys)
        plain.settle()
        wanted = shown(bytes(plain.output))
    finally:
        plain.end()
    with terminal(client, words, cols=COLS, rows=ROWS, cwd=str(tmp_path)) as one:
        ws.until_seen(one["id"], b"line_1")
        for keys in KEYS:
            ws.settle()
            ws.type(one["id"], keys)
        ws.settle()
        found = shown(ws.of(one["id"]))
    assert found == wanted
    assert any(cell[0] == "\u00e4" for row in found for cell in row)
