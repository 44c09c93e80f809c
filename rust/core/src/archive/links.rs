//! The links of an archive that arrives: symlinks last, hard links at once.
//!
//! Belongs here: what waits, and how either takes its place. Banned here: files.

use std::os::fd::{AsFd, BorrowedFd};

use rustc_hash::FxHashMap;
use rustix::fs::{AtFlags, chownat, linkat, renameat, symlinkat, unlinkat, utimensat};
use rustix::io::Errno;

use super::landing::{Landing, Owner, cut, relative};
use super::settling::Facts;
use super::trouble::{Trouble, bad, shown};
use crate::directory::open_place_below;
use crate::pending::temporary_name;

/// So many bytes of names and targets may wait; then all that wait are made.
const MOST_WAITING: usize = 4 * 1024 * 1024;
/// What a waiting link costs beside its bytes.
const EACH: usize = 128;

/// Symlinks that wait, by name; the last of a name counts.
#[derive(Default)]
pub(super) struct Deferred {
    waiting: FxHashMap<Vec<u8>, (Vec<u8>, Facts)>,
    bytes: usize,
}

impl Deferred {
    /// The symlink of the archive that the way to `rel` would go through.
    pub(super) fn on_the_way<'a>(&self, rel: &'a [u8]) -> Option<&'a [u8]> {
        if self.waiting.is_empty() {
            return None;
        }
        memchr::memchr_iter(b'/', rel)
            .map(|at| &rel[..at])
            .find(|above| self.waiting.contains_key(*above))
    }

    /// Something else takes the name.
    pub(super) fn forget(&mut self, rel: &[u8]) {
        if !self.waiting.is_empty() && self.waiting.remove(rel).is_some() {
            self.bytes = self.bytes.saturating_sub(EACH);
        }
    }
}

impl Landing {
    pub(super) fn defer(
        &mut self,
        rel: Vec<u8>,
        target: Vec<u8>,
        facts: Facts,
    ) -> Result<(), Trouble> {
        if target.is_empty() || target.contains(&0) {
            return Err(bad(format!("{}: a symlink to nowhere", shown(&rel))));
        }
        // A way that cannot be gone is told now, and not at the end.
        self.enter_parent(&rel)?;
        self.in_the_way(&rel)?;
        self.demand_free(&rel, None)?;
        self.links.bytes += rel.len() + target.len() + EACH;
        self.links.waiting.insert(rel, (target, facts));
        if self.links.bytes > MOST_WAITING {
            self.make_links()?;
        }
        Ok(())
    }

    /// Makes all symlinks that wait.
    pub(super) fn make_links(&mut self) -> Result<(), Trouble> {
        let waiting = std::mem::take(&mut self.links).waiting;
        let mut waiting: Vec<_> = waiting.into_iter().collect();
        // Those of one directory together.
        waiting.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (rel, (target, facts)) in waiting {
            self.symlink(&rel, &target, &facts)?;
            self.landed.files += 1;
        }
        Ok(())
    }

    fn symlink(&mut self, rel: &[u8], target: &[u8], facts: &Facts) -> Result<(), Trouble> {
        self.enter_parent(rel)?;
        let (_, name) = cut(rel);
        self.put(rel, |dir, name| symlinkat(target, dir, name))?;
        let parent = self.parent()?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let mut done = Ok(());
        if self.owner == Owner::Archive {
            done = chownat(parent, name, Some(facts.uid), Some(facts.gid), flags);
        }
        done.and_then(|()| utimensat(parent, name, &facts.times(), flags))
            .map_err(|errno| self.failed(rel, errno))
    }

    pub(super) fn hard_link(&mut self, rel: &[u8], link: &[u8]) -> Result<(), Trouble> {
        let target = relative(link).map_err(|_| {
            bad(format!(
                "{}: a hard link to {} would leave the destination",
                shown(rel),
                shown(link)
            ))
        })?;
        if !self.links.waiting.is_empty() && self.links.waiting.contains_key(&target) {
            self.make_links()?;
        }
        self.enter_parent(rel)?;
        self.links.forget(rel);
        self.demand_free(rel, None)?;
        if target == rel {
            return Ok(());
        }
        let (above, old) = cut(&target);
        if let Some(link) = self.links.on_the_way(&target) {
            let through = format!("would go through {}, a symlink in the archive", shown(link));
            return Err(bad(format!("{}: a hard link that {through}", shown(rel))));
        }
        let from = open_place_below(self.ground()?.dir.as_fd(), above)
            .map_err(|errno| self.lost(rel, link, errno))?;
        self.put(rel, |dir, name| {
            linkat(&from, old, dir, name, AtFlags::empty())
        })
        .map_err(|trouble| match trouble {
            Trouble::Failed(crate::error::Error::Os { errno, .. }) => self.lost(rel, link, errno),
            other => other,
        })?;
        self.landed.files += 1;
        Ok(())
    }

    fn lost(&self, rel: &[u8], link: &[u8], errno: Errno) -> Trouble {
        match errno {
            Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::PERM => bad(format!(
                "{}: a hard link to {}, which is no file in the destination",
                shown(rel),
                shown(link)
            )),
            errno => self.failed(rel, errno),
        }
    }

    /// Gives a link its name, in place of whatever file has it.
    fn put(
        &mut self,
        rel: &[u8],
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<()>,
    ) -> Result<(), Trouble> {
        let (_, name) = cut(rel);
        match make(self.parent()?, name) {
            Err(Errno::EXIST) => {}
            done => return done.map_err(|errno| self.failed(rel, errno)),
        }
        self.in_the_way(rel)?;
        self.claim()?;
        let parent = self.parent()?;
        let (dir, temporary) = self.temporary()?;
        make(dir, temporary).map_err(|errno| self.failed(rel, errno))?;
        let moved = renameat(dir, temporary, parent, name);
        // Where both are one file, `rename` does nothing.
        let _ = unlinkat(dir, temporary, AtFlags::empty());
        if moved != Err(Errno::XDEV) {
            return moved.map_err(|errno| self.failed(rel, errno));
        }
        // Another file system is mounted below the destination.
        let temporary = temporary_name();
        let slot = self.pending().claim(parent, &temporary)?;
        let moved = make(parent, &temporary)
            .and_then(|()| renameat(parent, temporary.as_slice(), parent, name));
        let _ = unlinkat(parent, temporary.as_slice(), AtFlags::empty());
        drop(slot);
        moved.map_err(|errno| self.failed(rel, errno))
    }
}
