//! Why an upload ends: the archive is at fault, or the file system.
//!
//! Belongs here: the two, and how names are shown. Banned here: statuses (Python has the table).

use crate::error::Error;

const SHOWN: usize = 200;

/// What is wrong with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// It is broken, or would leave its destination.
    Bad,
    /// It is over a limit.
    TooLarge,
    /// It would replace what is protected.
    Forbidden,
}

/// Why an upload cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The archive is at fault: a sentence for its sender.
    Refused(Code, String),
    /// The file system is.
    Failed(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

pub(super) fn bad(sentence: impl Into<String>) -> Trouble {
    Trouble::Refused(Code::Bad, sentence.into())
}

pub(super) fn too_large(sentence: impl Into<String>) -> Trouble {
    Trouble::Refused(Code::TooLarge, sentence.into())
}

/// A name for a sentence: short, and in quotes.
pub(super) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    if text.chars().count() <= SHOWN {
        return format!("{text:?}");
    }
    let begin: String = text.chars().take(SHOWN).collect();
    format!("{begin:?}... ({} bytes)", name.len())
}
