//! `Inquiry`: what a script that is asked about a request sees of it. Not an answer to the client, so there is nothing to
//! read and nothing to write. Made for one question, and ends with it.
#![expect(
    unsafe_code,
    reason = "says that a question may be looked at from another thread while its own waits"
)]

use crate::child::Child;
use crate::config::{Hook, Meant};
use crate::group;
use crate::httpd::{Request, log, process};
use exchange::{
    Answer, Body, Clocks, Exchange, Failure, Found, Group, Head, LookUp, Part, Push, Question,
    ReadError, Record, Reply, Scheme, Script, Settled, Slice, Variables, WriteError,
};
use std::os::fd::BorrowedFd;

/// A question about one request.
pub struct Inquiry<'r> {
    request: Request<'r>,
    script: &'r [u8],
    /// The application group that the script runs in.
    pub group: Group<'r>,
    reloading: bool,
    is_native: bool,
    variables: Settled,
}

// SAFETY: a script may look something up from a thread of its own while the request's thread waits inside the engine,
// which lets one of them in at a time; httpd's structures are not bound to a thread.
unsafe impl Send for Inquiry<'_> {}

impl<'r> Inquiry<'r> {
    /// For a script that is asked about `request`; what it sees is still to be [told](Inquiry::about).
    pub fn of(request: Request<'r>, script: &Hook<'r>, meant: &Meant<'r>) -> Inquiry<'r> {
        Inquiry {
            request,
            script: script.path,
            group: group::of_hook(request, script),
            reloading: meant.script_reloading,
            is_native: meant.pass_apache_request,
            variables: Settled::default(),
        }
    }

    /// What the script sees.
    pub fn about(self, variables: Variables) -> Inquiry<'r> {
        Inquiry { variables: variables.settle(), ..self }
    }

    /// Asks. `None` if there is nobody to ask: Python does not run in this child.
    pub fn ask(
        mut self,
        child: &Child,
        question: Question<'_>,
        reply: &mut dyn FnMut(Reply<'_>),
    ) -> Option<Result<(), Failure>> {
        child.ask(&mut self, question, reply)
    }
}

impl Exchange for Inquiry<'_> {
    fn head(&self) -> Head<'_> {
        Head {
            id: self.request.established_log_id().into(),
            script: Script {
                path: self.script.into(),
                resource: self.script.into(),
                callable: Slice::EMPTY,
                modified: Script::UNKNOWN,
                reloading: self.reloading,
            },
            group: self.group,
            variables: self.variables.runs(),
            scheme: Scheme::Http,
            body: Body::None,
            header_only: false,
            native: self.is_native,
            clocks: Clocks { request_start: self.request.time(), ..Clocks::default() },
        }
    }

    fn read(&mut self, _most: usize, _sink: &mut dyn FnMut(&[u8])) -> Result<usize, ReadError> {
        Ok(0)
    }

    fn start(&mut self, _answer: &Answer<'_>) -> Result<(), WriteError> {
        Err(WriteError::Refused)
    }

    fn write(&mut self, _bytes: &[u8], _push: Push) -> Result<(), WriteError> {
        Err(WriteError::Refused)
    }

    fn send_file(&mut self, _: BorrowedFd<'_>, _: Part, _: Push) -> Result<u64, WriteError> {
        Err(WriteError::Refused)
    }

    fn note(&mut self, record: &Record<'_>) {
        let prefix = [b"[script ", self.script, b"] "].concat();
        log::note_for_request(self.request, record, &prefix);
    }

    fn look_up(&self, what: LookUp<'_>) -> Option<Found<'_>> {
        process::look_up(self.request, what, self.is_native)
    }
}
