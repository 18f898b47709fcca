//! A group that runs: its crew, its workers, its log, its place on the board. What the crew decides is done here.

use super::crew::{Action, Crew, Death, Phase, Refusal, Stamp, Time};
use super::death;
use super::log::{Log, show};
use super::sockets::Sockets;
use super::worker::{Beginning, NotStarted, Worker};
use exchange::{Code, Level};
use link::{Board, Cause, State};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::sys::wait::WaitStatus;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::control::{self, FromWorker, GroupStatus, ToWorker, WorkerStatus};

/// How long the board says how a worker ended.
const REMEMBERED: Duration = Duration::from_secs(2);

/// What all groups share.
pub struct Surroundings {
    /// Where everybody reads which workers there are.
    pub board: &'static Board,
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

    /// A time as milliseconds since the epoch.
    fn date(&self, time: Time) -> u64 {
        let wait = time.saturating_sub(self.now());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (now + wait).as_millis().try_into().unwrap_or(u64::MAX)
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
}

impl Group {
    /// A group, and its first workers.
    pub fn start(wanted: control::Group, place: u32, log: Log, around: &mut Surroundings) -> Group {
        let (name, wanted) = (wanted.name.clone(), Rc::new(wanted));
        let entry = around.board.group(place);
        entry.iter().for_each(|entry| entry.set_trouble(None));
        let before = entry.map_or(0, link::Group::generation);
        let jail = wanted.chroot.clone().unwrap_or_default();
        let numbers = Rc::clone(&around.numbers);
        let look = move |path: &[u8]| look(&jail, path);
        let crew = Crew::new(around.now(), wanted, before, numbers, look);
        let workers = BTreeMap::new();
        let mut group = Group { place, crew, workers, name, log, failure: None };
        group.act(around);
        group
    }

    /// It is wanted like this from now on, and has this log.
    pub fn configure(&mut self, wanted: control::Group, log: Log, around: &mut Surroundings) {
        self.set_log(wanted.log_level, log);
        self.reconfigure(wanted, around);
    }

    /// It is wanted from now on, and has this log. How its workers are to be is not known yet.
    pub fn set_log(&mut self, log_level: u8, log: Log) {
        self.crew.want();
        self.log = log;
        let message = ToWorker::Log { log_level };
        for worker in self.workers.values() {
            worker.tell(&message, &[self.log.as_fd()]);
        }
    }

    /// It is wanted like this from now on.
    pub fn reconfigure(&mut self, wanted: control::Group, around: &mut Surroundings) {
        self.crew.configure(around.now(), Rc::new(wanted));
        self.act(around);
    }

    /// Does what the crew has decided.
    pub fn act(&mut self, around: &mut Surroundings) {
        loop {
            let actions = self.crew.actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.perform(action, around);
            }
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
                let Some(worker) = self.workers.get(&number) else { return };
                let patience = patience.as_millis().try_into().ok();
                worker.dismiss(reason, patience);
            }
            Action::Leaving { number } => self.set_state(number, State::Leaving, around),
            Action::Keep { number, path } => {
                if let Some(worker) = self.workers.get(&number) {
                    worker.tell(&ToWorker::Keep(path), &[]);
                }
            }
            Action::Kill { number, timer } => {
                if let Some(worker) = self.workers.get_mut(&number) {
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
        match Worker::start(now, beginning, self.place, around, &self.log) {
            Ok(worker) => {
                let pid = worker.pid();
                self.note(format_args!("worker {pid} was started"));
                self.workers.insert(number, worker);
            }
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

    /// Reads what a worker has said.
    pub fn hear(&mut self, number: u32, around: &mut Surroundings) {
        let now = around.now();
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let heard = worker.hear(now);
        let (pid, is_confused) = (worker.pid(), std::mem::take(&mut worker.is_confused));
        if is_confused {
            let text = format!("worker {pid} said something that is no message; it is ended");
            self.fail(Level::Error, Code::SupervisorConfused, text);
        }
        for message in heard {
            let crew = &mut self.crew;
            match message {
                FromWorker::Ready { failed } => crew.ready(now, number, failed),
                FromWorker::Loaded(script) => crew.loaded(script),
                FromWorker::Changed(path) => crew.changed(now, number, path),
                FromWorker::Replace { reason } => crew.replace(now, number, reason),
                FromWorker::Leaving { reason } => crew.leaving(now, number, reason),
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
        self.crew.tick(now);
        self.act(around);
    }

    /// When [`tick`](Group::tick) is to be called at the latest.
    pub fn next(&self) -> Option<Time> {
        let due = |worker: &Worker| if worker.has_more { Some(Time::ZERO) } else { worker.lost };
        let lost = self.workers.values().filter_map(due).min();
        self.crew.next().into_iter().chain(lost).min()
    }

    /// A worker was reaped.
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
        if let Some(sockets) = &around.sockets {
            sockets.forget(number);
        }
        let now = around.now();
        around.ended.push((now + REMEMBERED, self.place, worker.place));
        // One that was told to leave before it was ready, by a signal that it may not yet have handled.
        let told = phase == Phase::Leaving && cause == Cause::Signal(Signal::SIGTERM as u8);
        let is_well = cause == Cause::Exit(0) || told;
        self.report(&worker, cause, phase, reason.as_deref(), is_well, now);
        let has_served = worker.counts().1 > 0;
        self.crew.died(now, number, Death { is_well, has_served });
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
            Refusal::Gone(number) => {
                let pid = self.workers.get(number).map(Worker::pid);
                let who = pid.map_or("one of them".to_owned(), |pid| format!("worker {pid}"));
                let text = format!("generation {generation} was given up: {who} was not ready");
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

/// When a script was last changed. `None` if there is none; where it may not be seen, there may be one.
fn look(jail: &[u8], path: &[u8]) -> Option<Stamp> {
    let path = [jail, path].concat();
    match std::fs::metadata(Path::new(OsStr::from_bytes(&path))) {
        Ok(found) => Some((found.mtime(), found.mtime_nsec(), found.ino(), found.size())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(Stamp::default()),
    }
}
