//! A supervisor of its own for each test, in a directory of its own.

use link::{Board, Cause, Channel, NameHash, Queue, Shared, State};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wire::control::{Desired, FromSupervisor, Group, ToSupervisor, Worker, decode, encode};

/// What a worker does that is ready at once.
pub const READY: &str = "ready";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(15);

/// A supervisor, seen by who started it.
pub struct Supervised {
    pub board: &'static Board,
    pub directory: TempDir,
    pub process: Child,
    shared: Shared<Board>,
    queue: Shared<Queue>,
    channel: Option<Channel>,
    desired: Desired,
}

/// A group of stand-ins.
pub fn group(name: &str, processes: u32) -> Group {
    Group {
        name: name.into(),
        log_level: 6,
        program: b"/usr/bin/python3".to_vec(),
        engine: b"engine".to_vec(),
        processes,
        listen_backlog: 8,
        graceful_timeout: 5,
        shutdown_timeout: 1,
        worker: Worker { threads: 1, ..Worker::default() },
        ..Group::default()
    }
}

/// Waits until there is something.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether there is such a process, dead ones left aside.
pub fn lives(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn start(command: &mut Command, board: &Shared<Board>, directory: &TempDir) -> (Channel, Child) {
    let (channel, theirs) = Channel::pair().unwrap();
    let log = directory.path().join("error_log");
    let log = File::options().create(true).append(true).open(log).unwrap();
    let process = command
        .arg("supervise")
        .stdin(OwnedFd::from(theirs))
        .stdout(board.as_fd().try_clone_to_owned().unwrap())
        .stderr(log)
        .env("USER", "somebody")
        .spawn()
        .unwrap();
    (channel, process)
}

impl Supervised {
    /// A supervisor that has been told to run this group, whose workers behave so.
    pub fn of(group: Group, behaviour: &str) -> Supervised {
        let mut supervised = Supervised::new(behaviour);
        supervised.run(vec![group]);
        supervised
    }

    /// A supervisor that has been told nothing.
    pub fn new(behaviour: &str) -> Supervised {
        Supervised::by(&mut Command::new(env!("CARGO_BIN_EXE_rustgi")), behaviour)
    }

    /// A supervisor that a shell starts, which waits for it.
    pub fn by_a_shell(behaviour: &str) -> Supervised {
        let line = "exec 3<&0; \"$0\" \"$1\" <&3 3<&- & exec 3<&- <&2; wait";
        let rustgi = env!("CARGO_BIN_EXE_rustgi");
        Supervised::by(Command::new("sh").args(["-c", line, rustgi]), behaviour)
    }

    fn by(command: &mut Command, behaviour: &str) -> Supervised {
        let directory = tempfile::tempdir().unwrap();
        // Workers may be other users.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(directory.path(), open).unwrap();
        let shared = Shared::<Board>::create("board").unwrap();
        let board = shared.read().unwrap();
        let (channel, process) = start(command, &shared, &directory);
        let (channel, desired) = (Some(channel), Desired::default());
        let queue = Shared::<Queue>::create("queue").unwrap();
        let supervised = Supervised { board, shared, queue, directory, process, channel, desired };
        supervised.behave(behaviour);
        supervised
    }

    /// Starts another one with the same board.
    pub fn start_again(&mut self) {
        let rustgi = &mut Command::new(env!("CARGO_BIN_EXE_rustgi"));
        let (channel, process) = start(rustgi, &self.shared, &self.directory);
        (self.channel, self.process) = (Some(channel), process);
    }

    /// How workers behave that are started from now on.
    pub fn behave(&self, behaviour: &str) {
        let path = self.directory.path().join("behaviour");
        fs::write(path.with_extension("new"), behaviour).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    /// Sends a configuration, and waits until the supervisor has acknowledged it. Returns the places of the groups on the board.
    pub fn run(&mut self, groups: Vec<Group>) -> Vec<u32> {
        let place = self.directory.path();
        let script = place.join("stand_in.py");
        fs::write(&script, include_str!("stand_in.py")).unwrap();
        let path = |path: &std::path::Path| path.to_str().unwrap().as_bytes().to_vec();
        let groups = groups
            .into_iter()
            .map(|group| Group { arguments: vec![path(&script), path(place)], ..group });
        self.desired = Desired {
            serial: self.desired.serial + 1,
            generation: self.desired.generation + 1,
            client_user: 33,
            prefix: path(&place.join("wsgi")),
            groups: groups.collect(),
        };
        let log = File::options().append(true).open(place.join("error_log")).unwrap();
        let mut descriptors =
            vec![log, File::from(self.queue.as_fd().try_clone_to_owned().unwrap())];
        for group in self.desired.groups.iter().filter(|group| group.has_log) {
            let name = String::from_utf8(group.name.clone()).unwrap();
            let file = File::options().create(true).append(true).open(place.join(name)).unwrap();
            descriptors.push(file);
        }
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let channel = self.channel.as_mut().unwrap();
        channel.send(&encode(&ToSupervisor::Run(self.desired.clone())), &descriptors).unwrap();
        let (answer, _) = channel.receive().unwrap().expect("the supervisor answers");
        let FromSupervisor::Taken(serial) = decode(&answer).unwrap();
        assert_eq!(serial, self.desired.serial);
        let place = |group: &Group| self.board.find(NameHash::of(&group.name)).unwrap();
        self.desired.groups.iter().map(place).collect()
    }

    /// The same once more, as at a graceful restart.
    pub fn run_again(&mut self) {
        self.run(self.desired.groups.clone());
    }

    /// Says that the server ends.
    pub fn stop(&mut self) {
        self.channel.as_ref().unwrap().send(&encode(&ToSupervisor::Stop), &[]).unwrap();
    }

    /// Waits for the end of the channel.
    pub fn await_silence(&mut self) {
        while self.channel.as_mut().unwrap().receive().unwrap().is_some() {}
    }

    /// Says what nobody understands.
    pub fn talk_nonsense(&mut self) {
        self.channel.as_ref().unwrap().send(&[0xff; 9], &[]).unwrap();
    }

    /// Ends as a server does that was killed.
    pub fn hang_up(&mut self) {
        self.channel = None;
    }

    /// Waits until the supervisor has gone.
    #[track_caller]
    pub fn await_end(&mut self) -> Duration {
        let start = Instant::now();
        let process = &mut self.process;
        let status = until("the supervisor ends", || process.try_wait().unwrap());
        assert!(status.success(), "{status}: {}", self.log());
        start.elapsed()
    }

    /// The group in the first place.
    pub fn group(&self) -> &'static link::Group {
        self.board.group(0).unwrap()
    }

    /// The workers of that group in this state: their places, numbers and processes.
    pub fn workers(&self, state: State) -> Vec<(u32, u32, u32)> {
        let workers = self.board.workers(self.group());
        let workers = workers.filter(|(_, worker)| worker.state() == state);
        workers.map(|(place, worker)| (place, worker.number(), worker.pid())).collect()
    }

    /// The processes that are ready, once they are so many.
    #[track_caller]
    pub fn ready(&self, count: usize) -> Vec<u32> {
        let what = format!("{count} are ready");
        let found = || {
            let ready: Vec<u32> =
                self.workers(State::Ready).into_iter().map(|(_, _, pid)| pid).collect();
            (ready.len() == count).then_some(ready)
        };
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(ready) = found() {
                return ready;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("{what}: in vain\n{}", self.log())
    }

    /// How a process ended, once it has.
    #[track_caller]
    pub fn cause(&self, pid: u32) -> Cause {
        until("a cause", || {
            let workers = self.board.workers(self.group());
            let mut ended = workers.filter(|(_, worker)| worker.state() == State::Ended);
            ended.find(|(_, worker)| worker.pid() == pid).and_then(|(_, worker)| worker.cause())
        })
    }

    /// Tells a worker what to do.
    #[track_caller]
    pub fn order(&self, pid: u32, what: &str) {
        let path = self.directory.path().join(format!("{pid}.sock"));
        UnixDatagram::unbound().unwrap().send_to(what.as_bytes(), path).unwrap();
    }

    /// What a worker has been told.
    pub fn heard(&self, pid: u32) -> String {
        let path = self.directory.path().join(format!("{pid}.heard"));
        fs::read_to_string(path).unwrap_or_default()
    }

    /// The error log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("error_log")).unwrap()
    }

    /// Waits until the log has it.
    #[track_caller]
    pub fn await_log(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < end, "{text:?} is not in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The directory of its sockets.
    pub fn sockets(&self) -> PathBuf {
        link::directory(&self.directory.path().join("wsgi"), self.process.id())
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.channel = None;
        let end = Instant::now() + PATIENCE;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
