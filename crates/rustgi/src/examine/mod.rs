//! `rustgi examine`: finds out which Pythons can be run, and how. httpd's parent and the supervisor start it. Neither of them looks up
//! the files or runs the interpreter itself, because the user of the group controls both and can make both take any time.
//!
//! | process | what it does | file |
//! |---|---|---|
//! | collector | runs as the user that started it; starts one process for each examination, all at the same time, and writes their results to its standard output; at the deadline, or when the other end of its standard output is closed, kills the processes that are left | `mod.rs` |
//! | examiner | becomes the user of the group, then looks for files and runs the interpreter | `examiner.rs` |
//! | interpreter | writes its version and its paths | `describe.py` |
//!
//! The users of the groups control the results, so the results are untrusted. The collector bounds their length and does not decode them.

mod examiner;
mod facts;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use wire::control::{Examination, Examine, LONGEST_EXAMINED, decode, encode};

pub use examiner::examine_one;

/// The path with which this program was started. (Under valgrind `/proc/self/exe` is another program.) If a program of another version
/// has replaced the file, it cannot decode its input and exits without a result.
pub fn this_program() -> OsString {
    let path = std::env::args_os().next().filter(|path| Path::new(path).is_absolute());
    path.unwrap_or_else(|| "/proc/self/exe".into())
}

/// How long the collector waits for the end of processes that it has killed. A process that waits for a file system that does not
/// answer ends later, and init reaps it.
const REAPING: Duration = Duration::from_millis(150);

/// One examination under way.
struct Running {
    index: u32,
    /// The examiner. It leads a process group, to which the interpreter belongs.
    process: Child,
    output: ChildStdout,
    received: Vec<u8>,
}

/// Reads examinations from standard input, runs them at the same time, and writes the results to standard output.
///
/// # Errors
/// Standard input holds no [`Examine`], or the other end of standard output is closed.
pub fn examine_all() -> io::Result<()> {
    crate::supervise::close_inherited();
    // If an examiner ends before its interpreter, this process reaps the interpreter; otherwise httpd would have to.
    let _ = nix::sys::prctl::set_child_subreaper(true);
    let order = read_order()?;
    let until = Instant::now() + Duration::from_millis(order.time.into());
    let mut running = Vec::new();
    for (index, examination) in (0..).zip(&order.all) {
        match start(index, examination) {
            Ok(process) => running.push(process),
            Err(error) => {
                let text = format!("no process could be started to examine it: {error}");
                let unusable = wire::control::Examined::Unusable(0, text);
                write_result(index, &encode(&unusable))?;
            }
        }
    }
    let done = collect(&mut running, until);
    running.iter().for_each(|left| kill(&left.process));
    reap();
    done
}

fn read_order() -> io::Result<Examine> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    decode(&bytes).map_err(io::Error::other)
}

fn start(index: u32, examination: &Examination) -> io::Result<Running> {
    let mut process = Command::new(this_program())
        .args(["examine", "--one"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    // This write cannot block for long: the examiner reads all of it before it becomes another user.
    let written =
        process.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(&encode(examination)));
    let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let running = Running { index, process, output, received: Vec::new() };
    match written {
        Ok(()) => Ok(running),
        Err(error) => {
            kill(&running.process);
            Err(error)
        }
    }
}

/// Writes results to standard output until all have arrived, the deadline is reached, or the other end of standard output is closed.
fn collect(running: &mut Vec<Running>, until: Instant) -> io::Result<()> {
    let stdout = io::stdout();
    while !running.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let mut watched = vec![PollFd::new(stdout.as_fd(), PollFlags::empty())];
        watched.extend(running.iter().map(|it| PollFd::new(it.output.as_fd(), PollFlags::POLLIN)));
        let wait =
            PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, wait) {
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        if is_ready(&watched[0]) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let ready: Vec<bool> = watched[1..].iter().map(is_ready).collect();
        for at in (0..ready.len()).rev().filter(|at| ready[*at]) {
            if running[at].has_ended() {
                let ended = running.swap_remove(at);
                kill(&ended.process);
                write_result(ended.index, &ended.received)?;
            }
        }
    }
    Ok(())
}

impl Running {
    /// Reads the bytes that have arrived. `true` if no more will.
    fn has_ended(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.output.read(&mut buffer) {
            Ok(0) => true,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                if self.received.len() > LONGEST_EXAMINED {
                    self.received.clear();
                    return true;
                }
                false
            }
            Err(error) => error.kind() != io::ErrorKind::Interrupted,
        }
    }
}

fn write_result(index: u32, result: &[u8]) -> io::Result<()> {
    let length = u32::try_from(result.len()).map_err(io::Error::other)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&[&index.to_le_bytes()[..], &length.to_le_bytes(), result].concat())?;
    stdout.flush()
}

/// Kills an examiner and the processes that it has started. Its process group exists as long as it has not been reaped.
fn kill(examiner: &Child) {
    let group = Pid::from_raw(examiner.id().try_into().unwrap_or(i32::MAX));
    let _ = killpg(group, Signal::SIGKILL);
}

/// Waits up to [`REAPING`] for the end of the killed processes.
fn reap() {
    let until = Instant::now() + REAPING;
    while Instant::now() < until {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(2)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}
