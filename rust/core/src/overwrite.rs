//! Overwriting a file in place, where nothing can take its place.
//!
//! Belongs here: mount points, and the kernel's own variables in `/proc` and `/sys`. Banned here:
//! everything that can be replaced (`write`): a crash in the middle of this leaves a mixture.
//!
//! Source: wire contract, section 2, "Write": `"atomic":false`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    FallocateFlags, Mode, OFlags, fallocate, fchmod, fstat, fsync, ftruncate, openat,
};
use rustix::io::{Errno, Result, pread, write};

use crate::place::{Place, regular};

const PIECE: usize = 256 * 1024;

/// What is to stand in the file.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    /// Where it is spooled.
    pub(crate) file: BorrowedFd<'a>,
    /// How many bytes it has.
    pub(crate) size: u64,
    /// The mode that was asked for.
    pub(crate) mode: Option<u32>,
}

/// Overwrites a mount point. A disk without room is met before the first byte changes.
pub(crate) fn overwrite(place: &Place, content: Content<'_>) -> Result<()> {
    let target = open(place, OFlags::empty())?;
    reserve(&target, 0, content.size)?;
    copy(content.file, &target)?;
    ftruncate(&target, content.size)?;
    if let Some(mode) = content.mode {
        fchmod(&target, Mode::from_raw_mode(mode))?;
    }
    fsync(&target)
}

/// Hands the content to one of the kernel's variables, in one write where it fits a piece.
pub(crate) fn overwrite_variable(place: &Place, content: Content<'_>) -> Result<()> {
    copy(content.file, &open(place, OFlags::TRUNC)?)
}

fn open(place: &Place, more: OFlags) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = flags | OFlags::CLOEXEC | more;
    let target = openat(place.dir(), place.name(), flags, Mode::empty())?;
    regular(&fstat(&target)?)?;
    Ok(target)
}

/// Takes the room beforehand, so that a full disk is met before the first byte changes.
pub(crate) fn reserve(file: impl AsFd, from: u64, length: u64) -> Result<()> {
    if length == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, from, length) {
        Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(errno),
        // Not every file system can; then the write itself must tell.
        _ => Ok(()),
    }
}

fn copy(from: BorrowedFd<'_>, to: impl AsFd) -> Result<()> {
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
