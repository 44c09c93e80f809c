"""Standard input: exact bytes, true counts, and no waiting for ever.

Source: wire contract, section 4, "stdin".
"""

from __future__ import annotations

import hashlib
import random
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from tests.client import Client, Json
from tests.commands import following, run, until, written
from tests.serving import Target, serving

DIGEST = [
    sys.executable,
    "-c",
    "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())",
]


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    options = ("--exec-input-seconds=0.3", "--exec-input-bytes=1000000")
    with serving(tmp_path_factory.mktemp("hasty"), *options) as target:
        yield target


def send(client: Client, task: str, content: bytes, status: int = 200, query: str = "") -> Json:
    answer = client.request("POST", f"/exec/{task}/input", content=content, query=query)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def start(client: Client, cmd: object, **body: object) -> str:
    return str(run(client, cmd, 202, background=True, **body)["id"])


def test_bytes_arrive_as_they_are_whatever_the_content_type(client: Client) -> None:
    data = random.Random(1).randbytes(3_000_000)
    task = start(client, DIGEST)
    for index, kind in enumerate(("application/json", "text/plain", "application/octet-stream")):
        part = data[index * 1_000_000 : (index + 1) * 1_000_000]
        answer = client.request(
            "POST", f"/exec/{task}/input", content=part, headers={"Content-Type": kind}
        )
        assert answer.json() == {"success": True, "bytes_written": 1_000_000}
    assert send(client, task, b"", query="eof=true")["bytes_written"] == 0
    told = client.json(f"/exec/{task}", wait=20)
    assert told["stdout"] == hashlib.sha256(data).hexdigest() + "\n"


def test_eof_comes_after_the_bytes(client: Client) -> None:
    task = start(client, ["cat"])
    assert send(client, task, b"yes\n", query="eof=1")["bytes_written"] == 4
    assert client.json(f"/exec/{task}", wait=10)["stdout"] == "yes\n"


def test_text_given_at_the_start_comes_first(client: Client) -> None:
    task = start(client, ["cat"], stdin="first\n")
    send(client, task, b"second\n", query="eof=true")
    assert client.json(f"/exec/{task}", wait=10)["stdout"] == "first\nsecond\n"
    closed = start(client, ["cat"], stdin="only\n", open_stdin=False)
    assert client.json(f"/exec/{closed}", wait=10)["stdout"] == "only\n"


def test_a_streamed_command_waits_for_input_unless_told(client: Client) -> None:
    with following(client, body={"cmd": ["cat"]}) as found:
        task = next(found).data["task_id"]
        send(client, task, b"a", query="eof=true")
        assert written(list(found)) == b"a"
    with following(client, body={"cmd": ["cat"], "open_stdin": False}) as found:
        assert [one.name for one in found] == ["task_id", "exit"]


def test_a_waiting_call_may_ask_for_a_pipe(client: Client) -> None:
    found: list[Json] = []
    caller = threading.Thread(
        target=lambda: found.append(run(client, ["cat"], open_stdin=True, id="asked-open"))
    )
    caller.start()
    until(lambda: client.get("/exec/asked-open").status_code == 200)
    send(client, "asked-open", b"x", query="eof=true")
    caller.join(10)
    assert found[0]["stdout"] == "x"


@pytest.mark.parametrize(
    ("cmd", "body"),
    [
        (["true"], {}),
        (["sleep", "60"], {"open_stdin": False}),
        ("exec <&-; sleep 60", {}),
    ],
    ids=["it has ended", "it has no pipe", "it closed its end"],
)
def test_input_that_nobody_can_read_is_409(client: Client, cmd: object, body: Json) -> None:
    task = start(client, cmd, **body)
    if cmd == ["true"]:
        client.json(f"/exec/{task}", wait=10)
    until(lambda: client.request("POST", f"/exec/{task}/input", content=b"x").status_code == 409)
    told = client.failure("POST", f"/exec/{task}/input", 409, content=b"x")
    assert told["code"] == "conflict"
    client.request("DELETE", f"/exec/{task}")


def test_after_eof_there_is_no_pipe(client: Client) -> None:
    task = start(client, ["sleep", "60"])
    send(client, task, b"", query="eof=true")
    assert client.failure("POST", f"/exec/{task}/input", 409, content=b"x")["code"] == "conflict"
    client.request("DELETE", f"/exec/{task}")


def test_what_is_not_taken_is_504_with_the_true_count(hasty: Target) -> None:
    with hasty.client() as client:
        code = "import sys, time; print(len(sys.stdin.buffer.read(100_000)), flush=True); time.sleep(60)"
        task = start(client, [sys.executable, "-u", "-c", code])
        told = send(client, task, b"x" * 500_000, 504)
        assert told["code"] == "timeout"
        # What it read, and what fits into the pipe.
        assert 100_000 <= told["bytes_written"] < 500_000
        assert str(told["bytes_written"]) in told["error"]
        assert client.json(f"/exec/{task}")["stdout"].strip().isdigit()
        client.request("DELETE", f"/exec/{task}")


def test_who_waits_behind_what_is_not_taken_is_504_too(hasty: Target) -> None:
    with hasty.client() as client:
        task = start(client, ["sleep", "60"], stdin="x" * 200_000)
        assert send(client, task, b"y", 504)["bytes_written"] == 0
        client.request("DELETE", f"/exec/{task}")


def test_slow_progress_is_progress(hasty: Target) -> None:
    with hasty.client() as client:
        code = "import os, time\nwhile os.read(0, 65536): time.sleep(0.1)"
        task = start(client, [sys.executable, "-c", code])
        began = time.monotonic()
        assert send(client, task, b"x" * 700_000, query="eof=1")["bytes_written"] == 700_000
        assert time.monotonic() - began > 0.3, "longer than the deadline, in small steps"
        assert client.json(f"/exec/{task}", wait=10)["exit_code"] == 0


def test_more_than_is_taken_at_once_is_413(hasty: Target) -> None:
    with hasty.client() as client:
        task = start(client, ["cat"])
        told = client.failure("POST", f"/exec/{task}/input", 413, content=b"x" * 1_000_001)
        assert "1000000" in told["error"]
        client.request("DELETE", f"/exec/{task}")


def test_a_command_that_is_deleted_meanwhile(client: Client) -> None:
    task = start(client, ["sleep", "60"])
    found: list[int] = []

    def write() -> None:
        answer = client.request("POST", f"/exec/{task}/input", content=b"x" * 1_000_000)
        found.append(answer.status_code)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.1)
    client.request("DELETE", f"/exec/{task}")
    writer.join(10)
    assert found[0] in (404, 409)
