//! Setting the permission bits of what stands at a place, and of everything below it.
//!
//! Belongs here: the change and its account. Banned here: what the bits are to be.
//!
//! Everything is changed by descriptor: symlinks below are never followed, nor changed (they have
//! no mode), and what is swapped for one meanwhile is left alone. A directory gets its bits after
//! what is in it, so that taking one's own rights away does not stop it half-way.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, FileType, Mode, chmodat, fsync, syncfs};
use rustix::io::Errno;

use crate::ends::{Pinned, reopened, reopened_directory};
use crate::error::Result;
use crate::guard::Guard;
use crate::place::{Id, Place, join};
use crate::pseudo::Pseudo;
use crate::removal::{Cut, MOST_NAMED, Refusal};
use crate::stop::Stop;
use crate::trail::Trail;

/// Failures after which it gives up.
const MOST_FAILURES: usize = 10_000;

/// What bits are to be set.
#[derive(Clone, Copy, Debug)]
pub struct Bits {
    /// Of everything.
    pub mode: u32,
    /// Of directories below, and of the place itself where it is one, if they are to differ.
    pub directories: Option<u32>,
    /// Whether everything below is changed too.
    pub recursive: bool,
}

/// The account of the change.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// The protected path that it would have changed; nothing was.
    pub protected: Option<Vec<u8>>,
    /// Entries that have their bits now.
    pub changed: u64,
    /// The first failures.
    pub errors: Vec<Refusal>,
    /// Failures in all.
    pub failures: usize,
    /// Where it ended early.
    pub cut: Option<Cut>,
}

/// Sets permission bits at `place`, and with `recursive` below it; mounts of proc, sysfs and
/// their like are not entered.
///
/// # Errors
/// `ENOENT` where nothing stands there; where the place cannot be looked at. What goes wrong
/// later is in the account.
pub fn chmod(
    place: &Place,
    bits: Bits,
    guard: &Guard,
    stop: &Stop,
    deadline: Option<Instant>,
) -> Result<Changed> {
    let mut work = Work {
        place,
        bits,
        guard,
        stop,
        deadline,
        pseudo: Pseudo::default(),
        account: Changed::default(),
        trail: Trail::default(),
        frames: Vec::new(),
    };
    if let Some(hit) = guard.refuses(place)? {
        work.account.protected = Some(hit.to_vec());
        return Ok(work.account);
    }
    let top = Pinned::open(place.dir(), place.name()).map_err(|errno| place.failed(errno))?;
    if bits.recursive {
        work.pseudo = Pseudo::below(&place.real_path()?);
    }
    work.change(top, place.name());
    work.run();
    work.sync();
    Ok(work.account)
}

struct Frame {
    name: Vec<u8>,
    dev: u64,
}

struct Work<'a> {
    place: &'a Place,
    bits: Bits,
    guard: &'a Guard,
    stop: &'a Stop,
    deadline: Option<Instant>,
    pseudo: Pseudo,
    account: Changed,
    trail: Trail,
    frames: Vec<Frame>,
}

impl Work<'_> {
    fn run(&mut self) {
        while !self.frames.is_empty() && !self.is_cut() {
            let step = match self.trail.next() {
                Ok(Some(name)) => {
                    self.visit(&name);
                    Ok(())
                }
                Ok(None) => self.ascend(),
                Err(errno) => Err(errno),
            };
            if let Err(errno) = step {
                self.fail(None, errno);
                self.account.cut = Some(Cut::Failing);
            }
        }
    }

    fn is_cut(&mut self) -> bool {
        if self.account.cut.is_none() {
            self.account.cut = if self.stop.is_set() {
                Some(Cut::Stopped)
            } else if self.deadline.is_some_and(|end| Instant::now() >= end) {
                Some(Cut::Late)
            } else if self.account.failures > MOST_FAILURES {
                Some(Cut::Failing)
            } else {
                None
            };
        }
        self.account.cut.is_some()
    }

    fn visit(&mut self, name: &[u8]) {
        let Some(here) = self.trail.here() else {
            return;
        };
        match Pinned::open(here, name) {
            Ok(pinned) if pinned.kind() == FileType::Symlink => {}
            Ok(pinned) => self.change(pinned, name),
            Err(Errno::NOENT) => {}
            Err(errno) => self.fail(Some(name), errno),
        }
    }

    fn change(&mut self, pinned: Pinned, name: &[u8]) {
        let is_directory = pinned.kind() == FileType::Directory;
        if !(is_directory && self.bits.recursive) {
            let done = set_bits(pinned.at.as_fd(), self.bits_for(pinned.kind()));
            return self.note(done, name);
        }
        if self.is_pseudo(&pinned, name) {
            return;
        }
        if self.guard.refuses_id(Id::of(&pinned.stat)) {
            return self.fail(Some(name), Errno::PERM);
        }
        match self.opened(&pinned).and_then(|dir| self.trail.enter(dir)) {
            Ok(()) => self.frames.push(Frame {
                name: name.to_vec(),
                dev: pinned.stat.st_dev,
            }),
            Err(errno) => self.fail(Some(name), errno),
        }
    }

    /// For reading; one that its owner could not read may be readable with its new bits.
    fn opened(&self, pinned: &Pinned) -> rustix::io::Result<OwnedFd> {
        match reopened_directory(pinned) {
            Err(Errno::ACCESS) => {
                set_bits(pinned.at.as_fd(), self.bits_for(pinned.kind()))?;
                reopened_directory(pinned)
            }
            opened => opened,
        }
    }

    fn ascend(&mut self) -> rustix::io::Result<()> {
        let (Some(dir), Some(frame)) = (self.trail.leave()?, self.frames.pop()) else {
            return Err(Errno::BADF);
        };
        let done = set_bits(dir.as_fd(), self.bits_for(FileType::Directory));
        self.note(done, &frame.name);
        Ok(())
    }

    fn note(&mut self, done: rustix::io::Result<()>, name: &[u8]) {
        match done {
            Ok(()) => self.account.changed += 1,
            Err(errno) => self.fail(Some(name), errno),
        }
    }

    fn bits_for(&self, kind: FileType) -> u32 {
        match (kind, self.bits.directories) {
            (FileType::Directory, Some(bits)) => bits,
            _ => self.bits.mode,
        }
    }

    fn is_pseudo(&self, pinned: &Pinned, name: &[u8]) -> bool {
        // A mount has another device than what it is mounted on.
        let Some(above) = self.frames.last() else {
            return false;
        };
        let below = self.frames.iter().skip(1);
        let rel = below.fold(Vec::new(), |path, one| match path.as_slice() {
            [] => one.name.clone(),
            _ => join(&path, &one.name),
        });
        above.dev != pinned.stat.st_dev && self.pseudo.contains(&rel, name)
    }

    /// One file by itself, or a file system: a tree has many.
    fn sync(&mut self) {
        let synced = self.sync_top();
        if let Err(errno) = synced {
            self.fail(None, errno);
        }
    }

    fn sync_top(&self) -> rustix::io::Result<()> {
        let pinned = Pinned::open(self.place.dir(), self.place.name())?;
        let open = match pinned.kind() {
            FileType::Directory => reopened_directory(&pinned),
            FileType::RegularFile => reopened(&pinned),
            _ => return Ok(()),
        };
        match open {
            Ok(open) if self.bits.recursive => syncfs(&open),
            Ok(open) => forgiving(fsync(&open)),
            // One that may not be read cannot be opened for this.
            Err(_) => Ok(()),
        }
    }

    fn fail(&mut self, name: Option<&[u8]>, errno: Errno) {
        let below = self.frames.iter().map(|frame| frame.name.as_slice());
        // The first frame is the place itself, or the name is.
        let path = below
            .chain(name)
            .skip(1)
            .fold(self.place.asked().to_vec(), |path, one| join(&path, one));
        self.account.failures += 1;
        if self.account.errors.len() < MOST_NAMED {
            self.account.errors.push(Refusal { path, errno });
        }
    }
}

/// The kernel's variables know no sync.
fn forgiving(done: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match done {
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::ROFS) => Ok(()),
        done => done,
    }
}

fn set_bits(at: BorrowedFd<'_>, bits: u32) -> rustix::io::Result<()> {
    // `fchmod` refuses a mere place, and opening would wait at a FIFO.
    let own = format!("/proc/self/fd/{}", at.as_raw_fd());
    chmodat(CWD, own, Mode::from_raw_mode(bits), AtFlags::empty())
}
