//! `_native.make_dirs`: a directory with its parents.

use hutch_core::mkdir;
use pyo3::prelude::*;

use crate::error::to_python;

#[pyfunction]
#[pyo3(signature = (path, *, mode))]
pub(crate) fn make_dirs(py: Python<'_>, path: &[u8], mode: u32) -> PyResult<bool> {
    py.detach(|| mkdir::make_dirs(path, mode))
        .map_err(to_python)
}
