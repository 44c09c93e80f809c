//! Writing a file: atomically, durably, in constant memory.
//!
//! Belongs here: `Writer`, which spools bytes and then puts them in a file's place, and what
//! happens where nothing can be put in its place. Banned here: preconditions and locks (their
//! holder calls `commit`), appending (`append`).
//!
//! Source: wire contract, section 2, "Write" and "Raw"; design, section 3, "Writing".

use std::sync::Arc;

use rustix::fs::{
    Access, AtFlags, Stat, StatxAttributes, StatxFlags, accessat, fstat, fsync, statx,
};
use rustix::io::{Errno, write};
use sha2::{Digest, Sha256};

use crate::attributes::{carry, set_mode};
use crate::error::{Error, Result};
use crate::open::is_made_on_reading;
use crate::overwrite::{Content, overwrite, overwrite_variable};
use crate::pending::Pending;
use crate::place::{Place, regular};
use crate::read::hex;
use crate::spool::{Spool, Start, sync_dir};
use crate::stop::Stop;

/// The mode of a file that replaces none.
const NEW_FILE: u32 = 0o644;

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
        let what = Content {
            file: self.spool.file(),
            size: self.size,
            mode: terms.mode,
        };
        let done = if self.manner == Manner::Kernel {
            overwrite_variable(&self.place, what)
        } else {
            overwrite(&self.place, what)
        };
        done.map_err(|errno| self.failed(errno))?;
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
            None => set_mode(file, terms.mode.unwrap_or(NEW_FILE), terms.mode.is_some())?,
        }
        fsync(file)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append::append;
    use crate::place::Links;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn place(path: &Path) -> Arc<Place> {
        Arc::new(Place::locate(path.as_os_str().as_bytes(), Links::Follow).unwrap())
    }

    fn slots(root: &Path) -> Pending {
        Pending::open(root.join("pending").as_os_str().as_bytes()).unwrap()
    }

    fn names(root: &Path) -> Vec<std::ffi::OsString> {
        let entries = std::fs::read_dir(root).unwrap();
        let mut names: Vec<_> = entries.map(|one| one.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn content_takes_its_place_on_its_terms() {
        let both = [Start::Unnamed, Start::Named];
        // What is there and in which mode, the terms, what should be there then.
        type Case = (Option<u32>, Terms, Option<(u32, &'static str)>);
        let cases: &[Case] = &[
            (None, Terms::default(), Some((0o644, "new"))),
            (Some(0o600), Terms::default(), Some((0o600, "new"))),
            (
                Some(0o600),
                Terms {
                    mode: Some(0o4755),
                    only_new: false,
                },
                Some((0o4755, "new")),
            ),
            (
                None,
                Terms {
                    mode: Some(0o777),
                    only_new: true,
                },
                Some((0o777, "new")),
            ),
            (
                Some(0o640),
                Terms {
                    mode: None,
                    only_new: true,
                },
                None,
            ),
        ];
        for start in both {
            for (before, terms, wanted) in cases {
                let root = tempfile::tempdir().unwrap();
                let path = root.path().join("file");
                if let Some(mode) = before {
                    std::fs::write(&path, "old").unwrap();
                    std::fs::set_permissions(&path, PermissionsExt::from_mode(*mode)).unwrap();
                }
                let place = place(&path);
                let mut writer = Writer::open(place.clone(), &slots(root.path()), start).unwrap();
                writer.write(b"ne").unwrap();
                writer.write(b"w").unwrap();
                let done = writer.commit(*terms, &Stop::default());
                match wanted {
                    Some(_) => assert_eq!(done.unwrap().stat.st_size, 3),
                    None => assert_eq!(done.err(), Some(place.failed(Errno::EXIST))),
                }
                let (mode, content) = wanted.unwrap_or((0o640, "old"));
                let now = path.metadata().unwrap().permissions().mode() & 0o7777;
                assert_eq!(now, mode, "{start:?} {before:?} {terms:?}");
                assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
                assert_eq!(names(root.path()), ["file", "pending"]);
            }
        }
    }

    #[test]
    fn what_is_dropped_or_stopped_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        std::fs::write(&path, "old").unwrap();
        let pending = slots(root.path());
        for start in [Start::Unnamed, Start::Named] {
            let mut writer = Writer::open(place(&path), &pending, start).unwrap();
            writer.write(b"new").unwrap();
            drop(writer);
            let writer = Writer::open(place(&path), &pending, start).unwrap();
            let stop = Stop::default();
            stop.set();
            let stopped = writer.commit(Terms::default(), &stop).err();
            assert_eq!(stopped, Some(Error::Stopped));
            assert_eq!(names(root.path()), ["file", "pending"]);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        }
    }

    #[test]
    fn a_file_that_comes_between_is_not_replaced_where_only_new_will_do() {
        let root = tempfile::tempdir().unwrap();
        let pending = slots(root.path());
        for start in [Start::Unnamed, Start::Named] {
            let path = root.path().join(format!("{start:?}"));
            let place = place(&path);
            let mut spool = Spool::open(place.dir(), &pending, start).unwrap();
            std::fs::write(&path, "theirs").unwrap();
            assert_eq!(spool.become_new(place.name()), Err(Errno::EXIST));
            drop(spool);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "theirs");
        }
        assert_eq!(names(root.path()), ["Named", "Unnamed", "pending"]);
    }

    #[test]
    fn appending_needs_a_file_and_keeps_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        assert!(append(&place(&path), b"x", None).unwrap().is_none());
        std::fs::write(&path, "old").unwrap();
        let written = append(&place(&path), b" new", Some(0o600))
            .unwrap()
            .unwrap();
        assert_eq!((written.stat.st_size, written.sha256), (7, None));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old new");
        let dir = place(root.path());
        let refused = append(&dir, b"x", None).err();
        assert_eq!(refused, Some(dir.failed(Errno::ISDIR)));
    }
}
