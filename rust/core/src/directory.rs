//! Directories by descriptor: opening them below a root without following a link, reading
//! their names, asking for what an entry is.
//!
//! Belongs here: the system calls of a walk. Banned here: rules, output, order.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags};
use rustix::io::{Errno, Result};

use crate::rules::Seen;
use crate::scratch::Scratch;

/// How many bytes of names one [`read_names`] collects before it stops between two system
/// calls: a directory of a million files is read in steps.
const ENOUGH: usize = 64 * 1024;
/// The longest path handed to the kernel at once, below its PATH_MAX of 4,096.
const LONGEST_HOP: usize = 4000;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, never followed.
    Symlink,
    /// A socket, FIFO or device.
    Other,
}

impl Kind {
    /// The word on the wire.
    pub fn word(self) -> &'static [u8] {
        match self {
            Self::File => b"file",
            Self::Directory => b"directory",
            Self::Symlink => b"symlink",
            Self::Other => b"other",
        }
    }

    fn of(kind: FileType) -> Option<Self> {
        match kind {
            FileType::RegularFile => Some(Self::File),
            FileType::Directory => Some(Self::Directory),
            FileType::Symlink => Some(Self::Symlink),
            FileType::Unknown => None,
            _ => Some(Self::Other),
        }
    }
}

/// Names read from a directory, packed, in the file system's order.
#[derive(Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
    index: Vec<(u32, Option<Kind>)>,
    seen: Seen,
}

impl Names {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The name at `at`, and what the directory said that it is, if it did.
    pub fn get(&self, at: usize) -> (&CStr, Option<Kind>) {
        let (start, kind) = self.index[at];
        let end = self
            .index
            .get(at + 1)
            .map_or(self.bytes.len(), |next| next.0 as usize);
        let name = CStr::from_bytes_with_nul(&self.bytes[start as usize..end]);
        (name.unwrap_or_default(), kind)
    }

    /// Which of the names that matter to the rules are among them.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// Gives back the room that larger directories took.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.index.shrink_to_fit();
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
        self.seen = Seen::default();
    }

    fn push(&mut self, name: &CStr, kind: FileType) {
        let start = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        self.index.push((start, Kind::of(kind)));
        match name.to_bytes() {
            b".git" => self.seen.git = true,
            b".gitignore" => self.seen.gitignore = true,
            _ => {}
        }
    }
}

/// Reads the next names into `scratch.names`; true when these were the last.
///
/// It stops only between two system calls, where the descriptor's own position is the place
/// to go on from: no file system's seek is relied upon. A directory that was removed since it
/// was opened is at its end: what vanishes is no error.
pub fn read_names(fd: BorrowedFd<'_>, scratch: &mut Scratch) -> Result<bool> {
    let (room, names) = scratch.dirents();
    names.clear();
    let mut entries = RawDir::new(fd, room);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::NOENT) => return Ok(true),
            other => other?,
        };
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name, entry.file_type());
        }
        if names.bytes.len() >= ENOUGH && entries.is_buffer_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Asks for the names that matter to the rules, in a directory that was not read to its end.
pub fn probe(fd: BorrowedFd<'_>) -> Seen {
    let is_there = |name| rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    Seen {
        gitignore: is_there(c".gitignore"),
        git: is_there(c".git"),
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// Never blocks on a FIFO, never becomes a controlling terminal.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Opens the directory that a caller named, absolute; it may be, or lie behind, a symlink.
pub fn open_root(path: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at: Option<OwnedFd> = None;
    let mut rest = path;
    while rest.len() > LONGEST_HOP {
        let cut = memchr::memrchr(b'/', &rest[..LONGEST_HOP]).filter(|cut| *cut > 0);
        let (hop, after) = rest.split_at(cut.ok_or(Errno::NAMETOOLONG)?);
        let from = at.as_ref().map_or(rustix::fs::CWD, AsFd::as_fd);
        at = Some(rustix::fs::openat(
            from,
            hop,
            flags | OFlags::PATH,
            Mode::empty(),
        )?);
        rest = &after[1..];
    }
    let from = at.as_ref().map_or(rustix::fs::CWD, AsFd::as_fd);
    rustix::fs::openat(from, rest, flags, Mode::empty())
}

/// Opens the directory at `rel` below `root` (empty: `root` itself, with a position of its
/// own). No part of `rel` may be a symlink, also not one that was swapped in.
pub fn open_directory(root: BorrowedFd<'_>, rel: &[u8]) -> Result<OwnedFd> {
    if rel.is_empty() {
        return open_below(root, b".", DIRECTORY);
    }
    let (hops, last) = hop_down(root, rel)?;
    open_below(hops.as_ref().map_or(root, AsFd::as_fd), last, DIRECTORY)
}

/// Opens the directory at `rel` below `root` as a mere place (`O_PATH`), as [`open_directory`]
/// does.
pub fn open_place_below(root: BorrowedFd<'_>, rel: &[u8]) -> Result<OwnedFd> {
    if rel.is_empty() {
        return open_below(root, b".", DIRECTORY | OFlags::PATH);
    }
    let (hops, last) = hop_down(root, rel)?;
    let from = hops.as_ref().map_or(root, AsFd::as_fd);
    open_below(from, last, DIRECTORY | OFlags::PATH)
}

/// Opens the file at `rel` below `root` for reading, as [`open_directory`] does.
pub fn open_file(root: BorrowedFd<'_>, rel: &[u8]) -> Result<OwnedFd> {
    let (hops, last) = hop_down(root, rel)?;
    open_below(hops.as_ref().map_or(root, AsFd::as_fd), last, FILE)
}

/// Opens the file `name` of a directory for reading.
pub fn open_entry(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    rustix::fs::openat(directory, name, FILE, Mode::empty())
}

/// Paths longer than the kernel takes at once are walked in hops: the descriptor to go on
/// from, if any, and the rest.
fn hop_down<'p>(root: BorrowedFd<'_>, rel: &'p [u8]) -> Result<(Option<OwnedFd>, &'p [u8])> {
    let mut at: Option<OwnedFd> = None;
    let mut rest = rel;
    while rest.len() > LONGEST_HOP {
        let cut = memchr::memrchr(b'/', &rest[..LONGEST_HOP]).ok_or(Errno::NAMETOOLONG)?;
        let from = at.as_ref().map_or(root, AsFd::as_fd);
        at = Some(open_below(from, &rest[..cut], DIRECTORY | OFlags::PATH)?);
        rest = &rest[cut + 1..];
    }
    Ok((at, rest))
}

/// Set where the kernel, or a sandbox, does not know `openat2`.
static WITHOUT_OPENAT2: AtomicBool = AtomicBool::new(false);

fn open_below(from: BorrowedFd<'_>, rel: &[u8], flags: OFlags) -> Result<OwnedFd> {
    if !WITHOUT_OPENAT2.load(Ordering::Relaxed) {
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(from, rel, flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS) => WITHOUT_OPENAT2.store(true, Ordering::Relaxed),
            // So older sandboxes refuse what they do not know; if it is the file, the slow way
            // will say so too.
            Err(Errno::PERM) => {}
            other => return other,
        }
    }
    let mut at: Option<OwnedFd> = None;
    let mut parts = rel.split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let flags = if last {
            flags
        } else {
            DIRECTORY | OFlags::PATH
        };
        let from = at.as_ref().map_or(from, AsFd::as_fd);
        at = Some(rustix::fs::openat(from, part, flags, Mode::empty())?);
    }
    at.ok_or(Errno::NOENT)
}

/// What `statx` tells of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Bytes; 0 for a symlink.
    pub size: u64,
    /// Modification time, whole seconds since 1970.
    pub modified: i64,
    /// What the file's digest is kept by.
    pub state: FileState,
}

/// A file in one state: as long as nothing of this changes, neither did its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileState {
    /// Device, major and minor.
    pub device: (u32, u32),
    /// Inode.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Modification time, ns since 1970 (it wraps in 2262; only equality counts).
    pub modified: i64,
    /// Change time, ns since 1970.
    pub changed: i64,
}

const ALL: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::SIZE)
    .union(StatxFlags::MTIME)
    .union(StatxFlags::CTIME)
    .union(StatxFlags::INO);

/// Asks for an entry by name, or with an empty name for `fd` itself. Symlinks are not followed.
pub fn stat(fd: BorrowedFd<'_>, name: &CStr) -> Result<Meta> {
    let mut flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
    if name.is_empty() {
        flags |= AtFlags::EMPTY_PATH;
    }
    rustix::fs::statx(fd, name, flags, ALL).map(|told| meta_of(&told))
}

fn meta_of(told: &Statx) -> Meta {
    let kind = FileType::from_raw_mode(u32::from(told.stx_mode));
    let kind = Kind::of(kind).unwrap_or(Kind::Other);
    let ns = |seconds: i64, ns: u32| seconds.wrapping_mul(1_000_000_000).wrapping_add(ns.into());
    Meta {
        kind,
        size: if kind == Kind::Symlink {
            0
        } else {
            told.stx_size
        },
        modified: told.stx_mtime.tv_sec,
        state: FileState {
            device: (told.stx_dev_major, told.stx_dev_minor),
            inode: told.stx_ino,
            size: told.stx_size,
            modified: ns(told.stx_mtime.tv_sec, told.stx_mtime.tv_nsec),
            changed: ns(told.stx_ctime.tv_sec, told.stx_ctime.tv_nsec),
        },
    }
}

/// The path of an open descriptor as the kernel has it, symlinks resolved.
pub fn real_path(fd: BorrowedFd<'_>) -> Result<Vec<u8>> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::readlink(link, Vec::new()).map(std::ffi::CString::into_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names_of(fd: BorrowedFd<'_>) -> Vec<String> {
        let mut scratch = Scratch::default();
        let mut found = Vec::new();
        loop {
            let last = read_names(fd, &mut scratch).unwrap();
            let names = &scratch.names;
            found.extend((0..names.len()).map(|at| names.get(at).0.to_str().unwrap().to_owned()));
            if last {
                found.sort();
                return found;
            }
        }
    }

    fn root_of(place: &std::path::Path) -> OwnedFd {
        rustix::fs::open(place, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn many_names_are_read_in_steps_and_none_is_lost() {
        let place = tempfile::tempdir().unwrap();
        for number in 0..5000 {
            std::fs::write(place.path().join(format!("{number:0100}")), "").unwrap();
        }
        let root = root_of(place.path());
        assert_eq!(names_of(root.as_fd()).len(), 5000);
        let again = open_directory(root.as_fd(), b"").unwrap();
        assert_eq!(names_of(again.as_fd()).len(), 5000);
    }

    #[test]
    fn a_directory_that_was_removed_since_it_was_opened_is_at_its_end() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("gone")).unwrap();
        let root = root_of(place.path());
        let gone = open_directory(root.as_fd(), b"gone").unwrap();
        std::fs::remove_dir(place.path().join("gone")).unwrap();
        assert_eq!(names_of(gone.as_fd()), Vec::<String>::new());
    }

    #[test]
    fn no_part_of_a_path_may_be_a_link() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("a/b")).unwrap();
        std::fs::write(place.path().join("a/b/file"), "x").unwrap();
        symlink("a", place.path().join("link")).unwrap();
        symlink("b", place.path().join("a/link")).unwrap();
        let root = root_of(place.path());
        for forced in [false, true] {
            WITHOUT_OPENAT2.store(forced, Ordering::Relaxed);
            assert!(open_directory(root.as_fd(), b"a/b").is_ok());
            assert!(open_file(root.as_fd(), b"a/b/file").is_ok());
            assert!(open_directory(root.as_fd(), b"link/b").is_err());
            assert!(open_directory(root.as_fd(), b"a/link").is_err());
            assert!(open_file(root.as_fd(), b"link/b/file").is_err());
        }
        WITHOUT_OPENAT2.store(false, Ordering::Relaxed);
    }

    #[test]
    fn paths_longer_than_the_kernel_takes_are_walked_in_hops() {
        let place = tempfile::tempdir().unwrap();
        let name = "n".repeat(200);
        let root = root_of(place.path());
        let mut at = root.try_clone().unwrap();
        for _ in 0..50 {
            rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
            at = open_directory(at.as_fd(), name.as_bytes()).unwrap();
        }
        let rel = vec![name.as_str(); 50].join("/");
        assert!(rel.len() > 10_000);
        assert!(open_directory(root.as_fd(), rel.as_bytes()).is_ok());
    }
}
