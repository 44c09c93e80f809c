//! Reading a file for an answer: whole or by lines, in constant memory.
//!
//! Belongs here: which bytes are wanted, finding them, handing them over encoded. Banned here:
//! the answer around the content (Python writes it), writing.
//!
//! A file is looked through first, because what is wrong with it must be known before an
//! answer begins; then it is read again while the answer leaves, so that a client that takes
//! fifty MiB slowly holds a window of them and not all. What the second reading sees is what
//! is hashed and counted: an answer is one with itself, also of a file that grows meanwhile.
//! One that shrinks ends the answer short, with an error.
//!
//! Source: wire contract, section 2, "Read".

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{self, Errno};
use sha2::{Digest, Sha256};

use crate::cached;
use crate::content::{Encoder, Form};
use crate::error::{Error, Result};
use crate::lines::{newlines, through_newlines};
use crate::open::open_regular;
use crate::stop::Stop;

/// Contents up to this many bytes are kept from the first reading.
pub const KEPT: usize = 256 * 1024;
const WINDOW: usize = 32 * 1024;
const FIRST_CHUNK: usize = 16 * 1024;
const LARGEST_CHUNK: usize = 256 * 1024;

/// What is wanted of a file.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The first line, from 1.
    pub first: Option<u64>,
    /// The last line, at least `first`.
    pub last: Option<u64>,
    /// How it is answered.
    pub form: Form,
    /// The most bytes of content.
    pub limit: u64,
    /// Whether to fail with `EAGAIN` rather than wait for a disk or anybody (see [`cached`]).
    pub at_once: bool,
}

impl Wanted {
    fn is_whole(&self) -> bool {
        self.first.is_none() && self.last.is_none()
    }

    fn first_line(&self) -> u64 {
        self.first.unwrap_or(1)
    }
}

/// What was read, complete once [`Reading::is_finished`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The file's size: of a whole reading the bytes read, also where `stat` says 0 (`/proc`).
    pub size: u64,
    /// Lines read, an unterminated last one counted.
    pub lines: u64,
    /// Whether bytes were replaced because they are not UTF-8.
    pub lossy: bool,
    /// SHA-256 in lower-case hex, of a whole reading.
    pub sha256: Option<String>,
}

/// A file being read.
#[derive(Debug)]
pub struct Reading {
    file: OwnedFd,
    path: Vec<u8>,
    stat_size: u64,
    wanted: Wanted,
    /// Where the wanted bytes lie, once they are found; `from` moves on while they leave.
    from: u64,
    to: u64,
    kept: Option<Vec<u8>>,
    kept_from: u64,
    scratch: Vec<u8>,
    encoder: Encoder,
    lines: u64,
    ends_open: bool,
    hasher: Option<Sha256>,
}

impl Reading {
    /// Opens; reads nothing yet.
    ///
    /// # Errors
    /// Those of [`open_regular`]; `EFBIG` for a whole reading of what is over the limit.
    pub fn open(path: &[u8], wanted: Wanted) -> Result<Self> {
        let (file, stat) = if wanted.at_once {
            cached::open_regular(path)?
        } else {
            open_regular(path)?
        };
        let stat_size = stat.st_size.unsigned_abs();
        if wanted.is_whole() && stat_size > wanted.limit {
            return Err(Error::on(path)(Errno::FBIG));
        }
        Ok(Self {
            file,
            path: path.to_vec(),
            stat_size,
            wanted,
            from: 0,
            to: 0,
            kept: None,
            kept_from: 0,
            scratch: Vec::new(),
            encoder: Encoder::new(wanted.form, wanted.first_line()),
            lines: 0,
            ends_open: false,
            hasher: wanted.is_whole().then(Sha256::new),
        })
    }

    /// The descriptor, for `fstat`.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Finds the wanted bytes and says what is wrong with them; reads no further than their end.
    ///
    /// # Errors
    /// `EFBIG` where they are over the limit, [`Error::Invalid`] where text has a NUL,
    /// [`Error::Stopped`], and what reading says.
    pub fn scan(&mut self, stop: &Stop) -> Result<()> {
        let is_known = self.stat_size > KEPT as u64;
        if self.wanted.is_whole() && self.wanted.form == Form::Base64 && is_known {
            self.to = self.stat_size;
            return Ok(());
        }
        let is_small = self.stat_size < FIRST_CHUNK as u64;
        let mut chunk = vec![0; if is_small { FIRST_CHUNK } else { LARGEST_CHUNK }];
        let (mut size, mut at) = (FIRST_CHUNK, 0);
        let mut skip = self.wanted.first_line() - 1;
        let mut left = self.wanted.last.map(|last| last - skip);
        self.kept = Some(Vec::new());
        while left != Some(0) {
            stop.check()?;
            let count = self.read_on(&mut chunk[..size], at)?;
            at += count as u64;
            if count == 0 {
                break;
            }
            let passed = through_newlines(&chunk[..count], &mut skip);
            self.from += passed as u64;
            let found = &chunk[passed..count];
            let found = match &mut left {
                Some(left) => &found[..through_newlines(found, left)],
                None => found,
            };
            self.to = self.to.max(self.from) + found.len() as u64;
            self.take(found)?;
            size = (size * 2).min(chunk.len());
        }
        self.kept_from = self.from;
        Ok(())
    }

    /// The next batch, of at least `most` bytes unless it is the last one, and not much more:
    /// the inside of a JSON string.
    ///
    /// # Errors
    /// `ESTALE` where the file has become shorter, and what reading says.
    pub fn next(&mut self, most: usize) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(most.min(2 * (self.to - self.from) as usize) + WINDOW);
        while out.len() < most && !self.is_finished() {
            let size = usize::try_from(self.to - self.from).map_or(WINDOW, |left| left.min(WINDOW));
            let is_last = self.from + size as u64 == self.to;
            let kept = self.kept.take();
            let window = match &kept {
                Some(kept) => &kept[(self.from - self.kept_from) as usize..][..size],
                None => {
                    self.scratch.resize(size, 0);
                    self.read_again()?;
                    &self.scratch
                }
            };
            let taken = self.encoder.encode(&mut out, window, is_last);
            let window = &window[..taken];
            if let Some(hasher) = &mut self.hasher {
                hasher.update(window);
            }
            self.lines += newlines(window);
            self.ends_open = window.last() != Some(&b'\n');
            self.from += taken as u64;
            self.kept = kept;
        }
        Ok(out)
    }

    /// Whether all was handed over.
    pub fn is_finished(&self) -> bool {
        self.from == self.to
    }

    /// What was read so far.
    pub fn facts(&self) -> Facts {
        let whole = self.wanted.is_whole();
        Facts {
            size: if whole {
                self.from
            } else {
                self.stat_size.max(self.from)
            },
            lines: self.lines + u64::from(self.ends_open),
            lossy: self.encoder.is_lossy(),
            sha256: self.hasher.clone().map(|hasher| hex(&hasher.finalize())),
        }
    }

    /// Reads where the last call stopped. Not by offset: some files of `/proc` cannot be.
    fn read_on(&self, chunk: &mut [u8], at: u64) -> Result<usize> {
        if self.wanted.at_once {
            return cached::read_at(&self.file, chunk, at).map_err(Error::on(&self.path));
        }
        match io::retry_on_intr(|| io::read(&self.file, &mut *chunk)) {
            Ok(count) => Ok(count),
            // `/proc/self/mem` and its like: a file by type only. A disk's error has a size.
            Err(Errno::IO) if self.stat_size == 0 => Err(Error::on(&self.path)(Errno::NXIO)),
            Err(errno) => Err(Error::on(&self.path)(errno)),
        }
    }

    fn take(&mut self, found: &[u8]) -> Result<()> {
        if self.to - self.from > self.wanted.limit {
            return Err(Error::on(&self.path)(Errno::FBIG));
        }
        if self.wanted.form != Form::Base64 && memchr::memchr(0, found).is_some() {
            return Err(Error::Invalid("has a NUL byte".to_owned()));
        }
        // What has no size by `stat` is made while it is read: another reading gives another.
        let most = if self.stat_size == 0 {
            usize::MAX
        } else {
            KEPT
        };
        match &mut self.kept {
            Some(kept) if kept.len() + found.len() <= most => kept.extend_from_slice(found),
            kept => *kept = None,
        }
        Ok(())
    }

    fn read_again(&mut self) -> Result<()> {
        let mut done = 0;
        while done < self.scratch.len() {
            let (room, at) = (&mut self.scratch[done..], self.from + done as u64);
            match io::retry_on_intr(|| io::pread(&self.file, &mut *room, at)) {
                Ok(0) => return Err(Error::on(&self.path)(Errno::STALE)),
                Ok(count) => done += count,
                Err(errno) => return Err(Error::on(&self.path)(errno)),
            }
        }
        Ok(())
    }
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};

    const LIMIT: u64 = 1 << 20;

    fn wanted(first: Option<u64>, last: Option<u64>, form: Form) -> Wanted {
        Wanted {
            first,
            last,
            form,
            limit: LIMIT,
            at_once: false,
        }
    }

    fn read(path: &Path, wanted: Wanted, most: usize) -> Result<(String, Facts)> {
        let mut reading = Reading::open(path.as_os_str().as_bytes(), wanted)?;
        reading.scan(&Stop::default())?;
        let mut all = Vec::new();
        while !reading.is_finished() {
            all.extend(reading.next(most)?);
        }
        Ok((String::from_utf8(all).unwrap(), reading.facts()))
    }

    fn file(dir: &tempfile::TempDir, content: &[u8]) -> PathBuf {
        let path = dir.path().join("file");
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn ranges_are_the_exact_bytes_of_their_lines() {
        let dir = tempfile::tempdir().unwrap();
        type Case = (&'static str, Option<u64>, Option<u64>, &'static str, u64);
        let cases: &[Case] = &[
            ("a\nb\nc", None, None, "a\\nb\\nc", 3),
            ("a\nb\nc\n", None, None, "a\\nb\\nc\\n", 3),
            ("a\nb\nc", Some(2), None, "b\\nc", 2),
            ("a\nb\nc", Some(2), Some(2), "b\\n", 1),
            ("a\nb\nc", None, Some(2), "a\\nb\\n", 2),
            ("a\nb\nc", Some(3), Some(9), "c", 1),
            ("a\nb\nc", Some(4), None, "", 0),
            ("a\nb\nc\n", Some(4), Some(5), "", 0),
            ("", None, None, "", 0),
            ("", Some(1), Some(1), "", 0),
            ("\n", None, None, "\\n", 1),
            ("\r\n\r", None, None, "\\r\\n\\r", 2),
        ];
        for (content, first, last, text, lines) in cases {
            let path = file(&dir, content.as_bytes());
            let (found, facts) = read(&path, wanted(*first, *last, Form::Text), 10).unwrap();
            assert_eq!(
                (found.as_str(), facts.lines),
                (*text, *lines),
                "{content:?} {first:?}"
            );
            assert_eq!(facts.size, content.len() as u64);
            assert_eq!(facts.sha256.is_some(), first.is_none() && last.is_none());
        }
    }

    #[test]
    fn large_files_are_read_again_and_come_out_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let line = "zażółć \u{1f600} gęślą\n";
        let content = line.repeat(3 * KEPT / line.len());
        let path = file(&dir, content.as_bytes());
        let (text, facts) = read(&path, wanted(None, None, Form::Text), 1000).unwrap();
        assert_eq!(text, content.replace('\n', "\\n"));
        assert_eq!(facts.sha256, Some(hex(&Sha256::digest(&content))));
        let (part, _) = read(&path, wanted(Some(3), Some(20_000), Form::Text), 1000).unwrap();
        assert_eq!(part, line.replace('\n', "\\n").repeat(19_998));
        let (coded, facts) = read(&path, wanted(None, None, Form::Base64), 1000).unwrap();
        assert_eq!(
            (coded.len(), facts.lossy),
            (content.len().div_ceil(3) * 4, false)
        );
    }

    #[test]
    fn what_cannot_be_answered_is_said_before_the_answer() {
        let dir = tempfile::tempdir().unwrap();
        let over = Error::on(dir.path().join("file").as_os_str().as_bytes())(Errno::FBIG);
        let nul = Error::Invalid("has a NUL byte".to_owned());
        let long = vec![b'a'; LIMIT as usize + 1];
        let cases: &[(&[u8], Wanted, &Error)] = &[
            (&long, wanted(None, None, Form::Text), &over),
            (&long, wanted(Some(1), Some(1), Form::Text), &over),
            (b"a\0", wanted(None, None, Form::Text), &nul),
            (b"a\n\0", wanted(Some(2), None, Form::Numbered), &nul),
        ];
        for (content, wanted, error) in cases {
            let path = file(&dir, content);
            assert_eq!(read(&path, *wanted, 10).as_ref().unwrap_err(), *error);
        }
        let path = file(&dir, b"a\n\0");
        assert!(read(&path, wanted(None, Some(1), Form::Text), 10).is_ok());
        assert!(read(&path, wanted(None, None, Form::Base64), 10).is_ok());
    }

    #[test]
    fn a_file_that_shrinks_ends_short_and_one_that_grows_does_not_grow() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir, &vec![b'a'; 2 * KEPT]);
        let bytes = path.as_os_str().as_bytes();
        let mut reading = Reading::open(bytes, wanted(None, None, Form::Text)).unwrap();
        reading.scan(&Stop::default()).unwrap();
        reading.next(WINDOW).unwrap();
        std::fs::write(&path, vec![b'b'; 3 * KEPT]).unwrap();
        let mut rest = 0;
        while !reading.is_finished() {
            rest += reading.next(WINDOW).unwrap().len();
        }
        assert_eq!(rest, 2 * KEPT - WINDOW);
        let mut reading = Reading::open(bytes, wanted(None, None, Form::Text)).unwrap();
        reading.scan(&Stop::default()).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert_eq!(reading.next(WINDOW), Err(Error::on(bytes)(Errno::STALE)));
    }

    #[test]
    fn the_flag_ends_a_scan() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir, b"a");
        let stop = Stop::default();
        stop.set();
        let mut reading = Reading::open(
            path.as_os_str().as_bytes(),
            wanted(Some(9), None, Form::Text),
        )
        .unwrap();
        assert_eq!(reading.scan(&stop), Err(Error::Stopped));
    }

    #[test]
    fn files_without_a_size_are_read_to_their_end() {
        let (text, facts) = read(
            Path::new("/proc/self/status"),
            wanted(None, None, Form::Text),
            100,
        )
        .unwrap();
        assert!(text.starts_with("Name:\\t"));
        assert!(facts.size > 100 && facts.lines > 10);
        assert!(matches!(
            read(
                Path::new("/proc/self/mem"),
                wanted(None, None, Form::Text),
                100
            ),
            Err(Error::Os {
                errno: Errno::NXIO,
                ..
            })
        ));
    }
}
