//! Removing a tree: relative to open directories, following nothing, crossing no mount.
//!
//! Belongs here: the removal. Banned here: its account (`removal`), deciding what is protected
//! (`guard`), sentences.
//!
//! The walk keeps a stack of its own, so that depth costs no stack, and at most `MOST_OPEN`
//! directories open: a parent that was closed is opened again as `..` of its child, and must
//! then be the directory that it was. A directory is opened without following links and without
//! crossing mounts (`openat2`), so that one swapped for a link during the removal is removed as
//! the link that it now is.
//!
//! Source: wire contract, section 2, "Delete"; `openat2(2)`.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, fstat, openat, openat2};
use rustix::fs::{statat, unlinkat};
use rustix::io::Errno;

use crate::error::Result;
use crate::guard::Guard;
use crate::mounts;
use crate::place::{Id, Place, join};
use crate::removal::{Cut, Removal};
use crate::spool::sync_dir;
use crate::stop::Stop;

const MOST_OPEN: usize = 64;
/// Directories remembered from one reading of their parent, which is then read again. Far down
/// fewer, or a tree both deep and wide would be remembered whole.
const MOST_REMEMBERED: usize = 1024;
const FEW_REMEMBERED: usize = 16;
/// Readings of a directory into which somebody keeps putting files.
const MOST_REREADS: u8 = 16;
/// Failures after which the removal gives up: they are remembered by name.
const MOST_FAILURES: usize = 10_000;
const BUFFER: usize = 32 * 1024;

/// Removes what stands at `place`, with everything below it.
///
/// # Errors
/// `ENOENT` where nothing stands there; where the place or the table of mounts cannot be read.
/// What goes wrong later is in the account.
pub fn remove(
    place: &Place,
    guard: &Guard,
    stop: &Stop,
    deadline: Option<Instant>,
) -> Result<Removal> {
    let mut account = Removal::default();
    if let Some(hit) = guard.refuses(place)? {
        account.protected = Some(hit.to_vec());
        return Ok(account);
    }
    let stat = place.stat()?.ok_or_else(|| place.failed(Errno::NOENT))?;
    account.mounts = mounts::below(&place.real_path()?)?;
    if !account.mounts.is_empty() {
        return Ok(account);
    }
    let mut work = Work {
        place,
        guard,
        stop,
        deadline,
        account,
        frames: Vec::new(),
    };
    let name = place.name().to_vec();
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        work.descend(name);
        work.run();
    } else {
        work.unlink(&name);
    }
    // Best effort: what is gone is gone, and what is not is told.
    let _ = sync_dir(place.dir());
    Ok(work.finished())
}

/// A directory under way.
struct Frame {
    name: Vec<u8>,
    id: Id,
    /// None while it is closed to spare descriptors.
    dir: Option<OwnedFd>,
    /// Directories in it that are to be removed next.
    waiting: Vec<Vec<u8>>,
    /// Whether it was read to its end.
    read: bool,
    rereads: u8,
    failed: HashSet<Vec<u8>>,
}

struct Work<'a> {
    place: &'a Place,
    guard: &'a Guard,
    stop: &'a Stop,
    deadline: Option<Instant>,
    account: Removal,
    frames: Vec<Frame>,
}

impl Work<'_> {
    fn run(&mut self) {
        while let Some(top) = self.frames.last_mut() {
            if let Some(name) = top.waiting.pop() {
                self.descend(name);
            } else if top.read {
                self.ascend();
            } else {
                self.sweep();
            }
            if self.is_cut() {
                return;
            }
        }
    }

    fn is_cut(&mut self) -> bool {
        if self.account.cut.is_none() {
            self.account.cut = if self.stop.is_set() {
                Some(Cut::Stopped)
            } else if self.deadline.is_some_and(|end| Instant::now() >= end) {
                Some(Cut::Late)
            } else if self.account.failures > MOST_FAILURES {
                Some(Cut::Failing)
            } else {
                None
            };
        }
        self.account.cut.is_some()
    }

    /// The directory in which `frames` ends, or the place's own. Open whenever something is done
    /// in it.
    fn here(&self) -> BorrowedFd<'_> {
        self.frames
            .last()
            .and_then(|frame| frame.dir.as_ref())
            .map_or(self.place.dir(), AsFd::as_fd)
    }

    /// Removes everything but directories, which are put on the list.
    fn sweep(&mut self) {
        let mut buffer = Vec::with_capacity(BUFFER);
        let here = match reopened(self.here()) {
            Ok(here) => here,
            Err(errno) => return self.give_up(errno),
        };
        let mut entries = RawDir::new(&here, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return self.give_up(errno),
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || self.has_failed(name) {
                continue;
            }
            match entry.file_type() {
                FileType::Directory => self.await_turn(name),
                _ => self.unlink(name),
            }
            if self.is_cut() {
                return;
            }
            if self.is_enough() {
                return; // read again once these are gone
            }
        }
        if let Some(top) = self.frames.last_mut() {
            top.read = true;
        }
    }

    fn is_enough(&self) -> bool {
        let most = if self.frames.len() <= MOST_OPEN {
            MOST_REMEMBERED
        } else {
            FEW_REMEMBERED
        };
        self.frames
            .last()
            .is_some_and(|top| top.waiting.len() >= most)
    }

    fn has_failed(&self, name: &[u8]) -> bool {
        self.frames
            .last()
            .is_some_and(|top| top.failed.contains(name))
    }

    fn await_turn(&mut self, name: &[u8]) {
        if let Some(top) = self.frames.last_mut() {
            top.waiting.push(name.to_vec());
        }
    }

    /// Removes a name that is no directory; one that has become one waits for its turn.
    fn unlink(&mut self, name: &[u8]) {
        match unlinkat(self.here(), name, AtFlags::empty()) {
            Ok(()) => self.account.removed += 1,
            Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) if !self.frames.is_empty() => self.await_turn(name),
            // POSIX lets a file system say EPERM of a directory.
            Err(Errno::PERM) if !self.frames.is_empty() && self.is_directory(name) => {
                self.await_turn(name);
            }
            Err(errno) => self.fail(name, errno),
        }
    }

    fn is_directory(&self, name: &[u8]) -> bool {
        statat(self.here(), name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    fn descend(&mut self, name: Vec<u8>) {
        let dir = match open_inner(self.here(), &name) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return,
            // It has become something else, a link perhaps: that goes, not what it leads to.
            Err(Errno::NOTDIR | Errno::LOOP) => return self.unlink(&name),
            Err(errno) => return self.remove_unread(&name, errno),
        };
        let id = match fstat(&dir) {
            Ok(stat) => Id::of(&stat),
            Err(errno) => return self.fail(&name, errno),
        };
        // Looked at beforehand; but somebody may have moved it here since.
        if self.guard.refuses_id(id) {
            return self.fail(&name, Errno::PERM);
        }
        self.frames.push(Frame {
            name,
            id,
            dir: Some(dir),
            waiting: Vec::new(),
            read: false,
            rereads: 0,
            failed: HashSet::new(),
        });
        if let Some(far) = self.frames.len().checked_sub(MOST_OPEN + 1) {
            self.frames[far].dir = None;
        }
    }

    /// A directory that cannot be opened can still be removed where it is empty.
    fn remove_unread(&mut self, name: &[u8], errno: Errno) {
        let may_be_empty = errno == Errno::ACCESS;
        if may_be_empty && unlinkat(self.here(), name, AtFlags::REMOVEDIR).is_ok() {
            self.account.removed += 1;
        } else {
            self.fail(name, errno);
        }
    }

    /// Leaves the directory and removes it, where nothing is left in it.
    fn ascend(&mut self) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        if let Err(errno) = self.open_parent(&frame) {
            self.frames.push(frame);
            return self.give_up(errno);
        }
        if !frame.failed.is_empty() {
            if let Some(parent) = self.frames.last_mut() {
                parent.failed.insert(frame.name);
            }
            return;
        }
        match unlinkat(self.here(), frame.name.as_slice(), AtFlags::REMOVEDIR) {
            Ok(()) => self.account.removed += 1,
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR) => self.unlink(&frame.name),
            Err(Errno::NOTEMPTY | Errno::EXIST) if frame.rereads < MOST_REREADS => {
                self.frames.push(Frame {
                    read: false,
                    rereads: frame.rereads + 1,
                    ..frame
                });
            }
            Err(errno) => self.fail(&frame.name, errno),
        }
    }

    /// Opens the parent again by its child, if it is still the same.
    fn open_parent(&mut self, child: &Frame) -> rustix::io::Result<()> {
        let Some(parent) = self.frames.last_mut().filter(|one| one.dir.is_none()) else {
            return Ok(());
        };
        let Some(inner) = &child.dir else {
            return Err(Errno::BADF);
        };
        let dir = openat(inner, "..", DIRECTORY, Mode::empty())?;
        if Id::of(&fstat(&dir)?) != parent.id {
            return Err(Errno::STALE);
        }
        parent.dir = Some(dir);
        Ok(())
    }

    /// Where the way is lost, nothing more is removed.
    fn give_up(&mut self, errno: Errno) {
        let path = self.path_of(None);
        self.account.note(path, errno);
        self.account.cut = Some(Cut::Failing);
    }

    fn fail(&mut self, name: &[u8], errno: Errno) {
        let path = self.path_of(Some(name));
        self.account.note(path, errno);
        if let Some(top) = self.frames.last_mut() {
            top.failed.insert(name.to_vec());
        }
    }

    /// The path of a name in the present directory, in the spelling that was asked for.
    fn path_of(&self, name: Option<&[u8]>) -> Vec<u8> {
        // The first frame is the place itself, or the name is.
        let below = self.frames.iter().map(|frame| frame.name.as_slice());
        below
            .chain(name)
            .skip(1)
            .fold(self.place.asked().to_vec(), |path, one| join(&path, one))
    }

    fn finished(mut self) -> Removal {
        if self.account.failures > 0 || self.account.cut.is_some() {
            self.frames.clear();
            self.account.survey(self.place.asked());
        }
        self.account
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A description of its own, so that reading begins at the start.
fn reopened(dir: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    openat(dir, ".", DIRECTORY, Mode::empty())
}

/// The directory `name` in `dir`: no link, no mount point.
fn open_inner(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let within = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match openat2(dir, name, DIRECTORY, Mode::empty(), within) {
        // A kernel or a sandbox without the call: the device tells most mounts.
        Err(Errno::NOSYS | Errno::PERM) => {
            let inner = openat(dir, name, DIRECTORY, Mode::empty())?;
            if fstat(&inner)?.st_dev == fstat(dir)?.st_dev {
                Ok(inner)
            } else {
                Err(Errno::XDEV)
            }
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Links;
    use crate::removal::MOST_NAMED;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::Duration;

    fn place(path: &Path) -> Place {
        Place::locate(path.as_os_str().as_bytes(), Links::Keep).unwrap()
    }

    fn removed(path: &Path) -> Removal {
        remove(&place(path), &Guard::default(), &Stop::default(), None).unwrap()
    }

    #[test]
    fn removes_every_kind_and_follows_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (tree, outside) = (root.path().join("tree"), root.path().join("outside"));
        std::fs::create_dir_all(tree.join("a/b/c")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("precious"), "x").unwrap();
        std::fs::write(tree.join("a/file"), "x").unwrap();
        symlink(&outside, tree.join("a/link")).unwrap();
        symlink("nothing", tree.join("dangling")).unwrap();
        let account = removed(&tree);
        assert_eq!((account.removed, account.failures), (7, 0));
        assert!(!tree.exists());
        assert!(outside.join("precious").exists());
        symlink(&outside, &tree).unwrap();
        assert_eq!(removed(&tree).removed, 1);
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn wide_directories_are_read_more_than_once() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        for index in 0..2 * MOST_REMEMBERED + 1 {
            std::fs::create_dir_all(tree.join(format!("{index}/inner"))).unwrap();
        }
        let account = removed(&tree);
        assert_eq!(account.removed, 2 * (2 * MOST_REMEMBERED as u64 + 1) + 1);
        assert!(!tree.exists());
    }

    #[test]
    fn a_stop_and_a_deadline_are_told_with_what_remains() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        let stop = Stop::default();
        stop.set();
        let now = Some(Instant::now() - Duration::from_secs(1));
        let cases = [
            (stop, None, Cut::Stopped),
            (Stop::default(), now, Cut::Late),
        ];
        for (stop, deadline, wanted) in cases {
            let account = remove(&place(&tree), &Guard::default(), &stop, deadline).unwrap();
            assert_eq!(account.cut, Some(wanted));
            assert_eq!(account.remaining[0], tree.as_os_str().as_bytes());
        }
        std::fs::create_dir_all(tree.join("many")).unwrap();
        for index in 0..MOST_NAMED + 10 {
            std::fs::write(tree.join(format!("many/{index}")), "").unwrap();
        }
        let account = remove(&place(&tree), &Guard::default(), &Stop::default(), now).unwrap();
        assert_eq!(account.remaining.len(), MOST_NAMED);
        assert!(account.remaining_cut);
    }

    #[test]
    fn a_protected_directory_inside_stays() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        std::fs::create_dir_all(tree.join("kept/inner")).unwrap();
        std::fs::create_dir_all(tree.join("gone")).unwrap();
        let kept = tree.join("kept");
        let guard = Guard::new([kept.as_os_str().as_bytes()]);
        let account = remove(&place(&tree), &guard, &Stop::default(), None).unwrap();
        assert!(account.protected.is_some());
        assert!(tree.join("gone").exists());
    }

    #[test]
    fn what_is_missing_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let missing = place(&root.path().join("missing"));
        let done = remove(&missing, &Guard::default(), &Stop::default(), None);
        assert_eq!(done.err(), Some(missing.failed(Errno::NOENT)));
    }
}
