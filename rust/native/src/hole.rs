//! `_native.punch_hole`: giving the beginning of a file back to the disk.

use std::os::fd::BorrowedFd;

use hutch_core::hole;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::to_python;

#[pyfunction]
pub(crate) fn punch_hole(py: Python<'_>, descriptor: i32, size: u64) -> PyResult<()> {
    if descriptor < 0 {
        return Err(PyValueError::new_err(format!(
            "no descriptor: {descriptor}"
        )));
    }
    // SAFETY: borrowed for this one call, which fails where nothing is open under the number.
    let file = unsafe { BorrowedFd::borrow_raw(descriptor) };
    py.detach(|| hole::punch_hole(file, size))
        .map_err(to_python)
}
