//! `wsgi.file_wrapper`: files that go out without passing through Python.

use super::probe;
use crate::harness::{Framing, Response, Server, request, wait_for};

/// A server whose probe finds the path of a file in `FILE`: ten lines of ten bytes.
fn server() -> Server {
    builder().start()
}

fn builder() -> crate::harness::Builder {
    let source = format!("FILE = '@docs@/ten'\n{}", include_str!("../apps/probe.wsgi"));
    let lines: String = (0..10).map(|n| format!("line {n:04}\n")).collect();
    Server::builder_of(&source).file("docs/ten", lines)
}

const TEN: u64 = 100;

/// The answer of an application that opens `FILE` as `file`, runs `python`, and wraps it.
#[track_caller]
fn wrapped(server: &Server, headers: &str, python: &str) -> Response {
    probe(
        server,
        &format!(
            "
def app(environ, start_response):
    file = open(FILE, 'rb')
    write = start_response('200 OK', {headers})
    {python}
    return environ['wsgi.file_wrapper'](file)
"
        ),
    )
}

#[test]
fn a_file_is_sent_whole_with_its_length() {
    let server = server();
    let answer = wrapped(&server, "[]", "pass");
    assert_eq!((answer.status, answer.framing), (200, Framing::Length(TEN)));
    assert!(answer.text().starts_with("line 0000\n") && answer.text().ends_with("line 0009\n"));
    assert!(answer.complete);
}

#[test]
fn a_file_never_passes_through_python() {
    let server = server();
    let answer = probe(
        &server,
        "
class Watched:
    def __init__(self): self.file = open(FILE, 'rb')
    def fileno(self): return self.file.fileno()
    def tell(self): return self.file.tell()
    def read(self, size=-1): raise SystemError('read was called')
    def close(self): self.file.close()
def app(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](Watched())
",
    );
    assert_eq!((answer.framing, answer.body.len()), (Framing::Length(TEN), 100));
}

#[test]
fn sending_begins_where_the_file_stands() {
    let server = server();
    let answer = wrapped(&server, "[]", "file.readline()");
    assert_eq!(answer.framing, Framing::Length(TEN - 10), "although Python has read ahead");
    assert!(answer.text().starts_with("line 0001\n"));
    let answer = wrapped(&server, "[]", "file.seek(95)");
    assert_eq!((answer.framing, answer.text()), (Framing::Length(5), "0009\n"));
    let at_end = wrapped(&server, "[]", "file.seek(0, 2)");
    assert_eq!((at_end.framing, at_end.complete), (Framing::Length(0), true));
    let beyond = wrapped(&server, "[]", "file.seek(1000)");
    assert_eq!((beyond.status, beyond.framing), (200, Framing::Length(0)));
}

#[test]
fn a_content_length_says_how_much_is_sent() {
    let server = server();
    let part = wrapped(&server, "[('Content-Length', '15')]", "file.seek(5)");
    assert_eq!((part.framing, part.text()), (Framing::Length(15), "0000\nline 0001\n"));
    let nothing = wrapped(&server, "[('Content-Length', '0')]", "pass");
    assert_eq!((nothing.framing, nothing.complete), (Framing::Length(0), true));
    let all = wrapped(&server, "[('Content-Length', '100')]", "pass");
    assert!(all.complete && all.body.len() == 100);
}

#[test]
fn a_content_length_beyond_the_file_is_never_filled_up() {
    for packed in [false, true] {
        let mut builder = builder();
        if packed {
            builder = builder.load(&["filter", "deflate"]).config("SetOutputFilter DEFLATE");
        }
        let server = builder.start();
        let mut connection = server.connect();
        let mut both = request(
            "POST",
            "/",
            &[("Accept-Encoding", "gzip")],
            b"
def app(environ, start_response):
    start_response('200 OK', [('Content-Length', '9000'), ('Content-Type', 'text/plain')])
    return environ['wsgi.file_wrapper'](open(FILE, 'rb'))
",
        );
        both.extend(request(
            "POST",
            "/",
            &[],
            b"def app(e, s): s('200 OK', []); return [b'second']",
        ));
        connection.send(both);
        let answer = connection.receive();
        if answer.status == 200 {
            assert!(!answer.complete, "the client takes it for whole");
            assert!(answer.body.len() <= 100, "{} bytes", answer.body.len());
            assert!(connection.rest().is_empty());
        } else {
            assert_eq!(answer.status, 500);
        }
    }
}

#[test]
fn a_large_file_is_sent_in_pieces_nobody_sees() {
    let server = server();
    let size: u64 = (1 << 30) + 12_345;
    let before = server.resident();
    let mut connection = server.connect();
    connection.send(request(
        "POST",
        "/",
        &[("Connection", "close")],
        format!(
            "
import tempfile
def app(environ, start_response):
    file = tempfile.TemporaryFile()
    file.truncate({size})
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](file)
"
        )
        .as_bytes(),
    ));
    assert_eq!(connection.receive_head("POST").framing, Framing::Length(size));
    assert_eq!(connection.count_rest(), size);
    // httpd may have a piece of the file mapped for a moment longer.
    wait_for("it is not held in memory", || (server.resident() < before + 65_536).then_some(()));
}

#[test]
fn the_descriptor_stands_where_it_stood() {
    let server = server();
    probe(
        &server,
        "
def app(environ, start_response):
    file = remembered['file'] = open(FILE, 'rb', buffering=0)
    file.seek(30)
    start_response('200 OK', [])
    class Kept:
        fileno, tell, read = file.fileno, file.tell, file.read
    return environ['wsgi.file_wrapper'](Kept())
",
    );
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    with remembered.pop('file') as file:
        return say(start_response, [file.closed, os.lseek(file.fileno(), 0, 1)])
",
    );
    assert_eq!(answer.json(), serde_json::json!([false, 30]));
}

#[test]
fn the_file_is_closed_after_it_was_sent() {
    let server = server();
    for how in ["return wrapper", "return iter(wrapper)"] {
        probe(
            &server,
            &format!(
                "
def app(environ, start_response):
    start_response('200 OK', [])
    file = remembered['file'] = open(FILE, 'rb')
    wrapper = environ['wsgi.file_wrapper'](file)
    {how}
"
            ),
        );
        // The client has the answer a moment before.
        wait_for("the end of the file", || {
            let closed = probe(
                &server,
                "
def app(environ, start_response):
    return say(start_response, remembered['file'].closed)
",
            );
            (closed.json() == true).then_some(())
        });
    }
}

#[test]
fn what_has_no_file_behind_it_is_read() {
    let server = server();
    for filelike in [
        "io.BytesIO(b'in memory')",
        "type('Reader', (), {'data': [b'in ', b'memory'], 'read': lambda self, size: self.data.pop(0) if self.data else b''})()",
        "type('Reader', (io.BytesIO,), {'fileno': lambda self: 'nonsense'})(b'in memory')",
        "type('Reader', (io.BytesIO,), {'fileno': lambda self: -1})(b'in memory')",
        "type('Reader', (io.BytesIO,), {'fileno': lambda self: 9999})(b'in memory')",
    ] {
        let answer = probe(
            &server,
            &format!(
                "
def app(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper']({filelike})
"
            ),
        );
        assert_eq!((answer.status, answer.text()), (200, "in memory"), "{filelike}");
        assert!(answer.complete);
    }
}

#[test]
fn a_pipe_is_read() {
    let server = server();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    reader, writer = os.pipe()
    os.write(writer, b'through a pipe')
    os.close(writer)
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](open(reader, 'rb'))
",
    );
    assert_eq!((answer.text(), answer.complete), ("through a pipe", true));
}

#[test]
fn a_file_whose_position_is_unknown_is_read() {
    let server = server();
    for tell in ["1/0", "'text'", "None", "-5"] {
        let answer = probe(
            &server,
            &format!(
                "
class Odd:
    def __init__(self): self.file = open(FILE, 'rb')
    def fileno(self): return self.file.fileno()
    def tell(self): return {tell}
    def read(self, size): return self.file.read(size)[:size]
    def close(self): self.file.close()
def app(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](Odd())
"
            ),
        );
        assert_eq!((answer.status, answer.body.len()), (200, 100), "tell() gives {tell}");
    }
}

#[test]
fn data_written_before_comes_before() {
    let server = server();
    let answer = wrapped(&server, "[]", "write(b'first ')");
    assert!(answer.text().starts_with("first line 0000\n") && answer.body.len() == 106);
    assert!(answer.complete);
    let counted = wrapped(&server, "[('Content-Length', '106')]", "write(b'first ')");
    assert!(counted.complete && counted.body.len() == 106);
    let nothing = wrapped(&server, "[]", "write(b'')");
    assert!(nothing.complete && nothing.body.len() == 100);
}

#[test]
fn middleware_may_wrap_the_wrapper() {
    let server = server();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    start_response('200 OK', [])
    wrapper = environ['wsgi.file_wrapper'](open(FILE, 'rb'), 7)
    return (block.upper() for block in wrapper)
",
    );
    assert!(answer.text().starts_with("LINE 0000\n") && answer.body.len() == 100);
}

#[test]
fn a_subclass_is_a_wrapper_too() {
    let server = server();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    start_response('200 OK', [])
    class Mine(environ['wsgi.file_wrapper']):
        pass
    return Mine(open(FILE, 'rb'))
",
    );
    assert_eq!((answer.framing, answer.body.len()), (Framing::Length(TEN), 100));
}

#[test]
fn a_text_file_in_memory_is_refused() {
    let server = server();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](io.StringIO('text'))
",
    );
    assert_eq!(answer.status, 500);
    server.await_log("TypeError");
}

#[test]
fn without_start_response_there_is_no_answer() {
    let server = server();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    return environ['wsgi.file_wrapper'](open(FILE, 'rb'))
",
    );
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("line 0000"));
}

#[test]
fn the_answer_to_head_tells_the_length_alone() {
    let server = Server::builder_of(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](open('@docs@/file', 'rb'))
",
    )
    .file("docs/file", "x".repeat(1000))
    .start();
    let mut connection = server.connect();
    for _ in 0..2 {
        connection.send(request("HEAD", "/", &[], b""));
        let answer = connection.receive_for("HEAD");
        assert_eq!((answer.status, answer.header("Content-Length")), (200, Some("1000")));
    }
}

#[test]
fn a_range_of_a_file_is_sent_where_it_is_asked_for() {
    let server = Server::builder_of(
        "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return environ['wsgi.file_wrapper'](open('@docs@/file', 'rb'))
",
    )
    .file("docs/file", (0..10).map(|n| format!("line {n:04}\n")).collect::<String>())
    .start();
    let answer = server.send("GET", "/", &[("Range", "bytes=10-19")], b"");
    assert_eq!((answer.status, answer.text()), (206, "line 0001\n"));
    assert_eq!(answer.header("Content-Range"), Some("bytes 10-19/100"));
}

#[test]
fn the_contents_are_the_same_however_httpd_sends_them() {
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
    for settings in [
        "WSGIEnableSendfile On\nEnableSendfile On",
        "WSGIEnableSendfile Off\nEnableMMAP Off",
        "EnableMMAP On",
    ] {
        let server = Server::builder_of(
            "
def application(environ, start_response):
    file = open('@docs@/file', 'rb')
    file.seek(int(environ['QUERY_STRING'] or 0))
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](file)
",
        )
        .file("docs/file", &content)
        .config(settings)
        .start();
        let mut connection = server.connect();
        for start in [0, 1, 4096, 2_999_999] {
            connection.send(request("GET", &format!("/?{start}"), &[], b""));
            assert!(connection.receive().body == content[start..], "{settings} from {start}");
        }
    }
}

#[test]
fn the_wrapper_itself_behaves_as_specified() {
    let server = server();
    let answer = probe(&server, "
import mod_wsgi
def app(environ, start_response):
    wrapper = environ['wsgi.file_wrapper']
    assert wrapper is mod_wsgi.FileWrapper
    data = io.BytesIO(b'x' * 20000)
    one = wrapper(data)
    assert one.filelike is data and one.blksize == 8192
    assert iter(one) is one
    assert [len(block) for block in one] == [8192, 8192, 3616]
    assert wrapper(filelike=io.BytesIO(), blksize=5).blksize == 5
    results = [
        attempt(setattr, one, 'blksize', 1), attempt(setattr, one, 'filelike', None),
        attempt(wrapper, data, -1), attempt(wrapper, data, 'x'), attempt(wrapper), attempt(wrapper, data, 1, 2),
        attempt(next, wrapper(object())), attempt(next, wrapper(io.StringIO('text'))),
    ]
    assert one.close() is None and data.closed
    one.close()
    results += [attempt(next, one), attempt(lambda: one.filelike)]
    class Stubborn(io.BytesIO):
        def close(self): raise KeyError('swallowed')
    wrapper(Stubborn()).close()
    wrapper(object()).close()
    return say(start_response, [result.partition(':')[0] for result in results])
");
    let expected = [
        "AttributeError",
        "AttributeError",
        "ValueError",
        "TypeError",
        "TypeError",
        "TypeError",
        "AttributeError",
        "TypeError",
        "ValueError",
        "ValueError",
    ];
    assert_eq!(answer.json(), serde_json::json!(expected));
}

#[test]
fn a_file_that_was_closed_before_is_an_error_of_the_application() {
    let server = server();
    let answer = wrapped(&server, "[]", "file.close()");
    assert_eq!(answer.status, 500);
    server.await_log("ValueError");
}

#[test]
fn a_subclass_that_iterates_in_its_own_way_is_iterated() {
    let server = Server::of(
        "
import mod_wsgi
class Loud(mod_wsgi.FileWrapper):
    def __next__(self):
        return super().__next__().upper()

def application(environ, start_response):
    start_response('200 OK', [])
    return Loud(open(__file__, 'rb'))
",
    );
    let answer = server.get("/");
    assert!(answer.text().contains("CLASS LOUD"), "{}", answer.text());
}
