//! Appending to a file: with `O_APPEND`, durably, and not at all where there is no room.
//!
//! Belongs here: the one write. Banned here: making the file (`write` does, atomically) and
//! locks. Source: wire contract, section 2, "Write".

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, fchmod, fstat, fsync, ftruncate, openat};
use rustix::io::{Errno, write};

use crate::error::Result;
use crate::overwrite::reserve;
use crate::place::{Place, regular};
use crate::write::Written;

/// Appends `bytes` to the file at `place`; None where there is none.
///
/// # Errors
/// `EISDIR`, `ENXIO`, `EACCES`, `ELOOP`; `ENOSPC` or `EDQUOT` with the file as it was.
pub fn append(place: &Place, bytes: &[u8], mode: Option<u32>) -> Result<Option<Written>> {
    let Some(stat) = place.stat()? else {
        return Ok(None);
    };
    // Looked at before it is opened: opening a device can have effects.
    regular(&stat).map_err(|errno| place.failed(errno))?;
    match appended(place, bytes, mode) {
        Ok(written) => Ok(Some(written)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(place.failed(errno)),
    }
}

fn appended(place: &Place, bytes: &[u8], mode: Option<u32>) -> rustix::io::Result<Written> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = flags | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(place.dir(), place.name(), flags, Mode::empty())?;
    let before = fstat(&file)?;
    regular(&before)?;
    let size = u64::try_from(before.st_size).unwrap_or(0);
    reserve(&file, size, bytes.len() as u64)?;
    write_whole(&file, bytes, size)?;
    if let Some(mode) = mode {
        fchmod(&file, Mode::from_raw_mode(mode))?;
    }
    fsync(&file)?;
    Ok(Written {
        stat: fstat(&file)?,
        atomic: true,
        sha256: None,
    })
}

/// One write, as a rule. Where room runs out in the middle, what was added is taken away again,
/// unless somebody else has appended since.
fn write_whole(file: &OwnedFd, bytes: &[u8], before: u64) -> rustix::io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match write(file, &bytes[done..]) {
            Ok(taken) => done += taken,
            Err(Errno::INTR) => {}
            Err(errno) => {
                let ours = before + done as u64;
                if fstat(file).is_ok_and(|now| u64::try_from(now.st_size) == Ok(ours)) {
                    let _ = ftruncate(file, before);
                }
                return Err(errno);
            }
        }
    }
    Ok(())
}
