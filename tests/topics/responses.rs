//! How an answer is iterated and framed: what the client can tell from the wire.

use super::{probe, prober};
use crate::harness::{Connection, Framing, Server, request};
use std::time::Duration;

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
    assert!(grown < 4096, "they grew by {grown} KiB");
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
