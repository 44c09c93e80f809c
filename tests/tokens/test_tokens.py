"""Gateway tokens: what is signed verifies, and nothing else does. PyJWT makes the bad ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hutch.tokens import Claims, Jwk, PublicKeys, SigningKey, TokenRefused, sign, verify

KEY = SigningKey.generate()
KEYS = PublicKeys([KEY.jwk])
NOW = int(time.time())


def claims(**changed: Any) -> Claims:
    given = {
        "sub": "ws_a",
        "ip": "127.1.0.1",
        "port": 9990,
        "gen": 3,
        "jti": "one",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 3600,
    }
    return Claims(**{**given, **changed})


GOOD = sign(claims(), KEY)


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def payload(**changed: Any) -> dict[str, Any]:
    whole = json.loads(jwt.utils.base64url_decode(GOOD.split(".")[1]))
    return {k: v for k, v in {**whole, **changed}.items() if v is not ...}


def signed(body: Any = None, /, *, head: dict[str, Any] | None = None, **changed: Any) -> str:
    """A token with a true signature of our key over whatever is asked for."""
    header = {"alg": "EdDSA", "typ": "JWT", "kid": KEY.kid, **(head or {})}
    header = {k: v for k, v in header.items() if v is not ...}
    raw = body if isinstance(body, bytes) else json.dumps(payload(**changed)).encode()
    text = f"{b64(json.dumps(header).encode())}.{b64(raw)}"
    return f"{text}.{b64(KEY.private.sign(text.encode()))}"


def without(claim: str) -> str:
    gone: dict[str, Any] = {claim: ...}
    return signed(**gone)


def with_public_key_as_secret() -> str:
    pem = KEY.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = {"alg": "HS256", "typ": "JWT", "kid": KEY.kid}
    text = f"{b64(json.dumps(head).encode())}.{GOOD.split('.')[1]}"
    return f"{text}.{b64(hmac.digest(pem, text.encode(), hashlib.sha256))}"


def unsigned(algorithm: str) -> str:
    head = b64(json.dumps({"alg": algorithm, "typ": "JWT", "kid": KEY.kid}).encode())
    return f"{head}.{GOOD.split('.')[1]}."


def other_signature() -> str:
    return sign(claims(), SigningKey.generate())


def other_key_same_name() -> str:
    body = payload()
    key = SigningKey.generate().private
    return jwt.encode(body, key, algorithm="EdDSA", headers={"kid": KEY.kid})


def of_another_curve() -> str:
    return jwt.encode(
        payload(), Ed448PrivateKey.generate(), algorithm="EdDSA", headers={"kid": KEY.kid}
    )


def doubled_header() -> str:
    head = b'{"alg":"none","alg":"EdDSA","kid":"%b"}' % KEY.kid.encode()
    return f"{b64(head)}.{GOOD.split('.')[1]}.{GOOD.split('.')[2]}"


# name: (the token, the reason)
REFUSED: dict[str, tuple[Callable[[], str | bytes], str]] = {
    "alg none": (lambda: unsigned("none"), "malformed"),
    "alg None": (lambda: unsigned("None"), "malformed"),
    "HS256 with the public key": (with_public_key_as_secret, "malformed"),
    "alg twice": (doubled_header, "malformed"),
    "another key": (other_signature, "unknown_key"),
    "another key under our name": (other_key_same_name, "signature"),
    "another curve": (of_another_curve, "signature"),
    "crit": (lambda: signed(head={"crit": ["exp"]}), "malformed"),
    "crit, empty": (lambda: signed(head={"crit": []}), "malformed"),
    "b64 false": (lambda: signed(head={"b64": False, "crit": ["b64"]}), "malformed"),
    "a key of its own": (lambda: signed(head={"jwk": {"kty": "OKP"}}), "malformed"),
    "no kid": (lambda: signed(head={"kid": ...}), "malformed"),
    "kid no text": (lambda: signed(head={"kid": 7}), "malformed"),
    "expired": (lambda: signed(exp=NOW - 60), "expired"),
    "not yet valid": (lambda: signed(nbf=NOW + 86400), "not_yet_valid"),
    "issued tomorrow": (lambda: signed(iat=NOW + 86400), "not_yet_valid"),
    "wrong audience": (lambda: signed(aud="api"), "claims"),
    "one audience of many": (lambda: signed(aud=["hutch-gateway", "api"]), "claims"),
    "wrong issuer": (lambda: signed(iss="oblien"), "claims"),
    "exp a text": (lambda: signed(exp=str(NOW + 3600)), "claims"),
    "exp a fraction": (lambda: signed(exp=NOW + 3600.5), "claims"),
    "exp for ever": (lambda: signed(exp=10**400), "claims"),
    "gen a boolean": (lambda: signed(gen=True), "claims"),
    "gen a text": (lambda: signed(gen="3"), "claims"),
    "no address": (lambda: signed(ip="workspace"), "claims"),
    "an address spelled oddly": (lambda: signed(ip="0:0:0:0:0:0:0:1"), "claims"),
    "port 0": (lambda: signed(port=0), "claims"),
    "port 65536": (lambda: signed(port=65536), "claims"),
    "no object": (lambda: signed(b"[1]"), "malformed"),
    "no JSON": (lambda: signed(b"{"), "malformed"),
    "deep": (lambda: signed(b"[" * 2000), "malformed"),
    "empty": (lambda: "", "malformed"),
    "two dots": (lambda: "..", "malformed"),
    "two parts": (lambda: GOOD.rpartition(".")[0], "malformed"),
    "four parts": (lambda: f"{GOOD}.{GOOD}", "malformed"),
    "no signature": (lambda: GOOD.rpartition(".")[0] + ".", "malformed"),
    "padded": (lambda: f"{GOOD}==", "malformed"),
    "padded inside": (lambda: GOOD.replace(".", "=.", 1), "malformed"),
    "a blank behind": (lambda: f"{GOOD} ", "malformed"),
    "a line behind": (lambda: f"{GOOD}\n", "malformed"),
    "the other alphabet": (lambda: GOOD.replace("_", "/").replace("-", "+") + "+", "malformed"),
    "not ASCII": (lambda: GOOD.encode() + b"\xff", "malformed"),
    "not ASCII text": (lambda: GOOD + "\u0665", "malformed"),
    "a lone surrogate": (lambda: GOOD + "\ud800", "malformed"),
    "100 KB": (lambda: signed(jti="x" * 100_000), "malformed"),
    "100 KB of nothing": (lambda: "." * 100_000, "malformed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, reason = REFUSED[name]
    with pytest.raises(TokenRefused) as caught:
        verify(make(), KEYS)
    assert caught.value.reason == reason
    assert caught.value.code == "unauthorized"
    assert "eyJ" not in caught.value.message


@pytest.mark.parametrize("missing", [name for name in payload() if name not in ("iss", "aud")])
def test_every_claim_is_needed(missing: str) -> None:
    with pytest.raises(TokenRefused):
        verify(without(missing), KEYS)


@pytest.mark.parametrize("missing", ["iss", "aud"])
def test_issuer_and_audience_are_needed(missing: str) -> None:
    with pytest.raises(TokenRefused) as caught:
        verify(without(missing), KEYS)
    assert caught.value.reason == "claims"


def test_what_is_signed_verifies() -> None:
    assert verify(GOOD, KEYS) == claims()
    assert verify(GOOD.encode(), KEYS) == claims()
    assert jwt.get_unverified_header(GOOD) == {"alg": "EdDSA", "typ": "JWT", "kid": KEY.kid}


def test_a_header_in_another_order_and_without_a_type_verifies() -> None:
    assert verify(signed(head={"typ": ...}), KEYS) == claims()


def test_a_claim_more_does_no_harm() -> None:
    assert verify(signed(scope="all"), KEYS) == claims()


def test_a_bit_flipped_anywhere() -> None:
    text = GOOD.encode()
    for index in range(len(text)):
        for bit in range(8):
            changed = bytearray(text)
            changed[index] ^= 1 << bit
            with pytest.raises(TokenRefused):
                verify(bytes(changed), KEYS)


def test_the_last_character_has_one_spelling() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    accepted = 0
    for one in alphabet:
        try:
            verify(GOOD[:-1] + one, KEYS)
            accepted += 1
        except TokenRefused:
            pass
    assert accepted == 1


def test_clocks_may_differ_a_little() -> None:
    now = int(time.time())
    assert verify(signed(exp=now - 1, iat=now - 60, nbf=now - 60), KEYS)
    assert verify(signed(nbf=now + 2, iat=now + 2), KEYS)


def test_keys_change() -> None:
    new = SigningKey.generate()
    both = PublicKeys([KEY.jwk, new.jwk])
    assert verify(GOOD, both) == verify(sign(claims(), new), both)
    with pytest.raises(TokenRefused) as caught:
        verify(GOOD, PublicKeys([new.jwk]))
    assert caught.value.reason == "unknown_key"


def test_a_key_keeps_its_name() -> None:
    again = SigningKey.from_bytes(KEY.to_bytes())
    assert (again.kid, again.jwk) == (KEY.kid, KEY.jwk)
    assert verify(sign(claims(), again), KEYS) == claims()
    assert "private" not in repr(KEY)


def test_the_thumbprint_of_the_standard() -> None:
    # RFC 8037, appendices A.2 and A.3.
    known = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
    key = SigningKey.from_bytes(base64.urlsafe_b64decode(known + "="))
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert key.jwk == Jwk(kid=key.kid, x="11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
