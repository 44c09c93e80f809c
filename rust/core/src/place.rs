//! A name in an open directory: where a path leads, held by descriptor.
//!
//! Belongs here: following a path once, so that every later step (looking, locking, replacing,
//! removing) acts on the same directory whatever happens to the path meanwhile. Banned here:
//! changing anything.
//!
//! Source: wire contract, section 2, "Write" (through a symlink) and "Delete" (never through).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::directory::real_path;
use crate::error::{Error, Result};

/// As many symlinks as the kernel follows.
const MOST_LINKS: usize = 40;
/// The kernel's bound for a path, its NUL included.
const PATH_MAX: usize = 4096;

/// What a symlink as the last part of a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// The place is where the link points to; a dangling one leads to a file that is not there.
    Follow,
    /// The place is the link itself.
    Keep,
}

/// The identity of a file on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
}

impl Id {
    /// Whose status this is.
    pub fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
        }
    }
}

/// A name, there or not, in a directory that is held open.
#[derive(Debug)]
pub struct Place {
    dir: OwnedFd,
    name: Vec<u8>,
    asked: Vec<u8>,
}

impl Place {
    /// Where an absolute, normalised path leads.
    ///
    /// # Errors
    /// `ENOENT` where the parent is missing, `ENOTDIR` where it is none, `EISDIR` for the root
    /// and for a link that can only mean a directory, `ELOOP`, `ENAMETOOLONG`, `EACCES`.
    pub fn locate(path: &[u8], links: Links) -> Result<Self> {
        follow(path, links)
            .map(|(dir, name)| Self {
                dir,
                name,
                asked: path.to_vec(),
            })
            .map_err(Error::on(path))
    }

    /// The directory, open as a mere place (`O_PATH`).
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The name in it.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The path as it was asked for: what errors name.
    pub fn asked(&self) -> &[u8] {
        &self.asked
    }

    /// The same for every spelling of the same place, different for any other.
    ///
    /// # Errors
    /// What `fstat` says.
    pub fn key(&self) -> Result<Vec<u8>> {
        let stat = rustix::fs::fstat(&self.dir).map_err(Error::on(&self.asked))?;
        let mut key = format!("{:x}:{:x}/", stat.st_dev, stat.st_ino).into_bytes();
        key.extend_from_slice(&self.name);
        Ok(key)
    }

    /// What stands there now, unfollowed; None where nothing does.
    ///
    /// # Errors
    /// What `fstatat` says, other than `ENOENT`.
    pub fn stat(&self) -> Result<Option<Stat>> {
        match statat(&self.dir, self.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    /// The real path of the place, free of symlinks.
    ///
    /// # Errors
    /// `ENOENT` where `/proc` is not mounted, `ENAMETOOLONG`.
    pub fn real_path(&self) -> Result<Vec<u8>> {
        let dir = real_path(self.dir.as_fd()).map_err(Error::on(&self.asked))?;
        Ok(join(&dir, &self.name))
    }

    /// The error of a call that failed on this place.
    pub fn failed(&self, errno: Errno) -> Error {
        Error::Os {
            errno,
            path: self.asked.clone(),
        }
    }
}

/// `Err` where a status is not a regular file's: `EISDIR`, `ELOOP`, or `ENXIO`.
pub(crate) fn regular(stat: &Stat) -> rustix::io::Result<()> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Errno::ISDIR),
        FileType::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::NXIO),
    }
}

/// `dir/name`.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// The directory part and the last name; None for the root.
pub(crate) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = memchr::memrchr(b'/', path)?;
    let (parent, name) = (&path[..slash], &path[slash + 1..]);
    if name.is_empty() {
        return None;
    }
    Some((if parent.is_empty() { b"/" } else { parent }, name))
}

/// Opens a directory as a mere place.
pub(crate) fn open_place(at: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

fn follow(path: &[u8], links: Links) -> rustix::io::Result<(OwnedFd, Vec<u8>)> {
    if path.len() >= PATH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    let (parent, name) = split(path).ok_or(Errno::ISDIR)?;
    let mut dir = open_place(CWD, parent)?;
    let mut name = name.to_vec();
    for _ in 0..MOST_LINKS {
        match readlinkat(&dir, name.as_slice(), Vec::new()) {
            Ok(target) if links == Links::Follow => {
                (dir, name) = step(dir, target.as_bytes())?;
            }
            Ok(_) | Err(Errno::INVAL | Errno::NOENT) => return Ok((dir, name)),
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::LOOP)
}

/// From a directory to where a link in it points.
fn step(dir: OwnedFd, target: &[u8]) -> rustix::io::Result<(OwnedFd, Vec<u8>)> {
    let (parent, name) = match memchr::memrchr(b'/', target) {
        None => (None, target),
        Some(0) => (Some(&target[..1]), &target[1..]),
        Some(slash) => (Some(&target[..slash]), &target[slash + 1..]),
    };
    if matches!(name, b"" | b"." | b"..") {
        return Err(Errno::ISDIR);
    }
    let next = match parent {
        None => dir,
        Some(parent) => open_place(dir.as_fd(), parent)?,
    };
    Ok((next, name.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_split_and_join() {
        assert_eq!(split(b"/"), None);
        assert_eq!(split(b"/a"), Some((&b"/"[..], &b"a"[..])));
        assert_eq!(split(b"/a/b"), Some((&b"/a"[..], &b"b"[..])));
        assert_eq!(join(b"/", b"a"), b"/a");
        assert_eq!(join(b"/a", b"b"), b"/a/b");
    }

    #[test]
    fn every_spelling_of_a_file_has_one_key() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir_all(at("real/sub")).unwrap();
        std::fs::write(at("real/file"), "x").unwrap();
        symlink("real", at("dir")).unwrap();
        symlink("dir/file", at("relative")).unwrap();
        symlink(at("real/file"), at("absolute")).unwrap();
        symlink("../relative", at("real/chain")).unwrap();
        let key = |name: &str, links| {
            let path = at(name);
            let place = Place::locate(path.as_os_str().as_bytes(), links).unwrap();
            place.key().unwrap()
        };
        let wanted = key("real/file", Links::Follow);
        for name in ["dir/file", "relative", "absolute", "real/chain"] {
            assert_eq!(key(name, Links::Follow), wanted, "{name}");
        }
        assert_ne!(key("relative", Links::Keep), wanted);
        assert_ne!(key("real/sub", Links::Follow), wanted);
    }

    #[test]
    fn what_leads_nowhere_says_why() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::write(at("file"), "x").unwrap();
        for (name, target) in [
            ("loop", "loop"),
            ("up", ".."),
            ("slash", "nothing/"),
            ("root", "/"),
            ("dangling", "nothing"),
            ("lost", "no/thing"),
        ] {
            symlink(target, at(name)).unwrap();
        }
        let long = "n".repeat(256);
        let deep = "d/".repeat(2100);
        let cases = [
            ("loop", Some(Errno::LOOP)),
            ("up", Some(Errno::ISDIR)),
            ("slash", Some(Errno::ISDIR)),
            ("root", Some(Errno::ISDIR)),
            ("lost", Some(Errno::NOENT)),
            ("dangling", None),
            ("new", None),
            ("missing/new", Some(Errno::NOENT)),
            ("file/new", Some(Errno::NOTDIR)),
            (&long, Some(Errno::NAMETOOLONG)),
            (&deep, Some(Errno::NAMETOOLONG)),
        ];
        for (name, wanted) in cases {
            let path = at(name).as_os_str().as_bytes().to_vec();
            let got = match Place::locate(&path, Links::Follow) {
                Ok(_) => None,
                Err(Error::Os { errno, .. }) => Some(errno),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(got, wanted, "{name}");
        }
    }
}
