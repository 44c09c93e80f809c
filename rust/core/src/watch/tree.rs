//! The directories that a watcher knows: names, rules, and which watch is whose.
//!
//! Belongs here: the tree in memory. Banned here: the disk. Files are not kept: what a watcher
//! holds grows with the directories it watches, and with nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::rules::DirRules;

/// A directory's place in the tree. The root's is 0.
pub(super) type Id = u32;

pub(super) const ROOT: Id = 0;

pub(super) struct Node {
    parent: Id,
    name: Arc<[u8]>,
    pub(super) wd: i32,
    pub(super) rules: Arc<DirRules>,
    children: BTreeMap<Arc<[u8]>, Id>,
    /// The next one with the same watch: one directory, mounted at two places.
    twin: Option<Id>,
}

#[derive(Default)]
pub(super) struct Tree {
    nodes: Vec<Option<Node>>,
    free: Vec<Id>,
    by_wd: FxHashMap<i32, Id>,
}

impl Tree {
    /// How many directories there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    pub(super) fn get(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id as usize)?.as_ref()
    }

    pub(super) fn child(&self, id: Id, name: &[u8]) -> Option<Id> {
        self.get(id)?.children.get(name).copied()
    }

    /// Adds a directory; the first one is the root.
    pub(super) fn add(&mut self, parent: Id, name: &[u8], wd: i32, rules: Arc<DirRules>) -> Id {
        let name: Arc<[u8]> = name.into();
        let node = Node {
            parent,
            name: Arc::clone(&name),
            wd,
            rules,
            children: BTreeMap::new(),
            twin: self.by_wd.get(&wd).copied(),
        };
        let id = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(None);
            (self.nodes.len() - 1) as Id
        });
        self.nodes[id as usize] = Some(node);
        self.by_wd.insert(wd, id);
        if id != ROOT
            && let Some(Some(above)) = self.nodes.get_mut(parent as usize)
        {
            above.children.insert(name, id);
        }
        id
    }

    /// The directories with this watch.
    pub(super) fn of(&self, wd: i32) -> Vec<Id> {
        let first = self.by_wd.get(&wd).copied();
        std::iter::successors(first, |id| self.get(*id)?.twin).collect()
    }

    pub(super) fn has(&self, wd: i32) -> bool {
        self.by_wd.contains_key(&wd)
    }

    /// The watches there are.
    pub(super) fn watches(&self) -> impl Iterator<Item = i32> {
        self.by_wd.keys().copied()
    }

    /// Path relative to the root.
    pub(super) fn path(&self, id: Id) -> Vec<u8> {
        let up = std::iter::successors(Some(id), |id| Some(self.get(*id)?.parent));
        let names = up
            .take_while(|id| *id != ROOT)
            .filter_map(|id| self.get(id));
        let names: Vec<_> = names.map(|node| &*node.name).collect();
        names.into_iter().rev().collect::<Vec<_>>().join(&b'/')
    }

    /// Drops a directory with all below it, and gives the watches that nothing here has any more.
    pub(super) fn remove(&mut self, id: Id) -> Vec<i32> {
        if let Some(node) = self.get(id) {
            let (parent, name) = (node.parent, Arc::clone(&node.name));
            if let Some(Some(above)) = self.nodes.get_mut(parent as usize) {
                above.children.remove(&name);
            }
        }
        let mut left = Vec::new();
        let mut rest = vec![id];
        while let Some(id) = rest.pop() {
            let Some(node) = self.nodes.get_mut(id as usize).and_then(Option::take) else {
                continue;
            };
            self.free.push(id);
            rest.extend(node.children.values());
            if self.unlink(id, &node) {
                left.push(node.wd);
            }
        }
        left
    }

    /// The watch is over: its directories stay until their parents tell what became of them.
    pub(super) fn forget(&mut self, wd: i32) {
        self.by_wd.remove(&wd);
    }

    /// Takes a node out of the chain of its twins; true where it was the last.
    fn unlink(&mut self, id: Id, node: &Node) -> bool {
        let Some(first) = self.by_wd.get(&node.wd).copied() else {
            return false;
        };
        if first == id {
            match node.twin {
                Some(next) => self.by_wd.insert(node.wd, next),
                None => self.by_wd.remove(&node.wd),
            };
            return node.twin.is_none();
        }
        let mut at = Some(first);
        while let Some(other) = at.and_then(|at| self.nodes[at as usize].as_mut()) {
            if other.twin == Some(id) {
                other.twin = node.twin;
                break;
            }
            at = other.twin;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{RuleOptions, RuleSet, Seen};
    use std::os::fd::AsFd;

    fn rules() -> Arc<DirRules> {
        let root = std::fs::File::open("/").unwrap();
        let options = RuleOptions::default();
        RuleSet::open(root.as_fd(), b"/", Seen::default(), &options)
            .unwrap()
            .1
    }

    #[test]
    fn directories_come_and_go_with_their_watches() {
        let (mut tree, rules) = (Tree::default(), rules());
        let root = tree.add(0, b"", 1, Arc::clone(&rules));
        let a = tree.add(root, b"a", 2, Arc::clone(&rules));
        let b = tree.add(a, b"b", 3, Arc::clone(&rules));
        let twin = tree.add(root, b"twin", 3, Arc::clone(&rules));
        assert_eq!(tree.path(b), b"a/b");
        assert_eq!(tree.of(3), [twin, b]);
        assert_eq!(tree.remove(a), [2]);
        assert_eq!((tree.len(), tree.of(3)), (2, vec![twin]));
        assert_eq!(tree.child(root, b"a"), None);
        let again = tree.add(root, b"a", 4, rules);
        assert_eq!(tree.path(again), b"a");
        tree.forget(4);
        assert_eq!(tree.remove(again), Vec::<i32>::new());
        assert_eq!(tree.remove(twin), [3]);
    }
}
