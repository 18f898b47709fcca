//! What an application finds in its environ.

use super::ENVIRON;
use crate::harness::{Builder, Installation, Mode, Server, request};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

/// A server in the making whose application, at `/`, answers with its environ.
pub fn builder() -> Builder {
    Server::builder_of(ENVIRON)
}

pub fn get(server: &Server, target: &str, headers: &[(&str, &str)]) -> Value {
    server.send("GET", target, headers, b"").json()
}

#[test]
fn a_plain_get_has_exactly_the_keys_of_the_specification() {
    let server = builder().start();
    let environ = get(&server, "/", &[]);
    let there: BTreeSet<&str> = environ.as_object().unwrap().keys().map(String::as_str).collect();
    let strings = [
        "CONTEXT_DOCUMENT_ROOT",
        "CONTEXT_PREFIX",
        "DOCUMENT_ROOT",
        "HTTP_CONNECTION",
        "HTTP_HOST",
        "PATH_INFO",
        "QUERY_STRING",
        "REMOTE_ADDR",
        "REMOTE_PORT",
        "REQUEST_METHOD",
        "REQUEST_SCHEME",
        "REQUEST_URI",
        "SCRIPT_FILENAME",
        "SCRIPT_NAME",
        "SERVER_ADDR",
        "SERVER_ADMIN",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
        "SERVER_SOFTWARE",
        "mod_wsgi.application_group",
        "mod_wsgi.callable_object",
        "mod_wsgi.handler_script",
        "mod_wsgi.listener_host",
        "mod_wsgi.listener_port",
        "mod_wsgi.path_info",
        "mod_wsgi.process_group",
        "mod_wsgi.request_handler",
        "mod_wsgi.request_id",
        "mod_wsgi.script_name",
        "mod_wsgi.server_pid",
        "wsgi.url_scheme",
    ];
    let objects = [
        "apache.version",
        "mod_wsgi.application_start",
        "mod_wsgi.daemon_start",
        "mod_wsgi.queue_start",
        "mod_wsgi.request_start",
        "mod_wsgi.thread_id",
        "mod_wsgi.version",
        "wsgi.errors",
        "wsgi.file_wrapper",
        "wsgi.input",
        "wsgi.input_terminated",
        "wsgi.multiprocess",
        "wsgi.multithread",
        "wsgi.run_once",
        "wsgi.version",
    ];
    let optional = ["mod_wsgi.connection_id"];
    let expected: BTreeSet<&str> = strings.into_iter().chain(objects).collect();
    let unexpected: Vec<_> =
        there.difference(&expected).filter(|key| !optional.contains(key)).collect();
    let missing: Vec<_> = expected.difference(&there).collect();
    assert!(unexpected.is_empty(), "not to be there: {unexpected:?}");
    assert!(missing.is_empty(), "missing: {missing:?}");
    for key in strings {
        assert!(environ[key].is_string(), "{key} is a str: {}", environ[key]);
    }
}

#[test]
fn the_cgi_keys_say_what_was_asked_for() {
    let server = builder().start();
    let environ = get(&server, "/a%20b//c?x=1&y=%20z", &[]);
    let port = server.port.to_string();
    let root = server.root().to_str().unwrap();
    for (key, value) in [
        ("REQUEST_METHOD", "GET"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_URI", "/a%20b//c?x=1&y=%20z"),
        ("QUERY_STRING", "x=1&y=%20z"),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", "/a b/c"),
        ("mod_wsgi.script_name", ""),
        ("mod_wsgi.path_info", "/a b/c"),
        ("SCRIPT_FILENAME", &format!("{root}/apps/app.wsgi")),
        ("DOCUMENT_ROOT", &format!("{root}/docs")),
        ("CONTEXT_PREFIX", ""),
        ("CONTEXT_DOCUMENT_ROOT", &format!("{root}/docs")),
        ("REQUEST_SCHEME", "http"),
        ("SERVER_NAME", "localhost"),
        ("SERVER_ADDR", "127.0.0.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("SERVER_ADMIN", "[no address given]"),
        ("mod_wsgi.listener_host", "127.0.0.1"),
        ("mod_wsgi.listener_port", &port),
        ("mod_wsgi.process_group", Mode::get().process_group()),
        ("mod_wsgi.callable_object", "application"),
        ("mod_wsgi.request_handler", "wsgi-script"),
        ("mod_wsgi.handler_script", ""),
        ("mod_wsgi.server_pid", &server.child().to_string()),
        ("wsgi.url_scheme", "http"),
    ] {
        assert_eq!(environ[key], value, "{key}");
    }
    let remote: u16 = environ["REMOTE_PORT"].as_str().unwrap().parse().unwrap();
    assert!(remote > 0 && remote != server.port);
    assert!(!environ["mod_wsgi.request_id"].as_str().unwrap().is_empty());
}

#[test]
fn the_server_description_names_the_module_and_python() {
    let server = builder().config("ServerTokens Full").start();
    let environ = get(&server, "/", &[]);
    let software = environ["SERVER_SOFTWARE"].as_str().unwrap();
    let python = Installation::get().python_says("'Python/%d.%d' % sys.version_info[:2]");
    assert!(software.starts_with("Apache/2.4"), "{software}");
    assert!(software.contains("mod_wsgi/6.1.1"), "{software}");
    assert!(software.contains("mod_rustgi/"), "{software}");
    assert!(software.contains(&python), "{software}");
}

#[test]
fn the_object_keys_have_the_types_and_values_of_the_specification() {
    let server = builder().start();
    let environ = get(&server, "/", &[]);
    let pair = |kind: &str, value: &str| serde_json::json!([kind, value]);
    for (key, kind, value) in [
        ("wsgi.version", "tuple", "(1, 0)"),
        ("wsgi.multithread", "bool", "True"),
        ("wsgi.run_once", "bool", "False"),
        ("wsgi.input_terminated", "bool", "True"),
        ("wsgi.file_wrapper", "type", "<class 'mod_wsgi.FileWrapper'>"),
        ("mod_wsgi.version", "tuple", "(6, 1, 1)"),
    ] {
        assert_eq!(environ[key], pair(kind, value), "{key}");
    }
    for (key, kind) in [
        ("wsgi.input", "Input"),
        ("wsgi.errors", "TextIOWrapper"),
        ("apache.version", "tuple"),
        ("mod_wsgi.thread_id", "int"),
        ("mod_wsgi.request_start", "float"),
        ("mod_wsgi.queue_start", "float"),
        ("mod_wsgi.daemon_start", "float"),
        ("mod_wsgi.application_start", "float"),
    ] {
        assert_eq!(environ[key][0], kind, "{key}: {}", environ[key]);
    }
    let version = environ["apache.version"][1].as_str().unwrap();
    assert!(version.starts_with("(2, 4, "), "{version}");
}

#[test]
fn the_clocks_run_forward_and_are_those_of_the_machine() {
    let server = builder().start();
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let before = seconds();
    let environ = get(&server, "/", &[]);
    let after = seconds();
    let clock = |key: &str| environ[key][1].as_str().unwrap().parse::<f64>().unwrap();
    let (request, application) =
        (clock("mod_wsgi.request_start"), clock("mod_wsgi.application_start"));
    assert!(before - 0.01 <= request, "{before} {request}");
    let between = [clock("mod_wsgi.queue_start"), clock("mod_wsgi.daemon_start")];
    match Mode::get() {
        Mode::Embedded => assert_eq!(between, [0.0, 0.0], "there is no queue and no daemon"),
        Mode::Daemon => assert!(
            [request, between[0], between[1], application].is_sorted(),
            "{request} {between:?} {application}"
        ),
    }
    assert!(request <= application, "{request} {application}");
    assert!(application <= after + 0.01, "{application} {after}");
}

#[test]
fn a_header_becomes_a_key_only_if_its_name_is_letters_digits_and_hyphens() {
    let server = builder().start();
    let environ = get(
        &server,
        "/",
        &[
            ("x-One-2", "plain"),
            ("X_Two", "underscore"),
            ("X.Three", "dot"),
            ("X!Four", "mark"),
            ("X-Empty", ""),
            ("Proxy", "http://evil.example"),
            ("Expect", "100-continue"),
            ("TE", "trailers"),
        ],
    );
    assert_eq!(environ["HTTP_X_ONE_2"], "plain");
    assert_eq!(environ["HTTP_X_EMPTY"], "");
    assert_eq!(environ["HTTP_EXPECT"], "100-continue");
    assert_eq!(environ["HTTP_TE"], "trailers");
    assert_eq!(environ["HTTP_CONNECTION"], "close");
    for absent in
        ["HTTP_X_TWO", "HTTP_X.THREE", "HTTP_X_THREE", "HTTP_X!FOUR", "HTTP_X_FOUR", "HTTP_PROXY"]
    {
        assert!(environ[absent].is_null(), "{absent}: {}", environ[absent]);
    }
}

#[test]
fn a_spoofed_header_never_takes_the_place_of_the_real_one() {
    let server = builder().start();
    for headers in [
        [("X-Real", "genuine"), ("X_Real", "forged")],
        [("X_Real", "forged"), ("X-Real", "genuine")],
    ] {
        assert_eq!(get(&server, "/", &headers)["HTTP_X_REAL"], "genuine");
    }
    assert!(get(&server, "/", &[("Content_Length", "5")])["CONTENT_LENGTH"].is_null());
}

#[test]
fn headers_with_other_characters_are_gone_for_the_access_log_too() {
    let server = builder()
        .config("LogFormat \"%{X_Two}i %{X-One}i\" names\nCustomLog @logs@/names.log names")
        .start();
    get(&server, "/", &[("X_Two", "underscore"), ("X-One", "hyphen")]);
    let root = server.root().to_owned();
    let logged = crate::harness::wait_for("a line in the log", || {
        std::fs::read_to_string(root.join("logs/names.log")).ok().filter(|log| log.ends_with('\n'))
    });
    assert_eq!(logged, "- hyphen\n");
}

#[test]
fn repeated_headers_arrive_joined() {
    let server = builder().start();
    let environ =
        get(&server, "/", &[("X-A", "1"), ("X-A", "2"), ("Cookie", "a=1"), ("Cookie", "b=2")]);
    assert_eq!(environ["HTTP_X_A"], "1, 2");
    assert_eq!(environ["HTTP_COOKIE"], "a=1, b=2");
}

#[test]
fn content_type_and_length_have_keys_of_their_own() {
    let server = builder().start();
    let environ = server.send("POST", "/", &[("Content-Type", "text/x; a=\"b\"")], b"12345").json();
    assert_eq!(environ["CONTENT_TYPE"], "text/x; a=\"b\"");
    assert_eq!(environ["CONTENT_LENGTH"], "5");
    assert!(environ["HTTP_CONTENT_TYPE"].is_null());
    assert!(environ["HTTP_CONTENT_LENGTH"].is_null());
}

#[test]
fn bytes_above_ascii_are_latin_1_characters() {
    let server = builder().start();
    let mut connection = server.connect();
    connection.send(
        b"GET /%C3%BC/%FF?q=%C3%BC HTTP/1.1\r\nHost: localhost\r\nX-Raw: caf\xe9 \xc3\xbc\r\n\r\n",
    );
    let environ = connection.receive().json();
    assert_eq!(environ["PATH_INFO"], "/\u{c3}\u{bc}/\u{ff}");
    assert_eq!(environ["QUERY_STRING"], "q=%C3%BC");
    assert_eq!(environ["REQUEST_URI"], "/%C3%BC/%FF?q=%C3%BC");
    assert_eq!(environ["HTTP_X_RAW"], "caf\u{e9} \u{c3}\u{bc}");
}

#[test]
fn raw_bytes_in_the_query_arrive_as_they_are() {
    let server = builder().config("HttpProtocolOptions Unsafe").start();
    let mut connection = server.connect();
    connection.send(b"GET /x?q=\xfc\xff HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let environ = connection.receive().json();
    assert_eq!(environ["QUERY_STRING"], "q=\u{fc}\u{ff}");
}

#[test]
fn files_are_named_in_the_encoding_of_the_file_system() {
    let source = "
import os
def application(environ, start_response):
    start_response('200 OK', [])
    return [os.fsencode(environ['SCRIPT_FILENAME']) + b'|' + os.fsencode(environ['DOCUMENT_ROOT'])]
";
    let server = Server::builder()
        .app("caf\u{e9}.wsgi", source)
        .file("d\u{f6}cs/x", "")
        .config("DocumentRoot \"@root@/d\u{f6}cs\"\nWSGIScriptAlias / \"@apps@/caf\u{e9}.wsgi\"")
        .start();
    let root = server.root().to_str().unwrap();
    assert_eq!(server.get("/").text(), format!("{root}/apps/caf\u{e9}.wsgi|{root}/d\u{f6}cs"));
}

#[test]
fn the_request_uri_is_kept_as_it_was_sent_or_follows_cgivar() {
    let server = Server::builder()
        .app("app.wsgi", ENVIRON)
        .config(
            "
WSGIScriptAlias /sent @apps@/app.wsgi
WSGIScriptAlias /current @apps@/app.wsgi
<Location /current>
    CGIVar REQUEST_URI current-uri
</Location>",
        )
        .start();
    let absolute = format!("http://localhost:{}/sent/%41?x=%42", server.port);
    assert_eq!(get(&server, &absolute, &[])["REQUEST_URI"], absolute.as_str());
    assert_eq!(get(&server, "/current/%41?x=1", &[])["REQUEST_URI"], "/current/A");
}

#[test]
fn the_server_is_named_as_httpd_names_it() {
    let server = builder().start();
    let environ = get(&server, "/", &[("Host", "example.org:81")]);
    assert_eq!(environ["SERVER_NAME"], "example.org");
    assert_eq!(environ["SERVER_PORT"], "81");
    assert_eq!(environ["HTTP_HOST"], "example.org:81");
    let canonical =
        builder().config("UseCanonicalName On\nServerName www.example.net:8080").start();
    let environ = get(&canonical, "/", &[("Host", "example.org:81")]);
    assert_eq!(environ["SERVER_NAME"], "www.example.net");
    assert_eq!(environ["SERVER_PORT"], "8080");
}

#[test]
fn http_1_0_without_a_host_is_served() {
    let server = builder().start();
    let mut connection = server.connect();
    connection.send("GET /x HTTP/1.0\r\n\r\n");
    let environ = connection.receive().json();
    assert_eq!(environ["SERVER_PROTOCOL"], "HTTP/1.0");
    assert!(environ["HTTP_HOST"].is_null());
    assert_eq!(environ["SERVER_NAME"], "localhost");
    assert!(connection.closed());
}

#[test]
fn every_request_has_an_environ_of_its_own_that_it_may_change() {
    let server = Server::of(
        "
def application(environ, start_response):
    assert type(environ) is dict
    assert 'left.behind' not in environ and environ['PATH_INFO'] != '/changed'
    environ['left.behind'] = 1
    environ['PATH_INFO'] = '/changed'
    del environ['REQUEST_METHOD'], environ['wsgi.version']
    environ.clear()
    start_response('200 OK', [])
    return [b'fine']
",
    );
    let mut connection = server.connect();
    for _ in 0..20 {
        connection.send(request("GET", "/asked", &[], b""));
        assert_eq!(connection.receive().text(), "fine");
    }
}

#[test]
fn each_value_is_the_one_of_its_own_request_on_a_kept_connection() {
    let server = builder().start();
    let mut connection = server.connect();
    for turn in 0..50 {
        let (path, value) = (format!("/p{turn}?q{turn}"), "v".repeat(turn));
        let headers: &[(&str, &str)] =
            if turn % 2 == 0 { &[("X-Turn", &value)] } else { &[("X-Other", &value)] };
        connection.send(request("GET", &path, headers, b""));
        let environ = connection.receive().json();
        assert_eq!(environ["PATH_INFO"], format!("/p{turn}"));
        assert_eq!(environ["QUERY_STRING"], format!("q{turn}"));
        let (here, absent) = if turn % 2 == 0 {
            ("HTTP_X_TURN", "HTTP_X_OTHER")
        } else {
            ("HTTP_X_OTHER", "HTTP_X_TURN")
        };
        assert_eq!(environ[here], value.as_str());
        assert!(environ[absent].is_null());
    }
}

#[test]
fn threads_are_numbered_from_one() {
    let server = Server::builder_of(
        "
import json, threading
together = threading.Barrier(4, timeout=10)
def application(environ, start_response):
    together.wait()
    start_response('200 OK', [])
    return [json.dumps(environ['mod_wsgi.thread_id']).encode()]
",
    )
    .children(1, 4)
    .start();
    let numbers: BTreeSet<u64> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| server.get("/"))).collect();
        asked.into_iter().map(|answer| answer.join().unwrap().json().as_u64().unwrap()).collect()
    });
    assert_eq!(numbers, BTreeSet::from([1, 2, 3, 4]));
}

#[test]
fn many_and_long_headers_arrive_whole() {
    let server = builder().config("LimitRequestFields 300\nLimitRequestFieldSize 65536").start();
    let long = "x".repeat(60_000);
    let names: Vec<String> = (0..250).map(|n| format!("X-H{n}")).collect();
    let mut headers: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), "value")).collect();
    headers.push(("X-Long", &long));
    let environ = get(&server, "/", &headers);
    assert_eq!(environ["HTTP_X_LONG"], long.as_str());
    assert!((0..250).all(|n| environ[format!("HTTP_X_H{n}")] == "value"));
}
