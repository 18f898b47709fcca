//! A request that came over a connection, as the engine serves it. A small answer goes back in one frame with everything;
//! of a larger one nothing is copied.

use super::body::Body;
use super::journal;
use super::post::Post;
use crate::startup;
use exchange::{
    Answer, Exchange, Found, Head, Level, LookUp, Outcome, Part, Push, ReadError, Record, Scheme,
    WriteError,
};
use link::Line;
use std::io;
use std::os::fd::BorrowedFd;
use wire::{End, File, Kind, Ready, Tag, append_answer, append_end, append_note, header};

/// One request and its answer.
pub struct SocketExchange<'r> {
    post: &'static Post,
    line: &'r Line,
    tag: Tag,
    head: Head<'r>,
    body: Body<'r>,
    buffers: &'r mut Buffers,
    log_level: Level,
    /// It is no sign that the process is being used.
    ignored: bool,
    /// The answer in `buffers.output` has not gone yet.
    waiting: bool,
    /// The last bytes have been said to be the last.
    complete: bool,
    /// The other side cannot be reached any more.
    lost: bool,
}

/// Memory that a thread uses for one request after the other.
#[derive(Debug, Default)]
pub struct Buffers {
    /// A frame that is being made.
    pub output: Vec<u8>,
    /// A piece of a body.
    pub piece: Vec<u8>,
}

impl Buffers {
    /// Gives back what an exceptional request has needed.
    pub fn shrink(&mut self) {
        const USUAL: usize = 128 * 1024;
        for buffer in [&mut self.output, &mut self.piece] {
            if buffer.capacity() > USUAL {
                *buffer = Vec::new();
            }
        }
        self.output.clear();
    }
}

/// Bytes of a body up to so many go in one frame with status and headers.
const TOGETHER: usize = 64 * 1024;

impl<'r> SocketExchange<'r> {
    /// A request that has been taken.
    pub fn new(
        post: &'static Post,
        line: &'r Line,
        request: &wire::Request<'r>,
        body: Body<'r>,
        buffers: &'r mut Buffers,
    ) -> SocketExchange<'r> {
        buffers.output.clear();
        SocketExchange {
            post,
            line,
            tag: Tag::of_serial(request.serial),
            head: request.head,
            body,
            buffers,
            log_level: request.log_level,
            ignored: request.ignored,
            waiting: false,
            complete: false,
            lost: false,
        }
    }

    /// Whether a head and a body of so many bytes together go into the line without waiting.
    pub fn has_room_for(&self, size: usize) -> bool {
        /// More than a frame needs besides.
        const BESIDES: usize = 1024;
        self.line.has_room_for(size + BESIDES)
    }

    /// Tells the child how it went, if that is not said yet. `false` if the connection cannot be used any more.
    pub fn end(mut self, end: End) -> bool {
        if !self.complete && !self.lost && !startup::forked() {
            self.complete = true;
            if self.waiting && end == End::Served(Outcome::Done) {
                self.finish_waiting(0, Push::Last);
            } else {
                append_end(&mut self.buffers.output, self.tag, end);
            }
            let _ = self.send(&[]);
        }
        !self.lost
    }

    /// Says of the answer that is waiting how many bytes of the body follow it, and what is to happen to it.
    fn finish_waiting(&mut self, following: usize, push: Push) {
        let output = &mut self.buffers.output;
        let length = output.len() - wire::HEADER + following;
        let head = header(Kind::Answer, Ready(push).flags(), self.tag, length);
        output[..wire::HEADER].copy_from_slice(&head);
    }

    /// Sends what is waiting, and these parts after it.
    fn send(&mut self, parts: &[&[u8]]) -> Result<(), WriteError> {
        let none: &[u8] = &[];
        let (first, second) =
            (parts.first().copied().unwrap_or(none), parts.get(1).copied().unwrap_or(none));
        let sent = self.line.write(&[&self.buffers.output, first, second]);
        self.buffers.output.clear();
        self.waiting = false;
        self.settle(sent)
    }

    fn settle(&mut self, sent: io::Result<()>) -> Result<(), WriteError> {
        if !self.ignored {
            self.post.touch();
        }
        sent.map_err(|_| {
            self.lost = true;
            WriteError::Gone
        })
    }

    fn check(&self) -> Result<(), WriteError> {
        if self.lost || startup::forked() { Err(WriteError::Gone) } else { Ok(()) }
    }
}

impl Exchange for SocketExchange<'_> {
    fn head(&self) -> Head<'_> {
        self.head
    }

    fn read(&mut self, most: usize, sink: &mut dyn FnMut(&[u8])) -> Result<usize, ReadError> {
        if startup::forked() || self.lost {
            return Err(ReadError::Failed);
        }
        if !self.ignored {
            self.post.touch();
        }
        self.body.read(self.line, &mut self.buffers.piece, most, sink)
    }

    fn start(&mut self, answer: &Answer<'_>) -> Result<(), WriteError> {
        self.check()?;
        self.buffers.output.clear();
        self.waiting = append_answer(&mut self.buffers.output, self.tag, answer, &[], Push::Hold);
        if self.waiting { Ok(()) } else { Err(WriteError::Refused) }
    }

    fn write(&mut self, bytes: &[u8], push: Push) -> Result<(), WriteError> {
        self.check()?;
        self.complete = push == Push::Last;
        if self.waiting && bytes.len() <= TOGETHER {
            self.finish_waiting(bytes.len(), push);
            return self.send(&[bytes]);
        }
        // A frame holds less than 4 GiB.
        let mut pieces = bytes.chunks(1 << 30).peekable();
        while let Some(piece) = pieces.next() {
            let push = if pieces.peek().is_some() { Push::Hold } else { push };
            let head = header(Kind::Data, Ready(push).flags(), self.tag, piece.len());
            self.send(&[&head, piece])?;
        }
        if bytes.is_empty() {
            self.send(&[&header(Kind::Data, Ready(push).flags(), self.tag, 0)])?;
        }
        Ok(())
    }

    fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        part: Part,
        push: Push,
    ) -> Result<u64, WriteError> {
        self.check()?;
        let size = rustix::fs::fstat(file).map_or(0, |facts| facts.st_size.unsigned_abs());
        let length = part.length.min(size.saturating_sub(part.offset));
        let whole = length == part.length;
        let push = if whole { push } else { Push::Flush };
        if self.waiting {
            self.send(&[])?;
        }
        self.complete = push == Push::Last;
        let part = Part { offset: part.offset, length };
        File(part).append_to(&mut self.buffers.output, self.tag, push);
        // First, as the other side looks for it when the frame says so.
        let sent = self.line.send_descriptor(file);
        self.settle(sent)?;
        self.send(&[])?;
        Ok(length)
    }

    fn note(&mut self, record: &Record<'_>) {
        if record.level > self.log_level {
            return;
        }
        // After the end the child does not listen, and a process that was forked must not use the connection.
        if !self.complete && self.check().is_ok() {
            let mut frame = Vec::with_capacity(record.line.len() + 64);
            append_note(&mut frame, self.tag, record);
            if self.line.write(&[&frame]).is_ok() {
                return;
            }
            self.lost = true;
        }
        let id = String::from_utf8_lossy(&self.head.id).into_owned();
        let line = [format!("[request {id}] ").as_bytes(), &record.line].concat();
        journal::record(&Record { line: (&line[..]).into(), ..*record });
    }

    fn look_up(&self, what: LookUp<'_>) -> Option<Found<'_>> {
        match what {
            LookUp::Tls => Some(Found::Flag(self.head.scheme == Scheme::Https)),
            LookUp::TlsVariable(name) => {
                let mut all = self.head.variables.iter();
                let found = all.find(|variable| variable.name() == name)?;
                Some(Found::Text(found.value()))
            }
            LookUp::Logged(level) => Some(Found::Flag(level <= self.log_level)),
            LookUp::Native => None,
        }
    }
}
