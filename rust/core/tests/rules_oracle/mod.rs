//! Trees, git as the oracle, and a walker that does nothing but ask the rules.
//!
//! Belongs here: what the tests of the rules share. Banned here: assertions.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use hutch_core::rules::{
    BadPattern, DirRules, GitEnvironment, Notice, RuleOptions, RuleSet, Seen, Verdict,
};

pub(crate) type Paths = BTreeSet<Vec<u8>>;

/// A configuration of git that is nobody's: `HOME` is `home`.
pub(crate) struct User {
    pub(crate) home: PathBuf,
}

impl User {
    pub(crate) fn environment(&self) -> GitEnvironment {
        GitEnvironment {
            home: Some(bytes(&self.home)),
            ..GitEnvironment::default()
        }
    }

    /// What `git` prints in `root`.
    pub(crate) fn git(&self, root: &Path, words: &[&str]) -> Vec<u8> {
        let done = Command::new("git")
            .args(words)
            .current_dir(root)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", &self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "git {words:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        done.stdout
    }

    /// Files that git does not ignore, tracked ones included, as far as they exist.
    pub(crate) fn visible(&self, root: &Path) -> Paths {
        let told = self.git(root, &["ls-files", "-co", "--exclude-standard", "-z"]);
        let names = told
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty());
        names
            .filter(|name| fs::symlink_metadata(root.join(OsStr::from_bytes(name))).is_ok())
            .map(<[u8]>::to_vec)
            .collect()
    }

    /// Files that the rules show, relative to `root`.
    pub(crate) fn shown(&self, root: &Path) -> Paths {
        self.listing(root, &git_rules()).unwrap().files
    }

    /// A listing of `root`.
    pub(crate) fn listing(
        &self,
        root: &Path,
        options: &RuleOptions,
    ) -> Result<Listing, BadPattern> {
        let (fd, names, seen) = read(root);
        let environment = self.environment();
        let opened = RuleSet::open_in(fd.as_fd(), &bytes(root), seen, options, &environment);
        let (set, rules) = opened?;
        let mut found = Listing::default();
        let hide_git = options.use_gitignore;
        let mut waiting = vec![(root.to_path_buf(), rules, names, Vec::new())];
        while let Some((place, rules, names, prefix)) = waiting.pop() {
            for (name, is_dir) in names {
                if hide_git && name == b".git" {
                    continue;
                }
                let verdict = asked(&rules, &set, &name, is_dir);
                if verdict == Verdict::Ignore {
                    continue;
                }
                let path = [&prefix[..], &name].concat();
                if !is_dir {
                    found.files.insert(path);
                    continue;
                }
                let below = place.join(OsStr::from_bytes(&name));
                let (fd, names, seen) = read(&below);
                let only = verdict == Verdict::TrackedOnly;
                let inner = rules.enter(&set, fd.as_fd(), &name, seen, only);
                waiting.push((below, inner, names, [&path[..], b"/"].concat()));
                found.directories.insert(path);
            }
        }
        found.notices = set.take_notices();
        Ok(found)
    }
}

fn asked(rules: &Arc<DirRules>, set: &RuleSet, name: &[u8], is_dir: bool) -> Verdict {
    let verdict = rules.verdict(set, name, is_dir);
    assert!(!rules.is_empty() || verdict == Verdict::Keep);
    verdict
}

pub(crate) fn git_rules() -> RuleOptions {
    RuleOptions {
        use_gitignore: true,
        ..RuleOptions::default()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: Paths,
    pub(crate) directories: Paths,
    pub(crate) notices: Vec<Notice>,
}

type Names = Vec<(Vec<u8>, bool)>;

fn read(place: &Path) -> (File, Names, Seen) {
    let mut seen = Seen::default();
    let names = fs::read_dir(place).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_vec();
        seen.git |= name == b".git";
        seen.gitignore |= name == b".gitignore";
        (name, entry.file_type().unwrap().is_dir())
    });
    let names = names.collect();
    (File::open(place).unwrap(), names, seen)
}

pub(crate) fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

pub(crate) fn paths(names: &[&str]) -> Paths {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// Makes a file with its parents; false where something else is in the way.
pub(crate) fn place(root: &Path, name: &[u8], content: &[u8]) -> bool {
    let path = root.join(OsStr::from_bytes(name));
    fs::create_dir_all(path.parent().unwrap()).is_ok() && fs::write(path, content).is_ok()
}

/// What `git init` would make, without its price.
pub(crate) fn init(root: &Path) {
    for name in ["objects", "refs", "info"] {
        fs::create_dir_all(root.join(".git").join(name)).unwrap();
    }
    fs::write(root.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    let config = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n";
    fs::write(root.join(".git/config"), config).unwrap();
}

/// Tracks `names`, whatever the rules say.
pub(crate) fn track(user: &User, root: &Path, names: &[&[u8]]) {
    if names.is_empty() {
        return;
    }
    let literal: Vec<String> = names
        .iter()
        .map(|name| format!(":(literal){}", str::from_utf8(name).unwrap()))
        .collect();
    let mut words = vec!["add", "-f", "--"];
    words.extend(literal.iter().map(String::as_str));
    user.git(root, &words);
}

/// A home and a directory to list, both gone with the value.
pub(crate) struct Ground {
    held: tempfile::TempDir,
    pub(crate) user: User,
    pub(crate) root: PathBuf,
}

impl Ground {
    /// `files` below `root`, without a repository.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let held = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(held.path()).unwrap();
        let (home, root) = (real.join("home"), real.join("tree"));
        fs::create_dir(&home).unwrap();
        fs::create_dir(&root).unwrap();
        let ground = Self {
            held,
            user: User { home },
            root,
        };
        ground.put(files);
        ground
    }

    /// The same with a repository.
    pub(crate) fn repository(files: &[(&str, &str)]) -> Self {
        let ground = Self::new(files);
        init(&ground.root);
        ground
    }

    pub(crate) fn put(&self, files: &[(&str, &str)]) {
        for (name, content) in files {
            assert!(
                place(&self.root, name.as_bytes(), content.as_bytes()),
                "{name}"
            );
        }
    }

    pub(crate) fn shown(&self) -> Paths {
        self.user.shown(&self.root)
    }

    pub(crate) fn visible(&self) -> Paths {
        self.user.visible(&self.root)
    }

    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.user.listing(&self.root, &git_rules()).unwrap().notices
    }
}
