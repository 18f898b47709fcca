//! What a worker says to a child: who it is, what is to be logged, the answer in pieces, and how it ended.

use crate::fields::{Fields, Fixed, Put};
use crate::frame::{self, Frame, Kind, Tag};
use crate::{Malformed, VERSION, request};
use exchange::{Answer as Head, Code, Failure, Header, Outcome, Part, Push, Record, Slice};

/// The first thing a worker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Which worker it is.
    pub worker: u32,
    /// The slot of its page in which requests of this connection are offered.
    pub slot: u32,
}

impl Hello {
    /// Appends it as a frame.
    pub fn append_to(&self, into: &mut Vec<u8>) {
        frame::append(into, Kind::Hello, 0, Tag::NONE, |row| {
            row.put_u32(VERSION);
            row.put_u32(self.worker);
            row.put_u32(self.slot);
        });
    }

    /// How long its frame is.
    pub const LENGTH: usize = frame::HEADER + 3 * size_of::<u32>();

    /// Reads its frame, and nothing else.
    ///
    /// # Errors
    /// It is none, or the worker is of another version.
    pub fn read(bytes: &[u8; Hello::LENGTH]) -> Result<Hello, Malformed> {
        let short = Malformed("a header is short");
        let (head, payload) = bytes.split_first_chunk().ok_or(short)?;
        let frame = Frame::decode(*head)?;
        if frame.kind != Kind::Hello || frame.length != payload.len() {
            return Err(Malformed("a worker did not say who it is"));
        }
        Hello::decode(payload)
    }

    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// It is none, or the worker is of another version.
    pub fn decode(payload: &[u8]) -> Result<Hello, Malformed> {
        let mut row = Fields::new(payload);
        if row.u32()? != VERSION {
            return Err(Malformed("the worker is of another version"));
        }
        let hello = Hello { worker: row.u32()?, slot: row.u32()? };
        row.end()?;
        Ok(hello)
    }
}

/// What is to happen to bytes of a body: the flags of their frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready(pub Push);

impl Ready {
    /// As flags.
    pub const fn flags(self) -> u8 {
        self.0 as u8
    }

    /// From flags.
    ///
    /// # Errors
    /// They say nothing.
    pub fn decode(flags: u8) -> Result<Ready, Malformed> {
        let all = [Push::Hold, Push::Flush, Push::Last];
        let found = all.into_iter().find(|push| *push as u8 == flags);
        found.map(Ready).ok_or(Malformed("flags say nothing about bytes"))
    }
}

/// A record for the log of the request.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a>(pub Record<'a>);

impl<'a> Note<'a> {
    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(payload: &'a [u8]) -> Result<Note<'a>, Malformed> {
        let mut row = Fields::new(payload);
        let level = request::level(row.u8()?)?;
        let file_line = row.u32()?;
        let file = Slice::new(row.bytes()?);
        Ok(Note(Record { level, line: Slice::new(row.rest()), file, file_line }))
    }
}

/// Appends a record as a frame; a line that is too long for one is cut.
pub fn append_note(into: &mut Vec<u8>, tag: Tag, record: &Record<'_>) {
    const MOST: usize = Kind::Note.limit() / 2;
    let cut = |bytes: &'_ [u8]| bytes.len().min(MOST / 2);
    frame::append(into, Kind::Note, 0, tag, |row| {
        row.put_u8(record.level as u8);
        row.put_u32(record.file_line);
        row.put_bytes(&record.file[..cut(&record.file)]);
        row.extend_from_slice(&record.line[..record.line.len().min(MOST)]);
    });
}

/// Status and headers, and the bytes of the body that came with them.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Status and headers.
    pub head: Head<'a>,
    /// The first bytes of the body.
    pub body: &'a [u8],
}

/// The bytes of an answer that are there in every one.
const FIXED: usize = 2 + 2 + 8 + 4 + 4;
/// The lengths of a header's name and value.
const LENGTHS: usize = 2 * 4;

impl<'a> Answer<'a> {
    /// Reads the payload of a frame. `headers` is emptied and then holds those of the answer.
    ///
    /// # Errors
    /// It is none.
    pub fn decode<'p: 'a>(
        payload: &'p [u8],
        headers: &'a mut Vec<Header<'p>>,
    ) -> Result<Answer<'a>, Malformed> {
        headers.clear();
        let mut rest = Fields::new(payload);
        let mut row = rest.fixed::<FIXED>()?;
        let status = row.u16()?;
        if !(200..=999).contains(&status) {
            return Err(Malformed("a status is none"));
        }
        let (has_reason, has_length) = (row.flag()?, row.flag()?);
        let length = row.u64()?;
        let (of_reason, count) = (row.u32()? as usize, row.u32()? as usize);
        let lengths = rest.take(count.saturating_mul(LENGTHS))?;
        let from = rest.clone();
        let reason = rest.take(of_reason)?.into();
        for lengths in lengths.chunks_exact(LENGTHS) {
            let mut row = Fields::new(lengths);
            let (name, value) = (rest.take(row.u32()? as usize)?, rest.take(row.u32()? as usize)?);
            headers.push(Header { name: name.into(), value: value.into() });
        }
        // All texts at once, without a way out in the middle, so that many bytes are looked at together.
        let is_end = |bad: bool, byte: &u8| bad | matches!(byte, b'\r' | b'\n' | 0);
        if from.up_to(&rest).iter().fold(false, is_end) {
            return Err(Malformed("a header has a line end in it"));
        }
        let head =
            Head { status, has_reason, reason, headers: Slice::new(headers), has_length, length };
        Ok(Answer { head, body: rest.rest() })
    }
}

/// Appends status, headers and the first bytes of a body as a frame. `false`, and nothing appended, if they are too much
/// for one.
pub fn append_answer(
    into: &mut Vec<u8>,
    tag: Tag,
    head: &Head<'_>,
    body: &[u8],
    push: Push,
) -> bool {
    let start = into.len();
    frame::append(into, Kind::Answer, Ready(push).flags(), tag, |row| {
        row.extend_from_slice(&Fixed::<FIXED>::of(|row| {
            row.put_u16(head.status);
            row.put_u8(u8::from(head.has_reason));
            row.put_u8(u8::from(head.has_length));
            row.put_u64(head.length);
            row.put_length(head.reason.len());
            row.put_length(head.headers.len());
        }));
        for header in head.headers.get() {
            row.extend_from_slice(&Fixed::<LENGTHS>::of(|row| {
                row.put_length(header.name.len());
                row.put_length(header.value.len());
            }));
        }
        row.extend_from_slice(&head.reason);
        for header in head.headers.get() {
            row.extend_from_slice(&header.name);
            row.extend_from_slice(&header.value);
        }
        row.extend_from_slice(body);
    });
    let fits = into.len() - start - frame::HEADER <= Kind::Answer.limit();
    if !fits {
        into.truncate(start);
    }
    fits
}

/// A part of a file as bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File(pub Part);

impl File {
    /// Appends it as a frame, with which its descriptor has to be sent.
    pub fn append_to(&self, into: &mut Vec<u8>, tag: Tag, push: Push) {
        frame::append(into, Kind::File, Ready(push).flags(), tag, |row| {
            row.put_u64(self.0.offset);
            row.put_u64(self.0.length);
        });
    }

    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(payload: &[u8]) -> Result<File, Malformed> {
        let mut row = Fields::new(payload);
        let part = Part { offset: row.u64()?, length: row.u64()? };
        row.end()?;
        Ok(File(part))
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As the gateway says.
    Served(Outcome),
    /// It was not: the worker is leaving. Another one may have it.
    Leaving,
    /// It was not: the script has changed, and workers with the new one are being started.
    Reloading,
}

impl End {
    fn numbers(self) -> (u8, u16) {
        match self {
            End::Served(Outcome::Done) => (0, 0),
            End::Served(Outcome::Unanswered(failure)) => (1, failure.code as u16),
            End::Served(Outcome::Truncated(failure)) => (2, failure.code as u16),
            End::Served(Outcome::Abandoned) => (3, 0),
            End::Leaving => (4, 0),
            End::Reloading => (5, 0),
        }
    }

    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(payload: &[u8]) -> Result<End, Malformed> {
        let mut row = Fields::new(payload);
        let (kind, number) = (row.u8()?, row.u16()?);
        row.end()?;
        let failure = || {
            let code = Code::from_number(number).ok_or(Malformed("a code is unknown"))?;
            Ok(Failure::from(code))
        };
        Ok(match kind {
            0 => End::Served(Outcome::Done),
            1 => End::Served(Outcome::Unanswered(failure()?)),
            2 => End::Served(Outcome::Truncated(failure()?)),
            3 => End::Served(Outcome::Abandoned),
            4 => End::Leaving,
            5 => End::Reloading,
            _ => return Err(Malformed("a request ended in no known way")),
        })
    }
}

/// Appends the end of a request as a frame.
pub fn append_end(into: &mut Vec<u8>, tag: Tag, end: End) {
    let (kind, number) = end.numbers();
    frame::append(into, Kind::End, 0, tag, |row| {
        row.put_u8(kind);
        row.put_u16(number);
    });
}

/// Appends as a frame that the application wants up to so many bytes of the body. With 0 the child lets the client continue
/// and answers nothing; otherwise with one `Kind::Body` or `Kind::BodyFailed`.
pub fn append_want(into: &mut Vec<u8>, tag: Tag, most: u32) {
    frame::append(into, Kind::Want, 0, tag, |row| row.put_u32(most));
}

/// Reads the payload of a frame that says how many bytes of the body are wanted.
///
/// # Errors
/// It is none.
pub fn decode_want(payload: &[u8]) -> Result<u32, Malformed> {
    let mut row = Fields::new(payload);
    let most = row.u32()?;
    row.end()?;
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, HEADER};
    use exchange::Level;

    fn payload(bytes: &[u8], kind: Kind) -> &[u8] {
        let frame = Frame::decode(bytes[..HEADER].try_into().unwrap()).unwrap();
        assert_eq!((frame.kind, frame.length), (kind, bytes.len() - HEADER));
        &bytes[HEADER..]
    }

    fn head<'a>(headers: &'a [Header<'a>]) -> Head<'a> {
        Head {
            status: 404,
            has_reason: true,
            reason: "Nicht da".into(),
            headers: Slice::new(headers),
            has_length: true,
            length: 3,
        }
    }

    #[test]
    fn an_answer_comes_back() {
        let headers = [Header { name: "X-A".into(), value: "1\t2".into() }];
        let mut bytes = Vec::new();
        assert!(append_answer(&mut bytes, Tag::NONE, &head(&headers), b"abc", Push::Last));
        let mut list = Vec::new();
        let back = Answer::decode(payload(&bytes, Kind::Answer), &mut list).unwrap();
        assert_eq!(format!("{:?}", back.head), format!("{:?}", head(&headers)));
        assert_eq!(back.body, b"abc");
        assert_eq!(Ready::decode(bytes[1]), Ok(Ready(Push::Last)));
    }

    #[test]
    fn an_answer_that_could_split_a_head_is_refused() {
        for value in ["a\r\nb", "a\nb", "a\0b"] {
            let headers = [Header { name: "X".into(), value: value.into() }];
            let mut bytes = Vec::new();
            assert!(append_answer(&mut bytes, Tag::NONE, &head(&headers), b"", Push::Hold));
            assert!(Answer::decode(&bytes[HEADER..], &mut Vec::new()).is_err(), "{value:?}");
        }
    }

    #[test]
    fn every_end_comes_back() {
        let failure = Failure::from(Code::Panic);
        for end in [
            End::Served(Outcome::Done),
            End::Served(Outcome::Unanswered(failure)),
            End::Served(Outcome::Truncated(failure)),
            End::Served(Outcome::Abandoned),
            End::Leaving,
            End::Reloading,
        ] {
            let mut bytes = Vec::new();
            append_end(&mut bytes, Tag::NONE, end);
            assert_eq!(End::decode(payload(&bytes, Kind::End)), Ok(end));
        }
        assert!(End::decode(&[1, 255, 255]).is_err());
        assert!(End::decode(&[9, 0, 0]).is_err());
    }

    #[test]
    fn hello_notes_and_files_come_back() {
        let mut bytes = Vec::new();
        Hello { worker: 3, slot: 4 }.append_to(&mut bytes);
        assert_eq!(Hello::decode(payload(&bytes, Kind::Hello)), Ok(Hello { worker: 3, slot: 4 }));
        let mut bytes = Vec::new();
        let part = Part { offset: 1, length: 1 << 40 };
        File(part).append_to(&mut bytes, Tag::NONE, Push::Flush);
        assert_eq!(File::decode(payload(&bytes, Kind::File)), Ok(File(part)));
        let mut bytes = Vec::new();
        append_want(&mut bytes, Tag::NONE, 70_000);
        assert_eq!(decode_want(payload(&bytes, Kind::Want)), Ok(70_000));
        let mut bytes = Vec::new();
        append_note(&mut bytes, Tag::NONE, &Record::new(Level::Notice, &[b'x'; 3 << 20]));
        let note = Note::decode(payload(&bytes, Kind::Note)).unwrap();
        assert_eq!((note.0.level, note.0.line.len()), (Level::Notice, 1 << 19));
    }
}
