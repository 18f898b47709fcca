//! The built-in module `mod_wsgi`, as applications use it, and the module `apache`.

use super::{probe, with_notes};
use crate::harness::{Builder, Mode, Mpm, Server};

fn builder() -> Builder {
    Server::builder_of(include_str!("../apps/probe.wsgi"))
}

/// The value of an expression in an application.
fn value(server: &Server, expression: &str) -> serde_json::Value {
    let python = format!(
        "
import mod_wsgi, apache, sys
def app(environ, start_response):
    return say(start_response, [{expression}])
"
    );
    probe(server, &python).json()[0].clone()
}

#[test]
fn attributes_say_where_the_application_runs() {
    let server = builder()
        .children(2, 8)
        .config("WSGIApplicationGroup mine")
        .config("WSGIScriptAlias /other @apps@/app.wsgi application-group=other")
        .start();
    let of = |expression: &str| value(&server, expression);
    assert_eq!(of("mod_wsgi.version"), serde_json::json!([6, 1, 1]));
    assert_eq!(of("mod_wsgi.process_group"), "");
    assert_eq!(of("mod_wsgi.application_group"), "mine");
    assert_eq!(of("mod_wsgi.threads_per_process"), 8);
    assert_eq!(of("mod_wsgi.maximum_processes >= 1"), true);
    assert_eq!(
        of("[hasattr(mod_wsgi, '__file__'), mod_wsgi.__loader__ is None]"),
        serde_json::json!([false, true])
    );
    assert_eq!(
        of(
            "[mod_wsgi.RequestTimeout.__bases__ == (BaseException,), mod_wsgi.RequestTimeout.__module__, bool(mod_wsgi.RequestTimeout.__doc__)]"
        ),
        serde_json::json!([true, "mod_wsgi", true])
    );
    assert_eq!(
        of("[mod_wsgi.event_callbacks, mod_wsgi.shutdown_callbacks, mod_wsgi.signal_callbacks]"),
        serde_json::json!([[], [], []])
    );
    assert_eq!(of("apache.version")[0], 2);
    assert_eq!(of("apache.mpm_name"), "event");
    assert!(of("apache.description").as_str().unwrap().contains("mod_wsgi/6.1.1"));
    assert!(of("apache.build_date").is_string());
    assert_eq!(of("apache.threads_per_process"), 8);
    assert_eq!(
        of(
            "[type(f).__name__ for f in (mod_wsgi.subscribe_events, mod_wsgi.request_data, mod_wsgi.process_metrics)]"
        ),
        serde_json::json!([
            "builtin_function_or_method",
            "builtin_function_or_method",
            "builtin_function_or_method"
        ])
    );
}

/// Writes every event to a file, one a line: name and keys with their types.
const EVENTS: &str = "
import json, mod_wsgi

def note(name, **payload):
    shown = {key: type(value).__name__ for key, value in payload.items()}
    shown['status'] = payload.get('status')
    if name == 'request_started':
        payload['request_data']['mark'] = payload['request_id']
        payload['request_environ']['FROM_EVENT'] = 'x'
    with open('@root@/run/events', 'a') as file:
        file.write(json.dumps([name, shown, payload.get('request_data', {}).get('mark') == payload.get('request_id')]) + '\\n')

assert mod_wsgi.subscribe_events(note) is note
mod_wsgi.subscribe_shutdown(lambda name, **payload: note('of-shutdown', **payload))

def application(environ, start_response):
    assert environ['FROM_EVENT'] == 'x'
    data = mod_wsgi.request_data()
    assert data is mod_wsgi.active_requests[environ['mod_wsgi.request_id']] and data['mark']
    if environ['PATH_INFO'] == '/raises':
        raise ValueError('on purpose')
    environ['wsgi.input'].read()
    start_response('201 Created', [])
    return [b'one', b'two']
";

fn events(server: &Server) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(server.root().join("run/events")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_request_is_told_from_its_start_to_its_end() {
    let server = with_notes(Server::builder_of(EVENTS)).start();
    assert_eq!(server.post("/", "body").status, 201);
    let told = crate::harness::wait_for("the events", || {
        let told = events(&server);
        (told.len() >= 3).then_some(told)
    });
    let names: Vec<&str> = told.iter().map(|event| event[0].as_str().unwrap()).collect();
    assert_eq!(names, ["request_started", "response_started", "request_finished"]);
    assert!(told.iter().all(|event| event[2] == true), "{told:?}");
    let has = |at: usize, kinds: &[(&str, &str)]| {
        for (key, kind) in kinds {
            assert_eq!(told[at][1][key], *kind, "{key}: {}", told[at]);
        }
    };
    has(
        0,
        &[
            ("request_id", "str"),
            ("request_data", "dict"),
            ("thread_id", "int"),
            ("server_pid", "int"),
            ("request_start", "float"),
            ("queue_start", "float"),
            ("daemon_start", "float"),
            ("application_start", "float"),
            ("daemon_connects", "int"),
            ("daemon_restarts", "int"),
            ("application_object", "function"),
            ("callable_object", "str"),
            ("request_environ", "dict"),
        ],
    );
    has(
        1,
        &[("response_status", "str"), ("response_headers", "list"), ("exception_info", "NoneType")],
    );
    has(
        2,
        &[
            ("application_start", "float"),
            ("application_finish", "float"),
            ("application_time", "float"),
            ("input_reads", "int"),
            ("input_length", "int"),
            ("input_time", "float"),
            ("output_writes", "int"),
            ("output_length", "int"),
            ("output_time", "float"),
            ("cpu_user_time", "float"),
            ("cpu_system_time", "float"),
            ("cpu_time", "float"),
            ("gil_wait_time", "float"),
            ("gil_wait_count", "int"),
        ],
    );
    assert_eq!(told[2][1]["status"], 201);
}

#[test]
fn an_exception_is_told_between_start_and_end() {
    let server = with_notes(Server::builder_of(EVENTS)).start();
    assert_eq!(server.get("/raises").status, 500);
    let told = crate::harness::wait_for("the events", || {
        let told = events(&server);
        (told.len() >= 3).then_some(told)
    });
    let names: Vec<&str> = told.iter().map(|event| event[0].as_str().unwrap()).collect();
    assert_eq!(names, ["request_started", "request_exception", "request_finished"]);
    assert_eq!(told[1][1]["exception_info"], "tuple");
    assert_eq!(told[2][1]["status"], 500);
}

#[test]
fn the_end_of_the_process_is_told_to_every_interpreter() {
    let server = with_notes(Server::builder())
        .app("one.wsgi", EVENTS)
        .app("two.wsgi", EVENTS)
        .config("WSGIScriptAlias /one @apps@/one.wsgi\nWSGIScriptAlias /two @apps@/two.wsgi")
        .start();
    assert_eq!(server.get("/one").status, 201);
    assert_eq!(server.get("/two").status, 201);
    server.graceful();
    crate::harness::wait_for("both interpreters to be told", || {
        let told = events(&server);
        let count = |name: &str| told.iter().filter(|event| event[0] == name).count();
        (count("process_stopping") == 2 && count("of-shutdown") == 2).then_some(())
    });
}

#[test]
fn a_callback_that_raises_is_logged_and_the_others_run() {
    let server = Server::of(
        "
import mod_wsgi
def first(name, **payload): raise ValueError('in a callback')
def second(name, **payload):
    if name == 'request_started':
        def replaced(environ, start_response):
            start_response('203 Replaced', [])
            return [b'']
        return {'application_object': replaced}
mod_wsgi.subscribe_events(first)
mod_wsgi.subscribe_events(second)
def application(environ, start_response): raise AssertionError
",
    );
    assert_eq!(server.get("/").status, 203);
    server.await_log("WSGI0112");
    server.await_log("ValueError: in a callback");
}

#[test]
fn there_is_no_request_outside_of_one() {
    let server = builder().start();
    let answer = probe(
        &server,
        "
import mod_wsgi, threading
def app(environ, start_response):
    results = []
    thread = threading.Thread(target=lambda: results.append(attempt(mod_wsgi.request_data)))
    thread.start(); thread.join()
    results.append(type(mod_wsgi.request_data()).__name__)
    results.append(list(mod_wsgi.active_requests) == [environ['mod_wsgi.request_id']])
    results.append(attempt(mod_wsgi.request_data, 1))
    return say(start_response, results)
",
    );
    let results = answer.json();
    assert!(results[0].as_str().unwrap().starts_with("RuntimeError"), "{results}");
    assert_eq!(results[1], "dict");
    assert_eq!(results[2], true);
    assert!(results[3].as_str().unwrap().starts_with("TypeError"), "{results}");
}

#[test]
fn signals_cannot_be_subscribed_to_in_a_child() {
    let server = builder().start();
    let answer = probe(&server, "
import mod_wsgi
def handler(name, **payload): pass
def app(environ, start_response):
    return say(start_response, [mod_wsgi.subscribe_signals(handler) is handler, mod_wsgi.signal_callbacks])
");
    assert_eq!(answer.json(), serde_json::json!([true, []]));
    server.await_log("not a daemon process");
}

#[test]
fn metrics_are_counted_from_the_moment_they_are_asked_for() {
    for mpm in [Mpm::Event, Mpm::Prefork] {
        let server = builder().mpm(mpm).children(1, 4).start();
        let of = |expression: &str| value(&server, expression);
        assert!(of("mod_wsgi.request_metrics()").is_null());
        assert!(of("mod_wsgi.process_metrics()").is_null());
        if mpm == Mpm::Prefork && server.children().len() > 1 {
            continue;
        }
        assert!(of("mod_wsgi.start_recording_metrics()").is_null());
        for _ in 0..5 {
            of("1");
        }
        let process = of("mod_wsgi.process_metrics()");
        let pid = of("os.getpid()");
        assert_eq!(process["pid"], pid);
        assert!(process["request_count"].as_i64().unwrap() >= 5, "{process}");
        for key in [
            "restart_time",
            "current_time",
            "running_time",
            "request_busy_time",
            "active_requests",
            "request_threads",
            "cpu_user_time",
            "cpu_system_time",
            "cpu_time",
            "memory_rss",
            "memory_max_rss",
        ] {
            assert!(process[key].is_number(), "{key}: {process}");
        }
        let metrics = of("mod_wsgi.request_metrics()");
        assert!(metrics["request_count"].as_i64().unwrap() >= 5, "{metrics}");
        assert!(metrics["start_time"].as_f64() < metrics["stop_time"].as_f64(), "{metrics}");
        assert_eq!(metrics["server_time_buckets"].as_array().unwrap().len(), 65);
        // Only where requests come from another process.
        let is_daemon = Mode::get() == Mode::Daemon;
        for way in ["queue_time", "daemon_time"] {
            assert_eq!(metrics[way].is_number(), is_daemon, "{metrics}");
            let buckets = metrics[format!("{way}_buckets")].as_array().unwrap();
            let sum: i64 = buckets.iter().map(|count| count.as_i64().unwrap()).sum();
            let expected = if is_daemon { metrics["request_count"].as_i64() } else { Some(0) };
            assert_eq!(Some(sum), expected, "{metrics}");
        }
        let completed = metrics["request_threads_completed"].as_array().unwrap();
        let sum: i64 = completed.iter().map(|count| count.as_i64().unwrap()).sum();
        assert_eq!(Some(sum), metrics["request_count"].as_i64(), "{metrics}");
    }
}

#[test]
fn the_scoreboard_is_shown_where_it_is_allowed() {
    assert!(value(&builder().start(), "mod_wsgi.server_metrics()").is_null());
    let server = builder()
        .children(2, 4)
        .load(&["status"])
        .config("WSGIServerMetrics On\nExtendedStatus On")
        .start();
    value(&server, "1");
    let board = value(&server, "mod_wsgi.server_metrics()");
    for key in [
        "server_limit",
        "thread_limit",
        "running_generation",
        "restart_time",
        "current_time",
        "running_time",
    ] {
        assert!(board[key].is_number(), "{key}: {board}");
    }
    let processes = board["processes"].as_array().unwrap();
    assert_eq!(processes.len() as i64, board["server_limit"].as_i64().unwrap());
    let mut children = server.children();
    children.sort_unstable();
    let mut shown: Vec<i32> = processes
        .iter()
        .map(|process| i32::try_from(process["pid"].as_i64().unwrap()).unwrap())
        .filter(|pid| *pid != 0)
        .collect();
    shown.sort_unstable();
    assert_eq!(shown, children);
    let workers: Vec<&serde_json::Value> =
        processes.iter().flat_map(|process| process["workers"].as_array().unwrap()).collect();
    assert_eq!(workers.len(), processes.len() * 4);
    let ours = |worker: &&&serde_json::Value| {
        worker["status"] == "W" && worker["request"].as_str().unwrap().starts_with("POST / HTTP")
    };
    let ours = workers.iter().find(ours).unwrap_or_else(|| panic!("{board}"));
    assert_eq!(ours["client"], "127.0.0.1");
}

#[test]
fn a_telemetry_service_takes_the_metrics_away() {
    let server = builder().config("WSGITelemetryService unix:/nowhere/socket interval=5").start();
    assert!(
        value(&server, "[mod_wsgi.start_recording_metrics(), mod_wsgi.request_metrics()][1]")
            .is_null()
    );
}

#[test]
fn log_records_reach_the_log_with_their_level_and_the_script() {
    let server = builder().log_level("notice wsgi:debug").start();
    probe(
        &server,
        "
import logging, mod_wsgi
logger = logging.getLogger('test')
logger.setLevel(1)
logger.addHandler(mod_wsgi.LogHandler())
logger.propagate = False
def app(environ, start_response):
    for level in (10, 20, 30, 40, 50):
        logger.log(level, 'at level %d\\nsecond line of %d', level, level)
    return say(start_response, [])
",
    );
    for (level, name) in [(10, "debug"), (20, "info"), (30, "warn"), (40, "error"), (50, "crit")] {
        for text in [format!("at level {level}"), format!("second line of {level}")] {
            let line = server.await_log(&text);
            assert!(
                line.contains(&format!("[wsgi:{name}]")) && line.contains("[script "),
                "{line}"
            );
        }
    }
}

#[test]
fn the_request_of_the_server_is_given_out_where_it_is_allowed() {
    let is_there =
        |server: &Server| value(server, "type(environ.get('apache.request_rec')).__name__");
    assert_eq!(is_there(&builder().start()), "NoneType");
    assert_eq!(is_there(&builder().config("WSGIPassApacheRequest On").start()), "PyCapsule");
}

#[test]
fn an_installed_package_of_the_same_name_stays_importable() {
    let server = builder()
        .file("site/mod_wsgi/__init__.py", "raise AssertionError('not this one')")
        .file("site/mod_wsgi/express.py", "HERE = True")
        .config("WSGIPythonPath @root@/site")
        .start();
    let answer = probe(&server, "
import mod_wsgi
def app(environ, start_response):
    return say(start_response, [mod_wsgi.version, attempt(lambda: __import__('mod_wsgi.express').express.HERE)])
");
    let results = answer.json();
    assert_eq!(results[0], serde_json::json!([6, 1, 1]));
}
