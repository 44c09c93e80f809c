//! One watcher: its thread, what it holds, and what others see of it.
//!
//! Belongs here: the loop, deadlines, the beginning and the end. Banned here: reading directories
//! (`scan`), what a notice means (`follow`). A watcher has a thread of its own, so that a file
//! system that hangs holds up nobody else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;
use rustix::io::Errno;

use super::bell::Bell;
use super::hub::{Hub, Slot};
use super::inbox::{Inbox, Taken};
use super::log::{Bounds, Changes, Frames, Log, Op};
use super::notify;
use super::pending::{Due, Pending};
use super::root::Root;
use super::tree::Tree;
use super::trouble::Trouble;
use crate::error::{Error, Result};
use crate::pool::lock;
use crate::pseudo::Pseudo;
use crate::rules::{RuleOptions, RuleSet};
use crate::scratch::Scratch;
use crate::stop::Stop;

/// How long a watch that nobody needs outlives its directory's name: what is moved inside the
/// tree is wanted again at once.
const GRAVE: Duration = Duration::from_millis(100);
/// After a root that could not be read it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// So many watches end at a time: the kernel tells of each in the queue that all share.
const AT_ONCE: usize = 512;

/// What is to be watched, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// What frames call the watcher.
    pub id: String,
    /// The directory, absolute; it may be a symlink to one.
    pub root: Vec<u8>,
    /// What is left out.
    pub rules: RuleOptions,
    /// From the first change of a path to its event.
    pub debounce: Duration,
    /// What the change log keeps.
    pub log: Bounds,
}

/// What a watcher is at the moment.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The tree was read: what changes from then on is told.
    pub is_ready: bool,
    /// Why it has ended by itself, or never began.
    pub failure: Option<Error>,
    /// It tells of changes.
    pub is_active: bool,
    /// Directories watched.
    pub dirs: usize,
    /// Why it does not cover its tree.
    pub incomplete: Option<String>,
}

struct Shared {
    options: Options,
    status: Mutex<Status>,
    log: Log,
    bell: Arc<Bell>,
}

/// A watcher under way. Dropping it ends it.
pub struct Watcher {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    stop: Stop,
}

/// What the watcher's thread holds.
pub(super) struct Engine {
    pub(super) hub: Arc<Hub>,
    pub(super) slot: Slot,
    pub(super) options: Options,
    pub(super) root: Root,
    pub(super) rules: Option<Arc<RuleSet>>,
    pub(super) pseudo: Pseudo,
    pub(super) tree: Tree,
    /// Watches on the way to the root.
    pub(super) guards: FxHashSet<i32>,
    pub(super) pending: Pending,
    /// Watches that nothing in the tree has any more.
    pub(super) grave: FxHashSet<i32>,
    grave_due: Option<Instant>,
    /// When the tree is read anew, and why.
    pub(super) again: Option<(Instant, String)>,
    trouble: Trouble,
    pub(super) scratch: Scratch,
    pub(super) stop: Stop,
    shared: Arc<Shared>,
}

impl Watcher {
    pub(super) fn start(hub: &Arc<Hub>, options: Options, bell: &Arc<Bell>) -> Result<Self> {
        let shared = Arc::new(Shared {
            log: Log::new(options.log, Arc::clone(bell)),
            options,
            status: Mutex::default(),
            bell: Arc::clone(bell),
        });
        let (slot, inbox) = hub.join().ok_or_else(|| Error::on(b"")(Errno::AGAIN))?;
        let watcher = Self {
            shared: Arc::clone(&shared),
            inbox: Arc::clone(&inbox),
            stop: Stop::default(),
        };
        let (hub, stop) = (Arc::clone(hub), watcher.stop.clone());
        let leaving = Arc::clone(&hub);
        std::thread::Builder::new()
            .name(format!("hutch-watch-{}", shared.options.id))
            .spawn(move || run(&hub, slot, &inbox, stop, &shared))
            .map_err(|_| {
                leaving.leave(slot);
                Error::on(b"")(Errno::AGAIN)
            })?;
        Ok(watcher)
    }

    /// What it is at the moment.
    pub fn status(&self) -> Status {
        lock(&self.shared.status).clone()
    }

    /// The number of the last event.
    pub fn seq(&self) -> u64 {
        self.shared.log.seq()
    }

    /// The changes after `seq`, some `most` bytes of them.
    pub fn since(&self, seq: u64, most: usize) -> Changes {
        self.shared.log.since(seq, most)
    }

    /// At most `most` frames after the event `seq`.
    pub fn frames(&self, seq: u64, most: usize) -> Frames {
        self.shared.log.frames(&self.shared.options.id, seq, most)
    }

    /// Ends it, now or as soon as its thread comes back from the disk.
    pub fn stop(&self) {
        self.stop.set();
        self.inbox.stop();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The watcher's thread.
fn run(hub: &Arc<Hub>, slot: Slot, inbox: &Inbox, stop: Stop, shared: &Arc<Shared>) {
    notify::step_aside();
    let work = || {
        let mut engine = Engine::open(hub, slot, stop, shared)?;
        let begun = engine.begin();
        if begun.is_ok() {
            engine.serve(inbox);
        }
        engine.release();
        begun
    };
    let ended = catch_unwind(AssertUnwindSafe(work));
    let failure = match ended {
        Ok(ended) => ended.err(),
        Err(_) => Some(Error::Panicked("the watcher's thread".to_owned())),
    };
    hub.leave(slot);
    let mut status = lock(&shared.status);
    status.is_active = false;
    let broke_off = status.is_ready && failure.is_some();
    status.failure = failure;
    drop(status);
    if broke_off {
        shared
            .log
            .overflow("the watcher has ended by an error of the server");
    }
    shared.bell.ring();
}

impl Engine {
    fn open(hub: &Arc<Hub>, slot: Slot, stop: Stop, shared: &Arc<Shared>) -> Result<Self> {
        let options = shared.options.clone();
        Ok(Self {
            hub: Arc::clone(hub),
            slot,
            root: Root::open(&options.root)?.0,
            rules: None,
            pseudo: Pseudo::default(),
            tree: Tree::default(),
            guards: FxHashSet::default(),
            pending: Pending::new(options.debounce),
            grave: FxHashSet::default(),
            grave_due: None,
            again: None,
            trouble: Trouble::default(),
            scratch: Scratch::default(),
            stop,
            shared: Arc::clone(shared),
            options,
        })
    }

    /// Watches the tree for the first time.
    fn begin(&mut self) -> Result<()> {
        self.read_tree(None)?;
        for (path, is_parent) in self.root.way() {
            match self.hub.guard(&path, is_parent, self.slot) {
                Ok(wd) => {
                    self.guards.insert(wd);
                }
                Err(errno) => {
                    self.trouble.add(&path, errno);
                }
            }
        }
        self.stop.check()?;
        let mut status = lock(&self.shared.status);
        status.is_ready = true;
        status.is_active = true;
        drop(status);
        self.publish();
        self.check_root();
        self.shared.bell.ring();
        Ok(())
    }

    fn serve(&mut self, inbox: &Inbox) {
        while lock(&self.shared.status).is_active {
            match inbox.take(self.deadline()) {
                Taken::Stopped => return,
                Taken::Lost => {
                    self.read_anew("Event queue overflow, some events may have been lost")
                }
                Taken::Late => {}
                Taken::Notices(notices) => {
                    for raw in notices {
                        self.follow(&raw);
                        self.tell_due();
                        if self.stop.is_set() {
                            return;
                        }
                    }
                }
            }
            self.catch_up();
        }
    }

    /// When there is something to do, should no notice come.
    fn deadline(&self) -> Option<Instant> {
        let again = self.again.as_ref().map(|due| due.0);
        let all = [self.pending.next(), self.grave_due, again];
        all.into_iter().flatten().min()
    }

    /// What time has brought.
    fn catch_up(&mut self) {
        self.tell_due();
        let now = Instant::now();
        if let Some((_, why)) = self.again.take_if(|due| due.0 <= now) {
            self.read_anew(&why);
        }
        if self.grave_due.is_some_and(|due| due <= now) {
            let some: Vec<i32> = self.grave.iter().copied().take(AT_ONCE).collect();
            some.iter().for_each(|wd| {
                self.grave.remove(wd);
            });
            self.hub.release(self.slot, some.into_iter());
            self.grave_due = (!self.grave.is_empty()).then_some(now);
        }
        self.publish();
    }

    /// Nothing in the tree has these watches any more.
    pub(super) fn bury(&mut self, watches: impl IntoIterator<Item = i32>) {
        let guards = &self.guards;
        self.grave
            .extend(watches.into_iter().filter(|wd| !guards.contains(wd)));
        self.grave_due.get_or_insert_with(|| Instant::now() + GRAVE);
    }

    /// A directory is not watched, and why.
    pub(super) fn missing(&mut self, path: &[u8], errno: Errno) {
        let is_first = self.trouble.add(path, errno);
        if is_first && lock(&self.shared.status).is_ready {
            let reason = self.trouble.reason().unwrap_or_default();
            self.shared.log.overflow(&reason);
        }
    }

    /// Whether the name still leads to the directory; ends the watcher where it does not.
    pub(super) fn check_root(&mut self) {
        if !lock(&self.shared.status).is_active {
            return;
        }
        match self.root.again() {
            Ok(Some(_)) => return,
            Ok(None) => {}
            Err(error) => return self.read_later(&error),
        }
        self.tell_all();
        self.shared.log.change(Op::Remove, &self.root.path);
        lock(&self.shared.status).is_active = false;
    }

    /// Tells that what was told no longer counts, and makes the set of watches right again.
    pub(super) fn read_anew(&mut self, why: &str) {
        self.tell_all();
        self.shared.log.overflow(why);
        self.again = None;
        self.trouble = Trouble::default();
        let old = std::mem::take(&mut self.tree);
        if let Err(error) = self.read_tree(Some(&old)) {
            self.could_not_read(&error);
        }
        let gone: Vec<i32> = old.watches().filter(|wd| !self.tree.has(*wd)).collect();
        self.bury(gone);
    }

    /// The root is gone, or was swapped while it was read; or something is scarce for a while.
    pub(super) fn could_not_read(&mut self, error: &Error) {
        self.check_root();
        self.read_later(error);
    }

    /// Reads the tree anew in a while: what was to be read could not be.
    fn read_later(&mut self, error: &Error) {
        if let Error::Os { errno, path } = error {
            self.trouble.add(path, *errno);
        }
        let why = format!("a directory could not be read ({error})");
        self.again
            .get_or_insert_with(|| (Instant::now() + AGAIN, why));
    }

    pub(super) fn tell(&mut self, (op, rel): Due) {
        self.shared.log.change(op, &self.root.join(&rel));
    }

    /// Tells what is due.
    pub(super) fn tell_due(&mut self) {
        if self.pending.next().is_none() {
            return;
        }
        let now = Instant::now();
        while let Some(due) = self.pending.pop(now) {
            self.tell(due);
        }
    }

    fn tell_all(&mut self) {
        while let Some(due) = self.pending.pop_any() {
            self.tell(due);
        }
    }

    fn publish(&mut self) {
        let mut status = lock(&self.shared.status);
        status.dirs = self.tree.len();
        status.incomplete = self.trouble.reason();
    }

    fn release(&mut self) {
        let mut all: Vec<i32> = self.tree.watches().collect();
        all.extend(self.grave.drain());
        all.extend(self.guards.drain());
        for some in all.chunks(AT_ONCE) {
            self.hub.release(self.slot, some.iter().copied());
            // The hub's thread takes what the kernel tells of each.
            std::thread::yield_now();
        }
    }
}
