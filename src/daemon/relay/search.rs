//! The search for a worker that takes a request: which one it is offered to next, and when there is no hope left.

use super::{Client, Relay, STEP, Turn, now, of_worker};
use crate::daemon::connection::{Connection, Lost};
use crate::daemon::remote::Chosen;
use exchange::{Code, Outcome};
use std::io;
use std::time::{Duration, Instant};

impl<C: Client> Relay<'_, C> {
    /// How long it has been looking for a worker.
    fn waited(&mut self) -> Duration {
        self.since.get_or_insert_with(Instant::now).elapsed()
    }

    pub(super) fn is_over(&mut self, patience: Duration) -> bool {
        self.waited() >= patience
    }

    /// Whether it has waited longer than the group allows since the server received it.
    pub(super) fn is_late(&self) -> bool {
        let allowed = i64::from(self.group.terms.queue_timeout) * 1_000_000;
        let begun = self.client.head().clocks.request_start;
        allowed > 0 && now() - begun > allowed
    }

    /// A worker that is ready, for which it waits if there is hope.
    pub(super) fn worker(&mut self, except: Option<u32>) -> Result<Chosen, Outcome> {
        loop {
            let Some(posted) = self.remote.posted(self.group) else {
                return Err(self.unserved(None));
            };
            self.seen = (posted.generation(), posted.failures());
            if let Some(chosen) = self.remote.choose(self.group, except) {
                return Ok(chosen);
            }
            if let Some(trouble) = posted.trouble() {
                return Err(self.unserved(Some(trouble)));
            }
            if self.is_over(self.group.terms.patience) {
                return Err(self.unserved(None));
            }
            if self.is_late() {
                return Err(self.fail(Code::QueueTimedOut, ""));
            }
            std::thread::sleep(STEP);
        }
    }

    /// There is no worker, and perhaps it is known why and until when.
    fn unserved(&mut self, trouble: Option<(u16, u64)>) -> Outcome {
        let now = u64::try_from(now() / 1000).unwrap_or(0);
        let (code, retry) = trouble.unwrap_or_default();
        self.retry_after = Some(retry.saturating_sub(now).div_ceil(1000).max(1));
        let group = String::from_utf8_lossy(&self.group.name);
        let why = match Code::from_number(code) {
            Some(code) => format!("'{group}' ({code}: {})", code.text()),
            None => format!("'{group}'"),
        };
        self.fail(Code::NoWorker, &why)
    }

    /// A connection to a worker: an idle one, or a new one once the worker has accepted it.
    pub(super) fn connection(&mut self, chosen: &Chosen) -> Result<Box<Connection>, Turn> {
        if let Some(connection) = chosen.idle() {
            return Ok(connection);
        }
        let patience = self.group.terms.patience;
        let left = patience.saturating_sub(self.waited());
        let writing = Some(self.particulars.timeout);
        let mut knock = match self.remote.connect(chosen, left, writing) {
            Ok(knock) => knock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(Turn::Over(self.fail(Code::WorkerFull, &of_worker(chosen))));
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let why = format!("{}: {error}", of_worker(chosen));
                return Err(Turn::Over(self.fail(Code::WorkerUnreachable, &why)));
            }
            // It has gone since it was chosen.
            Err(error) if self.is_over(patience) => {
                let why = format!("{}: {error}", of_worker(chosen));
                return Err(Turn::Over(self.fail(Code::WorkerUnreachable, &why)));
            }
            Err(_) => return Err(Turn::Again(Some(chosen.number))),
        };
        loop {
            match knock.answered(chosen.number, chosen.page()) {
                Ok(Ok(connection)) => return Ok(Box::new(connection)),
                Ok(Err(still)) => knock = still,
                Err(Lost::Malformed(malformed)) => {
                    let why = format!("{}: {malformed}", of_worker(chosen));
                    return Err(Turn::Over(self.fail(Code::AnswerMalformed, &why)));
                }
                Err(_) => return Err(Turn::Again(Some(chosen.number))),
            }
            self.untaken(chosen)?;
        }
    }

    /// Nobody has taken the request for a while: whether to go on waiting for this worker.
    pub(super) fn untaken(&mut self, chosen: &Chosen) -> Result<(), Turn> {
        if self.is_late() {
            return Err(Turn::Over(self.fail(Code::QueueTimedOut, &of_worker(chosen))));
        }
        if self.is_over(self.particulars.timeout) {
            return Err(Turn::Over(self.fail(Code::WorkerTimedOut, &of_worker(chosen))));
        }
        // One that is leaving will not take it.
        let posted = self.remote.posted_worker(chosen);
        let is_ready = posted.is_some_and(|posted| posted.state() == link::State::Ready);
        if !is_ready || self.remote.has_better(self.group, chosen) {
            return Err(Turn::Again(Some(chosen.number)));
        }
        Ok(())
    }

    /// The group is being replaced: waits until it has been, or could not be.
    pub(super) fn wait_for_reload(&mut self) -> Result<(), Outcome> {
        let begun = Instant::now();
        while let Some(posted) = self.remote.posted(self.group) {
            if posted.generation() != self.seen.0 {
                return Ok(());
            }
            if posted.failures() != self.seen.1 {
                self.as_loaded = true;
                return Ok(());
            }
            if begun.elapsed() >= self.particulars.timeout {
                break;
            }
            std::thread::sleep(STEP);
        }
        Err(self.fail(Code::WorkerTimedOut, "the new processes are not ready"))
    }
}
