//! The body of an answer on its way to the client. As long as the client takes it, it goes straight through; what it does
//! not take waits here, so that the worker need not.

use super::answer::Broken;
use super::{Client, Connection, Relay};
use exchange::{Code, Outcome, Push, WriteError};
use std::os::fd::AsFd;
use std::time::Duration;

/// As much as a socket that says it has room usually has room for.
const PIECE: usize = 32 * 1024;
/// How long a client whose backlog is full in memory is waited for before the disk is used.
const MOMENT: Duration = Duration::from_millis(20);

impl<C: Client> Relay<'_, C> {
    /// Gives bytes of the body to the client, or has them wait.
    pub(super) fn send(
        &mut self,
        connection: &Connection,
        at: std::ops::Range<usize>,
        push: Push,
    ) -> Result<(), Broken> {
        let bytes = connection.bytes(at);
        if self.backlog.is_empty() && self.takes(connection) {
            return Ok(self.client.write(bytes, push)?);
        }
        let limit = self.group.terms.answer_memory;
        if self.backlog.is_full(limit) && !self.is_slow {
            self.is_slow = self.client.wait(None, MOMENT).takes == Some(false);
        }
        self.backlog.add(bytes, limit).map_err(|error| {
            self.fail(Code::AnswerNotKept, &error.to_string());
            Broken::Failed(Code::AnswerNotKept)
        })
    }

    /// Whether the client takes bytes without waiting. If that cannot be known, it is given some when there is nothing
    /// else to do.
    fn takes(&self, connection: &Connection) -> bool {
        let other = (!connection.has_unread()).then(|| connection.as_fd());
        let waited = self.client.wait(other, Duration::ZERO);
        waited.takes.unwrap_or(!waited.readable && !connection.has_unread())
    }

    /// As long as something waits for the client and nothing comes from the worker: has the client take of it.
    pub(super) fn pass_time(&mut self, connection: &Connection) -> Result<(), Broken> {
        while !self.backlog.is_empty() {
            let is_at_its_end = self.backlog.is_at_its_end();
            let listens = !is_at_its_end && !connection.has_unread();
            let other = listens.then(|| connection.as_fd());
            let waited = self.client.wait(other, self.client_timeout());
            let has_more = waited.readable || connection.has_unread();
            match waited.takes {
                Some(true) => self.send_first()?,
                Some(false) if has_more => return Ok(()),
                Some(false) => return Err(WriteError::Gone.into()),
                None if has_more && !is_at_its_end => return Ok(()),
                None => self.send_first()?,
            }
            if has_more && !is_at_its_end {
                return Ok(());
            }
        }
        self.is_slow = false;
        Ok(())
    }

    fn client_timeout(&self) -> Duration {
        self.group.terms.client_timeout.unwrap_or(self.particulars.timeout)
    }

    fn send_first(&mut self) -> Result<(), Broken> {
        let bytes = self.backlog.first(PIECE)?;
        let count = bytes.len();
        self.client.write(bytes, Push::Flush)?;
        self.backlog.take(count);
        Ok(())
    }

    /// Sends all that waits, however long the client takes.
    pub(super) fn send_all(&mut self) -> Result<(), Broken> {
        while !self.backlog.is_empty() {
            self.send_first()?;
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
