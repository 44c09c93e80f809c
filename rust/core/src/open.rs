//! Opening a file to read it, without ever waiting and without touching what is no file.
//!
//! Belongs here: the one way in which contents are opened. Banned here: reading.
//!
//! Opening has side effects on things that are not regular files: a FIFO waits or wakes its
//! writer, a terminal may become the controlling one, a tape rewinds. So the name is resolved
//! with `O_PATH`, which opens nothing, and only a regular file is then opened, through that
//! same descriptor: nothing can be swapped in between.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};

const READING: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// A regular file, open for reading, and what `fstat` says of it. Symlinks are followed.
///
/// # Errors
/// `EISDIR` for a directory, `ENXIO` for a FIFO, a socket or a device, at once; what the
/// system says for the rest.
pub fn open_regular(path: &[u8]) -> Result<(OwnedFd, Stat)> {
    let place =
        fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(Error::on(path))?;
    demand_regular(&place).map_err(Error::on(path))?;
    let file = open_again(&place, path).map_err(Error::on(path))?;
    let stat = demand_regular(&file).map_err(Error::on(path))?;
    Ok((file, stat))
}

/// Opens what `place` (an `O_PATH` descriptor of a regular file) is, by no name.
pub(crate) fn open_again(place: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let through = format!("/proc/self/fd/{}", place.as_raw_fd());
    match fs::open(through, READING, Mode::empty()) {
        // Without /proc the name has to do; what it leads to is looked at once more.
        Err(Errno::NOENT) => fs::open(path, READING, Mode::empty()),
        opened => opened,
    }
}

fn demand_regular(file: &OwnedFd) -> rustix::io::Result<Stat> {
    let stat = fs::fstat(file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(stat),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::NXIO),
    }
}

/// Whether the file's content is made while it is read (`/proc`, `/sys` and their like): its
/// size and times tell nothing, so it has no version that a client could hold on to.
pub fn is_made_on_reading(file: impl AsFd) -> bool {
    fs::fstatfs(file).is_ok_and(|about| MADE_ON_READING.contains(&(about.f_type as u32)))
}

/// Magic numbers of `linux/magic.h`: proc, sysfs, cgroup, cgroup2, debugfs, tracefs,
/// securityfs, bpf, pstore, configfs, selinux.
const MADE_ON_READING: &[u32] = &[
    0x9fa0,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0xcafe_4a11,
    0x6165_676c,
    0x6265_6570,
    0xf97c_ff8c,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    #[test]
    fn what_is_made_on_reading_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let cases = [(path, false), ("/proc/self/status".into(), true)];
        for (path, wanted) in cases {
            let (file, _) = open_regular(path.as_os_str().as_bytes()).unwrap();
            assert_eq!(is_made_on_reading(file), wanted, "{}", path.display());
        }
    }

    fn errno(path: &Path) -> Option<Errno> {
        match open_regular(path.as_os_str().as_bytes()) {
            Err(Error::Os { errno, .. }) => Some(errno),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "x").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("nothing", at("dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        fs::mknodat(fs::CWD, at("fifo"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let cases = [
            (at("file"), None),
            (at("link"), None),
            (at("dangling"), Some(Errno::NOENT)),
            (at("loop"), Some(Errno::LOOP)),
            (at("file/below"), Some(Errno::NOTDIR)),
            (at("fifo"), Some(Errno::NXIO)),
            (at("socket"), Some(Errno::NXIO)),
            (dir.path().to_path_buf(), Some(Errno::ISDIR)),
            ("/dev/null".into(), Some(Errno::NXIO)),
            ("/dev/tty".into(), Some(Errno::NXIO)),
        ];
        for (path, wanted) in cases {
            assert_eq!(errno(&path), wanted, "{}", path.display());
        }
    }
}
