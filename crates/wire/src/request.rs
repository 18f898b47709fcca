//! A request as a child sends it to a worker: everything that is known before its body is read, and how the body comes.

use crate::Malformed;
use crate::fields::{Fields, Fixed};
use crate::frame::{self, Kind, Tag};
use exchange::{Body, Clocks, Group, Head, Level, ReadError, Scheme, Script, Settled};

/// How the body of a request comes to the worker: a part in a file, a part in the frame, and the rest when the worker asks
/// for it, in this order. Each of them may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried<'a> {
    /// So many bytes are in a file, whose descriptor comes with the frame.
    pub file: Option<u64>,
    /// The bytes in the frame.
    pub inline: &'a [u8],
    /// The child reads what follows from the client when the worker asks for it ([`Kind::Want`]).
    pub continues: bool,
}

impl<'a> Carried<'a> {
    /// The child reads all of the body from the client when the worker asks for it.
    pub const ON_DEMAND: Carried<'static> = Carried { file: None, inline: &[], continues: true };

    /// All of the body is in the frame.
    pub const fn inline(bytes: &'a [u8]) -> Carried<'a> {
        Carried { file: None, inline: bytes, continues: false }
    }

    /// All of the body is in a file of so many bytes.
    pub const fn in_file(length: u64) -> Carried<'static> {
        Carried { file: Some(length), inline: &[], continues: false }
    }
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which offer of its connection this is: the number in the slot of the worker's page.
    pub serial: u32,
    /// What is known of it. `native` is never set.
    pub head: Head<'a>,
    /// How its body comes.
    pub carried: Carried<'a>,
    /// What follows what was carried: nothing, or the reason why there is no more.
    pub broken: Option<ReadError>,
    /// Records of this level and below are written to its log.
    pub log_level: Level,
    /// The worker shall serve it with what it has loaded, even if the script has changed since.
    pub as_loaded: bool,
    /// It is no sign that the process is being used (`WSGIIgnoreActivity`).
    pub ignored: bool,
}

/// Texts of a request.
const TEXTS: usize = 8;
/// The bytes of a request that are there in every one.
const FIXED: usize = 4 + 8 + 4 * 8 + 2 + 2 * 8 + TEXTS * 4;

impl<'a> Request<'a> {
    /// Appends it as a frame, of which [the body](Request::inline) is still to follow. `false`, and nothing appended, if it
    /// is too large for one.
    pub fn append_to(&self, into: &mut Vec<u8>) -> bool {
        let start = into.len();
        into.extend_from_slice(&[0; frame::HEADER]);
        self.put(into);
        let length = into.len() - start - frame::HEADER + self.inline().len();
        if length > Kind::Request.limit() {
            into.truncate(start);
            return false;
        }
        let head = frame::header(Kind::Request, 0, Tag::NONE, length);
        into[start..start + frame::HEADER].copy_from_slice(&head);
        true
    }

    /// What of its body is in its frame.
    pub fn inline(&self) -> &'a [u8] {
        self.carried.inline
    }

    fn put(&self, row: &mut Vec<u8>) {
        let texts = self.texts();
        let length = texts.iter().map(|text| text.len()).sum::<usize>();
        row.reserve(FIXED + length);
        row.extend_from_slice(&self.fixed(&texts));
        texts.iter().for_each(|text| row.extend_from_slice(text));
    }

    /// What has no constant length, but for the body.
    fn texts(&self) -> [&'a [u8]; TEXTS] {
        let Head { id, script, group, variables, .. } = &self.head;
        let [server, client, request] = variables.runs();
        [
            id.get(),
            script.path.get(),
            script.resource.get(),
            script.callable.get(),
            group.name.get(),
            server.bytes(),
            client.bytes(),
            request.bytes(),
        ]
    }

    /// What has a constant length, the lengths of everything else included.
    #[inline(always)]
    fn fixed(&self, texts: &[&[u8]; TEXTS]) -> [u8; FIXED] {
        let Request { head, .. } = self;
        Fixed::of(|row| {
            row.put_u32(self.serial);
            for flag in [
                self.as_loaded,
                self.ignored,
                head.script.reloading,
                head.group.main,
                head.scheme == Scheme::Https,
                head.header_only,
            ] {
                row.put_u8(u8::from(flag));
            }
            row.put_u8(self.log_level as u8);
            row.put_u8(self.broken.map_or(0, |error| error as u8));
            for time in [
                head.script.modified,
                head.clocks.request_start,
                head.clocks.queue_start,
                head.clocks.daemon_start,
            ] {
                row.put_u64(time as u64);
            }
            let (body, length) = match head.body {
                Body::None => (0, 0),
                Body::Length(length) => (1, length),
                Body::Unknown => (2, 0),
            };
            let Carried { file, continues, .. } = self.carried;
            row.put_u8(body);
            row.put_u8(u8::from(file.is_some()) | u8::from(continues) << 1);
            row.put_u64(length);
            row.put_u64(file.unwrap_or_default());
            for text in texts {
                row.put_length(text.len());
            }
        })
    }

    /// Reads the payload of a frame. `memory` holds the variables of the request, and before those of another.
    ///
    /// # Errors
    /// It is no request.
    pub fn decode<'p: 'a>(
        payload: &'p [u8],
        memory: &'a mut Settled,
    ) -> Result<Request<'a>, Malformed> {
        let mut rest = Fields::new(payload);
        let mut row = rest.fixed::<FIXED>()?;
        let serial = row.u32()?;
        let (as_loaded, ignored) = (row.flag()?, row.flag()?);
        let (reloading, main) = (row.flag()?, row.flag()?);
        let scheme = if row.flag()? { Scheme::Https } else { Scheme::Http };
        let header_only = row.flag()?;
        let log_level = level(row.u8()?)?;
        let broken = match row.u8()? {
            0 => None,
            number => Some(read_error(number)?),
        };
        let modified = row.i64()?;
        let clocks =
            Clocks { request_start: row.i64()?, queue_start: row.i64()?, daemon_start: row.i64()? };
        let (body, carried, length, file) = (row.u8()?, row.u8()?, row.u64()?, row.u64()?);
        let mut text = || rest.take(row.u32()? as usize);
        let (id, path, resource, callable) = (text()?, text()?, text()?, text()?);
        let name = text()?.into();
        memory
            .take_over([text()?, text()?, text()?])
            .map_err(|_| Malformed("variables are none"))?;
        let body = match (body, length) {
            (0, 0) => Body::None,
            (1, length) => Body::Length(length),
            (2, 0) => Body::Unknown,
            _ => return Err(Malformed("there is no such kind of body")),
        };
        let file = match (carried, file) {
            (0 | 2, 0) => None,
            (1 | 3, length) => Some(length),
            _ => return Err(Malformed("a body is carried in no known way")),
        };
        let carried = Carried { file, inline: rest.rest(), continues: carried > 1 };
        let script = Script {
            path: path.into(),
            resource: resource.into(),
            callable: callable.into(),
            modified,
            reloading,
        };
        let group = Group { name, main };
        let head = Head {
            id: id.into(),
            script,
            group,
            variables: memory.runs(),
            scheme,
            body,
            header_only,
            native: false,
            clocks,
        };
        Ok(Request { serial, head, carried, broken, log_level, as_loaded, ignored })
    }
}

/// The level with this number.
pub fn level(number: u8) -> Result<Level, Malformed> {
    const ALL: [Level; 7] = [
        Level::Critical,
        Level::Error,
        Level::Warning,
        Level::Notice,
        Level::Info,
        Level::Debug,
        Level::Trace,
    ];
    let place = number.checked_sub(Level::Critical as u8);
    let found = place.and_then(|place| ALL.get(usize::from(place)));
    found.copied().ok_or(Malformed("there is no such level"))
}

/// The error with this number.
///
/// # Errors
/// There is none.
pub fn read_error(number: u8) -> Result<ReadError, Malformed> {
    const ALL: [ReadError; 5] = [
        ReadError::Disconnected,
        ReadError::TimedOut,
        ReadError::Malformed,
        ReadError::TooLarge,
        ReadError::Failed,
    ];
    let found = ALL.into_iter().find(|error| *error as u32 == u32::from(number));
    found.ok_or(Malformed("there is no such error"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, HEADER};
    use exchange::{Known, Variables};

    fn sample<'a>(variables: &'a Settled, carried: Carried<'a>) -> Request<'a> {
        Request {
            serial: 9,
            head: Head {
                id: "id".into(),
                script: Script {
                    path: "/a.wsgi".into(),
                    resource: "/r".into(),
                    callable: "application".into(),
                    modified: Script::UNKNOWN,
                    reloading: true,
                },
                group: Group { name: "g|/x".into(), main: false },
                variables: variables.runs(),
                scheme: Scheme::Https,
                body: Body::Length(5),
                header_only: true,
                native: false,
                clocks: Clocks { request_start: 1, queue_start: 2, daemon_start: 0 },
            },
            carried,
            broken: Some(ReadError::Malformed),
            log_level: Level::Info,
            as_loaded: true,
            ignored: false,
        }
    }

    fn variables() -> Settled {
        let mut variables = Variables::default();
        variables.put(Known::HttpHost, b"h");
        variables.put_other(b"X_\xff", b"v\0");
        variables.settle()
    }

    #[test]
    fn a_request_comes_back() {
        let variables = variables();
        let all_parts = Carried { file: Some(7), inline: b"abc", continues: true };
        for carried in [
            Carried::default(),
            Carried::inline(b"abc"),
            Carried::in_file(1 << 40),
            Carried::ON_DEMAND,
            Carried { inline: b"", ..all_parts },
            Carried { file: None, ..all_parts },
            Carried { continues: false, ..all_parts },
            all_parts,
        ] {
            let request = sample(&variables, carried);
            let mut bytes = Vec::new();
            assert!(request.append_to(&mut bytes));
            bytes.extend_from_slice(request.inline());
            let frame = Frame::decode(bytes[..HEADER].try_into().unwrap()).unwrap();
            assert_eq!((frame.kind, frame.length), (Kind::Request, bytes.len() - HEADER));
            let mut memory = Settled::default();
            let back = Request::decode(&bytes[HEADER..], &mut memory).unwrap();
            assert_eq!(format!("{back:?}"), format!("{request:?}"));
        }
    }

    #[test]
    fn every_level_comes_back() {
        for number in 0..=u8::MAX {
            let found = level(number).map(|level| level as u8);
            assert_eq!(found.ok(), (2..=8).contains(&number).then_some(number));
        }
    }

    #[test]
    fn a_request_that_was_cut_is_refused() {
        let variables = variables();
        let mut bytes = Vec::new();
        assert!(sample(&variables, Carried::ON_DEMAND).append_to(&mut bytes));
        for cut in HEADER..bytes.len() {
            assert!(
                Request::decode(&bytes[HEADER..cut], &mut Settled::default()).is_err(),
                "{cut}"
            );
        }
    }

    #[test]
    fn a_request_that_is_too_large_is_not_sent() {
        let large = vec![b'x'; 16 << 20];
        let mut variables = Variables::default();
        variables.put_other(b"LARGE", &large);
        let variables = variables.settle();
        let mut bytes = b"before".to_vec();
        assert!(!sample(&variables, Carried::ON_DEMAND).append_to(&mut bytes));
        assert_eq!(bytes, b"before");
    }
}
