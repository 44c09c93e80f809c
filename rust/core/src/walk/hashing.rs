//! The digests of a list: which files, in which portions, and how far each portion is.
//!
//! Belongs here: dealing files out to turns, reading them, and putting one aside when others
//! wait for the thread: a file may be larger than anybody's patience. Banned here: the other
//! stages of a list (`list`), what a digest is (`digest`).

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use super::Common;
use super::order::{Order, Record};
use super::read::{Facts, LongRead, Outcome, Wish};
use crate::directory::{self, Meta};
use crate::entry::Spelling;
use crate::error::Result;
use crate::scratch::Scratch;

/// How many entries one portion spans.
const PORTION: usize = 64;

const DIGEST: Wish = Wish {
    digest: true,
    text: false,
};

/// What is left to hash.
#[derive(Default)]
pub(super) struct Hashing {
    portions: Vec<Portion>,
    paused: Vec<Run>,
    under_way: usize,
}

/// Entries of one node: from, to.
#[derive(Clone, Copy)]
struct Portion {
    node: usize,
    from: usize,
    to: usize,
}

/// A portion being hashed.
pub(super) struct Run {
    node: usize,
    spelling: Spelling,
    /// Those not begun, the next one last.
    files: Vec<File>,
    long: Option<(usize, Box<LongRead>)>,
    /// By place; none for what vanished.
    found: Vec<(usize, Option<Facts>)>,
}

struct File {
    place: usize,
    name: CString,
    meta: Option<Meta>,
}

impl Hashing {
    /// All files of the answer.
    pub(super) fn of(order: &Order) -> Self {
        let mut portions = Vec::new();
        for (node, one) in order.nodes.iter().enumerate() {
            for from in (0..one.records.len()).step_by(PORTION) {
                let to = one.records.len().min(from + PORTION);
                if one.records[from..to].iter().any(Record::is_shown_file) {
                    portions.push(Portion { node, from, to });
                }
            }
        }
        portions.reverse();
        Self {
            portions,
            ..Self::default()
        }
    }

    /// Whether another turn would find something to do.
    pub(super) fn has_more(&self) -> bool {
        !self.portions.is_empty() || !self.paused.is_empty()
    }

    /// Whether all is done.
    pub(super) fn is_over(&self) -> bool {
        !self.has_more() && self.under_way == 0
    }

    /// Something to hash; it comes back by [`Hashing::pause`] or [`Hashing::settle`].
    pub(super) fn next(&mut self, order: &Order, root: &[u8]) -> Option<Run> {
        let begin = |portion| Run::new(portion, order, root);
        let run = self.paused.pop();
        let run = run.or_else(|| self.portions.pop().map(begin))?;
        self.under_way += 1;
        Some(run)
    }

    /// Takes back what is not done.
    pub(super) fn pause(&mut self, run: Run) {
        self.under_way -= 1;
        self.paused.push(run);
    }

    /// Puts what was found out where it belongs.
    pub(super) fn settle(&mut self, run: Run, order: &mut Order) {
        self.under_way -= 1;
        for (place, facts) in run.found {
            let record = &mut order.nodes[run.node].records[place];
            match (facts, &mut record.told) {
                (Some(facts), Some(told)) => told.facts = facts,
                _ => record.is_gone = true,
            }
        }
    }
}

impl Run {
    fn new(portion: Portion, order: &Order, root: &[u8]) -> Self {
        let node = &order.nodes[portion.node];
        let places = (portion.from..portion.to).rev();
        let file = |place: usize| {
            let record = &node.records[place];
            File {
                place,
                name: CString::new(node.name(record)).unwrap_or_default(),
                meta: record.told.as_ref().and_then(|told| told.seen.meta),
            }
        };
        Self {
            node: portion.node,
            spelling: order.spelling(portion.node, root),
            files: places
                .filter(|place| node.records[*place].is_shown_file())
                .map(file)
                .collect(),
            long: None,
            found: Vec::new(),
        }
    }

    /// Goes on, a file or a piece of one at least; true when all is done, false when it is late.
    pub(super) fn work(
        &mut self,
        common: &Common,
        scratch: &mut Scratch,
        is_late: impl Fn() -> bool,
    ) -> Result<bool> {
        let root = common.ground()?.root.as_fd();
        let mut directory = None;
        loop {
            common.stop.check()?;
            if let Some((place, read)) = self.long.take() {
                self.piece(place, read, common, scratch);
            } else if let Some(file) = self.files.pop() {
                let open = || directory::open_directory(root, self.spelling.rel());
                let directory = directory.get_or_insert_with(open);
                self.begin(&file, directory, common, scratch);
            } else {
                return Ok(true);
            }
            if is_late() {
                return Ok(false);
            }
        }
    }

    fn begin(
        &mut self,
        file: &File,
        directory: &rustix::io::Result<OwnedFd>,
        common: &Common,
        scratch: &mut Scratch,
    ) {
        let open = || {
            let directory = directory.as_ref().map_err(|errno| *errno)?;
            directory::open_entry(directory.as_fd(), &file.name)
        };
        match common.read_file(open, file.meta.as_ref(), DIGEST, scratch.file()) {
            Outcome::Vanished => self.found.push((file.place, None)),
            Outcome::Facts(facts) => self.found.push((file.place, Some(facts))),
            Outcome::Long(read) => self.long = Some((file.place, read)),
        }
    }

    fn piece(
        &mut self,
        place: usize,
        mut read: Box<LongRead>,
        common: &Common,
        scratch: &mut Scratch,
    ) {
        let facts = match read.step(scratch.file()) {
            Ok(false) => {
                self.long = Some((place, read));
                return;
            }
            Ok(true) => read.finish(common),
            Err(_) => read.fail(common),
        };
        self.found.push((place, Some(facts)));
    }
}
