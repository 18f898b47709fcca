//! What the configuration and other modules of httpd make of an environ.

use super::ENVIRON;
use super::environ::{builder, get};
use crate::harness::{Mpm, Server};
use serde_json::Value;

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
    assert_eq!(flags(builder().embedded().children(2, 4).start()), (true, true));
    assert_eq!(flags(builder().embedded().children(1, 4).start()), (true, false));
    assert_eq!(flags(builder().embedded().mpm(Mpm::Worker).children(2, 4).start()), (true, true));
    assert_eq!(flags(builder().embedded().children(2, 1).start()), (false, true));
    assert_eq!(flags(builder().embedded().mpm(Mpm::Prefork).start()), (false, true));
}
