//! The request threads of a worker: each waits for a request, takes it, serves it, and waits for the next.

use super::body::{Body, read_exactly};
use super::carrier::{Buffers, SocketExchange};
use super::desk::Desk;
use super::journal;
use super::post::Post;
use crate::host::Host;
use crate::{account, attach, serve};
use exchange::{Code, Exchange, Failure, Level, Outcome, Settled};
use link::{Offer, Stream};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};
use wire::{Carried, End, Frame, HEADER, Kind, Malformed, Request, Tag};

/// Starts the threads. Fewer than there should be are better than none; none is an error.
pub fn start(post: &'static Post, host: &'static Host) -> io::Result<Vec<JoinHandle<()>>> {
    let mut started = Vec::new();
    for desk in &post.desks {
        let mut builder = Builder::new().name("wsgi".into());
        if post.options.stack_size > 0 {
            builder = builder.stack_size(post.options.stack_size as usize);
        }
        match builder.spawn(move || Clerk::new(post, host, desk).work()) {
            Ok(thread) => started.push(thread),
            Err(error) => {
                let code = Code::ThreadUnavailable;
                journal::note(Level::Error, &format!("{code}: {}: {error}.", code.text()));
                if started.is_empty() {
                    return Err(error);
                }
            }
        }
    }
    Ok(started)
}

/// Who sits at a desk.
struct Clerk {
    post: &'static Post,
    host: &'static Host,
    desk: &'static Desk,
    /// The frame of a request. As long as the memory that it has.
    frame: Vec<u8>,
    /// A descriptor that has come along.
    file: Option<OwnedFd>,
    buffers: Buffers,
    /// The variables of the request before.
    variables: Settled,
}

/// What became of a request.
enum Turn {
    /// It was answered.
    Answered,
    /// It was another worker's before it could be taken.
    Withdrawn,
    /// The connection is of no use any more.
    Lost,
}

impl Turn {
    /// A request has been taken; whether its connection stays.
    fn taken(stays: bool) -> Turn {
        if stays { Turn::Answered } else { Turn::Lost }
    }
}

/// A frame of more is exceptional; its memory is given back.
const USUAL: usize = 96 * 1024;

impl Clerk {
    fn new(post: &'static Post, host: &'static Host, desk: &'static Desk) -> Clerk {
        let frame = vec![0; USUAL];
        let buffers = Buffers::default();
        Clerk { post, host, desk, frame, file: None, buffers, variables: Settled::default() }
    }

    fn work(mut self) {
        let connections = &self.post.connections;
        while let Some(slot) = connections.next() {
            loop {
                if let Some(stream) = connections.at(slot) {
                    let stays = self.attend(slot, &stream).unwrap_or(false);
                    self.file = None;
                    if !stays {
                        connections.close(slot);
                        break;
                    }
                }
                // From here on it is another thread's.
                if connections.release(slot) {
                    break;
                }
            }
        }
    }

    /// Deals with all that has arrived on a connection. `false` or an error if the connection is of no use any more.
    fn attend(&mut self, slot: u32, stream: &Stream) -> io::Result<bool> {
        let mut answered = false;
        // Behind a request that was withdrawn there may be another, of which nothing more will be told. Behind one that was
        // answered there is none: the child has waited for the answer.
        while !answered {
            let mut have = match stream.try_read(&mut self.frame, &mut self.file) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            while have > 0 {
                let whole = self.complete(stream, &mut have)?;
                answered = match self.decide(slot, stream, whole)? {
                    Turn::Lost => return Ok(false),
                    Turn::Answered => true,
                    Turn::Withdrawn => false,
                };
                self.frame.copy_within(whole..have, 0);
                have -= whole;
            }
        }
        self.buffers.shrink();
        if self.frame.len() > USUAL {
            self.frame = vec![0; USUAL];
        }
        Ok(true)
    }

    /// Reads what is missing of a frame, of which so many bytes are there; its length.
    fn complete(&mut self, stream: &Stream, have: &mut usize) -> io::Result<usize> {
        if *have < HEADER {
            read_exactly(stream, &mut self.frame[*have..HEADER])?;
            *have = HEADER;
        }
        let head = self.frame.first_chunk::<HEADER>().copied().unwrap_or_default();
        let frame = Frame::decode(head).map_err(malformed)?;
        if frame.kind != Kind::Request {
            return Err(malformed(Malformed("it is no request")));
        }
        let whole = HEADER + frame.length;
        if self.frame.len() < whole {
            self.frame.resize(whole, 0);
        }
        if *have < whole {
            read_exactly(stream, &mut self.frame[*have..whole])?;
            *have = whole;
        }
        Ok(whole)
    }

    /// Serves the request in the frame, or does not.
    fn decide(&mut self, slot: u32, stream: &Stream, whole: usize) -> io::Result<Turn> {
        match Request::decode(&self.frame[HEADER..whole], &mut self.variables) {
            Ok(request) => {
                // A descriptor that came together with several requests is that of the last one.
                let is_for_this = matches!(request.carried, Carried::File(_));
                let file = if is_for_this { self.file.take() } else { None };
                let case = Case { post: self.post, host: self.host, desk: self.desk };
                case.handle(slot, stream, &request, file, &mut self.buffers)
            }
            Err(error) => Err(malformed(error)),
        }
    }
}

/// Says in the log that a child does not keep to what was agreed on. Its connection is closed.
fn malformed(error: Malformed) -> io::Error {
    let code = Code::FrameMalformed;
    journal::note(Level::Error, &format!("{code}: {}: {error}.", code.text()));
    io::Error::other(error)
}

/// Who serves a request.
struct Case {
    post: &'static Post,
    host: &'static Host,
    desk: &'static Desk,
}

impl Case {
    /// Takes a request if it can still be had, and serves it.
    fn handle(
        self,
        slot: u32,
        stream: &Stream,
        request: &Request<'_>,
        file: Option<OwnedFd>,
        buffers: &mut Buffers,
    ) -> io::Result<Turn> {
        let body = Body::new(request.carried, request.broken, file, Tag::of_serial(request.serial))
            .ok_or_else(|| malformed(Malformed("a body has no file")))?;
        if !self.post.page.take(slot, Offer::from_serial(request.serial)) {
            return Ok(Turn::Withdrawn);
        }
        let now = microseconds();
        let mut request = *request;
        request.head.clocks.daemon_start = now;
        request.head.script.reloading &= !request.as_loaded;
        let mut exchange = SocketExchange::new(self.post, stream, &request, body, buffers);
        if self.post.course.is_draining() {
            return Ok(Turn::taken(exchange.end(End::Leaving)));
        }
        if is_late(&request, now) {
            return Ok(Turn::taken(exchange.end(End::Late)));
        }
        self.post.page.begin();
        self.desk.begin();
        if !request.ignored {
            self.post.touch();
        }
        let end = self.serve(&mut exchange);
        let stays = exchange.end(end);
        if !request.ignored {
            self.post.touch();
        }
        self.desk.end();
        self.post.count();
        Ok(Turn::taken(stays))
    }

    fn serve(&self, exchange: &mut SocketExchange<'_>) -> End {
        let served = catch_unwind(AssertUnwindSafe(|| self.in_python(exchange)));
        match served.unwrap_or(Outcome::Unanswered(Failure::from(Code::Panic))) {
            Outcome::Unanswered(Failure { code: Code::ScriptChanged }) => End::Reloading,
            outcome => End::Served(outcome),
        }
    }

    fn in_python(&self, exchange: &mut dyn Exchange) -> Outcome {
        let interpreter = match self.host.interpreter(exchange) {
            Ok(interpreter) => interpreter,
            Err(code) => return Outcome::Unanswered(code.into()),
        };
        let ending = attach::enter(interpreter, |attached, seat| {
            self.desk.inside(attached, interpreter, || serve::in_python(attached, seat, exchange))
        });
        serve::finish(ending, exchange)
    }
}

/// Whether a request has waited longer than it may.
fn is_late(request: &Request<'_>, now: i64) -> bool {
    let limit = i64::from(request.queue_timeout) * 1_000_000;
    limit > 0 && now.saturating_sub(request.head.clocks.request_start) > limit
}

fn microseconds() -> i64 {
    let now = account::clock(libc::CLOCK_REALTIME);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}
