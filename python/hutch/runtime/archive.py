"""Archives: trees as tar.gz in batches, and tar.gz into trees as it arrives.

Belongs here: opening the extension's work, waiting for it, and what its account means. Banned
here: HTTP, and the work itself (`hutch-core`).
Source: wire contract, section 2, "Transfer".
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

import trio
from msgspec import UNSET

from hutch import _native
from hutch._native import Extractor, Guard, Pending, Stop
from hutch.runtime.lanes import Lane, Lanes
from hutch.runtime.protection import protected_paths
from hutch.wire.archive import (
    DownloadBody,
    Extracted,
    Skipped,
    UploadQuery,
    patterns_of,
    roots_of,
)
from hutch.wire.config import Limits
from hutch.wire.errors import Code, Failure, from_os_error
from hutch.wire.paths import display, encode_b64, path_fields

# Each waits for a disk or inflates; the event loop keeps its share.
_WIDTH: Final = 4
# What is put together before a thread is asked to unpack it: a hop costs 100 microseconds.
_PIECE: Final = 256 * 1024

Pull = Callable[[], Awaitable[bytes | None]]


class Download:
    """An archive under way: a `Source` of batches. The eventfd stays open until `stop`."""

    def __init__(self, native: _native.Pack) -> None:
        self._native = native
        self._descriptor = native.fileno()
        self._stopped = False

    async def pull(self) -> bytes | None:
        """The next batch; None when the archive is complete.

        Raises `Failure`: not_found, forbidden, bad_request for a path that cannot be packed or
        a malformed pattern, which the first batch tells; internal where it broke off.
        """
        while True:
            try:
                batch = self._native.try_next()
            except OSError as error:
                raise from_os_error(error) from error
            except ValueError as error:
                raise Failure("bad_request", str(error)) from error
            except RuntimeError as error:
                raise Failure("internal", f"the archive broke off: {error}") from error
            if batch is not None:
                return batch or None
            await trio.lowlevel.wait_readable(self._descriptor)

    def stop(self) -> None:
        """Ends the work and frees what it held; may be called more than once."""
        if self._stopped:
            return
        self._stopped = True
        # Before the descriptor closes: epoll would wait for a number that is used again.
        trio.lowlevel.notify_closing(self._descriptor)
        self._native.stop()

    def packed(self) -> tuple[int, int]:
        """How many entries were left out, how many files changed; known at the end."""
        return self._native.packed()


class Archives:
    """The service that packs and unpacks."""

    def __init__(self, limits: Limits, state_dir: Path, pending: Pending) -> None:
        self._limits = limits
        self._protected = protected_paths(state_dir)
        self._pending = pending
        self._lanes = Lanes(_WIDTH)

    def download(self, asked: DownloadBody) -> Download:
        """An archive under way. Its first batch tells whether all of it is there.

        Raises `Failure` (bad_request).
        """
        roots, patterns = roots_of(asked), patterns_of(asked)
        return Download(_native.Pack(roots, exclude_patterns=patterns, level=asked.level))

    async def upload(self, asked: UploadQuery, pull: Pull) -> Extracted:
        """Unpacks what `pull` hands over into the directory, as it arrives.

        Raises `Failure`: bad_request (a broken, cut or empty archive, one that would leave the
        directory), too_large (over a limit), forbidden, insufficient_storage, each with
        `files_extracted` and `bytes` of what had been made before; and what `pull` raises.
        """
        if asked.owner == "archive" and os.geteuid() != 0:
            raise Failure("bad_request", "owner: archive; only root may give files away")
        lane = self._lanes.of(asked.dest)
        unpacking = _Unpacking(asked.dest, await self._open(asked, lane), lane)
        try:
            await unpacking.take(pull)
            return unpacking.answer()
        finally:
            # What was made is left in order, whoever goes away.
            with trio.CancelScope(shield=True):
                await lane.run(unpacking.extractor.give_up)

    async def _open(self, asked: UploadQuery, lane: Lane) -> Extractor:
        limits = self._limits

        def work() -> Extractor:
            return Extractor(
                asked.dest,
                self._pending,
                Guard(self._protected),
                keep_owner=asked.owner == "archive",
                sync=asked.sync,
                entries=limits.archive_entries,
                total_bytes=limits.archive_bytes,
                ratio=limits.archive_ratio,
                name_bytes=limits.archive_name_bytes,
            )

        try:
            return await lane.run(work)
        except OSError as error:
            failure = from_os_error(error, path=asked.dest)
            raise Failure(failure.code, f"dest: {failure.message}") from error


@dataclass(frozen=True, slots=True)
class _Unpacking:
    """One upload under way."""

    dest: bytes
    extractor: Extractor
    lane: Lane

    async def take(self, pull: Pull) -> None:
        """All of it. Raises `Failure`, and what `pull` raises."""
        ended = False
        while not ended:
            parts: list[bytes] = []
            room = _PIECE
            while room > 0 and not ended:
                chunk = await pull()
                ended = chunk is None
                parts.append(chunk or b"")
                room -= len(parts[-1])
            await self._run(partial(self.extractor.push, b"".join(parts)))
        await self._run(self.extractor.finish)

    async def _run(self, work: Callable[[Stop], tuple[str, str] | None]) -> None:
        try:
            refusal = await self.lane.run_stoppable(work)
        except OSError as error:
            failure = from_os_error(error)
            raise self._failed(failure.code, failure.message) from error
        if refusal is not None:
            raise self._failed(cast(Code, refusal[0]), refusal[1])

    def _failed(self, code: Code, message: str) -> Failure:
        landed = self.extractor.landed()
        done = {"files_extracted": landed.files, "bytes": landed.content_bytes}
        if landed.files == 0:
            return Failure(code, f"{message}; no file was extracted", extra=done)
        before = f"{landed.files} files were extracted before, and stay"
        return Failure(code, f"{message}; {before}", extra=done)

    def answer(self) -> Extracted:
        """What was made."""
        landed = self.extractor.landed()
        is_cut = landed.skipped_total > len(landed.skipped)
        dest_b64 = encode_b64(self.dest)
        return Extracted(
            dest=display(self.dest),
            dest_b64=UNSET if dest_b64 is None else dest_b64,
            files_extracted=landed.files,
            directories=landed.directories,
            bytes=landed.content_bytes,
            skipped=[Skipped(reason=why, **path_fields(path)) for path, why in landed.skipped],
            skipped_total=landed.skipped_total if is_cut else UNSET,
        )
