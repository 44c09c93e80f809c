//! Finished copies on their way to their names, a few dozen at a time.
//!
//! Belongs here: making copies last before they get their names. One at a time that is one commit
//! of the file system's journal a file; together, one for all of them. Banned here: copying.
//!
//! A directory gets its attributes after what is in it got its names, since that moves its mtime.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Stat, fsync};
use rustix::io::Errno;

use crate::attributes::imitate;
use crate::copied::Copied;
use crate::error::Error;
use crate::pending::Pending;
use crate::spool::{Spool, sync_dir};

const MOST_ITEMS: usize = 32;
const MOST_BYTES: u64 = 32 * 1024 * 1024;

/// One copy that is complete but for its name, or its attributes.
pub(crate) enum Item {
    /// A file with its attributes; the name that it is to get, and the path that errors tell.
    File {
        spool: Spool,
        name: Vec<u8>,
        size: u64,
        path: Vec<u8>,
    },
    /// A directory of which all was seen; the original, where it was made for one.
    Directory {
        dir: OwnedFd,
        original: Option<(OwnedFd, Stat)>,
        path: Vec<u8>,
    },
}

/// What is not yet settled.
#[derive(Default)]
pub(crate) struct Batch {
    items: Vec<Item>,
    bytes: u64,
}

impl Batch {
    pub(crate) fn add(&mut self, item: Item) {
        if let Item::File { size, .. } = item {
            self.bytes += size;
        }
        self.items.push(item);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= MOST_ITEMS || self.bytes >= MOST_BYTES
    }

    /// Gives all of them their names, or their attributes, and makes that last.
    pub(crate) fn settle(&mut self, pending: &Pending, overwrite: bool, account: &mut Copied) {
        let mut items = std::mem::take(&mut self.items);
        self.bytes = 0;
        write_back(&items, libc::SYNC_FILE_RANGE_WRITE);
        // All data first: where each file's blocks are is noted once they are written, and a sync
        // before that would be the first of many commits.
        write_back(&items, WAIT);
        items.retain(|item| match item {
            Item::File { spool, path, .. } => kept(fsync(spool.file()), path, account),
            Item::Directory { .. } => true,
        });
        for item in &mut items {
            match item {
                Item::File {
                    spool,
                    name,
                    size,
                    path,
                } => {
                    if kept(put(spool, name, pending, overwrite), path, account) {
                        account.entries += 1;
                        account.bytes += *size;
                    }
                }
                Item::Directory {
                    dir,
                    original: Some((original, stat)),
                    path,
                } => {
                    kept(imitate(dir.as_fd(), original.as_fd(), stat), path, account);
                }
                Item::Directory { original: None, .. } => {}
            }
        }
        for item in &items {
            if let Item::Directory { dir, path, .. } = item {
                kept(sync_dir(dir.as_fd()), path, account);
            }
        }
    }
}

fn kept(done: rustix::io::Result<()>, path: &[u8], account: &mut Copied) -> bool {
    if let Err(errno) = done {
        account.fail(path.to_vec(), errno);
    }
    done.is_ok()
}

fn put(
    spool: &mut Spool,
    name: &[u8],
    pending: &Pending,
    overwrite: bool,
) -> rustix::io::Result<()> {
    match spool.become_new(name) {
        Err(Errno::EXIST) if overwrite => {
            spool.replace(name, pending).map_err(|error| match error {
                Error::Os { errno, .. } => errno,
                _ => Errno::IO,
            })
        }
        done => done,
    }
}

const WAIT: libc::c_uint = libc::SYNC_FILE_RANGE_WAIT_BEFORE
    | libc::SYNC_FILE_RANGE_WRITE
    | libc::SYNC_FILE_RANGE_WAIT_AFTER;

/// Has the kernel write the data of all files; the syncs that follow find little left to do, and
/// tell what went wrong.
fn write_back(items: &[Item], how: libc::c_uint) {
    for item in items {
        if let Item::File { spool, .. } = item {
            // SAFETY: the descriptor is open for as long as the borrow; the call takes no pointers.
            unsafe {
                libc::sync_file_range(spool.file().as_raw_fd(), 0, 0, how);
            }
        }
    }
}
