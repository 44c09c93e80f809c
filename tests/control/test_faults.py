"""What goes wrong around a control plane: killed, restarted, its servers killed, twice at once.

Source: wire contract, sections 0 and 9; the promise that nothing acknowledged is lost.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import httpx2
import pytest
import trio
import trustme

from hutch.cli import main
from hutch.control.logins import Logins
from hutch.control.records import Client
from hutch.control.serve import Facing, Standing, run_control
from hutch.control.vault import Vault
from hutch.wire.control.config import ControlLimits, check_network, control_config
from hutch.wire.errors import Failure
from tests.client import Json
from tests.controlling import Account, Controlled, controlling, runtime, until

ACCESS = "runtime-api-access"


def serving(account: Account, identifier: str) -> bool:
    return bool(account.ok("GET", f"/workspace/{identifier}/{ACCESS}")["running"])


def test_a_restart_of_the_control_plane_goes_unnoticed(place: Path) -> None:
    with controlling(place) as plane, plane.account() as account:
        identifier, raw = account.enabled()
        off = account.create()
        with runtime(raw) as server:
            body = {"cmd": ["sleep", "60"], "background": True}
            task = server.request("POST", "/exec", body=body).json()["id"]
        pid = plane.servers()[identifier]
        seq = plane.internal("/changes").json()["seq"]

        assert plane.stop() == 0
        with runtime(raw) as server:
            assert server.json(f"/exec/{task}")["status"] == "running"
        plane.start()

        # Taken over, not started anew; gateways lose nothing that they know.
        until(lambda: serving(account, identifier), "the server is taken over")
        assert plane.servers() == {identifier: pid}
        told = plane.internal("/changes", since=seq).json()
        assert "reset" not in told
        assert account.raw(identifier) == raw
        assert account.ok("POST", f"/workspace/{identifier}/{ACCESS}/reconnect")["running"] is True
        account.ok("POST", f"/workspace/{identifier}/{ACCESS}/token")
        with runtime(account.raw(identifier)) as server:
            assert server.json(f"/exec/{task}")["status"] == "running"
        account.ok("DELETE", f"/workspace/{identifier}")
        account.ok("DELETE", f"/workspace/{off['id']}")
        assert plane.servers() == {}


def test_a_server_that_dies_is_started_again(place: Path) -> None:
    with controlling(place) as plane, plane.account() as account:
        identifier, raw = account.enabled()
        for _ in range(2):
            pid = plane.servers()[identifier]
            os.kill(pid, signal.SIGKILL)
            new = until(
                lambda pid=pid: (found := plane.servers().get(identifier)) != pid and found,
                "the server is started again",
            )
            until(lambda: serving(account, identifier), "the server answers")
            assert plane.servers() == {identifier: new}
        assert account.raw(identifier) == raw


def test_reconnect_brings_back_a_server_that_died_meanwhile(place: Path) -> None:
    with controlling(place) as plane, plane.account() as account:
        identifier, raw = account.enabled()
        plane.kill()
        os.kill(plane.servers()[identifier], signal.SIGKILL)
        until(lambda: not plane.servers(), "the server is gone")
        plane.start()
        told = account.ok("POST", f"/workspace/{identifier}/internal-api-access/reconnect")
        assert (told["enabled"], told["running"]) == (True, True)
        with runtime(raw) as server:
            assert server.get("/runtime").status_code == 200


def test_a_server_that_hangs_is_replaced_on_demand(place: Path) -> None:
    options = ("--reload-seconds=0.5", "--stop-seconds=0.5")
    with controlling(place, *options) as plane, plane.account() as account:
        identifier, _ = account.enabled()
        pid = plane.servers()[identifier]
        os.kill(pid, signal.SIGSTOP)
        assert serving(account, identifier) is False
        account.ok("POST", f"/workspace/{identifier}/{ACCESS}/reconnect")
        assert serving(account, identifier) is True
        assert plane.servers()[identifier] != pid


def test_a_server_that_had_to_be_killed_leaves_no_command(place: Path) -> None:
    with controlling(place, "--stop-seconds=0.5") as plane, plane.account() as account:
        identifier, raw = account.enabled()
        with runtime(raw) as server:
            body = {"cmd": ["sleep", "600"], "background": True}
            pid = server.request("POST", "/exec", body=body).json()["guest_pid"]
        # A zombie has no root directory, nor has what is gone.
        command = Path(f"/proc/{pid}/root")
        assert command.is_dir()
        os.kill(plane.servers()[identifier], signal.SIGSTOP)
        account.ok("POST", f"/workspace/{identifier}/{ACCESS}/disable")
        assert plane.servers() == {}
        assert not command.is_dir()


class Acknowledged:
    """What a client was told was done, while the server was killed under it."""

    def __init__(self, account: Account, identifiers: list[str]) -> None:
        self.account = account
        self.names: dict[str, str] = {}
        self.unsure: set[str] = set()
        self.made: list[str] = []
        self.generations: dict[str, int] = dict.fromkeys(identifiers, 0)
        self.stopped = threading.Event()

    def run(self, work: Callable[[Account, int], None]) -> None:
        with Account(self.account.url, self.account.id, self.account.secret) as own:
            number = 0
            while not self.stopped.is_set():
                number += 1
                try:
                    work(own, number)
                except httpx2.HTTPError:
                    self.stopped.wait(0.02)  # it is gone, and comes back


@pytest.mark.parametrize("times", [2])
def test_kill_9_under_load_loses_nothing_acknowledged(place: Path, times: int) -> None:
    with controlling(place) as plane, plane.account() as account:
        identifier, _ = account.enabled()
        named = account.create()["id"]
        done = Acknowledged(account, [identifier])

        def rename(own: Account, number: int) -> None:
            done.unsure.add(f"n{number}")
            answer = own.http.put(f"/workspace/{named}", json={"name": f"n{number}"})
            if answer.status_code == 200:
                done.names[named] = answer.json()["workspace"]["name"]
                done.unsure = {f"n{number}"}

        def make(own: Account, number: int) -> None:
            answer = own.http.post("/workspace", json={"slug": f"made-{number}"})
            if answer.status_code == 201:
                done.made.append(answer.json()["workspace"]["id"])

        def rotate(own: Account, _number: int) -> None:
            answer = own.http.post(f"/workspace/{identifier}/{ACCESS}/token")
            if answer.status_code == 200:
                done.generations[identifier] += 1

        threads = [
            threading.Thread(target=done.run, args=(work,)) for work in (rename, make, rotate)
        ]
        for one in threads:
            one.start()
        for number in range(times):
            until(lambda wanted=10 * (number + 1): len(done.made) >= wanted, "some are made")
            plane.kill()
            plane.start()
        done.stopped.set()
        for one in threads:
            one.join()

        told = account.ok("GET", f"/workspace/{named}")["workspace"]["name"]
        assert told == done.names[named] or told in done.unsure
        for made in done.made:
            account.ok("GET", f"/workspace/{made}")
        # Rotated at least as often as was told, and the server has the token on record.
        account.ok("POST", f"/workspace/{identifier}/{ACCESS}/reconnect")
        route = plane.internal(f"/routes/{identifier}").json()
        assert route["generation"] >= 1 + done.generations[identifier]
        raw = account.raw(identifier)
        assert raw["token"] == route["token"]
        with runtime(raw) as server:
            assert server.get("/runtime").status_code == 200
        ips = [plane.internal(f"/routes/{one}").json()["address"] for one in done.made]
        assert len(set(ips)) == len(ips)


CHANGES: dict[str, tuple[str, str]] = {
    "enable": ("POST", f"/{ACCESS}/enable"),
    "disable": ("POST", f"/{ACCESS}/disable"),
    "rotate": ("POST", f"/{ACCESS}/token"),
    "restart": ("POST", "/restart"),
    "stop": ("POST", "/stop"),
    "delete": ("DELETE", ""),
}


def test_killed_in_the_middle_of_a_change(place: Path) -> None:
    """Whatever was under way, what is there after the restart is what is on record."""
    with controlling(place) as plane, plane.account() as account:
        workspaces = {name: account.create()["id"] for name in CHANGES}
        for name, identifier in workspaces.items():
            if name != "enable":
                account.ok("POST", f"/workspace/{identifier}/{ACCESS}/enable")
        seq = plane.internal("/changes").json()["seq"]

        def begin(name: str, identifier: str) -> None:
            method, tail = CHANGES[name]
            with Account(account.url, account.id, account.secret) as own:
                with suppress(httpx2.HTTPError):
                    own.http.request(method, f"/workspace/{identifier}{tail}")

        threads = [
            threading.Thread(target=begin, args=(name, identifier))
            for name, identifier in workspaces.items()
        ]
        for one in threads:
            one.start()
        plane.internal("/changes", since=seq, wait=10)
        plane.kill()
        for one in threads:
            one.join()
        plane.start()

        for name, identifier in workspaces.items():
            check_settled(plane, account, identifier, name)


def check_settled(plane: Controlled, account: Account, identifier: str, name: str) -> None:
    answer = plane.internal(f"/routes/{identifier}")
    if answer.status_code == 404:
        assert name == "delete"
        until(lambda: identifier not in plane.servers(), "the deleted one's server ends")
        account.failure("GET", f"/workspace/{identifier}", 404)
        return
    route = answer.json()
    wanted = route["enabled"] and route["running"]
    until(lambda: (identifier in plane.servers()) == wanted, f"{name}: as it is on record")
    if wanted:
        until(lambda: serving(account, identifier), f"{name}: the server answers")
        with runtime(account.raw(identifier)) as server:
            assert server.get("/runtime").status_code == 200


def test_an_address_is_not_given_out_again_at_once(place: Path) -> None:
    with controlling(place) as plane, plane.account() as account:
        first = account.create()
        ip = account.raw(first["id"])["ip"]
        account.ok("DELETE", f"/workspace/{first['id']}")
        assert account.raw(account.create()["id"])["ip"] != ip
        plane.kill()
        plane.start()
        assert account.raw(account.create()["id"])["ip"] != ip


def test_an_address_that_is_taken_is_left_out(place: Path) -> None:
    with controlling(place) as plane, plane.account() as account, socket.socket() as other:
        first = str(check_network(plane.network)[1])
        other.bind((first, 9990))
        other.listen()
        identifier, raw = account.enabled()
        assert raw["ip"] != first
        assert identifier in plane.servers()


# --- logins ----------------------------------------------------------------------------------


def test_wrong_secrets_are_limited_by_client_and_address(place: Path) -> None:
    options = ("--login-failures=3", "--address-failures=6", "--behind-tls-proxy")
    with controlling(place, *options) as plane, plane.account() as account:
        with plane.account() as other:

            def ask(identifier: str, secret: str, address: str) -> httpx2.Response:
                headers = {
                    "X-Client-ID": identifier,
                    "X-Client-Secret": secret,
                    "X-Forwarded-For": f"8.8.8.8, {address}",
                }
                return httpx2.get(f"{plane.url}/workspace", headers=headers)

            wrong, unknown = ask(account.id, "no", "1.1.1.1"), ask("client_no", "no", "1.1.1.1")
            assert wrong.status_code == unknown.status_code == 401
            told = [{**one.json(), "request_id": ""} for one in (wrong, unknown)]
            assert told[0] == told[1]
            for _ in range(2):
                assert ask(account.id, "no", "1.1.1.1").status_code == 401
            limited = ask(account.id, account.secret, "1.1.1.1")
            assert (limited.status_code, limited.json()["code"]) == (429, "rate_limited")
            assert 0 < int(limited.headers["retry-after"]) <= 60
            # Nobody is locked out from elsewhere, nor is another client from there.
            assert ask(account.id, account.secret, "2.2.2.2").status_code == 200
            assert ask(other.id, other.secret, "1.1.1.1").status_code == 200
            # An address that tries many clients is heard only for those it has been right for.
            for number in range(3):
                ask(f"client_{number}", "no", "1.1.1.1")
            assert ask("client_9", "no", "1.1.1.1").status_code == 429
            assert ask(other.id, other.secret, "1.1.1.1").status_code == 200
            assert ask("client_9", "no", "2.2.2.2").status_code == 401


def test_a_burst_of_guesses_is_no_way_around_the_limit() -> None:
    vault = Vault(bytes(32))
    logins = Logins(vault, ControlLimits(login_failures=3), lambda: 0.0)
    client = Client(id="client_a", name="", digest=vault.digest("right"), created_at=0)
    for _ in range(5):
        logins.check_rate(client.id, "1.1.1.1")  # all of them, before the first is judged
    codes = []
    for secret in ("a", "b", "c", "d", "right"):
        with pytest.raises(Failure) as caught:
            logins.admit(client, client.id, secret, "1.1.1.1")
        codes.append(caught.value.code)
    assert codes == ["unauthorized"] * 3 + ["rate_limited"] * 2


# --- starting --------------------------------------------------------------------------------


def attempt(*options: str) -> str:
    """What `hutch control` says that does not start."""
    line = ["control", "--port=0", "--internal-port=0", *options]
    with pytest.raises(click.ClickException) as caught:
        main.main(line, standalone_mode=False)
    return caught.value.message


def test_what_it_refuses_to_start_with(place: Path, tmp_path: Path) -> None:
    state = f"--state-dir={tmp_path / 'other'}"
    with controlling(place) as plane:
        assert "another server" in attempt(f"--state-dir={plane.state_dir}")
        other_key = attempt(state, f"--database=sqlite:///{plane.state_dir / 'control.db'}")
        assert "--key-file" in other_key
        shared = f"--database=sqlite:///{plane.state_dir / 'control.db'}"
        key = f"--key-file={plane.state_dir / 'secret.key'}"
        assert "another control plane" in attempt(state, shared, key)
    assert "TLS" in attempt(state, "--host=0.0.0.0")
    assert "TLS" in attempt(state, "--internal-host=0.0.0.0")
    assert "--network" in attempt(state, "--network=10.0.0.0/8")
    assert "--database" in attempt(state, "--database=nonsense")
    bad = tmp_path / "bad.key"
    bad.write_text("short")
    assert "key file" in attempt(state, f"--key-file={bad}")
    assert "--tls-key" in attempt(state, f"--tls-cert={bad}")


def test_tls_and_a_certificate_that_changes(place: Path, tmp_path: Path) -> None:
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def certify() -> ssl.SSLContext:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        pem.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    first = certify()
    with controlling(place, f"--tls-cert={pem}", f"--tls-key={key}") as plane:
        assert plane.url.startswith("https://")
        assert httpx2.get(f"{plane.url}/health", verify=first).status_code == 200
        second = certify()
        plane.process.send_signal(signal.SIGHUP)

        def changed() -> bool:
            try:
                return httpx2.get(f"{plane.url}/health", verify=second).status_code == 200
            except httpx2.ConnectError:
                return False

        until(changed, "the new certificate is shown")


def test_a_new_credential_of_gateways_counts_on_sighup(place: Path) -> None:
    with controlling(place) as plane:
        file = plane.state_dir / "gateway.token"
        old = file.read_text()
        for text, status in (("f" * 64, 200), ("short", 401)):
            file.write_text(text)
            plane.process.send_signal(signal.SIGHUP)
            until(lambda: plane.internal("/keys").status_code == status, "it was read")  # noqa: B023
        file.write_text(old)
        assert plane.internal("/keys").status_code == 401
        assert "gateway.token: not a token" in plane.log.read_text()
        file.write_text("f" * 64)
        assert plane.internal("/keys").status_code == 200


def test_sigterm_ends_it_whoever_waits(place: Path) -> None:
    with controlling(place) as plane:
        seq = plane.internal("/changes").json()["seq"]
        url = httpx2.URL(plane.internal_url)
        token = (plane.state_dir / "gateway.token").read_text().strip()
        with socket.create_connection((url.host, url.port or 80)) as waiting:
            request = f"GET /changes?since={seq}&wait=50 HTTP/1.1\r\nHost: x\r\n"
            waiting.sendall(f"{request}Authorization: Bearer {token}\r\n\r\n".encode())
            plane.internal("/keys")  # connected later, answered first: that one waits by now
            assert plane.stop() == 0
            told = b"".join(iter(lambda: waiting.recv(65536), b""))
    assert told.startswith(b"HTTP/1.1 200 ")
    assert told.endswith(b'{"seq":%d,"workspaces":[]}' % seq)


def test_commands_beside_it(place: Path) -> None:
    with controlling(place) as plane:
        words = dict(
            one.split("=", 1) for one in plane.command("client", "create", "--name=x").split()
        )
        with Account(plane.url, words["OBLIEN_CLIENT_ID"], words["OBLIEN_CLIENT_SECRET"]) as one:
            made = one.create()
            assert plane.command("client", "list") == f"{one.id}\tx\n"
            with pytest.raises(AssertionError, match="delete them first"):
                plane.command("client", "delete", one.id)
            one.ok("DELETE", f"/workspace/{made['id']}")
            plane.command("client", "delete", one.id)
            one.failure("GET", "/workspace", 401)


async def test_one_that_ends_its_workspaces_brings_them_back(place: Path) -> None:
    """What `hutch up` does: servers end with the control plane, and the record stays."""
    network = check_network("127.255.254.0/24")
    config = control_config(place / "state", network=network, port=0, internal_port=0)
    plane = Controlled(place, (), str(network))
    made: list[Json] = []
    for _ in range(2):
        shutdown = trio.Event()
        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[Standing]) -> None:
                await run_control(
                    config,
                    facing=Facing(),
                    shutdown=shutdown,  # noqa: B023  # ends within this round
                    ends_workspaces=True,
                    task_status=task_status,
                )

            standing: Standing = await nursery.start(serve)
            plane.url = standing.url

            def ask() -> None:
                with plane.account() as account:
                    made.append({"id": account.enabled()[0]})

            if not made:
                await trio.to_thread.run_sync(ask)

            def is_there() -> bool:
                return made[0]["id"] in plane.servers()

            await trio.to_thread.run_sync(until, is_there, "its server runs")
            shutdown.set()
        assert plane.servers() == {}
