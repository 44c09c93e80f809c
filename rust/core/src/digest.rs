//! SHA-256 of files, and the memory of digests of files that did not change.
//!
//! Belongs here: the cache and its rules. A digest is kept by device, inode, size, mtime and
//! ctime in ns; none is kept for a file that changed within the last two seconds, since within
//! one tick of the clock a file can change twice and show the same times (git's "racy" files;
//! git, Documentation/technical/racy-git). Banned here: reading files.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{LazyLock, Mutex};

use rustc_hash::FxBuildHasher;
use rustix::time::{ClockId, clock_gettime};

use crate::directory::FileState;
use crate::pool::lock;

/// A SHA-256.
pub type Digest = [u8; 32];

/// How many digests are kept, at most.
pub const CAPACITY: usize = 262_144;
const SHARDS: usize = 16;
const GENERATION: usize = CAPACITY / SHARDS / 2;
const SETTLED_NS: i64 = 2_000_000_000;

type Kept = HashMap<FileState, Digest, FxBuildHasher>;

/// Two generations: when the young one is full it becomes the old one, and what nobody asked
/// for since then is forgotten.
#[derive(Default)]
struct Shard {
    young: Kept,
    old: Kept,
}

static CACHE: LazyLock<[Mutex<Shard>; SHARDS]> = LazyLock::new(Default::default);

fn shard(state: &FileState) -> &'static Mutex<Shard> {
    // The map below uses the low bits of the same hash.
    let hash = FxBuildHasher.hash_one(state);
    &CACHE[(hash >> 40) as usize % SHARDS]
}

/// The digest of a file in this state, if it is remembered.
pub fn known(state: &FileState) -> Option<Digest> {
    let mut shard = lock(shard(state));
    if let Some(digest) = shard.young.get(state) {
        return Some(*digest);
    }
    let digest = shard.old.remove(state)?;
    shard.keep(*state, digest);
    Some(digest)
}

/// Remembers the digest of a file that was in this state when it was opened, at `opened`
/// ([`now`]), unless it had changed too shortly before.
pub fn keep(state: FileState, digest: Digest, opened: i64) {
    let last = state.modified.max(state.changed);
    if opened.saturating_sub(last) >= SETTLED_NS {
        lock(shard(&state)).keep(state, digest);
    }
}

/// How many digests are remembered.
pub fn count() -> usize {
    let of = |shard: &Mutex<Shard>| {
        let shard = lock(shard);
        shard.young.len() + shard.old.len()
    };
    CACHE.iter().map(of).sum()
}

/// The time, ns since 1970, on the clock of file times.
pub fn now() -> i64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.tv_nsec)
}

impl Shard {
    fn keep(&mut self, state: FileState, digest: Digest) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(state, digest);
    }
}

/// Appends a digest as lower-case hex.
pub fn append_hex(out: &mut Vec<u8>, digest: &Digest) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in digest {
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(inode: u64, changed: i64) -> FileState {
        FileState {
            inode,
            changed,
            ..FileState::default()
        }
    }

    #[test]
    fn what_changed_within_two_seconds_is_not_kept() {
        let opened = 10_000_000_000;
        for (inode, changed, kept) in [
            (1, opened - SETTLED_NS, true),
            (2, opened - SETTLED_NS + 1, false),
            (3, opened + 5, false),
        ] {
            keep(state(inode, changed), [7; 32], opened);
            assert_eq!(known(&state(inode, changed)).is_some(), kept, "{changed}");
        }
        assert!(known(&state(1, opened - SETTLED_NS - 1)).is_none());
    }

    #[test]
    fn a_shard_is_bounded_and_keeps_what_is_asked_for() {
        let mut one = Shard::default();
        one.keep(state(0, 0), [1; 32]);
        for inode in 1..=(GENERATION as u64 * 5) {
            one.keep(state(inode, 0), [0; 32]);
            assert!(one.young.len() + one.old.len() <= 2 * GENERATION);
        }
        assert!(!one.young.contains_key(&state(0, 0)));
    }
}
