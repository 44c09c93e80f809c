//! The two ends of a copy or a move, and what may stand at them.
//!
//! Belongs here: looking at both before anything is done. Banned here: doing it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat};

use crate::copied::{Clash, Copied};
use crate::error::Result;
use crate::guard::Guard;
use crate::pending::Pending;
use crate::place::{Id, Place};
use crate::removal::Cut;
use crate::stop::Stop;
use crate::trail::is_within;

/// On which terms something is copied or moved.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What is never replaced, nor moved.
    pub guard: &'a Guard,
    /// Names temporary files.
    pub pending: &'a Pending,
    /// Ends it at the next entry.
    pub stop: &'a Stop,
    /// Ends it too.
    pub deadline: Option<Instant>,
    /// Whether what stands at the destination may be replaced.
    pub overwrite: bool,
}

impl Terms<'_> {
    /// Why to end early, if there is reason to.
    pub(crate) fn cut(&self) -> Option<Cut> {
        if self.stop.is_set() {
            Some(Cut::Stopped)
        } else if self.deadline.is_some_and(|end| Instant::now() >= end) {
            Some(Cut::Late)
        } else {
            None
        }
    }
}

/// Something, pinned: what it is cannot change, whatever its name leads to meanwhile.
#[derive(Debug)]
pub(crate) struct Pinned {
    /// As a mere place.
    pub(crate) at: OwnedFd,
    pub(crate) stat: Stat,
}

impl Pinned {
    pub(crate) fn open(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let at = openat(dir, name, flags, Mode::empty())?;
        let stat = fstat(&at)?;
        Ok(Self { at, stat })
    }

    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// The account of what was refused by what stands at the ends; None where nothing is in the way.
///
/// # Errors
/// `ENOENT` where there is no source; where the ends cannot be looked at.
pub(crate) fn refused(
    source: &Place,
    destination: &Place,
    terms: &Terms<'_>,
) -> Result<Option<Copied>> {
    let pinned = Pinned::open(source.dir(), source.name()).map_err(|errno| source.failed(errno))?;
    if let Some(hit) = terms.guard.refuses(destination)? {
        return Ok(Some(Copied {
            protected: Some(hit.to_vec()),
            ..Copied::default()
        }));
    }
    Ok(clash(source, &pinned, destination, terms)?.map(Copied::refused))
}

fn clash(
    source: &Place,
    pinned: &Pinned,
    destination: &Place,
    terms: &Terms<'_>,
) -> Result<Option<Clash>> {
    let there = destination.stat()?;
    let is_directory = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let id = Id::of(&pinned.stat);
    if there.as_ref().is_some_and(|stat| Id::of(stat) == id) {
        return Ok(Some(Clash::Same));
    }
    let within = |dir: BorrowedFd<'_>, id, place: &Place| {
        is_within(dir, id).map_err(|errno| place.failed(errno))
    };
    if is_directory(&pinned.stat) && within(destination.dir(), id, destination)? {
        return Ok(Some(Clash::Inside));
    }
    let Some(there) = there else {
        return Ok(None);
    };
    if is_directory(&there) && within(source.dir(), Id::of(&there), source)? {
        return Ok(Some(Clash::Around));
    }
    Ok(if !terms.overwrite {
        Some(Clash::Exists)
    } else if is_directory(&there) != is_directory(&pinned.stat) {
        Some(Clash::Kinds)
    } else {
        None
    })
}

/// For reading, what is pinned.
pub(crate) fn reopened(pinned: &Pinned) -> rustix::io::Result<OwnedFd> {
    // No name: without `/proc` it fails.
    crate::open::open_again(&pinned.at, b"")
}

/// A directory that is pinned, for reading.
pub(crate) fn reopened_directory(pinned: &Pinned) -> rustix::io::Result<OwnedFd> {
    openat(
        pinned.at.as_fd(),
        ".",
        crate::trail::DIRECTORY,
        Mode::empty(),
    )
}
