//! File systems and processes that hang affect their own group alone.

use crate::harness::{READY, Supervised, group, lives, until};
use crate::operators::ctl;
use link::State;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use wire::control::Group;

/// A program that cannot be executed as long as another process holds a lease on its file, which lasts for up to
/// `/proc/sys/fs/lease-break-time` (45 s).
struct Leased {
    program: PathBuf,
    holder: Child,
}

impl Leased {
    /// `None` where there are no leases.
    fn in_directory(directory: &Path) -> Option<Leased> {
        let program = directory.join("python3");
        std::fs::write(&program, "#!/bin/sh\nexec /usr/bin/python3 \"$@\"\n").unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let hold = "
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    print('held', flush=True)
except OSError as error:
    print(error, flush=True)
sys.stdin.read()
";
        let mut python = Command::new("/usr/bin/python3");
        let python = python.args(["-c", hold]).arg(&program);
        let mut holder = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let leased = Leased { program, holder };
        if line != "held\n" {
            eprintln!("skipped: there are no leases here: {line}");
            return None;
        }
        Some(leased)
    }

    fn group(&self, name: &str) -> Group {
        Group { program: self.program.to_str().unwrap().into(), ..group(name, 1) }
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn workers_of(supervised: &Supervised, place: u32, state: State) -> Vec<u32> {
    let group = supervised.board.group(place).unwrap();
    let workers = supervised.board.workers(group).filter(|(_, it)| it.state() == state);
    // A place on the board is taken before its process is started.
    workers.map(|(_, it)| it.pid()).filter(|pid| *pid != 0).collect()
}

#[test]
fn a_program_that_hangs_holds_up_no_other_group_and_no_operator() {
    let mut supervised = Supervised::new(READY);
    let Some(leased) = Leased::in_directory(supervised.directory.path()) else { return };
    let begun = Instant::now();
    assert_eq!(supervised.run(vec![leased.group("slow"), group("quick", 1)]), [0, 1]);
    let ready = || workers_of(&supervised, 1, State::Ready).pop();
    let first = until("a worker of the other group", ready);
    let hanging = until("one that hangs", || workers_of(&supervised, 0, State::Starting).pop());
    kill(Pid::from_raw(first as i32), Signal::SIGKILL).unwrap();
    until("another worker", || ready().filter(|pid| *pid != first));
    let socket = supervised.sockets().join("rustgi.control");
    let (text, done) = ctl(&[Path::new("--socket"), &socket], &["status"]);
    assert!(done && text.contains("quick") && text.contains("slow"), "{text}");
    // The process still hangs, so the supervisor has not waited for it. It holds no descriptors of the supervisor.
    assert_eq!(workers_of(&supervised, 0, State::Starting), [hanging], "{:?}", begun.elapsed());
    let open = std::fs::read_dir(format!("/proc/{hanging}/fd")).unwrap().flatten();
    let mut open: Vec<String> =
        open.map(|entry| entry.file_name().into_string().unwrap()).collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2", "3"]);
    // When the lease is given up, it becomes a worker.
    drop(leased);
    until("the slow one is ready", || workers_of(&supervised, 0, State::Ready).pop());
}

#[test]
fn a_start_that_hangs_too_long_is_given_up_and_the_log_names_the_step() {
    let mut supervised = Supervised::new(READY);
    let Some(leased) = Leased::in_directory(supervised.directory.path()) else { return };
    supervised.run(vec![Group { startup_timeout: 3, ..leased.group("slow") }]);
    let hanging = until("one that hangs", || workers_of(&supervised, 0, State::Starting).pop());
    let killed = format!(
        "'slow': no worker could be started: process {hanging} was killed because it hung for "
    );
    supervised.await_log(&killed);
    let line = until("the log says so", || {
        let log = supervised.log();
        log.lines().find(|line| line.contains(&killed)).map(str::to_owned)
    });
    let doing = format!(" s while starting the program ({})", leased.program.display());
    assert!(line.contains("WSGI1019") && line.ends_with(&doing), "{line}");
    until("it ends", || (!lives(hanging)).then_some(()));
    drop(leased);
    until("the next is ready", || workers_of(&supervised, 0, State::Ready).pop());
}

#[test]
fn a_start_that_hangs_ends_with_its_supervisor() {
    let mut supervised = Supervised::new(READY);
    let Some(leased) = Leased::in_directory(supervised.directory.path()) else { return };
    supervised.run(vec![leased.group("slow")]);
    let hanging = until("one that hangs", || workers_of(&supervised, 0, State::Starting).pop());
    supervised.process.kill().unwrap();
    supervised.process.wait().unwrap();
    until("it ends", || (!lives(hanging)).then_some(()));
}

#[test]
fn a_worker_that_reads_nothing_of_a_long_first_message_holds_up_no_other() {
    // A list of scripts that is too long for the buffer of a socket.
    let mut supervised = Supervised::of(group("deaf", 1), READY);
    let first = supervised.ready(1)[0];
    supervised.order(first, "flood 64 12000");
    let program = supervised.directory.path().join("deaf");
    std::fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    until("all scripts are known", || {
        supervised.run_again();
        let newest = supervised.workers(State::Ready).pop().map(|(_, _, pid)| pid)?;
        supervised.heard(newest).contains("/nowhere/63/").then_some(())
    });
    let program: Vec<u8> = program.to_str().unwrap().into();
    // With a blocking send, each of them would delay the supervisor by 2 s.
    supervised.run(vec![Group { program, ..group("deaf", 10) }, group("quick", 1)]);
    until("a worker of the other group", || workers_of(&supervised, 1, State::Ready).pop());
}

#[test]
fn a_descriptor_of_a_workers_whose_closing_takes_long_keeps_no_other_group_waiting() {
    let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = peer.local_addr().unwrap().port();
    // The first is received as all messages are; the second is still in the channel when its worker has ended.
    // Several times, because other processes are being started meanwhile, or are not.
    for (messages, then) in [(0, "stay"), (200, "end")].repeat(5) {
        let mut supervised = Supervised::new(READY);
        let [hostile, other] = supervised.run(vec![group("a", 1), group("b", 1)])[..] else {
            panic!("two groups have two places")
        };
        let first = |place| workers_of(&supervised, place, State::Ready).first().copied();
        let worker = until("a worker is ready", || first(hostile));
        let before = until("a worker is ready", || first(other));
        let begun = Instant::now();
        supervised.order(worker, &format!("lingering {port} {messages} {then}"));
        kill(Pid::from_raw(before as i32), Signal::SIGKILL).unwrap();
        until("another one is ready", || first(other).filter(|pid| *pid != before));
        until("the hostile one is replaced", || first(hostile).filter(|pid| *pid != worker));
        assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
    }
}
