"""Archives: trees as tar.gz in batches, and tar.gz into trees as it arrives.

Belongs here: opening the extension's work, waiting for it, and what its account means. Banned
here: HTTP, and the work itself (`hutch-core`).
Source: wire contract, section 2, "Transfer".
"""

from __future__ import annotations

import trio

from hutch import _native
from hutch.wire.archive import DownloadBody, patterns_of, roots_of
from hutch.wire.errors import Failure, from_os_error


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

    def download(self, asked: DownloadBody) -> Download:
        """An archive under way. Its first batch tells whether all of it is there.

        Raises `Failure` (bad_request).
        """
        roots, patterns = roots_of(asked), patterns_of(asked)
        return Download(_native.Pack(roots, exclude_patterns=patterns, level=asked.level))
