//! What the kernel can tell at once: no disk, no network and no other process is asked.
//!
//! Belongs here: the calls that answer from memory or not at all, so that the event loop may
//! make them itself; a visit to a thread costs a quarter of a small request. Banned here:
//! waiting. Whoever gets `EAGAIN` asks again in a thread.
//!
//! Names are resolved with `RESOLVE_CACHED` (openat2(2), Linux 5.12), data is read with
//! `RWF_NOWAIT` (preadv2(2)). Only file systems on a block device are trusted: FUSE and those
//! of the network ask somebody who may never answer.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, StatxFlags};
use rustix::io::{self, Errno, ReadWriteFlags};

use crate::error::{Error, Result};
use crate::open::open_again;

/// An `O_PATH` descriptor for `fstat`, of anything but a symlink, whose target may have to be
/// fetched.
///
/// # Errors
/// `EAGAIN` whatever the reason: asking in a thread tells which.
pub fn find(path: &[u8]) -> Result<OwnedFd> {
    let look = || {
        let place = resolve(path, OFlags::NOFOLLOW)?;
        match FileType::from_raw_mode(local_stat(&place)?.st_mode) {
            FileType::Symlink => Err(Errno::AGAIN),
            _ => Ok(place),
        }
    };
    look().map_err(|_: Errno| Error::on(path)(Errno::AGAIN))
}

/// [`crate::open::open_regular`], at once.
///
/// # Errors
/// `EAGAIN` whatever the reason: asking in a thread tells which.
pub fn open_regular(path: &[u8]) -> Result<(OwnedFd, Stat)> {
    let open = || {
        let place = resolve(path, OFlags::empty())?;
        let stat = local_stat(&place)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((open_again(&place, path)?, stat)),
            _ => Err(Errno::AGAIN),
        }
    };
    open().map_err(|_: Errno| Error::on(path)(Errno::AGAIN))
}

/// Reads what is in the page cache.
///
/// # Errors
/// `EAGAIN` where it is not, or the file system cannot tell.
pub fn read_at(file: impl AsFd, room: &mut [u8], offset: u64) -> io::Result<usize> {
    io::preadv2(
        file,
        &mut [IoSliceMut::new(room)],
        offset,
        ReadWriteFlags::NOWAIT,
    )
    .map_err(|_| Errno::AGAIN)
}

fn resolve(path: &[u8], more: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | more;
    fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)
}

fn local_stat(place: &OwnedFd) -> io::Result<Stat> {
    // The device is asked for with `DONT_SYNC`, which even FUSE answers from memory.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let about = fs::statx(place, c"", flags, StatxFlags::TYPE)?;
    if about.stx_dev_major == 0 {
        return Err(Errno::AGAIN);
    }
    fs::fstat(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn an_answer_is_the_true_one_or_try_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "content").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        for path in [
            at("file"),
            at("link"),
            at("nothing"),
            dir.path().into(),
            "/proc/1".into(),
        ] {
            let bytes = path.as_os_str().as_bytes();
            let again = Error::on(bytes)(Errno::AGAIN);
            match (find(bytes), fs::lstat(bytes)) {
                (Ok(found), Ok(true_one)) => {
                    let told = fs::fstat(found).unwrap();
                    assert_eq!(
                        (told.st_ino, told.st_size),
                        (true_one.st_ino, true_one.st_size)
                    );
                }
                (told, _) => assert_eq!(told.unwrap_err(), again),
            }
            match open_regular(bytes) {
                Ok((file, stat)) => {
                    let mut room = [0; 100];
                    assert_eq!(stat.st_size, 7);
                    assert!(matches!(
                        read_at(&file, &mut room, 0),
                        Ok(7) | Err(Errno::AGAIN)
                    ));
                }
                Err(error) => assert_eq!(error, again),
            }
        }
    }

    #[test]
    fn proc_and_symlinks_are_for_a_thread() {
        for path in [&b"/proc/self/status"[..], b"/proc/self"] {
            assert_eq!(find(path).unwrap_err(), Error::on(path)(Errno::AGAIN));
        }
    }
}
