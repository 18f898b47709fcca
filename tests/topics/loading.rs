//! How a script becomes a module, when it is loaded again, and what happens when it cannot be.

use super::probe;
use crate::harness::{Builder, Server, wait_for};
use md5::{Digest, Md5};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// A script that answers with this text.
fn saying(text: &str) -> String {
    format!(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'{text}']
"
    )
}

fn script(server: &Server) -> PathBuf {
    server.root().join("apps/app.wsgi")
}

/// Gives the script other contents, and a modification time so many seconds away from now.
fn rewrite(server: &Server, source: &str, seconds: i64) {
    fs::write(script(server), source).unwrap();
    touch(server, seconds);
}

fn touch(server: &Server, seconds: i64) {
    let away = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    let time = if seconds < 0 { now - away } else { now + away };
    fs::File::options().append(true).open(script(server)).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_script_is_a_module_with_the_attributes_of_the_specification() {
    let server = Server::of(include_str!("../apps/probe.wsgi"));
    let facts = probe(&server, "
def app(environ, start_response):
    module = sys.modules[__name__]
    assert vars(module) is globals()
    return say(start_response, {
        'name': __name__, 'file': __file__, 'cached': __cached__, 'package': __package__, 'mtime': __mtime__,
        'spec': [__spec__.name, __spec__.origin, type(__spec__).__name__], 'loader': type(__loader__).__name__,
        'argv': sys.argv, 'path': sys.path, 'doc': __doc__ is not None,
    })
")
    .json();
    let path = script(&server);
    let text = path.to_str().unwrap();
    let digest = Md5::digest(text.as_bytes());
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("_mod_wsgi_{name}");
    assert_eq!(facts["name"], name.as_str());
    assert_eq!(facts["file"], text);
    assert!(facts["cached"].is_null() && facts["package"].is_null());
    assert_eq!(facts["spec"], serde_json::json!([name, text, "ModuleSpec"]));
    assert_eq!(facts["loader"], "SourceFileLoader");
    assert_eq!(facts["argv"], serde_json::json!(["mod_wsgi"]));
    assert_eq!(facts["doc"], true);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let micros = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    assert_eq!(facts["mtime"].as_u64().map(u128::from), Some(micros));
    let directory = server.root().join("apps");
    assert!(!facts["path"].as_array().unwrap().contains(&directory.to_str().unwrap().into()));
    assert_eq!(fs::read_dir(directory).unwrap().count(), 1, "no byte code is written");
}

#[test]
fn the_python_path_of_the_configuration_comes_first_and_its_pth_files_count() {
    let server = Server::builder_of(
        "
import json, sys, mine, deep
def application(environ, start_response):
    start_response('200 OK', [])
    return [json.dumps([sys.path, mine.NAME, deep.NAME]).encode()]
",
    )
    .file("lib/mine.py", "NAME = 'mine'")
    .file("lib/more.pth", "@root@/deep\n")
    .file("second/mine.py", "NAME = 'hidden'")
    .file("deep/deep.py", "NAME = 'deep'")
    .python_path("@root@/lib:@root@/second")
    .start();
    let facts = server.get("/").json();
    let root = server.root().to_str().unwrap();
    assert_eq!(facts[0][0], format!("{root}/lib"));
    assert_eq!((&facts[1], &facts[2]), (&"mine".into(), &"deep".into()));
}

#[test]
fn a_changed_script_is_loaded_again_whichever_way_its_time_has_moved() {
    let server = Server::of(&saying("one"));
    assert_eq!(server.get("/").text(), "one");
    rewrite(&server, &saying("newer"), 10);
    assert_eq!(server.get("/").text(), "newer");
    rewrite(&server, &saying("older"), -10_000);
    assert_eq!(server.get("/").text(), "older");
    let now = fs::metadata(script(&server)).unwrap().modified().unwrap();
    fs::write(script(&server), saying("same second")).unwrap();
    fs::File::options()
        .append(true)
        .open(script(&server))
        .unwrap()
        .set_modified(now + Duration::from_millis(1))
        .unwrap();
    assert_eq!(server.get("/").text(), "same second");
}

#[test]
fn an_unchanged_script_is_loaded_once() {
    let server = Server::of(
        "
import itertools
count = itertools.count(1)
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(next(count)).encode()]
",
    );
    for turn in 1..5 {
        assert_eq!(server.get("/").text(), turn.to_string());
    }
    touch(&server, 5);
    assert_eq!(server.get("/").text(), "1", "a new module object");
}

#[test]
fn a_reload_leaves_other_modules_and_running_requests_alone() {
    let version = |name: &str| {
        format!(
            "
import helper, threading
go_on = helper.__dict__.setdefault('go_on', threading.Event())
def application(environ, start_response):
    helper.count += 1
    if environ['PATH_INFO'] == '/wait':
        helper.waiting = True
        assert go_on.wait(10)
    if environ['PATH_INFO'] == '/go':
        go_on.set()
    start_response('200 OK', [])
    return [b'{name} %d' % helper.count, b' waiting' if helper.waiting else b'']
"
        )
    };
    let server = Server::builder_of(&version("old"))
        .embedded()
        .file("lib/helper.py", "count = 0\nwaiting = False")
        .config("WSGIPythonPath @root@/lib")
        .start();
    assert_eq!(server.get("/").text(), "old 1");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.get("/wait"));
        wait_for("a request in the old code", || {
            server.get("/").text().ends_with("waiting").then_some(())
        });
        rewrite(&server, &version("new"), 10);
        assert!(server.get("/go").text().starts_with("new "));
        assert!(waiting.join().unwrap().text().starts_with("old "));
    });
}

#[test]
fn reloading_can_be_switched_off() {
    let server = Server::builder_of(&saying("one")).config("WSGIScriptReloading Off").start();
    assert_eq!(server.get("/").text(), "one");
    rewrite(&server, &saying("two"), 10);
    assert_eq!(server.get("/").text(), "one");
}

#[test]
fn a_script_may_say_itself_that_it_wants_to_be_loaded_again() {
    let server = Server::of(
        "
import itertools, os
count = itertools.count(1)
asked = []
def reload_required(path):
    asked.append(path)
    if len(asked) == 3:
        return ['true in its way']
    if len(asked) == 2:
        raise ValueError('cannot say')
def application(environ, start_response):
    start_response('200 OK', [])
    return [f'{next(count)} {set(asked) or None}'.encode()]
",
    );
    let asked = format!("{{'{}'}}", script(&server).display());
    assert_eq!(server.get("/").text(), "1 None");
    assert_eq!(server.get("/").text(), format!("2 {asked}"));
    assert_eq!(server.get("/").text(), format!("3 {asked}"), "an exception is no wish");
    assert_eq!(server.get("/").text(), "1 None", "loaded again");
    server.await_log("ValueError: cannot say");
}

#[test]
fn a_script_without_a_usable_time_is_loaded_again_each_time() {
    let server = Server::of(
        "
import itertools
count = itertools.count(1)
def application(environ, start_response):
    globals()['__mtime__'] = None
    start_response('200 OK', [])
    return [str(next(count)).encode()]
",
    );
    assert_eq!(server.get("/").text(), "1");
    assert_eq!(server.get("/").text(), "1");
}

#[test]
fn a_broken_new_version_is_500_until_it_is_mended() {
    let server = Server::builder_of(&saying("one")).embedded().start();
    assert_eq!(server.get("/").text(), "one");
    rewrite(&server, "def application(:", 10);
    assert_eq!(server.get("/").status, 500);
    assert_eq!(server.get("/").status, 500);
    rewrite(&server, &saying("mended"), 20);
    assert_eq!(server.get("/").text(), "mended");
}

/// Asks a script that cannot be loaded, twice; then a mended one.
#[track_caller]
fn cannot_be_loaded(source: impl AsRef<[u8]>, code: &str, says: &str) {
    let server = Server::builder()
        .file("apps/app.wsgi", source)
        .config("WSGIScriptAlias / @apps@/app.wsgi")
        .start();
    for _ in 0..2 {
        let answer = server.get("/");
        assert_eq!(answer.status, 500);
        assert!(answer.text().contains("Internal Server Error"));
    }
    let line = server.await_log(code);
    assert!(line.contains("app.wsgi"), "{line}");
    server.await_log(says);
    assert_eq!(server.error_log().matches(code).count(), 2, "told once each time");
    rewrite(&server, &saying("mended"), 10);
    assert_eq!(server.get("/").text(), "mended");
}

#[test]
fn a_syntax_error_is_told_with_its_place() {
    cannot_be_loaded("x = 1\ndef application(:\n    pass", "WSGI0105", "SyntaxError");
}

#[test]
fn a_nul_in_the_source_is_an_error_and_no_end() {
    cannot_be_loaded(b"x = 1\n\0\ndef application(e, s): pass\n", "WSGI0105", "null byte");
}

#[test]
fn undecodable_source_is_an_error() {
    cannot_be_loaded(b"name = 'caf\xe9'\ndef application(e, s): pass\n", "WSGI0105", "SyntaxError");
}

#[test]
fn an_exception_while_loading_is_told_with_its_traceback() {
    cannot_be_loaded(
        "def fail():\n    raise KeyError('while loading')\nfail()",
        "WSGI0109",
        "in fail",
    );
}

#[test]
fn a_missing_import_is_told_by_name() {
    cannot_be_loaded("import no_such_module_anywhere", "WSGI0109", "no_such_module_anywhere");
}

#[test]
fn system_exit_while_loading_is_no_end_of_the_process() {
    cannot_be_loaded("import sys\nsys.exit('leaving')", "WSGI0107", "WSGI0107");
}

#[test]
fn a_source_with_a_coding_cookie_is_read_with_it() {
    let server = Server::builder()
        .file("apps/app.wsgi", b"# -*- coding: latin-1 -*-\nname = 'caf\xe9'\ndef application(e, s):\n    s('200 OK', [])\n    return [name.encode()]\n")
        .config("WSGIScriptAlias / @apps@/app.wsgi")
        .start();
    assert_eq!(server.get("/").text(), "caf\u{e9}");
}

#[test]
fn a_failed_module_is_gone_and_what_it_imported_stays() {
    let server = Server::builder_of(
        "
import helper, sys
helper.loads += 1
if helper.loads < 3:
    raise ValueError('not yet')
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(helper.loads).encode()]
",
    )
    .file("lib/helper.py", "loads = 0")
    .python_path("@root@/lib")
    .start();
    assert_eq!(server.get("/").status, 500);
    assert_eq!(server.get("/").status, 500);
    assert_eq!(server.get("/").text(), "3");
    assert_eq!(server.get("/").text(), "3");
}

#[test]
fn an_unreadable_script_is_a_500_that_names_it() {
    let server = Server::of(&saying("one"));
    fs::set_permissions(script(&server), fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(server.get("/").status, 500);
    assert!(server.await_log("WSGI0105").contains("app.wsgi"));
    fs::set_permissions(script(&server), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(server.get("/").text(), "one");
}

#[test]
fn a_script_that_vanishes_is_404_until_it_is_back() {
    let server = Server::of(&saying("one"));
    assert_eq!(server.get("/").text(), "one");
    fs::rename(script(&server), server.root().join("apps/away")).unwrap();
    assert_eq!(server.get("/").status, 404);
    fs::rename(server.root().join("apps/away"), script(&server)).unwrap();
    assert_eq!(server.get("/").text(), "one");
}

#[test]
fn a_missing_callable_is_a_500_that_names_it() {
    let server = Server::builder_of("def app(environ, start_response): pass").start();
    assert_eq!(server.get("/").status, 500);
    let line = server.await_log("WSGI0089");
    assert!(line.contains("app.wsgi") && line.contains("'application'"), "{line}");
}

#[test]
fn a_callable_that_is_none_is_a_500() {
    let server = Server::of("application = 'not callable'");
    assert_eq!(server.get("/").status, 500);
    server.await_log("is not callable");
}

#[test]
fn the_three_forms_of_an_application_work() {
    let server = Server::builder()
        .app(
            "app.wsgi",
            "
def function(environ, start_response):
    start_response('200 OK', [])
    return [b'function']

class Iterating:
    def __init__(self, environ, start_response):
        self.start_response = start_response
    def __iter__(self):
        self.start_response('200 OK', [])
        yield b'class'

class Calling:
    def __call__(self, environ, start_response):
        start_response('200 OK', [])
        return [b'instance']
instance = Calling()
",
        )
        .config(
            "
WSGIScriptAlias /function @apps@/app.wsgi callable-object=function
WSGIScriptAlias /class @apps@/app.wsgi callable-object=Iterating
WSGIScriptAlias /instance @apps@/app.wsgi callable-object=instance",
        )
        .start();
    for form in ["function", "class", "instance"] {
        assert_eq!(server.get(&format!("/{form}")).text(), form);
    }
}

#[test]
fn first_requests_that_come_at_once_load_the_script_once() {
    let server = Server::builder_of(
        "
import time
print('the script is loaded')
time.sleep(0.3)
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'served']
",
    )
    .children(1, 8)
    .start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(server.get("/").text(), "served"));
        }
    });
    assert_eq!(server.error_log().matches("the script is loaded").count(), 1);
}

fn slow_and_quick() -> Builder {
    Server::builder()
        .app(
            "slow.wsgi",
            "
import os, time
print('slow begins', flush=True)
while not os.path.exists('@docs@/go-on'):
    time.sleep(0.01)
print('slow is loaded', flush=True)
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'slow']
",
        )
        .app("quick.wsgi", &saying("quick"))
}

/// Asks the quick application while the slow one is loaded.
fn quick_is_served_meanwhile(server: &Server) {
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| server.get("/slow"));
        server.await_log("slow begins");
        assert_eq!(server.get("/quick").text(), "quick");
        assert_eq!(server.get("/quick").text(), "quick");
        assert!(!server.error_log().contains("slow is loaded"), "the quick one had to wait");
        fs::write(server.root().join("docs/go-on"), "").unwrap();
        assert_eq!(slow.join().unwrap().text(), "slow");
    });
}

#[test]
fn a_slow_script_does_not_hold_up_another_in_its_own_interpreter() {
    let server = slow_and_quick()
        .config(
            "
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /slow @apps@/slow.wsgi
WSGIScriptAlias /quick @apps@/quick.wsgi",
        )
        .start();
    quick_is_served_meanwhile(&server);
}

#[test]
fn a_slow_script_does_not_hold_up_another_in_another_interpreter() {
    let server = slow_and_quick()
        .config("WSGIScriptAlias /slow @apps@/slow.wsgi\nWSGIScriptAlias /quick @apps@/quick.wsgi")
        .start();
    quick_is_served_meanwhile(&server);
}

#[test]
fn an_empty_script_has_no_callable() {
    let server = Server::of("");
    assert_eq!(server.get("/").status, 500);
    server.await_log("WSGI0089");
}

#[test]
fn a_script_may_have_any_name() {
    let names = ["no extension", "with space.wsgi", "per%cent.wsgi", "quote'.wsgi", "dots..wsgi"];
    let mut builder = Server::builder();
    for (index, name) in names.iter().enumerate() {
        builder = builder
            .app(name, &saying(&index.to_string()))
            .config(&format!("WSGIScriptAlias /{index} \"@apps@/{name}\""));
    }
    let server = builder.start();
    for index in 0..names.len() {
        assert_eq!(server.get(&format!("/{index}")).text(), index.to_string());
    }
}

#[test]
fn two_callables_of_a_script_are_of_one_module_that_is_loaded_once() {
    let source = "
import time
time.sleep(0.5)
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'one']
def other(environ, start_response):
    start_response('200 OK', [])
    return [b'other']
";
    let lines = "
WSGIScriptAlias /other @apps@/app.wsgi callable-object=other application-group=%{GLOBAL}
WSGIScriptAlias / @apps@/app.wsgi application-group=%{GLOBAL}";
    let server = Server::builder().app("app.wsgi", source).config(lines).children(1, 4).start();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| server.get("/other").text().to_string());
        assert_eq!(server.get("/").text(), "one");
        assert_eq!(other.join().unwrap(), "other");
    });
    assert_eq!(server.error_log().matches("Loading WSGI script").count(), 1);
}
