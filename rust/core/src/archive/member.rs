//! The headers of an archive that is made: ustar where it fits, PAX records where it does not.
//!
//! Belongs here: bytes of headers. Banned here: files.
//!
//! Names are raw bytes. A PAX record holds UTF-8, which readers convert to their locale's
//! characters and complain where they cannot; GNU tar complains about `hdrcharset=BINARY`, bsdtar
//! without it. So a long name that is not ASCII goes into a GNU long name's member (`L`, `K`), which
//! all of them take as it is. Owners are numbers, without names: a name means another user elsewhere.

/// One block of a tar archive.
pub(super) const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;
/// The most that eleven octal digits hold.
const OCTAL_11: u64 = 0o777_7777_7777;
/// The most that seven octal digits hold.
const OCTAL_7: u64 = 0o777_7777;
const BILLION: u32 = 1_000_000_000;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    File,
    HardLink,
    Symlink,
    Directory,
}

impl Type {
    fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::Directory => b'5',
        }
    }
}

/// A member's header, complete. `size` is 0 for all but files.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) kind: Type,
    /// A directory's ends with a slash.
    pub(super) name: Vec<u8>,
    /// Where a link points to.
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    /// Seconds since 1970, and nanoseconds to be added.
    pub(super) mtime: (i64, u32),
}

impl Member {
    /// The blocks before the content. `comment` is a PAX record that all readers skip.
    pub(super) fn blocks(&self, comment: Option<&[u8]>) -> Vec<u8> {
        let split = split(&self.name);
        let records = self.records(split.is_none(), comment);
        let mut out = Vec::with_capacity(3 * BLOCK);
        for (flag, long, is_long) in [
            (b'L', &self.name, split.is_none()),
            (b'K', &self.link, self.link.len() > NAME),
        ] {
            if is_long && !long.is_ascii() {
                let size = long.len() as u64 + 1;
                let fields = Fields { size, ..FIELDS };
                out.extend_from_slice(&block(b"", b"././@LongLink", b"", flag, &fields));
                out.extend_from_slice(long);
                out.push(0);
                out.resize(out.len().next_multiple_of(BLOCK), 0);
            }
        }
        if !records.is_empty() {
            let name = [&b"PaxHeaders/"[..], tail(&self.name, 80)].concat();
            let size = records.len() as u64;
            out.extend_from_slice(&block(b"", &name, b"", b'x', &Fields { size, ..FIELDS }));
            out.extend_from_slice(&records);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        let (prefix, name) = split.unwrap_or((b"", tail(&self.name, NAME)));
        let fields = Fields {
            mode: self.mode & 0o7777,
            uid: u64::from(self.uid).min(OCTAL_7),
            gid: u64::from(self.gid).min(OCTAL_7),
            size: self.size.min(OCTAL_11),
            mtime: u64::try_from(self.mtime.0).unwrap_or(0).min(OCTAL_11),
        };
        let link = tail(&self.link, NAME);
        out.extend_from_slice(&block(prefix, name, link, self.kind.flag(), &fields));
        out
    }

    fn records(&self, with_path: bool, comment: Option<&[u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        if with_path && self.name.is_ascii() {
            record(&mut out, b"path", &self.name);
        }
        if self.link.len() > NAME && self.link.is_ascii() {
            record(&mut out, b"linkpath", &self.link);
        }
        if self.size > OCTAL_11 {
            record(&mut out, b"size", self.size.to_string().as_bytes());
        }
        for (key, id) in [(&b"uid"[..], self.uid), (b"gid", self.gid)] {
            if u64::from(id) > OCTAL_7 {
                record(&mut out, key, id.to_string().as_bytes());
            }
        }
        let is_plain = u64::try_from(self.mtime.0).is_ok_and(|seconds| seconds <= OCTAL_11);
        if !is_plain || self.mtime.1 > 0 {
            record(&mut out, b"mtime", time(self.mtime).as_bytes());
        }
        if let Some(comment) = comment {
            record(&mut out, b"comment", comment);
        }
        out
    }
}

/// The numbers of a header.
struct Fields {
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: u64,
}

const FIELDS: Fields = Fields {
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: 0,
};

/// One ustar header.
fn block(prefix: &[u8], name: &[u8], link: &[u8], flag: u8, fields: &Fields) -> [u8; BLOCK] {
    let mut block = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name);
    put(100, format!("{:07o}\0", fields.mode).as_bytes());
    put(108, format!("{:07o}\0", fields.uid).as_bytes());
    put(116, format!("{:07o}\0", fields.gid).as_bytes());
    put(124, format!("{:011o}\0", fields.size).as_bytes());
    put(136, format!("{:011o}\0", fields.mtime).as_bytes());
    put(148, b"        ");
    put(156, &[flag]);
    put(157, link);
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    put(345, prefix);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The name as prefix and rest; None where ustar has no room for it.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME {
        return Some((b"", name));
    }
    if name.len() > PREFIX + 1 + NAME {
        return None;
    }
    let least = name.len() - NAME - 1;
    // The slash at the end of a directory's name splits nothing.
    let slash = memchr::memchr(b'/', &name[least..name.len() - 1])? + least;
    (slash > 0 && slash <= PREFIX).then(|| (&name[..slash], &name[slash + 1..]))
}

/// The last bytes of a name: what a reader that knows no PAX gets.
fn tail(name: &[u8], most: usize) -> &[u8] {
    let tail = &name[name.len().saturating_sub(most)..];
    if tail.len() < name.len() {
        tail.strip_prefix(b"/").unwrap_or(tail)
    } else {
        tail
    }
}

/// `LENGTH key=value\n`, where the length counts itself.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        out.extend_from_slice(part);
    }
}

/// Seconds with a fraction: whole and part are written as one number, before 1970 too.
fn time((seconds, nanoseconds): (i64, u32)) -> String {
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    let (sign, whole, part) = if seconds < 0 {
        ("-", (seconds + 1).unsigned_abs(), BILLION - nanoseconds)
    } else {
        ("", seconds.unsigned_abs(), nanoseconds)
    };
    let text = format!("{sign}{whole}.{part:09}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_length_counts_itself() {
        for (value, wanted) in [
            (0, &b"5 k=\n"[..]),
            (1, b"6 k=v\n"),
            (4, b"9 k=vvvv\n"),
            (5, b"11 k=vvvvv\n"),
        ] {
            let mut out = Vec::new();
            record(&mut out, b"k", &b"v".repeat(value));
            assert_eq!(out, wanted);
        }
        for value in 80..110 {
            let mut out = Vec::new();
            record(&mut out, b"k", &b"v".repeat(value));
            assert!(out.starts_with(out.len().to_string().as_bytes()));
        }
    }

    #[test]
    fn times_are_one_number() {
        let cases = [
            ((0, 0), "0"),
            ((1, 500_000_000), "1.5"),
            ((1, 1), "1.000000001"),
            ((-1, 0), "-1"),
            ((-1, 500_000_000), "-0.5"),
            ((-2, 250_000_000), "-1.75"),
        ];
        for (given, wanted) in cases {
            assert_eq!(time(given), wanted);
        }
    }

    #[test]
    fn names_are_split_where_ustar_has_room() {
        let long = [b"p".repeat(155), b"/".to_vec(), b"n".repeat(100)].concat();
        assert_eq!(split(&long), Some((&long[..155], &long[156..])));
        assert_eq!(split(b"a/b"), Some((&b""[..], &b"a/b"[..])));
        let cases = [
            [b"p".repeat(156), b"/".to_vec(), b"n".repeat(99)].concat(),
            [b"p".repeat(20), b"/".to_vec(), b"n".repeat(101)].concat(),
            b"n".repeat(101),
            [b"d".repeat(120), b"/".to_vec()].concat(),
        ];
        for name in cases {
            assert_eq!(split(&name), None, "{}", String::from_utf8_lossy(&name));
        }
    }
}
