//! `_native.Pending`, `_native.Writer`, `_native.append`: writing files.

use std::sync::{Mutex, PoisonError};

use hutch_core::error::Error;
use hutch_core::spool::Start;
use hutch_core::write::Terms;
use hutch_core::{append as core_append, pending, write};
use pyo3::prelude::*;

use crate::error::to_python;
use crate::place::{Place, Status, status};
use crate::stop::Stop;

/// The slots that name temporary files; opening them removes what an earlier process left.
#[pyclass(frozen)]
pub(crate) struct Pending(pub(crate) pending::Pending);

#[pymethods]
impl Pending {
    #[new]
    fn new(py: Python<'_>, directory: &[u8]) -> PyResult<Self> {
        let opened = py.detach(|| pending::Pending::open(directory));
        opened.map(Self).map_err(to_python)
    }
}

/// What was written.
#[pyclass(frozen, get_all)]
pub(crate) struct Written {
    status: Status,
    size: i64,
    atomic: bool,
    sha256: Option<String>,
}

impl From<write::Written> for Written {
    fn from(written: write::Written) -> Self {
        Self {
            status: status(&written.stat),
            size: written.stat.st_size,
            atomic: written.atomic,
            sha256: written.sha256,
        }
    }
}

/// Content on its way to a place.
#[pyclass(frozen)]
pub(crate) struct Writer(Mutex<Option<write::Writer>>);

impl Writer {
    fn take(&self) -> Option<write::Writer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn ended() -> Error {
    Error::Invalid("the writer has ended".into())
}

#[pymethods]
impl Writer {
    #[new]
    #[pyo3(signature = (place, pending, *, named=false))]
    fn new(py: Python<'_>, place: &Place, pending: &Pending, named: bool) -> PyResult<Self> {
        let start = if named { Start::Named } else { Start::Unnamed };
        let opened = py.detach(|| write::Writer::open(place.inner.clone(), &pending.0, start));
        Ok(Self(Mutex::new(Some(opened.map_err(to_python)?))))
    }

    fn write(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        let written = py.detach(|| {
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            inner.as_mut().ok_or_else(ended)?.write(data)
        });
        written.map_err(to_python)
    }

    #[pyo3(signature = (stop, *, mode=None, only_new=false))]
    fn commit(
        &self,
        py: Python<'_>,
        stop: &Stop,
        mode: Option<u32>,
        only_new: bool,
    ) -> PyResult<Written> {
        let stop = stop.0.clone();
        let terms = Terms { mode, only_new };
        let done = py.detach(|| self.take().ok_or_else(ended)?.commit(terms, &stop));
        done.map(Written::from).map_err(to_python)
    }

    fn abort(&self, py: Python<'_>) {
        py.detach(|| drop(self.take()));
    }
}

#[pyfunction]
#[pyo3(signature = (place, data, *, mode=None))]
pub(crate) fn append(
    py: Python<'_>,
    place: &Place,
    data: &[u8],
    mode: Option<u32>,
) -> PyResult<Option<Written>> {
    let done = py.detach(|| core_append::append(&place.inner, data, mode));
    Ok(done.map_err(to_python)?.map(Written::from))
}
