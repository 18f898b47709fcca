//! The start of a worker's process: what it inherits, its limits, and the user as which it runs. Between fork and exec the new process
//! sets these itself, and reports its steps and errors through a pipe. The supervisor does not wait for it, because a tenant can make
//! programs, working directories and the name service slow or hang.
#![expect(unsafe_code, reason = "forks; acts between fork and exec; foreign descriptors")]

use super::identity;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, Pid};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use wire::control::{Group, Identity};

/// What runs in the process before the engine does.
const BOOTSTRAP: &str = include_str!("worker.py");

/// What can fail between fork and exec.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Parent = 1,
    Priority,
    Chroot,
    Groups,
    Group,
    User,
    Verify,
    Home,
    CpuTime,
    Memory,
    VirtualMemory,
    Core,
    Streams,
    Name,
    Exec,
}

impl Step {
    const ALL: [(Step, &'static str); 15] = [
        (Step::Parent, "the supervisor has gone"),
        (Step::Priority, "cpu-priority could not be set"),
        (Step::Chroot, "chroot failed"),
        (Step::Groups, "the groups could not be set"),
        (Step::Group, "the group could not be set"),
        (Step::User, "the user could not be set"),
        (Step::Verify, "privileges were not dropped for good"),
        (Step::Home, "the working directory cannot be entered"),
        (Step::CpuTime, "cpu-time-limit could not be set"),
        (Step::Memory, "memory-limit could not be set"),
        (Step::VirtualMemory, "virtual-memory-limit could not be set"),
        (Step::Core, "core files could not be allowed"),
        (Step::Streams, "the standard streams could not be set"),
        (Step::Name, "the user has no name"),
        (Step::Exec, "the program could not be started"),
    ];

    /// The text for a step that can take any time.
    fn doing(self) -> &'static str {
        match self {
            Step::Chroot => "changing the root directory",
            Step::Home => "entering the working directory",
            Step::Name => "looking up the name of its user",
            Step::Exec => "starting the program",
            _ => "setting its limits and its user",
        }
    }

    /// The text for a step that failed.
    pub fn text(self) -> &'static str {
        Step::ALL.iter().find(|(step, _)| *step == self).map_or("", |(_, text)| text)
    }

    /// The worker runs even so.
    fn is_harmless(self) -> bool {
        use Step::{Core, CpuTime, Memory, Name, Priority, VirtualMemory};
        matches!(self, Priority | CpuTime | Memory | VirtualMemory | Core | Name)
    }
}

/// The reports of a process until it executes the program of a worker.
#[derive(Debug)]
pub struct Reports {
    pipe: File,
    bytes: Vec<u8>,
    program: Vec<u8>,
    home: Option<Vec<u8>>,
}

/// How the start of a process ended.
#[derive(Debug, Default)]
pub struct Started {
    /// Why it could not execute the program of a worker.
    pub failed: Option<String>,
    /// The limits that could not be set.
    pub warnings: Vec<String>,
}

impl Reports {
    /// Reads the reports that have arrived. `Some` when the process has executed its program or has ended.
    pub fn read(&mut self) -> Option<Started> {
        let mut buffer = [0; 512];
        loop {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return Some(self.started()),
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => {
                    let failed = Some(error.to_string());
                    return Some(Started { failed, ..Started::default() });
                }
            }
        }
    }

    /// The step that the process has reported last, for the log.
    pub fn doing(&self) -> String {
        let last = self.records().filter(|(_, error)| *error == 0).last();
        let (step, doing) =
            last.map_or((None, "beginning"), |(step, _)| (Some(step), step.doing()));
        match (step, &self.home) {
            (Some(Step::Home), Some(home)) => format!("{doing} ({})", super::log::show(home)),
            (Some(Step::Exec), _) => format!("{doing} ({})", super::log::show(&self.program)),
            _ => doing.to_owned(),
        }
    }

    fn records(&self) -> impl Iterator<Item = (Step, i32)> {
        self.bytes.chunks_exact(5).filter_map(|record| {
            let number = i32::from_le_bytes([record[1], record[2], record[3], record[4]]);
            let found = Step::ALL.iter().find(|(step, _)| *step as u8 == record[0]);
            found.map(|(step, _)| (*step, number))
        })
    }

    fn started(&self) -> Started {
        let mut started = Started::default();
        for (step, number) in self.records().filter(|(_, number)| *number != 0) {
            let text = Step::ALL.iter().find(|(known, _)| *known == step).map_or("", |it| it.1);
            let error = io::Error::from_raw_os_error(number);
            let text = match (step, &self.home) {
                (Step::Exec, _) => format!("{}: {error}", super::log::show(&self.program)),
                (Step::Home, Some(home)) => format!("{text} ({}): {error}", super::log::show(home)),
                _ => format!("{text}: {error}"),
            };
            if step.is_harmless() {
                started.warnings.push(text);
            } else {
                started.failed = Some(text);
            }
        }
        started
    }
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Starts a worker's process with one end of its channel and with `log` as its standard output and error. Returns at once; the process
/// may still have to wait for a file system.
///
/// # Errors
/// There are no more processes or descriptors.
pub fn spawn(
    group: &Group,
    channel: OwnedFd,
    log: BorrowedFd<'_>,
    mask: Mode,
    files: u64,
) -> io::Result<(Pid, Reports)> {
    let (reports, report) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reports, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let supervisor = Pid::this();
    let mask = group.umask.map_or(mask, Mode::from_bits_truncate);
    // SAFETY: this process has one thread, so the new one may do whatever this one may.
    match unsafe { nix::unistd::fork()? } {
        ForkResult::Parent { child } => {
            let (program, home) = (group.program.clone(), group.home.clone());
            Ok((child, Reports { pipe: File::from(reports), bytes: Vec::new(), program, home }))
        }
        ForkResult::Child => {
            let become_worker = || {
                let report = take_streams(channel.as_fd(), log, report)?;
                Before { group, mask, files, supervisor, report }.run()
            };
            let _failed = catch_unwind(AssertUnwindSafe(become_worker));
            // SAFETY: ends the process at once. Its memory is a copy, so the parent is not affected.
            unsafe { nix::libc::_exit(255) }
        }
    }
}

/// For how long a process keeps a socket that [`close_elsewhere`] has given it. Processes that were started shortly before have it, too,
/// until they have closed what they inherited, and must not be the last to close it.
const KEPT: Duration = Duration::from_secs(20);

/// Closes a socket in which a worker has left something: a process of its own does, because closing descriptors that are on
/// their way can take as long as their sender likes. (The end of a process does not wait for sockets that linger.)
pub fn close_elsewhere(socket: OwnedFd) {
    let Ok((gate, held)) = nix::unistd::pipe2(OFlag::O_CLOEXEC) else {
        return std::mem::forget(socket);
    };
    // SAFETY: this process has one thread, so the new one may do whatever this one may.
    match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Parent { .. }) => {
            drop(socket);
            // The other process holds the last descriptor, and may end now.
            drop(held);
        }
        Ok(ForkResult::Child) => {
            let taken = nix::unistd::dup2_stdin(&gate);
            let taken = taken.and_then(|()| nix::unistd::dup2_stdout(&socket));
            if taken.is_ok() {
                close_all_from(2);
                let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
                let _ = io::stdin().read(&mut [0]);
                std::thread::sleep(KEPT);
            }
            // SAFETY: ends the process at once, and with it its descriptors.
            unsafe { nix::libc::_exit(0) }
        }
        // It stays open: that harms less than waiting.
        Err(_) => std::mem::forget(socket),
    }
}

/// Makes these the standard streams of this process, and closes all other descriptors but the one for reports: a process
/// that hangs before it has become another program must hold nothing of the supervisor's.
fn take_streams(channel: BorrowedFd<'_>, log: BorrowedFd<'_>, report: OwnedFd) -> io::Result<File> {
    const REPORT: i32 = 3;
    let taken = nix::unistd::dup2_stdin(channel)
        .and_then(|()| nix::unistd::dup2_stdout(log))
        .and_then(|()| nix::unistd::dup2_stderr(log));
    if let Err(error) = taken {
        tell(&File::from(report), Step::Streams, error);
        return Err(error.into());
    }
    if report.as_raw_fd() != REPORT {
        // SAFETY: nothing in this process uses the descriptor that had this number any more.
        if unsafe { nix::libc::dup3(report.as_raw_fd(), REPORT, nix::libc::O_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    std::mem::forget(report);
    close_all_from(REPORT + 1);
    // SAFETY: made above, and known to nothing else in this process.
    Ok(unsafe { File::from_raw_fd(REPORT) })
}

fn tell(report: &File, step: Step, error: Errno) {
    let mut record = vec![step as u8];
    record.extend((error as i32).to_le_bytes());
    let mut report = report;
    let _ = report.write_all(&record);
}

/// The arguments of the program, from its name on.
fn arguments(group: &Group) -> Vec<Vec<u8>> {
    let title = group
        .display_name
        .clone()
        .unwrap_or_else(|| [&group.program, &b" (wsgi:"[..], &group.name, &b")"[..]].concat());
    let mut arguments = vec![group.program.clone()];
    arguments.extend(group.arguments.iter().cloned());
    arguments.extend([b"-c".to_vec(), BOOTSTRAP.into(), group.engine.clone(), title]);
    arguments
}

/// The environment of the program: that of this process, with the names of the user as which it runs and the group's changes.
fn environment(group: &Group, user: Option<(OsString, OsString)>) -> Vec<Vec<u8>> {
    let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let mut all: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    if let Some((name, home)) = user {
        all.insert("HOME".into(), home);
        for variable in ["USER", "LOGNAME", "USERNAME"] {
            if let Some(value) = all.get_mut(OsStr::new(variable)) {
                value.clone_from(&name);
            }
        }
    }
    for (name, value) in &group.environment {
        match value {
            Some(value) => drop(all.insert(text(name), text(value))),
            None => drop(all.remove(OsStr::from_bytes(name))),
        }
    }
    all.iter().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()).collect()
}

/// What is done between fork and exec.
struct Before<'g> {
    group: &'g Group,
    mask: Mode,
    files: u64,
    supervisor: Pid,
    report: File,
}

impl Before<'_> {
    /// Executes the program of the worker, or reports why it cannot.
    fn run(&self) -> io::Result<Infallible> {
        self.steps().map_err(|(step, error)| {
            self.tell(step, error);
            io::Error::from(error)
        })
    }

    fn tell(&self, step: Step, error: Errno) {
        tell(&self.report, step, error);
    }

    /// Reports that a step begins that can take any time.
    fn begin(&self, step: Step) {
        self.tell(step, Errno::from_raw(0));
    }

    /// A step without which the worker runs as well.
    fn try_step(&self, step: Step, result: nix::Result<()>) {
        if let Err(error) = result {
            self.tell(step, error);
        }
    }

    fn steps(&self) -> Result<Infallible, (Step, Errno)> {
        let group = self.group;
        reset_signals();
        if group.cpu_priority != 0 {
            let done = rustix::process::setpriority_process(None, group.cpu_priority);
            self.try_step(Step::Priority, done.map_err(of_rustix));
        }
        if let Some(jail) = &group.chroot {
            self.begin(Step::Chroot);
            nix::unistd::chroot(jail.as_slice()).map_err(|error| (Step::Chroot, error))?;
            nix::unistd::chdir("/").map_err(|error| (Step::Chroot, error))?;
        }
        let identity = group.identity.as_ref().filter(|_| nix::unistd::geteuid().is_root());
        if let Some(identity) = identity {
            identity::assume(identity)?;
        }
        self.enter_home(group, identity)?;
        umask(self.mask);
        self.limit(group);
        // Set after the change of user, which resets it. A worker that is ready clears it again, because it must finish its requests
        // when the supervisor dies; it then ends by itself.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| (Step::Parent, error))?;
        if nix::unistd::getppid() != self.supervisor {
            return Err((Step::Parent, Errno::ESRCH));
        }
        let environment = environment(group, self.user(identity));
        self.begin(Step::Exec);
        execute(&arguments(group), &environment).map_err(|error| (Step::Exec, error))
    }

    /// Name and home directory of the user that the worker runs as.
    fn user(&self, identity: Option<&Identity>) -> Option<(OsString, OsString)> {
        let text = OsStr::from_bytes;
        if let Some(identity) = identity {
            return Some((text(&identity.name).to_owned(), text(&identity.home).to_owned()));
        }
        self.begin(Step::Name);
        let found = nix::unistd::User::from_uid(nix::unistd::geteuid());
        found.ok().flatten().map(|user| (user.name.into(), user.dir.into()))
    }

    /// A directory that is named must be there. The home of a user need not (`nobody` has none): then it is the root.
    fn enter_home(&self, group: &Group, identity: Option<&Identity>) -> Result<(), (Step, Errno)> {
        self.begin(Step::Home);
        if let Some(home) = &group.home {
            return nix::unistd::chdir(home.as_slice()).map_err(|error| (Step::Home, error));
        }
        if let Some(identity) = identity.filter(|identity| identity.is_other) {
            if nix::unistd::chdir(identity.home.as_slice()).is_err() {
                nix::unistd::chdir("/").map_err(|error| (Step::Home, error))?;
            }
        }
        Ok(())
    }

    fn limit(&self, group: &Group) {
        if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
            // Connections of the server's children shall leave the application as many as it would have without them.
            let soft = self.files.saturating_add(link::Page::SLOTS.into()).min(hard);
            let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
        }
        if group.cpu_time_limit > 0 {
            let soft = group.cpu_time_limit;
            let hard = soft + 1 + u64::from(group.shutdown_timeout);
            self.try_step(Step::CpuTime, setrlimit(Resource::RLIMIT_CPU, soft, hard));
        }
        for (step, resource, most) in [
            (Step::Memory, Resource::RLIMIT_DATA, group.memory_limit),
            (Step::VirtualMemory, Resource::RLIMIT_AS, group.virtual_memory_limit),
        ] {
            if most > 0 {
                self.try_step(step, setrlimit(resource, most, most));
            }
        }
        let core = getrlimit(Resource::RLIMIT_CORE).and_then(|(_, hard)| {
            let soft = if group.dumpable { hard } else { 0 };
            setrlimit(Resource::RLIMIT_CORE, soft, hard)
        });
        self.try_step(Step::Core, core);
    }
}

/// Executes a program. Returns only if that fails.
fn execute(arguments: &[Vec<u8>], environment: &[Vec<u8>]) -> nix::Result<Infallible> {
    let text = |all: &[Vec<u8>]| all.iter().map(|it| CString::new(it.as_slice())).collect();
    let text = |all: &[Vec<u8>]| -> nix::Result<Vec<CString>> {
        let texts: Result<Vec<CString>, _> = text(all);
        texts.map_err(|_| Errno::EINVAL)
    };
    let (arguments, environment) = (text(arguments)?, text(environment)?);
    nix::unistd::execvpe(&arguments[0], &arguments, &environment)
}

fn of_rustix(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// What the server ignores and what this process waits for is no concern of the worker.
fn reset_signals() {
    for signal in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: the default is no handler of ours.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
    }
    let _ = SigSet::empty().thread_set_mask();
}

/// Closes what this process has inherited besides the standard descriptors: a socket of the server, say, that would keep
/// its port after it has gone. To be called before anything is opened.
pub fn close_inherited() {
    close_all_from(3);
}

/// Closes all descriptors from this number on. Nothing in this process may use any of them afterwards.
fn close_all_from(first: i32) {
    let from = first.unsigned_abs();
    // SAFETY: as documented above, nothing in this process uses them afterwards.
    let done = unsafe { nix::libc::syscall(nix::libc::SYS_close_range, from, u32::MAX, 0) };
    if done != 0 {
        for descriptor in first..4096 {
            // SAFETY: as above.
            unsafe { nix::libc::close(descriptor) };
        }
    }
}

/// Lets this process, which holds two files for each worker, open as many as may be. How many it could before, as its
/// workers shall.
pub fn open_many_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    soft
}

/// A descriptor that this process was started with.
pub fn standard(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: standard descriptors are open, or were opened to /dev/null by Rust's start, and stay open.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned()
}
