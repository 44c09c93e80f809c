//! What must not be removed, however it is spelled.
//!
//! Belongs here: the decision, pure, and the facts that it is made of. Banned here: removing,
//! and the list of what is protected (the caller's).
//!
//! A path is refused where it is a protected one or holds one, by any of three measures: as it
//! was spelled, by its real path, and by the identity of what stands there. The last finds
//! spellings through bind mounts and `/proc/PID/root`, which no comparison of paths can.
//!
//! Source: wire contract, section 2, "Delete"; reference, "Delete".

use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, CWD, FileType, statat};

use crate::error::Result;
use crate::mounts::is_at_or_below;
use crate::place::{Id, Place, split};

/// One protected path, and what is known of it.
#[derive(Clone, Debug, Default)]
struct Protected {
    path: Vec<u8>,
    /// Free of symlinks; the path itself where nothing is there.
    real: Vec<u8>,
    /// Of the path (a link, unfollowed), of what it leads to, and of all directories above both.
    ids: Vec<Id>,
}

/// The protected paths as they are now. Made anew for each removal: it costs a few dozen looks.
#[derive(Clone, Debug, Default)]
pub struct Guard(Vec<Protected>);

impl Guard {
    /// A guard over absolute, normalised paths. What is not there is protected by its path.
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(paths.into_iter().map(look_at).collect())
    }

    /// The protected path that removing `path` would take away, by its spelling alone.
    pub fn refuses_path(&self, path: &[u8]) -> Option<&[u8]> {
        self.decide(path, None)
    }

    /// The protected path that removing what stands at `place` would take away.
    ///
    /// # Errors
    /// Where the place cannot be looked at.
    pub fn refuses(&self, place: &Place) -> Result<Option<&[u8]>> {
        let id = place.stat()?.map(|stat| Id::of(&stat));
        let by_spelling = self.decide(place.asked(), id);
        Ok(match by_spelling {
            Some(hit) => Some(hit),
            None => self.decide(&place.real_path()?, id),
        })
    }

    /// Whether a directory is, or holds, a protected one.
    pub(crate) fn refuses_id(&self, id: Id) -> bool {
        self.0.iter().any(|one| one.ids.contains(&id))
    }

    fn decide(&self, path: &[u8], id: Option<Id>) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|one| {
                is_at_or_below(&one.path, path)
                    || is_at_or_below(&one.real, path)
                    || id.is_some_and(|id| one.ids.contains(&id))
            })
            .map(|one| one.path.as_slice())
    }
}

fn look_at(path: &[u8]) -> Protected {
    let as_path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
    let real = std::fs::canonicalize(as_path)
        .map_or_else(|_| path.to_vec(), |real| real.into_os_string().into_vec());
    let mut ids = Vec::new();
    for spelling in [path, &real] {
        let mut rest = Some(spelling);
        while let Some(one) = rest {
            // A protected file (a link, say) counts, and so does every directory above.
            if let Ok(stat) = statat(CWD, one, AtFlags::SYMLINK_NOFOLLOW)
                && (one == spelling || FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
            {
                ids.push(Id::of(&stat));
            }
            rest = split(one).map(|(parent, _)| parent);
        }
    }
    Protected {
        path: path.to_vec(),
        real,
        ids,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Links;
    use std::os::unix::fs::symlink;

    fn protected(path: &str, real: &str, ids: &[u64]) -> Protected {
        Protected {
            path: path.into(),
            real: real.into(),
            ids: ids.iter().map(|ino| Id { dev: 1, ino: *ino }).collect(),
        }
    }

    #[test]
    fn the_decision_knows_every_measure() {
        let guard = Guard(vec![
            protected("/", "/", &[2]),
            protected("/bin", "/usr/bin", &[10, 11, 12, 2]),
            protected("/usr", "/usr", &[12, 2]),
            protected("/etc", "/etc", &[13, 2]),
            protected("/lib64", "/lib64", &[]),
            protected("/var/lib/hutch", "/data/hutch", &[14, 15, 16, 2]),
        ]);
        let cases: &[(&str, Option<u64>, bool)] = &[
            ("/", None, true),
            ("/bin", None, true),
            ("/usr/bin", None, true),
            ("/usr", None, true),
            ("/etc", None, true),
            ("/lib64", None, true),
            ("/var", None, true),
            ("/var/lib", None, true),
            ("/var/lib/hutch", None, true),
            ("/data", None, true),
            ("/data/hutch", None, true),
            // By what stands there, whatever it is called.
            ("/mnt/root", Some(2), true),
            ("/mnt/root/etc", Some(13), true),
            ("/mnt/root/bin", Some(10), true),
            ("/mnt/root/usr/bin", Some(11), true),
            ("/mnt/root/var", Some(15), true),
            // Below a protected path, or beside it.
            ("/etc/passwd", Some(99), false),
            ("/usr/local", None, false),
            ("/usr/bin/env", None, false),
            ("/etcetera", None, false),
            ("/us", None, false),
            ("/var/lib/hutch/token", None, false),
            ("/var/log", Some(98), false),
            ("/app", Some(97), false),
            ("/app/etc", Some(96), false),
        ];
        for (path, ino, wanted) in cases {
            let id = ino.map(|ino| Id { dev: 1, ino });
            let got = guard.decide(path.as_bytes(), id).is_some();
            assert_eq!(got, *wanted, "{path} {ino:?}");
        }
        let elsewhere = Some(Id { dev: 2, ino: 13 });
        assert!(guard.decide(b"/mnt/x", elsewhere).is_none());
    }

    #[test]
    fn the_facts_are_found_behind_links() {
        let root = tempfile::tempdir().unwrap();
        let top = root.path().canonicalize().unwrap();
        let at = |name: &str| top.join(name).as_os_str().as_bytes().to_vec();
        std::fs::create_dir_all(top.join("usr/bin/tools")).unwrap();
        std::fs::create_dir_all(top.join("app")).unwrap();
        symlink("usr/bin", top.join("bin")).unwrap();
        symlink(&top, top.join("app/up")).unwrap();
        symlink("../usr/bin", top.join("app/link")).unwrap();
        let list = [at("bin"), at("gone")];
        let guard = Guard::new(list.iter().map(Vec::as_slice));
        let cases = [
            ("bin", true),
            ("usr", true),
            ("usr/bin", true),
            ("app/up/bin", true),
            ("app/up/usr/bin", true),
            ("app/up/usr", true),
            ("app/up/app/up/gone", true),
            ("gone", true),
            // A link to what is protected is not itself.
            ("app/link", false),
            ("app/up", false),
            ("app", false),
            ("bin/tools", false),
            ("usr/bin/tools", false),
        ];
        for (name, wanted) in cases {
            let place = Place::locate(&at(name), Links::Keep).unwrap();
            assert_eq!(guard.refuses(&place).unwrap().is_some(), wanted, "{name}");
        }
    }
}
