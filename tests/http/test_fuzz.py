"""Requests that nobody would write, over the route table as it is: no 5xx, and no end.

Hypothesis chooses method, path, parameters, headers and body; the framing is good (what is badly
framed is fuzzed in `tests/server`). The server is one of its own. What could change something is
only ever pointed below a directory that belongs to the test, or at what is no absolute path.
Source: design, section 5, "bad input".
"""

from __future__ import annotations

import http.client
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect
from tests import trees
from tests.client import Plain, b64
from tests.serving import Target, serving

from hutch.routing.table import Route
from hutch.runtime.http.app import TABLE
from hutch.wire import paths, shapes
from hutch.wire.system import local_path

# Known before a server runs, so that Hypothesis can point below it.
PLACE = Path(tempfile.gettempdir()).resolve() / f"hutch-fuzz-{os.getpid()}"
TREE = os.fsencode(PLACE / "tree")

SPEC: trees.Spec = {
    "a": "text\nmore\n",
    "b/c": b"\xff\0",
    "b/d/e": "",
    "f.py": "print(1)\n",
    ".gitignore": "*.log\n[\n\\\n",
    "x.log": "",
    "empty/": None,
}
# What reads only may be pointed at these too.
ODD_PLACES = (
    b"/dev/null", b"/dev/zero", b"/dev/ptmx", b"/proc/self/mem", b"/proc/self/environ",
    b"/proc/kmsg", b"/proc/self/fd/0", b"/proc/self/root", b"/proc/self/attr/current", b"/", b"/..",
    b"/proc/sys/net/ipv6/conf/all/stable_secret", b"/sys/kernel/notes", b"/nothing",
)  # fmt: skip


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Target]:
    PLACE.mkdir(mode=0o700)
    with serving(PLACE / "server", "--body-idle-seconds=5", "--body-bytes=100000") as target:
        yield target
        assert "Traceback" not in target.log.read_text()
    trees.remove_deep(PLACE)


def plant() -> None:
    """Something to find, made anew once it was removed."""
    tree = PLACE / "tree"
    if (tree / "b/d/e").is_file() and (tree / "link").is_symlink():
        return
    trees.remove_deep(tree)
    trees.build(tree, SPEC)
    os.mkfifo(tree / "fifo")
    os.symlink("loop", tree / "loop")
    os.symlink("b", tree / "link")


# Parameters that are paths, and lists of them.
PATHS = {"path", "root", "base", "dest"}
LISTS = {"paths"}


# --- paths -------------------------------------------------------------------------------------

NAMES = st.one_of(
    st.sampled_from(
        [b"a", b"b", b"c", b"link", b"loop", b"fifo", b"..", b".", b"", b"~", b"x.log", b"n" * 256]
    ),
    st.binary(max_size=8).map(lambda name: name.replace(b"/", b"").replace(b"\0", b"")),
)


def _is_below(path: bytes) -> bool:
    normal = paths.normalise(path)
    return normal == TREE or normal.startswith(TREE + b"/")


BELOW = st.lists(NAMES, max_size=6).map(lambda parts: b"/".join([TREE, *parts])).filter(_is_below)
NO_PATHS = st.one_of(
    st.sampled_from([b"", b"~", b"~/a", b"a", b"../a", b"./a", b"\0", b"C:\\a", b"\xff/a"]),
    st.binary(max_size=20).filter(lambda raw: not raw.startswith(b"/")),
)
THERE = st.sampled_from([*SPEC, "fifo", "loop", "link/c"]).map(
    lambda name: TREE + b"/" + os.fsencode(name)
)
SAFE = st.one_of(THERE, BELOW, THERE, BELOW, NO_PATHS)
ANY = st.one_of(SAFE, st.sampled_from(ODD_PLACES))
CUT = BELOW.map(lambda path: path + b"/a\0b")  # below as well, and refused


def _no_base64(text: bytes) -> bool:
    """Whether `text` leads to no absolute path, read as base64."""
    try:
        return not paths.decode_b64(text.decode("latin-1"), name="").startswith(b"/")
    except Exception:
        return True


NO_TWINS = st.binary(max_size=20).filter(_no_base64)


# --- requests ----------------------------------------------------------------------------------


# Those that ask for something come more often than those that ask for nothing.
ROUTES = [one for one in TABLE.routes for _ in range(4 if one.shape else 1)]


def leads_nowhere(target: str) -> bool:
    return TABLE.find(local_path(unquote(target))) is None


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


WORDS = st.one_of(
    st.sampled_from(
        [b"", b"true", b"0", b"1", b"-1", b"9" * 30, b"1e3", b"nan", b"null", b"a,b,,"]
    ),
    st.sampled_from(
        [b"!", b"[", b"\\", b"**", b"*/**/*", b"{a,b}", b"[[:alpha:]]", b"0777", b"base64"]
    ),
    st.binary(max_size=12),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def fitting(field: inspect.Field) -> st.SearchStrategy[object]:
    """Values that the field may well take, as JSON has them."""
    schema = shapes.schema(field.type)
    if field.encode_name in COMMANDS:
        return HARMLESS if field.encode_name != "shell" else st.sampled_from(["/bin/true", "", 5])
    if schema.get("type") == "boolean":
        return st.booleans()
    if schema.get("type") == "integer":
        return st.integers(-1, 30)
    words = ["0644", "7777", "a", "", "py,.go", "*.log,!b", "0" * 64, *schema.get("enum", ())]
    return st.sampled_from(words)


# A command is what it says: none is made up. Each of these is there, and ends by itself.
COMMANDS = {"cmd", "command", "shell"}
HARMLESS = st.sampled_from(
    [["/bin/true"], ["/bin/true", "a"], "/bin/true", [], [""], "", 5, {}, [1]]
)


def in_query(value: object) -> bytes:
    return json.dumps(value).strip('"').encode()


TAGS = st.sampled_from(["*", '"a"', 'W/"a"', "a", '"', "0" * 64, f'"{"f" * 64}"', '"a", "b"', ","])
RANGES = st.sampled_from(
    ["bytes=0-", "bytes=-1", "bytes=9-1", "bytes=a", "lines=1-2", "=", "-" * 99]
)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
HEADERS = st.one_of(
    st.tuples(st.sampled_from(["If-Match", "If-None-Match"]), TAGS | PRINTABLE),
    st.tuples(st.sampled_from(["Range", "If-Range"]), RANGES | TAGS | PRINTABLE),
    st.tuples(st.sampled_from(["If-Modified-Since", "If-Unmodified-Since", "Date"]), PRINTABLE),
    st.tuples(st.sampled_from(["Origin", "Accept", "Accept-Encoding", "Content-Type"]), PRINTABLE),
    st.tuples(st.sampled_from(["X-Request-ID", "Cookie", "Forwarded", "X-Odd"]), PRINTABLE),
)
NO_PORTS = st.sampled_from(["", "0", "+1", "%31%00", "x/y", "1:1", "evil:1", "[::]:1", "999999/1"])
ODD_TARGETS = st.one_of(
    st.sampled_from(
        ["/nope", "/files/", "//files", "/files/../files", "/files%2Fread", "/%00", "*"]
    ),
    st.binary(max_size=12).map(lambda raw: "/" + quote_from_bytes(raw, safe="/;:@!$'()*+,=~")),
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    if draw(st.integers(0, 9)) == 0:
        target, route = draw(ODD_TARGETS.filter(leads_nowhere)), None
    else:
        route = draw(st.sampled_from(ROUTES))
        target = draw(st.sampled_from(["", "/runtimes/local"])) + route.path
    methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "X"])
    if route is not None and route.kind == "passed":
        # Whatever listens on this machine is none of the fuzzer's business.
        target = target.replace("{path...}", draw(NO_PORTS))
    is_own = route is not None and route.kind != "passed" and draw(st.integers(0, 4))
    method = route.method if route is not None and is_own else draw(methods)
    # By what could happen on this path, not by what should: a method that changes something.
    # What walks a tree is not sent over the whole machine either: that would take long.
    only_reads = method in ("GET", "HEAD") and target.endswith(("/read", "/raw", "/stat"))
    query = draw(queries(route, ANY if only_reads else SAFE))
    headers = draw(st.lists(HEADERS, max_size=3, unique_by=lambda one: one[0]))
    body = b"" if method in ("GET", "HEAD") else draw(bodies(route))
    return Request(method, target + query, tuple(headers), body)


@st.composite
def queries(draw: st.DrawFn, route: Route | None, places: st.SearchStrategy[bytes]) -> str:
    fields = fields_of(route)
    pairs = []
    needed = [one for one in fields if fields[one].required and draw(st.integers(0, 4))]
    for name in needed + draw(st.lists(st.sampled_from(["path", *fields, "odd"]), max_size=4)):
        match name, draw(st.integers(0, 5)):
            case one, 0 if one in PATHS:
                twin = places.map(b64).map(str.encode) | NO_TWINS
                pairs.append((f"{one}_b64".encode(), draw(twin)))
            case one, _ if one in PATHS:
                pairs.append((one.encode(), draw(places | CUT)))
            case "odd", _:
                pairs.append((b"odd", draw(WORDS)))
            case _, 0:
                pairs.append((name.encode(), draw(WORDS)))
            case _:
                pairs.append((name.encode(), in_query(draw(fitting(fields[name])))))
    if only_defaults(pairs):
        # A listing of the whole machine is no nonsense, and would take long.
        pairs.append((b"path", TREE))
    return "?" + "&".join(f"{quote_from_bytes(k)}={quote_from_bytes(v)}" for k, v in pairs)


def fields_of(route: Route | None) -> dict[str, inspect.Field]:
    if route is None or route.shape is None:
        return {}
    return {one.encode_name: one for one in shapes.fields(route.shape)}


def only_defaults(pairs: list[tuple[bytes, bytes]]) -> bool:
    return not any(name in (b"path", b"path_b64") for name, _ in pairs)


TEXTS = SAFE.map(lambda path: path.decode("utf-8", "surrogateescape"))


@st.composite
def bodies(draw: st.DrawFn, route: Route | None) -> bytes:
    if draw(st.integers(0, 3)) == 0:
        # No object, so that nothing of these is a path or a command: Hypothesis picks up what the
        # suite spells out elsewhere.
        return draw(st.binary(max_size=200).filter(lambda raw: b"{" not in raw))
    known = fields_of(route)
    fields: dict[str, object] = {}
    for name in draw(st.lists(st.sampled_from([*known, "odd"]), max_size=4, unique=True)):
        if name in LISTS:
            fields[name] = draw(st.lists(TEXTS, max_size=3) | st.none() | st.integers())
        elif name in PATHS:
            fields[name] = draw(TEXTS)
        else:
            is_odd = name == "odd" or (name not in COMMANDS and draw(st.integers(0, 5)) == 0)
            fields[name] = draw(JSON if is_odd else fitting(known[name]))
    fields.pop("path", None)
    fields |= draw(ends(known))
    match draw(st.integers(0, 7)):
        case 0 | 1:
            fields["path_b64"] = draw(SAFE.map(b64))
        case 2:
            fields["path"] = draw(st.none() | st.booleans() | st.integers() | st.just([]))
        case _:
            fields["path"] = draw(TEXTS)
    if draw(st.integers(0, 5)):
        fields["content"] = draw(st.text(max_size=30))
    return json.dumps(fields, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


@st.composite
def ends(draw: st.DrawFn, known: dict[str, inspect.Field]) -> dict[str, object]:
    """What moves or copies is pointed nowhere else either, by whatever name it takes."""
    fields: dict[str, object] = {}
    for name, field in known.items():
        if name == "path" or not shapes.is_path(field.type):
            continue
        fields[name] = draw(SAFE).decode("utf-8", "surrogateescape")
        if draw(st.integers(0, 3)) == 0:
            fields[f"{name}_b64"] = draw(SAFE.map(b64))
    return fields


# --- the test ----------------------------------------------------------------------------------


def ask(connection: http.client.HTTPConnection, request: Request, token: str) -> Plain:
    """Raises IncompleteRead where an answer was cut."""
    connection.putrequest(request.method, request.target, skip_accept_encoding=True)
    connection.putheader("Authorization", f"Bearer {token}")
    for name, value in request.headers:
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(request.body)))
    connection.endheaders(request.body)
    answer = connection.getresponse()
    return Plain(answer.status, dict(answer.getheaders()), answer.read())


@settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(request=requests())
def test_no_request_is_a_server_error(fuzzed: Target, request: Request) -> None:
    plant()
    connection = http.client.HTTPConnection(urlsplit(fuzzed.url).netloc, timeout=20)
    try:
        answer = ask(connection, request, fuzzed.token)
    finally:
        connection.close()
    # An installation has nowhere to download from, and says so.
    is_upstream = request.target.partition("?")[0].endswith("/files/search/init")
    assert answer.status < 500 or (is_upstream and answer.status == 502), answer
    assert Path(f"/proc/{fuzzed.pid}").exists()
    if answer.status >= 400 and request.method != "HEAD":
        told = json.loads(answer.body)
        assert told["success"] is False
        assert told["error"]
        assert len(answer.body) < 4000
