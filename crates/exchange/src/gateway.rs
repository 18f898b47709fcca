//! Whoever answers a request, and how a request ended.

use crate::{Exchange, Failure, Record};

/// Whoever answers: the engine, or a closure in a test.
pub trait Gateway: Send + Sync {
    /// Answers one request. Returns when the gateway and the application have finished with it: nothing of the
    /// exchange is used afterwards, by any thread.
    fn serve(&self, exchange: &mut dyn Exchange) -> Outcome;
}

impl<F: Fn(&mut dyn Exchange) -> Outcome + Send + Sync> Gateway for F {
    fn serve(&self, exchange: &mut dyn Exchange) -> Outcome {
        self(exchange)
    }
}

/// How a request ended. Whoever made a [`Failure`] has noted its cause; a carrier only acts on it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer is complete. What was written is all of it.
    Done,
    /// No answer was started. The carrier gives its own, by the failure's status.
    Unanswered(Failure),
    /// An answer was started and cannot be finished. The carrier must see to it that the client can tell: it closes
    /// the connection (HTTP/1) or resets the stream (HTTP/2), and never ends the message as if it were whole.
    Truncated(Failure),
    /// The client left, or the carrier had answered by itself. Nothing more to do.
    Abandoned,
}

/// The log of a process, for what belongs to no request.
pub trait Journal: Send + Sync {
    /// Writes one record. May wait for the log's disk or pipe.
    fn note(&self, record: &Record<'_>);
}
