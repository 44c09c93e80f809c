//! The bytes of one file into another: shared where the file system can, else copied.
//!
//! Belongs here: the three ways of copying bytes, quickest first. Banned here: names, attributes.
//!
//! Holes stay holes where the file system tells of them. A file whose content is made while it is
//! read (`/proc`) has no size to go by and is read to its end.
//! Source: `ioctl_ficlone(2)`, `copy_file_range(2)`, `lseek(2)`.

use std::os::fd::BorrowedFd;

use rustix::fs::{SeekFrom, copy_file_range, fstat, ftruncate, ioctl_ficlone, seek};
use rustix::io::{Errno, Result, pread, pwrite};

use crate::ends::Terms;
use crate::open::is_made_on_reading;
use crate::removal::Cut;

/// What is asked of the kernel at once: between two pieces the terms are looked at.
const STEP: usize = 8 * 1024 * 1024;
const PIECE: usize = 256 * 1024;

/// Why bytes were not all copied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Cut(Cut),
    /// Reading.
    Unread(Errno),
    /// Writing, or what is both.
    Failed(Errno),
}

impl From<Errno> for Ended {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

fn go_on(terms: &Terms<'_>) -> std::result::Result<(), Ended> {
    terms.cut().map_or(Ok(()), |cut| Err(Ended::Cut(cut)))
}

/// Fills the empty file `to` with the `size` bytes of `from`; how many bytes it has then.
pub(crate) fn duplicate(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    size: u64,
    terms: &Terms<'_>,
) -> std::result::Result<u64, Ended> {
    go_on(terms)?;
    if size == 0 || is_made_on_reading(from) {
        return read_to_end(from, to, terms);
    }
    // Whole files are shared, or none: the errors of file systems that cannot are many.
    if ioctl_ficlone(to, from).is_err() {
        let mut at = 0;
        while at < size {
            let Some((start, end)) = data(from, at, size)? else {
                break;
            };
            copy(from, to, start, end, terms)?;
            at = end;
        }
    }
    // What looks like a hole at the end may be a file that became shorter.
    if u64::try_from(fstat(from)?.st_size).unwrap_or(0) < size {
        return Err(Ended::Unread(Errno::STALE));
    }
    ftruncate(to, size)?;
    Ok(size)
}

/// The next run of bytes that is no hole, within `size`.
fn data(from: BorrowedFd<'_>, at: u64, size: u64) -> Result<Option<(u64, u64)>> {
    let start = match seek(from, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // It does not know holes.
        Err(_) => return Ok(Some((at, size))),
    };
    let end = seek(from, SeekFrom::Hole(start)).unwrap_or(size);
    Ok((start < size).then_some((start, end.clamp(start + 1, size))))
}

fn copy(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    start: u64,
    end: u64,
    terms: &Terms<'_>,
) -> std::result::Result<(), Ended> {
    let (mut read, mut written) = (start, start);
    while read < end {
        go_on(terms)?;
        let length = usize::try_from(end - read).unwrap_or(STEP).min(STEP);
        match copy_file_range(from, Some(&mut read), to, Some(&mut written), length) {
            // It has become shorter, or the kernel says so of what it cannot copy.
            Ok(0) => return plain(from, to, read, end, terms),
            Ok(_) => {}
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => {
                return Err(errno.into());
            }
            // Across file systems, or not at all: then the bytes go through our hands.
            Err(_) => return plain(from, to, read, end, terms),
        }
    }
    Ok(())
}

fn plain(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    start: u64,
    end: u64,
    terms: &Terms<'_>,
) -> std::result::Result<(), Ended> {
    let mut buffer = vec![0; PIECE];
    let mut at = start;
    while at < end {
        go_on(terms)?;
        let most = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        let length = pread(from, &mut buffer[..most], at).map_err(Ended::Unread)?;
        if length == 0 {
            // Shorter by now: the rest would be zeros that nobody wrote.
            return Err(Ended::Unread(Errno::STALE));
        }
        write_all(to, &buffer[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

fn read_to_end(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    terms: &Terms<'_>,
) -> std::result::Result<u64, Ended> {
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    loop {
        go_on(terms)?;
        let length = pread(from, &mut buffer, at).map_err(Ended::Unread)?;
        if length == 0 {
            return Ok(at);
        }
        write_all(to, &buffer[..length], at)?;
        at += length as u64;
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<()> {
    while !bytes.is_empty() {
        let taken = pwrite(to, bytes, at)?;
        bytes = &bytes[taken..];
        at += taken as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Seek, Write};
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    use std::time::Instant;

    use crate::guard::Guard;
    use crate::pending::Pending;
    use crate::stop::Stop;

    type Done = std::result::Result<u64, Ended>;

    /// Does it on such terms.
    fn on<T>(stop: &Stop, deadline: Option<Instant>, work: impl FnOnce(&Terms<'_>) -> T) -> T {
        let root = tempfile::tempdir().unwrap();
        let pending = Pending::open(root.path().as_os_str().as_bytes()).unwrap();
        let guard = Guard::default();
        work(&Terms {
            guard: &guard,
            pending: &pending,
            stop,
            deadline,
            overwrite: false,
        })
    }

    fn copied(from: &File, to: &File, size: u64) -> Done {
        on(&Stop::default(), None, |terms| {
            duplicate(from.as_fd(), to.as_fd(), size, terms)
        })
    }

    #[test]
    fn bytes_and_holes_arrive() {
        let root = tempfile::tempdir().unwrap();
        let from = root.path().join("from");
        let mut file = File::create(&from).unwrap();
        file.write_all(b"begin").unwrap();
        file.seek(std::io::SeekFrom::Start(5_000_000)).unwrap();
        file.write_all(b"middle").unwrap();
        file.set_len(9_000_000).unwrap();
        let to = root.path().join("to");
        let target = File::create(&to).unwrap();
        let source = File::open(&from).unwrap();
        assert_eq!(copied(&source, &target, 9_000_000), Ok(9_000_000));
        assert_eq!(std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap());
        assert!(to.metadata().unwrap().blocks() <= from.metadata().unwrap().blocks() + 16);
    }

    #[test]
    fn what_is_made_on_reading_is_read_to_its_end() {
        let to = tempfile::tempfile().unwrap();
        let source = File::open("/proc/self/mountinfo").unwrap();
        let wanted = std::fs::read("/proc/self/mountinfo").unwrap();
        assert_eq!(copied(&source, &to, 0), Ok(wanted.len() as u64));
    }

    #[test]
    fn each_way_gives_the_same_and_a_file_that_shrank_is_told() {
        let bytes: Vec<u8> = (0..600_000_u32).map(|one| one as u8).collect();
        let mut from = tempfile::tempfile().unwrap();
        from.write_all(&bytes).unwrap();
        let to = tempfile::tempfile().unwrap();
        let size = bytes.len() as u64;
        let plainly = |size| {
            on(&Stop::default(), None, |terms| {
                plain(from.as_fd(), to.as_fd(), 0, size, terms)
            })
        };
        plainly(size).unwrap();
        let mut back = vec![0; bytes.len()];
        pread(&to, &mut back, 0).unwrap();
        assert_eq!(back, bytes);
        assert_eq!(plainly(size + 1), Err(Ended::Unread(Errno::STALE)));
    }

    #[test]
    fn a_file_that_shrank_before_its_first_byte_was_looked_at_is_no_hole() {
        let mut from = tempfile::tempfile().unwrap();
        from.write_all(b"begin").unwrap();
        let to = tempfile::tempfile().unwrap();
        assert_eq!(copied(&from, &to, 5), Ok(5));
        from.set_len(0).unwrap();
        let to = tempfile::tempfile().unwrap();
        assert_eq!(copied(&from, &to, 5), Err(Ended::Unread(Errno::STALE)));
    }

    #[test]
    fn a_set_flag_ends_it_and_so_does_the_deadline() {
        let stop = Stop::default();
        let late = Some(Instant::now());
        let mut from = tempfile::tempfile().unwrap();
        from.write_all(b"text").unwrap();
        let to = tempfile::tempfile().unwrap();
        let copy = |terms: &Terms<'_>| plain(from.as_fd(), to.as_fd(), 0, 4, terms);
        assert_eq!(on(&stop, late, copy), Err(Ended::Cut(Cut::Late)));
        stop.set();
        assert_eq!(on(&stop, None, copy), Err(Ended::Cut(Cut::Stopped)));
    }
}
