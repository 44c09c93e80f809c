//! The names in git's index: what is tracked.
//!
//! Belongs here: reading the index of versions 2 to 4 with SHA-1 or SHA-256, the two questions
//! "is this file tracked" and "is anything tracked below this directory". Banned here: object
//! names, times, everything else that an index holds.
//!
//! Source: gitformat-index(5).

use std::cmp::Ordering;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use rustix::fs::CWD;

use super::files::{self, KEPT, Kept, Stamp};

/// Paths may take so many bytes together.
const LARGEST: usize = 256 << 20;
/// A path may have so many bytes.
const LONGEST: u64 = 1 << 16;
const GITLINK: u32 = 0o160_000;

static INDEXES: LazyLock<Kept<(Stamp, bool, bool), Index>> = LazyLock::new(|| Kept::new(KEPT));

/// Bytes of indexes that are kept.
pub(super) fn kept() -> usize {
    INDEXES.weight()
}

/// Tracked paths, sorted bytewise.
#[derive(Debug, Default)]
pub(super) struct Index {
    paths: Vec<u8>,
    /// Where each path ends in `paths`.
    ends: Vec<u32>,
    /// The places of those that are other repositories (submodules).
    links: Vec<u32>,
}

/// What the index says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tracked {
    /// Nothing.
    No,
    /// It is tracked itself.
    Itself,
    /// It is a directory with tracked files below.
    Below,
}

/// How an index is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Format {
    /// Object names are SHA-256.
    pub(super) sha256: bool,
    /// `core.ignorecase`: paths are kept in lower case.
    pub(super) fold: bool,
}

impl Index {
    /// The index at `path`, from the cache if it has not changed; empty where there is none.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn open(path: &[u8], format: Format) -> Result<Arc<Self>, String> {
        let Some(stamp) = files::stamp(CWD, path, true)? else {
            return Ok(Arc::default());
        };
        let key = |stamp| (stamp, format.sha256, format.fold);
        if let Some(known) = INDEXES.get(key(stamp)) {
            return Ok(known);
        }
        let Some((file, stamp)) = files::open(CWD, path, true)? else {
            return Ok(Arc::default());
        };
        let mut made = Self::read(file, stamp.size, format)?;
        if format.fold {
            made = made.folded();
        }
        let made = Arc::new(made);
        INDEXES.put(key(stamp), &stamp, &made, made.weight());
        Ok(made)
    }

    fn weight(&self) -> usize {
        self.paths.capacity() + 4 * (self.ends.capacity() + self.links.capacity()) + 256
    }

    fn read(file: impl Read, size: u64, format: Format) -> Result<Self, String> {
        let input = BufReader::with_capacity(1 << 17, file);
        let mut source = Source {
            input,
            used: 0,
            hash: if format.sha256 { 32 } else { 20 },
        };
        let mut index = Self::default();
        let read = source
            .entries(&mut index)
            .and_then(|()| source.extensions(size));
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "the index ends too early".to_owned(),
            _ => error.to_string(),
        })?;
        index.paths.shrink_to_fit();
        Ok(index)
    }

    fn add(&mut self, path: &[u8], mode: u32) -> io::Result<()> {
        if let Some(last) = self.ends.len().checked_sub(1) {
            match self.path(last).cmp(path) {
                Ordering::Less => {}
                // The stages of a merge.
                Ordering::Equal => return Ok(()),
                Ordering::Greater => return Err(broken("the index is not sorted")),
            }
        }
        if self.paths.len() + path.len() > LARGEST {
            return Err(broken("the index is too large"));
        }
        if mode & 0o170_000 == GITLINK {
            self.links.push(self.ends.len() as u32);
        }
        self.paths.extend_from_slice(path);
        self.ends.push(self.paths.len() as u32);
        Ok(())
    }

    /// The same in lower case, which sorts otherwise.
    fn folded(&self) -> Self {
        let is_link = |place: usize| self.links.binary_search(&(place as u32)).is_ok();
        let lower = |place| (self.path(place).to_ascii_lowercase(), is_link(place));
        let mut all: Vec<(Vec<u8>, bool)> = (0..self.ends.len()).map(lower).collect();
        all.sort_unstable();
        let mut index = Self::default();
        for (path, link) in all {
            // Sorted and no larger than it was: neither error can come.
            let _ = index.add(&path, if link { GITLINK } else { 0 });
        }
        index
    }

    fn path(&self, place: usize) -> &[u8] {
        let start = place
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        &self.paths[start..self.ends[place] as usize]
    }

    /// The places in `within` of the paths that begin with `prefix`.
    fn beginning(&self, within: Range<usize>, skip: usize, prefix: &[u8]) -> Range<usize> {
        let first = self.first(within.clone(), |path| path[skip..] < *prefix);
        let last = self.first(first..within.end, |path| path[skip..].starts_with(prefix));
        first..last
    }

    /// The first place in `within` of which `before` is false.
    fn first(&self, within: Range<usize>, before: impl Fn(&[u8]) -> bool) -> usize {
        let Range { mut start, mut end } = within;
        while start < end {
            let middle = start.midpoint(end);
            if before(self.path(middle)) {
                start = middle + 1;
            } else {
                end = middle;
            }
        }
        start
    }

    /// What is tracked below the directory `path` (empty, or ending with a slash).
    pub(super) fn below(&self, path: &[u8]) -> Place {
        Place {
            range: self.beginning(0..self.ends.len(), 0, path),
            skip: path.len(),
        }
    }

    /// What is known of the entry `name` of the directory at `place`.
    pub(super) fn entry(&self, place: &Place, name: &[u8], is_dir: bool) -> Tracked {
        let first = self.first(place.range.clone(), |path| path[place.skip..] < *name);
        let same = place.range.contains(&first) && self.path(first)[place.skip..] == *name;
        if !is_dir {
            return if same { Tracked::Itself } else { Tracked::No };
        }
        if same && self.links.binary_search(&(first as u32)).is_ok() {
            return Tracked::Itself;
        }
        let below = self.beginning(first..place.range.end, place.skip, &[name, b"/"].concat());
        if below.is_empty() {
            Tracked::No
        } else {
            Tracked::Below
        }
    }
}

/// A directory's part of an index.
#[derive(Clone, Debug)]
pub(super) struct Place {
    range: Range<usize>,
    /// Length of the directory's path with its slash.
    skip: usize,
}

fn broken(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// An index file that is read from front to end.
struct Source<R> {
    input: BufReader<R>,
    used: u64,
    hash: usize,
}

impl<R: Read> Source<R> {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.used += N as u64;
        Ok(bytes)
    }

    fn number(&mut self) -> io::Result<u32> {
        self.bytes().map(u32::from_be_bytes)
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            let there = self.input.fill_buf()?.len() as u64;
            if there == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.input.consume(there.min(left) as usize);
            left -= there.min(left);
        }
        self.used += count;
        Ok(())
    }

    fn entries(&mut self, index: &mut Index) -> io::Result<()> {
        if self.bytes()? != *b"DIRC" {
            return Err(broken("it is no index"));
        }
        let version = self.number()?;
        if !(2..=4).contains(&version) {
            return Err(broken(&format!(
                "its version is {version}; 2 to 4 are understood"
            )));
        }
        let count = self.number()?;
        let mut path = Vec::new();
        for _ in 0..count {
            let mode = self.entry(version, &mut path)?;
            index.add(&path, mode)?;
        }
        Ok(())
    }

    /// Reads one entry's path into `path`, which holds the one before, and gives its mode.
    fn entry(&mut self, version: u32, path: &mut Vec<u8>) -> io::Result<u32> {
        let start = self.used;
        self.skip(24)?;
        let mode = self.number()?;
        self.skip(12 + self.hash as u64)?;
        let flags = u16::from_be_bytes(self.bytes()?);
        if flags & 0x4000 != 0 {
            self.skip(2)?;
        }
        if version < 4 {
            path.clear();
        } else {
            let kept = (path.len() as u64).checked_sub(self.distance()?);
            path.truncate(kept.ok_or_else(|| broken("a path is cut below nothing"))? as usize);
        }
        let read = self.input.by_ref().take(LONGEST).read_until(0, path)?;
        self.used += read as u64;
        if path.pop() != Some(0) {
            return Err(broken("a path does not end"));
        }
        if version < 4 {
            // One to eight NULs, the first of which is read, up to a multiple of eight.
            let length = self.used - 1 - start;
            self.skip(7 - length % 8)?;
        }
        Ok(mode)
    }

    /// A number of variable length, as in pack files.
    fn distance(&mut self) -> io::Result<u64> {
        let [mut byte] = self.bytes()?;
        let mut value = u64::from(byte & 127);
        while byte & 128 != 0 {
            if value > LONGEST {
                return Err(broken("a number is too large"));
            }
            [byte] = self.bytes()?;
            value = (value + 1) << 7 | u64::from(byte & 127);
        }
        Ok(value)
    }

    /// Looks for the extensions that change what the entries mean.
    fn extensions(&mut self, size: u64) -> io::Result<()> {
        let end = size
            .checked_sub(self.hash as u64)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        if self.used > end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while self.used < end {
            let name: [u8; 4] = self.bytes()?;
            match &name {
                b"link" => {
                    return Err(broken(
                        "it is split (core.splitIndex), which is not understood",
                    ));
                }
                b"sdir" => {
                    return Err(broken(
                        "it is sparse (index.sparse), which is not understood",
                    ));
                }
                [b'A'..=b'Z', ..] => {}
                _ => return Err(broken("it has an extension that is not understood")),
            }
            let length = u64::from(self.number()?);
            self.skip(length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An index of version 2 with `paths`, of which those ending in `@` are submodules.
    fn made(paths: &[&str]) -> Vec<u8> {
        let mut bytes = b"DIRC\0\0\0\x02".to_vec();
        bytes.extend((paths.len() as u32).to_be_bytes());
        for path in paths {
            let start = bytes.len();
            bytes.extend([0; 24]);
            bytes.extend(
                if path.ends_with('@') {
                    GITLINK
                } else {
                    0o100_644
                }
                .to_be_bytes(),
            );
            bytes.extend([0; 32]);
            bytes.extend((path.len() as u16).to_be_bytes());
            bytes.extend(path.as_bytes());
            bytes.resize(start + (bytes.len() - start + 8) / 8 * 8, 0);
        }
        bytes.extend([0; 20]);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Index, String> {
        Index::read(bytes, bytes.len() as u64, Format::default())
    }

    #[test]
    fn what_the_index_says_of_a_name() {
        let index = read(&made(&["a", "b-c", "b/c", "b/d/e", "b0", "s@", "z"])).unwrap();
        let cases = [
            ("", "a", false, Tracked::Itself),
            ("", "a", true, Tracked::No),
            ("", "b", true, Tracked::Below),
            ("", "b", false, Tracked::No),
            ("", "s@", true, Tracked::Itself),
            ("b/", "c", false, Tracked::Itself),
            ("b/", "d", true, Tracked::Below),
            ("b/", "a", false, Tracked::No),
            ("b/", "z", true, Tracked::No),
            ("b/d/", "e", false, Tracked::Itself),
            ("c/", "e", false, Tracked::No),
            ("", "", true, Tracked::No),
            ("", "zz", true, Tracked::No),
            ("b", "", false, Tracked::No),
        ];
        for (directory, name, is_dir, wanted) in cases {
            let place = index.below(directory.as_bytes());
            assert_eq!(
                index.entry(&place, name.as_bytes(), is_dir),
                wanted,
                "{directory} {name}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_damaged_index_is_an_error_and_no_more(
            at in 0_usize..400,
            byte: u8,
            cut in prop::option::of(0_usize..400),
            version in 2_u8..5,
        ) {
            let mut bytes = made(&["a", "b-c", "b/c", "b/d/e", "s@"]);
            bytes[7] = version;
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(cut.map_or(length, |cut| cut % length));
            if let Ok(index) = read(&bytes) {
                index.folded().entry(&index.below(b"b/"), b"d", true);
            }
        }
    }
}
