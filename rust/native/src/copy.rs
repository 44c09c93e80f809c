//! `_native.Copied`, `_native.copy`, `_native.relocate`: copying and moving.

use std::time::{Duration, Instant};

use hutch_core::copied::{self, Clash, Left};
use hutch_core::ends::Terms;
use hutch_core::{copy as core_copy, moving};
use pyo3::prelude::*;

use crate::error::to_python;
use crate::place::Place;
use crate::remove::{Guard, cut_word};
use crate::stop::Stop;
use crate::write::Pending;

/// The account of a copy or a move.
#[pyclass(frozen, get_all)]
pub(crate) struct Copied {
    protected: Option<Vec<u8>>,
    mounts: Vec<Vec<u8>>,
    clash: Option<&'static str>,
    renamed: bool,
    entries: u64,
    size: u64,
    removed: u64,
    errors: Vec<(Vec<u8>, i32)>,
    failures: usize,
    left: Vec<(Vec<u8>, &'static str)>,
    left_out: usize,
    cut: Option<&'static str>,
}

impl From<copied::Copied> for Copied {
    fn from(account: copied::Copied) -> Self {
        let errors = account.errors.into_iter();
        let left = account.left.into_iter();
        Self {
            protected: account.protected,
            mounts: account.mounts,
            clash: account.clash.map(clash_word),
            renamed: account.renamed,
            entries: account.entries,
            size: account.bytes,
            removed: account.removed,
            errors: errors
                .map(|one| (one.path, one.errno.raw_os_error()))
                .collect(),
            failures: account.failures,
            left: left.map(|(path, why)| (path, left_word(why))).collect(),
            left_out: account.left_out,
            cut: account.cut.map(cut_word),
        }
    }
}

fn clash_word(clash: Clash) -> &'static str {
    match clash {
        Clash::Same => "same",
        Clash::Inside => "inside",
        Clash::Around => "around",
        Clash::Exists => "exists",
        Clash::Kinds => "kinds",
        Clash::NotEmpty => "not_empty",
    }
}

fn left_word(why: Left) -> &'static str {
    match why {
        Left::Fifo => "fifo",
        Left::Socket => "socket",
        Left::Device => "device",
        Left::Pseudo => "pseudo_filesystem",
    }
}

type Work = fn(&hutch_core::place::Place, &hutch_core::place::Place, &Terms<'_>) -> Outcome;
type Outcome = hutch_core::error::Result<copied::Copied>;

/// What both functions are given.
struct Asked<'a> {
    source: &'a Place,
    destination: &'a Place,
    guard: &'a Guard,
    pending: &'a Pending,
    stop: &'a Stop,
    overwrite: bool,
    seconds: f64,
}

impl Asked<'_> {
    fn run(self, py: Python<'_>, work: Work) -> PyResult<Copied> {
        let stop = self.stop.0.clone();
        let limit = Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX);
        let (source, destination) = (&self.source.inner, &self.destination.inner);
        let (guard, pending, overwrite) = (&self.guard.0, &self.pending.0, self.overwrite);
        let done = py.detach(|| {
            let terms = Terms {
                guard,
                pending,
                stop: &stop,
                deadline: Instant::now().checked_add(limit),
                overwrite,
            };
            work(source, destination, &terms)
        });
        done.map(Copied::from).map_err(to_python)
    }
}

#[pyfunction]
#[pyo3(signature = (source, destination, guard, pending, stop, *, overwrite, seconds))]
#[expect(clippy::too_many_arguments, reason = "Python's keywords")]
pub(crate) fn copy(
    py: Python<'_>,
    source: &Place,
    destination: &Place,
    guard: &Guard,
    pending: &Pending,
    stop: &Stop,
    overwrite: bool,
    seconds: f64,
) -> PyResult<Copied> {
    let asked = Asked {
        source,
        destination,
        guard,
        pending,
        stop,
        overwrite,
        seconds,
    };
    asked.run(py, core_copy::copy)
}

#[pyfunction]
#[pyo3(signature = (source, destination, guard, pending, stop, *, overwrite, seconds))]
#[expect(clippy::too_many_arguments, reason = "Python's keywords")]
pub(crate) fn relocate(
    py: Python<'_>,
    source: &Place,
    destination: &Place,
    guard: &Guard,
    pending: &Pending,
    stop: &Stop,
    overwrite: bool,
    seconds: f64,
) -> PyResult<Copied> {
    let asked = Asked {
        source,
        destination,
        guard,
        pending,
        stop,
        overwrite,
        seconds,
    };
    asked.run(py, moving::relocate)
}
