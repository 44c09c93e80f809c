"""What a command leaves behind: found and ended where it should be, left alone where not.

Each row runs by cgroup, where the machine has one, and by session, as where it has none.
Source: wire contract, section 4; design, section 3, "Processes".
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from tests.client import Client
from tests.commands import following, is_alive, marked, run, until
from tests.serving import Target, serving

WITHOUT_CGROUPS = ["unshare", "-m", "sh", "-c", 'umount -l -a -t cgroup2; exec "$@"', "sh"]
OPTIONS = ("--exec-kill-seconds=0.3", "--exec-stop-seconds=0.5")
ESCAPE = "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  time.sleep(600)\n os._exit(0)\ntime.sleep({})"


def _way(directory: Path, way: str) -> Iterator[Target]:
    preexec = WITHOUT_CGROUPS if way == "session" and os.geteuid() == 0 else None
    with serving(directory, *OPTIONS, preexec=preexec) as target:
        with target.client() as client:
            has = "exec.cgroup" in client.json("/runtime")["capabilities"]
        if has != (way == "cgroup"):
            pytest.skip("needs a cgroup v2 that the server may write to")
        yield target


@pytest.fixture(scope="module", params=["cgroup", "session"])
def way(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    yield from _way(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture
def client(way: Target) -> Iterator[Client]:
    with way.client() as one:
        yield one


@pytest.fixture
def mark() -> str:
    """A word in the environment by which a tree's processes are found, wherever they went."""
    return f"MARK={secrets.token_hex(8)}"


def is_gone(pid: int) -> bool:
    return not is_alive(pid)


def session(pid: int) -> int:
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return 0


def start(client: Client, cmd: object, mark: str, **body: object) -> str:
    name, value = mark.split("=")
    task = run(client, cmd, 202, background=True, env={name: value}, **body)
    return str(task["id"])


# How many processes there are once it stands. None of them leaves the session.
TREES: dict[str, tuple[str, int]] = {
    "one": ("exec sleep 600", 1),
    "a child": ("sleep 600; :", 2),
    "a pipeline": ("sleep 600 | sleep 600 | sleep 600; :", 4),
    "in the background": ("sleep 600 & sleep 600 & wait", 3),
    "deaf to SIGTERM": ("trap '' TERM HUP INT; sleep 600 & sleep 600; :", 3),
    "double fork": ("(sleep 600 &) ; sleep 600; :", 3),
    "stopped": ("sleep 600 & kill -STOP $!; sleep 600; :", 3),
    "its own group": ("set -m; sleep 600 & set +m; sleep 600; :", 3),
    "many": ("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 600 & done; wait", 11),
}
# These do: only a cgroup holds them.
ESCAPES: dict[str, tuple[list[str], int]] = {
    "setsid": (["sh", "-c", "setsid sleep 600 & sleep 600; :"], 3),
    "setsid and double fork": ([sys.executable, "-c", ESCAPE.format(600)], 2),
    "nohup and disown": (
        ["bash", "-c", "nohup setsid sleep 600 >/dev/null 2>&1 & disown; sleep 600; :"],
        3,
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_delete_leaves_nobody_alive(client: Client, mark: str, name: str) -> None:
    script, count = TREES[name]
    task = start(client, [script], mark, exec_mode="shell")
    until(lambda: len(marked(mark)) == count)
    with following(client, task) as found:
        began = time.monotonic()
        assert client.request("DELETE", f"/exec/{task}").json() == {"success": True}
        until(lambda: not marked(mark), seconds=2)
        assert time.monotonic() - began < 2
        end = list(found)[-1]
    assert (end.name, end.data["exit_code"]) == ("exit", 137)
    client.failure("GET", f"/exec/{task}", 404)


@pytest.mark.parametrize("name", ESCAPES)
def test_delete_reaches_what_left_the_session_where_there_is_a_cgroup(
    client: Client, mark: str, name: str
) -> None:
    words, count = ESCAPES[name]
    task = start(client, words, mark)
    until(lambda: len(marked(mark)) == count and len(set(map(session, marked(mark)))) == 2)
    client.request("DELETE", f"/exec/{task}")
    if "exec.cgroup" in client.json("/runtime")["capabilities"]:
        until(lambda: not marked(mark), seconds=2)
        return
    # Out of reach, as the contract says: one of them is left.
    until(lambda: len(marked(mark)) == 1, seconds=2)
    os.kill(marked(mark)[0], signal.SIGKILL)


def test_without_a_cgroup_what_left_the_session_is_told_of(client: Client, mark: str) -> None:
    task = start(client, [sys.executable, "-c", ESCAPE.format(0.2)], mark)
    told = client.json(f"/exec/{task}", wait=10)
    try:
        by_session = "exec.cgroup" not in client.json("/runtime")["capabilities"]
        assert told.get("escaped", False) == by_session
        assert told["exit_code"] == 0
    finally:
        for pid in marked(mark):
            os.kill(pid, signal.SIGKILL)


def test_delete_while_a_call_waits_answers_it(client: Client, way: Target, mark: str) -> None:
    asked = [
        sys.executable,
        "-c",
        "import sys; from tests.commands import run; from tests.client import Client\n"
        "with Client(*sys.argv[1:3]) as c: print(run(c, ['sleep', '600'], id='waited')['exit_code'])",
        way.url,
        way.token,
    ]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as caller:
        until(lambda: client.get("/exec/waited").status_code == 200)
        client.request("DELETE", "/exec/waited")
        told, _ = caller.communicate(timeout=20)
    assert told == "137\n"


@pytest.mark.parametrize("name", TREES)
def test_a_timeout_ends_the_tree(client: Client, mark: str, name: str) -> None:
    script, _ = TREES[name]
    key, value = mark.split("=")
    task = run(client, [script], exec_mode="shell", timeout_seconds=0.2, env={key: value})
    assert (task["status"], task["exit_code"]) == ("failed", 124)
    until(lambda: not marked(mark), seconds=5)


def test_a_server_started_by_a_shell_lives_on_and_gets_no_sigpipe(
    client: Client, mark: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    server = (
        "import time\nfor n in range(400):\n print('x' * 9999, flush=True)\n"
        f" open({str(log)!r}, 'a').write('.')\n time.sleep(0.002)\ntime.sleep(600)"
    )
    key, value = mark.split("=")
    began = time.monotonic()
    task = run(
        client, f'{sys.executable} -c "$CODE" & echo started', env={key: value, "CODE": server}
    )
    assert time.monotonic() - began < 2, "the end of the shell is the end of the task"
    assert (task["status"], task["exit_code"]) == ("exited", 0)
    assert "started" in task["stdout"]
    (pid,) = marked(mark)
    # It writes 4 MB into a pipe whose command has long ended: everything of it is taken.
    until(lambda: log.exists() and log.stat().st_size == 400)
    assert is_alive(pid)
    size = client.json(f"/exec/{task['id']}")["stdout_bytes"]
    assert size == task["stdout_bytes"], "what comes after the end is dropped"
    client.request("DELETE", f"/exec/{task['id']}")
    until(lambda: not is_alive(pid), seconds=2)


def test_a_finished_task_that_is_deleted_takes_its_tree_along(client: Client, mark: str) -> None:
    key, value = mark.split("=")
    task = run(client, "sleep 600 >/dev/null 2>&1 & :", env={key: value})
    assert len(marked(mark)) == 1
    client.request("DELETE", f"/exec/{task['id']}")
    until(lambda: not marked(mark), seconds=2)


def test_expiry_ends_nothing(way: Target, mark: str, tmp_path: Path) -> None:
    key, value = mark.split("=")
    with serving(tmp_path, "--exec-ttl-seconds=0.1", *OPTIONS) as target, target.client() as client:
        task = run(client, "sleep 600 >/dev/null 2>&1 & :", env={key: value})
        until(lambda: client.get(f"/exec/{task['id']}").status_code == 404)
        assert len(marked(mark)) == 1
    assert not marked(mark), "the end of the server does"


def test_the_end_of_the_server_ends_trees_in_order(
    request: pytest.FixtureRequest, way: Target, tmp_path: Path, mark: str
) -> None:
    (which,) = [one for one in ("cgroup", "session") if one in request.node.name]
    said = tmp_path / "said"
    ready = tmp_path / "ready"
    polite = f"trap 'echo bye > {said}; exit' TERM; touch {ready}; while :; do sleep 0.01; done"
    for target in _way(tmp_path / "own", which):
        with target.client() as client:
            start(client, ["bash", "-c", polite], mark)
            start(client, ["bash", "-c", "trap '' TERM; while :; do sleep 0.01; done"], mark)
            run(client, "sleep 600 >/dev/null 2>&1 & :", env=dict([mark.split("=")]))
            until(lambda: ready.exists() and len(marked(mark)) >= 3)
            began = time.monotonic()
            os.kill(target.pid, signal.SIGTERM)
            until(partial(is_gone, target.pid))
            assert time.monotonic() - began < 10
            assert not marked(mark)
            assert said.read_text() == "bye\n"


def test_what_a_killed_server_left_is_ended_before_the_port_opens(
    request: pytest.FixtureRequest, way: Target, tmp_path: Path, mark: str
) -> None:
    (which,) = [one for one in ("cgroup", "session") if one in request.node.name]
    place = tmp_path / "own"
    for target in _way(place, which):
        with target.client() as client:
            start(client, "sleep 600 | sleep 600", mark, id="caught")
            run(client, ["true"], id="done")
            until(lambda: len(marked(mark)) >= 2)
        os.kill(target.pid, signal.SIGKILL)
        until(partial(is_gone, target.pid))
    assert marked(mark), "a killed server ends nothing"
    for target in _way(place, which):
        assert not marked(mark)
        with target.client() as client:
            lost = client.json("/exec/caught")
            assert (lost["status"], lost["lost"]) == ("failed", True)
            assert "exit_code" not in lost and "signal" not in lost
            assert lost["error"]
            kept = client.json("/exec/done")
            assert (kept["status"], kept["exit_code"]) == ("exited", 0)
            with following(client, "caught") as found:
                end = list(found)[-1]
            assert end.name == "exit" and end.data["lost"] is True
            assert "exit_code" not in end.data


@pytest.mark.skipif(os.geteuid() != 0, reason="only root switches users")
def test_a_fork_bomb_is_ended(client: Client, mark: str) -> None:
    # Bounded: at most 60 processes for this user, and at most 5 s.
    bomb = "ulimit -u 60; bomb() { bomb | bomb & }; bomb; sleep 600"
    task = start(client, ["bash", "-c", bomb], mark, user="nobody", timeout_seconds=5)
    until(lambda: len(marked(mark)) > 5)
    client.request("DELETE", f"/exec/{task}")
    until(lambda: not marked(mark), seconds=2)
    assert client.json("/runtime")["success"]


def test_no_cgroup_is_left_behind(tmp_path: Path) -> None:
    roots = [
        Path(line.split()[4])
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if " - cgroup2 " in line
    ]
    if not roots:
        pytest.skip("needs a cgroup v2 that the server may write to")
    before = {str(one) for one in roots[0].rglob("hutch-*")}
    with serving(tmp_path) as target, target.client() as client:
        for _ in range(5):
            run(client, ["true"])
            made = {str(one) for one in roots[0].rglob("hutch-*")} - before
            for root in made:
                with suppress(OSError):
                    os.rmdir(root)  # it looks like a leftover
        task = run(client, "sleep 0.2 >/dev/null 2>&1 & :")
        made = {str(one) for one in roots[0].rglob("hutch-*")} - before
        until(lambda: not [one for root in made for one in Path(root).glob("task-*")])
        assert task["exit_code"] == 0
    assert not [root for root in made if Path(root).exists()]


def test_who_waits_hears_of_the_end_when_the_server_ends(tmp_path: Path) -> None:
    said: list[object] = []
    with serving(tmp_path, *OPTIONS) as target, target.client() as client:

        def call() -> None:
            said.append(run(client, ["sleep", "600"], id="waited")["exit_code"])

        def listen() -> None:
            with following(client, body={"cmd": ["sleep", "600"], "id": "followed"}) as found:
                said.append(list(found)[-1].data["exit_code"])

        callers = [threading.Thread(target=one) for one in (call, listen)]
        for one in callers:
            one.start()
        until(lambda: len(client.json("/exec")["tasks"]) == 2)
        os.kill(target.pid, signal.SIGTERM)
        for one in callers:
            one.join(10)
        until(partial(is_gone, target.pid))
    assert said == [143, 143]
