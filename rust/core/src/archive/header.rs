//! The headers of an archive that arrives: ustar, GNU's, and PAX records.
//!
//! Belongs here: bytes into numbers and names. Banned here: deciding what may be done with them.

use super::member::BLOCK;
use super::trouble::{Trouble, bad, shown};

/// One header block, decoded.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) flag: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
}

/// What PAX records say; what they do not is None.
#[derive(Clone, Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    /// A record that nothing here keeps: extended attributes, say.
    pub(super) lost: Option<String>,
    /// The file's name and size where PAX says that the member is a map and its data.
    pub(super) sparse: Sparse,
}

/// What PAX says of a sparse file.
#[derive(Clone, Debug, Default)]
pub(super) struct Sparse {
    pub(super) is_any: bool,
    pub(super) major: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
}

impl Header {
    /// None for a block of zeros.
    pub(super) fn decode(block: &[u8; BLOCK]) -> Result<Option<Self>, Trouble> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        check(block)?;
        let name = text(&block[..100]);
        let prefix = text(&block[345..500]);
        // GNU's magic ends in blanks, and has times where the prefix would be.
        let full = if block[257..263] == *b"ustar\0" && !prefix.is_empty() {
            [prefix, b"/", name].concat()
        } else {
            name.to_vec()
        };
        let number = |from: usize, to: usize| number(&block[from..to], &full);
        let positive = |from, to| {
            number(from, to).and_then(|value| u64::try_from(value).map_err(|_| wrong(&full)))
        };
        Ok(Some(Self {
            flag: block[156],
            link: text(&block[157..257]).to_vec(),
            mode: u32::try_from(positive(100, 108)? & 0o7777).unwrap_or(0),
            uid: positive(108, 116)?,
            gid: positive(116, 124)?,
            size: positive(124, 136)?,
            mtime: number(136, 148)?,
            name: full,
        }))
    }
}

fn wrong(name: &[u8]) -> Trouble {
    bad(format!(
        "the archive is broken: a number in the header of {}",
        shown(name)
    ))
}

fn check(block: &[u8; BLOCK]) -> Result<(), Trouble> {
    let told = number(&block[148..156], b"").unwrap_or(-1);
    let counted = |at: usize| (148..156).contains(&at);
    let bytes = || {
        block
            .iter()
            .enumerate()
            .map(|(at, byte)| if counted(at) { b' ' } else { *byte })
    };
    let unsigned: i64 = bytes().map(i64::from).sum();
    // So old tars counted.
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    if told == unsigned || told == signed {
        Ok(())
    } else {
        Err(bad(
            "the archive is broken: a header's checksum does not match; is it a tar?",
        ))
    }
}

fn text(field: &[u8]) -> &[u8] {
    &field[..memchr::memchr(0, field).unwrap_or(field.len())]
}

/// Octal digits, or GNU's base 256.
pub(super) fn number(field: &[u8], name: &[u8]) -> Result<i64, Trouble> {
    if field[0] & 0x80 != 0 {
        return base_256(field).ok_or_else(|| wrong(name));
    }
    let digits = text(field).trim_ascii();
    let mut value: i64 = 0;
    for byte in digits {
        if !(b'0'..=b'7').contains(byte) {
            return Err(wrong(name));
        }
        value = value.checked_mul(8).ok_or_else(|| wrong(name))? + i64::from(byte - b'0');
    }
    Ok(value)
}

fn base_256(field: &[u8]) -> Option<i64> {
    // The first bit says which form this is, the second is the sign.
    let is_negative = field[0] & 0x40 != 0;
    let first = if is_negative {
        field[0] | 0x80
    } else {
        field[0] & 0x7f
    };
    let mut value: i128 = if is_negative { -1 } else { 0 };
    for byte in std::iter::once(first).chain(field[1..].iter().copied()) {
        value = (value << 8) | i128::from(byte);
        if i64::try_from(value).is_err() {
            return None;
        }
    }
    i64::try_from(value).ok()
}

impl Pax {
    /// Adds the records of one extended header; later ones count.
    pub(super) fn add(&mut self, mut records: &[u8]) -> Result<(), Trouble> {
        while !records.is_empty() {
            let (key, value, rest) = record(records).ok_or_else(broken)?;
            self.set(key, value)?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Trouble> {
        let some = |value: &[u8]| (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = some(value),
            b"linkpath" => self.link = some(value),
            b"size" => self.size = decimal(value)?,
            b"uid" => self.uid = decimal(value)?,
            b"gid" => self.gid = decimal(value)?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(time(value).ok_or_else(broken)?),
            _ if key.starts_with(b"GNU.sparse.") => self.sparse.set(&key[11..], value)?,
            _ if key.starts_with(b"SCHILY.") || key.starts_with(b"LIBARCHIVE.xattr.") => {
                let is_kept = [&b"SCHILY.dev"[..], b"SCHILY.ino", b"SCHILY.nlink"].contains(&key);
                if !is_kept {
                    self.lost = Some(shown(key));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// This, and where it says nothing, what `other` says.
    pub(super) fn or(self, other: &Self) -> Self {
        Self {
            path: self.path.or_else(|| other.path.clone()),
            link: self.link.or_else(|| other.link.clone()),
            size: self.size.or(other.size),
            mtime: self.mtime.or(other.mtime),
            uid: self.uid.or(other.uid),
            gid: self.gid.or(other.gid),
            lost: self.lost.or_else(|| other.lost.clone()),
            // Of one file, never of all.
            sparse: self.sparse,
        }
    }
}

impl Sparse {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Trouble> {
        self.is_any = true;
        match key {
            b"major" => self.major = decimal(value)?,
            b"name" => self.name = Some(value.to_vec()),
            b"realsize" => self.size = decimal(value)?,
            _ => {}
        }
        Ok(())
    }
}

fn broken() -> Trouble {
    bad("the archive is broken: a PAX record cannot be read")
}

/// `LENGTH key=value\n` at the front: key, value, and what follows.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = memchr::memchr(b' ', &records[..records.len().min(20)])?;
    let length: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
    let whole = records.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = memchr::memchr(b'=', whole)?;
    Some((&whole[..equals], &whole[equals + 1..], &records[length..]))
}

fn decimal(value: &[u8]) -> Result<Option<u64>, Trouble> {
    if value.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(value).ok();
    let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|text| text.parse().ok())
        .map(Some)
        .ok_or_else(broken)
}

/// Seconds with a fraction, before 1970 too: whole seconds rounded down, and nanoseconds.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (is_negative, plain) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let (whole, part) = plain.split_once('.').unwrap_or((plain, ""));
    if !(whole.bytes().chain(part.bytes())).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let nine: String = part.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = nine.parse().ok()?;
    Some(match (is_negative, nanoseconds) {
        (false, _) => (whole, nanoseconds),
        (true, 0) => (-whole, 0),
        (true, _) => (-whole - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::super::member::{Member, Type};
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let cases: &[(&[u8], Option<i64>)] = &[
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"00000648", None),
            (b"-0000001", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (
                b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                Some(i64::MAX),
            ),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"777777777777", Some(0o777_777_777_777)),
        ];
        for (field, wanted) in cases {
            assert_eq!(number(field, b"").ok(), *wanted, "{field:?}");
        }
    }

    #[test]
    fn records_are_read_and_broken_ones_refused() {
        let mut pax = Pax::default();
        pax.add(b"12 path=a\xff\n\n17 mtime=-1.5000\n9 size=5\n7 uid=\n")
            .unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a\xff\n"[..]));
        assert_eq!(
            (pax.mtime, pax.size, pax.uid),
            (Some((-2, 500_000_000)), Some(5), None)
        );
        for broken in [
            &b"5 a=b\n"[..],
            b"99 a=b\n",
            b"6 a=bx",
            b"x",
            b"0 a=b\n",
            b"6 aab\n",
            b"10 size=-1\n",
            b"10 mtime=x\n",
            b"30000000000000000000000 a=b\n",
        ] {
            let text = String::from_utf8_lossy(broken);
            assert!(Pax::default().add(broken).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let member = Member {
            kind: Type::File,
            name: [&b"p".repeat(120)[..], b"/", &b"n".repeat(90)].concat(),
            link: Vec::new(),
            mode: 0o100_4755,
            uid: 0o777_7777,
            gid: 5,
            size: 8 << 30,
            mtime: (-5, 250_000_000),
        };
        let blocks = member.blocks(Some(b"comment"));
        let count = blocks.len() / BLOCK;
        let header = |at: usize| {
            let block: &[u8; BLOCK] = blocks[at * BLOCK..][..BLOCK].try_into().unwrap();
            Header::decode(block).unwrap().unwrap()
        };
        let first = header(0);
        assert_eq!(first.flag, b'x');
        let mut pax = Pax::default();
        let size = usize::try_from(first.size).unwrap();
        pax.add(&blocks[BLOCK..BLOCK + size]).unwrap();
        assert_eq!(
            (pax.size, pax.mtime),
            (Some(8 << 30), Some((-5, 250_000_000)))
        );
        let last = header(count - 1);
        assert_eq!(
            (last.flag, last.mode, last.uid, last.gid),
            (b'0', 0o4755, 0o777_7777, 5)
        );
        assert_eq!(last.name, member.name);
    }
}
