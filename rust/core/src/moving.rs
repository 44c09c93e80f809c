//! Moving what stands at a place: another name where that will do, else a copy and a removal.
//!
//! Belongs here: the decision between the two, and the step that never replaces. Banned here:
//! copying (`copy`), taking away what was copied (`taking`).
//!
//! Source: wire contract, section 2; `rename(2)`.

use rustix::fs::{AtFlags, FileType, RenameFlags, renameat_with, unlinkat};
use rustix::io::Errno;

use crate::copied::{Clash, Copied};
use crate::copy::copy_unasked;
use crate::ends::{Terms, refused};
use crate::error::Result;
use crate::mounts;
use crate::place::Place;
use crate::spool::sync_dir;
use crate::taking::take;

/// Moves what stands at `source` to `destination`, in one step where both lie on one file system.
/// Else each file is copied, and removed once all copies last on the disk.
///
/// # Errors
/// `ENOENT` where there is no source; what renaming says. What goes wrong half-way is in the
/// account.
pub fn relocate(source: &Place, destination: &Place, terms: &Terms<'_>) -> Result<Copied> {
    if let Some(account) = not_to_be_moved(source, terms)? {
        return Ok(account);
    }
    let mut refused = refused(source, destination, terms)?;
    if is_second_name(refused.as_ref(), source, destination, terms)? {
        return drop_name(source);
    }
    if let Some(account) = refused.take() {
        return Ok(account);
    }
    stepwise(source, destination, terms)
}

fn not_to_be_moved(source: &Place, terms: &Terms<'_>) -> Result<Option<Copied>> {
    if let Some(hit) = terms.guard.refuses(source)? {
        return Ok(Some(Copied {
            protected: Some(hit.to_vec()),
            ..Copied::default()
        }));
    }
    if source.stat()?.is_none() {
        return Err(source.failed(Errno::NOENT));
    }
    in_the_way(source)
}

fn in_the_way(place: &Place) -> Result<Option<Copied>> {
    let mounts = mounts::below(&place.real_path()?)?;
    Ok((!mounts.is_empty()).then(|| Copied {
        mounts,
        ..Copied::default()
    }))
}

/// Whether both are names of one file, of which the destination is to remain. Renaming one over
/// the other would do nothing and call it done.
fn is_second_name(
    refused: Option<&Copied>,
    source: &Place,
    destination: &Place,
    terms: &Terms<'_>,
) -> Result<bool> {
    let is_same = refused.is_some_and(|account| account.clash == Some(Clash::Same));
    if !is_same || !terms.overwrite || source.key()? == destination.key()? {
        return Ok(false);
    }
    let stat = source.stat()?;
    Ok(stat.is_some_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) != FileType::Directory && stat.st_nlink > 1
    }))
}

fn drop_name(source: &Place) -> Result<Copied> {
    unlinkat(source.dir(), source.name(), AtFlags::empty())
        .map_err(|errno| source.failed(errno))?;
    sync_dir(source.dir()).map_err(|errno| source.failed(errno))?;
    Ok(renamed())
}

fn renamed() -> Copied {
    Copied {
        renamed: true,
        ..Copied::default()
    }
}

fn stepwise(source: &Place, destination: &Place, terms: &Terms<'_>) -> Result<Copied> {
    if destination.stat()?.is_some()
        && let Some(account) = in_the_way(destination)?
    {
        return Ok(account);
    }
    terms.stop.check()?;
    match rename(source, destination, terms.overwrite) {
        Ok(()) => {
            let synced = sync_dir(destination.dir()).and_then(|()| sync_dir(source.dir()));
            synced.map_err(|errno| destination.failed(errno))?;
            Ok(renamed())
        }
        Err(Errno::XDEV) => across(source, destination, terms),
        Err(errno) => refusal(errno).map_or_else(
            || Err(at_fault(source, destination, errno)),
            |clash| Ok(Copied::refused(clash)),
        ),
    }
}

fn refusal(errno: Errno) -> Option<Clash> {
    match errno {
        Errno::EXIST => Some(Clash::Exists),
        Errno::NOTEMPTY => Some(Clash::NotEmpty),
        Errno::ISDIR | Errno::NOTDIR => Some(Clash::Kinds),
        Errno::INVAL => Some(Clash::Inside),
        _ => None,
    }
}

fn at_fault(source: &Place, destination: &Place, errno: Errno) -> crate::error::Error {
    match errno {
        Errno::NOENT => source.failed(errno),
        _ => destination.failed(errno),
    }
}

fn rename(source: &Place, destination: &Place, overwrite: bool) -> rustix::io::Result<()> {
    let step = |flags| {
        let (from, to) = (source.dir(), destination.dir());
        renameat_with(from, source.name(), to, destination.name(), flags)
    };
    if overwrite {
        return match step(RenameFlags::empty()) {
            // What rename says of a directory that is not empty, on some file systems.
            Err(Errno::EXIST) => Err(Errno::NOTEMPTY),
            done => done,
        };
    }
    match step(RenameFlags::NOREPLACE) {
        // Not every file system has the flag; what is left is to look first, as was done.
        Err(Errno::INVAL | Errno::NOSYS) => step(RenameFlags::empty()),
        done => done,
    }
}

/// Copies, and takes away what was copied. Nothing is taken away before all of it is there.
fn across(source: &Place, destination: &Place, terms: &Terms<'_>) -> Result<Copied> {
    if let Some(there) = destination.stat()?
        && FileType::from_raw_mode(there.st_mode) == FileType::Directory
    {
        // As rename does it: an empty directory makes room.
        match unlinkat(destination.dir(), destination.name(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Copied::refused(Clash::NotEmpty)),
            Err(errno) => return Err(destination.failed(errno)),
        }
    }
    let account = copy_unasked(source, destination, terms)?;
    if !account.is_whole() {
        return Ok(account);
    }
    Ok(take(source, destination, terms, account))
}
