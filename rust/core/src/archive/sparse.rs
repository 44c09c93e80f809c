//! The maps of sparse files: where in the file the bytes of an archive belong.
//!
//! Belongs here: GNU's two maps that tars write today, the one of `tar --sparse` (a member of type
//! `S`) and the one of PAX archives, version 1.0, which bsdtar writes for every file with holes.
//! Banned here: files. The older PAX maps are refused.
//! Source: the manual of GNU tar, "Storing Sparse Files".

use std::collections::VecDeque;

use super::member::BLOCK;
use super::trouble::{Trouble, bad};
use super::untar::Sink;

/// A map in text may have so many bytes.
const MOST_TEXT: usize = 1024 * 1024;
/// Offset and size, twelve bytes each.
const PAIR: usize = 24;
const IN_HEADER: usize = 4;
const IN_BLOCK: usize = 21;

fn broken() -> Trouble {
    bad("the archive is broken: the map of a sparse file")
}

/// Where the bytes that come belong: ranges in order, none empty.
#[derive(Debug, Default)]
pub(super) struct Map {
    ranges: VecDeque<(u64, u64)>,
    /// How much of the file came, holes included.
    place: u64,
    /// The whole file's size.
    size: u64,
}

impl Map {
    /// A map of `pairs` for a file of `size` bytes, of which `data` are in the archive.
    fn new(pairs: &[(u64, u64)], size: u64, data: u64) -> Result<Self, Trouble> {
        let (mut end, mut sum) = (0, 0_u64);
        for (offset, length) in pairs {
            if *offset < end {
                return Err(broken());
            }
            end = offset.checked_add(*length).ok_or_else(broken)?;
            sum += length;
        }
        if end > size || sum != data {
            return Err(broken());
        }
        let ranges = pairs.iter().filter(|(_, length)| *length > 0).copied();
        Ok(Self {
            ranges: ranges.collect(),
            place: 0,
            size,
        })
    }

    /// Hands bytes over to where they belong.
    pub(super) fn content(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            let (offset, length) = self.ranges.pop_front().ok_or_else(broken)?;
            if offset > self.place {
                sink.hole(offset - self.place)?;
            }
            let count = usize::try_from(length).map_or(bytes.len(), |one| one.min(bytes.len()));
            sink.content(&bytes[..count])?;
            bytes = &bytes[count..];
            let taken = count as u64;
            self.place = offset + taken;
            if taken < length {
                self.ranges.push_front((self.place, length - taken));
            }
        }
        Ok(())
    }

    /// What follows the last bytes is a hole.
    pub(super) fn end(&self, sink: &mut impl Sink) -> Result<(), Trouble> {
        if self.size > self.place {
            sink.hole(self.size - self.place)?;
        }
        Ok(())
    }
}

/// A map that is being read, block by block.
#[derive(Debug)]
pub(super) enum Reader {
    /// Numbers, each with a newline, the first how many pairs follow.
    Text {
        bytes: Vec<u8>,
        lines: u64,
        size: u64,
    },
    /// Blocks of pairs.
    Blocks { pairs: Vec<(u64, u64)>, size: u64 },
}

impl Reader {
    /// For a PAX member, whose map stands before its data.
    pub(super) fn text(size: u64) -> Self {
        Self::Text {
            bytes: Vec::new(),
            lines: 0,
            size,
        }
    }

    /// For a member of type `S`; the flag says that blocks of the map follow the header.
    pub(super) fn header(block: &[u8; BLOCK]) -> Result<(Self, bool), Trouble> {
        let size = number(&block[483..495])?;
        let pairs = pairs(&block[386..], IN_HEADER)?;
        Ok((Self::Blocks { pairs, size }, block[482] != 0))
    }

    /// The whole file's size.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Text { size, .. } | Self::Blocks { size, .. } => *size,
        }
    }

    /// Takes a block; true when the map is over.
    pub(super) fn block(&mut self, block: &[u8]) -> Result<bool, Trouble> {
        match self {
            Self::Text { bytes, lines, .. } => {
                *lines += memchr::memchr_iter(b'\n', block).count() as u64;
                bytes.extend_from_slice(block);
                let Some(end) = memchr::memchr(b'\n', bytes) else {
                    return Err(broken());
                };
                let wanted = decimal(&bytes[..end])?.checked_mul(2).ok_or_else(broken)?;
                if bytes.len() > MOST_TEXT {
                    return Err(broken());
                }
                Ok(*lines > wanted)
            }
            Self::Blocks { pairs: found, .. } => {
                found.extend(pairs(block, IN_BLOCK)?);
                if found.len() * 2 * size_of::<u64>() > MOST_TEXT {
                    return Err(broken());
                }
                Ok(block[IN_BLOCK * PAIR] == 0)
            }
        }
    }

    /// The map, of which `data` bytes are in the archive.
    pub(super) fn finish(self, data: u64) -> Result<Map, Trouble> {
        let size = self.size();
        let pairs = match self {
            Self::Blocks { pairs, .. } => pairs,
            Self::Text { bytes, .. } => {
                let mut numbers = bytes.split(|byte| *byte == b'\n').map(decimal);
                let mut next = || numbers.next().ok_or_else(broken).flatten();
                let count = next()?;
                (0..count)
                    .map(|_| Ok::<_, Trouble>((next()?, next()?)))
                    .collect::<Result<Vec<_>, _>>()?
            }
        };
        Map::new(&pairs, size, data)
    }
}

fn pairs(block: &[u8], most: usize) -> Result<Vec<(u64, u64)>, Trouble> {
    let all = block.chunks_exact(PAIR).take(most);
    let used = all.take_while(|pair| pair[0] != 0);
    used.map(|pair| Ok((number(&pair[..12])?, number(&pair[12..])?)))
        .collect()
}

fn number(field: &[u8]) -> Result<u64, Trouble> {
    let number = super::header::number(field, b"").map_err(|_| broken())?;
    u64::try_from(number).map_err(|_| broken())
}

fn decimal(line: &[u8]) -> Result<u64, Trouble> {
    let text = std::str::from_utf8(line).map_err(|_| broken())?;
    text.parse().map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_maps_that_fit_are_taken() {
        type Case = (&'static [(u64, u64)], u64, u64, bool);
        let cases: &[Case] = &[
            (&[], 0, 0, true),
            (&[], 5, 0, true),
            (&[(0, 3), (10, 2), (20, 0)], 20, 5, true),
            (&[(0, 3), (2, 2)], 20, 5, false),
            (&[(10, 2), (0, 3)], 20, 5, false),
            (&[(0, 3)], 2, 3, false),
            (&[(0, 3)], 20, 4, false),
            (&[(u64::MAX, 1)], u64::MAX, 1, false),
        ];
        for (pairs, size, data, wanted) in cases {
            assert_eq!(Map::new(pairs, *size, *data).is_ok(), *wanted, "{pairs:?}");
        }
    }

    #[test]
    fn a_map_in_text_ends_where_it_says() {
        let mut block = b"2\n0\n3\n10\n2\n".to_vec();
        block.resize(BLOCK, 0);
        let mut reader = Reader::text(20);
        assert_eq!(reader.block(&block), Ok(true));
        assert_eq!(reader.finish(5).unwrap().ranges, [(0, 3), (10, 2)]);
        for broken in [&b"x\n"[..], b"-1\n", b"99999999999999999999\n", b""] {
            let mut block = broken.to_vec();
            block.resize(BLOCK, 0);
            assert!(Reader::text(20).block(&block).is_err());
        }
    }
}
