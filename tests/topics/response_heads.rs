//! Status and headers of an answer, as they reach the client.

use super::{probe, prober};
use crate::harness::{Server, request};

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
    .embedded()
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
