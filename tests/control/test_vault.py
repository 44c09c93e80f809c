"""Secrets at rest: sealed things open for what they belong to, under their key, unchanged."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hutch.control.vault import Vault, make_once, open_vault
from hutch.wire.errors import Failure

VAULT = Vault(bytes(range(32)))


def test_what_was_sealed_opens() -> None:
    sealed = VAULT.seal("s\u00e9cret", about="a")
    assert VAULT.open(sealed, about="a") == "s\u00e9cret"
    assert b"cret" not in sealed
    assert VAULT.seal("s\u00e9cret", about="a") != sealed


def test_nothing_else_opens() -> None:
    sealed = VAULT.seal("secret", about="a")
    flipped = [sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :] for n in range(len(sealed))]
    for other in (*flipped, sealed[:-1], sealed + b"\0", sealed[:12]):
        with pytest.raises(Failure) as caught:
            VAULT.open(other, about="a")
        assert "secret" not in caught.value.message.replace("a secret on record", "")
    for vault, about in ((VAULT, "b"), (Vault(bytes(32)), "a")):
        with pytest.raises(Failure):
            vault.open(sealed, about=about)


def test_a_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    place = tmp_path / "key"
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(open_vault(place).fingerprint))
        for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(set(found)) == 1
    assert place.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["key"]
    make_once(place, "another")
    assert open_vault(place).fingerprint == found[0]
