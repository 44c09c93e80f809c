//! Which of many one-component patterns match a name.
//!
//! Belongs here: an index over literals and wildcards, so that a name is compared with the few
//! patterns that share its ending or beginning and not with all. Banned here: order,
//! negation, directories; a pattern is known by a number, and `trie` knows what it means.

use super::table::{Table, hash};
use super::wildcard::{Glob, Token};

/// A name that is asked about, with what many questions share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    bytes: &'a [u8],
    hash: u64,
    /// From the last dot on, with its hash.
    extension: Option<(&'a [u8], u64)>,
}

impl<'a> Name<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let extension =
            memchr::memrchr(b'.', bytes).map(|dot| (&bytes[dot..], hash(&bytes[dot..])));
        Self {
            bytes,
            hash: hash(bytes),
            extension,
        }
    }
}

/// Patterns with wildcards, filed under a piece that each of their matches holds.
#[derive(Debug, Default)]
struct Filed {
    keys: Table,
    groups: Vec<Vec<(Glob, u32)>>,
}

impl Filed {
    fn add(&mut self, key: &[u8], glob: Glob, value: u32) {
        let group = self.keys.get_or_insert(key, self.groups.len() as u32) as usize;
        if group == self.groups.len() {
            self.groups.push(Vec::new());
        }
        self.groups[group].push((glob, value));
    }

    fn ask(&self, key: &[u8], hash: u64, name: &[u8], found: &mut impl FnMut(u32)) {
        if let Some(group) = self.keys.get(hash, key) {
            each_match(&self.groups[group as usize], name, found);
        }
    }

    fn weight(&self) -> usize {
        self.keys.weight() + self.groups.iter().map(|group| weight(group)).sum::<usize>()
    }
}

fn each_match(globs: &[(Glob, u32)], name: &[u8], found: &mut impl FnMut(u32)) {
    globs
        .iter()
        .filter(|(glob, _)| glob.matches(name))
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
/// So many patterns that can be filed nowhere are tried one by one.
const LOOSE: usize = 16;

/// The patterns of one place in the tree of patterns.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    literals: Table,
    /// By the last dot and what follows, where the ending says that much (`*.o`).
    extensions: Filed,
    /// By the last four bytes, the first four, the last one, the first one.
    ends: [Filed; 4],
    /// By four bytes somewhere within.
    inner: Filed,
    loose: Vec<(Glob, u32)>,
}

/// The key of `name` in each of [`Patterns::ends`].
fn end_key(which: usize, name: &[u8]) -> Option<&[u8]> {
    match which {
        0 => name.last_chunk::<LONG>().map(|key| &key[..]),
        1 => name.first_chunk::<LONG>().map(|key| &key[..]),
        2 => name.last_chunk::<1>().map(|key| &key[..]),
        _ => name.first_chunk::<1>().map(|key| &key[..]),
    }
}

impl Patterns {
    /// Files the pattern `tokens` under `value`, or gives the value of the same literal.
    pub(super) fn add(&mut self, tokens: &[Token], value: u32) -> u32 {
        let plain = tokens.iter().map(|token| match token {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        });
        if let Some(name) = plain.collect::<Option<Vec<u8>>>() {
            return self.literals.get_or_insert(&name, value);
        }
        let glob = Glob::new(tokens);
        if let Some(dot) = memchr::memrchr(b'.', glob.tail()) {
            let key = glob.tail()[dot..].to_vec();
            self.extensions.add(&key, glob, value);
            return value;
        }
        let of = |which: usize| {
            end_key(
                which,
                if matches!(which, 0 | 2) {
                    glob.tail()
                } else {
                    glob.head()
                },
            )
        };
        match (0..4).find_map(|which| of(which).map(|key| (which, key.to_vec()))) {
            Some((which, key)) => self.ends[which].add(&key, glob, value),
            None => self.loose.push((glob, value)),
        }
        value
    }

    /// Call when all are added: files what is loose, if it is much.
    pub(super) fn settle(&mut self) {
        if self.loose.len() <= LOOSE {
            return;
        }
        for (glob, value) in std::mem::take(&mut self.loose) {
            match glob.inner().first_chunk::<LONG>() {
                Some(key) => self.inner.add(key, glob, value),
                None => self.loose.push((glob, value)),
            }
        }
    }

    /// Calls `found` with the value of each pattern that matches, perhaps more than once.
    pub(super) fn matching(&self, name: &Name<'_>, mut found: impl FnMut(u32)) {
        if let Some(value) = self.literals.get(name.hash, name.bytes) {
            found(value);
        }
        if let Some((key, hash)) = name.extension.filter(|_| !self.extensions.keys.is_empty()) {
            self.extensions.ask(key, hash, name.bytes, &mut found);
        }
        for (which, filed) in self.ends.iter().enumerate() {
            if !filed.keys.is_empty()
                && let Some(key) = end_key(which, name.bytes)
            {
                filed.ask(key, hash(key), name.bytes, &mut found);
            }
        }
        if !self.inner.keys.is_empty() {
            for key in name.bytes.windows(LONG) {
                self.inner.ask(key, hash(key), name.bytes, &mut found);
            }
        }
        each_match(&self.loose, name.bytes, &mut found);
    }

    /// Bytes of memory, roughly.
    pub(super) fn weight(&self) -> usize {
        let filed = self.ends.iter().chain([&self.extensions, &self.inner]);
        let filed: usize = filed.map(Filed::weight).sum();
        self.literals.weight() + filed + weight(&self.loose) + size_of::<Self>()
    }
}
