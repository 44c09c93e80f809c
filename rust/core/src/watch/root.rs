//! The watched directory as it was named: whether the name still leads to it.
//!
//! Belongs here: identity of the root, what stands on the way to it. No descriptor of it is kept:
//! an open one would keep a removed directory from being told as removed, and a file system from
//! being unmounted. Banned here: what is below it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use crate::directory::{self, real_path};
use crate::error::{Error, Result};

/// The root.
#[derive(Debug)]
pub(super) struct Root {
    /// As it was asked for.
    pub(super) path: Vec<u8>,
    /// With symlinks resolved.
    pub(super) real: Vec<u8>,
    identity: (u64, u64),
}

impl Root {
    /// The directory at `path`, and a descriptor of it.
    pub(super) fn open(path: &[u8]) -> Result<(Self, OwnedFd)> {
        let fd = directory::open_root(path).map_err(Error::on(path))?;
        let root = Self {
            path: path.to_vec(),
            real: real_path(fd.as_fd()).unwrap_or_else(|_| path.to_vec()),
            identity: identity(&fd).map_err(Error::on(path))?,
        };
        Ok((root, fd))
    }

    /// A descriptor of the directory; `None` where its name leads elsewhere, or nowhere.
    ///
    /// # Errors
    /// Where that cannot be told for want of something: see [`is_scarce`].
    pub(super) fn again(&self) -> Result<Option<OwnedFd>> {
        let fd = match directory::open_root(&self.path) {
            Ok(fd) => fd,
            Err(errno) if is_scarce(errno) => return Err(Error::on(&self.path)(errno)),
            Err(_) => return Ok(None),
        };
        let is_same = identity(&fd) == Ok(self.identity);
        // Also where a symlink to it has taken its name: it was renamed.
        let is_there = is_same && real_path(fd.as_fd()).is_ok_and(|real| real == self.real);
        Ok(is_there.then_some(fd))
    }

    /// The path of what lies at `rel`.
    pub(super) fn join(&self, rel: &[u8]) -> Vec<u8> {
        match (self.path.as_slice(), rel) {
            (path, b"") => path.to_vec(),
            (b"/", rel) => [b"/", rel].concat(),
            (path, rel) => [path, b"/", rel].concat(),
        }
    }

    /// What lies on the way, each with whether the root's last name stands in it: where one of
    /// these goes, the name may lead elsewhere.
    pub(super) fn way(&self) -> Vec<(Vec<u8>, bool)> {
        let mut found: Vec<(Vec<u8>, bool)> = Vec::new();
        for path in [&self.path, &self.real] {
            let parent = parent_of(path);
            found.extend(prefixes(path).into_iter().map(|one| {
                let is_parent = one == parent;
                (one, is_parent)
            }));
            if parent == b"/" {
                found.push((b"/".to_vec(), true));
            }
        }
        found
    }

    /// Whether the root's own name, as spelled or as it really is, is `name`.
    pub(super) fn is_called(&self, name: &[u8]) -> bool {
        [&self.path, &self.real]
            .iter()
            .any(|path| path.rsplit(|byte| *byte == b'/').next() == Some(name))
    }
}

/// Whether a call failed for want of descriptors or memory: it says nothing of what it asked for.
pub(super) fn is_scarce(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

fn identity(fd: &OwnedFd) -> rustix::io::Result<(u64, u64)> {
    rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

fn parent_of(path: &[u8]) -> &[u8] {
    match memchr::memrchr(b'/', path) {
        Some(0) | None => b"/",
        Some(cut) => &path[..cut],
    }
}

/// The path and those above it, the file system's root aside.
fn prefixes(path: &[u8]) -> Vec<Vec<u8>> {
    let cuts = memchr::memchr_iter(b'/', path).filter(|cut| *cut > 0);
    cuts.chain([path.len()])
        .map(|end| path[..end].to_vec())
        .filter(|prefix| prefix != b"/")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_root_is_each_name_on_it() {
        let told = |path: &[u8]| -> Vec<String> {
            let lossy = |one: Vec<u8>| String::from_utf8(one).unwrap();
            prefixes(path).into_iter().map(lossy).collect()
        };
        assert_eq!(told(b"/"), Vec::<String>::new());
        assert_eq!(told(b"/a"), ["/a"]);
        assert_eq!(told(b"/a/b/c"), ["/a", "/a/b", "/a/b/c"]);
    }

    #[test]
    fn a_root_is_known_again_until_its_name_leads_elsewhere() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("root");
        std::fs::create_dir(&path).unwrap();
        let bytes = path.as_os_str().as_encoded_bytes();
        let (root, _) = Root::open(bytes).unwrap();
        assert!(root.again().unwrap().is_some());
        assert_eq!(root.join(b"a"), [bytes, b"/a"].concat());
        std::fs::rename(&path, place.path().join("moved")).unwrap();
        assert!(root.again().unwrap().is_none());
        std::os::unix::fs::symlink(place.path().join("moved"), &path).unwrap();
        assert!(root.again().unwrap().is_none());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(root.again().unwrap().is_none());
    }
}
