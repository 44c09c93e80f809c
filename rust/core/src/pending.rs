//! Slots that name temporary files, so that a crash leaves none behind.
//!
//! Belongs here: the slots of `<state_dir>/pending/` and what start-up does with them. A slot
//! names a temporary file before that file has a name in its directory; start-up unlinks what
//! slots name. Banned here: what is in the files.
//!
//! A slot is a file of one fixed block, used again and again: to claim one is a write and an
//! `fdatasync` that touches no metadata, to free one a single byte. A slot that outlives its
//! file is harmless, since a temporary name is never used twice.
//!
//! Source: design, section 3, "Writing".

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, fdatasync, fsync, mkdirat, openat};
use rustix::fs::{statat, unlinkat};
use rustix::io::{Errno, pread, pwrite};

use crate::directory::real_path;
use crate::error::{Error, Result};
use crate::mounts::may_hang;
use crate::place::{join, open_place, split};

const BLOCK: usize = 8192;
const PREFIX: &[u8] = b".hutch-";
const SUFFIX: &[u8] = b".tmp";
const DIGITS: usize = 16;

/// A name that nothing else has, whatever the name of the file that it stands in for.
pub(crate) fn temporary_name() -> Vec<u8> {
    // Each `RandomState` has keys of its own, made from the system's randomness.
    let random = RandomState::new().build_hasher().finish();
    [PREFIX, format!("{random:016x}").as_bytes(), SUFFIX].concat()
}

/// Whether a name is one that `temporary_name` makes.
pub fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX))
        .is_some_and(|middle| {
            middle.len() == DIGITS
                && middle
                    .iter()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
}

/// The directory of slots. Clones share it.
#[derive(Clone, Debug)]
pub struct Pending(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: Vec<u8>,
    dir: OwnedFd,
    /// Slots that name nothing, and how many there are in all.
    free: Mutex<(Vec<OwnedFd>, usize)>,
}

impl Pending {
    /// Opens the directory, made 0700 where it is missing, and removes what an earlier process
    /// left: the temporary files that slots name, the slots, and temporary files in the
    /// directory itself.
    ///
    /// To be called by one process at a time.
    ///
    /// # Errors
    /// Where the directory cannot be made or read. A file that cannot be removed is no error:
    /// its slot stays for the next start.
    pub fn open(path: &[u8]) -> Result<Self> {
        let dir = open_made(path).map_err(Error::on(path))?;
        let found = names(dir.as_fd()).map_err(Error::on(path))?;
        let (far, near): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|name| is_far(dir.as_fd(), name));
        for name in near {
            recover(dir.as_fd(), &name);
        }
        recover_later(dir.as_fd(), far);
        fsync(&dir).map_err(Error::on(path))?;
        Ok(Self(Arc::new(Inner {
            path: path.to_vec(),
            dir,
            free: Mutex::new((Vec::new(), 0)),
        })))
    }

    /// The directory itself, for temporary files that can stand nowhere else.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.0.dir.as_fd()
    }

    /// Names a file that is about to appear in `dir`. Once this returns, not even a power cut
    /// makes start-up forget it.
    pub(crate) fn claim(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<Slot> {
        let real = real_path(dir).map_err(Error::on(name))?;
        let path = join(&real, name);
        if path.len() >= BLOCK {
            return Err(Error::on(&path)(Errno::NAMETOOLONG));
        }
        let slot = Slot {
            pending: self.clone(),
            file: Some(self.slot().map_err(Error::on(&self.0.path))?),
        };
        let mut block = [0_u8; BLOCK];
        block[..path.len()].copy_from_slice(&path);
        slot.write(&block).map_err(Error::on(&self.0.path))?;
        Ok(slot)
    }

    fn slot(&self) -> rustix::io::Result<OwnedFd> {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        match free.0.pop() {
            Some(file) => Ok(file),
            None => self.add_slot(&mut free.1),
        }
    }

    fn add_slot(&self, made: &mut usize) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        loop {
            let name = made.to_string();
            *made += 1;
            match openat(&self.0.dir, name, flags, Mode::from_raw_mode(0o600)) {
                Ok(file) => {
                    pwrite(&file, &[0; BLOCK], 0)?;
                    fsync(&file)?;
                    fsync(&self.0.dir)?;
                    return Ok(file);
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// A claim; dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Slot {
    pending: Pending,
    file: Option<OwnedFd>,
}

impl Slot {
    /// Leaves the slot naming its file, for the next start to remove.
    pub(crate) fn leave(mut self) {
        self.file = None;
    }

    fn write(&self, block: &[u8]) -> rustix::io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if pwrite(file, block, 0)? < block.len() {
            return Err(Errno::NOSPC);
        }
        fdatasync(file)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else {
            return;
        };
        // A slot that could not be emptied is left out of use; start-up looks at it.
        if pwrite(&file, &[0], 0).is_ok() {
            let free = &self.pending.0.free;
            let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
            free.0.push(file);
        }
    }
}

fn open_made(path: &[u8]) -> rustix::io::Result<OwnedFd> {
    match mkdirat(CWD, path, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

fn names(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut buffer = Vec::with_capacity(BLOCK);
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        found.push(entry?.file_name().to_bytes().to_vec());
    }
    Ok(found)
}

/// Whether what a slot names lies where nobody may answer.
fn is_far(dir: BorrowedFd<'_>, slot: &[u8]) -> bool {
    slot.iter().all(u8::is_ascii_digit)
        && named(dir, slot).is_ok_and(|path| path.is_some_and(|path| may_hang(&path)))
}

/// Start-up does not wait for a network. No later slot has the number of one that is still here,
/// so this thread has them to itself.
fn recover_later(dir: BorrowedFd<'_>, slots: Vec<Vec<u8>>) {
    let Ok(dir) = dir.try_clone_to_owned() else {
        return;
    };
    if !slots.is_empty() {
        std::thread::spawn(move || slots.iter().for_each(|slot| recover(dir.as_fd(), slot)));
    }
}

/// Unlinks what a slot names, then the slot. One that cannot be dealt with stays as it is, and
/// `add_slot` passes over its number.
fn recover(dir: BorrowedFd<'_>, entry: &[u8]) {
    let is_slot = entry.iter().all(u8::is_ascii_digit);
    let dealt_with = is_slot
        && named(dir, entry)
            .and_then(|path| path.map_or(Ok(()), |path| unlink_temporary(&path)))
            .is_ok();
    if dealt_with || is_temporary(entry) {
        // What cannot be unlinked now is met again by the next start.
        let _ = unlinkat(dir, entry, AtFlags::empty());
    }
}

fn named(dir: BorrowedFd<'_>, slot: &[u8]) -> rustix::io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(dir, slot, flags, Mode::empty())?;
    let mut block = vec![0; BLOCK];
    let taken = pread(&file, &mut block, 0)?;
    let end = memchr::memchr(0, &block[..taken]).unwrap_or(taken);
    block.truncate(end);
    Ok((!block.is_empty()).then_some(block))
}

/// Removes a file or a link, if it is there and has a name that only we give.
fn unlink_temporary(path: &[u8]) -> rustix::io::Result<()> {
    let Some((parent, name)) = split(path).filter(|(_, name)| is_temporary(name)) else {
        return Ok(());
    };
    let dir = match open_place(CWD, parent) {
        Ok(dir) => dir,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if is_ours(FileType::from_raw_mode(stat.st_mode)) => {
            unlinkat(&dir, name, AtFlags::empty())
        }
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn is_ours(kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::Symlink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    fn open(at: &Path) -> Pending {
        Pending::open(at.join("pending").as_os_str().as_bytes()).unwrap()
    }

    fn left(at: &Path) -> usize {
        std::fs::read_dir(at.join("pending")).unwrap().count()
    }

    #[test]
    fn only_our_names_are_temporary() {
        assert!(is_temporary(&temporary_name()));
        assert_ne!(temporary_name(), temporary_name());
        for name in [
            "",
            ".hutch-.tmp",
            ".hutch-0123456789abcde.tmp",
            ".hutch-0123456789abcdef0.tmp",
            ".hutch-0123456789ABCDEF.tmp",
            ".hutch-0123456789abcdef",
            "hutch-0123456789abcdef.tmp",
            "a.hutch-0123456789abcdef.tmp",
        ] {
            assert!(!is_temporary(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn start_up_unlinks_what_slots_name_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let place = open_place(CWD, root.path().as_os_str().as_bytes()).unwrap();
        let pending = open(root.path());
        let (ours, theirs) = (temporary_name(), b"precious".to_vec());
        let at = |name: &[u8]| root.path().join(std::ffi::OsStr::from_bytes(name));
        for name in [&ours, &theirs] {
            std::fs::write(at(name), "x").unwrap();
            std::mem::forget(pending.claim(place.as_fd(), name).unwrap());
        }
        let inside = at(b"pending").join(std::ffi::OsStr::from_bytes(&temporary_name()));
        std::fs::write(&inside, "x").unwrap();
        drop(open(root.path()));
        assert!(!at(&ours).exists());
        assert!(at(&theirs).exists());
        assert_eq!(left(root.path()), 0);
    }

    #[test]
    fn a_freed_slot_is_used_again_and_names_nothing() {
        let root = tempfile::tempdir().unwrap();
        let place = open_place(CWD, root.path().as_os_str().as_bytes()).unwrap();
        let pending = open(root.path());
        let name = temporary_name();
        for _ in 0..3 {
            drop(pending.claim(place.as_fd(), &name).unwrap());
        }
        assert_eq!(left(root.path()), 1);
        std::fs::write(root.path().join(std::ffi::OsStr::from_bytes(&name)), "x").unwrap();
        drop(open(root.path()));
        assert!(
            root.path()
                .join(std::ffi::OsStr::from_bytes(&name))
                .exists()
        );
    }
}
