//! `_native.find`: a filename search, as a walk whose batches are its answer.

use hutch_core::filter::Filter;
use hutch_core::rules::RuleOptions;
use hutch_core::walk::{self, Options, Wanted};
use pyo3::prelude::*;

use crate::error::to_python;
use crate::walk::Walk;

#[pyfunction]
#[pyo3(signature = (path, *, query, case_sensitive, fuzzy, max_results, include_hidden,
    use_gitignore, ignore_patterns))]
#[expect(
    clippy::too_many_arguments,
    reason = "one for each parameter of the request"
)]
pub(crate) fn find(
    py: Python<'_>,
    path: Vec<u8>,
    query: String,
    case_sensitive: bool,
    fuzzy: bool,
    max_results: usize,
    include_hidden: bool,
    use_gitignore: bool,
    ignore_patterns: Vec<Vec<u8>>,
) -> PyResult<Walk> {
    let rules = RuleOptions {
        use_gitignore,
        ignore_patterns,
    };
    let wanted = Wanted {
        query,
        case_sensitive,
        fuzzy,
        max_results,
    };
    let options = Options::names(path, rules, Filter::default());
    let found = py.detach(|| walk::Walk::find(options, include_hidden, wanted));
    found.map(Walk).map_err(to_python)
}
