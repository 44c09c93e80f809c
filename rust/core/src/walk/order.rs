//! The breadth-first order: which entries a list holds, and how they hang together.
//!
//! Belongs here: nodes, their entries sorted bytewise by name, the cap. The entries of a
//! capped answer are chosen breadth-first, so the top of the tree is always whole, the same on
//! every call. Banned here: system calls, output.
//! Source: wire contract, section 2, "Order".

use std::sync::Arc;

use rustix::io::Errno;

use super::read::{Facts, Seen};
use crate::directory::Kind;
use crate::entry::Spelling;
use crate::rules::DirRules;

/// A directory of the answer, or one that may lead to some of it.
pub(super) struct Node {
    /// Its own entry: the parent's index and the place there. None for the listed directory.
    pub(super) entry: Option<(usize, usize)>,
    pub(super) depth: u32,
    pub(super) tracked: bool,
    pub(super) rules: Option<Arc<DirRules>>,
    pub(super) records: Vec<Record>,
    names: Vec<u8>,
    is_trimmed: bool,
    pub(super) error: Option<Errno>,
}

/// One entry.
#[derive(Default)]
pub(super) struct Record {
    pub(super) name: (u32, u16),
    /// The answer holds it.
    pub(super) is_kept: bool,
    /// The filters match it; a tree keeps others that lead to a match.
    pub(super) is_match: bool,
    pub(super) kind: Option<Kind>,
    pub(super) is_tracked: bool,
    pub(super) is_gone: bool,
    /// The answer is capped before all that lies in it.
    pub(super) is_cut: bool,
    /// Why it is not entered, as a finished field; empty for no word.
    pub(super) barrier: Option<&'static [u8]>,
    pub(super) child: Option<u32>,
    pub(super) told: Option<Box<Told>>,
}

/// What the disk told of an entry.
pub(super) struct Told {
    pub(super) seen: Seen,
    pub(super) facts: Facts,
}

/// What reading one directory gave.
pub(super) struct Contents {
    pub(super) records: Vec<Record>,
    pub(super) names: Vec<u8>,
    pub(super) rules: Option<Arc<DirRules>>,
    /// More was there than could be kept.
    is_trimmed: bool,
    pub(super) error: Option<Errno>,
    /// How many records the next [`Contents::trim_early`] lets be.
    enough: usize,
}

/// Fewer records than these are not worth trimming.
const FEW: usize = 4096;

impl Contents {
    pub(super) fn new() -> Self {
        Self {
            records: Vec::new(),
            names: Vec::new(),
            rules: None,
            is_trimmed: false,
            error: None,
            enough: FEW,
        }
    }

    pub(super) fn push(&mut self, name: &[u8], mut record: Record) {
        let start = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        record.name = (start, u16::try_from(name.len()).unwrap_or(u16::MAX));
        self.names.extend_from_slice(name);
        self.records.push(record);
    }

    pub(super) fn name(&self, record: &Record) -> &[u8] {
        name_in(&self.names, record)
    }

    /// Trims what has doubled since it was trimmed last: all trimming together costs a few
    /// times the last, also where nothing can be cut (directories that may lead to a match).
    pub(super) fn trim_early(&mut self, most: usize) {
        if self.records.len() > self.enough.max(most.saturating_mul(2)) {
            self.trim(most);
            self.enough = FEW.max(self.records.len() * 2);
        }
    }

    /// Sorts by name and keeps what `most` matches need, so that a directory of a million
    /// files costs the memory of a capped answer.
    pub(super) fn trim(&mut self, most: usize) {
        let names = &self.names;
        self.records
            .sort_unstable_by(|a, b| name_in(names, a).cmp(name_in(names, b)));
        let mut matches = 0;
        let cut = self.records.iter().position(|record| {
            matches += usize::from(record.is_match);
            matches > most
        });
        if let Some(cut) = cut {
            self.is_trimmed = true;
            self.records.truncate(cut);
            let old = std::mem::take(&mut self.names);
            for record in &mut self.records {
                let start = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
                self.names.extend_from_slice(name_in(&old, record));
                record.name.0 = start;
            }
        }
    }
}

fn name_in<'n>(names: &'n [u8], record: &Record) -> &'n [u8] {
    let (start, length) = (record.name.0 as usize, usize::from(record.name.1));
    &names[start..start + length]
}

impl Node {
    fn new(entry: Option<(usize, usize)>, depth: u32, tracked: bool) -> Self {
        Self {
            entry,
            depth,
            tracked,
            rules: None,
            records: Vec::new(),
            names: Vec::new(),
            is_trimmed: false,
            error: None,
        }
    }

    pub(super) fn name(&self, record: &Record) -> &[u8] {
        name_in(&self.names, record)
    }
}

/// The nodes of a list, filled level by level.
pub(super) struct Order {
    pub(super) nodes: Vec<Node>,
    level: std::ops::Range<usize>,
    next: usize,
    done: usize,
    /// Matches in what was read of the level. Directories are taken in order, so once these are
    /// enough none is needed that was not taken, whichever are still being read.
    matches: usize,
    count: usize,
    limit: usize,
    leads: bool,
    pub(super) is_truncated: bool,
}

impl Order {
    /// `leads`: what leads to a match is kept too (the tree form).
    pub(super) fn new(limit: usize, leads: bool) -> Self {
        Self {
            nodes: vec![Node::new(None, 0, false)],
            level: 0..1,
            next: 0,
            done: 0,
            matches: 0,
            count: 0,
            limit,
            leads,
            is_truncated: false,
        }
    }

    /// How many matches the level at hand may still bring: one more than fit tells that the
    /// answer is capped.
    pub(super) fn wanted(&self) -> usize {
        self.limit - self.count + 1
    }

    /// The next directory to read, if this level needs one more.
    pub(super) fn take(&mut self) -> Option<usize> {
        if !self.has_more() {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// Whether more than one thread has something to do.
    pub(super) fn has_more(&self) -> bool {
        self.next < self.level.end && self.matches < self.wanted()
    }

    /// Puts what was read where it belongs; true when the level is complete.
    pub(super) fn put(&mut self, at: usize, contents: Contents) -> bool {
        let node = &mut self.nodes[at];
        node.records = contents.records;
        node.names = contents.names;
        node.rules = contents.rules;
        node.is_trimmed = contents.is_trimmed;
        node.error = contents.error;
        let counts = |one: &&Record| one.is_match && !one.is_gone;
        self.matches += node.records.iter().filter(counts).count();
        self.done += 1;
        self.level.start + self.done == self.next && !self.has_more()
    }

    /// How a node's directory is spelled.
    pub(super) fn spelling(&self, node: usize, root: &[u8]) -> Spelling {
        let mut names = Vec::new();
        let mut above = self.nodes[node].entry;
        while let Some((at, place)) = above {
            let parent = &self.nodes[at];
            names.push(parent.name(&parent.records[place]));
            above = parent.entry;
        }
        let mut spelling = Spelling::root(root);
        for name in names.iter().rev() {
            spelling.descend(name);
        }
        spelling
    }

    /// Chooses what the answer keeps of a complete level, and lays out the next one; false
    /// when there is none.
    pub(super) fn advance(&mut self) -> bool {
        let level = self.level.clone();
        let read = self.next;
        let mut below = Vec::new();
        for at in level.start..read {
            let before = below.len();
            for place in 0..self.nodes[at].records.len() {
                if !self.choose(at, place) {
                    self.cut(at, place, read);
                    return false;
                }
                let record = &self.nodes[at].records[place];
                if record.is_directory() && record.barrier.is_none() && !record.is_gone {
                    below.push((at, place));
                }
            }
            if self.nodes[at].is_trimmed {
                // Some of what was kept has vanished, so that the rest fits: what was trimmed
                // away might fit as well, and is not there.
                self.cut(at, self.nodes[at].records.len(), read);
                return false;
            }
            if below.len() == before {
                self.nodes[at].rules = None;
            }
        }
        self.lay_out(below)
    }

    fn lay_out(&mut self, below: Vec<(usize, usize)>) -> bool {
        let start = self.nodes.len();
        for (at, place) in below {
            let child = u32::try_from(self.nodes.len()).ok();
            let depth = self.nodes[at].depth + 1;
            let record = &mut self.nodes[at].records[place];
            record.child = child;
            let tracked = record.is_tracked;
            self.nodes
                .push(Node::new(Some((at, place)), depth, tracked));
        }
        self.level = start..self.nodes.len();
        self.next = start;
        self.done = 0;
        self.matches = 0;
        !self.level.is_empty()
    }

    /// Counts an entry and what leads to it; false where it no longer fits.
    fn choose(&mut self, at: usize, place: usize) -> bool {
        let record = &self.nodes[at].records[place];
        if !record.is_match || record.is_gone {
            return true;
        }
        let missing = if self.leads {
            self.missing_above(at)
        } else {
            0
        };
        if self.count + 1 + missing > self.limit {
            return false;
        }
        self.nodes[at].records[place].is_kept = true;
        self.count += 1 + missing;
        let mut above = self.nodes[at].entry.filter(|_| self.leads);
        while let Some((at, place)) = above {
            let record = &mut self.nodes[at].records[place];
            if std::mem::replace(&mut record.is_kept, true) {
                break;
            }
            above = self.nodes[at].entry;
        }
        true
    }

    fn missing_above(&self, at: usize) -> usize {
        let mut missing = 0;
        let mut above = self.nodes[at].entry;
        while let Some((at, place)) = above {
            if self.nodes[at].records[place].is_kept {
                break;
            }
            missing += 1;
            above = self.nodes[at].entry;
        }
        missing
    }

    /// The answer ends here: what is left of this level, and all below it, is not in it. The
    /// directories that this cuts say so. What was read beyond is forgotten, its errors too: how
    /// much that was depends on the threads.
    fn cut(&mut self, at: usize, place: usize, read: usize) {
        self.is_truncated = true;
        self.nodes[at].records.truncate(place);
        self.mark_cut(at);
        for later in at + 1..self.level.end {
            if later < read {
                self.nodes[later].records.clear();
                self.nodes[later].error = None;
            }
            self.mark_cut(later);
        }
        for level in self.level.start..=at {
            for record in &mut self.nodes[level].records {
                record.is_cut |= record.is_directory() && record.barrier.is_none();
            }
        }
    }

    fn mark_cut(&mut self, node: usize) {
        if let Some((at, place)) = self.nodes[node].entry {
            let record = &mut self.nodes[at].records[place];
            record.is_cut = true;
        }
    }
}

impl Record {
    pub(super) fn is_directory(&self) -> bool {
        self.kind == Some(Kind::Directory)
    }

    /// Whether the answer holds it.
    pub(super) fn is_shown(&self) -> bool {
        self.is_kept && !self.is_gone
    }

    /// Whether the answer holds it and it is a file, by what the disk said last.
    pub(super) fn is_shown_file(&self) -> bool {
        let is_file = |told: &Told| told.seen.kind == Kind::File;
        self.is_shown() && self.told.as_deref().is_some_and(is_file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(entries: &[(&str, bool, bool)]) -> Contents {
        let mut contents = Contents::new();
        for (name, is_directory, is_match) in entries {
            let record = Record {
                kind: Some(if *is_directory {
                    Kind::Directory
                } else {
                    Kind::File
                }),
                is_match: *is_match,
                ..Record::default()
            };
            contents.push(name.as_bytes(), record);
        }
        contents.trim(usize::MAX);
        contents
    }

    fn kept(order: &Order) -> Vec<String> {
        let text =
            |node: &Node, record: &Record| String::from_utf8(node.name(record).to_vec()).unwrap();
        order
            .nodes
            .iter()
            .flat_map(|node| node.records.iter().map(move |record| (node, record)))
            .filter(|(_, record)| record.is_kept)
            .map(|(node, record)| text(node, record))
            .collect()
    }

    /// a/{x, y}, b/{z}, c
    fn run(limit: usize, leads: bool, matching: &[&str]) -> Order {
        let is = |name: &str| matching.is_empty() || matching.contains(&name);
        let mut order = Order::new(limit, leads);
        let root = order.take().unwrap();
        let top = [("c", false), ("b", true), ("a", true)].map(|(n, d)| (n, d, is(n)));
        assert!(order.put(root, directory(&top)));
        if order.advance() {
            let (a, b) = (order.take().unwrap(), order.take().unwrap());
            assert!(!order.put(b, directory(&[("z", false, is("z"))])));
            let inner = [("y", false, is("y")), ("x", false, is("x"))];
            assert!(order.put(a, directory(&inner)));
            assert!(!order.advance());
        }
        order
    }

    #[test]
    fn a_cap_keeps_the_top_whole() {
        let cases: &[(usize, &[&str], bool)] = &[
            (2, &["a", "b"], true),
            (3, &["a", "b", "c"], true),
            (5, &["a", "b", "c", "x", "y"], true),
            (6, &["a", "b", "c", "x", "y", "z"], false),
            (9, &["a", "b", "c", "x", "y", "z"], false),
        ];
        for (limit, wanted, truncated) in cases {
            let order = run(*limit, true, &[]);
            assert_eq!(kept(&order), *wanted, "{limit}");
            assert_eq!(order.is_truncated, *truncated, "{limit}");
        }
    }

    #[test]
    fn a_tree_keeps_what_leads_to_a_match_and_a_flat_list_does_not() {
        assert_eq!(kept(&run(9, true, &["z"])), ["b", "z"]);
        assert_eq!(kept(&run(9, false, &["z"])), ["z"]);
        let capped = run(1, true, &["z"]);
        assert_eq!(kept(&capped), Vec::<String>::new());
        assert!(capped.is_truncated);
    }

    #[test]
    fn what_vanishes_after_trimming_does_not_hide_that_more_was_there() {
        let mut order = Order::new(2, true);
        let root = order.take().unwrap();
        let names = ["a", "b", "c", "d"].map(|name| (name, false, true));
        let mut contents = directory(&names);
        contents.trim(order.wanted());
        contents.records[0].is_gone = true;
        assert!(order.put(root, contents));
        assert!(!order.advance());
        assert_eq!(kept(&order), ["b", "c"]);
        assert!(order.is_truncated);
    }

    #[test]
    fn what_vanishes_does_not_count_as_enough() {
        let mut order = Order::new(3, true);
        let root = order.take().unwrap();
        let top = ["a", "b"].map(|name| (name, true, true));
        assert!(order.put(root, directory(&top)));
        assert!(order.advance());
        let a = order.take().unwrap();
        let mut gone = directory(&[("x", false, true), ("y", false, true)]);
        gone.records[0].is_gone = true;
        gone.records[1].is_gone = true;
        assert!(!order.put(a, gone));
        let b = order.take().expect("one may still be needed");
        assert!(order.put(b, directory(&[("z", false, true)])));
        assert!(!order.advance());
        assert_eq!(kept(&order), ["a", "b", "z"]);
        assert!(!order.is_truncated);
    }

    #[test]
    fn no_more_is_read_than_the_answer_can_hold_whoever_reads_slowly() {
        let mut order = Order::new(4, true);
        let root = order.take().unwrap();
        let top = ["a", "b", "c"].map(|name| (name, true, true));
        assert!(order.put(root, directory(&top)));
        assert!(order.advance());
        let (slow, quick) = (order.take().unwrap(), order.take().unwrap());
        let mut more = directory(&[("x", false, true), ("y", false, true)]);
        more.error = Some(Errno::IO);
        assert!(!order.put(quick, more));
        assert_eq!(order.take(), None);
        let inner = [("v", false, true), ("w", false, true)];
        assert!(order.put(slow, directory(&inner)));
        assert!(!order.advance());
        assert_eq!(kept(&order), ["a", "b", "c", "v"]);
        // What the threads read beyond the cut leaves no trace.
        assert_eq!(order.nodes[quick].error, None);
    }

    #[test]
    fn trimming_keeps_the_smallest_names() {
        let mut contents = directory(&[("c", false, true), ("a", false, true), ("b", true, false)]);
        contents.trim(1);
        let names: Vec<_> = contents
            .records
            .iter()
            .map(|one| contents.name(one).to_vec())
            .collect();
        assert_eq!(names, [b"a".to_vec(), b"b".to_vec()]);
    }
}
