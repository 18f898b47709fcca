//! Which interpreter an application runs in, and that interpreters and threads keep apart what belongs apart.

use crate::harness::{Builder, Installation, Server, request};
use serde_json::Value;
use std::collections::BTreeSet;

/// Answers with its group, its interpreter and what it shares.
const WHERE: &str = "
import json, sys, threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

def number(interpreter):
    return int(interpreter[0] if isinstance(interpreter, tuple) else interpreter)

def application(environ, start_response):
    start_response('200 OK', [])
    sys.visits = getattr(sys, 'visits', 0) + 1
    return [json.dumps({
        'group': environ['mod_wsgi.application_group'],
        'interpreter': number(interpreters.get_current()),
        'main': number(interpreters.get_current()) == number(interpreters.get_main()),
        'modules': id(sys.modules),
        'visits': sys.visits,
    }).encode()]
";

fn builder() -> Builder {
    Server::builder().app("app.wsgi", WHERE)
}

#[track_caller]
fn ask(server: &Server, path: &str) -> Value {
    server.get(path).json()
}

#[test]
fn an_application_alone_runs_in_the_main_interpreter_under_its_own_name() {
    let server = builder().config("WSGIScriptAlias /only @apps@/app.wsgi").start();
    let answer = ask(&server, "/only/x");
    assert_eq!(answer["main"], true);
    assert_eq!(answer["group"], "localhost|/only");
}

#[test]
fn applications_of_one_named_group_run_together_in_the_main_interpreter() {
    let server = builder()
        .app("second.wsgi", WHERE)
        .config("WSGIApplicationGroup shared\nWSGIScriptAlias /a @apps@/app.wsgi\nWSGIScriptAlias /b @apps@/second.wsgi")
        .start();
    let (a, b) = (ask(&server, "/a"), ask(&server, "/b"));
    assert_eq!((&a["group"], &b["group"]), (&"shared".into(), &"shared".into()));
    assert_eq!(a["modules"], b["modules"]);
    assert_eq!(b["visits"], 2);
    assert_eq!(a["main"], true);
}

#[test]
fn each_application_has_an_interpreter_of_its_own_unless_told_otherwise() {
    let server = builder()
        .config(
            "
WSGIScriptAlias /one @apps@/app.wsgi
WSGIScriptAlias /two @apps@/app.wsgi
WSGIScriptAlias /global @apps@/app.wsgi application-group=%{GLOBAL}
WSGIScriptAlias /group-a @apps@/app.wsgi application-group=shared
WSGIScriptAlias /group-b @apps@/app.wsgi application-group=shared",
        )
        .start();
    let answers: Vec<Value> = ["/one", "/two", "/global", "/group-a", "/group-b"]
        .iter()
        .map(|path| ask(&server, path))
        .collect();
    let groups: Vec<&str> =
        answers.iter().map(|answer| answer["group"].as_str().unwrap()).collect();
    assert_eq!(groups, ["localhost|/one", "localhost|/two", "", "shared", "shared"]);
    let interpreters: BTreeSet<u64> =
        answers.iter().map(|answer| answer["interpreter"].as_u64().unwrap()).collect();
    assert_eq!(interpreters.len(), 4);
    assert_eq!(answers[2]["main"], true, "%{{GLOBAL}} is the main interpreter");
    assert_eq!(answers[0]["main"], false);
    assert_eq!(answers[3]["modules"], answers[4]["modules"]);
    assert_eq!(answers[4]["visits"], 2);
    assert_eq!(answers[1]["visits"], 1, "no module is shared between groups");
    assert_eq!(ask(&server, "/one")["interpreter"], answers[0]["interpreter"], "and it stays");
}

#[test]
fn a_group_is_expanded_from_its_keyword() {
    let server = builder()
        .load(&["setenvif"])
        .config(
            "
SetEnvIf X-Group (.+) GROUP=$1
WSGIScriptAlias / @apps@/app.wsgi
<Location /server>
    WSGIApplicationGroup %{SERVER}
</Location>
<Location /host>
    WSGIApplicationGroup %{HOST}
</Location>
<Location /resource>
    WSGIApplicationGroup %{RESOURCE}
</Location>
<Location /global>
    WSGIApplicationGroup %{GLOBAL}
</Location>
<Location /env>
    WSGIApplicationGroup %{ENV:GROUP}
</Location>
<Location /literal>
    WSGIApplicationGroup with%percent
</Location>",
        )
        .start();
    for (path, group) in [
        ("/server", "localhost"),
        ("/host", "localhost"),
        ("/resource", "localhost|"),
        ("/default", "localhost|"),
        ("/global", ""),
        ("/literal", "with%percent"),
        ("/env", "%{ENV:GROUP}"),
    ] {
        assert_eq!(ask(&server, path)["group"], group, "{path}");
    }
    let chosen = server.send("GET", "/env", &[("X-Group", "chosen")], b"");
    assert_eq!(chosen.json()["group"], "chosen");
    let keyword = server.send("GET", "/env", &[("X-Group", "%{GLOBAL}")], b"");
    assert_eq!(keyword.json()["group"], "");
    assert_eq!(keyword.json()["main"], true);
}

#[test]
fn a_client_cannot_make_interpreters_by_naming_ports() {
    let server = builder()
        .config("WSGIScriptAlias /a @apps@/app.wsgi\nWSGIScriptAlias /b @apps@/app.wsgi")
        .start();
    let group = |host: &str| {
        let answer = server.send("GET", "/a", &[("Host", host)], b"").json();
        answer["group"].as_str().unwrap().to_owned()
    };
    let listening = format!("localhost:{}", server.port);
    assert_eq!(group("localhost"), "localhost|/a");
    assert_eq!(group(&listening), format!("{listening}|/a"), "a port that the server listens at");
    let made: BTreeSet<String> =
        (1..50).map(|port| group(&format!("localhost:{}", port * 1009))).collect();
    assert!(made.len() == 1, "{made:?}");
}

#[test]
fn the_option_of_an_alias_beats_the_place_and_the_place_beats_the_server() {
    let server = builder()
        .config(
            "
WSGIApplicationGroup of-server
WSGIScriptAlias /server @apps@/app.wsgi
WSGIScriptAlias /place @apps@/app.wsgi
WSGIScriptAlias /option @apps@/app.wsgi application-group=of-option
<Location /place>
    WSGIApplicationGroup of-place
</Location>
<Location /option>
    WSGIApplicationGroup of-place
</Location>
<VirtualHost 127.0.0.1:@port@>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:@port@>
    ServerName other.example
    WSGIApplicationGroup of-host
</VirtualHost>",
        )
        .start();
    for (path, host, group) in [
        ("/server", "localhost", "of-server"),
        ("/server", "other.example", "of-host"),
        ("/place", "other.example", "of-place"),
        ("/option", "localhost", "of-option"),
    ] {
        let answer = server.send("GET", path, &[("Host", host)], b"");
        assert_eq!(answer.json()["group"], group, "{path} of {host}");
    }
}

/// Two applications with interpreters of their own and one in the main interpreter.
const THREE: &str = "
WSGIScriptAlias /one @apps@/app.wsgi
WSGIScriptAlias /two @apps@/app.wsgi
WSGIScriptAlias /main @apps@/app.wsgi application-group=%{GLOBAL}";

#[test]
fn data_of_a_thread_stays_with_the_thread_and_the_interpreter() {
    let server = Server::builder()
        .app(
            "app.wsgi",
            "
import threading
local = threading.local()
def application(environ, start_response):
    local.count = getattr(local, 'count', 0) + 1
    start_response('200 OK', [])
    return [str(local.count).encode()]
",
        )
        .children(1, 1)
        .daemon_options("threads=1")
        .config(THREE)
        .start();
    for turn in 1..6 {
        for path in ["/one", "/two", "/main"] {
            assert_eq!(server.get(path).text(), turn.to_string(), "{path}");
        }
    }
}

/// Many threads ask all of them, mixed; every answer must be its path.
///
/// There are fewer of them than request threads: where all are busy, event closes connections that could be kept.
#[track_caller]
fn under_load(server: &Server, paths: &[&str], turns: usize) {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                let mut connection = server.connect();
                for turn in 0..turns {
                    let path = paths[(thread + turn) % paths.len()];
                    connection.send(request("GET", path, &[], b""));
                    let answer = connection.receive();
                    assert_eq!((answer.status, answer.text()), (200, path), "turn {turn}");
                }
            });
        }
    });
}

#[test]
fn no_request_lands_in_a_wrong_interpreter_under_load_and_memory_stays_flat() {
    let server = Server::builder()
        .app(
            "app.wsgi",
            "
import sys, threading
local = threading.local()
def application(environ, start_response):
    name = environ['SCRIPT_NAME']
    assert sys.__dict__.setdefault('mounted_as', name) == name
    assert local.__dict__.setdefault('mounted_as', name) == name
    start_response('200 OK', [])
    return [name.encode()]
",
        )
        .config(THREE)
        .children(1, 12)
        .start();
    let paths = ["/one", "/two", "/main"];
    under_load(&server, &paths, 300);
    let before = server.resident();
    under_load(&server, &paths, 1000);
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 2048, "they grew by {grown} KiB over 8000 requests");
}

#[test]
fn c_code_can_call_back_into_python_in_every_interpreter() {
    let server = Server::builder()
        .app("app.wsgi", "
import sqlite3, sys, threading
sys.mounted_as = None
def application(environ, start_response):
    name = environ['SCRIPT_NAME']
    sys.mounted_as = name
    connection = sqlite3.connect(':memory:')
    connection.create_function('whose', 1, lambda value: f'{sys.mounted_as}')
    connection.create_collation('backwards', lambda a, b: (a < b) - (a > b))
    (said,), = connection.execute('select whose(1)')
    letters = [letter for letter, in connection.execute(\"select * from (values ('a'), ('b'), ('c')) order by 1 collate backwards\")]
    connection.close()
    assert letters == ['c', 'b', 'a']
    start_response('200 OK', [])
    return [said.encode()]
")
        .config(THREE)
        .children(1, 12)
        .start();
    if Installation::get()
        .python_says("__import__('importlib.util').util.find_spec('_sqlite3') is not None")
        == "False"
    {
        return;
    }
    under_load(&server, &["/one", "/two", "/main"], 150);
}

#[test]
fn the_gil_state_interface_works_in_every_interpreter() {
    let server = Server::builder()
        .app("app.wsgi", "
import ctypes, sys
compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
libc = ctypes.CDLL(None)
seen = []
def compare(a, b):
    seen.append(sys.mounted_as)
    return a[0] - b[0]
def application(environ, start_response):
    sys.mounted_as = environ['SCRIPT_NAME']
    numbers = (ctypes.c_int * 5)(5, 3, 1, 4, 2)
    libc.qsort(numbers, 5, ctypes.sizeof(ctypes.c_int), compare_type(compare))
    assert list(numbers) == [1, 2, 3, 4, 5]
    assert set(seen) == {sys.mounted_as}
    start_response('200 OK', [])
    return [sys.mounted_as.encode()]
")
        .config(THREE)
        .children(1, 12)
        .start();
    under_load(&server, &["/one", "/two", "/main"], 100);
    under_load(&server, &["/main"], 20);
    under_load(&server, &["/two", "/one"], 20);
}

#[test]
fn interpreters_that_are_first_asked_for_at_once_are_made_once_each() {
    let names: Vec<String> = (0..8).map(|n| format!("/n{n}")).collect();
    let mut builder = Server::builder().app(
        "app.wsgi",
        "
import sys
sys.loaded = getattr(sys, 'loaded', 0) + 1
def application(environ, start_response):
    assert sys.loaded == 1
    start_response('200 OK', [])
    return [environ['SCRIPT_NAME'].encode()]
",
    );
    for name in &names {
        builder = builder.config(&format!("WSGIScriptAlias {name} @apps@/app.wsgi"));
    }
    let server = builder.children(1, 12).start();
    let paths: Vec<&str> = names.iter().map(String::as_str).collect();
    under_load(&server, &paths, 24);
}

#[test]
fn threads_of_applications_go_on_between_requests_in_every_interpreter() {
    let server = Server::builder()
        .app(
            "app.wsgi",
            "
import threading, time
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()
def application(environ, start_response):
    before = ticks
    time.sleep(0.1)
    start_response('200 OK', [])
    return [environ['SCRIPT_NAME'].encode() if ticks > before else b'the thread stands still']
",
        )
        .config(THREE)
        .start();
    for _ in 0..3 {
        for path in ["/one", "/two", "/main"] {
            assert_eq!(server.get(path).text(), path);
        }
    }
}

#[test]
fn the_main_thread_of_python_is_no_request_thread() {
    let server = Server::builder()
        .app(
            "app.wsgi",
            "
import threading
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(threading.current_thread() is threading.main_thread()).encode()]
",
        )
        .config(THREE)
        .start();
    assert_eq!(server.get("/main").text(), "False");
}

#[test]
fn every_interpreter_can_import_the_built_in_module_and_run_much_of_the_library() {
    let server = Server::builder()
        .app("app.wsgi", "
import mod_wsgi
import asyncio, concurrent.futures, contextvars, ctypes, datetime, decimal, hashlib, json, logging, multiprocessing, queue, random, re, socket, sqlite3, ssl, struct, subprocess, tempfile, unittest, uuid, xml.etree.ElementTree, zlib, zoneinfo
def application(environ, start_response):
    async def work():
        await asyncio.sleep(0)
        return mod_wsgi.version
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda n: decimal.Decimal(n) * 2, range(3))) == [0, 2, 4]
    assert asyncio.run(work()) == environ['mod_wsgi.version']
    start_response('200 OK', [])
    return [environ['SCRIPT_NAME'].encode()]
")
        .config(THREE)
        .start();
    for _ in 0..3 {
        for path in ["/one", "/two", "/main"] {
            assert_eq!(server.get(path).text(), path);
        }
    }
}
