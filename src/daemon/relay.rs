//! One request of a group of workers: it is offered to one of them, to another as long as nobody has taken it, and the
//! answer of whoever has is relayed to the client. Made for the request, and ends with it.

use super::backlog::Backlog;
use super::body::Gathered;
use super::connection::Connection;
use super::remote::{Chosen, Group, Remote};
use exchange::{Code, Exchange, Known, Outcome, WriteError};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::{Carried, Request};

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

    /// How many bytes of its connection the other end has acknowledged; `None` if that cannot be known.
    fn acknowledged(&self) -> Option<u64>;

    /// It has taken nothing for so long: nothing more is sent to it, and its connection ends.
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
    body: Option<Gathered>,
    /// When it began to look for a worker; known once it has had to wait.
    since: Option<Instant>,
    as_loaded: bool,
    /// The generation and the failures of the group when it was offered last.
    seen: (u32, u32),
    rejections: u32,
    /// The client has been told of an answer.
    has_started: bool,
    /// How much of its body is still to come, if it said how long that is and has one.
    left: Option<u64>,
    backlog: Backlog,
    /// The client has not taken anything for a while, with its backlog full.
    is_slow: bool,
    /// Since when the client has taken nothing of what waits for it.
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
    /// Nobody has taken it: another worker may have it; not this one, if there is another.
    Again(Option<u32>),
    /// The workers are being replaced by ones with the script as it is now.
    Reloading,
}

impl<'r, C: Client> Relay<'r, C> {
    /// A request whose body has been gathered, unless it is to be read when the worker asks for it.
    pub fn new(
        remote: &'r Remote,
        group: &'r Group,
        particulars: Particulars,
        client: &'r mut C,
        body: Option<Gathered>,
    ) -> Self {
        Relay {
            remote,
            group,
            particulars,
            client,
            body,
            since: None,
            as_loaded: false,
            seen: (0, 0),
            rejections: 0,
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

    /// Has it answered.
    pub fn run(mut self) -> Ended {
        let outcome = self.find_taker();
        Ended { outcome, instead: self.instead, retry_after: self.retry_after }
    }

    fn find_taker(&mut self) -> Outcome {
        let mut except = None;
        loop {
            let chosen = match self.worker(except.take()) {
                Ok(chosen) => chosen,
                Err(outcome) => return outcome,
            };
            let turn = match self.connection(&chosen) {
                Ok(connection) => self.offer(&chosen, connection),
                Err(turn) => turn,
            };
            match turn {
                Turn::Over(outcome) => {
                    // The worker has nothing to do with the rest.
                    drop(chosen);
                    return self.deliver(outcome);
                }
                Turn::Again(worker) => except = worker,
                Turn::Reloading => {
                    if let Err(outcome) = self.wait_for_reload() {
                        return outcome;
                    }
                }
            }
            // Workers that reject as fast as they are asked shall not keep this thread busy.
            self.rejections += 1;
            if self.rejections > 3 && self.is_over(self.group.terms.patience) {
                return self.fail(Code::WorkersRestarting, "");
            }
            if self.rejections > 3 {
                std::thread::sleep(STEP);
            }
        }
    }

    fn offer(&mut self, chosen: &Chosen, mut connection: Box<Connection>) -> Turn {
        let file = self.body.as_ref().and_then(Gathered::file);
        let mut request = Request {
            serial: 0,
            head: self.client.head(),
            carried: self.body.as_ref().map_or(Carried::OnDemand, Gathered::carried),
            broken: self.body.as_ref().and_then(|body| body.broken),
            log_level: self.particulars.log_level,
            as_loaded: self.as_loaded,
            ignored: self.particulars.ignored,
            queue_timeout: self.group.terms.queue_timeout,
        };
        match connection.offer(&mut request, file) {
            Ok(true) => self.relay(chosen, connection),
            Ok(false) => Turn::Over(self.fail(Code::RequestTooLarge, "")),
            // What was written of it may be enough for the worker.
            Err(_) if connection.withdraw() => Turn::Again(None),
            Err(error) => self.died(chosen, error.kind()),
        }
    }

    /// Waits for an answer longer than a tick.
    fn wait(&mut self, chosen: &Chosen, connection: &Connection) -> Result<(), Turn> {
        let timeout = self.particulars.timeout;
        if connection.is_taken() {
            if connection.wait(timeout) {
                return Ok(());
            }
            return Err(Turn::Over(self.fail(Code::WorkerTimedOut, &of_worker(chosen))));
        }
        match self.untaken(chosen) {
            Err(turn) if connection.withdraw() => Err(turn),
            _ => Ok(()),
        }
    }

    /// The worker has gone with the request in its hands.
    fn died(&mut self, chosen: &Chosen, how: io::ErrorKind) -> Turn {
        let code = match self.started() {
            true => Code::WorkerBrokeOff,
            false => Code::AnswerMissing,
        };
        let head = self.client.head();
        let age = (now() - head.clocks.request_start) as f64 / 1e6;
        let url = head.variables.get(Known::RequestUri).unwrap_or_default();
        let cause = self.cause(chosen).unwrap_or_else(|| how.to_string());
        let line = format!(
            "request {} {} after {age:.3} s; {}: {cause}",
            String::from_utf8_lossy(&head.id),
            String::from_utf8_lossy(url),
            of_worker(chosen),
        );
        Turn::Over(self.fail(code, &line))
    }

    /// How a worker ended, as the supervisor says it, which may take a moment.
    fn cause(&self, chosen: &Chosen) -> Option<String> {
        const PATIENCE: u32 = 100;
        for _ in 0..PATIENCE {
            match self.remote.posted_worker(chosen)?.cause() {
                Some(cause) => return Some(said(cause)),
                None => std::thread::sleep(STEP),
            }
        }
        None
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

/// How long to sleep between two looks at the board.
const STEP: Duration = Duration::from_millis(1);

/// Microseconds since the epoch.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

fn of_worker(chosen: &Chosen) -> String {
    format!("process {}", chosen.pid)
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
