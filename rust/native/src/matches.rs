//! `_native.Matches` and `_native.MatchReader`: ripgrep's messages on their way to an answer.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hutch_core::matches::{self, Shape};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::to_python;

/// The matches of one search.
#[pyclass(frozen)]
pub(crate) struct Matches(Arc<Mutex<matches::Matches>>);

/// Reads what one process prints.
#[pyclass(frozen)]
pub(crate) struct MatchReader {
    reader: Mutex<matches::Reader>,
    matches: Arc<Mutex<matches::Matches>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymethods]
impl Matches {
    #[new]
    #[pyo3(signature = (*, stream, max_results, context_lines, most_bytes))]
    fn new(stream: bool, max_results: Option<u64>, context_lines: u64, most_bytes: usize) -> Self {
        let shape = Shape {
            is_stream: stream,
            max_results,
            context: context_lines,
            most_bytes,
        };
        Self(Arc::new(Mutex::new(matches::Matches::new(shape))))
    }

    fn reader(&self, directory: i32) -> MatchReader {
        // SAFETY: the caller keeps the descriptor open during the call, which makes its own.
        let root = unsafe { BorrowedFd::borrow_raw(directory) };
        let root = root.try_clone_to_owned().ok();
        MatchReader {
            reader: Mutex::new(lock(&self.0).reader(root)),
            matches: Arc::clone(&self.0),
        }
    }

    fn take_lines<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &lock(&self.0).take_lines())
    }

    fn finish(&self, py: Python<'_>, most: usize) -> Vec<Py<PyBytes>> {
        let mut pieces = Vec::new();
        py.detach(|| lock(&self.0).finish(most, |piece| pieces.push(piece)));
        let convert = |piece: &Vec<u8>| PyBytes::new(py, piece).unbind();
        pieces.iter().map(convert).collect()
    }

    fn is_capped(&self) -> bool {
        lock(&self.0).is_capped()
    }

    fn capped_by(&self) -> Option<&'static str> {
        lock(&self.0).capped_by()
    }

    fn counts(&self) -> (u64, u64) {
        lock(&self.0).counts()
    }
}

#[pymethods]
impl MatchReader {
    fn feed(&self, py: Python<'_>, piece: &[u8]) -> PyResult<()> {
        let fed = py.detach(|| lock(&self.reader).feed(piece, &mut lock(&self.matches)));
        fed.map_err(to_python)
    }

    fn is_complete(&self) -> bool {
        lock(&self.reader).is_complete()
    }

    fn again(&self) -> Self {
        let reader = lock(&self.matches).reader_after(&lock(&self.reader));
        Self {
            reader: Mutex::new(reader),
            matches: Arc::clone(&self.matches),
        }
    }
}
