//! Writing a list: the nodes in pre-order as one JSON object, batch by batch.
//!
//! Belongs here: the cursor over the nodes, commas and brackets, the last keys. Banned here:
//! turns and parking (`list`).

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use super::order::{Order, Record};
use super::read::{Facts, Outcome, Text, Wish, append_error, append_facts, append_notice};
use super::{Common, Form};
use crate::directory;
use crate::entry::{Mark, Spelling, append_number, append_text};
use crate::error::Result;
use crate::inline::Emission;
use crate::scratch::Scratch;

/// What is left to send.
pub(super) struct Sender {
    order: Order,
    spelling: Spelling,
    stack: Vec<Level>,
    /// A larger text on its way out, and what follows it.
    long: Option<Box<(Facts, Emission)>>,
    count: u64,
    stage: Stage,
}

enum Stage {
    Head,
    Entries,
    Over,
}

/// A directory whose entries are being sent.
struct Level {
    node: usize,
    at: usize,
    /// Nothing was sent of it yet, so that no comma is due.
    is_first: bool,
    mark: Option<Mark>,
}

/// The directory of a node, to read files in, or why there is none.
type Open = (usize, rustix::io::Result<OwnedFd>);

/// What sending one entry led to.
enum Sent {
    Whole,
    /// Its text is on its way; its end comes later.
    Long,
    Vanished,
}

impl Sender {
    pub(super) fn new(order: Order, root: &[u8]) -> Self {
        Self {
            order,
            spelling: Spelling::root(root),
            stack: Vec::new(),
            long: None,
            count: 0,
            stage: Stage::Head,
        }
    }

    /// How many entries were sent.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Appends about `target` bytes; true after the last.
    pub(super) fn fill(
        &mut self,
        common: &Common,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
        target: usize,
    ) -> Result<bool> {
        let mut open = None;
        while out.len() < target {
            common.stop.check()?;
            match self.stage {
                Stage::Head => self.head(common, out),
                Stage::Over => return Ok(true),
                Stage::Entries if self.long.is_some() => self.text(common, scratch, out),
                Stage::Entries => self.step(common, scratch, out, &mut open)?,
            }
        }
        Ok(false)
    }

    fn head(&mut self, common: &Common, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"success\":true");
        append_text(out, "path", &common.options.root);
        out.extend_from_slice(b",\"entries\":[");
        self.stack.push(Level {
            node: 0,
            at: 0,
            is_first: true,
            mark: None,
        });
        self.stage = Stage::Entries;
    }

    fn step(
        &mut self,
        common: &Common,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
        open: &mut Option<Open>,
    ) -> Result<()> {
        let Some(level) = self.stack.last_mut() else {
            return self.tail(common, out);
        };
        let (node, at) = (level.node, level.at);
        level.at += 1;
        let Some(record) = self.order.nodes[node].records.get(at) else {
            self.leave(common, out);
            return Ok(());
        };
        if record.is_shown() {
            let before = out.len();
            if !level.is_first {
                out.push(b',');
            }
            match self.entry(common, (node, at), scratch, out, open) {
                Sent::Vanished => {
                    out.truncate(before);
                    return Ok(());
                }
                Sent::Long => return Ok(()),
                Sent::Whole => {}
            }
        }
        self.enter(common, node, at, out);
        Ok(())
    }

    /// Goes down into an entry, or ends it.
    fn enter(&mut self, common: &Common, node: usize, at: usize, out: &mut Vec<u8>) {
        let nested = common.options.form == Form::Tree;
        let record = &self.order.nodes[node].records[at];
        let is_shown = record.is_shown();
        let child = record.child.map(|child| child as usize);
        // What was cut before anything of it was kept has no list of children: it is not empty.
        let child = child.filter(|child| !self.is_unknown(record, *child));
        let Some(child) = child else {
            if is_shown {
                out.push(b'}');
            }
            return;
        };
        if is_shown {
            out.extend_from_slice(if nested { b",\"children\":[" } else { b"}" });
        }
        let parent = &self.order.nodes[node];
        let mark = self.spelling.descend(parent.name(&parent.records[at]));
        self.stack.push(Level {
            node: child,
            at: 0,
            // A flat list is one sequence, whatever its entries lie in.
            is_first: nested || self.stack.last().is_none_or(|above| above.is_first),
            mark: Some(mark),
        });
    }

    fn is_unknown(&self, record: &Record, child: usize) -> bool {
        let node = &self.order.nodes[child];
        let is_empty = !node
            .records
            .iter()
            .any(|one| one.is_kept || one.child.is_some());
        is_empty && (record.is_cut || node.error.is_some())
    }

    fn leave(&mut self, common: &Common, out: &mut Vec<u8>) {
        let Some(level) = self.stack.pop() else {
            return;
        };
        if let Some(mark) = level.mark {
            self.spelling.ascend(mark);
        }
        let nested = common.options.form == Form::Tree;
        let Some(above) = self.stack.last_mut() else {
            return;
        };
        if !nested {
            above.is_first = level.is_first;
        } else if self.order.nodes[above.node].records[above.at - 1].is_shown() {
            out.extend_from_slice(b"]}");
        }
    }

    fn entry(
        &mut self,
        common: &Common,
        (node, at): (usize, usize),
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
        open: &mut Option<Open>,
    ) -> Sent {
        let mut facts = Facts::default();
        let one = &mut self.order.nodes[node];
        if let Some(told) = &mut one.records[at].told {
            facts = std::mem::take(&mut told.facts);
        }
        let one = &self.order.nodes[node];
        let record = &one.records[at];
        let Some(told) = &record.told else {
            return Sent::Vanished;
        };
        if common.options.include_content && record.is_shown_file() {
            let Some(text) = self.read(common, (node, at), scratch, open) else {
                return Sent::Vanished;
            };
            facts.text = text;
        }
        let name = one.name(record);
        common.append_head(out, &self.spelling, name, &told.seen, &mut scratch.days);
        if let Some(field) = record.barrier {
            out.extend_from_slice(field);
        }
        if record.is_cut {
            out.extend_from_slice(b",\"truncated\":true");
        }
        self.count += 1;
        if let Some(level) = self.stack.last_mut() {
            level.is_first = false;
        }
        match std::mem::take(&mut facts.text) {
            Text::Long(text) => {
                out.extend_from_slice(b",\"content\":\"");
                self.long = Some(Box::new((facts, text)));
                Sent::Long
            }
            text => {
                facts.text = text;
                append_facts(out, &facts, scratch.file());
                Sent::Whole
            }
        }
    }

    /// The text of a file. `None`: it vanished.
    fn read(
        &self,
        common: &Common,
        (node, at): (usize, usize),
        scratch: &mut Scratch,
        open: &mut Option<Open>,
    ) -> Option<Text> {
        let one = &self.order.nodes[node];
        let record = &one.records[at];
        let root = common.ground().ok()?.root.as_fd();
        let name = CString::new(one.name(record)).unwrap_or_default();
        if open.as_ref().is_none_or(|(of, _)| *of != node) {
            *open = Some((node, directory::open_directory(root, self.spelling.rel())));
        }
        let (_, directory) = open.as_ref()?;
        let wish = Wish {
            digest: false,
            text: true,
        };
        let meta = record.told.as_ref().and_then(|told| told.seen.meta);
        let file = || {
            let directory = directory.as_ref().map_err(|errno| *errno)?;
            directory::open_entry(directory.as_fd(), &name)
        };
        match common.read_file(file, meta.as_ref(), wish, scratch.file()) {
            Outcome::Vanished => None,
            Outcome::Facts(facts) => Some(facts.text),
            Outcome::Long(mut read) => loop {
                if common.stop.is_set() {
                    return None;
                }
                match read.step(scratch.file()) {
                    Ok(false) => {}
                    Ok(true) => return Some(read.finish(common).text),
                    Err(_) => return Some(read.fail(common).text),
                }
            },
        }
    }

    /// Appends a piece of a larger text, or its end.
    fn text(&mut self, common: &Common, scratch: &mut Scratch, out: &mut Vec<u8>) {
        let Some(mut long) = self.long.take() else {
            return;
        };
        let over = long.1.step(scratch.file(), out, common.feed.piece());
        let changed = over.is_err() || long.1.is_changed();
        if !over.unwrap_or(true) {
            self.long = Some(long);
            return;
        }
        out.push(b'"');
        if changed {
            out.extend_from_slice(b",\"content_changed\":true");
        }
        append_facts(out, &long.0, &[]);
        out.push(b'}');
    }

    fn tail(&mut self, common: &Common, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(b"],\"count\":");
        append_number(out, self.count);
        if self.order.is_truncated {
            out.extend_from_slice(b",\"truncated\":true");
        }
        self.errors(common, out);
        let mut notices = common.ground()?.rules.take_notices().into_iter().peekable();
        if notices.peek().is_some() {
            out.extend_from_slice(b",\"warnings\":[");
            for (number, notice) in notices.enumerate() {
                out.extend_from_slice(if number == 0 { b"{" } else { b",{" });
                append_notice(out, &notice.path, "message", &notice.message);
                out.push(b'}');
            }
            out.push(b']');
        }
        out.extend_from_slice(b"}\n");
        self.stage = Stage::Over;
        Ok(())
    }

    fn errors(&self, common: &Common, out: &mut Vec<u8>) {
        let mut is_first = true;
        let mut tell = |path: &[u8], errno, out: &mut Vec<u8>| {
            out.extend_from_slice(if is_first { b",\"errors\":[{" } else { b",{" });
            append_error(out, path, errno);
            out.push(b'}');
            is_first = false;
        };
        for (at, node) in self.order.nodes.iter().enumerate() {
            let spelling = |()| self.order.spelling(at, &common.options.root);
            if let Some(errno) = node.error {
                tell(spelling(()).path(), errno, out);
            }
            for record in node.records.iter().filter(|record| record.is_shown()) {
                let error = record.told.as_ref().and_then(|told| told.seen.error);
                if let Some(errno) = error {
                    tell(&spelling(()).join(node.name(record)), errno, out);
                }
            }
        }
        if !is_first {
            out.push(b']');
        }
    }
}
