"""Terminals over HTTP: opened, listed, closed, read again.

Source: wire contract, section 5; reference, "Terminal Sessions".
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.client import Client
from tests.commands import is_alive, marked, until
from tests.serving import Target, serving
from tests.terminals import closed, connected, has_ended, opened, scrollback, terminal

OPTIONS = ("--terminal-hangup-seconds=0.5", "--exec-stop-seconds=0.5")
WITHOUT_CGROUPS = ["unshare", "-m", "sh", "-c", 'umount -l -a -t cgroup2; exec "$@"', "sh"]
MIB = 1 << 20


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("terminals")


@pytest.fixture(scope="module")
def target(place: Path) -> Iterator[Target]:
    with serving(place / "server", *OPTIONS, f"--cwd={place}") as one:
        yield one


@pytest.fixture(scope="module")
def client(target: Target) -> Iterator[Client]:
    with target.client() as one:
        yield one


def said(client: Client, script: str, **body: Any) -> str:
    """What a script says to its terminal, once it has ended; lines end with CR LF there."""
    with terminal(client, ["sh", "-c", script], **body) as one:
        until(lambda: has_ended(client, one["id"]))
        return scrollback(client, one["id"]).decode().replace("\r\n", "\n")


# --- opening -----------------------------------------------------------------------------------


def test_a_session_has_every_documented_field(client: Client) -> None:
    with terminal(client, ["/bin/bash"], cols=120, rows=40) as one:
        assert one.pop("success") is True
        documented = {"command": ["/bin/bash"], "cols": 120, "rows": 40, "alive": True}
        assert documented.items() <= one.items()
        assert one["exit_code"] == 0
        assert 1 <= int(one["id"]) <= 255
        time.strptime(one["created_at"], "%Y-%m-%dT%H:%M:%SZ")
        # For the command line of the package.
        assert (one["shell"], one["status"]) == ("/bin/bash", "running")
        assert client.json("/terminals") == {"success": True, "terminals": [one]}


def test_the_default_is_a_shell_of_80_by_24(client: Client) -> None:
    shell = os.environ.get("SHELL") or "/bin/bash"
    for body in ({}, {"cmd": None, "cols": None, "env": None}):
        with terminal(client, **body) as one:
            assert (one["command"], one["cols"], one["rows"]) == ([shell], 80, 24)
            assert one["scrollback_size"] == 64 * 1024


@pytest.mark.parametrize("body", [{"cmd": ["cat"]}, {"command": ["cat"]}, {"shell": "cat"}])
def test_cmd_has_an_alias_and_a_short_form(client: Client, body: dict[str, Any]) -> None:
    with terminal(client, **body) as one:
        assert one["command"] == ["cat"]


def test_a_string_is_for_the_shell(client: Client) -> None:
    with terminal(client, "echo $((40 + 2))") as one:
        assert one["command"] == ["/bin/sh", "-c", "echo $((40 + 2))"]
        until(lambda: has_ended(client, one["id"]))
        assert scrollback(client, one["id"]) == b"42\r\n"


def test_it_is_a_real_terminal(client: Client) -> None:
    script = "tty; test -t 0 && test -t 1 && test -t 2 && echo three; echo hi >/dev/tty; stty size"
    name, *rest = said(client, script, cols=100, rows=33).splitlines()
    assert name.startswith("/dev/pts/")
    assert rest == ["three", "hi", "33 100"]


def test_its_leader_leads_session_and_foreground(client: Client) -> None:
    # pid, process group, session, foreground group: all one.
    told = said(client, "exec sh -c 'cut -d\" \" -f1,5,6,8 /proc/$$/stat'").split()
    assert len(told) == 4
    assert len(set(told)) == 1


def test_it_has_descriptors_0_to_2_and_no_others(client: Client) -> None:
    # The last is the directory that `ls` reads.
    assert said(client, "exec ls /proc/self/fd").split() == ["0", "1", "2", "3"]


def test_term_cwd_and_env(client: Client, place: Path, tmp_path: Path) -> None:
    script = 'echo "$TERM $PWD $A$B"; pwd'
    assert said(client, script).splitlines() == [f"xterm-256color {place} ", str(place)]
    told = said(client, script, cwd=str(tmp_path), env={"A": "ä", "B": "=", "TERM": "dumb"})
    assert told.splitlines() == [f"dumb {tmp_path} ä=", str(tmp_path)]


def test_no_other_terminals_size_is_believed(tmp_path: Path) -> None:
    with serving(tmp_path, environment={"COLUMNS": "7", "LINES": "7", "SHELL": ""}) as target:
        with target.client() as client:
            assert said(client, "echo ${COLUMNS-} ${LINES-} $SHELL") == "/bin/bash\n"
            assert said(client, "echo $COLUMNS $SHELL", env={"COLUMNS": "9"}) == "9 /bin/bash\n"


def test_the_servers_own_variables_stay_its_own(client: Client, target: Target) -> None:
    assert "HUTCH" not in said(client, "env")
    assert target.token not in said(client, "tr '\\0' '\\n' < /proc/$PPID/environ")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no columns": ({"cols": 0}, "cols"),
    "less than none": ({"cols": -1}, "cols"),
    "too many columns": ({"cols": 1001}, "cols"),
    "a word's worth of columns": ({"cols": 65_536}, "cols"),
    "no rows": ({"rows": 0}, "rows"),
    "less than no rows": ({"rows": -1}, "rows"),
    "too many rows": ({"rows": 65_536}, "rows"),
    "columns as text": ({"cols": "80"}, "cols"),
    "half a column": ({"cols": 80.5}, "cols"),
    "an empty command": ({"cmd": []}, "cmd"),
    "an empty word": ({"cmd": [""]}, "cmd"),
    "a blank shell": ({"shell": " "}, "cmd"),
    "a number for a word": ({"cmd": [1]}, "cmd"),
    "NUL": ({"cmd": ["a\0"]}, "cmd"),
    "NUL in env": ({"env": {"A": "\0"}}, "env"),
    "no name": ({"env": {"": "a"}}, "env"),
    "no variable's name": ({"env": {"a=b": "c"}}, "env"),
    "a relative directory": ({"cwd": "a"}, "cwd"),
    "a missing directory": ({"cwd": "/nothing/is/here"}, "cwd"),
    "a file for a directory": ({"cwd": "/etc/passwd"}, "cwd"),
    "no ring": ({"scrollback_size": 0}, "scrollback_size"),
    "too large a ring": ({"scrollback_size": 4 * MIB + 1}, "scrollback_size"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_400_and_names_what_is_bad(client: Client, name: str) -> None:
    body, field = BAD[name]
    told = client.failure("POST", "/terminals", 400, body=body)
    assert told["code"] == "bad_request"
    assert field in told["error"]
    assert client.json("/terminals")["terminals"] == []


@pytest.mark.parametrize(("cols", "rows"), [(1, 1), (1000, 1000), (1, 1000)])
def test_the_bounds_are_taken(client: Client, cols: int, rows: int) -> None:
    assert said(client, "stty size", cols=cols, rows=rows) == f"{rows} {cols}\n"


def test_a_shell_that_is_not_there_is_500_and_named(client: Client, place: Path) -> None:
    for cmd, says in (
        (["/bin/nosuchshell"], "executable not found: /bin/nosuchshell"),
        (["nosuchshell", "-l"], "executable not found: nosuchshell"),
        (["/etc/passwd"], "may not be executed"),
    ):
        told = client.failure("POST", "/terminals", 500, body={"cmd": cmd})
        assert says in told["error"]
    assert client.json("/terminals")["terminals"] == []


def test_the_eleventh_live_session_is_429(client: Client) -> None:
    ended = opened(client, ["true"])
    until(lambda: has_ended(client, ended["id"]))
    ids = [opened(client, ["cat"])["id"] for _ in range(10)]
    told = client.failure("POST", "/terminals", 429, body={"cmd": ["cat"]})
    assert (told["code"], "10" in told["error"]) == ("rate_limited", True)
    closed(client, ids.pop())
    ids.append(opened(client, ["cat"])["id"])
    for one in [*ids, ended["id"]]:
        closed(client, one)


# --- ids ---------------------------------------------------------------------------------------


def test_a_freed_id_is_not_reused_soon(client: Client) -> None:
    """That it is the last of all: `tests/runtime/test_terminals.py`."""
    ids = [opened(client, ["true"])["id"]]
    for _ in range(10):
        closed(client, ids[-1])
        ids.append(opened(client, ["true"])["id"])
    closed(client, ids[-1])
    assert len(set(ids)) == 11


@pytest.mark.parametrize(
    "odd", ["0", "256", "-1", "01", "01x", "abc", "99", "1.0", "%31%00", "1" * 300]
)
def test_an_unknown_id_is_404(client: Client, odd: str) -> None:
    for method, path in (("DELETE", f"/terminals/{odd}"), ("GET", f"/terminals/{odd}/scrollback")):
        assert client.failure(method, path, 404)["code"] == "not_found"


def test_a_missing_id_is_400(client: Client) -> None:
    assert "id: missing" in client.failure("DELETE", "/terminals/", 400)["error"]


def test_other_methods_are_405(client: Client) -> None:
    for method, path in (("PUT", "/terminals"), ("POST", "/terminals/1"), ("PUT", "/ws")):
        assert client.failure(method, path, 405)["code"] == "method_not_allowed"


# --- ended sessions ----------------------------------------------------------------------------

ENDS = {"exit 0": 0, "exit 7": 7, "kill -9 $$": 137, "kill -HUP $$": 129}


@pytest.mark.parametrize("script", ENDS)
def test_an_ended_session_stays_listed_with_its_code(client: Client, script: str) -> None:
    with terminal(client, ["sh", "-c", f"echo last; {script}"]) as one:
        until(lambda: has_ended(client, one["id"]))
        (told,) = client.json("/terminals")["terminals"]
        assert (told["alive"], told["exit_code"], told["status"]) == (False, ENDS[script], "exited")
        assert client.json(f"/terminals/{one['id']}/scrollback")["exit_code"] == ENDS[script]
        assert scrollback(client, one["id"]) == b"last\r\n"
    assert client.json("/terminals")["terminals"] == []


def test_at_most_20_ended_ones_stay_the_oldest_goes_first(client: Client) -> None:
    with terminal(client, ["cat"]) as alive:
        ids = []
        for _ in range(22):
            ids.append(opened(client, ["true"])["id"])
            until(lambda: has_ended(client, ids[-1]))
        listed = [one["id"] for one in client.json("/terminals")["terminals"]]
        assert listed == [alive["id"], *ids[2:]]
        for one in ids[2:]:
            closed(client, one)


# --- scrollback --------------------------------------------------------------------------------


def test_the_ring_holds_the_last_bytes(client: Client) -> None:
    script = "stty raw -echo; seq 1 100000; sleep 600"
    whole = "".join(f"{one}\n" for one in range(1, 100_001)).encode()
    with terminal(client, ["sh", "-c", script]) as one:
        until(lambda: scrollback(client, one["id"], bytes=7) == b"100000\n")
        assert scrollback(client, one["id"]) == whole[-64 * 1024 :]
        for size in (0, 1, 1000, 64 * 1024, 10**9):
            wanted = whole[-min(size, 64 * 1024) :] if size else b""
            assert scrollback(client, one["id"], bytes=size) == wanted


@pytest.mark.parametrize("size", [1, 1000, 4 * MIB])
def test_the_ring_is_as_large_as_asked(client: Client, size: int) -> None:
    script = f"stty raw -echo; head -c {5 * MIB} /dev/zero | tr '\\0' x; printf end; sleep 600"
    with terminal(client, ["sh", "-c", script], scrollback_size=size) as one:
        assert one["scrollback_size"] == size
        end = b"end"[-size:]
        until(lambda: scrollback(client, one["id"], bytes=3) == end)
        assert scrollback(client, one["id"]) == (b"x" * size + b"end")[-size:]


def test_bytes_that_are_no_utf8_are_exact_in_base64_and_replaced_in_content(client: Client) -> None:
    with terminal(client, ["sh", "-c", r"stty raw; printf '\377\303\244\303'"]) as one:
        until(lambda: has_ended(client, one["id"]))
        told = client.json(f"/terminals/{one['id']}/scrollback")
        assert base64.b64decode(told["scrollback"]) == b"\xff\xc3\xa4\xc3"
        assert told["content"] == "\ufffdä\ufffd"


# --- closing -----------------------------------------------------------------------------------


@pytest.fixture
def mark() -> str:
    return f"MARK={secrets.token_hex(8)}"


def marked_with(mark: str) -> dict[str, str]:
    return dict([mark.split("=")])


TREES = {
    "a shell": ("exec sh", 1),
    "its child": ("sleep 600; :", 2),
    "in the background": ("sleep 600 & sleep 600 & wait", 3),
    "deaf": ("trap '' HUP TERM INT; sleep 600 & sleep 600; :", 3),
    "stopped": ("sleep 600 & kill -STOP $!; sleep 600; :", 3),
    "its own group": ("set -m; sleep 600 & set +m; sleep 600; :", 3),
    "nohup": ("nohup sleep 600 >/dev/null 2>&1 & wait", 2),
}


@pytest.fixture(scope="module", params=["cgroup", "session"])
def way(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    preexec = WITHOUT_CGROUPS if request.param == "session" and os.geteuid() == 0 else None
    with serving(tmp_path_factory.mktemp(request.param), *OPTIONS, preexec=preexec) as target:
        with target.client() as client:
            has = "exec.cgroup" in client.json("/runtime")["capabilities"]
        if has != (request.param == "cgroup"):
            pytest.skip("needs a cgroup v2 that the server may write to")
        yield target


@pytest.mark.parametrize("name", TREES)
def test_closing_leaves_nobody_alive(way: Target, mark: str, name: str) -> None:
    script, count = TREES[name]
    with way.client() as client:
        one = opened(client, ["sh", "-c", script], env=marked_with(mark))
        until(lambda: len(marked(mark)) == count)
        closed(client, one["id"])
        until(lambda: not marked(mark), seconds=2)
        client.failure("DELETE", f"/terminals/{one['id']}", 404)
        assert client.json("/terminals")["terminals"] == []


def test_closing_an_ended_session_ends_what_it_left(way: Target, mark: str) -> None:
    with way.client() as client:
        # What did not ignore it would get SIGHUP from the kernel, as in any terminal.
        script = "trap '' HUP; sleep 600 & sleep 600 >/dev/null & exit 5"
        one = opened(client, ["bash", "-c", script], env=marked_with(mark))
        until(lambda: has_ended(client, one["id"]))
        assert len(marked(mark)) == 2
        closed(client, one["id"])
        until(lambda: not marked(mark), seconds=2)


def test_what_left_its_session_is_ended_where_there_is_a_cgroup(way: Target, mark: str) -> None:
    with way.client() as client:
        one = opened(client, ["sh", "-c", "setsid sleep 600 & sleep 600"], env=marked_with(mark))
        until(lambda: len(marked(mark)) == 3)
        closed(client, one["id"])
        if "exec.cgroup" in client.json("/runtime")["capabilities"]:
            until(lambda: not marked(mark), seconds=2)
            return
        # Out of reach: one of them is left.
        until(lambda: len(marked(mark)) == 1, seconds=2)
        os.kill(marked(mark)[0], signal.SIGKILL)


def test_a_program_hears_of_the_closing_first(client: Client, tmp_path: Path) -> None:
    script = f"trap 'echo saved > {tmp_path}/note; exit' HUP; echo up; while :; do sleep 0.05; done"
    one = opened(client, ["sh", "-c", script])
    until(lambda: scrollback(client, one["id"]) == b"up\r\n")
    closed(client, one["id"])
    assert (tmp_path / "note").read_text() == "saved\n"


def test_closing_while_output_is_pouring(client: Client, target: Target, mark: str) -> None:
    with connected(target) as ws:
        one = opened(client, ["yes"], env=marked_with(mark))
        ws.until(lambda: len(ws.of(one["id"])) > 100_000)
        closed(client, one["id"])
        assert not marked(mark)
        assert ws.until_exit(one["id"]) == 129


def test_closing_twice_at_once_is_one_closing(client: Client, target: Target) -> None:
    one = opened(client, ["sh", "-c", "trap '' HUP; while :; do sleep 0.1; done"])
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE"]
    command += [
        "-H",
        f"Authorization: Bearer {target.token}",
        f"{target.url}/terminals/{one['id']}",
    ]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    assert [one.communicate()[0] for one in both] == [b"200", b"200"]


def test_a_background_server_lives_on_when_its_shell_exits(client: Client, mark: str) -> None:
    """Its output is read and dropped: it is neither stopped nor sent SIGHUP."""
    script = "trap '' HUP; (while sleep 0.01; do head -c 100000 /dev/zero; done) & exit 0"
    with terminal(client, ["bash", "-c", script], env=marked_with(mark)) as one:
        until(lambda: has_ended(client, one["id"]))
        before = scrollback(client, one["id"])
        pids = marked(mark)
        assert pids
        time.sleep(0.3)
        assert any(is_alive(pid) for pid in pids)
        assert scrollback(client, one["id"]) == before


def test_a_leader_that_closes_its_terminal_still_has_one(client: Client) -> None:
    script = "exec <&- >&- 2>&-; sleep 0.2; echo back >/dev/tty; exit 3"
    with terminal(client, ["sh", "-c", script]) as one:
        until(lambda: has_ended(client, one["id"]))
        assert scrollback(client, one["id"]) == b"back\r\n"


def test_the_end_of_the_server_ends_terminals(tmp_path: Path, mark: str) -> None:
    with serving(tmp_path, *OPTIONS) as target, target.client() as client:
        opened(client, ["sh", "-c", "trap '' HUP TERM; sleep 600; :"], env=marked_with(mark))
        opened(client, ["bash", "-c", "trap '' HUP; sleep 600 & exit"], env=marked_with(mark))
        until(lambda: len(marked(mark)) == 3)
    assert not marked(mark)


@pytest.mark.parametrize("way", ["cgroup", "session"])
def test_what_a_killed_server_left_is_ended_at_the_next_start(
    tmp_path: Path, mark: str, way: str
) -> None:
    preexec = WITHOUT_CGROUPS if way == "session" and os.geteuid() == 0 else None
    with serving(tmp_path, *OPTIONS, preexec=preexec) as target, target.client() as client:
        opened(client, ["sh", "-c", "trap '' HUP; sleep 600; :"], env=marked_with(mark))
        until(lambda: len(marked(mark)) == 2)
        os.kill(target.pid, signal.SIGKILL)
    with serving(tmp_path, *OPTIONS, preexec=preexec) as target, target.client() as client:
        assert not marked(mark)
        assert client.json("/terminals")["terminals"] == []


def test_hundreds_of_terminals_leave_nothing(client: Client, target: Target) -> None:
    def held() -> tuple[int, int]:
        return len(os.listdir(f"/proc/{target.pid}/fd")), len(
            os.listdir(f"/proc/{target.pid}/task")
        )

    for _ in range(20):
        closed(client, opened(client, ["cat"])["id"])
    descriptors, threads = held()
    for _ in range(100):
        closed(client, opened(client, ["cat"])["id"])
    until(lambda: held()[0] <= descriptors)
    assert held()[1] <= threads
