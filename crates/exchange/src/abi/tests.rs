//! An exchange and a gateway that meet through the tables, in one process: everything said on one side arrives on the
//! other as it was said, and a panic stops at the table.

use super::*;
use crate::{Body, Clocks, Code, Group, Header, Known, Scheme, Script, Settled, Variables};
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
    variables: Settled,
}

fn variables() -> Settled {
    let mut variables = Variables::default();
    variables.put(Known::RequestMethod, b"PUT");
    variables.put_other(b"X", b"\xff");
    variables.settle()
}

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
            variables: self.variables.runs(),
            scheme: Scheme::Https,
            body: Body::Length(self.input.len() as u64),
            header_only: false,
            native: false,
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
            LookUp::Native => Some(Found::Address(4711)),
        }
    }
}

/// Gateway that does everything a gateway may.
struct Everything;

static STARTED: OnceLock<Everything> = OnceLock::new();
static JOURNAL: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

#[derive(Default)]
struct TestJournal;

impl Surroundings for TestJournal {
    fn note(&self, record: &Record<'_>) {
        JOURNAL.lock().unwrap().push(record.line.to_vec());
    }

    fn scoreboard(&self, sink: &mut dyn FnMut(Slot<'_>)) -> Option<Scoreboard> {
        sink(Slot::Process(ProcessSlot { number: 0, pid: 7, generation: 1, quiescing: true }));
        sink(Slot::Worker(WorkerSlot {
            number: 3,
            generation: 1,
            status: b'W',
            access_count: 9,
            bytes_served: 10,
            start_time: 1,
            stop_time: 2,
            last_used: 3,
            client: "::1".into(),
            request: "GET / HTTP/1.1".into(),
            vhost: "v".into(),
        }));
        Some(Scoreboard { server_limit: 2, thread_limit: 4, generation: 1, restart_time: 5 })
    }
}

impl Gateway for Everything {
    fn serve(&self, exchange: &mut dyn Exchange) -> Outcome {
        let head = exchange.head();
        assert_eq!(head.variables.get(Known::RequestMethod), Some(&b"PUT"[..]));
        let all: Vec<_> = head.variables.iter().map(|v| (v.name(), v.value())).collect();
        assert_eq!(all, [(&b"REQUEST_METHOD"[..], &b"PUT"[..]), (b"X", b"\xff")]);
        assert_eq!((head.scheme, head.body), (Scheme::Https, Body::Length(5)));
        assert_eq!(exchange.look_up(LookUp::Tls), Some(Found::Flag(true)));
        assert_eq!(
            exchange.look_up(LookUp::TlsVariable(b"SSL_PROTOCOL")),
            Some(Found::Text(b"TLSv1.3"))
        );
        assert_eq!(exchange.look_up(LookUp::TlsVariable(b"SSL_COLOUR")), None);
        assert_eq!(exchange.look_up(LookUp::Logged(Level::Info)), Some(Found::Flag(false)));

        assert_eq!(exchange.look_up(LookUp::Native), Some(Found::Address(4711)));

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

    fn ask(
        &self,
        exchange: &mut dyn Exchange,
        question: Question<'_>,
        reply: &mut dyn FnMut(Reply<'_>),
    ) -> Result<(), Failure> {
        assert_eq!(exchange.head().id.get(), b"id");
        match question {
            Question::Password { user: b"u", password: b"p" } => reply(Reply::YesAs(b"other")),
            Question::RealmHash { user, realm } => reply(Reply::Hash(&[user, realm].concat())),
            Question::Groups { .. } => {
                [&b"a"[..], b"b"].into_iter().for_each(|group| reply(Reply::Group(group)));
            }
            Question::Access { host: b"here" } => reply(Reply::Yes),
            Question::Access { .. } => reply(Reply::No),
            Question::Dispatch => {
                reply(Reply::ProcessGroup(b"pg"));
                reply(Reply::ApplicationGroup(b"ag"));
                reply(Reply::CallableObject(b"co"));
            }
            Question::Password { .. } => return Err(Code::ScriptUnreadable.into()),
        }
        Ok(())
    }
}

impl Process for Everything {
    fn start(settings: Settings, surroundings: Box<dyn Surroundings>) -> Option<&'static Self> {
        surroundings.note(&Record::new(Level::Notice, &settings.program));
        let (mut pids, mut clients) = (Vec::new(), Vec::new());
        let found = surroundings.scoreboard(&mut |slot| match slot {
            Slot::Process(process) => pids.push((process.pid, process.quiescing)),
            Slot::Worker(worker) => clients.push((worker.client.to_vec(), worker.status)),
        });
        assert_eq!(found.map(|found| (found.server_limit, found.restart_time)), Some((2, 5)));
        assert_eq!((pids, clients), (vec![(7, true)], vec![(b"::1".to_vec(), b'W')]));
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
        variables: variables(),
        input: b"hello".to_vec(),
        fails_after: Some(ReadError::TooLarge),
        ..Recorded::default()
    };
    let settings = Settings { program: b"python3".to_vec(), ..Settings::default() };
    assert!(engine.start(&settings, RawSurroundings::of::<TestJournal>()));
    assert_eq!(JOURNAL.lock().unwrap().last().unwrap(), b"python3");

    let outcome = engine.serve(&mut exchange);
    assert_eq!(outcome, Outcome::Truncated(Code::Panic.into()));
    assert_eq!(exchange.answer, Some((201, b"b".to_vec(), 7)));
    assert_eq!(exchange.body, b"hello");
    assert_eq!(exchange.notes, [b"hello".to_vec()]);

    exchange = Recorded {
        variables: variables(),
        input: b"hello".to_vec(),
        fails_after: Some(ReadError::TooLarge),
        panics: true,
        ..Recorded::default()
    };
    assert_eq!(engine.serve(&mut exchange), Outcome::Unanswered(Code::AnswerRefused.into()));
    assert_eq!(
        questions(&engine),
        [
            "Password { user: [117], password: [112] } -> YesAs([111, 116, 104, 101, 114]) Ok(())",
            "Password { user: [], password: [] } -> Err(Failure { code: ScriptUnreadable })",
            "RealmHash { user: [117], realm: [114] } -> Hash([117, 114]) Ok(())",
            "Groups { user: [117] } -> Group([97]) Group([98]) Ok(())",
            "Access { host: [104, 101, 114, 101] } -> Yes Ok(())",
            "Access { host: [] } -> No Ok(())",
            "Dispatch -> ProcessGroup([112, 103]) ApplicationGroup([97, 103]) CallableObject([99, 111]) Ok(())",
        ]
    );
    engine.stop();
}

/// Each kind of question and what came back, as text.
fn questions(engine: &Engine) -> Vec<String> {
    let all = [
        Question::Password { user: b"u", password: b"p" },
        Question::Password { user: b"", password: b"" },
        Question::RealmHash { user: b"u", realm: b"r" },
        Question::Groups { user: b"u" },
        Question::Access { host: b"here" },
        Question::Access { host: b"" },
        Question::Dispatch,
    ];
    all.into_iter()
        .map(|question| {
            let mut replies = String::new();
            let asked = engine.ask(&mut Recorded::default(), question, &mut |reply| {
                replies.push_str(&format!("{reply:?} "));
            });
            format!("{question:?} -> {replies}{asked:?}")
        })
        .collect()
}
