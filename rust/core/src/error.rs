//! The one error of the core: what failed, and on which path.
//!
//! Belongs here: the closed set of ways in which work can fail. Banned here: sentences for
//! clients (Python has one table for those) and anything of Python's.

use rustix::io::Errno;

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A system call failed on a path (absolute, as it was asked for).
    Os {
        /// The call's errno.
        errno: Errno,
        /// The path at fault.
        path: Vec<u8>,
    },
    /// The caller asked for something impossible; the sentence names the value.
    Invalid(String),
    /// The owner set the stop flag.
    Stopped,
    /// A bug of ours: a thread panicked.
    Panicked(String),
}

/// What fallible functions of the core return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err`: a failed call on `path`.
    pub fn on(path: &[u8]) -> impl FnOnce(Errno) -> Self + '_ {
        move |errno| Self::Os {
            errno,
            path: path.to_vec(),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Os { errno, path } => write!(f, "{errno}: {}", String::from_utf8_lossy(path)),
            Self::Invalid(sentence) => f.write_str(sentence),
            Self::Stopped => f.write_str("stopped"),
            Self::Panicked(what) => write!(f, "panicked: {what}"),
        }
    }
}

impl std::error::Error for Error {}
