//! `_native.Guard`, `_native.remove`: removing trees, and what is never removed.

use std::time::{Duration, Instant};

use hutch_core::{guard, removal, remove as core_remove};
use pyo3::prelude::*;

use crate::error::to_python;
use crate::place::Place;
use crate::stop::Stop;

/// The protected paths as they are now.
#[pyclass(frozen)]
pub(crate) struct Guard(pub(crate) guard::Guard);

#[pymethods]
impl Guard {
    #[new]
    fn new(py: Python<'_>, paths: Vec<Vec<u8>>) -> Self {
        py.detach(|| Self(guard::Guard::new(paths.iter().map(Vec::as_slice))))
    }

    fn refuses_path(&self, path: &[u8]) -> Option<&[u8]> {
        self.0.refuses_path(path)
    }

    fn refuses(&self, py: Python<'_>, place: &Place) -> PyResult<Option<Vec<u8>>> {
        let found = py.detach(|| Ok(self.0.refuses(&place.inner)?.map(<[u8]>::to_vec)));
        found.map_err(to_python)
    }
}

/// The account of a removal.
#[pyclass(frozen, get_all)]
pub(crate) struct Removal {
    protected: Option<Vec<u8>>,
    mounts: Vec<Vec<u8>>,
    removed: u64,
    errors: Vec<(Vec<u8>, i32)>,
    failures: usize,
    cut: Option<&'static str>,
    remaining: Vec<Vec<u8>>,
    remaining_cut: bool,
}

impl From<removal::Removal> for Removal {
    fn from(account: removal::Removal) -> Self {
        let errors = account.errors.into_iter();
        Self {
            protected: account.protected,
            mounts: account.mounts,
            removed: account.removed,
            errors: errors
                .map(|one| (one.path, one.errno.raw_os_error()))
                .collect(),
            failures: account.failures,
            cut: account.cut.map(cut_word),
            remaining: account.remaining,
            remaining_cut: account.remaining_cut,
        }
    }
}

/// Why something ended early, in Python's words.
pub(crate) fn cut_word(cut: removal::Cut) -> &'static str {
    match cut {
        removal::Cut::Stopped => "stopped",
        removal::Cut::Late => "late",
        removal::Cut::Failing => "failing",
    }
}

#[pyfunction]
#[pyo3(signature = (place, guard, stop, *, seconds))]
pub(crate) fn remove(
    py: Python<'_>,
    place: &Place,
    guard: &Guard,
    stop: &Stop,
    seconds: f64,
) -> PyResult<Removal> {
    let stop = stop.0.clone();
    let limit = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let deadline = Instant::now().checked_add(limit);
    let done = py.detach(|| core_remove::remove(&place.inner, &guard.0, &stop, deadline));
    done.map(Removal::from).map_err(to_python)
}
