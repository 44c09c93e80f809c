//! What one turn of a stream writes into before it hands it over.
//!
//! Belongs here: the buffer, its age, the lines that are no entries. Banned here: the feed.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::read::append_error;

/// What was written is handed over after this, full or not, so that lines are early.
const FLUSH: Duration = Duration::from_millis(5);

/// What a turn writes into, and since when.
pub(super) struct Output {
    pub(super) buffer: Vec<u8>,
    pub(super) target: usize,
    pub(super) begun: Instant,
    pub(super) flushed: Instant,
    pub(super) entries: u64,
}

impl Output {
    pub(super) fn new(target: usize) -> Self {
        let now = Instant::now();
        Self {
            buffer: Vec::with_capacity(target + target / 4),
            target,
            begun: now,
            flushed: now,
            entries: 0,
        }
    }

    /// Whether what was written has waited long enough.
    pub(super) fn is_old(&self) -> bool {
        self.flushed.elapsed() >= FLUSH
    }

    /// What was written, to be handed over. What waits in a feed holds no more room than its
    /// bytes need, or a queue of small batches would hold a large buffer each.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        self.flushed = Instant::now();
        if self.buffer.is_empty() {
            return None;
        }
        if self.buffer.len() < self.buffer.capacity() / 4 {
            let batch = self.buffer.as_slice().to_vec();
            self.buffer.clear();
            return Some(batch);
        }
        let fresh = Vec::with_capacity(self.target + self.target / 4);
        Some(std::mem::replace(&mut self.buffer, fresh))
    }

    pub(super) fn end_entry(&mut self) {
        self.buffer.extend_from_slice(b"}\n");
        self.entries += 1;
    }

    pub(super) fn error(&mut self, path: &[u8], errno: Errno) {
        error_line(&mut self.buffer, path, errno);
    }
}

pub(super) fn error_line(out: &mut Vec<u8>, path: &[u8], errno: Errno) {
    out.extend_from_slice(b"{\"event\":\"error\",");
    append_error(out, path, errno);
    out.extend_from_slice(b"}\n");
}
