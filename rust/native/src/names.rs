//! `_native.is_code`, `_native.extension`: what a name alone tells.

use hutch_core::names;
use pyo3::prelude::*;

#[pyfunction]
pub(crate) fn is_code(name: &[u8]) -> bool {
    names::is_code(name)
}

#[pyfunction]
pub(crate) fn extension(name: &[u8]) -> Option<&[u8]> {
    names::extension(name)
}
