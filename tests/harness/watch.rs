//! What is looked at after every server, whatever the test was about: crash lines in the log, processes that stayed,
//! files that stayed open.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable by which the processes of a server are known, also those that left its process group.
pub const MARK: &str = "RUSTGI_TEST_SERVER";

/// What no log may hold.
const CRASHES: &[&str] = &[
    "exit signal",
    "was ended by SIGABRT",
    "was ended by SIGBUS",
    "was ended by SIGILL",
    "was ended by SIGSEGV",
    "as memory had run out",
    "Segmentation fault",
    "core dumped",
    "AH00045",
    "AH00046",
    "AH00047",
    "AH00051",
    "AH00052",
    "panicked at",
    "WSGI1010",
    "Fatal Python error",
    "Py_FatalError",
    "Assertion `",
    "stack smashing",
    "corrupted",
    "double free",
    "free(): ",
    "malloc(): ",
    "realloc(): ",
    "munmap_chunk",
    "terminate called",
    "AddressSanitizer",
    "symbol lookup error",
];

/// Lines of a log that tell of a crash and are not expected.
pub fn crash_lines<'a>(log: &'a str, expected: &[String]) -> Vec<&'a str> {
    log.lines()
        .filter(|line| CRASHES.iter().any(|crash| line.contains(crash)))
        // A worker that was told to leave before it had learnt how.
        .filter(|line| !(line.contains("[wsgi:info]") && line.contains("was ended by SIGTERM")))
        .filter(|line| !expected.iter().any(|text| line.contains(text)))
        .collect()
}

/// Where the threads of a crashed process stood, if it left its memory in this directory and there is a gdb.
pub fn stacks(program: &Path, directory: &Path) -> String {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let core = entries.map(|entry| entry.path()).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core"))
    });
    core.map_or(String::new(), |core| backtraces(&[program, &core]))
}

/// Where the threads of these processes stand right now.
pub fn stacks_of(processes: &[i32]) -> String {
    let of = |pid: &i32| backtraces(&[Path::new("-p"), Path::new(&pid.to_string())]);
    processes.iter().map(of).collect()
}

fn backtraces(whose: &[&Path]) -> String {
    let asked = Command::new("gdb")
        .args(["-batch", "-ex", "thread apply all backtrace 25"])
        .args(whose)
        .output();
    let said =
        asked.map_or(String::new(), |asked| String::from_utf8_lossy(&asked.stdout).into_owned());
    said.lines().filter(|line| line.starts_with(['T', '#'])).collect::<Vec<_>>().join("\n")
}

/// Numbers of the processes that carry this mark.
pub fn processes(mark: &str) -> Vec<i32> {
    let wanted = format!("{MARK}={mark}");
    numbers_in_proc()
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&b| b == 0).any(|entry| entry == wanted.as_bytes())
                && !is_zombie(*pid)
        })
        .collect()
}

/// The children of a process.
pub fn children(parent: i32) -> Vec<i32> {
    numbers_in_proc().filter(|pid| stat_field(*pid, 1) == Some(parent.to_string())).collect()
}

/// Whether a process is the one that watches the workers of daemon groups.
pub fn is_supervisor(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "rustgi")
}

/// The command line of a process, for a message.
pub fn command_line(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// Resident memory of a process in KiB.
pub fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0)
}

/// How many connections to this port the server's side has not closed yet.
pub fn connections(port: u16) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let local = format!(":{port:04X}");
    let open = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let ours = fields.next().is_some_and(|address| address.ends_with(&local));
        // Neither TIME_WAIT, which is the kernel's own, nor LISTEN.
        ours && !matches!(fields.nth(1), Some("06" | "0A"))
    };
    table.lines().filter(open).count()
}

/// The numbers of the sockets on this machine that lead to another process of it, such as a worker.
fn local_sockets() -> HashSet<String> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    table.lines().filter_map(|line| line.split_whitespace().nth(6)).map(str::to_owned).collect()
}

/// What a process has open, by kind: every regular file by its path, sockets of the network and pipes by their number. The
/// pages that children share with workers come with the first connection between two of them, whenever that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenFiles {
    pub files: BTreeMap<PathBuf, usize>,
    pub sockets: usize,
    pub pipes: usize,
}

impl OpenFiles {
    pub fn of(pid: i32) -> Option<OpenFiles> {
        let mut open = OpenFiles::default();
        let local = local_sockets();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()? {
            let Ok(target) = fs::read_link(entry.ok()?.path()) else { continue };
            let name = target.to_string_lossy();
            if let Some(number) = name.strip_prefix("socket:[") {
                open.sockets += usize::from(!local.contains(number.trim_end_matches(']')));
            } else if name.starts_with("pipe:") {
                open.pipes += 1;
            } else if name.starts_with('/')
                && !name.starts_with("/dev/")
                && !name.starts_with("/memfd:rustgi-page")
            {
                *open.files.entry(target).or_default() += 1;
            }
        }
        Some(open)
    }

    /// What is open now that was not open `before`; `None` if that is nothing.
    pub fn more_than(&self, before: &OpenFiles) -> Option<String> {
        let mut more: Vec<String> = self
            .files
            .iter()
            .filter(|(path, count)| **count > before.files.get(*path).copied().unwrap_or(0))
            .map(|(path, count)| format!("{} ({count} times)", path.display()))
            .collect();
        if self.sockets > before.sockets {
            more.push(format!("{} sockets, were {}", self.sockets, before.sockets));
        }
        // A listener's poll set may get its own pipe a little after the first answer.
        if self.pipes > before.pipes + 2 {
            more.push(format!("{} pipes, were {}", self.pipes, before.pipes));
        }
        (!more.is_empty()).then(|| more.join(", "))
    }
}

fn numbers_in_proc() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn is_zombie(pid: i32) -> bool {
    stat_field(pid, 0).is_none_or(|state| state == "Z")
}

/// Whether a thread of a process has, or would have, something to do.
pub fn is_running(pid: i32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut states = tasks.filter_map(|task| field(&task.path().join("stat"), 0));
    states.any(|state| state == "R" || state == "D")
}

/// A field of `/proc/PID/stat` after the name: 0 is the state, 1 the parent.
fn stat_field(pid: i32, index: usize) -> Option<String> {
    field(Path::new(&format!("/proc/{pid}/stat")), index)
}

fn field(stat: &Path, index: usize) -> Option<String> {
    let stat = fs::read_to_string(stat).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(index).map(str::to_owned)
}
