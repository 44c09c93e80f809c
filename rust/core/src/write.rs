//! Writing a file: atomically, durably, in constant memory.
//!
//! Belongs here: `Writer`, which spools bytes and then puts them in a file's place, and what
//! happens where nothing can be put in its place. Banned here: preconditions and locks (their
//! holder calls `commit`), appending (`append`).
//!
//! Source: wire contract, section 2, "Write" and "Raw"; design, section 3, "Writing".

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, FallocateFlags, Mode, OFlags, Stat, StatxAttributes};
use rustix::fs::{StatxFlags, accessat, fallocate, fchmod, fstat, fsync, ftruncate};
use rustix::fs::{openat, statx};
use rustix::io::{Errno, pread, write};
use sha2::{Digest, Sha256};

use crate::attributes::carry;
use crate::error::{Error, Result};
use crate::open::is_made_on_reading;
use crate::pending::Pending;
use crate::place::{Place, regular};
use crate::read::hex;
use crate::spool::{Spool, Start, sync_dir};
use crate::stop::Stop;

/// The mode of a file that replaces none.
pub(crate) const NEW_FILE: u32 = 0o644;
const PIECE: usize = 256 * 1024;

/// How a file gets its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// A new file takes its place at once.
    Replace,
    /// Its bytes are overwritten: the file is a mount point.
    Overwrite,
    /// Its bytes are overwritten, and it is one of the kernel's own variables.
    Kernel,
}

/// On which terms content takes its place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// The permission bits; else those of the replaced file, else 0644.
    pub mode: Option<u32>,
    /// Only where nothing is there: `EEXIST` otherwise, whoever came between.
    pub only_new: bool,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The file's status afterwards.
    pub stat: Stat,
    /// Whether the whole appeared at once.
    pub atomic: bool,
    /// SHA-256 of the file, lower-case hex; None where only a part of it is known.
    pub sha256: Option<String>,
}

/// Content on its way to a place; dropping it leaves everything as it was.
#[derive(Debug)]
pub struct Writer {
    place: Arc<Place>,
    pending: Pending,
    manner: Manner,
    spool: Spool,
    size: u64,
    hasher: Sha256,
}

impl Writer {
    /// Room for content that is to stand at `place`.
    ///
    /// # Errors
    /// `EISDIR` for a directory, `ENXIO` for a FIFO, a socket or a device, at once; `EACCES`
    /// for a file that may not be written, or a directory that takes no file.
    pub fn open(place: Arc<Place>, pending: &Pending, start: Start) -> Result<Self> {
        let manner = manner(&place)?;
        let dir = match manner {
            Manner::Replace => place.dir(),
            // The directory may be on another file system, or take no files.
            Manner::Overwrite | Manner::Kernel => pending.dir(),
        };
        let spool = Spool::open(dir, pending, start).map_err(|error| named(&place, error))?;
        Ok(Self {
            place,
            pending: pending.clone(),
            manner,
            spool,
            size: 0,
            hasher: Sha256::new(),
        })
    }

    /// More of the content.
    ///
    /// # Errors
    /// What `write` says: `ENOSPC`, `EDQUOT`, `EFBIG`, `EIO`.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let taken = write(self.spool.file(), bytes).map_err(|errno| self.failed(errno))?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Puts the content in place, durably.
    ///
    /// # Errors
    /// As `open`; `EEXIST` by `terms`; what a full or failing disk says. Until the very step
    /// that puts it in place, the old file is untouched; [`Error::Stopped`] only before it.
    pub fn commit(mut self, terms: Terms, stop: &Stop) -> Result<Written> {
        let old = self.place.stat()?;
        if let Some(old) = &old {
            regular(old).map_err(|errno| self.failed(errno))?;
            if terms.only_new {
                return Err(self.failed(Errno::EXIST));
            }
        }
        stop.check()?;
        let atomic = self.settle(old.as_ref(), terms)?;
        let file = self.spool.file();
        let stat = if atomic {
            fstat(file).map_err(|errno| self.failed(errno))?
        } else {
            self.place
                .stat()?
                .ok_or_else(|| self.failed(Errno::NOENT))?
        };
        Ok(Written {
            stat,
            atomic,
            // What the kernel makes of it is not what was written.
            sha256: (self.manner != Manner::Kernel).then(|| hex(&self.hasher.finalize())),
        })
    }

    /// Replaces, or overwrites where nothing can be replaced; whether it was all at once.
    fn settle(&mut self, old: Option<&Stat>, terms: Terms) -> Result<bool> {
        if self.manner == Manner::Replace {
            match self.replace(old, terms) {
                Ok(()) => return Ok(true),
                // A mount point, as a kernel says that cannot be asked beforehand.
                Err(Error::Os {
                    errno: Errno::BUSY | Errno::XDEV,
                    ..
                }) if old.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        self.overwrite(terms).map_err(|errno| self.failed(errno))?;
        Ok(false)
    }

    fn replace(&mut self, old: Option<&Stat>, terms: Terms) -> Result<()> {
        self.dress(old, terms).map_err(|errno| self.failed(errno))?;
        let name = self.place.name();
        // A file where none was needs no temporary name on its way.
        let done = match old {
            Some(_) => Err(Errno::EXIST),
            None => self.spool.become_new(name),
        };
        match done {
            Err(Errno::EXIST) if !terms.only_new => self
                .spool
                .replace(name, &self.pending)
                .map_err(|error| named(&self.place, error))?,
            done => done.map_err(|errno| self.failed(errno))?,
        }
        sync_dir(self.place.dir()).map_err(|errno| self.failed(errno))
    }

    /// Owner, attributes and mode; then the bytes are made to last.
    fn dress(&self, old: Option<&Stat>, terms: Terms) -> rustix::io::Result<()> {
        let file = self.spool.file();
        match old {
            Some(old) => carry(file, &self.place, old, terms.mode)?,
            None => fchmod(file, Mode::from_raw_mode(terms.mode.unwrap_or(NEW_FILE)))?,
        }
        fsync(file)
    }

    fn overwrite(&self, terms: Terms) -> rustix::io::Result<()> {
        let mut flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        if self.manner == Manner::Kernel {
            flags |= OFlags::TRUNC;
        }
        let (dir, name) = (self.place.dir(), self.place.name());
        let target = openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty())?;
        regular(&fstat(&target)?)?;
        if self.manner == Manner::Kernel {
            return copy(self.spool.file(), &target);
        }
        reserve(&target, 0, self.size)?;
        copy(self.spool.file(), &target)?;
        ftruncate(&target, self.size)?;
        if let Some(mode) = terms.mode {
            fchmod(&target, Mode::from_raw_mode(mode))?;
        }
        fsync(&target)
    }

    fn failed(&self, errno: Errno) -> Error {
        self.place.failed(errno)
    }
}

/// An error of the spool, on the path that was asked for.
fn named(place: &Place, error: Error) -> Error {
    match error {
        Error::Os { errno, path } if path.is_empty() => place.failed(errno),
        other => other,
    }
}

fn manner(place: &Place) -> Result<Manner> {
    let Some(stat) = place.stat()? else {
        return Ok(Manner::Replace);
    };
    regular(&stat).map_err(|errno| place.failed(errno))?;
    let writable = accessat(
        place.dir(),
        place.name(),
        Access::WRITE_OK,
        AtFlags::EACCESS,
    );
    if let Err(errno @ (Errno::ACCESS | Errno::ROFS | Errno::PERM)) = writable {
        return Err(place.failed(errno));
    }
    if is_made_on_reading(place.dir()) {
        return Ok(Manner::Kernel);
    }
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let told = statx(place.dir(), place.name(), flags, StatxFlags::empty());
    let is_mount = told.is_ok_and(|told| told.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    Ok(if is_mount {
        Manner::Overwrite
    } else {
        Manner::Replace
    })
}

/// Takes the room beforehand, so that a full disk is met before the first byte changes.
pub(crate) fn reserve(
    file: impl std::os::fd::AsFd,
    from: u64,
    length: u64,
) -> rustix::io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, from, length) {
        Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(errno),
        // Not every file system can; then the write itself must tell.
        _ => Ok(()),
    }
}

fn copy(from: BorrowedFd<'_>, to: impl std::os::fd::AsFd) -> rustix::io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    loop {
        let length = pread(from, &mut buffer, at)?;
        if length == 0 {
            return Ok(());
        }
        let mut piece = &buffer[..length];
        while !piece.is_empty() {
            piece = &piece[write(&to, piece)?..];
        }
        at += length as u64;
    }
}
