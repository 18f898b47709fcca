//! An exchange and a gateway that meet through the tables, in one process: everything said on one side arrives on the
//! other as it was said, and a panic stops at the table.

use super::*;
use crate::{Body, Clocks, Code, Group, Header, Known, Scheme, Script, Variable};
use std::sync::{Mutex, OnceLock};

/// Exchange that remembers what was done to it.
#[derive(Default)]
struct Recorded {
    input: Vec<u8>,
    fails_after: Option<ReadError>,
    answer: Option<(u16, Vec<u8>, u64)>,
    body: Vec<u8>,
    notes: Vec<Vec<u8>>,
    panics: bool,
}

const VARIABLES: &[Variable<'static>] =
    &[Variable::known(Known::RequestMethod, b"PUT"), Variable::other(b"X", b"\xff")];

impl Exchange for Recorded {
    fn head(&self) -> Head<'_> {
        Head {
            id: "id".into(),
            script: Script {
                path: "/p".into(),
                resource: "/p".into(),
                callable: "application".into(),
                modified: Script::UNKNOWN,
                reloading: true,
            },
            group: Group { name: "g".into(), main: false },
            variables: Slice::new(VARIABLES),
            scheme: Scheme::Https,
            body: Body::Length(self.input.len() as u64),
            header_only: false,
            clocks: Clocks::default(),
        }
    }

    fn read(&mut self, most: usize, sink: &mut dyn FnMut(&[u8])) -> Result<usize, ReadError> {
        let count = most.min(self.input.len());
        if count == 0 {
            return self.fails_after.map_or(Ok(0), Err);
        }
        let (first, second) = self.input[..count].split_at(count / 2);
        sink(first);
        sink(second);
        self.input.drain(..count);
        Ok(count)
    }

    fn start(&mut self, answer: &Answer<'_>) -> Result<(), WriteError> {
        assert!(!self.panics, "as the test asks");
        self.answer = Some((answer.status, answer.headers[0].value.to_vec(), answer.length));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], push: Push) -> Result<(), WriteError> {
        self.body.extend_from_slice(bytes);
        if push == Push::Last { Err(WriteError::Gone) } else { Ok(()) }
    }

    fn send_file(&mut self, _: BorrowedFd<'_>, part: Part, _: Push) -> Result<u64, WriteError> {
        Ok(part.length - part.offset)
    }

    fn note(&mut self, record: &Record<'_>) {
        self.notes.push(record.line.to_vec());
    }

    fn look_up(&self, what: LookUp<'_>) -> Option<Found<'_>> {
        match what {
            LookUp::Tls => Some(Found::Flag(true)),
            LookUp::TlsVariable(b"SSL_PROTOCOL") => Some(Found::Text(b"TLSv1.3")),
            LookUp::TlsVariable(_) => None,
            LookUp::Logged(level) => Some(Found::Flag(level <= Level::Warning)),
        }
    }
}

/// Gateway that does everything a gateway may.
struct Everything;

static STARTED: OnceLock<Everything> = OnceLock::new();
static JOURNAL: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

#[derive(Default)]
struct TestJournal;

impl Journal for TestJournal {
    fn note(&self, record: &Record<'_>) {
        JOURNAL.lock().unwrap().push(record.line.to_vec());
    }
}

impl Gateway for Everything {
    fn serve(&self, exchange: &mut dyn Exchange) -> Outcome {
        let head = exchange.head();
        assert_eq!(head.variables[0].name(), b"REQUEST_METHOD");
        assert_eq!(head.variables[1].name(), b"X");
        assert_eq!(head.variables[1].value(), b"\xff");
        assert_eq!((head.scheme, head.body), (Scheme::Https, Body::Length(5)));
        assert_eq!(exchange.look_up(LookUp::Tls), Some(Found::Flag(true)));
        assert_eq!(
            exchange.look_up(LookUp::TlsVariable(b"SSL_PROTOCOL")),
            Some(Found::Text(b"TLSv1.3"))
        );
        assert_eq!(exchange.look_up(LookUp::TlsVariable(b"SSL_COLOUR")), None);
        assert_eq!(exchange.look_up(LookUp::Logged(Level::Info)), Some(Found::Flag(false)));

        let mut body = Vec::new();
        while exchange.read(3, &mut |bytes| body.extend_from_slice(bytes))
            != Err(ReadError::TooLarge)
        {}
        exchange.note(&Record::new(Level::Info, &body));
        let headers = [Header { name: "A".into(), value: "b".into() }];
        let answer = Answer {
            status: 201,
            has_reason: false,
            reason: Bytes::EMPTY,
            headers: Slice::new(&headers),
            has_length: true,
            length: 7,
        };
        if exchange.start(&answer) == Err(WriteError::Refused) {
            return Outcome::Unanswered(Code::AnswerRefused.into());
        }
        let stdin = std::io::stdin();
        let part = Part { offset: 2, length: 5 };
        assert_eq!(exchange.send_file(std::os::fd::AsFd::as_fd(&stdin), part, Push::Hold), Ok(3));
        assert_eq!(exchange.write(&body, Push::Flush), Ok(()));
        assert_eq!(exchange.write(b"", Push::Last), Err(WriteError::Gone));
        panic!("stops at the table")
    }
}

impl Process for Everything {
    fn start(settings: Settings, journal: Box<dyn Journal>) -> Option<&'static Self> {
        journal.note(&Record::new(Level::Notice, &settings.program));
        Some(STARTED.get_or_init(|| Everything))
    }
    fn started() -> Option<&'static Self> {
        STARTED.get()
    }
    fn stop(&self) {}
}

#[test]
fn what_is_said_on_one_side_of_the_table_arrives_on_the_other() {
    let engine = Engine::of::<Everything>();
    let mut exchange = Recorded {
        input: b"hello".to_vec(),
        fails_after: Some(ReadError::TooLarge),
        ..Recorded::default()
    };
    let settings = Settings { program: b"python3".to_vec(), ..Settings::default() };
    assert!(engine.start(&settings, RawJournal::of::<TestJournal>()));
    assert_eq!(JOURNAL.lock().unwrap().last().unwrap(), b"python3");

    let outcome = engine.serve(&mut exchange);
    assert_eq!(outcome, Outcome::Truncated(Code::Panic.into()));
    assert_eq!(exchange.answer, Some((201, b"b".to_vec(), 7)));
    assert_eq!(exchange.body, b"hello");
    assert_eq!(exchange.notes, [b"hello".to_vec()]);

    exchange = Recorded {
        input: b"hello".to_vec(),
        fails_after: Some(ReadError::TooLarge),
        panics: true,
        ..Recorded::default()
    };
    assert_eq!(engine.serve(&mut exchange), Outcome::Unanswered(Code::AnswerRefused.into()));
    engine.stop();
}
