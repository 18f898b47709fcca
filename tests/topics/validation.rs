//! The referee of Python's own library, `wsgiref.validate`, finds nothing to complain of on the server's side.

use crate::harness::{Framing, Server, request};

#[test]
fn the_validator_of_wsgiref_agrees_with_everything() {
    let server = Server::builder_of(
        "
from wsgiref.validate import validator

def plain(environ, start_response):
    stream = environ['wsgi.input']
    how = environ['QUERY_STRING']
    if how == 'lines':
        body = b''.join(stream)
    elif how == 'readlines':
        body = b''.join(stream.readlines())
    elif how == 'readline':
        body = b''.join(iter(stream.readline, b''))
    elif how == 'hint':
        body = b''.join(stream.readlines(10)) + stream.readline(5)
    else:
        body = b''.join(iter(lambda: stream.read(7), b''))
    environ['wsgi.errors'].write('validated\\n')
    environ['wsgi.errors'].writelines(['and', ' more\\n'])
    environ['wsgi.errors'].flush()
    if how == 'nothing':
        start_response('204 No Content', [])
        return []
    write = start_response('200 OK', [('Content-Type', 'text/plain; charset=utf-8')])
    if how == 'write':
        write(b'written ')
    return [environ['REQUEST_METHOD'].encode(), b' ', body]

application = validator(plain)
",
    )
    .config("WSGIChunkedRequest On")
    .start();
    let body = "one line\nand another\n\nlast";
    let mut connection = server.connect();
    for how in ["", "lines", "readlines", "readline", "hint", "write"] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            for chunked in [false, true] {
                let sent = if method == "GET" { "" } else { body };
                let target = format!("/some%20path/%C3%BC?{how}");
                let bytes = if chunked && method != "GET" {
                    let chunk = format!("{:x}\r\n{sent}\r\n0\r\n\r\n", sent.len());
                    request(method, &target, &[("Transfer-Encoding", "chunked")], chunk.as_bytes())
                } else {
                    request(method, &target, &[("Content-Type", "text/plain")], sent.as_bytes())
                };
                connection.send(bytes);
                let answer = connection.receive();
                let read = if how == "hint" { &sent[..sent.len().min(22)] } else { sent };
                let before = if how == "write" { "written " } else { "" };
                assert_eq!(
                    answer.status,
                    200,
                    "{method} {how} chunked={chunked}\n{}",
                    server.error_log()
                );
                assert_eq!(
                    answer.text(),
                    format!("{before}{method} {read}"),
                    "{method} {how} chunked={chunked}"
                );
            }
        }
        connection.send(request("HEAD", &format!("/?{how}"), &[], b""));
        assert_eq!(connection.receive_for("HEAD").status, 200);
    }
    connection.send(request("GET", "/?nothing", &[], b""));
    assert_eq!(connection.receive().framing, Framing::None);
    assert!(!server.error_log().contains("AssertionError"));
}
