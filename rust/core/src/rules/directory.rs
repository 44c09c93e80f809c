//! The rules inside one directory, and the step to a directory below.
//!
//! Belongs here: the order of precedence, what a nested repository changes, the question to
//! the index. Banned here: reading directories, the syntax of patterns.
//!
//! Source: gitignore(5), `last_matching_pattern` and `treat_directory` in git's `dir.c`.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};

use super::index::{Place, Tracked};
use super::patterns::Name;
use super::repository::Repository;
use super::trie::{Reached, Trie};
use super::{RuleSet, Seen, Verdict, files};

/// The rules of one file, as far as a directory has come in them.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    rules: Arc<Trie>,
    reached: Reached,
}

impl Scope {
    pub(super) fn start(rules: Arc<Trie>) -> Self {
        let reached = rules.start();
        Self { rules, reached }
    }

    /// The same for the child `name`; `None` where nothing can match any more.
    fn step(&self, name: &Name<'_>) -> Option<Self> {
        let reached = self.rules.step(&self.reached, name);
        (!reached.is_empty()).then(|| Self {
            rules: Arc::clone(&self.rules),
            reached,
        })
    }
}

/// Git's rules in force, the most important first.
#[derive(Clone, Debug, Default)]
pub(super) struct Scopes(Arc<[Scope]>);

impl Scopes {
    /// Those at the root of `repository`, its own `.gitignore` aside.
    pub(super) fn of(repository: &Repository) -> Self {
        Self(
            repository
                .excludes
                .iter()
                .cloned()
                .map(Scope::start)
                .collect(),
        )
    }

    /// Those inside the child `name`, its own `.gitignore` aside.
    pub(super) fn step(&self, name: &Name<'_>) -> Self {
        let next: Vec<Scope> = self.0.iter().filter_map(|scope| scope.step(name)).collect();
        let same = |(one, other): (&Scope, &Scope)| one.reached == other.reached;
        if next.len() == self.0.len() && next.iter().zip(self.0.iter()).all(same) {
            return self.clone();
        }
        Self(next.into())
    }

    /// With the `.gitignore` of the directory itself.
    pub(super) fn with(self, rules: Option<Arc<Trie>>) -> Self {
        match rules {
            Some(rules) => Self(
                std::iter::once(Scope::start(rules))
                    .chain(self.0.iter().cloned())
                    .collect(),
            ),
            None => self,
        }
    }

    /// `Some(true)` to ignore `name`, `Some(false)` not to, `None` where no rule matches.
    pub(super) fn decide(&self, name: &Name<'_>, is_dir: bool) -> Option<bool> {
        self.0
            .iter()
            .find_map(|scope| scope.rules.decide(&scope.reached, name, is_dir))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Calls `use_name` with `name` as the rules of a repository that folds case, or not, want it.
pub(super) fn with_name<T>(name: &[u8], fold: bool, use_name: impl FnOnce(&Name<'_>) -> T) -> T {
    if fold {
        use_name(&Name::new(&name.to_ascii_lowercase()))
    } else {
        use_name(&Name::new(name))
    }
}

/// The rules that hold inside one directory. Immutable, shared by `Arc`.
#[derive(Debug)]
pub struct DirRules {
    parent: Option<Arc<DirRules>>,
    /// Its name in its parent. At the listed directory its path in the repository.
    name: Box<[u8]>,
    repository: Option<Arc<Repository>>,
    /// The repository begins here.
    begins: bool,
    git: Scopes,
    /// What the directory has reached in the caller's own patterns.
    own: Reached,
    tracked_only: bool,
    /// Its part of the index, found on first use.
    place: OnceLock<Place>,
}

impl Drop for DirRules {
    /// One level after the other: thousands of levels would overflow the stack.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(one) = next {
            next = Arc::into_inner(one).and_then(|mut one| one.parent.take());
        }
    }
}

impl DirRules {
    /// Those of the listed directory, `name` being its path in `repository`.
    pub(super) fn root(
        name: &[u8],
        repository: Option<Arc<Repository>>,
        git: Scopes,
        own: Reached,
    ) -> Arc<Self> {
        Arc::new(Self {
            parent: None,
            name: name.into(),
            repository,
            begins: true,
            git,
            own,
            tracked_only: false,
            place: OnceLock::new(),
        })
    }

    /// The rules inside the child directory `name`, open as `fd`. `tracked_only` after
    /// [`Verdict::TrackedOnly`].
    ///
    /// A repository that begins there starts anew, unless `tracked_only`: then it is the outer
    /// repository's files that are shown. Reads at most the child's `.gitignore` and, where a
    /// repository begins, that repository's few files; may be called from any thread.
    pub fn enter(
        self: &Arc<Self>,
        set: &RuleSet,
        fd: BorrowedFd<'_>,
        name: &[u8],
        seen: Seen,
        tracked_only: bool,
    ) -> Arc<Self> {
        let own = set.step_own(&self.own, name);
        if !set.use_gitignore {
            return if own == self.own {
                Arc::clone(self)
            } else {
                Self::root(b"", None, Scopes::default(), own)
            };
        }
        let path = || set.path_of(&self.path_from_root(name));
        let nested = (seen.git && !tracked_only)
            .then(|| set.repository(&path()))
            .flatten();
        let begins = nested.is_some();
        let repository = nested.map(Arc::new).or_else(|| self.repository.clone());
        let fold = repository.as_ref().is_some_and(|one| one.fold());
        let above = match &repository {
            _ if tracked_only => Scopes::default(),
            Some(nested) if begins => Scopes::of(nested),
            _ if self.git.is_empty() => Scopes::default(),
            _ => with_name(name, fold, |name| self.git.step(name)),
        };
        let read = seen.gitignore && !tracked_only;
        let here = read.then(|| set.gitignore(fd, fold, path)).flatten();
        Arc::new(Self {
            parent: Some(Arc::clone(self)),
            name: name.into(),
            repository,
            begins,
            git: above.with(here),
            own,
            tracked_only,
            place: OnceLock::new(),
        })
    }

    /// True when no name in this directory can be hidden, so that `verdict` need not be asked.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.git.is_empty() && !self.tracked_only
    }

    /// What the rules say about the entry `name` of this directory. Touches no file, except
    /// that the first ignored name of a repository reads its index.
    pub fn verdict(&self, set: &RuleSet, name: &[u8], is_dir: bool) -> Verdict {
        match set.decide_own(&self.own, name, is_dir) {
            Some(true) => return Verdict::Ignore,
            Some(false) if !self.tracked_only => return Verdict::Keep,
            _ => {}
        }
        let fold = self.repository.as_ref().is_some_and(|one| one.fold());
        let decide = |name: &Name<'_>| self.git.decide(name, is_dir) == Some(true);
        if self.tracked_only || (!self.git.is_empty() && with_name(name, fold, decide)) {
            return self.unless_tracked(set, name, is_dir);
        }
        Verdict::Keep
    }

    /// An ignored name: hidden, unless git tracks it.
    fn unless_tracked(&self, set: &RuleSet, name: &[u8], is_dir: bool) -> Verdict {
        let Some(repository) = &self.repository else {
            return Verdict::Ignore;
        };
        let Some(index) = repository.index(&set.notices) else {
            return Verdict::Ignore;
        };
        let spelled = |name: &[u8]| {
            if repository.fold() {
                name.to_ascii_lowercase()
            } else {
                name.to_vec()
            }
        };
        let place = self
            .place
            .get_or_init(|| index.below(&spelled(&self.path_in_repository())));
        match index.entry(place, &spelled(name), is_dir) {
            Tracked::No => Verdict::Ignore,
            Tracked::Itself => Verdict::Keep,
            Tracked::Below => Verdict::TrackedOnly,
        }
    }

    /// This directory and those above, up to the listed one.
    fn up(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |one| one.parent.as_deref())
    }

    /// Path relative to the repository's root: empty, or with a slash at the end.
    fn path_in_repository(&self) -> Vec<u8> {
        let mut parts = Vec::new();
        for one in self.up() {
            if !one.begins || one.parent.is_none() {
                parts.push(&*one.name);
            }
            if one.begins {
                break;
            }
        }
        joined(parts.into_iter().rev())
    }

    /// Path of the child `name`, relative to the listed directory, with a slash at the end.
    fn path_from_root(&self, name: &[u8]) -> Vec<u8> {
        let mut parts = vec![name];
        parts.extend(
            self.up()
                .filter(|one| one.parent.is_some())
                .map(|one| &*one.name),
        );
        joined(parts.into_iter().rev())
    }
}

/// With a slash behind each part that is not empty.
fn joined<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut path = Vec::new();
    for part in parts.filter(|part| !part.is_empty()) {
        path.extend_from_slice(part);
        path.push(b'/');
    }
    path
}

impl RuleSet {
    /// The rules in the `.gitignore` of the directory open as `fd`; `path` gives that
    /// directory's path, with a slash at the end.
    pub(super) fn gitignore(
        &self,
        fd: BorrowedFd<'_>,
        fold: bool,
        path: impl FnOnce() -> Vec<u8>,
    ) -> Option<Arc<Trie>> {
        match files::rules(fd, b".gitignore", false, fold) {
            Ok(Some(rules)) if rules.problems.is_empty() => {
                Some(rules).filter(|rules| !rules.is_empty())
            }
            read => self
                .notices
                .take(&[&path(), &b".gitignore"[..]].concat(), read),
        }
    }
}
