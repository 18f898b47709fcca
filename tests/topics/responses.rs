//! How an answer is iterated, framed, ended and closed: what the client can tell from the wire.

use super::probe;
use crate::harness::{Connection, Framing, Server, request, wait_for};
use std::time::Duration;

fn prober() -> Server {
    Server::of(include_str!("../apps/probe.wsgi"))
}

/// Whatever of this application's answer reaches the client, and a second request sent right behind the first.
///
/// The second must never be answered into the unfinished body of the first.
#[track_caller]
fn pipelined(server: &Server, path: &str) -> (crate::harness::Response, Vec<u8>) {
    let mut connection = server.connect();
    let mut both = request("GET", path, &[], b"");
    both.extend(request("GET", "/second", &[], b""));
    connection.send(both);
    let first = connection.receive();
    (first, connection.rest())
}

#[test]
fn each_block_is_a_chunk_of_its_own() {
    let server = prober();
    let mut connection = server.connect();
    connection.send(request(
        "POST",
        "/",
        &[],
        b"
def app(environ, start_response):
    start_response('200 OK', [])
    yield b'a'
    yield b''
    yield b'bb'
    yield type('Bytes', (bytes,), {})(b'ccc')
",
    ));
    assert_eq!(connection.receive_head("POST").framing, Framing::Chunked);
    assert_eq!(connection.bytes(26), b"1\r\na\r\n2\r\nbb\r\n3\r\nccc\r\n0\r\n\r\n"[..26].to_vec());
}

#[test]
fn a_block_is_on_its_way_before_the_next_is_made() {
    let server = Server::builder_of(
        "
import threading
go_on = [threading.Event() for _ in range(3)]
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['QUERY_STRING']:
        go_on[int(environ['QUERY_STRING'])].set()
        return [b'']
    return blocks()
def blocks():
    for event in go_on:
        yield b'block'
        assert event.wait(10)
",
    )
    .load(&["filter", "deflate"])
    .config("<Location /packed>\nSetOutputFilter DEFLATE\n</Location>")
    .start();
    let mut connection = server.connect();
    connection.send(request("GET", "/", &[], b""));
    connection.receive_head("GET");
    for turn in 0..3 {
        assert_eq!(connection.bytes(10), b"5\r\nblock\r\n");
        assert!(connection.silent(Duration::from_millis(50)));
        server.get(&format!("/?{turn}"));
    }
    assert_eq!(connection.bytes(5), b"0\r\n\r\n");
}

#[test]
fn a_block_passes_compression_before_the_next_is_made() {
    let server = Server::builder_of(
        "
import threading
go_on = threading.Event()
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/go':
        go_on.set()
        return [b'']
    return blocks()
def blocks():
    yield b'block'
    assert go_on.wait(10)
    yield b'end'
",
    )
    .load(&["filter", "deflate"])
    .config("SetOutputFilter DEFLATE")
    .start();
    let mut connection = server.connect();
    connection.send(request("GET", "/", &[("Accept-Encoding", "gzip")], b""));
    let head = connection.receive_head("GET");
    assert_eq!(head.header("Content-Encoding"), Some("gzip"));
    // The ten bytes of gzip's own head could come alone.
    let first = connection.bytes(20);
    assert_eq!(&first[first.iter().position(|&b| b == b'\n').unwrap() + 1..][..2], b"\x1f\x8b");
    server.get("/go");
    assert!(connection.through_last_chunk().ends_with(b"0\r\n\r\n"));
}

#[test]
fn an_iterable_may_be_anything_that_iterates_over_bytes() {
    let server = prober();
    for (iterable, body) in [
        ("[b'a', b'b']", "ab"),
        ("(b'a', b'b')", "ab"),
        ("iter([b'a', b'b'])", "ab"),
        ("(x for x in [b'a', b'', b'b'])", "ab"),
        ("{b'a': 1}", "a"),
        ("io.BytesIO(b'one\\ntwo')", "one\ntwo"),
        ("map(bytes.upper, [b'a'])", "A"),
        ("type('Old', (), {'__getitem__': lambda self, i: [b'a', b'b'][i]})()", "ab"),
        ("[]", ""),
        ("[b'']", ""),
        ("()", ""),
    ] {
        let answer = probe(
            &server,
            &format!(
                "
def app(environ, start_response):
    start_response('200 OK', [])
    return {iterable}
"
            ),
        );
        assert_eq!((answer.status, answer.text()), (200, body), "{iterable}");
        assert!(answer.complete, "{iterable}");
    }
}

#[test]
fn what_is_not_an_iterable_of_bytes_is_a_500_that_names_the_type() {
    let server = prober();
    for (iterable, kind) in [
        ("None", "NoneType"),
        ("5", "int"),
        ("b'bytes themselves'", "int"),
        ("'text'", "str"),
        ("['text']", "str"),
        ("[bytearray(b'x')]", "bytearray"),
        ("[memoryview(b'x')]", "memoryview"),
        ("[None]", "NoneType"),
        ("[[b'nested']]", "list"),
    ] {
        let answer = probe(
            &server,
            &format!(
                "
def app(environ, start_response):
    start_response('200 OK', [('X-Application', 'yes')])
    return {iterable}
"
            ),
        );
        assert_eq!(answer.status, 500, "{iterable}");
        assert_eq!(answer.header("X-Application"), None);
        let log = server.error_log();
        let last = log.lines().rfind(|line| line.contains("TypeError: ")).unwrap_or_default();
        assert!(last.contains(kind), "{iterable}: {last}");
    }
}

#[test]
fn the_length_of_a_single_block_is_told() {
    let server = prober();
    for iterable in ["[b'hello']", "(b'hello',)"] {
        let answer = probe(
            &server,
            &format!(
                "
def app(environ, start_response):
    start_response('200 OK', [])
    return {iterable}
"
            ),
        );
        assert_eq!(answer.framing, Framing::Length(5), "{iterable}");
        assert_eq!(answer.text(), "hello");
    }
    let empty = probe(
        &server,
        "
def app(environ, start_response):
    start_response('200 OK', [])
    return []
",
    );
    assert_eq!(empty.framing, Framing::Length(0));
}

#[test]
fn the_length_of_what_was_partly_written_is_not_guessed() {
    let server = prober();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    write = start_response('200 OK', [])
    write(b'written ')
    return [b'returned']
",
    );
    assert_eq!((answer.text(), answer.complete), ("written returned", true));
}

#[test]
fn the_answer_to_head_has_no_body_and_no_false_length() {
    let server = Server::of("
def application(environ, start_response):
    headers = {'/given': [('Content-Length', '1234')]}.get(environ['PATH_INFO'], [])
    start_response('200 OK', headers)
    return {'/empty': [], '/blank': [b''], '/generator': iter([b'a', b'b'])}.get(environ['PATH_INFO'], [b'hello'])
");
    let mut connection = server.connect();
    for (path, lengths) in [
        ("/given", &[Some("1234")][..]),
        ("/empty", &[None]),
        ("/blank", &[None]),
        ("/generator", &[None, Some("2")]),
        ("/one", &[None, Some("5")]),
    ] {
        connection.send(request("HEAD", path, &[], b""));
        let answer = connection.receive_for("HEAD");
        assert_eq!(answer.status, 200, "{path}");
        assert!(lengths.contains(&answer.header("Content-Length")), "{path}: {:?}", answer.headers);
    }
    connection.send(request("GET", "/one", &[], b""));
    assert_eq!(
        connection.receive().text(),
        "hello",
        "no byte of a body was left on the connection"
    );
}

#[test]
fn statuses_without_a_body_have_none() {
    let server = Server::of(
        "
def application(environ, start_response):
    start_response(environ['QUERY_STRING'], [('Content-Length', '5'), ('ETag', '\"x\"')])
    return [b'hello']
",
    );
    let mut connection = server.connect();
    for status in [204, 304] {
        connection.send(request("GET", &format!("/?{status}"), &[], b""));
        let answer = connection.receive();
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("Transfer-Encoding"), None);
        if status == 204 {
            assert_eq!(answer.header("Content-Length"), None);
        }
    }
    connection.send(request("GET", "/?200", &[], b""));
    assert_eq!(connection.receive().text(), "hello");
}

#[test]
fn an_http_1_0_client_gets_a_body_it_can_end() {
    let server = Server::of(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return iter([b'a', b'b']) if environ['PATH_INFO'] == '/parts' else [b'whole']
",
    );
    let mut parts = server.connect();
    parts.send("GET /parts HTTP/1.0\r\n\r\n");
    let answer = parts.receive();
    assert_eq!((answer.framing, answer.text()), (Framing::Close, "ab"));
    let mut whole = server.connect();
    whole.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(whole.receive().framing, Framing::Length(5));
    whole.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(whole.receive().text(), "whole", "the connection was kept");
}

#[test]
fn surplus_data_is_dropped_and_the_connection_stays_whole() {
    let server = Server::of(
        "
finished = []
def application(environ, start_response):
    if environ['PATH_INFO'] == '/finished':
        start_response('200 OK', [])
        return [str(len(finished)).encode()]
    write = start_response('200 OK', [('Content-Length', '5')])
    return blocks(write if environ['PATH_INFO'] == '/write' else lambda data: None)
def blocks(write):
    write(b'hell')
    write(b'o and more')
    yield b'hello'
    yield b' and more'
    finished.append(1)
",
    );
    let mut connection = server.connect();
    for path in ["/write", "/yield"] {
        connection.send(request("GET", path, &[], b""));
        let answer = connection.receive();
        assert_eq!((answer.framing, answer.text()), (Framing::Length(5), "hello"), "{path}");
    }
    connection.send(request("GET", "/finished", &[], b""));
    assert_eq!(connection.receive().text(), "2", "the iterations ran to their ends");
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
    assert_eq!(server.get("/closed").json(), serde_json::json!(expected));
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

#[test]
fn headers_reach_the_client_in_order_and_unjoined() {
    let server = prober();
    let answer = probe(&server, "
def app(environ, start_response):
    start_response('218 This is fine', [
        ('Set-Cookie', 'a=1; Path=/'), ('X-A', '1'), ('Set-Cookie', 'b=2'), ('X-A', '2'), ('x-a', '3'),
        ('Location', '/elsewhere'), ('Last-Modified', 'whenever'), ('X-Latin', 'caf\\xe9'), ('X-Empty', ''),
        ('Server', 'mine'), ('Date', 'mine'), ('Content-Type', 'Text/Plain; Charset=X'), ('WWW-Authenticate', 'Basic'), ('WWW-Authenticate', 'Bearer'),
        ('Status', '404 x'), ('X-Long', 'x' * 100000),
    ])
    return [b'body']
");
    assert_eq!((answer.status, answer.reason.as_str()), (218, "This is fine"));
    assert_eq!(answer.all("Set-Cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!(answer.all("X-A"), ["1", "2", "3"]);
    assert_eq!(answer.header("Location"), Some("/elsewhere"));
    assert_eq!(answer.header("Last-Modified"), Some("whenever"));
    assert_eq!(answer.header("X-Latin"), Some("caf\u{e9}"));
    assert_eq!(answer.header("X-Empty"), Some(""));
    assert!(answer.header("Server").unwrap().starts_with("Apache"));
    assert_ne!(answer.header("Date"), Some("mine"));
    assert_eq!(answer.header("Content-Type"), Some("Text/Plain; Charset=X"));
    assert_eq!(answer.all("WWW-Authenticate"), ["Basic", "Bearer"]);
    assert_eq!(answer.header("Status"), Some("404 x"));
    assert_eq!(answer.header("X-Long").map(str::len), Some(100_000));
    assert_eq!(answer.text(), "body");
}

#[test]
fn a_status_without_a_reason_gets_the_usual_one() {
    let server = prober();
    for (status, reason) in [("404", "Not Found"), ("201", "Created")] {
        let answer = probe(
            &server,
            &format!(
                "
def app(environ, start_response):
    start_response('{status}', [])
    return [b'body']
"
            ),
        );
        assert_eq!(answer.reason, reason);
        assert_eq!(answer.text(), "body", "the page is the application's own");
    }
}

#[test]
fn error_statuses_of_an_application_keep_its_page_and_headers() {
    let server = Server::builder_of("
def application(environ, start_response):
    start_response(environ['QUERY_STRING'] + ' Mine', [('WWW-Authenticate', 'Basic realm=\"x\"'), ('X-Mine', 'yes')])
    return [b'my page']
")
    .config("ErrorDocument 404 \"httpd's page\"\nErrorDocument 401 \"httpd's page\"\nWSGIErrorOverride On")
    .start();
    for status in [400, 401, 404, 410, 500, 503, 599] {
        let answer = server.get(&format!("/?{status}"));
        assert_eq!((answer.status, answer.text()), (status, "my page"));
        assert_eq!(answer.header("WWW-Authenticate"), Some("Basic realm=\"x\""));
        assert_eq!(answer.header("X-Mine"), Some("yes"));
    }
}

#[test]
fn no_content_type_is_invented() {
    let server = Server::builder()
        .load(&["mime"])
        .app(
            "app.py",
            "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'body']
",
        )
        .config("AddType text/x-python .py\nWSGIScriptAlias / @apps@/app.py")
        .start();
    assert_eq!(server.get("/").header("Content-Type"), None);
}

#[test]
fn headers_of_the_connection_are_not_the_applications_to_give() {
    let server = Server::of("
def application(environ, start_response):
    start_response('200 OK', [
        ('Transfer-Encoding', 'chunked'), ('Keep-Alive', 'timeout=99'), ('Upgrade', 'websocket'), ('TE', 'trailers'),
        ('Trailer', 'X'), ('Proxy-Authenticate', 'Basic'), ('Proxy-Connection', 'keep-alive'), ('X-Mine', 'yes'),
    ])
    return iter([b'one', b'two'])
");
    let mut connection = server.connect();
    for _ in 0..2 {
        connection.send(request("GET", "/", &[], b""));
        let answer = connection.receive();
        assert_eq!((answer.text(), answer.complete), ("onetwo", true));
        assert_eq!(answer.header("X-Mine"), Some("yes"));
        assert_eq!(answer.all("Transfer-Encoding"), ["chunked"], "httpd's own");
        for dropped in ["Upgrade", "TE", "Trailer", "Proxy-Authenticate", "Proxy-Connection"] {
            assert_eq!(answer.header(dropped), None, "{dropped}");
        }
        assert!(answer.all("Keep-Alive").iter().all(|value| !value.contains("99")));
    }
}

#[test]
fn an_application_can_close_the_connection() {
    let server = Server::of(
        "
def application(environ, start_response):
    start_response('200 OK', [('Connection', 'close')])
    return [b'last']
",
    );
    let mut connection = server.connect();
    connection.send(request("GET", "/", &[], b""));
    let answer = connection.receive();
    assert_eq!((answer.text(), answer.header("Connection")), ("last", Some("close")));
    assert!(connection.closed());
}

#[test]
fn conditional_requests_are_the_applications_own_affair() {
    let server = Server::of("
def application(environ, start_response):
    start_response('200 OK', [('ETag', '\"x\"'), ('Last-Modified', 'Thu, 01 Jan 1970 00:00:00 GMT')])
    return [b'whole']
");
    let answer = server.send("GET", "/", &[("If-None-Match", "\"x\"")], b"");
    assert_eq!((answer.status, answer.text()), (200, "whole"));
}

#[test]
fn large_and_many_blocks_arrive_whole() {
    let server = Server::of(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/large':
        return [bytes(range(256)) * 40000]
    return (b'%07d\\n' % n for n in range(20000))
",
    );
    let large = server.get("/large");
    assert!(
        large.body.len() == 10_240_000
            && large.body.chunks(256).all(|c| c.iter().copied().eq(0..=255))
    );
    let many = server.get("/many");
    let expected: String = (0..20_000).map(|n| format!("{n:07}\n")).collect();
    assert!(many.complete && many.body == expected.as_bytes());
}

#[test]
fn a_slow_client_holds_up_nobody_else() {
    let server = Server::builder_of(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'x' * 20000000] if environ['PATH_INFO'] == '/large' else [b'quick']
",
    )
    .children(1, 4)
    .start();
    let mut slow: Vec<Connection> = (0..3).map(|_| server.connect()).collect();
    for connection in &mut slow {
        connection.send(request("GET", "/large", &[], b""));
        connection.receive_head("GET");
    }
    for _ in 0..5 {
        assert_eq!(server.get("/").text(), "quick");
    }
    for connection in &mut slow {
        assert_eq!(connection.bytes(20_000_000).len(), 20_000_000);
    }
}

#[test]
fn a_large_download_passes_through_in_little_memory() {
    let server = Server::of(
        "
def application(environ, start_response):
    count = int(environ['QUERY_STRING'])
    start_response('200 OK', [('Content-Length', str(count << 20))])
    block = b'x' * (1 << 20)
    return (block for _ in range(count))
",
    );
    assert_eq!(server.get("/?2").body.len(), 2 << 20);
    let before = server.resident();
    let mut connection = server.connect();
    connection.send(request("GET", "/?256", &[("Connection", "close")], b""));
    assert_eq!(connection.receive_head("GET").framing, Framing::Length(256 << 20));
    assert_eq!(connection.count_rest(), 256 << 20);
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 4096, "the child grew by {grown} KiB");
}

#[test]
fn requests_in_a_pipeline_are_answered_in_order() {
    let server = Server::of(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    body = environ['wsgi.input'].read()
    return [environ['QUERY_STRING'].encode(), b' ', body]
",
    );
    let mut connection = server.connect();
    let all: Vec<u8> = (0..100)
        .flat_map(|n| request("POST", &format!("/?{n}"), &[], format!("body {n}").as_bytes()))
        .collect();
    connection.send(all);
    for n in 0..100 {
        assert_eq!(connection.receive().text(), format!("{n} body {n}"));
    }
}
