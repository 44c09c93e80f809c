//! The state of a file, as preconditions see it: its status, and the hash of its bytes.
//!
//! Belongs here: reading the bytes afresh. Banned here: any cache of digests, and comparing.
//! Source: wire contract, section 2, "Write": preconditions hash the bytes afresh.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, Stat, fstat, openat};
use rustix::io::{Errno, read};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::place::{Place, regular};
use crate::read::hex;
use crate::stop::Stop;

const PIECE: usize = 256 * 1024;

/// What stands at a place.
#[derive(Clone, Debug)]
pub struct State {
    /// Its status, unfollowed.
    pub stat: Stat,
    /// SHA-256 of a regular file's bytes, lower-case hex.
    pub sha256: Option<String>,
}

/// What stands at `place` now; None where nothing does.
///
/// # Errors
/// `EACCES` where a file cannot be read, `EIO`; [`crate::error::Error::Stopped`].
pub fn state(place: &Place, stop: &Stop) -> Result<Option<State>> {
    let Some(stat) = place.stat()? else {
        return Ok(None);
    };
    if regular(&stat).is_err() {
        return Ok(Some(State { stat, sha256: None }));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(place.dir(), place.name(), flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(place.failed(errno)),
    };
    let sha256 = Some(digest(place, &file, stop)?);
    let stat = fstat(&file).map_err(|errno| place.failed(errno))?;
    Ok(Some(State { stat, sha256 }))
}

fn digest(place: &Place, file: &OwnedFd, stop: &Stop) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; PIECE];
    loop {
        stop.check()?;
        let length = read(file, &mut buffer).map_err(|errno| place.failed(errno))?;
        if length == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..length]);
    }
}
