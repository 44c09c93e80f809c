//! `_native.Walk`: a listing under way, and what it counted.

use std::os::fd::AsRawFd;

use hutch_core::feed::Taken;
use hutch_core::filter::Filter;
use hutch_core::rules::RuleOptions;
use hutch_core::walk::{self, Form, Options, Statistics};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

use crate::batch;
use crate::error::to_python;

/// A walk under way, with one consumer.
#[pyclass(frozen)]
pub(crate) struct Walk(pub(crate) walk::Walk);

/// Counts of what a walk did.
#[pyclass(frozen, get_all)]
pub(crate) struct WalkStatistics {
    entries: u64,
    opens: u64,
    stats: u64,
    batches: u64,
    bytes: u64,
}

#[pymethods]
impl Walk {
    #[new]
    #[pyo3(signature = (path, *, form, light, include_hash, include_content, include_extensions,
        code_files_only, use_gitignore, max_depth, path_filter, include_ext, ignore_patterns,
        max_content_budget, content_limit, entry_limit))]
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each parameter of the request"
    )]
    fn new(
        py: Python<'_>,
        path: Vec<u8>,
        form: &str,
        light: bool,
        include_hash: bool,
        include_content: bool,
        include_extensions: bool,
        code_files_only: bool,
        use_gitignore: bool,
        max_depth: u32,
        path_filter: &str,
        include_ext: Vec<String>,
        ignore_patterns: Vec<Vec<u8>>,
        max_content_budget: u64,
        content_limit: u64,
        entry_limit: usize,
    ) -> PyResult<Self> {
        let options = Options {
            root: path,
            form: form_of(form)?,
            light,
            include_hash,
            include_content,
            include_extensions,
            filter: Filter::new(path_filter, &include_ext, code_files_only),
            rules: RuleOptions {
                use_gitignore,
                ignore_patterns,
            },
            max_depth,
            content_budget: max_content_budget,
            content_limit,
            entry_limit,
        };
        let walk = py.detach(|| walk::Walk::start(options));
        walk.map(Self).map_err(to_python)
    }

    fn try_next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyMemoryView>>> {
        match self.0.take() {
            Taken::Batch(batch) => batch::view(py, batch).map(Some),
            Taken::Wait => Ok(None),
            Taken::End(Ok(())) => batch::view(py, Vec::new()).map(Some),
            Taken::End(Err(error)) => Err(to_python(error)),
        }
    }

    fn fileno(&self) -> i32 {
        self.0.event().as_raw_fd()
    }

    fn directory(&self) -> Option<i32> {
        self.0.directory().map(|directory| directory.as_raw_fd())
    }

    fn stop(&self) {
        self.0.stop();
    }

    fn statistics(&self) -> WalkStatistics {
        let Statistics {
            entries,
            opens,
            stats,
            batches,
            bytes,
        } = self.0.statistics();
        WalkStatistics {
            entries,
            opens,
            stats,
            batches,
            bytes,
        }
    }
}

fn form_of(word: &str) -> PyResult<Form> {
    match word {
        "stream" => Ok(Form::Stream),
        "children" => Ok(Form::Children),
        "flat" => Ok(Form::Flat),
        "tree" => Ok(Form::Tree),
        other => Err(PyValueError::new_err(format!("no form {other:?}"))),
    }
}
