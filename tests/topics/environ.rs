//! What an application finds in its environ.

use super::ENVIRON;
use crate::harness::{Builder, Installation, Mpm, Server, request};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

/// A server in the making whose application, at `/`, answers with its environ.
fn builder() -> Builder {
    Server::builder_of(ENVIRON)
}

fn get(server: &Server, target: &str, headers: &[(&str, &str)]) -> Value {
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
        ("mod_wsgi.process_group", ""),
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
        ("mod_wsgi.queue_start", "float", "0.0"),
        ("mod_wsgi.daemon_start", "float", "0.0"),
    ] {
        assert_eq!(environ[key], pair(kind, value), "{key}");
    }
    for (key, kind) in [
        ("wsgi.input", "Input"),
        ("wsgi.errors", "TextIOWrapper"),
        ("apache.version", "tuple"),
        ("mod_wsgi.thread_id", "int"),
        ("mod_wsgi.request_start", "float"),
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
fn authorization_is_kept_from_the_application() {
    let server = builder().start();
    let environ = get(
        &server,
        "/",
        &[("Authorization", "Basic YTpi"), ("Proxy-Authorization", "Basic YTpi")],
    );
    assert!(environ["HTTP_AUTHORIZATION"].is_null());
    assert!(environ["HTTP_PROXY_AUTHORIZATION"].is_null());
}

#[test]
fn authorization_is_passed_on_where_the_configuration_says_so() {
    let server = Server::builder()
        .app("app.wsgi", ENVIRON)
        .config(
            "
WSGIScriptAlias /plain @apps@/app.wsgi
WSGIScriptAlias /located @apps@/app.wsgi
WSGIScriptAlias /option-on @apps@/app.wsgi pass-authorization=On
WSGIScriptAlias /option-off @apps@/app.wsgi pass-authorization=Off
WSGIScriptAlias /cgi @apps@/app.wsgi
<Location /located>
    WSGIPassAuthorization On
</Location>
<Location /option-off>
    WSGIPassAuthorization On
</Location>
<Location /cgi>
    CGIPassAuth On
</Location>",
        )
        .start();
    let headers = [("Authorization", "Bearer t"), ("Proxy-Authorization", "Basic YTpi")];
    for (path, authorization, proxy) in [
        ("/plain", false, false),
        ("/located", true, false),
        ("/option-on", true, false),
        ("/option-off", false, false),
        ("/cgi", true, true),
    ] {
        let environ = get(&server, path, &headers);
        assert_eq!(environ["HTTP_AUTHORIZATION"] == "Bearer t", authorization, "{path}");
        assert_eq!(environ["HTTP_PROXY_AUTHORIZATION"] == "Basic YTpi", proxy, "{path}");
    }
}

#[test]
fn a_user_that_httpd_has_authenticated_is_named() {
    let server = builder()
        .load(&["auth_basic", "authn_core", "authn_file", "authz_user"])
        // The password is `secret`.
        .file("run/users", "zo:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
        .config(
            "
<Location />
    AuthType Basic
    AuthName x
    AuthUserFile @root@/run/users
    Require valid-user
</Location>",
        )
        .start();
    assert_eq!(server.get("/").status, 401);
    let environ = get(&server, "/", &[("Authorization", "Basic em86c2VjcmV0")]);
    assert_eq!(environ["REMOTE_USER"], "zo");
    assert_eq!(environ["AUTH_TYPE"], "Basic");
    assert!(environ["HTTP_AUTHORIZATION"].is_null());
}

#[test]
fn head_reaches_the_application_as_head_get_or_as_filters_need_it() {
    let server = Server::builder()
        .app("app.wsgi", "
def application(environ, start_response):
    start_response('200 OK', [('X-Method', environ['REQUEST_METHOD']), ('Content-Type', 'text/plain')])
    return [b'x']
")
        .load(&["filter", "deflate"])
        .config(
            "
WSGIScriptAlias /default @apps@/app.wsgi
WSGIScriptAlias /on @apps@/app.wsgi
WSGIScriptAlias /off @apps@/app.wsgi
WSGIScriptAlias /filtered @apps@/app.wsgi
WSGIScriptAlias /filtered-off @apps@/app.wsgi
<Location /on>
    WSGIMapHEADToGET On
</Location>
<Location /off>
    WSGIMapHEADToGET Off
</Location>
<Location /filtered>
    SetOutputFilter DEFLATE
</Location>
<Location /filtered-off>
    SetOutputFilter DEFLATE
    WSGIMapHEADToGET Off
</Location>",
        )
        .start();
    for (path, method) in [
        ("/default", "HEAD"),
        ("/on", "GET"),
        ("/off", "HEAD"),
        ("/filtered", "GET"),
        ("/filtered-off", "HEAD"),
    ] {
        let answer = server.send("HEAD", path, &[], b"");
        assert_eq!(answer.header("X-Method"), Some(method), "{path}");
        assert_eq!(server.get(path).header("X-Method"), Some("GET"), "{path}");
    }
}

#[test]
fn methods_arrive_as_sent() {
    let server = builder().start();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "MKCOL"] {
        let answer = server.send(method, "/", &[], b"");
        assert_eq!(answer.json()["REQUEST_METHOD"], method);
    }
    let custom = server.send("BREW", "/", &[], b"");
    assert_eq!(custom.json()["REQUEST_METHOD"], "BREW");
}

#[test]
fn variables_of_the_server_configuration_are_passed_on() {
    let server = builder()
        .load(&["env", "setenvif"])
        .environment("PASSED_ON", "from outside")
        .config(
            "
SetEnv ONE 1
SetEnv LATIN caf\u{e9}
SetEnvIf X-Agent ^curl AGENT=yes
PassEnv PASSED_ON
SetEnv SCRIPT_NAME /forged
SetEnv PATH /forged
SetEnv request_method FORGED",
        )
        .start();
    let environ = get(&server, "/", &[("X-Agent", "curl/8")]);
    assert_eq!(environ["ONE"], "1");
    assert_eq!(environ["LATIN"], "caf\u{c3}\u{a9}");
    assert_eq!(environ["AGENT"], "yes");
    assert_eq!(environ["PASSED_ON"], "from outside");
    assert_eq!(environ["SCRIPT_NAME"], "", "the CGI variable wins");
    assert_eq!(environ["REQUEST_METHOD"], "GET", "the CGI variable wins, whatever the case");
    assert!(environ["PATH"].is_null());
    let other = get(&server, "/", &[("X-Agent", "wget")]);
    assert!(other["AGENT"].is_null(), "nothing stays from the request before");
}

#[test]
fn an_https_variable_sets_the_scheme_and_vanishes() {
    let server = builder().load(&["setenvif"]).config("SetEnvIf X-Scheme (.+) HTTPS=$1").start();
    for (value, scheme) in [
        ("on", "https"),
        ("ON", "https"),
        ("1", "https"),
        ("off", "http"),
        ("11", "http"),
        ("true", "http"),
    ] {
        let environ = get(&server, "/", &[("X-Scheme", value)]);
        assert_eq!(environ["wsgi.url_scheme"], scheme, "{value}");
        assert!(environ["HTTPS"].is_null());
    }
}

#[test]
fn a_tls_connection_is_https_and_shows_ssl_variables_where_configured() {
    let server = Server::builder()
        .app("app.wsgi", ENVIRON)
        .tls()
        .config(
            "
WSGIScriptAlias /plain @apps@/app.wsgi
WSGIScriptAlias /shown @apps@/app.wsgi
<Location /shown>
    SSLOptions +StdEnvVars
</Location>",
        )
        .start();
    let ask = |path: &str| -> Value {
        serde_json::from_slice(&server.curl(&[], path).stdout).expect("the environ")
    };
    let plain = ask("/plain");
    assert_eq!(plain["wsgi.url_scheme"], "https");
    assert_eq!(plain["REQUEST_SCHEME"], "https");
    assert!(plain["HTTPS"].is_null());
    assert!(plain["SSL_PROTOCOL"].is_null());
    let shown = ask("/shown");
    assert_eq!(shown["wsgi.url_scheme"], "https");
    assert!(shown["HTTPS"].is_null());
    assert!(shown["SSL_PROTOCOL"].as_str().unwrap().starts_with("TLS"));
}

#[test]
fn an_internal_redirect_leaves_the_first_request_under_redirect_keys() {
    let server = Server::builder()
        .app("app.wsgi", ENVIRON)
        .load(&["env"])
        .config("WSGIScriptAlias /gone @apps@/app.wsgi\nErrorDocument 404 /gone/page?of=error\nSetEnv MARK 7")
        .start();
    let answer = server.get("/nowhere?a=b");
    assert_eq!(answer.status, 200, "the application says 200 of the error document");
    let environ = answer.json();
    assert_eq!(environ["REDIRECT_URL"], "/nowhere");
    assert_eq!(environ["REDIRECT_STATUS"], "404");
    assert_eq!(environ["REDIRECT_QUERY_STRING"], "a=b");
    assert_eq!(environ["REDIRECT_MARK"], "7");
    assert_eq!(environ["REQUEST_URI"], "/nowhere?a=b");
    assert_eq!(environ["QUERY_STRING"], "of=error");
    assert_eq!(environ["SCRIPT_NAME"], "/gone");
    assert_eq!(environ["PATH_INFO"], "/page");
    let internal = environ.as_object().unwrap().keys().find(|key| key.contains("mod_wsgi.x-"));
    assert_eq!(internal, None);
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
fn the_client_address_is_the_one_that_mod_remoteip_found() {
    let server = builder()
        .load(&["remoteip"])
        .config("RemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1")
        .start();
    assert_eq!(get(&server, "/", &[("X-Client", "192.0.2.7")])["REMOTE_ADDR"], "192.0.2.7");
}

#[test]
fn other_modules_variables_reach_the_application() {
    let server = builder().load(&["unique_id"]).start();
    let unique = get(&server, "/", &[])["UNIQUE_ID"].as_str().unwrap().to_owned();
    assert!(unique.len() > 10);
    assert_ne!(get(&server, "/", &[])["UNIQUE_ID"], unique.as_str());
}

#[test]
fn concurrency_is_what_the_mpm_allows() {
    let flags = |server: Server| {
        let environ = get(&server, "/", &[]);
        let flag = |key: &str| environ[key][1] == "True";
        (flag("wsgi.multithread"), flag("wsgi.multiprocess"))
    };
    assert_eq!(flags(builder().children(2, 4).start()), (true, true));
    assert_eq!(flags(builder().children(1, 4).start()), (true, false));
    assert_eq!(flags(builder().mpm(Mpm::Worker).children(2, 4).start()), (true, true));
    assert_eq!(flags(builder().children(2, 1).start()), (false, true));
    assert_eq!(flags(builder().mpm(Mpm::Prefork).start()), (false, true));
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
