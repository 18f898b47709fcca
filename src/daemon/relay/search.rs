//! The search for a worker that takes a request: a thread is reserved or waited for, and when there is no hope the request fails.

use super::{Client, Relay, Turn, of_worker};
use crate::daemon::connection::{Connection, Knock, Lost};
use crate::daemon::remote::{QueuedRequest, Worker};
use exchange::{Code, Outcome};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request that waits for a thread looks again by itself after so long: the memory that all children share says who is woken, and
/// what stands there may be wrong.
const PULSE: Duration = Duration::from_secs(5);

impl<C: Client> Relay<'_, C> {
    /// How long it has been looking for a thread.
    fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// How long it may still wait for a thread: as long as `queue-timeout` and the time for a worker allow. And what it fails with
    /// when that is over.
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

    /// A worker that has a thread for the request, which waits for one if there is hope.
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
            queued.wait_in_line();
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

    /// Waits in line until the request is given a thread. `None` if it has to look for its group or a worker again.
    fn wait_for_thread(
        &mut self,
        queued: &mut QueuedRequest<'_>,
        posted: &link::Group,
        without_worker: &mut Option<Instant>,
    ) -> Result<Option<Arc<Worker>>, Outcome> {
        loop {
            let seen = queued.wake_count();
            if let Some(trouble) = posted.trouble() {
                return self.last_chance(queued, |relay| relay.unserved(Some(trouble)));
            }
            let (mut time, code) = self.allowed();
            if time.is_zero() {
                return self.last_chance(queued, |relay| relay.fail(code, "no thread was free"));
            }
            if queued.has_ready() {
                *without_worker = None;
            } else {
                let since = *without_worker.get_or_insert_with(Instant::now);
                let left = self.group.terms.patience.saturating_sub(since.elapsed());
                if left.is_zero() {
                    return self.last_chance(queued, |relay| relay.unserved(None));
                }
                time = time.min(left);
            }
            if let Some(worker) = queued.await_grant(seen, time.min(PULSE)) {
                return Ok(Some(worker));
            }
            if queued.has_moved() {
                return Ok(queued.stop_waiting());
            }
        }
    }

    /// The request waits no longer, and fails unless it has been given a thread just now.
    fn last_chance(
        &mut self,
        queued: &QueuedRequest<'_>,
        fail: impl FnOnce(&mut Self) -> Outcome,
    ) -> Result<Option<Arc<Worker>>, Outcome> {
        match queued.stop_waiting() {
            Some(worker) => Ok(Some(worker)),
            None => Err(fail(self)),
        }
    }

    /// A worker that was ready has not taken it: waits a moment longer each time.
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
        queued.await_news(time, || true);
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
            queued.await_news(left.min(PULSE), is_old);
        }
        Err(self.fail(Code::WorkerTimedOut, "the new processes are not ready"))
    }
}
