//! Entries of an archive on their way into a directory.
//!
//! Belongs here: directories and files, and what is kept for later (`links`, `settling`).
//! Banned here: the format of archives.
//!
//! Everything is done relative to directories that are held open; each is reached from the
//! destination by a path of which no part may be a symlink, whoever changes it meanwhile. A file
//! appears with all its bytes, its mode and its time, in place of what was there. Symlinks come
//! last: nothing of the archive can go through one. The times of directories come at the end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustc_hash::FxHashMap;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, fchmod,
    fchown, fstat, ftruncate, futimens, mkdirat, openat, seek, statat,
};
use rustix::io::{Errno, write};

use super::account::List;
use super::links::Deferred;
use super::settling::Facts;
use super::trouble::{Code, Trouble, bad, shown};
use super::untar::{Entry, Kind};
use crate::directory::{open_directory, open_place_below, open_root};
use crate::error::Error;
use crate::guard::Guard;
use crate::mkdir::{NEW_DIRECTORY, make_dirs};
use crate::pending::{Pending, Slot, temporary_name};
use crate::place::{Id, join, open_place};
use crate::spool::{Spool, Start};

/// The longest name of a file that Linux knows.
const NAME_MAX: usize = 255;
const SET_GROUP_ID: u32 = 0o2000;

/// To whom new files belong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// To the server's user; a replaced file keeps its owner.
    #[default]
    Server,
    /// To the archive's numbers.
    Archive,
}

/// What an upload has made so far.
#[derive(Clone, Debug, Default)]
pub struct Landed {
    /// Files and links.
    pub files: u64,
    /// Directories that were made.
    pub directories: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// What was not kept or not done, and why; the first of them.
    pub skipped: Vec<(Vec<u8>, String)>,
    /// And how many in all.
    pub skipped_total: u64,
}

/// A destination, and what is under way in it.
pub(super) struct Landing {
    path: Vec<u8>,
    pub(super) owner: Owner,
    pending: Pending,
    pub(super) guard: Guard,
    ground: Option<Ground>,
    parent: Option<(Vec<u8>, OwnedFd)>,
    file: Option<Arriving>,
    pub(super) links: Deferred,
    pub(super) directories: FxHashMap<Vec<u8>, Facts>,
    pub(super) directory_bytes: usize,
    pub(super) landed: Landed,
    pub(super) skipped: List,
}

/// The destination, open.
pub(super) struct Ground {
    pub(super) dir: OwnedFd,
    /// Free of symlinks.
    real: Vec<u8>,
    /// Whether the upload made it.
    is_new: bool,
    /// The one name that temporary files have; a slot knows it.
    temporary: Option<(Vec<u8>, Slot)>,
}

/// A file whose content is coming.
struct Arriving {
    rel: Vec<u8>,
    facts: Facts,
    spool: Spool,
}

impl Landing {
    /// Nothing is made before the first entry comes.
    pub(super) fn new(
        path: Vec<u8>,
        pending: Pending,
        guard: Guard,
        owner: Owner,
    ) -> Result<Self, Error> {
        match open_place(CWD, &path) {
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::on(&path)(errno)),
        }
        Ok(Self {
            path,
            owner,
            pending,
            guard,
            ground: None,
            parent: None,
            file: None,
            links: Deferred::default(),
            directories: FxHashMap::default(),
            directory_bytes: 0,
            landed: Landed::default(),
            skipped: List::default(),
        })
    }

    pub(super) fn begin(&mut self, entry: Entry) -> Result<(), Trouble> {
        self.open_ground()?;
        let rel = relative(&entry.name)?;
        if let Some(lost) = &entry.lost {
            self.skipped.add(rel.clone(), format!("not kept: {lost}"));
        }
        if rel.is_empty() && entry.kind != Kind::Directory {
            return Err(bad(format!(
                "{}: names the destination itself",
                shown(&entry.name)
            )));
        }
        let facts = Facts::of(&entry);
        match entry.kind {
            Kind::Directory => self.directory(rel, facts),
            Kind::File => self.begin_file(rel, facts),
            Kind::Symlink => self.defer(rel, entry.link, facts),
            Kind::HardLink => self.hard_link(&rel, &entry.link),
        }
    }

    fn open_ground(&mut self) -> Result<(), Trouble> {
        if self.ground.is_some() {
            return Ok(());
        }
        let is_new = make_dirs(&self.path, NEW_DIRECTORY)?;
        let dir = open_root(&self.path).map_err(Error::on(&self.path))?;
        let real = crate::directory::real_path(dir.as_fd()).map_err(Error::on(&self.path))?;
        self.ground = Some(Ground {
            dir,
            real,
            is_new,
            temporary: None,
        });
        Ok(())
    }

    pub(super) fn ground(&self) -> Result<&Ground, Trouble> {
        self.ground.as_ref().ok_or(Trouble::Failed(Error::Stopped))
    }

    /// A system error on an entry, named by its whole path.
    pub(super) fn failed(&self, rel: &[u8], errno: Errno) -> Trouble {
        match errno {
            Errno::LOOP | Errno::NOTDIR => bad(format!(
                "{}: a symlink or a file stands where a directory on its way should be",
                shown(rel)
            )),
            Errno::ISDIR => bad(format!("{}: a directory is in the way", shown(rel))),
            Errno::NAMETOOLONG => bad(format!("{}: a name in it is too long", shown(rel))),
            errno => Trouble::Failed(Error::on(&join(&self.path, rel))(errno)),
        }
    }

    // -- directories ---------------------------------------------------------------------------

    fn directory(&mut self, rel: Vec<u8>, facts: Facts) -> Result<(), Trouble> {
        if rel.is_empty() {
            if self.ground()?.is_new {
                self.keep(rel, facts);
            }
            return Ok(());
        }
        self.enter_parent(&rel)?;
        self.links.forget(&rel);
        let (_, name) = cut(&rel);
        let parent = self.parent()?;
        let made = match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(self.failed(&rel, errno)),
        };
        let fd = open_directory(parent, name).map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => bad(format!(
                "{}: a directory in the archive, and something else in the destination",
                shown(&rel)
            )),
            errno => self.failed(&rel, errno),
        })?;
        let stat = fstat(&fd).map_err(|errno| self.failed(&rel, errno))?;
        if made {
            // Closed to others at once if it is to be; to ourselves not before the end.
            let mode = facts.directory_mode(&stat) | 0o700;
            fchmod(&fd, Mode::from_raw_mode(mode)).map_err(|errno| self.failed(&rel, errno))?;
            self.landed.directories += 1;
        }
        self.parent = Some((rel.clone(), fd));
        if !made && self.guard.refuses_id(Id::of(&stat)) {
            self.skipped.add(
                rel,
                "a protected directory: its mode and time are left as they are",
            );
            return Ok(());
        }
        self.keep(rel, facts);
        Ok(())
    }

    /// Makes the directory that an entry lies in the one at hand.
    pub(super) fn enter_parent(&mut self, rel: &[u8]) -> Result<(), Trouble> {
        let (above, _) = cut(rel);
        if self
            .parent
            .as_ref()
            .is_some_and(|(known, _)| known == above)
        {
            return Ok(());
        }
        if let Some(link) = self.links.on_the_way(rel) {
            return Err(bad(format!(
                "{}: would go through {}, a symlink in the archive",
                shown(rel),
                shown(link)
            )));
        }
        let opened = open_place_below(self.ground()?.dir.as_fd(), above);
        let fd = match opened {
            Err(Errno::NOENT) => self.make_way(above),
            opened => opened,
        };
        self.parent = Some((above.to_vec(), fd.map_err(|errno| self.failed(rel, errno))?));
        Ok(())
    }

    pub(super) fn parent(&self) -> Result<BorrowedFd<'_>, Trouble> {
        let parent = self.parent.as_ref().map(|(_, fd)| fd.as_fd());
        parent.ok_or(Trouble::Failed(Error::Stopped))
    }

    /// Makes directories that the archive takes for granted.
    fn make_way(&mut self, above: &[u8]) -> rustix::io::Result<OwnedFd> {
        let dir = self
            .ground
            .as_ref()
            .map(|ground| ground.dir.as_fd())
            .ok_or(Errno::NOENT)?;
        let mut at = open_place(dir, b".")?;
        for name in above.split(|byte| *byte == b'/') {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = match mkdirat(&at, name, Mode::RWXU) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(errno) => return Err(errno),
            };
            if made {
                let inner = openat(&at, name, flags, Mode::empty())?;
                let inherited = fstat(&inner)?.st_mode & SET_GROUP_ID;
                fchmod(&inner, Mode::from_raw_mode(NEW_DIRECTORY | inherited))?;
                self.landed.directories += 1;
                at = inner;
            } else {
                at = openat(&at, name, flags | OFlags::PATH, Mode::empty())?;
            }
        }
        Ok(at)
    }

    // -- files ---------------------------------------------------------------------------------

    fn begin_file(&mut self, rel: Vec<u8>, facts: Facts) -> Result<(), Trouble> {
        self.enter_parent(&rel)?;
        self.links.forget(&rel);
        self.demand_free(&rel, None)?;
        let opened = Spool::open(self.parent()?, &self.pending, Start::Unnamed);
        let spool = opened.map_err(|error| self.named(&rel, error))?;
        self.file = Some(Arriving { rel, facts, spool });
        Ok(())
    }

    pub(super) fn content(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        while !bytes.is_empty() {
            let taken = write(file.spool.file(), bytes);
            let taken = taken.map_err(|errno| self.failed(&file.rel, errno))?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    pub(super) fn hole(&mut self, bytes: u64) -> Result<(), Trouble> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let fd = file.spool.file();
        let step = i64::try_from(bytes).unwrap_or(i64::MAX);
        seek(fd, SeekFrom::Current(step))
            .and_then(|end| ftruncate(fd, end))
            .map_err(|errno| self.failed(&file.rel, errno))
    }

    pub(super) fn end_file(&mut self, size: u64) -> Result<(), Trouble> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        let (_, name) = cut(&file.rel);
        let dressed = self.dress(file.spool.file(), &file.facts, None);
        dressed.map_err(|errno| self.failed(&file.rel, errno))?;
        match file.spool.become_new(name) {
            Ok(()) => {}
            Err(Errno::EXIST) => self.replace(&mut file)?,
            Err(errno) => return Err(self.failed(&file.rel, errno)),
        }
        self.landed.files += 1;
        self.landed.bytes += size;
        Ok(())
    }

    fn replace(&mut self, file: &mut Arriving) -> Result<(), Trouble> {
        let (_, name) = cut(&file.rel);
        let old = self.in_the_way(&file.rel)?;
        let is_file = |stat: &&Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if let Some(old) = old
            .as_ref()
            .filter(is_file)
            .filter(|_| self.owner == Owner::Server)
        {
            let dressed = self.dress(file.spool.file(), &file.facts, Some(old));
            dressed.map_err(|errno| self.failed(&file.rel, errno))?;
        }
        self.claim()?;
        let ground = self.ground()?;
        let Some((temporary, _)) = &ground.temporary else {
            return Err(Trouble::Failed(Error::Stopped));
        };
        match file.spool.replace_by(name, ground.dir.as_fd(), temporary) {
            // Another file system is mounted below the destination.
            Err(Errno::XDEV) => {
                let done = file.spool.replace(name, &self.pending);
                done.map_err(|error| self.named(&file.rel, error))
            }
            done => done.map_err(|errno| self.failed(&file.rel, errno)),
        }
    }

    /// Owner, mode and time; with `old` the owner of the file that is replaced.
    fn dress(
        &self,
        file: BorrowedFd<'_>,
        facts: &Facts,
        old: Option<&Stat>,
    ) -> rustix::io::Result<()> {
        match (self.owner, old) {
            (Owner::Archive, _) => fchown(file, Some(facts.uid), Some(facts.gid))?,
            (Owner::Server, Some(old)) => {
                let now = fstat(file)?;
                if (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid) {
                    let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
                    match fchown(file, Some(uid), Some(gid)) {
                        Err(Errno::PERM) => {}
                        done => done?,
                    }
                }
            }
            (Owner::Server, None) => {}
        }
        fchmod(file, Mode::from_raw_mode(facts.mode & 0o777))?;
        futimens(file, &facts.times())
    }

    // -- what is in the way --------------------------------------------------------------------

    /// What stands at an entry's place. Refuses what may not be replaced.
    pub(super) fn in_the_way(&self, rel: &[u8]) -> Result<Option<Stat>, Trouble> {
        let (_, name) = cut(rel);
        let stat = match statat(self.parent()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            found => found.map_err(|errno| self.failed(rel, errno))?,
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(self.failed(rel, Errno::ISDIR));
        }
        self.demand_free(rel, Some(Id::of(&stat)))?;
        Ok(Some(stat))
    }

    /// Refuses a place that is protected.
    pub(super) fn demand_free(&self, rel: &[u8], id: Option<Id>) -> Result<(), Trouble> {
        let real = join(&self.ground()?.real, rel);
        let asked = join(&self.path, rel);
        let is_protected = self.guard.refuses_path(&real).is_some()
            || self.guard.refuses_path(&asked).is_some()
            || id.is_some_and(|id| self.guard.refuses_id(id));
        if is_protected {
            let sentence = format!("{} is protected", shown(&asked));
            return Err(Trouble::Refused(Code::Forbidden, sentence));
        }
        Ok(())
    }

    /// Makes sure that temporary files have a name which start-up knows.
    pub(super) fn claim(&mut self) -> Result<(), Trouble> {
        let pending = self.pending.clone();
        let Some(ground) = &mut self.ground else {
            return Ok(());
        };
        if ground.temporary.is_none() {
            let name = temporary_name();
            let slot = pending.claim(ground.dir.as_fd(), &name)?;
            ground.temporary = Some((name, slot));
        }
        Ok(())
    }

    pub(super) fn temporary(&self) -> Result<(BorrowedFd<'_>, &[u8]), Trouble> {
        let ground = self.ground()?;
        let name = ground.temporary.as_ref().map(|(name, _)| name.as_slice());
        name.map(|name| (ground.dir.as_fd(), name))
            .ok_or(Trouble::Failed(Error::Stopped))
    }

    /// Makes what was made last.
    pub(super) fn sync(&self) -> Result<(), Trouble> {
        let dir = &self.ground()?.dir;
        Ok(rustix::fs::syncfs(dir).map_err(Error::on(&self.path))?)
    }

    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    fn named(&self, rel: &[u8], error: Error) -> Trouble {
        match error {
            Error::Os { errno, path } if path.is_empty() => self.failed(rel, errno),
            other => Trouble::Failed(other),
        }
    }
}

impl Facts {
    pub(super) fn times(&self) -> Timestamps {
        let (tv_sec, nanoseconds) = self.mtime;
        let tv_nsec = nanoseconds.into();
        Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: rustix::fs::UTIME_NOW,
            },
            last_modification: Timespec { tv_sec, tv_nsec },
        }
    }

    /// Permission bits and the sticky one; a set-group-id bit that it inherited stays.
    pub(super) fn directory_mode(&self, now: &Stat) -> u32 {
        (self.mode & 0o1777) | (now.st_mode & SET_GROUP_ID)
    }
}

/// The directory part ("" for none) and the last name.
pub(super) fn cut(rel: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'/', rel) {
        Some(slash) => (&rel[..slash], &rel[slash + 1..]),
        None => (b"", rel),
    }
}

/// A name in the archive as a path below the destination, without `.` and doubled slashes.
pub(super) fn relative(name: &[u8]) -> Result<Vec<u8>, Trouble> {
    if name.is_empty() {
        return Err(bad("the archive is broken: an entry without a name"));
    }
    if name.starts_with(b"/") {
        return Err(bad(format!(
            "{}: an absolute name would leave the destination",
            shown(name)
        )));
    }
    if name.contains(&0) {
        return Err(bad(format!("{}: a NUL in a name", shown(name))));
    }
    let mut rel = Vec::with_capacity(name.len());
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                return Err(bad(format!(
                    "{}: a `..` would leave the destination",
                    shown(name)
                )));
            }
            part if part.len() > NAME_MAX => {
                let at_most = format!("a part of it is over {NAME_MAX} bytes");
                return Err(bad(format!("{}: {at_most}", shown(name))));
            }
            part => {
                if !rel.is_empty() {
                    rel.push(b'/');
                }
                rel.extend_from_slice(part);
            }
        }
    }
    Ok(rel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_below_the_destination_or_nowhere() {
        let cases: &[(&[u8], Option<&[u8]>)] = &[
            (b"a", Some(b"a")),
            (b"./a//b/./c/", Some(b"a/b/c")),
            (b"./", Some(b"")),
            (b".", Some(b"")),
            (b"...", Some(b"...")),
            (b"a\\..\\b", Some(b"a\\..\\b")),
            (b"-rf", Some(b"-rf")),
            (b"", None),
            (b"/a", None),
            (b"..", None),
            (b"a/../b", None),
            (b"a/..", None),
            (b"./../a", None),
            (b"a\0b", None),
            (&[b'n'; 256], None),
        ];
        for (name, wanted) in cases {
            assert_eq!(relative(name).ok().as_deref(), *wanted, "{}", shown(name));
        }
    }
}
