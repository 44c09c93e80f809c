//! What the walk finds out of one entry beyond its name: metadata, target, digest, text.
//!
//! Belongs here: the decision what to ask the disk for, and the answer's fields for it.
//! Banned here: order, batches, turns.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::Common;
use crate::digest::{self, Digest};
use crate::directory::{self, FileState, Kind, Meta};
use crate::entry;
use crate::feed::{self, CROWDED_PIECE};
use crate::inline::{self, Emission, Scan};
use crate::json;
use crate::names;
use crate::scratch::SMALL_FILE;
use crate::timestamp::Days;

/// An entry that was seen.
pub(super) struct Seen {
    pub(super) kind: Kind,
    pub(super) meta: Option<Meta>,
    /// Why there is no `meta`, where there should be.
    pub(super) error: Option<Errno>,
    pub(super) target: Option<Vec<u8>>,
}

/// What is in a file, as far as it was wanted.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) digest: Option<Digest>,
    pub(super) hash_skipped: Option<&'static str>,
    pub(super) text: Text,
}

/// A file's text.
#[derive(Debug, Default)]
pub(super) enum Text {
    /// Not wanted.
    #[default]
    None,
    /// Wanted and left out: why.
    Skipped(&'static str),
    /// So many bytes at the beginning of the buffer.
    Here(usize),
    /// A second pass over a larger file.
    Long(Emission),
}

/// What reading a file led to.
pub(super) enum Outcome {
    /// It is gone, or no longer a file.
    Vanished,
    /// All that was wanted.
    Facts(Facts),
    /// A larger file, opened, to be read in pieces.
    Long(Box<LongRead>),
}

/// What is wanted of a file.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) digest: bool,
    pub(super) text: bool,
}

/// A larger file on its first pass.
pub(super) struct LongRead {
    scan: Scan,
    facts: Facts,
    wants_text: bool,
    reserved: u64,
    state: FileState,
    opened: i64,
}

impl Wish {
    /// Whether the file must be read at all.
    pub(super) fn is_any(self) -> bool {
        self.digest || self.text
    }
}

impl Common {
    /// Asks what an entry is, as far as the answer needs it. `None`: it vanished.
    pub(super) fn look(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        hint: Option<Kind>,
    ) -> Option<Seen> {
        let mut seen = Seen {
            kind: hint.unwrap_or(Kind::Other),
            meta: None,
            error: None,
            target: None,
        };
        if !self.options.light || hint.is_none() {
            self.stats.fetch_add(1, Ordering::Relaxed);
            match directory::stat(directory, name) {
                Ok(meta) => {
                    seen.kind = meta.kind;
                    seen.meta = (!self.options.light).then_some(meta);
                }
                Err(Errno::NOENT) => return None,
                Err(errno) => seen.error = Some(errno),
            }
        }
        if seen.kind == Kind::Symlink {
            match rustix::fs::readlinkat(directory, name, Vec::new()) {
                Ok(target) => seen.target = Some(target.into_bytes()),
                Err(Errno::NOENT | Errno::INVAL) => return None,
                Err(errno) => seen.error = Some(errno),
            }
        }
        Some(seen)
    }

    /// What is wanted of a regular file beyond its name.
    pub(super) fn wish(&self) -> Wish {
        Wish {
            digest: self.options.include_hash,
            text: self.options.include_content,
        }
    }

    /// Reads what is wanted of a regular file. A text that fits lies at the beginning of
    /// `room` then.
    pub(super) fn read_file(
        &self,
        open: impl FnOnce() -> rustix::io::Result<OwnedFd>,
        meta: Option<&Meta>,
        wish: Wish,
        room: &mut [u8],
    ) -> Outcome {
        let mut read = Reading {
            common: self,
            facts: Facts::default(),
            wish,
            reserved: 0,
        };
        if let Some(meta) = meta {
            read.consult(meta);
        }
        if !read.wish.is_any() {
            return Outcome::Facts(read.facts);
        }
        self.opens.fetch_add(1, Ordering::Relaxed);
        match open() {
            Err(Errno::NOENT) => read.vanished(),
            Err(_) => read.unreadable(),
            Ok(fd) => read.from(fd, room),
        }
    }
}

/// One file being read.
struct Reading<'c> {
    common: &'c Common,
    facts: Facts,
    /// What is still to be found out.
    wish: Wish,
    reserved: u64,
}

impl Reading<'_> {
    /// What metadata alone decides: a remembered digest, a file too large, a budget spent.
    fn consult(&mut self, meta: &Meta) {
        if self.wish.digest {
            if self.common.is_pseudo() {
                self.skip_hash("pseudo_filesystem");
            } else if let Some(digest) = digest::known(&meta.state) {
                self.facts.digest = Some(digest);
                self.wish.digest = false;
            }
        }
        if self.wish.text {
            self.reserve(meta.size);
        }
    }

    fn skip_hash(&mut self, why: &'static str) {
        self.facts.hash_skipped = Some(why);
        self.wish.digest = false;
    }

    fn skip_text(&mut self, why: &'static str) {
        self.common.release(std::mem::take(&mut self.reserved));
        self.facts.text = Text::Skipped(why);
        self.wish.text = false;
    }

    /// Makes what is reserved `bytes`, or gives the text up.
    fn reserve(&mut self, bytes: u64) {
        if bytes > self.common.options.content_limit {
            self.skip_text("too_large");
        } else if bytes > self.reserved {
            if self.common.reserve(bytes - self.reserved) {
                self.reserved = bytes;
            } else {
                self.skip_text("budget");
            }
        } else {
            self.common.release(self.reserved - bytes);
            self.reserved = bytes;
        }
    }

    fn vanished(self) -> Outcome {
        self.common.release(self.reserved);
        Outcome::Vanished
    }

    fn unreadable(mut self) -> Outcome {
        if self.wish.digest {
            self.skip_hash("unreadable");
        }
        if self.wish.text {
            self.skip_text("unreadable");
        }
        Outcome::Facts(self.facts)
    }

    fn from(mut self, fd: OwnedFd, room: &mut [u8]) -> Outcome {
        let opened = digest::now();
        self.common.stats.fetch_add(1, Ordering::Relaxed);
        // What was opened counts, not what the name stood for a moment ago.
        let Ok(meta) = directory::stat(fd.as_fd(), c"") else {
            return self.unreadable();
        };
        if meta.kind != Kind::File {
            return self.vanished();
        }
        self.consult(&meta);
        if !self.wish.is_any() {
            return Outcome::Facts(self.facts);
        }
        let is_heavy = self.wish.text && meta.size > CROWDED_PIECE as u64 && feed::is_crowded();
        if meta.size > SMALL_FILE as u64 || is_heavy {
            return self.long(fd, &meta, opened);
        }
        match inline::read_small(fd.as_fd(), meta.size, room) {
            Ok(Some(length)) => self.short(&room[..length], &meta, opened),
            Ok(None) => self.long(fd, &meta, opened),
            Err(_) => self.unreadable(),
        }
    }

    fn short(mut self, bytes: &[u8], meta: &Meta, opened: i64) -> Outcome {
        if self.wish.digest {
            let digest = inline::digest_of(bytes);
            digest::keep(meta.state, digest, opened);
            self.facts.digest = Some(digest);
        }
        if self.wish.text {
            self.reserve(bytes.len() as u64);
        }
        if self.wish.text {
            if inline::is_text(bytes) {
                self.facts.text = Text::Here(bytes.len());
            } else {
                self.skip_text("binary");
            }
        }
        Outcome::Facts(self.facts)
    }

    fn long(mut self, fd: OwnedFd, meta: &Meta, opened: i64) -> Outcome {
        if self.common.is_pseudo() && self.wish.text {
            // Its size is not known before its end, which may never come.
            self.skip_text("too_large");
            return Outcome::Facts(self.facts);
        }
        Outcome::Long(Box::new(LongRead {
            scan: Scan::new(fd, self.wish.digest, self.wish.text),
            facts: self.facts,
            wants_text: self.wish.text,
            reserved: self.reserved,
            state: meta.state,
            opened,
        }))
    }
}

impl LongRead {
    /// Reads one piece; true when the first pass is over.
    pub(super) fn step(&mut self, room: &mut [u8]) -> rustix::io::Result<bool> {
        self.scan.step(room)
    }

    /// What the first pass found out.
    pub(super) fn finish(self, common: &Common) -> Facts {
        let mut facts = self.facts;
        let scanned = self.scan.finish();
        if let Some(digest) = scanned.digest {
            digest::keep(self.state, digest, self.opened);
            facts.digest = Some(digest);
        }
        let mut spent = 0;
        if self.wants_text {
            facts.text = match scanned.text {
                Some(text) if text.length() > self.reserved => Text::Skipped("budget"),
                Some(text) => {
                    spent = text.length();
                    Text::Long(text)
                }
                None => Text::Skipped("binary"),
            };
        }
        common.release(self.reserved - spent);
        facts
    }

    /// What is left to say when it could not be read to its end.
    pub(super) fn fail(self, common: &Common) -> Facts {
        common.release(self.reserved);
        let mut facts = self.facts;
        if self.wants_text {
            facts.text = Text::Skipped("unreadable");
        }
        if facts.digest.is_none() && common.options.include_hash {
            facts.hash_skipped = Some("unreadable");
        }
        facts
    }
}

impl Common {
    fn is_pseudo(&self) -> bool {
        self.ground
            .get()
            .is_some_and(|ground| ground.pseudo.is_inside())
    }

    /// Appends an entry up to what its content says, left open.
    pub(super) fn append_head(
        &self,
        out: &mut Vec<u8>,
        spelling: &entry::Spelling,
        name: &[u8],
        seen: &Seen,
        days: &mut Days,
    ) {
        entry::begin(out, spelling, name, seen.kind);
        if let Some(meta) = &seen.meta {
            entry::append_meta(out, meta, days);
        }
        if self.options.include_extensions
            && let Some(extension) = names::extension(name)
        {
            entry::append_text(out, "extension", extension);
        }
        if let Some(target) = &seen.target {
            entry::append_text(out, "symlink_target", target);
        }
    }
}

/// Appends what is in a file, but for a text that is still on its way.
pub(super) fn append_facts(out: &mut Vec<u8>, facts: &Facts, room: &[u8]) {
    match &facts.text {
        Text::None | Text::Long(_) => {}
        Text::Skipped(why) => entry::append_word(out, "content_skipped", why),
        Text::Here(length) => {
            out.extend_from_slice(b",\"content\":\"");
            json::escape(out, &room[..*length]);
            out.push(b'"');
        }
    }
    if let Some(digest) = &facts.digest {
        entry::append_hash(out, digest);
    }
    if let Some(why) = facts.hash_skipped {
        entry::append_word(out, "hash_skipped", why);
    }
}

/// Appends `"path":...,"error":...`: what could not be read, and why.
pub(super) fn append_error(out: &mut Vec<u8>, path: &[u8], errno: Errno) {
    append_notice(out, path, "error", &words_of(errno));
}

/// What an errno means, in words.
pub(super) fn words_of(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

/// Appends `"path":...,"KEY":...`: something to be told about a path.
pub(super) fn append_notice(out: &mut Vec<u8>, path: &[u8], key: &str, words: &str) {
    let start = out.len();
    entry::append_text(out, "path", path);
    out.remove(start);
    entry::append_text(out, key, words.as_bytes());
}
