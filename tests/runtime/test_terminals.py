"""What terminals are made of, each by itself: numbers, the ring.

Source: wire contract, section 5.
"""

from __future__ import annotations

import os
import tracemalloc
from contextlib import suppress

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hutch.runtime.processes.surroundings import login_shell
from hutch.runtime.terminals.ids import Ids
from hutch.runtime.terminals.keyboard import Keyboard
from hutch.runtime.terminals.scrollback import Scrollback


def test_ids_are_1_to_255_and_reused_as_late_as_possible() -> None:
    ids = Ids()
    kept = ids.take()
    given_out = []
    for _ in range(300):
        number = ids.take()
        assert number is not None
        given_out.append(number)
        ids.give_back(number)
    assert kept == 1
    # Each other one first; then the one that has been free for longest.
    assert given_out == [2 + one % 254 for one in range(300)]


def test_when_every_id_is_in_use_there_is_none() -> None:
    ids = Ids()
    assert {ids.take() for _ in range(255)} == set(range(1, 256))
    assert ids.take() is None


@pytest.mark.parametrize(
    ("shell", "wanted"),
    [
        ("/bin/sh", "/bin/sh"),
        ("/nothing/here", "/bin/bash"),
        ("", "/bin/bash"),
        (None, "/bin/bash"),
    ],
)
def test_the_shell_is_the_servers_else_bash(
    monkeypatch: pytest.MonkeyPatch, shell: str | None, wanted: str
) -> None:
    if shell is None:
        monkeypatch.delenv("SHELL", raising=False)
    else:
        monkeypatch.setenv("SHELL", shell)
    assert login_shell() == wanted


def test_without_bash_the_shell_is_sh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/nothing/here")
    monkeypatch.setattr(os, "access", lambda path, _mode: path == "/bin/sh")
    assert login_shell() == "/bin/sh"


async def test_input_that_waits_costs_what_it_holds_however_small_its_messages() -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    most = 200_000
    keyboard, held = Keyboard(writer, most), b""
    with suppress(BlockingIOError):
        while True:
            held += bytes(os.write(writer, bytes(4096)))
    tracemalloc.start()
    typed = bytes(number % 251 for number in range(most))
    before = tracemalloc.get_traced_memory()[0]
    for at in range(most):
        keyboard.type(typed[at : at + 1])
    assert tracemalloc.get_traced_memory()[0] - before < 4 * most
    tracemalloc.stop()
    assert keyboard.waiting == most
    assert not await keyboard.until_room(1, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keyboard.feed)
        found = b""
        while len(found) < len(held) + most:
            await trio.lowlevel.wait_readable(reader)
            found += os.read(reader, 1 << 20)
        keyboard.close()
    assert found[len(held) :] == typed
    os.close(reader)
    os.close(writer)


PIECES = st.lists(st.binary(max_size=200_000), max_size=8)


@given(pieces=PIECES, size=st.integers(1, 300_000), behind=st.integers(0, 100_000))
def test_the_ring_is_the_end_of_what_was_written(
    pieces: list[bytes], size: int, behind: int
) -> None:
    kept, whole, cursor = Scrollback(size), b"", 0
    for piece in pieces:
        kept.append(piece)
        whole += piece
        cursor = max(cursor, len(whole) - behind)
        kept.trim([cursor])
        assert kept.total == len(whole)
        assert kept.tail(None) == whole[-size:]
        assert kept.tail(size // 2) == whole[len(whole) - min(size // 2, len(whole)) :]
        assert kept.read(cursor, behind) == whole[cursor : cursor + behind]
        # No more is held than the ring, what a cursor needs, and some slack.
        assert kept.total - kept.start <= max(size, len(whole) - cursor) + 64 * 1024
