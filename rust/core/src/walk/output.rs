//! What one turn of a stream writes into before it hands it over.
//!
//! Belongs here: the buffer, its age, the lines that are no entries. Banned here: the feed.

use std::time::Instant;

use rustix::io::Errno;

use super::read::append_error;

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
