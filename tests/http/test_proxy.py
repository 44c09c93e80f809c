"""`/proxy`: an application of the workspace, reached through the runtime.

Each application here is a bare socket that keeps what it got to the byte. Source: wire contract,
section 8.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.applications import App, Request, ask, listening, send
from tests.serving import Target, serving


@pytest.fixture
def app() -> Iterator[App]:
    with listening() as one:
        yield one


def forms(app: App, path: str) -> dict[str, tuple[str, ...]]:
    """The same request in every form; `path` has no query."""
    return {
        "header": (f"/proxy{path}", f"X-Oblien-Proxy-Target: {app.port}"),
        "header with host": (f"/proxy{path}", f"x-oblien-proxy-target: localhost:{app.port}"),
        "parameter": (f"/proxy{path}?x_oblien_target={app.port}",),
        "quoted parameter": (f"/proxy{path}?x%5Foblien_target=127.0.0.1%3A{app.port}",),
        "segment": (f"/proxy/{app.port}{path}",),
        "segment with host": (f"/proxy/LOCALHOST:{app.port}{path}",),
        "local": (f"/runtimes/local/proxy/{app.port}{path}",),
        "quoted local": (f"/runtimes%2Flocal/%70roxy/{app.port}{path}",),
    }


NAMES = list(forms(App(1), "/"))


@pytest.mark.parametrize("form", NAMES)
@pytest.mark.parametrize("path", ["/", "/a/b%2Fc/../d;e=f//", "/%74%C3%A9%ff"])
def test_every_form_leads_to_the_path_as_it_was_written(
    target: Target, app: App, form: str, path: str
) -> None:
    answer = ask(target, *forms(app, path)[form])
    assert (answer.status, answer.body) == (200, b"ok")
    assert app.line == f"GET {path} HTTP/1.1".encode()


def test_without_a_path_it_is_the_root(target: Target, app: App) -> None:
    for path in (f"/proxy/{app.port}", f"/proxy?x_oblien_target={app.port}"):
        assert ask(target, path).status == 200
        assert app.line == b"GET / HTTP/1.1"


def test_the_header_counts_before_the_parameter_and_that_before_the_path(
    target: Target, app: App
) -> None:
    ask(target, "/proxy/22/a?x_oblien_target=23&b=c", f"X-Oblien-Proxy-Target: {app.port}")
    assert app.line == b"GET /22/a?b=c HTTP/1.1"
    ask(target, f"/proxy/22/a?b=c&x_oblien_target={app.port}")
    assert app.line == b"GET /22/a?b=c HTTP/1.1"


METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "M-SEARCH",
)


@pytest.mark.parametrize("method", METHODS)
def test_any_method(target: Target, app: App, method: str) -> None:
    answer = ask(target, f"/proxy/{app.port}/a", method=method)
    assert answer.status == 200
    assert answer.body == (b"" if method == "HEAD" else b"ok")
    assert app.line == f"{method} /a HTTP/1.1".encode()


def test_connect_is_400_and_everybody_else_is_served_on(target: Target, app: App) -> None:
    app.answer = b"HTTP/1.1 200 OK\r\n\r\nwhatever"
    for path in (f"/proxy/{app.port}/a", f"localhost:{app.port}"):
        answer = ask(target, path, f"X-Oblien-Proxy-Target: {app.port}", method="CONNECT")
        assert (answer.status, answer.failure["code"]) == (400, "bad_request")
    assert app.heads == []
    assert ask(target, "/health").status == 200


def test_what_the_application_gets(target: Target, app: App) -> None:
    sent = (
        "X-One: 1", "accept: */*", "COOKIE: a=b; c=d", "X-One: \xff", "Origin: http://page.example",
        "Authorization-Info: x", "X-Forwarded-Host: spoofed", "Forwarded: for=1.2.3.4",
        f"X-Oblien-Proxy-Target: {app.port}", "Referer: http://a/",
    )  # fmt: skip
    ask(target, "/proxy/a?x=1", *sent, method="POST", body=b"abc")
    assert app.head == (
        b"POST /a?x=1 HTTP/1.1\r\nHost: localhost:%d\r\nX-One: 1\r\naccept: */*\r\n"
        b"COOKIE: a=b; c=d\r\nX-One: \xff\r\nOrigin: http://page.example\r\n"
        b"Authorization-Info: x\r\nX-Forwarded-Host: my.host:1234\r\nForwarded: for=1.2.3.4\r\n"
        b"Referer: http://a/\r\nContent-Length: 3\r\nConnection: close\r\n\r\n" % app.port
    )


def test_what_the_client_gets(target: Target, app: App) -> None:
    app.answer = (
        b"HTTP/1.1 418 Short And Stout\r\nSet-Cookie: a=b\r\nx-odd: \xff\r\nSet-Cookie: c=d\r\n"
        b"Access-Control-Allow-Origin: https://theirs.example\r\nServer: mine\r\n"
        b"Content-Length: 3\r\nX-Request-ID: theirs\r\nDate: never\r\n\r\nabc"
    )
    answer = ask(target, f"/proxy/{app.port}/", "Origin: http://page.example")
    head = app.answer.partition(b"\r\n\r\n")[0]
    assert answer.head == head + b"\r\nConnection: close"
    assert answer.body == b"abc"


# --- credentials and targets -------------------------------------------------------------------


def spellings(token: str) -> dict[str, str]:
    quoted = "".join(f"%{ord(one):02x}" for one in token)
    return {
        "plain": f"token={token}",
        "quoted name": f"%74oken={token}",
        "quoted value": f"token={quoted}",
        "all quoted": f"%74%6F%6b%65%6e={quoted}",
        "doubled": f"token={token}&token={token}",
        "among others": "&".join([f"a{i}={i}" for i in range(5000)])
        + f"&token={token}&"
        + "&".join([f"b{i}={i}" for i in range(5000)]),
    }


@pytest.mark.parametrize("name", list(spellings("a")))
def test_the_token_in_the_query_never_gets_there(target: Target, app: App, name: str) -> None:
    pair = spellings(target.token)[name]
    for query in (pair, f"z=1&{pair}&y=%20+", f"%78_oblien_target={app.port}&{pair}&q"):
        ask(target, f"/proxy/a?{query}", f"X-Oblien-Proxy-Target: {app.port}")
        line = app.line.decode()
        rest = [
            one
            for one in query.split("&")
            if "z" in one or "y" in one or one == "q" or one[0] in "ab"
        ]
        wanted = [one for one in rest if "token" not in one]
        assert line == f"GET /a{'?' * bool(wanted)}{'&'.join(wanted)} HTTP/1.1"
        assert target.token not in line and "x_oblien" not in line


@pytest.mark.parametrize(
    "query",
    ["token=abc", "token=", "token", "a=1&token=x%20y&&=&b=%zz&token=2", "?", "", "a=b?c&d#e"],
)
def test_an_applications_own_query_passes_unchanged(target: Target, app: App, query: str) -> None:
    if "#" in query:
        query = query.replace("#", "%23")
    ask(target, f"/proxy/{app.port}/a?{query}")
    assert app.line == f"GET /a?{query} HTTP/1.1".encode()


def test_token_and_target_do_not_arrive_as_the_query_of_a_referrer(
    target: Target, app: App
) -> None:
    page = f"http://my.host/proxy/a?token=app&b&%74oken={target.token}&x_oblien_target={app.port}"
    ask(target, f"/proxy/{app.port}/", f"Referer: {page}", "referer: http://a/?")
    head = app.head
    assert b"Referer: http://my.host/proxy/a?token=app&b\r\nreferer: http://a/?\r\n" in head
    assert target.token.encode() not in head


def test_an_authorization_of_ones_own_is_no_credential_here(target: Target, app: App) -> None:
    answer = send(
        target,
        b"GET /proxy/%d/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Basic abc\r\n\r\n"
        % app.port,
    )
    assert answer.status == 401
    assert app.heads == []


UPGRADE = (
    b"Host: my.host\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
REFUSED = b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"


@pytest.mark.parametrize(
    "own", [b"", b"Authorization: Basic abc\r\n", b"Authorization: Bearer theirs\r\n"]
)
@pytest.mark.parametrize("order", ["last", "first", "alone"])
def test_a_socket_is_let_in_by_its_query_and_keeps_its_own_credentials(
    target: Target, app: App, own: bytes, order: str
) -> None:
    app.answer = REFUSED
    query = {
        "last": f"token=app&token={target.token}",
        "first": f"token={target.token}&a=1&token=app",
        "alone": f"token={target.token}",
    }[order]
    raw = f"GET /proxy/{app.port}/ws?{query} HTTP/1.1\r\n".encode() + UPGRADE + own + b"\r\n"
    answer = send(target, raw)
    assert (answer.status, answer.body) == (403, b"no")
    kept = {"last": b"?token=app", "first": b"?a=1&token=app", "alone": b""}[order]
    head = app.head
    assert head.startswith(b"GET /ws" + kept + b" HTTP/1.1\r\n")
    assert own in head and target.token.encode() not in head
    assert b"X-Forwarded-Host: my.host\r\n" in head


def test_ours_goes_from_among_several_authorization_headers(target: Target, app: App) -> None:
    app.answer = REFUSED
    both = f"Authorization: bearer  {target.token}\r\nAuthorization: Bearer theirs\r\n".encode()
    path = f"GET /proxy/{app.port}/ws?token={target.token} HTTP/1.1\r\n".encode()
    assert send(target, path + UPGRADE + both + b"\r\n").status == 403
    head = app.head
    assert target.token.encode() not in head and b"Authorization: Bearer theirs\r\n" in head


def test_a_socket_without_the_token_is_401(target: Target, app: App) -> None:
    for query in ("", "?token=wrong", f"?token={target.token}x", f"?tokens={target.token}"):
        raw = f"GET /proxy/{app.port}/ws{query} HTTP/1.1\r\n".encode() + UPGRADE + b"\r\n"
        assert send(target, raw).status == 401
    assert app.heads == []


def test_a_socket_of_a_foreign_page_is_403(target: Target, app: App) -> None:
    path = f"GET /proxy/{app.port}/ws?token={target.token} HTTP/1.1\r\n".encode()
    foreign = b"Origin: https://evil.example\r\n\r\n"
    assert send(target, path + UPGRADE + foreign).status == 403
    assert app.heads == []


NO_PORT = (
    "0", "65536", "+80", "-1", "22;", "080", "1e3", "0x50", " 80", "80 ", "\uff13\uff10\uff10\uff10",
    "127.1", "localhost.evil", "[::]", "0.0.0.0", "169.254.169.254", "localhost", "localhost:",
    "127.0.0.1:0", "localhost:65536", "http://localhost:80/", "", "80\u0660",
)  # fmt: skip
ELSEWHERE = (
    "127.1:80", "localhost.evil:80", "[::]:80", "0.0.0.0:80", "169.254.169.254:80", "::1:80", ":80",
    "127.0.0.2:80", "2130706433:80", "0x7f000001:80", "127.0.0.1.:80", "[::ffff:127.0.0.1]:80",
    "localhost.:80", "a@localhost:80", "localhost:80:81", "[::1%25lo]:80", "ⓛocalhost:80",
)  # fmt: skip


def as_forms(text: str) -> Iterator[tuple[str, ...]]:
    quoted = "".join(f"%{one:02X}" for one in text.encode())
    yield (f"/proxy/a?x_oblien_target={quoted}",)
    yield (f"/proxy/{quoted}/a",)
    with contextlib.suppress(UnicodeEncodeError):
        raw = text.encode("latin-1").decode("latin-1")
        if raw.strip() == raw:
            yield ("/proxy/a", f"X-Oblien-Proxy-Target: {raw}")


@pytest.mark.parametrize("text", NO_PORT)
def test_what_is_no_port_is_400(target: Target, text: str) -> None:
    for form in as_forms(text):
        answer = ask(target, *form)
        assert (answer.status, answer.failure["code"]) == (400, "bad_request"), form


@pytest.mark.parametrize("text", ELSEWHERE)
def test_what_is_elsewhere_is_403(target: Target, text: str) -> None:
    for form in as_forms(text):
        answer = ask(target, *form)
        assert (answer.status, answer.failure["code"]) == (403, "forbidden"), form


def test_our_own_port_is_403_in_each_spelling(target: Target) -> None:
    for host in ("", "localhost:", "LocalHost:", "127.0.0.1:", "[::1]:"):
        for form in as_forms(f"{host}{target.port}"):
            answer = ask(target, *form)
            assert (answer.status, answer.failure["code"]) == (403, "forbidden"), form


def test_two_targets_are_400(target: Target, app: App) -> None:
    two = (f"X-Oblien-Proxy-Target: {app.port}", "X-Oblien-Proxy-Target: 22")
    assert ask(target, "/proxy/", *two).status == 400
    assert ask(target, f"/proxy/?x_oblien_target=22&%78_oblien_target={app.port}").status == 400
    assert app.heads == []
    same = f"x_oblien_target={app.port}"
    assert ask(target, f"/proxy/?{same}&{same}").status == 200


def test_no_target_is_400_and_says_how(target: Target) -> None:
    for path in ("/proxy", "/proxy/", "/proxy//a"):
        answer = ask(target, path)
        assert answer.status == 400
        assert "X-Oblien-Proxy-Target" in str(answer.failure["error"])


def test_a_bare_port_is_tried_at_both_addresses(target: Target) -> None:
    try:
        context = listening("::1")
        app = context.__enter__()
    except OSError:
        pytest.skip("no IPv6 on loopback")
    try:
        for form in (
            f"/proxy/{app.port}/",
            f"/proxy/localhost:{app.port}/",
            f"/proxy/[::1]:{app.port}/",
        ):
            assert ask(target, form).status == 200
            assert b"Host: localhost:%d\r\n" % app.port in app.head
        assert ask(target, f"/proxy/127.0.0.1:{app.port}/").status == 502
    finally:
        context.__exit__(None, None, None)


def test_nothing_listening_is_502_at_once(target: Target) -> None:
    with listening() as app:
        port = app.port
    for form in forms(App(port), "/a").values():
        answer = ask(target, *form)
        assert answer.status == 502
        assert answer.failure["may_have_arrived"] is False
        assert str(port) in str(answer.failure["error"])


# --- redirects ---------------------------------------------------------------------------------

LOCATIONS = {
    "/x?y=1#z": "{prefix}/x?y=1#z",
    "http://localhost:{port}/x": "{prefix}/x",
    "http://127.0.0.1:{port}?a": "{prefix}/?a",
    "HTTP://[::1]:{port}": "{prefix}/",
    "//localhost:{port}/x": "{prefix}/x",
    "https://my.host:1234/x": "{prefix}/x",
    "x/y": "{prefix}/x/y",
    "?a=b": "{prefix}/a?a=b",
    "../..//x/../y?../z": "{prefix}//y?../z",
    "./%2E%2e/x/.": "{prefix}/x/",
    "/../x#..": "{prefix}/x#..",
    "http://localhost:{port}/x/..": "{prefix}/",
}
ELSEWHERE_LOCATIONS = (
    "http://localhost:1/x", "http://other.example/", "//other.example/", "mailto:a@b", "#a", "",
    "http://localhost/x", "http://a@localhost:{port}/", "http:\\\\localhost:{port}/",
)  # fmt: skip


@pytest.mark.parametrize("form", NAMES)
@pytest.mark.parametrize("location", [*LOCATIONS, *ELSEWHERE_LOCATIONS])
def test_a_redirect_to_itself_takes_the_requests_form(
    target: Target, app: App, form: str, location: str
) -> None:
    given = location.format(port=app.port)
    app.answer = f"HTTP/1.1 302 Found\r\nLocation: {given}\r\nContent-Length: 0\r\n\r\n".encode()
    request = forms(app, "/a")[form]
    prefix = request[0].partition("?")[0].removesuffix("/a")
    wanted = LOCATIONS.get(location, given).format(prefix=prefix)
    if "parameter" in form and location in LOCATIONS:
        rest, mark, fragment = wanted.partition("#")
        pair = request[0].partition("?")[2]
        wanted = f"{rest}{'&' if '?' in rest else '?'}{pair}{mark}{fragment}"
    (found,) = ask(target, *request).header(b"location")
    assert found.decode() == wanted


def test_a_relative_redirect_from_a_root_without_its_slash(target: Target, app: App) -> None:
    app.answer = b"HTTP/1.1 302 Found\r\nLocation: login?a\r\nContent-Length: 0\r\n\r\n"
    for path, wanted in (
        (f"/proxy/{app.port}", f"/proxy/{app.port}/login?a"),
        (f"/proxy?x_oblien_target={app.port}", f"/proxy/login?a&x_oblien_target={app.port}"),
    ):
        (found,) = ask(target, path).header(b"location")
        assert found.decode() == wanted


# --- pages, CORS, and preflights ---------------------------------------------------------------

PREFLIGHT = ("Origin: https://page.example", "Access-Control-Request-Method: GET")


def test_a_preflight_with_the_token_is_the_applications(target: Target, app: App) -> None:
    app.answer = b"HTTP/1.1 204 Fine\r\nAccess-Control-Allow-Origin: *\r\n\r\n"
    answer = ask(target, f"/proxy/{app.port}/a", *PREFLIGHT, method="OPTIONS")
    assert answer.header(b"access-control-allow-origin") == [b"*"]
    assert app.line == b"OPTIONS /a HTTP/1.1"


def test_origins_of_ours_count_where_the_application_has_none(tmp_path: Path, app: App) -> None:
    with serving(tmp_path, "--allow-origin=https://page.example") as target:
        for own, wanted in (
            (b"", b"https://page.example"),
            (b"https://own.example", b"https://own.example"),
        ):
            line = b"Access-Control-Allow-Origin: " + own + b"\r\n" if own else b""
            app.answer = b"HTTP/1.1 200 OK\r\n" + line + b"Content-Length: 0\r\n\r\n"
            answer = ask(target, f"/proxy/{app.port}/", "Origin: https://page.example")
            assert answer.header(b"access-control-allow-origin") == [wanted]


# --- bad requests ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest",
    [
        b"Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nX-A: 1\r\n folded\r\n\r\n",
        b"Host: a\nX-A: 1\r\n\r\n",
        b"Host: a\r\nHost: b\r\n\r\n",
        b"Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ],
)
def test_ambiguous_requests_never_get_there(target: Target, app: App, rest: bytes) -> None:
    line = b"POST /proxy/%d/ HTTP/1.1\r\nAuthorization: Bearer %b\r\n"
    raw = line % (app.port, target.token.encode()) + rest
    assert send(target, raw).status == 400
    assert app.heads == []


def test_absolute_form_never_gets_there(target: Target, app: App) -> None:
    for host in ("my.host:1234", "other"):
        answer = ask(target, f"http://{host}/proxy/{app.port}/")
        assert (answer.status, answer.failure["code"]) == (400, "bad_request")
    assert app.heads == []


# --- ends --------------------------------------------------------------------------------------


def test_a_new_token_ends_sockets_with_1008(tmp_path: Path, app: App) -> None:
    stay = threading.Event()

    def speak(connected: socket.socket, _request: Request) -> None:
        connected.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        stay.wait(30)

    app.answer = speak
    file = tmp_path / "token"
    file.write_text("a" * 32)
    with serving(
        tmp_path / "server", f"--token-file={file}", environment={"HUTCH_TOKEN": ""}
    ) as one:
        raw = f"GET /proxy/{app.port}/ws?token={'a' * 32} HTTP/1.1\r\n".encode() + UPGRADE + b"\r\n"
        with socket.create_connection(("127.0.0.1", one.port), timeout=30) as wire:
            wire.sendall(raw)
            assert b" 101 " in wire.recv(65536)
            file.write_text("b" * 32)
            os.kill(one.pid, signal.SIGHUP)
            got = b""
            while piece := wire.recv(65536):
                got += piece
    stay.set()
    assert got[:1] == b"\x88" and int.from_bytes(got[2:4], "big") == 1008
