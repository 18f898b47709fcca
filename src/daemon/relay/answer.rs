//! The answer of a worker that has taken a request, frame by frame.

use super::{Client, Connection, Relay, Turn, of_worker};
use crate::daemon::connection::{LARGE, Lost, emptied};
use crate::daemon::queued_request::QueuedRequest;
use crate::daemon::remote::Worker;
use exchange::{Code, Failure, Outcome, Part, Push, WriteError};
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use wire::{Answer, End, File, Frame, Kind, Malformed, Note, Ready};

/// What an answer asks for in its own place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// What lies at this place of the server (`Location`).
    Redirect(Vec<u8>),
    /// A page of httpd's own (`WSGIErrorOverride`); with it goes what the client is to authenticate with.
    Error(u16, Vec<Vec<u8>>),
}

/// What a frame has brought.
enum Step {
    /// There are more to come.
    More,
    /// It was the last one; the connection can be used again.
    Last(End),
}

/// Why no more frames are read.
pub(super) enum Broken {
    Lost(Lost),
    /// The client takes no more.
    Client(WriteError),
    /// This failure, which has been noted.
    Failed(Code),
}

impl From<Lost> for Broken {
    fn from(lost: Lost) -> Self {
        Broken::Lost(lost)
    }
}

impl From<Malformed> for Broken {
    fn from(malformed: Malformed) -> Self {
        Broken::Lost(Lost::Malformed(malformed))
    }
}

impl From<WriteError> for Broken {
    fn from(error: WriteError) -> Self {
        Broken::Client(error)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Broken::Lost(Lost::Closed(error.kind()))
    }
}

const TOO_SHORT: Malformed = Malformed("the body of an answer is shorter than its Content-Length");

/// Answers of these statuses have no body, whatever they say of its length (RFC 9110, 15.3.5 and 15.4.5).
const WITHOUT_BODY: [u16; 2] = [204, 304];

impl<C: Client> Relay<'_, C> {
    /// Reads frames until the request has ended, whichever side has to wait for the other.
    pub(super) fn relay(
        &mut self,
        queued: &QueuedRequest<'_>,
        worker: &Worker,
        connection: &mut Connection,
    ) -> Turn {
        loop {
            if let Err(broken) = self.pass_time(connection) {
                return self.broken(queued, worker, broken);
            }
            let step = match connection.frame() {
                Ok(frame) => self.frame(connection, frame),
                Err(Lost::Tick) => match self.wait(queued, worker, connection) {
                    Ok(()) => Ok(Step::More),
                    Err(turn) => return turn,
                },
                // Frames that arrive before the worker has taken the request do not belong to it. If the child can withdraw the request,
                // the worker will not take it any more.
                Err(Lost::Closed(_) | Lost::Malformed(_)) if connection.withdraw() => {
                    return Turn::Again;
                }
                Err(lost) => Err(lost.into()),
            };
            match step {
                Ok(Step::More) => {}
                Ok(Step::Last(end)) => {
                    return match self.check(end) {
                        Ok(()) => {
                            connection.finish();
                            self.ended(end)
                        }
                        Err(malformed) => self.broken(queued, worker, malformed.into()),
                    };
                }
                Err(broken) => return self.broken(queued, worker, broken),
            }
        }
    }

    /// Whether an end fits to what came before it.
    fn check(&self, end: End) -> Result<(), Malformed> {
        let is_answered = self.has_started || self.instead.is_some();
        match end {
            End::Served(Outcome::Done) if !is_answered => Err(Malformed("a worker did not answer")),
            End::Served(Outcome::Done) if self.left.is_some_and(|left| left > 0) => Err(TOO_SHORT),
            End::Leaving | End::Reloading if is_answered => {
                Err(Malformed("a worker has given back what it had answered"))
            }
            End::Leaving | End::Reloading if self.gave_body => {
                Err(Malformed("a worker has given back a request whose body it has read"))
            }
            _ => Ok(()),
        }
    }

    /// So many bytes of the body are about to be passed on. What follows the end of an answer would be the beginning of
    /// another one's to whoever keeps the connection open, and the same if there are too few.
    fn count(&mut self, count: u64, push: Push) -> Result<(), Malformed> {
        let Some(left) = &mut self.left else { return Ok(()) };
        let too_long = Malformed("the body of an answer is longer than its Content-Length");
        *left = left.checked_sub(count).ok_or(too_long)?;
        if push == Push::Last && *left > 0 { Err(TOO_SHORT) } else { Ok(()) }
    }

    fn ended(&mut self, end: End) -> Turn {
        match end {
            End::Served(outcome) => Turn::Over(outcome),
            End::Leaving => Turn::Again,
            End::Reloading => Turn::Reloading,
        }
    }

    fn broken(&mut self, queued: &QueuedRequest<'_>, worker: &Worker, broken: Broken) -> Turn {
        match broken {
            Broken::Lost(Lost::Closed(how)) => self.died(queued, worker, how),
            Broken::Lost(Lost::Tick) => {
                Turn::Over(self.fail(Code::WorkerTimedOut, &of_worker(worker)))
            }
            Broken::Lost(Lost::Malformed(malformed)) => {
                let why = format!("{}: {malformed}", of_worker(worker));
                Turn::Over(self.fail(Code::AnswerMalformed, &why))
            }
            Broken::Client(WriteError::Refused) => {
                Turn::Over(Outcome::Truncated(Failure::from(Code::AnswerRefused)))
            }
            Broken::Client(_) => Turn::Over(Outcome::Abandoned),
            Broken::Failed(code) => Turn::Over(Outcome::Truncated(code.into())),
        }
    }

    /// Whether the client has been told anything of an answer.
    pub(super) fn started(&self) -> bool {
        self.has_started
    }

    fn frame(&mut self, connection: &mut Connection, frame: Frame) -> Result<Step, Broken> {
        if frame.kind == Kind::Data {
            return self.data(connection, frame);
        }
        let place = self.patiently(connection, |connection| connection.payload(frame.length))?;
        let step = match frame.kind {
            Kind::Note => {
                self.client.note(&Note::decode(connection.bytes(place.clone()))?.0);
                Ok(Step::More)
            }
            Kind::Want => {
                let most = wire::decode_want(connection.bytes(place.clone()))?;
                self.give_body(connection, most as usize)?;
                Ok(Step::More)
            }
            Kind::Answer => self.head(connection, place.clone(), frame.flags),
            Kind::File => {
                let part = File::decode(connection.bytes(place.clone()))?.0;
                let push = Ready::decode(frame.flags)?.0;
                self.file(connection, part, push)
            }
            Kind::End => Ok(Step::Last(End::decode(connection.bytes(place.clone()))?)),
            _ => Err(Malformed("a worker has sent what only children send").into()),
        };
        connection.take(place);
        step
    }

    /// Waits for bytes of a frame that has begun to come.
    fn patiently<T>(
        &mut self,
        connection: &mut Connection,
        read: impl Fn(&mut Connection) -> Result<T, Lost>,
    ) -> Result<T, Broken> {
        loop {
            match read(connection) {
                Err(Lost::Tick) => {
                    let timeout = self.particulars.timeout;
                    if !connection.wait(timeout) {
                        return Err(Lost::Tick.into());
                    }
                }
                other => return Ok(other?),
            }
        }
    }

    fn head(
        &mut self,
        connection: &mut Connection,
        place: Range<usize>,
        flags: u8,
    ) -> Result<Step, Broken> {
        let push = Ready::decode(flags)?.0;
        let mut headers = emptied(connection.headers());
        let answer = Answer::decode(connection.bytes(place), &mut headers)?;
        let taken = self.take_head(&answer, push);
        connection.recycle(emptied(headers));
        taken?;
        Ok(after(push))
    }

    fn take_head(&mut self, answer: &Answer<'_>, push: Push) -> Result<(), Broken> {
        if self.has_started || self.instead.is_some() {
            return Err(Malformed("a worker has answered twice").into());
        }
        let longest = self.group.terms.longest_header;
        // Name, colon, blank, value and line end.
        let line = |header: &&exchange::Header<'_>| header.name.len() + header.value.len() + 4;
        let long = answer.head.headers.get().iter().find(|header| line(header) > longest);
        if let Some(header) = long.filter(|_| longest > 0) {
            let name = String::from_utf8_lossy(&header.name).into_owned();
            self.fail(Code::HeaderTooLong, &name);
            return Err(Broken::Failed(Code::HeaderTooLong));
        }
        self.instead = self.instead_of(&answer.head);
        if self.instead.is_some() {
            return Ok(());
        }
        let has_body =
            !self.client.head().header_only && !WITHOUT_BODY.contains(&answer.head.status);
        self.left = (answer.head.has_length && has_body).then_some(answer.head.length);
        self.has_started = true;
        self.client.start(&answer.head)?;
        self.count(answer.body.len() as u64, push)?;
        if push == Push::Hold && answer.body.is_empty() {
            return Ok(());
        }
        Ok(self.client.write(answer.body, push)?)
    }

    /// What an answer asks for in its own place.
    fn instead_of(&self, head: &exchange::Answer<'_>) -> Option<Instead> {
        let named = |name: &'static str| {
            let all = head.headers.get().iter();
            all.filter(move |header| header.name.eq_ignore_ascii_case(name.as_bytes()))
        };
        if head.status == 200 {
            let location = named("Location").next_back()?.value.get();
            return location.starts_with(b"/").then(|| Instead::Redirect(location.to_vec()));
        }
        if self.particulars.overrides_errors && (400..600).contains(&head.status) {
            let challenges = named("WWW-Authenticate").map(|header| header.value.to_vec());
            return Some(Instead::Error(head.status, challenges.collect()));
        }
        None
    }

    fn data(&mut self, connection: &mut Connection, frame: Frame) -> Result<Step, Broken> {
        let push = Ready::decode(frame.flags)?.0;
        let mut left = frame.length;
        while left > 0 {
            self.pass_time(connection)?;
            let most = left.min(LARGE);
            let place = self.patiently(connection, |connection| connection.some(most))?;
            left -= place.len();
            let push = if left == 0 { push } else { Push::Hold };
            self.pass(connection, place.clone(), push)?;
            connection.take(place);
        }
        if frame.length == 0 {
            self.pass(connection, 0..0, push)?;
        }
        Ok(after(push))
    }

    /// Gives bytes of the body to the client, unless the client gets something else.
    fn pass(
        &mut self,
        connection: &Connection,
        place: Range<usize>,
        push: Push,
    ) -> Result<(), Broken> {
        if self.instead.is_some() {
            return Ok(());
        }
        if !self.has_started {
            return Err(Malformed("a worker has sent a body without a head").into());
        }
        self.count(place.len() as u64, push)?;
        self.send(connection, place, push)
    }

    fn file(
        &mut self,
        connection: &mut Connection,
        part: Part,
        push: Push,
    ) -> Result<Step, Broken> {
        let file = connection.descriptor()?;
        // httpd opens it anew, which must not give anybody what only this process may read.
        if !crate::httpd::process::is_open_for_reading(file.as_fd()) {
            return Err(Malformed("a worker has sent a file that it cannot read").into());
        }
        if self.instead.is_none() {
            if !self.has_started {
                return Err(Malformed("a worker has sent a body without a head").into());
            }
            self.count(part.length, push)?;
            self.send_all()?;
            let sent = self.client.send_file(file.as_fd(), part, push)?;
            if sent < part.length {
                self.fail(Code::ResponseUnread, "a file was cut while it was being sent");
                return Err(Broken::Failed(Code::ResponseUnread));
            }
        }
        Ok(after(push))
    }

    /// The worker wants some of the body, which is read from the client now. It has read what was carried.
    fn give_body(&mut self, connection: &mut Connection, most: usize) -> Result<(), Broken> {
        // Another worker may still get the request, with all of its body.
        if !connection.is_taken() {
            return Err(Malformed("a worker wants the body of what it has not taken").into());
        }
        self.body.release();
        let mut bytes = Vec::new();
        let most = most.min(Kind::Body.limit());
        let read = self.client.read(most, &mut |piece| bytes.extend_from_slice(piece));
        if most == 0 {
            return Ok(());
        }
        self.gave_body |= !bytes.is_empty();
        match read {
            Ok(_) => connection.send(Kind::Body, &bytes)?,
            Err(error) => connection.send(Kind::BodyFailed, &[error as u8])?,
        }
        Ok(())
    }
}

/// What follows bytes.
fn after(push: Push) -> Step {
    if push == Push::Last { Step::Last(End::Served(Outcome::Done)) } else { Step::More }
}
