//! Copying what stands at a place, with everything below it.
//!
//! Belongs here: the copy. Banned here: its account (`copied`), what may stand at its ends
//! (`ends`), making copies last (`batch`), copying bytes (`duplicate`).
//!
//! Both trees are gone through side by side, by descriptor: nothing is followed, and what is
//! swapped for a link meanwhile is copied as that link. Each file appears at its name whole, its
//! bytes already on the disk. A copy that ends early leaves what it has copied.
//!
//! Not kept: hard links between files of the tree, which come out as files of their own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Uid, chownat, mkdirat, readlinkat};
use rustix::fs::{RenameFlags, renameat_with, symlinkat, unlinkat, utimensat};
use rustix::io::Errno;

use crate::attributes::{imitate, times};
use crate::batch::{Batch, Item};
use crate::copied::{Copied, Left};
use crate::duplicate::{Ended, duplicate};
use crate::ends::{Pinned, Terms, refused, reopened, reopened_directory};
use crate::error::{Error, Result};
use crate::pending::temporary_name;
use crate::place::{Id, Place, join};
use crate::pseudo::Pseudo;
use crate::removal::Cut;
use crate::spool::{Spool, Start, sync_dir};
use crate::trail::{Trail, open_inner};

/// Failures after which the copy gives up: they are remembered by name.
const MOST_FAILURES: usize = 10_000;

/// Copies what stands at `source` to `destination`, a symlink as a symlink. A directory that is
/// there already, and may be overwritten, takes in what the source holds.
///
/// # Errors
/// `ENOENT` where there is no source; where the ends cannot be looked at. What goes wrong later
/// is in the account.
pub fn copy(source: &Place, destination: &Place, terms: &Terms<'_>) -> Result<Copied> {
    match refused(source, destination, terms)? {
        Some(account) => Ok(account),
        None => copy_unasked(source, destination, terms),
    }
}

/// The same, once it is known that nothing is in the way.
pub(crate) fn copy_unasked(
    source: &Place,
    destination: &Place,
    terms: &Terms<'_>,
) -> Result<Copied> {
    let mut work = Work {
        source,
        destination,
        terms,
        pseudo: Pseudo::below(&source.real_path()?),
        account: Copied::default(),
        from: Trail::default(),
        to: Trail::default(),
        frames: Vec::new(),
        batch: Batch::default(),
        made: None,
    };
    work.visit(source.name(), destination.name());
    work.run();
    work.settle();
    let synced = sync_dir(destination.dir());
    work.note(synced, None, End::Destination);
    Ok(work.account)
}

/// Which of the two trees a path is told of.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

/// A directory under way.
struct Frame {
    name: Vec<u8>,
    stat: Stat,
    /// Whether it was made here, and so gets the attributes of its original.
    made: bool,
}

struct Work<'a> {
    source: &'a Place,
    destination: &'a Place,
    terms: &'a Terms<'a>,
    pseudo: Pseudo,
    account: Copied,
    from: Trail,
    to: Trail,
    frames: Vec<Frame>,
    batch: Batch,
    /// The directory in which the copy is made: never itself copied.
    made: Option<Id>,
}

impl Work<'_> {
    fn run(&mut self) {
        while !self.frames.is_empty() {
            if !self.is_cut() {
                match self.from.next() {
                    Ok(Some(name)) => {
                        self.visit(&name, &name);
                        continue;
                    }
                    Ok(None) => {}
                    Err(errno) => self.fail(None, End::Source, errno),
                }
            }
            // What was cut gets the attributes of its original all the same.
            if let Err(errno) = self.ascend() {
                self.fail(None, End::Source, errno);
                self.account.cut = Some(Cut::Failing);
                return;
            }
        }
    }

    fn is_cut(&mut self) -> bool {
        if self.account.cut.is_none() {
            self.account.cut = self.terms.cut();
        }
        if self.account.failures > MOST_FAILURES {
            self.account.cut = Some(Cut::Failing);
        }
        self.account.cut.is_some()
    }

    fn visit(&mut self, name: &[u8], new: &[u8]) {
        let pinned = match Pinned::open(self.original(), name) {
            Ok(pinned) => pinned,
            // Gone since its name was read.
            Err(Errno::NOENT) if !self.frames.is_empty() => return,
            Err(errno) => return self.fail_at(name, End::Source, errno),
        };
        match pinned.kind() {
            FileType::Directory => self.descend(&pinned, name, new),
            FileType::RegularFile => self.file(&pinned, name, new),
            FileType::Symlink => self.link(&pinned, name, new),
            FileType::Fifo => self.leave_out(name, Left::Fifo),
            FileType::Socket => self.leave_out(name, Left::Socket),
            _ => self.leave_out(name, Left::Device),
        }
    }

    // --- files ---------------------------------------------------------------------------------

    fn file(&mut self, pinned: &Pinned, name: &[u8], new: &[u8]) {
        let original = match reopened(pinned) {
            Ok(original) => original,
            Err(errno) => return self.fail_at(name, End::Source, errno),
        };
        let spool = match Spool::open(self.copy_dir(), self.terms.pending, Start::Unnamed) {
            Ok(spool) => spool,
            Err(error) => return self.fail_at(name, End::Destination, errno_of(&error)),
        };
        let size = u64::try_from(pinned.stat.st_size).unwrap_or(0);
        let size = match duplicate(original.as_fd(), spool.file(), size, self.terms) {
            Ok(size) => size,
            Err(Ended::Cut(cut)) => return self.account.cut = Some(cut),
            Err(Ended::Unread(errno)) => return self.fail_at(name, End::Source, errno),
            Err(Ended::Failed(errno)) => return self.fail_at(name, End::Destination, errno),
        };
        if let Err(errno) = imitate(spool.file(), original.as_fd(), &pinned.stat) {
            return self.fail_at(name, End::Destination, errno);
        }
        let path = self.path_of(Some(name), End::Destination);
        self.batch.add(Item::File {
            spool,
            name: new.to_vec(),
            size,
            path,
        });
        if self.batch.is_full() {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let (pending, overwrite) = (self.terms.pending, self.terms.overwrite);
        self.batch.settle(pending, overwrite, &mut self.account);
    }

    // --- links ---------------------------------------------------------------------------------

    fn link(&mut self, pinned: &Pinned, name: &[u8], new: &[u8]) {
        let target = match readlinkat(&pinned.at, "", Vec::new()) {
            Ok(target) => target,
            Err(errno) => return self.fail_at(name, End::Source, errno),
        };
        let made = match make_link(self.copy_dir(), target.as_bytes(), new, &pinned.stat) {
            Err(Errno::EXIST) if self.terms.overwrite => {
                self.replace_by_link(target.as_bytes(), new, &pinned.stat)
            }
            made => made,
        };
        match made {
            Ok(()) => self.account.entries += 1,
            Err(errno) => self.fail_at(name, End::Destination, errno),
        }
    }

    fn replace_by_link(&self, target: &[u8], new: &[u8], stat: &Stat) -> rustix::io::Result<()> {
        let temporary = temporary_name();
        let dir = self.copy_dir();
        let slot = self.terms.pending.claim(dir, &temporary);
        let slot = slot.map_err(|error| errno_of(&error))?;
        make_link(dir, target, &temporary, stat)?;
        let flags = RenameFlags::empty();
        let renamed = renameat_with(dir, temporary.as_slice(), dir, new, flags);
        if renamed.is_err() && unlinkat(dir, temporary.as_slice(), AtFlags::empty()).is_err() {
            slot.leave();
        }
        renamed
    }

    // --- directories ---------------------------------------------------------------------------

    fn descend(&mut self, pinned: &Pinned, name: &[u8], new: &[u8]) {
        if self.is_pseudo(&pinned.stat, name) {
            return self.leave_out(name, Left::Pseudo);
        }
        if self.made == Some(Id::of(&pinned.stat)) {
            // Only a mount, or somebody who moves things about, leads here.
            return self.fail_at(name, End::Source, Errno::LOOP);
        }
        let from = match reopened_directory(pinned) {
            Ok(from) => from,
            Err(errno) => return self.fail_at(name, End::Source, errno),
        };
        let (to, made) = match self.make(new) {
            Ok(made) => made,
            Err(errno) => return self.fail_at(name, End::Destination, errno),
        };
        if self.made.is_none() {
            self.made = rustix::fs::fstat(&to).ok().map(|stat| Id::of(&stat));
        }
        let entered = self.to.enter(to).and_then(|()| self.from.enter(from));
        if let Err(errno) = entered {
            self.account.cut = Some(Cut::Failing);
            return self.fail_at(name, End::Source, errno);
        }
        self.frames.push(Frame {
            name: name.to_vec(),
            stat: pinned.stat,
            made,
        });
        self.account.entries += 1;
    }

    /// The directory of the copy, and whether it is new.
    fn make(&self, name: &[u8]) -> rustix::io::Result<(OwnedFd, bool)> {
        let dir = self.copy_dir();
        let made = match mkdirat(dir, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) if self.terms.overwrite => false,
            Err(errno) => return Err(errno),
        };
        match open_inner(dir, name) {
            // A link counts as what it is, and is no directory.
            Err(Errno::LOOP) => Err(Errno::NOTDIR),
            opened => opened.map(|open| (open, made)),
        }
    }

    /// Leaves a directory of which all was seen.
    fn ascend(&mut self) -> rustix::io::Result<()> {
        let path = self.path_of(None, End::Destination);
        let (left, made) = (self.from.leave()?, self.to.leave()?);
        let (Some(frame), Some(original), Some(dir)) = (self.frames.pop(), left, made) else {
            return Err(Errno::BADF);
        };
        let original = frame.made.then_some((original, frame.stat));
        self.batch.add(Item::Directory {
            dir,
            original,
            path,
        });
        if self.batch.is_full() {
            self.settle();
        }
        Ok(())
    }

    fn is_pseudo(&self, stat: &Stat, name: &[u8]) -> bool {
        // A mount has another device than what it is mounted on.
        let Some(above) = self.frames.last() else {
            return false;
        };
        let below = self.frames.iter().skip(1);
        let rel = below.fold(Vec::new(), |path, one| match path.as_slice() {
            [] => one.name.clone(),
            _ => join(&path, &one.name),
        });
        above.stat.st_dev != stat.st_dev && self.pseudo.contains(&rel, name)
    }

    // --- where, and what went wrong ------------------------------------------------------------

    /// The directory of the source in which something is looked at now.
    fn original(&self) -> BorrowedFd<'_> {
        self.from.here().unwrap_or_else(|| self.source.dir())
    }

    /// The directory of the copy in which something is made now.
    fn copy_dir(&self) -> BorrowedFd<'_> {
        self.to.here().unwrap_or_else(|| self.destination.dir())
    }

    fn leave_out(&mut self, name: &[u8], why: Left) {
        let path = self.path_of(Some(name), End::Source);
        self.account.leave_out(path, why);
    }

    fn fail_at(&mut self, name: &[u8], end: End, errno: Errno) {
        self.fail(Some(name), end, errno);
    }

    fn fail(&mut self, name: Option<&[u8]>, end: End, errno: Errno) {
        let path = self.path_of(name, end);
        self.account.fail(path, errno);
    }

    fn note(&mut self, done: rustix::io::Result<()>, name: Option<&[u8]>, end: End) {
        if let Err(errno) = done {
            self.fail(name, end, errno);
        }
    }

    /// The path of a name in the present directory, in the spelling that was asked for.
    fn path_of(&self, name: Option<&[u8]>, end: End) -> Vec<u8> {
        let top = match end {
            End::Source => self.source.asked(),
            End::Destination => self.destination.asked(),
        };
        // The first frame is the place itself, or the name is.
        let below = self.frames.iter().map(|frame| frame.name.as_slice());
        below
            .chain(name)
            .skip(1)
            .fold(top.to_vec(), |path, one| join(&path, one))
    }
}

fn make_link(
    dir: BorrowedFd<'_>,
    target: &[u8],
    name: &[u8],
    stat: &Stat,
) -> rustix::io::Result<()> {
    symlinkat(target, dir, name)?;
    let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    // As far as it goes: a link's owner and times hardly matter to anybody.
    let unfollowed = AtFlags::SYMLINK_NOFOLLOW;
    let _ = chownat(dir, name, Some(owner), Some(group), unfollowed);
    let _ = utimensat(dir, name, &times(stat), unfollowed);
    Ok(())
}

fn errno_of(error: &Error) -> Errno {
    match error {
        Error::Os { errno, .. } => *errno,
        _ => Errno::IO,
    }
}
