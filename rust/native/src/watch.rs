//! `_native.Watches`, `_native.Watcher`: watching directories.

use std::os::fd::AsRawFd;
use std::time::Duration;

use hutch_core::rules::RuleOptions;
use hutch_core::watch::{self, Bounds, Options, Status};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::to_python;

/// All watchers of the process.
#[pyclass(frozen)]
pub(crate) struct Watches(watch::Watches);

/// One watcher.
#[pyclass(frozen)]
pub(crate) struct Watcher(watch::Watcher);

/// What a watcher is at the moment.
#[pyclass(frozen, get_all)]
pub(crate) struct WatcherStatus {
    is_ready: bool,
    is_active: bool,
    dirs: usize,
    incomplete: Option<String>,
}

#[pymethods]
impl Watches {
    #[new]
    #[pyo3(signature = (*, directories))]
    fn new(py: Python<'_>, directories: usize) -> PyResult<Self> {
        let opened = py.detach(|| watch::Watches::open(directories));
        opened.map(Self).map_err(to_python)
    }

    #[pyo3(signature = (id, path, *, excludes, use_gitignore, debounce_seconds, log_events,
        log_bytes))]
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each thing that is asked"
    )]
    fn start(
        &self,
        py: Python<'_>,
        id: String,
        path: Vec<u8>,
        excludes: Vec<Vec<u8>>,
        use_gitignore: bool,
        debounce_seconds: f64,
        log_events: usize,
        log_bytes: usize,
    ) -> PyResult<Watcher> {
        let options = Options {
            id,
            root: path,
            rules: RuleOptions {
                use_gitignore,
                ignore_patterns: excludes,
            },
            debounce: Duration::from_secs_f64(debounce_seconds),
            log: Bounds {
                events: log_events,
                bytes: log_bytes,
            },
        };
        let started = py.detach(|| self.0.start(options));
        started.map(Watcher).map_err(to_python)
    }

    fn fileno(&self) -> i32 {
        self.0.event().as_raw_fd()
    }

    fn hush(&self) {
        self.0.hush();
    }

    fn watched(&self, py: Python<'_>) -> usize {
        py.detach(|| self.0.watched())
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}

#[pymethods]
impl Watcher {
    fn status(&self) -> PyResult<WatcherStatus> {
        let Status {
            is_ready,
            failure,
            is_active,
            dirs,
            incomplete,
        } = self.0.status();
        match failure {
            Some(error) if !is_ready => Err(to_python(error)),
            _ => Ok(WatcherStatus {
                is_ready,
                is_active,
                dirs,
                incomplete,
            }),
        }
    }

    fn seq(&self) -> u64 {
        self.0.seq()
    }

    fn since<'py>(
        &self,
        py: Python<'py>,
        seq: u64,
        most: usize,
    ) -> (bool, u64, bool, Bound<'py, PyBytes>) {
        let told = py.detach(|| self.0.since(seq, most));
        (
            told.fresh,
            told.seq,
            told.more,
            PyBytes::new(py, &told.text),
        )
    }

    fn frames<'py>(
        &self,
        py: Python<'py>,
        seq: u64,
        most: usize,
    ) -> (bool, u64, Vec<Bound<'py, PyBytes>>) {
        let told = py.detach(|| self.0.frames(seq, most));
        let frames = told.frames.iter().map(|one| PyBytes::new(py, one));
        (told.lost, told.seq, frames.collect())
    }

    fn stop(&self) {
        self.0.stop();
    }
}
