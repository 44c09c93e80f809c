"""`/ws` under load: whole output to whoever takes it, and nobody held up by whoever does not.

Source: wire contract, section 7, its second paragraph; issue of faults.
"""

from __future__ import annotations

import hashlib
import os
import random
import select
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.client import Client
from tests.commands import until
from tests.serving import Target, serving
from tests.sockets import memory_kib
from tests.terminals import (
    RAW,
    Ws,
    closed,
    connected,
    has_ended,
    opened,
    scrollback,
    terminal,
)
from wsproto.events import Ping

MIB = 1 << 20
# What no conversion of a terminal may touch: every byte, ten MiB that no two seeds share.
NOISE = (
    "import os, sys, random, tty\n"
    "tty.setraw(0)\n"
    "data = random.Random(int(sys.argv[1])).randbytes(int(sys.argv[2]))\n"
    "while data: data = data[os.write(1, data):]\n"
)
# Numbered lines: what is missing shows.
LINES = "stty raw -echo; i=0; while :; do i=$((i+1)); echo $i; done"
SMALL = 65_536


def noise(seed: int, size: int) -> list[str]:
    return [sys.executable, "-c", NOISE, str(seed), str(size)]


def digest_of(seed: int, size: int) -> str:
    return hashlib.sha256(random.Random(seed).randbytes(size)).hexdigest()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    options = ("--terminal-hangup-seconds=0.5", "--terminal-input-seconds=0.1")
    with serving(tmp_path_factory.mktemp("flow"), *options) as one:
        yield one
        assert "Traceback" not in one.log.read_text()


@pytest.fixture(scope="module")
def client(target: Target) -> Iterator[Client]:
    with target.client() as one:
        yield one


@pytest.fixture
def ws(target: Target) -> Iterator[Ws]:
    with connected(target) as one:
        one.until_told(type="hello")
        yield one


# --- every byte ----------------------------------------------------------------------------------


def test_ten_terminals_of_ten_mib_arrive_byte_for_byte(client: Client, ws: Ws) -> None:
    size = 10 * MIB
    with ExitStack() as stack:
        ids = [stack.enter_context(terminal(client, noise(n, size)))["id"] for n in range(10)]
        for one in ids:
            ws.until_exit(one, seconds=60)
        assert not ws.told(type="gap")
        for seed, one in enumerate(ids):
            assert hashlib.sha256(ws.of(one)).hexdigest() == digest_of(seed, size)


def test_a_paste_of_a_mib_arrives_whole(client: Client, ws: Ws) -> None:
    paste = os.urandom(MIB)
    for pieces in (1, 64):
        with terminal(client, ["sh", "-c", f"{RAW} head -c {MIB} | sha256sum"]) as one:
            ws.until_seen(one["id"], b"ready\n")
            for at in range(0, MIB, MIB // pieces):
                ws.type(one["id"], paste[at : at + MIB // pieces])
            ws.until_exit(one["id"])
            assert hashlib.sha256(paste).hexdigest().encode() in ws.of(one["id"])
    assert not ws.told(type="error")


def test_what_is_no_utf8_passes_also_split_between_frames(client: Client, ws: Ws) -> None:
    odd = "ä€😀".encode() + bytes(range(256)) + b"\xff\xc3" + "ä".encode()
    with terminal(client, ["sh", "-c", f"{RAW} exec cat"]) as one:
        ws.until_seen(one["id"], b"ready\n")
        for byte in odd:
            ws.type(one["id"], bytes((byte,)))
        ws.until_size(one["id"], len(b"ready\n" + odd))
        assert ws.of(one["id"]) == b"ready\n" + odd
        assert scrollback(client, one["id"]).endswith(odd)


# --- who does not read ---------------------------------------------------------------------------


def test_input_that_nobody_reads_is_refused_whole_and_told_of(client: Client, ws: Ws) -> None:
    """Nothing is lost in silence; other terminals on the connection go on."""
    piece = b"x" * MIB
    with terminal(client, ["sh", "-c", f"{RAW} exec cat"]) as other:
        ws.until_seen(other["id"], b"ready\n")
        stopped = opened(client, ["sh", "-c", f"{RAW} kill -STOP $$; cat"])
        ws.until_seen(stopped["id"], b"ready\n")
        taken = 0
        while not ws.told(type="error"):
            ws.type(stopped["id"], piece)
            ws.type(other["id"], b".")
            taken += 1
            ws.until_size(other["id"], len(b"ready\n") + taken)
        (error,) = ws.told(type="error")
        assert (error["channel"], error["id"], error["code"]) == (
            "terminal",
            stopped["id"],
            "timeout",
        )
        assert error["refused"] == MIB
        assert 4 <= taken - 1 <= 5
        # More of it holds up nobody: what has been refused once is refused at once.
        for more in range(1, 201):
            ws.type(stopped["id"], piece[:1000])
            ws.type(other["id"], b".")
            ws.until_size(other["id"], len(b"ready\n") + taken + more)
        small = 200 - len(ws.told(type="error", refused=1000))
        assert small < 200
        os.kill(_pid(b"kill -STOP $$; cat"), 18)
        wanted = b"ready\n" + piece * (taken - 1) + piece[: 1000 * small]
        ws.until_size(stopped["id"], len(wanted))
        ws.settle()
        assert ws.of(stopped["id"]) == wanted
        client.request("DELETE", f"/terminals/{stopped['id']}")


def _pid(script: bytes) -> int:
    """The process whose command line has this script in it."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if script in Path(f"/proc/{name}/cmdline").read_bytes() and int(name) != os.getpid():
                return int(name)
        except OSError:
            continue
    raise AssertionError("nobody runs it")


def counted(client: Client, identifier: str) -> int:
    """The last number that a terminal of LINES has written."""
    lines = scrollback(client, identifier, bytes=100).split(b"\n")
    return int(lines[-2]) if len(lines) > 1 else 0


def test_with_nobody_connected_it_is_read_freely(client: Client) -> None:
    with terminal(client, ["sh", "-c", LINES]) as one:
        before = counted(client, one["id"])
        until(lambda: counted(client, one["id"]) > before + 100_000, seconds=60)


def test_a_terminal_waits_for_the_only_client_it_has(target: Target, client: Client) -> None:
    with terminal(client, ["yes"], scrollback_size=1000) as one:
        with connected(target, buffer=SMALL) as ws:
            ws.until_told(type="hello")
            # It takes nothing: what the kernels hold and a part of what may be behind, no more.
            until(lambda: _stands_still(target))
            # It goes on: nothing was skipped meanwhile.
            ws.until_size(one["id"], 8 * MIB)
            assert not ws.told(type="gap")
            found = ws.of(one["id"])
            assert found[found.index(b"y") :].replace(b"y\r\n", b"") in (b"", b"y", b"y\r")


def _stands_still(target: Target) -> bool:
    """Whether the server has read nothing for a while."""

    def read() -> int:
        lines = Path(f"/proc/{target.pid}/io").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("rchar")).split()[1])

    before = read()
    time.sleep(0.2)
    return read() - before < 10_000


def test_the_fastest_client_sets_the_pace_and_a_slow_one_is_told_what_it_missed(
    target: Target, client: Client
) -> None:
    with connected(target, buffer=SMALL) as slow, connected(target) as fast:
        for each in (slow, fast):
            each.until_told(type="hello")
        size = 40 * MIB
        with terminal(client, noise(7, size)) as one:
            fast.until_exit(one["id"], seconds=60)
            assert not fast.told(type="gap")
            whole = fast.of(one["id"])
            assert hashlib.sha256(whole).hexdigest() == digest_of(7, size)
            slow.until_exit(one["id"], seconds=60)
            assert slow.told(type="gap", channel="terminal", id=one["id"])
            assert _with_gaps(slow, int(one["id"]), whole) == slow.of(one["id"])


def _with_gaps(ws: Ws, number: int, whole: bytes) -> bytes:
    """The output without what the client was told that it missed, where it was told so."""
    kept, taken, at = b"", 0, 0
    for offset, skipped in ws.gaps[number]:
        kept += whole[at : at + offset - taken]
        at += offset - taken + skipped
        taken = offset
    return kept + whole[at:]


def test_replay_does_not_count_as_backlog(target: Target, client: Client) -> None:
    ring = 4 * MIB
    script = f"stty raw -echo; head -c {ring} /dev/zero | tr '\\0' x; echo end; exec cat"
    with terminal(client, ["sh", "-c", script], scrollback_size=ring) as one:
        until(lambda: scrollback(client, one["id"], bytes=4) == b"end\n", seconds=60)
        with connected(target, buffer=SMALL) as slow, connected(target) as other:
            slow.until_told(type="hello")
            other.until_size(one["id"], ring)
            # Half of what it may be behind, and it has not even begun with the replay.
            other.type(one["id"], b"y" * (MIB // 2))
            other.until_size(one["id"], ring + MIB // 2)
            slow.until_size(one["id"], ring + MIB // 2)
            assert not slow.told(type="gap")
            assert slow.of(one["id"]) == b"x" * (ring - 4) + b"end\n" + b"y" * (MIB // 2)


def test_one_that_takes_nothing_is_closed_with_1013_and_nobody_else_notices(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, "--socket-idle-seconds=0.5") as target, target.client() as client:
        with connected(target, buffer=SMALL) as stuck, connected(target) as fine:
            fine.until_told(type="hello")
            echo = opened(client, ["sh", "-c", f"{RAW} exec cat"])
            fine.until_seen(echo["id"], b"ready\n")
            pouring = opened(client, ["yes"])
            deadline = time.monotonic() + 1.5
            typed = 0
            while time.monotonic() < deadline:
                typed += 1
                fine.type(echo["id"], b".")
                fine.until_size(echo["id"], len(b"ready\n") + typed)
            assert len(fine.of(pouring["id"])) > MIB
            assert not fine.told(type="gap")
            assert not fine.told(type="error")
            assert stuck.until_closed(seconds=60) == 1013
            fine.type(echo["id"], b"!")
            fine.until_seen(echo["id"], b"!")


def test_at_shutdown_one_that_does_not_read_finds_1012_when_it_does(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with serving(tmp_path) as target, target.client() as client:
            stuck = stack.enter_context(connected(target, buffer=SMALL))
            opened(client, ["yes"])
            until(lambda: _stands_still(target))
        # The server has ended, in time; what it sent lies in the kernel.
        assert stuck.until_closed() == 1012


def test_a_slow_client_is_not_one_that_takes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, "--socket-idle-seconds=0.5") as target, target.client() as client:
        with connected(target, buffer=4096) as slow:
            slow.until_told(type="hello")
            opened(client, ["yes"])
            deadline = time.monotonic() + 1.5
            while time.monotonic() < deadline:
                slow.socket.recv(8192)
                time.sleep(0.05)  # as a thin line would
            fresh = select.select([slow.socket], [], [], 5)[0]
            assert fresh
            assert client.json("/terminals")["terminals"][0]["alive"]
            # Frames still come: a close frame would be followed by the end of the stream.
            for _ in range(50):
                assert slow.socket.recv(8192)


def test_a_slow_client_is_not_one_that_answers_no_ping(tmp_path: Path) -> None:
    """Its answer comes after all that lies before the ping; until then it is seen to take that."""
    with serving(tmp_path, "--ping-seconds=0.1", "--pong-seconds=0.4") as target:
        with target.client() as client, connected(target, buffer=4096) as slow:
            slow.until_told(type="hello")
            opened(client, ["yes"])
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                slow.frames.receive_data(slow.socket.recv(8192))
                for event in slow.frames.events():
                    if isinstance(event, Ping):
                        slow.socket.sendall(slow.frames.send(event.response()))
                time.sleep(0.03)  # as a thin line would
            assert len(slow.socket.recv(8192)) > 0


def test_a_client_that_does_not_read_uses_up_no_ids(tmp_path: Path) -> None:
    """Sessions come and go beside it; it is told of each in the end, and of what it missed."""
    count = 270
    with serving(tmp_path) as target, target.client() as client:
        with connected(target, buffer=4096) as stuck:
            stuck.until_told(type="hello")
            pouring = opened(client, ["yes"])
            until(lambda: _stands_still(target))
            talking = []
            for _ in range(30):
                talking.append(opened(client, ["echo", "abc"])["id"])
                until(lambda: has_ended(client, talking[-1]))
                closed(client, talking[-1])
            ids = set(talking)
            for _ in range(count - len(talking)):
                ids.add(one := opened(client, ["true"])["id"])
                closed(client, one)
            assert len(ids) < count
            closed(client, pouring["id"])
            stuck.until(lambda: len(stuck.told(type="exit")) == count + 1, seconds=60)
            for one in talking[15:]:
                missed = sum(skipped for _, skipped in stuck.gaps.get(int(one), []))
                assert len(stuck.of(one)) + missed == len(b"abc\r\n")
            assert stuck.told(type="gap", id=talking[0])


def test_memory_is_bounded_whoever_does_not_read(target: Target, client: Client) -> None:
    with ExitStack() as stack:
        before = memory_kib(target)
        stuck = [stack.enter_context(connected(target, buffer=4096)) for _ in range(30)]
        fine = stack.enter_context(connected(target))
        fine.until_told(type="hello")
        for _ in range(3):
            stack.enter_context(terminal(client, ["yes"], scrollback_size=MIB))
        echo = stack.enter_context(terminal(client, ["sh", "-c", f"{RAW} exec cat"]))
        fine.until_seen(echo["id"], b"ready\n")
        for typed in range(1, 101):
            fine.type(echo["id"], b".")
            fine.until_size(echo["id"], len(b"ready\n") + typed)
        fine.until(
            lambda: all(
                len(one) > 4 * MIB for n, one in fine.output.items() if n != int(echo["id"])
            )
        )
        # Three rings with what may be behind: whoever listens costs a cursor and a frame.
        assert memory_kib(target) - before < 48 * 1024
        assert stuck


def test_a_flood_of_nonsense_is_answered_to_whoever_reads_and_costs_little(
    target: Target, client: Client, ws: Ws
) -> None:
    before = memory_kib(target)
    with connected(target) as flooding:
        for index in range(5000):
            flooding.text(f"nonsense {index}")
        with terminal(client, ["sh", "-c", "echo fine"]) as one:
            ws.until_exit(one["id"])
        assert memory_kib(target) - before < 16 * 1024
        flooding.until(lambda: len(flooding.told(type="error")) == 5000)


# --- frames --------------------------------------------------------------------------------------


def test_the_first_bytes_go_at_once_and_later_ones_are_gathered(tmp_path: Path) -> None:
    with serving(tmp_path, "--terminal-frame-seconds=2") as target, target.client() as client:
        with connected(target) as ws:
            ws.until_told(type="hello")
            script = "stty raw; echo a; for i in 1 2 3 4 5; do sleep 0.05; echo $i; done; sleep 600"
            with terminal(client, ["sh", "-c", script]) as one:
                ws.until_seen(one["id"], b"a\n")
                assert ws.of(one["id"]) == b"a\n"
                ws.until_seen(one["id"], b"5\n")
                assert ws.order.count(int(one["id"])) == 2


def test_sessions_that_ended_unheard_are_told_of_once(target: Target, client: Client) -> None:
    with ExitStack() as stack:
        one = stack.enter_context(terminal(client, ["sh", "-c", "exit 6"]))
        until(lambda: has_ended(client, one["id"]))
        ws = stack.enter_context(connected(target))
        assert ws.until_exit(one["id"]) == 6
        two = stack.enter_context(terminal(client, ["true"]))
        ws.until_exit(two["id"])
        assert len(ws.told(type="exit", id=one["id"])) == 1
