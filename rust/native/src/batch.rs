//! Finished bytes as Python sees them without a copy.
//!
//! Belongs here: lending what Rust wrote through the buffer protocol. A listing with contents is
//! gigabytes; copying each batch into a `bytes` was a twentieth of what it costs.

use std::ffi::c_int;

use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use pyo3::{PyErr, ffi};

/// A batch that nobody changes any more; it lives as long as a view of it does.
#[pyclass(frozen)]
struct Batch(Vec<u8>);

#[pymethods]
impl Batch {
    /// # Safety
    /// `view` is one that the interpreter wants filled.
    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = &slf.get().0;
        let length = ffi::Py_ssize_t::try_from(bytes.len())
            .map_err(|_| PyBufferError::new_err("too long"))?;
        // SAFETY: `bytes` does not move or change, being in a frozen object of which the view
        // takes a reference; read-only is what is asked of the call.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                bytes.as_ptr().cast_mut().cast(),
                length,
                1,
                flags,
            )
        };
        if filled == 0 {
            return Ok(());
        }
        Err(PyErr::fetch(slf.py()))
    }
}

/// `bytes` as a read-only `memoryview`.
pub(crate) fn view(py: Python<'_>, bytes: Vec<u8>) -> PyResult<Bound<'_, PyMemoryView>> {
    PyMemoryView::from(Bound::new(py, Batch(bytes))?.as_any())
}
