"""`hutch serve`: tokens, files it writes, signals, and what it never shows.

Source: wire contract, section 0.
"""

from __future__ import annotations

import base64
import json
import os
import pty
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from tests.client import Client
from tests.serving import Target, serving

from hutch.wire.config import limit_fields

COMMAND = [sys.executable, "-m", "hutch.cli", "serve"]


def eventually(holds: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Waits for something that tells nobody when it comes about."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.02)


def run(*options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_ready_file_tells_url_pid_and_instance(tmp_path: Path) -> None:
    with serving(tmp_path) as target:
        told = json.loads((tmp_path / "ready.json").read_text())
        assert (told["url"], told["pid"]) == (target.url, target.pid)
        assert told["instance"]
        assert httpx2.get(f"{told['url']}/health").status_code == 200


def test_the_instance_changes_with_each_start(tmp_path: Path) -> None:
    found = set()
    for _ in range(2):
        with serving(tmp_path):
            found.add(json.loads((tmp_path / "ready.json").read_text())["instance"])
    assert len(found) == 2


def test_the_token_of_the_environment_is_gone_before_the_port_opens(tmp_path: Path) -> None:
    with serving(tmp_path) as target:
        environment = Path(f"/proc/{target.pid}/environ").read_bytes()
        command_line = Path(f"/proc/{target.pid}/cmdline").read_bytes()
        assert target.token.encode() not in environment
        assert target.token.encode() not in command_line
        with target.client() as client:
            client.json("/runtime")
            client.get("/files", path="/nope")
    assert target.token not in target.log.read_text()


def test_a_token_is_made_kept_and_used_again(tmp_path: Path) -> None:
    without = {"HUTCH_TOKEN": ""}
    tokens = set()
    for _ in range(2):
        with serving(tmp_path, environment=without) as target:
            kept = target.state_dir / "token"
            assert stat.S_IMODE(kept.stat().st_mode) == 0o600
            assert stat.S_IMODE(target.state_dir.stat().st_mode) == 0o700
            token = kept.read_text().strip()
            tokens.add(token)
            with target.client(token=token) as client:
                client.json("/runtime")
            log = target.log.read_text()
            assert token not in log
            assert str(kept) in log
    assert len(tokens) == 1


GIVEN = {"made": "", "of the environment": "a-token-of-the-environment"}


@pytest.mark.parametrize("name", GIVEN)
def test_a_terminal_is_given_a_curl_line_that_works(tmp_path: Path, name: str) -> None:
    main, side = pty.openpty()
    options = ["--port=0", f"--state-dir={tmp_path / 'state'}", "--cwd=it's a & b%41"]
    (tmp_path / "it's a & b%41").mkdir()
    environment = os.environ | {"HUTCH_TOKEN": GIVEN[name]}
    process = subprocess.Popen(
        [*COMMAND, *options], stdout=side, stderr=side, env=environment, cwd=tmp_path
    )
    try:
        os.close(side)
        shown = ""
        while "curl" not in shown or "\n" not in shown[shown.index("curl") :]:
            shown += os.read(main, 65536).decode()
        line = shown[shown.index("curl") :].splitlines()[0]
        answer = subprocess.run(
            ["/bin/sh", "-c", line], capture_output=True, text=True, check=False, env=environment
        )
        assert answer.stdout.splitlines()[-1] == '{"event":"done","count":0}', answer
        assert not GIVEN[name] or GIVEN[name] not in shown
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        os.close(main)


def test_a_token_file_is_read_again_on_sighup(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first-token-0123456789\n")
    with serving(tmp_path, f"--token-file={file}", environment={"HUTCH_TOKEN": ""}) as target:
        old = target.client(token="first-token-0123456789")
        old.json("/runtime")
        file.write_text("second-token-0123456789\n")
        os.kill(target.pid, signal.SIGHUP)
        new = target.client(token="second-token-0123456789")
        eventually(lambda: new.get("/runtime").status_code == 200)
        assert old.get("/runtime").status_code == 401


def test_connections_of_the_old_token_are_closed(tmp_path: Path, tree: Path) -> None:
    for number in range(20_000):
        (tree / f"{'x' * 200}{number}").touch()
    file = tmp_path / "token"
    file.write_text("first-token-0123456789\n")
    with serving(tmp_path, f"--token-file={file}", environment={"HUTCH_TOKEN": ""}) as target:
        with (
            target.client(token="first-token-0123456789") as old,
            old.http.stream("GET", f"/files/stream?path={tree}") as stream,
        ):
            chunks = stream.iter_raw(65536)
            next(chunks)
            file.write_text("second-token-0123456789\n")
            os.kill(target.pid, signal.SIGHUP)
            new = target.client(token="second-token-0123456789")
            eventually(lambda: new.get("/runtime").status_code == 200)
            with pytest.raises(httpx2.RemoteProtocolError):
                for _ in chunks:
                    pass


def ask(one: socket.socket, token: str) -> bytes:
    """The answer to a request on a connection that stays open; nothing where it is closed."""
    head = f"GET /health HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
    try:
        one.sendall(head.encode())
        return one.recv(65536)
    except OSError:
        return b""


def test_an_idle_connection_of_the_old_token_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first-token-0123456789\n")
    with serving(tmp_path, f"--token-file={file}", environment={"HUTCH_TOKEN": ""}) as target:
        with (
            socket.create_connection(("127.0.0.1", target.port), timeout=10) as idle,
            socket.create_connection(("127.0.0.1", target.port), timeout=10) as half,
        ):
            assert b" 200 " in ask(idle, "first-token-0123456789")
            half.sendall(b"GET /health HTTP/1.1\r\n")
            # The same again changes nothing.
            os.kill(target.pid, signal.SIGHUP)
            assert b" 200 " in ask(idle, "first-token-0123456789")
            file.write_text("second-token-0123456789\n")
            os.kill(target.pid, signal.SIGHUP)
            assert idle.recv(1) == b""
            # A request whose head is on its way is read, and judged by the new token.
            half.sendall(b"Host: a\r\n\r\n")
            assert b" 200 " in half.recv(65536)


def test_sighup_without_a_token_file_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as target, target.client() as client:
        os.kill(target.pid, signal.SIGHUP)
        eventually(lambda: "SIGHUP: there is no token file" in target.log.read_text())
        client.json("/runtime")


def test_the_kept_token_is_read_again_on_sighup(tmp_path: Path) -> None:
    with serving(tmp_path, environment={"HUTCH_TOKEN": ""}) as target:
        (target.state_dir / "token").write_text("another-token-0123456789\n")
        os.kill(target.pid, signal.SIGHUP)
        client = target.client(token="another-token-0123456789")
        eventually(lambda: client.get("/runtime").status_code == 200)


def test_a_token_file_counts_before_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("  token-of-the-file-0123  \n")
    with serving(tmp_path, f"--token-file={file}") as target:
        with target.client() as client:
            assert client.get("/runtime").status_code == 401
        with target.client(token="token-of-the-file-0123") as client:
            client.json("/runtime")


def test_no_file_that_the_server_shows_or_holds_has_the_token(tmp_path: Path) -> None:
    with serving(tmp_path) as target, target.client() as client:
        for name in ("environ", "cmdline", "stat", "status", "maps"):
            path = f"/proc/{target.pid}/{name}"
            told = client.json("/files/read", path=path, encoding="base64")
            assert target.token.encode() not in base64.b64decode(told["content"])
        held = [one for one in Path(f"/proc/{target.pid}/fd").iterdir() if one.is_file()]
        assert held
        for one in held:
            assert target.token.encode() not in one.read_bytes()


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "localhost"])
def test_the_address_is_the_one_given(tmp_path: Path, host: str) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("no IPv6")
    with serving(tmp_path, f"--host={host}") as target:
        shown = {"::1": ("[::1]",), "localhost": ("127.0.0.1", "[::1]")}.get(host, (host,))
        assert httpx2.URL(target.url).netloc.decode().rpartition(":")[0] in shown
        assert httpx2.get(f"{target.url}/health").status_code == 200


def test_an_option_counts_before_the_environment(tmp_path: Path, tree: Path) -> None:
    for number in range(9):
        (tree / str(number)).touch()
    environment = {"HUTCH_LISTING_ENTRIES": "3"}
    with serving(tmp_path, "--listing-entries=5", environment=environment) as target:
        with target.client() as client:
            assert client.json("/files", path=tree)["count"] == 5


def test_the_defaults_are_the_documented_ones() -> None:
    shown = " ".join(run("--help").stdout.split())
    for words in ("[default: 127.0.0.1]", "[default: 9990; 0<=x<=65535]", "/var/lib/hutch as root"):
        assert words in shown


def test_a_token_file_that_is_bad_on_sighup_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first-token-0123456789\n")
    with serving(tmp_path, f"--token-file={file}", environment={"HUTCH_TOKEN": ""}) as target:
        file.write_text("short\n")
        os.kill(target.pid, signal.SIGHUP)
        eventually(lambda: "SIGHUP" in target.log.read_text())
        with target.client(token="first-token-0123456789") as client:
            client.json("/runtime")


def test_two_servers_cannot_share_a_state_directory(tmp_path: Path) -> None:
    with serving(tmp_path) as target:
        done = run("--port=0", f"--state-dir={target.state_dir}")
        assert done.returncode == 1
        assert str(target.state_dir) in done.stderr


def test_a_taken_port_is_said_plainly(tmp_path: Path) -> None:
    with serving(tmp_path / "one") as target:
        done = run(f"--port={target.port}", f"--state-dir={tmp_path / 'two'}")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert f"127.0.0.1:{target.port}" in done.stderr
        assert "give another port" in done.stderr


BAD_OPTIONS = {
    "token too short": (["--port=0"], {"HUTCH_TOKEN": "short"}, "HUTCH_TOKEN"),
    "token with blanks": (["--port=0"], {"HUTCH_TOKEN": "a token with blanks"}, "without blanks"),
    "token file missing": (["--token-file=/nope"], {}, "/nope: No such file"),
    "token file of bytes": (["--token-file=/bin/true"], {}, "/bin/true: not a token"),
    "ready file": (["--port=0", "--ready-file=/nope/ready"], {}, "Error: /nope/ready: No such"),
    "port": (["--port=65536"], {}, "port"),
    "limit": (["--body-bytes=-1"], {}, "body-bytes"),
    "limit that is no number": (["--silence-seconds=nan"], {}, "silence-seconds"),
    "endless limit": (["--grace-seconds=inf"], {}, "grace-seconds"),
    "limit over what the kernel counts": (["--send-idle-seconds=1e9"], {}, "send-idle-seconds"),
    "host that is none": (["--port=0", "--host=nonsense.invalid"], {}, "nonsense.invalid:0"),
    "host of somebody else": (["--port=0", "--host=192.0.2.1"], {}, "192.0.2.1:0"),
    "empty host": (["--port=0", "--host="], {}, "--host"),
    "origin": (["--allow-origin=\u00e9"], {}, "--allow-origin"),
    "origin with a path": (["--allow-origin=https://a/b"], {}, "--allow-origin"),
    "origin without a scheme": (["--allow-origin=page.example"], {}, "--allow-origin"),
    "working directory": (["--cwd=/nope"], {}, "/nope"),
    "state directory that is a file": (["--port=0", "--state-dir=/etc/passwd"], {}, "/etc/passwd"),
    "state directory that cannot be": (["--port=0", "--state-dir=/proc/x"], {}, "/proc/x"),
    "token of several lines": ([], {"HUTCH_TOKEN": "abc\ndef0123456789abc"}, "HUTCH_TOKEN"),
    "a source of ripgrep that is none": (["--ripgrep-url=ftp://x"], {}, "--ripgrep-url: 'ftp://x'"),
    "limit in the environment": ([], {"HUTCH_BODY_BYTES": "x"}, "HUTCH_BODY_BYTES"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_a_bad_option_is_named(tmp_path: Path, case: str) -> None:
    options, environment, name = BAD_OPTIONS[case]
    done = run(f"--state-dir={tmp_path}", *options, env=environment)
    assert done.returncode != 0
    assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["trio", "hypercorn", "quart_trio"])
def test_what_is_not_installed_is_named(name: str) -> None:
    without = (
        f"import sys; sys.modules[{name!r}] = None; from hutch.cli import main; main(['serve'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", without], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {name} is missing")
    assert "pip install 'hutch[server]'" in done.stderr


def test_a_debug_build_is_refused(tmp_path: Path) -> None:
    words = ["serve", "--port=0", f"--state-dir={tmp_path}"]
    script = (
        "from hutch import _native; _native.DEBUG = True; "
        f"from hutch.cli import main; main({words!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "--allow-debug-build" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_each_limit_is_an_option_and_a_variable() -> None:
    shown = "".join(run("--help").stdout.split())
    for one in limit_fields():
        assert one.option in shown
        assert one.variable in shown


def test_a_limit_of_the_environment_holds(tmp_path: Path, tree: Path) -> None:
    for number in range(20):
        (tree / str(number)).touch()
    environment = {"HUTCH_LISTING_ENTRIES": "7"}
    with serving(tmp_path, environment=environment) as target, target.client() as client:
        told = client.json("/files", path=tree)
        assert (told["count"], told["truncated"]) == (7, True)


def test_sigterm_ends_it_with_exit_code_0(tmp_path: Path) -> None:
    with serving(tmp_path) as target:
        begun = time.monotonic()
        os.kill(target.pid, signal.SIGTERM)
        eventually(lambda: not _lives(target))
        assert time.monotonic() - begun < 10


def _lives(target: Target) -> bool:
    try:
        return Path(f"/proc/{target.pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_sigterm_ends_it_whatever_clients_do(tmp_path: Path, tree: Path) -> None:
    for number in range(20_000):
        (tree / f"{'x' * 200}{number}").touch()
    with serving(tmp_path) as target:
        clients = [target.client() for _ in range(10)]
        streams = [
            one.http.send(one.http.build_request("GET", f"/files/stream?path={tree}"), stream=True)
            for one in clients
        ]
        assert {one.status_code for one in streams} == {200}
        begun = time.monotonic()
        os.kill(target.pid, signal.SIGTERM)
        eventually(lambda: not _lives(target), seconds=12)
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize("origin", ["*", "https://page.example", "http://localhost:3000"])
def test_a_page_may_read_every_answer_and_error(tmp_path: Path, tree: Path, origin: str) -> None:
    page = "https://any.example" if origin == "*" else origin
    with serving(tmp_path, f"--allow-origin={origin}") as target:
        headers = {"Origin": page, "Authorization": f"Bearer {target.token}"}
        paths = {f"/files/stream?path={tree}": 200, "/files/read": 400, "/nope": 404}
        for path, status in paths.items():
            answer = httpx2.get(f"{target.url}{path}", headers=headers)
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == origin
            assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
            assert "access-control-allow-credentials" not in answer.headers
        answer = httpx2.get(f"{target.url}/files", headers={"Origin": page})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, origin)


def test_origins_are_configured(tmp_path: Path) -> None:
    page = "https://page.example"
    with serving(tmp_path, f"--allow-origin={page}") as target:
        headers = {"Origin": page, "Access-Control-Request-Method": "PUT"}
        answer = httpx2.options(f"{target.url}/files/write", headers=headers)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == page
        assert "access-control-allow-credentials" not in answer.headers
        with Client(target.url, target.token) as client:
            answer = client.http.get("/runtime", headers={"Origin": page})
            assert answer.headers["access-control-allow-origin"] == page
            answer = client.http.get("/runtime", headers={"Origin": "https://other.example"})
            assert "access-control-allow-origin" not in answer.headers
