//! What the child does between the clone and its own program.
//!
//! It runs in the server's memory, while the server's other threads go on: every line here may
//! call the kernel and write to its own stack and to `Plan::failed`. Banned here: allocating,
//! locks, panics, and those calls of libc that do more than call the kernel (`setuid` there
//! tells all threads of what it takes to be its own process). That is why they go by number.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_long, c_void};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use rustix::io::Errno;

use super::{Program, Step, Unstarted};

/// Everything the child needs, ready to be handed to the kernel.
pub(super) struct Plan<'a> {
    file: *const c_char,
    arguments: &'a [*const c_char],
    environment: &'a [*const c_char],
    directory: *const c_char,
    standard: [RawFd; 3],
    terminal: bool,
    user: Option<(u32, u32, &'a [u32])>,
    descriptors: Option<libc::rlimit64>,
    /// Where a kernel too old to start a process in its cgroup wants to be told: `cgroup.procs`.
    pub(super) procs: Cell<RawFd>,
    /// Step and errno, written by the child into the memory that both share.
    failed: Cell<Option<(Step, i32)>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        program: &'a Program<'_>,
        standard: [RawFd; 3],
        arguments: &'a [*const c_char],
        environment: &'a [*const c_char],
    ) -> Self {
        Self {
            file: program.file.as_ptr(),
            arguments,
            environment,
            directory: program.directory.as_ptr(),
            standard,
            terminal: program.terminal,
            user: program
                .user
                .as_ref()
                .map(|user| (user.uid, user.gid, user.groups.as_slice())),
            descriptors: program.descriptors.map(|(soft, hard)| libc::rlimit64 {
                rlim_cur: soft,
                rlim_max: hard,
            }),
            procs: Cell::new(-1),
            failed: Cell::new(None),
        }
    }

    /// What the child said before it exited, if it did not get to its program.
    pub(super) fn failure(&self) -> Option<Unstarted> {
        // The child has written behind the compiler's back.
        // SAFETY: the cell lives; the child, its only other user, has exited or runs elsewhere.
        let failed = unsafe { ptr::read_volatile(self.failed.as_ptr()) };
        failed.map(|(step, errno)| Unstarted {
            step,
            errno: Errno::from_raw_os_error(errno),
        })
    }
}

/// The child's whole life in the server's memory.
///
/// # Safety
/// `plan` points to a `Plan` that outlives the call. Only for a process of its own that was
/// cloned with `CLONE_VM | CLONE_VFORK`, with every signal blocked.
pub(super) unsafe extern "C" fn run(plan: *mut c_void) -> c_int {
    // SAFETY: the caller's promise.
    let plan = unsafe { &*plan.cast::<Plan<'_>>() };
    // SAFETY: we are the child.
    let (step, errno) = unsafe { become_program(plan) };
    // SAFETY: the parent stands still until we are gone, and reads the cell afterwards.
    unsafe {
        ptr::write_volatile(plan.failed.as_ptr(), Some((step, errno)));
        libc::_exit(127)
    }
}

fn failed(step: Step) -> (Step, i32) {
    // SAFETY: errno's place is always there; it is the parent's thread's own, which stands still.
    (step, unsafe { *libc::__errno_location() })
}

/// Returns only with what failed.
///
/// # Safety
/// As for `run`.
unsafe fn become_program(plan: &Plan<'_>) -> (Step, i32) {
    // SAFETY: plain system calls with pointers into the plan, which lives.
    unsafe {
        if plan.procs.get() >= 0 {
            libc::write(plan.procs.get(), c"0".as_ptr().cast(), 1);
        }
        if libc::setsid() < 0 {
            return failed(Step::Session);
        }
        if plan.terminal && libc::ioctl(plan.standard[0], libc::TIOCSCTTY, 0) < 0 {
            return failed(Step::Session);
        }
        for (number, from) in plan.standard.iter().enumerate() {
            if libc::dup2(*from, number as c_int) < 0 {
                return failed(Step::Descriptors);
            }
        }
        // Closed by the exec and not here: kernels without this call (before 5.11) are left
        // with every descriptor of ours being close-on-exec anyway.
        libc::syscall(
            libc::SYS_close_range,
            3,
            c_long::from(u32::MAX),
            libc::CLOSE_RANGE_CLOEXEC,
        );
        if let Some(limit) = &plan.descriptors {
            let none = ptr::null_mut::<libc::rlimit64>();
            if libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, limit, none) < 0 {
                return failed(Step::Limits);
            }
        }
        // Tried as the server, and again as the user. One that may not enter the directory by
        // itself was put there by whoever asked, as container runtimes have it.
        let is_there = libc::chdir(plan.directory) == 0;
        if let Some((uid, gid, groups)) = plan.user
            && (libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) < 0
                || libc::syscall(libc::SYS_setresgid, gid, gid, gid) < 0
                || libc::syscall(libc::SYS_setresuid, uid, uid, uid) < 0)
        {
            return failed(Step::User);
        }
        if libc::chdir(plan.directory) < 0 && !is_there {
            return failed(Step::Directory);
        }
        reset_signals();
        libc::execve(
            plan.file,
            plan.arguments.as_ptr(),
            plan.environment.as_ptr(),
        );
    }
    failed(Step::Exec)
}

/// The kernel's own `sigaction`, all zero: default, no flags, nothing masked.
const DEFAULT_ACTION: [u64; 4] = [0; 4];
const LAST_SIGNAL: c_int = 64;

/// Every signal back to its default, none blocked: Python ignores SIGPIPE, and so would the child.
///
/// # Safety
/// As for `run`: the handlers are a copy of the server's, so that nothing here touches its own.
unsafe fn reset_signals() {
    let size = size_of::<u64>();
    let nothing = ptr::null_mut::<c_void>();
    // SAFETY: both calls read what the pointers name, which is constant, and write nothing. By
    // number: libc's own refuse the two signals that it keeps to itself.
    unsafe {
        for signal in 1..=LAST_SIGNAL {
            let action = DEFAULT_ACTION.as_ptr();
            libc::syscall(libc::SYS_rt_sigaction, signal, action, nothing, size);
        }
        let none = DEFAULT_ACTION.as_ptr();
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            none,
            nothing,
            size,
        );
    }
}

/// For the cgroup of a kernel that cannot start a process in one.
pub(super) fn open_procs(cgroup: &impl AsRawFd) -> RawFd {
    // SAFETY: a constant path below a live descriptor.
    unsafe {
        libc::openat(
            cgroup.as_raw_fd(),
            c"cgroup.procs".as_ptr(),
            libc::O_WRONLY | libc::O_CLOEXEC,
        )
    }
}
