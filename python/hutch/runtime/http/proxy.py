"""`/proxy`: requests for the applications of the workspace.

Belongs here: the three forms of naming a target, and these rows. Banned here: what changes in a
head on its way (`passing`), which targets may be reached (`runtime.ports`).
Source: wire contract, section 8.

What a request said is taken from its bytes: an application gets path and query as they were
written, quoted or not.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal
from urllib.parse import unquote, unquote_to_bytes

from hutch.forward import Ending
from hutch.forward.heads import values
from hutch.routing.table import ANY, Call, Route
from hutch.runtime.composition import Runtime
from hutch.runtime.http.auth import HOLD, Hold
from hutch.runtime.http.passing import PARAMETER, TARGET, Form, Passing
from hutch.server.streaming import Exchange
from hutch.wire.errors import Failure
from hutch.wire.shapes import split_pair

_ROOT: Final = "/proxy"
_CHARACTER: Final = re.compile(rb"%[0-9A-Fa-f]{2}|.", re.DOTALL)
_POLICY_VIOLATION: Final = 1008


async def pass_on(runtime: Runtime, _call: Call[None], exchange: Exchange) -> None:
    """Passes the request on to the application that it names, and the answer back."""
    scope = exchange.scope
    form = form_of(scope)
    server = scope.get("server")
    upstream = runtime.ports.find(form.target, own_port=server[1] if server else None)
    hold: Hold = scope["state"][HOLD]
    ending = Ending()
    if scope["type"] == "websocket":
        hold.softly = lambda: ending.end(_POLICY_VIOLATION, "the token was replaced")
    edit = Passing(form, port=upstream.addresses[0][1], is_ours=hold.is_ours)
    await runtime.ports.forwarder.carry(exchange, upstream, edit, ending=ending)


def form_of(scope: Any) -> Form:
    """Which application a request names, and how: header, parameter, or first segment.

    Raises `Failure` (bad_request) where it names none, or two.
    """
    prefix, path = _split_path(scope)
    named = values(scope["headers"], TARGET.lower())
    if named:
        return Form(target=_sole(named, TARGET.decode()), prefix=prefix, path=path)
    pairs = [one for one in scope["query_string"].split(b"&") if split_pair(one)[0] == PARAMETER]
    if pairs:
        target = _sole([split_pair(one)[1] for one in pairs], PARAMETER.decode())
        return Form(target=target, prefix=prefix, path=path, parameter=pairs[0])
    segment, _, rest = path[1:].partition(b"/")
    if not segment:
        raise Failure(
            "bad_request",
            f"which port? send the header {TARGET.decode()} or the parameter "
            f"{PARAMETER.decode()}, or ask for {_ROOT}/<port>/<path>",
        )
    return Form(target=unquote_to_bytes(segment), prefix=prefix + b"/" + segment, path=b"/" + rest)


def _sole(found: list[bytes], name: str) -> bytes:
    if any(one != found[0] for one in found):
        raise Failure("bad_request", f"{name}: given {len(found)} times; name one target")
    return found[0]


def _split_path(scope: Any) -> tuple[bytes, bytes]:
    """The raw path up to `/proxy`, and what follows it.

    Whatever quoting `/runtimes/local` and `/proxy` were written with: each of their characters is
    one of the raw path's, or a triplet.
    """
    raw: bytes = scope["raw_path"]
    before = len(unquote(raw.decode("latin-1"))) - len(scope["path"])
    at = 0
    for _ in range(before + len(_ROOT)):
        found = _CHARACTER.match(raw, at)
        at = found.end() if found else len(raw)
    prefix, path = raw[:at], raw[at:] or b"/"
    if not path.startswith(b"/"):
        raise Failure("not_found", f"no such endpoint: {scope['path'][:200]}")
    return prefix, path


def _row(path: Literal["/proxy", "/proxy/{path...}"]) -> Route:
    return Route(
        method=ANY,
        path=path,
        kind="passed",
        handler=pass_on,
        summary="Pass a request on to an application of the workspace",
    )


ROUTES = (_row("/proxy"), _row("/proxy/{path...}"))
