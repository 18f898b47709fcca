//! `wsgi.input`: how an application reads the body of a request.

use crate::harness::{Installation, Server, request};
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
pub fn long_lines() -> Vec<u8> {
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
import threading
outcome, another = [], threading.Event()
def late(stream, began):
    began.set()
    another.wait()
    try:
        outcome.append(stream.read())
    except RuntimeError as error:
        outcome.append(b'RuntimeError')
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/start':
        began = threading.Event()
        global reader
        reader = threading.Thread(target=late, args=(environ['wsgi.input'], began))
        reader.start()
        began.wait()
        return [b'started']
    if environ['PATH_INFO'] == '/wait':
        another.set()
        reader.join()
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
    let server = Server::builder_of(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    for line in iter(environ['wsgi.input'].readline, b''):
        yield line.upper()
",
    )
    .streaming()
    .start();
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
    assert!(grown < 4096, "they grew by {grown} KiB");
}
