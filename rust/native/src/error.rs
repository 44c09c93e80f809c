//! The one conversion of the core's errors to Python's built-in exceptions.
//!
//! Belongs here: the table. `OSError` is made of (errno, message, path), so that `.errno` and
//! `.filename` survive and Python picks the subclass.

use hutch_core::error::Error;
use pyo3::PyErr;
use pyo3::Python;
use pyo3::exceptions::{PyInterruptedError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::types::PyBytes;

/// The Python exception for an error of the core.
pub(crate) fn to_python(error: Error) -> PyErr {
    match error {
        Error::Os { errno, path } => {
            let message = std::io::Error::from(errno).to_string();
            Python::attach(|py| {
                let path = PyBytes::new(py, &path).unbind();
                PyOSError::new_err((errno.raw_os_error(), message, path))
            })
        }
        Error::Invalid(sentence) => PyValueError::new_err(sentence),
        Error::Stopped => PyInterruptedError::new_err("stopped"),
        Error::Panicked(what) => PyRuntimeError::new_err(what),
    }
}
