"""`hutch up`: one command to a working platform."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import pytest
from tests.controlling import runtime
from tests.upping import Platform, some_network, upping


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with upping(tmp_path_factory.mktemp("up")) as one:
        yield one


def _servers(platform: Platform) -> list[int]:
    """The workspaces' processes that live."""
    mark = os.fsencode(platform.state_dir / "workspaces")
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in one.read_bytes():
                found.append(int(one.parent.name))
        except OSError:
            continue
    return found


def test_the_lines_that_it_prints_work(platform: Platform) -> None:
    script = platform.script
    assert len(script) == 5
    for _ in range(2):  # whoever runs them again gets the same workspace
        done = subprocess.run(
            ["sh", "-e"], input="\n".join(script), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        last = json.loads(done.stdout[done.stdout.rindex('{"success":true,"path"') :])
        names = {one["name"] for one in last["entries"]}
        assert {"passwd", "hostname"} <= names
    with platform.account() as account:
        assert account.ok("GET", "/workspace")["total"] == 1


def test_the_secret_is_in_a_private_file_and_not_in_the_output(platform: Platform) -> None:
    file = platform.state_dir / "client.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert platform.credentials["OBLIEN_CLIENT_SECRET"] not in platform.log.read_text()


def test_a_workspace_is_network_dark_until_it_is_opened(platform: Platform) -> None:
    with platform.account() as account:
        identifier = account.create()["id"]
        place = f"/workspace/{identifier}"
        told = account.ok("POST", f"{place}/runtime-api-access/enable")
        headers = {"Authorization": f"Bearer {told['token']}"}
        answer = httpx2.get(f"{platform.gateway_url}/files?path=/etc", headers=headers)
        assert answer.status_code == 403
        assert "public_access" in answer.json()["error"]
        account.ok("PATCH", f"{place}/network", {"public_access": True})
        answer = httpx2.get(f"{platform.gateway_url}/files?path=/etc", headers=headers)
        assert answer.status_code == 200
        account.ok("POST", f"{place}/runtime-api-access/disable")
        answer = httpx2.get(f"{platform.gateway_url}/files?path=/etc", headers=headers)
        assert answer.status_code == 401


def test_a_rotated_token_is_dead_and_the_new_one_works_at_once(platform: Platform) -> None:
    with platform.account() as account:
        identifier = account.create()["id"]
        access = f"/workspace/{identifier}/runtime-api-access"
        account.ok("PATCH", f"/workspace/{identifier}/network", {"public_access": True})
        tokens = [account.ok("POST", f"{access}/enable")["token"]]
        tokens += [account.ok("POST", f"{access}/workspace")["token"]]
        for _ in range(5):
            tokens.append(account.ok("POST", f"{access}/token")["token"])
            statuses = [_status(platform, one) for one in tokens]
            assert statuses == [401] * (len(tokens) - 1) + [200]


def _status(platform: Platform, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx2.get(f"{platform.gateway_url}/runtime", headers=headers)
    return int(answer.status_code)


def test_it_ends_with_its_workspaces_and_brings_them_back(tmp_path: Path) -> None:
    network = some_network()
    with upping(tmp_path, network=network) as platform, platform.account() as account:
        credentials = platform.credentials
        identifier = account.create()["id"]
        access = f"/workspace/{identifier}/runtime-api-access"
        account.ok("PATCH", f"/workspace/{identifier}/network", {"public_access": True})
        account.ok("POST", f"{access}/enable")
        token = account.ok("POST", f"{access}/workspace")["token"]
        assert _status(platform, token) == 200
        assert len(_servers(platform)) == 1
        began = time.monotonic()
        platform.process.send_signal(signal.SIGTERM)
        assert platform.process.wait(15) == 0
        assert time.monotonic() - began < 10
        assert _servers(platform) == []
    with upping(tmp_path, network=network) as platform:
        assert platform.credentials == credentials
        deadline = time.monotonic() + 20
        while _status(platform, token) != 200:
            assert time.monotonic() < deadline, platform.log.read_text()
            time.sleep(0.05)  # a workspace is brought back without telling anybody
    assert _servers(platform) == []


@pytest.mark.parametrize("option", ["--control-port", "--gateway-port"])
def test_a_port_that_is_taken_is_said_plainly(tmp_path: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["--control-port=0", "--gateway-port=0", f"--state-dir={tmp_path}"]
        command = [sys.executable, "-m", "hutch.cli", "up", *words, f"{option}={port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert f"127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_sigterm_ends_it_though_the_database_is_locked_and_a_server_hangs(tmp_path: Path) -> None:
    with upping(tmp_path) as platform, platform.account() as account:
        identifier, raw = account.enabled()
        with runtime(raw) as server:
            body = {"cmd": ["sleep", "600"], "background": True}
            command = server.request("POST", "/exec", body=body).json()["guest_pid"]
        (pid,) = _servers(platform)
        os.kill(pid, signal.SIGSTOP)
        with closing(sqlite3.connect(platform.state_dir / "control.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = threading.Thread(target=_rename, args=(platform, identifier))
            waiting.start()
            time.sleep(0.5)  # that its write waits for the lock is told to nobody
            began = time.monotonic()
            platform.process.send_signal(signal.SIGTERM)
            assert platform.process.wait(15) == 1
            assert time.monotonic() - began < 10
            waiting.join()
    assert _servers(platform) == []
    assert not Path(f"/proc/{command}/root").is_dir()


def _rename(platform: Platform, identifier: str) -> None:
    with platform.account() as account, suppress(httpx2.HTTPError):
        account.request("PUT", f"/workspace/{identifier}", body={"name": "other"})
