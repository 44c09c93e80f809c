"""Changes on an overlay, which is what a workspace's disk is: an image below, a layer above.

Oracle: the merged view, and the layers themselves.
Source: design, section 3, "Watching"; wire contract, section 2, "Write" and "Delete".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import mounting
from tests.client import Client, Json
from tests.serving import serving
from tests.trees import build, mode

pytestmark = mounting.needs_mounts


@dataclass(frozen=True)
class Overlay:
    client: Client
    place: Path
    seen: Path
    """The same as the server sees it."""

    def ask(self, method: str, what: str, **body: object) -> Json:
        answer = self.client.request(method, f"/files/{what}", body=body)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Overlay]:
    place, image = tmp_path / "place", tmp_path / "image"
    build(image, {"file": "old", "dir/a/b": "x", "dir/c": "x", "beside": "x"})
    (image / "file").chmod(0o750)
    place.mkdir()
    options = f"lowerdir={image},upperdir=/mnt/upper,workdir=/mnt/work"
    with serving(
        tmp_path / "server",
        preexec=mounting.inside(
            # An upper layer cannot lie on an overlay, which a test's own disk may be.
            mounting.tmpfs(Path("/mnt"), "16m"),
            "mkdir /mnt/upper /mnt/work",
            mounting.command("mount", "-t", "overlay", "-o", options, "none", place),
        ),
    ) as target:
        with target.client() as client:
            yield Overlay(client, place, mounting.seen_by(target.pid, place))


def test_files_of_the_image_are_replaced_appended_to_and_removed(overlay: Overlay) -> None:
    file, seen = overlay.place / "file", overlay.seen / "file"
    told = overlay.ask("PUT", "write", path=str(file), content="new")
    assert ("atomic" in told, seen.read_text(), mode(seen)) == (False, "new", 0o750)
    again = overlay.client.request(
        "PUT",
        "/files/write",
        body={"path": str(file), "content": "newer", "expected_hash": told["hash"]},
        headers={"If-Match": told["etag"]},
    )
    assert again.status_code == 201, again.text
    overlay.ask("PUT", "write", path=str(overlay.place / "beside"), content="y", append=True)
    assert (overlay.seen / "beside").read_text() == "xy"
    overlay.ask("POST", "mkdir", path=str(overlay.place / "dir/new"))
    query: dict[str, object] = {"path": overlay.place / "dir/new/raw"}
    answer = overlay.client.request("PUT", "/files/raw", query=query, content=b"z" * 600_000)
    assert answer.status_code == 201, answer.text
    assert sorted(os.listdir(overlay.seen)) == ["beside", "dir", "file"]
    assert overlay.ask("DELETE", "delete", path=str(overlay.place / "dir"))["removed"] == 6
    overlay.ask("DELETE", "delete", path=str(file))
    assert os.listdir(overlay.seen) == ["beside"]


def test_new_only_holds_over_the_image(overlay: Overlay) -> None:
    body = {"path": str(overlay.place / "file"), "content": "new"}
    headers = {"If-None-Match": "*"}
    answers = [
        overlay.client.request("PUT", "/files/write", body=body, headers=headers),
        overlay.client.request(
            "PUT", "/files/write", body=body | {"path": f"{overlay.place}/new"}, headers=headers
        ),
    ]
    assert [one.status_code for one in answers] == [412, 201]
    assert (overlay.seen / "file").read_text() == "old"
