//! A group that runs: its crew, its workers, its log, its place on the board. What the crew decides is done here.

use super::crew::{Action, Crew, Death, Phase, Refusal, Time};
use super::death;
use super::log::{Log, show};
use super::sockets::Sockets;
use super::spawn::Started;
use super::worker::{Beginning, NotStarted, Worker};
use exchange::{Code, Level};
use link::{Board, Cause, Queue, State, WorkerRef};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::sys::wait::WaitStatus;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::control::{self, FromWorker, GroupStatus, ToWorker, WorkerStatus};

/// How long the board says how a worker ended.
const REMEMBERED: Duration = Duration::from_secs(2);
/// For how long the supervisor does nothing with a group after an internal error in it.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// Upper bound of the processes of a group that hang before they execute their program; or the group's number of workers, if that is
/// larger. At the bound no other process is started until one of them has ended.
const HANGING: usize = 8;

/// What all groups share.
pub struct Surroundings {
    /// Where everybody reads which workers there are.
    pub board: &'static Board,
    /// The request queue, once httpd's parent has sent its memory.
    pub queue: Option<&'static Queue>,
    /// The directory of the sockets, if it could be made.
    pub sockets: Option<Sockets>,
    /// Who may send requests.
    pub client_user: u32,
    /// The umask that was inherited.
    pub mask: Mode,
    /// How many files the server may have open.
    pub files: u64,
    /// When the supervisor began.
    pub began: Instant,
    /// The number of the next worker.
    pub numbers: Rc<Cell<u32>>,
    /// Workers that have ended, to be taken off the board then: the places of their groups and their own.
    pub ended: Vec<(Time, u32, u32)>,
    /// When to check whether a file of the directory of sockets has been removed.
    pub sockets_due: Option<Time>,
}

impl Surroundings {
    /// The time now.
    pub fn now(&self) -> Time {
        self.began.elapsed()
    }

    /// The board, unless another supervisor has begun meanwhile: then it is no longer for this one to write.
    pub fn own_board(&self) -> Option<&'static Board> {
        let is_own = self.board.supervisor() == std::process::id();
        is_own.then_some(self.board)
    }

    /// The workers or the trouble of the group at this place have changed: gives free threads to waiting requests, and wakes the
    /// requests that watch the group.
    fn notify_requests(&self, place: u32) {
        let (Some(board), Some(queue)) = (self.own_board(), self.queue) else { return };
        queue.grant_free_threads(None, place, || board.candidates(place));
        let has_trouble = board.group(place).is_some_and(|group| group.trouble().is_some());
        queue.notify(place, has_trouble);
    }

    /// A time in milliseconds of the monotonic clock, as the board has it.
    fn date(&self, time: Time) -> u64 {
        let wait = time.saturating_sub(self.now()).as_millis();
        link::milliseconds().saturating_add(wait.try_into().unwrap_or(u64::MAX))
    }
}

/// A group.
pub struct Group {
    /// Its place on the board.
    pub place: u32,
    /// Its workers, as they are to be.
    pub crew: Crew,
    /// Its workers, as they are.
    pub workers: BTreeMap<u32, Worker>,
    name: Vec<u8>,
    log: Log,
    /// When something went wrong the last time, and what.
    failure: Option<(u64, String)>,
    /// The number and the pid of the worker that was reaped last.
    gone: Option<(u32, u32)>,
    /// Until when the supervisor does nothing with it after an internal error.
    paused_until: Option<Time>,
}

impl Group {
    /// A group, and its first workers.
    pub fn start(wanted: control::Group, place: u32, log: Log, around: &mut Surroundings) -> Group {
        let (name, wanted) = (wanted.name.clone(), Rc::new(wanted));
        let entry = around.board.group(place);
        entry.iter().for_each(|entry| entry.set_trouble(None));
        let before = entry.map_or(0, link::Group::generation);
        let crew = Crew::new(around.now(), wanted, before, Rc::clone(&around.numbers));
        let (workers, failure, paused_until) = (BTreeMap::new(), None, None);
        let gone = None;
        let mut group = Group { place, crew, workers, name, log, failure, gone, paused_until };
        group.guarded(around, Group::act);
        group
    }

    /// Calls `act` with the group. A panic is logged and pauses this group for 1 s; the other groups go on.
    pub fn guarded(
        &mut self,
        around: &mut Surroundings,
        act: impl FnOnce(&mut Group, &mut Surroundings),
    ) {
        let act = || act(&mut *self, &mut *around);
        // A change may be half done when the panic happens. The state is memory-safe; the worst consequence is another panic.
        if catch_unwind(AssertUnwindSafe(act)).is_err() {
            self.paused_until = Some(around.now() + ERROR_PAUSE);
            self.fail(
                Level::Critical,
                Code::Panic,
                "an internal error; the supervisor does nothing with the group for 1 s",
            );
        }
    }

    /// Whether it is paused after an internal error.
    pub fn is_paused(&self, now: Time) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }

    /// The descriptors to poll, and for each whether for room to write, too.
    pub fn descriptors(&self, now: Time) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let workers = self.workers.values().filter(move |_| !self.is_paused(now));
        workers.flat_map(Worker::descriptors)
    }

    /// It is wanted like this from now on, and has this log.
    pub fn configure(&mut self, wanted: control::Group, log: Log, around: &mut Surroundings) {
        self.set_log(wanted.log_level, log);
        self.reconfigure(wanted, around);
    }

    /// The configuration has the group, with this log. The configuration of its workers is not known yet.
    pub fn set_log(&mut self, log_level: u8, log: Log) {
        self.crew.want();
        self.log = log;
        let message = ToWorker::Log { log_level };
        for worker in self.workers.values_mut() {
            worker.tell(&message, &[self.log.as_fd()]);
        }
    }

    /// The group has this configuration from now on.
    pub fn reconfigure(&mut self, wanted: control::Group, around: &mut Surroundings) {
        self.crew.configure(around.now(), Rc::new(wanted));
        self.act(around);
    }

    /// Does what the crew has decided.
    pub fn act(&mut self, around: &mut Surroundings) {
        let mut has_acted = false;
        loop {
            let actions = self.crew.actions();
            if actions.is_empty() {
                break;
            }
            has_acted = true;
            for action in actions {
                self.perform(action, around);
            }
        }
        if has_acted {
            around.notify_requests(self.place);
        }
    }

    fn perform(&mut self, action: Action, around: &mut Surroundings) {
        let board = around.own_board().and_then(|board| board.group(self.place));
        match action {
            Action::Start { number, generation, group, scripts } => {
                let beginning = Beginning { number, generation, group, scripts };
                self.start_worker(beginning, around);
            }
            Action::Serve { number } => self.set_state(number, State::Ready, around),
            Action::Switch { generation } => {
                board.iter().for_each(|group| group.set_generation(generation));
                let entry = |worker: &Worker| around.board.worker(worker.place);
                let mut entries = self.workers.values().filter_map(entry);
                if entries.any(|entry| entry.state() == State::Ready) {
                    self.note(format_args!("generation {generation} serves"));
                }
            }
            Action::Dismiss { number, reason, patience } => {
                self.set_state(number, State::Leaving, around);
                let Some(worker) = self.workers.get_mut(&number) else { return };
                let patience = patience.as_millis().try_into().ok();
                worker.dismiss(reason, patience);
            }
            Action::Leaving { number } => self.set_state(number, State::Leaving, around),
            Action::Expect { number, version } => {
                if let Some(worker) = self.workers.get_mut(&number) {
                    worker.tell(&ToWorker::Expect(version), &[]);
                }
            }
            Action::Keep { number, path } => {
                if let Some(worker) = self.workers.get_mut(&number) {
                    worker.tell(&ToWorker::Keep(path), &[]);
                }
            }
            Action::Kill { number, timer } => {
                let hangs = |worker: &Worker| worker.launched_by().is_some();
                if self.workers.get(&number).is_some_and(hangs) {
                    self.give_up(around.now(), number);
                } else if let Some(worker) = self.workers.get_mut(&number) {
                    worker.killed = Some(timer);
                    worker.signal(Signal::SIGKILL);
                }
            }
            Action::Refuse { generation, refusal } => {
                board.iter().for_each(|group| group.add_failure());
                self.refuse(generation, &refusal);
            }
            Action::Trouble(trouble) => {
                let date = |at: Option<Time>| at.map_or(0, |at| around.date(at));
                let trouble = trouble.map(|(code, retry)| (code, date(retry)));
                board.iter().for_each(|group| group.set_trouble(trouble));
            }
        }
    }

    fn start_worker(&mut self, beginning: Beginning, around: &mut Surroundings) {
        let number = beginning.number;
        let now = around.now();
        let most = HANGING.max(beginning.group.processes as usize);
        let hanging = self.workers.values().filter(|worker| worker.has_failed).count();
        // The directory may have been removed without the supervisor having noticed it yet.
        if let Some(sockets) = &mut around.sockets {
            if !matches!(sockets.restore(&self.log), Ok(false)) {
                around.sockets_due = Some(now);
            }
        }
        let started = if hanging >= most {
            let text = format!("{hanging} processes hang before they execute their program");
            Err(NotStarted(Code::WorkerNotStarted, text))
        } else {
            Worker::start(now, beginning, self.place, around, &self.log)
        };
        match started {
            Ok(worker) => drop(self.workers.insert(number, worker)),
            Err(NotStarted(code, why)) => {
                let text = format!("no worker could be started: {why}");
                self.fail(Level::Error, code, text);
                self.crew.died(now, number, Death::default());
            }
        }
    }

    fn set_state(&self, number: u32, state: State, around: &Surroundings) {
        let (worker, board) = (self.workers.get(&number), around.own_board());
        let entry = worker.and_then(|worker| board?.worker(worker.place));
        entry.iter().for_each(|entry| entry.set_state(state));
    }

    /// The process of a worker has executed its program, or has failed to.
    fn note_start(&mut self, pid: u32, started: Started) {
        for warning in started.warnings {
            let text = format!("process group '{}': {warning}", show(&self.name));
            self.log.fail(Level::Warning, Code::LimitFailed, text);
        }
        match started.failed {
            None => self.note(format_args!("worker {pid} was started")),
            Some(why) => {
                let text = format!("no worker could be started: {why}");
                self.fail(Level::Error, Code::WorkerNotStarted, text);
            }
        }
    }

    /// Gives up the processes that hang before they execute their program.
    fn give_up_hanging(&mut self, now: Time) {
        let is_due = |worker: &Worker| worker.launched_by().is_some_and(|by| by <= now);
        let due = self.workers.iter().filter(|(_, worker)| is_due(worker));
        let due: Vec<u32> = due.map(|(number, _)| *number).collect();
        due.into_iter().for_each(|number| self.give_up(now, number));
    }

    /// Gives up a process that hangs before it executes its program.
    fn give_up(&mut self, now: Time, number: u32) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let (pid, time, doing) = (worker.pid(), (now - worker.started).as_secs(), worker.give_up());
        let text = format!(
            "no worker could be started: process {pid} was killed because it hung for {time} s while {doing}"
        );
        self.fail(Level::Error, Code::WorkerNotStarted, text);
        self.crew.leaving(now, number, "startup_timeout".to_owned());
    }

    /// Reads what a worker has said.
    pub fn hear(&mut self, number: u32, around: &mut Surroundings) {
        let now = around.now();
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let (pid, started) = (worker.pid(), worker.started());
        if let Some(started) = started {
            self.note_start(pid, started);
        }
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let heard = worker.hear(now);
        let is_confused = std::mem::take(&mut worker.is_confused);
        if is_confused {
            let text = format!("worker {pid} said something that is no message; it is ended");
            self.fail(Level::Error, Code::SupervisorConfused, text);
        }
        for message in heard {
            let crew = &mut self.crew;
            match message {
                FromWorker::Ready { failed, tried } => crew.ready(now, number, failed, tried),
                FromWorker::Loaded(script) => crew.loaded(script),
                FromWorker::ThreadFree => {
                    if let (Some(worker), Some(queue)) = (self.workers.get(&number), around.queue) {
                        queue.release(WorkerRef { place: worker.place, number });
                        around.notify_requests(self.place);
                    }
                }
                FromWorker::Changed(version) => crew.changed(now, number, version),
                FromWorker::Replace { reason } => crew.replace(now, number, reason),
                FromWorker::Leaving { reason } => crew.leaving(now, number, reason),
                FromWorker::Loading(path) => crew.loading(number, path),
                FromWorker::Trying(tried) => crew.trying(number, tried),
            }
        }
        self.act(around);
    }

    /// Time has passed.
    pub fn tick(&mut self, around: &mut Surroundings) {
        let now = around.now();
        let lost = |worker: &Worker| worker.lost.is_some_and(|at| at <= now);
        let lost = self.workers.iter_mut().filter(|(_, worker)| lost(worker));
        for (number, worker) in lost {
            worker.lost = None;
            worker.signal(Signal::SIGTERM);
            self.crew.leaving(now, *number, "channel_lost".to_owned());
        }
        self.give_up_hanging(now);
        self.crew.tick(now);
        self.act(around);
    }

    /// When [`tick`](Group::tick) is to be called at the latest.
    pub fn next(&self, now: Time) -> Option<Time> {
        if self.is_paused(now) {
            return self.paused_until;
        }
        let due = |worker: &Worker| if worker.has_more { Some(Time::ZERO) } else { worker.lost };
        let lost = self.workers.values().filter_map(due).min();
        let launched = self.workers.values().filter_map(Worker::launched_by).min();
        self.crew.next().into_iter().chain(lost).chain(launched).min()
    }

    /// A worker was reaped: its pid may belong to another process from now on, so it must not be signalled.
    pub fn note_reaped(&mut self, number: u32) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.note_reaped();
        }
    }

    /// Removes a worker that was reaped from the group, even if a panic has interrupted [`reaped`](Group::reaped).
    pub fn forget(&mut self, number: u32, around: &mut Surroundings) {
        self.workers.remove(&number);
        if self.crew.look_up(number).is_some() {
            self.guarded(around, |group, around| {
                group.crew.died(around.now(), number, Death::default());
                group.act(around);
            });
        }
    }

    /// Makes new sockets for the workers whose sockets have been removed.
    pub fn restore_sockets(&mut self, around: &mut Surroundings) {
        let Some(sockets) = &around.sockets else { return };
        for (number, worker) in &mut self.workers {
            let accepts = worker.group.worker.threads > 0
                && self.crew.look_up(*number).is_some_and(|(phase, _)| phase != Phase::Leaving);
            if accepts && !sockets.has_socket_of(*number) {
                match sockets.listen(*number, &worker.group) {
                    Ok(socket) => worker.tell(&ToWorker::Listen, &[socket.as_fd()]),
                    Err(_) => around.sockets_due = Some(around.began.elapsed() + ERROR_PAUSE),
                }
            }
        }
    }

    /// A worker has ended and was reaped.
    pub fn reaped(&mut self, number: u32, status: WaitStatus, around: &mut Surroundings) {
        // Its last words, if there are any.
        self.hear(number, around);
        let (phase, reason) = match self.crew.look_up(number) {
            Some((phase, reason)) => (phase, reason.map(str::to_owned)),
            None => (Phase::Leaving, None),
        };
        let Some(worker) = self.workers.remove(&number) else { return };
        let memory = || worker.ran_out_of_memory();
        let is_leaving = phase == Phase::Leaving;
        let cause = death::cause(status, worker.killed, reason.as_deref(), is_leaving, memory);
        let entry = around.own_board().and_then(|board| board.worker(worker.place));
        if let Some(entry) = entry {
            entry.set_cause(cause);
            entry.set_state(State::Ended);
        }
        worker.mourn();
        around.notify_requests(self.place);
        if let Some(sockets) = &around.sockets {
            sockets.forget(number);
        }
        let now = around.now();
        around.ended.push((now + REMEMBERED, self.place, worker.place));
        // One that was told to leave before it was ready, by a signal that it may not yet have handled.
        let told = phase == Phase::Leaving && cause == Cause::Signal(Signal::SIGTERM as u8);
        let is_well = cause == Cause::Exit(0) || told;
        self.gone = Some((number, worker.pid()));
        // If it has failed to execute its program, the reason is in the log already.
        if !worker.has_failed {
            self.report(&worker, cause, phase, reason.as_deref(), is_well, now);
        }
        self.crew.died(now, number, Death { is_well });
        self.act(around);
    }

    fn report(
        &mut self,
        worker: &Worker,
        cause: Cause,
        phase: Phase,
        reason: Option<&str>,
        is_well: bool,
        now: Time,
    ) {
        let (busy, served) = worker.counts();
        let age = (now - worker.started).as_secs_f32();
        let is_service = worker.group.worker.threads == 0;
        let mut text = format!("worker {} {}", worker.pid(), death::describe(cause));
        text += &format!(" after {age:.1} s and {served} requests");
        if busy > 0 {
            text += &format!(" with {busy} in hand");
        }
        if let Some(reason) = reason {
            text += &format!("; {reason}");
        } else if phase == Phase::Starting && !is_service {
            text += "; it was not yet ready";
        }
        if let Some(script) = &worker.loading {
            text += &format!("; it was still loading '{}'", show(script));
        }
        if cause != Cause::Exit(0) && !worker.has_been_ready {
            text += &limits(&worker.group);
        }
        let expected = is_service || phase != Phase::Starting;
        if is_well && expected && (reason.is_some() || is_service) {
            self.note(text);
        } else if worker.killed.is_some() {
            self.fail(Level::Error, Code::WorkerKilled, text);
        } else {
            self.fail(Level::Error, Code::WorkerDied, text);
        }
    }

    fn refuse(&mut self, generation: u32, refusal: &Refusal) {
        let level = Level::Error;
        match refusal {
            Refusal::Unusable(code, text) => {
                let known = Code::from_number(*code).unwrap_or(Code::WorkerNotStarted);
                self.fail(level, known, text);
            }
            Refusal::Gone { number, loading, timeout } => {
                let gone = self.gone.filter(|(gone, _)| gone == number).map(|(_, pid)| pid);
                let pid = self.workers.get(number).map(Worker::pid).or(gone);
                let who = pid.map_or("one of them".to_owned(), |pid| format!("worker {pid}"));
                let mut text = format!("generation {generation} was given up: {who} was not ready");
                if let Some(script) = loading {
                    text += &format!("; it was still loading '{}'", show(script));
                }
                if let Some(timeout) = timeout {
                    text += &format!("; startup-timeout={timeout} has expired");
                }
                self.fail(level, Code::GenerationRefused, text);
            }
            Refusal::Superseded(loading) => {
                let mut text = format!("generation {generation} was given up for a newer one");
                if let Some(script) = loading {
                    text += &format!("; it was still loading '{}'", show(script));
                }
                self.fail(level, Code::GenerationRefused, text);
            }
            Refusal::Scripts(failed) => {
                for (path, why) in failed {
                    let path = show(path);
                    let text = format!("generation {generation} was given up: '{path}': {why}");
                    self.fail(level, Code::GenerationRefused, text);
                }
            }
        }
    }

    fn note(&self, text: impl std::fmt::Display) {
        self.log.write(Level::Info, format_args!("process group '{}': {text}", show(&self.name)));
    }

    fn fail(&mut self, level: Level, code: Code, text: impl std::fmt::Display) {
        let text = text.to_string();
        self.log.fail(level, code, format_args!("process group '{}': {text}", show(&self.name)));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.failure = Some((now.as_secs(), format!("{code}: {text}")));
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// What an operator is told of it.
    pub fn status(&self, around: &Surroundings) -> GroupStatus {
        let now = around.now();
        let worker = |worker: &Worker| {
            let (busy, served) = worker.counts();
            let entry = around.board.worker(worker.place);
            let age = (now - worker.started).as_secs();
            WorkerStatus {
                pid: worker.pid(),
                generation: entry.map_or(0, link::Worker::generation),
                state: entry.map(|entry| format!("{:?}", entry.state())).unwrap_or_default(),
                busy,
                served,
                age,
            }
        };
        GroupStatus {
            name: self.name.clone(),
            generation: self.crew.generation(),
            trouble: around.board.group(self.place).and_then(link::Group::trouble),
            failure: self.failure.clone(),
            workers: self.workers.values().map(worker).collect(),
        }
    }
}

/// The memory limits of a worker of the group, for the log: they may be why it has ended.
fn limits(group: &control::Group) -> String {
    let limits = [
        ("memory-limit", group.memory_limit),
        ("virtual-memory-limit", group.virtual_memory_limit),
    ];
    let set = limits.iter().filter(|(_, limit)| *limit > 0);
    let set: Vec<String> = set.map(|(name, limit)| format!("{name}={limit}")).collect();
    if set.is_empty() { String::new() } else { format!("; it ran with {}", set.join(" and ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use link::Shared;
    use std::fs::File;
    use std::io::{Read, Seek};
    use std::os::fd::OwnedFd;

    fn surroundings() -> Surroundings {
        let board = Shared::<Board>::create("board").unwrap().write().unwrap();
        board.begin(std::process::id());
        Surroundings {
            board,
            queue: None,
            sockets: None,
            client_user: 33,
            mask: Mode::empty(),
            files: 1024,
            began: Instant::now(),
            numbers: Rc::new(Cell::new(1)),
            ended: Vec::new(),
            sockets_due: None,
        }
    }

    #[test]
    fn a_group_goes_on_one_second_after_a_logged_internal_error() {
        let mut around = surroundings();
        let mut file = tempfile::tempfile().unwrap();
        let log = |file: &File| Log::new(OwnedFd::from(file.try_clone().unwrap()), 7);
        let wanted = control::Group { name: b"site".to_vec(), ..control::Group::default() };
        let mut group = Group::start(wanted, 0, log(&file), &mut around);
        let now = around.now();
        assert!(!group.is_paused(now));
        group.guarded(&mut around, |_, _| panic!("on purpose"));
        let now = around.now();
        assert!(group.is_paused(now) && group.descriptors(now).next().is_none());
        let next = group.next(now).unwrap();
        assert!(next > now && !group.is_paused(next));
        let mut is_called = false;
        group.guarded(&mut around, |_, _| is_called = true);
        assert!(is_called);
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert!(text.contains("WSGI1010: process group 'site': an internal error"), "{text}");
    }
}
