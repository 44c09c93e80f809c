"""What is kept of a stream, against the stream itself. Source: wire contract, section 4, "Output"."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from hutch.runtime.exec.output import Output
from hutch.runtime.lanes import Lane
from hutch.wire.exec import whole_characters

MEMORY = 64
CHUNKS = st.lists(st.binary(min_size=1, max_size=100), max_size=30)


async def filled(path: Path, chunks: list[bytes], ring: int | None) -> Output:
    output = Output(str(path / "spool" / "stdout"), Lane(2), memory=MEMORY, ring=ring)
    for chunk in chunks:
        output.append(chunk)
        if output.is_full:
            await output.spill()
    return output


async def whole(output: Output, offset: int, most: int) -> tuple[int, bytes]:
    """All that is kept from an offset on, in pieces; where it begins."""
    begin, found = await output.read(offset, most)
    while len(found) + begin < output.total:
        at, more = await output.read(begin + len(found), most)
        assert at == begin + len(found) and more
        found += more
    return begin, found


@settings(max_examples=60, deadline=None)
@given(CHUNKS, st.sampled_from([None, 100, 128, 257]), st.integers(0, 3000), st.integers(1, 300))
def test_what_is_read_is_what_was_written(
    chunks: list[bytes], ring: int | None, offset: int, most: int
) -> None:
    stream = b"".join(chunks)

    async def check(path: Path) -> None:
        output = await filled(path, chunks, ring)
        assert output.total == len(stream)
        assert output.kept >= min(len(stream), ring or len(stream))
        begin, found = await whole(output, min(offset, len(stream)), most)
        assert begin == max(min(offset, len(stream)), output.start)
        assert found == stream[begin:]
        if (path / "spool" / "stdout").exists() and ring is not None:
            assert (path / "spool" / "stdout").stat().st_size <= ring
        output.freeze()
        output.append(b"late")
        await output.spill()
        assert await whole(output, output.start, most) == (output.start, stream[output.start :])
        output.drop()
        assert (output.kept, output.total) == (0, len(stream))
        assert not (path / "spool").exists()

    with tempfile.TemporaryDirectory() as place:
        trio.run(check, Path(place))


async def test_trimming_keeps_the_end(tmp_path: Path) -> None:
    stream = bytes(range(256)) * 100
    output = await filled(tmp_path, [stream], None)
    output.freeze()
    await output.trim(1000)
    assert output.kept == 1000
    assert await whole(output, 0, 300) == (len(stream) - 1000, stream[-1000:])


async def test_a_disk_that_is_full_loses_bytes_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file in the way")
    output = await filled(tmp_path, [b"x" * 100, b"y" * 10], None)
    assert (output.total, output.start) == (110, 100)
    assert await output.read(0, 1000) == (100, b"y" * 10)


async def test_a_spool_that_was_taken_away_is_not_made_up(tmp_path: Path) -> None:
    output = await filled(tmp_path, [b"x" * 100, b"y" * 10], None)
    (tmp_path / "spool" / "stdout").unlink()
    assert await output.read(0, 1000) == (100, b"y" * 10)


@pytest.mark.parametrize("text", ["a", "ä", "€", "😀", "a€😀ä", ""])
def test_characters_are_whole(text: str) -> None:
    raw = text.encode()
    for cut in range(len(raw) + 1):
        found = whole_characters(raw[:cut])
        assert raw[:cut].startswith(found)
        assert found.decode() == text[: len(found.decode())]
    assert whole_characters(raw) == raw


@given(st.binary(max_size=20))
def test_what_is_no_text_loses_at_most_a_beginning(raw: bytes) -> None:
    found = whole_characters(raw)
    assert raw.startswith(found) and len(raw) - len(found) <= 3
