"""Between the server and the application: no error of one request reaches another.

Belongs here: running the application, and deciding what its errors mean: a client that left, a
failure to be answered, or a bug. Banned here: bytes and sockets; the two protocols answer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import trio

from hutch.server.gone import AnswerBegun, ClientGone
from hutch.server.service import ASGIApp
from hutch.server.streaming import Exchange
from hutch.wire.errors import Failure

_log: Final = logging.getLogger("hutch.server")

# Not SystemExit: only signals end a server, not a handler.
_PASSED: Final = (trio.Cancelled, KeyboardInterrupt)

_BUG: Final = "an unexpected error; the server's log has it under this request_id"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the application ended.

    `failure` is what the client is to be told, if its answer has not begun.
    """

    kind: Literal["returned", "gone", "begun", "failed", "bug"]
    failure: Failure | None = None


async def run(app: ASGIApp, exchange: Exchange) -> Outcome:
    """Runs the application for one exchange; raises only cancellation and KeyboardInterrupt.

    A bug is logged with its traceback and the request's id. BaseExceptions count too: a panic
    of the extension is one.
    """
    try:
        await app(exchange.scope, exchange.receive, exchange.send)
    except _PASSED:
        raise
    except BaseException as error:
        return _judge(error, exchange.scope["state"]["request_id"])
    return Outcome("returned")


def incomplete(request_id: str) -> Outcome:
    """The application returned and left its answer unfinished, with the client still there."""
    _log.error("the application returned without completing its answer, request_id=%s", request_id)
    return Outcome("bug", Failure("internal", _BUG))


def _judge(error: BaseException, request_id: str) -> Outcome:
    leaves = tuple(_leaves(error))
    bugs = [one for one in leaves if not isinstance(one, (ClientGone, AnswerBegun, Failure))]
    passed = error.subgroup(_PASSED) if isinstance(error, BaseExceptionGroup) else None
    if passed is not None:
        _log_bug(error, request_id)
        raise passed
    if bugs:
        _log_bug(error, request_id)
        return Outcome("bug", Failure("internal", _BUG))
    failure = next((one for one in leaves if isinstance(one, Failure)), None)
    if failure is not None:
        return Outcome("failed", failure)
    begun = next((one for one in leaves if isinstance(one, AnswerBegun)), None)
    return Outcome("gone") if begun is None else Outcome("begun", _cut(begun))


def _cut(begun: AnswerBegun) -> Failure:
    code: Literal["unauthorized", "internal"] = (
        "unauthorized" if begun.status in (401, 403) else "internal"
    )
    return Failure(code, "the answer was cut")


def _log_bug(error: BaseException, request_id: str) -> None:
    expected = (*_PASSED, ClientGone, AnswerBegun, Failure)
    rest = error.split(expected)[1] if isinstance(error, BaseExceptionGroup) else error
    if rest is not None:
        _log.error(
            "unexpected error, request_id=%s",
            request_id,
            exc_info=rest,
            extra={"request_id": request_id},
        )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error
