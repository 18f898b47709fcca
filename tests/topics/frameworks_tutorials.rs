//! The applications by which WSGI is taught, middleware around them, and the standard library's own referee.

use crate::harness::{Framing, Server, quote, request};
use serde_json::json;

fn tutorial(name: &str) -> Server {
    Server::builder()
        .tree("tutorials", "apps")
        .config(&format!("WSGIScriptAlias / @apps@/{name}.wsgi\nWSGIChunkedRequest On"))
        .start()
}

#[test]
fn a_function_is_an_application() {
    let server = tutorial("function");
    for _ in 0..3 {
        let answer = server.get("/");
        assert_eq!((answer.status, answer.text()), (200, "Hello world!\n"));
        assert_eq!(answer.header("Content-Type"), Some("text/plain"));
    }
}

#[test]
fn a_class_is_an_application_whose_instances_are_iterated() {
    let server = tutorial("class");
    for _ in 0..3 {
        let answer = server.get("/");
        assert_eq!((answer.status, answer.text()), (200, "Hello world!\n"));
    }
}

#[test]
fn an_instance_is_an_application_that_stays_the_same() {
    let server = tutorial("instance");
    for call in 1..=5 {
        assert_eq!(server.get("/").text(), format!("call {call}\n"));
    }
}

/// Middleware at `/`, and at the second port a server that says what it was asked.
fn middleware() -> Server {
    Server::builder()
        .tree("tutorials", "apps")
        .app(
            "behind.wsgi",
            "
def application(environ, start_response):
    method, path = environ['REQUEST_METHOD'], environ['PATH_INFO']
    body = environ['wsgi.input'].read()
    line = f'{method} {path}?{environ[\"QUERY_STRING\"]} {environ.get(\"HTTP_X_OWN\")} '.encode('latin-1')
    start_response('203 Told', [('Content-Type', 'text/plain'), ('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2')])
    return [line, body]
",
        )
        .config("Listen 127.0.0.1:@port2@\nWSGIScriptAlias / @apps@/middleware.wsgi")
        .config("<VirtualHost 127.0.0.1:@port2@>\nWSGIScriptAlias / @apps@/behind.wsgi\n</VirtualHost>")
        .start()
}

#[test]
fn middleware_routes_by_shifting_the_path() {
    let server = middleware();
    assert_eq!(server.get("/where/a/b").text(), "/where|/a/b");
    assert_eq!(server.get("/where").text(), "/where|");
    assert_eq!(server.get("/deeper/where/x").text(), "/deeper/where|/x");
    let name = quote("ü/世");
    assert_eq!(server.get(&format!("/where/{name}")).text(), "/where|/ü/世");
    assert_eq!(server.get("/nowhere").status, 404);
}

#[test]
fn middleware_forwards_to_another_server() {
    let server = middleware();
    let path = format!("/forward/{}?q=%20x", quote("für"));
    let headers = [("X-Own", "mine"), ("Content-Type", "text/plain")];
    let answer = server.send("PUT", &path, &headers, b"the body");
    assert_eq!((answer.status, answer.reason.as_str()), (203, "Told"));
    assert_eq!(answer.text(), "PUT /für?q=%20x mine the body");
    assert_eq!(answer.all("Set-Cookie"), ["a=1", "b=2"]);
    let big = vec![b'b'; 2 << 20];
    let answer = server.send("POST", "/forward/big", &[], &big);
    assert!(answer.complete && answer.body.ends_with(&big), "{} bytes", answer.body.len());
    let answer = server.get("/capitals/small");
    assert_eq!(answer.text(), "GET /SMALL? NONE ", "forwarded, then rewritten");
}

#[test]
fn middleware_rewrites_what_is_written_and_what_is_returned() {
    let server = middleware();
    let answer = server.get("/plain");
    assert_eq!(answer.text(), "WRITTEN\nPIECE\n");
    assert_eq!(answer.header("X-Rewritten"), Some("yes"));
    assert_eq!(answer.framing, Framing::Chunked, "the length was taken away");
    assert_eq!(server.get("/closed").text(), "1", "close() reached the innermost iterable");
    let answer = server.get("/binary");
    assert_eq!((answer.text(), answer.framing), ("lower", Framing::Length(5)));
}

/// The validator objects by an AssertionError, or from `__del__` with a line on stderr.
#[track_caller]
fn without_objection(server: Server) {
    let log = server.stop().error_log;
    for objection in ["AssertionError", "without being closed", "WSGIWarning", "Traceback"] {
        assert!(!log.contains(objection), "the validator objects:\n{log}");
    }
}

#[test]
fn the_validator_has_no_objection_to_any_method_or_way_to_read() {
    let server = tutorial("validated");
    let body = "one\ntwo\n".repeat(700);
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for (how, sent) in
            [("size", ""), ("size", &body), ("line", &body), ("lines", &body), ("each", &body)]
        {
            let headers = [("X-Read", how), ("Content-Type", "text/plain")];
            let answer = server.send(method, "/any?q=1", &headers, sent.as_bytes());
            assert_eq!(answer.json(), json!({"method": method, "body": sent}), "{method} {how}");
        }
    }
    let head = server.send("HEAD", "/any", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    without_objection(server);
}

#[test]
fn the_validator_has_no_objection_to_chunks_and_to_every_kind_of_answer() {
    let server = tutorial("validated");
    let chunked = b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n";
    let mut connection = server.connect();
    for path in ["/pieces", "/any"] {
        let headers = [("Transfer-Encoding", "chunked")];
        connection.send(request("POST", path, &headers, chunked));
        let told = connection.receive().json();
        assert_eq!(told, json!({"method": "POST", "body": "hello, world"}), "{path}");
    }
    drop(connection);
    assert_eq!(server.get("/nothing").status, 204);
    assert_eq!(server.get("/write").text(), "written, returned");
    let replaced = server.get("/replaced");
    assert_eq!((replaced.status, replaced.text()), (500, "replaced"));
    server.await_log("POST /pieces");
    server.await_log("one line");
    without_objection(server);
}
