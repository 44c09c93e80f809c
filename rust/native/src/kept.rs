//! `_native.kept`: how full the caches and buffers of this process are.

use hutch_core::{digest, feed, rules};
use pyo3::prelude::*;

/// Each beside what it may be at most.
#[pyclass(frozen, get_all)]
pub(crate) struct Kept {
    digests: usize,
    most_digests: usize,
    rules: usize,
    indexes: usize,
    most_rules: usize,
    buffered: usize,
    most_buffered: usize,
}

#[pyfunction]
pub(crate) fn kept(py: Python<'_>) -> Kept {
    py.detach(|| {
        let held = rules::kept();
        Kept {
            digests: digest::count(),
            most_digests: digest::CAPACITY,
            rules: held.rules,
            indexes: held.indexes,
            most_rules: held.limit,
            buffered: feed::shared(),
            most_buffered: feed::SHARED_BOUND,
        }
    })
}
