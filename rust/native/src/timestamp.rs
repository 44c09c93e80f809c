//! `_native.rfc3339`: a moment as listings and stat both write it.

use hutch_core::timestamp::Days;
use pyo3::prelude::*;

#[pyfunction]
pub(crate) fn rfc3339(seconds: i64) -> String {
    let mut out = Vec::new();
    Days::default().append(&mut out, seconds);
    String::from_utf8_lossy(&out).into_owned()
}
