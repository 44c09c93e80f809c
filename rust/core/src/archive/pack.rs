//! Packing: a job of the pool that fills a feed with a tar.gz.
//!
//! Belongs here: the job, its turns, compression. Banned here: what is packed (`tree`).
//!
//! A job is resumable: when its feed is full it parks and holds no thread. It keeps one
//! directory and one file open, and a compressor, a few hundred KiB.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::tree::{Root, Tree};
use crate::error::{Error, Result};
use crate::feed::{Feed, Taken};
use crate::pool::{Job, Pool, lock};
use crate::scratch::Scratch;
use crate::stop::Stop;

/// A turn ends after this where others wait.
const SLICE: Duration = Duration::from_millis(10);

/// What was asked.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Paths, absolute and normalised, each with its name in the archive ("" for the top).
    pub roots: Vec<Root>,
    /// Gitignore-style globs, relative to a path, or to the names in the archive.
    pub exclude_patterns: Vec<Vec<u8>>,
    /// 0 (none) to 9 (best).
    pub level: u32,
}

/// How much of the tree is not in the archive as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Entries left out.
    pub skipped: u64,
    /// Files that changed while they were read.
    pub changed: u64,
}

/// An archive under way, as its one consumer holds it. Dropping it ends the work.
pub struct Pack(Arc<Shared>);

struct Shared {
    feed: Feed,
    stop: Stop,
    pool: Pool,
    progress: Mutex<Progress>,
}

enum Progress {
    Asked(Wanted),
    Going(Box<Going>),
    Over(Packed),
}

struct Going {
    tree: Tree,
    out: GzEncoder<Vec<u8>>,
}

impl Pack {
    /// Starts. Whether everything asked for is there is told by the first [`Pack::take`].
    ///
    /// # Errors
    /// [`Error::Os`] where the process is out of descriptors.
    pub fn start(wanted: Wanted) -> Result<Self> {
        let shared = Arc::new(Shared {
            feed: Feed::new()?,
            stop: Stop::default(),
            pool: Pool::current(wanted.roots.iter().map(|(path, _)| path.as_slice())),
            progress: Mutex::new(Progress::Asked(wanted)),
        });
        shared.submit();
        Ok(Self(shared))
    }

    /// The next bytes, or that they are not there yet, or the end.
    pub fn take(&self) -> Taken {
        let (taken, resume) = self.0.feed.take();
        if resume {
            self.0.submit();
        }
        taken
    }

    /// The descriptor that becomes readable after [`Taken::Wait`].
    pub fn event(&self) -> BorrowedFd<'_> {
        self.0.feed.event()
    }

    /// What was left out, once the end was taken.
    pub fn packed(&self) -> Packed {
        match &*lock(&self.0.progress) {
            Progress::Over(packed) => *packed,
            _ => Packed::default(),
        }
    }

    /// Ends the work at its next step and frees what it had queued.
    pub fn stop(&self) {
        self.0.stop.set();
        self.0.feed.discard();
        // Held by a turn, it is dropped at that turn's end.
        if let Ok(mut progress) = self.0.progress.try_lock() {
            *progress = Progress::Over(Packed::default());
        }
    }
}

impl Drop for Pack {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn submit(self: &Arc<Self>) {
        self.pool.submit(Arc::<Self>::clone(self));
    }

    fn work(self: &Arc<Self>, scratch: &mut Scratch) -> Result<()> {
        let mut progress = lock(&self.progress);
        let begun = Instant::now();
        loop {
            self.stop.check()?;
            let going = match &mut *progress {
                Progress::Going(going) => going,
                Progress::Over(_) => return Ok(()),
                Progress::Asked(wanted) => {
                    let going = Going::open(std::mem::take(wanted))?;
                    *progress = Progress::Going(Box::new(going));
                    continue;
                }
            };
            if !going.tree.step(scratch, &mut going.out)? {
                break;
            }
            if going.flush(&self.feed) && self.feed.park() {
                return Ok(());
            }
            if begun.elapsed() >= SLICE && self.pool.is_wanted() {
                self.submit();
                return Ok(());
            }
        }
        if let Progress::Going(going) =
            std::mem::replace(&mut *progress, Progress::Over(Packed::default()))
        {
            *progress = Progress::Over(going.finish(&self.feed)?);
        }
        drop(progress);
        self.feed.end(Ok(()));
        Ok(())
    }
}

impl Going {
    fn open(wanted: Wanted) -> Result<Self> {
        Ok(Self {
            tree: Tree::open(wanted.roots, wanted.exclude_patterns)?,
            out: GzEncoder::new(Vec::new(), Compression::new(wanted.level.min(9))),
        })
    }

    /// Hands over what makes a batch; whether it did.
    fn flush(&mut self, feed: &Feed) -> bool {
        let target = feed.target();
        let is_ready = self.out.get_ref().len() >= target;
        if is_ready {
            let room = Vec::with_capacity(target + target / 4);
            feed.push(std::mem::replace(self.out.get_mut(), room));
        }
        is_ready
    }

    fn finish(self, feed: &Feed) -> Result<Packed> {
        let account = self.tree.account();
        let packed = Packed {
            skipped: account.skipped.total(),
            changed: account.changed.total(),
        };
        let rest = self.out.finish();
        feed.push(rest.map_err(|error| Error::Panicked(error.to_string()))?);
        Ok(packed)
    }
}

impl Job for Shared {
    fn turn(self: Arc<Self>, scratch: &mut Scratch) {
        if let Err(error) = self.work(scratch) {
            *lock(&self.progress) = Progress::Over(Packed::default());
            self.feed.end(Err(error));
        }
    }

    fn fail(&self, what: String) {
        self.feed.end(Err(Error::Panicked(what)));
    }
}
