//! The body of a request as it comes to a worker: in a file beside the request, with the request, and piece by piece when
//! the application asks for it. Each part may be missing; the application reads them in this order.

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
    file: Option<Stored>,
    inline: &'r [u8],
    /// The child is asked for what follows, under this tag.
    on_demand: Option<Tag>,
    /// What follows then.
    broken: Option<ReadError>,
}

/// A part of a body in a file; at least one byte of it has not been read yet.
#[derive(Debug)]
struct Stored {
    file: File,
    at: u64,
    end: u64,
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
        let file = match carried.file {
            Some(length) => Some((length, file?)),
            None => None,
        };
        let stored = file.map(|(end, file)| Stored { file: file.into(), at: 0, end });
        Some(Body {
            file: stored.filter(|stored| stored.end > 0),
            inline: carried.inline,
            on_demand: carried.continues.then_some(tag),
            broken,
        })
    }

    /// As [`exchange::Exchange::read`].
    pub fn read(
        &mut self,
        line: &Line,
        buffer: &mut Vec<u8>,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, ReadError> {
        let count = self.read_part(line, buffer, most, sink)?;
        match self.broken {
            Some(error) if count == 0 && most > 0 => Err(error),
            _ => Ok(count),
        }
    }

    /// Reads of the first part that is not at its end. The child is asked for more only when the application has read all
    /// that was carried: the child then keeps the file no longer.
    fn read_part(
        &mut self,
        line: &Line,
        buffer: &mut Vec<u8>,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, ReadError> {
        if let Some(stored) = &mut self.file {
            let count = stored.read(buffer, most, sink)?;
            if stored.at == stored.end {
                self.file = None;
            }
            return Ok(count);
        }
        if !self.inline.is_empty() {
            let (piece, after) = self.inline.split_at(most.min(self.inline.len()));
            self.inline = after;
            sink(piece);
            return Ok(piece.len());
        }
        let Some(tag) = self.on_demand else { return Ok(0) };
        let count = ask(line, tag, buffer, most.min(MOST), sink)?;
        if count == 0 && most > 0 {
            self.on_demand = None;
        }
        Ok(count)
    }
}

impl Stored {
    fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, ReadError> {
        let length = (self.end - self.at).min(most as u64).min(PIECE as u64);
        let piece = room(buffer, length as usize);
        self.file.read_exact_at(piece, self.at).map_err(|_| ReadError::Failed)?;
        self.at += length;
        sink(piece);
        Ok(piece.len())
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
