//! One request and its answer, as its carrier offers it to a gateway.

use crate::{Bytes, Head, Slice};
use std::fmt;
use std::os::fd::BorrowedFd;

/// One request and its answer. Implemented by `HttpdExchange` (the httpd module) and by the C-ABI view of one
/// ([`crate::abi::Carried`]).
///
/// Only [`head`](Exchange::head) and [`look_up`](Exchange::look_up) are quick. Every other call may wait for the
/// client, so none of them may be made while holding a lock that other requests need (an interpreter's).
pub trait Exchange: Send {
    /// What is known of the request. What it borrows stays in place and unchanged until the exchange ends, whatever
    /// other methods are called meanwhile.
    fn head(&self) -> Head<'_>;

    /// Takes up to `most` bytes of the request body and hands them, in order and in one piece or several, to `sink`.
    /// Waits for at least one byte unless the input has ended. Returns how many there were: 0 is the end of the
    /// input, and stays so. The first call lets the client continue (RFC 9110, 10.1.1: 100-continue); with `most` 0 it
    /// does no more than that.
    ///
    /// # Errors
    /// The body cannot be had in full. What was handed over before is all there is; later calls fail again.
    fn read(&mut self, most: usize, sink: &mut dyn FnMut(&[u8])) -> Result<usize, ReadError>;

    /// Gives status and headers. At most once. Nothing need reach the client before the first byte or the end.
    ///
    /// # Errors
    /// The answer cannot be taken; see [`WriteError`].
    fn start(&mut self, answer: &Answer<'_>) -> Result<(), WriteError>;

    /// Gives bytes of the body. Keeps nothing of `bytes` after it returns.
    ///
    /// # Errors
    /// The bytes cannot reach the client; nothing later will.
    fn write(&mut self, bytes: &[u8], push: Push) -> Result<(), WriteError>;

    /// Gives a part of a regular file as bytes of the body, without its passing through the gateway. The caller may
    /// close `file` afterwards; its position is the same as before. Returns how many bytes the file really had.
    ///
    /// # Errors
    /// As [`write`](Exchange::write).
    fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        part: Part,
        push: Push,
    ) -> Result<u64, WriteError>;

    /// Writes one record to the log of this request.
    fn note(&mut self, record: &Record<'_>);

    /// Asks for what only some carriers know; `None` where this one does not.
    fn look_up(&self, what: LookUp<'_>) -> Option<Found<'_>>;
}

/// The head of an answer. Everything in it has been checked by the gateway: the status is 200 to 999, header names
/// are tokens (RFC 9110, 5.6.2), no value holds CR, LF, NUL or another control character.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The three digits of the status line.
    pub status: u16,
    /// Whether the application gave a reason phrase; if not, the carrier supplies the standard one.
    pub has_reason: bool,
    /// The reason phrase. May be empty.
    pub reason: Bytes<'a>,
    /// The headers in the order the application gave them, `Content-Length` not among them.
    pub headers: Slice<'a, Header<'a>>,
    /// Whether the length of the body is known.
    pub has_length: bool,
    /// The length of the body in bytes, declared by the application or counted by the gateway.
    pub length: u64,
}

/// One header of an answer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// Its name, in the case the application gave it.
    pub name: Bytes<'a>,
    /// Its value, latin-1 encoded as PEP 3333 has it.
    pub value: Bytes<'a>,
}

/// What is to happen to bytes that were written.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// More will follow at once; the carrier may wait for it.
    Hold,
    /// On to the client now: who knows when the next byte comes (PEP 3333, "Buffering and Streaming").
    Flush,
    /// These were the last ones.
    Last,
}

/// A part of a file, in bytes from its beginning.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// Why a request body could not be read.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The client closed the connection in the middle of the body.
    Disconnected = 1,
    /// The client sent nothing for longer than the server waits.
    TimedOut,
    /// The body is not encoded as it says (a broken chunk).
    Malformed,
    /// The body is larger than the server allows.
    TooLarge,
    /// Anything else; the carrier has noted what.
    Failed,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReadError::Disconnected => "the client disconnected before the body was complete",
            ReadError::TimedOut => "the client did not send the body in time",
            ReadError::Malformed => "the body is malformed (broken chunked encoding)",
            ReadError::TooLarge => "the body exceeds the configured limit",
            ReadError::Failed => "the body could not be read",
        })
    }
}

impl std::error::Error for ReadError {}

/// Why an answer could not be given.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The client is gone.
    Gone = 1,
    /// The carrier has answered in its own words meanwhile (a body over the limit: 413), and takes no other answer.
    Answered,
    /// The carrier could not take it; it has noted why.
    Refused,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteError::Gone => "the client closed the connection",
            WriteError::Answered => "the server has already answered this request",
            WriteError::Refused => "the server could not take the response",
        })
    }
}

impl std::error::Error for WriteError {}

/// How much a record matters, in the order and with the numbers of syslog (RFC 5424, table 2), which are httpd's too.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The process cannot do its work.
    Critical = 2,
    /// A request or a task failed.
    Error = 3,
    /// Something is not as it should be, and was mended or passed over.
    Warning = 4,
    /// Worth knowing in ordinary operation.
    Notice = 5,
    /// What happened, for who asks.
    Info = 6,
    /// For who looks for a defect.
    Debug = 7,
    /// Finer than syslog goes: httpd's `trace1`.
    Trace = 8,
}

impl Level {
    /// As it stands in a line of httpd's error log.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Critical => "crit",
            Level::Error => "error",
            Level::Warning => "warn",
            Level::Notice => "notice",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace1",
        }
    }
}

/// One line for a log.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// How much it matters.
    pub level: Level,
    /// The line, without its end. May hold any byte; the carrier makes it safe for the log.
    pub line: Bytes<'a>,
    /// The source file it comes from (httpd's `%F`); empty if that is of no use to a reader.
    pub file: Bytes<'a>,
    /// The line in `file`.
    pub file_line: u32,
}

impl<'a> Record<'a> {
    /// A record that does not say where it comes from.
    pub fn new(level: Level, line: &'a [u8]) -> Self {
        Record { level, line: Bytes::new(line), file: Bytes::EMPTY, file_line: 0 }
    }
}

/// A question that only some carriers can answer.
#[derive(Clone, Copy, Debug)]
pub enum LookUp<'a> {
    /// Is the client's connection a TLS one? [`Found::Flag`].
    Tls,
    /// A variable of the TLS layer (`SSL_PROTOCOL`); [`Found::Text`], `None` if it has no value.
    TlsVariable(&'a [u8]),
    /// Would a record of this level be written? [`Found::Flag`].
    Logged(Level),
    /// The address of the carrier's own structure of the request (`request_rec`), for C code that an application calls.
    /// Only where the configuration allows it. [`Found::Address`].
    Native,
}

/// What a look-up brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Yes or no.
    Flag(bool),
    /// Text, valid as long as the exchange.
    Text(&'a [u8]),
    /// An address.
    Address(usize),
}
