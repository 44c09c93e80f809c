//! Which entries of a walk are hidden: git's ignore rules and the caller's own patterns.
//!
//! Belongs here: reading and compiling `.gitignore`, `.git/info/exclude` and the global
//! excludes; the index scan that keeps tracked files visible; the verdict on one name in one
//! directory. Banned here: walking, output, threads.
//!
//! The contract with the walk. It opens a directory, reads its names, and says in [`Seen`]
//! which of two names were there. For each directory it enters it calls [`DirRules::enter`]
//! once, from any thread; where [`DirRules::is_empty`] is false it asks
//! [`DirRules::verdict`] for each name. The name `.git` is the walk's own affair: with
//! `use_gitignore` it leaves out any entry of that name and does not ask; were it a rule, no
//! directory would be free of rules.
//!
//! Precedence, the first that has a matching pattern: the caller's patterns (as git's
//! `--exclude`; a `!` there brings back what git ignores, but nothing from within an ignored
//! directory), the `.gitignore` files from the deepest up, `info/exclude`, the global
//! excludes. The index has the last word on what git's rules hide, and none on what the caller's
//! patterns hide. Outside of a repository, and in a listed directory that is itself ignored, only
//! `.gitignore` files at and below the listed directory count.
//!
//! One engine, ours, and not the `ignore` crate's. Measured by `benches/rules.rs` on a kernel
//! tree (83,726 entries, 306 rules files, two shared cores, the best of 60 rounds): 127 ns an
//! entry here, entering and cache look-ups included, against 290 to 320 with the crate's
//! matchers, kept compiled. 10,000 patterns compile in 3 to 14 ms here, whatever they look
//! like, and in 12 to 163 there. Telling the lines that mean the same to both from the others
//! takes a full parse of git's syntax, after which nothing is left for the crate to parse; and
//! two engines in one file would have to agree on which rule came last. The crate remains
//! as the rival in the bench.
//!
//! Source: gitignore(5); wire contract, section 2, `use_gitignore` and `ignore_patterns`.

mod config;
mod directory;
mod files;
mod index;
mod line;

mod notices;
mod patterns;
mod repository;
mod table;
mod trie;
mod wildcard;

use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, CWD, readlinkat, statat};

pub use config::GitEnvironment;
use config::Settings;
pub use directory::DirRules;
use directory::{Scopes, with_name};
use notices::Notices;
use patterns::Name;
use repository::Repository;
use trie::{Reached, Trie};

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
#[derive(Debug)]
pub struct RuleSet {
    use_gitignore: bool,
    /// The listed directory as it was spelled, with a slash at the end.
    path: Vec<u8>,
    own: Trie,
    environment: GitEnvironment,
    /// What the system's and the user's configuration set, read when a repository is met.
    user: OnceLock<Settings>,
    notices: Notices,
}

impl RuleSet {
    /// Rules for a walk of the directory `root` (open as `fd`, spelled `path`, absolute).
    ///
    /// # Errors
    /// [`BadPattern`] if one of `options.ignore_patterns` is malformed.
    pub fn open(
        fd: BorrowedFd<'_>,
        path: &[u8],
        seen: Seen,
        options: &RuleOptions,
    ) -> Result<(Arc<Self>, Arc<DirRules>), BadPattern> {
        Self::open_in(fd, path, seen, options, GitEnvironment::current())
    }

    /// [`RuleSet::open`] for a user whose configuration lies elsewhere.
    ///
    /// # Errors
    /// As [`RuleSet::open`].
    pub fn open_in(
        fd: BorrowedFd<'_>,
        path: &[u8],
        seen: Seen,
        options: &RuleOptions,
        environment: &GitEnvironment,
    ) -> Result<(Arc<Self>, Arc<DirRules>), BadPattern> {
        let patterns = &options.ignore_patterns;
        let own = Trie::of_patterns(patterns)
            .map_err(|(place, reason)| BadPattern(patterns[place].clone(), reason.to_owned()))?;
        let reached = own.start();
        let set = Arc::new(Self {
            use_gitignore: options.use_gitignore,
            path: [path.strip_suffix(b"/").unwrap_or(path), b"/"].concat(),
            own,
            environment: environment.clone(),
            user: OnceLock::new(),
            notices: Notices::default(),
        });
        let root = if options.use_gitignore {
            set.root(fd, seen, reached)
        } else {
            DirRules::root(b"", None, Scopes::default(), reached)
        };
        Ok((set, root))
    }

    /// Takes the notices collected since the last call.
    pub fn take_notices(&self) -> Vec<Notice> {
        self.notices.take_all()
    }

    /// The listed directory's rules, with those above it as far as they hold.
    fn root(&self, fd: BorrowedFd<'_>, seen: Seen, own: Reached) -> Arc<DirRules> {
        let real = real_path(fd).unwrap_or_else(|| self.path[..self.path.len() - 1].to_vec());
        let found = self.around(&real, seen);
        let (repository, inside) = found.map_or((None, real.len()), |(one, at)| (Some(one), at));
        let fold = repository.as_ref().is_some_and(Repository::fold);
        let above = repository
            .as_ref()
            .map(|one| self.above(one, &real, inside));
        let here = seen
            .gitignore
            .then(|| self.gitignore(fd, fold, || self.path.clone()))
            .flatten();
        let scopes = above.unwrap_or_default().with(here);
        let prefix = real.get(inside + 1..).unwrap_or_default();
        DirRules::root(prefix, repository.map(Arc::new), scopes, own)
    }

    /// The repository that the directory at `real` lies in, and the length of its root's path.
    /// Like git, looks no further than the file system that the directory is on.
    fn around(&self, real: &[u8], seen: Seen) -> Option<(Repository, usize)> {
        let device = |path: &[u8]| {
            statat(CWD, at_least_slash(path), AtFlags::empty()).map(|stat| stat.st_dev)
        };
        let start = device(real).ok();
        let mut length = if real == b"/" { 0 } else { real.len() };
        loop {
            let root = &real[..length];
            if length < real.len() && device(root).ok() != start {
                return None;
            }
            let looked = length < real.len() || seen.git;
            if let Some(found) = looked.then(|| self.repository(root)).flatten() {
                return Some((found, length));
            }
            length = memchr::memrchr(b'/', root)?;
        }
    }

    /// The rules of `repository`, whose root is the first `inside` bytes of `real`, that come
    /// from above `real`: none if they ignore it.
    fn above(&self, repository: &Repository, real: &[u8], inside: usize) -> Scopes {
        let mut scopes = Scopes::of(repository);
        let mut length = inside;
        for name in real
            .get(inside + 1..)
            .unwrap_or_default()
            .split(|&byte| byte == b'/')
        {
            if name.is_empty() {
                break;
            }
            let path = [&real[..length], &b"/.gitignore"[..]].concat();
            let read = files::rules(CWD, &path, false, repository.fold());
            scopes = scopes.with(self.notices.take(&path, read));
            let next = with_name(name, repository.fold(), |name| {
                (scopes.decide(name, true) != Some(true)).then(|| scopes.step(name))
            });
            match next.filter(|_| name != b".git") {
                Some(next) => scopes = next,
                None => return Scopes::default(),
            }
            length += 1 + name.len();
        }
        scopes
    }

    /// The repository whose root is at `path`, if one is.
    fn repository(&self, path: &[u8]) -> Option<Repository> {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let user = self.user.get_or_init(|| self.environment.settings());
        Repository::open(path, &self.environment, user, &self.notices)
    }

    /// The path of what lies at `relative` below the listed directory.
    fn path_of(&self, relative: &[u8]) -> Vec<u8> {
        [&self.path, relative].concat()
    }

    fn step_own(&self, own: &[u32], name: &[u8]) -> Reached {
        if own.is_empty() {
            Reached::default()
        } else {
            self.own.step(own, &Name::new(name))
        }
    }

    fn decide_own(&self, own: &[u32], name: &[u8], is_dir: bool) -> Option<bool> {
        if own.is_empty() {
            None
        } else {
            self.own.decide(own, &Name::new(name), is_dir)
        }
    }
}

/// Where `fd` really is, symbolic links resolved; `None` without `/proc`, or if the path is
/// longer than the system can say.
fn real_path(fd: BorrowedFd<'_>) -> Option<Vec<u8>> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let path = readlinkat(CWD, link, Vec::new()).ok()?.into_bytes();
    path.starts_with(b"/").then_some(path)
}

/// What the caches of this process hold, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Compiled rules.
    pub rules: usize,
    /// Indexes of repositories.
    pub indexes: usize,
    /// Neither holds more.
    pub limit: usize,
}

/// How full the caches are.
pub fn kept() -> Kept {
    Kept {
        rules: files::kept(),
        indexes: index::kept(),
        limit: files::KEPT,
    }
}

fn at_least_slash(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"/" } else { path }
}
