//! A map from byte strings to numbers, whose hashes the caller makes once and asks many of.
//!
//! Belongs here: the hash, the map. Banned here: what the numbers mean.
//! The standard map would hash a name anew for each set of rules in force; a name here is
//! hashed once for all of them. Hashes are seeded, so that no rules file can be written to
//! collide.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u64));

/// The hash of `bytes`, the same throughout the process.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let seed = *SEED;
    let mut state = seed ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = mix(state ^ u64::from_le_bytes(*word), seed);
    }
    if rest.is_empty() {
        state
    } else {
        mix(state ^ short(rest), seed)
    }
}

/// Fewer than eight bytes as a number, read in two overlapping halves.
fn short(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last));
    }
    bytes
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// One folded multiplication (as in wyhash and foldhash).
fn mix(value: u64, seed: u64) -> u64 {
    let wide = u128::from(value) * u128::from(seed ^ 0x9e37_79b9_7f4a_7c15);
    (wide as u64) ^ ((wide >> 64) as u64)
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    name: Box<[u8]>,
    value: u32,
}

/// Names and their numbers.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    /// Open addressing, at most half full: an entry's place plus one. Empty while a look at
    /// each entry's hash is as quick.
    slots: Box<[u32]>,
}

/// So many entries are looked through one by one.
const FEW: usize = 4;

impl Table {
    /// The number of `name`, whose hash is `hash`.
    pub(super) fn get(&self, hash: u64, name: &[u8]) -> Option<u32> {
        let is = |entry: &&Entry| entry.hash == hash && *entry.name == *name;
        if self.slots.is_empty() {
            return self.entries.iter().find(is).map(|entry| entry.value);
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(place) = (self.slots[at] as usize).checked_sub(1) {
            if let Some(entry) = Some(&self.entries[place]).filter(is) {
                return Some(entry.value);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// The number of `name`, or `value` from now on.
    pub(super) fn get_or_insert(&mut self, name: &[u8], value: u32) -> u32 {
        let hash = hash(name);
        if let Some(found) = self.get(hash, name) {
            return found;
        }
        self.entries.push(Entry {
            hash,
            name: name.into(),
            value,
        });
        let count = self.entries.len();
        if count > FEW && count * 2 > self.slots.len() {
            self.slots = vec![0; (count * 4).next_power_of_two()].into();
            (0..count).for_each(|place| self.seat(place));
        } else if count > FEW {
            self.seat(count - 1);
        }
        value
    }

    fn seat(&mut self, place: usize) {
        let mask = self.slots.len() - 1;
        let mut at = self.entries[place].hash as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = place as u32 + 1;
    }

    /// True if it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory, roughly.
    pub(super) fn weight(&self) -> usize {
        let names: usize = self.entries.iter().map(|entry| entry.name.len() + 16).sum();
        names + self.entries.len() * size_of::<Entry>() + self.slots.len() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_gives_back_what_was_put_in_first() {
        let mut table = Table::default();
        let name = |number: u32| format!("{:0>1$}", number, (number % 40) as usize).into_bytes();
        for count in 1..500 {
            assert_eq!(table.get_or_insert(&name(count), count), count);
            assert_eq!(table.get_or_insert(&name(count), 0), count);
            for number in 1..600 {
                let found = table.get(hash(&name(number)), &name(number));
                assert_eq!(found, (number <= count).then_some(number));
            }
        }
        assert_eq!(table.get(hash(b""), b""), None);
    }
}
