//! Exceptions of an application: what the client gets, what the log says, and that the process goes on.

use super::{probe, prober};
use crate::harness::Server;

#[test]
fn an_exception_before_the_first_byte_is_a_500_without_the_applications_headers() {
    let server = prober();
    for app in [
        "def app(environ, start_response):\n    raise ValueError('on purpose')",
        "def app(environ, start_response):\n    start_response('200 OK', [('Set-Cookie', 'secret=1'), ('Location', '/x')])\n    raise ValueError('on purpose')",
        "def app(environ, start_response):\n    start_response('200 OK', [('Set-Cookie', 'secret=1'), ('Content-Length', '3')])\n    yield b''\n    raise ValueError('on purpose')",
        "def app(environ, start_response):\n    raise ValueError('on purpose')\n    yield b''",
    ] {
        let answer = probe(&server, app);
        assert_eq!(answer.status, 500, "{app}");
        assert!(answer.complete);
        assert!(answer.text().contains("Internal Server Error"), "httpd's own page");
        assert!(!answer.text().contains("on purpose"), "nothing of the cause is shown");
        assert_eq!(answer.header("Set-Cookie"), None);
        assert_eq!(answer.header("Location"), None);
    }
    assert_eq!(server.error_log().matches("ValueError: on purpose").count(), 4);
}

#[test]
fn the_log_has_the_whole_traceback_with_the_script_on_every_line() {
    let server = Server::of(
        "
def outer(value):
    return inner(value)

def inner(value):
    try:
        return {}['missing']
    except KeyError as error:
        raise ValueError('two\\nlines') from error

def application(environ, start_response):
    return outer(1)
",
    );
    assert_eq!(server.get("/").status, 500);
    let script = format!("[script {}/apps/app.wsgi] ", server.root().display());
    let header = server.await_log("WSGI0174");
    assert!(header.contains(&format!("{script}WSGI0174: ")), "{header}");
    assert!(header.contains("ValueError"), "{header}");
    let log = server.error_log();
    for text in [
        "Traceback (most recent call last):",
        "in application",
        "    return outer(1)",
        "in outer",
        "in inner",
        "KeyError: 'missing'",
        "The above exception was the direct cause of the following exception:",
        "ValueError: two",
        "lines",
    ] {
        let line = log
            .lines()
            .find(|line| line.contains(text))
            .unwrap_or_else(|| panic!("{text} is missing:\n{log}"));
        assert!(line.contains(&script), "{line}");
    }
    assert_eq!(log.matches("Traceback").count(), 2, "told once");
}

#[test]
fn system_exit_ends_the_request_and_not_the_process() {
    let server = prober();
    let before = server.way();
    for app in [
        "def app(environ, start_response):\n    raise SystemExit(3)",
        "def app(environ, start_response):\n    sys.exit('leaving')",
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    sys.exit()\n    yield b''",
    ] {
        assert_eq!(probe(&server, app).status, 500, "{app}");
    }
    server.await_log("WSGI0175");
    assert_eq!(server.way(), before);
    assert_eq!(server.error_log().matches("WSGI0175").count(), 3);
}

#[test]
fn odd_exceptions_are_exceptions_too() {
    let server = prober();
    for raised in [
        "KeyboardInterrupt()",
        "GeneratorExit()",
        "StopIteration('odd')",
        "MemoryError()",
        "RecursionError()",
        "type('Odd', (Exception,), {'__str__': lambda self: 1/0})()",
        "type('Odd', (BaseException,), {})('base')",
        "ExceptionGroup('several', [ValueError('one'), TypeError('two')])",
        "UnicodeDecodeError('utf-8', b'\\xff', 0, 1, 'odd')",
        "ValueError('\\udcff \\x00 \\n %s %n')",
    ] {
        let answer =
            probe(&server, &format!("def app(environ, start_response):\n    raise {raised}"));
        assert_eq!(answer.status, 500, "{raised}");
    }
    assert_eq!(
        probe(&server, "def app(environ, start_response):\n    return say(start_response, 1)")
            .json(),
        1
    );
}

#[test]
fn endless_recursion_is_a_500() {
    let server = prober();
    let answer = probe(
        &server,
        "
def deeper(): return deeper()
def app(environ, start_response):
    return deeper()
",
    );
    assert_eq!(answer.status, 500);
    server.await_log("RecursionError");
}

#[test]
fn an_answer_that_was_never_started_is_a_500() {
    let server = prober();
    for iterable in ["[b'payload']", "[]", "iter([])", "[b'']"] {
        let answer =
            probe(&server, &format!("def app(environ, start_response):\n    return {iterable}"));
        assert_eq!(answer.status, 500, "{iterable}");
        assert!(!answer.text().contains("payload"));
    }
    assert!(server.await_log("RuntimeError: ").contains("start_response"));
}

#[test]
fn a_callable_with_the_wrong_arguments_is_a_500() {
    let server = Server::of("def application():\n    pass");
    assert_eq!(server.get("/").status, 500);
    server.await_log("TypeError: application()");
}

#[test]
fn an_exception_does_not_disturb_the_requests_beside_it() {
    let server = Server::of(
        "
def application(environ, start_response):
    if environ['PATH_INFO'] == '/raise':
        raise ValueError('on purpose')
    start_response('200 OK', [])
    return [environ['PATH_INFO'].encode()]
",
    );
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for turn in 0..50 {
                    let path = format!("/{thread}-{turn}");
                    assert_eq!(server.get("/raise").status, 500);
                    assert_eq!(server.get(&path).text(), path);
                }
            });
        }
    });
    assert_eq!(server.error_log().matches("ValueError: on purpose").count(), 200);
}

#[test]
fn an_error_document_replaces_the_page_of_a_failure() {
    let server =
        Server::builder_of("def application(environ, start_response):\n    raise ValueError")
            .config("ErrorDocument 500 \"we are sorry\"")
            .start();
    let answer = server.get("/");
    assert_eq!((answer.status, answer.text()), (500, "we are sorry"));
}

#[test]
fn a_request_in_a_forked_child_of_the_application_does_not_answer_twice() {
    let server = Server::of(
        "
import os
def application(environ, start_response):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    start_response('200 OK', [])
    return [b'from the parent']
",
    );
    for _ in 0..3 {
        assert_eq!(server.get("/").text(), "from the parent");
    }
}

#[test]
fn an_application_may_use_subprocesses() {
    let server = Server::of(
        "
import subprocess
def application(environ, start_response):
    start_response('200 OK', [])
    return [subprocess.run(['echo', 'from a process'], capture_output=True, check=True).stdout]
",
    );
    for _ in 0..3 {
        assert_eq!(server.get("/").text(), "from a process\n");
    }
}

#[test]
fn an_interpreter_that_could_not_be_made_is_made_when_that_has_become_possible() {
    // Runs in every interpreter before anything of ours does.
    let sabotage = "
import builtins, os
if os.path.exists('@root@/run/broken'):
    del builtins.compile
";
    let builder = Server::builder().app(
        "app.wsgi",
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['mod_wsgi.application_group'].encode()]
",
    );
    let library = builder.root().join("library");
    let server = builder
        .file("library/sitecustomize.py", sabotage)
        .environment("PYTHONPATH", library.to_str().unwrap())
        .config(
            "WSGIScriptAlias /other @apps@/app.wsgi application-group=other
WSGIScriptAlias /third @apps@/app.wsgi application-group=third
WSGIScriptAlias / @apps@/app.wsgi",
        )
        .start();
    assert_eq!(server.get("/").text(), "localhost|");
    let broken = server.root().join("run/broken");
    std::fs::write(&broken, "").unwrap();
    crate::harness::open_to_everybody(&broken);
    assert_eq!(server.get("/other").status, 500);
    server.await_log("AttributeError");
    server.await_log("WSGI0035");
    assert_eq!(server.get("/").text(), "localhost|", "the others go on");
    std::fs::remove_file(&broken).unwrap();
    assert_eq!(server.get("/third").text(), "third", "and new ones can be made");
    let again = crate::harness::wait_for("another try", || {
        Some(server.get("/other")).filter(|answer| answer.status == 200)
    });
    assert_eq!(again.text(), "other");
    assert_eq!(server.error_log().matches("Create interpreter 'other'").count(), 2);
}

#[test]
fn a_path_that_is_longer_than_any_file_s_is_a_404_and_one_line_of_bearable_length() {
    let server =
        Server::builder_of("").config("WSGIScriptAliasMatch ^/long/(.*) @apps@/$1").start();
    let path = format!("/long/{}/end", "segment/".repeat(700));
    assert_eq!(server.get(&path).status, 404);
    let line = server.await_log("WSGI0135");
    assert!(line.len() < 1000, "{} bytes: {line}", line.len());
    assert!(line.contains("segment/end"), "{line}");
}
