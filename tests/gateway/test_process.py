"""`hutch gateway` as a process: options, the end, its log, and being killed under load."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
import trustme

from tests.controlling import Account, controlling
from tests.controlling import until as holds
from tests.gateway.plane import CREDENTIAL, Plane, Workspace
from tests.gateway.through import Gateway, gatewaying
from tests.serving import Target


@pytest.fixture
def workspace(plane: Plane, target: Target) -> Workspace:
    """The server that all tests share, as a workspace."""
    return plane.add(Workspace("ws_process", "127.0.0.1", target.port, target.token))


def _ask(gateway: Gateway, token: str, path: str, *, body: object = None) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token}"}
    method = "GET" if body is None else "POST"
    return httpx2.request(method, gateway.url + path, json=body, headers=headers, timeout=30)


def _run(*options: str, directory: Path) -> subprocess.CompletedProcess[str]:
    credential = directory / "credential"
    credential.write_text("c" * 64)
    words = [sys.executable, "-m", "hutch.cli", "gateway", "--port=0", "--admin-port=0"]
    given = " ".join(options)
    if "--control-url" not in given:
        words.append("--control-url=http://127.0.0.1:9")
    if "--control-token-file" not in given:
        words.append(f"--control-token-file={credential}")
    return subprocess.run(
        [*words, *options], capture_output=True, text=True, timeout=30, check=False
    )


BAD = {
    "a network without TLS": (("--host=0.0.0.0",), "--tls-cert"),
    "the operators' listener on a network": (("--admin-host=0.0.0.0",), "--admin-host: '0.0.0.0'"),
    "no address of the operators' listener": (("--admin-host=",), "--admin-host: empty"),
    "a certificate without its key": (("--tls-cert=/etc/hostname",), "--tls-key"),
    "a certificate that is none": (
        ("--tls-cert=/etc/hostname", "--tls-key=/etc/hostname"),
        "/etc/hostname",
    ),
    "a network that is none": (("--network=10.0.0.1/8",), "10.0.0.1/8"),
    "a control plane that is none": (("--control-url=ftp://x",), "ftp://x"),
    "a control plane without a host": (("--control-url=http://:1",), "--control-url: 'http://:1'"),
    "half an address": (("--control-url=http://[::1",), "--control-url: 'http://[::1'"),
    "a port of letters": (("--control-url=http://a:b",), "--control-url: 'http://a:b'"),
    "a port beyond 65535": (("--control-url=http://a:70000",), "--control-url: 'http://a:70000'"),
    "a credential that is not there": (("--control-token-file=/nowhere",), "/nowhere"),
    "an origin that is none": (("--allow-origin=page",), "page"),
    "a limit out of range": (("--connect-seconds=0",), "--connect-seconds"),
    "a negative time": (("--stale-for=-1",), "--stale-for"),
}


@pytest.mark.parametrize(("options", "named"), BAD.values(), ids=BAD)
def test_a_bad_option_is_named(tmp_path: Path, options: tuple[str, ...], named: str) -> None:
    done = _run(*options, directory=tmp_path)
    assert done.returncode != 0
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said_plainly(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for option in (f"--port={port}", f"--admin-port={port}"):
            done = _run(option, directory=tmp_path)
            assert done.returncode != 0
            assert f"127.0.0.1:{port}" in done.stderr
            assert "Traceback" not in done.stderr


def test_nothing_outside_the_default_networks_is_dialled(
    plane: Plane, workspace: Workspace, tmp_path: Path
) -> None:
    with gatewaying(tmp_path, plane.url, network=None) as gateway:
        assert _ask(gateway, plane.token(workspace), "/runtime").status_code == 401


def test_its_log_names_workspaces_and_holds_no_token(
    plane: Plane, workspace: Workspace, tmp_path: Path
) -> None:
    token = plane.token(workspace)
    with gatewaying(tmp_path, plane.url) as gateway:
        for given, path in (
            (token, f"/runtime?token={token}&other=secret-of-mine"),
            (token, "/nowhere"),
            (token[:-5], "/runtime"),
        ):
            _ask(gateway, given, path)
        assert token not in Path(f"/proc/{gateway.pid}/cmdline").read_text()
        holds(lambda: gateway.log.read_text().count('"route"') == 3, "three lines")
        log = gateway.log.read_text()
    lines = [json.loads(one) for one in log.splitlines() if one.startswith("{")]
    assert [(one["status"], one.get("workspace")) for one in lines] == [
        (200, "ws_process"),
        (404, "ws_process"),
        (401, None),
    ]
    for secret in (token[-40:], workspace.token, "secret-of-mine", "c" * 64):
        assert secret not in log


def test_sigterm_lets_what_is_under_way_finish_and_nobody_holds_it_up(
    plane: Plane, workspace: Workspace, target: Target, tmp_path: Path
) -> None:
    token = plane.token(workspace)
    with gatewaying(tmp_path, plane.url, "--grace-seconds=2") as gateway:
        stalled = socket.create_connection(("127.0.0.1", httpx2.URL(gateway.url).port or 0))
        stalled.sendall(
            f"GET /files/stream?path=/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        assert stalled.recv(1)
        told: list[int] = []

        def run() -> None:
            body = {"cmd": ["sh", "-c", "sleep 1; echo done"]}
            answer = _ask(gateway, token, "/exec", body=body)
            told.append(answer.status_code if "done" in answer.text else 0)

        thread = threading.Thread(target=run)
        thread.start()
        with target.client() as direct:
            holds(lambda: '"running"' in direct.get("/exec").text, "it runs")
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(15) == 0
        assert time.monotonic() - began < 10
        thread.join()
        stalled.close()
    assert told == [200]


def test_tls_and_a_new_certificate_on_sighup(
    plane: Plane, workspace: Workspace, tmp_path: Path
) -> None:
    authority = trustme.CA()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def renew() -> None:
        issued = authority.issue_cert("127.0.0.1")
        cert.write_bytes(issued.cert_chain_pems[0].bytes())
        key.write_bytes(issued.private_key_pem.bytes())

    renew()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def serial() -> object:
        port = httpx2.URL(gateway.url).port or 0
        with socket.create_connection(("127.0.0.1", port)) as plain:
            with trusting.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                found = secure.getpeercert()
                assert found is not None
                return found["serialNumber"]

    options = (f"--tls-cert={cert}", f"--tls-key={key}")
    with gatewaying(tmp_path / "gateway", plane.url, *options) as gateway:
        headers = {"Authorization": f"Bearer {plane.token(workspace)}"}
        answer = httpx2.get(f"{gateway.url}/runtime", headers=headers, verify=trusting)
        assert answer.status_code == 200
        before = serial()
        renew()
        gateway.process.send_signal(signal.SIGHUP)
        holds(lambda: serial() != before, "the new certificate")


def test_a_bad_certificate_keeps_no_new_credential_from_being_read(
    plane: Plane, workspace: Workspace, tmp_path: Path
) -> None:
    issued = trustme.CA().issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(issued.cert_chain_pems[0].bytes())
    key.write_bytes(issued.private_key_pem.bytes())
    options = (f"--tls-cert={cert}", f"--tls-key={key}")
    wrong = "w" * 64
    with gatewaying(tmp_path / "gateway", plane.url, *options, credential=wrong) as gateway:
        headers = {"Authorization": f"Bearer {plane.token(workspace)}"}

        def status() -> int:
            return httpx2.get(f"{gateway.url}/runtime", headers=headers, verify=False).status_code

        assert status() == 503
        cert.write_text("none")
        (tmp_path / "gateway" / "credential").write_text(CREDENTIAL)
        gateway.process.send_signal(signal.SIGHUP)
        holds(lambda: status() == 200, "the new credential")
        assert "SIGHUP: " in gateway.log.read_text()


class Load:
    """Writers that go on until told otherwise; what was acknowledged, and what was not."""

    def __init__(self, tree: Path, url: Callable[[], str], token: str) -> None:
        self._tree = tree
        self._url = url
        self._token = token
        self._stop = threading.Event()
        self.acknowledged: list[Path] = []
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(4)]

    def __enter__(self) -> Load:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for one in self._threads:
            one.join()

    def _write(self, number: int) -> None:
        count = 0
        headers = {"Authorization": f"Bearer {self._token}"}
        with httpx2.Client(headers=headers, verify=False, timeout=30) as http:
            while not self._stop.is_set():
                count += 1
                path = self._tree / f"{number}-{count}"
                body = {"path": str(path), "content": path.name}
                try:
                    answer = http.put(f"{self._url()}/files/write", json=body)
                except httpx2.HTTPError as error:
                    self.failures.append(type(error).__name__)
                    time.sleep(0.02)  # nobody listens just now
                    continue
                if answer.status_code == 201:
                    self.acknowledged.append(path)
                else:
                    self.failures.append(answer.text)

    def went_on(self, count: int) -> None:
        """That many more are acknowledged."""
        wanted = len(self.acknowledged) + count
        holds(
            lambda: len(self.acknowledged) >= wanted, f"{count} more writes; {self.failures[-3:]}"
        )

    def all_there(self) -> None:
        assert len(self.acknowledged) > 20
        for path in self.acknowledged:
            assert path.read_text() == path.name


def test_killed_under_load_it_loses_nothing_that_was_acknowledged(
    plane: Plane, workspace: Workspace, tree: Path, tmp_path: Path
) -> None:
    token = plane.token(workspace)
    urls = ["http://127.0.0.1:9"]
    with Load(tree, lambda: urls[-1], token) as load:
        for turn in range(3):
            with gatewaying(tmp_path / str(turn), plane.url) as gateway:
                urls.append(gateway.url)
                load.went_on(20)
                gateway.process.kill()
                gateway.process.wait()
    load.all_there()


def test_the_control_plane_killed_and_restarted_under_load(tmp_path: Path, tree: Path) -> None:
    with controlling(tmp_path / "control") as control, control.account() as account:
        identifier, raw = account.enabled()
        network = f"/workspace/{identifier}/network"
        account.ok("PATCH", network, {"public_access": True})
        access = f"/workspace/{identifier}/runtime-api-access"
        token = account.ok("POST", f"{access}/workspace")["token"]
        credential = (control.state_dir / "gateway.token").read_text().strip()
        with (
            gatewaying(
                tmp_path / "gateway",
                control.internal_url,
                credential=credential,
                network=control.network,
            ) as gateway,
            Load(tree, lambda: gateway.url, token) as load,
        ):
            load.went_on(20)
            for _ in range(2):
                control.kill()
                load.went_on(20)
                control.start()
                load.went_on(20)
            assert load.failures == []
            _rotated_at_once(account, access, gateway, token)
        load.all_there()
        assert account.raw(identifier)["token"] != raw["token"]


def _rotated_at_once(account: Account, access: str, gateway: Gateway, old: str) -> None:
    fresh = account.ok("POST", f"{access}/token")["token"]
    assert _ask(gateway, fresh, "/runtime").status_code == 200
    assert _ask(gateway, old, "/runtime").status_code == 401
