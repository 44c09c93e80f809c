"""Where a workspace's process keeps its things: what stands in the way, what is left, what grows."""

from __future__ import annotations

import os
from pathlib import Path

from hutch.control.drivers.places import Place, Places


def test_a_log_keeps_its_bound_while_it_is_written(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with place.log.open("ab", buffering=0) as log:
        log.write(b"x" * 100)
        place.trim_log(100)
        assert place.log.stat().st_size == 100
        log.write(b"x")
        place.trim_log(100)
        log.write(b"the last\n\n")
    assert place.log.read_bytes() == b"the last\n\n"
    assert place.last_line(after=0) == "the last"
    Place(tmp_path / "nowhere").trim_log(0)


def test_what_is_discarded_is_gone_and_then_removed(tmp_path: Path) -> None:
    places = Places(tmp_path)
    for _ in range(2):
        places.of("ws_a").make()
        (places.of("ws_a").home / "file").write_text("x")
        places.discard("ws_a")
        assert not places.of("ws_a").path.exists()
    places.discard("ws_a")
    places.empty_trash()
    assert os.listdir(tmp_path) == []


def test_a_ready_file_counts_for_its_own_process(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for text, wanted in (
        (b'{"pid":7,"instance":"a","url":"x"}', "a"),
        (b'{"pid":8,"instance":"a"}', None),
        (b'{"pid":7}', None),
        (b'{"pid":7,"instance":"\xff"}', None),
        (b"[" * 100_000, None),
        (b"[]", None),
        (b"{", None),
        (b"", None),
    ):
        place.ready_file.write_bytes(text)
        assert place.instance(7) == wanted, text[:40]
    place.ready_file.unlink()
    assert place.instance(7) is None


def test_last_words_are_those_of_the_server_that_ended(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.last_line(after=0) == "it said nothing"
    before = "the server before\n"
    for said, wanted in (
        (before, "it said nothing"),
        (f"{before}\n", "it said nothing"),
        (f"{before}one\ntwo\n\n", "two"),
        ("emptied\n", "emptied"),
        (f"{before}{'x' * 10_000}\nend", "end"),
    ):
        place.log.write_text(said)
        assert place.last_line(after=len(before)) == wanted
