//! `_native.Pack`, `_native.Extractor`: trees on their way into an archive, and out of one.

use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};

use hutch_core::archive::{self, Caps, Code, Owner, Packed, Trouble, Wanted, Wishes};
use hutch_core::error::Error;
use hutch_core::feed::Taken;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::to_python;
use crate::remove::Guard;
use crate::stop::Stop;
use crate::write::Pending;

/// An archive under way, with one consumer.
#[pyclass(frozen)]
pub(crate) struct Pack(archive::Pack);

#[pymethods]
impl Pack {
    #[new]
    #[pyo3(signature = (roots, *, exclude_patterns, level))]
    fn new(
        py: Python<'_>,
        roots: Vec<(Vec<u8>, Vec<u8>)>,
        exclude_patterns: Vec<Vec<u8>>,
        level: u32,
    ) -> PyResult<Self> {
        let wanted = Wanted {
            roots,
            exclude_patterns,
            level,
        };
        let pack = py.detach(|| archive::Pack::start(wanted));
        pack.map(Self).map_err(to_python)
    }

    fn try_next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        match self.0.take() {
            Taken::Batch(batch) => Ok(Some(PyBytes::new(py, &batch))),
            Taken::Wait => Ok(None),
            Taken::End(Ok(())) => Ok(Some(PyBytes::new(py, b""))),
            Taken::End(Err(error)) => Err(to_python(error)),
        }
    }

    fn fileno(&self) -> i32 {
        self.0.event().as_raw_fd()
    }

    fn stop(&self) {
        self.0.stop();
    }

    fn packed(&self) -> (u64, u64) {
        let Packed { skipped, changed } = self.0.packed();
        (skipped, changed)
    }
}

/// Why an archive is refused: the code, and a sentence.
type Refusal = Option<(&'static str, String)>;

/// An archive being unpacked.
#[pyclass(frozen)]
pub(crate) struct Extractor(Mutex<Option<archive::Extractor>>);

/// What was made so far.
#[pyclass(frozen, get_all)]
pub(crate) struct Landed {
    files: u64,
    directories: u64,
    content_bytes: u64,
    skipped: Vec<(Vec<u8>, String)>,
    skipped_total: u64,
}

#[pymethods]
impl Extractor {
    #[new]
    #[pyo3(signature = (dest, pending, guard, *, keep_owner, sync, entries, total_bytes, ratio,
        name_bytes))]
    #[expect(clippy::too_many_arguments, reason = "one for each limit")]
    fn new(
        py: Python<'_>,
        dest: Vec<u8>,
        pending: &Pending,
        guard: &Guard,
        keep_owner: bool,
        sync: bool,
        entries: u64,
        total_bytes: u64,
        ratio: u64,
        name_bytes: usize,
    ) -> PyResult<Self> {
        let owner = if keep_owner {
            Owner::Archive
        } else {
            Owner::Server
        };
        let guard = guard.0.clone();
        let wishes = Wishes {
            dest,
            owner,
            guard,
            sync,
        };
        let caps = Caps {
            entries,
            bytes: total_bytes,
            ratio,
            name_bytes,
        };
        let opened = py.detach(|| archive::Extractor::open(wishes, &pending.0, caps));
        Ok(Self(Mutex::new(Some(opened.map_err(to_python)?))))
    }

    fn push(&self, py: Python<'_>, data: &[u8], stop: &Stop) -> PyResult<Refusal> {
        let stop = stop.0.clone();
        refusal(py.detach(|| self.with(|one| one.push(data, &stop))))
    }

    fn finish(&self, py: Python<'_>, stop: &Stop) -> PyResult<Refusal> {
        let stop = stop.0.clone();
        refusal(py.detach(|| self.with(|one| one.finish(&stop))))
    }

    fn give_up(&self, py: Python<'_>) {
        py.detach(|| {
            let extractor = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(mut extractor) = extractor {
                extractor.give_up();
            }
        });
    }

    fn landed(&self) -> PyResult<Landed> {
        let landed = self.with(|one| Ok(one.landed()));
        let archive::Landed {
            files,
            directories,
            bytes,
            skipped,
            skipped_total,
        } = landed.map_err(|_| to_python(Error::Stopped))?;
        Ok(Landed {
            files,
            directories,
            content_bytes: bytes,
            skipped,
            skipped_total,
        })
    }
}

impl Extractor {
    fn with<T>(
        &self,
        work: impl FnOnce(&mut archive::Extractor) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(inner.as_mut().ok_or(Trouble::Failed(Error::Stopped))?)
    }
}

fn refusal(done: Result<(), Trouble>) -> PyResult<Refusal> {
    match done {
        Ok(()) => Ok(None),
        Err(Trouble::Failed(error)) => Err(to_python(error)),
        Err(Trouble::Refused(code, sentence)) => Ok(Some((word(code), sentence))),
    }
}

fn word(code: Code) -> &'static str {
    match code {
        Code::Bad => "bad_request",
        Code::TooLarge => "too_large",
        Code::Forbidden => "forbidden",
    }
}
