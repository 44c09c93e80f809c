"""Running a command and waiting for it: what it is given, what is told of its end.

Oracle: `subprocess`. Source: wire contract, section 4; reference, "Command Execution".
"""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client import Client
from tests.commands import follow, is_alive, kept, run, stream, until, written
from tests.serving import Target, serving

PYTHON = sys.executable
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def python(code: str) -> list[str]:
    return [PYTHON, "-c", code]


# Nasty children. Each is run by the server and by `subprocess`; both must tell the same.
CHILDREN: dict[str, list[str]] = {
    "nothing": ["true"],
    "a failure": ["false"],
    "codes": python("import sys; sys.exit(42)"),
    "code 255": python("import os; os._exit(255)"),
    "code 256 is 0": python("import os; os._exit(256 & 255)"),
    "both streams": python("import os; os.write(1, b'out'); os.write(2, b'err')"),
    "no newline": ["printf", "abc"],
    "arguments as they are": ["printf", "%s|", "a b", "", "$HOME", "*", "ä", "'", '"', "\n"],
    "code with operators": python("a = 1; b = 2; print(a < b and a | b)"),
    "every byte": python("import os; os.write(1, bytes(range(256)) * 300)"),
    "half a character": python("import os; os.write(1, 'ä'.encode()[:1])"),
    "a character in two writes": python(
        "import os, time; b = '€'.encode(); os.write(1, b[:1]); time.sleep(.02); os.write(1, b[1:])"
    ),
    "a megabyte": python("import os; [os.write(1, b'x' * 4096) for _ in range(256)]"),
    "a megabyte of errors": python("import os; [os.write(2, b'x' * 4096) for _ in range(256)]"),
    "stdout closed": python("import os; os.close(1); os.write(2, b'still here')"),
    "all closed": python("import os; [os.close(n) for n in range(3)]"),
    "stdin is empty": ["cat"],
    "killed": python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
    "terminated": python("import os, signal; os.kill(os.getpid(), signal.SIGTERM)"),
    "segmentation fault": python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"),
    "a broken pipe": ["bash", "-c", "yes | head -c 5; echo ${PIPESTATUS[0]}"],
    "SIGPIPE itself": python("import os, signal; os.kill(os.getpid(), signal.SIGPIPE)"),
    "real-time signal": python("import os; os.kill(os.getpid(), 40)"),
    "a script": ["sh", "-c", "echo a | tr a b; exit 3"],
    "long words": ["printf", "%s", "x" * 100_000],
}


def shown(data: bytes) -> str:
    return data.decode("utf-8", "replace")


@pytest.mark.parametrize("name", CHILDREN)
def test_a_command_ends_as_subprocess_says(client: Client, name: str) -> None:
    done = subprocess.run(
        CHILDREN[name], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    task = run(client, CHILDREN[name], exec_mode="direct" if len(CHILDREN[name]) > 1 else "auto")
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    assert task["exit_code"] == code, task
    assert (task["stdout"], task["stderr"]) == (shown(done.stdout), shown(done.stderr))
    assert (task["stdout_bytes"], task["stderr_bytes"]) == (len(done.stdout), len(done.stderr))
    assert not task["stdout_truncated"]
    assert kept(client, task["id"]).content == done.stdout
    assert kept(client, task["id"], stream="stderr").content == done.stderr
    if done.returncode < 0 and -done.returncode <= 31:
        assert task["signal"] == signal.Signals(-done.returncode).name
    else:
        assert ("signal" in task) == (done.returncode < 0)


@pytest.mark.parametrize("name", CHILDREN)
def test_its_events_carry_the_exact_bytes(client: Client, name: str) -> None:
    done = subprocess.run(
        CHILDREN[name], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    found = stream(client, CHILDREN[name], open_stdin=False, exec_mode="direct")
    assert found[0].name == "task_id"
    assert written(found) == done.stdout
    assert written(found, "stderr") == done.stderr
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    assert found[-1].data["exit_code"] == code
    assert isinstance(found[-1].data["pid"], int)


def test_the_task_object_has_what_is_documented(client: Client) -> None:
    task = run(client, ["echo", "hello"])
    assert task["command"] == ["echo", "hello"]
    assert (task["status"], task["exit_code"]) == ("exited", 0)
    assert (task["stdout"], task["stderr"]) == ("hello\n", "")
    assert task["ttl_seconds"] == 300
    assert task["exec_mode"] == "direct"
    assert task["guest_pid"] > 1
    assert all(RFC3339.fullmatch(task[f"{one}_at"]) for one in ("created", "started", "exited"))
    assert "success" not in task
    assert task["resources"]["cpu_seconds"] >= 0
    assert client.json(f"/exec/{task['id']}") == task
    (listed,) = [one for one in client.json("/exec")["tasks"] if one["id"] == task["id"]]
    assert "stdout" not in listed and "stderr" not in listed
    assert listed.items() <= task.items()


def test_costs_are_those_of_the_tree(client: Client) -> None:
    burn = "import time; e = time.process_time() + .3\nwhile time.process_time() < e: pass"
    task = run(client, ["sh", "-c", '"$0" -c "$1"; :', PYTHON, burn])
    assert 0.25 < task["resources"]["cpu_seconds"] < 5
    hungry = run(client, python("x = bytearray(500 << 20)"))
    assert 500 << 20 < hungry["resources"]["max_rss_bytes"] < 700 << 20
    small = run(client, ["true"])
    assert small["resources"]["max_rss_bytes"] in (None, small["resources"]["max_rss_bytes"])
    assert (small["resources"]["max_rss_bytes"] or 0) < 50 << 20, (
        "the server's is not the command's"
    )


# --- what it is given -----------------------------------------------------------------------------


def test_the_environment_is_the_servers_without_its_own(tmp_path: Path) -> None:
    own = {"HUTCH_SILENCE_SECONDS": "15", "FROM_OUTSIDE": "yes", "GONE": "a"}
    with serving(tmp_path, "--cwd=/tmp", environment=own) as target, target.client() as client:
        task = run(client, ["env", "-0"], env={"ADDED": "ä=\n", "GONE": "b"})
        found = dict(one.split("=", 1) for one in task["stdout"].split("\0") if one)
        assert found["FROM_OUTSIDE"] == "yes"
        assert (found["ADDED"], found["GONE"], found["PWD"]) == ("ä=\n", "b", "/tmp")
        assert not [name for name in found if name.startswith("HUTCH")]
        assert target.token not in task["stdout"]
        secret = run(client, "tr '\\0' '\\n' < /proc/$PPID/environ; cat /proc/$PPID/cmdline")
        assert target.token not in secret["stdout"]


def test_descriptors_signals_and_limits_are_as_for_any_program(client: Client) -> None:
    code = """
import os, resource, signal, sys
print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1])
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
# Not 32 and 33: the C library's own, which whoever started the tests may have ignored.
print([int(status[one], 16) & ~(3 << 31) for one in ('SigIgn', 'SigBlk')])
print(resource.getrlimit(resource.RLIMIT_NOFILE))
print(os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid())
print(oct(os.umask(0)))
"""
    # Python ignores two signals by itself: the same in a plain child of ours.
    done = subprocess.run(
        [PYTHON, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert run(client, python(code))["stdout"] == done.stdout
    plain = run(client, ["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"])["stdout"]
    assert plain.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


def test_cwd(client: Client, tmp_path: Path) -> None:
    place = tmp_path / "ä b"
    place.mkdir()
    assert run(client, ["pwd"], cwd=str(place))["stdout"] == f"{place}\n"
    assert run(client, ["./x"], cwd=str(_script(place / "x", "#!/bin/sh\npwd\n")))["stdout"]


def _script(path: Path, text: str, mode: int = 0o755) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path.parent


@pytest.mark.skipif(os.geteuid() != 0, reason="only root switches users")
@pytest.mark.parametrize("user", ["nobody", 65534, "65534"])
def test_user(client: Client, user: object) -> None:
    task = run(client, "id -un; id -G; echo $HOME $USER $LOGNAME", user=user)
    name, groups, rest = task["stdout"].splitlines()
    assert name == "nobody"
    expected = subprocess.run(["id", "-G", "nobody"], capture_output=True, text=True, check=True)
    assert groups.split() == expected.stdout.split()
    assert rest.split() == ["/nonexistent", "nobody", "nobody"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"cmd": ["cat"], "stdin": "text ä\n"}, "text ä\n"),
        ({"cmd": ["cat"], "stdin": ""}, ""),
        ({"cmd": ["cat"]}, ""),
        ({"cmd": ["wc", "-c"], "stdin": "x" * 1_000_000}, "1000000\n"),
        ({"cmd": ["true"], "stdin": "x" * 1_000_000}, ""),
        ({"cmd": ["readlink", "/proc/self/fd/0"]}, "/dev/null\n"),
        ({"command": ["echo", "older"]}, "older\n"),
        ({"cmd": "echo $((1+1))"}, "2\n"),
    ],
    ids=str,
)
def test_stdin_of_a_waiting_call(client: Client, body: dict[str, object], expected: str) -> None:
    answer = client.request("POST", "/exec", body=body)
    assert answer.json()["stdout"] == expected


# --- what goes wrong ------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, object], str]] = {
    "no cmd": ({}, "cmd"),
    "null": ({"cmd": None}, "cmd"),
    "empty": ({"cmd": []}, "cmd"),
    "an empty word": ({"cmd": [""]}, "cmd"),
    "blanks": ({"cmd": "  "}, "cmd"),
    "a number": ({"cmd": 5}, "cmd"),
    "numbers": ({"cmd": [1]}, "cmd"),
    "NUL": ({"cmd": ["echo", "a\0b"]}, "cmd"),
    "an unclosed quote": ({"cmd": ["echo 'a"], "exec_mode": "direct"}, "cmd"),
    "one word of a megabyte": ({"cmd": ["echo", "x" * 2**20]}, "cmd"),
    "NUL in env": ({"cmd": ["true"], "env": {"A": "\0"}}, "env"),
    "a name with =": ({"cmd": ["true"], "env": {"A=": "b"}}, "env"),
    "no name": ({"cmd": ["true"], "env": {"": "b"}}, "env"),
    "a number in env": ({"cmd": ["true"], "env": {"A": 1}}, "env"),
    "a list as env": ({"cmd": ["true"], "env": ["A=b"]}, "env"),
    "a relative cwd": ({"cmd": ["true"], "cwd": "x"}, "cwd"),
    "no such cwd": ({"cmd": ["true"], "cwd": "/nothing/here"}, "/nothing/here"),
    "a file as cwd": ({"cmd": ["true"], "cwd": "/etc/passwd"}, "/etc/passwd"),
    "an unknown user": ({"cmd": ["true"], "user": "nobody-at-all"}, "nobody-at-all"),
    "an unknown uid": ({"cmd": ["true"], "user": 12345678}, "12345678"),
    "a huge uid": ({"cmd": ["true"], "user": 2**40}, "user"),
    "a negative time": ({"cmd": ["true"], "timeout_seconds": -1}, "timeout_seconds"),
    "a time that is text": ({"cmd": ["true"], "timeout_seconds": "1"}, "timeout_seconds"),
    "ttl": ({"cmd": ["true"], "ttl_seconds": -2}, "ttl_seconds"),
    "a mode": ({"cmd": ["true"], "exec_mode": "fast"}, "exec_mode"),
    "stream": ({"cmd": ["true"], "stream": "yes"}, "stream"),
    "an id": ({"cmd": ["true"], "id": "a/b"}, "id"),
    "a long id": ({"cmd": ["true"], "id": "x" * 65}, "id"),
    "the word stream": ({"cmd": ["true"], "id": "stream"}, "id"),
    "stdin": ({"cmd": ["true"], "stdin": 5}, "stdin"),
    "both": ({"cmd": ["true"], "stream": True, "background": True}, "background"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("path", ["/exec", "/exec/stream"])
def test_bad_input_is_400_and_names_what_is_bad(client: Client, name: str, path: str) -> None:
    body, says = BAD[name]
    if name == "both" and path == "/exec/stream":
        body = {**body, "cmd": []}
        says = "cmd"
    told = client.failure("POST", path, 400, body=body)
    assert says in told["error"], told
    assert len(told["error"]) < 2000


def test_a_megabyte_of_arguments_is_possible(client: Client) -> None:
    words = ["x" * 1000] * 1000
    task = run(client, ["sh", "-c", "echo $#", *words])
    assert task["stdout"] == "999\n"
    assert len(str(task["command"])) < 100_000
    assert task["command_truncated"] is True, "what is shown is cut"
    assert "command_truncated" not in run(client, ["true"])


@pytest.mark.parametrize("path", ["/exec", "/exec/stream"])
@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        (None, 0, "executable not found"),
        ("#!/bin/sh\n", 0o644, "may not be executed"),
        ("no script\n", 0o755, "begins with #!"),
        ("#!/no/such/interpreter\n", 0o755, "interpreter is missing"),
    ],
)
def test_what_cannot_be_started_is_500(
    client: Client, tmp_path: Path, path: str, text: str | None, mode: int, says: str
) -> None:
    program = tmp_path / "foo"
    if text is not None:
        _script(program, text, mode)
    before = len(client.json("/exec")["tasks"])
    told = client.failure("POST", path, 500, body={"cmd": [str(program), "x"]})
    assert says in told["error"] and str(program) in told["error"]
    assert len(client.json("/exec")["tasks"]) == before, "nothing ran, so there is no task"


def test_a_missing_program_is_named_as_documented(client: Client) -> None:
    told = client.failure("POST", "/exec", 500, body={"cmd": ["foo", "x"]})
    assert told["error"] == "executable not found: foo"


def test_an_unknown_task_is_404(client: Client) -> None:
    for method, path in (
        ("GET", "/exec/nope"),
        ("DELETE", "/exec/nope"),
        ("GET", "/exec/stream?task_id=nope"),
        ("GET", "/exec/nope/output"),
        ("POST", "/exec/nope/input"),
    ):
        assert "nope" in client.failure(method, path, 404)["error"]
    body = {"signal": "SIGINT"}
    assert client.failure("POST", "/exec/nope/signal", 404, body=body)["code"] == "not_found"


# --- time -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    options = (
        "--exec-kill-seconds=0.2",
        "--exec-silent-seconds=0.1",
        "--silence-seconds=0.2",
        "--exec-ttl-seconds=0.3",
    )
    with serving(tmp_path_factory.mktemp("hasty"), *options) as target:
        yield target


def test_a_timeout_is_told_and_is_no_error_of_the_request(client: Client) -> None:
    task = run(client, ["sh", "-c", "echo before; sleep 60"], timeout_seconds=0.3)
    assert (task["status"], task["exit_code"]) == ("failed", 124)
    assert task["error"] == "timed out after 0.3 s"
    assert task["stdout"] == "before\n"
    assert not is_alive(task["guest_pid"])


def test_sigterm_first_and_sigkill_later(hasty: Target) -> None:
    with hasty.client() as client:
        polite = "trap 'echo bye; exit 9' TERM; echo on; while :; do sleep 0.01; done"
        task = run(client, ["bash", "-c", polite], timeout_seconds=0.3)
        assert (task["stdout"], task["exit_code"]) == ("on\nbye\n", 124)
        deaf = "trap '' TERM; echo on; while :; do sleep 0.01; done"
        task = run(client, ["bash", "-c", deaf], timeout_seconds=0.3)
        assert (task["exit_code"], task["signal"]) == (124, "SIGKILL")
        assert task["error"] == "timed out after 0.3 s"


def test_a_long_call_is_kept_alive_by_blanks(hasty: Target) -> None:
    with hasty.client() as client:
        asked = client.http.stream("POST", "/exec", json={"cmd": ["sleep", "1"]})
        with asked as answer:
            pieces = [one for one in answer.iter_raw() if one]
        assert answer.status_code == 200
        assert len(pieces) >= 4, "first after 0.1 s, then one each 0.2 s"
        assert all(one == b" " for one in pieces[:-1])
        assert answer.headers["content-type"] == "application/json"
        assert pieces[-1].startswith(b"{")


def test_a_quick_call_has_no_blank_in_front(client: Client) -> None:
    assert client.request("POST", "/exec", body={"cmd": ["true"]}).content.startswith(b"{")


def test_a_client_that_leaves_ends_no_command(
    client: Client, target: Target, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    body = b'{"id":"left","cmd":"sleep 0.5; echo done > %s"}' % str(done).encode()
    with socket.create_connection(("127.0.0.1", target.port)) as line:
        line.sendall(
            b"POST /exec HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"
            % (target.token.encode(), len(body))
            + body
        )
        until(lambda: client.get("/exec/left").status_code == 200)
    until(done.exists)
    assert client.json("/exec/left", wait=5)["exit_code"] == 0


def test_background_answers_at_once_and_wait_waits(client: Client) -> None:
    task = run(client, ["sh", "-c", "read line; echo $line"], status=202, background=True)
    assert task["status"] == "running"
    assert "exit_code" not in task
    began = time.monotonic()
    assert client.json(f"/exec/{task['id']}", wait=1)["status"] == "running"
    assert time.monotonic() - began >= 1
    found: list[dict[str, object]] = []
    waiter = threading.Thread(
        target=lambda: found.append(client.json(f"/exec/{task['id']}", wait=30))
    )
    waiter.start()
    client.request("POST", f"/exec/{task['id']}/input", content=b"go\n")
    waiter.join(10)
    assert found[0]["stdout"] == "go\n"


def test_expiry(hasty: Target) -> None:
    with hasty.client() as client:
        short, forever = run(client, ["true"]), run(client, ["true"], ttl_seconds=-1)
        longer = run(client, ["true"], ttl_seconds=60)
        assert forever["ttl_seconds"] == -1
        until(lambda: client.get(f"/exec/{short['id']}").status_code == 404)
        assert client.json(f"/exec/{forever['id']}")["exit_code"] == 0
        assert client.json(f"/exec/{longer['id']}")["ttl_seconds"] == 60


def test_signals(client: Client) -> None:
    for given, code, name in (
        ("SIGINT", 130, "SIGINT"),
        ("term", 143, "SIGTERM"),
        (9, 137, "SIGKILL"),
    ):
        task = run(client, ["sleep", "60"], status=202, background=True)
        path = f"/exec/{task['id']}/signal"
        told = client.request("POST", path, body={"signal": given}).json()
        assert told == {"success": True, "signal": name}
        done = client.json(f"/exec/{task['id']}", wait=10)
        assert (done["exit_code"], done["signal"], done["status"]) == (code, name, "exited")
        assert client.failure("POST", path, 409, body={"signal": given})["code"] == "conflict"
    assert "signal" in client.failure("POST", path, 400, body={"signal": "SIGNOTHING"})["error"]
    assert "signal" in client.failure("POST", path, 400, body={})["error"]


def test_a_signal_reaches_the_pipeline(client: Client) -> None:
    task = run(client, "sleep 60 | sleep 60; exit 7", status=202, background=True)
    client.request("POST", f"/exec/{task['id']}/signal", body={"signal": "SIGINT"})
    assert client.json(f"/exec/{task['id']}", wait=10)["exit_code"] == 130


def test_the_runtime_says_what_it_can(client: Client) -> None:
    told = client.json("/runtime")["capabilities"]
    assert {"exec", "exec.stream", "exec.idempotency"} <= set(told)


def test_delete_forgets(client: Client) -> None:
    task = run(client, ["true"])
    assert client.request("DELETE", f"/exec/{task['id']}").json() == {"success": True}
    client.failure("GET", f"/exec/{task['id']}", 404)
    client.failure("DELETE", f"/exec/{task['id']}", 404)


def test_delete_all_counts_finished_ones(tmp_path: Path) -> None:
    with serving(tmp_path) as target, target.client() as client:
        for _ in range(3):
            run(client, ["true"])
        pids = [run(client, ["sleep", "60"], 202, background=True)["guest_pid"] for _ in range(2)]
        assert client.request("DELETE", "/exec").json() == {"success": True, "deleted": 5}
        assert client.json("/exec")["tasks"] == []
        assert not any(is_alive(pid) for pid in pids)
        assert client.request("DELETE", "/exec").json()["deleted"] == 0


def test_a_device_or_a_fifo_as_program_does_not_hang(client: Client, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o755)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    client.failure("POST", "/exec", 500, body={"cmd": [str(fifo)]})


def test_following_what_has_ended_gives_output_then_exit(client: Client) -> None:
    task = run(client, "printf 'a\\377b'; echo e >&2; exit 4")
    found = follow(client, task["id"])
    assert [one.name for one in found] == ["output", "exit"]
    assert found[0].data == {"stdout": "a\ufffdb", "stderr": "e\n"}
    assert (found[1].data["exit_code"], found[1].data["pid"]) == (4, task["guest_pid"])
