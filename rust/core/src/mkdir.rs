//! Making a directory with its parents, each made to last.
//!
//! Belongs here: the steps from the root down. Banned here: removing what was made when a
//! later step fails (somebody may use it already).
//! Source: wire contract, section 2, "Mkdir" and "Write" (`create_dirs`).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, fchmod, fstat, mkdirat, openat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::place::open_place;
use crate::spool::sync_dir;

/// The mode of parents, and of the directory itself where none was asked for.
pub const NEW_DIRECTORY: u32 = 0o755;
const SET_GROUP_ID: u32 = 0o2000;

/// Makes sure that the directory `path` (absolute, normalised) is there; whether it was made.
///
/// `mode` is given to the directory itself, exactly, where it is made; one that was there keeps
/// its own. A set-group-id bit that a new directory inherits stays.
///
/// # Errors
/// `ENOTDIR` where a file stands in the way, `EACCES`, `EROFS`, `ENOSPC`, `ENAMETOOLONG`.
pub fn make_dirs(path: &[u8], mode: u32) -> Result<bool> {
    if open_place(CWD, path).is_ok() {
        return Ok(false);
    }
    make_missing(path, mode).map_err(Error::on(path))
}

fn make_missing(path: &[u8], mode: u32) -> rustix::io::Result<bool> {
    // The kernel would refuse the whole, and nothing below could be reached by its path.
    if path.len() >= 4096 {
        return Err(Errno::NAMETOOLONG);
    }
    let names: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
        .collect();
    let mut dir = open_place(CWD, b"/")?;
    let mut made = false;
    for (index, name) in names.iter().enumerate() {
        let is_last = index + 1 == names.len();
        (dir, made) = enter(&dir, name, if is_last { mode } else { NEW_DIRECTORY })?;
    }
    Ok(made)
}

/// The directory `name` in `dir`, made where it is missing.
fn enter(dir: &OwnedFd, name: &[u8], mode: u32) -> rustix::io::Result<(OwnedFd, bool)> {
    match open_place(dir.as_fd(), name) {
        Err(Errno::NOENT) => {}
        found => return found.map(|inner| (inner, false)),
    }
    match mkdirat(dir, name, Mode::RWXU) {
        Ok(()) => {}
        // Somebody was quicker; or a link that leads nowhere stands in the way.
        Err(Errno::EXIST) => {
            return match open_place(dir.as_fd(), name) {
                Err(Errno::NOENT) => Err(Errno::NOTDIR),
                found => found.map(|inner| (inner, false)),
            };
        }
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = openat(dir, name, flags, Mode::empty())?;
    let inherited = fstat(&inner)?.st_mode & SET_GROUP_ID;
    fchmod(&inner, Mode::from_raw_mode(mode | inherited))?;
    sync_dir(dir.as_fd())?;
    Ok((inner, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn makes_what_is_missing_and_says_what_is_in_the_way() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::write(at("file"), "x").unwrap();
        std::fs::create_dir(at("real")).unwrap();
        symlink("real", at("link")).unwrap();
        symlink("nothing", at("dangling")).unwrap();
        let cases = [
            ("a/b/c", 0o700, Ok(true)),
            ("a/b/c", 0o755, Ok(false)),
            ("link/x", 0o1777, Ok(true)),
            ("link", 0o700, Ok(false)),
            ("file", 0o755, Err(Errno::NOTDIR)),
            ("file/x", 0o755, Err(Errno::NOTDIR)),
            ("dangling", 0o755, Err(Errno::NOTDIR)),
            ("dangling/x", 0o755, Err(Errno::NOTDIR)),
        ];
        for (name, mode, wanted) in cases {
            let path = at(name);
            let got = make_dirs(path.as_os_str().as_bytes(), mode);
            match wanted {
                Ok(made) => assert_eq!(got, Ok(made), "{name}"),
                Err(errno) => {
                    assert_eq!(
                        got,
                        Err(Error::on(path.as_os_str().as_bytes())(errno)),
                        "{name}"
                    );
                }
            }
        }
        let mode = |name: &str| at(name).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(
            (mode("a"), mode("a/b"), mode("a/b/c")),
            (0o755, 0o755, 0o700)
        );
        assert_eq!(mode("real/x"), 0o1777);
    }
}
