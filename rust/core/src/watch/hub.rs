//! The one instance that all watchers share: who owns which watch, and the thread that hands
//! notices out.
//!
//! Belongs here: watches and their owners. Watchers on overlapping trees share a directory's watch;
//! it ends with its last owner. Banned here: trees, rules, what a notice means.
//!
//! The table is locked while a watch is made or ended, and while notices are handed out, never
//! while they are read: so a notice finds the owner whose watch brought it about.

use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustc_hash::FxHashMap;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, Result};

use super::bell::Bell;
use super::inbox::Inbox;
use super::notify::{self, Mask, Notifier, Raw};
use crate::error::Error;
use crate::pool::lock;

/// Watchers at once, those included whose thread is held up by a file system that hangs.
const SLOTS: usize = 16;
/// One read takes at most so many bytes of notices.
const ROOM: usize = 256 * 1024;

/// A watcher, as the hub knows it.
pub(super) type Slot = u8;

/// The watchers that own a watch, a bit each.
type Owners = u16;

pub(super) struct Hub {
    notifier: Box<dyn Notifier>,
    /// Directories watched at once.
    most: usize,
    table: Mutex<Table>,
    /// Wakes the thread at the end.
    end: Bell,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Table {
    owners: FxHashMap<i32, Owners>,
    inboxes: [Option<Arc<Inbox>>; SLOTS],
    is_closed: bool,
}

impl Hub {
    /// A hub with its thread.
    pub(super) fn start(
        notifier: Box<dyn Notifier>,
        most: usize,
    ) -> std::result::Result<Arc<Self>, Error> {
        let hub = Arc::new(Self {
            notifier,
            most,
            table: Mutex::default(),
            end: Bell::new()?,
            thread: Mutex::default(),
        });
        let serving = Arc::clone(&hub);
        let thread = std::thread::Builder::new()
            .name("hutch-watch".to_owned())
            .spawn(move || serving.serve());
        *lock(&hub.thread) = Some(thread.map_err(|_| Error::on(b"thread")(Errno::AGAIN))?);
        Ok(hub)
    }

    /// A place for one more watcher; `None` where there are too many.
    pub(super) fn join(&self) -> Option<(Slot, Arc<Inbox>)> {
        let mut table = lock(&self.table);
        if table.is_closed {
            return None;
        }
        let slot = table.inboxes.iter().position(Option::is_none)?;
        let inbox = Arc::new(Inbox::default());
        table.inboxes[slot] = Some(Arc::clone(&inbox));
        Some((slot as Slot, inbox))
    }

    /// Gives the place back, with what watches it still has: none, unless its thread panicked.
    pub(super) fn leave(&self, slot: Slot) {
        let mut table = lock(&self.table);
        table.inboxes[usize::from(slot)] = None;
        table.owners.retain(|wd, owners| {
            let had = *owners;
            *owners &= !(1 << slot);
            if had != 0 && *owners == 0 {
                self.notifier.unwatch(*wd);
            }
            *owners != 0
        });
    }

    /// Watches a directory for `slot`.
    ///
    /// # Errors
    /// `NOSPC` where a limit, the system's or ours, is reached.
    pub(super) fn watch(&self, directory: BorrowedFd<'_>, slot: Slot) -> Result<i32> {
        let is_inside = notify::step_in(directory);
        self.own(slot, |notifier| notifier.watch(directory, is_inside))
    }

    /// Watches what stands at `path` for being moved or removed, and with `is_parent` for names
    /// that go from it.
    ///
    /// # Errors
    /// As [`Hub::watch`].
    pub(super) fn guard(&self, path: &[u8], is_parent: bool, slot: Slot) -> Result<i32> {
        self.own(slot, |notifier| notifier.guard(path, is_parent))
    }

    fn own(&self, slot: Slot, make: impl FnOnce(&dyn Notifier) -> Result<i32>) -> Result<i32> {
        let mut table = lock(&self.table);
        let wd = make(&*self.notifier)?;
        if table.owners.len() >= self.most && !table.owners.contains_key(&wd) {
            self.notifier.unwatch(wd);
            return Err(Errno::NOSPC);
        }
        *table.owners.entry(wd).or_default() |= 1 << slot;
        Ok(wd)
    }

    /// `slot` no longer wants these.
    pub(super) fn release(&self, slot: Slot, watches: impl Iterator<Item = i32>) {
        let mut table = lock(&self.table);
        for wd in watches {
            let Some(owners) = table.owners.get_mut(&wd) else {
                continue;
            };
            *owners &= !(1 << slot);
            if *owners == 0 {
                table.owners.remove(&wd);
                self.notifier.unwatch(wd);
            }
        }
    }

    /// How many watches there are.
    pub(super) fn len(&self) -> usize {
        lock(&self.table).owners.len()
    }

    /// Stops every watcher, and ends the thread.
    pub(super) fn close(&self) {
        let mut table = lock(&self.table);
        table.is_closed = true;
        table.inboxes.iter().flatten().for_each(|one| one.stop());
        drop(table);
        self.end.ring();
        if let Some(thread) = lock(&self.thread).take() {
            // A panic of it was told to the watchers already.
            let _ = thread.join();
        }
    }

    fn serve(&self) {
        let mut room = vec![MaybeUninit::uninit(); ROOM];
        let mut found = Vec::new();
        while !lock(&self.table).is_closed {
            let mut waits = [
                PollFd::from_borrowed_fd(self.notifier.event(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.end.event(), PollFlags::IN),
            ];
            // Interrupted, or out of memory for a moment: asked again.
            let _ = poll(&mut waits, None);
            self.notifier.read(&mut room, &mut found);
            self.hand_out(&mut found);
        }
    }

    fn hand_out(&self, found: &mut Vec<Raw>) {
        let mut table = lock(&self.table);
        for raw in found.drain(..) {
            if raw.mask.contains(Mask::QUEUE_OVERFLOW) {
                table.inboxes.iter().flatten().for_each(|one| one.lose());
                continue;
            }
            let owners = if raw.mask.contains(Mask::IGNORED) {
                table.owners.remove(&raw.wd)
            } else {
                table.owners.get(&raw.wd).copied()
            };
            table.deliver(owners.unwrap_or_default(), raw);
        }
    }
}

impl Table {
    fn deliver(&self, mut owners: Owners, raw: Raw) {
        while owners != 0 {
            let slot = owners.trailing_zeros() as usize;
            owners &= owners - 1;
            if let Some(inbox) = &self.inboxes[slot] {
                if owners == 0 {
                    inbox.push(raw);
                    return;
                }
                inbox.push(raw.clone());
            }
        }
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("watches", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::inbox::Taken;
    use super::super::notify::Inotify;
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn a_directory_has_one_watch_that_ends_with_its_last_owner() {
        let place = tempfile::tempdir().unwrap();
        let hub = Hub::start(Box::new(Inotify::new().unwrap()), 2).unwrap();
        let directory = File::open(place.path()).unwrap();
        let ((one, first), (two, second)) = (hub.join().unwrap(), hub.join().unwrap());
        let wd = hub.watch(directory.as_fd(), one).unwrap();
        assert_eq!(hub.watch(directory.as_fd(), two).unwrap(), wd);
        std::fs::write(place.path().join("a"), "").unwrap();
        for inbox in [&first, &second] {
            let Taken::Notices(found) = inbox.take(None) else {
                panic!("both are told");
            };
            assert_eq!((found[0].wd, &*found[0].name), (wd, &b"a"[..]));
        }
        hub.release(one, [wd].into_iter());
        assert_eq!(hub.len(), 1);
        hub.release(two, [wd].into_iter());
        assert_eq!(hub.len(), 0);
        hub.close();
        assert!(matches!(first.take(None), Taken::Stopped));
        assert!(hub.join().is_none());
    }

    #[test]
    fn beyond_the_limit_nothing_new_is_watched() {
        let place = tempfile::tempdir().unwrap();
        let hub = Hub::start(Box::new(Inotify::new().unwrap()), 1).unwrap();
        let (slot, _inbox) = hub.join().unwrap();
        let (one, other) = (File::open(place.path()).unwrap(), File::open("/").unwrap());
        let wd = hub.watch(one.as_fd(), slot).unwrap();
        assert_eq!(hub.watch(other.as_fd(), slot), Err(Errno::NOSPC));
        assert_eq!(hub.watch(one.as_fd(), slot), Ok(wd));
        hub.close();
    }
}
