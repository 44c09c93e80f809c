//! `_native.spawn`, `_native.Process`: starting a program, and hearing how it ended.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use hutch_core::spawn::{Program, Unstarted, User};
use hutch_core::{pidfd, spawn as core_spawn};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use rustix::io::Errno;

use crate::error::to_python;

/// A child of ours; None once it is closed, so that its descriptor waits for no collector.
#[pyclass(frozen)]
pub(crate) struct Process {
    pid: i32,
    inner: Mutex<Option<pidfd::Process>>,
}

impl Process {
    fn with<T>(&self, work: impl FnOnce(&pidfd::Process) -> PyResult<T>) -> PyResult<T> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match &*inner {
            Some(process) => work(process),
            None => Err(PyValueError::new_err("the process is closed")),
        }
    }
}

/// How a process ended.
#[pyclass(frozen, get_all)]
pub(crate) struct Ended {
    code: Option<i32>,
    signal: Option<i32>,
    cpu_seconds: f64,
    max_rss_bytes: u64,
}

#[pymethods]
impl Process {
    #[getter]
    fn pid(&self) -> i32 {
        self.pid
    }

    fn fileno(&self) -> PyResult<i32> {
        self.with(|process| Ok(process.descriptor().as_raw_fd()))
    }

    fn close(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        *inner = None;
    }

    fn try_reap(&self) -> PyResult<Option<Ended>> {
        let ended = self.with(|process| process.try_reap().map_err(plain))?;
        Ok(ended.map(|one| Ended {
            code: one.code,
            signal: one.signal,
            cpu_seconds: one.cpu_seconds,
            max_rss_bytes: one.max_rss_bytes,
        }))
    }

    fn signal(&self, number: i32) -> PyResult<()> {
        self.with(|process| process.signal(number).map_err(plain))
    }
}

fn plain(errno: Errno) -> PyErr {
    to_python(hutch_core::error::Error::on(b"")(errno))
}

#[pyfunction]
#[pyo3(signature = (file, arguments, environment, *, directory, standard, terminal, cgroup, user,
    descriptors))]
#[expect(
    clippy::too_many_arguments,
    reason = "one for each thing that a child has"
)]
pub(crate) fn spawn(
    py: Python<'_>,
    file: Vec<u8>,
    arguments: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
    directory: Vec<u8>,
    standard: (i32, i32, i32),
    terminal: bool,
    cgroup: Option<i32>,
    user: Option<(u32, u32, Vec<u32>)>,
    descriptors: Option<(u64, u64)>,
) -> PyResult<Process> {
    let standard = [owned(standard.0)?, owned(standard.1)?, owned(standard.2)?];
    let cgroup = cgroup.map(owned).transpose()?;
    let program = Program {
        file: text(file)?,
        arguments: texts(arguments)?,
        environment: texts(environment)?,
        directory: text(directory)?,
        standard: [&standard[0], &standard[1], &standard[2]].map(std::os::fd::AsFd::as_fd),
        terminal,
        cgroup: cgroup.as_ref().map(std::os::fd::AsFd::as_fd),
        user: user.map(|(uid, gid, groups)| User { uid, gid, groups }),
        descriptors,
    };
    py.detach(|| core_spawn::spawn(&program))
        .map(|process| Process {
            pid: process.pid(),
            inner: Mutex::new(Some(process)),
        })
        .map_err(unstarted)
}

/// A copy, so that nobody can close it while the child is being made.
fn owned(number: i32) -> PyResult<OwnedFd> {
    if number < 0 {
        return Err(PyValueError::new_err(format!("no descriptor: {number}")));
    }
    // SAFETY: borrowed for this one call, which fails where nothing is open under the number.
    let given = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_dupfd_cloexec(given, 3).map_err(plain)
}

fn text(bytes: Vec<u8>) -> PyResult<CString> {
    CString::new(bytes).map_err(|_| PyValueError::new_err("a NUL in it"))
}

fn texts(all: Vec<Vec<u8>>) -> PyResult<Vec<CString>> {
    all.into_iter().map(text).collect()
}

/// `OSError(errno, step)`: `strerror` is the step's word.
fn unstarted(failed: Unstarted) -> PyErr {
    PyOSError::new_err((failed.errno.raw_os_error(), failed.step.word()))
}
