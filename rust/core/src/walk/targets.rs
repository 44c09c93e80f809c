//! What a content search is handed: directories to search, one level each, and what to leave
//! out in them.
//!
//! Belongs here: the batches of words for ripgrep's command line. It is told to apply no rules
//! of its own, so that it sees what a listing sees, by construction: git's syntax where the two
//! differ, tracked files that are ignored, pseudo file systems. Banned here: running it.
//!
//! A directory is one word, whatever it holds, so that ripgrep treats its files as found and not
//! as named (it leaves binary ones early). Files that the rules hide are globs beside it.
//! Measured on a kernel tree against handing over every file: 1.0 s of processor time
//! instead of 1.3; ripgrep walking and matching rules by itself takes 1.35.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::read::words_of;
use super::visit::Visitor;
use super::{Common, Dir};
use crate::directory::Kind;
use crate::pool::lock;

/// The files of the first batch, so that its matches are early; each next may hold twice as many.
const FIRST_FILES: usize = 64;
/// And of the largest, some 40 ms of work for one process.
const MOST_FILES: usize = 4096;
/// Bytes of words in a batch, their pointers included: a command line may have 2 MiB in all.
const MOST_BYTES: usize = 192 * 1024;
/// Bytes of globs for one directory; beyond it the files to search are named instead.
const MOST_GLOBS: usize = 64 * 1024;
/// The longest path that a process can open.
const LONGEST_PATH: usize = 4000;
/// How long a batch is filled while somebody waits for it.
const PATIENCE: Duration = Duration::from_millis(5);

/// Collects batches: paths, an empty word, globs, each word with a NUL between. A batch that
/// begins with a NUL is a line about what went wrong: `\0E<path>\0<words>` or `\0W...`.
pub(super) struct Targets(Mutex<Collected>);

struct Collected {
    paths: Vec<u8>,
    globs: Vec<u8>,
    words: usize,
    files: usize,
    target: usize,
    flushed: Instant,
}

/// What was seen in one directory.
#[derive(Default)]
pub(super) struct Notes {
    shown: usize,
    /// Names that are searched, where some are not; each with a NUL behind it.
    names: Vec<u8>,
    globs: Vec<u8>,
    words: usize,
    /// The globs cannot say what is hidden, or are too long.
    is_named: bool,
}

impl Targets {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Collected {
            paths: Vec::new(),
            globs: Vec::new(),
            words: 0,
            files: 0,
            target: FIRST_FILES,
            flushed: Instant::now(),
        }))
    }
}

impl Visitor for Targets {
    type Notes = Notes;

    fn see(
        &self,
        common: &Common,
        notes: &mut Notes,
        dir: &Dir,
        (name, kind): (&[u8], Kind),
        is_shown: bool,
    ) {
        let filter = &common.options.filter;
        if kind != Kind::File || !(filter.is_empty() || filter.matches(b"", name, kind)) {
            return;
        }
        if is_shown {
            notes.shown += 1;
            if !dir.rules.is_empty() {
                notes.names.extend_from_slice(name);
                notes.names.push(0);
            }
        } else if !notes.is_named {
            notes.words += 1;
            notes.is_named = !append_glob(&mut notes.globs, dir.spelling.rel(), name)
                || notes.globs.len() > MOST_GLOBS;
        }
    }

    fn leave(&self, common: &Common, dir: &Dir, notes: Notes) {
        if notes.shown == 0 {
            return;
        }
        let rel = dir.spelling.rel();
        if rel.len() > LONGEST_PATH {
            self.error(common, dir.spelling.path(), Errno::NAMETOOLONG);
            return;
        }
        let mut collected = lock(&self.0);
        if notes.is_named {
            for name in notes.names.split(|byte| *byte == 0) {
                if !name.is_empty() {
                    collected.path(rel, Some(name));
                    collected.files += 1;
                    collected.flush_full(common);
                }
            }
        } else {
            collected.path(rel, None);
            if !collected.globs.is_empty() && !notes.globs.is_empty() {
                collected.globs.push(0);
            }
            collected.globs.extend_from_slice(&notes.globs);
            collected.words += notes.words;
            collected.files += notes.shown;
            collected.flush_full(common);
        }
    }

    fn error(&self, common: &Common, path: &[u8], errno: Errno) {
        tell(common, b'E', path, &words_of(errno));
    }

    fn warning(&self, common: &Common, path: &[u8], message: &str) {
        tell(common, b'W', path, message);
    }

    fn end(&self, common: &Common) {
        lock(&self.0).flush(common);
    }
}

impl Collected {
    /// `./` stands before a path, so that none is taken for an option or for standard input.
    fn path(&mut self, rel: &[u8], name: Option<&[u8]>) {
        if !self.paths.is_empty() {
            self.paths.push(0);
        }
        self.paths.extend_from_slice(b"./");
        self.paths.extend_from_slice(rel);
        if let Some(name) = name {
            if !rel.is_empty() {
                self.paths.push(b'/');
            }
            self.paths.extend_from_slice(name);
        }
        self.words += 1;
    }

    fn flush_full(&mut self, common: &Common) {
        let bytes = self.paths.len() + self.globs.len() + 8 * self.words;
        let is_awaited = || common.feed.is_awaited() && self.flushed.elapsed() >= PATIENCE;
        if self.files >= self.target || bytes >= MOST_BYTES || is_awaited() {
            self.flush(common);
            self.target = MOST_FILES.min(self.target * 2);
        }
    }

    fn flush(&mut self, common: &Common) {
        if self.paths.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.paths);
        batch.extend_from_slice(b"\0\0");
        batch.append(&mut self.globs);
        common.feed.push(batch);
        (self.words, self.files) = (0, 0);
        self.flushed = Instant::now();
    }
}

fn tell(common: &Common, kind: u8, path: &[u8], words: &str) {
    common
        .feed
        .push([b"\0", &[kind][..], path, b"\0", words.as_bytes()].concat());
}

/// Appends `!/rel/name`, with a NUL before it unless it is the first, as a glob that hides just
/// this; false where no glob can say it (ripgrep takes text only, and trims blanks at its end).
fn append_glob(globs: &mut Vec<u8>, rel: &[u8], name: &[u8]) -> bool {
    let path = crate::filter::join(rel, name);
    let is_plain = |text: &str| !text.ends_with(char::is_whitespace);
    if !std::str::from_utf8(&path).is_ok_and(is_plain) {
        return false;
    }
    if !globs.is_empty() {
        globs.push(0);
    }
    globs.extend_from_slice(b"!/");
    for byte in path {
        if br"\*?[]{}".contains(&byte) {
            globs.push(b'\\');
        }
        globs.push(byte);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_hide_one_name_each() {
        let cases: &[(&[u8], &[u8], Option<&str>)] = &[
            (b"", b"a.o", Some("!/a.o")),
            (b"a/b", b"c d.o", Some("!/a/b/c d.o")),
            (b"", b"[a]*?{b}\\", Some(r"!/\[a\]\*\?\{b\}\\")),
            (b"", b"#!", Some("!/#!")),
            (b"", b"blank ", None),
            (b"", b"caf\xe9", None),
            (b"caf\xe9", b"a", None),
        ];
        for (rel, name, wanted) in cases {
            let mut globs = Vec::new();
            let is_said = append_glob(&mut globs, rel, name);
            let found = is_said.then(|| String::from_utf8(globs).unwrap());
            assert_eq!(found.as_deref(), *wanted, "{name:?}");
        }
    }
}
