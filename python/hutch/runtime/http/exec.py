"""`/exec` and below.

Belongs here: these rows. Source: wire contract, section 4; reference, "Command Execution".
"""

from __future__ import annotations

import msgspec

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.runtime.exec.answers import RawOutput, TaskAnswer
from hutch.runtime.exec.events import Events
from hutch.runtime.exec.task import Task as RunningTask
from hutch.server.answers import respond_bytes
from hutch.server.bodies import read_body
from hutch.server.streaming import Exchange, respond
from hutch.wire.exec import (
    COMMENT,
    Cursor,
    Deleted,
    DeletedAll,
    ExecBody,
    InputQuery,
    InputWritten,
    OutputQuery,
    SignalBody,
    Signalled,
    SubscribeQuery,
    Task,
    TaskList,
    WaitQuery,
    idempotency_key,
    last_event,
)

_NO_STORE = (b"cache-control", b"no-store")
_JSON = ((b"content-type", b"application/json"), _NO_STORE)
# nginx would gather events before it passes them on.
_SSE = ((b"content-type", b"text/event-stream"), _NO_STORE, (b"x-accel-buffering", b"no"))
_NEVER = float("inf")


async def run(runtime: Runtime, call: Call[ExecBody], exchange: Exchange) -> None:
    """Runs a command: answers with its end, its events, or at once that it runs."""
    if call.asked.stream:
        await run_stream(runtime, call, exchange)
        return
    key, background = idempotency_key(call.headers), call.asked.background
    task = await runtime.commands.run(call.asked, key, pipe=background)
    await _respond_task(
        runtime,
        exchange,
        task,
        status=202 if background else 200,
        wait_seconds=0 if background else _NEVER,
    )


async def run_stream(runtime: Runtime, call: Call[ExecBody], exchange: Exchange) -> None:
    """Runs a command, and answers with its events."""
    cursor = last_event(call.headers)
    asked = msgspec.structs.replace(call.asked, stream=True)
    task = await runtime.commands.run(asked, idempotency_key(call.headers), pipe=True)
    await _respond_events(runtime, exchange, task, cursor, announce=True)


async def subscribe(runtime: Runtime, call: Call[SubscribeQuery], exchange: Exchange) -> None:
    """Answers with the events of a task, running or not."""
    cursor = last_event(call.headers)
    task = runtime.commands.get(call.asked.task_id)
    await task.ready.wait()
    await _respond_events(runtime, exchange, task, cursor, announce=False)


async def _respond_events(
    runtime: Runtime,
    exchange: Exchange,
    task: RunningTask,
    cursor: Cursor | None,
    *,
    announce: bool,
) -> None:
    if cursor is not None and cursor.ended:
        # It has seen `exit`: this status tells a browser to come back no more.
        await respond_bytes(exchange, status=204, headers=(_NO_STORE,), body=b"")
        return
    events = Events(task, cursor, runtime.config.limits, announce=announce)
    await respond(
        exchange,
        status=200,
        headers=_SSE,
        source=events,
        keepalive=COMMENT,
        keepalive_after=runtime.config.limits.silence_seconds,
    )


async def show(runtime: Runtime, call: Call[WaitQuery], exchange: Exchange) -> None:
    """Answers with a task, at once or when it has ended."""
    task = runtime.commands.get(call.params["id"])
    await _respond_task(runtime, exchange, task, status=200, wait_seconds=call.asked.wait)


async def _respond_task(
    runtime: Runtime, exchange: Exchange, task: RunningTask, *, status: int, wait_seconds: float
) -> None:
    limits = runtime.config.limits
    answer = TaskAnswer(
        task,
        most=limits.exec_answer_bytes,
        wait_seconds=wait_seconds,
        first_silence=limits.exec_silent_seconds,
        silence=limits.silence_seconds,
    )
    try:
        # Most commands end soon, and say little.
        whole = await answer.whole()
        if whole is None:
            await respond(exchange, status=status, headers=_JSON, source=answer)
        else:
            await respond_bytes(exchange, status=status, headers=_JSON, body=whole)
    finally:
        answer.stop()


async def list_tasks(runtime: Runtime, _call: Call[None]) -> TaskList:
    """Answers with every task, without output."""
    return TaskList(tasks=[one.facts() for one in runtime.commands.all()])


async def delete(runtime: Runtime, call: Call[None]) -> Deleted:
    """Ends a task's tree and forgets it."""
    await runtime.commands.delete(runtime.commands.get(call.params["id"]))
    return Deleted()


async def delete_all(runtime: Runtime, _call: Call[None]) -> DeletedAll:
    """Ends and forgets every task."""
    return DeletedAll(deleted=await runtime.commands.delete_all())


async def read_output(runtime: Runtime, call: Call[OutputQuery], exchange: Exchange) -> None:
    """Answers with the bytes of one stream that are kept."""
    task, asked = runtime.commands.get(call.params["id"]), call.asked
    output = task.stdout if asked.stream == "stdout" else task.stderr
    source = RawOutput(task, output, offset=asked.offset, limit=asked.limit)
    headers = (
        (b"content-type", b"application/octet-stream"),
        _NO_STORE,
        (b"content-length", b"%d" % source.length),
        (b"x-output-offset", b"%d" % source.begin),
        (b"x-output-bytes", b"%d" % source.total),
    )
    await respond(exchange, status=200, headers=headers, source=source)


async def write_input(runtime: Runtime, call: Call[InputQuery], exchange: Exchange) -> None:
    """Writes the request's body to a task's standard input."""
    task = runtime.commands.get(call.params["id"])
    limits = runtime.config.limits
    data = await read_body(exchange, limits, limits.exec_input_bytes)
    written = await runtime.commands.write(task, data, eof=call.asked.eof)
    body = msgspec.json.encode(InputWritten(bytes_written=written))
    await respond_bytes(exchange, status=200, headers=_JSON, body=body)


async def send_signal(runtime: Runtime, call: Call[SignalBody]) -> Signalled:
    """Sends a signal to a task's process group."""
    task = runtime.commands.get(call.params["id"])
    return Signalled(signal=await runtime.commands.signal(task, call.asked.signal))


ROUTES = (
    Route(
        method="POST",
        path="/exec",
        kind="stream",
        handler=run,
        summary="Run a command",
        shape=ExecBody,
        source="body",
        answer=Task,
        other_statuses=(202,),
    ),
    Route(
        method="GET",
        path="/exec",
        kind="json",
        handler=list_tasks,
        summary="List tasks",
        answer=TaskList,
    ),
    Route(
        method="DELETE",
        path="/exec",
        kind="json",
        handler=delete_all,
        summary="End and forget every task",
        answer=DeletedAll,
    ),
    Route(
        method="POST",
        path="/exec/stream",
        kind="stream",
        handler=run_stream,
        summary="Run a command and follow its events",
        shape=ExecBody,
        source="body",
        media_type="text/event-stream",
    ),
    Route(
        method="GET",
        path="/exec/stream",
        kind="stream",
        handler=subscribe,
        summary="Follow a task's events",
        shape=SubscribeQuery,
        media_type="text/event-stream",
    ),
    Route(
        method="GET",
        path="/exec/{id}",
        kind="stream",
        handler=show,
        summary="One task with its output",
        shape=WaitQuery,
        answer=Task,
    ),
    Route(
        method="DELETE",
        path="/exec/{id}",
        kind="json",
        handler=delete,
        summary="End and forget a task",
        answer=Deleted,
    ),
    Route(
        method="GET",
        path="/exec/{id}/output",
        kind="stream",
        handler=read_output,
        summary="The exact bytes of a task's output",
        shape=OutputQuery,
        media_type="application/octet-stream",
    ),
    Route(
        method="POST",
        path="/exec/{id}/input",
        kind="stream",
        handler=write_input,
        summary="Write to a task's standard input",
        shape=InputQuery,
        answer=InputWritten,
        request_media_type="application/octet-stream",
    ),
    Route(
        method="POST",
        path="/exec/{id}/signal",
        kind="json",
        handler=send_signal,
        summary="Send a signal to a task",
        shape=SignalBody,
        source="body",
        answer=Signalled,
    ),
)
