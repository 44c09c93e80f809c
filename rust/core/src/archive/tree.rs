//! What goes into an archive, one step after the other: roots, directories, files, pieces.
//!
//! Belongs here: the order of members, what is left out and why. Banned here: turns, feeds
//! (`pack`), the bytes of headers (`member`).
//!
//! Depth first, and in each directory the files before the directories below: what a directory
//! holds stands together, so that who unpacks may finish it when it is over. In memory are the
//! names of directories still to be entered. Each is opened by its path from the root, no part
//! of which may be a symlink. A file's size is announced from its open descriptor; whatever
//! happens to the file then, so many bytes follow.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use rustix::fs::{AtFlags, FileType, Stat, fstat, readlinkat, statat};
use rustix::io::{Errno, read};

use super::account::Account;
use super::member::{BLOCK, Member, Type};
use crate::directory::{self, Kind, Names, open_directory, open_entry, read_names};
use crate::error::{Error, Result};
use crate::open::is_made_on_reading;
use crate::place::{Id, Links, Place, join};
use crate::pseudo::Pseudo;
use crate::rules::{DirRules, RuleOptions, RuleSet, Seen, Verdict};
use crate::scratch::{PIECE, Scratch};

/// What is known of files with several names; beyond it they are stored as copies.
const MOST_LINKS: usize = 8 * 1024 * 1024;
/// What one of them costs beside its name.
const EACH_LINK: usize = 96;
/// Of a file that the kernel makes while it is read, whose size it does not tell.
const MOST_MADE: usize = 1024 * 1024;

/// A path, absolute and normalised, and the name that it gets in the archive ("" for its top).
pub(super) type Root = (Vec<u8>, Vec<u8>);

/// The archive's content, as far as it has come.
pub(super) struct Tree {
    roots: VecDeque<Root>,
    patterns: Vec<Vec<u8>>,
    ground: Option<Ground>,
    waiting: Vec<Children>,
    open: Option<Open>,
    file: Option<Reading>,
    links: FxHashMap<Id, Box<[u8]>>,
    link_bytes: usize,
    /// The last root that is a directory: its header is sent again to carry the account.
    top: Option<Member>,
    account: Account,
}

/// The root at hand, a directory.
struct Ground {
    fd: OwnedFd,
    path: Vec<u8>,
    stored: Vec<u8>,
    set: Arc<RuleSet>,
    pseudo: Pseudo,
    made: bool,
}

/// The rules of a directory: by its path from the root, and by its name in the archive.
#[derive(Clone)]
struct Way {
    inner: Arc<DirRules>,
    outer: Option<Arc<DirRules>>,
}

/// Directories to enter: their names, each with a NUL behind it.
struct Children {
    rel: Vec<u8>,
    way: Way,
    names: Vec<u8>,
}

/// The directory that is read.
struct Open {
    fd: OwnedFd,
    rel: Vec<u8>,
    way: Way,
    names: Names,
    at: usize,
    last: bool,
    below: Vec<u8>,
}

/// The file that is read.
struct Reading {
    fd: OwnedFd,
    path: Vec<u8>,
    before: Stat,
    left: u64,
    /// Why the rest is zeros.
    failed: Option<String>,
}

/// What stands at a root.
enum Found {
    Directory(OwnedFd),
    File(OwnedFd, Stat),
    Link(Vec<u8>, Stat),
}

impl Tree {
    /// Looks at every root before the first byte.
    ///
    /// # Errors
    /// [`Error::Os`] naming a path that is missing, unreadable, or no file, directory or link;
    /// [`Error::Invalid`] for a malformed pattern.
    pub(super) fn open(roots: Vec<Root>, patterns: Vec<Vec<u8>>) -> Result<Self> {
        let options = RuleOptions {
            use_gitignore: false,
            ignore_patterns: patterns.clone(),
        };
        RuleSet::open(rustix::fs::CWD, b"/", Seen::default(), &options).map_err(|bad| {
            let pattern = String::from_utf8_lossy(&bad.0).into_owned();
            Error::Invalid(format!("exclude_patterns: {pattern:?}: {}", bad.1))
        })?;
        for (path, _) in &roots {
            find(path)?;
        }
        Ok(Self {
            roots: roots.into(),
            patterns,
            ground: None,
            waiting: Vec::new(),
            open: None,
            file: None,
            links: FxHashMap::default(),
            link_bytes: 0,
            top: None,
            account: Account::default(),
        })
    }

    /// What was left out, and what changed, so far.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// The next step: at most one header and a piece of a file. False when all was written.
    pub(super) fn step(&mut self, scratch: &mut Scratch, out: &mut impl Write) -> Result<bool> {
        if let Some(file) = self.file.take() {
            self.piece(file, scratch, out)?;
        } else if let Some(open) = self.open.take() {
            self.advance(open, scratch, out)?;
        } else if let Some(children) = self.waiting.pop() {
            self.descend(children, out)?;
        } else if let Some((path, stored)) = self.roots.pop_front() {
            self.start(path, stored, out)?;
        } else {
            self.end(out)?;
            return Ok(false);
        }
        Ok(true)
    }

    fn start(&mut self, path: Vec<u8>, stored: Vec<u8>, out: &mut impl Write) -> Result<()> {
        match find(&path) {
            Err(Error::Os { errno, path }) => self.skip(path, words(errno)),
            Err(error) => return Err(error),
            Ok(Found::Directory(fd)) => self.enter_root(fd, path, stored, out)?,
            Ok(Found::File(fd, stat)) => {
                let made = is_made_on_reading(&fd);
                self.file(fd, &stat, made, (path, stored), out)?;
            }
            Ok(Found::Link(target, stat)) => emit(out, &link_member(stored, target, &stat))?,
        }
        Ok(())
    }

    fn enter_root(
        &mut self,
        fd: OwnedFd,
        path: Vec<u8>,
        stored: Vec<u8>,
        out: &mut impl Write,
    ) -> Result<()> {
        let options = RuleOptions {
            use_gitignore: false,
            ignore_patterns: self.patterns.clone(),
        };
        // They were found good before the first byte.
        let opened = RuleSet::open(fd.as_fd(), &path, Seen::default(), &options);
        let (set, inner) = opened.map_err(|bad| Error::Invalid(bad.1))?;
        let is_path = |one: &Vec<u8>| one.strip_suffix(b"/").unwrap_or(one).contains(&b'/');
        let outer = self.patterns.iter().any(is_path).then(|| {
            let names = stored
                .split(|byte| *byte == b'/')
                .filter(|one| !one.is_empty());
            names.fold(Arc::clone(&inner), |rules, name| {
                rules.enter(&set, fd.as_fd(), name, Seen::default(), false)
            })
        });
        let pseudo = directory::real_path(fd.as_fd())
            .map_or_else(|_| Pseudo::default(), |real| Pseudo::below(&real));
        let made = is_made_on_reading(&fd);
        let own = directory::open_directory(fd.as_fd(), b"").map_err(Error::on(&path))?;
        self.ground = Some(Ground {
            fd,
            path,
            stored,
            set,
            pseudo,
            made,
        });
        let member = self.enter(own, Vec::new(), Way { inner, outer }, out)?;
        self.top = Some(member);
        Ok(())
    }

    /// Writes a directory's header; its names come next.
    fn enter(
        &mut self,
        fd: OwnedFd,
        rel: Vec<u8>,
        way: Way,
        out: &mut impl Write,
    ) -> Result<Member> {
        let stat = fstat(&fd).map_err(Error::on(&self.path(&rel)))?;
        let member = member(Type::Directory, with_slash(self.stored(&rel)), &stat);
        emit(out, &member)?;
        self.open = Some(Open {
            fd,
            rel,
            way,
            names: Names::default(),
            at: 0,
            last: false,
            below: Vec::new(),
        });
        Ok(member)
    }

    fn descend(&mut self, mut children: Children, out: &mut impl Write) -> Result<()> {
        // The last one first: a removal from the front would move all others.
        let Some(end) = children.names.len().checked_sub(1) else {
            return Ok(());
        };
        let begin = memchr::memrchr(0, &children.names[..end]).map_or(0, |at| at + 1);
        let name = children.names[begin..end].to_vec();
        children.names.truncate(begin);
        let rel = below(&children.rel, &name);
        let Some(ground) = &self.ground else {
            return Ok(());
        };
        let opened = open_directory(ground.fd.as_fd(), &rel);
        let step = |rules: &Arc<DirRules>| {
            rules.enter(
                &ground.set,
                ground.fd.as_fd(),
                &name,
                Seen::default(),
                false,
            )
        };
        let way = Way {
            inner: step(&children.way.inner),
            outer: children.way.outer.as_ref().map(step),
        };
        self.waiting.push(children);
        match opened {
            Ok(fd) => {
                self.enter(fd, rel, way, out)?;
            }
            Err(Errno::NOENT) => {}
            Err(errno) => self.skip(self.path(&rel), words(errno)),
        }
        Ok(())
    }

    fn advance(
        &mut self,
        mut open: Open,
        scratch: &mut Scratch,
        out: &mut impl Write,
    ) -> Result<()> {
        if open.at < open.names.len() {
            let at = open.at;
            open.at += 1;
            let (name, hint) = open.names.get(at);
            let child = self.entry(&open, name, hint, out)?;
            if child {
                let name = open.names.get(at).0.to_bytes_with_nul();
                open.below.extend_from_slice(name);
            }
        } else if open.last {
            self.waiting.push(Children {
                rel: open.rel,
                way: open.way,
                names: open.below,
            });
            return Ok(());
        } else {
            match read_names(open.fd.as_fd(), scratch) {
                Ok(last) => open.last = last,
                Err(errno) => {
                    self.skip(
                        self.path(&open.rel),
                        format!("the rest of it: {}", words(errno)),
                    );
                    scratch.names = Names::default();
                    open.last = true;
                }
            }
            std::mem::swap(&mut open.names, &mut scratch.names);
            open.at = 0;
        }
        self.open = Some(open);
        Ok(())
    }

    /// Writes one entry of a directory; true for a directory that is to be entered later.
    fn entry(
        &mut self,
        open: &Open,
        name: &CStr,
        hint: Option<Kind>,
        out: &mut impl Write,
    ) -> Result<bool> {
        let dir = open.fd.as_fd();
        let bytes = name.to_bytes();
        let rel = below(&open.rel, bytes);
        let kind = match hint.map_or_else(|| kind_of(dir, name), Ok) {
            Ok(kind) => kind,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => {
                self.skip(self.path(&rel), words(errno));
                return Ok(false);
            }
        };
        let Some(ground) = &self.ground else {
            return Ok(false);
        };
        if open.way.hides(&ground.set, bytes, kind == Kind::Directory) {
            return Ok(false);
        }
        let done = match kind {
            Kind::Directory if ground.pseudo.contains(&open.rel, bytes) => {
                self.barred(dir, name, &rel, out)?
            }
            Kind::Directory => return Ok(true),
            Kind::File => match open_entry(dir, name).and_then(|fd| Ok((fstat(&fd)?, fd))) {
                Ok((stat, fd)) => {
                    let made = ground.made;
                    let names = (self.path(&rel), self.stored(&rel));
                    self.file(fd, &stat, made, names, out)?;
                    Ok(())
                }
                Err(errno) => Err(errno),
            },
            Kind::Symlink => self.symlink(dir, name, &rel, out)?,
            Kind::Other => {
                self.skip(self.path(&rel), "a socket, FIFO or device");
                Ok(())
            }
        };
        match done {
            // What vanishes meanwhile is left out, as in a listing.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => self.skip(self.path(&rel), words(errno)),
        }
        Ok(false)
    }

    /// A pseudo file system: an empty directory, and a word.
    fn barred(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        rel: &[u8],
        out: &mut impl Write,
    ) -> Result<rustix::io::Result<()>> {
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(errno) => return Ok(Err(errno)),
        };
        let member = member(Type::Directory, with_slash(self.stored(rel)), &stat);
        emit(out, &member)?;
        self.skip(self.path(rel), "what is in it: a pseudo file system");
        Ok(Ok(()))
    }

    fn symlink(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        rel: &[u8],
        out: &mut impl Write,
    ) -> Result<rustix::io::Result<()>> {
        let found = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|stat| Ok((readlinkat(dir, name, Vec::new())?, stat)));
        let (target, stat) = match found {
            Ok(found) => found,
            Err(errno) => return Ok(Err(errno)),
        };
        emit(
            out,
            &link_member(self.stored(rel), target.into_bytes(), &stat),
        )?;
        Ok(Ok(()))
    }

    /// Writes an open file's header; its content comes next.
    fn file(
        &mut self,
        fd: OwnedFd,
        stat: &Stat,
        made: bool,
        (path, stored): (Vec<u8>, Vec<u8>),
        out: &mut impl Write,
    ) -> Result<()> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.skip(path, "a socket, FIFO or device");
            return Ok(());
        }
        if made {
            return self.made(&fd, stat, (path, stored), out);
        }
        if stat.st_nlink > 1 {
            let id = Id::of(stat);
            // One path may lie in another: then the same name comes twice, and is no link to itself.
            if let Some(first) = self.links.get(&id).filter(|first| ***first != *stored) {
                let mut link = member(Type::HardLink, stored, stat);
                link.link = first.to_vec();
                return emit(out, &link);
            }
            if self.link_bytes + stored.len() + EACH_LINK <= MOST_LINKS {
                self.link_bytes += stored.len() + EACH_LINK;
                self.links.insert(id, stored.clone().into());
            }
        }
        let member = member(Type::File, stored, stat);
        emit(out, &member)?;
        self.file = Some(Reading {
            fd,
            path,
            before: *stat,
            left: member.size,
            failed: None,
        });
        Ok(())
    }

    /// A file that the kernel makes while it is read: its size is known when it was read.
    fn made(
        &mut self,
        fd: &OwnedFd,
        stat: &Stat,
        (path, stored): (Vec<u8>, Vec<u8>),
        out: &mut impl Write,
    ) -> Result<()> {
        let mut content = vec![0; MOST_MADE + 1];
        let mut filled = 0;
        while filled < content.len() {
            match read(fd, &mut content[filled..]) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(errno) if filled == 0 => {
                    self.skip(path, words(errno));
                    return Ok(());
                }
                Err(errno) => {
                    self.account
                        .changed
                        .add(path.clone(), format!("cut: {}", words(errno)));
                    break;
                }
            }
        }
        if filled > MOST_MADE {
            filled = MOST_MADE;
            self.account.changed.add(
                path,
                "cut: the kernel makes it while it is read, without end",
            );
        }
        let mut member = member(Type::File, stored, stat);
        member.size = filled as u64;
        emit(out, &member)?;
        put(out, &content[..filled])?;
        pad(out, member.size)
    }

    /// Writes the next piece of a file; a file that has come to its end too early gives zeros.
    fn piece(
        &mut self,
        mut file: Reading,
        scratch: &mut Scratch,
        out: &mut impl Write,
    ) -> Result<()> {
        let room = usize::try_from(file.left).map_or(PIECE, |left| left.min(PIECE));
        let buffer = &mut scratch.file()[..room];
        let mut filled = 0;
        while filled < room && file.failed.is_none() {
            match read(&file.fd, &mut buffer[filled..]) {
                Ok(0) => file.failed = Some("it shrank while it was read".into()),
                Ok(got) => filled += got,
                Err(Errno::INTR) => {}
                Err(errno) => file.failed = Some(words(errno)),
            }
        }
        buffer[filled..].fill(0);
        put(out, buffer)?;
        file.left -= room as u64;
        if file.left > 0 {
            self.file = Some(file);
            return Ok(());
        }
        pad(out, size_of(&file.before))?;
        if let Some(why) = file.failed {
            let reason = format!("{why}; the rest of it is zeros");
            self.account.changed.add(file.path, reason);
        } else if fstat(&file.fd).is_ok_and(|after| has_changed(&file.before, &after)) {
            let reason = "it changed while it was read; what was there at its first size is stored";
            self.account.changed.add(file.path, reason);
        }
        Ok(())
    }

    /// The account, and the end mark.
    fn end(&mut self, out: &mut impl Write) -> Result<()> {
        if !self.account.is_empty() {
            match &self.top {
                Some(top) => put(out, &top.blocks(Some(&self.account.json())))?,
                None => self.separate(out)?,
            }
        }
        put(out, &[0; 2 * BLOCK])
    }

    /// Without a directory that could carry the account, a file of its own has to.
    fn separate(&self, out: &mut impl Write) -> Result<()> {
        let text = self.account.json();
        let member = Member {
            kind: Type::File,
            name: b".hutch-transfer.json".to_vec(),
            link: Vec::new(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: text.len() as u64,
            mtime: (0, 0),
        };
        emit(out, &member)?;
        put(out, &text)?;
        pad(out, member.size)
    }

    fn skip(&mut self, path: Vec<u8>, reason: impl Into<String>) {
        self.account.skipped.add(path, reason);
    }

    fn path(&self, rel: &[u8]) -> Vec<u8> {
        let root = self.ground.as_ref().map_or(&b""[..], |one| &one.path);
        if rel.is_empty() {
            root.to_vec()
        } else {
            join(root, rel)
        }
    }

    fn stored(&self, rel: &[u8]) -> Vec<u8> {
        below(self.ground.as_ref().map_or(b"", |one| &one.stored), rel)
    }
}

impl Way {
    fn hides(&self, set: &RuleSet, name: &[u8], is_directory: bool) -> bool {
        let hides = |rules: &Arc<DirRules>| {
            !rules.is_empty() && rules.verdict(set, name, is_directory) == Verdict::Ignore
        };
        hides(&self.inner) || self.outer.as_ref().is_some_and(hides)
    }
}

fn find(path: &[u8]) -> Result<Found> {
    if path == b"/" {
        let opened = directory::open_root(path).map_err(Error::on(path));
        return opened.map(Found::Directory);
    }
    let place = Place::locate(path, Links::Keep)?;
    let stat = place.stat()?.ok_or_else(|| place.failed(Errno::NOENT))?;
    let failed = |errno| place.failed(errno);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => open_directory(place.dir(), place.name())
            .map(Found::Directory)
            .map_err(failed),
        FileType::RegularFile => directory::open_file(place.dir(), place.name())
            .and_then(|fd| Ok(Found::File(fstat(&fd).map(|stat| (fd, stat))?.0, stat)))
            .map_err(failed),
        FileType::Symlink => readlinkat(place.dir(), place.name(), Vec::new())
            .map(|target| Found::Link(target.into_bytes(), stat))
            .map_err(failed),
        _ => Err(failed(Errno::NXIO)),
    }
}

fn kind_of(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Kind> {
    directory::stat(dir, name).map(|meta| meta.kind)
}

fn member(kind: Type, name: Vec<u8>, stat: &Stat) -> Member {
    Member {
        kind,
        name,
        link: Vec::new(),
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if kind == Type::File { size_of(stat) } else { 0 },
        mtime: (
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
    }
}

fn link_member(name: Vec<u8>, target: Vec<u8>, stat: &Stat) -> Member {
    Member {
        link: target,
        ..member(Type::Symlink, name, stat)
    }
}

fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn has_changed(before: &Stat, after: &Stat) -> bool {
    let facts = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    facts(before) != facts(after)
}

/// `dir/name`, or the one that is not empty.
fn below(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match (dir, name) {
        (b"", only) | (only, b"") => only.to_vec(),
        _ => join(dir, name),
    }
}

fn with_slash(mut name: Vec<u8>) -> Vec<u8> {
    if name.is_empty() {
        name.push(b'.');
    }
    name.push(b'/');
    name
}

fn words(errno: Errno) -> String {
    match errno {
        Errno::ACCESS | Errno::PERM => "permission denied".into(),
        Errno::LOOP | Errno::NOTDIR => "it became something else meanwhile".into(),
        Errno::NOENT => "it vanished".into(),
        other => std::io::Error::from(other).to_string(),
    }
}

fn emit(out: &mut impl Write, member: &Member) -> Result<()> {
    put(out, &member.blocks(None))
}

fn pad(out: &mut impl Write, size: u64) -> Result<()> {
    let rest = (size % BLOCK as u64) as usize;
    put(out, &[0; BLOCK][..(BLOCK - rest) % BLOCK])
}

fn put(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    // Into memory: it does not fail.
    out.write_all(bytes)
        .map_err(|error| Error::Panicked(error.to_string()))
}
