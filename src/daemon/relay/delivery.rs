//! The body of an answer on its way to the client. As long as the client takes it, it goes straight through; what it does
//! not take waits here, so that the worker need not. A client that has taken nothing for `response-socket-timeout` (default:
//! `Timeout`) is dropped, however many bytes wait for it and whatever the worker does. The connection to the worker ends with the
//! request, and the worker then calls the application's `close()`.

use super::answer::Broken;
use super::{Client, Connection, Relay};
use crate::daemon::connection::PIECE;
use crate::daemon::spool::Spooled;
use exchange::{Code, Outcome, Push, WriteError};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Few enough bytes to be in the socket of a client that has room, whatever is asked for besides.
const FEW: usize = 8 * 1024;
/// How long a client whose backlog is full in memory is waited for before the disk is used.
const MOMENT: Duration = Duration::from_millis(20);
/// With HTTP/2 the child cannot know whether the client takes bytes. After this time it writes some even if the worker has more to
/// read: if the client takes none, the write fails after `Timeout`.
const OVERDUE: Duration = Duration::from_secs(1);

/// Measures for how long a client has taken nothing. Made when bytes begin to wait for it, dropped when it takes some of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    since: Instant,
    looked: Instant,
    /// How many bytes the client's system had acknowledged at the last check: outer `None` before the first check, inner `None` if that
    /// cannot be known.
    acknowledged: Option<Option<u64>>,
}

impl Stall {
    fn new(now: Instant) -> Stall {
        Stall { since: now, looked: now, acknowledged: None }
    }

    /// How long the caller may wait until the next check. `None` if the client has taken nothing for `timeout`.
    ///
    /// A socket has room again only when a third of its buffer is free. A client that reads slowly may need longer than `timeout` for
    /// that, so this checks four times in `timeout` whether the client's system has acknowledged more bytes. The first check has
    /// nothing to compare with and counts as progress, so a client is dropped between 1 and 1.25 times `timeout` after the last byte
    /// that it took.
    fn check(
        &mut self,
        now: Instant,
        timeout: Duration,
        acknowledged: impl FnOnce() -> Option<u64>,
    ) -> Option<Duration> {
        let step = timeout / 4;
        let is_over = now.saturating_duration_since(self.since) >= timeout;
        if is_over || now.saturating_duration_since(self.looked) >= step {
            self.looked = now;
            let acknowledged = Some(acknowledged());
            if self.acknowledged != acknowledged {
                self.acknowledged = acknowledged;
                self.since = now;
            }
        }
        let left = timeout.checked_sub(now.saturating_duration_since(self.since));
        let left = left.filter(|left| !left.is_zero())?;
        let next = step.saturating_sub(now.saturating_duration_since(self.looked));
        // Waits are in whole milliseconds.
        Some(left.min(next).max(Duration::from_millis(1)))
    }
}

impl<C: Client> Relay<'_, C> {
    /// Gives bytes of the body to the client, or has them wait.
    pub(super) fn send(
        &mut self,
        connection: &Connection,
        at: Range<usize>,
        push: Push,
    ) -> Result<(), Broken> {
        let mut at = at;
        let mut must_go = false;
        let limit = self.group.terms.answer_memory;
        loop {
            while self.backlog.is_empty() && !self.client.holds() {
                let most = self.takes(connection, must_go);
                if most == 0 {
                    break;
                }
                let end = at.end.min(at.start.saturating_add(most));
                let push = if end == at.end { push } else { Push::Hold };
                self.give(connection.bytes(at.start..end), push)?;
                if end == at.end {
                    return Ok(());
                }
                at.start = end;
            }
            if self.backlog.is_full(limit) && !self.is_slow {
                match self.client.wait(None, MOMENT).takes {
                    Some(true) => {
                        self.send_first()?;
                        continue;
                    }
                    Some(false) => self.is_slow = true,
                    None => {}
                }
            }
            let bytes = connection.bytes(at.clone());
            match self.backlog.add(bytes, limit, &self.group.spool) {
                Ok(()) => {
                    self.owes_flush |= push == Push::Flush;
                    return Ok(());
                }
                // From here on nothing is read from the worker until the client has taken some bytes.
                Err(no_room) => {
                    if !must_go {
                        self.group.spool.note(&no_room, Spooled::Response);
                    }
                    self.wait_for_client()?;
                    must_go = true;
                }
            }
        }
    }

    /// Gives bytes to a client that has room. More than a few go without a flush: what the socket does not take is held
    /// in front of it then, and nobody waits.
    fn give(&mut self, bytes: &[u8], push: Push) -> Result<(), WriteError> {
        let waits = bytes.len() <= FEW || self.client.buffers();
        self.owes_flush = push == Push::Flush && !waits;
        self.client.write(bytes, if waits { push } else { Push::Hold })
    }

    /// How many bytes the client takes without waiting. If that cannot be known, some are written when the worker has nothing to read,
    /// or if `must_go`.
    fn takes(&self, connection: &Connection, must_go: bool) -> usize {
        let room = self.client.room();
        if room >= PIECE {
            return room;
        }
        let waited = self.client.wait(None, Duration::ZERO);
        if waited.takes.unwrap_or_else(|| must_go || !connection.has_unread()) { PIECE } else { 0 }
    }

    /// As long as something waits for the client and nothing comes from the worker: has the client take of it.
    pub(super) fn pass_time(&mut self, connection: &mut Connection) -> Result<(), Broken> {
        while !self.backlog.is_empty() || (self.owes_flush && self.client.holds()) {
            let time = self.patience()?;
            let (waited, has_more) = if connection.has_unread() {
                (self.client.wait(None, Duration::ZERO), true)
            } else {
                // Without the worker: it has just said something, so nobody is waited for.
                connection.wait_with(|worker| {
                    let time = if worker.is_some() { time } else { Duration::ZERO };
                    self.client.wait(worker, time)
                })?
            };
            match waited.takes {
                Some(true) => self.send_first()?,
                None if !has_more || self.is_overdue() => self.send_first()?,
                _ => {}
            }
            if has_more {
                return Ok(());
            }
        }
        self.is_slow = false;
        self.stall = None;
        Ok(())
    }

    /// How long to wait for the client until the next check.
    ///
    /// # Errors
    /// The client has taken nothing for `response-socket-timeout` and has been dropped.
    fn patience(&mut self) -> Result<Duration, WriteError> {
        let (now, timeout) = (Instant::now(), self.client_timeout());
        let stall = self.stall.get_or_insert_with(|| Stall::new(now));
        match stall.check(now, timeout, || self.client.acknowledged()) {
            Some(time) => Ok(time),
            None => {
                self.client.drop_stalled(timeout);
                Err(WriteError::Gone)
            }
        }
    }

    fn is_overdue(&self) -> bool {
        let longest = OVERDUE.min(self.client_timeout() / 2);
        self.stall.is_some_and(|stall| stall.since.elapsed() >= longest)
    }

    /// Waits until the client takes some of the waiting bytes, and writes them.
    fn wait_for_client(&mut self) -> Result<(), Broken> {
        loop {
            let time = self.patience()?;
            if self.client.wait(None, time).takes != Some(false) {
                return self.send_first();
            }
        }
    }

    fn client_timeout(&self) -> Duration {
        self.group.terms.client_timeout.unwrap_or(self.particulars.timeout)
    }

    /// Sends what has waited longest, as far as nobody has to wait for it.
    fn send_first(&mut self) -> Result<(), Broken> {
        self.stall = None;
        if self.client.holds() {
            self.client.push()?;
            return Ok(());
        }
        let bytes = self.backlog.first(PIECE)?;
        let count = bytes.len();
        let push = if self.client.buffers() { Push::Flush } else { Push::Hold };
        self.client.write(bytes, push)?;
        self.backlog.take(count);
        Ok(())
    }

    /// Sends all that waits, however long the client takes.
    pub(super) fn send_all(&mut self) -> Result<(), Broken> {
        while !self.backlog.is_empty() {
            self.wait_for_client()?;
        }
        Ok(())
    }

    /// The worker has nothing to say any more: sends what waits, and says how the request ended.
    pub(super) fn deliver(&mut self, outcome: Outcome) -> Outcome {
        match self.send_all() {
            Ok(()) => outcome,
            Err(Broken::Client(WriteError::Refused)) => {
                Outcome::Truncated(Code::AnswerRefused.into())
            }
            Err(Broken::Client(_)) => Outcome::Abandoned,
            Err(_) => Outcome::Truncated(Code::AnswerNotKept.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Stall;
    use std::time::{Duration, Instant};

    const TIMEOUT: Duration = Duration::from_secs(40);

    /// After how many seconds a client is dropped whose system has acknowledged `acknowledged(second)` bytes at each second.
    fn dropped_after(acknowledged: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let begun = Instant::now();
        let mut stall = Stall::new(begun);
        (0..1000).find(|&second| {
            let now = begun + Duration::from_secs(second);
            stall.check(now, TIMEOUT, || acknowledged(second)).is_none()
        })
    }

    #[test]
    fn a_client_that_takes_nothing_is_dropped_after_the_timeout() {
        assert_eq!(dropped_after(|_| Some(7)), Some(50));
        // A protocol for which the acknowledged bytes are not known.
        assert_eq!(dropped_after(|_| None), Some(50));
    }

    #[test]
    fn a_client_that_takes_a_little_now_and_then_is_not_dropped() {
        assert_eq!(dropped_after(|second| Some(second / 39)), None);
        assert_eq!(dropped_after(|second| Some((second / 39).min(3))), Some(160));
        // The longest pause that is tolerated.
        assert_eq!(dropped_after(|second| Some(u64::from(second >= 49))), Some(90));
    }

    #[test]
    fn no_wait_lasts_longer_than_until_the_next_check() {
        let begun = Instant::now();
        let mut stall = Stall::new(begun);
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(stall.check(begun, TIMEOUT, || Some(1)), Some(Duration::from_secs(10)));
        assert_eq!(stall.check(after(7), TIMEOUT, || Some(1)), Some(Duration::from_secs(3)));
        assert_eq!(stall.check(after(10), TIMEOUT, || Some(1)), Some(Duration::from_secs(10)));
        assert_eq!(stall.check(after(49), TIMEOUT, || Some(1)), Some(Duration::from_secs(1)));
        assert_eq!(stall.check(after(50), TIMEOUT, || Some(1)), None);
    }
}
