//! A temporary file on its way to a name.
//!
//! Belongs here: making one that a crash cannot leave behind, giving it its name, and taking it
//! away again. Banned here: deciding whether it may get that name.
//!
//! Source: design, section 3, "Writing"; `open(2)`, "O_TMPFILE".

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, openat, renameat_with};
use rustix::fs::{fsync, statat, unlinkat};
use rustix::io::Errno;

use crate::error::Result;
use crate::pending::{Pending, Slot, temporary_name};

const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Whether a temporary file begins without a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With none (`O_TMPFILE`), where the file system has such files.
    #[default]
    Unnamed,
    /// With a temporary one, as where `O_TMPFILE` is refused.
    Named,
}

/// A temporary file in a directory; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: OwnedFd,
    file: OwnedFd,
    named: Option<(Vec<u8>, Slot)>,
}

impl Spool {
    /// An empty file in `dir`, 0600.
    pub(crate) fn open(dir: BorrowedFd<'_>, pending: &Pending, start: Start) -> Result<Self> {
        let on = |errno| crate::error::Error::on(b"")(errno);
        let dir = dir.try_clone_to_owned().map_err(|_| on(Errno::MFILE))?;
        if start == Start::Unnamed {
            match open_unnamed(dir.as_fd()) {
                Ok(file) => {
                    return Ok(Self {
                        dir,
                        file,
                        named: None,
                    });
                }
                // What file systems without O_TMPFILE say, old kernels included.
                Err(
                    Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL | Errno::NOSYS,
                ) => {}
                Err(errno) => return Err(on(errno)),
            }
        }
        let name = temporary_name();
        let slot = pending.claim(dir.as_fd(), &name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&dir, name.as_slice(), flags | OFlags::NOFOLLOW, PRIVATE).map_err(on)?;
        Ok(Self {
            dir,
            file,
            named: Some((name, slot)),
        })
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Gives the file a name that nothing has; `EEXIST` where something does.
    pub(crate) fn become_new(&mut self, name: &[u8]) -> rustix::io::Result<()> {
        let Some((temporary, _)) = &self.named else {
            return self.link(name);
        };
        let from = temporary.as_slice();
        let flags = RenameFlags::NOREPLACE;
        match renameat_with(&self.dir, from, &self.dir, name, flags) {
            // Not every file system has the flag.
            Err(Errno::INVAL) => self.become_new_without_flag(name),
            Err(errno) => Err(errno),
            Ok(()) => {
                self.named = None;
                Ok(())
            }
        }
    }

    /// A hard link never replaces anything either; the temporary name goes when this is dropped.
    /// Where there are no hard links, what is left is to look first.
    fn become_new_without_flag(&mut self, name: &[u8]) -> rustix::io::Result<()> {
        let Some((temporary, _)) = &self.named else {
            return self.link(name);
        };
        let from = temporary.as_slice();
        match linkat(&self.dir, from, &self.dir, name, AtFlags::empty()) {
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {}
            done => return done,
        }
        match statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Ok(_) => return Err(Errno::EXIST),
            Err(errno) => return Err(errno),
        }
        renameat_with(&self.dir, from, &self.dir, name, RenameFlags::empty())?;
        self.named = None;
        Ok(())
    }

    /// Gives the file a name, in place of whatever file has it.
    pub(crate) fn replace(&mut self, name: &[u8], pending: &Pending) -> Result<()> {
        let on = |errno| crate::error::Error::on(b"")(errno);
        if self.named.is_none() {
            let temporary = temporary_name();
            let slot = pending.claim(self.dir.as_fd(), &temporary)?;
            self.link(&temporary).map_err(on)?;
            self.named = Some((temporary, slot));
        }
        if let Some((temporary, _)) = &self.named {
            let flags = RenameFlags::empty();
            renameat_with(&self.dir, temporary.as_slice(), &self.dir, name, flags).map_err(on)?;
        }
        self.named = None;
        Ok(())
    }

    /// As [`Spool::replace`], by way of a temporary name in another directory of the same file
    /// system, which a slot of the caller's names; `EXDEV` where it is on another.
    pub(crate) fn replace_by(
        &mut self,
        name: &[u8],
        at: BorrowedFd<'_>,
        temporary: &[u8],
    ) -> rustix::io::Result<()> {
        if let Some((own, _)) = &self.named {
            renameat_with(
                &self.dir,
                own.as_slice(),
                &self.dir,
                name,
                RenameFlags::empty(),
            )?;
            self.named = None;
            return Ok(());
        }
        self.link_at(at, temporary)?;
        let moved = renameat_with(at, temporary, &self.dir, name, RenameFlags::empty());
        if moved.is_err() {
            let _ = unlinkat(at, temporary, AtFlags::empty());
        }
        moved
    }

    fn link(&self, name: &[u8]) -> rustix::io::Result<()> {
        self.link_at(self.dir.as_fd(), name)
    }

    fn link_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
        match linkat(&self.file, "", dir, name, AtFlags::EMPTY_PATH) {
            // Without CAP_DAC_READ_SEARCH an empty path is refused; `/proc` knows another way.
            Err(Errno::NOENT | Errno::PERM | Errno::INVAL) => {
                let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                linkat(CWD, own, dir, name, AtFlags::SYMLINK_FOLLOW)
            }
            done => done,
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let Some((name, slot)) = self.named.take() else {
            return;
        };
        match unlinkat(&self.dir, name.as_slice(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => drop(slot),
            // The next start tries again.
            Err(_) => slot.leave(),
        }
    }
}

fn open_unnamed(dir: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    openat(dir, ".", flags, PRIVATE)
}

/// Makes what happened to the names of a directory last.
pub(crate) fn sync_dir(dir: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // One that may not be read cannot be opened for this, and FUSE need not know the call.
    match openat(dir, ".", flags, Mode::empty()).and_then(|open| fsync(&open)) {
        Err(Errno::ACCESS | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        done => done,
    }
}
