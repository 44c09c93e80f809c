//! `_native.Changed`, `_native.chmod`: permission bits.

use std::time::{Duration, Instant};

use hutch_core::chmod::{self as core_chmod, Bits};
use pyo3::prelude::*;

use crate::error::to_python;
use crate::place::Place;
use crate::remove::{Guard, cut_word};
use crate::stop::Stop;

/// The account of a change of permission bits.
#[pyclass(frozen, get_all)]
pub(crate) struct Changed {
    protected: Option<Vec<u8>>,
    changed: u64,
    errors: Vec<(Vec<u8>, i32)>,
    failures: usize,
    cut: Option<&'static str>,
}

impl From<core_chmod::Changed> for Changed {
    fn from(account: core_chmod::Changed) -> Self {
        let errors = account.errors.into_iter();
        Self {
            protected: account.protected,
            changed: account.changed,
            errors: errors
                .map(|one| (one.path, one.errno.raw_os_error()))
                .collect(),
            failures: account.failures,
            cut: account.cut.map(cut_word),
        }
    }
}

#[pyfunction]
#[pyo3(signature = (place, guard, stop, *, mode, directories, recursive, seconds))]
#[expect(clippy::too_many_arguments, reason = "Python's keywords")]
pub(crate) fn chmod(
    py: Python<'_>,
    place: &Place,
    guard: &Guard,
    stop: &Stop,
    mode: u32,
    directories: Option<u32>,
    recursive: bool,
    seconds: f64,
) -> PyResult<Changed> {
    let stop = stop.0.clone();
    let limit = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let deadline = Instant::now().checked_add(limit);
    let bits = Bits {
        mode,
        directories,
        recursive,
    };
    let done = py.detach(|| core_chmod::chmod(&place.inner, bits, &guard.0, &stop, deadline));
    done.map(Changed::from).map_err(to_python)
}
