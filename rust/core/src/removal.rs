//! The account of a removal: what went, what did not and why, what is left.
//!
//! Belongs here: the account, bounded, with every cut flagged. Banned here: removing.
//!
//! Source: wire contract, section 2, "Delete": a removal that stops half-way answers with
//! `errors` and what remains.

use rustix::io::Errno;

/// Failures and survivors that the account names.
pub(crate) const MOST_NAMED: usize = 1000;

/// What cannot be removed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The path, spelled as the removed one was.
    pub path: Vec<u8>,
    /// What the system said: `EXDEV` for a mount point.
    pub errno: Errno,
}

/// Why a removal ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The stop flag was set.
    Stopped,
    /// The deadline passed.
    Late,
    /// Too much failed.
    Failing,
}

/// The account of a removal.
#[derive(Clone, Debug, Default)]
pub struct Removal {
    /// The protected path that it would have taken away; nothing was removed.
    pub protected: Option<Vec<u8>>,
    /// Mount points at or below the path; nothing was removed.
    pub mounts: Vec<Vec<u8>>,
    /// Entries removed.
    pub removed: u64,
    /// The first failures.
    pub errors: Vec<Refusal>,
    /// Failures in all.
    pub failures: usize,
    /// Where it ended early.
    pub cut: Option<Cut>,
    /// Entries that are still there, at most a thousand, parents before children.
    pub remaining: Vec<Vec<u8>>,
    /// Whether `remaining` lacks some.
    pub remaining_cut: bool,
}

impl Removal {
    pub(crate) fn note(&mut self, path: Vec<u8>, errno: Errno) {
        self.failures += 1;
        if self.errors.len() < MOST_NAMED {
            self.errors.push(Refusal { path, errno });
        }
    }

    /// What is still there, for the self.
    pub(crate) fn survey(&mut self, top: &[u8]) {
        use std::os::unix::ffi::OsStrExt;
        let path = |bytes: &[u8]| std::path::PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
        let mut waiting = vec![path(top)];
        while let Some(one) = waiting.pop() {
            let Ok(told) = one.symlink_metadata() else {
                continue;
            };
            if self.remaining.len() == MOST_NAMED {
                self.remaining_cut = true;
                return;
            }
            self.remaining.push(one.as_os_str().as_bytes().to_vec());
            if !told.is_dir() {
                continue;
            }
            let Ok(inner) = std::fs::read_dir(&one) else {
                self.remaining_cut = true;
                continue;
            };
            // One more than can be named tells that there are more.
            waiting.extend(
                inner
                    .take(MOST_NAMED + 1)
                    .flatten()
                    .map(|entry| entry.path()),
            );
        }
    }
}
