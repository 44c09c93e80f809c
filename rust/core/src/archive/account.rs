//! What a client must be told of an archive beside its members: what is not in it, and what
//! changed while it was read.
//!
//! Belongs here: the list, its bound, and its JSON. Banned here: where it is put.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// So many of each are told by name; all are counted.
const MOST: usize = 1000;
/// And so many bytes of their paths and reasons.
const MOST_BYTES: usize = 256 * 1024;

/// One list: paths with a reason each, and how many there were.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    told: Vec<(Vec<u8>, String)>,
    bytes: usize,
    total: u64,
}

impl List {
    pub(super) fn add(&mut self, path: Vec<u8>, reason: impl Into<String>) {
        self.total += 1;
        if self.told.len() < MOST && self.bytes < MOST_BYTES {
            let reason = reason.into();
            self.bytes += path.len() + reason.len();
            self.told.push((path, reason));
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn told(&self) -> &[(Vec<u8>, String)] {
        &self.told
    }
}

/// The account of a download.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) skipped: List,
    pub(super) changed: List,
}

impl Account {
    pub(super) fn is_empty(&self) -> bool {
        self.skipped.total == 0 && self.changed.total == 0
    }

    /// `{"skipped":[{"path","reason"}],"skipped_total":N,"changed":[...],"changed_total":N}`.
    pub(super) fn json(&self) -> Vec<u8> {
        let value = json!({
            "skipped": self.skipped.told.iter().map(entry).collect::<Vec<_>>(),
            "skipped_total": self.skipped.total,
            "changed": self.changed.told.iter().map(entry).collect::<Vec<_>>(),
            "changed_total": self.changed.total,
        });
        value.to_string().into_bytes()
    }
}

fn entry((path, reason): &(Vec<u8>, String)) -> Value {
    let mut entry = Map::new();
    entry.insert("path".into(), String::from_utf8_lossy(path).into());
    if simdutf8::basic::from_utf8(path).is_err() {
        entry.insert("path_b64".into(), URL_SAFE_NO_PAD.encode(path).into());
    }
    entry.insert("reason".into(), reason.as_str().into());
    Value::Object(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reasons_use_the_room_up_too() {
        let mut list = List::default();
        for _ in 0..5 {
            list.add(b"a".to_vec(), "x".repeat(MOST_BYTES / 2));
        }
        assert_eq!((list.told().len(), list.total()), (2, 5));
    }

    #[test]
    fn all_are_counted_and_some_are_told() {
        let mut account = Account::default();
        assert!(account.is_empty());
        for _ in 0..MOST + 5 {
            account.skipped.add(b"/a\xff".to_vec(), "why");
        }
        assert_eq!(account.skipped.told().len(), MOST);
        let told: Value = serde_json::from_slice(&account.json()).unwrap();
        assert_eq!(told["skipped_total"], MOST + 5);
        assert_eq!(
            told["skipped"][0],
            json!({"path": "/a\u{fffd}", "path_b64": "L2H_", "reason": "why"})
        );
        assert_eq!(told["changed"], json!([]));
    }
}
