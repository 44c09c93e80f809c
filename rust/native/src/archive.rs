//! `_native.Pack`: trees on their way into an archive.

use std::os::fd::AsRawFd;

use hutch_core::archive::{self, Packed, Wanted};
use hutch_core::feed::Taken;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::to_python;

/// An archive under way, with one consumer.
#[pyclass(frozen)]
pub(crate) struct Pack(archive::Pack);

#[pymethods]
impl Pack {
    #[new]
    #[pyo3(signature = (roots, *, exclude_patterns, level))]
    fn new(
        py: Python<'_>,
        roots: Vec<(Vec<u8>, Vec<u8>)>,
        exclude_patterns: Vec<Vec<u8>>,
        level: u32,
    ) -> PyResult<Self> {
        let wanted = Wanted {
            roots,
            exclude_patterns,
            level,
        };
        let pack = py.detach(|| archive::Pack::start(wanted));
        pack.map(Self).map_err(to_python)
    }

    fn try_next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        match self.0.take() {
            Taken::Batch(batch) => Ok(Some(PyBytes::new(py, &batch))),
            Taken::Wait => Ok(None),
            Taken::End(Ok(())) => Ok(Some(PyBytes::new(py, b""))),
            Taken::End(Err(error)) => Err(to_python(error)),
        }
    }

    fn fileno(&self) -> i32 {
        self.0.event().as_raw_fd()
    }

    fn stop(&self) {
        self.0.stop();
    }

    fn packed(&self) -> (u64, u64) {
        let Packed { skipped, changed } = self.0.packed();
        (skipped, changed)
    }
}
