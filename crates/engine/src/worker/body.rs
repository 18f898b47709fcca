//! The body of a request as it comes to a worker: with the request, in a file beside it, or piece by piece when the
//! application asks for it.

use exchange::ReadError;
use link::Line;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use wire::{Carried, Frame, HEADER, Kind, Tag, append_want, read_error};

/// What is still to come of a body.
#[derive(Debug)]
pub struct Body<'r> {
    source: Source<'r>,
    /// What follows what was carried.
    broken: Option<ReadError>,
}

#[derive(Debug)]
enum Source<'r> {
    Inline(&'r [u8]),
    File { file: File, at: u64, end: u64 },
    OnDemand(Tag),
    Over,
}

/// In what pieces a file is read.
const PIECE: usize = 64 * 1024;
/// How much is asked for at once.
const MOST: usize = Kind::Body.limit();

impl<'r> Body<'r> {
    /// The body of a request. `None` if it is said to be in a file and there is none.
    pub fn new(
        carried: Carried<'r>,
        broken: Option<ReadError>,
        file: Option<OwnedFd>,
        tag: Tag,
    ) -> Option<Body<'r>> {
        let source = match carried {
            Carried::Inline(bytes) => Source::Inline(bytes),
            Carried::File(length) => Source::File { file: file?.into(), at: 0, end: length },
            Carried::OnDemand => Source::OnDemand(tag),
        };
        Some(Body { source, broken })
    }

    /// As [`exchange::Exchange::read`].
    pub fn read(
        &mut self,
        line: &Line,
        buffer: &mut Vec<u8>,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, ReadError> {
        let count = match &mut self.source {
            Source::Inline(rest) => {
                let (piece, after) = rest.split_at(most.min(rest.len()));
                *rest = after;
                sink(piece);
                piece.len()
            }
            Source::File { file, at, end } => {
                let length = end.saturating_sub(*at).min(most as u64).min(PIECE as u64);
                let piece = room(buffer, length as usize);
                file.read_exact_at(piece, *at).map_err(|_| ReadError::Failed)?;
                *at += length;
                sink(piece);
                piece.len()
            }
            Source::OnDemand(tag) => {
                let count = ask(line, *tag, buffer, most.min(MOST), sink)?;
                if count == 0 && most > 0 {
                    self.source = Source::Over;
                }
                count
            }
            Source::Over => 0,
        };
        match self.broken {
            Some(error) if count == 0 && most > 0 => Err(error),
            _ => Ok(count),
        }
    }
}

/// So many bytes of a buffer.
pub fn room(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    &mut buffer[..length]
}

/// Asks the child for a piece.
fn ask(
    line: &Line,
    tag: Tag,
    buffer: &mut Vec<u8>,
    most: usize,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<usize, ReadError> {
    let mut want = Vec::with_capacity(HEADER + 4);
    append_want(&mut want, tag, most as u32);
    line.write(&[&want]).map_err(|error| unread(&error))?;
    if most == 0 {
        return Ok(0);
    }
    let mut head = [0; HEADER];
    line.read_exactly(&mut head).map_err(|error| unread(&error))?;
    let frame = Frame::decode(head).map_err(|_| ReadError::Failed)?;
    if frame.tag != tag || !matches!(frame.kind, Kind::Body | Kind::BodyFailed) {
        return Err(ReadError::Failed);
    }
    let payload = room(buffer, frame.length);
    line.read_exactly(payload).map_err(|error| unread(&error))?;
    match (frame.kind, &*payload) {
        (Kind::Body, payload) if payload.len() <= most => {
            sink(payload);
            Ok(payload.len())
        }
        (Kind::BodyFailed, [number]) => Err(read_error(*number).unwrap_or(ReadError::Failed)),
        _ => Err(ReadError::Failed),
    }
}

/// What it means for the body that the child cannot be read from.
fn unread(error: &io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::WouldBlock => ReadError::TimedOut,
        io::ErrorKind::Other | io::ErrorKind::InvalidData => ReadError::Failed,
        _ => ReadError::Disconnected,
    }
}
