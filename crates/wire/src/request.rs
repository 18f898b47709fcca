//! A request as a child sends it to a worker: everything that is known before its body is read, and how the body comes.

use crate::Malformed;
use crate::fields::{Fields, Put, Tagged};
use crate::frame::{self, Kind, Tag};
use exchange::{
    Body, Clocks, Group, Head, Known, Level, ReadError, Scheme, Script, Slice, Variable,
};

/// How the body of a request comes to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried<'a> {
    /// All of it is here.
    Inline(&'a [u8]),
    /// It is in a file of so many bytes, whose descriptor comes with the frame.
    File(u64),
    /// The child reads it from the client when it is asked to ([`Kind::Want`]).
    OnDemand,
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
    /// For so many seconds it may have waited since the server received it; 0 for any time.
    pub queue_timeout: u32,
}

/// In place of the number of a known name.
const OTHER: u8 = u8::MAX;
const _: () = assert!(Known::COUNT < OTHER as usize, "a byte for each known name");

impl<'a> Request<'a> {
    /// Appends it as a frame. `false`, and nothing appended, if it is too large for one.
    pub fn append_to(&self, into: &mut Vec<u8>) -> bool {
        let start = into.len();
        frame::append(into, Kind::Request, 0, Tag::NONE, |row| self.put(row));
        let fits = into.len() - start - frame::HEADER <= Kind::Request.limit();
        if !fits {
            into.truncate(start);
        }
        fits
    }

    fn put(&self, row: &mut Vec<u8>) {
        let Request { head, .. } = self;
        row.put_u32(self.serial);
        row.put_u8(u8::from(self.as_loaded));
        row.put_u8(u8::from(self.ignored));
        row.put_u8(self.log_level as u8);
        row.put_u32(self.queue_timeout);
        row.put_u8(u8::from(head.script.reloading));
        row.put_u8(u8::from(head.group.main));
        row.put_u8(u8::from(head.scheme == Scheme::Https));
        row.put_u8(u8::from(head.header_only));
        for time in [
            head.script.modified,
            head.clocks.request_start,
            head.clocks.queue_start,
            head.clocks.daemon_start,
        ] {
            row.put_u64(time as u64);
        }
        for text in
            [head.id, head.script.path, head.script.resource, head.script.callable, head.group.name]
        {
            row.put_bytes(&text);
        }
        match head.body {
            Body::None => row.put_u8(0),
            Body::Length(length) => {
                row.put_u8(1);
                row.put_u64(length);
            }
            Body::Unknown => row.put_u8(2),
        }
        put_variables(row, head.variables.get());
        row.put_u8(self.broken.map_or(0, |error| error as u8));
        match self.carried {
            Carried::OnDemand => row.put_u8(0),
            Carried::File(length) => {
                row.put_u8(1);
                row.put_u64(length);
            }
            Carried::Inline(bytes) => {
                row.put_u8(2);
                row.extend_from_slice(bytes);
            }
        }
    }

    /// Reads the payload of a frame. `variables` is emptied and then holds the variables of the request.
    ///
    /// # Errors
    /// It is no request.
    pub fn decode<'p: 'a>(
        payload: &'p [u8],
        variables: &'a mut Vec<Variable<'p>>,
    ) -> Result<Request<'a>, Malformed> {
        variables.clear();
        let mut row = Fields::new(payload);
        let serial = row.u32()?;
        let (as_loaded, ignored) = (row.flag()?, row.flag()?);
        let log_level = level(row.u8()?)?;
        let queue_timeout = row.u32()?;
        let (reloading, main) = (row.flag()?, row.flag()?);
        let scheme = if row.flag()? { Scheme::Https } else { Scheme::Http };
        let header_only = row.flag()?;
        let modified = row.i64()?;
        let clocks =
            Clocks { request_start: row.i64()?, queue_start: row.i64()?, daemon_start: row.i64()? };
        let mut text = || row.bytes().map(Slice::new);
        let (id, path, resource, callable) = (text()?, text()?, text()?, text()?);
        let script = Script { path, resource, callable, modified, reloading };
        let group = Group { name: text()?, main };
        let body = match row.u8()? {
            0 => Body::None,
            1 => Body::Length(row.u64()?),
            2 => Body::Unknown,
            _ => return Err(Malformed("there is no such kind of body")),
        };
        for _ in 0..row.u32()? {
            let (slot, bytes) = row.tagged().ok_or(Malformed("variables are missing"))?;
            variables.push(match Known::from_slot(slot.into()) {
                Some(known) => Variable::known(known, bytes),
                None if slot == OTHER => match row.tagged() {
                    Some((OTHER, value)) => Variable::other(bytes, value),
                    _ => return Err(Malformed("a name has no value")),
                },
                None => return Err(Malformed("a name is unknown")),
            });
        }
        let broken = match row.u8()? {
            0 => None,
            number => Some(read_error(number)?),
        };
        let carried = match row.u8()? {
            0 => {
                row.end()?;
                Carried::OnDemand
            }
            1 => {
                let length = row.u64()?;
                row.end()?;
                Carried::File(length)
            }
            2 => Carried::Inline(row.rest()),
            _ => return Err(Malformed("a body is carried in no known way")),
        };
        let head = Head {
            id,
            script,
            group,
            variables: Slice::new(variables),
            scheme,
            body,
            header_only,
            native: false,
            clocks,
        };
        Ok(Request { serial, head, carried, broken, log_level, as_loaded, ignored, queue_timeout })
    }
}

/// Appends variables: those whose names have numbers as pairs; of the others the name is one, and the value follows as
/// another.
fn put_variables(row: &mut Vec<u8>, variables: &[Variable<'_>]) {
    let is_other = |variable: &&Variable<'_>| variable.slot().is_none();
    let others = variables.iter().filter(is_other);
    let (count, names) =
        others.fold((0, 0), |(count, names), other| (count + 1, names + other.name().len()));
    let values: usize = variables.iter().map(|variable| variable.value().len()).sum();
    row.put_u32(variables.len() as u32);
    let mut pairs = Tagged::new(row, variables.len() + count, names + values);
    for variable in variables {
        let slot = variable.slot().map_or(OTHER, |known| known as u8);
        if slot == OTHER {
            pairs.put(OTHER, variable.name());
        }
        pairs.put(slot, variable.value());
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
    let found = ALL.into_iter().find(|level| *level as u32 == u32::from(number));
    found.ok_or(Malformed("there is no such level"))
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

    fn sample<'a>(variables: &'a [Variable<'a>], carried: Carried<'a>) -> Request<'a> {
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
                variables: Slice::new(variables),
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
            queue_timeout: 45,
        }
    }

    fn variables() -> [Variable<'static>; 2] {
        [Variable::known(Known::HttpHost, b"h"), Variable::other(b"X_\xff", b"v\0")]
    }

    #[test]
    fn a_request_comes_back() {
        let variables = variables();
        for carried in [Carried::Inline(b"abc"), Carried::File(1 << 40), Carried::OnDemand] {
            let request = sample(&variables, carried);
            let mut bytes = Vec::new();
            assert!(request.append_to(&mut bytes));
            let frame = Frame::decode(bytes[..HEADER].try_into().unwrap()).unwrap();
            assert_eq!((frame.kind, frame.length), (Kind::Request, bytes.len() - HEADER));
            let mut list = Vec::new();
            let back = Request::decode(&bytes[HEADER..], &mut list).unwrap();
            assert_eq!(format!("{back:?}"), format!("{request:?}"));
        }
    }

    #[test]
    fn a_request_that_was_cut_is_refused() {
        let variables = variables();
        let mut bytes = Vec::new();
        assert!(sample(&variables, Carried::OnDemand).append_to(&mut bytes));
        for cut in HEADER..bytes.len() {
            assert!(Request::decode(&bytes[HEADER..cut], &mut Vec::new()).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_request_that_is_too_large_is_not_sent() {
        let large = vec![b'x'; 16 << 20];
        let variables = [Variable::other(b"LARGE", &large)];
        let mut bytes = b"before".to_vec();
        assert!(!sample(&variables, Carried::OnDemand).append_to(&mut bytes));
        assert_eq!(bytes, b"before");
    }
}
