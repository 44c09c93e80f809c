//! What is mounted where, as `/proc/self/mountinfo` tells.
//!
//! Belongs here: reading and unquoting the table, the one place that does, and which mounts lie
//! at or below a path. Banned here: what follows from it. Source: `proc_pid_mountinfo(5)`.

use crate::error::{Error, Result};

const TABLE: &str = "/proc/self/mountinfo";
/// What the types of file systems begin with whose answers come from elsewhere.
const FAR: &[&[u8]] = &[
    b"fuse",
    b"nfs",
    b"cifs",
    b"smb",
    b"9p",
    b"ceph",
    b"afs",
    b"virtiofs",
    b"lustre",
    b"gfs",
];
/// The field that is the mount point; after the one that is a dash comes the type.
const MOUNT_POINT: usize = 4;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: Vec<u8>,
    /// The type of its file system.
    pub kind: Vec<u8>,
}

/// The table as it is now; later lines lie over earlier ones.
///
/// # Errors
/// Where it cannot be read.
pub fn all() -> Result<Vec<Mount>> {
    let table = std::fs::read(TABLE).map_err(|error| {
        let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
        Error::on(TABLE.as_bytes())(errno)
    })?;
    Ok(parse(&table))
}

/// The mount points at or below a real path, in the table's order.
///
/// # Errors
/// Where the table cannot be read.
pub fn below(path: &[u8]) -> Result<Vec<Vec<u8>>> {
    let points = all()?.into_iter().map(|mount| mount.point);
    Ok(points.filter(|point| is_at_or_below(point, path)).collect())
}

/// Whether a call on an absolute path may wait for ever: its mount, as far as the path's spelling
/// tells, is answered by a network or by a program. Asks the file system nothing.
pub fn may_hang(path: &[u8]) -> bool {
    all().is_ok_and(|table| nearest(&table, path).is_some_and(|mount| is_far(&mount.kind)))
}

/// The same for work at and below any of these paths.
pub fn may_hang_below<'a>(paths: impl IntoIterator<Item = &'a [u8]>) -> bool {
    all().is_ok_and(|table| {
        let is_far_below = |path: &[u8]| {
            let mut far = table.iter().filter(|mount| is_far(&mount.kind));
            far.any(|mount| is_at_or_below(&mount.point, path))
        };
        let is_far_at = |path| nearest(&table, path).is_some_and(|mount| is_far(&mount.kind));
        paths
            .into_iter()
            .any(|path| is_far_at(path) || is_far_below(path))
    })
}

fn nearest<'a>(table: &'a [Mount], path: &[u8]) -> Option<&'a Mount> {
    let above = table
        .iter()
        .filter(|mount| is_at_or_below(path, &mount.point));
    // Of those at one place the last counts, which is the one that `max_by_key` takes.
    above.max_by_key(|mount| mount.point.len())
}

fn is_far(kind: &[u8]) -> bool {
    FAR.iter().any(|start| kind.starts_with(start))
}

/// Whether `path` is `top`, or lies below it. Both absolute and normalised; the root may also be
/// the empty path.
pub fn is_at_or_below(path: &[u8], top: &[u8]) -> bool {
    match path.strip_prefix(top) {
        Some(rest) => rest.is_empty() || rest[0] == b'/' || top == b"/",
        None => false,
    }
}

/// The lines of a table.
pub(crate) fn parse(table: &[u8]) -> Vec<Mount> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(mount)
        .collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let point = unquote(words.nth(MOUNT_POINT)?);
    let mut rest = words.skip_while(|word| *word != b"-");
    rest.next()?;
    let kind = rest.next()?.to_vec();
    Some(Mount { point, kind })
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits.
fn unquote(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match (first, octal(after)) {
            (b'\\', Some(byte)) => (byte, &after[3..]),
            _ => (*first, after),
        };
        plain.push(byte);
        rest = after;
    }
    plain
}

fn octal(text: &[u8]) -> Option<u8> {
    let digits = text.get(..3)?;
    digits.iter().try_fold(0_u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unquoted() {
        let table = b"22 27 0:21 / /proc rw - proc proc rw\n\
            30 27 8:1 / /a\\040b\\134c\\012d rw shared:1 - ext4 /dev/x rw\n\
            31 27 8:1 / /odd\\9 rw - ext4 /dev/x rw\n";
        let found: Vec<(Vec<u8>, Vec<u8>)> = parse(table)
            .into_iter()
            .map(|one| (one.point, one.kind))
            .collect();
        let wanted: [(&[u8], &[u8]); 3] = [
            (b"/proc", b"proc"),
            (b"/a b\\c\nd", b"ext4"),
            (b"/odd\\9", b"ext4"),
        ];
        let wanted = wanted.map(|(point, kind)| (point.to_vec(), kind.to_vec()));
        assert_eq!(found, wanted);
    }

    #[test]
    fn the_nearest_mount_tells_whether_a_call_may_hang() {
        let table = parse(
            b"1 0 8:1 / / rw - ext4 /dev/x rw\n2 1 0:1 / /far rw - fuse.sshfs x rw\n\
            3 2 0:2 / /far/near rw - tmpfs x rw\n4 1 0:3 / /over rw - tmpfs x rw\n\
            5 4 0:4 / /over rw - nfs4 x rw\n",
        );
        let cases: &[(&[u8], bool)] = &[
            (b"/", false),
            (b"/a", false),
            (b"/far", true),
            (b"/far/a/b", true),
            (b"/farther", false),
            (b"/far/near/a", false),
            (b"/over/a", true),
        ];
        for (path, wanted) in cases {
            let mount = nearest(&table, path).unwrap();
            assert_eq!(is_far(&mount.kind), *wanted, "{path:?}");
        }
    }

    #[test]
    fn below_means_whole_names() {
        let cases: &[(&[u8], &[u8], bool)] = &[
            (b"/a", b"/a", true),
            (b"/a/b", b"/a", true),
            (b"/ab", b"/a", false),
            (b"/", b"/a", false),
            (b"/a", b"/", true),
            (b"/", b"/", true),
            (b"/a", b"", true),
            (b"", b"", true),
            (b"", b"/a", false),
        ];
        for (path, top, wanted) in cases {
            assert_eq!(is_at_or_below(path, top), *wanted, "{path:?} {top:?}");
        }
    }
}
