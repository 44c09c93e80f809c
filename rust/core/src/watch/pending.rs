//! What is about to be told: one operation a path, for so long from the first change.
//!
//! Belongs here: the debounce. Banned here: what an operation does to the tree, the log.
//! Source: wire contract, section 6: "coalesced per path for 50 ms from the first change (not
//! renewed by later ones), the last operation wins".
//!
//! Two things are told early, since coalescing them would lose something: that a directory was
//! moved away, where something new takes its name (who drops a directory drops what is below); and
//! what waits below a directory that goes, so that nothing below it is told after it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::log::Op;

/// More do not wait: the oldest are told early.
const MOST: usize = 65_536;
/// Nor do more bytes of paths.
const MOST_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Pending {
    window: Duration,
    waiting: BTreeMap<Arc<[u8]>, Waiting>,
    bytes: usize,
    /// By time; one whose ticket is no longer current was told early.
    order: VecDeque<(Instant, u64, Arc<[u8]>)>,
    tickets: u64,
}

#[derive(Debug)]
struct Waiting {
    op: Op,
    /// A directory has gone, and with it all below that nobody tells of.
    drops: bool,
    ticket: u64,
}

/// An operation whose time has come.
pub(super) type Due = (Op, Arc<[u8]>);

impl Pending {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            waiting: BTreeMap::new(),
            bytes: 0,
            order: VecDeque::new(),
            tickets: 0,
        }
    }

    /// The path has changed.
    pub(super) fn note(&mut self, op: Op, path: &[u8]) {
        self.put(op, path, false);
    }

    /// A directory was moved away, with all below it.
    pub(super) fn note_dropped(&mut self, path: &[u8]) {
        self.put(Op::Rename, path, true);
    }

    /// Takes what must be told before the path may appear anew.
    pub(super) fn take_dropped(&mut self, path: &[u8]) -> Option<Due> {
        self.waiting.get(path).filter(|one| one.drops)?;
        self.take(path)
    }

    fn put(&mut self, op: Op, path: &[u8], drops: bool) {
        if let Some(waiting) = self.waiting.get_mut(path) {
            waiting.op = op;
            waiting.drops = drops;
            return;
        }
        let path: Arc<[u8]> = path.into();
        self.bytes += path.len();
        self.tickets += 1;
        let ticket = self.tickets;
        let due = Instant::now() + self.window;
        self.waiting
            .insert(Arc::clone(&path), Waiting { op, drops, ticket });
        self.order.push_back((due, ticket, path));
    }

    /// What waits to be told of the path.
    pub(super) fn get(&self, path: &[u8]) -> Option<Op> {
        self.waiting.get(path).map(|one| one.op)
    }

    /// Takes what waits for `path` itself.
    pub(super) fn take(&mut self, path: &[u8]) -> Option<Due> {
        let (path, one) = self.waiting.remove_entry(path)?;
        self.bytes -= path.len();
        Some((one.op, path))
    }

    /// Takes what waits below `path`, in the order in which it came.
    pub(super) fn take_below(&mut self, path: &[u8]) -> Vec<Due> {
        let start = [path, b"/"].concat();
        let end = [path, b"0"].concat(); // the byte after the slash
        let range = (Included(start.as_slice()), Excluded(end.as_slice()));
        let found = self.waiting.range::<[u8], _>(range);
        let mut found: Vec<_> = found
            .map(|(path, one)| (one.ticket, one.op, Arc::clone(path)))
            .collect();
        found.sort_by_key(|one| one.0);
        for (_, _, path) in &found {
            self.take(path);
        }
        found.into_iter().map(|(_, op, path)| (op, path)).collect()
    }

    /// Takes the next one whose time has come by `now`, or that must make room.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Due> {
        loop {
            let (due, ticket, path) = self.order.front()?;
            let is_current = self
                .waiting
                .get(path)
                .is_some_and(|one| one.ticket == *ticket);
            let is_full = self.waiting.len() > MOST || self.bytes > MOST_BYTES;
            if is_current && *due > now && !is_full {
                return None;
            }
            let (_, _, path) = self.order.pop_front()?;
            if is_current {
                return self.take(&path);
            }
        }
    }

    /// Takes the next one, whenever it is due.
    pub(super) fn pop_any(&mut self) -> Option<Due> {
        let (due, ..) = self.order.back()?;
        self.pop(*due)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.front().map(|one| one.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(due: Due) -> (Op, String) {
        (due.0, String::from_utf8(due.1.to_vec()).unwrap())
    }

    #[test]
    fn the_last_operation_wins_at_the_time_of_the_first() {
        let mut pending = Pending::new(Duration::from_secs(1));
        let before = Instant::now();
        pending.note(Op::Create, b"a");
        let due = pending.next().unwrap();
        pending.note(Op::Write, b"b");
        pending.note(Op::Write, b"a");
        pending.note(Op::Remove, b"a");
        assert_eq!(pending.next(), Some(due));
        assert!(pending.pop(before).is_none());
        assert_eq!(told(pending.pop(due).unwrap()), (Op::Remove, "a".into()));
        assert!(pending.pop(due).is_none_or(|one| told(one).1 == "b"));
    }

    #[test]
    fn what_is_below_a_path_is_taken_in_order_and_nothing_else() {
        let mut pending = Pending::new(Duration::ZERO);
        for path in ["d", "d/z", "d/a", "d/a/x", "d.", "d0", "dd/a", "c"] {
            pending.note(Op::Create, path.as_bytes());
        }
        let below: Vec<_> = pending
            .take_below(b"d")
            .into_iter()
            .map(|one| told(one).1)
            .collect();
        assert_eq!(below, ["d/z", "d/a", "d/a/x"]);
        pending.note(Op::Write, b"d/a");
        let mut rest = Vec::new();
        while let Some(one) = pending.pop_any() {
            rest.push(told(one).1);
        }
        assert_eq!(rest, ["d", "d.", "d0", "dd/a", "c", "d/a"]);
        assert!(pending.next().is_none());
    }

    #[test]
    fn a_directory_that_was_moved_away_is_told_before_its_name_is_taken() {
        let mut pending = Pending::new(Duration::ZERO);
        pending.note(Op::Create, b"d");
        assert!(pending.take_dropped(b"d").is_none());
        pending.note_dropped(b"d");
        assert_eq!(
            told(pending.take_dropped(b"d").unwrap()),
            (Op::Rename, "d".into())
        );
        assert!(pending.take_dropped(b"d").is_none());
    }

    #[test]
    fn too_many_are_told_early() {
        let mut pending = Pending::new(Duration::from_secs(1000));
        for number in 0..MOST + 5 {
            pending.note(Op::Create, format!("{number}").as_bytes());
        }
        let now = Instant::now();
        let early = std::iter::from_fn(|| pending.pop(now)).count();
        assert_eq!(early, 5);
        while pending.pop_any().is_some() {}
        assert_eq!(pending.bytes, 0);
        let long = [b'x'; 4000];
        for number in 0..MOST_BYTES / long.len() + 5 {
            pending.note(
                Op::Create,
                &[&long, format!("{number}").as_bytes()].concat(),
            );
        }
        let early = std::iter::from_fn(|| pending.pop(now)).count();
        assert!((5..20).contains(&early), "{early}");
    }
}
