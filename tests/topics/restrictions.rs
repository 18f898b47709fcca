//! What an application may do with the streams and signals of the process it is a guest in.

use super::probe;
use crate::harness::{Builder, Mpm, Server};

fn builder() -> Builder {
    Server::builder_of(include_str!("../apps/probe.wsgi"))
}

#[test]
fn standard_input_is_at_its_end_or_forbidden() {
    let read = "
def app(environ, start_response):
    return say(start_response, [attempt(lambda: sys.stdin.read()), attempt(lambda: sys.stdin.fileno())])
";
    let open = probe(&builder().start(), read).json();
    assert_eq!(open[0], "''");
    let restricted = probe(&builder().config("WSGIRestrictStdin On").start(), read).json();
    for result in restricted.as_array().unwrap() {
        let text = result.as_str().unwrap();
        assert!(text.starts_with("OSError: ") && text.contains("sys.stdin"), "{text}");
    }
}

#[test]
fn standard_output_is_the_log_or_forbidden() {
    let print = "
def app(environ, start_response):
    results = [attempt(print, 'printed text'), attempt(lambda: sys.stdout.write), type(sys.stdout).__module__ + '.' + type(sys.stdout).__name__]
    print('to stderr', file=sys.stderr)
    return say(start_response, results)
";
    let server = builder().start();
    assert_eq!(probe(&server, print).json()[0], "None");
    server.await_log("printed text");
    let server = builder().config("WSGIRestrictStdout On").start();
    let results = probe(&server, print).json();
    for index in 0..2 {
        let text = results[index].as_str().unwrap();
        assert!(text.starts_with("OSError: ") && text.contains("sys.stdout"), "{text}");
    }
    assert_eq!(results[2], "mod_wsgi.Restricted");
    server.await_log("to stderr");
}

#[test]
fn signal_handlers_are_not_installed_and_the_attempt_is_told() {
    let server = builder().start();
    let answer = probe(&server, "
import _signal, signal
def handler(*arguments): print('the handler ran')
def app(environ, start_response):
    before = signal.getsignal(signal.SIGUSR2)
    result = signal.signal(signal.SIGUSR2, handler)
    results = [type(_signal.signal).__name__, signal.getsignal(signal.SIGUSR2) == before, result == before]
    results += [attempt(signal.signal, signum=10, handler=handler), attempt(signal.signal, 'x', handler), attempt(signal.signal, 10)]
    return say(start_response, results)
");
    let results = answer.json();
    assert_eq!(results[0], "SignalIntercept");
    assert_eq!(results[1], true, "nothing was registered");
    assert_eq!(results[2], true, "what is in force is returned, as by the real function");
    for index in 3..6 {
        assert!(results[index].as_str().unwrap().starts_with("TypeError: "), "{results}");
    }
    let log = server.error_log();
    assert!(
        log.lines()
            .any(|line| line.contains("wsgi:info") && line.to_lowercase().contains("signal")),
        "{log}"
    );
    assert!(log.contains("in app"), "the stack of the caller is told");
}

#[test]
fn a_process_that_the_application_forks_may_have_signal_handlers() {
    let server = builder().start();
    let answer = probe(
        &server,
        "
import signal
def app(environ, start_response):
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
            os._exit(7 if signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN else 8)
        except ValueError:
            # Only the main thread may, which the forking thread has become.
            os._exit(9)
        finally:
            os._exit(10)
    return say(start_response, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
",
    );
    assert_eq!(answer.json(), 7);
}

#[test]
fn with_the_restriction_off_python_decides_itself() {
    let install = "
import _signal, signal
def app(environ, start_response):
    return say(start_response, [type(_signal.signal).__name__, attempt(signal.signal, signal.SIGUSR2, signal.SIG_IGN)])
";
    let threaded = builder().config("WSGIRestrictSignal Off").start();
    let results = probe(&threaded, install).json();
    assert_eq!(results[0], "builtin_function_or_method");
    assert!(results[1].as_str().unwrap().starts_with("ValueError: "), "{results}");
    let prefork = builder().embedded().mpm(Mpm::Prefork).config("WSGIRestrictSignal Off").start();
    let results = probe(&prefork, install).json();
    assert!(!results[1].as_str().unwrap().contains("Error"), "{results}");
}

#[test]
fn a_stream_that_must_not_be_used_is_not_missed_in_the_end() {
    let server = builder().config("WSGIRestrictStdin On\nWSGIRestrictStdout On").start();
    assert_eq!(probe(&server, "def app(e, s): return say(s, 1)").json(), 1);
    let log = server.stop().error_log;
    assert!(!log.contains("Exception ignored") && !log.contains("exit code 120"), "{log}");
}

#[test]
fn in_one_process_the_terminal_stays_connected() {
    let server = builder()
        .embedded()
        .single_process()
        .config("WSGIRestrictStdin On\nWSGIRestrictStdout On")
        .start();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    print('for the terminal', flush=True)
    return say(start_response, [attempt(lambda: sys.stdin.read()), sys.stdout.name])
",
    );
    assert_eq!(answer.json()[0], "''");
    let terminal = std::fs::read_to_string(server.root().join("logs/stdout")).unwrap();
    assert_eq!(terminal, "for the terminal\n");
}

#[test]
fn the_environment_of_the_process_is_left_alone() {
    let server = builder().environment("OF_HTTPD", "kept").start();
    let answer = probe(
        &server,
        "
def app(environ, start_response):
    os.environ['OF_APPLICATION'] = 'set'
    return say(start_response, [os.environ.get('OF_HTTPD'), os.getcwd()])
",
    );
    assert_eq!(answer.json(), serde_json::json!(["kept", "/"]));
    let again = probe(
        &server,
        "
def app(environ, start_response):
    return say(start_response, os.environ.get('OF_APPLICATION'))
",
    );
    assert_eq!(again.json(), "set");
}
