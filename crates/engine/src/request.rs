//! A request as Python's objects share it: the lease on its exchange, what has been said of the answer, what has been
//! read of the body, and the line that is being written to the log.
//!
//! Its parts are locked one at a time, and every lock is taken by [`Turn`], so that nobody waits for one while holding
//! up an interpreter.

use crate::account::Account;
use crate::answering::Answering;
use crate::interpreter::Interpreter;
use crate::lease::Lease;
use crate::py::{Attached, Kept, Object, Py};
use crate::reading::Reading;
use crate::turn::Turn;
use exchange::{Head, Level, Record};

/// A request as Python's objects share it.
pub struct Request {
    /// The interpreter it is served in.
    pub interpreter: &'static Interpreter,
    /// The way to the client, while it is there.
    pub lease: Lease,
    /// What has been said of the answer.
    pub answering: Turn<Answering>,
    /// What has been read of the body.
    pub reading: Turn<Reading>,
    /// The line that is being written to `wsgi.errors`.
    pub line: Turn<Vec<u8>>,
    /// What it has cost.
    pub account: Account,
    /// The server's name for it.
    pub id: Turn<Vec<u8>>,
    /// What `start_response` returns, as long as the objects of the request are kept together ([`crate::bundle`]).
    pub write: Turn<Option<Kept>>,
    /// What `mod_wsgi.request_data()` returns, once somebody has asked.
    data: Turn<Option<Kept>>,
}

impl Request {
    /// A request that has not begun.
    pub fn new(interpreter: &'static Interpreter) -> Request {
        Request {
            interpreter,
            lease: Lease::default(),
            answering: Turn::default(),
            reading: Turn::default(),
            line: Turn::default(),
            account: Account::default(),
            id: Turn::default(),
            write: Turn::default(),
            data: Turn::default(),
        }
    }

    /// Makes it ready for another request.
    pub fn begin(&self, attached: &Attached, head: &Head<'_>) {
        self.answering.take(attached).begin(head.header_only);
        self.reading.take(attached).begin(head.body);
        self.line.take(attached).clear();
        let mut id = self.id.take(attached);
        id.clear();
        id.extend_from_slice(&head.id);
    }

    /// Lets go of what the application has attached to it.
    pub fn end(&self, attached: &Attached) {
        let data = self.data.take(attached).take();
        drop(data.map(|data| data.release(attached)));
    }

    /// The dict of the request: made when it is asked for, the same until the request ends.
    pub fn data<'a>(&self, attached: &'a Attached) -> Py<Object<'a>> {
        if let Some(data) = &*self.data.take(attached) {
            return Ok(data.get(attached).clone());
        }
        let made = attached.dict()?;
        *self.data.take(attached) = Some(Kept::new(made.clone()));
        Ok(made)
    }

    /// Writes records to the log of the request, or of the process if it has ended. Attached; detaches for it.
    pub fn note<'r>(&self, attached: &Attached, records: impl Iterator<Item = Record<'r>>) {
        let mut records = records.peekable();
        if records.peek().is_none() {
            return;
        }
        attached.detach(|| {
            let mut records = records;
            let noted = self.lease.with(|exchange| {
                for record in &mut records {
                    exchange.note(&record);
                }
            });
            if noted.is_none() {
                records.for_each(|record| crate::surroundings().note(&record));
            }
        });
    }

    /// Writes one line to the log of the request.
    pub fn note_line(&self, attached: &Attached, level: Level, line: &str) {
        self.note(attached, std::iter::once(Record::new(level, line.as_bytes())));
    }
}
