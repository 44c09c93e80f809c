//! Which of many one-component patterns match a name.
//!
//! Belongs here: an index over literals and wildcards, so that a name is compared with the few
//! patterns that share its ending or beginning and not with all. Banned here: order,
//! negation, directories; a pattern is known by a number, and `trie` knows what it means.

use super::table::{Table, hash};
use super::wildcard::{ByteSet, Glob, Token, holds, insert, letters};

/// A name that is asked about, with what many questions share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    bytes: &'a [u8],
    hash: u64,
    /// From the last dot on, with its hash.
    extension: Option<(&'a [u8], u64)>,
    letters: u64,
}

impl<'a> Name<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        // Endings are short: a plain loop finds the dot before `memrchr` has begun.
        let dot = bytes.iter().rposition(|&byte| byte == b'.');
        let extension = dot.map(|dot| (&bytes[dot..], hash(&bytes[dot..])));
        Self {
            bytes,
            hash: hash(bytes),
            extension,
            letters: letters(bytes.iter().copied()),
        }
    }
}

/// Patterns with wildcards, filed under a piece that each of their matches holds.
#[derive(Debug, Default)]
struct Filed {
    /// The first bytes of the keys: tells without a hash that there is none.
    firsts: ByteSet,
    keys: Table,
    groups: Vec<Vec<(Glob, u32)>>,
}

impl Filed {
    fn add(&mut self, key: &[u8], glob: Glob, value: u32) {
        insert(&mut self.firsts, key[0]);
        let group = self.keys.get_or_insert(key, self.groups.len() as u32) as usize;
        if group == self.groups.len() {
            self.groups.push(Vec::new());
        }
        self.groups[group].push((glob, value));
    }

    /// Calls `found` for each pattern under `key` that `name` matches.
    fn ask(&self, key: &[u8], name: &Name<'_>, found: &mut impl FnMut(u32)) {
        if holds(&self.firsts, key[0]) {
            self.ask_hashed(key, hash(key), name, found);
        }
    }

    fn ask_hashed(&self, key: &[u8], hash: u64, name: &Name<'_>, found: &mut impl FnMut(u32)) {
        if let Some(group) = self.keys.get(hash, key) {
            each_match(&self.groups[group as usize], name, found);
        }
    }

    fn weight(&self) -> usize {
        self.keys.weight() + self.groups.iter().map(|group| weight(group)).sum::<usize>()
    }
}

fn each_match(globs: &[(Glob, u32)], name: &Name<'_>, found: &mut impl FnMut(u32)) {
    globs
        .iter()
        .filter(|(glob, _)| glob.matches(name.bytes, name.letters))
        .for_each(|&(_, value)| found(value));
}

fn weight(globs: &[(Glob, u32)]) -> usize {
    globs
        .iter()
        .map(|(glob, _)| glob.weight() + size_of::<(Glob, u32)>() + 48)
        .sum()
}

/// Length of the longer keys: long enough to tell numbered names apart.
const LONG: usize = 4;
/// So many patterns with wildcards are tried one by one.
const FEW: usize = 4;

/// The patterns of one place in the tree of patterns.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    literals: Table,
    /// Those with wildcards that are few, or that can be filed under nothing.
    loose: Vec<(Glob, u32)>,
    filed: Option<Box<Cabinet>>,
}

/// Patterns with wildcards, filed in the best of several ways.
#[derive(Debug, Default)]
struct Cabinet {
    /// By the last dot and what follows, where the ending says that much (`*.o`).
    extensions: Filed,
    /// By the last four bytes, the first four, the last one, the first one.
    ends: [Filed; 4],
    /// By four bytes somewhere within.
    inner: Filed,
}

/// The key of `name` in each of [`Cabinet::ends`].
fn end_key<'a>(which: usize, head: &'a [u8], tail: &'a [u8]) -> Option<&'a [u8]> {
    match which {
        0 => tail.last_chunk::<LONG>().map(|key| &key[..]),
        1 => head.first_chunk::<LONG>().map(|key| &key[..]),
        2 => tail.last_chunk::<1>().map(|key| &key[..]),
        _ => head.first_chunk::<1>().map(|key| &key[..]),
    }
}

impl Cabinet {
    /// Files `glob`, or gives it back.
    fn add(&mut self, glob: Glob, value: u32) -> Option<(Glob, u32)> {
        let end = |which| end_key(which, glob.head(), glob.tail()).map(|key| (which, key.to_vec()));
        if let Some(dot) = memchr::memrchr(b'.', glob.tail()) {
            let key = glob.tail()[dot..].to_vec();
            self.extensions.add(&key, glob, value);
        } else if let Some((which, key)) = (0..4).find_map(end) {
            self.ends[which].add(&key, glob, value);
        } else if let Some(key) = glob.inner().first_chunk::<LONG>() {
            self.inner.add(key, glob, value);
        } else {
            return Some((glob, value));
        }
        None
    }

    fn matching(&self, name: &Name<'_>, found: &mut impl FnMut(u32)) {
        if let Some((key, hash)) = name.extension.filter(|_| !self.extensions.keys.is_empty()) {
            self.extensions.ask_hashed(key, hash, name, found);
        }
        for (which, filed) in self.ends.iter().enumerate() {
            if let Some(key) = end_key(which, name.bytes, name.bytes) {
                filed.ask(key, name, found);
            }
        }
        if !self.inner.keys.is_empty() {
            let keys = name.bytes.windows(LONG);
            keys.for_each(|key| self.inner.ask(key, name, found));
        }
    }

    fn weight(&self) -> usize {
        let filed = self.ends.iter().chain([&self.extensions, &self.inner]);
        size_of::<Self>() + filed.map(Filed::weight).sum::<usize>()
    }
}

impl Patterns {
    /// Adds the pattern `tokens` with `value`, or gives the value of the same literal.
    pub(super) fn add(&mut self, tokens: &[Token], value: u32) -> u32 {
        let plain = tokens.iter().map(|token| match token {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        });
        if let Some(name) = plain.collect::<Option<Vec<u8>>>() {
            return self.literals.get_or_insert(&name, value);
        }
        self.loose.push((Glob::new(tokens), value));
        value
    }

    /// Call when all are added: files those with wildcards, unless they are few.
    pub(super) fn settle(&mut self) {
        if self.loose.len() > FEW {
            let mut filed = Box::<Cabinet>::default();
            let all = std::mem::take(&mut self.loose).into_iter();
            self.loose = all
                .filter_map(|(glob, value)| filed.add(glob, value))
                .collect();
            self.filed = Some(filed);
        }
        self.loose.shrink_to_fit();
    }

    /// Calls `found` with the value of each pattern that matches, perhaps more than once.
    pub(super) fn matching(&self, name: &Name<'_>, mut found: impl FnMut(u32)) {
        if let Some(value) = self.literals.get(name.hash, name.bytes) {
            found(value);
        }
        if let Some(filed) = &self.filed {
            filed.matching(name, &mut found);
        }
        each_match(&self.loose, name, &mut found);
    }

    /// Bytes of memory, roughly.
    pub(super) fn weight(&self) -> usize {
        let filed = self.filed.as_ref().map_or(0, |filed| filed.weight());
        size_of::<Self>() + self.literals.weight() + filed + weight(&self.loose)
    }
}
