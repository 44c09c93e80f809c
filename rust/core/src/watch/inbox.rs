//! What waits for one watcher's thread: notices, bounded, or the word that some were lost.
//!
//! Belongs here: the queue, its bound, waiting with a deadline. Banned here: what a notice means.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::notify::Raw;
use crate::pool::lock;

/// Four times what the kernel queues for all watchers together by default.
const MOST: usize = 65_536;

/// What a watcher's thread is to do next.
#[derive(Debug)]
pub(super) enum Taken {
    Notices(VecDeque<Raw>),
    /// Notices were lost, all that were before those still queued.
    Lost,
    /// The deadline has passed.
    Late,
    Stopped,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    notices: VecDeque<Raw>,
    is_lossy: bool,
    is_stopped: bool,
}

impl Inbox {
    pub(super) fn push(&self, raw: Raw) {
        let mut queue = lock(&self.queue);
        if queue.notices.len() >= MOST {
            queue.lose();
        }
        queue.notices.push_back(raw);
        self.wake.notify_one();
    }

    /// Some were lost on the way here.
    pub(super) fn lose(&self) {
        lock(&self.queue).lose();
        self.wake.notify_one();
    }

    pub(super) fn stop(&self) {
        lock(&self.queue).is_stopped = true;
        self.wake.notify_one();
    }

    /// Waits until there is something to do, at most until `deadline`.
    pub(super) fn take(&self, deadline: Option<Instant>) -> Taken {
        let mut queue = lock(&self.queue);
        loop {
            if queue.is_stopped {
                return Taken::Stopped;
            }
            if std::mem::take(&mut queue.is_lossy) {
                return Taken::Lost;
            }
            if !queue.notices.is_empty() {
                return Taken::Notices(std::mem::take(&mut queue.notices));
            }
            let Some(deadline) = deadline else {
                queue = self
                    .wake
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Late;
            }
            let waited = self.wake.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Queue {
    fn lose(&mut self) {
        self.notices.clear();
        self.is_lossy = true;
    }
}

#[cfg(test)]
mod tests {
    use super::super::notify::Mask;
    use super::*;

    fn raw(wd: i32) -> Raw {
        Raw {
            wd,
            mask: Mask::CREATE,
            name: Box::default(),
        }
    }

    #[test]
    fn a_full_queue_is_told_as_a_loss_before_what_came_after_it() {
        let inbox = Inbox::default();
        for wd in 0..=MOST {
            inbox.push(raw(i32::try_from(wd).unwrap()));
        }
        assert!(matches!(inbox.take(None), Taken::Lost));
        let Taken::Notices(rest) = inbox.take(None) else {
            panic!("what came after the loss is there");
        };
        assert_eq!(rest.len(), 1);
        assert!(matches!(inbox.take(Some(Instant::now())), Taken::Late));
        inbox.stop();
        inbox.push(raw(1));
        assert!(matches!(inbox.take(None), Taken::Stopped));
    }
}
