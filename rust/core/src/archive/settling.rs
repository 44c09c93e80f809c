//! What directories are to be once all is in them.
//!
//! Belongs here: their modes and times, which what comes into them would change. Banned here:
//! making them.

use std::os::fd::AsFd;

use rustix::fs::{Gid, Mode, Uid, fchmod, fchown, fstat, futimens};
use rustix::io::Errno;

use super::landing::{Landing, Owner};
use super::trouble::Trouble;
use super::untar::Entry;
use crate::directory::open_directory;

/// So many bytes of names may wait; then those are settled that are not being filled.
const MOST_WAITING: usize = 4 * 1024 * 1024;
const EACH: usize = 96;
/// The kernel's own number for whoever has none here.
const NOBODY: u32 = 65534;

/// What an entry is to be.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) mode: u32,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) mtime: (i64, u32),
}

impl Facts {
    pub(super) fn of(entry: &Entry) -> Self {
        // The largest number means "leave it"; what is larger belongs to nobody here.
        let id = |id: u64| {
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .unwrap_or(NOBODY)
        };
        Self {
            mode: entry.mode,
            uid: Uid::from_raw(id(entry.uid)),
            gid: Gid::from_raw(id(entry.gid)),
            mtime: entry.mtime,
        }
    }
}

impl Landing {
    /// Keeps what a directory is to be for the end.
    pub(super) fn keep(&mut self, rel: Vec<u8>, facts: Facts) {
        self.directory_bytes += rel.len() + EACH;
        if self.directory_bytes > MOST_WAITING {
            let around = |one: &[u8]| {
                one.is_empty() || (rel.starts_with(one) && rel.get(one.len()) == Some(&b'/'))
            };
            self.settle(|one| !around(one));
        }
        self.directories.insert(rel, facts);
    }

    /// Settles all directories, as far as they are still there.
    pub(super) fn settle_all(&mut self) {
        self.settle(|_| true);
    }

    fn settle(&mut self, is_over: impl Fn(&[u8]) -> bool) {
        let mut over: Vec<_> = self.directories.extract_if(|rel, _| is_over(rel)).collect();
        // What is below comes first: who may not enter a directory could not reach it.
        over.sort_by(|(one, _), (other, _)| other.cmp(one));
        for (rel, facts) in over {
            self.directory_bytes = self.directory_bytes.saturating_sub(rel.len() + EACH);
            match self.settle_one(&rel, &facts) {
                Ok(()) | Err(Trouble::Failed(_)) => {}
                Err(Trouble::Refused(_, why)) => self.skipped.add(rel, why),
            }
        }
    }

    fn settle_one(&self, rel: &[u8], facts: &Facts) -> Result<(), Trouble> {
        let failed = |errno: Errno| {
            let why = std::io::Error::from(errno);
            super::trouble::bad(format!("its mode or time could not be set: {why}"))
        };
        let fd = open_directory(self.ground()?.dir.as_fd(), rel).map_err(failed)?;
        if self.owner == Owner::Archive {
            fchown(&fd, Some(facts.uid), Some(facts.gid)).map_err(failed)?;
        }
        let now = fstat(&fd).map_err(failed)?;
        let mode = Mode::from_raw_mode(facts.directory_mode(&now));
        fchmod(&fd, mode).map_err(failed)?;
        futimens(&fd, &facts.times()).map_err(failed)
    }
}
