//! How an answer ends: as it should, cut short, or without a client; and `close()` in every case.

use super::{probe, prober};
use crate::harness::{Response, Server, request, wait_for};

/// Whatever of this application's answer reaches the client, and a second request sent right behind the first.
///
/// The second must never be answered into the unfinished body of the first.
#[track_caller]
fn pipelined(server: &Server, path: &str) -> (Response, Vec<u8>) {
    let mut connection = server.connect();
    let mut both = request("GET", path, &[], b"");
    both.extend(request("GET", "/second", &[], b""));
    connection.send(both);
    let first = connection.receive();
    (first, connection.rest())
}

/// Answers that end before they should, by path.
const CUT: &str = "
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/second':
        start_response('200 OK', [])
        return [b'the second answer']
    headers = [('Content-Length', '100')] if 'length' in path else []
    write = start_response('200 OK', headers)
    if 'written' in path:
        write(b'beginning')
        if 'raise' in path:
            raise ValueError('on purpose')
        if 'exit' in path:
            raise SystemExit('on purpose')
        return []
    return blocks(path)

def blocks(path):
    yield b'beginning'
    if 'raise' in path:
        raise ValueError('on purpose')
    if 'exit' in path:
        raise SystemExit('on purpose')
    if 'type' in path:
        yield 'not bytes'
";

#[test]
fn a_cut_answer_is_never_taken_for_a_whole_one() {
    let server = Server::of(CUT);
    for path in [
        "/length",
        "/length/raise",
        "/length/exit",
        "/length/type",
        "/length/written",
        "/length/written/raise",
        "/length/written/exit",
        "/chunked/raise",
        "/chunked/exit",
        "/chunked/type",
        "/chunked/written/raise",
        "/chunked/written/exit",
    ] {
        let (first, rest) = pipelined(&server, path);
        assert_eq!((first.status, first.text()), (200, "beginning"), "{path}");
        assert!(!first.complete, "{path}: the client takes it for whole");
        assert!(rest.is_empty(), "{path}: {:?}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(server.get("/second").text(), "the second answer");
}

#[test]
fn a_cut_answer_to_an_http_1_0_client_closes_the_connection() {
    let server = Server::of(CUT);
    for path in ["/length", "/length/raise", "/close/raise"] {
        let mut connection = server.connect();
        connection.send(format!(
            "GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /second HTTP/1.0\r\n\r\n"
        ));
        let answer = connection.receive();
        assert_eq!(answer.text(), "beginning", "{path}");
        assert!(connection.rest().is_empty(), "{path}");
    }
}

#[test]
fn a_cut_answer_is_told_in_the_log_and_the_access_log_says_so() {
    let server = Server::of(CUT);
    server.get("/length");
    let line = server.await_log("WSGI1001");
    assert!(line.contains("100") && line.contains('9') && line.contains("app.wsgi"), "{line}");
    server.get("/chunked/raise");
    server.await_log("ValueError: on purpose");
    let log = server.access_log();
    assert!(log.lines().all(|line| line.ends_with(" X") || line.ends_with(" -")), "{log}");
}

#[test]
fn nothing_is_appended_to_an_answer_that_has_begun() {
    let server = Server::builder_of(CUT).config("ErrorDocument 500 \"the error page\"").start();
    for path in ["/chunked/written/raise", "/length/written/raise", "/chunked/raise"] {
        let mut connection = server.connect();
        connection.send(request("GET", path, &[], b""));
        let everything = String::from_utf8(connection.rest()).unwrap();
        assert!(!everything.contains("error page"), "{path}: {everything}");
        assert!(!everything.contains("Internal Server Error"), "{path}: {everything}");
    }
}

/// Counts what is closed, and how it ended.
const CLOSING: &str = "
import json, os, sys, threading
closed = []
class Blocks:
    def __init__(self, environ, blocks):
        self.environ, self.blocks, self.thread = environ, blocks, threading.get_ident()
    def __iter__(self):
        if self.blocks is None:
            raise ValueError('no iterator')
        return iter(self.blocks)
    def close(self):
        assert self.thread == threading.get_ident()
        self.environ['wsgi.input'].read()
        print('closing', self.environ['PATH_INFO'], file=self.environ['wsgi.errors'])
        closed.append(self.environ['PATH_INFO'])
        if self.environ['PATH_INFO'] == '/close-raises':
            raise KeyError('from close')

def failing(kind):
    yield b'first'
    raise kind

class Endless:
    def __iter__(self):
        return self
    def __next__(self):
        return b'x' * 65536

def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/closed':
        start_response('200 OK', [])
        return [json.dumps(closed).encode()]
    if path == '/never-started':
        return Blocks(environ, [b'x'])
    start_response('200 OK', [('Content-Length', '2')] if path == '/surplus' else [])
    if path == '/call-raises':
        Blocks(environ, [b'x'])
        raise ValueError('in the call')
    return Blocks(environ, {
        '/list': [b'a', b'b'], '/empty': [], '/one': [b'x'], '/surplus': [b'abc', b'd'], '/close-raises': [b'whole'],
        '/no-iterator': None, '/first-raises': map(None, [1]), '/not-bytes': ['text'], '/later-raises': failing(ValueError),
        '/exits': failing(SystemExit), '/endless': Endless(),
    }[path])
";

#[test]
fn close_is_called_exactly_once_whatever_the_ending() {
    let server = Server::of(CLOSING);
    let endings = [
        ("/list", 200),
        ("/empty", 200),
        ("/one", 200),
        ("/surplus", 200),
        ("/close-raises", 200),
        ("/no-iterator", 500),
        ("/first-raises", 500),
        ("/not-bytes", 500),
        ("/never-started", 500),
        ("/later-raises", 200),
        ("/exits", 200),
    ];
    for (path, status) in endings {
        assert_eq!(server.get(path).status, status, "{path}");
    }
    assert_eq!(server.send("HEAD", "/list", &[], b"").status, 200);
    assert_eq!(server.get("/call-raises").status, 500);
    let mut expected: Vec<&str> = endings.iter().map(|(path, _)| *path).collect();
    expected.push("/list");
    expected.sort_unstable();
    // A client may have its answer, and another request be served, before the first is closed.
    wait_for("every close()", || {
        let closed = server.get("/closed").json();
        let mut closed: Vec<&str> =
            closed.as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
        closed.sort_unstable();
        (closed == expected).then_some(())
    });
    assert!(server.error_log().contains("closing /list"), "wsgi.errors works in close()");
    assert!(server.error_log().contains("KeyError: 'from close'"));
}

#[test]
fn close_is_called_when_the_client_has_gone() {
    let server = Server::of(CLOSING);
    let mut connection = server.connect();
    connection.send(request("GET", "/endless", &[], b""));
    connection.receive_head("GET");
    drop(connection);
    wait_for("close()", || (server.get("/closed").text() == r#"["/endless"]"#).then_some(()));
    assert!(!server.error_log().contains("Traceback"), "it is no error of the application");
}

#[test]
fn a_generator_sees_that_the_client_has_gone_as_its_own_end() {
    let server = Server::of(
        "
def blocks():
    try:
        while True:
            yield b'x' * 65536
    except BaseException as raised:
        print('ended by', type(raised).__name__, flush=True)
        raise
def application(environ, start_response):
    start_response('200 OK', [])
    return blocks()
",
    );
    let mut connection = server.connect();
    connection.send(request("GET", "/", &[], b""));
    connection.receive_head("GET");
    drop(connection);
    server.await_log("ended by GeneratorExit");
}

#[test]
fn write_raises_when_the_client_has_gone() {
    let server = Server::of(
        "
def application(environ, start_response):
    write = start_response('200 OK', [])
    try:
        while True:
            write(b'x' * 65536)
    except OSError as error:
        print('write raised OSError:', error, flush=True)
    try:
        write(b'again')
    except OSError as error:
        print('and again:', error, flush=True)
    return [b'more']
",
    );
    let mut connection = server.connect();
    connection.send(request("GET", "/", &[], b""));
    connection.receive_head("GET");
    drop(connection);
    server.await_log("write raised OSError:");
    server.await_log("and again:");
}

#[test]
fn close_that_is_no_function_or_cannot_be_looked_up_is_logged_and_harms_nothing() {
    let server = prober();
    for (close, exception) in [
        ("close = 5", "TypeError"),
        ("@property\n    def close(self): raise KeyError('no close')", "KeyError: 'no close'"),
    ] {
        let answer = probe(
            &server,
            &format!(
                "
class Blocks:
    def __iter__(self): return iter([b'whole'])
    {close}
def app(environ, start_response):
    start_response('200 OK', [])
    return Blocks()
"
            ),
        );
        assert_eq!((answer.text(), answer.complete), ("whole", true));
        server.await_log(exception);
    }
    server.await_log("WSGI0194");
}
