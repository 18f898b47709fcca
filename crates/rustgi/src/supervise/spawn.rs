//! The start of a worker's process: what it inherits, what it may do, whom it runs as. Between fork and exec the new
//! process does what only it can do, and reports through a pipe what went wrong.
#![expect(unsafe_code, reason = "a closure runs between fork and exec; foreign descriptors")]

use super::identity;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
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
}

impl Step {
    const ALL: [(Step, &'static str); 12] = [
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
    ];

    /// What failed.
    pub fn text(self) -> &'static str {
        Step::ALL.iter().find(|(step, _)| *step == self).map_or("", |(_, text)| text)
    }

    /// The worker runs even so.
    fn is_harmless(self) -> bool {
        use Step::{Core, CpuTime, Memory, Priority, VirtualMemory};
        matches!(self, Priority | CpuTime | Memory | VirtualMemory | Core)
    }
}

/// A process that was started, or was not.
pub struct Spawned {
    /// The process, or why there is none.
    pub child: Result<Child, String>,
    /// What it has to do without.
    pub warnings: Vec<String>,
}

/// Starts a worker with one end of its channel; what it writes goes to `log`.
pub fn spawn(group: &Group, channel: OwnedFd, log: &OwnedFd, mask: Mode, files: u64) -> Spawned {
    match start(group, channel, log, mask, files) {
        Ok(spawned) => spawned,
        Err(error) => Spawned { child: Err(error.to_string()), warnings: Vec::new() },
    }
}

fn start(
    group: &Group,
    channel: OwnedFd,
    log: &OwnedFd,
    mask: Mode,
    files: u64,
) -> io::Result<Spawned> {
    let (reports, report) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let (mut reports, report) = (File::from(reports), File::from(report));
    let mut command = command(group);
    command.stdin(channel).stdout(log.try_clone()?).stderr(log.try_clone()?);
    let before = Before {
        group: group.clone(),
        mask: group.umask.map_or(mask, Mode::from_bits_truncate),
        files,
        supervisor: Pid::this(),
        report,
    };
    // SAFETY: this process has one thread, so the new one may do whatever this one may.
    unsafe { command.pre_exec(move || before.run()) };
    let child = command.spawn();
    // The writing end goes with the command; without it the pipe has an end.
    drop(command);
    let mut bytes = Vec::new();
    reports.read_to_end(&mut bytes)?;
    let mut warnings = Vec::new();
    let mut fatal = None;
    for record in bytes.chunks_exact(5) {
        let number = i32::from_le_bytes([record[1], record[2], record[3], record[4]]);
        let found = Step::ALL.iter().find(|(step, _)| *step as u8 == record[0]);
        let Some((step, text)) = found else { continue };
        let which = match &group.home {
            Some(home) if matches!(step, Step::Home) => format!(" ({})", super::log::show(home)),
            _ => String::new(),
        };
        let text = format!("{text}{which}: {}", io::Error::from_raw_os_error(number));
        if step.is_harmless() { warnings.push(text) } else { fatal = Some(text) }
    }
    let program = super::log::show(&group.program);
    let child = child.map_err(|error| fatal.unwrap_or_else(|| format!("{program}: {error}")));
    Ok(Spawned { child, warnings })
}

fn command(group: &Group) -> Command {
    let text = OsStr::from_bytes;
    let mut command = Command::new(text(&group.program));
    command.args(group.arguments.iter().map(|argument| text(argument)));
    let title = group
        .display_name
        .clone()
        .unwrap_or_else(|| [&group.program, &b" (wsgi:"[..], &group.name, &b")"[..]].concat());
    command.arg("-c").arg(BOOTSTRAP).arg(text(&group.engine)).arg(text(&title));
    let home = match &group.identity {
        Some(identity) if nix::unistd::geteuid().is_root() => {
            Some((OsString::from(text(&identity.name)), OsString::from(text(&identity.home))))
        }
        _ => nix::unistd::User::from_uid(nix::unistd::geteuid())
            .ok()
            .flatten()
            .map(|user| (user.name.into(), user.dir.into())),
    };
    if let Some((name, home)) = home {
        command.env("HOME", home);
        for variable in ["USER", "LOGNAME", "USERNAME"] {
            if std::env::var_os(variable).is_some() {
                command.env(variable, &name);
            }
        }
    }
    for (name, value) in &group.environment {
        match value {
            Some(value) => command.env(text(name), text(value)),
            None => command.env_remove(text(name)),
        };
    }
    command
}

/// What is done between fork and exec.
struct Before {
    group: Group,
    mask: Mode,
    files: u64,
    supervisor: Pid,
    report: File,
}

impl Before {
    fn run(&self) -> io::Result<()> {
        self.steps().map_err(|(step, error)| {
            self.tell(step, error);
            io::Error::from(error)
        })
    }

    fn tell(&self, step: Step, error: Errno) {
        let mut record = vec![step as u8];
        record.extend((error as i32).to_le_bytes());
        let _ = (&self.report).write_all(&record);
    }

    /// A step without which the worker runs as well.
    fn try_step(&self, step: Step, result: nix::Result<()>) {
        if let Err(error) = result {
            self.tell(step, error);
        }
    }

    fn steps(&self) -> Result<(), (Step, Errno)> {
        let group = &self.group;
        reset_signals();
        if group.cpu_priority != 0 {
            let done = rustix::process::setpriority_process(None, group.cpu_priority);
            self.try_step(Step::Priority, done.map_err(of_rustix));
        }
        if let Some(jail) = &group.chroot {
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
        // Only now: a change of the user undoes it. No worker outlives a supervisor that was killed.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| (Step::Parent, error))?;
        if nix::unistd::getppid() != self.supervisor {
            return Err((Step::Parent, Errno::ESRCH));
        }
        close_others_on_exec();
        Ok(())
    }

    /// A directory that is named must be there. The home of a user need not (`nobody` has none): then it is the root.
    fn enter_home(&self, group: &Group, identity: Option<&Identity>) -> Result<(), (Step, Errno)> {
        if let Some(home) = &group.home {
            return nix::unistd::chdir(home.as_slice()).map_err(|error| (Step::Home, error));
        }
        if let Some(identity) = identity.filter(|identity| identity.is_other) {
            if let Err(error) = nix::unistd::chdir(identity.home.as_slice()) {
                self.try_step(Step::Home, Err(error));
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

/// Whatever descriptors this process has besides the standard ones, the next program shall not have.
fn close_others_on_exec() {
    const CLOEXEC: u32 = nix::libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: no memory is concerned.
    let done = unsafe { nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, CLOEXEC) };
    if done != 0 {
        for descriptor in 3..4096 {
            // SAFETY: no memory is concerned; the descriptor need not be open.
            unsafe { nix::libc::fcntl(descriptor, nix::libc::F_SETFD, nix::libc::FD_CLOEXEC) };
        }
    }
}

/// Closes what this process has inherited besides the standard descriptors: a socket of the server, say, that would keep
/// its port after it has gone. To be called before anything is opened.
pub fn close_inherited() {
    // SAFETY: nobody has opened anything yet, so nobody owns what is closed.
    let done = unsafe { nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, 0) };
    if done != 0 {
        for descriptor in 3..4096 {
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
