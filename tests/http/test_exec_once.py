"""A command runs once, also when the network fails, the client asks again, or the server dies.

Each command appends to a file: its length is how often it ran.
Source: wire contract, section 4, `Idempotency-Key` and "After a crash".
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.client import Client, Json
from tests.commands import follow, following, is_alive, run, until, written
from tests.serving import serving


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    path = tmp_path / "counter"
    path.touch()
    return path


def counting(counter: Path, rest: str = "") -> str:
    return f"printf x >> {counter}; {rest}"


def ask(client: Client, key: str, body: Json, status: int = 200) -> Json:
    headers = {"Idempotency-Key": key}
    answer = client.request("POST", "/exec", body=body, headers=headers)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def test_the_same_key_gives_the_same_task(client: Client, counter: Path) -> None:
    body = {"cmd": counting(counter, "echo out; exit 3")}
    first = ask(client, "same", body)
    assert ask(client, "same", body) == first
    # Another spelling of the same request.
    again = ask(client, "same", {"exec_mode": "auto", "env": {}, "command": body["cmd"]})
    assert again == first
    assert counter.read_text() == "x"


def test_another_body_is_409(client: Client, counter: Path) -> None:
    ask(client, "other", {"cmd": counting(counter)})
    for change in ({"cmd": ["true"]}, {"cmd": counting(counter), "env": {"A": "b"}}):
        told = ask(client, "other", change, 409)
        assert told["code"] == "conflict" and "Idempotency-Key" in told["error"]
    assert counter.read_text() == "x"


def test_many_at_once_run_one(client: Client, counter: Path) -> None:
    body = {"cmd": counting(counter, "sleep 0.2; echo out")}
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: ask(client, "at once", body), range(20)))
    assert len({one["id"] for one in found}) == 1
    assert {one["stdout"] for one in found} == {"out\n"}
    assert counter.read_text() == "x"


def test_a_stream_that_broke_is_asked_for_again(client: Client, counter: Path) -> None:
    body = {"cmd": counting(counter, "echo one; sleep 0.3; echo two")}
    headers = {"Idempotency-Key": "stream"}
    with following(client, body=body, headers=headers) as found:
        seen = [next(found), next(found)]
    with following(client, body=body, headers=headers) as found:
        again = list(found)
    assert again[0].name == "task_id"
    assert again[0].data == seen[0].data
    assert written(again) == b"one\ntwo\n"
    resumed = {**headers, "Last-Event-ID": seen[-1].id}
    with following(client, body=body, headers=resumed) as found:
        assert written(list(found)) == b"two\n"
    assert counter.read_text() == "x"


def test_a_forgotten_task_is_410_and_does_not_run_again(client: Client, counter: Path) -> None:
    body = {"cmd": counting(counter)}
    task = ask(client, "forgotten", body)
    client.request("DELETE", f"/exec/{task['id']}")
    told = ask(client, "forgotten", body, 410)
    assert task["id"] in told["error"]
    assert counter.read_text() == "x"


def test_what_could_not_be_started_may_be_tried_again(client: Client, tmp_path: Path) -> None:
    program = tmp_path / "program"
    body = {"cmd": [str(program), "x"]}
    ask(client, "not there", body, 500)
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o755)
    assert ask(client, "not there", body)["stdout"] == "ran\n"


@pytest.mark.parametrize("key", ["", "x" * 129, "ä"])
def test_a_key_that_is_none_is_400(client: Client, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode()}
    answer = client.http.post("/exec", json={"cmd": ["true"]}, headers=headers)
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["error"]


def test_an_id_of_ones_own(client: Client, counter: Path) -> None:
    body = {"cmd": counting(counter), "id": "my_task-1"}
    first = client.request("POST", "/exec", body=body).json()
    assert first["id"] == "my_task-1"
    assert client.request("POST", "/exec", body=body).json() == first
    told = client.failure("POST", "/exec", 409, body={**body, "cmd": ["true"]})
    assert "my_task-1" in told["error"]
    assert counter.read_text() == "x"
    client.request("DELETE", "/exec/my_task-1")
    client.request("POST", "/exec", body=body)
    assert counter.read_text() == "xx", "a forgotten id is free again"


# --- restarts -------------------------------------------------------------------------------------


@pytest.fixture(params=["ended", "killed"])
def end(request: pytest.FixtureRequest) -> Iterator[int]:
    yield signal.SIGTERM if request.param == "ended" else signal.SIGKILL


def stop(pid: int, number: int) -> None:
    os.kill(pid, number)
    until(lambda: not is_alive(pid))


def test_keys_survive_the_server(tmp_path: Path, counter: Path, end: int) -> None:
    body = {"cmd": counting(counter, "echo out; exit 3")}
    place = tmp_path / "server"
    with serving(place) as target, target.client() as client:
        first = ask(client, "kept", body)
        gone = ask(client, "deleted", {"cmd": counting(counter), "ttl_seconds": 1})
        client.request("DELETE", f"/exec/{gone['id']}")
        stop(target.pid, end)
    for _ in range(2):
        with serving(place) as target, target.client() as client:
            again = ask(client, "kept", body)
            assert (again["id"], again["exit_code"]) == (first["id"], 3)
            assert (again["created_at"], again["exited_at"]) == (
                first["created_at"],
                first["exited_at"],
            )
            assert (again["output_dropped"], again["stdout"]) == (True, "")
            ask(client, "kept", {"cmd": ["true"]}, 409)
            ask(client, "deleted", {"cmd": counting(counter), "ttl_seconds": 1}, 410)
            stop(target.pid, end)
    assert counter.read_text() == "xx"


def test_a_task_that_ran_is_lost_by_a_crash(tmp_path: Path, counter: Path) -> None:
    body = {"cmd": counting(counter, "sleep 600"), "background": True}
    place = tmp_path / "server"
    with serving(place) as target, target.client() as client:
        first = ask(client, "lost", body, 202)
        until(lambda: counter.read_text() == "x")
        stop(target.pid, signal.SIGKILL)
    with serving(place) as target, target.client() as client:
        again = ask(client, "lost", body, 202)
        assert again["id"] == first["id"]
        assert (again["status"], again["lost"]) == ("failed", True)
        assert "exit_code" not in again
        assert not is_alive(first["guest_pid"])
        found = follow(client, first["id"])
        assert found[-1].data["lost"] is True
    assert counter.read_text() == "x"


def test_an_orderly_end_is_told_as_what_it_was(tmp_path: Path) -> None:
    place = tmp_path / "server"
    with serving(place) as target, target.client() as client:
        run(client, ["sleep", "600"], 202, background=True, id="ended")
        stop(target.pid, signal.SIGTERM)
    with serving(place) as target, target.client() as client:
        task = client.json("/exec/ended")
        assert (task["exit_code"], task["signal"]) == (143, "SIGTERM")
        assert "lost" not in task


def test_a_damaged_journal_loses_only_what_is_damaged(tmp_path: Path, counter: Path) -> None:
    place = tmp_path / "server"
    body = {"cmd": counting(counter)}
    with serving(place) as target, target.client() as client:
        first = ask(client, "whole", body)
        stop(target.pid, signal.SIGKILL)
    journal = target.state_dir / "exec-journal"
    with journal.open("ab") as file:
        file.write(b'{"op":"begin","uid":"x","at":1,"ke')
    with serving(place) as target, target.client() as client:
        assert ask(client, "whole", body)["id"] == first["id"]
        ask(client, "after", body)
        stop(target.pid, signal.SIGKILL)
    with serving(place) as target, target.client() as client:
        ask(client, "after", body)
    assert counter.read_text() == "xx"
    assert journal.stat().st_mode & 0o777 == 0o600


def test_keys_are_kept_so_long_and_so_many(tmp_path: Path, counter: Path) -> None:
    body = {"cmd": counting(counter)}
    with serving(tmp_path / "a", "--exec-key-seconds=0.2") as target, target.client() as client:
        ask(client, "old", body)
        until(lambda: ask(client, "old", body) and counter.read_text() == "xx")
    with serving(tmp_path / "b", "--exec-keys=3") as target, target.client() as client:
        for number in range(5):
            ask(client, str(number), body)
        assert counter.read_text() == "xx" + "x" * 5
        ask(client, "4", body)
        ask(client, "2", body)
        assert counter.read_text() == "xx" + "x" * 5
        ask(client, "0", body)
        assert counter.read_text() == "xx" + "x" * 6
