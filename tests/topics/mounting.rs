//! Which requests reach an application, which application, and how the path is divided into SCRIPT_NAME and PATH_INFO.

use super::ENVIRON;
use crate::harness::{Builder, Response, Server};
use std::os::unix::fs::symlink;

/// A server in the making with the application that answers with its environ, not mounted anywhere yet.
pub fn builder() -> Builder {
    Server::builder().app("e.wsgi", ENVIRON)
}

#[track_caller]
pub fn divided(answer: &Response) -> (String, String) {
    let environ = answer.json();
    let text = |key: &str| environ[key].as_str().unwrap().to_owned();
    (text("SCRIPT_NAME"), text("PATH_INFO"))
}

/// SCRIPT_NAME and PATH_INFO, or the status that is not 200.
pub type Expected<'a> = Result<(&'a str, &'a str), u16>;

/// Asks each path, and compares what comes of it.
pub fn expect(server: &Server, rows: &[(&str, Expected<'_>)]) {
    for (path, expected) in rows {
        let answer = server.get(path);
        match expected {
            Ok((script_name, path_info)) => {
                assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
                let (script, info) = divided(&answer);
                assert_eq!((script.as_str(), info.as_str()), (*script_name, *path_info), "{path}");
            }
            Err(status) => assert_eq!(answer.status, *status, "{path}"),
        }
    }
}

#[test]
fn an_alias_matches_whole_path_segments() {
    let server = builder().config("WSGIScriptAlias /file @apps@/e.wsgi").start();
    expect(
        &server,
        &[
            ("/file", Ok(("/file", ""))),
            ("/file/", Ok(("/file", "/"))),
            ("/file/a/b", Ok(("/file", "/a/b"))),
            ("/file/a%2Fb", Err(404)),
            ("/fi%6Ce/x", Ok(("/file", "/x"))),
            ("/filex", Err(404)),
            ("/File", Err(404)),
            ("/", Err(404)),
        ],
    );
    let repeated = server.get("//file//a///b");
    assert_eq!(divided(&repeated), ("/file".into(), "/a/b".into()));
    assert_eq!(repeated.json()["REQUEST_URI"], "//file//a///b");
}

#[test]
fn repeated_slashes_are_collapsed_also_where_httpd_keeps_them() {
    let server = builder().config("MergeSlashes Off\nWSGIScriptAlias /file @apps@/e.wsgi").start();
    expect(&server, &[("//file//a///b", Ok(("/file", "/a/b")))]);
}

#[test]
fn an_alias_that_ends_in_a_slash_wants_one() {
    let server = builder()
        .config("WSGIScriptAlias /first/ @apps@/e.wsgi\nWSGIScriptAlias /fs/ @apps@/e.wsgi/")
        .start();
    expect(
        &server,
        &[
            ("/first", Err(404)),
            ("/first/", Ok(("/first/", ""))),
            ("/first/a", Err(404)),
            ("/fs/q", Ok(("/fs", "/q"))),
        ],
    );
}

#[test]
fn slashes_and_dots_in_alias_and_target_are_canonical() {
    let server = builder()
        .config(
            "WSGIScriptAlias /sl//x @apps@/e.wsgi\nWSGIScriptAlias /norm @apps@/../apps//e.wsgi",
        )
        .start();
    expect(&server, &[("/sl/x/1", Ok(("/sl/x", "/1"))), ("/norm/a", Ok(("/norm", "/a")))]);
    let file = server.get("/norm").json()["SCRIPT_FILENAME"].as_str().unwrap().to_owned();
    assert_eq!(file, format!("{}/apps/e.wsgi", server.root().display()));
}

#[test]
fn the_first_alias_that_matches_wins() {
    let server = builder()
        .config("WSGIScriptAlias /sub @apps@/e.wsgi\nWSGIScriptAlias /sub/deep @apps@/e.wsgi")
        .start();
    expect(&server, &[("/sub/deep/x", Ok(("/sub", "/deep/x")))]);
}

#[test]
fn the_root_alias_takes_every_path() {
    let server = builder().config("WSGIScriptAlias / @apps@/e.wsgi").start();
    expect(
        &server,
        &[
            ("/", Ok(("", "/"))),
            ("/a", Ok(("", "/a"))),
            ("/a/", Ok(("", "/a/"))),
            ("/a//b", Ok(("", "/a/b"))),
            ("/a/../b", Ok(("", "/b"))),
            ("/../../etc/passwd", Err(400)),
            ("/%2e%2e/x", Err(400)),
        ],
    );
}

#[test]
fn a_relative_target_is_not_found() {
    let server = builder()
        .config("<Directory />\nRequire all granted\n</Directory>\nWSGIScriptAlias /r apps/e.wsgi")
        .start();
    expect(&server, &[("/r", Err(404))]);
}

#[test]
fn a_pattern_alias_substitutes_and_appends_the_rest() {
    let server = builder()
        .file("apps/dir/one.wsgi", ENVIRON)
        .config(
            "
WSGIScriptAliasMatch ^/m/([^/]+) @apps@/dir/$1.wsgi
WSGIScriptAliasMatch ^/(admin|files) @apps@/e.wsgi/$1
WSGIScriptAliasMatch /mid @apps@/e.wsgi",
        )
        .start();
    expect(
        &server,
        &[
            ("/m/one/x", Ok(("/m/one", "/x"))),
            ("/m/oneyy/x", Err(404)),
            ("/admin/x", Ok(("", "/admin/x"))),
            ("/adminx/y", Ok(("", "/adminx/y"))),
            ("/a/mid/z", Ok(("/a/mid", "/z"))),
            ("/midz", Err(404)),
            ("/M/one/x", Err(404)),
        ],
    );
}

#[test]
fn a_pattern_that_matches_only_the_first_slash_takes_the_whole_path() {
    let server = builder().config("WSGIScriptAliasMatch ^/ @apps@/e.wsgi").start();
    expect(&server, &[("/a/b", Ok(("", "/a/b")))]);
}

#[test]
fn a_virtual_hosts_aliases_come_before_the_main_servers() {
    let server = builder()
        .app(
            "other.wsgi",
            "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'virtual host']
",
        )
        .config(
            "
WSGIScriptAlias /main @apps@/e.wsgi
WSGIScriptAlias /both @apps@/e.wsgi
<VirtualHost 127.0.0.1:@port@>
    ServerName localhost
    WSGIScriptAlias /both @apps@/other.wsgi
</VirtualHost>
<VirtualHost 127.0.0.1:@port@>
    ServerName whole.example
    WSGIScriptAlias / @apps@/other.wsgi
</VirtualHost>",
        )
        .start();
    assert_eq!(divided(&server.get("/main/x")), ("/main".into(), "/x".into()));
    assert_eq!(server.get("/both").text(), "virtual host");
    let whole = server.send("GET", "/main", &[("Host", "whole.example")], b"");
    assert_eq!(whole.text(), "virtual host");
}

#[test]
fn a_directory_target_offers_its_files_as_scripts() {
    let server = builder()
        .load(&["dir"])
        .file("apps/dir/one.wsgi", ENVIRON)
        .file("apps/dir/plain.txt", "not Python, and secret")
        .config("WSGIScriptAlias /dirs/ @apps@/dir/\nWSGIScriptAlias /dirn @apps@/dir")
        .start();
    expect(
        &server,
        &[
            ("/dirs/one.wsgi/p", Ok(("/dirs/one.wsgi", "/p"))),
            ("/dirs/none.wsgi", Err(404)),
            ("/dirs/", Err(403)),
            ("/dirn", Err(301)),
        ],
    );
    let text = server.get("/dirs/plain.txt");
    assert_eq!(text.status, 500, "whatever is there is taken for a script");
    assert!(!String::from_utf8_lossy(&text.body).contains("secret"));
}

#[test]
fn a_script_is_an_index_file_like_any_other() {
    let server = builder()
        .load(&["dir"])
        .file("apps/dir/index.wsgi", ENVIRON)
        .config("DirectoryIndex index.wsgi\nWSGIScriptAlias /dirs/ @apps@/dir/")
        .start();
    assert_eq!(server.get("/dirs/").status, 200);
}

#[test]
fn a_callable_can_be_chosen_for_a_file_a_place_or_an_alias() {
    let server = Server::builder()
        .app(
            "app.wsgi",
            "
def named(name):
    def callable_object(environ, start_response):
        start_response('200 OK', [])
        return [name, b' ', environ['mod_wsgi.callable_object'].encode()]
    return callable_object
application, first, second, third = map(named, (b'application', b'first', b'second', b'third'))
",
        )
        .load(&["setenvif"])
        .config(
            "
SetEnvIf X-Callable (.+) WHICH=$1
WSGICallableObject first
WSGIScriptAlias /server @apps@/app.wsgi
WSGIScriptAlias /place @apps@/app.wsgi
WSGIScriptAlias /option @apps@/app.wsgi callable-object=third
WSGIScriptAlias /env @apps@/app.wsgi
<Location /place>
    WSGICallableObject second
</Location>
<Location /option>
    WSGICallableObject second
</Location>
<Location /env>
    WSGICallableObject %{ENV:WHICH}
</Location>",
        )
        .start();
    assert_eq!(server.get("/server").text(), "first first");
    assert_eq!(server.get("/place").text(), "second second");
    assert_eq!(server.get("/option").text(), "third third");
    let chosen = server.send("GET", "/env", &[("X-Callable", "third")], b"");
    assert_eq!(chosen.text(), "third third");
    assert_eq!(server.get("/env").text(), "application application", "a variable that is not set");
}

#[test]
fn path_information_can_be_refused() {
    let server = builder()
        .config(
            "
WSGIScriptAlias /no @apps@/e.wsgi
<Location /no>
    AcceptPathInfo Off
</Location>",
        )
        .start();
    expect(&server, &[("/no", Ok(("/no", ""))), ("/no/x", Err(404))]);
    server.await_log("WSGI0137");
}

#[test]
fn a_missing_script_is_404_and_named_in_the_log() {
    let server = builder().config("WSGIScriptAlias /gone @apps@/gone.wsgi").start();
    assert_eq!(server.get("/gone").status, 404);
    assert!(server.await_log("WSGI0135").contains("/apps/gone.wsgi"));
}

#[test]
fn a_directory_in_place_of_a_script_is_403_and_named_in_the_log() {
    let server = builder().file("apps/dir/x", "").config("WSGIScriptAlias /dir @apps@/dir").start();
    assert_eq!(server.get("/dir/").status, 403);
    assert!(server.await_log("WSGI0136").contains("/apps/dir"));
}

#[test]
fn access_control_of_the_scripts_directory_holds() {
    let server = builder()
        .config(
            "
WSGIScriptAlias /e @apps@/e.wsgi
WSGIScriptAlias /gone @apps@/gone.wsgi
<Directory @apps@>
    Require all denied
</Directory>",
        )
        .start();
    expect(&server, &[("/e", Err(403)), ("/gone", Err(403))]);
}

#[test]
fn configuration_inside_ifmodule_of_mod_wsgi_counts() {
    let server = builder()
        .config(
            "
<IfModule mod_wsgi.c>
    WSGIScriptAlias /name @apps@/e.wsgi
</IfModule>
<IfModule wsgi_module>
    WSGIScriptAlias /symbol @apps@/e.wsgi
</IfModule>",
        )
        .start();
    expect(&server, &[("/name", Ok(("/name", ""))), ("/symbol", Ok(("/symbol", "")))]);
}

#[test]
fn a_script_behind_a_symbolic_link_is_served_only_where_links_may_be_followed() {
    let builder = builder().config(
        "WSGIScriptAlias /linked @root@/linked.wsgi\n\
         WSGIScriptAlias /refused @root@/run/linked.wsgi\n\
         <Directory \"@root@/run\">\n    Options -FollowSymLinks\n</Directory>",
    );
    for link in ["linked.wsgi", "run/linked.wsgi"] {
        symlink(builder.root().join("apps/e.wsgi"), builder.root().join(link)).unwrap();
    }
    let server = builder.start();
    expect(
        &server,
        &[
            ("/linked", Ok(("/linked", ""))),
            ("/linked/a", Ok(("/linked", "/a"))),
            ("/refused", Err(403)),
            ("/refused/a", Err(403)),
        ],
    );
}

#[test]
fn htaccess_beside_the_script_holds_whatever_follows_the_script_in_the_path() {
    let server = builder()
        .file("apps/.htaccess", "SetEnv FROM_HTACCESS here\n")
        .load(&["env"])
        .config("WSGIScriptAlias /file @apps@/e.wsgi\n<Directory \"@apps@\">\n    AllowOverride All\n</Directory>")
        .start();
    for path in ["/file", "/file/", "/file/a/b", "/file/.hidden"] {
        assert_eq!(server.get(path).json()["FROM_HTACCESS"], "here", "{path}");
    }
}

#[test]
fn configuration_for_the_scripts_file_and_directory_is_merged_once() {
    let server = builder()
        .load(&["headers"])
        .config(
            "WSGIScriptAlias /file @apps@/e.wsgi\nWSGIScriptAlias /directory @apps@\n\
             <Directory \"@apps@\">\n    Header add X-Directory yes\n</Directory>\n\
             <Files e.wsgi>\n    Header add X-File yes\n</Files>",
        )
        .start();
    for path in ["/file", "/file/a", "/directory/e.wsgi", "/directory/e.wsgi/a"] {
        let answer = server.get(path);
        assert_eq!(answer.all("X-Directory"), ["yes"], "{path}");
        assert_eq!(answer.all("X-File"), ["yes"], "{path}");
    }
}
