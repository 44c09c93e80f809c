//! Reading the small files that rules come from, and keeping what was made of them.
//!
//! Belongs here: opening without ever blocking, the cache by stat data. Banned here: what the
//! files mean.

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::trie::Trie;

/// A rules file may have so many bytes: some 50,000 patterns, which take 40 MB compiled.
const LARGEST: u64 = 1 << 20;
/// Compiled rules are kept up to so many bytes.
pub(super) const KEPT: usize = 64 << 20;

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn new(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size as u64,
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }

    /// False for a file changed within the last two seconds: it could change again without
    /// its times telling (git calls such a file racy).
    fn settled(&self) -> bool {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs() as i64);
        self.modified.0.max(self.changed.0) + 2 < now
    }
}

/// What is at `name` below `at`: `None` for nothing.
///
/// # Errors
/// Why it cannot be read: it is no regular file, or what the system says.
pub(super) fn stamp(
    at: BorrowedFd<'_>,
    name: &[u8],
    follow: bool,
) -> Result<Option<Stamp>, String> {
    let flags = if follow {
        AtFlags::empty()
    } else {
        AtFlags::SYMLINK_NOFOLLOW
    };
    match statat(at, name, flags) {
        // `core.excludesFile = /dev/null` is how people say that they have none.
        Ok(stat) if follow && FileType::from_raw_mode(stat.st_mode).is_char_device() => Ok(None),
        Ok(stat) => regular(&stat).map(Some),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(format!("it cannot be read: {error}")),
    }
}

fn regular(stat: &Stat) -> Result<Stamp, String> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Stamp::new(stat)),
        FileType::Symlink => Err("it is a symbolic link, which git does not follow".into()),
        FileType::Directory => Err("it is a directory".into()),
        _ => Err("it is no regular file".into()),
    }
}

/// Opens a regular file, whatever stands there by now, without blocking.
///
/// # Errors
/// As [`stamp`].
pub(super) fn open(
    at: BorrowedFd<'_>,
    name: &[u8],
    follow: bool,
) -> Result<Option<(File, Stamp)>, String> {
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follow);
    let file = match openat(at, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    let stat = fstat(&file).map_err(|error| format!("it cannot be read: {error}"))?;
    Ok(Some((File::from(file), regular(&stat)?)))
}

/// The content of a regular file of at most 1 MiB, and its stamp; `None` for no file.
///
/// # Errors
/// As [`stamp`]; or that it is too large.
pub(super) fn content(
    at: BorrowedFd<'_>,
    name: &[u8],
    follow: bool,
) -> Result<Option<(Vec<u8>, Stamp)>, String> {
    if stamp(at, name, follow)?.is_none() {
        return Ok(None);
    }
    let Some((file, stamp)) = open(at, name, follow)? else {
        return Ok(None);
    };
    if stamp.size > LARGEST {
        return Err(format!(
            "it has {} bytes; at most {LARGEST} are read",
            stamp.size
        ));
    }
    let mut text = Vec::with_capacity(stamp.size as usize + 1);
    let read = file.take(LARGEST).read_to_end(&mut text);
    read.map_err(|error| format!("it cannot be read: {error}"))?;
    Ok(Some((text, stamp)))
}

/// Things made of files, kept by stamp up to a number of bytes. What was not asked for in
/// the last half of that number goes first.
#[derive(Debug)]
pub(super) struct Kept<K, T> {
    limit: usize,
    generations: Mutex<Generations<K, T>>,
}

type Shelf<K, T> = HashMap<K, (Arc<T>, usize)>;

#[derive(Debug)]
struct Generations<K, T> {
    young: Shelf<K, T>,
    old: Shelf<K, T>,
    weight: usize,
}

impl<K: Eq + Hash, T> Kept<K, T> {
    pub(super) fn new(limit: usize) -> Self {
        let generations = Generations {
            young: HashMap::new(),
            old: HashMap::new(),
            weight: 0,
        };
        Self {
            limit,
            generations: Mutex::new(generations),
        }
    }

    /// What was made of the file in the state `key`.
    pub(super) fn get(&self, key: K) -> Option<Arc<T>> {
        let mut shelves = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((value, _)) = shelves.young.get(&key) {
            return Some(Arc::clone(value));
        }
        let (value, weight) = shelves.old.remove(&key)?;
        self.store(&mut shelves, key, (Arc::clone(&value), weight));
        Some(value)
    }

    /// Keeps `value`, made of a file with `stamp`, if it is settled and not too large.
    pub(super) fn put(&self, key: K, stamp: &Stamp, value: &Arc<T>, weight: usize) {
        if stamp.settled() && weight <= self.limit / 2 {
            let mut shelves = self
                .generations
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.store(&mut shelves, key, (Arc::clone(value), weight));
        }
    }

    /// Bytes that are kept now.
    pub(super) fn weight(&self) -> usize {
        let shelves = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        shelves.weight
            + shelves
                .old
                .values()
                .map(|(_, weight)| weight)
                .sum::<usize>()
    }

    fn store(&self, shelves: &mut Generations<K, T>, key: K, value: (Arc<T>, usize)) {
        if shelves.weight + value.1 > self.limit / 2 {
            shelves.old = std::mem::take(&mut shelves.young);
            shelves.weight = 0;
        }
        shelves.weight += value.1;
        if let Some((_, before)) = shelves.young.insert(key, value) {
            shelves.weight -= before;
        }
    }
}

static RULES: LazyLock<Kept<(Stamp, bool), Trie>> = LazyLock::new(|| Kept::new(KEPT));
/// Bytes of compiled rules that are kept.
pub(super) fn kept() -> usize {
    RULES.weight()
}

/// What a kept file costs beside its rules.
const OVERHEAD: usize = 256;

/// The compiled rules of a file, from the cache if it has not changed; `None` for no file.
///
/// # Errors
/// As [`content`].
pub(super) fn rules(
    at: BorrowedFd<'_>,
    name: &[u8],
    follow: bool,
    fold: bool,
) -> Result<Option<Arc<Trie>>, String> {
    let Some(stamp) = stamp(at, name, follow)? else {
        return Ok(None);
    };
    if let Some(known) = RULES.get((stamp, fold)) {
        return Ok(Some(known));
    }
    let Some((text, stamp)) = content(at, name, follow)? else {
        return Ok(None);
    };
    let made = Arc::new(Trie::new(&text, fold));
    RULES.put((stamp, fold), &stamp, &made, made.weight() + OVERHEAD);
    Ok(Some(made))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;

    fn stamped(inode: u64, modified: i64) -> Stamp {
        let times = (modified, 0);
        Stamp {
            device: 1,
            inode,
            size: 1,
            modified: times,
            changed: times,
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let kept = Kept::new(100);
        for inode in 0..1_000 {
            let stamp = stamped(inode, 0);
            kept.put(stamp, &stamp, &Arc::new(inode), 10);
            assert_eq!(kept.get(stamped(0, 0)).as_deref(), Some(&0));
            let shelves = kept.generations.lock().unwrap();
            assert!(shelves.young.len() + shelves.old.len() <= 10);
            drop(shelves);
            assert!(kept.weight() <= 100);
        }
        assert_eq!(kept.get(stamped(1, 0)), None);
        assert_eq!(kept.get(stamped(999, 0)).as_deref(), Some(&999));
    }

    #[test]
    fn what_changed_just_now_or_is_too_large_is_not_kept() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs() as i64;
        let cases = [
            (now - 60, 10, true),
            (now - 1, 10, false),
            (now + 60, 10, false),
            (0, 51, false),
        ];
        for (modified, weight, wanted) in cases {
            let kept = Kept::new(100);
            let stamp = stamped(1, modified);
            kept.put(stamp, &stamp, &Arc::new(()), weight);
            assert_eq!(kept.get(stamp).is_some(), wanted, "{modified} {weight}");
        }
    }

    #[test]
    fn rules_are_compiled_once_unless_the_file_just_changed() {
        let get = |path: &[u8]| rules(CWD, path, true, false).unwrap().unwrap();
        let old = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").as_bytes();
        assert!(Arc::ptr_eq(&get(old), &get(old)));
        let folded = rules(CWD, old, true, true).unwrap().unwrap();
        assert!(!Arc::ptr_eq(&get(old), &folded));
        let held = tempfile::NamedTempFile::new().unwrap();
        let new = held.path().as_os_str().as_encoded_bytes();
        assert!(!Arc::ptr_eq(&get(new), &get(new)));
    }

    #[test]
    fn no_device_is_a_rules_file_and_one_is_none() {
        assert_eq!(stamp(CWD, b"/dev/null", true), Ok(None));
        assert!(stamp(CWD, b"/dev/null", false).is_err());
        assert!(content(CWD, b"/", true).is_err());
        assert_eq!(content(CWD, b"/nothing/there", true).unwrap(), None);
    }
}
