//! The extension `hutch._native`: one thin file a concept, each in three steps: extract what
//! Python gave, detach from the interpreter for the work, convert the result.
//!
//! Banned here: logic. What computes lives in `hutch-core`, which knows no Python.

mod archive;
mod batch;
mod chmod;
mod copy;
mod error;
mod find;
mod hole;
mod kept;
mod matches;
mod mkdir;
mod mounts;
mod names;
mod place;
mod pool;
mod read;
mod remove;
mod spawn;
mod stop;
mod targets;
mod timestamp;
mod walk;
mod watch;
mod write;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _native {
    use super::*;

    #[pymodule_export]
    use crate::archive::{Extractor, Landed, Pack};
    #[pymodule_export]
    use crate::chmod::{Changed, chmod};
    #[pymodule_export]
    use crate::copy::{Copied, copy, relocate};
    #[pymodule_export]
    use crate::find::find;
    #[pymodule_export]
    use crate::hole::punch_hole;
    #[pymodule_export]
    use crate::kept::{Kept, kept};
    #[pymodule_export]
    use crate::matches::{MatchReader, Matches};
    #[pymodule_export]
    use crate::mkdir::make_dirs;
    #[pymodule_export]
    use crate::mounts::may_hang;
    #[pymodule_export]
    use crate::names::{extension, is_code};
    #[pymodule_export]
    use crate::place::{FileState, Place, locate};
    #[pymodule_export]
    use crate::pool::pool_close;
    #[pymodule_export]
    use crate::read::{Reading, find_at_once, is_made_on_reading, open_regular, read_at_once};
    #[pymodule_export]
    use crate::remove::{Guard, Removal, remove};
    #[pymodule_export]
    use crate::spawn::{Ended, Process, spawn};
    #[pymodule_export]
    use crate::stop::Stop;
    #[pymodule_export]
    use crate::targets::targets;
    #[pymodule_export]
    use crate::timestamp::rfc3339;
    #[pymodule_export]
    use crate::walk::{Walk, WalkStatistics};
    #[pymodule_export]
    use crate::watch::{Watcher, WatcherStatus, Watches};
    #[pymodule_export]
    use crate::write::{Pending, Writer, Written, append};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("DEBUG", cfg!(debug_assertions))
    }
}
