//! What a replaced file hands on to its successor, and an original to its copy: owner, mode,
//! extended attributes, times.
//!
//! Belongs here: carrying them over before the successor has a name. Banned here: contents.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::fs::{fchmod, fchown, fgetxattr, flistxattr, fsetxattr, futimens, openat};
use rustix::io::Errno;

use crate::place::Place;

/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;
/// The permission bits, setuid, setgid and sticky included.
const PERMISSIONS: u32 = 0o7777;
const LONGEST_LIST: usize = 64 * 1024;
const LONGEST_VALUE: usize = 64 * 1024;

/// Makes `file` the successor of `old`, in `mode` where that is given.
///
/// The owner first, since changing it clears set-id bits; then the attributes, since an access
/// ACL changes the mode; then the mode, which `umask` never cuts. Where the owner may not be
/// kept, set-id bits are not either: they would mean somebody else's rights.
pub(crate) fn carry(
    file: BorrowedFd<'_>,
    place: &Place,
    old: &Stat,
    mode: Option<u32>,
) -> rustix::io::Result<()> {
    let kept = keep_owner(file, old);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(open) = openat(place.dir(), place.name(), flags, Mode::empty()) {
        carry_xattrs(file, open.as_fd(), is_carried);
    }
    let inherited = old.st_mode & PERMISSIONS;
    let asked = mode.is_some();
    let mode = match mode {
        Some(mode) => mode,
        None if kept => inherited,
        None => inherited & !SET_ID,
    };
    set_mode(file, mode, asked)
}

/// Sets permission bits. A file system that has none (FAT, some FUSE) is no reason to fail where
/// nobody `asked` for them.
pub(crate) fn set_mode(file: BorrowedFd<'_>, mode: u32, asked: bool) -> rustix::io::Result<()> {
    match fchmod(file, Mode::from_raw_mode(mode)) {
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) if !asked => Ok(()),
        done => done,
    }
}

fn keep_owner(file: BorrowedFd<'_>, old: &Stat) -> bool {
    let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
    if fchown(file, Some(uid), Some(gid)).is_ok() {
        return true;
    }
    // Not root: the group may still be one of ours.
    let group_kept = fchown(file, None, Some(gid)).is_ok();
    group_kept && rustix::fs::fstat(file).is_ok_and(|now| now.st_uid == old.st_uid)
}

/// Makes a copy, a file or a directory, what its original is; its content must be there already.
///
/// In the order of `carry`, and the times last. A file system that cannot keep times or modes is
/// no reason to fail.
pub(crate) fn imitate(
    copy: BorrowedFd<'_>,
    original: BorrowedFd<'_>,
    stat: &Stat,
) -> rustix::io::Result<()> {
    let kept = keep_owner(copy, stat);
    carry_xattrs(copy, original, is_copied);
    let mode = stat.st_mode & PERMISSIONS;
    set_mode(copy, if kept { mode } else { mode & !SET_ID }, false)?;
    match futimens(copy, &times(stat)) {
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        done => done,
    }
}

/// The times of a status, to be set on a copy.
pub(crate) fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.cast_signed(),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Best effort: a file system without them, or an attribute that may not be set, changes nothing.
fn carry_xattrs(file: BorrowedFd<'_>, old: BorrowedFd<'_>, which: fn(&[u8]) -> bool) {
    let mut names = Vec::with_capacity(LONGEST_LIST);
    if flistxattr(old, rustix::buffer::spare_capacity(&mut names)).is_err() {
        return;
    }
    for name in names.split(|byte| *byte == 0).filter(|one| which(one)) {
        let _ = carry_xattr(old, file, name);
    }
}

/// A copy has the same content, so that capabilities still say what they said. Integrity records
/// name the inode.
fn is_copied(name: &[u8]) -> bool {
    !name.is_empty() && !matches!(name, b"security.ima" | b"security.evm")
}

/// Capabilities and integrity records belong to the content that was replaced: the kernel drops
/// them on any write.
fn is_carried(name: &[u8]) -> bool {
    !name.is_empty()
        && !matches!(
            name,
            b"security.capability" | b"security.ima" | b"security.evm"
        )
}

fn carry_xattr(old: BorrowedFd<'_>, new: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let mut value = Vec::with_capacity(LONGEST_VALUE);
    fgetxattr(old, name, rustix::buffer::spare_capacity(&mut value))?;
    fsetxattr(new, name, &value, XattrFlags::empty())
}
