//! One repository: where its parts lie, its rules outside of the tree, its index.
//!
//! Belongs here: telling a repository from a directory that only looks like one, `.git` files
//! of worktrees and submodules, `info/exclude` and the global excludes. Banned here:
//! `.gitignore` files, matching.
//!
//! Source: gitrepository-layout(5); `is_git_directory` and `read_gitfile_gently` in git.

use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, CWD, FileType, readlinkat, statat};

use super::config::{GitEnvironment, Settings};
use super::files;
use super::index::{Format, Index};
use super::notices::Notices;
use super::trie::Trie;

/// A repository whose work tree is being listed.
#[derive(Debug)]
pub(super) struct Repository {
    index_path: Vec<u8>,
    format: Format,
    /// `info/exclude`, then the global excludes, those that have rules.
    pub(super) excludes: Vec<Arc<Trie>>,
    index: OnceLock<Option<Arc<Index>>>,
}

impl Repository {
    /// The repository whose work tree begins at `root`; `None` if none does. `user` is what
    /// the system's and the user's configuration set.
    pub(super) fn open(
        root: &[u8],
        environment: &GitEnvironment,
        user: &Settings,
        notices: &Notices,
    ) -> Option<Self> {
        let directory = git_directory(root)?;
        let common = common_directory(&directory)?;
        let mut settings = user.clone();
        settings.read(&join(&common, b"config"));
        if settings.worktree {
            settings.read(&join(&directory, b"config.worktree"));
        }
        let fold = settings.ignore_case;
        let own = Some(join(&common, b"info/exclude"));
        let excludes = [own, environment.excludes(&settings, root)]
            .into_iter()
            .flatten();
        Some(Self {
            index_path: join(&directory, b"index"),
            format: Format {
                sha256: settings.sha256,
                fold,
            },
            excludes: excludes
                .filter_map(|path| exclude(&path, fold, notices))
                .collect(),
            index: OnceLock::new(),
        })
    }

    /// `core.ignorecase`
    pub(super) fn fold(&self) -> bool {
        self.format.fold
    }

    /// What is tracked, read on first use; `None`, and a notice, where it cannot be read.
    pub(super) fn index(&self, notices: &Notices) -> Option<&Index> {
        let read = || match Index::open(&self.index_path, self.format) {
            Ok(index) => Some(index),
            Err(reason) => {
                let effect = "tracked files are hidden where a rule matches them";
                notices.add(
                    &self.index_path,
                    &format!("the index cannot be used: {reason}; {effect}"),
                );
                None
            }
        };
        self.index.get_or_init(read).as_deref()
    }
}

fn exclude(path: &[u8], fold: bool, notices: &Notices) -> Option<Arc<Trie>> {
    notices.take(path, files::rules(CWD, path, true, fold))
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if name.starts_with(b"/") {
        name.to_vec()
    } else {
        [directory, b"/", name].concat()
    }
}

fn is_directory(path: &[u8]) -> bool {
    let stat = statat(CWD, path, AtFlags::empty());
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Where `root/.git`, a directory or a file that names one, leads to.
fn git_directory(root: &[u8]) -> Option<Vec<u8>> {
    let place = join(root, b".git");
    if is_directory(&place) {
        return Some(place).filter(|place| is_git_directory(place));
    }
    let (text, _) = files::content(CWD, &place, true).ok()??;
    let name = text.strip_prefix(b"gitdir: ")?;
    let end = name
        .iter()
        .rposition(|byte| !matches!(byte, b'\n' | b'\r'))?;
    Some(join(root, &name[..=end])).filter(|place| is_git_directory(place))
}

fn is_git_directory(place: &[u8]) -> bool {
    let Some(common) = common_directory(place).filter(|_| has_head(place)) else {
        return false;
    };
    is_directory(&join(&common, b"objects")) && is_directory(&join(&common, b"refs"))
}

/// The directory that worktrees share.
fn common_directory(directory: &[u8]) -> Option<Vec<u8>> {
    let named = files::content(CWD, &join(directory, b"commondir"), true).ok()?;
    let Some((text, _)) = named else {
        return Some(directory.to_vec());
    };
    let end = text
        .iter()
        .rposition(|byte| !matches!(byte, b'\n' | b'\r'))?;
    Some(join(directory, &text[..=end]))
}

/// True if `HEAD` is a reference or an object's name.
fn has_head(directory: &[u8]) -> bool {
    let head = join(directory, b"HEAD");
    if let Ok(target) = readlinkat(CWD, head.as_slice(), Vec::new()) {
        return target.as_bytes().starts_with(b"refs/");
    }
    let Ok(Some((text, _))) = files::content(CWD, &head, true) else {
        return false;
    };
    match text.strip_prefix(b"ref:") {
        Some(name) => name.trim_ascii_start().starts_with(b"refs/"),
        None => text.len() >= 40 && text[..40].iter().all(u8::is_ascii_hexdigit),
    }
}
