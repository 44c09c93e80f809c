//! Reading directories into the watched tree: the first time, where one appears, and anew.
//!
//! Belongs here: open, watch, read, in this order, so that what comes while a directory is read
//! is told by its watch. Rules are asked before a directory is opened: what they hide costs
//! nothing. Banned here: what a notice means (`follow`).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::log::Op;
use super::notify;
use super::root::is_scarce;
use super::tree::{Id, ROOT, Tree};
use super::watcher::Engine;
use crate::directory::{self, Kind};
use crate::error::{Error, Result};
use crate::pseudo::Pseudo;
use crate::rules::{DirRules, RuleSet, Seen, Verdict};
use crate::scratch::Scratch;

/// Whether what is found in a directory is told.
#[derive(Clone, Copy)]
pub(super) enum Tell {
    /// Whoever made the watcher lists the tree afterwards.
    Nothing,
    Everything,
    /// What the old tree's watches cannot have told: all, unless this directory was watched.
    Unless(Option<Id>),
}

/// A directory to be read.
pub(super) struct Step {
    pub(super) parent: Id,
    pub(super) name: Vec<u8>,
    pub(super) is_tracked: bool,
    pub(super) tell: Tell,
}

/// A directory that is open and in the tree.
struct Opened {
    id: Id,
    fd: OwnedFd,
    rel: Vec<u8>,
    is_last: bool,
    tell: Tell,
}

impl Engine {
    /// Reads the whole tree; `old` is what was known of it before.
    pub(super) fn read_tree(&mut self, old: Option<&Tree>) -> Result<()> {
        let read = self.read_all(old);
        notify::step_out();
        read
    }

    fn read_all(&mut self, old: Option<&Tree>) -> Result<()> {
        let path = self.root.path.clone();
        let fd = self
            .root
            .again()?
            .ok_or_else(|| Error::on(&path)(Errno::NOENT))?;
        let wd = self
            .hub
            .watch(fd.as_fd(), self.slot)
            .map_err(Error::on(&path))?;
        self.grave.remove(&wd);
        let below = directory::open_directory(fd.as_fd(), b"").map_err(Error::on(&path))?;
        let seen = directory::probe(fd.as_fd());
        let rules = self.open_rules(fd.as_fd(), seen)?;
        let is_last = directory::read_names(below.as_fd(), &mut self.scratch);
        let id = self.tree.add(ROOT, b"", wd, rules);
        let known = old.filter(|old| old.get(ROOT).is_some_and(|node| node.wd == wd));
        let opened = Opened {
            id,
            fd: below,
            rel: Vec::new(),
            is_last: is_last.map_err(Error::on(&path))?,
            tell: match old {
                Some(_) => Tell::Unless(known.map(|_| ROOT)),
                None => Tell::Nothing,
            },
        };
        let mut steps = Vec::new();
        self.read(opened, &mut steps, old);
        self.descend(fd.as_fd(), steps, old);
        Ok(())
    }

    /// Reads one directory that has appeared, with all below it.
    pub(super) fn read_new(&mut self, step: Step) {
        match self.root.again() {
            Ok(Some(fd)) => {
                self.descend(fd.as_fd(), vec![step], None);
                notify::step_out();
            }
            // What tells that the root has gone says so.
            Ok(None) => {}
            Err(error) => self.could_not_read(&error),
        }
    }

    fn open_rules(&mut self, fd: BorrowedFd<'_>, seen: Seen) -> Result<Arc<DirRules>> {
        let (set, rules) =
            RuleSet::open(fd, &self.root.path, seen, &self.options.rules).map_err(|bad| {
                let pattern = String::from_utf8_lossy(&bad.0).into_owned();
                Error::Invalid(format!("{pattern:?}: {}", bad.1))
            })?;
        self.rules = Some(set);
        self.pseudo = Pseudo::below(&self.root.real);
        Ok(rules)
    }

    fn descend(&mut self, root: BorrowedFd<'_>, mut steps: Vec<Step>, old: Option<&Tree>) {
        while let Some(step) = steps.pop() {
            if self.stop.is_set() {
                return;
            }
            if let Some(opened) = self.enter(root, &step, old) {
                self.read(opened, &mut steps, old);
            }
            self.tell_due();
        }
    }

    /// Opens a directory and watches it; `None` where it is gone, cannot be watched, or is
    /// watched already.
    fn enter(&mut self, root: BorrowedFd<'_>, step: &Step, old: Option<&Tree>) -> Option<Opened> {
        let rel = self.below(step.parent, &step.name);
        let fd = match directory::open_directory(root, &rel) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return None,
            Err(errno) => return self.failed(&rel, errno),
        };
        let wd = match self.hub.watch(fd.as_fd(), self.slot) {
            Ok(wd) => wd,
            Err(errno) => return self.failed(&rel, errno),
        };
        self.grave.remove(&wd);
        if let Some(known) = self.tree.child(step.parent, &step.name) {
            if self.tree.get(known).is_some_and(|node| node.wd == wd) {
                return None;
            }
            self.replaced(known, &rel);
        }
        let is_last = match directory::read_names(fd.as_fd(), &mut self.scratch) {
            Ok(is_last) => is_last,
            Err(errno) => {
                self.bury([wd]);
                return self.failed(&rel, errno);
            }
        };
        let rules = self.rules_of(step, fd.as_fd(), is_last)?;
        let tell = match step.tell {
            Tell::Unless(Some(known)) => {
                let is_same = old?.get(known).is_some_and(|node| node.wd == wd);
                Tell::Unless(is_same.then_some(known))
            }
            other => other,
        };
        let id = self.tree.add(step.parent, &step.name, wd, rules);
        Some(Opened {
            id,
            fd,
            rel,
            is_last,
            tell,
        })
    }

    fn rules_of(&self, step: &Step, fd: BorrowedFd<'_>, is_last: bool) -> Option<Arc<DirRules>> {
        let seen = if is_last {
            self.scratch.names.seen()
        } else {
            directory::probe(fd)
        };
        let above = &self.tree.get(step.parent)?.rules;
        let set = self.rules.as_ref()?;
        Some(above.enter(set, fd, &step.name, seen, step.is_tracked))
    }

    fn failed<T>(&mut self, rel: &[u8], errno: Errno) -> Option<T> {
        let path = self.root.join(rel);
        if is_scarce(errno) {
            self.could_not_read(&Error::on(&path)(errno));
        } else {
            self.missing(&path, errno);
        }
        None
    }

    /// Reads an open directory's names, its first ones being in the scratch.
    fn read(&mut self, mut opened: Opened, steps: &mut Vec<Step>, old: Option<&Tree>) {
        let mut scratch = std::mem::take(&mut self.scratch);
        loop {
            self.names(&opened, &scratch, steps, old);
            if opened.is_last || self.stop.is_set() {
                break;
            }
            match directory::read_names(opened.fd.as_fd(), &mut scratch) {
                Ok(is_last) => opened.is_last = is_last,
                Err(errno) => {
                    self.failed::<()>(&opened.rel, errno);
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    fn names(
        &mut self,
        opened: &Opened,
        scratch: &Scratch,
        steps: &mut Vec<Step>,
        old: Option<&Tree>,
    ) {
        for at in 0..scratch.names.len() {
            let (name, hint) = scratch.names.get(at);
            let Some(kind) = hint.or_else(|| kind_of(opened.fd.as_fd(), name)) else {
                continue;
            };
            let name = name.to_bytes();
            let is_dir = kind == Kind::Directory;
            let verdict = self.verdict(opened.id, name, is_dir);
            if verdict == Verdict::Ignore {
                continue;
            }
            if matches!(opened.tell, Tell::Everything | Tell::Unless(None)) {
                self.appeared(&join(&opened.rel, name));
            }
            if is_dir && !self.pseudo.contains(&opened.rel, name) {
                steps.push(Step {
                    parent: opened.id,
                    name: name.to_vec(),
                    is_tracked: verdict == Verdict::TrackedOnly,
                    tell: opened.tell.below(old, name),
                });
            }
        }
    }

    /// What the rules say about a name in a watched directory.
    pub(super) fn verdict(&self, id: Id, name: &[u8], is_dir: bool) -> Verdict {
        let (Some(node), Some(set)) = (self.tree.get(id), &self.rules) else {
            return Verdict::Ignore;
        };
        if self.options.rules.use_gitignore && name == b".git" {
            return Verdict::Ignore;
        }
        if node.rules.is_empty() {
            return Verdict::Keep;
        }
        node.rules.verdict(set, name, is_dir)
    }

    /// The path of `name` in a watched directory, relative to the root.
    pub(super) fn below(&self, id: Id, name: &[u8]) -> Vec<u8> {
        join(&self.tree.path(id), name)
    }

    /// Something is there that may not have been.
    pub(super) fn appeared(&mut self, rel: &[u8]) {
        if let Some(due) = self.pending.take_dropped(rel) {
            self.tell(due);
        }
        self.pending.note(Op::Create, rel);
    }
}

impl Tell {
    fn below(self, old: Option<&Tree>, name: &[u8]) -> Self {
        match self {
            Self::Unless(Some(id)) => Self::Unless(old.and_then(|old| old.child(id, name))),
            other => other,
        }
    }
}

fn kind_of(fd: BorrowedFd<'_>, name: &CStr) -> Option<Kind> {
    directory::stat(fd, name).ok().map(|meta| meta.kind)
}

fn join(rel: &[u8], name: &[u8]) -> Vec<u8> {
    if rel.is_empty() {
        name.to_vec()
    } else {
        [rel, b"/", name].concat()
    }
}
