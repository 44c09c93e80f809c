"""One client of all terminals: what it is sent next.

Belongs here: the order of frames, gathering, fairness between terminals, gaps. Banned here: the
connection. Everything is decided in one synchronous call, so that nothing is lost or doubled
between replay and live output: a frame is the bytes after a cursor, and the cursor moves with it.

The first bytes after silence go at once, so that an echo is quick; what follows within some
milliseconds is gathered, so that a flood costs few frames. Terminals take turns.
Source: wire contract, section 7.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from hutch.runtime.terminals.session import Session, View
from hutch.wire.config import Limits
from hutch.wire.terminals import exit_frame, gap_frame, output_frame

# Small, so that no terminal waits for long behind another's frame, and that a third of the smallest
# buffer of a socket (tcp(7), tcp_wmem) takes one whole.
FRAME: Final = 16 * 1024


class Listener:
    """The cursors of one client. `wake` is called when there may be something to send."""

    def __init__(
        self, sessions: Iterable[Session], limits: Limits, wake: Callable[[], None]
    ) -> None:
        self._limits = limits
        self._wake = wake
        self._views: deque[View] = deque()
        # Sent before anything that lives.
        self._texts: deque[str] = deque()
        self.due = float("inf")
        for one in sessions:
            if one.ended.is_set():
                self._texts.append(exit_frame(one.number, one.exit_code or 0))
            else:
                self.add(one)
        self._replays: deque[View] = deque(self._views)

    def add(self, session: Session) -> None:
        """Listens to one more terminal."""
        self._views.append(session.attach(self._wake))
        self._wake()

    def close(self) -> None:
        """Listens no more."""
        while self._views:
            self._leave(self._views[0])

    def cut(self, session: Session) -> None:
        """Hears no more of a session that has ended: what was not sent of it is told as a gap."""
        for view in [one for one in self._views if one.session is session]:
            missing = view.skipped + session.scrollback.total - view.at
            if missing:
                self._texts.append(gap_frame(session.number, missing))
            self._texts.append(exit_frame(session.number, session.exit_code or 0))
            if view in self._replays:
                self._replays.remove(view)
            self._leave(view)
            self._wake()

    def _leave(self, view: View) -> None:
        self._views.remove(view)
        view.session.detach(view)

    @property
    def is_replaying(self) -> bool:
        """Whether it is still being sent what was there when it came."""
        return bool(self._replays or self._texts)

    def next(self, now: float) -> bytes | str | None:
        """The next frame; None where there is none before `due`, or before the next `wake`."""
        self.due = float("inf")
        return self._next_replay(now) or self._next_live(now)

    def _next_replay(self, now: float) -> bytes | str | None:
        while self._replays:
            view = self._replays[0]
            if view.skipped:
                return self._gap(view)
            if view.at < view.replay:
                return self._output(view, now, most=view.replay - view.at)
            self._replays.popleft()
        return self._texts.popleft() if self._texts else None

    def _next_live(self, now: float) -> bytes | str | None:
        for _ in range(len(self._views)):
            view = self._views[0]
            self._views.rotate(-1)
            frame = self._of(view, now)
            if frame is not None:
                return frame
        return None

    def _of(self, view: View, now: float) -> bytes | str | None:
        if view.skipped:
            return self._gap(view)
        session = view.session
        has_ended = session.ended.is_set()
        pending = session.scrollback.total - view.at
        if pending:
            due = view.sent + self._limits.terminal_frame_seconds
            if pending >= FRAME or has_ended or now >= due:
                return self._output(view, now, most=FRAME)
            self.due = min(self.due, due)
        elif has_ended:
            self._leave(view)
            return exit_frame(session.number, session.exit_code or 0)
        return None

    def _gap(self, view: View) -> str:
        skipped, view.skipped = view.skipped, 0
        return gap_frame(view.session.number, skipped)

    def _output(self, view: View, now: float, *, most: int) -> bytes:
        session = view.session
        data = session.scrollback.read(view.at, min(most, FRAME))
        view.at += len(data)
        view.sent = now
        session.taken()
        return output_frame(session.number, data)
