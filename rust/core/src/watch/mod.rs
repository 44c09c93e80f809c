//! Watching directories: what changes below them, told once, in order, or told as lost.
//!
//! Belongs here: the engine, one inotify instance for all watchers. Banned here: Python, sockets.
//!
//! The rooms, as a notice passes them: `notify` (the system), `hub` (one thread hands notices to
//! the watchers that own the watch), `inbox` (bounded), `watcher` (a thread each: `follow`, `scan`,
//! with `tree`, `root`), `pending` (50 ms), `log` (numbered, bounded), from which sockets and
//! `changes` read. A `bell` tells the event loop to look.
//!
//! Memory is bounded by the number of watched directories and by the queues' own bounds; each of
//! these that overflows is told, and the tree is then read anew.
//!
//! Not seen, as inotify does not: changes that other machines make on a network file system, a
//! mount that appears over a directory, writes through a memory map before the file is closed.
//! With `use_gitignore` also not: changes of rules above the root, of `info/exclude`, the global
//! excludes and the index.
//!
//! Source: wire contract, section 6; design, section 3, "Watching".

mod bell;
mod follow;
mod hub;
mod inbox;
mod log;
mod notify;
mod pending;
mod root;
mod scan;
mod tree;
mod trouble;
mod watcher;

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bell::Bell;
use hub::Hub;
pub use log::{Bounds, Changes, Frames};
use notify::Inotify;
pub use watcher::{Options, Status, Watcher};

use crate::error::{Error, Result};

/// All watchers of a process: one inotify instance, one bell.
#[derive(Debug)]
pub struct Watches {
    hub: Arc<Hub>,
    bell: Arc<Bell>,
}

impl Watches {
    /// An instance that watches at most `most` directories.
    ///
    /// # Errors
    /// [`Error::Os`] where the system gives no inotify instance, no descriptor or no thread.
    pub fn open(most: usize) -> Result<Self> {
        let inotify = Inotify::new().map_err(Error::on(b"inotify"))?;
        Ok(Self {
            hub: Hub::start(Box::new(inotify), most)?,
            bell: Arc::new(Bell::new()?),
        })
    }

    /// Starts a watcher; the bell rings when it is ready, or has failed.
    ///
    /// # Errors
    /// [`Error::Os`] (`AGAIN`) where too many still hang, or there is no thread.
    pub fn start(&self, options: Options) -> Result<Watcher> {
        Watcher::start(&self.hub, options, &self.bell)
    }

    /// Readable when some watcher has something new.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.bell.event()
    }

    /// Silences the bell; to be called before looking.
    pub fn hush(&self) {
        self.bell.hush();
    }

    /// How many directories are watched, those on the way to a root included.
    pub fn watched(&self) -> usize {
        self.hub.len()
    }

    /// Ends everything.
    pub fn close(&self) {
        self.hub.close();
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.close();
    }
}
