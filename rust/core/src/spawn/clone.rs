//! The clone: `CLONE_VM | CLONE_VFORK | CLONE_PIDFD`, and `CLONE_INTO_CGROUP`, on its own stack.
//!
//! Belongs here: the stack, the blocked signals, the system call itself. Banned here: what the
//! child does (`child`). `clone3` has no wrapper in libc, and with a stack of its own the child
//! cannot return from one: hence a few lines of assembly. Where the call is missing, or the
//! architecture is another, libc's `clone` does the same, and the child moves itself into its
//! cgroup.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::child::{self, Plan};
use crate::pidfd::Process;

/// The child's frames are small; the lowest page is a guard.
const STACK: usize = 64 * 1024;
const GUARD: usize = 4096;

const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;

/// `linux/sched.h`; libc's own constant is cut to 32 bits, which leaves nothing of it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

struct Stack(*mut c_void);

impl Stack {
    fn new() -> rustix::io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::STACK | MapFlags::NORESERVE;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), STACK, protection, flags)? };
        let stack = Self(base);
        // SAFETY: the lowest page of the mapping just made, which nobody uses yet.
        unsafe { mprotect(base, GUARD, MprotectFlags::empty())? };
        Ok(stack)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: our mapping; the child that used it has exited or runs in other memory.
        let _ = unsafe { munmap(self.0, STACK) };
    }
}

/// Every signal blocked in this thread until dropped: a handler of Python's that ran in the
/// child would run in the server's memory.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn new() -> Self {
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: sigfillset fills `all`, pthread_sigmask `before`; neither can fail like this.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the mask that was in force before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

thread_local! {
    /// Made at a thread's first start and used by all later ones: unmapping one makes every
    /// thread's processor forget its addresses.
    static OWN_STACK: RefCell<Option<Stack>> = const { RefCell::new(None) };
}

/// Clones; returns once the child runs its program or has exited.
pub(super) fn clone(plan: &Plan<'_>, cgroup: Option<BorrowedFd<'_>>) -> Result<Process, Errno> {
    OWN_STACK.with_borrow_mut(|own| {
        let stack = match own {
            Some(stack) => stack,
            None => own.insert(Stack::new()?),
        };
        let _blocked = Blocked::new();
        match by_clone3(plan, stack, cgroup) {
            Err(Errno::NOSYS) => by_libc(plan, stack, cgroup),
            done => done,
        }
    })
}

fn process(pid: i64, pidfd: c_int) -> Result<Process, Errno> {
    // SAFETY: the kernel has just made this descriptor for us.
    let descriptor = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = i32::try_from(pid).map_err(|_| Errno::OVERFLOW)?;
    Ok(Process::new(pid, descriptor))
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn by_clone3(
    plan: &Plan<'_>,
    stack: &Stack,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Process, Errno> {
    let mut pidfd: c_int = -1;
    let into = u64::from(cgroup.is_some()) * CLONE_INTO_CGROUP;
    // SAFETY: a plain record of the kernel's, for which all zero is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = FLAGS as u64 | into;
    arguments.pidfd = &raw mut pidfd as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.stack = stack.0 as u64;
    arguments.stack_size = STACK as u64;
    arguments.cgroup = cgroup.map_or(0, |one| one.as_raw_fd() as u64);
    // SAFETY: the stack is the child's alone, signals are blocked, the plan outlives the call,
    // which returns here only after the child has left our memory.
    let told = unsafe { clone3(&raw mut arguments, ptr::from_ref(plan).cast_mut().cast()) };
    match told {
        pid if pid > 0 => process(pid, pidfd),
        negative => Err(Errno::from_raw_os_error(-negative as i32)),
    }
}

/// The system call. The child calls `child::run(plan)` on its stack and never returns.
///
/// # Safety
/// As `child::run` asks; `arguments` must name a stack of the child's own.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(arguments: *mut libc::clone_args, plan: *mut c_void) -> i64 {
    let told: i64;
    // SAFETY: the caller's promise. The kernel clobbers rcx and r11; in the child rsp is the end
    // of its stack, a page's end, so that the call finds it aligned.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => told,
            in("rdi") arguments,
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") plan,
            in("r13") child::run as unsafe extern "C" fn(*mut c_void) -> c_int,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    told
}

/// As above.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(arguments: *mut libc::clone_args, plan: *mut c_void) -> i64 {
    let told: i64;
    // SAFETY: as above; the kernel keeps every register but x0.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk 1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") arguments => told,
            in("x1") size_of::<libc::clone_args>(),
            in("x20") plan,
            in("x21") child::run as unsafe extern "C" fn(*mut c_void) -> c_int,
        );
    }
    told
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn by_clone3(_: &Plan<'_>, _: &Stack, _: Option<BorrowedFd<'_>>) -> Result<Process, Errno> {
    Err(Errno::NOSYS)
}

fn by_libc(
    plan: &Plan<'_>,
    stack: &Stack,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Process, Errno> {
    let mut pidfd: c_int = -1;
    let procs = cgroup.map_or(-1, |one| child::open_procs(&one));
    plan.procs.set(procs);
    // SAFETY: as in `by_clone3`; the child's callback never returns.
    let pid = unsafe {
        libc::clone(
            as_callback(child::run),
            stack.0.byte_add(STACK),
            FLAGS | libc::SIGCHLD,
            ptr::from_ref(plan).cast_mut().cast(),
            &raw mut pidfd,
        )
    };
    let errno = rustix::io::Errno::from_io_error(&std::io::Error::last_os_error());
    if procs >= 0 {
        // SAFETY: opened above, ours alone.
        drop(unsafe { OwnedFd::from_raw_fd(procs) });
    }
    if pid < 0 {
        return Err(errno.unwrap_or(Errno::AGAIN));
    }
    process(i64::from(pid), pidfd)
}

type Callback = extern "C" fn(*mut c_void) -> c_int;

fn as_callback(run: unsafe extern "C" fn(*mut c_void) -> c_int) -> Callback {
    // SAFETY: the same signature; libc's declaration has no `unsafe` in it. Only `by_libc` has it.
    unsafe { std::mem::transmute(run) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spawn::{Program, pointers};
    use std::ffi::CString;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn libc_does_the_same_where_clone3_is_missing() {
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .unwrap();
        for (file, code) in [("/bin/true", 0), ("/bin/false", 1), ("/nothing", 127)] {
            let program = Program {
                file: CString::new(file).unwrap(),
                arguments: vec![CString::new(file).unwrap()],
                environment: Vec::new(),
                directory: c"/".to_owned(),
                standard: [null.as_fd(); 3],
                terminal: false,
                cgroup: None,
                user: None,
                descriptors: None,
            };
            let (arguments, environment) =
                (pointers(&program.arguments), pointers(&program.environment));
            let standard = [null.as_raw_fd(); 3];
            let plan = Plan::new(&program, standard, &arguments, &environment);
            let stack = Stack::new().unwrap();
            let blocked = Blocked::new();
            let process = by_libc(&plan, &stack, None).unwrap();
            drop(blocked);
            assert_eq!(process.reap().unwrap().code, Some(code), "{file}");
            assert_eq!(plan.failure().is_some(), file == "/nothing");
        }
    }
}
