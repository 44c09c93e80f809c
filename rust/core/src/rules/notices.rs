//! What a client must be told about the rules of one walk.
//!
//! Belongs here: collecting, each file once, up to a bound. Banned here: finding out.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::Notice;
use super::trie::{PROBLEMS, Trie};

/// So many notices of one walk are told; then one says that there are more.
const MOST: usize = 100;

/// Notices of one walk that wait to be taken.
#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<Collected>);

#[derive(Debug, Default)]
struct Collected {
    waiting: Vec<Notice>,
    /// Files that something was told of.
    told: HashSet<Vec<u8>>,
    count: usize,
}

impl Notices {
    /// All since the last call.
    pub(super) fn take_all(&self) -> Vec<Notice> {
        std::mem::take(
            &mut self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .waiting,
        )
    }

    /// Adds one about the file at `path`, unless it was told of before.
    pub(super) fn add(&self, path: &[u8], message: &str) {
        self.add_each(path, [message.to_owned()]);
    }

    fn add_each(&self, path: &[u8], messages: impl IntoIterator<Item = String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.count > MOST || !all.told.insert(path.to_vec()) {
            return;
        }
        for message in messages {
            all.count += 1;
            let left_out = all.count > MOST;
            let message = if left_out {
                "there are more notices, left out".into()
            } else {
                message
            };
            all.waiting.push(Notice {
                path: path.to_vec(),
                message,
            });
            if left_out {
                return;
            }
        }
    }

    /// The rules that were read from the file at `path`, if there are any; tells what is
    /// wrong with them.
    pub(super) fn take(
        &self,
        path: &[u8],
        read: Result<Option<Arc<Trie>>, String>,
    ) -> Option<Arc<Trie>> {
        match read {
            Ok(rules) => rules
                .inspect(|rules| self.problems(path, rules))
                .filter(|rules| !rules.is_empty()),
            Err(reason) => {
                self.add(path, &format!("its rules do not apply: {reason}"));
                None
            }
        }
    }

    fn problems(&self, path: &[u8], rules: &Trie) {
        if rules.problems.is_empty() {
            return;
        }
        let told = rules
            .problems
            .iter()
            .map(|(line, reason)| format!("line {line} hides nothing: {reason}"));
        let more =
            (rules.problems.len() == PROBLEMS).then(|| "there may be more such lines".into());
        self.add_each(path, told.chain(more));
    }
}
