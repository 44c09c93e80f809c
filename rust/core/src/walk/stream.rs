//! The stream: one line of JSON an entry, in the order in which directories are read.
//!
//! Belongs here: turns, what parks, and how one step leads to the next. Only what is being read
//! has a descriptor. Banned here: what an entry's fields are (`read`, `entry`).

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::frontier::{Children, Frontier, Item, LongFile, LongLine, Rest, Step, Way, pack};
use super::output::{Output, error_line};
use super::read::{Outcome, Seen, Text, append_facts, append_notice};
use super::{Common, Dir, WalkJob};
use crate::directory::{self, Kind};
use crate::entry::{self, append_number};
use crate::error::{Error, Result};
use crate::pool::{Job, lock};
use crate::scratch::Scratch;

/// How many entries there are between two looks at the clock, where no files are read.
const CLOCK: usize = 32;

/// The walk as NDJSON.
pub(super) struct Stream {
    common: Arc<Common>,
    frontier: Mutex<Frontier>,
}

/// Why a turn goes no further.
enum Halt {
    /// The feed is full, or others wait: what is left stands in the frontier.
    Parked,
    /// The walk is over for all.
    Ended(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Ended(error)
    }
}

type Flow<T> = std::result::Result<T, Halt>;

impl Stream {
    pub(super) fn new(common: Arc<Common>) -> Self {
        Self {
            common,
            frontier: Mutex::default(),
        }
    }

    fn work(self: &Arc<Self>, scratch: &mut Scratch, output: &mut Output) -> Flow<()> {
        if !std::mem::replace(&mut lock(&self.frontier).begun, true) {
            self.begin(scratch, output)?;
        }
        loop {
            self.common.stop.check()?;
            self.make_room(output)?;
            match self.next() {
                Step::Child(parent, name, tracked) => {
                    self.enter(&parent, &name, tracked, scratch, output)?;
                }
                Step::Rest(rest) => self.read_rest(*rest, scratch, output)?,
                Step::Long(file) => self.read_long(file, scratch, output)?,
                Step::Ready(line) => self.open_line(line, scratch)?,
                Step::Line(line) => self.send_line(line, scratch)?,
                Step::Nothing => return Ok(()),
            }
            if output.is_old() {
                self.flush(output);
            }
            if self.common.is_late(output.begun) {
                self.flush(output);
                self.submit();
                return Err(Halt::Parked);
            }
        }
    }

    /// Opens the root, says `start`, lists the root's own entries.
    fn begin(self: &Arc<Self>, scratch: &mut Scratch, output: &mut Output) -> Flow<()> {
        let dir = Arc::new(self.common.open()?);
        let out = &mut output.buffer;
        out.extend_from_slice(b"{\"event\":\"start\"");
        entry::append_text(out, "path", &self.common.options.root);
        out.extend_from_slice(b"}\n");
        self.flush(output);
        let root = self.common.ground()?.root.as_fd();
        let fd =
            directory::open_directory(root, b"").map_err(Error::on(&self.common.options.root))?;
        self.read(dir, fd, scratch, output)
    }

    fn next(self: &Arc<Self>) -> Step {
        let mut frontier = lock(&self.frontier);
        if let Some(line) = frontier.line.take() {
            return Step::Line(line);
        }
        if self.common.feed.is_line_open() {
            return Step::Nothing;
        }
        let step = frontier.pop();
        if !frontier.is_empty() && frontier.turns < self.common.pool.width() {
            frontier.turns += 1;
            self.common.pool.submit(Arc::<Self>::clone(self));
        }
        step
    }

    fn put_back(&self, item: Item) {
        lock(&self.frontier).put(item);
    }

    fn submit(self: &Arc<Self>) {
        lock(&self.frontier).turns += 1;
        self.common.pool.submit(Arc::<Self>::clone(self));
    }

    fn enter(
        self: &Arc<Self>,
        parent: &Arc<Way>,
        name: &[u8],
        tracked: bool,
        scratch: &mut Scratch,
        output: &mut Output,
    ) -> Flow<()> {
        let ground = self.common.ground()?;
        let spelling = parent.child(&self.common.options.root, name);
        self.common.opens.fetch_add(1, Ordering::Relaxed);
        let fd = match directory::open_directory(ground.root.as_fd(), spelling.rel()) {
            Ok(fd) => fd,
            // Gone, or no longer a directory: no error, as the contract has it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => {
                output.error(spelling.path(), errno);
                return Ok(());
            }
        };
        let is_last = match directory::read_names(fd.as_fd(), scratch) {
            Ok(is_last) => is_last,
            Err(errno) => {
                output.error(spelling.path(), errno);
                return Ok(());
            }
        };
        let seen = if is_last {
            scratch.names.seen()
        } else {
            directory::probe(fd.as_fd())
        };
        let rules = parent
            .rules
            .enter(&ground.rules, fd.as_fd(), name, seen, tracked);
        let dir = Arc::new(Dir {
            spelling,
            rules,
            depth: parent.depth + 1,
        });
        self.notices(output)?;
        let above = Some(Arc::clone(parent));
        self.entries((dir, above), fd, is_last, scratch, output)
    }

    /// Reads the listed directory.
    fn read(
        self: &Arc<Self>,
        dir: Arc<Dir>,
        fd: OwnedFd,
        scratch: &mut Scratch,
        output: &mut Output,
    ) -> Flow<()> {
        match directory::read_names(fd.as_fd(), scratch) {
            Ok(is_last) => self.entries((dir, None), fd, is_last, scratch, output),
            Err(errno) => {
                output.error(dir.spelling.path(), errno);
                Ok(())
            }
        }
    }

    fn entries(
        self: &Arc<Self>,
        (dir, above): (Arc<Dir>, Option<Arc<Way>>),
        fd: OwnedFd,
        is_last: bool,
        scratch: &mut Scratch,
        output: &mut Output,
    ) -> Flow<()> {
        let rest = Rest {
            dir,
            above,
            fd,
            names: std::mem::take(&mut scratch.names),
            at: 0,
            is_last,
        };
        self.read_rest(rest, scratch, output)
    }

    fn read_rest(
        self: &Arc<Self>,
        mut rest: Rest,
        scratch: &mut Scratch,
        output: &mut Output,
    ) -> Flow<()> {
        let reads_files = self.common.wish().is_any();
        let mut children = Vec::new();
        let mut long = None;
        while rest.at < rest.names.len() && long.is_none() {
            self.common.stop.check()?;
            long = self.entry(&rest, scratch, output, &mut children)?;
            rest.at += 1;
            let asks = reads_files || rest.at.is_multiple_of(CLOCK);
            if output.buffer.len() >= output.target || (asks && output.is_old()) {
                self.flush(output);
                if !self.common.feed.has_room() || self.common.is_late(output.begun) {
                    break;
                }
            }
        }
        self.notices(output)?;
        let children = Children::of(&rest.dir, rest.above.as_ref(), children);
        let rest = self.rest_of(rest, scratch);
        let mut frontier = lock(&self.frontier);
        frontier.put_directory(children, rest);
        // Above the rest of its directory: a larger file keeps a descriptor until it is done.
        if let Some(file) = long {
            frontier.put(Item::Long(file));
        }
        Ok(())
    }

    /// What is left of a directory: the rest of its names, or its next ones.
    fn rest_of(&self, mut rest: Rest, scratch: &mut Scratch) -> Option<Rest> {
        if rest.at == rest.names.len() {
            scratch.names = std::mem::take(&mut rest.names);
            if rest.is_last {
                return None;
            }
            match directory::read_names(rest.fd.as_fd(), scratch) {
                Ok(is_last) => {
                    rest.is_last = is_last;
                    rest.at = 0;
                    rest.names = std::mem::take(&mut scratch.names);
                }
                // What was listed stands; what was not is said.
                Err(errno) => {
                    let mut line = Vec::new();
                    error_line(&mut line, rest.dir.spelling.path(), errno);
                    self.common.feed.push(line);
                    return None;
                }
            }
        }
        // It may wait for long, in each of many walks.
        rest.names.shrink();
        Some(rest)
    }

    fn entry(
        self: &Arc<Self>,
        rest: &Rest,
        scratch: &mut Scratch,
        output: &mut Output,
        children: &mut Vec<u8>,
    ) -> Flow<Option<Box<LongFile>>> {
        let options = &self.common.options;
        let dir = &rest.dir;
        let (name, hint) = rest.names.get(rest.at);
        let bytes = name.to_bytes();
        let Some(judged) = self.common.judge(dir, rest.fd.as_fd(), name, hint)? else {
            return Ok(None);
        };
        if judged.kind == Kind::Directory && judged.barrier.is_none() {
            pack(children, bytes, judged.is_tracked);
        }
        if !judged.is_match {
            return Ok(None);
        }
        let look = || self.common.look(rest.fd.as_fd(), name, Some(judged.kind));
        let found = judged.seen.or_else(look);
        let Some(seen) = found else {
            return Ok(None);
        };
        if let Some(errno) = seen.error {
            output.error(&dir.spelling.join(bytes), errno);
        }
        if seen.kind == Kind::File && (options.include_hash || options.include_content) {
            return Ok(self.file(rest, name, seen, scratch, output));
        }
        self.common.append_head(
            &mut output.buffer,
            &dir.spelling,
            bytes,
            &seen,
            &mut scratch.days,
        );
        if let Some(field) = judged.barrier {
            output.buffer.extend_from_slice(field);
        }
        output.end_entry();
        Ok(None)
    }

    /// A regular file that is read; a larger one comes back opened.
    fn file(
        self: &Arc<Self>,
        rest: &Rest,
        name: &CStr,
        seen: Seen,
        scratch: &mut Scratch,
        output: &mut Output,
    ) -> Option<Box<LongFile>> {
        let open = || directory::open_entry(rest.fd.as_fd(), name);
        let wish = self.common.wish();
        match self
            .common
            .read_file(open, seen.meta.as_ref(), wish, scratch.file())
        {
            Outcome::Vanished => None,
            Outcome::Facts(facts) => {
                let out = &mut output.buffer;
                let (bytes, spelling) = (name.to_bytes(), &rest.dir.spelling);
                self.common
                    .append_head(out, spelling, bytes, &seen, &mut scratch.days);
                append_facts(out, &facts, scratch.file());
                output.end_entry();
                None
            }
            Outcome::Long(read) => Some(Box::new(LongFile {
                dir: Arc::clone(&rest.dir),
                name: name.to_owned(),
                seen,
                read: *read,
            })),
        }
    }

    fn read_long(
        self: &Arc<Self>,
        mut file: Box<LongFile>,
        scratch: &mut Scratch,
        output: &mut Output,
    ) -> Flow<()> {
        self.flush(output);
        let mut facts = loop {
            self.common.stop.check()?;
            match file.read.step(scratch.file()) {
                Ok(false) => {}
                Ok(true) => break file.read.finish(&self.common),
                Err(_) => break file.read.fail(&self.common),
            }
            if self.common.is_late(output.begun) {
                self.put_back(Item::Long(file));
                return Ok(());
            }
        };
        let out = &mut output.buffer;
        let (bytes, spelling) = (file.name.to_bytes(), &file.dir.spelling);
        self.common
            .append_head(out, spelling, bytes, &file.seen, &mut scratch.days);
        let text = match std::mem::take(&mut facts.text) {
            Text::Long(text) => text,
            other => {
                facts.text = other;
                append_facts(out, &facts, scratch.file());
                output.end_entry();
                return Ok(());
            }
        };
        output.entries += 1;
        let mut head = std::mem::take(&mut output.buffer);
        head.extend_from_slice(b",\"content\":\"");
        self.open_line(Box::new(LongLine { head, facts, text }), scratch)
    }

    /// Sends the head of a long line and goes on with its text. Where another line is open
    /// (its thread sends it, or it is parked) this one waits in the frontier.
    fn open_line(self: &Arc<Self>, mut line: Box<LongLine>, scratch: &mut Scratch) -> Flow<()> {
        if !self.common.feed.open_line() {
            self.put_back(Item::Ready(line));
            return Ok(());
        }
        self.common
            .feed
            .push_part(std::mem::take(&mut line.head), false);
        self.send_line(line, scratch)
    }

    fn send_line(&self, mut line: Box<LongLine>, scratch: &mut Scratch) -> Flow<()> {
        loop {
            self.common.stop.check()?;
            if !self.common.feed.has_room_for_line() {
                // Under the lock: whoever gives the next turn must find the line.
                let mut frontier = lock(&self.frontier);
                if self.common.feed.park() {
                    frontier.line = Some(line);
                    return Err(Halt::Parked);
                }
            }
            let most = self.common.feed.piece();
            let mut out = Vec::with_capacity(most * 5 / 4);
            let over = line.text.step(scratch.file(), &mut out, most);
            let changed = over.is_err() || line.text.is_changed();
            if over.unwrap_or(true) {
                out.push(b'"');
                if changed {
                    out.extend_from_slice(b",\"content_changed\":true");
                }
                append_facts(&mut out, &line.facts, &[]);
                out.extend_from_slice(b"}\n");
                self.common.feed.push_part(out, true);
                return Ok(());
            }
            self.common.feed.push_part(out, false);
        }
    }

    /// Hands over what was written; parks where the feed is full and work is left.
    fn make_room(&self, output: &mut Output) -> Flow<()> {
        if self.common.feed.has_room() {
            return Ok(());
        }
        self.flush(output);
        let frontier = lock(&self.frontier);
        let is_left = !frontier.is_empty() || frontier.line.is_some();
        if is_left && self.common.feed.park() {
            return Err(Halt::Parked);
        }
        Ok(())
    }

    fn notices(&self, output: &mut Output) -> Result<()> {
        for notice in self.common.ground()?.rules.take_notices() {
            let out = &mut output.buffer;
            out.extend_from_slice(b"{\"event\":\"warning\",");
            append_notice(out, &notice.path, "message", &notice.message);
            out.extend_from_slice(b"}\n");
        }
        Ok(())
    }

    fn flush(&self, output: &mut Output) {
        self.common
            .entries
            .fetch_add(std::mem::take(&mut output.entries), Ordering::Relaxed);
        if let Some(batch) = output.take() {
            self.common.feed.push(batch);
            output.target = self.common.feed.target();
        }
    }

    /// The last turn to end says `done`.
    fn end_turn(&self) {
        let mut frontier = lock(&self.frontier);
        frontier.turns -= 1;
        let is_over = frontier.turns == 0 && frontier.is_empty() && frontier.line.is_none();
        drop(frontier);
        if !is_over || self.common.feed.is_ended() {
            return;
        }
        let mut line = b"{\"event\":\"done\",\"count\":".to_vec();
        append_number(&mut line, self.common.entries.load(Ordering::Relaxed));
        line.extend_from_slice(b"}\n");
        self.common.feed.push(line);
        self.common.feed.end(Ok(()));
    }
}

impl Job for Stream {
    fn turn(self: Arc<Self>, scratch: &mut Scratch) {
        let mut output = Output::new(self.common.feed.target());
        let flow = self.work(scratch, &mut output);
        self.flush(&mut output);
        if let Err(Halt::Ended(error)) = flow {
            self.common.abort(error);
        }
        self.end_turn();
    }

    fn fail(&self, what: String) {
        self.common.abort(Error::Panicked(what));
    }
}

impl WalkJob for Stream {
    fn resume(self: Arc<Self>) {
        self.submit();
    }
}
