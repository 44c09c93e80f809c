//! Which entries of a walk are hidden: git's ignore rules and the caller's own patterns.
//!
//! Belongs here: reading and compiling `.gitignore`, `.git/info/exclude` and the global
//! excludes; the index scan that keeps tracked files visible; the verdict on one name in one
//! directory. Banned here: walking, output, threads.
//!
//! Source: gitignore(5); wire contract, section 2, `use_gitignore` and `ignore_patterns`.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// What a caller asked of the rules.
#[derive(Clone, Debug, Default)]
pub struct RuleOptions {
    /// Apply git's rules (`use_gitignore`).
    pub use_gitignore: bool,
    /// Gitignore-style globs relative to the listed directory, applied on top (`ignore_patterns`).
    pub ignore_patterns: Vec<Vec<u8>>,
}

/// What the directory's own listing showed, so that nothing need be probed for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// An entry `.gitignore` is there (of any type).
    pub gitignore: bool,
    /// An entry `.git` is there (of any type): a repository may begin here.
    pub git: bool,
}

/// What the rules say about one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is shown, and entered if it is a directory.
    Keep,
    /// It is hidden with all below it.
    Ignore,
    /// An ignored directory with tracked files below: shown, entered with
    /// [`DirRules::enter`]'s `tracked_only`, and only what leads to tracked files is kept there.
    TrackedOnly,
}

/// Something about the rules that a client must be told (a line that could not be
/// understood, an index that could not be read).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Absolute path of the file concerned.
    pub path: Vec<u8>,
    /// A sentence for a person.
    pub message: String,
}

/// The caller's own pattern could not be compiled: `BadPattern(pattern, reason)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern(pub Vec<u8>, pub String);

/// The rules of one walk, shared by all its threads.
#[derive(Debug, Default)]
pub struct RuleSet {}

/// The rules that hold inside one directory. Immutable, cheap to clone.
#[derive(Debug, Default)]
pub struct DirRules {}

impl RuleSet {
    /// Rules for a walk of the directory `root` (open as `fd`, spelled `path`, absolute).
    ///
    /// # Errors
    /// [`BadPattern`] if one of `options.ignore_patterns` is malformed.
    pub fn open(
        _fd: BorrowedFd<'_>,
        _path: &[u8],
        _seen: Seen,
        _options: &RuleOptions,
    ) -> Result<(Arc<Self>, Arc<DirRules>), BadPattern> {
        Ok((Arc::default(), Arc::default()))
    }

    /// Takes the notices collected since the last call.
    pub fn take_notices(&self) -> Vec<Notice> {
        Vec::new()
    }
}

impl DirRules {
    /// The rules inside the child directory `name`, open as `fd`.
    pub fn enter(
        self: &Arc<Self>,
        _set: &RuleSet,
        _fd: BorrowedFd<'_>,
        _name: &[u8],
        _seen: Seen,
        _tracked_only: bool,
    ) -> Arc<Self> {
        Arc::clone(self)
    }

    /// True when no name in this directory can be hidden, so that `verdict` need not be asked.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// What the rules say about the entry `name` of this directory.
    pub fn verdict(&self, _set: &RuleSet, _name: &[u8], _is_dir: bool) -> Verdict {
        Verdict::Keep
    }
}
