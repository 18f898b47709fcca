//! The request body: `wsgi.input`, what may be sent, and what happens when it does not come.

use crate::harness::{Builder, Installation, Server, request};
use serde_json::{Value, json};
use std::time::Duration;

/// Makes the calls that the header X-Calls lists, and answers with what each came to: bytes as latin-1 text, an
/// exception as `!Type: text`.
const CALLS: &str = "
import json

class Index:
    def __init__(self, value):
        self.value = value
    def __index__(self):
        return self.value

def shown(result):
    if isinstance(result, bytes):
        return result.decode('latin-1')
    if isinstance(result, list):
        return [shown(item) for item in result]
    return result

def call(stream, name, arguments):
    try:
        if name == 'next':
            return shown(next(stream))
        if name == 'rest':
            return shown(list(stream))
        if name == 'index':
            return shown(stream.read(Index(*arguments)))
        return shown(getattr(stream, name)(*arguments))
    except BaseException as raised:
        return f'!{type(raised).__name__}: {raised}'

def application(environ, start_response):
    calls = json.loads(environ.get('HTTP_X_CALLS', '[[\"read\"]]'))
    results = [call(environ['wsgi.input'], name, arguments) for name, *arguments in calls]
    body = json.dumps(results).encode()
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [body]
";

/// Reads all and sends it back.
const ECHO: &str = "
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
";

fn chunked(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(format!("{:x}\r\n", part.len()).into_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[track_caller]
fn calls(server: &Server, body: &str, calls: Value) -> Value {
    server.send("POST", "/", &[("X-Calls", &calls.to_string())], body.as_bytes()).json()
}

#[test]
fn every_method_reads_as_specified() {
    let server = Server::of(CALLS);
    let lines = "one\ntwo\n\nfour";
    for (body, made, results) in [
        (lines, json!([["read"], ["read"]]), json!([lines, ""])),
        (lines, json!([["read", -1]]), json!([lines])),
        (lines, json!([["read", -7]]), json!([lines])),
        (
            lines,
            json!([["read", 5], ["read", 100], ["read", 1]]),
            json!(["one\nt", "wo\n\nfour", ""]),
        ),
        (lines, json!([["read", 0], ["read"]]), json!(["", lines])),
        (lines, json!([["index", 3]]), json!(["one"])),
        (
            lines,
            json!([["readline"], ["readline"], ["readline"], ["readline"], ["readline"]]),
            json!(["one\n", "two\n", "\n", "four", ""]),
        ),
        (
            lines,
            json!([["readline", -1], ["readline", 2], ["readline", 5], ["readline", 0]]),
            json!(["one\n", "tw", "o\n", ""]),
        ),
        (
            lines,
            json!([["readline", 4], ["readline", 3], ["readline", 1]]),
            json!(["one\n", "two", "\n"]),
        ),
        (
            lines,
            json!([["readlines"], ["readlines"]]),
            json!([["one\n", "two\n", "\n", "four"], []]),
        ),
        (lines, json!([["readlines", 0]]), json!([["one\n", "two\n", "\n", "four"]])),
        (lines, json!([["readlines", -3]]), json!([["one\n", "two\n", "\n", "four"]])),
        (
            lines,
            json!([["readlines", 1], ["readlines", 4], ["readlines", 5]]),
            json!([["one\n"], ["two\n"], ["\n", "four"]]),
        ),
        (lines, json!([["readlines", 5], ["read"]]), json!([["one\n", "two\n"], "\nfour"])),
        (
            lines,
            json!([["next"], ["rest"], ["next"], ["next"]]),
            json!(["one\n", ["two\n", "\n", "four"], "!StopIteration: ", "!StopIteration: "]),
        ),
        (
            lines,
            json!([["readline"], ["read", 2], ["next"], ["readlines"], ["read"]]),
            json!(["one\n", "tw", "o\n", ["\n", "four"], ""]),
        ),
        (
            lines,
            json!([["close"], ["readline"], ["close"], ["read"]]),
            json!([null, "one\n", null, "two\n\nfour"]),
        ),
        ("\n", json!([["readline"], ["readline"]]), json!(["\n", ""])),
        ("a\r\nb\rc", json!([["readlines"]]), json!([["a\r\n", "b\rc"]])),
        (
            "",
            json!([["read"], ["read", 5], ["readline"], ["readlines"], ["rest"]]),
            json!(["", "", "", [], []]),
        ),
    ] {
        assert_eq!(calls(&server, body, made.clone()), results, "{body:?} {made}");
    }
}

#[test]
fn arguments_are_checked() {
    let server = Server::of(CALLS);
    for call in [
        json!(["read", null]),
        json!(["read", "5"]),
        json!(["read", 1.5]),
        json!(["read", 1, 2]),
        json!(["readline", null]),
        json!(["readline", "5"]),
        json!(["readline", 1, 2]),
        json!(["readlines", "x"]),
        json!(["readlines", 1, 2]),
        json!(["close", 1]),
    ] {
        let results = calls(&server, "body", json!([call, ["read"]]));
        assert!(results[0].as_str().unwrap().starts_with("!TypeError: "), "{call}: {}", results[0]);
        assert_eq!(results[1], "body", "nothing was consumed by {call}");
    }
}

#[test]
fn a_size_beyond_all_memory_is_no_error() {
    let server = Server::of(CALLS);
    let before = server.resident();
    let made = json!([["read", 1_i64 << 40], ["readline", 1_i64 << 62], ["readlines", i64::MAX]]);
    assert_eq!(calls(&server, "body", made), json!(["body", "", []]));
    assert!(server.resident() < before + 100_000, "nothing of that size is reserved");
}

#[test]
fn the_input_is_an_iterator_of_its_own() {
    let server = Server::of("
def application(environ, start_response):
    stream = environ['wsgi.input']
    assert iter(stream) is stream
    assert type(stream).__module__ + '.' + type(stream).__qualname__ == 'mod_wsgi.Input', type(stream)
    start_response('200 OK', [])
    return stream
");
    assert_eq!(server.post("/", "one\ntwo").text(), "one\ntwo");
}

/// A body of lines whose lengths lie around every size a buffer might have.
fn long_lines() -> Vec<u8> {
    let mut body = Vec::new();
    for round in 0..3_usize {
        for length in [
            0, 1, 10, 4095, 4096, 8190, 8191, 8192, 8193, 20_000, 16_383, 65_536, 3, 100_000,
            20_000, 9000, 50_000, 8192, 30_000,
        ] {
            body.extend(std::iter::repeat_n(b'a' + u8::try_from(round).unwrap(), length));
            body.push(b'\n');
        }
    }
    body.extend_from_slice(b"the last line has no end");
    body
}

#[test]
fn long_lines_come_whole_however_they_are_read() {
    let server = Server::of(
        "
import random

def by_iteration(stream):
    yield from stream

def by_readline(stream):
    yield from iter(stream.readline, b'')

def by_readlines(stream):
    while lines := stream.readlines(30000):
        assert sum(map(len, lines[:-1])) < 30000
        yield from lines

def by_short_reads_between(stream):
    while True:
        start = stream.read(7000)
        line = start if start.endswith(b'\\n') else start + stream.readline()
        if not line:
            return
        yield from line.splitlines(keepends=True)

def by_chance(stream):
    chance = random.Random(7)
    while True:
        line = b''
        while not line.endswith(b'\\n'):
            size = chance.choice([1, 10, 1000, 8191, 8192, 8193, 50000])
            piece = stream.readline(size)
            assert len(piece) <= size
            assert piece.count(b'\\n') <= 1
            if not piece:
                break
            line += piece
        if not line:
            return
        yield line

def application(environ, start_response):
    how = globals()[environ['PATH_INFO'].strip('/')]
    lines = list(how(environ['wsgi.input']))
    for line in lines[:-1]:
        assert line.endswith(b'\\n') and line.count(b'\\n') == 1, (len(line), line[-10:])
    start_response('200 OK', [('X-Lines', str(len(lines)))])
    return [b''.join(lines)]
",
    );
    let body = long_lines();
    let count = body.iter().filter(|&&byte| byte == b'\n').count() + 1;
    for how in
        ["by_iteration", "by_readline", "by_readlines", "by_short_reads_between", "by_chance"]
    {
        let answer = server.post(&format!("/{how}"), &body);
        assert_eq!(answer.status, 200, "{how}");
        assert_eq!(answer.header("X-Lines"), Some(count.to_string().as_str()), "{how}");
        assert!(answer.body == body, "{how}: bytes were lost or moved");
    }
}

#[test]
fn a_body_that_dribbles_in_comes_whole() {
    let server = Server::of(CALLS);
    let mut connection = server.connect();
    let made = json!([["readline"], ["read", 6], ["read"]]).to_string();
    let head =
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\nX-Calls: {made}\r\n\r\n");
    connection.send(head);
    for piece in ["li", "ne\nab", "c", "def", "gh", "\nend"] {
        std::thread::sleep(Duration::from_millis(30));
        connection.send(piece);
    }
    assert_eq!(connection.receive().json(), json!(["line\n", "abcdef", "gh\nen"]));
}

#[test]
fn a_chunked_body_is_refused_unless_enabled() {
    let server = Server::of(ECHO);
    let answer = server.send("POST", "/", &[("Transfer-Encoding", "chunked")], &chunked(&[b"x"]));
    assert_eq!(answer.status, 411);
    server.await_log("WSGI0139");
}

fn chunked_builder(application: &str) -> Builder {
    Server::builder_of(application).config("WSGIChunkedRequest On")
}

#[test]
fn a_chunked_body_is_read_to_its_end() {
    let server = chunked_builder(
        "
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    assert 'CONTENT_LENGTH' not in environ
    assert environ['HTTP_TRANSFER_ENCODING'].lower() == 'chunked'
    assert environ['wsgi.input_terminated'] is True
    start_response('200 OK', [])
    return [body]
",
    )
    .start();
    let mut connection = server.connect();
    for encoding in ["chunked", "Chunked"] {
        let body = chunked(&[b"one"]);
        connection.send(request("POST", "/", &[("Transfer-Encoding", encoding)], &body));
        assert_eq!(connection.receive().text(), "one");
    }
    let with_extras = b"5;name=value\r\nabcde\r\n3\r\nfgh\r\n0\r\nX-Trailer: gone\r\n\r\n";
    connection.send(request("POST", "/", &[("Transfer-Encoding", "chunked")], with_extras));
    assert_eq!(connection.receive().text(), "abcdefgh");
    let body = long_lines();
    let pieces: Vec<&[u8]> = body.chunks(3001).collect();
    connection.send(request("POST", "/", &[("Transfer-Encoding", "chunked")], &chunked(&pieces)));
    assert!(connection.receive().body == body);
}

#[test]
fn an_unknown_transfer_encoding_is_refused() {
    let server = chunked_builder(ECHO).start();
    for encoding in ["gzip", "gzip, chunked", "identity"] {
        let answer = server.send("POST", "/", &[("Transfer-Encoding", encoding)], b"x");
        assert!(matches!(answer.status, 400 | 501), "{encoding}: {}", answer.status);
    }
}

#[test]
fn a_length_beside_chunks_is_never_believed() {
    let server = chunked_builder(ECHO).start();
    let mut connection = server.connect();
    connection.send(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    connection.send(chunked(&[b"whole body"]));
    let answer = connection.receive();
    assert!(answer.status == 400 || answer.text() == "whole body", "{answer:?}");
}

#[test]
fn a_content_length_that_is_no_number_is_refused() {
    let server = Server::of(ECHO);
    for length in ["-1", "5x", "0x5", "99999999999999999999999999"] {
        let answer = server.send("POST", "/", &[("Content-Length", length)], b"12345");
        assert!(matches!(answer.status, 400 | 413), "{length}: {}", answer.status);
    }
    let twice =
        server.send("POST", "/", &[("Content-Length", "5"), ("Content-Length", "3")], b"12345");
    assert_eq!(twice.status, 400);
}

const WHEN_TOLD: &str = "
import time
def application(environ, start_response):
    how = environ['PATH_INFO']
    if how == '/late':
        time.sleep(0.5)
        body = environ['wsgi.input'].read()
    elif how == '/zero':
        assert environ['wsgi.input'].read(0) == b''
        body = environ['wsgi.input'].read()
    elif how == '/line':
        body = environ['wsgi.input'].readline()
    elif how == '/after':
        write = start_response('200 OK', [])
        write(b'started ')
        return [environ['wsgi.input'].read()]
    elif how == '/in-parts':
        start_response('200 OK', [])
        return (part for part in (b'not', b' read'))
    else:
        body = b'not read'
    start_response('200 OK', [])
    return [body]
";

#[test]
fn the_client_is_told_to_continue_at_the_first_read_and_not_before() {
    let server = Server::of(WHEN_TOLD);
    for path in ["/late", "/zero", "/line"] {
        let mut connection = server.connect();
        connection.send(format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        ));
        if path == "/late" {
            assert!(connection.silent(Duration::from_millis(250)), "it came before the first read");
        }
        assert_eq!(connection.bytes(25), b"HTTP/1.1 100 Continue\r\n\r\n", "{path}");
        connection.send("body");
        assert_eq!(connection.receive().text(), "body", "{path}");
    }
}

#[test]
fn the_client_is_not_told_to_continue_when_nobody_reads() {
    let server = Server::of(WHEN_TOLD);
    for path in ["/", "/in-parts"] {
        let mut connection = server.connect();
        connection.send(format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        ));
        let answer = connection.receive();
        assert_eq!((answer.text(), answer.interim.as_slice()), ("not read", &[][..]), "{path}");
    }
}

#[test]
fn the_client_is_not_told_to_continue_once_the_answer_has_begun() {
    let server = Server::of(WHEN_TOLD);
    let mut connection = server.connect();
    connection.send(
        "POST /after HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    );
    let head = connection.receive_head("POST");
    assert_eq!((head.status, head.interim.as_slice()), (200, &[][..]));
    connection.send("body");
    assert!(String::from_utf8(connection.rest()).unwrap().contains("started"));
}

#[test]
fn a_body_over_the_limit_is_refused_before_anything_is_loaded() {
    let server = Server::builder_of("raise SystemError('this must not be loaded')")
        .config("LimitRequestBody 1000")
        .start();
    let refused = server.post("/", "x".repeat(1001));
    assert_eq!(refused.status, 413);
    let mut connection = server.connect();
    connection
        .send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
    let answer = connection.receive();
    assert_eq!((answer.status, answer.interim.as_slice()), (413, &[][..]));
    assert!(!server.error_log().contains("must not be loaded"));
}

#[test]
fn the_limit_of_the_place_counts() {
    let server = Server::builder_of(ECHO)
        .config("LimitRequestBody 10\n<Location /large>\nLimitRequestBody 100\n</Location>")
        .start();
    let body = "x".repeat(50);
    assert_eq!(server.post("/", &body).status, 413);
    assert_eq!(server.post("/large", &body).text(), body);
    assert_eq!(server.post("/", "x".repeat(10)).status, 200);
}

#[test]
fn a_chunked_body_over_the_limit_gets_one_413_and_nothing_else() {
    let server = chunked_builder(
        "
def application(environ, start_response):
    try:
        environ['wsgi.input'].read()
        told = b'all of it'
    except OSError as error:
        print('caught', error)
        told = b'output of the application'
    start_response('200 OK', [('X-Application', 'yes')])
    return [told]
",
    )
    .config("LimitRequestBody 1000")
    .start();
    let within =
        server.send("POST", "/", &[("Transfer-Encoding", "chunked")], &chunked(&[&[b'x'; 900]]));
    assert_eq!(within.text(), "all of it");
    let mut connection = server.connect();
    let body = chunked(&[&[b'x'; 900], &[b'y'; 900]]);
    connection.send(request("POST", "/", &[("Transfer-Encoding", "chunked")], &body));
    let everything = String::from_utf8(connection.rest()).unwrap();
    assert!(everything.starts_with("HTTP/1.1 413 "), "{everything}");
    assert_eq!(everything.matches("HTTP/1.1").count(), 1, "{everything}");
    assert!(!everything.contains("output of the application"), "{everything}");
    assert!(!everything.contains("X-Application"), "{everything}");
    server.await_log("caught ");
    assert!(server.error_log().contains("limit"), "the reason is given in plain words");
}

#[test]
fn a_chunked_body_over_the_limit_that_nobody_reads_is_no_error() {
    let server = chunked_builder(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'not read']
",
    )
    .config("LimitRequestBody 10")
    .start();
    let answer =
        server.send("POST", "/", &[("Transfer-Encoding", "chunked")], &chunked(&[&[b'x'; 900]]));
    assert_eq!((answer.status, answer.text()), (200, "not read"));
}

/// Tells in the log what reading came to, twice, and answers what it can.
const TELLING: &str = "
import time
def application(environ, start_response):
    for turn in 'first', 'second':
        began = time.monotonic()
        try:
            got = environ['wsgi.input'].read()
            print(turn, 'got', got, flush=True)
        except Exception as raised:
            print(turn, type(raised).__name__, raised, flush=True)
    start_response('200 OK', [('Content-Length', '8')])
    return [b'answered']
";

#[test]
fn a_client_that_leaves_in_the_middle_is_an_error_for_the_reader() {
    let server = Server::of(TELLING);
    let mut connection = server.connect();
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npartial");
    drop(connection);
    let first = server.await_log("first ");
    assert!(first.contains("OSError") && first.contains("disconnected"), "{first}");
    let second = server.await_log("second ");
    assert!(second.contains("OSError"), "{second}");
}

#[test]
fn a_reader_that_lets_the_error_pass_is_logged_as_500() {
    let server = Server::of(ECHO);
    let mut connection = server.connect();
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npartial");
    connection.half_close();
    let said = String::from_utf8(connection.rest()).unwrap();
    assert!(
        said.is_empty() || said.starts_with("HTTP/1.1 500 ") || said.starts_with("HTTP/1.1 400 "),
        "{said}"
    );
    server.await_log("OSError");
    assert_eq!(server.get("/").status, 200, "the process goes on");
}

#[test]
fn a_client_that_stalls_is_an_error_for_the_reader_after_the_timeout() {
    let server = Server::builder_of(TELLING).config("Timeout 1").start();
    let mut connection = server.connect();
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npartial");
    let answer = connection.receive();
    assert!(matches!(answer.status, 200 | 408), "{}", answer.status);
    assert!(connection.closed(), "the rest of the body could be taken for a request");
    let first = server.await_log("first ");
    assert!(first.contains("OSError") && first.contains("time"), "{first}");
    assert!(server.await_log("second ").contains("OSError"));
}

#[test]
fn a_broken_chunk_gets_one_400_and_nothing_else() {
    let server = chunked_builder(TELLING).start();
    let mut connection = server.connect();
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nnonsense\r\n");
    let everything = String::from_utf8(connection.rest()).unwrap();
    assert!(everything.starts_with("HTTP/1.1 400 "), "{everything}");
    assert_eq!(everything.matches("HTTP/1.1").count(), 1, "{everything}");
    assert!(!everything.contains("answered"), "{everything}");
    let first = server.await_log("first ");
    assert!(first.contains("OSError") && first.contains("malformed"), "{first}");
    assert!(server.await_log("second ").contains("OSError"));
}

#[test]
fn an_input_that_was_kept_is_dead_after_its_request() {
    let server = Server::of("
import json
kept = []
def result(call, *arguments):
    try:
        return repr(call(*arguments))
    except BaseException as raised:
        return f'{type(raised).__name__}: {raised}'
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/keep':
        kept.append(environ['wsgi.input'])
        kept[0].readline()
        return [b'kept']
    old = kept[0]
    return [json.dumps([result(old.read), result(old.read, 0), result(old.readline), result(old.readlines), result(next, old)]).encode()]
");
    assert_eq!(server.post("/keep", "one\ntwo\nthree").text(), "kept");
    for _ in 0..3 {
        let answer = server.post("/", "another body");
        for (result, method) in answer.json().as_array().unwrap().iter().zip([
            "read",
            "read",
            "readline",
            "readlines",
            "next",
        ]) {
            let text = result.as_str().unwrap();
            assert!(
                text.starts_with("RuntimeError: ") && text.contains("completed"),
                "{method}: {text}"
            );
        }
    }
}

#[test]
fn a_thread_that_reads_beyond_the_end_of_its_request_gets_an_error_and_no_bytes_of_another() {
    let server = Server::of(
        "
import threading, time
outcome = []
def late(stream, began):
    began.set()
    time.sleep(0.2)
    try:
        outcome.append(stream.read())
    except RuntimeError as error:
        outcome.append(b'RuntimeError')
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/start':
        began = threading.Event()
        threading.Thread(target=late, args=(environ['wsgi.input'], began)).start()
        began.wait()
        return [b'started']
    if environ['PATH_INFO'] == '/wait':
        time.sleep(0.5)
        environ['wsgi.input'].read()
    return outcome
",
    );
    let mut connection = server.connect();
    connection.send(request("POST", "/start", &[], b"first body"));
    assert_eq!(connection.receive().text(), "started");
    connection.send(request("POST", "/wait", &[], b"second body"));
    assert_eq!(connection.receive().text(), "RuntimeError");
}

#[test]
fn threads_of_an_application_may_read_at_once() {
    let server = Server::of(
        "
import threading
def application(environ, start_response):
    stream, words, problems = environ['wsgi.input'], [], []
    def take():
        try:
            while word := stream.read(8):
                words.append(word)
        except BaseException as problem:
            problems.append(repr(problem))
    readers = [threading.Thread(target=take) for _ in range(4)]
    for reader in readers: reader.start()
    for reader in readers: reader.join()
    start_response('200 OK', [('X-Problems', ' '.join(problems))])
    return [b''.join(sorted(words))]
",
    );
    let words: Vec<u8> = (0..20_000).flat_map(|n| format!("{n:08}").into_bytes()).collect();
    for _ in 0..3 {
        let answer = server.post("/", &words);
        assert_eq!(answer.header("X-Problems"), Some(""));
        assert!(answer.body == words, "words were torn or lost");
    }
}

#[test]
fn a_body_that_nobody_reads_is_not_taken_for_the_next_request() {
    let server = Server::builder_of(
        "
def application(environ, start_response):
    body = environ['wsgi.input'].read(int(environ['QUERY_STRING'] or 0))
    start_response('200 OK', [])
    return [environ['REQUEST_METHOD'].encode(), body]
",
    )
    .config("WSGIChunkedRequest On")
    .start();
    let mut connection = server.connect();
    let large = vec![b'x'; 300_000];
    connection.send(request("POST", "/", &[], b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!(connection.receive().text(), "POST");
    connection.send(request("POST", "/?5", &[], &large));
    assert_eq!(connection.receive().text(), "POSTxxxxx");
    connection.send(request(
        "PUT",
        "/?2",
        &[("Transfer-Encoding", "chunked")],
        &chunked(&[&large]),
    ));
    assert_eq!(connection.receive().text(), "PUTxx");
    connection.send(request("GET", "/", &[], b""));
    assert_eq!(connection.receive().text(), "GET");
}

#[test]
fn reading_goes_on_after_output_has_begun() {
    let server = Server::of(
        "
def application(environ, start_response):
    write = start_response('200 OK', [])
    write(b'<')
    for line in environ['wsgi.input']:
        yield line.upper()
    yield b'>'
",
    );
    let mut connection = server.connect();
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n");
    std::thread::sleep(Duration::from_millis(50));
    connection.send("one\n").send("two\n");
    let answer = connection.receive();
    assert_eq!(answer.text(), "<ONE\nTWO\n>");
}

#[test]
fn a_conversation_is_possible_while_the_body_still_comes() {
    let server = Server::of(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    for line in iter(environ['wsgi.input'].readline, b''):
        yield line.upper()
",
    );
    let mut connection = server.connect();
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\none\n");
    connection.receive_head("POST");
    assert_eq!(connection.bytes(9), b"4\r\nONE\n\r\n");
    connection.send("two\n");
    assert_eq!(connection.bytes(14), b"4\r\nTWO\n\r\n0\r\n\r\n");
}

#[test]
fn input_filters_have_worked_on_the_body() {
    let server = Server::builder_of(
        "
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [environ.get('CONTENT_LENGTH', 'none').encode(), b' ', body]
",
    )
    .load(&["filter", "deflate"])
    .config("SetInputFilter DEFLATE")
    .start();
    let hex = Installation::get().python_says("__import__('gzip').compress(b'text' * 1000).hex()");
    let packed: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    let answer = server.send("POST", "/", &[("Content-Encoding", "gzip")], &packed);
    let text = answer.text();
    assert!(text.ends_with(&"text".repeat(1000)), "{}", &text[..text.len().min(100)]);
}

#[test]
fn a_large_upload_passes_through_in_little_memory() {
    let server = Server::builder_of(
        "
import hashlib
def application(environ, start_response):
    digest, size = hashlib.sha256(), 0
    while block := environ['wsgi.input'].read(1 << 16):
        digest.update(block)
        size += len(block)
    start_response('200 OK', [])
    return [f'{size}'.encode()]
",
    )
    .config("LimitRequestBody 0")
    .start();
    assert_eq!(server.post("/", vec![b'x'; 1 << 20]).text(), (1 << 20).to_string());
    let before = server.resident();
    let block = vec![b'x'; 1 << 20];
    let mut connection = server.connect();
    connection.send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 256 << 20));
    for _ in 0..256 {
        connection.send(&block);
    }
    assert_eq!(connection.receive().text(), (256 << 20).to_string());
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 4096, "the child grew by {grown} KiB");
}
