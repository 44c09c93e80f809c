//! Unpacking: bytes of a tar.gz in, files out.
//!
//! Belongs here: the way from the one to the other, and the limits on it. Banned here: waiting;
//! its holder pushes what has arrived, and may drop it at any time.

use super::gunzip::Gunzip;
use super::landing::{Landed, Landing, Owner};
use super::trouble::{Trouble, shown, too_large};
use super::untar::{Entry, Sink, Untar};
use crate::error::Error;
use crate::guard::Guard;
use crate::pending::Pending;
use crate::stop::Stop;

/// So much may come out of any archive, whatever went in.
const FREE_BYTES: u64 = 64 * 1024 * 1024;

/// What an archive may be.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Entries.
    pub entries: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Bytes that may come out for each that went in, beyond 64 MiB.
    pub ratio: u64,
    /// Bytes of a name, or of a link's target.
    pub name_bytes: usize,
}

/// Where an archive is to be unpacked, and how.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The directory: absolute, normalised; made where it is missing.
    pub dest: Vec<u8>,
    /// To whom new files belong.
    pub owner: Owner,
    /// What must not be replaced.
    pub guard: Guard,
    /// Makes all of it last before it is done.
    pub sync: bool,
}

/// An archive being unpacked. Dropping it leaves what was made, and nothing half made.
pub struct Extractor {
    gunzip: Gunzip,
    untar: Untar,
    counted: Counted,
    received: u64,
    inflated: u64,
    sync: bool,
}

/// Entries on their way, counted.
struct Counted {
    caps: Caps,
    landing: Landing,
    entries: u64,
    bytes: u64,
    size: u64,
}

impl Extractor {
    /// Looks at the destination; nothing is made before the first entry comes.
    ///
    /// # Errors
    /// `ENOTDIR` where the destination is no directory, `EACCES`, `ENAMETOOLONG`, `ELOOP`.
    pub fn open(wishes: Wishes, pending: &Pending, caps: Caps) -> Result<Self, Error> {
        let Wishes {
            dest,
            owner,
            guard,
            sync,
        } = wishes;
        Ok(Self {
            gunzip: Gunzip::new(),
            untar: Untar::default(),
            counted: Counted {
                caps,
                landing: Landing::new(dest, pending.clone(), guard, owner)?,
                entries: 0,
                bytes: 0,
                size: 0,
            },
            received: 0,
            inflated: 0,
            sync,
        })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Trouble`]; nothing may be pushed afterwards, [`Extractor::give_up`] comes next.
    pub fn push(&mut self, mut bytes: &[u8], stop: &Stop) -> Result<(), Trouble> {
        let ratio = self.counted.caps.ratio;
        self.received += bytes.len() as u64;
        let most = FREE_BYTES.max(self.received.saturating_mul(ratio));
        while let Some(piece) = self.gunzip.next(&mut bytes)? {
            stop.check()?;
            self.inflated += piece.len() as u64;
            if self.inflated > most {
                return Err(too_large(format!(
                    "the archive unpacks to more than {ratio} times its size (archive_ratio)"
                )));
            }
            self.untar.push(piece, &mut self.counted)?;
        }
        Ok(())
    }

    /// All bytes are there: makes the links, settles the directories.
    ///
    /// # Errors
    /// [`Trouble`] where the archive is cut or empty, or a link cannot be made.
    pub fn finish(&mut self, stop: &Stop) -> Result<(), Trouble> {
        self.gunzip.finish()?;
        self.untar.finish()?;
        stop.check()?;
        let landing = &mut self.counted.landing;
        landing.make_links()?;
        landing.settle_all();
        if self.sync {
            landing.sync()?;
        }
        Ok(())
    }

    /// The upload has failed: what was made is left in order.
    pub fn give_up(&mut self) {
        self.counted.landing.settle_all();
    }

    /// What was made so far.
    pub fn landed(&self) -> Landed {
        let landing = &self.counted.landing;
        Landed {
            skipped: landing.skipped.told().to_vec(),
            skipped_total: landing.skipped.total(),
            ..landing.landed.clone()
        }
    }
}

impl Sink for Counted {
    fn begin(&mut self, entry: Entry) -> Result<(), Trouble> {
        let caps = self.caps;
        self.entries += 1;
        if self.entries > caps.entries {
            return Err(too_large(format!(
                "the archive has more than {} entries (archive_entries)",
                caps.entries
            )));
        }
        for name in [&entry.name, &entry.link] {
            if name.len() > caps.name_bytes {
                return Err(too_large(format!(
                    "{}: at most {} bytes are taken (archive_name_bytes)",
                    shown(name),
                    caps.name_bytes
                )));
            }
        }
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.bytes > caps.bytes {
            return Err(too_large(format!(
                "{}: with it the archive holds more than {} bytes (archive_bytes)",
                shown(&entry.name),
                caps.bytes
            )));
        }
        self.size = entry.size;
        self.landing.begin(entry)
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.landing.content(bytes)
    }

    fn hole(&mut self, bytes: u64) -> Result<(), Trouble> {
        self.landing.hole(bytes)
    }

    fn end(&mut self) -> Result<(), Trouble> {
        self.landing.end_file(self.size)
    }
}
