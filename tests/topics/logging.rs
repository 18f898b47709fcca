//! What an application writes to its streams, and what of it arrives in the error log: whole lines, each with its request.

use super::{probe, prober};
use crate::harness::{Server, request, wait_for};

/// A server whose log lines are nothing but level, request id and message.
fn bare() -> crate::harness::Builder {
    Server::builder_of(include_str!("../apps/probe.wsgi")).config("ErrorLogFormat \"%l|%L|%M\"")
}

/// The messages of the log that hold this text, without level, request and script.
fn messages(server: &Server, text: &str) -> Vec<String> {
    let tag = format!("[script {}/apps/app.wsgi] ", server.root().display());
    server
        .error_log()
        .lines()
        .filter_map(|line| line.splitn(3, '|').nth(2))
        .map(|message| message.strip_prefix(&tag).unwrap_or(message))
        .filter(|message| message.contains(text))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_stream_arrives_with_script_client_and_request_id() {
    let server = bare().config("ErrorLogFormat \"%l|%L|%a|%M\"").start();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    print('one to stdout')
    print('two to stderr', file=sys.stderr)
    print('three to errors', file=environ['wsgi.errors'])
    return say(start_response, environ['mod_wsgi.request_id'])
",
    );
    let id = answer.json().as_str().unwrap().to_owned();
    let script = format!("[script {}/apps/app.wsgi] ", server.root().display());
    for text in ["one to stdout", "two to stderr", "three to errors"] {
        let line = server.await_log(text);
        let fields: Vec<&str> = line.splitn(4, '|').collect();
        assert_eq!((fields[0], fields[1]), ("error", id.as_str()), "{line}");
        assert!(fields[2].starts_with("127.0.0.1:"), "{line}");
        assert_eq!(fields[3], format!("{script}{text}"));
    }
}

#[test]
fn the_streams_are_text_streams_with_the_names_of_the_specification() {
    let server = prober();
    let answer = probe(&server, "
def app(environ, start_response):
    facts = []
    for stream in (environ['wsgi.errors'], sys.stderr, sys.stdout):
        facts.append([type(stream).__name__, stream.name, stream.encoding, stream.errors, stream.line_buffering, stream.write_through, stream.isatty()])
    return say(start_response, facts)
");
    let fact = |name: &str| {
        serde_json::json!(["TextIOWrapper", name, "utf-8", "replace", true, true, false])
    };
    assert_eq!(
        answer.json(),
        serde_json::json!([fact("<wsgi.errors>"), fact("<stderr>"), fact("<stdout>")])
    );
}

#[test]
fn the_binary_layer_behaves_as_specified() {
    let server = prober();
    let answer = probe(&server, "
import array
def app(environ, start_response):
    raw = environ['wsgi.errors'].buffer
    results = [attempt(raw.write, value) for value in (b'1', bytearray(b'2'), memoryview(b'3'), array.array('b', b'4'))]
    results += [attempt(raw.writelines, [b'5', b'6']), attempt(raw.flush)]
    results += [attempt(getattr(raw, name)) for name in ('isatty', 'readable', 'seekable', 'writable')]
    results += [attempt(raw.write, 5).partition(':')[0], attempt(raw.writelines, 5).partition(':')[0], attempt(raw.fileno).partition(':')[0]]
    results += [raw.encoding, raw.errors, raw.name]
    results += [attempt(environ['wsgi.errors'].write, b'bytes').partition(':')[0]]
    return say(start_response, results)
");
    let none = "None";
    let expected = [
        none,
        none,
        none,
        none,
        none,
        none,
        "False",
        "False",
        "False",
        "True",
        "TypeError",
        "TypeError",
        "OSError",
        "utf-8",
        "replace",
        "<wsgi.errors>",
        "TypeError",
    ];
    let results = answer.json();
    for (result, expected) in results.as_array().unwrap().iter().zip(expected) {
        // `fileno` may raise a subclass of OSError.
        assert!(
            result == expected || (expected == "OSError" && result == "UnsupportedOperation"),
            "{results}"
        );
    }
    server.await_log("123456");
}

#[test]
fn lines_are_records_and_records_are_lines() {
    let server = bare().start();
    probe(
        &server,
        "
def app(environ, start_response):
    errors = environ['wsgi.errors']
    errors.write('L1 first half')
    errors.write(' and second half\\nL2 whole\\n')
    errors.write('L3 beginning')
    errors.write(' L3 end\\n')
    errors.write('L4 flushed')
    errors.flush()
    errors.write('L5 on its own\\n')
    errors.writelines(['L6 a ', 'L6 b\\n'])
    sys.stdout.write('L7 stdout, ')
    sys.stderr.write('stderr, ')
    errors.write('errors\\n')
    print('L8', 'in', 'pieces', sep=' - ')
    errors.write('L9 not ended')
    return say(start_response, None)
",
    );
    let written = wait_for("all lines", || {
        Some(messages(&server, "L")).filter(|all| all.iter().any(|l| l.contains("L9")))
    });
    let lines: Vec<&str> = written
        .iter()
        .map(String::as_str)
        .filter(|line| line.starts_with('L') && !line.starts_with("Lo"))
        .collect();
    assert_eq!(
        lines,
        [
            "L1 first half and second half",
            "L2 whole",
            "L3 beginning L3 end",
            "L4 flushed",
            "L5 on its own",
            "L6 a L6 b",
            "L7 stdout, stderr, errors",
            "L8 - in - pieces",
            "L9 not ended",
        ]
    );
}

#[test]
fn odd_characters_neither_cut_a_line_nor_forge_one() {
    let server = bare().start();
    probe(
        &server,
        "
def app(environ, start_response):
    print('odd: nul \\0 after nul')
    print('odd: %s %n %d %100000s percent')
    print('odd: caf\\xe9 \\u20ac')
    print('odd: surrogate \\udcff here')
    print('odd: return \\r[forged] \\x1b[31m red')
    return say(start_response, None)
",
    );
    server.await_log("[31m red");
    let lines = messages(&server, "odd: ");
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[0].starts_with("odd: nul ") && lines[0].ends_with(" after nul"), "{}", lines[0]);
    assert_eq!(lines[1], "odd: %s %n %d %100000s percent");
    assert_eq!(lines[2], "odd: caf\\xc3\\xa9 \\xe2\\x82\\xac");
    assert_eq!(lines[3], "odd: surrogate ? here");
    assert!(!lines[4].contains('\r') && !lines[4].contains('\x1b'), "{:?}", lines[4]);
}

#[test]
fn a_very_long_line_spoils_nothing() {
    let server = bare().start();
    probe(
        &server,
        "
def app(environ, start_response):
    print('long ' + 'x' * 1000000)
    print('the line after it')
    return say(start_response, None)
",
    );
    server.await_log("the line after it");
    assert!(messages(&server, "xxx")[0].starts_with("long xxx"));
    let kept: usize = messages(&server, "xxx").iter().map(|line| line.matches('x').count()).sum();
    assert!(kept > 7000, "as much of it as httpd takes");
    assert_eq!(messages(&server, "the line after it").len(), 1);
}

#[test]
fn lines_of_threads_are_never_mixed() {
    let server = bare().start();
    probe(&server, "
def talk(name, out):
    for turn in range(100):
        print(f'{name}:{turn}:' + name * 50, file=out)
def app(environ, start_response):
    talkers = [threading.Thread(target=talk, args=(name, environ['wsgi.errors'])) for name in 'ABCD']
    for talker in talkers: talker.start()
    for talker in talkers: talker.join()
    return say(start_response, None)
");
    wait_for("all lines", || (messages(&server, ":99:").len() == 4).then_some(()));
    for name in ["A", "B", "C", "D"] {
        for turn in 0..100 {
            let line = format!("{name}:{turn}:{}", name.repeat(50));
            assert!(messages(&server, &line).contains(&line), "{line} is torn");
        }
    }
}

#[test]
fn a_thread_of_the_application_logs_to_the_server_or_to_the_request_it_was_given() {
    let server = bare().start();
    probe(
        &server,
        "
def talk(errors):
    print('thread to stderr', file=sys.stderr)
    print('thread to errors', file=errors)
def app(environ, start_response):
    talker = threading.Thread(target=talk, args=(environ['wsgi.errors'],))
    talker.start()
    talker.join()
    return say(start_response, None)
",
    );
    let own = server.await_log("thread to stderr");
    assert!(!own.contains("[script "), "{own}");
    let lent = server.await_log("thread to errors");
    assert!(lent.contains("[script "), "{lent}");
}

#[test]
fn a_kept_stream_is_dead_after_its_request() {
    let server = prober();
    probe(
        &server,
        "
def app(environ, start_response):
    remembered['errors'] = environ['wsgi.errors']
    print('while it lives', file=environ['wsgi.errors'])
    return say(start_response, None)
",
    );
    let answer = probe(&server, "
def app(environ, start_response):
    errors = remembered['errors']
    return say(start_response, [attempt(errors.flush), attempt(errors.buffer.write, b'late'), attempt(errors.buffer.writelines, [b'late']), attempt(errors.write, 'late')])
");
    let results = answer.json();
    assert_eq!(results[0], "None");
    for index in 1..4 {
        let text = results[index].as_str().unwrap();
        assert!(text.starts_with("RuntimeError: ") && text.contains("completed"), "{text}");
    }
    assert!(!server.error_log().contains("late"));
}

#[test]
fn an_application_that_closes_its_streams_hurts_nobody() {
    let server = prober();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    environ['wsgi.errors'].close()
    print('printed after the close')
    sys.stderr.buffer.close()
    print('printed after that', file=sys.stderr)
    return say(start_response, 'fine')
",
    );
    assert_eq!(answer.json(), "fine");
    server.await_log("printed after the close");
    server.await_log("printed after that");
    let next = probe(
        &server,
        "
def app(environ, start_response):
    print('in the next request', file=environ['wsgi.errors'])
    return say(start_response, 'fine')
",
    );
    assert_eq!(next.json(), "fine");
    server.await_log("in the next request");
}

#[test]
fn the_logging_of_python_arrives_line_by_line() {
    let server = bare().start();
    probe(
        &server,
        "
import logging
def app(environ, start_response):
    logging.warning('a warning of %s', 'mine')
    logging.getLogger('deep.down').error('two\\nlines')
    return say(start_response, None)
",
    );
    server.await_log("WARNING:root:a warning of mine");
    server.await_log("ERROR:deep.down:two");
    server.await_log("|[script");
    assert!(messages(&server, "lines").contains(&"lines".to_owned()));
}

#[test]
fn the_log_handler_maps_levels_and_respects_the_gate() {
    let server = bare().log_level("notice wsgi:info").start();
    probe(
        &server,
        "
import logging, mod_wsgi
def app(environ, start_response):
    handler = mod_wsgi.LogHandler()
    assert isinstance(handler, logging.Handler)
    logger = logging.Logger('own')
    logger.addHandler(handler)
    for level in (50, 40, 30, 20, 10):
        logger.log(level, 'handled at %d', level)
    return say(start_response, None)
",
    );
    server.await_log("handled at 20");
    for (level, name) in [(50, "crit"), (40, "error"), (30, "warn"), (20, "info")] {
        let line = server.await_log(&format!("handled at {level}"));
        assert!(line.starts_with(&format!("{name}|")) && line.contains("[script "), "{line}");
    }
    assert!(!server.error_log().contains("handled at 10"), "debug is off");
}

#[test]
fn a_virtual_host_has_its_lines_in_its_own_log() {
    let server = Server::builder_of(
        "
print('while loading')
def application(environ, start_response):
    print('for', environ['HTTP_HOST'])
    start_response('200 OK', [])
    return [b'']
",
    )
    .config(
        "
<VirtualHost 127.0.0.1:@port@>
    ServerName first
</VirtualHost>
<VirtualHost 127.0.0.1:@port@>
    ServerName second
    ErrorLog @logs@/second.log
</VirtualHost>",
    )
    .start();
    server.send("GET", "/", &[("Host", "first")], b"");
    server.send("GET", "/", &[("Host", "second")], b"");
    server.await_log("for first");
    let second = std::fs::read_to_string(server.root().join("logs/second.log")).unwrap();
    assert!(second.contains("for second"), "{second}");
    assert!(!server.error_log().contains("for second"));
}

#[test]
fn what_a_script_prints_while_it_is_loaded_arrives() {
    let server = Server::of(
        "
import sys
print('printed while loading')
sys.stderr.write('a partial line')
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'']
",
    );
    server.get("/");
    server.await_log("printed while loading");
}

#[test]
fn every_log_level_serves_in_main_and_sub_interpreters() {
    for level in ["wsgi:emerg", "wsgi:debug", "wsgi:trace1", "trace8"] {
        let server = Server::builder()
            .app(
                "app.wsgi",
                "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'served']
",
            )
            .config(
                "
WSGIScriptAlias /one @apps@/app.wsgi
WSGIScriptAlias /two @apps@/app.wsgi
WSGIScriptAlias /main @apps@/app.wsgi application-group=%{GLOBAL}",
            )
            .log_level(&format!("notice {level}"))
            .start();
        let mut connection = server.connect();
        for _ in 0..5 {
            for path in ["/one", "/two", "/main"] {
                connection.send(request("GET", path, &[], b""));
                assert_eq!(connection.receive().text(), "served", "{level}");
            }
        }
    }
}

#[test]
fn loading_is_told_at_level_info() {
    let server = prober();
    probe(&server, "def app(environ, start_response):\n    return say(start_response, None)");
    let log = server.error_log();
    let told = log
        .lines()
        .any(|line| line.contains("wsgi:info") && line.contains("'") && line.contains("app.wsgi'"));
    assert!(told, "{log}");
}

#[test]
fn what_an_object_logs_while_python_is_finalised_does_not_hang_the_stop() {
    let server = Server::of(
        "
import sys
class Last:
    say = sys.stderr.write
    def __del__(self):
        self.say('the last words\\n')
last = Last()
last.itself = last
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'']
",
    );
    server.get("/");
    let ended = server.stop();
    assert!(ended.error_log.contains("the last words"), "{}", ended.error_log);
    assert!(!ended.error_log.contains("WSGI1008"), "{}", ended.error_log);
}
