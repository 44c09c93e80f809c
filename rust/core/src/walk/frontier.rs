//! What a stream has left to do, in memory that does not grow with the tree.
//!
//! Belongs here: directories to enter as packed names, directories read half-way, larger files
//! on one of their two passes. Banned here: doing any of it (`stream`).

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Dir;
use super::read::{Facts, LongRead, Seen};
use crate::directory::Names;
use crate::inline::Emission;

/// What is left to do.
#[derive(Default)]
pub(super) struct Frontier {
    pub(super) items: Vec<Item>,
    /// A long line that is half sent: nothing else may be sent before its end.
    pub(super) line: Option<Box<LongLine>>,
    /// Turns that run or wait for a thread.
    pub(super) turns: usize,
    pub(super) begun: bool,
}

pub(super) enum Item {
    Children(Children),
    Rest(Box<Rest>),
    Long(Box<LongFile>),
    /// A larger text whose line may begin when no other is open.
    Ready(Box<LongLine>),
}

/// Subdirectories to enter: for each a flag, the length of its name, its name.
pub(super) struct Children {
    pub(super) parent: Arc<Dir>,
    pub(super) packed: Vec<u8>,
    pub(super) at: usize,
}

/// A directory that is read half-way.
pub(super) struct Rest {
    pub(super) dir: Arc<Dir>,
    pub(super) fd: OwnedFd,
    pub(super) names: Names,
    pub(super) at: usize,
    pub(super) is_last: bool,
}

/// A larger file on its first pass.
pub(super) struct LongFile {
    pub(super) dir: Arc<Dir>,
    pub(super) name: CString,
    pub(super) seen: Seen,
    pub(super) read: LongRead,
}

/// A larger text on its way out.
pub(super) struct LongLine {
    /// What stands before the text, until it is sent.
    pub(super) head: Vec<u8>,
    pub(super) facts: Facts,
    pub(super) text: Emission,
}

pub(super) enum Step {
    Child(Arc<Dir>, Vec<u8>, bool),
    Rest(Box<Rest>),
    Long(Box<LongFile>),
    Line(Box<LongLine>),
    Ready(Box<LongLine>),
    /// Nothing that this turn could do.
    Nothing,
}

impl Frontier {
    pub(super) fn pop(&mut self) -> Step {
        loop {
            match self.items.pop() {
                None => return Step::Nothing,
                Some(Item::Rest(rest)) => return Step::Rest(rest),
                Some(Item::Long(file)) => return Step::Long(file),
                Some(Item::Ready(line)) => return Step::Ready(line),
                Some(Item::Children(mut children)) => {
                    let Some((name, tracked)) = children.next() else {
                        continue;
                    };
                    let parent = Arc::clone(&children.parent);
                    if children.at < children.packed.len() {
                        self.items.push(Item::Children(children));
                    }
                    return Step::Child(parent, name, tracked);
                }
            }
        }
    }
}

impl Children {
    pub(super) fn next(&mut self) -> Option<(Vec<u8>, bool)> {
        let (head, rest) = self.packed.get(self.at..)?.split_at_checked(3)?;
        let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
        let name = rest.get(..length)?.to_vec();
        self.at += 3 + length;
        Some((name, head[0] != 0))
    }
}

pub(super) fn pack(packed: &mut Vec<u8>, name: &[u8], tracked: bool) {
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    packed.push(u8::from(tracked));
    packed.extend_from_slice(&length.to_le_bytes());
    packed.extend_from_slice(&name[..usize::from(length)]);
}
