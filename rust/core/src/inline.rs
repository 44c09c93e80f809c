//! What is in a file, for a listing: its digest, and its text as the inside of a JSON string.
//!
//! Belongs here: reading files that are small at once, and larger ones in pieces, twice: a
//! first pass says whether they are text, a second one sends them, in constant memory.
//! Banned here: which files are read (the walk decides), names, lines.
//! Source: wire contract, section 2, `include_content`, `include_hash`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::json;
use crate::scratch::{PIECE, SMALL_FILE};

/// Whether bytes are text: valid UTF-8 without NUL.
pub fn is_text(bytes: &[u8]) -> bool {
    memchr::memchr(0, bytes).is_none() && simdutf8::basic::from_utf8(bytes).is_ok()
}

/// The digest of bytes at hand.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Reads a file whole into `room`, which is larger than [`SMALL_FILE`]; `None` where it does
/// not fit. `size` is what the descriptor said: where one read returns just that, it is the
/// end. (In a pseudo file system it says 0, and the end is where nothing more comes.)
pub fn read_small(fd: BorrowedFd<'_>, size: u64, room: &mut [u8]) -> Result<Option<usize>> {
    let mut length = 0;
    while length <= SMALL_FILE {
        match rustix::io::read(fd, &mut room[length..]) {
            Ok(0) => return Ok(Some(length)),
            Ok(more) => length += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        if length as u64 == size {
            return Ok(Some(length));
        }
    }
    Ok(None)
}

/// A file read in pieces, with the beginning of a character that the last piece cut.
#[derive(Debug)]
struct Pieces {
    fd: OwnedFd,
    offset: u64,
    cut: [u8; 3],
    cut_length: usize,
}

impl Pieces {
    fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            offset: 0,
            cut: [0; 3],
            cut_length: 0,
        }
    }

    /// The next piece of at most `most` bytes in `room`: where the new bytes begin, behind the
    /// cut character, and where they end. Nothing new is the end of the file.
    fn next(&mut self, room: &mut [u8], most: u64) -> Result<(usize, usize)> {
        let begin = self.cut_length;
        room[..begin].copy_from_slice(&self.cut[..begin]);
        let end = begin + usize::try_from(most).unwrap_or(PIECE).min(PIECE);
        loop {
            match rustix::io::pread(&self.fd, &mut room[begin..end], self.offset) {
                Ok(more) => {
                    self.offset += more as u64;
                    return Ok((begin, begin + more));
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Keeps what `text` ends with if that is the beginning of a character; says how much of
    /// `text` is whole, and whether it is valid so far.
    fn split(&mut self, text: &[u8]) -> (usize, bool) {
        self.cut_length = 0;
        let Err(error) = simdutf8::compat::from_utf8(text) else {
            return (text.len(), true);
        };
        if error.error_len().is_some() {
            return (text.len(), false);
        }
        let rest = &text[error.valid_up_to()..];
        self.cut[..rest.len()].copy_from_slice(rest);
        self.cut_length = rest.len();
        (error.valid_up_to(), true)
    }
}

/// The first pass over a larger file.
#[derive(Debug)]
pub struct Scan {
    pieces: Pieces,
    hasher: Option<Sha256>,
    text: bool,
}

/// What a first pass found out.
#[derive(Debug)]
pub struct Scanned {
    /// The digest, if it was wanted.
    pub digest: Option<Digest>,
    /// The second pass, if content was wanted and the file is text.
    pub text: Option<Emission>,
}

impl Scan {
    /// A pass that has not begun.
    pub fn new(fd: OwnedFd, want_digest: bool, want_text: bool) -> Self {
        Self {
            pieces: Pieces::new(fd),
            hasher: want_digest.then(Sha256::new),
            text: want_text,
        }
    }

    /// Reads one piece into `room` (a [`PIECE`] and three bytes at least); true when there is
    /// nothing left to find out.
    pub fn step(&mut self, room: &mut [u8]) -> Result<bool> {
        let (begin, end) = self.pieces.next(room, u64::MAX)?;
        if begin == end {
            self.text &= self.pieces.cut_length == 0;
            return Ok(true);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&room[begin..end]);
        }
        if self.text {
            self.text =
                memchr::memchr(0, &room[begin..end]).is_none() && self.pieces.split(&room[..end]).1;
        } else {
            self.pieces.cut_length = 0;
        }
        Ok(!self.text && self.hasher.is_none())
    }

    /// What was found out, after the last step.
    pub fn finish(self) -> Scanned {
        let length = self.pieces.offset;
        Scanned {
            digest: self.hasher.map(|hasher| hasher.finalize().into()),
            text: self.text.then(|| Emission {
                pieces: Pieces::new(self.pieces.fd),
                length,
                changed: false,
            }),
        }
    }
}

/// The second pass: a text of many pieces on its way out.
#[derive(Debug)]
pub struct Emission {
    pieces: Pieces,
    length: u64,
    changed: bool,
}

impl Emission {
    /// How many bytes of the file are being sent.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends the next piece, of at most `most` bytes of the file, escaped; true after the last.
    pub fn step(&mut self, room: &mut [u8], out: &mut Vec<u8>, most: usize) -> Result<bool> {
        let left = self.length - self.pieces.offset;
        let (begin, end) = self.pieces.next(room, left.min(most as u64))?;
        let (whole, valid) = self.pieces.split(&room[..end]);
        let over = begin == end || self.pieces.offset == self.length;
        let whole = if over { end } else { whole };
        self.changed |= json::escape_lossy(out, &room[..whole]) || !valid;
        self.changed |= over && self.pieces.offset < self.length;
        Ok(over)
    }

    /// Whether the file changed between the two passes, so that the text is not whole: it was
    /// cut short, or has U+FFFD in it.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// The file.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.pieces.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_passes(content: &[u8]) -> (Scanned, Option<Vec<u8>>) {
        let place = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(place.path(), content).unwrap();
        let mut room = vec![0; PIECE + 3];
        let mut scan = Scan::new(place.reopen().unwrap().into(), true, true);
        while !scan.step(&mut room).unwrap() {}
        let mut scanned = scan.finish();
        let text = scanned.text.as_mut().map(|emission| {
            let mut out = Vec::new();
            while !emission.step(&mut room, &mut out, PIECE).unwrap() {}
            assert!(!emission.is_changed());
            out
        });
        (scanned, text)
    }

    #[test]
    fn characters_that_a_piece_cuts_stay_whole() {
        for shift in 0..5 {
            let mut content = vec![b'x'; shift];
            content.extend("ž😀\n".repeat(200_000).bytes());
            let (scanned, text) = two_passes(&content);
            assert_eq!(scanned.digest, Some(digest_of(&content)));
            let mut wanted = Vec::new();
            json::escape(&mut wanted, &content);
            assert!(text == Some(wanted), "shift {shift}");
        }
    }

    #[test]
    fn what_is_no_text_is_told() {
        let long = vec![b'x'; 2 * PIECE];
        for (tail, text) in [
            (&b""[..], true),
            (b"\0", false),
            (b"\xff", false),
            (b"\xc5", false),
        ] {
            let content = [&long[..], tail].concat();
            let (scanned, found) = two_passes(&content);
            assert_eq!(found.is_some(), text, "{tail:?}");
            assert_eq!(scanned.digest, Some(digest_of(&content)));
        }
    }

    #[test]
    fn a_file_cut_short_between_the_passes_is_told() {
        let place = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(place.path(), vec![b'x'; 3 * PIECE]).unwrap();
        let mut room = vec![0; PIECE + 3];
        let mut scan = Scan::new(place.reopen().unwrap().into(), false, true);
        while !scan.step(&mut room).unwrap() {}
        std::fs::write(place.path(), "short").unwrap();
        let mut emission = scan.finish().text.unwrap();
        let mut out = Vec::new();
        while !emission.step(&mut room, &mut out, PIECE).unwrap() {}
        assert!(emission.is_changed());
        assert_eq!(out, b"short");
    }
}
