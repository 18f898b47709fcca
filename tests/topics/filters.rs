//! Answers go through httpd's own filters and protocols: compression, headers, ranges, TLS, HTTP/2.

use crate::harness::{Builder, Framing, Installation, Server, request};

/// Text that compresses, as one block at `/`, in parts at `/parts`.
const TEXT: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-From', 'application')])
    block = b'the same line again and again\\n' * 1000
    return [block] if environ['PATH_INFO'] == '/' else iter([block[:100], block[100:]])
";

const LENGTH: usize = 30_000;

fn unpacked(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Installation::get()
        .python_says(&format!("__import__('gzip').decompress(bytes.fromhex('{hex}')).decode()"))
}

#[test]
fn compression_works_on_answers_with_and_without_a_length() {
    let server = Server::builder_of(TEXT)
        .load(&["filter", "deflate"])
        .config("SetOutputFilter DEFLATE")
        .start();
    let mut connection = server.connect();
    for path in ["/", "/parts"] {
        connection.send(request("GET", path, &[("Accept-Encoding", "gzip")], b""));
        let answer = connection.receive();
        assert_eq!(answer.header("Content-Encoding"), Some("gzip"), "{path}");
        assert!(answer.complete && answer.body.len() < 2000, "{path}");
        assert_eq!(
            unpacked(&answer.body).len(),
            LENGTH - 1,
            "{path}: less the newline that was stripped"
        );
        connection.send(request("GET", path, &[], b""));
        assert_eq!(connection.receive().body.len(), LENGTH, "{path}");
    }
}

#[test]
fn filters_by_content_type_see_the_type_of_the_application() {
    let server = Server::builder_of(TEXT)
        .load(&["filter", "deflate"])
        .config("AddOutputFilterByType DEFLATE text/plain")
        .start();
    let answer = server.send("GET", "/", &[("Accept-Encoding", "gzip")], b"");
    assert_eq!(answer.header("Content-Encoding"), Some("gzip"));
}

#[test]
fn mod_headers_sees_and_changes_the_headers_of_an_application() {
    let server = Server::builder_of(TEXT)
        .load(&["headers"])
        .config(
            "
Header set X-Added yes
Header edit X-From ^(.*)$ \"$1 and httpd\"
Header always set X-Always yes
RequestHeader unset X-Secret",
        )
        .start();
    let answer = server.get("/");
    assert_eq!(answer.header("X-Added"), Some("yes"));
    assert_eq!(answer.header("X-From"), Some("application and httpd"));
    assert_eq!(answer.header("X-Always"), Some("yes"));
}

#[test]
fn a_range_of_an_answer_in_one_piece_is_httpds_to_cut() {
    let server = Server::of(TEXT);
    let answer = server.send("GET", "/", &[("Range", "bytes=0-7")], b"");
    match answer.status {
        206 => assert_eq!(
            (answer.text(), answer.header("Content-Range")),
            ("the same", Some("bytes 0-7/30000"))
        ),
        200 => assert_eq!(answer.body.len(), LENGTH),
        other => panic!("{other}"),
    }
    assert!(answer.complete);
}

#[test]
fn content_filters_may_change_the_length_of_an_answer() {
    let server = Server::builder_of(TEXT)
        .load(&["filter", "substitute"])
        .config("AddOutputFilterByType SUBSTITUTE text/plain\nSubstitute s/again/once/")
        .start();
    let mut connection = server.connect();
    for path in ["/", "/parts"] {
        connection.send(request("GET", path, &[], b""));
        let answer = connection.receive();
        assert!(answer.complete, "{path}");
        assert_eq!(answer.body.len(), LENGTH - 2000, "{path}");
        assert_ne!(answer.framing, Framing::Length(LENGTH as u64), "{path}");
    }
}

#[test]
fn a_cut_answer_is_cut_through_filters_too() {
    let server = Server::builder_of(
        "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'beginning' * 100
    raise ValueError('on purpose')
",
    )
    .load(&["filter", "deflate", "headers"])
    .config("SetOutputFilter DEFLATE")
    .start();
    for encoding in ["gzip", "identity"] {
        let mut connection = server.connect();
        connection.send(request("GET", "/", &[("Accept-Encoding", encoding)], b""));
        connection.try_send(&request("GET", "/", &[], b"")).unwrap();
        let answer = connection.receive();
        assert!(!answer.complete, "{encoding}: the client takes it for whole");
        assert!(connection.rest().is_empty(), "{encoding}");
    }
}

#[test]
fn a_status_page_for_errors_can_be_an_application() {
    let server = Server::builder()
        .app("page.wsgi", "
def application(environ, start_response):
    start_response(environ.get('REDIRECT_STATUS', '200') + ' Mine', [])
    return [b'page for ', environ['REDIRECT_URL'].encode()]
")
        .app("broken.wsgi", "raise ValueError('on purpose')")
        .config("WSGIScriptAlias /page @apps@/page.wsgi\nWSGIScriptAlias /broken @apps@/broken.wsgi\nErrorDocument 500 /page")
        .start();
    let answer = server.get("/broken");
    assert_eq!((answer.status, answer.text()), (500, "page for /broken"));
}

/// A server that speaks HTTP/2: with TLS, and in the clear to who knows beforehand.
fn http2(tls: bool) -> Builder {
    let builder = Server::builder_of("
import hashlib
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/digest':
        digest = hashlib.sha256()
        size = 0
        while block := environ['wsgi.input'].read(65536):
            digest.update(block)
            size += len(block)
        start_response('200 OK', [('X-Protocol', environ['SERVER_PROTOCOL'])])
        return [f'{size}'.encode()]
    if path == '/cut':
        start_response('200 OK', [('Content-Length', '1000')])
        return iter([b'beginning'])
    if path == '/raise':
        return raising(start_response)
    start_response('200 OK', [('X-Protocol', environ['SERVER_PROTOCOL']), ('X-Scheme', environ['wsgi.url_scheme'])])
    return [b'hello ', environ['HTTP_HOST'].encode()]
def raising(start_response):
    start_response('200 OK', [])
    yield b'beginning'
    raise ValueError('on purpose')
")
    .load(&["http2"])
    .config("Protocols h2 h2c http/1.1");
    if tls { builder.tls() } else { builder }
}

#[test]
fn http_2_serves_with_tls_and_in_the_clear() {
    for tls in [true, false] {
        let server = http2(tls).start();
        let flag = if tls { "--http2" } else { "--http2-prior-knowledge" };
        let asked = server.curl(&[flag, "--include"], "/");
        let said = String::from_utf8(asked.stdout).unwrap();
        assert!(said.starts_with("HTTP/2 200"), "{said}");
        assert!(said.contains("x-protocol: HTTP/2.0"), "{said}");
        assert!(said.contains(if tls { "x-scheme: https" } else { "x-scheme: http" }), "{said}");
        assert!(said.ends_with(&format!("hello localhost:{}", server.port)), "{said}");
    }
}

#[test]
fn http_2_takes_large_bodies() {
    let server = http2(true).file("docs/large", vec![b'x'; 3_000_000]).start();
    let file = format!("@{}/docs/large", server.root().display());
    let sent = server.curl(&["--http2", "--data-binary", &file], "/digest");
    assert_eq!(String::from_utf8_lossy(&sent.stdout), "3000000");
}

#[test]
fn a_cut_answer_resets_its_stream_in_http_2_and_leaves_the_others() {
    let server = http2(false).start();
    for path in ["/cut", "/raise"] {
        let asked = server.curl(&["--http2-prior-knowledge"], path);
        assert!(b"beginning".starts_with(&asked.stdout), "{path}");
        assert!(!asked.status.success(), "{path}: the client takes it for whole");
    }
    assert!(server.curl(&["--http2-prior-knowledge"], "/").status.success());
}

#[test]
fn http_2_serves_many_streams_of_one_connection() {
    let server = http2(false).start();
    let asked = std::process::Command::new("h2load")
        .args(["--requests=2000", "--clients=2", "--max-concurrent-streams=20"])
        .arg(format!("http://127.0.0.1:{}/", server.port))
        .output()
        .expect("h2load runs");
    let said = String::from_utf8_lossy(&asked.stdout);
    assert!(said.contains("2000 succeeded, 0 failed"), "{said}");
    assert!(said.contains("status codes: 2000 2xx"), "{said}");
}
