//! Whoever answers a request, and how a request ended.

use crate::{Exchange, Failure, Record, Scoreboard, Slot};

/// Whoever answers: the engine, or a closure in a test.
pub trait Gateway: Send + Sync {
    /// Answers one request. Returns when the gateway and the application have finished with it: nothing of the
    /// exchange is used afterwards, by any thread.
    fn serve(&self, exchange: &mut dyn Exchange) -> Outcome;

    /// Asks a script one question about a request, which the script named in its head does not answer. Of the exchange
    /// only `head`, `note` and `look_up` are used. What comes back goes to `reply`, which may be called several times
    /// (groups) or not at all (no answer).
    ///
    /// # Errors
    /// The script cannot be loaded, has no such function, raised, or gave what is no answer. That has been noted. The
    /// carrier must take it as a refusal.
    fn ask(
        &self,
        exchange: &mut dyn Exchange,
        question: Question<'_>,
        reply: &mut dyn FnMut(Reply<'_>),
    ) -> Result<(), Failure>;
}

/// A question about a request. Names and passwords are bytes as the client sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question<'a> {
    /// Is this the user's password? (`check_password`, HTTP Basic)
    Password {
        /// Whose.
        user: &'a [u8],
        /// What was sent.
        password: &'a [u8],
    },
    /// What is the hash of `user:realm:password`? (`get_realm_hash`, HTTP Digest)
    RealmHash {
        /// Whose.
        user: &'a [u8],
        /// Where.
        realm: &'a [u8],
    },
    /// What groups is the user in? (`groups_for_user`)
    Groups {
        /// Who.
        user: &'a [u8],
    },
    /// May this client come in? (`allow_access`)
    Access {
        /// Its name, or its address.
        host: &'a [u8],
    },
    /// Where is the request to be served? (`process_group`, `application_group`, `callable_object`)
    Dispatch,
}

/// What a script answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Yes: the password is right, the client may come in.
    Yes,
    /// No.
    No,
    /// Yes, and the user is called this from now on.
    YesAs(&'a [u8]),
    /// The hexadecimal hash that was asked for.
    Hash(&'a [u8]),
    /// One of the user's groups.
    Group(&'a [u8]),
    /// The process group to serve the request; empty for this process.
    ProcessGroup(&'a [u8]),
    /// The application group to serve it; empty for the main interpreter.
    ApplicationGroup(&'a [u8]),
    /// The callable to be called.
    CallableObject(&'a [u8]),
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

/// What a process offers its gateway besides requests.
pub trait Surroundings: Send + Sync {
    /// Writes one record to the log of the process, for what belongs to no request. May wait for the log's disk or pipe.
    fn note(&self, record: &Record<'_>);

    /// Looks at what every process and thread of the server is doing; `sink` gets each. Nothing where there is no
    /// scoreboard.
    fn scoreboard(&self, sink: &mut dyn FnMut(Slot<'_>)) -> Option<Scoreboard>;
}
