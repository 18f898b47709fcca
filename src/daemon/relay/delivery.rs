//! The body of an answer on its way to the client. As long as the client takes it, it goes straight through; what it does
//! not take waits here, so that the worker need not.

use super::answer::Broken;
use super::{Client, Connection, Relay};
use crate::daemon::connection::PIECE;
use exchange::{Code, Outcome, Push, WriteError};
use std::ops::Range;
use std::time::Duration;

/// Few enough bytes to be in the socket of a client that has room, whatever is asked for besides.
const FEW: usize = 8 * 1024;
/// How long a client whose backlog is full in memory is waited for before the disk is used.
const MOMENT: Duration = Duration::from_millis(20);

impl<C: Client> Relay<'_, C> {
    /// Gives bytes of the body to the client, or has them wait.
    pub(super) fn send(
        &mut self,
        connection: &Connection,
        at: Range<usize>,
        push: Push,
    ) -> Result<(), Broken> {
        let mut at = at;
        while self.backlog.is_empty() && !self.client.holds() {
            let most = self.takes(connection);
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
        let bytes = connection.bytes(at.clone());
        let limit = self.group.terms.answer_memory;
        while self.backlog.is_full(limit) && !self.is_slow {
            match self.client.wait(None, MOMENT).takes {
                Some(true) => self.send_first()?,
                Some(false) => self.is_slow = true,
                None => break,
            }
        }
        self.owes_flush |= push == Push::Flush;
        if self.backlog.add(bytes, limit).is_err() {
            // There is no room on the disk: then the worker waits for the client after all.
            self.send_all()?;
            self.client.write(connection.bytes(at), push)?;
        }
        Ok(())
    }

    /// Gives bytes to a client that has room. More than a few go without a flush: what the socket does not take is held
    /// in front of it then, and nobody waits.
    fn give(&mut self, bytes: &[u8], push: Push) -> Result<(), WriteError> {
        let waits = bytes.len() <= FEW || self.client.buffers();
        self.owes_flush = push == Push::Flush && !waits;
        self.client.write(bytes, if waits { push } else { Push::Hold })
    }

    /// How many bytes the client takes without waiting. If that cannot be known, it is given some when there is nothing
    /// else to do.
    fn takes(&self, connection: &Connection) -> usize {
        let room = self.client.room();
        if room >= PIECE {
            return room;
        }
        let waited = self.client.wait(None, Duration::ZERO);
        if waited.takes.unwrap_or_else(|| !connection.has_unread()) { PIECE } else { 0 }
    }

    /// As long as something waits for the client and nothing comes from the worker: has the client take of it.
    pub(super) fn pass_time(&mut self, connection: &mut Connection) -> Result<(), Broken> {
        while !self.backlog.is_empty() || (self.owes_flush && self.client.holds()) {
            let time = self.client_timeout();
            let (waited, has_more) = if self.backlog.is_at_its_end() {
                (self.client.wait(None, time), false)
            } else if connection.has_unread() {
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
                None if !has_more => self.send_first()?,
                Some(false) if !has_more && !waited.readable => return Err(WriteError::Gone.into()),
                _ => {}
            }
            if has_more {
                return Ok(());
            }
        }
        self.is_slow = false;
        Ok(())
    }

    fn client_timeout(&self) -> Duration {
        self.group.terms.client_timeout.unwrap_or(self.particulars.timeout)
    }

    /// Sends what has waited longest, as far as nobody has to wait for it.
    fn send_first(&mut self) -> Result<(), Broken> {
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
            let bytes = self.backlog.first(PIECE)?;
            let count = bytes.len();
            self.client.write(bytes, Push::Flush)?;
            self.backlog.take(count);
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
