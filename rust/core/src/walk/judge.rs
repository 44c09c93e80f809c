//! Whether an entry is walked, shown, entered: the one verdict of all forms.
//!
//! Belongs here: the order in which rules, barriers and filters are asked. Banned here: what
//! any of them means, output.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use super::read::Seen;
use super::{Common, Dir, Form};
use crate::directory::Kind;
use crate::error::Result;
use crate::rules::Verdict;

/// An entry that the rules do not hide.
pub(super) struct Judged {
    pub(super) kind: Kind,
    /// What the disk said already, where the directory did not say what the entry is.
    pub(super) seen: Option<Seen>,
    /// Only tracked files below it are shown.
    pub(super) is_tracked: bool,
    /// Why a directory is not entered, as a finished field; empty for no word.
    pub(super) barrier: Option<&'static [u8]>,
    /// The filters let it into the answer.
    pub(super) is_match: bool,
}

impl Common {
    /// The verdict on one entry; `None`: it is hidden, or has vanished.
    pub(super) fn judge(
        &self,
        dir: &Dir,
        fd: BorrowedFd<'_>,
        name: &CStr,
        hint: Option<Kind>,
    ) -> Result<Option<Judged>> {
        let bytes = name.to_bytes();
        if self.options.rules.use_gitignore && bytes == b".git" {
            return Ok(None);
        }
        let mut seen = None;
        if hint.is_none() {
            // The file system does not say; rules and filters must know.
            seen = self.look(fd, name, None);
            if seen.is_none() {
                return Ok(None);
            }
        }
        let kind = hint
            .or(seen.as_ref().map(|seen| seen.kind))
            .unwrap_or(Kind::Other);
        let is_directory = kind == Kind::Directory;
        let mut verdict = Verdict::Keep;
        if !dir.rules.is_empty() {
            verdict = dir
                .rules
                .verdict(&self.ground()?.rules, bytes, is_directory);
        }
        if verdict == Verdict::Ignore {
            return Ok(None);
        }
        let filter = &self.options.filter;
        Ok(Some(Judged {
            kind,
            seen,
            is_tracked: verdict == Verdict::TrackedOnly,
            barrier: is_directory.then(|| self.barrier(dir, bytes)).flatten(),
            is_match: filter.is_empty() || filter.matches(dir.spelling.rel(), bytes, kind),
        }))
    }

    fn barrier(&self, dir: &Dir, name: &[u8]) -> Option<&'static [u8]> {
        if self.options.form == Form::Children {
            return Some(b"");
        }
        let ground = self.ground.get()?;
        if ground.pseudo.contains(dir.spelling.rel(), name) {
            return Some(b",\"skipped\":\"pseudo_filesystem\"");
        }
        let is_last = dir.depth + 1 >= self.options.max_depth;
        is_last.then_some(b",\"depth_limited\":true")
    }
}
