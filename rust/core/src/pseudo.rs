//! Pseudo file systems: mounts whose files are no stored bytes and are listed but not entered.
//!
//! Belongs here: which mounts these are. One look at the mount table a walk, instead of a
//! `statfs` a directory. Banned here: reading that table (`mounts`).
//! Source: wire contract, section 2.

use crate::mounts::{self, Mount, is_at_or_below};

const TYPES: &[&[u8]] = &[
    b"proc",
    b"sysfs",
    b"devtmpfs",
    b"devpts",
    b"cgroup",
    b"cgroup2",
    b"debugfs",
    b"tracefs",
    b"securityfs",
];

/// The pseudo file systems below one directory, and whether that lies in one itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pseudo {
    below: Vec<Vec<u8>>,
    inside: bool,
}

impl Pseudo {
    /// For a walk of the directory whose real path is `root`. Without a mount table there are
    /// none.
    pub fn below(root: &[u8]) -> Self {
        mounts::all().map_or_else(|_| Self::default(), |table| Self::of(root, table))
    }

    fn of(root: &[u8], table: Vec<Mount>) -> Self {
        let base = if root == b"/" { b"" } else { root };
        // Later lines lie over earlier ones: the last one at a place counts.
        let mut found: Vec<(Vec<u8>, bool)> = Vec::new();
        for mount in table {
            found.retain(|(other, _)| *other != mount.point);
            let is_pseudo = TYPES.contains(&mount.kind.as_slice());
            found.push((mount.point, is_pseudo));
        }
        let nearest = found
            .iter()
            .filter(|(place, _)| is_at_or_below(base, if place == b"/" { b"" } else { place }))
            .max_by_key(|(place, _)| place.len());
        let inside = nearest.is_some_and(|(_, is_pseudo)| *is_pseudo);
        let rel = |(place, is_pseudo): &(Vec<u8>, bool)| {
            (*is_pseudo && place.len() > base.len() && is_at_or_below(place, base))
                .then(|| place[base.len() + 1..].to_vec())
        };
        let below = if inside {
            Vec::new()
        } else {
            found.iter().filter_map(rel).collect()
        };
        Self { below, inside }
    }

    /// Whether the walk's root lies in one: then all below is entered.
    pub fn is_inside(&self) -> bool {
        self.inside
    }

    /// Whether the directory `name` in `rel` (relative to the root) is such a mount.
    pub fn contains(&self, rel: &[u8], name: &[u8]) -> bool {
        self.below.iter().any(|place| match rel {
            b"" => place == name,
            _ => {
                place.len() == rel.len() + 1 + name.len()
                    && place.starts_with(rel)
                    && place[rel.len()] == b'/'
                    && place.ends_with(name)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
1 0 8:1 / / rw - ext4 /dev/root rw
2 1 0:1 / /proc rw - proc proc rw
3 1 0:2 / /sys rw shared:7 - sysfs sysfs rw
4 1 0:3 / /a\\040b/dev rw - devtmpfs dev rw
5 2 0:4 / /proc/sys/x rw - tmpfs t rw
6 1 0:5 / /covered rw - proc proc rw
7 1 0:6 / /covered rw - tmpfs t rw
";

    #[test]
    fn mounts_are_found_below_and_around() {
        let cases: &[(&str, bool, &[&str])] = &[
            ("/", false, &["proc", "sys", "a b/dev"]),
            ("/a b", false, &["dev"]),
            ("/a", false, &[]),
            ("/proc", true, &[]),
            ("/proc/self", true, &[]),
            ("/proc/sys/x", false, &[]),
            ("/procedure", false, &[]),
        ];
        for (root, inside, below) in cases {
            let found = Pseudo::of(root.as_bytes(), mounts::parse(TABLE));
            assert_eq!(found.inside, *inside, "{root}");
            let wanted: Vec<Vec<u8>> = below.iter().map(|one| one.as_bytes().to_vec()).collect();
            assert_eq!(found.below, wanted, "{root}");
        }
        let found = Pseudo::of(b"/", mounts::parse(TABLE));
        assert!(found.contains(b"", b"proc") && found.contains(b"a b", b"dev"));
        assert!(!found.contains(b"x", b"proc") && !found.contains(b"", b"pro"));
    }
}
