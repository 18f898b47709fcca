//! `rustgi examine`: finds out which Pythons can be run, and how. The server's parent and the supervisor start it, because
//! neither may wait for the user of a group, who controls the interpreter and the directories it lies in.
//!
//! | process | what it does | file |
//! |---|---|---|
//! | collector | runs as the user that started it; starts one process for each examination, all at the same time, and hands their results on; kills what is left when the time is over or nobody reads the results | `mod.rs` |
//! | examiner | becomes the user of the group, then looks for files and runs the interpreter | `examiner.rs` |
//! | interpreter | writes where it lies | `question.py` |
//!
//! The results are the word of the users. The collector bounds their length and does not look into them.

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

/// This program, by the path that it was started with. (What `/proc/self/exe` leads to is another program under valgrind.)
/// A program of another version that has taken its place does not understand what it is told, and says nothing.
pub fn this_program() -> OsString {
    let path = std::env::args_os().next().filter(|path| Path::new(path).is_absolute());
    path.unwrap_or_else(|| "/proc/self/exe".into())
}

/// For how long the collector waits until processes that it has killed are gone. One that waits for a file system that does
/// not answer stays longer, and is left to init.
const REAPING: Duration = Duration::from_millis(150);

/// One examination under way.
struct Running {
    index: u32,
    /// The examiner, which leads a process group that the interpreter belongs to.
    process: Child,
    output: ChildStdout,
    received: Vec<u8>,
}

/// Examines what standard input says, and writes the results to standard output.
///
/// # Errors
/// Standard input holds no order, or nobody reads the results.
pub fn examine_all() -> io::Result<()> {
    crate::supervise::close_inherited();
    // An interpreter whose examiner has ended is then this process's to reap, and not the server's.
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
    // The examiner reads all of it before it becomes another user.
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

/// Hands results on until all have come, the time is over, or nobody reads them.
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
    /// Reads what there is; whether there will be no more.
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

/// Ends an examiner and what it has started. Its process group exists as long as it has not been reaped.
fn kill(examiner: &Child) {
    let group = Pid::from_raw(examiner.id().try_into().unwrap_or(i32::MAX));
    let _ = killpg(group, Signal::SIGKILL);
}

/// Waits for the end of what was killed.
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
