//! Taking away what was copied: the second half of a move across file systems.
//!
//! Belongs here: removing from the source what its copy shows to be unchanged. Banned here:
//! copying, and removing anything else (`remove`).
//!
//! Both trees are gone through side by side once more. What a command has changed or made in the
//! source since it was copied has no like in the copy, and stays.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Stat, readlinkat, statat, unlinkat};
use rustix::io::Errno;

use crate::copied::Copied;
use crate::ends::{Pinned, Terms, reopened_directory};
use crate::place::{Place, join};
use crate::removal::Cut;
use crate::spool::sync_dir;
use crate::trail::{Trail, open_inner};

/// Failures after which it gives up: they are remembered by name.
const MOST_FAILURES: usize = 10_000;

/// Removes from `source` whatever stands at `copy` just so; the rest is told in the account.
pub(crate) fn take(source: &Place, copy: &Place, terms: &Terms<'_>, account: Copied) -> Copied {
    let mut work = Work {
        source,
        copy,
        terms,
        account,
        from: Trail::default(),
        to: Trail::default(),
        names: Vec::new(),
    };
    work.visit(source.name(), copy.name());
    work.run();
    // Best effort: what is gone is gone, and what is not is told.
    let _ = sync_dir(source.dir());
    work.account
}

struct Work<'a> {
    source: &'a Place,
    copy: &'a Place,
    terms: &'a Terms<'a>,
    account: Copied,
    from: Trail,
    to: Trail,
    names: Vec<Vec<u8>>,
}

impl Work<'_> {
    fn run(&mut self) {
        while !self.names.is_empty() {
            if self.account.cut.is_none() {
                self.account.cut = self.terms.cut();
            }
            if self.account.failures > MOST_FAILURES {
                self.account.cut = Some(Cut::Failing);
            }
            if self.account.cut.is_some() {
                return;
            }
            let step = match self.from.next() {
                Ok(Some(name)) => {
                    self.visit(&name, &name);
                    Ok(())
                }
                Ok(None) => self.ascend(),
                Err(errno) => Err(errno),
            };
            if let Err(errno) = step {
                // Where the way is lost, nothing more is removed.
                self.fail(None, errno);
                self.account.cut = Some(Cut::Failing);
            }
        }
    }

    fn visit(&mut self, name: &[u8], twin: &[u8]) {
        match self.compare(name, twin) {
            Ok(pinned) if pinned.kind() == FileType::Directory => {
                if let Err(errno) = self.descend(&pinned, name, twin) {
                    self.fail(Some(name), errno);
                }
            }
            Ok(_) => self.unlink(name, AtFlags::empty()),
            Err(Errno::NOENT) => {}
            Err(errno) => self.fail(Some(name), errno),
        }
    }

    /// What stands at the name in the source, if its copy is like it: `ESTALE` where it is not.
    fn compare(&self, name: &[u8], twin: &[u8]) -> rustix::io::Result<Pinned> {
        let here = self.from.here().unwrap_or_else(|| self.source.dir());
        let there = self.to.here().unwrap_or_else(|| self.copy.dir());
        let pinned = Pinned::open(here, name)?;
        let stat = match statat(there, twin, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Err(Errno::STALE),
            stat => stat?,
        };
        let is_like = match (pinned.kind(), FileType::from_raw_mode(stat.st_mode)) {
            (FileType::Directory, FileType::Directory) => true,
            (FileType::RegularFile, FileType::RegularFile) => is_same_file(&pinned.stat, &stat),
            (FileType::Symlink, FileType::Symlink) => is_same_link(&pinned, there, twin)?,
            _ => false,
        };
        if is_like {
            Ok(pinned)
        } else {
            Err(Errno::STALE)
        }
    }

    fn descend(&mut self, pinned: &Pinned, name: &[u8], twin: &[u8]) -> rustix::io::Result<()> {
        let from = reopened_directory(pinned)?;
        let there = self.to.here().unwrap_or_else(|| self.copy.dir());
        let to = open_inner(there, twin)?;
        self.to.enter(to)?;
        self.from.enter(from)?;
        self.names.push(name.to_vec());
        Ok(())
    }

    fn ascend(&mut self) -> rustix::io::Result<()> {
        self.from.leave()?;
        self.to.leave()?;
        let Some(name) = self.names.pop() else {
            return Err(Errno::BADF);
        };
        self.unlink(&name, AtFlags::REMOVEDIR);
        Ok(())
    }

    fn unlink(&mut self, name: &[u8], how: AtFlags) {
        let here = self.from.here().unwrap_or_else(|| self.source.dir());
        match unlinkat(here, name, how) {
            Ok(()) => self.account.removed += 1,
            Err(Errno::NOENT) => {}
            // Told already, where something in it had to stay.
            Err(Errno::NOTEMPTY | Errno::EXIST) if self.account.failures > 0 => {}
            Err(errno) => self.fail(Some(name), errno),
        }
    }

    fn fail(&mut self, name: Option<&[u8]>, errno: Errno) {
        let below = self.names.iter().map(Vec::as_slice);
        let path = below
            .chain(name)
            .skip(1)
            .fold(self.source.asked().to_vec(), |path, one| join(&path, one));
        self.account.fail(path, errno);
    }
}

/// The copy has the size and the mtime of its original, as far as its file system keeps them.
fn is_same_file(original: &Stat, copy: &Stat) -> bool {
    let is_coarse = copy.st_mtime_nsec == 0;
    original.st_size == copy.st_size
        && if is_coarse {
            original.st_mtime.abs_diff(copy.st_mtime) < 2
        } else {
            (original.st_mtime, original.st_mtime_nsec) == (copy.st_mtime, copy.st_mtime_nsec)
        }
}

fn is_same_link(original: &Pinned, dir: BorrowedFd<'_>, copy: &[u8]) -> rustix::io::Result<bool> {
    Ok(readlinkat(&original.at, "", Vec::new())? == readlinkat(dir, copy, Vec::new())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::copy;
    use crate::guard::Guard;
    use crate::pending::Pending;
    use crate::place::Links;
    use crate::stop::Stop;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn place(path: &Path) -> Place {
        Place::locate(path.as_os_str().as_bytes(), Links::Keep).unwrap()
    }

    /// Copies `top` to `new`, lets `between` happen, takes; what is left of `top`, sorted.
    fn left_after(between: impl FnOnce(&Path)) -> (Copied, Vec<String>) {
        let root = tempfile::tempdir().unwrap();
        let (top, new) = (root.path().join("top"), root.path().join("new"));
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join("a/b/file"), "x").unwrap();
        std::fs::write(top.join("a/other"), "y").unwrap();
        symlink("a", top.join("link")).unwrap();
        let slots = root.path().join("pending");
        let pending = Pending::open(slots.as_os_str().as_bytes()).unwrap();
        let (guard, stop) = (Guard::default(), Stop::default());
        let terms = Terms {
            guard: &guard,
            pending: &pending,
            stop: &stop,
            deadline: None,
            overwrite: false,
        };
        let account = copy(&place(&top), &place(&new), &terms).unwrap();
        assert!(account.is_whole(), "{account:?}");
        between(&top);
        let account = take(&place(&top), &place(&new), &terms, account);
        let mut left = Vec::new();
        let mut waiting = vec![top.clone()];
        while let Some(one) = waiting.pop() {
            let Ok(told) = one.symlink_metadata() else {
                continue;
            };
            if told.is_dir() {
                waiting.extend(
                    std::fs::read_dir(&one)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            } else {
                let below = one.strip_prefix(&top).unwrap();
                left.push(below.to_str().unwrap().to_owned());
            }
        }
        left.sort();
        (account, left)
    }

    #[test]
    fn all_goes_that_its_copy_is_like() {
        let (account, left) = left_after(|_| {});
        assert_eq!((account.removed, account.failures, left.len()), (6, 0, 0));
    }

    #[test]
    fn what_changed_since_it_was_copied_stays_and_is_told() {
        type Between = fn(&Path);
        let cases: &[(&str, Between, &str)] = &[
            (
                "written to",
                |top| std::fs::write(top.join("a/b/file"), "longer").unwrap(),
                "a/b/file",
            ),
            (
                "written to, as long as before",
                |top| {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    std::fs::write(top.join("a/b/file"), "z").unwrap();
                },
                "a/b/file",
            ),
            (
                "new",
                |top| std::fs::write(top.join("a/b/new"), "").unwrap(),
                "a/b/new",
            ),
            (
                "another link",
                |top| {
                    std::fs::remove_file(top.join("link")).unwrap();
                    symlink("b", top.join("link")).unwrap();
                },
                "link",
            ),
            (
                "a file for a directory",
                |top| {
                    std::fs::remove_dir_all(top.join("a/b")).unwrap();
                    std::fs::write(top.join("a/b"), "").unwrap();
                },
                "a/b",
            ),
        ];
        for (what, between, kept) in cases {
            let (account, left) = left_after(between);
            assert_eq!(left, [*kept], "{what}");
            assert_eq!(account.failures, 1, "{what}");
            assert_eq!(account.errors[0].errno, Errno::STALE, "{what}");
            assert!(account.errors[0].path.ends_with(kept.as_bytes()), "{what}");
        }
    }
}
