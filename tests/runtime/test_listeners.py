"""Who listens to watchers, at which pace, and the word that something was lost."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from hutch.runtime.watchers.listeners import Listeners


@dataclass
class Ear:
    """Takes so many frames."""

    room: int
    heard: list[bytes] = field(default_factory=list)

    def hear(self, frame: bytes) -> bool:
        if len(self.heard) >= self.room:
            return False
        self.heard.append(frame)
        return True


@dataclass
class Ring:
    """A watcher's log that keeps so many events."""

    id: str
    kept: int
    first: int = 10
    last: int = 10
    is_active: bool = True
    # Events that come whenever it is asked for the last one: its thread waits for nobody.
    busy: int = 0

    def seq(self) -> int:
        self.last += self.busy
        return self.last

    def frames(self, seq: int, most: int) -> tuple[bool, int, list[bytes]]:
        start = max(seq, self.last - self.kept)
        end = min(self.last, start + most)
        frames = [b"%s%d" % (self.id.encode(), number) for number in range(start + 1, end + 1)]
        return start > seq, end, frames

    def ready(self, seq: int) -> bytes:
        return f"ready {self.id}{seq}".encode()

    def overflow(self, seq: int) -> bytes:
        return f"overflow {self.id}{seq}".encode()


def test_who_is_full_goes_on_where_it_was_and_holds_up_nobody() -> None:
    listeners, log = Listeners(), Ring("a", kept=100)
    full, free = Ear(2), Ear(100)
    with listeners.listening(full.hear, [log]), listeners.listening(free.hear, []):
        log.last = 14
        assert not listeners.tell([log])
        assert (full.heard, listeners.is_waiting) == ([b"a11", b"a12"], True)
        assert free.heard == [b"ready a10", b"a11", b"a12", b"a13", b"a14"]
        full.room = 100
        listeners.tell([log])
        assert (full.heard[2:], listeners.is_waiting) == ([b"a13", b"a14"], False)
    log.last = 15
    listeners.tell([log])
    assert (len(full.heard), len(listeners)) == (4, 0)


def test_what_the_log_no_longer_holds_is_told_as_lost_before_the_next_event() -> None:
    listeners, log = Listeners(), Ring("a", kept=2)
    one = Ear(1)
    with listeners.listening(one.hear, [log]):
        for log.last in range(11, 20):
            listeners.tell([log])
        one.room = 2
        listeners.tell([log])
        one.room = 100
        listeners.tell([log])
        assert one.heard == [b"a11", b"overflow a17", b"a18", b"a19"]


def test_each_watcher_has_a_cursor_of_its_own() -> None:
    listeners, a, b = Listeners(), Ring("a", kept=10), Ring("b", kept=10)
    one = Ear(100)
    with listeners.listening(one.hear, [a, b]):
        a.last, b.last = 11, 12
        listeners.tell([a, b])
        assert one.heard == [b"a11", b"b11", b"b12"]
        listeners.forget("a")
        listeners.tell([b])
        assert len(one.heard) == 3


def test_many_events_are_told_in_turns() -> None:
    listeners, log, one = Listeners(), Ring("a", kept=10_000), Ear(10_000)
    with listeners.listening(one.hear, [log]):
        log.last += 1000
        turns = 1
        while listeners.tell([log]):
            turns += 1
        assert (len(one.heard), turns > 5) == (1000, True)


def test_a_turn_is_short_however_many_listen() -> None:
    listeners, log = Listeners(), Ring("a", kept=10_000)
    ears = [Ear(10_000) for _ in range(500)]
    with ExitStack() as stack:
        for one in ears:
            stack.enter_context(listeners.listening(one.hear, [log]))
        log.last += 100
        while True:
            before = sum(len(one.heard) for one in ears)
            has_more = listeners.tell([log])
            assert sum(len(one.heard) for one in ears) - before <= 2 * 512
            if not has_more:
                break
        assert all(len(one.heard) == 100 for one in ears)


def test_a_flood_of_one_watcher_holds_up_no_other() -> None:
    """Also for a listener that has room for a few frames at a time."""
    listeners, flood, calm = Listeners(), Ring("a", kept=10_000), Ring("b", kept=10_000)
    one = Ear(0)
    with listeners.listening(one.hear, [flood, calm]):
        flood.last += 5_000
        calm.last += 1
        for _ in range(3):
            one.room += 5
            listeners.tell([flood, calm])
        assert b"b11" in one.heard
        assert len(one.heard) == 15


def test_an_event_between_ready_and_the_first_turn_is_told() -> None:
    listeners, log, one = Listeners(), Ring("a", kept=100, busy=3), Ear(100)
    resting = Ring("b", kept=100, is_active=False)
    with listeners.listening(one.hear, [log, resting]) as ready:
        assert ready == [b"ready a13"]
        log.last += 1
        listeners.tell([log, resting])
        assert one.heard == [b"a14"]
