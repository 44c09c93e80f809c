//! `_native.Stop`: the flag by which Python ends work that runs without the interpreter.

use hutch_core::stop;
use pyo3::prelude::*;

/// Set once, never cleared; handed to every call that may take long.
#[pyclass(frozen)]
#[derive(Default)]
pub(crate) struct Stop(pub(crate) stop::Stop);

#[pymethods]
impl Stop {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn set(&self) {
        self.0.set();
    }

    fn is_set(&self) -> bool {
        self.0.is_set()
    }
}
