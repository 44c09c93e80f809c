//! The change log: what a watcher told, numbered, the latest so many of it.
//!
//! Belongs here: numbers, the ring, the finished text of an event. It is the only queue behind a
//! watcher: sockets and `changes` are cursors into it, and one that has fallen behind is told.
//! Banned here: when an event is told (`pending`), who listens.
//!
//! Numbers go up by one. They begin at the clock's microseconds, so that a number which another
//! watcher of the same name gave before a restart is never taken for one of this watcher's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use super::bell::Bell;
use crate::entry::{append_number, append_text, append_word};
use crate::pool::lock;

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Create,
    Write,
    Remove,
    Rename,
}

impl Op {
    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Remove => "remove",
            Self::Rename => "rename",
        }
    }
}

/// How much a log keeps.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Events.
    pub events: usize,
    /// Bytes of their text.
    pub bytes: usize,
}

/// What a reader of the log gets.
#[derive(Debug, PartialEq, Eq)]
pub struct Changes {
    /// Events were lost, or are no longer kept: what is known is void.
    pub fresh: bool,
    /// The number up to which this tells.
    pub seq: u64,
    /// Whether more is there already.
    pub more: bool,
    /// JSON objects with commas between them.
    pub text: Vec<u8>,
}

/// Frames for sockets.
#[derive(Debug, PartialEq, Eq)]
pub struct Frames {
    /// Some between the cursor and the first one are no longer kept.
    pub lost: bool,
    /// The cursor to go on from.
    pub seq: u64,
    /// Each a finished JSON object.
    pub frames: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct Log {
    bounds: Bounds,
    state: Mutex<State>,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct State {
    events: VecDeque<Event>,
    bytes: usize,
    last: u64,
    /// The last number that told of a loss: who knows less must begin anew.
    broken: u64,
}

#[derive(Debug)]
struct Event {
    is_overflow: bool,
    /// Fields, each with a comma before it.
    text: Box<[u8]>,
}

impl Log {
    pub(super) fn new(bounds: Bounds, bell: Arc<Bell>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let last = now.map_or(0, |since| since.as_micros() as u64);
        Self {
            bounds,
            state: Mutex::new(State {
                events: VecDeque::new(),
                bytes: 0,
                last,
                broken: last,
            }),
            bell,
        }
    }

    pub(super) fn change(&self, op: Op, path: &[u8]) {
        let mut text = Vec::with_capacity(path.len() + 64);
        append_text(&mut text, "path", path);
        append_word(&mut text, "op", op.word());
        self.push(text, false);
    }

    /// Tells that events were lost, or that what was told no longer counts, and why.
    pub(super) fn overflow(&self, message: &str) {
        let mut text = Vec::new();
        append_text(&mut text, "message", message.as_bytes());
        self.push(text, true);
    }

    fn push(&self, mut text: Vec<u8>, is_overflow: bool) {
        let mut state = lock(&self.state);
        state.last += 1;
        text.extend_from_slice(b",\"seq\":");
        append_number(&mut text, state.last);
        if is_overflow {
            state.broken = state.last;
        }
        state.bytes += text.len();
        state.events.push_back(Event {
            is_overflow,
            text: text.into(),
        });
        while state.events.len() > self.bounds.events || state.bytes > self.bounds.bytes {
            let gone = state.events.pop_front();
            state.bytes -= gone.map_or(0, |one| one.text.len());
        }
        drop(state);
        self.bell.ring();
    }

    /// The number of the last event.
    pub(super) fn seq(&self) -> u64 {
        lock(&self.state).last
    }

    /// The changes after `seq`, some `most` bytes of them.
    pub(super) fn since(&self, seq: u64, most: usize) -> Changes {
        let state = lock(&self.state);
        let last = state.last;
        if seq > last || seq < state.broken || seq < state.dropped() {
            return Changes {
                fresh: true,
                seq: last,
                more: false,
                text: Vec::new(),
            };
        }
        let mut text = Vec::new();
        let mut at = seq;
        for event in state.after(seq) {
            if text.len() >= most {
                break;
            }
            text.extend_from_slice(if text.is_empty() { b"{" } else { b",{" });
            text.extend_from_slice(&event.text[1..]);
            text.push(b'}');
            at += 1;
        }
        Changes {
            fresh: false,
            seq: at,
            more: at < last,
            text,
        }
    }

    /// At most `most` frames after the number `seq`, for the watcher called `id`.
    pub(super) fn frames(&self, id: &str, seq: u64, most: usize) -> Frames {
        let state = lock(&self.state);
        let start = seq.max(state.dropped());
        let frame = |event: &Event| {
            let kind = if event.is_overflow {
                "overflow"
            } else {
                "change"
            };
            let head = format!(r#"{{"channel":"watcher","type":"{kind}","watcher_id":"{id}""#);
            [head.as_bytes(), &event.text, b"}"].concat()
        };
        let frames: Vec<_> = state.after(start).take(most).map(frame).collect();
        Frames {
            lost: start > seq,
            seq: start + frames.len() as u64,
            frames,
        }
    }
}

impl State {
    /// The last number that is no longer kept.
    fn dropped(&self) -> u64 {
        self.last - self.events.len() as u64
    }

    fn after(&self, seq: u64) -> impl Iterator<Item = &Event> {
        self.events.iter().skip((seq - self.dropped()) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: usize, bytes: usize) -> Log {
        Log::new(Bounds { events, bytes }, Arc::new(Bell::new().unwrap()))
    }

    #[test]
    fn a_cursor_reads_on_until_what_it_knows_is_void() {
        let log = log(3, 1000);
        let start = log.seq();
        log.change(Op::Create, b"/a");
        log.change(Op::Write, b"/\xff");
        let told = log.since(start, 1);
        assert_eq!((told.fresh, told.seq, told.more), (false, start + 1, true));
        let wanted = format!(r#"{{"path":"/a","op":"create","seq":{}}}"#, start + 1);
        assert_eq!(told.text, wanted.as_bytes());
        let told = log.since(start, 1000);
        assert!(
            told.text
                .ends_with(format!(r#","seq":{}}}"#, start + 2).as_bytes())
        );
        assert!(
            String::from_utf8(told.text)
                .unwrap()
                .contains(r#""path_b64":"L_8""#)
        );
        assert_eq!(log.since(start + 2, 1).text, b"");
        assert!(log.since(start + 3, 1).fresh);
        assert!(log.since(0, 1).fresh);
        log.overflow("why");
        assert!(log.since(start + 2, 1).fresh);
        assert!(!log.since(start + 3, 1).fresh);
    }

    #[test]
    fn what_no_longer_fits_is_told_as_lost() {
        for (events, bytes) in [(3, 100_000), (100_000, 3 * 60)] {
            let log = log(events, bytes);
            let start = log.seq();
            for _ in 0..10 {
                log.change(Op::Create, b"/a");
            }
            assert!(log.since(start + 1, 1000).fresh);
            let told = log.frames("1", start, 2);
            assert!(told.lost);
            assert_eq!(told.frames.len(), 2);
            let rest = log.frames("1", told.seq, 100);
            assert!(!rest.lost);
            assert_eq!(rest.seq, start + 10);
            assert_eq!(log.frames("1", rest.seq, 100).frames.len(), 0);
        }
    }

    #[test]
    fn a_frame_is_what_the_reference_shows_with_its_number() {
        let log = log(10, 1000);
        log.change(Op::Rename, b"/a\"b");
        log.overflow("lost");
        let told = log.frames("7", log.seq() - 2, 10).frames;
        let texts: Vec<_> = told
            .iter()
            .map(|one| String::from_utf8_lossy(one))
            .collect();
        let seq = log.seq();
        let change = r#"{"channel":"watcher","type":"change","watcher_id":"7","path":"/a\"b""#;
        assert_eq!(
            texts[0],
            format!(r#"{change},"op":"rename","seq":{}}}"#, seq - 1)
        );
        let overflow =
            r#"{"channel":"watcher","type":"overflow","watcher_id":"7","message":"lost""#;
        assert_eq!(texts[1], format!(r#"{overflow},"seq":{seq}}}"#));
    }
}
