//! `_native.targets`: what a content search is to search, as a walk.

use hutch_core::filter::Filter;
use hutch_core::rules::RuleOptions;
use hutch_core::walk::{self, Options};
use pyo3::prelude::*;

use crate::error::to_python;
use crate::walk::Walk;

#[pyfunction]
#[pyo3(signature = (path, *, file_types, include_hidden, use_gitignore, ignore_patterns))]
pub(crate) fn targets(
    py: Python<'_>,
    path: Vec<u8>,
    file_types: Vec<String>,
    include_hidden: bool,
    use_gitignore: bool,
    ignore_patterns: Vec<Vec<u8>>,
) -> PyResult<Walk> {
    let rules = RuleOptions {
        use_gitignore,
        ignore_patterns,
    };
    let options = Options::names(path, rules, Filter::new("", &file_types, false));
    let found = py.detach(|| walk::Walk::targets(options, include_hidden));
    found.map(Walk).map_err(to_python)
}
