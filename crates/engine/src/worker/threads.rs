//! The request threads of a worker: each waits for a request, takes it, serves it, and waits for the next.

use super::body::Body;
use super::carrier::{Buffers, SocketExchange};
use super::desk::Desk;
use super::journal;
use super::pace::{Sample, Sampling};
use super::post::Post;
use crate::account;
use crate::attach::Entered;
use crate::host::Host;
use crate::interpreter::Interpreter;
use crate::serve::{self, Ending};
use exchange::{Code, Failure, Level, Outcome, Settled};
use link::{Line, Offer};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use wire::{End, Frame, HEADER, Kind, Malformed, Request, Tag};

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
    buffers: Buffers,
    /// The variables of the request before.
    variables: Settled,
    /// Where the request before was served.
    usual: Option<&'static Interpreter>,
    /// Where the thread still is.
    inside: Option<Entered>,
    /// Where threads share an interpreter.
    sampling: Option<Sampling>,
}

/// For how long a thread keeps an interpreter from others: less than the 5 ms after which Python takes it away
/// (`sys.setswitchinterval`), with the longest of the usual requests.
const TENURE: Duration = Duration::from_millis(2);
/// A frame of more is exceptional; its memory is given back.
const USUAL: usize = 96 * 1024;

impl Clerk {
    fn new(post: &'static Post, host: &'static Host, desk: &'static Desk) -> Clerk {
        let frame = vec![0; USUAL];
        let buffers = Buffers::default();
        let variables = Settled::default();
        let (usual, inside, sampling) = (None, None, host.is_shared().then(Sampling::default));
        Clerk { post, host, desk, frame, buffers, variables, usual, inside, sampling }
    }

    /// Takes one request after the other. Where threads share an interpreter, it is not given up between two requests: to wake
    /// one who waits for it takes longer than a small request. After a while it is, before the one who waits can have it taken
    /// away in the middle of a request, which would then have to wait for all others.
    fn work(mut self) {
        let (connections, page) = (&self.post.connections, &*self.post.page);
        let is_shared = self.host.is_shared();
        let (alone, with_another) = if is_shared { (1, 2) } else { (u32::MAX, u32::MAX) };
        let mut since = Instant::now();
        loop {
            let goes_on =
                self.inside.is_some() && since.elapsed() < TENURE && page.calls.come(with_another);
            if !goes_on {
                self.inside = None;
                if !connections.wait(page, alone) {
                    return;
                }
                // Before a request is taken: in the hands of a thread that waits for an interpreter it could not be taken
                // by the one that has it. With locks of their own, another interpreter may be free.
                let usual = self.usual.filter(|_| is_shared);
                self.inside = usual.and_then(|usual| catch_unwind(|| Entered::new(usual)).ok());
                since = Instant::now();
            }
            let Some(slot) = connections.next(page) else { continue };
            if let Some(line) = connections.at(slot).filter(|line| line.attends()) {
                let attended = catch_unwind(AssertUnwindSafe(|| self.attend(&line)));
                if !matches!(attended, Ok(Ok(true))) {
                    self.inside = None;
                    line.hang_up();
                }
                if let Ok(Err(error)) = attended {
                    report(&error);
                }
            }
        }
    }

    /// Deals with what lies there after a call. `false` or an error if the connection is of no use any more.
    fn attend(&mut self, line: &Line) -> io::Result<bool> {
        let mut have = line.try_read(&mut self.frame)?;
        if have < HEADER {
            // The call was another's, and this request is just being written.
            self.inside = None;
            line.read_exactly(&mut self.frame[have..HEADER])?;
            have = HEADER;
        }
        let whole = self.measure()?;
        match have.cmp(&whole) {
            Ordering::Equal => {}
            Ordering::Less => {
                // Nobody waits inside for what is still to come.
                self.inside = None;
                line.read_exactly(&mut self.frame[have..whole])?;
            }
            // The child waits for the answer before it says anything else.
            Ordering::Greater => return Err(malformed(Malformed("something follows it"))),
        }
        let stays = self.decide(line, whole)?;
        self.buffers.shrink();
        if self.frame.len() > USUAL {
            self.frame = vec![0; USUAL];
        }
        Ok(stays)
    }

    /// How long the frame is of which the header is there. There is room for it then.
    fn measure(&mut self) -> io::Result<usize> {
        let head = self.frame.first_chunk::<HEADER>().copied().unwrap_or_default();
        let frame = Frame::decode(head).map_err(malformed)?;
        if frame.kind != Kind::Request {
            return Err(malformed(Malformed("it is no request")));
        }
        let whole = HEADER + frame.length;
        if self.frame.len() < whole {
            self.frame.resize(whole, 0);
        }
        Ok(whole)
    }

    /// Serves the request in the frame, or does not. Whether the connection stays.
    fn decide(&mut self, line: &Line, whole: usize) -> io::Result<bool> {
        match Request::decode(&self.frame[HEADER..whole], &mut self.variables) {
            Ok(request) => {
                self.usual = self.host.known(&request.head.group);
                let is_there = |inside: &Entered| {
                    self.usual.is_some_and(|it| std::ptr::eq(it, inside.interpreter()))
                };
                self.inside = self.inside.take().filter(is_there);
                let (post, host, desk) = (self.post, self.host, self.desk);
                let sample = self.sampling.as_mut().and_then(Sampling::next);
                let case = Case { post, host, desk, inside: &mut self.inside, sample };
                case.handle(line, &request, &mut self.buffers)
            }
            Err(error) => Err(malformed(error)),
        }
    }
}

/// A child does not keep to what was agreed on. Its connection is ended.
fn malformed(error: Malformed) -> io::Error {
    io::Error::other(error)
}

/// Says so in the log. Nobody waits inside an interpreter for that.
fn report(error: &io::Error) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Malformed>());
    if let Some(malformed) = inner {
        let code = Code::FrameMalformed;
        journal::note(Level::Error, &format!("{code}: {}: {malformed}.", code.text()));
    }
}

/// Who serves a request.
struct Case<'c> {
    post: &'static Post,
    host: &'static Host,
    desk: &'static Desk,
    /// In which interpreter it is already, and still is afterwards.
    inside: &'c mut Option<Entered>,
    /// It is looked at how long it takes.
    sample: Option<Sample>,
}

impl Case<'_> {
    /// Takes a request if it can still be had, and serves it. Whether the connection stays.
    fn handle(
        mut self,
        line: &Line,
        request: &Request<'_>,
        buffers: &mut Buffers,
    ) -> io::Result<bool> {
        let mut files = VecDeque::new();
        if request.carried.file.is_some() {
            line.descriptors(&mut files)?;
        }
        let tag = Tag::of_serial(request.serial);
        let body = Body::new(request.carried, request.broken, files.pop_front(), tag)
            .ok_or_else(|| malformed(Malformed("a body has no file")))?;
        // A child that has withdrawn a request does not use the connection again.
        let offer = Offer::from_serial(request.serial);
        if !line.offer().take(offer) {
            return Ok(false);
        }
        let _finishes = Finishes { post: self.post, line, offer };
        let now = microseconds();
        let mut request = *request;
        request.head.clocks.daemon_start = now;
        request.head.script.reloading &= !request.as_loaded;
        let mut exchange = SocketExchange::new(self.post, line, &request, body, buffers);
        if self.post.course.is_draining() {
            return Ok(exchange.end(End::Leaving));
        }
        let in_hand = InHand::of(self.post);
        self.desk.begin(&request.head);
        if !request.ignored {
            self.post.touch();
        }
        let end = self.serve(&mut exchange);
        let stays = exchange.end(end);
        if !request.ignored {
            self.post.touch();
        }
        self.desk.end();
        if let Some(sample) = self.sample.take() {
            sample.end(self.post);
        }
        drop(in_hand);
        Ok(stays)
    }

    fn serve(&mut self, exchange: &mut SocketExchange<'_>) -> End {
        let served = catch_unwind(AssertUnwindSafe(|| self.in_python(exchange)));
        match served.unwrap_or(Outcome::Unanswered(Failure::from(Code::Panic))) {
            Outcome::Unanswered(Failure { code: Code::ScriptChanged }) => End::Reloading,
            outcome => End::Served(outcome),
        }
    }

    fn in_python(&mut self, exchange: &mut SocketExchange<'_>) -> Outcome {
        let mut inside = match self.inside.take() {
            Some(inside) => inside,
            None => match self.host.interpreter(exchange) {
                Ok(interpreter) => Entered::new(interpreter),
                Err(code) => return Outcome::Unanswered(code.into()),
            },
        };
        let interpreter = inside.interpreter();
        let ending = inside.with(|attached, seat| {
            self.desk.inside(attached, interpreter, || serve::in_python(attached, seat, exchange))
        });
        // An answer for which there is room goes into the line at once; anything else may have to wait.
        if matches!(ending, Ending::Reply(size) if exchange.has_room_for(size)) {
            *self.inside = Some(inside);
        } else {
            drop(inside);
        }
        serve::finish(ending, exchange)
    }
}

/// A request that the thread has taken. When this is dropped the thread is free. The child learns that from the end of the response;
/// if the child has given the request up before, this reports the free thread to the supervisor.
struct Finishes<'c> {
    post: &'static Post,
    line: &'c Line,
    offer: Offer,
}

impl Drop for Finishes<'_> {
    fn drop(&mut self) {
        if self.line.offer().finish(self.offer) {
            self.post.report_free_thread();
        }
    }
}

/// A request that has been taken. It is counted when this is dropped, whatever has become of it.
struct InHand(&'static Post);

impl InHand {
    fn of(post: &'static Post) -> InHand {
        post.page.begin();
        InHand(post)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.count();
    }
}

fn microseconds() -> i64 {
    let now = account::clock(libc::CLOCK_REALTIME);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}
