//! The stream: one line of JSON an entry, in the order in which directories are read.
//!
//! Belongs here: the frontier, turns, and what parks. Memory does not grow with the tree: a
//! directory's subdirectories wait as packed names, and only what is being read has a
//! descriptor. Banned here: what an entry's fields are (`read`, `entry`).

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::read::{
    Facts, LongRead, Outcome, Seen, Text, append_error, append_facts, append_notice,
};
use super::{Common, Dir, SLICE, WalkJob};
use crate::directory::{self, Kind, Names};
use crate::entry::{self, append_number};
use crate::error::{Error, Result};
use crate::feed::LARGEST;
use crate::inline::Emission;
use crate::pool::{Job, lock};
use crate::rules::Verdict;
use crate::scratch::Scratch;

/// What was written is handed over after this, full or not, so that lines are early.
const FLUSH: Duration = Duration::from_millis(5);

/// The walk as NDJSON.
pub(super) struct Stream {
    common: Arc<Common>,
    frontier: Mutex<Frontier>,
}

/// What is left to do.
#[derive(Default)]
struct Frontier {
    items: Vec<Item>,
    /// A long line that is half sent: nothing else may be sent before its end.
    line: Option<Box<LongLine>>,
    /// Turns that run or wait for a thread.
    turns: usize,
    begun: bool,
}

enum Item {
    Children(Children),
    Rest(Box<Rest>),
    Long(Box<LongFile>),
    /// A larger text whose line may begin when no other is open.
    Ready(Box<LongLine>),
}

/// Subdirectories to enter: for each a flag, the length of its name, its name.
struct Children {
    parent: Arc<Dir>,
    packed: Vec<u8>,
    at: usize,
}

/// A directory that is read half-way.
struct Rest {
    dir: Arc<Dir>,
    fd: OwnedFd,
    names: Names,
    at: usize,
    is_last: bool,
}

/// A larger file on its first pass.
struct LongFile {
    dir: Arc<Dir>,
    name: CString,
    seen: Seen,
    read: LongRead,
}

/// A larger text on its way out.
struct LongLine {
    /// What stands before the text, until it is sent.
    head: Vec<u8>,
    facts: Facts,
    text: Emission,
}

enum Step {
    Child(Arc<Dir>, Vec<u8>, bool),
    Rest(Box<Rest>),
    Long(Box<LongFile>),
    Line(Box<LongLine>),
    Ready(Box<LongLine>),
    /// Nothing that this turn could do.
    Nothing,
}

/// What a turn writes into, and since when.
struct Output {
    buffer: Vec<u8>,
    target: usize,
    begun: Instant,
    flushed: Instant,
    entries: u64,
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
            if output.flushed.elapsed() >= FLUSH {
                self.flush(output);
            }
            if output.begun.elapsed() >= SLICE && self.common.pool.is_wanted() {
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
        if !frontier.items.is_empty() && frontier.turns < self.common.pool.width() {
            frontier.turns += 1;
            self.common.pool.submit(Arc::<Self>::clone(self));
        }
        step
    }

    fn put_back(&self, item: Item) {
        lock(&self.frontier).items.push(item);
    }

    fn submit(self: &Arc<Self>) {
        lock(&self.frontier).turns += 1;
        self.common.pool.submit(Arc::<Self>::clone(self));
    }

    fn enter(
        self: &Arc<Self>,
        parent: &Dir,
        name: &[u8],
        tracked: bool,
        scratch: &mut Scratch,
        output: &mut Output,
    ) -> Flow<()> {
        let ground = self.common.ground()?;
        let spelling = parent.spelling.child(name);
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
        self.entries(dir, fd, is_last, scratch, output)
    }

    /// Reads a directory from where its descriptor stands.
    fn read(
        self: &Arc<Self>,
        dir: Arc<Dir>,
        fd: OwnedFd,
        scratch: &mut Scratch,
        output: &mut Output,
    ) -> Flow<()> {
        match directory::read_names(fd.as_fd(), scratch) {
            Ok(is_last) => self.entries(dir, fd, is_last, scratch, output),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => {
                output.error(dir.spelling.path(), errno);
                Ok(())
            }
        }
    }

    fn entries(
        self: &Arc<Self>,
        dir: Arc<Dir>,
        fd: OwnedFd,
        is_last: bool,
        scratch: &mut Scratch,
        output: &mut Output,
    ) -> Flow<()> {
        let rest = Rest {
            dir,
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
        let mut children = Vec::new();
        while rest.at < rest.names.len() {
            self.common.stop.check()?;
            self.entry(&rest, scratch, output, &mut children)?;
            rest.at += 1;
            if output.buffer.len() >= output.target {
                self.flush(output);
                if !self.common.feed.has_room() {
                    break;
                }
            }
        }
        self.notices(output)?;
        self.push_children(&rest.dir, children);
        if rest.at < rest.names.len() || !rest.is_last {
            self.go_on(rest, scratch)
        } else {
            scratch.names = rest.names;
            Ok(())
        }
    }

    /// Puts back a directory that is not at its end: its next names, or the rest of these.
    fn go_on(self: &Arc<Self>, mut rest: Rest, scratch: &mut Scratch) -> Flow<()> {
        if rest.at == rest.names.len() {
            scratch.names = std::mem::take(&mut rest.names);
            match directory::read_names(rest.fd.as_fd(), scratch) {
                Ok(is_last) => {
                    rest.is_last = is_last;
                    rest.at = 0;
                    rest.names = std::mem::take(&mut scratch.names);
                }
                // What was listed stands; what was not is said.
                Err(errno) => {
                    let path = rest.dir.spelling.path();
                    let mut line = Vec::new();
                    error_line(&mut line, path, errno);
                    self.common.feed.push(line);
                    return Ok(());
                }
            }
        }
        self.put_back(Item::Rest(Box::new(rest)));
        Ok(())
    }

    fn push_children(&self, dir: &Arc<Dir>, packed: Vec<u8>) {
        if !packed.is_empty() {
            self.put_back(Item::Children(Children {
                parent: Arc::clone(dir),
                packed,
                at: 0,
            }));
        }
    }

    fn entry(
        self: &Arc<Self>,
        rest: &Rest,
        scratch: &mut Scratch,
        output: &mut Output,
        children: &mut Vec<u8>,
    ) -> Flow<()> {
        let options = &self.common.options;
        let dir = &rest.dir;
        let (name, mut hint) = rest.names.get(rest.at);
        let bytes = name.to_bytes();
        if options.rules.use_gitignore && bytes == b".git" {
            return Ok(());
        }
        let mut seen = None;
        if hint.is_none() {
            // The file system does not say; rules and filters must know.
            let Some(found) = self.common.look(rest.fd.as_fd(), name, None) else {
                return Ok(());
            };
            hint = Some(found.kind);
            seen = Some(found);
        }
        let is_dir = hint == Some(Kind::Directory);
        let mut tracked = false;
        if !dir.rules.is_empty() {
            match dir
                .rules
                .verdict(&self.common.ground()?.rules, bytes, is_dir)
            {
                Verdict::Ignore => return Ok(()),
                Verdict::Keep => {}
                Verdict::TrackedOnly => tracked = true,
            }
        }
        let barrier = is_dir.then(|| self.common.barrier(dir, bytes)).flatten();
        if is_dir && barrier.is_none() {
            pack(children, bytes, tracked);
        }
        let kind = hint.unwrap_or(Kind::Other);
        if !options.filter.is_empty() && !options.filter.matches(dir.spelling.rel(), bytes, kind) {
            return Ok(());
        }
        let found = seen.or_else(|| self.common.look(rest.fd.as_fd(), name, hint));
        let Some(seen) = found else { return Ok(()) };
        if let Some(errno) = seen.error {
            output.error(&dir.spelling.join(bytes), errno);
        }
        if seen.kind == Kind::File && (options.include_hash || options.include_content) {
            return self.file(rest, name, seen, scratch, output);
        }
        self.common.append_head(
            &mut output.buffer,
            &dir.spelling,
            bytes,
            &seen,
            &mut scratch.days,
        );
        if let Some(field) = barrier {
            output.buffer.extend_from_slice(field);
        }
        output.end_entry();
        Ok(())
    }

    fn file(
        self: &Arc<Self>,
        rest: &Rest,
        name: &std::ffi::CStr,
        seen: Seen,
        scratch: &mut Scratch,
        output: &mut Output,
    ) -> Flow<()> {
        let open = || directory::open_entry(rest.fd.as_fd(), name);
        let wish = self.common.wish();
        match self
            .common
            .read_file(open, seen.meta.as_ref(), wish, scratch.file())
        {
            Outcome::Vanished => {}
            Outcome::Facts(facts) => {
                let out = &mut output.buffer;
                let (bytes, spelling) = (name.to_bytes(), &rest.dir.spelling);
                self.common
                    .append_head(out, spelling, bytes, &seen, &mut scratch.days);
                append_facts(out, &facts, scratch.file());
                output.end_entry();
            }
            Outcome::Long(read) => self.put_back(Item::Long(Box::new(LongFile {
                dir: Arc::clone(&rest.dir),
                name: name.to_owned(),
                seen,
                read: *read,
            }))),
        }
        Ok(())
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
            if output.begun.elapsed() >= SLICE && self.common.pool.is_wanted() {
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
            if !self.common.feed.has_room() {
                // Under the lock: whoever gives the next turn must find the line.
                let mut frontier = lock(&self.frontier);
                if self.common.feed.park() {
                    frontier.line = Some(line);
                    return Err(Halt::Parked);
                }
            }
            let mut out = Vec::with_capacity(LARGEST * 5 / 4);
            let over = line.text.step(scratch.file(), &mut out);
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
        let is_left = !frontier.items.is_empty() || frontier.line.is_some();
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
        if !output.buffer.is_empty() {
            let fresh = Vec::with_capacity(output.target + output.target / 4);
            self.common
                .feed
                .push(std::mem::replace(&mut output.buffer, fresh));
            output.target = self.common.feed.target();
        }
        output.flushed = Instant::now();
    }

    /// The last turn to end says `done`.
    fn end_turn(&self) {
        let mut frontier = lock(&self.frontier);
        frontier.turns -= 1;
        let is_over = frontier.turns == 0 && frontier.items.is_empty() && frontier.line.is_none();
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
            self.common.stop.set();
            self.common.feed.end(Err(error));
        }
        self.end_turn();
    }

    fn fail(&self, what: String) {
        self.common.stop.set();
        self.common.feed.end(Err(Error::Panicked(what)));
    }
}

impl WalkJob for Stream {
    fn resume(self: Arc<Self>) {
        self.submit();
    }
}

impl Frontier {
    fn pop(&mut self) -> Step {
        loop {
            match self.items.pop() {
                None => return Step::Nothing,
                Some(Item::Rest(rest)) => return Step::Rest(rest),
                Some(Item::Long(file)) => return Step::Long(file),
                Some(Item::Ready(line)) => return Step::Ready(line),
                Some(Item::Children(mut children)) => {
                    let Some((name, tracked)) = children.next() else {
                        continue;
                    };
                    let parent = Arc::clone(&children.parent);
                    if children.at < children.packed.len() {
                        self.items.push(Item::Children(children));
                    }
                    return Step::Child(parent, name, tracked);
                }
            }
        }
    }
}

impl Children {
    fn next(&mut self) -> Option<(Vec<u8>, bool)> {
        let (head, rest) = self.packed.get(self.at..)?.split_at_checked(3)?;
        let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
        let name = rest.get(..length)?.to_vec();
        self.at += 3 + length;
        Some((name, head[0] != 0))
    }
}

fn pack(packed: &mut Vec<u8>, name: &[u8], tracked: bool) {
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    packed.push(u8::from(tracked));
    packed.extend_from_slice(&length.to_le_bytes());
    packed.extend_from_slice(&name[..usize::from(length)]);
}

impl Output {
    fn new(target: usize) -> Self {
        let now = Instant::now();
        Self {
            buffer: Vec::with_capacity(target + target / 4),
            target,
            begun: now,
            flushed: now,
            entries: 0,
        }
    }

    fn end_entry(&mut self) {
        self.buffer.extend_from_slice(b"}\n");
        self.entries += 1;
    }

    fn error(&mut self, path: &[u8], errno: Errno) {
        error_line(&mut self.buffer, path, errno);
    }
}

fn error_line(out: &mut Vec<u8>, path: &[u8], errno: Errno) {
    out.extend_from_slice(b"{\"event\":\"error\",");
    append_error(out, path, errno);
    out.extend_from_slice(b"}\n");
}
