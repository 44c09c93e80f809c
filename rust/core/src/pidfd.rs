//! A process by its descriptor: waiting for its end, what it cost, sending it signals.
//!
//! Belongs here: one child of ours. Banned here: process numbers as a way to reach it (they are
//! given to others once it was waited for), waiting for any child whatever (it would steal other
//! people's exit codes).

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ended {
    /// Its exit code, where it exited.
    pub code: Option<i32>,
    /// The signal that ended it, where one did.
    pub signal: Option<i32>,
    /// User and system time of it and of the children it waited for.
    pub cpu_seconds: f64,
    /// The most memory that it, or a child it waited for, had resident, in bytes.
    ///
    /// Never below what the server had when it started the process: the kernel counts the memory
    /// that a process leaves behind when it executes its program, and that was the server's.
    pub max_rss_bytes: u64,
}

/// A child of ours. Dropping it neither ends it nor waits for it.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    descriptor: OwnedFd,
}

impl Process {
    pub(crate) fn new(pid: i32, descriptor: OwnedFd) -> Self {
        Self { pid, descriptor }
    }

    /// Its number: for people, and for its group and session while one of those is alive.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Readable once it has ended.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// How it ended, None while it runs. To be asked until it says, and then no more.
    ///
    /// # Errors
    /// `CHILD` where it was waited for already.
    pub fn try_reap(&self) -> Result<Option<Ended>, Errno> {
        self.wait(libc::WEXITED | libc::WNOHANG)
    }

    /// How it ended, once it has.
    ///
    /// # Errors
    /// `CHILD` where it was waited for already.
    pub fn reap(&self) -> Result<Ended, Errno> {
        loop {
            match self.wait(libc::WEXITED) {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// `SRCH` where it has ended, `INVAL` for no signal, `PERM`.
    pub fn signal(&self, number: i32) -> Result<(), Errno> {
        let descriptor = self.descriptor.as_raw_fd();
        let info = ptr::null_mut::<libc::siginfo_t>();
        // SAFETY: a live descriptor, and no record to read.
        let told =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, descriptor, number, info, 0) };
        if told < 0 { Err(last_errno()) } else { Ok(()) }
    }

    /// By number, since libc's own `waitid` keeps the usage to itself.
    fn wait(&self, options: i32) -> Result<Option<Ended>, Errno> {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: both records are ours and large enough; all zero is a value of each.
        let (told, info, usage) = unsafe {
            let told = libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                self.descriptor.as_raw_fd(),
                info.as_mut_ptr(),
                options,
                usage.as_mut_ptr(),
            );
            (told, info.assume_init(), usage.assume_init())
        };
        if told < 0 {
            return Err(last_errno());
        }
        // SAFETY: waitid fills the fields of a child, or leaves the zeros.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return Ok(None);
        }
        let exited = info.si_code == libc::CLD_EXITED;
        Ok(Some(Ended {
            code: exited.then_some(status),
            signal: (!exited).then_some(status),
            cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        }))
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}
