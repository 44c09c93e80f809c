//! The compiled rules of one file: a tree of path components, and where in it a directory is.
//!
//! Belongs here: the tree, the step from a directory to its child, the last rule that matches
//! a name. Banned here: reading files, the order of several files, the index.
//!
//! A pattern is never compared with a whole path. Each directory carries the places in the
//! tree that its own path has reached (an NFA whose letters are names), so that a name is
//! looked up only in what can still match; a directory that reached nothing has no rules.

use std::collections::HashMap;

use super::line::{Part, lines, parse};
use super::patterns::{Name, Patterns};
use super::wildcard::Token;

/// The last rule, if any, that ends at a place: 0, or its number from 1 doubled, plus one if
/// it was negated. The largest is the last in the file.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    file: u32,
    directory: u32,
}

impl Last {
    fn of(self, is_dir: bool) -> u32 {
        if is_dir { self.directory } else { self.file }
    }

    fn set(&mut self, code: u32, directories: bool) {
        self.directory = code;
        if !directories {
            self.file = code;
        }
    }
}

#[derive(Debug, Default)]
struct Node {
    /// Rules that end with the component that leads here.
    here: Last,
    /// Rules that end with a `**` here: they hold for all below.
    below: Last,
    children: Option<Box<Patterns>>,
    /// Some child has something below it: a step must look at names.
    deeper: bool,
    /// This place stays reached in every directory below.
    stays: bool,
    /// The place that `**/` leads to from here, or 0.
    deep: u32,
}

impl Node {
    fn goes_on(&self) -> bool {
        self.children.is_some() || self.deep != 0 || self.below.directory != 0
    }
}

/// Places in the tree that a directory has reached, ascending.
pub(super) type Reached = Box<[u32]>;

/// A line that could not be understood: its number, and why.
pub(super) type Problem = (usize, &'static str);

/// The rules of one file.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// The first lines that can never match, at most [`PROBLEMS`] of them.
    pub(super) problems: Vec<Problem>,
    weight: usize,
}

/// So many bad lines of one file are reported.
pub(super) const PROBLEMS: usize = 8;
/// No file system takes a longer name, in bytes (255 nearly everywhere).
const LONGEST_NAME: usize = 4096;

impl Trie {
    /// The rules in `text`, the content of a rules file. `fold` is `core.ignorecase`.
    pub(super) fn new(text: &[u8], fold: bool) -> Self {
        let mut build = Build::default();
        for (number, line) in lines(text) {
            if let Err(reason) = build.add(line, fold)
                && build.problems.len() < PROBLEMS
            {
                build.problems.push((number, reason));
            }
        }
        build.finish()
    }

    /// Each of `patterns` is a pattern, whatever it begins or ends with.
    ///
    /// # Errors
    /// The place of the first that can never match, and why.
    pub(super) fn of_patterns(patterns: &[Vec<u8>]) -> Result<Self, Problem> {
        let mut build = Build::default();
        for (place, pattern) in patterns.iter().enumerate() {
            build
                .add(pattern, false)
                .map_err(|reason| (place, reason))?;
        }
        Ok(build.finish())
    }

    /// What the directory that the file lies in has reached.
    pub(super) fn start(&self) -> Reached {
        let mut reached = Vec::new();
        self.reach(0, &mut reached);
        sorted(reached)
    }

    /// What the child `name` of a directory that reached `from` has reached.
    pub(super) fn step(&self, from: &[u32], name: &Name<'_>) -> Reached {
        let mut reached = Vec::with_capacity(from.len());
        for node in from.iter().map(|&at| (at, &self.nodes[at as usize])) {
            let (at, node) = node;
            if node.stays {
                reached.push(at);
            }
            if let Some(children) = node.children.as_ref().filter(|_| node.deeper) {
                children.matching(name, |child| self.reach(child, &mut reached));
            }
        }
        sorted(reached)
    }

    fn reach(&self, at: u32, reached: &mut Vec<u32>) {
        let node = &self.nodes[at as usize];
        if node.goes_on() {
            reached.push(at);
        }
        if node.deep != 0 {
            reached.push(node.deep);
        }
    }

    /// What the last rule that matches `name` in a directory that reached `from` says:
    /// `Some(true)` to ignore it, `Some(false)` not to, `None` where none matches.
    pub(super) fn decide(&self, from: &[u32], name: &Name<'_>, is_dir: bool) -> Option<bool> {
        let mut last = 0;
        for node in from.iter().map(|&at| &self.nodes[at as usize]) {
            last = last.max(node.below.of(is_dir));
            if let Some(children) = &node.children {
                children.matching(name, |child| {
                    last = last.max(self.nodes[child as usize].here.of(is_dir));
                });
            }
        }
        (last != 0).then_some(last & 1 == 0)
    }

    /// True if it can hide nothing.
    pub(super) fn is_empty(&self) -> bool {
        !self.nodes[0].goes_on()
    }

    /// Bytes of memory, roughly.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }
}

fn sorted(mut reached: Vec<u32>) -> Reached {
    reached.sort_unstable();
    reached.dedup();
    reached.into()
}

/// A tree that grows.
#[derive(Default)]
struct Build {
    nodes: Vec<Node>,
    /// Components with wildcards that a place already has.
    known: HashMap<(u32, Vec<Token>), u32>,
    rules: u32,
    problems: Vec<Problem>,
}

impl Build {
    fn add(&mut self, pattern: &[u8], fold: bool) -> Result<(), &'static str> {
        let line = parse(pattern, fold)?;
        self.rules += 1;
        let code = self.rules << 1 | u32::from(line.negative);
        for way in &line.ways {
            if way.iter().all(can_be) {
                self.insert(way, code, line.directories);
            }
        }
        Ok(())
    }

    fn insert(&mut self, way: &[Part], code: u32, directories: bool) {
        let mut at = self.root();
        for (place, part) in way.iter().enumerate() {
            match part {
                Part::Deep => {
                    at = self.deep(at);
                    if place + 1 == way.len() {
                        self.nodes[at as usize].below.set(code, directories);
                        return;
                    }
                }
                Part::Name(tokens) => {
                    self.nodes[at as usize].deeper |= place + 1 < way.len();
                    at = self.child(at, tokens);
                }
            }
        }
        self.nodes[at as usize].here.set(code, directories);
    }

    fn root(&mut self) -> u32 {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        0
    }

    fn deep(&mut self, at: u32) -> u32 {
        let next = self.nodes.len() as u32;
        let node = &mut self.nodes[at as usize];
        if node.deep != 0 {
            return node.deep;
        }
        node.deep = next;
        self.nodes.push(Node {
            stays: true,
            ..Node::default()
        });
        next
    }

    fn child(&mut self, at: u32, tokens: &[Token]) -> u32 {
        let next = self.nodes.len() as u32;
        let wild = tokens.iter().any(|token| !matches!(token, Token::Byte(_)));
        let seen = if wild {
            *self.known.entry((at, tokens.to_vec())).or_insert(next)
        } else {
            next
        };
        if seen != next {
            return seen;
        }
        let children = self.nodes[at as usize].children.get_or_insert_default();
        let found = children.add(tokens, next);
        if found == next {
            self.nodes.push(Node::default());
        }
        found
    }

    fn finish(mut self) -> Trie {
        self.root();
        let mut weight = size_of::<Trie>() + self.nodes.len() * size_of::<Node>();
        for names in self
            .nodes
            .iter_mut()
            .filter_map(|node| node.children.as_mut())
        {
            names.settle();
            weight += names.weight();
        }
        self.nodes.shrink_to_fit();
        Trie {
            nodes: self.nodes,
            problems: self.problems,
            weight,
        }
    }
}

/// False for a component that asks for more bytes than a name can have.
fn can_be(part: &Part) -> bool {
    match part {
        Part::Deep => true,
        Part::Name(tokens) => {
            tokens.iter().filter(|&one| *one != Token::Star).count() <= LONGEST_NAME
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the rules in `text` say of `path`, level after level.
    fn decide(text: &[u8], fold: bool, path: &[u8], is_dir: bool) -> Option<bool> {
        let trie = Trie::new(text, fold);
        let mut reached = trie.start();
        let mut names = path.split(|&byte| byte == b'/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return trie.decide(&reached, &Name::new(name), is_dir);
            }
            reached = trie.step(&reached, &Name::new(name));
        }
        None
    }

    #[test]
    fn the_last_rule_that_matches_says() {
        let cases = [
            ("a", "a", Some(true)),
            ("a", "b/a", Some(true)),
            ("a", "a/b", None),
            ("/a", "b/a", None),
            ("a\n!a", "a", Some(false)),
            ("!a\na", "a", Some(true)),
            ("a/", "a", None),
            ("a/b", "a/b", Some(true)),
            ("a/b", "c/a/b", None),
            ("**/a/b", "c/a/b", Some(true)),
            ("a/**", "a", None),
            ("a/**", "a/b/c", Some(true)),
            ("a/*/c", "a/b/c", Some(true)),
            ("a/*/c", "a/b/b/c", None),
            ("a/**/c", "a/c", Some(true)),
            ("a/**/c", "a/b/b/c", Some(true)),
            ("a/**/c/d", "a/c/c/d", Some(true)),
            ("*a/b", "ca/b", Some(true)),
            ("*.c\n!x.c\n*x.c", "x.c", Some(true)),
            ("a**/b", "ac/d/b", Some(true)),
            ("a**/b", "ab", Some(true)),
        ];
        for (text, path, wanted) in cases {
            assert_eq!(
                decide(text.as_bytes(), false, path.as_bytes(), false),
                wanted,
                "{text:?} {path}"
            );
        }
    }

    #[test]
    fn a_directory_that_can_match_nothing_has_reached_nothing() {
        let cases = [
            ("/a", "b", true),
            ("/a/b", "a", false),
            ("a/*/b", "c", true),
            ("a", "b", false),
            ("a/**", "b", true),
        ];
        for (text, name, wanted) in cases {
            let trie = Trie::new(text.as_bytes(), false);
            assert_eq!(
                trie.step(&trie.start(), &Name::new(name.as_bytes()))
                    .is_empty(),
                wanted,
                "{text} {name}"
            );
        }
    }

    #[test]
    fn the_largest_file_of_rules_is_compiled_within_its_means() {
        let lines: [fn(u32) -> String; 3] = [
            |n| format!("{n}\n"),
            |n| format!("{n:x}*/*{n:x}\n"),
            |n| format!("[!{n}]*\n"),
        ];
        for line in lines {
            let mut text: String = (0..300_000).map(line).collect();
            text.truncate(1 << 20);
            let trie = Trie::new(text.as_bytes(), false);
            assert!(trie.weight() < 64 << 20, "{}", trie.weight());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(
            text in prop::collection::vec(prop::sample::select(b"a/*?[]!\\-:^# \n\r\0.\xff".to_vec()), 0..60),
            path in prop::collection::vec(prop::sample::select(b"a/*[]\\-:! .\xff".to_vec()), 0..12),
            fold: bool,
        ) {
            decide(&text, fold, &path, true);
            decide(&text, fold, &path, false);
        }
    }
}
