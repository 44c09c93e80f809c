"""Events: exact, resumable, honest about what was missed, and nobody's pace but the reader's own.

Source: wire contract, section 4, "SSE" and "Output"; HTML, section 9.2.
"""

from __future__ import annotations

import hashlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.client import Client
from tests.commands import (
    Event,
    ended,
    events,
    follow,
    following,
    kept,
    run,
    stream,
    until,
    written,
)
from tests.serving import Target, serving

SMALL = (
    "--exec-memory-bytes=4096",
    "--exec-answer-bytes=16384",
    "--exec-finished-bytes=100000",
    "--silence-seconds=0.2",
    "--exec-finished=30",
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server that keeps little."""
    with serving(tmp_path_factory.mktemp("small"), *SMALL) as target:
        yield target


def talker(count: int, pause: float = 0.0) -> list[str]:
    code = (
        "import sys, time\n"
        f"for n in range({count}):\n"
        " print(n, flush=True)\n"
        " n % 7 or print('e', n, file=sys.stderr, flush=True)\n"
        f" time.sleep({pause})"
    )
    return [sys.executable, "-c", code]


def test_a_stream_begins_with_the_id_and_ends_with_exit(client: Client) -> None:
    for path, body in (("/exec/stream", {}), ("/exec", {"stream": True})):
        with client.http.stream("POST", path, json={"cmd": ["echo", "hello"], **body}) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            assert answer.headers["cache-control"] == "no-store"
            found = ended(list(events(answer.iter_lines())))
        assert [one.name for one in found] == ["task_id", "stdout", "exit"]
        task = client.json(f"/exec/{found[0].data['task_id']}")
        assert found[1].data == {"data": "aGVsbG8K"}
        assert found[2].data == {"exit_code": 0, "pid": task["guest_pid"], "status": "exited"}


def test_output_comes_as_it_is_written(client: Client) -> None:
    body = {"cmd": "echo one; read line; echo $line; read line"}
    with following(client, body=body) as found:
        task = next(found).data["task_id"]
        assert written([next(found)]) == b"one\n"
        client.request("POST", f"/exec/{task}/input", content=b"two\n")
        assert written([next(found)]) == b"two\n"
        client.request("POST", f"/exec/{task}/input", query="eof=true")
        assert next(found).data["exit_code"] == 1


def test_each_event_is_whole_characters(client: Client) -> None:
    text = "a€ä😀\n" * 40_000
    code = f"import os; d = {text[:5]!r}.encode() * 40_000\nwhile d: d = d[os.write(1, d[:8191]):]"
    found = stream(client, [sys.executable, "-c", code])
    assert written(found).decode() == "a€ä😀\n" * 40_000
    for one in found:
        if one.name == "stdout":
            written([one]).decode()


def test_half_a_character_is_not_held_back_for_ever(client: Client) -> None:
    body = {"cmd": "printf '\\303'; read line; printf '\\244'"}
    with following(client, body=body) as found:
        task = next(found).data["task_id"]
        assert written([next(found)]) == b"\xc3"
        client.request("POST", f"/exec/{task}/input", content=b"\n")
        assert written([next(found)]) == b"\xa4"


def test_a_reconnect_goes_on_where_it_stopped(client: Client) -> None:
    body = {"cmd": talker(300, 0.001), "id": "resumed"}
    seen: list[Event] = []
    with following(client, body=body) as found:
        seen += [next(found) for _ in range(5)]
    while seen[-1].name != "exit":
        with following(client, "resumed", headers={"Last-Event-ID": seen[-1].id}) as found:
            for one, _ in zip(found, range(40), strict=False):
                seen.append(one)
    ended(seen)
    assert written(seen) == "".join(f"{n}\n" for n in range(300)).encode()
    errors = "".join(f"e {n}\n" for n in range(0, 300, 7))
    assert written(seen, "stderr") == errors.encode()
    assert [one.name for one in seen].count("task_id") == 1
    # Now that it has ended: from any event on, precisely the rest.
    whole = written(seen)
    for index in range(0, len(seen) - 1, 37):
        rest = follow(client, "resumed", headers={"Last-Event-ID": seen[index].id})
        assert written(seen[: index + 1]) + written(rest) == whole
    over = client.http.get("/exec/stream?task_id=resumed", headers={"Last-Event-ID": seen[-1].id})
    assert (over.status_code, over.content) == (204, b"")


@pytest.mark.parametrize("value", ["x", "1", "1-", "-1-2", "1-2-3", "1-2-end-", "9" * 40 + "-0"])
def test_an_id_that_is_none_of_ours_is_400(client: Client, value: str) -> None:
    task = run(client, ["true"])["id"]
    told = client.failure(
        "GET", "/exec/stream", 400, query=f"task_id={task}", headers={"Last-Event-ID": value}
    )
    assert "Last-Event-ID" in told["error"]


def test_an_id_from_beyond_the_end_is_harmless(client: Client) -> None:
    task = run(client, ["echo", "a"])["id"]
    found = follow(client, task, headers={"Last-Event-ID": "999-999"})
    assert [one.name for one in found] == ["exit"]


def test_subscribing_replays_what_is_kept(client: Client) -> None:
    body = {"cmd": "echo one; echo two >&2; read line; echo three"}
    with following(client, body=body) as first:
        task = next(first).data["task_id"]
        until(lambda: client.json(f"/exec/{task}")["stderr"] == "two\n")
        with following(client, task) as second:
            head = [next(second), next(second)]
            assert (written(head), written(head, "stderr")) == (b"one\n", b"two\n")
            client.request("POST", f"/exec/{task}/input", content=b"\n")
            assert written(list(second)) == b"three\n"
        assert written(ended(list(first))) == b"one\nthree\n"


def test_many_readers_of_one_command(client: Client) -> None:
    task = run(client, talker(200, 0.002), 202, background=True)["id"]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: follow(client, task), range(8)))
    wanted = "".join(f"{n}\n" for n in range(200)).encode()
    assert {written(one) for one in found} == {wanted}


def test_a_slow_reader_is_told_what_it_missed(small: Target) -> None:
    with small.client() as client:
        body = {"cmd": "read line; head -c 300000 /dev/zero | tr '\\0' x; read line"}
        with following(client, body=body) as found:
            task = next(found).data["task_id"]
            # Nothing to read while it writes far more than is kept.
            client.request("POST", f"/exec/{task}/input", content=b"\n")
            until(lambda: client.json(f"/exec/{task}")["stdout_bytes"] == 300_000)
        with following(client, task, headers={"Last-Event-ID": "1000-0"}) as found:
            gap = next(found)
            assert (gap.name, gap.data["stream"]) == ("gap", "stdout")
            client.request("POST", f"/exec/{task}/input", content=b"\n")
            rest = ended(list(found))
        assert 1000 + gap.data["skipped"] + len(written(rest)) == 300_000
        assert 16384 <= len(written(rest)) <= 16384 + 4096 + 65536


def test_a_silent_stream_gives_signs_of_life(small: Target) -> None:
    with small.client() as client:
        asked = {"cmd": ["sleep", "0.9"]}
        with client.http.stream("POST", "/exec/stream", json=asked) as answer:
            lines = list(answer.iter_lines())
        assert lines.count(":") >= 3
        assert [one.name for one in events(iter(lines))] == ["task_id", "exit"]


def test_headers_come_at_once_however_silent_the_command(client: Client) -> None:
    task = run(client, ["sleep", "60"], 202, background=True)["id"]
    began = time.monotonic()
    with client.http.stream("GET", f"/exec/stream?task_id={task}") as answer:
        assert answer.status_code == 200
    assert time.monotonic() - began < 5
    assert client.http.head(f"/exec/stream?task_id={task}").status_code == 200
    client.request("DELETE", f"/exec/{task}")


def test_a_reader_that_stops_stops_nobody(client: Client, target: Target, tmp_path: Path) -> None:
    done = tmp_path / "done"
    body = (
        b'{"cmd":"head -c 200000000 /dev/zero; echo done > %s","id":"unread"}' % str(done).encode()
    )
    line = socket.create_connection(("127.0.0.1", target.port))
    line.sendall(
        b"POST /exec/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"
        % (target.token.encode(), len(body))
        + body
    )
    until(done.exists)
    began = time.monotonic()
    assert client.json("/runtime")["success"]
    assert time.monotonic() - began < 2
    assert client.json("/exec/unread", wait=10)["exit_code"] == 0
    line.close()
    until(lambda: client.request("DELETE", "/exec/unread").status_code == 200)


def test_a_client_that_leaves_a_stream_ends_no_command(client: Client) -> None:
    body = {"cmd": "echo a; sleep 0.3; echo b", "id": "left-stream"}
    with following(client, body=body) as found:
        next(found)
    assert client.json("/exec/left-stream", wait=10)["stdout"] == "a\nb\n"


# --- what is kept ---------------------------------------------------------------------------------


def test_an_answer_carries_the_end_of_each_stream(small: Target) -> None:
    with small.client() as client:
        task = run(client, "seq 1 20000; seq 1 100 >&2")
        whole = "".join(f"{n}\n" for n in range(1, 20001))
        assert task["stdout_bytes"] == len(whole)
        assert task["stdout_truncated"] is True
        assert whole.endswith(task["stdout"]) and len(task["stdout"]) == 16384
        assert (task["stderr_truncated"], task["stderr_bytes"]) == (False, 292)
        raw = kept(client, task["id"])
        assert whole.encode().endswith(raw.content) and len(raw.content) >= 16384
        assert int(raw.headers["x-output-offset"]) + len(raw.content) == len(whole)
        told = client.failure("GET", f"/exec/{task['id']}/output", 416, query="offset=5")
        assert str(told["first_kept"]) in told["error"]


def test_a_cut_answer_begins_with_a_whole_character(small: Target) -> None:
    with small.client() as client:
        for extra in range(4):
            words = [sys.executable, "-c", f"print('€' * 10000 + 'x' * {extra}, end='')"]
            task = run(client, words)
            assert task["stdout_truncated"] and "\ufffd" not in task["stdout"]


def test_keep_logs_keeps_all_of_it(small: Target) -> None:
    with small.client() as client:
        task = run(client, "seq 1 10000; seq 1 5000 >&2", keep_logs=True)
        whole = "".join(f"{n}\n" for n in range(1, 10001)).encode()
        assert task["stdout_truncated"] is True, "an answer still carries only the end"
        assert kept(client, task["id"]).content == whole
        assert kept(client, task["id"], offset=100, limit=50).content == whole[100:150]
        assert kept(client, task["id"], offset=len(whole) + 5).content == b""
        assert kept(client, task["id"], limit=0).content == b""
        errors = kept(client, task["id"], stream="stderr").content
        assert errors.endswith(b"\n5000\n") and errors.startswith(b"1\n")


def test_the_oldest_lose_their_output_first(small: Target) -> None:
    with small.client() as client:
        client.request("DELETE", "/exec")
        tasks = [run(client, "seq 1 9000", keep_logs=True)["id"] for _ in range(4)]
        found = [client.json(f"/exec/{one}") for one in tasks]
        dropped = [one.get("output_dropped", False) for one in found]
        assert dropped == [True, True, False, False], "two of 43,893 bytes fit"
        assert [one["stdout"] == "" for one in found] == dropped
        assert all(one["exit_code"] == 0 and one["stdout_bytes"] == 43893 for one in found)
        spools = sum(
            one.stat().st_size for one in (small.state_dir / "tasks").rglob("*") if one.is_file()
        )
        assert spools <= 100_000
        huge = run(client, "seq 1 50000", keep_logs=True)["id"]
        until(lambda: client.json(f"/exec/{huge}").get("output_dropped"))
        until(lambda: len(kept(client, huge).content) == 100_000)


def test_the_oldest_records_go_first(small: Target) -> None:
    with small.client() as client:
        client.request("DELETE", "/exec")
        tasks = [run(client, ["true"])["id"] for _ in range(33)]
        assert [one["id"] for one in client.json("/exec")["tasks"]] == tasks[3:]


def test_spools_go_with_their_tasks(small: Target) -> None:
    with small.client() as client:
        task = run(client, "seq 1 9000", keep_logs=True)["id"]
        until(lambda: any((small.state_dir / "tasks").rglob("stdout")))
        client.request("DELETE", "/exec")
        client.failure("GET", f"/exec/{task}", 404)
        until(lambda: not any((small.state_dir / "tasks").rglob("*")))


def test_a_full_answer_is_exact_to_the_last_byte(client: Client) -> None:
    code = "import os, random; r = random.Random(7); d = r.randbytes(6_000_000)\nwhile d: d = d[os.write(1, d):]"
    task = run(client, [sys.executable, "-c", code])
    import random  # noqa: PLC0415  # the same generator

    data = random.Random(7).randbytes(6_000_000)
    assert task["stdout_bytes"] == len(data)
    raw = kept(client, task["id"]).content
    assert data.endswith(raw) and len(raw) >= 4 << 20
    assert data[-(4 << 20) :].decode("utf-8", "replace")[-1000:] == task["stdout"][-1000:]


def test_fifty_at_once_with_a_megabyte_each(client: Client) -> None:
    code = (
        "import hashlib, os, sys\nd = b''.join(hashlib.sha256(b'%d %d' % (int(sys.argv[1]), n)).digest()"
        " for n in range(32768))\nwhile d: d = d[os.write(1, d):]"
    )

    def one(number: int) -> bool:
        found = stream(client, [sys.executable, "-c", code, str(number)])
        wanted = b"".join(hashlib.sha256(b"%d %d" % (number, n)).digest() for n in range(32768))
        return hashlib.sha256(written(found)).digest() == hashlib.sha256(wanted).digest()

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(one, range(50)))


def test_the_fifty_first_is_429(tmp_path: Path) -> None:
    with serving(tmp_path) as target, target.client() as client:
        tasks = [run(client, ["sleep", "60"], 202, background=True)["id"] for _ in range(50)]
        told = client.failure("POST", "/exec", 429, body={"cmd": ["true"]})
        assert told["code"] == "rate_limited" and "50" in told["error"]
        client.request("DELETE", f"/exec/{tasks[0]}")
        assert run(client, ["true"])["exit_code"] == 0, "finished ones do not count"


def test_a_gigabyte_into_nobodys_ears(client: Client, target: Target) -> None:
    def resident() -> int:
        lines = Path(f"/proc/{target.pid}/status").read_text().splitlines()
        return int(next(one for one in lines if one.startswith("VmRSS")).split()[1])

    before, most = resident(), 0
    found: list[int] = []
    caller = threading.Thread(
        target=lambda: found.append(run(client, "yes | head -c 1000000000")["stdout_bytes"])
    )
    caller.start()
    while caller.is_alive():
        most = max(most, resident())
        caller.join(0.05)
    assert found == [1_000_000_000]
    assert most - before < 64 * 1024
