//! The bell by which the engine's threads tell the event loop to look: an eventfd, rung once.
//!
//! Belongs here: ringing and hushing. Banned here: what there is to see. The loop hushes it first
//! and looks then, so that what comes while it looks rings anew.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

use crate::error::{Error, Result};

#[derive(Debug)]
pub(super) struct Bell {
    event: OwnedFd,
    is_rung: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(Error::on(b"eventfd"))?;
        Ok(Self {
            event,
            is_rung: AtomicBool::new(false),
        })
    }

    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(super) fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            // Cannot fail: the counter is at most 1.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    pub(super) fn hush(&self) {
        let _ = rustix::io::read(&self.event, &mut [0_u8; 8]);
        self.is_rung.store(false, Ordering::Release);
    }
}
