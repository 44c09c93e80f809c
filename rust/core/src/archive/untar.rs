//! tar, pushed in as it arrives: blocks into entries.
//!
//! Belongs here: the order of blocks, extended headers, sizes. Banned here: files; what is done
//! with an entry is its `Sink`'s affair.
//!
//! The end mark is demanded, since without it a cut between two members could not be told.
//! Archives that follow each other are read on, where tar would drop all but the first.
//! Where PAX and ustar disagree, PAX counts, as POSIX has it. A size on what has no content is
//! refused: readers disagree about it, and what one takes for content is a header to the other.

use super::header::{Header, Pax};
use super::member::BLOCK;
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
                    let wanted = (BLOCK - self.block.len()).min(bytes.len());
                    self.block.extend_from_slice(&bytes[..wanted]);
                    bytes = &bytes[wanted..];
                    if self.block.len() == BLOCK {
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
                State::Content { left, pad } => {
                    sink.content(take(left, &mut bytes))?;
                    if *left == 0 {
                        self.state = State::skipping(*pad);
                        sink.end()?;
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
            _ => self.member(header, sink),
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

    fn member(&mut self, header: Header, sink: &mut impl Sink) -> Result<(), Trouble> {
        let pax = std::mem::take(&mut self.local).or(&self.global);
        let name = pax.path.or(self.long_name.take()).unwrap_or(header.name);
        let size = pax.size.unwrap_or(header.size);
        let kind = kind_of(header.flag, &name, size)?;
        if pax.is_sparse {
            return Err(bad(format!(
                "{}: sparse files are not taken; make the archive without --sparse",
                shown(&name)
            )));
        }
        if kind != Kind::File && size > 0 {
            return Err(bad(format!(
                "{}: has a size of {size}, and is no file that could have one",
                shown(&name)
            )));
        }
        self.entries += 1;
        sink.begin(Entry {
            kind,
            link: pax.link.or(self.long_link.take()).unwrap_or(header.link),
            mode: header.mode,
            uid: pax.uid.unwrap_or(header.uid),
            gid: pax.gid.unwrap_or(header.gid),
            size,
            mtime: pax.mtime.unwrap_or((header.mtime, 0)),
            lost: pax.lost,
            name,
        })?;
        self.long_link = None;
        if kind == Kind::File {
            if size == 0 {
                sink.end()?;
            } else {
                let pad = pad(size);
                self.state = State::Content { left: size, pad };
            }
        }
        Ok(())
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
        b'0' | b'7' | 0 => Ok(Kind::File),
        b'1' => Ok(Kind::HardLink),
        b'2' => Ok(Kind::Symlink),
        b'5' => Ok(Kind::Directory),
        b'3' => refuse("a character device"),
        b'4' => refuse("a block device"),
        b'6' => refuse("a FIFO"),
        b'S' => Err(bad(format!(
            "{}: sparse files are not taken; make the archive without --sparse",
            shown(name)
        ))),
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
