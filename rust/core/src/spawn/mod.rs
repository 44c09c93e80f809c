//! Starting a program: on a borrowed address space, into a session and a cgroup of its own.
//!
//! Belongs here: what a start needs, made ready before the clone, and the order of the steps.
//! Banned here: `fork` (its cost grows with the server's memory: 5 ms at 80 MB, 11 at 200, where
//! this takes 0.9 at both), looking a program up in `PATH`, waiting (`pidfd`).
//! Source: design, section 3, "Processes".

mod child;
mod clone;

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::pidfd::Process;

/// The step of a start that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Step {
    /// Before there was a child: memory, processes or descriptors were wanting.
    Clone = 0,
    /// A session of its own, or its terminal.
    Session = 1,
    /// Standard input, output, error.
    Descriptors = 2,
    /// The limits given back.
    Limits = 3,
    /// Groups and user.
    User = 4,
    /// The working directory.
    Directory = 5,
    /// The program itself.
    Exec = 6,
}

impl Step {
    /// The step's word, as Python sees it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::Session => "session",
            Self::Descriptors => "descriptors",
            Self::Limits => "limits",
            Self::User => "user",
            Self::Directory => "directory",
            Self::Exec => "exec",
        }
    }
}

/// Why a program was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unstarted {
    /// Where it failed.
    pub step: Step,
    /// Why.
    pub errno: Errno,
}

/// Whom the program runs as.
#[derive(Clone, Debug)]
pub struct User {
    /// Real, effective and saved user.
    pub uid: u32,
    /// Real, effective and saved group.
    pub gid: u32,
    /// Supplementary groups, the whole list.
    pub groups: Vec<u32>,
}

/// A program to start. Nothing of the server reaches it but what stands here.
#[derive(Debug)]
pub struct Program<'a> {
    /// The file to execute; a relative one is found from `directory`.
    pub file: CString,
    /// Its arguments, the zeroth too.
    pub arguments: Vec<CString>,
    /// `NAME=value`, all of it.
    pub environment: Vec<CString>,
    /// Where it starts.
    pub directory: CString,
    /// Descriptors 0, 1 and 2.
    pub standard: [BorrowedFd<'a>; 3],
    /// Whether descriptor 0 is a terminal that becomes the session's own.
    pub terminal: bool,
    /// A directory of cgroup v2 to start in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Somebody else to run as.
    pub user: Option<User>,
    /// `RLIMIT_NOFILE`, soft and hard, where the server's own must not be inherited.
    pub descriptors: Option<(u64, u64)>,
}

/// Starts a program and does not wait for it.
///
/// The calling thread stands still until the program runs or has failed to; others go on.
///
/// # Errors
/// The step that failed. There is then no child, not even a dead one.
pub fn spawn(program: &Program<'_>) -> Result<Process, Unstarted> {
    let standard = Standard::above(&program.standard).map_err(|errno| Unstarted {
        step: Step::Clone,
        errno,
    })?;
    let arguments = pointers(&program.arguments);
    let environment = pointers(&program.environment);
    let plan = child::Plan::new(program, standard.numbers(), &arguments, &environment);
    let process = clone::clone(&plan, program.cgroup).map_err(|errno| Unstarted {
        step: Step::Clone,
        errno,
    })?;
    match plan.failure() {
        None => Ok(process),
        Some(unstarted) => {
            // It has exited already: this takes its place in the process table away.
            let _ = process.reap();
            Err(unstarted)
        }
    }
}

/// The three descriptors, none of them below 3, where the child's `dup2` would tread on them.
struct Standard<'a> {
    given: [BorrowedFd<'a>; 3],
    moved: [Option<OwnedFd>; 3],
}

impl<'a> Standard<'a> {
    fn above(given: &[BorrowedFd<'a>; 3]) -> rustix::io::Result<Self> {
        let mut moved = [None, None, None];
        for (slot, one) in moved.iter_mut().zip(given) {
            if one.as_raw_fd() < 3 {
                *slot = Some(fcntl_dupfd_cloexec(one, 3)?);
            }
        }
        Ok(Self {
            given: *given,
            moved,
        })
    }

    fn numbers(&self) -> [RawFd; 3] {
        let number = |index: usize| match &self.moved[index] {
            Some(moved) => moved.as_raw_fd(),
            None => self.given[index].as_raw_fd(),
        };
        [number(0), number(1), number(2)]
    }
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    let ends = std::iter::once(ptr::null());
    texts
        .iter()
        .map(|text| CStr::as_ptr(text))
        .chain(ends)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    use crate::pidfd::Ended;
    use rustix::pipe::{PipeFlags, pipe_with};

    fn text(one: &str) -> CString {
        CString::new(one).unwrap()
    }

    fn run(
        words: &[&str],
        change: impl FnOnce(&mut Program<'_>),
    ) -> Result<(Ended, String), Unstarted> {
        let null = File::open("/dev/null").unwrap();
        let (mut reader, writer) = {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            (File::from(reader), writer)
        };
        let mut program = Program {
            file: text(words[0]),
            arguments: words.iter().map(|one| text(one)).collect(),
            environment: vec![text("A=b"), text("PATH=/usr/bin:/bin")],
            directory: text("/"),
            standard: [null.as_fd(), writer.as_fd(), writer.as_fd()],
            terminal: false,
            cgroup: None,
            user: None,
            descriptors: None,
        };
        change(&mut program);
        let process = spawn(&program);
        drop(program);
        drop(writer);
        let process = process?;
        let mut told = String::new();
        reader.read_to_string(&mut told).unwrap();
        Ok((process.reap().unwrap(), told))
    }

    #[test]
    fn children_get_what_was_given_and_nothing_else() {
        let cases: [(&[&str], i32, &str); 7] = [
            (&["/bin/true"], 0, ""),
            (&["/bin/false"], 1, ""),
            (&["/bin/sh", "-c", "echo $A; pwd; exit 7"], 7, "b\n/\n"),
            (
                &["/bin/sh", "-c", "ls -l /proc/self/fd | wc -l"],
                0,
                // total, 0, 1, 2, and the directory that ls reads.
                "5\n",
            ),
            (
                &["/bin/sh", "-c", "grep SigBlk /proc/self/status"],
                0,
                "SigBlk:\t0000000000000000\n",
            ),
            (
                &["/bin/sh", "-c", "grep SigIgn /proc/self/status"],
                0,
                "SigIgn:\t0000000000000000\n",
            ),
            (&["/bin/echo", "a  b", "", "ä"], 0, "a  b  ä\n"),
        ];
        for (words, code, wanted) in cases {
            let (ended, told) = run(words, |_| {}).unwrap();
            assert_eq!(
                (ended.code, told.as_str()),
                (Some(code), wanted),
                "{words:?}"
            );
        }
    }

    #[test]
    fn a_signal_ends_it_by_number() {
        let (ended, _) = run(&["/bin/sh", "-c", "kill -9 $$"], |_| {}).unwrap();
        assert_eq!((ended.code, ended.signal), (None, Some(9)));
    }

    #[test]
    fn it_leads_a_session() {
        let script = "read -r pid comm state ppid pgrp session rest < /proc/self/stat; \
                      test $$ = $session && test $$ = $pgrp && echo leads";
        let (ended, told) = run(&["/bin/bash", "-c", script], |_| {}).unwrap();
        assert_eq!((ended.code, told.as_str()), (Some(0), "leads\n"));
    }

    #[test]
    fn a_terminal_becomes_the_sessions_own() {
        let (master, slave) = terminal();
        let script = "tty; : < /dev/tty && echo controls; cat <&0 >/dev/null; echo end";
        let words = ["/bin/sh", "-c", script];
        let started = spawn(&Program {
            file: text(words[0]),
            arguments: words.iter().map(|one| text(one)).collect(),
            environment: vec![text("PATH=/usr/bin:/bin")],
            directory: text("/"),
            standard: [slave.as_fd(); 3],
            terminal: true,
            cgroup: None,
            user: None,
            descriptors: None,
        });
        drop(slave);
        let process = started.unwrap();
        let mut master = File::from(master);
        let mut told = Vec::new();
        let mut piece = [0; 256];
        let mut has_answered = false;
        // The terminal reports an error, not an end, once its last user has gone.
        while let Ok(count) = master.read(&mut piece) {
            told.extend_from_slice(&piece[..count]);
            if !has_answered && told.ends_with(b"controls\r\n") {
                has_answered = true;
                std::io::Write::write_all(&mut master, b"\x04").unwrap();
            }
        }
        assert_eq!(process.reap().unwrap().code, Some(0));
        let told = String::from_utf8(told).unwrap();
        assert!(told.starts_with("/dev/pts/"), "{told}");
        assert!(told.ends_with("controls\r\nend\r\n"), "{told}");
    }

    fn terminal() -> (OwnedFd, OwnedFd) {
        use std::os::fd::FromRawFd;
        // SAFETY: each call is given what the one before it made; the name is of this thread.
        unsafe {
            let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
            assert!(master >= 0 && libc::grantpt(master) == 0 && libc::unlockpt(master) == 0);
            let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
            let slave = libc::open(libc::ptsname(master), flags);
            assert!(slave >= 0);
            (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
        }
    }

    #[test]
    fn limits_are_given_back() {
        let (_, told) = run(&["/bin/sh", "-c", "ulimit -n; ulimit -Hn"], |program| {
            program.descriptors = Some((123, 456));
        })
        .unwrap();
        assert_eq!(told, "123\n456\n");
    }

    #[test]
    fn what_cannot_be_started_says_at_which_step() {
        let cases: [(&str, &str, Step, Errno); 5] = [
            ("/nothing", "/", Step::Exec, Errno::NOENT),
            ("/etc/passwd", "/", Step::Exec, Errno::ACCESS),
            ("/etc", "/", Step::Exec, Errno::ACCESS),
            ("/bin/true", "/nothing", Step::Directory, Errno::NOENT),
            ("/bin/true", "/etc/passwd", Step::Directory, Errno::NOTDIR),
        ];
        for (file, directory, step, errno) in cases {
            let failed = run(&[file], |program| program.directory = text(directory));
            assert_eq!(
                failed,
                Err(Unstarted { step, errno }),
                "{file} in {directory}"
            );
        }
    }

    #[test]
    fn a_start_that_failed_leaves_no_child() {
        let before = children();
        for _ in 0..20 {
            assert!(run(&["/nothing"], |_| {}).is_err());
        }
        assert!(children() <= before + 4, "other tests have a few");
    }

    fn children() -> usize {
        let mut found = 0;
        for task in std::fs::read_dir("/proc/self/task").unwrap() {
            let path = task.unwrap().path().join("children");
            found += std::fs::read_to_string(path)
                .unwrap_or_default()
                .split_whitespace()
                .count();
        }
        found
    }
}
