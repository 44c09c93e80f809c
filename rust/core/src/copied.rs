//! The account of a copy or a move: what was refused, what was done, what was not and why.
//!
//! Belongs here: the account, bounded, with every cut flagged. Banned here: copying.

use rustix::io::Errno;

use crate::removal::{Cut, MOST_NAMED, Refusal};

/// Why nothing was done, by what stands at the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash {
    /// Both are the same file.
    Same,
    /// The destination lies in the source.
    Inside,
    /// The source lies in the destination.
    Around,
    /// Something is there, and was not to be replaced.
    Exists,
    /// A directory, and something that is none.
    Kinds,
    /// A directory is there that is not empty.
    NotEmpty,
}

/// What was left out, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A device.
    Device,
    /// A mount of proc, sysfs or their like.
    Pseudo,
}

/// The account of a copy or a move.
#[derive(Clone, Debug, Default)]
pub struct Copied {
    /// The protected path that it would have taken away; nothing was done.
    pub protected: Option<Vec<u8>>,
    /// Mount points in the way; nothing was done.
    pub mounts: Vec<Vec<u8>>,
    /// Why nothing was done.
    pub clash: Option<Clash>,
    /// Moved in one step, by giving it another name.
    pub renamed: bool,
    /// Entries that are at the destination now.
    pub entries: u64,
    /// The bytes of files among them.
    pub bytes: u64,
    /// Entries removed from the source after their copies were made to last.
    pub removed: u64,
    /// The first failures.
    pub errors: Vec<Refusal>,
    /// Failures in all.
    pub failures: usize,
    /// The first of what was left out.
    pub left: Vec<(Vec<u8>, Left)>,
    /// What was left out, in all.
    pub left_out: usize,
    /// Where it ended early.
    pub cut: Option<Cut>,
}

impl Copied {
    pub(crate) fn refused(clash: Clash) -> Self {
        Self {
            clash: Some(clash),
            ..Self::default()
        }
    }

    pub(crate) fn fail(&mut self, path: Vec<u8>, errno: Errno) {
        self.failures += 1;
        if self.errors.len() < MOST_NAMED {
            self.errors.push(Refusal { path, errno });
        }
        // Whatever comes next would meet the same.
        if matches!(errno, Errno::NOSPC | Errno::DQUOT | Errno::ROFS) {
            self.cut = Some(Cut::Failing);
        }
    }

    pub(crate) fn leave_out(&mut self, path: Vec<u8>, why: Left) {
        self.left_out += 1;
        if self.left.len() < MOST_NAMED {
            self.left.push((path, why));
        }
    }

    /// Whether all of it is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.failures == 0 && self.left_out == 0 && self.cut.is_none()
    }
}
