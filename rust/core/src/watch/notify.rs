//! The system's notices of change: the trait that the engine is written against, and inotify.
//!
//! Belongs here: system calls, masks, what one raw notice is. Banned here: paths of a tree, rules,
//! who owns a watch. Another source (fanotify, a test's) is one more implementation.
//!
//! Source: inotify(7). A directory is watched by its descriptor, so that the one that is watched is
//! the one that is read, whatever happens to its name meanwhile. The kernel takes only paths: a
//! thread with a working directory of its own ([`step_aside`]) steps in and watches `.`; others
//! watch `/proc/self/fd/N`, which costs three times as much (a tree of 10,000 directories, beside
//! its reading: 75 ms and 220).

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::{Errno, Result};
use rustix::process::{chdir, fchdir};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// What happened, as the system names it.
pub(super) type Mask = ReadFlags;

/// One notice.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    /// Which watch.
    pub(super) wd: i32,
    pub(super) mask: Mask,
    /// The name in the watched directory; empty where it is about the directory itself.
    pub(super) name: Box<[u8]>,
}

/// A source of notices.
pub(super) trait Notifier: Send + Sync {
    /// Watches the directory open as `directory`; the same one has the same number. `is_inside`
    /// where this thread has stepped into it.
    fn watch(&self, directory: BorrowedFd<'_>, is_inside: bool) -> Result<i32>;
    /// Watches what stands at `path` (no symlink followed) for being moved or removed only, with
    /// `is_parent` also for names that go from it.
    fn guard(&self, path: &[u8], is_parent: bool) -> Result<i32>;
    /// Ends a watch; one that is over already is no error.
    fn unwatch(&self, wd: i32);
    /// Readable when there are notices.
    fn event(&self) -> BorrowedFd<'_>;
    /// Hands over what there is, without waiting.
    fn read(&self, room: &mut [MaybeUninit<u8>], found: &mut Vec<Raw>);
}

const ABOUT_ITSELF: WatchFlags = WatchFlags::DELETE_SELF.union(WatchFlags::MOVE_SELF);

const DIRECTORY: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVE)
    .union(ABOUT_ITSELF)
    // What has no name any more changes unseen.
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR);

/// Adds to what another watcher may want of the same inode.
const GUARD: WatchFlags = ABOUT_ITSELF
    .union(WatchFlags::MASK_ADD)
    .union(WatchFlags::DONT_FOLLOW);

/// A removed directory that somebody still has open tells nothing itself; its parent does.
const PARENT: WatchFlags = GUARD
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM);

thread_local! {
    /// Whether this thread's working directory is its own.
    static IS_ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Gives this thread a working directory of its own, where the system allows it.
pub(super) fn step_aside() {
    // SAFETY: the file descriptors stay shared; what is parted (working directory, root, umask)
    // no memory depends on, and this thread neither makes files nor takes relative paths.
    let parted = unsafe { unshare_unsafe(UnshareFlags::FS) };
    IS_ASIDE.set(parted.is_ok());
}

/// Steps into a directory; whether this thread has. Refused where it may be read and not entered.
/// It may ask a file system that hangs: no lock is held meanwhile.
pub(super) fn step_in(directory: BorrowedFd<'_>) -> bool {
    IS_ASIDE.get() && fchdir(directory).is_ok()
}

/// Steps out of the directory that was watched last: who stands in a directory keeps it from being
/// unmounted, and from being told as removed.
pub(super) fn step_out() {
    if IS_ASIDE.get() {
        let _ = chdir("/");
    }
}

/// The kernel's inotify.
pub(super) struct Inotify(OwnedFd);

impl Inotify {
    pub(super) fn new() -> Result<Self> {
        inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map(Self)
    }
}

impl Notifier for Inotify {
    fn watch(&self, directory: BorrowedFd<'_>, is_inside: bool) -> Result<i32> {
        if is_inside {
            return inotify::add_watch(&self.0, c".", DIRECTORY);
        }
        let place = format!("/proc/self/fd/{}", directory.as_raw_fd());
        inotify::add_watch(&self.0, place, DIRECTORY)
    }

    fn guard(&self, path: &[u8], is_parent: bool) -> Result<i32> {
        inotify::add_watch(&self.0, path, if is_parent { PARENT } else { GUARD })
    }

    fn unwatch(&self, wd: i32) {
        // EINVAL where the kernel ended it with the inode.
        let _ = inotify::remove_watch(&self.0, wd);
    }

    fn event(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn read(&self, room: &mut [MaybeUninit<u8>], found: &mut Vec<Raw>) {
        let mut reader = Reader::new(&self.0, room);
        loop {
            match reader.next() {
                Ok(event) => found.push(Raw {
                    wd: event.wd(),
                    mask: event.events(),
                    name: event
                        .file_name()
                        .map_or(&b""[..], |name| name.to_bytes())
                        .into(),
                }),
                Err(Errno::INTR) => {}
                // Nothing is left; anything else will be said again by the next call.
                Err(_) => return,
            }
            if reader.is_buffer_empty() {
                return;
            }
        }
    }
}
