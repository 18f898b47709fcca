//! How a worker ended: the cause that everybody may read, and the words for the log.

use link::Cause;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// Ends of a worker that it announced itself: `shutdown_reason`, and the index in [`Cause::TIMERS`].
const ANNOUNCED: [(&str, u8); 5] = [
    ("startup_timeout", 0),
    ("deadlock_timeout", 4),
    ("request_timeout", 5),
    ("cpu_time_limit", 6),
    ("inactivity_timeout", 7),
];
const SHUTDOWN: u8 = 3;
const CPU_TIME: u8 = 6;
/// The exit code of a worker whose shutdown-timeout was over.
const TOO_LATE: i32 = 255;

/// How a process ended that the supervisor killed because of `killed`, that was to end for `reason` (and `is_leaving`), and
/// that the kernel may have killed for want of memory.
pub fn cause(
    status: WaitStatus,
    killed: Option<u8>,
    reason: Option<&str>,
    is_leaving: bool,
    memory_ran_out: impl Fn() -> bool,
) -> Cause {
    let announced = ANNOUNCED.iter().find(|(name, _)| Some(*name) == reason);
    if let Some(killed) = killed.filter(|_| status_is_kill(status)) {
        // The supervisor killed it because a timeout had expired: that timeout is the cause.
        let first = announced.filter(|_| killed == SHUTDOWN);
        return Cause::Timer(first.map_or(killed, |(_, timer)| *timer));
    }
    match status {
        WaitStatus::Exited(_, 0) => Cause::Exit(0),
        WaitStatus::Signaled(_, Signal::SIGKILL, _) if memory_ran_out() => Cause::OutOfMemory,
        WaitStatus::Signaled(_, Signal::SIGXCPU, _) => Cause::Timer(CPU_TIME),
        WaitStatus::Exited(..) | WaitStatus::Signaled(_, Signal::SIGKILL, _)
            if announced.is_some() =>
        {
            Cause::Timer(announced.map_or(0, |(_, timer)| *timer))
        }
        WaitStatus::Exited(_, TOO_LATE) if is_leaving => Cause::Timer(SHUTDOWN),
        WaitStatus::Exited(_, code) => Cause::Exit(code as u8),
        WaitStatus::Signaled(_, signal, _) => Cause::Signal(signal as u8),
        _ => Cause::Exit(255),
    }
}

fn status_is_kill(status: WaitStatus) -> bool {
    matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _))
}

/// As it stands in the log, after "the worker".
pub fn describe(cause: Cause) -> String {
    match cause {
        Cause::Exit(code) => format!("ended with exit code {code}"),
        Cause::Signal(number) => match Signal::try_from(i32::from(number)) {
            Ok(signal) => format!("was ended by {signal}"),
            Err(_) => format!("was ended by signal {number}"),
        },
        Cause::OutOfMemory => "was killed by the system, as memory had run out".to_owned(),
        Cause::Timer(timer) => {
            let name = Cause::TIMERS.get(usize::from(timer)).unwrap_or(&"some time");
            format!("was ended because its {name} was over")
        }
    }
}

/// How often the kernel has killed something because memory had run out: in the control group of this process, or in
/// the whole system where that cannot be told.
pub fn memory_kills() -> u64 {
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = group.lines().find_map(|line| line.strip_prefix("0::"));
    let events = path.map(|path| format!("/sys/fs/cgroup{path}/memory.events"));
    let events = events.and_then(|path| fs::read_to_string(path).ok());
    let counters = events.or_else(|| fs::read_to_string("/proc/vmstat").ok()).unwrap_or_default();
    counters
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or_default()
}

/// Whether it was this process that the kernel killed, as far as its log can be read. `None` if it cannot.
pub fn kernel_names(pid: u32) -> Option<bool> {
    let flags = nix::libc::O_NONBLOCK;
    let mut log = fs::OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg").ok()?;
    let named = format!("Killed process {pid} ");
    let mut record = [0; 8192];
    let mut found = false;
    loop {
        match log.read(&mut record) {
            Ok(0) => return Some(found),
            Ok(length) => found |= String::from_utf8_lossy(&record[..length]).contains(&named),
            // Records that were overwritten while they were read.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Some(found),
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Pid;

    #[test]
    fn each_end_has_a_cause() {
        let pid = Pid::from_raw(1);
        let signal = |signal| WaitStatus::Signaled(pid, signal, false);
        let of = |status, killed, reason| cause(status, killed, reason, false, || false);
        assert_eq!(of(WaitStatus::Exited(pid, 3), None, None), Cause::Exit(3));
        assert_eq!(of(signal(Signal::SIGSEGV), None, None), Cause::Signal(11));
        assert_eq!(of(signal(Signal::SIGKILL), Some(3), None), Cause::Timer(3));
        assert_eq!(of(signal(Signal::SIGKILL), None, None), Cause::Signal(9));
        assert_eq!(cause(signal(Signal::SIGKILL), None, None, false, || true), Cause::OutOfMemory);
        assert_eq!(of(signal(Signal::SIGXCPU), None, None), Cause::Timer(6));
        let late = Some("request_timeout");
        assert_eq!(of(WaitStatus::Exited(pid, 255), None, late), Cause::Timer(5));
        assert_eq!(of(signal(Signal::SIGKILL), Some(3), late), Cause::Timer(5));
        assert_eq!(of(signal(Signal::SIGKILL), Some(0), late), Cause::Timer(0));
        assert_eq!(of(signal(Signal::SIGKILL), Some(3), Some("graceful_signal")), Cause::Timer(3));
        assert_eq!(of(WaitStatus::Exited(pid, 0), None, late), Cause::Exit(0));
        assert_eq!(of(WaitStatus::Exited(pid, 255), None, None), Cause::Exit(255));
        let leaving = cause(WaitStatus::Exited(pid, 255), None, None, true, || false);
        assert_eq!(leaving, Cause::Timer(3));
        assert_eq!(of(signal(Signal::SIGABRT), None, late), Cause::Signal(6));
    }

    #[test]
    fn each_cause_has_words() {
        assert_eq!(describe(Cause::Signal(11)), "was ended by SIGSEGV");
        let text = "was ended because its shutdown-timeout was over";
        assert_eq!(describe(Cause::Timer(3)), text);
    }
}
