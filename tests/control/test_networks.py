"""Networks of workspaces: policy, and private links.

Source: wire contract, section 9.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.client import Json
from tests.controlling import Account, Controlled


@pytest.fixture
def at(workspace: Json) -> str:
    return f"/workspace/{workspace['id']}/network"


def test_the_network_of_a_new_workspace(account: Account, workspace: Json, at: str) -> None:
    told = account.ok("GET", at)
    ip = account.raw(workspace["id"])["ip"]
    assert {name: told[name] for name in told if name not in ("success", "warnings")} == {
        "ip": ip,
        "gateway": "127.0.0.1",
        "public_access": False,
        "allow_internet": True,
        "ingress": [],
        "ingress_ports": [],
        "egress": [],
        "egress_ports": [],
        "outbound_ip": None,
        "outbound_mode": "managed",
        "private_links": [],
    }


def test_public_access(plane: Controlled, account: Account, workspace: Json, at: str) -> None:
    def seen() -> Any:
        return plane.internal(f"/routes/{workspace['id']}").json()["public_access"]

    assert seen() is False
    assert account.ok("PATCH", at, {"public_access": True})["public_access"] is True
    assert seen() is True
    assert account.ok("PATCH", at, {})["public_access"] is True
    assert account.ok("PATCH", at, {"public_access": None})["public_access"] is True
    assert account.ok("PATCH", at, {"public_access": False})["public_access"] is False
    assert seen() is False


UNSUPPORTED: dict[str, Any] = {
    "allow_internet": False,
    "ingress": ["10.0.0.0/8"],
    "ingress_ports": [3000],
    "egress": ["example.com"],
    "egress_ports": [443],
    "outbound_ip": "203.0.113.7",
    "outbound_mode": "custom",
    "custom_proxy": {"host": "203.0.113.7", "port": 3128},
}


@pytest.mark.parametrize("field", UNSUPPORTED)
def test_what_cannot_be_enforced_is_refused_and_nothing_changes(
    account: Account, at: str, field: str
) -> None:
    other = account.create()
    before = account.ok("GET", at)
    body = {"public_access": True, "private_link_ids": [other["id"]], field: UNSUPPORTED[field]}
    told = account.failure("PATCH", at, 400, body=body)
    assert told["code"] == "unsupported"
    assert told["error"].startswith(field)
    assert account.ok("GET", at) == before


def test_what_is_so_anyway_needs_no_enforcing(account: Account, at: str) -> None:
    body = {"allow_internet": True, "ingress_ports": [], "outbound_mode": "managed"}
    assert account.ok("PATCH", at, body)["allow_internet"] is True


BAD: dict[str, Any] = {
    "public_access": "yes",
    "ingress_ports": [0],
    "egress_ports": [70000],
    "egress": [7],
    "private_link_ids": "ws_1",
    "outbound_mode": "odd",
}


@pytest.mark.parametrize("field", BAD)
def test_a_bad_field_is_400_and_named(account: Account, at: str, field: str) -> None:
    told = account.failure("PATCH", at, 400, body={field: BAD[field]})
    assert told["code"] == "bad_request"
    assert told["error"].startswith(field)


def test_links_are_recorded_and_told(account: Account, workspace: Json, at: str) -> None:
    first, second = account.create(), account.create()
    ids = [second["id"], first["id"], second["id"]]
    told = account.ok("PATCH", at, {"private_link_ids": ids})
    # What they don't give here is said, not left to be found out.
    assert "private_link_ids" in told["warnings"][0]
    links = [
        {"workspace_id": one["id"], "ip": account.raw(one["id"])["ip"]} for one in (second, first)
    ]
    assert told["private_links"] == links
    assert account.ok("GET", at)["private_links"] == links
    assert account.ok("PATCH", at, {"public_access": True})["private_links"] == links
    account.ok("DELETE", f"/workspace/{second['id']}")
    assert account.ok("GET", at)["private_links"] == links[1:]
    told = account.ok("PATCH", at, {"private_link_ids": []})
    assert (told["private_links"], told["warnings"]) == ([], [])
    # One way only: who was named may come, nobody else.
    assert account.ok("GET", f"/workspace/{first['id']}/network")["private_links"] == []


def test_a_link_to_itself_is_400(account: Account, workspace: Json, at: str) -> None:
    for name in (workspace["id"], workspace["slug"]):
        told = account.failure("PATCH", at, 400, body={"private_link_ids": [name]})
        assert (told["code"], "itself" in told["error"]) == ("bad_request", True)


def test_a_link_to_what_is_not_ones_own_is_404(
    account: Account, stranger: Account, at: str
) -> None:
    mine, foreign, gone = account.create(), stranger.create(), account.create()
    account.ok("DELETE", f"/workspace/{gone['id']}")
    account.ok("PATCH", at, {"private_link_ids": [mine["id"]]})
    before = account.ok("GET", at)
    for other in (foreign["id"], gone["id"], "ws_0123456789abcdef", "", "../x"):
        body = {"private_link_ids": [mine["id"], other], "public_access": True}
        told = account.failure("PATCH", at, 404, body=body)
        assert told["code"] == "not_found"
        assert account.ok("GET", at) == before
