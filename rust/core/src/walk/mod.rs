//! Listing a directory or a tree: a job of the pool that fills a feed with finished bytes.
//!
//! Belongs here: what was asked, what all forms share, and the handle that its consumer holds.
//! `stream` is NDJSON in the file system's order, `list` one sorted JSON object. Banned here:
//! Python, HTTP, the meaning of a rule (`rules`).
//!
//! A walk is resumable: when its feed is full it parks and holds no thread.
//! Source: wire contract, section 2, "List and stream".

mod find;
mod frontier;
mod hashing;
mod judge;
mod list;
mod order;
mod output;
mod read;
mod send;
mod stream;
mod targets;
mod visit;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub use find::Wanted;

use crate::directory;
use crate::entry::Spelling;
use crate::error::{Error, Result};
use crate::feed::{Feed, Taken};
use crate::filter::Filter;
use crate::pool::{Job, Pool};
use crate::pseudo::Pseudo;
use crate::rules::{DirRules, RuleOptions, RuleSet};
use crate::stop::Stop;

/// A turn ends after this where others wait.
const SLICE: Duration = Duration::from_millis(10);

/// The shape of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// NDJSON, one line an entry, as found, with events.
    Stream,
    /// One JSON object with the direct children.
    Children,
    /// One JSON object with the whole tree as a flat list, in pre-order.
    Flat,
    /// One JSON object with the whole tree, nested.
    Tree,
}

/// What was asked, complete.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory: absolute, normalised.
    pub root: Vec<u8>,
    /// The shape of the answer.
    pub form: Form,
    /// No size, no time, and no `stat` to find them out.
    pub light: bool,
    /// SHA-256 of regular files.
    pub include_hash: bool,
    /// Text files inline.
    pub include_content: bool,
    /// A field for the extension.
    pub include_extensions: bool,
    /// What the answer holds.
    pub filter: Filter,
    /// What is walked.
    pub rules: RuleOptions,
    /// How deep; 1 is the direct children.
    pub max_depth: u32,
    /// Bytes of content in the whole answer.
    pub content_budget: u64,
    /// Bytes of one file's content.
    pub content_limit: u64,
    /// Entries of a list; a stream has no limit.
    pub entry_limit: usize,
}

impl Options {
    /// A whole tree, whose entries' names and types alone count.
    pub fn names(root: Vec<u8>, rules: RuleOptions, filter: Filter) -> Self {
        Self {
            root,
            form: Form::Stream,
            light: true,
            include_hash: false,
            include_content: false,
            include_extensions: false,
            filter,
            rules,
            max_depth: u32::MAX,
            content_budget: 0,
            content_limit: 0,
            entry_limit: 0,
        }
    }
}

/// Counts of what a walk did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Entries in the answer so far.
    pub entries: u64,
    /// Directories and files opened.
    pub opens: u64,
    /// `statx` calls.
    pub stats: u64,
    /// Batches handed over.
    pub batches: u64,
    /// Bytes handed over.
    pub bytes: u64,
}

/// A walk under way, as its one consumer holds it. Dropping it ends the walk.
pub struct Walk {
    job: Arc<dyn WalkJob>,
    common: Arc<Common>,
}

/// A job that parks.
trait WalkJob: Job {
    /// Gives a parked job a turn.
    fn resume(self: Arc<Self>);
}

/// What the turns of one walk share.
struct Common {
    options: Options,
    feed: Feed,
    stop: Stop,
    pool: Pool,
    ground: OnceLock<Ground>,
    budget: AtomicU64,
    entries: AtomicU64,
    opens: AtomicU64,
    stats: AtomicU64,
}

/// The listed directory, open, and what holds below it.
struct Ground {
    root: OwnedFd,
    rules: Arc<RuleSet>,
    root_rules: Arc<DirRules>,
    pseudo: Pseudo,
}

/// A directory whose entries are at hand.
struct Dir {
    spelling: Spelling,
    rules: Arc<DirRules>,
    /// 0 for the listed directory.
    depth: u32,
}

impl Walk {
    /// Starts a walk. Whether its root can be listed at all is told by the first
    /// [`Walk::take`]: nothing here touches the disk.
    ///
    /// # Errors
    /// [`Error::Os`] where the process is out of descriptors.
    pub fn start(options: Options) -> Result<Self> {
        let form = options.form;
        Self::run(options, |common| {
            if form == Form::Stream {
                Arc::new(stream::Stream::new(common))
            } else {
                Arc::new(list::List::new(common))
            }
        })
    }

    /// Starts a filename search; its batches are one JSON object. Hidden are files and
    /// directories whose name begins with a dot.
    ///
    /// # Errors
    /// As [`Walk::start`].
    pub fn find(options: Options, include_hidden: bool, wanted: Wanted) -> Result<Self> {
        Self::run(options, |common| {
            let find = find::Find::new(wanted);
            Arc::new(visit::Visit::new(common, find, include_hidden))
        })
    }

    /// Starts looking for what a content search is to search: batches of words for ripgrep's
    /// command line, each `paths, NUL, NUL, globs` with a NUL between two words, or, beginning
    /// with a NUL, `E` or `W`, a path, a NUL and words: an error or a warning.
    ///
    /// # Errors
    /// As [`Walk::start`].
    pub fn targets(options: Options, include_hidden: bool) -> Result<Self> {
        Self::run(options, |common| {
            let targets = targets::Targets::new();
            Arc::new(visit::Visit::new(common, targets, include_hidden))
        })
    }

    fn run(options: Options, job: impl FnOnce(Arc<Common>) -> Arc<dyn WalkJob>) -> Result<Self> {
        let common = Arc::new(Common {
            budget: AtomicU64::new(options.content_budget),
            pool: Pool::current([options.root.as_slice()]),
            options,
            feed: Feed::new()?,
            stop: Stop::default(),
            ground: OnceLock::new(),
            entries: AtomicU64::default(),
            opens: AtomicU64::default(),
            stats: AtomicU64::default(),
        });
        let job = job(Arc::clone(&common));
        Arc::clone(&job).resume();
        Ok(Self { job, common })
    }

    /// The next bytes, or that they are not there yet, or the end.
    pub fn take(&self) -> Taken {
        let (taken, resume) = self.common.feed.take();
        if resume {
            Arc::clone(&self.job).resume();
        }
        taken
    }

    /// The descriptor that becomes readable after [`Taken::Wait`].
    pub fn event(&self) -> BorrowedFd<'_> {
        self.common.feed.event()
    }

    /// The listed directory, open, once the first batch was there.
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.common.ground.get().map(|ground| ground.root.as_fd())
    }

    /// Ends the walk at its next entry and frees what it had queued.
    pub fn stop(&self) {
        self.common.stop.set();
        self.common.feed.discard();
    }

    /// What it did so far.
    pub fn statistics(&self) -> Statistics {
        let (batches, bytes) = self.common.feed.counts();
        Statistics {
            entries: self.common.entries.load(Ordering::Relaxed),
            opens: self.common.opens.load(Ordering::Relaxed),
            stats: self.common.stats.load(Ordering::Relaxed),
            batches,
            bytes,
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Common {
    /// Opens the root and reads what holds there: the first thing a walk does.
    fn open(&self) -> Result<Dir> {
        let path = &self.options.root;
        let root = directory::open_root(path).map_err(Error::on(path))?;
        let seen = directory::probe(root.as_fd());
        let (rules, root_rules) = RuleSet::open(root.as_fd(), path, seen, &self.options.rules)
            .map_err(|bad| {
                let pattern = String::from_utf8_lossy(&bad.0).into_owned();
                Error::Invalid(format!("{pattern:?}: {}", bad.1))
            })?;
        let pseudo = directory::real_path(root.as_fd())
            .map_or_else(|_| Pseudo::default(), |real| Pseudo::below(&real));
        self.opens.fetch_add(1, Ordering::Relaxed);
        let ground = Ground {
            root,
            rules,
            root_rules: Arc::clone(&root_rules),
            pseudo,
        };
        // The first turn alone opens, and only once.
        let _ = self.ground.set(ground);
        Ok(Dir {
            spelling: Spelling::root(path),
            rules: root_rules,
            depth: 0,
        })
    }

    /// Ends the walk for all its turns, and tells its consumer why.
    fn abort(&self, error: Error) {
        self.stop.set();
        self.feed.end(Err(error));
    }

    /// What [`Common::open`] found.
    fn ground(&self) -> Result<&Ground> {
        self.ground.get().ok_or(Error::Stopped)
    }

    /// Whether a turn that began then must make room for others.
    fn is_late(&self, begun: Instant) -> bool {
        begun.elapsed() >= SLICE && self.pool.is_wanted()
    }

    /// Takes bytes of content from the budget, if it has them.
    fn reserve(&self, bytes: u64) -> bool {
        let take = |left: u64| left.checked_sub(bytes);
        let order = Ordering::Relaxed;
        self.budget.fetch_update(order, order, take).is_ok()
    }

    /// Gives back what was not spent.
    fn release(&self, bytes: u64) {
        self.budget.fetch_add(bytes, Ordering::Relaxed);
    }
}
