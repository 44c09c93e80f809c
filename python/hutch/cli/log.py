"""The process's log: lines on standard error that never hold the server up.

Belongs here: the handler of `logging`. Banned here: what is logged. A pipe that nobody reads is
full after some hundred lines, and a plain write would then stop the whole server for ever. So a
line is written only where it cannot block; else it is counted, and the log says so later.
"""

from __future__ import annotations

import logging
import os
import select
from typing import Final

# A pipe that polls writable takes this much without blocking (pipe(7), PIPE_BUF).
_PIECE: Final = 4096


class PatientHandler(logging.Handler):
    """Writes to a descriptor whose reader may be slow, or gone."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record's line, or counts it as lost."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
            if self._lost and self._write(
                b"%d log lines were lost: nobody read them\n" % self._lost
            ):
                self._lost = 0
            if not self._write(line):
                self._lost += 1
        except Exception:  # as `logging` has it: a log must not break its caller
            self.handleError(record)

    def _write(self, line: bytes) -> bool:
        """False where not all of it could be written at once."""
        for start in range(0, len(line), _PIECE):
            if not self._is_writable():
                return False
            try:
                os.write(self._descriptor, line[start : start + _PIECE])
            except OSError:
                return False
        return True

    def _is_writable(self) -> bool:
        return any(events & select.POLLOUT for _, events in self._poll.poll(0))
