//! A walk that answers with something else than a listing: it shows a visitor each directory's
//! names, just as a listing sees them.
//!
//! Belongs here: the frontier, turns, what parks, which names are seen. Banned here: what is
//! made of them (`find`, `targets`).
//! Source: wire contract, section 3: search "sees what `GET /files` with the same ignore
//! settings sees, less hidden files unless `include_hidden`".

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::io::Errno;

use super::frontier::{Children, Way, pack};
use super::{Common, Dir, WalkJob};
use crate::directory::{self, Kind};
use crate::error::{Error, Result};
use crate::pool::{Job, lock};
use crate::scratch::Scratch;

/// What makes something of a walk's directories.
pub(super) trait Visitor: Send + Sync + 'static {
    /// What it notes while it is shown one directory's names.
    type Notes: Default;

    /// A name that is no directory; `is_shown` unless rules hide it or a filter leaves it out.
    fn see(
        &self,
        common: &Common,
        notes: &mut Self::Notes,
        dir: &Dir,
        entry: (&[u8], Kind),
        is_shown: bool,
    );
    /// The directory is read to its end.
    fn leave(&self, common: &Common, dir: &Dir, notes: Self::Notes);
    /// A directory that could not be read.
    fn error(&self, common: &Common, path: &[u8], errno: Errno);
    /// A rule that could not be understood.
    fn warning(&self, common: &Common, path: &[u8], message: &str);
    /// The walk is complete.
    fn end(&self, common: &Common);
}

/// A walk for a visitor.
pub(super) struct Visit<V> {
    common: Arc<Common>,
    visitor: V,
    include_hidden: bool,
    frontier: Mutex<Frontier>,
}

#[derive(Default)]
struct Frontier {
    waiting: Vec<Children>,
    /// Turns that run or wait for a thread.
    turns: usize,
    begun: bool,
}

impl<V: Visitor> Visit<V> {
    pub(super) fn new(common: Arc<Common>, visitor: V, include_hidden: bool) -> Self {
        Self {
            common,
            visitor,
            include_hidden,
            frontier: Mutex::default(),
        }
    }

    fn work(self: &Arc<Self>, scratch: &mut Scratch) -> Result<()> {
        let begun = Instant::now();
        if !std::mem::replace(&mut lock(&self.frontier).begun, true) {
            let dir = self.common.open()?;
            let root = self.common.ground()?.root.as_fd();
            let path = &self.common.options.root;
            let fd = directory::open_directory(root, b"").map_err(Error::on(path))?;
            self.read(dir, fd, None, scratch)?;
        }
        while !self.is_parked() {
            self.common.stop.check()?;
            let Some((parent, name, tracked)) = self.next() else {
                return Ok(());
            };
            self.enter(&parent, &name, tracked, scratch)?;
            if self.common.is_late(begun) {
                self.submit();
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the feed is full and work is left, which goes on when somebody takes a batch.
    fn is_parked(&self) -> bool {
        if self.common.feed.has_room() {
            return false;
        }
        // Under the lock: what is left must not be taken by a turn that ends meanwhile.
        let frontier = lock(&self.frontier);
        !frontier.waiting.is_empty() && self.common.feed.park()
    }

    fn next(self: &Arc<Self>) -> Option<(Arc<Way>, Vec<u8>, bool)> {
        let mut frontier = lock(&self.frontier);
        let next = frontier.pop();
        if !frontier.waiting.is_empty() && frontier.turns < self.common.pool.width() {
            frontier.turns += 1;
            self.common.pool.submit(Arc::<Self>::clone(self));
        }
        next
    }

    fn submit(self: &Arc<Self>) {
        lock(&self.frontier).turns += 1;
        self.common.pool.submit(Arc::<Self>::clone(self));
    }

    fn enter(
        &self,
        parent: &Arc<Way>,
        name: &[u8],
        tracked: bool,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let spelling = parent.child(&self.common.options.root, name);
        self.common.opens.fetch_add(1, Ordering::Relaxed);
        let root = self.common.ground()?.root.as_fd();
        match directory::open_directory(root, spelling.rel()) {
            Ok(fd) => {
                let dir = Dir {
                    spelling,
                    rules: Arc::clone(&parent.rules),
                    depth: parent.depth + 1,
                };
                self.read(dir, fd, Some((parent, name, tracked)), scratch)
            }
            Err(errno) => {
                self.failed(spelling.path(), errno);
                Ok(())
            }
        }
    }

    /// Tells of a directory that could not be read; one that is gone, or no longer a directory,
    /// is no error.
    fn failed(&self, path: &[u8], errno: Errno) {
        if !matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) {
            self.visitor.error(&self.common, path, errno);
        }
    }

    /// Reads a whole directory; `entered` by name from its parent, whose rules `dir` has yet.
    fn read(
        &self,
        mut dir: Dir,
        fd: OwnedFd,
        entered: Option<(&Arc<Way>, &[u8], bool)>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let mut is_first = true;
        let mut packed = Vec::new();
        let mut notes = V::Notes::default();
        loop {
            self.common.stop.check()?;
            let is_last = match directory::read_names(fd.as_fd(), scratch) {
                Ok(is_last) => is_last,
                Err(errno) => {
                    self.failed(dir.spelling.path(), errno);
                    break;
                }
            };
            if let Some((_, name, tracked)) = entered.filter(|_| is_first) {
                self.take_rules(&mut dir, fd.as_fd(), (name, tracked), is_last, scratch)?;
            }
            is_first = false;
            self.names(&dir, fd.as_fd(), scratch, &mut notes, &mut packed)?;
            if is_last {
                break;
            }
        }
        self.notices()?;
        self.visitor.leave(&self.common, &dir, notes);
        let above = entered.map(|(parent, ..)| parent);
        lock(&self.frontier)
            .waiting
            .extend(Children::of(&dir, above, packed));
        Ok(())
    }

    fn take_rules(
        &self,
        dir: &mut Dir,
        fd: BorrowedFd<'_>,
        (name, tracked): (&[u8], bool),
        is_last: bool,
        scratch: &Scratch,
    ) -> Result<()> {
        let seen = if is_last {
            scratch.names.seen()
        } else {
            directory::probe(fd)
        };
        let rules = &self.common.ground()?.rules;
        dir.rules = dir.rules.enter(rules, fd, name, seen, tracked);
        Ok(())
    }

    fn names(
        &self,
        dir: &Dir,
        fd: BorrowedFd<'_>,
        scratch: &Scratch,
        notes: &mut V::Notes,
        packed: &mut Vec<u8>,
    ) -> Result<()> {
        for at in 0..scratch.names.len() {
            let (name, hint) = scratch.names.get(at);
            let bytes = name.to_bytes();
            if !self.include_hidden && bytes.starts_with(b".") {
                continue;
            }
            let see = |notes: &mut V::Notes, kind, is_shown| {
                self.visitor
                    .see(&self.common, notes, dir, (bytes, kind), is_shown);
            };
            match self.common.judge(dir, fd, name, hint)? {
                None if hint == Some(Kind::Directory) => {}
                None => see(notes, hint.unwrap_or(Kind::File), false),
                Some(one) if one.kind != Kind::Directory => see(notes, one.kind, one.is_match),
                Some(one) if one.barrier.is_none() => pack(packed, bytes, one.is_tracked),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn notices(&self) -> Result<()> {
        for notice in self.common.ground()?.rules.take_notices() {
            self.visitor
                .warning(&self.common, &notice.path, &notice.message);
        }
        Ok(())
    }

    fn end_turn(&self) {
        let mut frontier = lock(&self.frontier);
        frontier.turns -= 1;
        let is_over = frontier.turns == 0 && frontier.waiting.is_empty();
        drop(frontier);
        if is_over && !self.common.feed.is_ended() {
            self.visitor.end(&self.common);
            self.common.feed.end(Ok(()));
        }
    }
}

impl<V: Visitor> Job for Visit<V> {
    fn turn(self: Arc<Self>, scratch: &mut Scratch) {
        if let Err(error) = self.work(scratch) {
            self.common.abort(error);
        }
        self.end_turn();
    }

    fn fail(&self, what: String) {
        self.common.abort(Error::Panicked(what));
    }
}

impl<V: Visitor> WalkJob for Visit<V> {
    fn resume(self: Arc<Self>) {
        self.submit();
    }
}

impl Frontier {
    fn pop(&mut self) -> Option<(Arc<Way>, Vec<u8>, bool)> {
        loop {
            let mut children = self.waiting.pop()?;
            let parent = Arc::clone(&children.parent);
            let next = children.next();
            if !children.is_over() {
                self.waiting.push(children);
            }
            if let Some((name, tracked)) = next {
                return Some((parent, name, tracked));
            }
        }
    }
}
