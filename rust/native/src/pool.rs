//! `_native.pool_close`: ending the one thread pool.

use hutch_core::pool::Pool;
use pyo3::prelude::*;

#[pyfunction]
pub(crate) fn pool_close(py: Python<'_>) {
    py.detach(Pool::close);
}
