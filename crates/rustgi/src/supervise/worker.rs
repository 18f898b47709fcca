//! A worker as the supervisor holds it: its process, its channel, its page and its place on the board. It is made when
//! the process is started and ends when that has been reaped.

use super::crew::Time;
use super::death;
use super::group::Surroundings;
use super::log::Log;
use super::spawn::{self, Reports, Started};
use exchange::Code;
use link::{Channel, Page, Shared};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;
use wire::control::{FromWorker, Group, Script, ToWorker, decode, encode};

/// How long a process may take to execute the program of a worker. A file system can make it hang.
const LAUNCH: Duration = Duration::from_secs(15);
/// For how long the process of a channel that has ended may still be there.
const GRACE: Duration = Duration::from_secs(1);

/// The longest message of a worker.
const MESSAGE: usize = 1 << 20;
/// How many messages of one worker are read while others wait.
const AT_ONCE: usize = 64;

/// A worker.
pub struct Worker {
    /// The group as it was when the worker was started.
    pub group: Rc<Group>,
    /// Its place on the board.
    pub place: u32,
    /// When it was started.
    pub started: Time,
    /// Which time was over when it was killed.
    pub killed: Option<u8>,
    /// When it is given up, as its channel has ended.
    pub lost: Option<Time>,
    /// What it has said was no message.
    pub is_confused: bool,
    /// It may have said more than was heard.
    pub has_more: bool,
    /// It has reported that it is ready.
    pub has_been_ready: bool,
    /// The script that it has been loading for 5 s or more.
    pub loading: Option<Vec<u8>>,
    /// It could not execute the program of a worker, which the log says.
    pub has_failed: bool,
    /// When it must have executed its program; `None` once it has.
    launched_by: Option<Time>,
    reports: Option<Reports>,
    is_reaped: bool,
    has_spoken: bool,
    pid: Pid,
    channel: Option<Channel>,
    page: Shared<Page>,
    memory_kills: u64,
}

/// What a worker is started with.
pub struct Beginning {
    /// Its number.
    pub number: u32,
    /// Its generation.
    pub generation: u32,
    /// Its group.
    pub group: Rc<Group>,
    /// What it loads first.
    pub scripts: Vec<Script>,
}

/// Why there is no worker.
pub struct NotStarted(pub Code, pub String);

impl Worker {
    /// Starts a worker. `place` is that of its group on the board.
    pub fn start(
        now: Time,
        beginning: Beginning,
        place: u32,
        around: &Surroundings,
        log: &Log,
    ) -> Result<Worker, NotStarted> {
        let of_group = around.board.group(place).expect("a group has a place on the board");
        let added = around.board.add(
            of_group,
            beginning.number,
            beginning.generation,
            beginning.group.worker.threads,
        );
        let text = "there is no place for another worker on the board";
        let (at, entry) = added.ok_or(NotStarted(Code::BoardFull, text.to_owned()))?;
        let number = beginning.number;
        match Worker::launch(now, beginning, at, around, log) {
            Ok(worker) => {
                entry.set_pid(worker.pid());
                Ok(worker)
            }
            Err(failure) => {
                around.board.remove(of_group, at);
                if let Some(sockets) = &around.sockets {
                    sockets.forget(number);
                }
                Err(failure)
            }
        }
    }

    fn launch(
        now: Time,
        beginning: Beginning,
        place: u32,
        around: &Surroundings,
        log: &Log,
    ) -> Result<Worker, NotStarted> {
        let other = |error: io::Error| NotStarted(Code::WorkerNotStarted, error.to_string());
        let group = beginning.group;
        let sockets = around.sockets.as_ref();
        let text = "there is no directory for sockets";
        let sockets = sockets.ok_or(NotStarted(Code::SocketFailed, text.to_owned()))?;
        let socket = (group.worker.threads > 0).then(|| sockets.listen(beginning.number, &group));
        let socket = socket.transpose().map_err(|error| {
            NotStarted(Code::SocketFailed, format!("{}: {error}", sockets.prefix().display()))
        })?;
        let page = Shared::<Page>::create("rustgi-page").map_err(other)?;
        let (mut channel, theirs) = Channel::pair().map_err(other)?;
        channel.accept_at_most(MESSAGE, 0);
        let begin = begin(&group, beginning.number, beginning.scripts, around.client_user);
        let descriptors: Vec<_> = socket.iter().map(AsFd::as_fd).chain([page.as_fd()]).collect();
        channel.send_buffered(&encode(&begin), &descriptors).map_err(other)?;
        let memory_kills = death::memory_kills();
        let (pid, reports) =
            spawn::spawn(&group, theirs.into(), log.as_fd(), around.mask, around.files)
                .map_err(other)?;
        let launch = match Duration::from_secs(group.startup_timeout.into()) {
            Duration::ZERO => LAUNCH,
            timeout => timeout.min(LAUNCH),
        };
        Ok(Worker {
            group,
            place,
            started: now,
            killed: None,
            lost: None,
            is_confused: false,
            has_more: false,
            has_been_ready: false,
            loading: None,
            has_failed: false,
            launched_by: Some(now + launch),
            reports: Some(reports),
            is_reaped: false,
            has_spoken: false,
            pid,
            channel: Some(channel),
            page,
            memory_kills,
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// The descriptors to poll, and for each whether for room to write, too.
    pub fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let channel = self.channel.iter().map(|channel| (channel.as_fd(), channel.has_unsent()));
        channel.chain(self.reports.iter().map(|reports| (reports.as_fd(), false)))
    }

    /// The result of its start, once there is one.
    pub fn started(&mut self) -> Option<Started> {
        let started = self.reports.as_mut()?.read()?;
        (self.reports, self.launched_by) = (None, None);
        self.has_failed = started.failed.is_some();
        Some(started)
    }

    /// When it is given up if it has not executed its program.
    pub fn launched_by(&self) -> Option<Time> {
        self.launched_by
    }

    /// Kills a process that hangs before it executes its program. Returns the step in which it hangs. The kernel may end it only when
    /// the file system answers.
    pub fn give_up(&mut self) -> String {
        (self.launched_by, self.has_failed) = (None, true);
        self.signal(Signal::SIGKILL);
        self.reports.take().map(|reports| reports.doing()).unwrap_or_default()
    }

    /// Sends it a message without waiting. A worker that does not read, so that 8 MiB are waiting for it, is killed.
    pub fn tell(&mut self, message: &ToWorker, descriptors: &[BorrowedFd<'_>]) {
        let Some(channel) = &mut self.channel else { return };
        match channel.send_buffered(&encode(message), descriptors) {
            Ok(()) => {}
            // Its end is noticed otherwise.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(_) => self.signal(Signal::SIGKILL),
        }
    }

    /// Tells it to leave. One that has said nothing so far may not listen yet, so a signal tells it too; with any other,
    /// which sends SIGTERM to the script that it runs itself, the second one would fall into that script's end.
    pub fn dismiss(&mut self, reason: String, patience: Option<u64>) {
        self.tell(&ToWorker::Leave { reason, patience }, &[]);
        if !self.has_spoken {
            self.signal(Signal::SIGTERM);
        }
    }

    /// What it has said meanwhile.
    pub fn hear(&mut self, now: Time) -> Vec<FromWorker> {
        let mut heard = Vec::new();
        if let Some(channel) = &mut self.channel {
            // If the other end is closed, `try_receive` reports it below.
            let _ = channel.flush();
        }
        while let Some(channel) = &mut self.channel {
            self.has_more = heard.len() >= AT_ONCE;
            if self.has_more {
                break;
            }
            let message = match channel.try_receive() {
                Ok(Some((message, _))) => match decode(&message) {
                    Ok(message) if FromWorker::is_sensible(&message) => Ok(message),
                    _ => Err(io::ErrorKind::InvalidData.into()),
                },
                Ok(None) => break,
                Err(error) => Err(error),
            };
            match message {
                Ok(message) => {
                    self.has_spoken = true;
                    match &message {
                        FromWorker::Loading(script) => self.loading = Some(script.clone()),
                        FromWorker::Ready { .. } => {
                            (self.has_been_ready, self.loading) = (true, None);
                        }
                        _ => {}
                    }
                    heard.push(message);
                }
                Err(error) => {
                    self.is_confused = error.kind() == io::ErrorKind::InvalidData;
                    self.end_channel();
                    self.lost = Some(now + GRACE);
                }
            }
        }
        heard
    }

    /// Ends the channel. What the worker has sent may hold descriptors whose closing takes any time, so this process does not close
    /// them.
    fn end_channel(&mut self) {
        if let Some(unread) = self.channel.take().and_then(Channel::end) {
            spawn::close_elsewhere(unread);
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) {
        // It is our child, so the number is its own until it has been reaped.
        if !self.is_reaped {
            let _ = signal::kill(self.pid, which);
        }
    }

    /// It has been reaped: its pid may belong to another process from now on.
    pub fn note_reaped(&mut self) {
        self.is_reaped = true;
    }

    /// How many requests it has in hand, and how many it has finished.
    pub fn counts(&self) -> (u32, u64) {
        Page::counts(&self.page).unwrap_or_default()
    }

    /// It has died: whoever waits for it shall know.
    pub fn mourn(&self) {
        // Without memory for that they find out a moment later.
        let _ = self.page.map_for_now().map(|page| page.mourn());
    }

    /// Whether the kernel killed it because memory had run out.
    pub fn ran_out_of_memory(&self) -> bool {
        let has_killed = death::memory_kills() > self.memory_kills;
        has_killed && death::kernel_names(self.pid()).unwrap_or(true)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end_channel();
    }
}

fn begin(group: &Group, number: u32, scripts: Vec<Script>, client_user: u32) -> ToWorker {
    let mut clients = vec![client_user, nix::unistd::geteuid().as_raw()];
    clients.dedup();
    ToWorker::Begin {
        number,
        options: group.worker.clone(),
        group: group.name.clone(),
        log_level: group.log_level,
        clients,
        secret: group.secret.clone(),
        scripts,
    }
}
