//! What a stream has left to do, in memory that does not grow with the tree.
//!
//! Belongs here: directories to enter as packed names, directories read half-way, larger files
//! on one of their two passes. Banned here: doing any of it (`stream`).

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Dir;
use super::read::{Facts, LongRead, Seen};
use crate::directory::Names;
use crate::entry::Spelling;
use crate::inline::Emission;
use crate::rules::DirRules;

/// So many bytes of names may wait while a directory is read to its end. Beyond them its
/// subdirectories come before its rest.
const MOST_NAMES: usize = 4 * 1024 * 1024;
/// So many directories may then wait half-way, each with a descriptor.
const MOST_RESTS: usize = 48;

/// What is left to do.
#[derive(Default)]
pub(super) struct Frontier {
    items: Vec<Item>,
    /// Bytes of the names of directories to enter.
    names: usize,
    /// Directories that wait half-way.
    rests: usize,
    /// A long line that is half sent: nothing else may be sent before its end.
    pub(super) line: Option<Box<LongLine>>,
    /// Turns that run or wait for a thread.
    pub(super) turns: usize,
    pub(super) begun: bool,
}

pub(super) enum Item {
    Children(Children),
    Rest(Box<Rest>),
    Long(Box<LongFile>),
    /// A larger text whose line may begin when no other is open.
    Ready(Box<LongLine>),
}

/// Subdirectories to enter: for each a flag, the length of its name, its name.
pub(super) struct Children {
    pub(super) parent: Arc<Way>,
    packed: Vec<u8>,
    at: usize,
}

/// A directory that others are to be entered from.
///
/// Their paths are put together when they are entered: a thousand levels of long names cost the
/// memory of the names, and not that of a thousand paths.
pub(super) struct Way {
    above: Option<Arc<Way>>,
    name: Box<[u8]>,
    pub(super) rules: Arc<DirRules>,
    pub(super) depth: u32,
}

/// A directory that is read half-way.
pub(super) struct Rest {
    pub(super) dir: Arc<Dir>,
    pub(super) above: Option<Arc<Way>>,
    pub(super) fd: OwnedFd,
    pub(super) names: Names,
    pub(super) at: usize,
    pub(super) is_last: bool,
}

/// A larger file on its first pass.
pub(super) struct LongFile {
    pub(super) dir: Arc<Dir>,
    pub(super) name: CString,
    pub(super) seen: Seen,
    pub(super) read: LongRead,
}

/// A larger text on its way out.
pub(super) struct LongLine {
    /// What stands before the text, until it is sent.
    pub(super) head: Vec<u8>,
    pub(super) facts: Facts,
    pub(super) text: Emission,
}

pub(super) enum Step {
    Child(Arc<Way>, Vec<u8>, bool),
    Rest(Box<Rest>),
    Long(Box<LongFile>),
    Line(Box<LongLine>),
    Ready(Box<LongLine>),
    /// Nothing that this turn could do.
    Nothing,
}

impl Frontier {
    /// Whether nothing waits, a half-sent line aside.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Puts one thing on top of what waits.
    pub(super) fn put(&mut self, item: Item) {
        match &item {
            Item::Children(children) => self.names += children.packed.len(),
            Item::Rest(_) => self.rests += 1,
            Item::Long(_) | Item::Ready(_) => {}
        }
        self.items.push(item);
    }

    /// Puts back what a directory left to do. It is read to its end before those in it, so that
    /// it keeps its descriptor shortly; but where names already fill much memory, those in it
    /// come first.
    pub(super) fn put_directory(&mut self, children: Option<Children>, rest: Option<Rest>) {
        let rest = rest.map(|rest| Item::Rest(Box::new(rest)));
        let children = children.map(Item::Children);
        let items = if self.names > MOST_NAMES && self.rests < MOST_RESTS {
            [rest, children]
        } else {
            [children, rest]
        };
        for item in items.into_iter().flatten() {
            self.put(item);
        }
    }

    /// Takes what is to be done next.
    pub(super) fn pop(&mut self) -> Step {
        loop {
            match self.items.pop() {
                None => return Step::Nothing,
                Some(Item::Rest(rest)) => {
                    self.rests -= 1;
                    return Step::Rest(rest);
                }
                Some(Item::Long(file)) => return Step::Long(file),
                Some(Item::Ready(line)) => return Step::Ready(line),
                Some(Item::Children(mut children)) => {
                    self.names -= children.packed.len();
                    let next = children.next();
                    let parent = Arc::clone(&children.parent);
                    if !children.is_over() {
                        self.put(Item::Children(children));
                    }
                    if let Some((name, tracked)) = next {
                        return Step::Child(parent, name, tracked);
                    }
                }
            }
        }
    }
}

impl Way {
    fn of(dir: &Dir, above: Option<&Arc<Self>>) -> Self {
        Self {
            above: above.map(Arc::clone),
            name: dir.spelling.name().into(),
            rules: Arc::clone(&dir.rules),
            depth: dir.depth,
        }
    }

    /// How the directory `name` in this one is spelled, where the listed one is `root`.
    pub(super) fn child(&self, root: &[u8], name: &[u8]) -> Spelling {
        let mut names = Vec::with_capacity(self.depth as usize + 2);
        names.push(name);
        let mut next = Some(self);
        while let Some(place) = next {
            names.push(&place.name);
            next = place.above.as_deref();
        }
        // The last is the listed directory, which `root` says.
        names.pop();
        let room = names.iter().map(|name| name.len() + 1).sum();
        let mut spelling = Spelling::with_room(root, room);
        for name in names.into_iter().rev() {
            spelling.descend(name);
        }
        spelling
    }
}

impl Drop for Way {
    /// One level after the other: thousands of levels would overflow the stack.
    fn drop(&mut self) {
        let mut next = self.above.take();
        while let Some(one) = next {
            next = Arc::into_inner(one).and_then(|mut one| one.above.take());
        }
    }
}

impl Children {
    /// The packed names of directories in `dir`, if there are any; `above` is where `dir` lies.
    pub(super) fn of(dir: &Dir, above: Option<&Arc<Way>>, mut packed: Vec<u8>) -> Option<Self> {
        packed.shrink_to_fit();
        (!packed.is_empty()).then(|| Self {
            parent: Arc::new(Way::of(dir, above)),
            packed,
            at: 0,
        })
    }

    /// Whether all were taken.
    pub(super) fn is_over(&self) -> bool {
        self.at >= self.packed.len()
    }

    /// Takes the next name, and whether only tracked files below it are shown.
    pub(super) fn next(&mut self) -> Option<(Vec<u8>, bool)> {
        let (head, rest) = self.packed.get(self.at..)?.split_at_checked(3)?;
        let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
        let name = rest.get(..length)?.to_vec();
        self.at += 3 + length;
        Some((name, head[0] != 0))
    }
}

/// Packs one more name for [`Children::of`].
pub(super) fn pack(packed: &mut Vec<u8>, name: &[u8], tracked: bool) {
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    packed.push(u8::from(tracked));
    packed.extend_from_slice(&length.to_le_bytes());
    packed.extend_from_slice(&name[..usize::from(length)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{RuleOptions, RuleSet};
    use std::os::fd::AsFd;

    fn dir(spelling: Spelling, depth: u32) -> Dir {
        let root = crate::directory::open_root(b"/").unwrap();
        let options = RuleOptions {
            use_gitignore: false,
            ignore_patterns: Vec::new(),
        };
        let seen = crate::rules::Seen::default();
        let (_, rules) = RuleSet::open(root.as_fd(), b"/", seen, &options).unwrap();
        Dir {
            spelling,
            rules,
            depth,
        }
    }

    #[test]
    fn a_path_is_put_together_from_the_names_above() {
        let root = dir(Spelling::root(b"/x"), 0);
        let top = Arc::new(Way::of(&root, None));
        assert_eq!(top.child(b"/x", b"a").rel(), b"a");
        let below = dir(top.child(b"/x", b"a"), 1);
        let below = Arc::new(Way::of(&below, Some(&top)));
        assert_eq!(below.child(b"/x", b"b").path(), b"/x/a/b");
    }

    #[test]
    fn a_directory_is_read_to_its_end_first_unless_names_fill_the_memory() {
        let rest = || Rest {
            dir: Arc::new(dir(Spelling::root(b"/"), 0)),
            above: None,
            fd: crate::directory::open_root(b"/").unwrap(),
            names: Names::default(),
            at: 0,
            is_last: false,
        };
        let children = |size: usize| {
            let mut packed = Vec::new();
            while packed.len() < size {
                pack(&mut packed, &[b'n'; 255], false);
            }
            Children::of(&dir(Spelling::root(b"/"), 0), None, packed)
        };
        let mut frontier = Frontier::default();
        frontier.put_directory(children(MOST_NAMES + 1), Some(rest()));
        assert!(matches!(frontier.pop(), Step::Rest(_)));
        for _ in 0..MOST_RESTS {
            frontier.put_directory(children(1), Some(rest()));
            assert!(matches!(frontier.pop(), Step::Child(..)));
        }
        frontier.put_directory(children(1), Some(rest()));
        assert!(matches!(frontier.pop(), Step::Rest(_)));
        // Below them all lies what came first; nothing is lost, and the account is even.
        let mut left = 0;
        while !matches!(frontier.pop(), Step::Nothing) {
            left += 1;
        }
        assert!(left > MOST_NAMES / 258);
        assert_eq!((frontier.names, frontier.rests), (0, 0));
    }
}
