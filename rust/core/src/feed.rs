//! The bridge from the pool to one consumer: batches of finished bytes, bounded, with an
//! eventfd to wait on.
//!
//! Belongs here: the queue, its bounds, who is parked, who is armed. The consumer takes what
//! is there, else waits for the eventfd; the producer writes to it only when someone waits:
//! 2 to 8 microseconds a batch, against 100 for a hop between threads. Banned here: what the
//! bytes mean, beyond that a batch is a sequence of whole lines.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::event::{EventfdFlags, eventfd};

use crate::error::{Error, Result};
use crate::pool::lock;
use crate::scratch::PIECE;

/// The first batch: small, so that the first line is early.
const FIRST: usize = 16 * 1024;
/// The largest: what a piece costs beside its bytes (a wake-up, a turn of the event loop, a
/// system call) is some 45 microseconds. Contents of a kernel tree took 7 % less CPU with 512 KiB
/// than with 256; 16 KiB pieces stream at a fifth of the speed.
pub const LARGEST: usize = 512 * 1024;
/// What may lie in one feed before its producer parks.
const OWN_BOUND: usize = 1024 * 1024;
/// What may lie in all feeds together; beyond it each keeps one small batch at a time.
pub const SHARED_BOUND: usize = 32 * 1024 * 1024;

/// The piece in which a larger text is sent, and what a text may have to be sent in one, while
/// the feeds are crowded: many clients that stall must not hold a large file each.
pub const CROWDED_PIECE: usize = 32 * 1024;

static SHARED: AtomicUsize = AtomicUsize::new(0);

/// What lies in all feeds together now, in bytes.
pub fn shared() -> usize {
    SHARED.load(Ordering::Relaxed)
}

/// What a consumer gets.
#[derive(Debug)]
pub enum Taken {
    /// The next bytes.
    Batch(Vec<u8>),
    /// Nothing yet: wait for the eventfd to become readable, then ask again.
    Wait,
    /// There is no more, or there cannot be.
    End(Result<()>),
}

/// A bounded queue of batches with one consumer.
#[derive(Debug)]
pub struct Feed {
    state: Mutex<State>,
    event: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Vec<u8>>,
    /// Batches that wait until a line of many batches is over.
    deferred: Vec<Vec<u8>>,
    deferred_bytes: usize,
    /// Bytes in `ready`, `deferred`, and in the consumer's hand.
    held: usize,
    in_hand: usize,
    target: usize,
    line_open: bool,
    parked: bool,
    armed: bool,
    signalled: bool,
    end: Option<Result<()>>,
    batches: u64,
    bytes: u64,
}

impl Feed {
    /// An empty feed.
    ///
    /// # Errors
    /// [`Error::Os`] where the process is out of descriptors.
    pub fn new() -> Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(Error::on(b"eventfd"))?;
        let state = State {
            target: FIRST,
            ..State::default()
        };
        Ok(Self {
            state: Mutex::new(state),
            event,
        })
    }

    /// The eventfd that becomes readable after [`Taken::Wait`].
    pub fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Takes the next batch. The flag says that the producer had parked and has room again:
    /// the caller must give it a turn.
    pub fn take(&self) -> (Taken, bool) {
        let mut state = lock(&self.state);
        state.clear_signal(&self.event);
        let hand = std::mem::take(&mut state.in_hand);
        state.release(hand);
        let taken = match state.ready.pop_front() {
            Some(batch) => {
                state.in_hand = batch.len();
                Taken::Batch(batch)
            }
            None => match &state.end {
                Some(end) => Taken::End(end.clone()),
                None => {
                    state.armed = true;
                    Taken::Wait
                }
            },
        };
        let resume = state.parked && state.can_go_on();
        state.parked &= !resume;
        (taken, resume)
    }

    /// Puts a batch of whole lines into the queue; an empty one is dropped.
    pub fn push(&self, batch: Vec<u8>) {
        if batch.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        state.account(&batch);
        if state.line_open {
            state.deferred_bytes += batch.len();
            state.deferred.push(batch);
        } else {
            state.ready.push_back(batch);
            state.signal(&self.event);
        }
    }

    /// Puts a part of one long line into the queue. From the first part to the one with
    /// `last`, whole lines of others wait behind it. One producer at a time may do so:
    /// [`Feed::open_line`] tells who.
    pub fn push_part(&self, part: Vec<u8>, last: bool) {
        let mut state = lock(&self.state);
        if !part.is_empty() {
            state.account(&part);
            state.ready.push_back(part);
        }
        if last {
            state.line_open = false;
            state.deferred_bytes = 0;
            let deferred = std::mem::take(&mut state.deferred);
            state.ready.extend(deferred);
        }
        state.signal(&self.event);
    }

    /// Claims the queue for a line of many parts; false where another line is open.
    pub fn open_line(&self) -> bool {
        let mut state = lock(&self.state);
        !std::mem::replace(&mut state.line_open, true)
    }

    /// Whether a long line is being sent.
    pub fn is_line_open(&self) -> bool {
        lock(&self.state).line_open
    }

    /// Whether the next part of a long line may be produced now. What waits behind the line does
    /// not count: nobody can take it before the line is over, and the line would wait for ever.
    pub fn has_room_for_line(&self) -> bool {
        lock(&self.state).can_go_on()
    }

    /// Whether the consumer waits for a batch.
    pub fn is_awaited(&self) -> bool {
        let state = lock(&self.state);
        state.armed && state.ready.is_empty()
    }

    /// Whether more may be produced now.
    pub fn has_room(&self) -> bool {
        lock(&self.state).has_room()
    }

    /// Parks the producer unless there is room: true where it must end its turn, and will be
    /// given one by whoever takes the next batch.
    pub fn park(&self) -> bool {
        let mut state = lock(&self.state);
        if state.end.is_none() && !state.can_go_on() {
            state.parked = true;
        }
        state.parked
    }

    /// No more batches, or no more can come. The first word counts.
    pub fn end(&self, how: Result<()>) {
        let mut state = lock(&self.state);
        if how.is_err() {
            state.deferred.clear();
        }
        state.end.get_or_insert(how);
        state.signal(&self.event);
    }

    /// Whether the end was said.
    pub fn is_ended(&self) -> bool {
        lock(&self.state).end.is_some()
    }

    /// Drops what is queued: nobody will take it.
    pub fn discard(&self) {
        let mut state = lock(&self.state);
        state.ready.clear();
        state.deferred.clear();
        state.deferred_bytes = 0;
        let held = state.held;
        state.release(held);
        state.in_hand = 0;
        // Also where it was complete: what is dropped here was never taken.
        state.end = Some(Err(Error::Stopped));
    }

    /// The size at which a batch should be handed over.
    pub fn target(&self) -> usize {
        lock(&self.state).target
    }

    /// Of how many bytes of a file a part of a long line should be made.
    pub fn piece(&self) -> usize {
        if is_crowded() { CROWDED_PIECE } else { PIECE }
    }

    /// Batches and bytes handed over so far.
    pub fn counts(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.batches, state.bytes)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.discard();
    }
}

impl State {
    fn has_room(&self) -> bool {
        has_room_beside(self.held)
    }

    /// Whether a turn could do anything: while a long line is open, only its parts count.
    fn can_go_on(&self) -> bool {
        if self.line_open {
            has_room_beside(self.held - self.deferred_bytes)
        } else {
            self.has_room()
        }
    }

    fn account(&mut self, batch: &[u8]) {
        // The consumer keeps up while it finds the queue empty: larger batches cost it less.
        if is_crowded() {
            self.target = FIRST;
        } else if self.held == self.in_hand {
            self.target = LARGEST.min(self.target * 2);
        }
        self.held += batch.len();
        SHARED.fetch_add(batch.len(), Ordering::Relaxed);
        self.batches += 1;
        self.bytes += batch.len() as u64;
    }

    fn release(&mut self, bytes: usize) {
        self.held -= bytes;
        SHARED.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn signal(&mut self, event: &OwnedFd) {
        if std::mem::take(&mut self.armed) {
            self.signalled = true;
            // Cannot fail: the counter is at most 1.
            let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
        }
    }

    fn clear_signal(&mut self, event: &OwnedFd) {
        self.armed = false;
        if std::mem::take(&mut self.signalled) {
            let _ = rustix::io::read(event, &mut [0_u8; 8]);
        }
    }
}

/// Whether so much lies in all feeds together that each should hold little.
pub fn is_crowded() -> bool {
    SHARED.load(Ordering::Relaxed) >= SHARED_BOUND / 2
}

fn has_room_beside(held: usize) -> bool {
    held == 0 || (held < OWN_BOUND && SHARED.load(Ordering::Relaxed) < SHARED_BOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(feed: &Feed) -> Vec<String> {
        let mut found = Vec::new();
        while let (Taken::Batch(batch), _) = feed.take() {
            found.push(String::from_utf8(batch).unwrap());
        }
        found
    }

    #[test]
    fn whole_lines_wait_until_a_long_one_is_over() {
        let feed = Feed::new().unwrap();
        feed.push(b"one\n".to_vec());
        assert!(feed.open_line());
        assert!(!feed.open_line());
        feed.push_part(b"lo".to_vec(), false);
        feed.push(b"two\n".to_vec());
        feed.push_part(b"ng\n".to_vec(), true);
        assert_eq!(texts(&feed), ["one\n", "lo", "ng\n", "two\n"]);
        assert!(feed.open_line());
    }

    #[test]
    fn a_producer_parks_when_the_queue_is_full_and_is_resumed_by_a_take() {
        let feed = Feed::new().unwrap();
        assert!(!feed.park());
        feed.push(vec![b'x'; OWN_BOUND]);
        assert!(feed.park());
        let (taken, resume) = feed.take();
        assert!(matches!(taken, Taken::Batch(_)));
        // In the consumer's hand it still counts.
        assert!(!resume);
        let (taken, resume) = feed.take();
        assert!(matches!(taken, Taken::Wait));
        assert!(resume);
    }

    #[test]
    fn a_long_line_goes_on_however_much_waits_behind_it() {
        let feed = Feed::new().unwrap();
        assert!(feed.open_line());
        feed.push_part(vec![b'x'; OWN_BOUND], false);
        feed.push(vec![b'y'; OWN_BOUND]);
        assert!(feed.park());
        assert!(matches!(feed.take().0, Taken::Batch(_)));
        // Only what nobody may take yet is left: the line must get a turn, or nobody ever does.
        let (taken, resume) = feed.take();
        assert!(matches!(taken, Taken::Wait));
        assert!(resume);
        assert!(!feed.has_room());
        assert!(feed.has_room_for_line());
        assert!(!feed.park());
        feed.push_part(b"end\n".to_vec(), true);
        assert!(!feed.has_room_for_line());
        assert_eq!(texts(&feed).len(), 2);
    }

    #[test]
    fn batches_grow_while_the_consumer_keeps_up() {
        let feed = Feed::new().unwrap();
        for _ in 0..10 {
            feed.push(vec![b'x'; 10]);
            assert!(matches!(feed.take().0, Taken::Batch(_)));
        }
        assert_eq!(feed.target(), LARGEST);
    }

    #[test]
    fn the_event_is_readable_exactly_when_someone_waited() {
        let feed = Feed::new().unwrap();
        let mut bytes = [0_u8; 8];
        feed.push(b"a".to_vec());
        assert!(rustix::io::read(feed.event(), &mut bytes).is_err());
        assert!(matches!(feed.take().0, Taken::Batch(_)));
        assert!(matches!(feed.take().0, Taken::Wait));
        feed.push(b"b".to_vec());
        assert!(matches!(feed.take().0, Taken::Batch(_)));
        assert!(matches!(feed.take().0, Taken::Wait));
        feed.end(Ok(()));
        assert!(rustix::io::read(feed.event(), &mut bytes).is_ok());
        assert!(matches!(feed.take().0, Taken::End(Ok(()))));
    }
}
