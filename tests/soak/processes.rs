//! Processes as `/proc` shows them. A process is identified by its pid and the time of its start, because pids are reused.

use std::fs;

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub pid: i32,
    start: u64,
}

impl Process {
    pub fn of(pid: i32) -> Option<Process> {
        Some(Process { pid, start: stat(pid, 19)? })
    }

    /// Whether it still runs.
    pub fn is_there(self) -> bool {
        Process::of(self.pid) == Some(self)
    }

    /// Seconds since its start.
    pub fn age(self) -> f64 {
        const TICKS: f64 = 100.0;
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime: f64 = uptime.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0.0);
        uptime - self.start as f64 / TICKS
    }

    /// Whether its command line holds this text.
    pub fn is_called(self, text: &str) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    }

    /// The user that it runs as.
    pub fn user(self) -> Option<u32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

/// A number of `/proc/PID/stat` after the name: 1 is the parent, 19 the time of the start.
fn stat(pid: i32, index: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(index)?.parse().ok()
}

/// The children of a process.
pub fn children(parent: i32) -> Vec<Process> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid, 1) == u64::try_from(parent).ok())
        .filter_map(Process::of)
        .collect()
}

/// The supervisor among the children of httpd's parent.
pub fn supervisor(parent: i32) -> Option<Process> {
    children(parent).into_iter().find(|process| {
        let name = fs::read_to_string(format!("/proc/{}/comm", process.pid)).unwrap_or_default();
        name.trim_end() == "rustgi"
    })
}

/// The workers of a httpd, including those that are leaving.
pub fn workers(parent: i32) -> Vec<Process> {
    supervisor(parent).map(|supervisor| children(supervisor.pid)).unwrap_or_default()
}
