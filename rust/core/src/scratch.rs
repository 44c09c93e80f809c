//! What a pool thread keeps between turns, so that an entry costs no allocation.
//!
//! Belongs here: buffers whose content means nothing once a turn is over.

use std::mem::MaybeUninit;

use crate::directory::Names;
use crate::timestamp::Days;

/// Files up to this size are read in one go; larger ones in pieces, in turns.
pub const SMALL_FILE: usize = 1024 * 1024;
/// The piece in which larger files are read.
pub const PIECE: usize = 256 * 1024;
/// What one `getdents64` may return. Most directories fit, at one call and one that says end.
const DIRENTS: usize = 64 * 1024;

/// The buffers of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    dirents: Vec<u8>,
    file: Vec<u8>,
    /// The names of the directory at hand.
    pub names: Names,
    /// The last day formatted.
    pub days: Days,
}

impl Scratch {
    /// Room for raw directory entries.
    pub fn dirents(&mut self) -> (&mut [MaybeUninit<u8>], &mut Names) {
        self.dirents.reserve(DIRENTS);
        (self.dirents.spare_capacity_mut(), &mut self.names)
    }

    /// Room for a file: [`SMALL_FILE`] and one byte more, by which a larger one is told.
    pub fn file(&mut self) -> &mut [u8] {
        if self.file.is_empty() {
            self.file.resize(SMALL_FILE + 1, 0);
        }
        &mut self.file
    }
}
