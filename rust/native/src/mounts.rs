//! `_native.may_hang`: what the mount table tells of a path.

use hutch_core::mounts;
use pyo3::prelude::*;

#[pyfunction]
pub(crate) fn may_hang(py: Python<'_>, path: &[u8]) -> bool {
    py.detach(|| mounts::may_hang(path))
}
