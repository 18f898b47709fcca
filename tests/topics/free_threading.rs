//! A free-threaded Python without its lock (`WSGIFreeThreading`). Skipped, saying so, where the Python under test is
//! another one.

use crate::harness::{Builder, Installation, Server, request, wait_for};
use serde_json::{Value, json};

/// Whether the Python under test is a free-threaded one.
pub fn is_free_threaded() -> bool {
    Installation::get().python_says("sysconfig.get_config_var('Py_GIL_DISABLED') or 0") == "1"
}

/// As [`is_free_threaded`]; says that the test is skipped if it is not.
fn is_here() -> bool {
    let is_here = is_free_threaded();
    if !is_here {
        eprintln!("SKIPPED: the Python under test (PYTHON) is not free-threaded");
    }
    is_here
}

/// Two applications with interpreters of their own and one in the main interpreter, that run what they are sent.
fn builder() -> Builder {
    builder_of(include_str!("../apps/probe.wsgi"))
}

fn builder_of(source: &str) -> Builder {
    Server::builder().app("app.wsgi", source).children(1, 12).config(
        "WSGIScriptAlias /one @apps@/app.wsgi
WSGIScriptAlias /two @apps@/app.wsgi
WSGIScriptAlias /main @apps@/app.wsgi application-group=%{GLOBAL}",
    )
}

const PATHS: [&str; 3] = ["/one", "/two", "/main"];

/// The value of an expression in each of the interpreters.
#[track_caller]
fn values(server: &Server, expression: &str) -> [Value; 3] {
    let python = format!(
        "def app(environ, start_response):\n    return say(start_response, [{expression}])\n"
    );
    PATHS.map(|path| server.post(path, &python).json()[0].clone())
}

#[test]
fn the_lock_is_there_unless_the_directive_takes_it_away() {
    if !is_here() {
        return;
    }
    for (config, has_lock) in
        [("", true), ("WSGIFreeThreading Off", true), ("WSGIFreeThreading On", false)]
    {
        // What the suite is run with comes first, so the last word is this one.
        let config = if config.is_empty() { "WSGIFreeThreading Off" } else { config };
        let server = builder().config(config).start();
        let expected = [json!(has_lock), json!(has_lock), json!(has_lock)];
        assert_eq!(values(&server, "sys._is_gil_enabled()"), expected, "{config}");
    }
}

#[test]
fn an_extension_that_declares_nothing_does_not_bring_the_lock_back() {
    if !is_here() {
        return;
    }
    let import = "__import__('_testsinglephase').__name__";
    let test_module = "__import__('importlib.util').util.find_spec('_testsinglephase') is not None";
    if Installation::get().python_says(test_module) == "False" {
        eprintln!("SKIPPED: this Python has no test modules");
        return;
    }
    let server = builder().config("WSGIFreeThreading On").start();
    let python = format!(
        "def app(environ, start_response):\n    return say(start_response, [{import}, sys._is_gil_enabled()])\n"
    );
    assert_eq!(server.post("/main", &python).json(), json!(["_testsinglephase", false]));
    // The built-in modules and types are made in every interpreter; they declare what they need.
    assert_eq!(
        values(&server, "sys._is_gil_enabled()"),
        [json!(false), json!(false), json!(false)]
    );
    assert!(!server.error_log().contains("RuntimeWarning"), "{}", server.error_log());
}

#[test]
fn what_makes_no_sense_without_the_lock_is_a_warning() {
    if !is_here() {
        return;
    }
    let server = builder()
        .config(
            "WSGIFreeThreading On
WSGIPerInterpreterGIL On
WSGISwitchInterval 0.25
<WSGIInterpreterOptions application-group=localhost|/two>
    WSGISwitchInterval 0.5
</WSGIInterpreterOptions>",
        )
        .start();
    let intervals = values(&server, "sys.getswitchinterval()");
    assert!(intervals.iter().all(|interval| interval == &intervals[0]), "{intervals:?}");
    assert_ne!(intervals[0], 0.25);
    assert_eq!(values(&server, "sys._is_gil_enabled()")[0], false);
    for code in ["WSGI0202", "WSGI0203", "WSGI0205"] {
        server.await_log(code);
    }
    assert!(!server.error_log().contains("with own GIL"));
}

/// Answers in every way there is, and uses what threads share.
const EVERYTHING: &str = "
import io, itertools, mod_wsgi, sys, tempfile, threading

started = itertools.count()
finished = itertools.count()
local = threading.local()
mod_wsgi.start_recording_metrics()

@mod_wsgi.subscribe_events
def listen(name, **event):
    if name == 'request_started':
        next(started)
        mod_wsgi.request_data()['seen'] = event['request_environ']['PATH_INFO']
    if name == 'request_finished':
        next(finished)
        assert 'seen' in event['request_data']

def plain(environ, start_response, body):
    start_response('200 OK', [('X-Name', environ['SCRIPT_NAME'])])
    return [body]

def parts(environ, start_response, body):
    start_response('200 OK', [('X-Name', environ['SCRIPT_NAME'])])
    return (body[at:at + 7] for at in range(0, len(body), 7))

def written(environ, start_response, body):
    write = start_response('200 OK', [('X-Name', environ['SCRIPT_NAME'])])
    write(body[:5])
    write(body[5:])
    return []

def wrapped(environ, start_response, body):
    start_response('200 OK', [('X-Name', environ['SCRIPT_NAME'])])
    return environ['wsgi.file_wrapper'](io.BytesIO(body), 11)

def sent(environ, start_response, body):
    file = tempfile.TemporaryFile()
    file.write(body)
    file.flush()
    file.seek(0)
    start_response('200 OK', [('X-Name', environ['SCRIPT_NAME'])])
    return environ['wsgi.file_wrapper'](file)

def watched(environ, start_response, body):
    data = mod_wsgi.request_data()
    assert any(other is data for other in list(mod_wsgi.active_requests.values())), 'not among the active ones'
    assert data['seen'] == environ['PATH_INFO']
    mod_wsgi.request_metrics()
    mod_wsgi.process_metrics()
    return plain(environ, start_response, body)

def told(environ, start_response, body):
    print('told by', environ['SCRIPT_NAME'])
    print('told to', environ['SCRIPT_NAME'], file=environ['wsgi.errors'])
    return plain(environ, start_response, body)

def raised(environ, start_response, body):
    try:
        start_response('404', 5)
    except TypeError:
        start_response('200 OK', [('X-Name', environ['SCRIPT_NAME'])], sys.exc_info())
    return [body]

WAYS = [plain, parts, written, wrapped, sent, watched, told, raised]

def application(environ, start_response):
    local.count = getattr(local, 'count', 0) + 1
    way = WAYS[int(environ['QUERY_STRING'])]
    lines = environ['wsgi.input'].readlines() if way is parts else [environ['wsgi.input'].read()]
    return way(environ, start_response, b''.join(lines))
";

/// The ways in which [`EVERYTHING`] answers.
const WAYS: usize = 8;

/// Eight clients, each over one connection, ask for everything in every interpreter; every answer must be its own.
#[track_caller]
fn mixed_load(server: &Server, turns: usize) {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                let mut connection = server.connect();
                for turn in 0..turns {
                    let path = PATHS[(thread + turn) % PATHS.len()];
                    let way = (thread + turn / PATHS.len()) % WAYS;
                    let body = format!("{thread}-{turn}\n").repeat(1 + turn % 50);
                    let target = format!("{path}/{thread}/{turn}?{way}");
                    connection.send(request("POST", &target, &[], body.as_bytes()));
                    let answer = connection.receive();
                    assert_eq!((answer.status, answer.text()), (200, &*body), "{target}");
                    assert_eq!(answer.header("X-Name"), Some(path), "{target}");
                }
            });
        }
    });
}

#[test]
fn eight_threads_get_right_answers_in_every_way_and_interpreter() {
    if !is_here() {
        return;
    }
    let server = builder_of(EVERYTHING).config("WSGIFreeThreading On").start();
    mixed_load(&server, 500);
    let before = server.resident();
    mixed_load(&server, 2_000);
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 16_384, "the child grew by {grown} KiB over 16,000 requests");
    let log = server.error_log();
    assert!(!log.contains("Traceback"), "{log}");
    eprintln!("20,000 requests; the child grew by {grown} KiB over the last 16,000");
}

#[test]
fn a_script_that_changes_under_load_is_loaded_again_by_one_thread() {
    if !is_here() {
        return;
    }
    let source = |number: usize| {
        format!(
            "
import sys, time
sys.loading = getattr(sys, 'loading', 0) + 1
assert sys.loading == 1, 'loaded by two threads at once'
time.sleep(0.02)
number = {number}
sys.loading -= 1
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(number).encode()]
"
        )
    };
    let server = builder_of(&source(0)).config("WSGIFreeThreading On").start();
    let script = server.root().join("apps/app.wsgi");
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let server = &server;
            scope.spawn(move || {
                let mut connection = server.connect();
                for turn in 0..400 {
                    connection.send(request("GET", PATHS[(thread + turn) % 3], &[], b""));
                    let answer = connection.receive();
                    assert_eq!(answer.status, 200, "{}", server.error_log());
                }
            });
        }
        for number in 1..8 {
            let new = script.with_extension("new");
            std::fs::write(&new, source(number)).unwrap();
            crate::harness::open_to_everybody(&new);
            std::fs::rename(&new, &script).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(60));
        }
    });
    for path in PATHS {
        assert_eq!(server.get(path).text(), "7");
    }
}

#[test]
fn threads_of_one_request_may_use_its_objects_at_once() {
    if !is_here() {
        return;
    }
    let server = Server::builder_of(
        "
import threading
def application(environ, start_response):
    source, errors = environ['wsgi.input'], environ['wsgi.errors']
    parts, raised = [], []
    def work():
        try:
            while True:
                part = source.read(17)
                if not part:
                    return
                parts.append(len(part))
                errors.write('one line and another\\n' if len(parts) % 50 == 0 else '')
                start_response('200 OK', [('X-Parts', str(len(parts)))])
                environ['wsgi.file_wrapper'](errors, 5)
        except BaseException as exception:
            raised.append(repr(exception))
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    start_response('200 OK', [])
    return [f'{sum(parts)} {raised}'.encode()]
",
    )
    .config("WSGIFreeThreading On")
    .start();
    for turn in 1..30 {
        let body = vec![b'x'; turn * 1000];
        assert_eq!(server.post("/", body).text(), format!("{} []", turn * 1000));
    }
}

#[test]
fn what_is_kept_of_a_request_can_be_used_by_threads_that_outlive_it() {
    if !is_here() {
        return;
    }
    let server = Server::builder_of(
        "
import json, threading
kept = []
def application(environ, start_response):
    if environ['PATH_INFO'] == '/said':
        start_response('200 OK', [])
        return [json.dumps([len(kept), sorted(set(kept))]).encode()]
    write = start_response('200 OK', [])
    begun = threading.Event()
    def late():
        begun.set()
        uses = [lambda: environ['wsgi.input'].read(1), lambda: write(b''), lambda: environ['wsgi.errors'].write('x')]
        while uses:
            try:
                uses[0]()
            except BaseException as exception:
                kept.append(type(exception).__name__)
                uses.pop(0)
    thread = threading.Thread(target=late, daemon=True)
    thread.start()
    begun.wait()
    return [b'over']
",
    )
    .config("WSGIFreeThreading On")
    .start();
    for _ in 0..100 {
        assert_eq!(server.post("/", vec![b'x'; 300]).text(), "over");
    }
    let said = wait_for("all have noticed", || {
        let said = server.get("/said").json();
        (said[0] == 300).then_some(said)
    });
    assert_eq!(said, json!([300, ["RuntimeError"]]));
}
