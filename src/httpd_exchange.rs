//! `HttpdExchange`: one request of httpd as the gateway knows it. The handler makes it when the request has been
//! accepted; it ends with [`finish`](HttpdExchange::finish), before the handler returns.
#![expect(
    unsafe_code,
    reason = "says that a request may be served from another thread while its own waits"
)]

use crate::child::Child;
use crate::config::groups::Sole;
use crate::daemon::{Client, Jailed, Waited};
use crate::environ::{self, Paths};
use crate::group;
use crate::handler::{Call, Status};
use crate::httpd::{End, Input, Output, Request, process};
use exchange::{
    Answer, Body, Clocks, Code, Exchange, Found, Group, Head, Level, LookUp, Outcome, Part, Push,
    ReadError, Record, Scheme, Script, Settled, WriteError,
};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// One request of httpd and its answer.
pub struct HttpdExchange<'c, 'r> {
    call: &'c Call<'r>,
    variables: Settled,
    script: &'r [u8],
    resource: &'r [u8],
    /// When it was handed towards another process; 0 if it was not.
    queue_start: i64,
    id: &'r [u8],
    group: Group<'r>,
    callable: &'r [u8],
    scheme: Scheme,
    body: Body,
    input: Input<'r>,
    output: Output<'r>,
    state: State,
}

/// What is said of the process that a request is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Server<'r> {
    /// Its group; empty for the children of httpd.
    pub process_group: &'r [u8],
    /// The only application group that it serves, as far as the configuration tells.
    pub sole: Option<&'r Sole>,
    /// What the request is called there, if its root directory is another.
    pub jailed: Option<Jailed<'r>>,
    /// When the request was handed towards it; 0 if it is this process.
    pub queue_start: i64,
}

/// How far the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of it is known.
    Unstarted,
    /// Status and headers are.
    Started,
    /// All of it has been passed to httpd.
    Complete,
    /// Nothing more can be passed: this is why.
    Failed(WriteError),
}

// SAFETY: an application may read its input from a thread of its own while the request's thread waits inside the
// engine, which lets one of them in at a time (`&mut self`); httpd's structures are not bound to a thread.
unsafe impl Send for HttpdExchange<'_, '_> {}

impl<'c, 'r> HttpdExchange<'c, 'r> {
    /// The exchange of a request that has been accepted, for a process that the rest is said of.
    pub fn new(
        call: &'c Call<'r>,
        child: &'static Child,
        body: Body,
        paths: Paths<'r>,
        server: Server<'r>,
    ) -> Self {
        let request = call.request;
        let known = environ::Known {
            child,
            paths,
            process_group: server.process_group,
            group: group::of(call, server.sole, paths.script_name),
            callable: group::callable(request, call.meant.callable_object),
            id: request.established_log_id(),
        };
        let (mut variables, scheme) = environ::variables(call, &known, environ::of_this_thread());
        let (script, resource) = match server.jailed {
            None => (call.script(), call.resource()),
            Some(jailed) => {
                jailed.rename(&mut variables);
                (jailed.script, jailed.resource)
            }
        };
        HttpdExchange {
            call,
            variables: variables.settle(),
            script,
            resource,
            queue_start: server.queue_start,
            id: known.id,
            group: known.group,
            callable: known.callable,
            scheme,
            body,
            input: Input::new(request),
            output: Output::new(request),
            state: State::Unstarted,
        }
    }

    fn request(&self) -> Request<'r> {
        self.call.request
    }

    /// What httpd is to be told if a filter has answered by itself.
    pub fn answered(&self) -> Option<Status> {
        self.input.has_answered().then_some(Status::Answered)
    }

    /// Ends the exchange, of which nothing has been started.
    pub fn drop_unanswered(self) {
        environ::recycle(self.variables);
    }

    /// Ends the exchange as the gateway says it ended, and tells httpd.
    pub fn finish(mut self, outcome: Outcome) -> Status {
        let status = match outcome {
            Outcome::Done => self.finish_whole(),
            Outcome::Unanswered(failure) | Outcome::Truncated(failure) => {
                self.finish_broken(failure.status())
            }
            Outcome::Abandoned => self.finish_broken(Code::AnswerRefused.status()),
        };
        environ::recycle(self.variables);
        status
    }

    fn finish_whole(&mut self) -> Status {
        let ended = match self.state {
            State::Unstarted => return self.finish_broken(Code::AnswerRefused.status()),
            State::Started => self.write(b"", Push::Last),
            State::Complete => Ok(()),
            State::Failed(error) => Err(error),
        };
        match ended {
            Err(WriteError::Answered) => Status::Answered,
            // The end has been passed, but something before it is missing.
            Err(WriteError::Refused) => {
                self.request().close_connection();
                Status::Done
            }
            // Who is gone has nothing to be told.
            Ok(()) | Err(WriteError::Gone) => Status::Done,
        }
    }

    /// The answer cannot be finished. As long as nothing was sent there may be another instead; afterwards the client
    /// must be able to tell.
    fn finish_broken(&mut self, status: u16) -> Status {
        if self.input.has_answered() || self.state == State::Failed(WriteError::Answered) {
            return Status::Answered;
        }
        if !self.output.has_passed() {
            self.request().withdraw_answer();
            return Status::Refused(status);
        }
        self.request().close_connection();
        if self.state != State::Complete {
            self.output.pass_broken();
            if self.request().is_delimited_by_close() {
                self.request().reset_connection();
            }
        }
        Status::Done
    }

    /// Whether the answer can go on.
    fn check(&mut self) -> Result<(), WriteError> {
        if self.input.has_answered() {
            self.state = State::Failed(WriteError::Answered);
        }
        match self.state {
            State::Started => Ok(()),
            State::Failed(error) => Err(error),
            State::Unstarted | State::Complete => Err(WriteError::Refused),
        }
    }

    /// Remembers how a pass ended.
    fn passed(&mut self, result: Result<(), WriteError>, push: Push) -> Result<(), WriteError> {
        match result {
            Err(error) => {
                if error == WriteError::Refused {
                    let code = Code::ResponseUnread;
                    let line =
                        format!("{code}: {}: it was cut while it was being sent", code.text());
                    self.call.note(&Record::new(Level::Error, line.as_bytes()));
                }
                self.state = State::Failed(error);
            }
            Ok(()) if push == Push::Last => self.state = State::Complete,
            Ok(()) => {}
        }
        result
    }

    /// What follows the bytes, in httpd's terms. An answer of one piece goes out with its end in one system call. At
    /// the end of a chunked one there is a last chunk still to come, behind whatever flushes: httpd sends it with the
    /// end of the request, at once.
    fn end(&self, push: Push) -> End {
        match push {
            Push::Hold => End::Open,
            Push::Flush => End::Flush,
            Push::Last if self.output.has_passed() => End::Stream,
            Push::Last => End::FlushedStream,
        }
    }

    /// Sends a part of a file that cannot be opened again, through memory. The descriptor's position stays.
    fn copy_file(
        &mut self,
        file: BorrowedFd<'_>,
        part: Part,
        push: Push,
    ) -> Result<u64, WriteError> {
        const AT_ONCE: u64 = 64 * 1024;
        let Ok(own) = file.try_clone_to_owned() else { return Err(WriteError::Refused) };
        let own = std::fs::File::from(own);
        let mut buffer = vec![0; part.length.min(AT_ONCE) as usize];
        let mut sent = 0;
        while sent < part.length {
            let most = (part.length - sent).min(AT_ONCE) as usize;
            let read = own.read_at(&mut buffer[..most], part.offset + sent);
            let Ok(count @ 1..) = read else { break };
            let result = self.output.pass(&buffer[..count], End::Flush);
            self.passed(result, Push::Flush)?;
            sent += count as u64;
        }
        if push == Push::Last && sent == part.length {
            self.write(b"", Push::Last)?;
        }
        Ok(sent)
    }
}

impl Exchange for HttpdExchange<'_, '_> {
    fn head(&self) -> Head<'_> {
        let request = self.request();
        let handled = self.call.handler.is_some();
        Head {
            id: self.id.into(),
            script: Script {
                path: self.script.into(),
                resource: self.resource.into(),
                callable: self.callable.into(),
                // httpd has looked at the file that was asked for.
                modified: if handled { Script::UNKNOWN } else { request.modified() },
                reloading: self.call.meant.script_reloading,
            },
            group: self.group,
            variables: self.variables.runs(),
            scheme: self.scheme,
            body: self.body,
            header_only: request.header_only(),
            native: self.call.meant.pass_apache_request,
            clocks: Clocks {
                request_start: request.time(),
                queue_start: self.queue_start,
                ..Clocks::default()
            },
        }
    }

    fn read(&mut self, most: usize, sink: &mut dyn FnMut(&[u8])) -> Result<usize, ReadError> {
        self.input.read(most, sink)
    }

    fn start(&mut self, answer: &Answer<'_>) -> Result<(), WriteError> {
        if self.state != State::Unstarted || self.input.has_answered() {
            return self.check();
        }
        self.request().record_answer(answer);
        self.state = State::Started;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], push: Push) -> Result<(), WriteError> {
        self.check()?;
        if bytes.is_empty() && push == Push::Hold {
            return Ok(());
        }
        let result = self.output.pass(bytes, self.end(push));
        self.passed(result, push)
    }

    fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        part: Part,
        push: Push,
    ) -> Result<u64, WriteError> {
        self.check()?;
        let size = process::file_size(file).unwrap_or(0);
        let length = part.length.min(size.saturating_sub(part.offset));
        if length == 0 {
            if push != Push::Hold && part.length == 0 {
                self.write(b"", push)?;
            }
            return Ok(0);
        }
        let clamped = Part { length, ..part };
        // An answer that falls short must not be ended as if it were whole.
        let push = if length == part.length { push } else { Push::Flush };
        let sendfile = self.call.meant.enable_sendfile;
        match self.output.pass_file(file, clamped, sendfile, self.end(push)) {
            Some(result) => self.passed(result, push)?,
            None => return self.copy_file(file, clamped, push),
        }
        Ok(length)
    }

    fn note(&mut self, record: &Record<'_>) {
        self.call.note(record);
    }

    fn look_up(&self, what: LookUp<'_>) -> Option<Found<'_>> {
        process::look_up(self.request(), what, self.call.meant.pass_apache_request)
    }
}

impl Client for HttpdExchange<'_, '_> {
    fn wait(&self, other: Option<BorrowedFd<'_>>, time: Duration) -> Waited {
        self.request().wait_for_client(other, time)
    }

    fn room(&self) -> usize {
        self.request().room_of_client()
    }

    fn holds(&self) -> bool {
        self.request().holds_output()
    }

    fn push(&mut self) -> Result<(), WriteError> {
        self.check()?;
        let pushed = self.request().push_output();
        self.passed(pushed, Push::Hold)
    }

    fn buffers(&self) -> bool {
        self.request().filters_content()
    }

    fn acknowledged(&self) -> Option<u64> {
        self.request().acknowledged_by_client()
    }

    fn drop_stalled(&mut self, time: Duration) {
        let line = format!("Client dropped: it has taken no byte of the response for {time:?}.");
        self.call.note(&Record::new(Level::Info, line.as_bytes()));
        self.request().close_connection();
        if !self.request().is_multiplexed() {
            // Reset, because with an ordinary close the kernel would keep the bytes in the socket until its own time-out.
            self.request().reset_connection();
        }
        self.state = State::Failed(WriteError::Gone);
    }
}
