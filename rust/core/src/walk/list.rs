//! The list: one JSON object, sorted bytewise, its entries chosen breadth-first.
//!
//! Belongs here: the three stages. Gathering reads a level's directories in parallel, hashing
//! (`hashing`) reads files in parallel, sending writes the answer in pre-order in one turn at a time and
//! parks when the feed is full. Contents are read while they are sent, so that the answer
//! costs the memory of its names. Banned here: which entries are kept (`order`).

use std::ffi::CString;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::io::Errno;

use super::hashing::{Hashing, Run};
use super::order::{Contents, Order, Record, Told};
use super::read::Facts;
use super::send::Sender;
use super::{Common, Dir, Form, WalkJob};
use crate::directory::{self, Kind};
use crate::error::{Error, Result};
use crate::pool::{Job, lock};
use crate::scratch::Scratch;

/// The walk as one JSON object.
pub(super) struct List {
    common: Arc<Common>,
    progress: Mutex<Progress>,
}

struct Progress {
    stage: Stage,
    order: Order,
    turns: usize,
}

enum Stage {
    Opening,
    Gathering,
    Hashing(Hashing),
    Sending(Box<Sender>),
    /// A turn has what there is to do, and no other turn can help.
    Taken,
}

/// What a turn is to do.
enum Task {
    Open,
    Gather(usize, Box<Dir>, bool),
    Hash(Box<Run>),
    Send(Box<Sender>),
    Nothing,
}

impl List {
    pub(super) fn new(common: Arc<Common>) -> Self {
        let options = &common.options;
        let order = Order::new(options.entry_limit, options.form == Form::Tree);
        Self {
            progress: Mutex::new(Progress {
                stage: Stage::Opening,
                order,
                turns: 0,
            }),
            common,
        }
    }

    fn work(self: &Arc<Self>, scratch: &mut Scratch) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.common.stop.check()?;
            match self.next() {
                Task::Open => self.open()?,
                Task::Gather(at, dir, tracked) => self.gather(at, *dir, tracked, scratch)?,
                Task::Hash(run) => self.hash(*run, begun, scratch)?,
                Task::Send(sender) => {
                    if self.send(sender, scratch)? {
                        return Ok(());
                    }
                }
                Task::Nothing => return Ok(()),
            }
            if self.common.is_late(begun) {
                self.submit();
                return Ok(());
            }
        }
    }

    fn submit(self: &Arc<Self>) {
        lock(&self.progress).turns += 1;
        self.common.pool.submit(Arc::<Self>::clone(self));
    }

    /// Sends one batch; true when this turn can send no more.
    fn send(&self, mut sender: Box<Sender>, scratch: &mut Scratch) -> Result<bool> {
        let target = self.common.feed.target();
        let mut out = Vec::with_capacity(target + target / 4);
        let is_over = sender.fill(&self.common, scratch, &mut out, target)?;
        self.common.entries.store(sender.count(), Ordering::Relaxed);
        self.common.feed.push(out);
        if is_over {
            self.common.feed.end(Ok(()));
            return Ok(true);
        }
        // Under the lock: whoever gives the next turn must find the sender.
        let mut progress = lock(&self.progress);
        progress.stage = Stage::Sending(sender);
        Ok(self.common.feed.park())
    }

    fn next(self: &Arc<Self>) -> Task {
        let mut progress = lock(&self.progress);
        let task = progress.task(&self.common);
        if progress.has_more() && progress.turns < self.common.pool.width() {
            progress.turns += 1;
            self.common.pool.submit(Arc::<Self>::clone(self));
        }
        task
    }

    fn open(&self) -> Result<()> {
        self.common.open()?;
        lock(&self.progress).stage = Stage::Gathering;
        Ok(())
    }

    fn gather(&self, at: usize, dir: Dir, tracked: bool, scratch: &mut Scratch) -> Result<()> {
        let wanted = lock(&self.progress).order.wanted();
        let contents = self.read(dir, tracked, wanted, scratch)?;
        let mut progress = lock(&self.progress);
        if !progress.order.put(at, contents) || progress.order.advance() {
            return Ok(());
        }
        progress.gathered(&self.common);
        Ok(())
    }

    /// One directory: its names, sorted, with what the answer needs of each.
    fn read(
        &self,
        mut dir: Dir,
        tracked: bool,
        wanted: usize,
        scratch: &mut Scratch,
    ) -> Result<Contents> {
        let ground = self.common.ground()?;
        let mut contents = Contents::new();
        self.common.opens.fetch_add(1, Ordering::Relaxed);
        let fd = match directory::open_directory(ground.root.as_fd(), dir.spelling.rel()) {
            Ok(fd) => fd,
            // Gone, or no longer a directory: no error, as the contract has it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(contents),
            Err(errno) => {
                contents.error = Some(errno);
                return Ok(contents);
            }
        };
        let mut is_first = true;
        loop {
            self.common.stop.check()?;
            let is_last = match directory::read_names(fd.as_fd(), scratch) {
                Ok(is_last) => is_last,
                Err(errno) => {
                    contents.error = Some(errno);
                    true
                }
            };
            if is_first && dir.depth > 0 {
                let seen = if is_last {
                    scratch.names.seen()
                } else {
                    directory::probe(fd.as_fd())
                };
                let name = dir.spelling.name();
                dir.rules = dir
                    .rules
                    .enter(&ground.rules, fd.as_fd(), name, seen, tracked);
            }
            is_first = false;
            self.names(&dir, fd.as_fd(), scratch, &mut contents)?;
            contents.trim_early(wanted);
            if is_last {
                break;
            }
        }
        contents.trim(wanted);
        self.look(fd.as_fd(), &mut contents)?;
        contents.rules = Some(dir.rules);
        Ok(contents)
    }

    fn names(
        &self,
        dir: &Dir,
        fd: std::os::fd::BorrowedFd<'_>,
        scratch: &Scratch,
        contents: &mut Contents,
    ) -> Result<()> {
        for at in 0..scratch.names.len() {
            let (name, hint) = scratch.names.get(at);
            let Some(judged) = self.common.judge(dir, fd, name, hint)? else {
                continue;
            };
            let is_entered = judged.kind == Kind::Directory && judged.barrier.is_none();
            if judged.is_match || is_entered {
                let record = Record {
                    is_match: judged.is_match,
                    kind: Some(judged.kind),
                    is_tracked: judged.is_tracked,
                    barrier: judged.barrier,
                    ..Record::default()
                };
                contents.push(name.to_bytes(), record);
            }
        }
        Ok(())
    }

    /// Asks the disk for what was kept, after the choice: what is trimmed costs no `stat`.
    fn look(&self, fd: std::os::fd::BorrowedFd<'_>, contents: &mut Contents) -> Result<()> {
        for at in 0..contents.records.len() {
            self.common.stop.check()?;
            let record = &contents.records[at];
            let name = CString::new(contents.name(record)).unwrap_or_default();
            // A directory that only leads to a match needs it too, in a tree.
            let needs = record.is_match || self.common.options.form == Form::Tree;
            if !needs {
                continue;
            }
            let seen = self.common.look(fd, &name, record.kind);
            let record = &mut contents.records[at];
            record.is_gone = seen.is_none();
            record.told = seen.map(|seen| {
                Box::new(Told {
                    seen,
                    facts: Facts::default(),
                })
            });
        }
        Ok(())
    }

    fn hash(&self, mut run: Run, begun: Instant, scratch: &mut Scratch) -> Result<()> {
        let is_over = run.work(&self.common, scratch, || self.common.is_late(begun))?;
        let mut progress = lock(&self.progress);
        let Progress { stage, order, .. } = &mut *progress;
        if let Stage::Hashing(hashing) = stage {
            if is_over {
                hashing.settle(run, order);
            } else {
                hashing.pause(run);
            }
        }
        progress.hashed(&self.common);
        Ok(())
    }
}

impl Job for List {
    fn turn(self: Arc<Self>, scratch: &mut Scratch) {
        if let Err(error) = self.work(scratch) {
            self.common.abort(error);
        }
        lock(&self.progress).turns -= 1;
    }

    fn fail(&self, what: String) {
        self.common.abort(Error::Panicked(what));
    }
}

impl WalkJob for List {
    fn resume(self: Arc<Self>) {
        self.submit();
    }
}

impl Progress {
    fn task(&mut self, common: &Common) -> Task {
        match std::mem::replace(&mut self.stage, Stage::Taken) {
            Stage::Opening => Task::Open,
            Stage::Sending(sender) => Task::Send(sender),
            Stage::Taken => Task::Nothing,
            Stage::Gathering => {
                self.stage = Stage::Gathering;
                self.gather_task(common)
            }
            Stage::Hashing(mut hashing) => {
                let run = hashing.next(&self.order, &common.options.root);
                self.stage = Stage::Hashing(hashing);
                run.map_or(Task::Nothing, |run| Task::Hash(Box::new(run)))
            }
        }
    }

    /// Whether another turn would find something to do.
    fn has_more(&self) -> bool {
        match &self.stage {
            Stage::Gathering => self.order.has_more(),
            Stage::Hashing(hashing) => hashing.has_more(),
            Stage::Opening | Stage::Sending(_) | Stage::Taken => false,
        }
    }

    fn gather_task(&mut self, common: &Common) -> Task {
        let Some(at) = self.order.take() else {
            return Task::Nothing;
        };
        let Some(ground) = common.ground.get() else {
            return Task::Nothing;
        };
        let node = &self.order.nodes[at];
        let parent = node.entry.map(|(parent, _)| &self.order.nodes[parent]);
        let rules = parent.and_then(|parent| parent.rules.as_ref());
        let dir = Dir {
            spelling: self.order.spelling(at, &common.options.root),
            rules: Arc::clone(rules.unwrap_or(&ground.root_rules)),
            depth: node.depth,
        };
        Task::Gather(at, Box::new(dir), node.tracked)
    }

    fn gathered(&mut self, common: &Common) {
        let wanted = common.options.include_hash;
        let hashing = wanted.then(|| Hashing::of(&self.order));
        self.stage = Stage::Hashing(hashing.unwrap_or_default());
        self.hashed(common);
    }

    /// After the last digest the answer can be sent.
    fn hashed(&mut self, common: &Common) {
        if matches!(&self.stage, Stage::Hashing(hashing) if hashing.is_over()) {
            let order = std::mem::replace(&mut self.order, Order::new(0, false));
            self.stage = Stage::Sending(Box::new(Sender::new(order, &common.options.root)));
        }
    }
}
