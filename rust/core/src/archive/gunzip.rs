//! gzip, pushed in as it arrives: members one after the other, checked.
//!
//! Belongs here: the framing of RFC 1952. Banned here: what the bytes mean.
//!
//! Members may follow each other (as of `cat a.gz b.gz`, pigz, bgzip), and zeros may follow the
//! last one (as of tapes); anything else behind it is an error, and so is an end in the middle.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::trouble::{Trouble, bad};

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const FIXED: usize = 10;
const TRAILER: usize = 8;
/// The optional parts of a header: a name, a comment, extra fields.
const MOST_HEADER: usize = 256 * 1024;
const ROOM: usize = 64 * 1024;

const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

/// A stream being inflated.
pub(super) struct Gunzip {
    stage: Stage,
    inflate: Decompress,
    crc: Crc,
    room: Box<[u8]>,
    members: u64,
}

enum Stage {
    /// In a header, or before one.
    Header(Vec<u8>),
    Body,
    Trailer(Vec<u8>),
    /// Zeros behind the last member.
    Padding,
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Header(Vec::new()),
            inflate: Decompress::new(false),
            crc: Crc::new(),
            room: vec![0; ROOM].into(),
            members: 0,
        }
    }

    /// The next bytes, taken from the front of `input`; None once that is used up.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<&[u8]>, Trouble> {
        loop {
            match &mut self.stage {
                Stage::Body => {
                    let filled = self.inflate(input)?;
                    if filled > 0 {
                        return Ok(Some(&self.room[..filled]));
                    }
                    if matches!(self.stage, Stage::Body) && input.is_empty() {
                        return Ok(None);
                    }
                }
                _ if input.is_empty() => return Ok(None),
                Stage::Header(head) => {
                    if head.is_empty() && self.members > 0 && input[0] == 0 {
                        self.stage = Stage::Padding;
                    } else if take_header(head, input, self.members > 0)? {
                        self.inflate.reset(false);
                        self.crc.reset();
                        self.stage = Stage::Body;
                    }
                }
                Stage::Trailer(tail) => {
                    let wanted = (TRAILER - tail.len()).min(input.len());
                    tail.extend_from_slice(&input[..wanted]);
                    *input = &input[wanted..];
                    if tail.len() == TRAILER {
                        check(tail, &self.crc)?;
                        self.members += 1;
                        self.stage = Stage::Header(Vec::new());
                    }
                }
                Stage::Padding if input.iter().all(|byte| *byte == 0) => *input = &[],
                Stage::Padding => return Err(garbage()),
            }
        }
    }

    fn inflate(&mut self, input: &mut &[u8]) -> Result<usize, Trouble> {
        let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(input, &mut self.room, FlushDecompress::None)
            .map_err(|error| bad(format!("the archive is broken: gzip: {error}")))?;
        let step = |before: u64, after: u64| usize::try_from(after - before).unwrap_or(usize::MAX);
        let taken = step(taken, self.inflate.total_in());
        let filled = step(given, self.inflate.total_out());
        *input = &input[taken..];
        self.crc.update(&self.room[..filled]);
        match status {
            Status::StreamEnd => self.stage = Stage::Trailer(Vec::new()),
            _ if taken == 0 && filled == 0 && !input.is_empty() => {
                return Err(bad("the archive is broken: gzip: it does not go on"));
            }
            _ => {}
        }
        Ok(filled)
    }

    /// Whether the stream may end here.
    pub(super) fn finish(&self) -> Result<(), Trouble> {
        match &self.stage {
            Stage::Padding => Ok(()),
            Stage::Header(head) if head.is_empty() && self.members > 0 => Ok(()),
            Stage::Header(head) if head.is_empty() => {
                Err(bad("the archive is empty: no bytes came"))
            }
            _ => Err(bad(
                "the archive is cut: it ends in the middle of its gzip stream",
            )),
        }
    }
}

fn garbage() -> Trouble {
    bad("the archive is broken: what follows the gzip stream is no other one")
}

/// Takes bytes of a header; true when it is over.
fn take_header(head: &mut Vec<u8>, input: &mut &[u8], follows: bool) -> Result<bool, Trouble> {
    let before = head.len();
    head.extend_from_slice(&input[..input.len().min(MOST_HEADER + 1 - before)]);
    let known = head.len().min(MAGIC.len());
    if head[..known] != MAGIC[..known] {
        return Err(if follows {
            garbage()
        } else {
            bad("the body is not gzip; send a tar.gz, such as `tar -cz` makes")
        });
    }
    match header_size(head) {
        Some(size) => {
            *input = &input[size - before..];
            Ok(true)
        }
        None if head.len() > MOST_HEADER => {
            Err(bad("the archive is broken: its gzip header does not end"))
        }
        None => {
            *input = &[];
            Ok(false)
        }
    }
}

/// How long the header is; None where more of it has to come.
fn header_size(head: &[u8]) -> Option<usize> {
    let flags = *head.get(3)?;
    let mut at = FIXED;
    if flags & EXTRA != 0 {
        let size = head.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([size[0], size[1]]));
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            at += memchr::memchr(0, head.get(at..)?)? + 1;
        }
    }
    if flags & HEADER_CRC != 0 {
        at += 2;
    }
    (head.len() >= at).then_some(at)
}

fn check(tail: &[u8], crc: &Crc) -> Result<(), Trouble> {
    let word = |at: usize| u32::from_le_bytes([tail[at], tail[at + 1], tail[at + 2], tail[at + 3]]);
    if word(0) != crc.sum() || word(4) != crc.amount() {
        return Err(bad(
            "the archive is broken: gzip: the checksum does not match",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn gunzip(bytes: &[u8], step: usize) -> Result<Vec<u8>, Trouble> {
        let mut gunzip = Gunzip::new();
        let mut out = Vec::new();
        for mut piece in bytes.chunks(step) {
            while let Some(some) = gunzip.next(&mut piece)? {
                out.extend_from_slice(some);
            }
        }
        gunzip.finish().map(|()| out)
    }

    #[test]
    fn members_are_inflated_however_they_arrive() {
        let text = b"some text, and more ".repeat(10_000);
        let mut named = gz(b"named");
        named[3] = EXTRA | NAME | COMMENT | HEADER_CRC;
        let extra = [&[3, 0][..], b"abc", b"name\0", b"comment\0", b"\0\0"].concat();
        named.splice(FIXED..FIXED, extra);
        let cases = [
            (gz(&text), text.clone()),
            (
                [gz(&text), gz(b"x"), gz(b"")].concat(),
                [&text[..], b"x"].concat(),
            ),
            ([gz(b"a"), vec![0; 1000]].concat(), b"a".to_vec()),
            (named, b"named".to_vec()),
        ];
        for (bytes, wanted) in cases {
            for step in [1, 7, 100_000] {
                assert_eq!(gunzip(&bytes, step).as_deref(), Ok(&wanted[..]));
            }
        }
    }

    #[test]
    fn what_is_broken_is_refused() {
        let good = gz(&b"text".repeat(1000));
        let mut wrong = good.clone();
        let at = wrong.len() - 6;
        wrong[at] ^= 1;
        let cases = [
            (Vec::new(), "no bytes"),
            (b"plain text".to_vec(), "not gzip"),
            (vec![0; 1000], "not gzip"),
            (good[..good.len() - 1].to_vec(), "cut"),
            (good[..20].to_vec(), "cut"),
            (good[..5].to_vec(), "cut"),
            (wrong, "checksum"),
            ([&good[..], b"garbage"].concat(), "follows"),
            ([&good[..], b"\0\0x"].concat(), "follows"),
            ([&good[..], &good[..12]].concat(), "cut"),
        ];
        for (bytes, word) in cases {
            for step in [1, 100_000] {
                match gunzip(&bytes, step) {
                    Err(Trouble::Refused(_, sentence)) => {
                        assert!(sentence.contains(word), "{sentence}")
                    }
                    other => panic!("{word}: {other:?}"),
                }
            }
        }
    }
}
