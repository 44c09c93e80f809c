//! `_native.Reading`, `_native.open_regular`, `_native.is_made_on_reading`: files read for an answer.

use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hutch_core::content::Form;
use hutch_core::{open, read};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::to_python;
use crate::stop::Stop;

/// An owned descriptor of a regular file.
#[pyfunction]
pub(crate) fn open_regular(py: Python<'_>, path: &[u8]) -> PyResult<i32> {
    let opened = py.detach(|| open::open_regular(path));
    opened
        .map(|(file, _)| file.into_raw_fd())
        .map_err(to_python)
}

/// Whether an open file's content is made while it is read.
#[pyfunction]
pub(crate) fn is_made_on_reading(py: Python<'_>, descriptor: i32) -> bool {
    // SAFETY: the caller keeps the descriptor open during the call; a closed one only fails.
    let file = unsafe { BorrowedFd::borrow_raw(descriptor) };
    py.detach(|| open::is_made_on_reading(file))
}

/// A file being read: scanned, then handed over encoded.
#[pyclass(frozen)]
pub(crate) struct Reading(Mutex<read::Reading>);

impl Reading {
    fn lock(&self) -> MutexGuard<'_, read::Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Reading {
    #[new]
    #[pyo3(signature = (path, *, first, last, form, limit))]
    fn new(
        py: Python<'_>,
        path: &[u8],
        first: Option<u64>,
        last: Option<u64>,
        form: &str,
        limit: u64,
    ) -> PyResult<Self> {
        let form = form_named(form)?;
        let wanted = read::Wanted {
            first,
            last,
            form,
            limit,
        };
        let reading = py
            .detach(|| read::Reading::open(path, wanted))
            .map_err(to_python)?;
        Ok(Self(Mutex::new(reading)))
    }

    fn fileno(&self) -> i32 {
        self.lock().as_fd().as_raw_fd()
    }

    fn scan(&self, py: Python<'_>, stop: &Stop) -> PyResult<()> {
        py.detach(|| self.lock().scan(&stop.0)).map_err(to_python)
    }

    fn next<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyBytes>> {
        let batch = py.detach(|| self.lock().next(most)).map_err(to_python)?;
        Ok(PyBytes::new(py, &batch))
    }

    fn is_finished(&self) -> bool {
        self.lock().is_finished()
    }

    fn facts(&self) -> (u64, u64, bool, Option<String>) {
        let facts = self.lock().facts();
        (facts.size, facts.lines, facts.lossy, facts.sha256)
    }
}

fn form_named(name: &str) -> PyResult<Form> {
    match name {
        "text" => Ok(Form::Text),
        "numbered" => Ok(Form::Numbered),
        "base64" => Ok(Form::Base64),
        _ => Err(PyValueError::new_err(format!("no such form: {name}"))),
    }
}
