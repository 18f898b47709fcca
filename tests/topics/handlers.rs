//! Aliases beside the rest of httpd: handlers, negotiation, rewriting, other aliases.

use super::ENVIRON;
use super::mounting::{builder, divided, expect};

#[test]
fn what_is_aliased_elsewhere_stays_there() {
    let server = builder()
        .load(&["alias", "status"])
        .file("docs/static/style.css", "body {}")
        .config(
            "
WSGIScriptAlias / @apps@/e.wsgi
Alias /static @docs@/static
Redirect /old http://localhost/new
<Location /server-status>
    SetHandler server-status
</Location>",
        )
        .start();
    assert_eq!(server.get("/static/style.css").text(), "body {}");
    assert_eq!(server.get("/old").status, 302);
    assert!(server.get("/server-status?auto").text().contains("ServerVersion:"));
    assert_eq!(server.get("/staticx").json()["PATH_INFO"], "/staticx");
}

#[test]
fn a_file_is_a_script_by_its_handler_where_execution_is_allowed() {
    let server = builder()
        .load(&["mime"])
        .file("docs/set/app.any", ENVIRON)
        .file("docs/add/app.wsgi", ENVIRON)
        .file("docs/type/app.wsgi", ENVIRON)
        .file("docs/off/app.wsgi", ENVIRON)
        .config(
            "
<Directory @docs@/set>
    SetHandler wsgi-script
    Options +ExecCGI
</Directory>
<Directory @docs@/add>
    AddHandler wsgi-script .wsgi
    Options +ExecCGI
</Directory>
<Directory @docs@/type>
    AddType application/x-httpd-wsgi .wsgi
    Options +ExecCGI
</Directory>
<Directory @docs@/off>
    AddHandler wsgi-script .wsgi
    Options -ExecCGI
</Directory>",
        )
        .start();
    expect(
        &server,
        &[
            ("/set/app.any/x", Ok(("/set/app.any", "/x"))),
            ("/add/app.wsgi", Ok(("/add/app.wsgi", ""))),
            ("/type/app.wsgi/y", Ok(("/type/app.wsgi", "/y"))),
            ("/off/app.wsgi", Err(403)),
            ("/add/none.wsgi", Err(404)),
        ],
    );
    let line = server.await_log("WSGI0134");
    assert!(line.contains("/off/app.wsgi"), "{line}");
    assert_eq!(
        server.get("/type/app.wsgi").json()["mod_wsgi.request_handler"],
        "application/x-httpd-wsgi"
    );
}

#[test]
fn a_htaccess_file_can_make_scripts() {
    let server = builder()
        .load(&["mime"])
        .file(
            "docs/h/app.wsgi",
            "
def other(environ, start_response):
    start_response('200 OK', [])
    return [environ['mod_wsgi.callable_object'].encode()]
",
        )
        .file(
            "docs/h/.htaccess",
            "Options +ExecCGI\nAddHandler wsgi-script .wsgi\nWSGICallableObject other\n",
        )
        .config("<Directory @docs@>\nAllowOverride FileInfo Options\n</Directory>")
        .start();
    assert_eq!(server.get("/h/app.wsgi").text(), "other");
}

#[test]
fn negotiation_never_shows_the_source_of_an_aliased_script() {
    let server = builder()
        .load(&["mime", "negotiation"])
        .file("apps/dir/two.py", format!("# secret\n{ENVIRON}"))
        .config(
            "
AddType text/x-python .py
WSGIScriptAlias /dirs/ @apps@/dir/
<Directory @apps@/dir>
    Options +MultiViews
</Directory>",
        )
        .start();
    let answer = server.get("/dirs/two");
    assert!(!String::from_utf8_lossy(&answer.body).contains("secret"), "the source is shown");
}

#[test]
fn a_handler_that_nobody_has_never_shows_the_source_of_an_aliased_script() {
    let server = builder()
        .load(&["mime"])
        .file("apps/e.zz", format!("# secret\n{ENVIRON}"))
        .config("AddHandler cgi-script .zz\nWSGIScriptAlias /zz @apps@/e.zz")
        .start();
    let answer = server.get("/zz");
    assert!(!String::from_utf8_lossy(&answer.body).contains("secret"), "the source is shown");
}

#[test]
fn negotiation_can_find_scripts_that_have_a_handler() {
    let server = builder()
        .load(&["alias", "mime", "negotiation"])
        .file("apps/dir/two.py", ENVIRON)
        .config(
            "
Alias /ah @apps@/dir
<Directory @apps@/dir>
    AddHandler wsgi-script .wsgi .py
    Options +ExecCGI +MultiViews
    MultiviewsMatch Handlers
</Directory>",
        )
        .start();
    expect(
        &server,
        &[("/ah/two", Ok(("/ah/two.py", ""))), ("/ah/two/x", Ok(("/ah/two.py", "/x")))],
    );
}

#[test]
fn a_rewritten_path_reaches_the_alias_with_pass_through() {
    let server = builder()
        .load(&["rewrite"])
        .config(
            "
RewriteEngine On
RewriteRule ^/rw1(.*)$ /file/rw$1 [PT,QSA,E=MARK:rewritten]
RewriteRule ^/rw2(.*)$ /file/rw$1
WSGIScriptAlias /file @apps@/e.wsgi",
        )
        .start();
    let answer = server.get("/rw1/q?x=1");
    assert_eq!(divided(&answer), ("/file".into(), "/rw/q".into()));
    assert_eq!(answer.json()["REQUEST_URI"], "/rw1/q?x=1");
    assert_eq!(answer.json()["MARK"], "rewritten");
    assert_eq!(server.get("/rw2/q").status, 404);
}

#[test]
fn the_front_controller_pattern_of_mod_rewrite_works() {
    let server = builder()
        .load(&["rewrite", "mime"])
        .file("docs/site.wsgi", ENVIRON)
        .file("docs/real.txt", "a file")
        .config(
            "
<Directory @docs@>
    Options +ExecCGI
    AddHandler wsgi-script .wsgi
    RewriteEngine On
    RewriteBase /
    RewriteCond %{REQUEST_FILENAME} !-f
    RewriteRule ^(.*)$ /site.wsgi/$1 [QSA,PT,L]
</Directory>",
        )
        .start();
    let answer = server.get("/some/page?a=1");
    assert_eq!(divided(&answer), ("/site.wsgi".into(), "/some/page".into()));
    assert_eq!(answer.json()["QUERY_STRING"], "a=1");
    assert_eq!(server.get("/real.txt").text(), "a file");
}

#[test]
fn a_location_can_take_a_path_away_from_an_alias() {
    let server = builder()
        .file("docs/sub/status", "a file")
        .config(
            "
WSGIScriptAlias /sub @apps@/e.wsgi
<Location /sub/status>
    SetHandler default-handler
</Location>",
        )
        .start();
    let answer = server.get("/sub/status");
    assert!(
        !String::from_utf8_lossy(&answer.body).contains("wsgi.version"),
        "the application answered"
    );
    assert_eq!(server.get("/sub/x").status, 200);
}
