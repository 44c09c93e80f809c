//! A way down into a tree: open directories, one in the other, and the names still to be seen.
//!
//! Belongs here: going down and coming up by descriptor, to any depth. Banned here: what is done
//! with what stands there.
//!
//! The way is a stack of its own, so that depth costs no stack, and at most `MOST_OPEN` of its
//! directories are open: one that was closed is opened again as `..` of its child, and must then
//! be the directory that it was (`ESTALE` otherwise).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, RawDir, SeekFrom, fstat, openat, seek};
use rustix::io::{Errno, Result};

use crate::place::Id;

const MOST_OPEN: usize = 32;
/// What one `getdents64` may return: the names of a directory are read in steps, so that a
/// directory of a million files is never held whole.
const BUFFER: usize = 32 * 1024;

pub(crate) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Opens the directory `name` in `dir`, no link.
pub(crate) fn open_inner(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    openat(dir, name, DIRECTORY, Mode::empty())
}

#[derive(Debug)]
struct Level {
    id: Id,
    /// None while it is closed to spare descriptors.
    dir: Option<OwnedFd>,
    /// Where reading goes on in a directory that was opened again.
    position: u64,
    reopened: bool,
    names: Vec<Vec<u8>>,
    read: bool,
}

/// A way down. Its top is always open.
#[derive(Debug, Default)]
pub(crate) struct Trail(Vec<Level>);

impl Trail {
    /// The directory where the way ends.
    pub(crate) fn here(&self) -> Option<BorrowedFd<'_>> {
        self.0.last()?.dir.as_ref().map(AsFd::as_fd)
    }

    /// Goes down into a directory that is open for reading.
    pub(crate) fn enter(&mut self, dir: OwnedFd) -> Result<()> {
        let id = Id::of(&fstat(&dir)?);
        self.0.push(Level {
            id,
            dir: Some(dir),
            position: 0,
            reopened: false,
            names: Vec::new(),
            read: false,
        });
        if let Some(far) = self.0.len().checked_sub(MOST_OPEN + 1) {
            self.0[far].dir = None;
        }
        Ok(())
    }

    /// The next name in the directory where the way ends; None once all were seen.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(top) = self.0.last_mut() else {
            return Ok(None);
        };
        while top.names.is_empty() && !top.read {
            top.read_more()?;
        }
        Ok(top.names.pop())
    }

    /// Comes up, and hands over the directory that was left. Where the one above it cannot be
    /// opened again nothing below it must be touched by name any more.
    pub(crate) fn leave(&mut self) -> Result<Option<OwnedFd>> {
        let Some(left) = self.0.pop() else {
            return Ok(None);
        };
        let inner = left.dir.ok_or(Errno::BADF)?;
        if let Some(above) = self.0.last_mut().filter(|one| one.dir.is_none()) {
            let dir = openat(&inner, "..", DIRECTORY, Mode::empty())?;
            if Id::of(&fstat(&dir)?) != above.id {
                return Err(Errno::STALE);
            }
            above.dir = Some(dir);
            above.reopened = true;
        }
        Ok(Some(inner))
    }
}

impl Level {
    fn read_more(&mut self) -> Result<()> {
        let dir = self.dir.as_ref().ok_or(Errno::BADF)?;
        // Only then: a file system may count names, and some may be gone by now.
        if std::mem::take(&mut self.reopened) {
            seek(dir, SeekFrom::Start(self.position))?;
        }
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            self.position = entry.next_entry_cookie();
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                self.names.push(name.to_vec());
            }
            if entries.is_buffer_empty() {
                return Ok(());
            }
        }
        self.read = true;
        Ok(())
    }
}

/// Whether `dir`, or a directory above it, is the one with this identity.
pub(crate) fn is_within(dir: BorrowedFd<'_>, id: Id) -> Result<bool> {
    let mut one = openat(dir, ".", PLACE, Mode::empty())?;
    loop {
        let here = Id::of(&fstat(&one)?);
        if here == id {
            return Ok(true);
        }
        let above = openat(&one, "..", PLACE, Mode::empty())?;
        if Id::of(&fstat(&above)?) == here {
            return Ok(false);
        }
        one = above;
    }
}

const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn open(path: &Path) -> OwnedFd {
        rustix::fs::open(path, DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn every_name_is_seen_once_however_many_there_are() {
        let root = tempfile::tempdir().unwrap();
        let name = |index: usize| format!("{index:0100}");
        for index in 0..3000 {
            std::fs::write(root.path().join(name(index)), "").unwrap();
        }
        let mut trail = Trail::default();
        trail.enter(open(root.path())).unwrap();
        let mut seen = Vec::new();
        while let Some(name) = trail.next().unwrap() {
            seen.push(String::from_utf8(name).unwrap());
        }
        seen.sort();
        assert_eq!(seen, (0..3000).map(name).collect::<Vec<_>>());
    }

    #[test]
    fn goes_down_and_up_with_few_descriptors() {
        let root = tempfile::tempdir().unwrap();
        let mut path = root.path().to_path_buf();
        let mut trail = Trail::default();
        trail.enter(open(&path)).unwrap();
        for _ in 0..100 {
            std::fs::create_dir(path.join("d")).unwrap();
            std::fs::write(path.join("file"), "").unwrap();
            let inner = open_inner(trail.here().unwrap(), b"d").unwrap();
            trail.enter(inner).unwrap();
            path.push("d");
        }
        let top = Id::of(&fstat(open(root.path())).unwrap());
        assert!(is_within(trail.here().unwrap(), top).unwrap());
        let open = trail.0.iter().filter(|one| one.dir.is_some()).count();
        assert_eq!(open, MOST_OPEN);
        for _ in 0..100 {
            trail.leave().unwrap();
            let mut names = Vec::new();
            while let Some(name) = trail.next().unwrap() {
                names.push(name);
            }
            names.sort();
            assert_eq!(names, [b"d".to_vec(), b"file".to_vec()]);
        }
    }

    #[test]
    fn a_directory_moved_away_meanwhile_is_not_mistaken() {
        let root = tempfile::tempdir().unwrap();
        let mut path = root.path().to_path_buf();
        let mut trail = Trail::default();
        trail.enter(open(&path)).unwrap();
        for _ in 0..=MOST_OPEN {
            path.push("d");
            std::fs::create_dir(&path).unwrap();
            let inner = open_inner(trail.here().unwrap(), b"d").unwrap();
            trail.enter(inner).unwrap();
        }
        let elsewhere = root.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::rename(root.path().join("d/d"), elsewhere.join("d")).unwrap();
        let mut last = Ok(None);
        for _ in 0..=MOST_OPEN {
            last = trail.leave();
            if last.is_err() {
                break;
            }
        }
        assert!(matches!(last, Err(Errno::STALE)));
    }
}
