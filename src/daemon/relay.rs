//! One request of a group of workers: it is offered to one of them, to another as long as nobody has taken it, and the
//! answer of whoever has is relayed to the client. Made for the request, and ends with it.

use super::backlog::Backlog;
use super::body::Gathered;
use super::connection::Connection;
use super::queued_request::QueuedRequest;
use super::remote::{Group, Remote, Worker};
use exchange::{Code, Exchange, Known, Outcome, WriteError};
use link::WorkerRef;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::Request;

mod answer;
mod delivery;
mod search;

pub use answer::Instead;

/// What is said of one request besides what is in its head.
#[derive(Clone, Copy, Debug)]
pub struct Particulars {
    /// Records of this level and below are written to its log.
    pub log_level: exchange::Level,
    /// `WSGIIgnoreActivity`
    pub ignored: bool,
    /// `WSGIErrorOverride`
    pub overrides_errors: bool,
    /// How long to wait for a worker.
    pub timeout: Duration,
}

/// Whoever a request came from: what there is besides an exchange.
pub trait Client: Exchange {
    /// Waits until the client takes bytes, or `other` has some to be read, if it is to be waited for.
    fn wait(&self, other: Option<BorrowedFd<'_>>, time: Duration) -> Waited;

    /// How many bytes the client takes for certain without waiting; 0 if that cannot be known.
    fn room(&self) -> usize;

    /// Whether bytes that it was given are held in front of its socket, which has no room.
    fn holds(&self) -> bool;

    /// Moves on what is held, as far as there is room.
    ///
    /// # Errors
    /// The client is gone.
    fn push(&mut self) -> Result<(), WriteError>;

    /// Whether bytes may be kept on their way until a flush.
    fn buffers(&self) -> bool;

    /// How many bytes of its connection the client's system has acknowledged; `None` if that cannot be known.
    fn acknowledged(&self) -> Option<u64>;

    /// The client has taken nothing for `time`: sends nothing more to it and ends its connection.
    fn drop_stalled(&mut self, time: Duration);
}

/// What a wait has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// The client takes bytes without waiting; nothing if that cannot be known.
    pub takes: Option<bool>,
    /// There is something to be read.
    pub readable: bool,
}

/// How a request ended, if not as the gateway says.
pub struct Ended {
    /// As the gateway says.
    pub outcome: Outcome,
    /// What the answer asks for in its own place.
    pub instead: Option<Instead>,
    /// In how many seconds it is worth trying again.
    pub retry_after: Option<u64>,
}

/// A request on its way.
pub struct Relay<'r, C: Client> {
    remote: &'r Remote,
    group: &'r Group,
    particulars: Particulars,
    client: &'r mut C,
    body: Gathered,
    /// The worker has been given bytes of the body that the child had not gathered.
    gave_body: bool,
    /// When it began to look for a thread.
    since: Instant,
    as_loaded: bool,
    /// The generation and the failures of the group when it was offered last.
    seen: (u32, u32),
    /// How often a ready worker has not taken the request.
    rejections: u32,
    rejected_for: Duration,
    /// The client has been told of an answer.
    has_started: bool,
    /// How much of its body is still to come, if it said how long that is and has one.
    left: Option<u64>,
    backlog: Backlog,
    /// The client has not taken anything for a while, with its backlog full.
    is_slow: bool,
    /// Set while bytes wait for the client: since when it has taken nothing.
    stall: Option<delivery::Stall>,
    /// What is held in front of the client's socket shall not stay there.
    owes_flush: bool,
    instead: Option<Instead>,
    retry_after: Option<u64>,
}

/// What became of an offer.
enum Turn {
    /// The request has been answered, or never will be.
    Over(Outcome),
    /// The worker is leaving or has died and has not taken the request: it can be offered to another one.
    Again,
    /// The worker has not taken the request, and a thread of this other worker was reserved for it.
    Move(WorkerRef),
    /// The workers are being replaced by ones with the script as it is now.
    Reloading,
}

impl<'r, C: Client> Relay<'r, C> {
    /// A request whose body has been gathered as far as there was room for it.
    pub fn new(
        remote: &'r Remote,
        group: &'r Group,
        particulars: Particulars,
        client: &'r mut C,
        body: Gathered,
    ) -> Self {
        Relay {
            remote,
            group,
            particulars,
            client,
            body,
            gave_body: false,
            since: Instant::now(),
            as_loaded: false,
            seen: (0, 0),
            rejections: 0,
            rejected_for: Duration::ZERO,
            has_started: false,
            left: None,
            backlog: Backlog::default(),
            is_slow: false,
            stall: None,
            owes_flush: false,
            instead: None,
            retry_after: None,
        }
    }

    /// Runs the request to completion.
    pub fn run(mut self) -> Ended {
        let outcome = match self.remote.enqueue(self.group) {
            Some(mut queued) => self.offer_until_taken(&mut queued),
            None => self.fail(Code::NoWorker, "all slots of the request queue are in use"),
        };
        // From here on no worker is involved.
        let outcome = self.deliver(outcome);
        Ended { outcome, instead: self.instead, retry_after: self.retry_after }
    }

    /// Reserves a thread and offers the request to its worker, and repeats that until a worker has taken the request.
    fn offer_until_taken(&mut self, queued: &mut QueuedRequest<'_>) -> Outcome {
        loop {
            let mut worker = match self.worker(queued) {
                Ok(worker) => worker,
                Err(outcome) => return outcome,
            };
            let turn = loop {
                let turn = match self.connection(queued, &worker) {
                    Ok(connection) => self.offer(queued, &worker, connection),
                    Err(turn) => {
                        self.release_thread(queued, &turn, None);
                        turn
                    }
                };
                match turn {
                    Turn::Move(to) => match queued.move_to(to) {
                        Some(moved) => worker = moved,
                        None => break Turn::Again,
                    },
                    other => break other,
                }
            };
            match turn {
                Turn::Over(outcome) => return outcome,
                Turn::Reloading => {
                    if let Err(outcome) = self.wait_for_reload(queued) {
                        return outcome;
                    }
                }
                Turn::Again | Turn::Move(_) => {
                    if let Err(outcome) = self.back_off(queued) {
                        return outcome;
                    }
                }
            }
        }
    }

    fn offer(
        &mut self,
        queued: &QueuedRequest<'_>,
        worker: &Arc<Worker>,
        mut connection: Box<Connection>,
    ) -> Turn {
        let mut request = Request {
            serial: 0,
            head: self.client.head(),
            carried: self.body.carried(),
            broken: self.body.broken,
            log_level: self.particulars.log_level,
            as_loaded: self.as_loaded,
            ignored: self.particulars.ignored,
        };
        let turn = match connection.offer(&mut request, self.body.file()) {
            Ok(true) => self.relay(queued, worker, &mut connection),
            Ok(false) => Turn::Over(self.fail(Code::RequestTooLarge, "")),
            // What was written of it may be enough for the worker.
            Err(_) if connection.withdraw() => Turn::Again,
            Err(error) => self.died(queued, worker, error.kind()),
        };
        self.release_thread(queued, &turn, Some((worker, connection)));
        turn
    }

    /// Gives back the thread of the worker, or leaves that to the worker if the thread is still busy with the request.
    fn release_thread(
        &self,
        queued: &QueuedRequest<'_>,
        turn: &Turn,
        used: Option<(&Arc<Worker>, Box<Connection>)>,
    ) {
        queued.stop_waiting_for_another();
        // Then the thread of the worker before is given back together with the move.
        let moves = matches!(turn, Turn::Move(_));
        match used {
            Some((worker, connection)) if connection.is_finished() && connection.is_clean() => {
                worker.keep(connection);
            }
            Some((_, connection)) if connection.give_up() => {
                drop(connection);
                return queued.leave_busy();
            }
            _ => {}
        }
        if !moves {
            queued.give_back();
        }
    }

    /// Waits for an answer longer than a tick.
    fn wait(
        &mut self,
        queued: &QueuedRequest<'_>,
        worker: &Worker,
        connection: &Connection,
    ) -> Result<(), Turn> {
        let timeout = self.particulars.timeout;
        if connection.is_taken() {
            queued.stop_waiting_for_another();
            if connection.wait(timeout) {
                return Ok(());
            }
            return Err(Turn::Over(self.fail(Code::WorkerTimedOut, &of_worker(worker))));
        }
        let turn = match self.untaken(queued, worker) {
            Ok(()) => return Ok(()),
            Err(turn) => turn,
        };
        if connection.withdraw() {
            return Err(turn);
        }
        if let Turn::Move(to) = turn {
            queued.cancel_move(to);
        }
        if connection.is_taken() {
            return Ok(());
        }
        let why = format!("{}: the state of the request is impossible", of_worker(worker));
        Err(Turn::Over(self.fail(Code::AnswerMalformed, &why)))
    }

    /// The worker has gone with the request in its hands.
    fn died(&mut self, queued: &QueuedRequest<'_>, worker: &Worker, how: io::ErrorKind) -> Turn {
        let cause = self.cause(queued, worker);
        let is_timeout = cause.is_some() && cause == link::Cause::of_timer("request-timeout");
        let code = match self.started() {
            _ if is_timeout => Code::RequestTimedOut,
            true => Code::WorkerBrokeOff,
            false => Code::AnswerMissing,
        };
        let head = self.client.head();
        let age = self.since.elapsed().as_secs_f64();
        let url = head.variables.get(Known::RequestUri).unwrap_or_default();
        let line = format!(
            "request {} {} after {age:.3} s; {}: {}",
            String::from_utf8_lossy(&head.id),
            String::from_utf8_lossy(url),
            of_worker(worker),
            cause.map_or_else(|| self.unexplained(how), said),
        );
        Turn::Over(self.fail(code, &line))
    }

    /// The cause of a worker's death if the supervisor has not written one.
    fn unexplained(&self, how: io::ErrorKind) -> String {
        let supervisor = self.remote.supervisor();
        match crate::httpd::process::exists(supervisor) {
            false => format!("it ended after its supervisor (process {supervisor}) had died"),
            true => format!("the connection ended ({how}); how the process ended is not known"),
        }
    }

    /// How a worker ended, as the supervisor says it, which may take a moment.
    fn cause(&self, queued: &QueuedRequest<'_>, worker: &Worker) -> Option<link::Cause> {
        const PATIENCE: Duration = Duration::from_millis(200);
        let until = Instant::now() + PATIENCE;
        loop {
            let cause = self.remote.posted_worker(worker)?.cause();
            let left = until.saturating_duration_since(Instant::now());
            if cause.is_some() || left.is_zero() {
                return cause;
            }
            // The request no longer waits for a thread, so its slot can watch the group.
            let is_unknown =
                || self.remote.posted_worker(worker).is_some_and(|posted| posted.cause().is_none());
            queued.await_change(left, is_unknown);
        }
    }

    /// Notes a failure, and makes of it how the request ended.
    fn fail(&mut self, code: Code, particulars: &str) -> Outcome {
        let line = crate::httpd::log::line(code, particulars.as_bytes());
        self.client.note(&exchange::Record::new(exchange::Level::Error, &line));
        match self.started() {
            true => Outcome::Truncated(code.into()),
            false => Outcome::Unanswered(code.into()),
        }
    }
}

/// Microseconds since the epoch.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

fn of_worker(worker: &Worker) -> String {
    format!("process {}", worker.pid)
}

/// A cause in words.
fn said(cause: link::Cause) -> String {
    use nix::sys::signal::Signal;
    match cause {
        link::Cause::Exit(code) => format!("it ended with exit code {code}"),
        link::Cause::Signal(number) => match Signal::try_from(i32::from(number)) {
            Ok(signal) => format!("it was ended by {signal}"),
            Err(_) => format!("it was ended by signal {number}"),
        },
        link::Cause::OutOfMemory => "it was killed because memory had run out".to_owned(),
        link::Cause::Timer(number) => {
            let timers = link::Cause::TIMERS;
            format!("it was ended by {}", timers.get(usize::from(number)).unwrap_or(&"a timer"))
        }
    }
}
