//! `WSGIHandlerScript`: a script that answers for files.

use super::ENVIRON;
use crate::harness::{Builder, Server};

/// Says its environ, whatever it is called for.
fn handler() -> String {
    ENVIRON.replace("def application", "def handle_request")
}

fn builder() -> Builder {
    Server::builder()
        .load(&["mime"])
        .app("handler.wsgi", &handler())
        .file("docs/file.txt", "the file")
        .file("docs/file.our", "another")
        .config("WSGIHandlerScript our-handler @apps@/handler.wsgi")
}

#[test]
fn the_script_answers_for_files_that_need_not_be_scripts() {
    let server = builder()
        .config("<Directory @docs@>\nAddHandler our-handler .our\n</Directory>")
        .config("<Location /all>\nSetHandler our-handler\n</Location>")
        .start();
    let environ = server.get("/file.our").json();
    let root = server.root().to_str().unwrap();
    assert_eq!(environ["SCRIPT_FILENAME"], format!("{root}/docs/file.our"));
    assert_eq!(environ["SCRIPT_NAME"], "/file.our");
    assert_eq!(environ["mod_wsgi.handler_script"], format!("{root}/apps/handler.wsgi"));
    assert_eq!(environ["mod_wsgi.request_handler"], "our-handler");
    assert_eq!(environ["mod_wsgi.callable_object"], "handle_request");
    assert_eq!(server.get("/file.txt").text(), "the file");
    let environ = server.get("/all/not/there").json();
    assert_eq!(environ["SCRIPT_FILENAME"], format!("{root}/docs/all"));
    assert_eq!(environ["SCRIPT_NAME"], "/all");
    assert_eq!(environ["PATH_INFO"], "/not/there");
}

#[test]
fn the_name_of_a_callable_is_for_other_scripts() {
    let server = builder()
        .config("WSGICallableObject app\n<Location /all>\nSetHandler our-handler\n</Location>")
        .start();
    assert_eq!(server.get("/all").json()["mod_wsgi.callable_object"], "handle_request");
}

#[test]
fn groups_and_authorization_are_those_of_the_handler_and_then_those_of_the_place() {
    let server = builder()
        .config(
            "WSGIApplicationGroup of-place
WSGIHandlerScript grouped @apps@/handler.wsgi application-group=of-handler pass-authorization=On
<Location /plain>
    SetHandler our-handler
</Location>
<Location /grouped>
    SetHandler grouped
</Location>",
        )
        .start();
    let ask = |path| server.send("GET", path, &[("Authorization", "x")], b"").json();
    assert_eq!(ask("/plain")["mod_wsgi.application_group"], "of-place");
    assert!(ask("/plain")["HTTP_AUTHORIZATION"].is_null());
    assert_eq!(ask("/grouped")["mod_wsgi.application_group"], "of-handler");
    assert_eq!(ask("/grouped")["HTTP_AUTHORIZATION"], "x");
}

#[test]
fn a_handler_of_another_name_is_none_and_that_of_scripts_keeps_its_meaning() {
    let server = builder()
        .config(
            "WSGIHandlerScript wsgi-script @apps@/handler.wsgi
<Location /file.txt>
    SetHandler our-handler2
</Location>
<Location /file.our>
    SetHandler wsgi-script
</Location>",
        )
        .start();
    assert_eq!(server.get("/file.txt").text(), "the file");
    assert_eq!(server.get("/file.our").status, 403, "Options ExecCGI is off");
}

#[test]
fn handlers_of_hosts_and_directories_win_name_by_name() {
    let other = handler().replace("200 OK", "202 Accepted");
    let server = builder()
        .app("other.wsgi", &other)
        .config(
            "WSGIHandlerScript second @apps@/handler.wsgi
<VirtualHost 127.0.0.1:@port@>
    ServerName host
    WSGIHandlerScript our-handler @apps@/other.wsgi
</VirtualHost>
<Location /a>
    SetHandler our-handler
</Location>
<Location /b>
    SetHandler second
</Location>
<Location /c>
    SetHandler second
    WSGIHandlerScript second @apps@/other.wsgi
</Location>
<Location /c/d>
    WSGIHandlerScript third @apps@/handler.wsgi
</Location>",
        )
        .start();
    let status = |path| server.send("GET", path, &[("Host", "host")], b"").status;
    assert_eq!(status("/a"), 202);
    assert_eq!(status("/b"), 200);
    assert_eq!(status("/c"), 202);
    assert_eq!(status("/c/d"), 202);
}

#[test]
fn a_rewritten_request_may_name_the_handler() {
    let server = builder()
        .load(&["rewrite"])
        .config(
            "<Directory @docs@>
RewriteEngine On
RewriteCond %{REQUEST_FILENAME} !-f
RewriteRule .* - [H=our-handler]
</Directory>",
        )
        .start();
    assert_eq!(server.get("/nothing/here").json()["mod_wsgi.request_handler"], "our-handler");
    assert_eq!(server.get("/file.txt").text(), "the file");
}

#[test]
fn reload_required_is_asked_about_the_file_that_was_asked_for() {
    let server = Server::builder()
        .app("handler.wsgi", "
import time
LOADED = time.time_ns()
asked = []
def reload_required(resource):
    asked.append(resource)
    return resource.endswith('reload')
def handle_request(environ, start_response):
    start_response('200 OK', [])
    return [repr((LOADED, asked)).encode()]
")
        .config("WSGIApplicationGroup one\nWSGIHandlerScript our-handler @apps@/handler.wsgi\n<Location />\nSetHandler our-handler\n</Location>")
        .start();
    let first = server.get("/x").text().to_owned();
    let loaded = |text: &str| text.split(',').next().unwrap().to_owned();
    let second = server.get("/y").text().to_owned();
    assert_eq!(loaded(&first), loaded(&second));
    assert!(second.contains("/docs/y'"), "{second}");
    assert_ne!(loaded(server.get("/reload").text()), loaded(&first));
}

#[test]
fn a_script_that_is_missing_or_has_no_such_function_is_a_500() {
    let server = Server::builder()
        .app("empty.wsgi", "")
        .config(
            "WSGIHandlerScript missing @apps@/missing.wsgi
WSGIHandlerScript empty @apps@/empty.wsgi
<Location /missing>
    SetHandler missing
</Location>
<Location /empty>
    SetHandler empty
</Location>",
        )
        .start();
    assert_eq!(server.get("/missing").status, 500);
    server.await_log("WSGI0105");
    assert_eq!(server.get("/empty").status, 500);
    server.await_log("WSGI0089");
}
