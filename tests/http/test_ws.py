"""`/ws`: hello, replay, frames in both directions, errors, the end.

Source: wire contract, section 7; reference, "Terminal Sessions", "WebSocket".
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.client import Client
from tests.commands import until
from tests.serving import Target, serving
from tests.terminals import (
    RAW,
    RefusedError,
    Ws,
    closed,
    connected,
    has_ended,
    opened,
    scrollback,
    terminal,
)
from tests.watchers import watch

MIB = 1 << 20
ECHO = ["sh", "-c", f"{RAW} exec cat"]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with serving(tmp_path_factory.mktemp("ws"), "--terminal-hangup-seconds=0.5") as one:
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


# --- coming in ---------------------------------------------------------------------------------


def test_hello_comes_first(target: Target, tmp_path: Path) -> None:
    with connected(target) as one, connected(target) as two:
        frames = [each.until_told(type="hello") for each in (one, two)]
        assert one.order[0] == frames[0]
    assert frames[0] == frames[1]
    instance = frames[0]["instance"]
    assert frames[0] == {
        "channel": "system",
        "type": "hello",
        "version": version("hutch"),
        "protocol_version": 1,
        "instance": instance,
    }
    with serving(tmp_path) as again, connected(again) as three:
        assert three.until_told(type="hello")["instance"] != instance


def test_the_token_may_come_in_the_query(target: Target) -> None:
    for path in ("/ws", "/runtimes/local/ws"):
        ws = Ws(target.port, f"{path}?token={target.token}")
        ws.until_told(type="hello")
        ws.close()


def test_a_bad_token_is_401_and_a_foreign_origin_403_before_the_upgrade(target: Target) -> None:
    good = {"Authorization": f"Bearer {target.token}"}
    for path, headers, status, code in (
        ("/ws", {}, 401, "unauthorized"),
        ("/ws?token=wrong", {}, 401, "unauthorized"),
        ("/ws", {"Authorization": "Bearer wrong"}, 401, "unauthorized"),
        ("/ws", good | {"Origin": "https://page.example"}, 403, "forbidden"),
    ):
        with pytest.raises(RefusedError) as refused:
            Ws(target.port, path, headers=headers)
        assert refused.value.status == status
        assert (refused.value.body["success"], refused.value.body["code"]) == (False, code)


def test_a_configured_origin_may_come_in(tmp_path: Path) -> None:
    with serving(tmp_path, "--allow-origin=https://page.example") as target:
        with connected(target, headers={"Origin": "https://page.example"}) as ws:
            ws.until_told(type="hello")


def test_replay_is_live_output_then_exits_of_ended_ones(target: Target, client: Client) -> None:
    with ExitStack() as stack:
        live = [
            stack.enter_context(terminal(client, ["sh", "-c", f"{RAW} seq 1 {n}; sleep 600"]))
            for n in (9, 20_000)
        ]
        ended = stack.enter_context(terminal(client, ["sh", "-c", "echo over; exit 4"]))
        until(lambda: has_ended(client, ended["id"]))
        until(lambda: scrollback(client, live[1]["id"], bytes=6) == b"20000\n")
        wanted = {int(one["id"]): scrollback(client, one["id"]) for one in live}
        with connected(target) as ws:
            ws.until_exit(ended["id"])
            assert ws.output == wanted
            kinds = [one["type"] if isinstance(one, dict) else one for one in ws.order]
            first, second = (int(one["id"]) for one in live)
            assert kinds == ["hello", first, *[second] * kinds.count(second), "exit"]
            assert ws.texts[-1] == {
                "channel": "terminal",
                "type": "exit",
                "id": ended["id"],
                "code": 4,
            }


def test_ready_of_watchers_comes_after_replay_and_exits(
    target: Target, client: Client, tree: Path
) -> None:
    events = watch(client, path=str(tree))
    with terminal(client, ECHO) as live, terminal(client, ["true"]) as ended:
        until(lambda: has_ended(client, ended["id"]))
        until(lambda: scrollback(client, live["id"]) == b"ready\n")
        with connected(target) as ws:
            ws.until_told(type="ready", watcher_id=events.id)
            kinds = [one["type"] if isinstance(one, dict) else one for one in ws.order]
            assert kinds == ["hello", int(live["id"]), "exit", "ready"]
    client.request("DELETE", f"/watchers/{events.id}")


def test_the_ring_is_replayed_exactly_and_output_goes_on_after_it(
    target: Target, client: Client
) -> None:
    """No byte is lost or doubled between replay and live, whenever the client comes."""
    script = "stty raw -echo; i=0; while :; do i=$((i+1)); echo $i; done"
    with terminal(client, ["sh", "-c", script]) as one:
        for _ in range(8):
            with connected(target) as ws:
                ws.until_size(one["id"], 100_000)
                numbers = ws.of(one["id"]).split(b"\n")[1:-1]
            found = [int(number) for number in numbers]
            assert found == list(range(found[0], found[0] + len(found)))


def test_a_terminal_opened_later_is_heard_from_its_start(client: Client, ws: Ws) -> None:
    with terminal(client, ["sh", "-c", "echo first; exit 3"]) as one:
        assert ws.until_exit(one["id"]) == 3
        assert ws.of(one["id"]) == b"first\r\n"


def test_every_connection_receives_everything(target: Target, client: Client) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(target)) for _ in range(20)]
        for one in clients:
            one.until_told(type="hello")
        session = stack.enter_context(terminal(client, ECHO))
        for one in clients:
            one.until_seen(session["id"], b"ready\n")
        for index, one in enumerate(clients):
            one.type(session["id"], f"<{index}>")
        for one in clients:
            one.until_size(session["id"], len("ready\n") + sum(len(f"<{n}>") for n in range(20)))
        assert len({one.of(session["id"]) for one in clients}) == 1


# --- input -------------------------------------------------------------------------------------


def test_input_reaches_the_terminal_and_its_echo_the_client(client: Client, ws: Ws) -> None:
    with terminal(client, ["sh", "-c", "read line; echo got $line"]) as one:
        ws.type(one["id"], "typed ä\n")
        ws.until_exit(one["id"])
        assert ws.of(one["id"]) == "typed ä\r\ngot typed ä\r\n".encode()


def test_a_message_may_be_4_mib_and_no_more(target: Target, client: Client, ws: Ws) -> None:
    script = f"{RAW} head -c {4 * MIB - 1} | sha256sum"
    with terminal(client, ["sh", "-c", script]) as one:
        ws.until_seen(one["id"], b"ready\n")
        paste = os.urandom(4 * MIB - 1)
        ws.type(one["id"], paste)
        ws.until_exit(one["id"])
        assert hashlib.sha256(paste).hexdigest().encode() in ws.of(one["id"])
        with connected(target) as other:
            other.until_told(type="hello")
            other.type(one["id"], paste + b"xx")
            assert other.until_closed() == 1009


@pytest.mark.parametrize("as_number", [False, True])
def test_resize_sets_the_size_and_sends_sigwinch(client: Client, ws: Ws, as_number: bool) -> None:
    script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done"
    with terminal(client, ["sh", "-c", script]) as one:
        ws.until_seen(one["id"], b"up")
        ws.resize(int(one["id"]) if as_number else one["id"], 160, 50)
        ws.until_seen(one["id"], b"50 160\r\n")
        listed = client.json("/terminals")["terminals"][0]
        assert (listed["cols"], listed["rows"]) == (160, 50)


def test_an_empty_binary_frame_is_ignored(client: Client, ws: Ws) -> None:
    with terminal(client, ECHO) as one:
        ws.until_seen(one["id"], b"ready")
        ws.binary(b"")
        ws.type(one["id"], b"")
        ws.type(one["id"], b"x")
        ws.until_seen(one["id"], b"readyx".replace(b"y", b"y\n"))
        assert not ws.told(type="error")


BAD_TEXTS: dict[str, tuple[str, str, str]] = {
    "no JSON": ("hello", "system", "JSON"),
    "nothing": ("", "system", "JSON"),
    "a list": ("[]", "system", "object"),
    "deep": ("[" * 100_000, "system", ""),
    "no channel": ("{}", "system", "channel"),
    "a watcher": ('{"channel":"watcher","type":"resize"}', "system", "watcher"),
    "no type": ('{"channel":"terminal"}', "terminal", "type"),
    "another type": ('{"channel":"terminal","type":"exit","id":"1"}', "terminal", "exit"),
    "no id": ('{"channel":"terminal","type":"resize","cols":1,"rows":1}', "terminal", "id"),
    "an odd id": (
        '{"channel":"terminal","type":"resize","id":[],"cols":1,"rows":1}',
        "terminal",
        "id",
    ),
    "an unknown id": (
        '{"channel":"terminal","type":"resize","id":"200","cols":1,"rows":1}',
        "terminal",
        "200",
    ),
    "a long id": (
        '{"channel":"terminal","type":"resize","id":"' + "9" * 1_000_000 + '","cols":1,"rows":1}',
        "terminal",
        "id",
    ),
    "a large id": (
        '{"channel":"terminal","type":"resize","id":' + "9" * 4000 + ',"cols":1,"rows":1}',
        "terminal",
        "id",
    ),
    "no size": ('{"channel":"terminal","type":"resize","id":"1"}', "terminal", "cols"),
    "size 0": ('{"channel":"terminal","type":"resize","id":"1","cols":0,"rows":1}', "terminal", "cols"),
    "size -1": ('{"channel":"terminal","type":"resize","id":"1","cols":1,"rows":-1}', "terminal", "rows"),
    "size 65536": (
        '{"channel":"terminal","type":"resize","id":"1","cols":65536,"rows":1}',
        "terminal",
        "cols",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_what_is_malformed_is_told_of_and_the_connection_lives(
    client: Client, ws: Ws, name: str
) -> None:
    text, channel, says = BAD_TEXTS[name]
    ws.text(text)
    frame = ws.until_told(type="error")
    assert frame["channel"] == channel
    assert says in frame["error"]
    assert len(json.dumps(frame)) < 1000
    with terminal(client, ["true"]) as one:
        ws.until_exit(one["id"])


def test_input_for_nobody_is_told_of(client: Client, ws: Ws) -> None:
    for number in (0, 77, 255):
        ws.binary(bytes((number,)) + b"x")
        frame = ws.until_told(type="error", id=str(number))
        assert (frame["channel"], frame["code"]) == ("terminal", "not_found")
    ended = opened(client, ["true"])
    ws.until_exit(ended["id"])
    ws.type(ended["id"], b"x")
    assert ws.until_told(type="error", id=ended["id"])["code"] == "conflict"
    closed(client, ended["id"])
    ws.type(ended["id"], b"x")
    assert ws.until_told(type="error", id=ended["id"], code="not_found")


@pytest.mark.parametrize("way", ["close frame", "end of the stream"])
def test_what_was_typed_before_the_client_left_arrives(
    target: Target, client: Client, way: str
) -> None:
    """Also where the server was sending to it at that moment."""
    for _ in range(5):
        with terminal(client, ECHO) as one:
            with connected(target) as ws:
                ws.until_seen(one["id"], b"ready")
                for index in range(100):
                    ws.type(one["id"], f"{index}.")
                if way == "close frame":
                    ws.goodbye()
                else:
                    ws.socket.shutdown(socket.SHUT_WR)
                ws.until_closed()
            wanted = "".join(f"{index}." for index in range(100)).encode()
            until(partial(_ends_with, client, one["id"], wanted))


def _ends_with(client: Client, identifier: str, wanted: bytes) -> bool:
    return scrollback(client, identifier).endswith(wanted)


# --- a shell's life ------------------------------------------------------------------------------


def test_ctrl_c_interrupts_the_foreground_and_not_the_shell(client: Client, ws: Ws) -> None:
    with terminal(client, ["bash", "--norc", "-i"], env={"PS1": "$ "}) as one:
        ws.until_seen(one["id"], b"$ ")
        ws.type(one["id"], "sleep 602; echo never\n")
        until(lambda: _in_foreground(b"sleep\x00602"))
        ws.type(one["id"], b"\x03")
        ws.until_seen(one["id"], b"^C")
        ws.type(one["id"], "echo code $?\n")
        assert b"code 130" in ws.until_seen(one["id"], b"code 130\r\n")


def test_job_control(client: Client, ws: Ws) -> None:
    with terminal(client, ["bash", "--norc", "-i"], env={"PS1": "$ "}) as one:
        ws.until_seen(one["id"], b"$ ")
        ws.type(one["id"], "sleep 601\n")
        until(lambda: _in_foreground(b"sleep\x00601"))
        ws.type(one["id"], b"\x1a")
        ws.until_seen(one["id"], b"Stopped")
        ws.type(one["id"], "bg\n")
        ws.until_seen(one["id"], b"sleep 601 &")
        ws.type(one["id"], "jobs -r\n")
        ws.until_seen(one["id"], b"Running")
        ws.type(one["id"], "kill %1; fg; echo done$((1+1))\n")
        ws.until_seen(one["id"], b"done2")
        ws.type(one["id"], b"exit 9\n")
        assert ws.until_exit(one["id"]) == 9


def _in_foreground(command: bytes) -> bool:
    """Whether such a command runs somewhere in the foreground of its terminal."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        fields = stat[stat.rfind(b")") + 2 :].split()
        if words.startswith(command) and fields[2] == fields[5]:
            return True
    return False


def test_a_hangup_is_told_as_an_exit(client: Client, ws: Ws) -> None:
    one = opened(client, ["cat"])
    closed(client, one["id"])
    assert ws.until_exit(one["id"]) == 129
    assert len(ws.told(type="exit", id=one["id"])) == 1


def test_all_output_comes_before_exit(client: Client, ws: Ws) -> None:
    for _ in range(10):
        with terminal(client, ["sh", "-c", f"{RAW} seq 1 5000"]) as one:
            ws.until_exit(one["id"])
            wanted = b"ready\n" + "".join(f"{n}\n" for n in range(1, 5001)).encode()
            assert ws.of(one["id"]) == wanted
            assert ws.order[-1]["type"] == "exit"  # type: ignore[index]


# --- the server's end ----------------------------------------------------------------------------


def test_at_shutdown_it_is_closed_with_1012(tmp_path: Path) -> None:
    with ExitStack() as stack:
        target = stack.enter_context(serving(tmp_path))
        with target.client() as client:
            opened(client, ["yes"])
        ws = stack.enter_context(connected(target))
        ws.until_told(type="hello")
        os.kill(target.pid, 15)
        assert ws.until_closed() == 1012


def test_a_replaced_token_closes_it_with_1008(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a" * 32)
    with serving(
        tmp_path / "server", f"--token-file={file}", environment={"HUTCH_TOKEN": ""}
    ) as one:
        ws = Ws(one.port, f"/ws?token={'a' * 32}")
        ws.until_told(type="hello")
        file.write_text("b" * 32)
        os.kill(one.pid, 1)
        assert ws.until_closed() == 1008
        ws.close()


def test_the_bounds_are_those_of_the_contract(client: Client) -> None:
    told = client.json("/limits")["limits"]
    wanted = {
        "terminals": 10, "terminals_ended": 20, "terminal_scrollback_bytes": 64 * 1024,
        "terminal_lag_bytes": MIB, "message_bytes": 4 * MIB, "socket_idle_seconds": 30,
        "ping_seconds": 20, "pong_seconds": 60, "terminal_frame_seconds": 0.004, "watchers": 5,
        "watch_debounce_seconds": 0.05, "watch_events": 65_536,
    }  # fmt: skip
    assert {name: told[name]["limit"] for name in wanted} == wanted


def test_capabilities_and_the_document_tell_of_it(client: Client) -> None:
    assert {"terminals", "ws"} <= set(client.json("/runtime")["capabilities"])
    document: Any = client.json("/openapi.json")
    assert "101" in document["paths"]["/ws"]["get"]["responses"]
    assert re.fullmatch(r"3\.1.*", document["openapi"])
