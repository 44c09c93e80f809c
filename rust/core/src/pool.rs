//! The thread pool: as many threads as cores, at a lower priority than the event loop. What may
//! hang, since a network or a program answers for it, has another such pool, made on first use: a
//! mount that hangs would hold every thread, and with them all work on disks.
//!
//! Belongs here: threads, the queue of turns, panics. A job gets turns; a turn that has to
//! wait for anything but the disk ends instead, and somebody submits the job again later, so
//! that waiting holds no thread. Banned here: what a job does.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::mounts::may_hang_below;
use crate::scratch::Scratch;

/// How much the pool steps back behind the event loop: at 4 it gets 0.4 of the loop's share
/// where both want the same core, and still five times that of what runs at 19.
const NICE: i32 = 4;

/// Work that is done in turns.
pub trait Job: Send + Sync {
    /// One turn: works until nothing is left, nobody takes the output, or others wait.
    fn turn(self: Arc<Self>, scratch: &mut Scratch);
    /// A turn panicked, or the pool was closed: whoever waits for the job must be told.
    fn fail(&self, what: String);
}

/// A pool. Clones share the threads.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    waiting: AtomicUsize,
    width: usize,
}

#[derive(Default)]
struct Queue {
    turns: VecDeque<Arc<dyn Job>>,
    threads: Vec<JoinHandle<()>>,
    closed: bool,
}

const CLOSED: &str = "the thread pool is closed, or no thread could be started";

/// For what lies on disks, and for what may hang.
static CURRENT: Mutex<[Option<Pool>; 2]> = Mutex::new([None, None]);

/// A lock whose owner may have panicked: the state behind it is always left whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// The process's pool for work at and below absolute paths, made on first use and anew after
    /// [`Pool::close`].
    pub fn current<'a>(paths: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let is_far = may_hang_below(paths);
        let mut current = lock(&CURRENT);
        let current = &mut current[usize::from(is_far)];
        match current {
            Some(pool) if !lock(&pool.0.queue).closed => pool.clone(),
            _ => current.insert(Self::start()).clone(),
        }
    }

    /// Ends and joins the process's pools. Jobs that still waited for a turn fail.
    pub fn close() {
        let pools = std::mem::take(&mut *lock(&CURRENT));
        for pool in pools.into_iter().flatten() {
            pool.end();
        }
    }

    fn start() -> Self {
        Self::of(std::thread::available_parallelism().map_or(1, usize::from))
    }

    fn of(width: usize) -> Self {
        let pool = Self(Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            waiting: AtomicUsize::new(0),
            width,
        }));
        let threads = (0..width).filter_map(|number| {
            let pool = pool.clone();
            std::thread::Builder::new()
                .name(format!("hutch-pool-{number}"))
                .spawn(move || pool.serve())
                .ok()
        });
        let threads: Vec<_> = threads.collect();
        let mut queue = lock(&pool.0.queue);
        // Where the system gives no thread at all, jobs must fail and not wait for ever.
        queue.closed = threads.is_empty();
        queue.threads = threads;
        drop(queue);
        pool
    }

    /// How many threads there are.
    pub fn width(&self) -> usize {
        self.0.width
    }

    /// Whether a turn should end soon: others wait for a thread, or the pool is being closed.
    pub fn is_wanted(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }

    /// Asks for a turn of `job`, behind those that wait already.
    pub fn submit(&self, job: Arc<dyn Job>) {
        let mut queue = lock(&self.0.queue);
        if queue.closed {
            drop(queue);
            job.fail(CLOSED.to_owned());
            return;
        }
        queue.turns.push_back(job);
        self.0.waiting.store(queue.turns.len(), Ordering::Relaxed);
        drop(queue);
        self.0.wake.notify_one();
    }

    fn serve(&self) {
        // Refused where a sandbox forbids it: then it runs at the loop's own priority.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
        let mut scratch = Scratch::default();
        while let Some(job) = self.next() {
            let kept = Arc::clone(&job);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job.turn(&mut scratch))) {
                scratch = Scratch::default();
                kept.fail(words_of(&*panic));
            }
        }
    }

    fn next(&self) -> Option<Arc<dyn Job>> {
        let mut queue = lock(&self.0.queue);
        loop {
            if queue.closed {
                return None;
            }
            if let Some(job) = queue.turns.pop_front() {
                self.0.waiting.store(queue.turns.len(), Ordering::Relaxed);
                return Some(job);
            }
            queue = self
                .0
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self) {
        let mut queue = lock(&self.0.queue);
        queue.closed = true;
        let threads = std::mem::take(&mut queue.threads);
        let turns = std::mem::take(&mut queue.turns);
        // A turn that runs ends at its next look, and fails when it asks for another.
        self.0.waiting.store(1, Ordering::Relaxed);
        drop(queue);
        self.0.wake.notify_all();
        for job in turns {
            job.fail(CLOSED.to_owned());
        }
        for thread in threads {
            // A panic of a turn was caught and told already.
            let _ = thread.join();
        }
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|one| (*one).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    struct Told(Mutex<Sender<String>>, bool);

    impl Job for Told {
        fn turn(self: Arc<Self>, _: &mut Scratch) {
            assert!(!self.1, "on purpose");
            let _ = lock(&self.0).send("turn".to_owned());
        }
        fn fail(&self, what: String) {
            let _ = lock(&self.0).send(what);
        }
    }

    #[test]
    fn a_panic_is_told_and_the_thread_lives_on() {
        let (sender, receiver) = channel();
        let pool = Pool::start();
        for panics in [true, true, true, true, false] {
            pool.submit(Arc::new(Told(Mutex::new(sender.clone()), panics)));
        }
        let mut told: Vec<String> = (0..5).map(|_| receiver.recv().unwrap()).collect();
        told.sort();
        assert_eq!(
            told,
            [
                "on purpose",
                "on purpose",
                "on purpose",
                "on purpose",
                "turn"
            ]
        );
        pool.end();
        pool.submit(Arc::new(Told(Mutex::new(sender), false)));
        assert_eq!(receiver.recv().unwrap(), CLOSED);
    }

    #[test]
    fn without_any_thread_jobs_fail_and_do_not_wait() {
        let (sender, receiver) = channel();
        Pool::of(0).submit(Arc::new(Told(Mutex::new(sender), false)));
        assert_eq!(receiver.recv().unwrap(), CLOSED);
    }

    /// Works until it should make room for others, then asks for another turn.
    struct Endless(Pool, Sender<String>);

    impl Job for Endless {
        fn turn(self: Arc<Self>, _: &mut Scratch) {
            let _ = self.1.send("turn".to_owned());
            while !self.0.is_wanted() {
                std::thread::yield_now();
            }
            self.0.submit(Arc::<Self>::clone(&self));
        }
        fn fail(&self, what: String) {
            let _ = self.1.send(what);
        }
    }

    #[test]
    fn closing_ends_a_turn_that_would_go_on_for_long() {
        let (sender, receiver) = channel();
        let pool = Pool::of(1);
        pool.submit(Arc::new(Endless(pool.clone(), sender)));
        assert_eq!(receiver.recv().unwrap(), "turn");
        pool.end();
        assert_eq!(receiver.recv().unwrap(), CLOSED);
    }
}
