"""The first pages of the reference, word for word: with curl, and with the published package.

Belongs here: `hutch up` under the names `api.oblien.com` and `workspace.oblien.com`. Banned here:
single endpoints. The names lead to this machine by curl's own configuration and by a preload of
Node; certificates for them come from an authority that only this test trusts.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from tests.client import Json
from tests.clients.oblien.conftest import HERE
from tests.clients.oblien.test_oblien import MISSING
from tests.upping import Platform, upping

NAMES = ("api.oblien.com", "workspace.oblien.com")

# As they stand in the reference, "Connection & Auth"; the workspace's id is put in.
ENABLE = """\
curl -X POST "https://api.oblien.com/workspace/ws_a1b2c3d4/runtime-api-access/enable" \\
  -H "X-Client-ID: $OBLIEN_CLIENT_ID" \\
  -H "X-Client-Secret: $OBLIEN_CLIENT_SECRET"
"""
ENABLE_OLD = ENABLE.replace("runtime-api-access", "internal-api-access")
LIST = """\
curl "https://workspace.oblien.com/files?path=/app" \\
  -H "Authorization: Bearer $GATEWAY_JWT"
"""
DIRECT = """\
curl "http://10.0.1.42:9990/exec" \\
  -H "Authorization: Bearer a1b2c3d4e5f6..." \\
  -H "Content-Type: application/json" \\
  -d '{"cmd":["npm","test"]}'
"""


@dataclass(frozen=True)
class Named:
    """A platform, and the environment in which its public names lead to it."""

    platform: Platform
    environment: dict[str, str]

    def shell(self, text: str, **more: str) -> Json:
        """What a line of the reference answers."""
        done = subprocess.run(
            ["sh", "-ec", text],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    place = tmp_path_factory.mktemp("named")
    authority = trustme.CA()
    issued = authority.issue_cert(*NAMES, "127.0.0.1")
    cert, key, trusted = (place / name for name in ("cert.pem", "key.pem", "ca.pem"))
    cert.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(trusted)
    with upping(place / "up", f"--tls-cert={cert}", f"--tls-key={key}") as platform:
        urls = (platform.url, platform.gateway_url)
        ports = {name: urlsplit(url).port for name, url in zip(NAMES, urls, strict=True)}
        lines = [f'connect-to = "{name}:443:127.0.0.1:{port}"' for name, port in ports.items()]
        lines += [f'cacert = "{trusted}"', "silent", "show-error", "fail"]
        (place / ".curlrc").write_text("\n".join(lines) + "\n")
        environment = {
            **os.environ,
            **platform.credentials,
            "CURL_HOME": str(place),
            "HOSTS": json.dumps(ports),
            "NODE_EXTRA_CA_CERTS": str(trusted),
            "NODE_OPTIONS": f"--require={HERE / 'hosts.cjs'}",
        }
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            environment.pop(name, None)
        yield Named(platform, environment)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    place = tmp_path / "app"
    place.mkdir()
    (place / "package.json").write_text("{}")
    return place


def _workspace(named: Named) -> str:
    make = (
        "curl -X POST https://api.oblien.com/workspace -H 'Content-Type: application/json' "
        '-H "X-Client-ID: $OBLIEN_CLIENT_ID" -H "X-Client-Secret: $OBLIEN_CLIENT_SECRET" -d \'{}\''
    )
    made = named.shell(make)["workspace"]
    assert isinstance(made, dict)
    return str(made["id"])


def test_the_lines_for_curl(named: Named, app: Path) -> None:
    identifier = _workspace(named)
    told = named.shell(ENABLE.replace("ws_a1b2c3d4", identifier))
    assert (told["success"], told["enabled"]) == (True, True)
    again = named.shell(ENABLE_OLD.replace("ws_a1b2c3d4", identifier))
    publish = (
        f"curl -X PATCH https://api.oblien.com/workspace/{identifier}/network "
        '-H "X-Client-ID: $OBLIEN_CLIENT_ID" -H "X-Client-Secret: $OBLIEN_CLIENT_SECRET" '
        """-d '{"public_access": true}'"""
    )
    assert named.shell(publish)["public_access"] is True
    for token in (told["token"], again["token"]):
        listed = named.shell(LIST.replace("/app", str(app)), GATEWAY_JWT=str(token))
        assert [one["name"] for one in listed["entries"]] == ["package.json"]
    place = f"https://api.oblien.com/workspace/{identifier}/runtime-api-access/token/raw"
    raw = named.shell(ENABLE.replace("-X POST", "").replace(ENABLE.split('"')[1], place))
    line = DIRECT.replace("10.0.1.42:9990", f"{raw['ip']}:{raw['port']}")
    line = line.replace("a1b2c3d4e5f6...", str(raw["token"])).replace('"npm","test"', '"echo","hi"')
    done = named.shell(line)
    assert done["stdout"] == "hi\n"


@pytest.mark.skipif(bool(MISSING), reason=MISSING or "no reason")
def test_the_lines_for_the_package(package: None, named: Named, app: Path) -> None:
    identifier = _workspace(named)
    done = subprocess.run(
        ["node", "pages.mjs"],
        cwd=HERE,
        env={**named.environment, "WORKSPACE": identifier, "APP": str(app)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["token"].startswith("eyJhbG")
    assert told["enabled"] is True
    assert told["files"] == told["direct"] == ["package.json"]
    assert "package.json" in told["stdout"]
    assert told["terminal"]
    assert (told["hello"]["channel"], told["hello"]["type"]) == ("system", "hello")
    assert told["raw"]["port"] == 9990
    assert told["after"] == [401, "welcome"]
    assert told["forced"] is True
    assert told["status"]["enabled"] is False
