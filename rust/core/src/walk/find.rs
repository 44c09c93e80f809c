//! The filename search: the best of the paths that hold a text.
//!
//! Belongs here: what matches, what is better, and how many are kept. Banned here: which names
//! are seen (`visit`).
//!
//! The best first: a match in the file's name before one that needs its directories; with
//! `fuzzy` then the higher score; then the shorter path; then bytewise. So an answer is the same
//! on every call, whatever order the disk has.
//! Source: wire contract, section 3, "Filename search".

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use rustix::io::Errno;

use super::read::{append_error, append_notice};
use super::visit::Visitor;
use super::{Common, Dir};
use crate::directory::Kind;
use crate::entry::{append_number, append_text};
use crate::feed::LARGEST;
use crate::filter::join;
use crate::json;
use crate::needle::Needle;
use crate::pool::lock;

/// Bytes of the paths that are kept, at 64 for each beyond its own.
const MOST_BYTES: usize = 32 * 1024 * 1024;
const EACH: usize = 64;
/// How many errors, and how many warnings, are told of.
const MOST_TOLD: usize = 1000;

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// A text; with `fuzzy` its letters in this order, words in any.
    pub query: String,
    /// Whether case counts.
    pub case_sensitive: bool,
    /// Rank like fzf.
    pub fuzzy: bool,
    /// How many paths the answer holds at most.
    pub max_results: usize,
}

/// A filename search.
pub(super) struct Find {
    wanted: Wanted,
    test: Test,
    best: Mutex<Best>,
    told: Mutex<Told>,
}

enum Test {
    Holds(Needle),
    Fuzzy(Pattern),
}

/// How good a match is; the smallest is the best.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    by_directory: bool,
    score: Reverse<u32>,
    length: usize,
    path: Vec<u8>,
}

/// The best so far, the worst of them on top.
#[derive(Default)]
struct Best {
    heap: BinaryHeap<Rank>,
    bytes: usize,
    total: u64,
}

#[derive(Default)]
struct Told {
    errors: Vec<u8>,
    warnings: Vec<u8>,
    counts: [usize; 2],
}

/// What was found in one directory.
#[derive(Default)]
pub(super) struct Notes {
    found: Vec<Rank>,
    matcher: Option<Box<Matcher>>,
}

impl Find {
    pub(super) fn new(wanted: Wanted) -> Self {
        let test = if wanted.fuzzy {
            let case = if wanted.case_sensitive {
                CaseMatching::Respect
            } else {
                CaseMatching::Ignore
            };
            let kind = AtomKind::Fuzzy;
            Test::Fuzzy(Pattern::new(
                &wanted.query,
                case,
                Normalization::Smart,
                kind,
            ))
        } else {
            Test::Holds(Needle::new(&wanted.query, wanted.case_sensitive))
        };
        Self {
            wanted,
            test,
            best: Mutex::default(),
            told: Mutex::default(),
        }
    }

    fn rank(&self, notes: &mut Notes, rel: &[u8], name: &[u8]) -> Option<Rank> {
        let path = join(rel, name);
        let (by_directory, score) = match &self.test {
            Test::Holds(needle) if needle.is_in(name) => (false, 0),
            Test::Holds(needle) => (needle.is_in(&path).then_some(true)?, 0),
            Test::Fuzzy(pattern) => {
                let matcher = notes
                    .matcher
                    .get_or_insert_with(|| Box::new(Matcher::new(Config::DEFAULT.match_paths())));
                match score(pattern, matcher, name) {
                    Some(score) => (false, score),
                    None => (true, score(pattern, matcher, &path)?),
                }
            }
        };
        Some(Rank {
            by_directory,
            score: Reverse(score),
            length: path.len(),
            path,
        })
    }
}

fn score(pattern: &Pattern, matcher: &mut Matcher, text: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(text);
    let mut room = Vec::new();
    pattern.score(Utf32Str::new(&text, &mut room), matcher)
}

impl Visitor for Find {
    type Notes = Notes;

    fn see(
        &self,
        _: &Common,
        notes: &mut Notes,
        dir: &Dir,
        (name, _): (&[u8], Kind),
        is_shown: bool,
    ) {
        if !is_shown {
            return;
        }
        if let Some(rank) = self.rank(notes, dir.spelling.rel(), name) {
            notes.found.push(rank);
            if notes.found.len() >= 4096 {
                lock(&self.best).take(&mut notes.found, self.wanted.max_results);
            }
        }
    }

    fn leave(&self, _: &Common, _: &Dir, mut notes: Notes) {
        if !notes.found.is_empty() {
            lock(&self.best).take(&mut notes.found, self.wanted.max_results);
        }
    }

    fn error(&self, _: &Common, path: &[u8], errno: Errno) {
        let mut told = lock(&self.told);
        if let Some(out) = told.next(0) {
            append_error(out, path, errno);
            out.push(b'}');
        }
    }

    fn warning(&self, _: &Common, path: &[u8], message: &str) {
        let mut told = lock(&self.told);
        if let Some(out) = told.next(1) {
            append_notice(out, path, "message", message);
            out.push(b'}');
        }
    }

    fn end(&self, common: &Common) {
        let best = std::mem::take(&mut *lock(&self.best));
        let told = std::mem::take(&mut *lock(&self.told));
        let mut out = b"{\"success\":true".to_vec();
        append_text(&mut out, "query", self.wanted.query.as_bytes());
        append_text(&mut out, "path", &common.options.root);
        let total = best.total;
        let ranks = best.heap.into_sorted_vec();
        let kept = ranks.len();
        append_paths(common, &mut out, "files", &ranks, |out, path| {
            json::escape_lossy(out, path);
        });
        if ranks
            .iter()
            .any(|one| std::str::from_utf8(&one.path).is_err())
        {
            append_paths(common, &mut out, "files_b64", &ranks, |out, path| {
                out.extend_from_slice(URL_SAFE_NO_PAD.encode(path).as_bytes());
            });
        }
        out.extend_from_slice(b",\"total_files\":");
        append_number(&mut out, total);
        out.extend_from_slice(b",\"capped\":");
        out.extend_from_slice(if total > kept as u64 {
            b"true"
        } else {
            b"false"
        });
        told.append(&mut out);
        if told.counts.iter().any(|count| *count > MOST_TOLD) {
            out.extend_from_slice(b",\"errors_truncated\":true");
        }
        out.push(b'}');
        common.feed.push(out);
    }
}

/// Appends `,"key":[...]`, handing over what is finished in between.
fn append_paths(
    common: &Common,
    out: &mut Vec<u8>,
    key: &str,
    ranks: &[Rank],
    append: impl Fn(&mut Vec<u8>, &[u8]),
) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":[");
    for (at, one) in ranks.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
        append(out, &one.path);
        out.push(b'"');
        if out.len() >= LARGEST {
            common.feed.push(std::mem::take(out));
        }
    }
    out.push(b']');
}

impl Best {
    /// Takes what was found, and drops the worst beyond `most`.
    fn take(&mut self, found: &mut Vec<Rank>, most: usize) {
        self.total += found.len() as u64;
        for one in found.drain(..) {
            let is_full = self.heap.len() >= most;
            if is_full && self.heap.peek().is_some_and(|worst| one >= *worst) {
                continue;
            }
            self.bytes += one.path.len() + EACH;
            self.heap.push(one);
            while self.heap.len() > most || self.bytes > MOST_BYTES {
                let Some(worst) = self.heap.pop() else { break };
                self.bytes -= worst.path.len() + EACH;
            }
        }
    }
}

impl Told {
    /// Where the next of a kind is written, its bracket open; None beyond the bound.
    fn next(&mut self, kind: usize) -> Option<&mut Vec<u8>> {
        self.counts[kind] += 1;
        if self.counts[kind] > MOST_TOLD {
            return None;
        }
        let out = if kind == 0 {
            &mut self.errors
        } else {
            &mut self.warnings
        };
        out.extend_from_slice(if out.is_empty() { b"{" } else { b",{" });
        Some(out)
    }

    fn append(&self, out: &mut Vec<u8>) {
        for (key, told) in [("errors", &self.errors), ("warnings", &self.warnings)] {
            if !told.is_empty() {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(b"\":[");
                out.extend_from_slice(told);
                out.push(b']');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(query: &str, fuzzy: bool, most: usize, paths: &[&str]) -> (Vec<String>, u64) {
        let find = Find::new(Wanted {
            query: query.to_owned(),
            case_sensitive: false,
            fuzzy,
            max_results: most,
        });
        let mut notes = Notes::default();
        for path in paths {
            let (rel, name) = path.rsplit_once('/').unwrap_or(("", path));
            let rank = find.rank(&mut notes, rel.as_bytes(), name.as_bytes());
            lock(&find.best).take(&mut rank.into_iter().collect(), most);
        }
        let best = std::mem::take(&mut *lock(&find.best));
        let text = |one: Rank| String::from_utf8(one.path).unwrap();
        let kept = best.heap.into_sorted_vec().into_iter().map(text).collect();
        (kept, best.total)
    }

    #[test]
    fn the_best_come_first_and_the_worst_are_dropped() {
        let paths = [
            "main/x",
            "b/main.rs",
            "a/main.rs",
            "src/domain",
            "main",
            "Main.c",
            "x/y",
        ];
        let all = [
            "main",
            "Main.c",
            "a/main.rs",
            "b/main.rs",
            "src/domain",
            "main/x",
        ];
        for most in [1, 2, 5, 6, 100] {
            let (kept, total) = ranked("main", false, most, &paths);
            assert_eq!(kept, all[..most.min(6)], "{most}");
            assert_eq!(total, 6);
        }
    }

    #[test]
    fn fuzzy_takes_letters_in_order() {
        let paths = ["foo/bar_baz.rs", "fbr", "fabcr.txt", "rbf"];
        let (kept, total) = ranked("fbr", true, 10, &paths);
        assert_eq!(kept[0], "fbr");
        assert_eq!(total, 3);
        assert!(!kept.contains(&"rbf".to_owned()));
    }
}
