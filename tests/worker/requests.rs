//! Requests and their answers.

use crate::driver::{Ask, Plan, Python, Worker};
use exchange::{Body, Code, Level, Outcome, ReadError};
use std::io::Write;
use std::time::{Duration, Instant};
use wire::{Carried, End};

const APP: &str = r#"
import mod_wsgi, os, sys, time

def application(environ, start_response):
    return globals()[environ["PATH_INFO"][1:]](environ, start_response)

def answer(start_response, body, headers=()):
    start_response("200 OK", [("Content-Type", "text/plain"), *headers])
    return [body]

def hello(environ, start_response):
    return answer(start_response, b"Hello World!")

def echo(environ, start_response):
    return answer(start_response, environ["wsgi.input"].read())

def lines(environ, start_response):
    return answer(start_response, str([len(line) for line in environ["wsgi.input"]]).encode())

def size(environ, start_response):
    count = 0
    while True:
        piece = environ["wsgi.input"].read(100_000)
        if not piece:
            return answer(start_response, str(count).encode())
        count += len(piece)

def fails_to_read(environ, start_response):
    try:
        while environ["wsgi.input"].read(3):
            pass
    except OSError as error:
        return answer(start_response, str(error).encode())
    return answer(start_response, b"read")

def stream(environ, start_response):
    start_response("200 OK", [])
    yield b"one"
    yield b""
    yield b"two"

def large(environ, start_response):
    return answer(start_response, bytes(range(256)) * 40_000)

def written(environ, start_response):
    write = start_response("200 OK", [])
    write(b"by write, ")
    return [b"and returned"]

def file(environ, start_response):
    start_response("200 OK", [])
    with open("content", "wb") as made:
        made.write(bytes(range(256)) * 1000)
    opened = open("content", "rb")
    opened.seek(1000)
    return environ["wsgi.file_wrapper"](opened)

def empty(environ, start_response):
    start_response("204 No Content", [])
    return []

def raises(environ, start_response):
    raise ValueError("before the answer")

def raises_late(environ, start_response):
    start_response("200 OK", [("Content-Length", "100")])
    yield b"some"
    raise ValueError("in the middle")

def too_short(environ, start_response):
    start_response("200 OK", [("Content-Length", "100")])
    yield b"some"

def notes(environ, start_response):
    print("to the errors", file=environ["wsgi.errors"])
    print("to stdout")
    sys.stderr.write("no end")
    return answer(start_response, b"noted")

def facts(environ, start_response):
    return answer(start_response, repr({
        "threads": environ["wsgi.multithread"],
        "processes": environ["wsgi.multiprocess"],
        "group": environ["mod_wsgi.process_group"],
        "module": mod_wsgi.process_group,
        "thread": environ["mod_wsgi.thread_id"],
        "order": environ["mod_wsgi.request_start"] < environ["mod_wsgi.queue_start"]
            < environ["mod_wsgi.daemon_start"] <= environ["mod_wsgi.application_start"] <= time.time(),
        "argv": sys.argv,
        "path": "" in sys.path,
        "main": sorted(name for name in vars(sys.modules["__main__"]) if not name.startswith("__")),
        "stdin": sys.stdin.read(),
        "interpreter": mod_wsgi.application_group,
    }).encode())

def sleep(environ, start_response):
    time.sleep(0.2)
    return answer(start_response, b"slept")

def goes_on(environ, start_response):
    start_response("200 OK", [])
    time.sleep(0.9)
    yield b"x" * 100_000

def never_ends(environ, start_response):
    start_response("200 OK", [])
    while True:
        time.sleep(0.01)
        yield b"x"

def spoils(environ, start_response):
    answered = answer(start_response, b"x" * 70_000)
    class Closing:
        def __iter__(self):
            return iter(answered)
        def close(self):
            print("closed")
    return Closing()
"#;

fn each(body: impl Fn(&Worker, &Python)) {
    for python in Python::all() {
        body(&Worker::serving(&python, Plan::threads(4), APP), &python);
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_small_answer_comes_in_one_frame_and_the_connection_stays() {
    each(|worker, _| {
        let mut client = worker.connect();
        for _ in 0..3 {
            let answer = client.get("/hello");
            assert_eq!((answer.status, answer.text().as_str()), (200, "Hello World!"));
            assert!(answer.is_done() && answer.pieces == 1, "{answer:?}");
            assert_eq!(answer.length, Some(12));
            assert!(client.is_taken());
        }
        worker.has_served(3);
        assert_eq!(worker.page().busy(), 0);
    });
}

#[test]
fn a_body_comes_with_the_request_in_a_file_or_when_it_is_asked_for() {
    each(|worker, _| {
        for length in [0, 1, 65_536, 10 << 20] {
            let body = pattern(length);
            let mut client = worker.connect();
            assert!(client.ask(&Ask::post("/echo", &body)).body == body, "{length} inline");
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&body).unwrap();
            let carried = Carried::in_file(length as u64);
            let ask = Ask { carried, file: Some(&file), ..Ask::post("/echo", &body) };
            assert!(client.ask(&ask).body == body, "{length} in a file");
            for announced in [Body::Length(length as u64), Body::Unknown] {
                let (mut at, mut asked) = (0, 0);
                client.offer(&Ask {
                    body: announced,
                    carried: Carried::ON_DEMAND,
                    ..Ask::post("/echo", b"")
                });
                let answer = client.answer(&mut |most| {
                    asked += 1;
                    let to = body.len().min(at + most as usize).min(at + 300_000);
                    let piece = body[at..to].to_vec();
                    at = to;
                    Some(Ok(piece))
                });
                assert!(answer.body == body, "{length} on demand, asked {asked} times");
            }
        }
    });
}

/// The child had room for the beginning of the body only.
#[test]
fn a_body_comes_in_a_file_then_with_the_request_and_then_when_it_is_asked_for() {
    each(|worker, _| {
        let body = pattern(2 << 20);
        for (in_file, inline) in [(300_001, 100_000), (0, 100_000), (300_001, 0), (2 << 20, 0)] {
            let begun = in_file + inline;
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&body[..in_file]).unwrap();
            let carried = Carried {
                file: Some(in_file as u64),
                inline: &body[in_file..begun],
                continues: true,
            };
            for announced in [Body::Length(body.len() as u64), Body::Unknown] {
                let mut client = worker.connect();
                let ask = Ask { body: announced, carried, file: Some(&file), ..Ask::get("/echo") };
                client.offer(&Ask { method: "POST", ..ask });
                let mut at = begun;
                let answer = client.answer(&mut |most| {
                    let to = body.len().min(at + most as usize).min(at + 70_000);
                    let piece = body[at..to].to_vec();
                    at = to;
                    Some(Ok(piece))
                });
                assert!(answer.body == body, "{in_file} in a file, {inline} with the request");
            }
        }
        // The worker reads nothing of the rest before the application has read the beginning.
        let carried = Carried { continues: true, ..Carried::inline(b"abc") };
        for error in [ReadError::Disconnected, ReadError::TimedOut] {
            let mut client = worker.connect();
            let ask = Ask { carried, ..Ask::post("/fails_to_read", b"1234567") };
            client.offer(&ask);
            let mut asked = 0;
            let answer = client.answer(&mut |_| {
                asked += 1;
                Some(Err(error))
            });
            assert!(answer.text().ends_with(&error.to_string()), "{}", answer.text());
            assert!(asked > 0);
            assert_eq!(client.get("/hello").text(), "Hello World!");
        }
        let mut client = worker.connect();
        client.offer(&Ask { carried, ..Ask::post("/hello", b"1234567") });
        assert_eq!(client.answer(&mut |_| panic!("it wants the body")).text(), "Hello World!");
    });
}

#[test]
fn lines_are_read_whichever_way_they_come() {
    each(|worker, _| {
        let body = [vec![b'x'; 70_000], vec![b'\n'], vec![b'y'; 5]].concat();
        let answer = worker.connect().ask(&Ask::post("/lines", &body));
        assert_eq!(answer.text(), "[70001, 5]");
    });
}

#[test]
fn a_body_that_breaks_off_raises_where_it_would_in_the_server() {
    each(|worker, _| {
        let broken = Some(ReadError::Disconnected);
        let ask = Ask { body: Body::Length(10), broken, ..Ask::post("/fails_to_read", b"half") };
        let answer = worker.connect().ask(&ask);
        let text = "mod_wsgi failed to read request data: the client disconnected before the body was complete";
        assert_eq!(answer.text(), text);
        let mut client = worker.connect();
        client
            .offer(&Ask { carried: Carried::ON_DEMAND, ..Ask::post("/fails_to_read", b"1234567") });
        let mut given = 0;
        let answer = client.answer(&mut |_| {
            given += 1;
            Some(if given == 1 { Ok(b"abc".to_vec()) } else { Err(ReadError::TimedOut) })
        });
        assert!(answer.text().contains("did not send the body in time"), "{}", answer.text());
        assert_eq!(client.get("/hello").text(), "Hello World!");
    });
}

#[test]
fn what_an_application_streams_arrives_piece_by_piece() {
    each(|worker, _| {
        let answer = worker.get("/stream");
        assert_eq!((answer.text().as_str(), answer.pieces), ("onetwo", 2));
        assert!(answer.is_done());
        let answer = worker.get("/written");
        assert_eq!((answer.text().as_str(), answer.pieces), ("by write, and returned", 2));
    });
}

#[test]
fn a_large_answer_and_a_file_arrive_whole() {
    each(|worker, _| {
        let expected = (0..=255).collect::<Vec<u8>>().repeat(40_000);
        let mut client = worker.connect();
        let answer = client.get("/large");
        assert!(answer.body == expected && answer.is_done());
        let answer = client.get("/file");
        assert!(answer.body == expected[1000..256_000] && answer.is_done() && answer.had_file);
        assert_eq!(client.get("/hello").text(), "Hello World!");
    });
}

#[test]
fn an_answer_without_a_body_is_one_too() {
    each(|worker, _| {
        let mut client = worker.connect();
        let answer = client.get("/empty");
        assert_eq!((answer.status, answer.body.len(), answer.is_done()), (204, 0, true));
        let answer = client.ask(&Ask { method: "HEAD", ..Ask::get("/hello") });
        assert_eq!((answer.status, answer.length, answer.is_done()), (200, Some(12), true));
        assert_eq!(client.get("/hello").text(), "Hello World!");
    });
}

#[test]
fn an_exception_is_told_as_far_as_it_can_be() {
    each(|worker, _| {
        let mut client = worker.connect();
        let answer = client.get("/raises");
        let failure = |end| match end {
            Some(End::Served(Outcome::Unanswered(failure))) => ("unanswered", failure.code),
            Some(End::Served(Outcome::Truncated(failure))) => ("truncated", failure.code),
            other => panic!("{other:?}"),
        };
        assert_eq!(failure(answer.end), ("unanswered", Code::ApplicationException));
        assert_eq!(answer.status, 0);
        assert!(
            answer.log().contains("WSGI0174: Exception ValueError occurred processing WSGI script")
        );
        assert!(answer.log().contains("process group 'group'"), "{}", answer.log());
        assert!(answer.log().contains("in raises\n"), "{}", answer.log());
        let answer = client.get("/raises_late");
        assert_eq!(failure(answer.end), ("truncated", Code::ApplicationException));
        assert_eq!((answer.status, answer.text().as_str()), (200, "some"));
        let answer = client.get("/too_short");
        assert_eq!(failure(answer.end), ("truncated", Code::ResponseTooShort));
        assert_eq!(client.get("/hello").text(), "Hello World!");
    });
}

#[test]
fn what_is_written_to_the_log_during_a_request_goes_with_it() {
    each(|worker, _| {
        assert_eq!(worker.get("/hello").status, 200);
        let answer = worker.get("/notes");
        assert_eq!(answer.log(), "to the errors\nto stdout\nno end\n");
        let quiet = Ask { log_level: Level::Critical, ..Ask::get("/notes") };
        assert_eq!(worker.connect().ask(&quiet).log(), "");
        let mut client = worker.connect();
        assert_eq!(client.get("/spoils").body.len(), 70_000);
        assert_eq!(client.get("/hello").text(), "Hello World!");
    });
}

#[test]
fn a_worker_looks_like_a_server_to_its_application() {
    each(|worker, _| {
        let facts = worker.get("/facts").text();
        let expected = "{'threads': True, 'processes': False, 'group': 'group', 'module': 'group', \
                        'thread': 1, 'order': True, 'argv': ['mod_wsgi'], 'path': False, \
                        'main': [";
        assert!(facts.starts_with(expected), "{facts}");
        assert!(facts.ends_with("'stdin': '', 'interpreter': ''}"), "{facts}");
        let ask = Ask { group: "host|/app", ..Ask::get("/facts") };
        let facts = worker.connect().ask(&ask).text();
        assert!(facts.contains("'argv': ['mod_wsgi'], 'path': False"), "{facts}");
        assert!(facts.ends_with("'interpreter': 'host|/app'}"), "{facts}");
    });
}

#[test]
fn an_offer_that_was_withdrawn_is_not_served() {
    each(|worker, _| {
        let mut busy: Vec<_> = (0..4).map(|_| worker.connect()).collect();
        busy.iter_mut().for_each(|client| client.offer(&Ask::get("/sleep")));
        while !busy.iter().all(|client| client.is_taken()) {
            std::thread::yield_now();
        }
        let mut client = worker.connect();
        client.offer(&Ask::get("/raises"));
        assert!(client.withdraw());
        let answer = client.get("/hello");
        assert_eq!((answer.text().as_str(), answer.log().as_str()), ("Hello World!", ""));
        client.offer(&Ask::get("/hello"));
        assert_eq!(client.answer(&mut |_| None).text(), "Hello World!");
        worker.has_served(6);
    });
}

#[test]
fn what_a_thread_still_says_of_a_request_whose_child_has_gone_is_said_to_nobody_else() {
    each(|worker, _| {
        let mut gone = worker.connect();
        gone.offer(&Ask::get("/goes_on"));
        gone.await_taken();
        let slot = gone.line().slot();
        drop(gone);
        // Of those that come meanwhile none has the slot, and each hears what it has asked for.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(600) {
            let mut client = worker.connect();
            assert_ne!(client.line().slot(), slot);
            assert_eq!(client.get("/sleep").text(), "slept");
        }
        // Afterwards a new connection gets it. The slot that was freed last is given out first, so these connections stay open.
        let until = Instant::now() + Duration::from_secs(20);
        let mut open = vec![worker.connect()];
        while open.iter().all(|client| client.line().slot() != slot) {
            assert!(Instant::now() < until, "the slot is lost");
            std::thread::sleep(Duration::from_millis(20));
            open.push(worker.connect());
        }
    });
}

#[test]
fn a_thread_whose_client_has_gone_is_free_at_its_next_word() {
    each(|worker, _| {
        let mut gone = worker.connect();
        gone.offer(&Ask::get("/never_ends"));
        gone.await_taken();
        drop(gone);
        worker.has_served(1);
    });
}

#[test]
fn what_is_no_request_ends_its_connection_and_nothing_else() {
    each(|worker, _| {
        let mut client = worker.connect();
        client.offer_bytes(b"GET / HTTP/1.1\r\n\r\n");
        assert!(client.try_frame().is_none());
        worker.logs("WSGI1027: A process has sent what is no request");
        assert_eq!(worker.get("/hello").text(), "Hello World!");
    });
}

#[test]
fn a_child_that_goes_away_leaves_its_slot_to_another() {
    each(|worker, _| {
        for _ in 0..50 {
            assert_eq!(worker.get("/hello").text(), "Hello World!");
        }
        let mut client = worker.connect();
        client.offer(&Ask::get("/sleep"));
        client.await_taken();
        drop(client);
        assert_eq!(worker.get("/hello").text(), "Hello World!");
        worker.has_served(52);
    });
}
