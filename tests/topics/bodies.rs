//! Which bodies a request may have, when the client is told to send them, and what happens when they do not come.

use super::input::long_lines;
use crate::harness::{Builder, Server, chunked, request};
use std::time::Duration;

/// Reads all and sends it back.
const ECHO: &str = "
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
";

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
import threading
go_on = threading.Event()
def application(environ, start_response):
    how = environ['PATH_INFO']
    if how == '/go-on':
        go_on.set()
        body = b''
    elif how == '/late':
        go_on.wait()
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
    let server = Server::builder_of(WHEN_TOLD).streaming().start();
    for path in ["/late", "/zero", "/line"] {
        let mut connection = server.connect();
        connection.send(format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        ));
        if path == "/late" {
            assert!(connection.silent(Duration::from_millis(250)), "it came before the first read");
            server.get("/go-on");
        }
        assert_eq!(connection.bytes(25), b"HTTP/1.1 100 Continue\r\n\r\n", "{path}");
        connection.send("body");
        assert_eq!(connection.receive().text(), "body", "{path}");
    }
}

#[test]
fn the_client_is_not_told_to_continue_when_nobody_reads() {
    let server = Server::builder_of(WHEN_TOLD).streaming().start();
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
    let server = Server::builder_of(WHEN_TOLD).streaming().start();
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
    .streaming()
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
    .streaming()
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
    let server = chunked_builder(TELLING).streaming().start();
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
