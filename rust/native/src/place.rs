//! `_native.locate`, `_native.Place`: where a path leads, held open, and what stands there.

use std::sync::Arc;

use hutch_core::place::{self, Links};
use hutch_core::state;
use pyo3::prelude::*;
use rustix::fs::Stat;

use crate::error::to_python;
use crate::stop::Stop;

/// What ETags are made of: inode, size, mtime and ctime in ns.
pub(crate) type Status = (u64, i64, i128, i128);

pub(crate) fn status(stat: &Stat) -> Status {
    let nanoseconds =
        |seconds: i64, rest: u64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    (
        stat.st_ino,
        stat.st_size,
        nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
    )
}

/// A name, there or not, in a directory that is held open.
#[pyclass(frozen)]
pub(crate) struct Place {
    pub(crate) inner: Arc<place::Place>,
    /// The same for every spelling of the same place.
    #[pyo3(get)]
    key: Vec<u8>,
}

#[pymethods]
impl Place {
    fn state(&self, py: Python<'_>, stop: &Stop) -> PyResult<Option<FileState>> {
        let stop = stop.0.clone();
        let found = py.detach(|| state::state(&self.inner, &stop));
        let convert = |state: state::State| FileState {
            status: status(&state.stat),
            sha256: state.sha256,
        };
        Ok(found.map_err(to_python)?.map(convert))
    }
}

#[pyfunction]
#[pyo3(signature = (path, *, follow))]
pub(crate) fn locate(py: Python<'_>, path: &[u8], follow: bool) -> PyResult<Place> {
    let links = if follow { Links::Follow } else { Links::Keep };
    let found = py.detach(|| {
        let place = place::Place::locate(path, links)?;
        let key = place.key()?;
        Ok((place, key))
    });
    let (place, key) = found.map_err(to_python)?;
    Ok(Place {
        inner: Arc::new(place),
        key,
    })
}

/// What stands at a place, as preconditions see it.
#[pyclass(frozen, get_all)]
pub(crate) struct FileState {
    status: Status,
    sha256: Option<String>,
}
