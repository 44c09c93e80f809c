//! Giving the beginning of a file back to the disk.
//!
//! Belongs here: the one call. Banned here: which files, and when.

use std::os::fd::AsFd;

use rustix::fs::{FallocateFlags, fallocate};

use crate::error::{Error, Result};

/// Frees the first `size` bytes, which read as zeros from then on; all others keep their offsets.
///
/// # Errors
/// `OPNOTSUPP` where the file system cannot.
pub fn punch_hole(file: impl AsFd, size: u64) -> Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(file, flags, 0, size).map_err(Error::on(b""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn the_rest_stays_where_it_was() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[7; 3 << 20], 0).unwrap();
        file.sync_all().unwrap();
        let before = file.metadata().unwrap().blocks();
        if let Err(error) = punch_hole(&file, 2 << 20) {
            let unsupported = Error::on(b"")(rustix::io::Errno::OPNOTSUPP);
            assert_eq!(error, unsupported);
            return;
        }
        let mut rest = vec![0; 1 << 20];
        file.read_exact_at(&mut rest, 2 << 20).unwrap();
        assert!(rest.iter().all(|byte| *byte == 7));
        assert_eq!(file.metadata().unwrap().len(), 3 << 20);
        assert!(file.metadata().unwrap().blocks() < before);
    }
}
