//! The search for a worker that takes a request: reserves a thread or waits for one, and fails the request when a timeout expires or the
//! group has no workers.

use super::{Client, Relay, Turn, of_worker};
use crate::daemon::connection::{Connection, Knock, Lost};
use crate::daemon::queued_request::QueuedRequest;
use crate::daemon::remote::Worker;
use exchange::{Code, Outcome};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A waiting request checks by itself at least this often: the memory that decides which request is woken is writable by all children,
/// so a wake-up can be lost.
const RECHECK: Duration = Duration::from_secs(5);

impl<C: Client> Relay<'_, C> {
    /// How long the request has been waiting for a thread.
    fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// How long the request may still wait for a thread, by `queue-timeout` and `socket-timeout`, and the error code when that has
    /// expired.
    fn allowed(&self) -> (Duration, Code) {
        let timeout = (self.particulars.timeout, Code::WorkerTimedOut);
        let limit = match self.group.terms.queue_timeout {
            0 => timeout,
            seconds => {
                let queue_timeout = (Duration::from_secs(seconds.into()), Code::QueueTimedOut);
                if timeout.0 < queue_timeout.0 { timeout } else { queue_timeout }
            }
        };
        (limit.0.saturating_sub(self.waited()), limit.1)
    }

    /// Reserves a thread for the request, or waits for one; returns its worker. Fails when a timeout expires or the group has trouble.
    pub(super) fn worker(
        &mut self,
        queued: &mut QueuedRequest<'_>,
    ) -> Result<Arc<Worker>, Outcome> {
        let mut without_worker: Option<Instant> = None;
        loop {
            let Some(posted) = queued.locate().and_then(|_| self.remote.posted(self.group)) else {
                self.wait_for_group(&mut without_worker)?;
                continue;
            };
            self.seen = (posted.generation(), posted.failures());
            if let Some(worker) = queued.reserve() {
                return Ok(worker);
            }
            queued.start_waiting();
            let granted = self.wait_for_thread(queued, posted, &mut without_worker)?;
            self.seen = (posted.generation(), posted.failures());
            if let Some(worker) = granted {
                return Ok(worker);
            }
        }
    }

    /// The group is not on the board: the supervisor has just been started, or has not read the configuration yet.
    fn wait_for_group(&mut self, without_worker: &mut Option<Instant>) -> Result<(), Outcome> {
        const STEP: Duration = Duration::from_millis(20);
        let since = *without_worker.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.group.terms.patience {
            return Err(self.unserved(None));
        }
        std::thread::sleep(STEP);
        Ok(())
    }

    /// Waits until the request is given a thread. `None` if the caller must look up the group or a worker again.
    fn wait_for_thread(
        &mut self,
        queued: &mut QueuedRequest<'_>,
        posted: &link::Group,
        without_worker: &mut Option<Instant>,
    ) -> Result<Option<Arc<Worker>>, Outcome> {
        loop {
            let seen = queued.wake_count();
            if let Some(trouble) = posted.trouble() {
                return self.fail_unless_granted(queued, |relay| relay.unserved(Some(trouble)));
            }
            let (mut time, code) = self.allowed();
            if time.is_zero() {
                return self
                    .fail_unless_granted(queued, |relay| relay.fail(code, "no thread was free"));
            }
            if queued.has_ready() {
                *without_worker = None;
            } else {
                let since = *without_worker.get_or_insert_with(Instant::now);
                let left = self.group.terms.patience.saturating_sub(since.elapsed());
                if left.is_zero() {
                    return self.fail_unless_granted(queued, |relay| relay.unserved(None));
                }
                time = time.min(left);
            }
            if let Some(worker) = queued.await_grant(seen, time.min(RECHECK)) {
                return Ok(Some(worker));
            }
            if queued.has_moved() {
                return Ok(queued.stop_waiting());
            }
        }
    }

    /// The request stops waiting and fails, unless it has been given a thread meanwhile.
    fn fail_unless_granted(
        &mut self,
        queued: &QueuedRequest<'_>,
        fail: impl FnOnce(&mut Self) -> Outcome,
    ) -> Result<Option<Arc<Worker>>, Outcome> {
        match queued.stop_waiting() {
            Some(worker) => Ok(Some(worker)),
            None => Err(fail(self)),
        }
    }

    /// A ready worker has not taken the request. From the fourth time on waits 1 ms, 2 ms, … up to 20 ms; fails when these waits add up
    /// to `connect-timeout`.
    pub(super) fn back_off(&mut self, queued: &QueuedRequest<'_>) -> Result<(), Outcome> {
        const FIRST: Duration = Duration::from_millis(1);
        const LONGEST: Duration = Duration::from_millis(20);
        self.rejections += 1;
        if self.rejections <= 3 {
            return Ok(());
        }
        if self.rejected_for >= self.group.terms.patience {
            return Err(self.fail(Code::WorkersRestarting, ""));
        }
        let time = LONGEST.min(FIRST * (self.rejections - 3));
        self.rejected_for += time;
        queued.await_change(time, || true);
        Ok(())
    }

    /// There is no worker, and perhaps it is known why and until when.
    fn unserved(&mut self, trouble: Option<(u16, u64)>) -> Outcome {
        let (code, retry) = trouble.unwrap_or_default();
        let wait = retry.saturating_sub(link::milliseconds());
        self.retry_after = Some(wait.div_ceil(1000).max(1));
        let group = String::from_utf8_lossy(&self.group.name);
        let why = match Code::from_number(code) {
            Some(code) => format!("'{group}' ({code}: {})", code.text()),
            None => format!("'{group}'"),
        };
        self.fail(Code::NoWorker, &why)
    }

    /// A connection to a worker: an idle one, or a new one once the worker has accepted it.
    pub(super) fn connection(
        &mut self,
        queued: &QueuedRequest<'_>,
        worker: &Worker,
    ) -> Result<Box<Connection>, Turn> {
        if let Some(connection) = worker.idle() {
            return Ok(connection);
        }
        let mut knock = self.knock(queued, worker)?;
        loop {
            match knock.answered(worker.number, worker.page()) {
                Ok(Ok(connection)) => return Ok(Box::new(connection)),
                Ok(Err(still)) => knock = still,
                Err(Lost::Malformed(malformed)) => {
                    let why = format!("{}: {malformed}", of_worker(worker));
                    return Err(Turn::Over(self.fail(Code::AnswerMalformed, &why)));
                }
                Err(_) => return Err(Turn::Again),
            }
            self.untaken(queued, worker)?;
        }
    }

    /// A connection to a worker, which has not accepted it. Connections that were given up before the worker accepted them stay in the
    /// queue of its socket, so a worker that is stopped has a full one, and the request must be able to go elsewhere.
    fn knock(&mut self, queued: &QueuedRequest<'_>, worker: &Worker) -> Result<Knock, Turn> {
        /// How long it waits for room in that queue before it looks for a thread of another worker.
        const STEP: Duration = Duration::from_millis(30);
        let patience = self.group.terms.patience;
        let writing = Some(self.particulars.timeout);
        let since = Instant::now();
        loop {
            let left = patience.saturating_sub(since.elapsed());
            let error = match self.remote.connect(self.group, worker, STEP.min(left), writing) {
                Ok(knock) => return Ok(knock),
                Err(error) => error,
            };
            let code = match error.kind() {
                io::ErrorKind::WouldBlock if since.elapsed() < patience => {
                    self.untaken(queued, worker)?;
                    continue;
                }
                io::ErrorKind::WouldBlock => {
                    return Err(Turn::Over(self.fail(Code::WorkerFull, &of_worker(worker))));
                }
                io::ErrorKind::PermissionDenied => Code::WorkerUnreachable,
                // It has gone since its thread was reserved.
                _ if self.rejected_for >= patience => Code::WorkerUnreachable,
                _ => return Err(Turn::Again),
            };
            let why = format!("{}: {error}", of_worker(worker));
            return Err(Turn::Over(self.fail(code, &why)));
        }
    }

    /// The worker has not taken the request for a while: whether to go on waiting for it. A worker whose interpreter is held by one
    /// thread takes nothing, although other threads are free.
    pub(super) fn untaken(
        &mut self,
        queued: &QueuedRequest<'_>,
        worker: &Worker,
    ) -> Result<(), Turn> {
        let (time, code) = self.allowed();
        if time.is_zero() {
            return Err(Turn::Over(self.fail(code, &of_worker(worker))));
        }
        // One that is leaving will not take it.
        let posted = self.remote.posted_worker(worker);
        if posted.is_none_or(|posted| posted.state() != link::State::Ready) {
            return Err(Turn::Again);
        }
        match queued.reserve_another(worker) {
            Some(other) => Err(Turn::Move(other)),
            None => Ok(()),
        }
    }

    /// The group is being replaced: waits until it has been, or could not be.
    pub(super) fn wait_for_reload(&mut self, queued: &QueuedRequest<'_>) -> Result<(), Outcome> {
        let until = Instant::now() + self.particulars.timeout;
        while let Some(posted) = self.remote.posted(self.group) {
            if posted.generation() != self.seen.0 {
                return Ok(());
            }
            if posted.failures() != self.seen.1 {
                self.as_loaded = true;
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let seen = self.seen;
            let is_old = || (posted.generation(), posted.failures()) == seen;
            queued.await_change(left.min(RECHECK), is_old);
        }
        Err(self.fail(Code::WorkerTimedOut, "the new processes are not ready"))
    }
}
