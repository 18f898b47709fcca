//! What `start_response` and `write` take, refuse and do.

use super::{probe, prober};
use crate::harness::{Framing, Server, request};

/// What `start_response(…)` comes to with these arguments: `TypeError: …`, or the repr of its result.
#[track_caller]
fn attempt(server: &Server, arguments: &str) -> String {
    let answer = probe(
        server,
        &format!(
            "
def app(environ, start_response):
    return say(start_response, attempt(start_response, {arguments}))
"
        ),
    );
    answer.json().as_str().unwrap().to_owned()
}

#[track_caller]
fn refused(server: &Server, rows: &[(&str, &str)]) {
    for (arguments, exception) in rows {
        let result = attempt(server, arguments);
        assert!(result.starts_with(&format!("{exception}: ")), "({arguments}) gave {result}");
        assert!(result.len() > exception.len() + 4, "({arguments}) says nothing: {result}");
    }
}

#[track_caller]
fn accepted(server: &Server, rows: &[&str]) {
    for arguments in rows {
        let result = attempt(server, arguments);
        assert!(result.starts_with('<'), "({arguments}) gave {result}");
    }
}

#[test]
fn arguments_must_be_as_many_and_of_the_kind_that_pep_3333_says() {
    let server = prober();
    refused(
        &server,
        &[
            ("", "TypeError"),
            ("'200 OK'", "TypeError"),
            ("'200 OK', [], None, None", "TypeError"),
            ("'200 OK', headers=[]", "TypeError"),
            ("status='200 OK', response_headers=[]", "TypeError"),
            ("'200 OK', ()", "TypeError"),
            ("'200 OK', (('A', 'b'),)", "TypeError"),
            ("'200 OK', {'A': 'b'}", "TypeError"),
            ("'200 OK', 'A: b'", "TypeError"),
            ("'200 OK', iter([])", "TypeError"),
            ("'200 OK', None", "TypeError"),
            ("'200 OK', [], 5", "RuntimeError"),
            ("'200 OK', [], [None, None, None]", "RuntimeError"),
            ("'200 OK', [], ValueError()", "RuntimeError"),
        ],
    );
    let named = attempt(&server, "'200 OK', [], 5");
    assert!(named.contains("exc_info"), "{named}");
    accepted(
        &server,
        &[
            "'200 OK', []",
            "'200 OK', type('Headers', (list,), {})([('A', 'b')])",
            "'200 OK', [], None",
            "'200 OK', [], (None, None, None)",
            "'200 OK', [], (ValueError, ValueError('x'), None)",
            "'200 OK', [], ()",
        ],
    );
}

#[test]
fn a_status_line_must_be_three_digits_and_a_printable_reason() {
    let server = prober();
    refused(
        &server,
        &[
            ("b'200 OK', []", "TypeError"),
            ("200, []", "TypeError"),
            ("None, []", "TypeError"),
            ("'200 \\u20ac', []", "UnicodeEncodeError"),
            ("'', []", "ValueError"),
            ("'20', []", "ValueError"),
            ("'20x OK', []", "ValueError"),
            ("' 200 OK', []", "ValueError"),
            ("'2000 OK', []", "ValueError"),
            ("'200OK', []", "ValueError"),
            ("'200-OK', []", "ValueError"),
            ("'OK', []", "ValueError"),
            ("'-20 OK', []", "ValueError"),
            ("'200 O\\nK', []", "ValueError"),
            ("'200 OK\\r\\nX-Evil: 1', []", "ValueError"),
            ("'200 O\\tK', []", "ValueError"),
            ("'200 O\\x7fK', []", "ValueError"),
            ("'200 O\\x00K', []", "ValueError"),
            ("'200\\x00', []", "ValueError"),
            ("'\\u0662\\u0660\\u0660 OK', []", "UnicodeEncodeError"),
        ],
    );
    let shown = attempt(&server, "'200 a\\nb', []");
    assert!(shown.contains("a\\\\nb") || shown.contains("a\\nb"), "{shown}");
    let kind = attempt(&server, "b'200 OK', []");
    assert!(kind.contains("bytes"), "{kind}");
    accepted(
        &server,
        &[
            "'200', []",
            "'200 ', []",
            "'299 Sehr sch\\xf6n', []",
            "'999 x', []",
            "'200 OK: (a) \"b\"', []",
        ],
    );
}

#[test]
fn an_interim_status_is_no_answer() {
    let server = prober();
    refused(
        &server,
        &[
            ("'100 Continue', []", "ValueError"),
            ("'103 Early Hints', []", "ValueError"),
            ("'000 x', []", "ValueError"),
        ],
    );
}

#[test]
fn headers_must_be_pairs_of_strings_that_may_stand_in_a_head() {
    let server = prober();
    let item = |item: &str, exception: &'static str| (format!("'200 OK', [{item}]"), exception);
    let rows: Vec<(String, &str)> = vec![
        item("['A', 'b']", "TypeError"),
        item("'Ab'", "TypeError"),
        item("None", "TypeError"),
        item("()", "ValueError"),
        item("('A',)", "ValueError"),
        item("('A', 'b', 'c')", "ValueError"),
        item("(b'A', 'b')", "TypeError"),
        item("('A', b'b')", "TypeError"),
        item("('A', 5)", "TypeError"),
        item("('A', None)", "TypeError"),
        item("(None, 'b')", "TypeError"),
        item("('A\\u20ac', 'b')", "UnicodeEncodeError"),
        item("('A', '\\u20ac')", "UnicodeEncodeError"),
        item("('', 'b')", "ValueError"),
        item("('A B', 'b')", "ValueError"),
        item("(' A', 'b')", "ValueError"),
        item("('A\\n', 'b')", "ValueError"),
        item("('A\\x00', 'b')", "ValueError"),
        item("('A\\t', 'b')", "ValueError"),
        item("('A:', 'b')", "ValueError"),
        item("('A(', 'b')", "ValueError"),
        item("('A/B', 'b')", "ValueError"),
        item("('A\\xe9', 'b')", "ValueError"),
        item("('A', 'b\\n')", "ValueError"),
        item("('A', 'b\\r\\nX-Evil: 1')", "ValueError"),
        item("('A', 'b\\rc')", "ValueError"),
        item("('A', 'b\\x00c')", "ValueError"),
        item("('A', 'b\\x01c')", "ValueError"),
        item("('A', 'b\\x7fc')", "ValueError"),
        item("('Fine', 'yes'), ('A', 5)", "TypeError"),
    ];
    let rows: Vec<(&str, &str)> = rows.iter().map(|(a, e)| (a.as_str(), *e)).collect();
    refused(&server, &rows);
    accepted(
        &server,
        &[
            "'200 OK', [('A', '')]",
            "'200 OK', [('A', 'caf\\xe9')]",
            "'200 OK', [('A', 'b\\tc')]",
            "'200 OK', [(\"!#$%&'*+-.^_`|~09\", 'b')]",
            "'200 OK', [type('Pair', (tuple,), {})(('A', 'b'))]",
            "'200 OK', [(type('Text', (str,), {})('A'), type('Text', (str,), {})('b'))]",
        ],
    );
}

#[test]
fn a_content_length_is_checked_where_it_is_given() {
    let server = prober();
    let rows = [
        "-5",
        "+5",
        " 5",
        "5 ",
        "",
        "x",
        "5x",
        "0x5",
        "1.0",
        "1e3",
        "\\xb2",
        "9223372036854775808",
        "99999999999999999999",
    ];
    for value in rows {
        refused(&server, &[(&format!("'200 OK', [('Content-Length', '{value}')]"), "ValueError")]);
    }
    refused(
        &server,
        &[("'200 OK', [('Content-Length', '5'), ('content-length', '6')]", "ValueError")],
    );
    accepted(
        &server,
        &[
            "'200 OK', [('Content-Length', '0')]",
            "'200 OK', [('Content-Length', '9223372036854775807')]",
        ],
    );
}

#[test]
fn a_second_call_before_the_first_byte_replaces_the_first() {
    let server = prober();
    for second in ["", ", None", ", (None, None, None)"] {
        let answer = probe(
            &server,
            &format!(
                "
def app(environ, start_response):
    start_response('500 First', [('X-First', '1'), ('Content-Length', '99')])
    start_response('201 Second', [('X-Second', '2')]{second})
    return [b'body']
"
            ),
        );
        assert_eq!((answer.status, answer.reason.as_str()), (201, "Second"));
        assert_eq!(answer.header("X-First"), None);
        assert_eq!(answer.header("X-Second"), Some("2"));
        assert_eq!(answer.text(), "body");
    }
}

#[test]
fn a_call_that_fails_leaves_the_one_before_in_force() {
    let server = prober();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    start_response('201 First', [('X-First', '1')])
    attempt(start_response, '500 Second', [('X-Second', 5)])
    attempt(start_response, 'nonsense', [])
    return [b'body']
",
    );
    assert_eq!((answer.status, answer.header("X-First")), (201, Some("1")));
    assert_eq!(answer.header("X-Second"), None);
}

#[test]
fn a_call_after_the_first_byte_is_an_error_or_raises_what_it_was_given() {
    let server = prober();
    let answer = probe(&server, "
import traceback
def app(environ, start_response):
    start_response('200 OK', [])
    yield b'body '
    yield attempt(start_response, '500 Late', []).encode() + b'|'
    yield attempt(start_response, '500 Late', [], None).encode() + b'|'
    try:
        raise KeyError('the cause')
    except KeyError:
        information = sys.exc_info()
    yield attempt(start_response, '500 Late', [], information).encode() + b'|'
    try:
        start_response('500 Late', [], information)
    except KeyError as raised:
        frames = traceback.extract_tb(raised.__traceback__)
        yield str(any('the cause' in frame.line for frame in frames if frame.line) or len(frames) > 1).encode() + b'|'
    yield attempt(start_response, '500 Late', [], (1, 2)).encode()
");
    assert_eq!(answer.status, 200);
    assert!(answer.complete);
    let text = answer.text();
    let parts: Vec<&str> = text.strip_prefix("body ").unwrap().split('|').collect();
    assert!(parts[0].starts_with("RuntimeError: "), "{text}");
    assert!(parts[1].starts_with("RuntimeError: "), "{text}");
    assert_eq!(parts[2], "KeyError: 'the cause'");
    assert_eq!(parts[3], "True", "the traceback is the one that was given");
    assert!(parts[4].starts_with("TypeError: "), "{text}");
}

#[test]
fn the_error_page_of_an_application_can_replace_what_was_not_sent_yet() {
    let server = prober();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    start_response('200 OK', [('X-Page', 'fine')])
    try:
        raise ValueError('broken')
    except ValueError:
        start_response('503 Broken', [('X-Page', 'error')], sys.exc_info())
    return [b'', b'sorry']
",
    );
    assert_eq!((answer.status, answer.reason.as_str(), answer.text()), (503, "Broken", "sorry"));
    assert_eq!(answer.header("X-Page"), Some("error"));
}

#[test]
fn start_response_and_write_are_dead_after_their_request() {
    let server = prober();
    probe(
        &server,
        "
def app(environ, start_response):
    remembered.update(start=start_response, write=start_response('200 OK', []))
    return [b'kept']
",
    );
    let answer = probe(&server, "
def app(environ, start_response):
    return say(start_response, [attempt(remembered['start'], '200 OK', []), attempt(remembered['write'], b'x'), attempt(remembered['write'], b'')])
");
    for result in answer.json().as_array().unwrap() {
        let text = result.as_str().unwrap();
        assert!(text.starts_with("RuntimeError: ") && text.contains("completed"), "{text}");
    }
}

#[test]
fn write_takes_bytes_and_nothing_else() {
    let server = prober();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    write = start_response('200 OK', [])
    wrong = ['text', bytearray(b'x'), memoryview(b'x'), 5, None, [b'x']]
    results = [attempt(write, value) for value in wrong]
    results += [attempt(write), attempt(write, b'a', b'b'), attempt(write, data=b'x')]
    results += [attempt(write, type('Bytes', (bytes,), {})(b'<sub>')), attempt(write, b'')]
    return [json.dumps(results).encode()]
",
    );
    let text = answer.text().strip_prefix("<sub>").expect("what was written comes first");
    let results: Vec<String> = serde_json::from_str(text).unwrap();
    for result in &results[..9] {
        assert!(result.starts_with("TypeError: "), "{result}");
    }
    for (result, kind) in
        results.iter().zip(["str", "bytearray", "memoryview", "int", "NoneType", "list"])
    {
        assert!(result.contains(kind), "{result} names {kind}");
    }
    assert_eq!(&results[9..], ["None", "None"]);
}

#[test]
fn written_data_comes_before_iterated_data_and_at_once() {
    let server = Server::of(
        "
import threading
go_on = threading.Event()
def application(environ, start_response):
    if environ['PATH_INFO'] == '/go':
        go_on.set()
        start_response('200 OK', [])
        return [b'']
    write = start_response('200 OK', [])
    write(b'one')
    assert go_on.wait(10)
    write(b'two')
    return [b'three', b'', b'four']
",
    );
    let mut connection = server.connect();
    connection.send(request("GET", "/", &[], b""));
    let head = connection.receive_head("GET");
    assert_eq!(head.framing, Framing::Chunked);
    assert_eq!(connection.bytes(8), b"3\r\none\r\n");
    server.get("/go");
    assert_eq!(
        connection.bytes(32),
        b"3\r\ntwo\r\n5\r\nthree\r\n4\r\nfour\r\n0\r\n\r\n"[..32].to_vec()
    );
}

#[test]
fn an_empty_write_sends_the_head() {
    let server = prober();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    write = start_response('201 Early', [])
    write(b'')
    return [attempt(start_response, '500 Late', []).encode()]
",
    );
    assert_eq!(answer.status, 201);
    assert!(answer.text().starts_with("RuntimeError"), "{}", answer.text());
}

#[test]
fn start_response_may_be_called_from_within_the_iteration() {
    let server = prober();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    yield b''
    start_response('202 Late', [('X-Late', 'yes')])
    yield b''
    yield b'body'
",
    );
    assert_eq!((answer.status, answer.header("X-Late"), answer.text()), (202, Some("yes"), "body"));
}

#[test]
fn a_refused_status_may_call_start_response_while_it_is_shown() {
    let server = Server::of(
        "
class Status(str):
    def __repr__(self):
        self.start_response('200 OK', [])
        return 'shown'

def application(environ, start_response):
    status = Status('nonsense')
    status.start_response = start_response
    try:
        start_response(status, [])
    except ValueError as error:
        return [str(error).encode()]
",
    );
    let answer = server.get("/");
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("shown"), "{}", answer.text());
}
