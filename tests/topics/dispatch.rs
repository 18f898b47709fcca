//! `WSGIDispatchScript`, and which process groups may serve a request.

use super::ENVIRON;
use crate::harness::{Builder, Server};

/// A server whose dispatch script is this, for everything.
fn builder(script: &str) -> Builder {
    Server::builder_of(ENVIRON)
        .app("dispatch.py", script)
        .config("WSGIDispatchScript @apps@/dispatch.py")
}

#[test]
fn the_script_says_group_and_callable() {
    let server = builder("
def application_group(environ):
    return {'str': 'a-str', 'bytes': b'some-bytes', 'server': '%{SERVER}', 'main': ''}.get(environ['QUERY_STRING'])
def callable_object(environ):
    return 'other' if environ['PATH_INFO'] == '/other' else None
")
    .app("app.wsgi", &format!("{ENVIRON}\nother = application\n"))
    .config("WSGIApplicationGroup configured")
    .start();
    let group = |target: &str| server.get(target).json()["mod_wsgi.application_group"].clone();
    assert_eq!(group("/?str"), "a-str");
    assert_eq!(group("/?bytes"), "some-bytes");
    assert_eq!(group("/?server"), "localhost");
    assert_eq!(group("/?main"), "");
    assert_eq!(group("/"), "configured");
    assert_eq!(server.get("/other").json()["mod_wsgi.callable_object"], "other");
    assert_eq!(server.get("/").json()["mod_wsgi.callable_object"], "application");
}

#[test]
fn the_script_sees_what_the_application_would_see() {
    let server = builder("
import json
def process_group(environ):
    shown = {key: value for key, value in environ.items() if isinstance(value, str)}
    environ['CHANGED'] = 'x'
    environ['wsgi.errors'].write(json.dumps([sorted(set(environ) - set(shown)), shown]) + '\\n')
def application_group(environ):
    assert environ['CHANGED'] == 'x'
")
    .load(&["env"])
    .config("SetEnv FROM_SET_ENV y\nWSGIDispatchScript @apps@/dispatch.py application-group=of-dispatch\nWSGIApplicationGroup of-app")
    .start();
    let environ = server.get("/path?q").json();
    assert!(environ["CHANGED"].is_null());
    assert_eq!(environ["mod_wsgi.application_group"], "of-app");
    let line = server.await_log("FROM_SET_ENV");
    let seen = line.replace("\\\"", "\"");
    for part in [
        "[[\"CHANGED\", \"wsgi.errors\"]",
        "\"FROM_SET_ENV\": \"y\"",
        "\"PATH_INFO\": \"/path\"",
        "\"mod_wsgi.process_group\": \"\"",
        "\"mod_wsgi.application_group\": \"of-dispatch\"",
    ] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    assert!(!seen.contains("mod_wsgi.callable_object"), "{seen}");
}

#[test]
fn a_script_that_cannot_be_asked_refuses_the_request() {
    for (script, said) in [
        ("def process_group(environ): raise ValueError('on purpose')", "ValueError: on purpose"),
        ("def process_group(environ): return 1", "TypeError"),
        ("def callable_object(environ): return '\u{20ac}'", "UnicodeEncodeError"),
        ("def application_group(environ): return 'a\\0b'", "WSGI1015"),
        ("this is no python", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit()", "WSGI0107"),
    ] {
        let server = builder(script).start();
        assert_eq!(server.get("/").status, 500, "{script}");
        server.await_log(said);
    }
    let server = Server::builder_of(ENVIRON).config("WSGIDispatchScript @apps@/missing.py").start();
    assert_eq!(server.get("/").status, 500);
    server.await_log("WSGI0105");
}

#[test]
fn a_script_without_functions_changes_nothing() {
    assert_eq!(builder("").start().get("/").status, 200);
}

#[test]
fn a_group_that_does_not_exist_is_a_500() {
    let server = builder("def process_group(environ): return 'nowhere'").start();
    assert_eq!(server.get("/").status, 500);
    server.await_log("WSGI0151");
}

#[test]
fn the_script_is_asked_for_handler_scripts_too() {
    let server = builder("def callable_object(environ): return 'application'")
        .config("WSGIHandlerScript ours @apps@/app.wsgi\n<Location /file>\nSetHandler ours\n</Location>")
        .start();
    assert_eq!(server.get("/file").json()["mod_wsgi.callable_object"], "application");
}

#[test]
fn applications_may_be_kept_out_of_the_children() {
    let server = Server::builder_of(ENVIRON).embedded().config("WSGIRestrictEmbedded On").start();
    assert_eq!(server.get("/").status, 500);
    server.await_log("WSGI0143");
    let child = server.child();
    let maps = std::fs::read_to_string(format!("/proc/{child}/maps")).unwrap();
    assert!(!maps.contains("libpython"), "Python is not even loaded");
}

#[test]
fn only_the_process_groups_that_are_allowed_may_serve() {
    let server = Server::builder_of(ENVIRON)
        .embedded()
        .config(
            "WSGIDaemonProcess one
<Location /embedded>
    WSGIRestrictProcess other %{GLOBAL}
</Location>
<Location /other>
    WSGIRestrictProcess ONE
</Location>
<Location /nothing>
    WSGIRestrictProcess
</Location>",
        )
        .start();
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/embedded").status, 200);
    for path in ["/other", "/nothing"] {
        assert_eq!(server.get(path).status, 500);
    }
    server.await_log("WSGI0149");
}

#[test]
fn a_process_group_of_another_host_is_out_of_reach() {
    let server = Server::builder_of(ENVIRON)
        .config(
            "WSGIDaemonProcess everybody
<VirtualHost 127.0.0.1:@port@>
    ServerName a
    WSGIDaemonProcess of-a
    WSGIProcessGroup of-a
</VirtualHost>
<VirtualHost 127.0.0.1:@port@>
    ServerName b
    WSGIProcessGroup of-a
    <Location /everybody>
        WSGIProcessGroup everybody
    </Location>
    <Location /embedded>
        WSGIProcessGroup %{GLOBAL}
    </Location>
</VirtualHost>",
        )
        .start();
    let status = |host, path| server.send("GET", path, &[("Host", host)], b"").status;
    assert_eq!(status("b", "/"), 500);
    server.await_log("WSGI0152");
    assert_eq!(status("b", "/embedded"), 200);
    assert_ne!(status("a", "/"), 500, "it is its own");
    assert_ne!(status("b", "/everybody"), 500, "it is everybody's");
}
