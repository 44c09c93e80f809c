//! `_native.Reading`, and the ways to a file's descriptor: files read for an answer.

use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hutch_core::content::Form;
use hutch_core::error::Error;
use hutch_core::{cached, open, read};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustix::io::Errno;

use crate::error::to_python;
use crate::stop::Stop;

/// An owned descriptor of a regular file.
#[pyfunction]
#[pyo3(signature = (path, *, at_once))]
pub(crate) fn open_regular(py: Python<'_>, path: &[u8], at_once: bool) -> PyResult<i32> {
    let opened = if at_once {
        cached::open_regular(path)
    } else {
        py.detach(|| open::open_regular(path))
    };
    opened
        .map(|(file, _)| file.into_raw_fd())
        .map_err(to_python)
}

/// An owned `O_PATH` descriptor, where finding it needs no waiting.
#[pyfunction]
pub(crate) fn find_at_once(path: &[u8]) -> PyResult<i32> {
    // Not detached: calls that do not wait cost less than giving the interpreter away.
    let found = cached::find(path).map_err(to_python)?;
    Ok(found.into_raw_fd())
}

/// The bytes at an offset, where they are in memory.
#[pyfunction]
pub(crate) fn read_at_once(
    py: Python<'_>,
    descriptor: i32,
    size: usize,
    offset: u64,
) -> PyResult<Bound<'_, PyBytes>> {
    // SAFETY: the caller keeps the descriptor open during the call; a closed one only fails.
    let file = unsafe { BorrowedFd::borrow_raw(descriptor) };
    PyBytes::new_with(py, size, |room| match cached::read_at(file, room, offset) {
        Ok(count) if count == room.len() => Ok(()),
        _ => Err(to_python(Error::on(b"")(Errno::AGAIN))),
    })
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
    #[pyo3(signature = (path, *, first, last, form, limit, at_once))]
    fn new(
        py: Python<'_>,
        path: &[u8],
        first: Option<u64>,
        last: Option<u64>,
        form: &str,
        limit: u64,
        at_once: bool,
    ) -> PyResult<Self> {
        let form = form_named(form)?;
        let wanted = read::Wanted {
            first,
            last,
            form,
            limit,
            at_once,
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
