//! tar, pushed in as it arrives: blocks into entries.
//!
//! Belongs here: the order of blocks, extended headers, sizes. Banned here: files; what is done
//! with an entry is its `Sink`'s affair.
//!
//! Sparse files keep their holes. The end mark is demanded, since without it a cut between two members could not be told.
//! Archives that follow each other are read on, where tar would drop all but the first.
//! Where PAX and ustar disagree, PAX counts, as POSIX has it. A size on what has no content is
//! refused: readers disagree about it, and what one takes for content is a header to the other.

use super::header::{Header, Pax};
use super::member::BLOCK;
use super::sparse::{Map, Reader};
use super::trouble::{Trouble, bad, shown, too_large};

/// An extended header or a long name.
const MOST_EXTENDED: u64 = 1024 * 1024;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Directory,
}

/// One entry, as the archive has it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: (i64, u32),
    /// A record that is not kept.
    pub(super) lost: Option<String>,
}

/// Who takes entries. Content follows `begin` of a file, and `end` that, at once if it is empty.
pub(super) trait Sink {
    fn begin(&mut self, entry: Entry) -> Result<(), Trouble>;
    fn content(&mut self, bytes: &[u8]) -> Result<(), Trouble>;
    /// So many zeros, for which nothing need be stored.
    fn hole(&mut self, bytes: u64) -> Result<(), Trouble>;
    fn end(&mut self) -> Result<(), Trouble>;
}

/// An archive being read.
#[derive(Default)]
pub(super) struct Untar {
    state: State,
    block: Vec<u8>,
    local: Pax,
    global: Pax,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    /// A sparse file whose map is being read.
    mapped: Option<(Entry, Reader)>,
    /// Where the bytes of the sparse file at hand belong.
    map: Option<Map>,
    entries: u64,
    is_ended: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Header,
    Extended {
        flag: u8,
        left: u64,
        bytes: Vec<u8>,
    },
    /// In a map: how much of the member is left with it.
    Mapped {
        left: u64,
    },
    Content {
        left: u64,
        pad: u64,
    },
    Skipped {
        left: u64,
    },
}

impl Untar {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Header => {
                    if self.fill(&mut bytes) {
                        self.header(sink)?;
                    }
                }
                State::Extended {
                    flag,
                    left,
                    bytes: found,
                } => {
                    found.extend_from_slice(take(left, &mut bytes));
                    if *left == 0 {
                        let (flag, found) = (*flag, std::mem::take(found));
                        self.state = State::skipping(pad(found.len() as u64));
                        self.extend(flag, &found)?;
                    }
                }
                State::Mapped { .. } => {
                    if self.fill(&mut bytes) {
                        self.map_block(sink)?;
                    }
                }
                State::Content { left, pad } => {
                    let taken = take(left, &mut bytes);
                    match &mut self.map {
                        Some(map) => map.content(taken, sink)?,
                        None => sink.content(taken)?,
                    }
                    if *left == 0 {
                        self.state = State::skipping(*pad);
                        self.end(sink)?;
                    }
                }
                State::Skipped { left } => {
                    take(left, &mut bytes);
                    if *left == 0 {
                        self.state = State::Header;
                    }
                }
            }
        }
        Ok(())
    }

    /// Fills the block at hand; true when it is whole.
    fn fill(&mut self, bytes: &mut &[u8]) -> bool {
        let wanted = (BLOCK - self.block.len()).min(bytes.len());
        self.block.extend_from_slice(&bytes[..wanted]);
        *bytes = &bytes[wanted..];
        self.block.len() == BLOCK
    }

    /// Whether the archive may end here.
    pub(super) fn finish(&self) -> Result<(), Trouble> {
        let is_rest = self.block.iter().all(|byte| *byte == 0);
        let is_between = matches!(self.state, State::Header) && is_rest;
        if is_between && self.entries == 0 {
            return Err(bad("the archive is empty: it holds no entries"));
        }
        if !(is_between && self.is_ended) {
            return Err(bad("the archive is cut: its end mark is missing"));
        }
        Ok(())
    }

    fn header(&mut self, sink: &mut impl Sink) -> Result<(), Trouble> {
        let mut block = [0; BLOCK];
        block.copy_from_slice(&self.block);
        self.block.clear();
        let Some(header) = Header::decode(&block)? else {
            self.is_ended = true;
            return Ok(());
        };
        self.is_ended = false;
        match header.flag {
            b'x' | b'X' | b'g' | b'L' | b'K' => self.begin_extended(&header),
            b'V' => {
                self.state = State::skipping(header.size + pad(header.size));
                Ok(())
            }
            _ => self.member(header, &block, sink),
        }
    }

    fn begin_extended(&mut self, header: &Header) -> Result<(), Trouble> {
        if header.size > MOST_EXTENDED {
            return Err(too_large(format!(
                "the archive has an extended header of {} bytes; at most {MOST_EXTENDED} are taken",
                header.size
            )));
        }
        let bytes = Vec::new();
        self.state = State::Extended {
            flag: header.flag,
            left: header.size,
            bytes,
        };
        if header.size == 0 {
            self.state = State::Header;
        }
        Ok(())
    }

    fn extend(&mut self, flag: u8, found: &[u8]) -> Result<(), Trouble> {
        let text = || found[..memchr::memchr(0, found).unwrap_or(found.len())].to_vec();
        match flag {
            b'L' => self.long_name = Some(text()),
            b'K' => self.long_link = Some(text()),
            b'g' => self.global.add(found)?,
            _ => self.local.add(found)?,
        }
        Ok(())
    }

    fn member(
        &mut self,
        header: Header,
        block: &[u8; BLOCK],
        sink: &mut impl Sink,
    ) -> Result<(), Trouble> {
        let pax = std::mem::take(&mut self.local).or(&self.global);
        let is_sparse = pax.sparse.is_any || header.flag == b'S';
        let name = pax
            .sparse
            .name
            .or(pax.path)
            .or(self.long_name.take())
            .unwrap_or(header.name);
        let size = pax.size.unwrap_or(header.size);
        let kind = kind_of(header.flag, &name, size)?;
        if kind != Kind::File && size > 0 {
            return Err(bad(format!(
                "{}: has a size of {size}, and is no file that could have one",
                shown(&name)
            )));
        }
        self.entries += 1;
        let entry = Entry {
            kind,
            link: pax.link.or(self.long_link.take()).unwrap_or(header.link),
            mode: header.mode,
            uid: pax.uid.unwrap_or(header.uid),
            gid: pax.gid.unwrap_or(header.gid),
            size,
            mtime: pax.mtime.unwrap_or((header.mtime, 0)),
            lost: pax.lost,
            name,
        };
        self.long_link = None;
        if is_sparse {
            let is_known = pax.sparse.major == Some(1) && kind == Kind::File;
            let text = pax.sparse.size.filter(|_| is_known).map(Reader::text);
            return self.begin_map(entry, block, text, sink);
        }
        sink.begin(entry)?;
        if kind == Kind::File {
            self.begin_content(size, sink)?;
        }
        Ok(())
    }

    fn begin_content(&mut self, size: u64, sink: &mut impl Sink) -> Result<(), Trouble> {
        if size == 0 {
            self.state = State::Header;
            return self.end(sink);
        }
        let pad = pad(size);
        self.state = State::Content { left: size, pad };
        Ok(())
    }

    fn end(&mut self, sink: &mut impl Sink) -> Result<(), Trouble> {
        if let Some(map) = self.map.take() {
            map.end(sink)?;
        }
        sink.end()
    }

    /// A sparse file: its map comes first, in the header already, in blocks of its own, or as
    /// text in its data.
    fn begin_map(
        &mut self,
        entry: Entry,
        block: &[u8; BLOCK],
        text: Option<Reader>,
        sink: &mut impl Sink,
    ) -> Result<(), Trouble> {
        let left = entry.size;
        let (reader, goes_on) = match text {
            Some(reader) => (reader, true),
            None if block[156] == b'S' => Reader::header(block)?,
            None => {
                return Err(bad(format!(
                    "{}: a sparse file in a form that is not taken; make the archive without it",
                    shown(&entry.name)
                )));
            }
        };
        self.mapped = Some((entry, reader));
        if goes_on {
            self.state = State::Mapped { left };
            return Ok(());
        }
        self.end_map(left, sink)
    }

    fn map_block(&mut self, sink: &mut impl Sink) -> Result<(), Trouble> {
        let block = std::mem::take(&mut self.block);
        let (State::Mapped { left }, Some((_, reader))) = (&mut self.state, &mut self.mapped)
        else {
            return Ok(());
        };
        if matches!(reader, Reader::Text { .. }) {
            // A map that is longer than its member is broken.
            *left = left.checked_sub(BLOCK as u64).ok_or_else(|| {
                bad("the archive is broken: the map of a sparse file is longer than it")
            })?;
        }
        let left = *left;
        if reader.block(&block)? {
            self.end_map(left, sink)?;
        }
        Ok(())
    }

    fn end_map(&mut self, left: u64, sink: &mut impl Sink) -> Result<(), Trouble> {
        let Some((mut entry, reader)) = self.mapped.take() else {
            return Ok(());
        };
        entry.size = reader.size();
        self.map = Some(reader.finish(left)?);
        sink.begin(entry)?;
        self.begin_content(left, sink)
    }
}

impl State {
    fn skipping(left: u64) -> Self {
        if left == 0 {
            Self::Header
        } else {
            Self::Skipped { left }
        }
    }
}

fn kind_of(flag: u8, name: &[u8], size: u64) -> Result<Kind, Trouble> {
    let refuse = |what: &str| Err(bad(format!("{}: {what} is not taken", shown(name))));
    match flag {
        // So directories were written before ustar.
        b'0' | 0 if name.ends_with(b"/") && size == 0 => Ok(Kind::Directory),
        b'0' | b'7' | b'S' | 0 => Ok(Kind::File),
        b'1' => Ok(Kind::HardLink),
        b'2' => Ok(Kind::Symlink),
        b'5' => Ok(Kind::Directory),
        b'3' => refuse("a character device"),
        b'4' => refuse("a block device"),
        b'6' => refuse("a FIFO"),
        other => refuse(&format!("a member of type {:?}", char::from(other))),
    }
}

/// Bytes from the front of `bytes`, as many as are left.
fn take<'a>(left: &mut u64, bytes: &mut &'a [u8]) -> &'a [u8] {
    let count = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    let (taken, rest) = bytes.split_at(count);
    *left -= count as u64;
    *bytes = rest;
    taken
}

/// From the end of a content to the next block.
fn pad(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}
