//! What the configuration says of Python and its interpreters, and `<WSGIInterpreterOptions>`.

use super::free_threading::is_free_threaded;
use super::{probe, with_notes};
use crate::harness::{Builder, Installation, Server};

/// Two applications that run what they are sent, in the groups `a` and `b`, and one in the main interpreter.
fn builder() -> Builder {
    with_notes(Server::builder()).app("probe.wsgi", include_str!("../apps/probe.wsgi")).config(
        "WSGIScriptAlias /a @apps@/probe.wsgi application-group=a
WSGIScriptAlias /b @apps@/probe.wsgi application-group=b
WSGIScriptAlias / @apps@/probe.wsgi application-group=%{GLOBAL}",
    )
}

/// The value of an expression in each of them.
fn values(server: &Server, expression: &str) -> [serde_json::Value; 3] {
    let python = format!(
        "
import os, sys, signal
def app(environ, start_response):
    return say(start_response, [{expression}])
"
    );
    ["/", "/a", "/b"].map(|path| server.post(path, &python).json()[0].clone())
}

#[test]
fn python_starts_as_the_configuration_says() {
    let server = builder()
        .config(
            "WSGIPythonOptimize 2
WSGIDontWriteBytecode On
WSGIPythonWarnings ignore::DeprecationWarning
WSGIPythonWarnings error::UserWarning
WSGIPythonHashSeed 7
WSGIPythonEggs @root@/eggs",
        )
        .daemon_options("python-eggs=@root@/eggs")
        .start();
    let root = server.root().to_str().unwrap().to_owned();
    for value in values(
        &server,
        "[sys.flags.optimize, sys.dont_write_bytecode, sys.warnoptions, sys.flags.hash_randomization, os.environ['PYTHON_EGG_CACHE']]",
    ) {
        assert_eq!(
            value,
            serde_json::json!([
                2,
                true,
                ["ignore::DeprecationWarning", "error::UserWarning"],
                1,
                format!("{root}/eggs")
            ])
        );
    }
    let hash = values(&server, "hash('text')")[0].clone();
    let again = builder().config("WSGIPythonHashSeed 7").start();
    assert_eq!(values(&again, "hash('text')")[0], hash);
}

#[test]
fn hashes_are_random_unless_a_seed_is_given() {
    let hash = |config: &str| values(&builder().config(config).start(), "hash('text')")[0].clone();
    assert_ne!(hash("WSGIPythonHashSeed random"), hash("WSGIPythonHashSeed random"));
    assert_ne!(hash(""), hash(""));
}

#[test]
fn a_section_is_for_its_interpreters_and_the_more_specific_one_wins() {
    let server = builder()
        .config(
            "WSGIRestrictSignal On
<WSGIInterpreterOptions application-group=a process-group=@group@>
    WSGIRestrictStdout On
    WSGIRestrictSignal Off
</WSGIInterpreterOptions>
<WSGIInterpreterOptions Application-Group=b>
    WSGIRestrictStdin On
</WSGIInterpreterOptions>
<WSGIInterpreterOptions>
    WSGIRestrictStdin Off
    WSGIRestrictStdout Off
</WSGIInterpreterOptions>
<WSGIInterpreterOptions process-group=somewhere-else>
    WSGIRestrictStdin On
</WSGIInterpreterOptions>",
        )
        .start();
    let restricted = "[type(stream).__name__ == 'Restricted' for stream in (sys.stdin, sys.stdout)] + [type(__import__('_signal').signal).__name__ == 'SignalIntercept']";
    assert_eq!(
        values(&server, restricted),
        [
            serde_json::json!([false, false, true]),
            serde_json::json!([false, true, false]),
            serde_json::json!([true, false, true]),
        ]
    );
}

#[test]
fn paths_add_up_with_the_most_specific_one_in_front() {
    let server = builder()
        .file("one/m.py", "")
        .file("two/m.py", "")
        .file("three/m.py", "")
        .daemon_options("python-path=@root@/one")
        .config(
            "WSGIPythonPath @root@/one
<WSGIInterpreterOptions application-group=a>
    WSGIPythonPath @root@/three
</WSGIInterpreterOptions>
<WSGIInterpreterOptions>
    WSGIPythonPath @root@/two
</WSGIInterpreterOptions>",
        )
        .start();
    let root = server.root().to_str().unwrap().to_owned();
    let own = format!("[p[len({root:?}) + 1:] for p in sys.path if p.startswith({root:?})]");
    assert_eq!(
        values(&server, &own),
        [
            serde_json::json!(["two", "one"]),
            serde_json::json!(["three", "two", "one"]),
            serde_json::json!(["two", "one"]),
        ]
    );
}

#[test]
fn the_switch_interval_is_that_of_the_process_or_of_a_lock_of_its_own() {
    let server = builder()
        .config("WSGIFreeThreading Off\nWSGISwitchInterval 0.25")
        .daemon_options("switch-interval=0.25")
        .start();
    assert_eq!(values(&server, "sys.getswitchinterval()")[1], 0.25);
    let server = builder()
        .config("WSGIFreeThreading Off")
        .config("<WSGIInterpreterOptions application-group=a>\nWSGISwitchInterval 0.25\n</WSGIInterpreterOptions>")
        .start();
    assert_ne!(values(&server, "sys.getswitchinterval()")[1], 0.25);
    server.await_log("WSGI0199");
}

#[test]
fn what_this_python_cannot_do_is_a_warning() {
    let is_new = Installation::get().python_says("sys.version_info >= (3, 12)") == "True";
    let server = builder().config("WSGIFreeThreading Off\nWSGIPerInterpreterGIL On").start();
    values(&server, "1");
    if is_new {
        server.await_log("with own GIL");
    } else {
        server.await_log("WSGI0198");
    }
    if !is_free_threaded() {
        builder().config("WSGIFreeThreading On").start().await_log("WSGI0200");
    }
}

#[test]
fn free_threading_for_one_group_is_passed_over_with_a_warning() {
    let checked = Server::builder()
        .config("<WSGIInterpreterOptions application-group=a>\nWSGIFreeThreading On\n</WSGIInterpreterOptions>")
        .check();
    assert!(checked.accepted && checked.said.contains("WSGI0201"), "{}", checked.said);
}

#[test]
fn other_directives_in_a_section_act_as_if_they_stood_outside() {
    let server = Server::builder()
        .app("probe.wsgi", include_str!("../apps/probe.wsgi"))
        .config(
            "<WSGIInterpreterOptions application-group=a>
    <IfModule mod_wsgi.c>
        WSGIScriptAlias / @apps@/probe.wsgi
        WSGIPythonWarnings error
        WSGIRestrictStdin On
    </IfModule>
</WSGIInterpreterOptions>",
        )
        .start();
    let answer = probe(
        &server,
        "
import sys
def app(environ, start_response):
    return say(start_response, [sys.warnoptions, type(sys.stdin).__name__])
",
    );
    assert_eq!(answer.json(), serde_json::json!([["error"], "TextIOWrapper"]));
}

#[test]
fn interpreters_may_be_left_at_the_end() {
    let source = "
import atexit
@atexit.register
def leave():
    open('@root@/run/left', 'w').close()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'']
";
    for (config, runs) in
        [("WSGIDestroyInterpreter On", true), ("WSGIDestroyInterpreter Off", false)]
    {
        let server = with_notes(Server::builder_of(source)).config(config).start();
        assert_eq!(server.get("/").status, 200);
        let left = server.root().join("run/left");
        server.graceful();
        crate::harness::wait_for("another child", || {
            server.error_log().matches("resuming normal operations").nth(1).map(drop)
        });
        if runs {
            crate::harness::wait_for("atexit", || left.exists().then_some(()));
        } else {
            std::thread::sleep(std::time::Duration::from_millis(1500));
            assert!(!left.exists());
        }
    }
}

#[test]
fn with_case_insensitivity_paths_that_differ_in_case_are_one_application() {
    let server = Server::builder()
        .app("app.wsgi", super::ENVIRON)
        .config("WSGICaseSensitivity Off\nWSGIScriptAlias /App @apps@/app.wsgi\nWSGIScriptAlias /other @apps@/app.wsgi")
        .start();
    let environ = server.get("/App/x").json();
    assert_eq!(environ["mod_wsgi.application_group"], "localhost|/app");
    assert_eq!(environ["SCRIPT_NAME"], "/App");
}

#[test]
fn sections_and_values_that_cannot_be_are_refused() {
    for (config, words) in [
        ("<WSGIInterpreterOptions application-group=a\n</WSGIInterpreterOptions>", &["'>'"][..]),
        (
            "<WSGIInterpreterOptions a>\n</WSGIInterpreterOptions>",
            &["application-group=name", "'a'"],
        ),
        (
            "<WSGIInterpreterOptions colour=red>\n</WSGIInterpreterOptions>",
            &["colour", "application-group"],
        ),
        (
            "<WSGIInterpreterOptions process-group=a process-group=b>\n</WSGIInterpreterOptions>",
            &["process-group", "once"],
        ),
        (
            "<VirtualHost *:80>\n<WSGIInterpreterOptions>\n</WSGIInterpreterOptions>\n</VirtualHost>",
            &["WSGIInterpreterOptions"],
        ),
        (
            "<WSGIInterpreterOptions>\nWSGIRestrictStdin maybe\n</WSGIInterpreterOptions>",
            &["WSGIRestrictStdin", "maybe"],
        ),
        ("WSGISwitchInterval 0", &["WSGISwitchInterval", "above 0"]),
        ("WSGISwitchInterval 1s", &["WSGISwitchInterval", "'1s'"]),
        ("WSGIPythonHashSeed -1", &["WSGIPythonHashSeed", "random", "4294967295"]),
        ("WSGIPythonHashSeed 4294967296", &["WSGIPythonHashSeed"]),
    ] {
        let checked = Server::builder().config(config).check();
        assert!(!checked.accepted, "{config}");
        for word in words {
            assert!(checked.said.contains(word), "{config}: {word}: {}", checked.said);
        }
    }
}
