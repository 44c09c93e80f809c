//! What a notice means for the tree, and what is told of it.
//!
//! Belongs here: one notice after the other. Banned here: deadlines, the log.
//!
//! Notices tell what was, the disk what is, and a directory that is read may be ahead of the
//! notices still to come. So a notice is taken as a hint: whatever it says, the last one of a path
//! leaves the tree as it is on the disk. A move inside the tree is a directory that goes and one
//! that appears: the two need not be matched, since all below the new name is told anyway.
//! Source: wire contract, section 6; inotify(7).

use std::time::Instant;

use rustix::fs::{AtFlags, CWD, FileType, statat};

use super::log::Op;
use super::notify::{Mask, Raw};
use super::scan::{Step, Tell};
use super::tree::{Id, ROOT};
use super::watcher::Engine;
use crate::rules::Verdict;

const ABOUT_ITSELF: Mask = Mask::DELETE_SELF.union(Mask::MOVE_SELF);
const APPEARS: Mask = Mask::CREATE.union(Mask::MOVED_TO);
const GOES: Mask = Mask::DELETE.union(Mask::MOVED_FROM);

impl Engine {
    /// Takes in one notice.
    pub(super) fn follow(&mut self, raw: &Raw) {
        self.watch_root(raw);
        if raw.mask.contains(Mask::UNMOUNT) && self.tree.has(raw.wd) {
            self.read_anew("a file system below the directory was unmounted");
        }
        if raw.mask.contains(Mask::IGNORED) {
            self.tree.forget(raw.wd);
            self.grave.remove(&raw.wd);
            self.guards.remove(&raw.wd);
        }
        if raw.name.is_empty() {
            return;
        }
        for id in self.tree.of(raw.wd) {
            self.entry(id, raw);
        }
    }

    /// Looks after the root where something on the way to it has changed.
    fn watch_root(&mut self, raw: &Raw) {
        let is_root = self.tree.get(ROOT).is_some_and(|node| node.wd == raw.wd);
        if !is_root && !self.guards.contains(&raw.wd) {
            return;
        }
        let is_over = raw
            .mask
            .intersects(ABOUT_ITSELF | Mask::UNMOUNT | Mask::IGNORED);
        if is_over || (raw.mask.intersects(GOES) && self.root.is_called(&raw.name)) {
            self.check_root();
        }
    }

    fn entry(&mut self, id: Id, raw: &Raw) {
        let is_dir = raw.mask.contains(Mask::ISDIR);
        self.watch_rules(id, &raw.name);
        let verdict = self.verdict(id, &raw.name, is_dir);
        if verdict == Verdict::Ignore {
            return;
        }
        let rel = self.below(id, &raw.name);
        if raw.mask.intersects(APPEARS) {
            self.appear(id, raw, &rel, is_dir.then_some(verdict));
        } else if raw.mask.intersects(GOES) {
            self.go(id, raw, &rel, is_dir);
        } else if raw.mask.contains(Mask::MODIFY) {
            self.pending.note(Op::Write, &rel);
        } else if raw.mask.contains(Mask::CLOSE_WRITE) && self.pending.get(&rel).is_none() {
            // Writes through a memory map are told by nothing else. While the path waits to be
            // told anyway, whoever hears it finds the file as it was closed.
            self.pending.note(Op::Write, &rel);
        }
    }

    /// Rules that change make the tree another one.
    fn watch_rules(&mut self, id: Id, name: &[u8]) {
        let is_rules = name == b".gitignore" || name == b".git";
        if !is_rules || !self.options.rules.use_gitignore || self.again.is_some() {
            return;
        }
        let path = self.root.join(&self.below(id, name));
        let why = format!(
            "the ignore rules have changed ({})",
            String::from_utf8_lossy(&path)
        );
        self.again = Some((Instant::now() + self.options.debounce, why));
    }

    fn appear(&mut self, id: Id, raw: &Raw, rel: &[u8], as_directory: Option<Verdict>) {
        self.appeared(rel);
        let Some(verdict) = as_directory else {
            return;
        };
        let above = self.tree.path(id);
        if !self.pseudo.contains(&above, &raw.name) {
            self.read_new(Step {
                parent: id,
                name: raw.name.to_vec(),
                is_tracked: verdict == Verdict::TrackedOnly,
                tell: Tell::Everything,
            });
        }
    }

    fn go(&mut self, id: Id, raw: &Raw, rel: &[u8], is_dir: bool) {
        let is_move = raw.mask.contains(Mask::MOVED_FROM);
        if is_dir {
            self.drop_directory(id, &raw.name, rel);
        }
        match (is_move, is_dir) {
            (true, true) => self.pending.note_dropped(rel),
            (true, false) => self.pending.note(Op::Rename, rel),
            (false, _) => self.pending.note(Op::Remove, rel),
        }
        if is_move {
            self.exchanged(id, raw, rel);
        }
    }

    /// Where two names are exchanged the last word of each is that it went; the disk knows better.
    fn exchanged(&mut self, id: Id, raw: &Raw, rel: &[u8]) {
        let path = self.root.join(rel);
        let Ok(stat) = statat(CWD, path.as_slice(), AtFlags::SYMLINK_NOFOLLOW) else {
            return;
        };
        let is_dir = FileType::from_raw_mode(stat.st_mode).is_dir();
        let verdict = self.verdict(id, &raw.name, is_dir);
        if verdict != Verdict::Ignore {
            self.appear(id, raw, rel, is_dir.then_some(verdict));
        }
    }

    /// A known directory was replaced by another one that has its name now.
    pub(super) fn replaced(&mut self, known: Id, rel: &[u8]) {
        let watches = self.tree.remove(known);
        self.bury(watches);
        self.tell_below(rel);
        // What was to be told of the name is told of the new one.
        let waits = self.pending.get(rel);
        self.pending.note_dropped(rel);
        if let Some(due) = self.pending.take_dropped(rel) {
            self.tell(due);
        }
        if waits.is_some() {
            self.pending.note(Op::Create, rel);
        }
    }

    fn drop_directory(&mut self, id: Id, name: &[u8], rel: &[u8]) {
        if let Some(known) = self.tree.child(id, name) {
            let watches = self.tree.remove(known);
            self.bury(watches);
        }
        self.tell_below(rel);
    }

    /// Nothing below a directory is told after its end.
    fn tell_below(&mut self, rel: &[u8]) {
        for due in self.pending.take_below(rel) {
            self.tell(due);
        }
    }
}
