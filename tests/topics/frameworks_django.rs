//! A Django 5.2 site: admin, forms, uploads, static files, sessions, streams, errors, all on sqlite.

use super::frameworks::{ADMIN, django_site, let_write, md5, pattern, with_frameworks};
use super::frameworks_small::streams;
use crate::harness::{Browser, Field, Response, Server, Venv, Visitor, quote};
use serde_json::json;
use std::io::Write;

const STATIC: &str = "AddType text/css .css\nAlias /static/ \"@static@/\"\n<Directory \"@static@\">\nRequire all granted\n</Directory>\n";

/// The site mounted at a prefix, with the static files of the admin served by httpd itself, as Django's manual has it.
pub fn site_at(prefix: &str) -> Server {
    let files = Venv::get().package("django").join("contrib/admin/static");
    let server = django_site(with_frameworks(), "site")
        .load(&["alias", "mime"])
        .config(&STATIC.replace("@static@", files.to_str().unwrap()))
        .config(&format!("WSGIScriptAlias {prefix} @apps@/site/website/wsgi.py"))
        .start();
    let_write(&server, "site");
    server
}

/// What Django hid in a form against forgery.
#[track_caller]
fn token(page: &Response) -> String {
    assert_eq!(page.status, 200);
    let text = page.text();
    let start = text.find("name=\"csrfmiddlewaretoken\" value=\"").expect("a form has a token");
    text[start..].split('"').nth(3).unwrap().to_owned()
}

#[track_caller]
fn log_in(visitor: &mut Visitor) {
    let page = visitor.get("/admin/login/?next=/admin/");
    let fields = [
        ("csrfmiddlewaretoken", token(&page)),
        ("username", ADMIN.0.to_owned()),
        ("password", ADMIN.1.to_owned()),
        ("next", "/admin/".to_owned()),
    ];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = visitor.post_form("/admin/login/", &fields);
    assert_eq!((answer.status, answer.header("Location")), (302, Some("/admin/")));
}

#[test]
fn the_admin_of_django_lets_in_who_knows_the_password_and_keeps_an_entry() {
    let server = site_at("/");
    let mut visitor = Visitor::of(&server);
    let closed = visitor.get("/admin/");
    assert_eq!(closed.header("Location"), Some("/admin/login/?next=/admin/"));
    let page = visitor.follow(&closed);
    let wrong = [
        ("csrfmiddlewaretoken", token(&page)),
        ("username", ADMIN.0.into()),
        ("password", "x".into()),
    ];
    let wrong = wrong.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert!(visitor.post_form("/admin/login/", &wrong).text().contains("Please enter the correct"));
    let forged = visitor.post_form("/admin/login/", &wrong[1..]);
    assert_eq!(forged.status, 403, "no token, no log-in");
    log_in(&mut visitor);
    assert!(visitor.get("/admin/").text().contains("Site administration"));

    let page = visitor.get("/admin/website/entry/add/");
    let token = token(&page);
    let title = "Üben macht Spaß — 練習";
    let entry = [
        ("csrfmiddlewaretoken", Field::Text(&token)),
        ("title", Field::Text(title)),
        ("text", Field::Text("Zeile eins\r\nZeile zwei")),
        ("attachment", Field::File { name: "", content: b"" }),
        ("_save", Field::Text("Save")),
    ];
    let saved = visitor.post_multipart("/admin/website/entry/add/", &entry);
    assert_eq!(saved.status, 302, "{}", saved.text());
    let list = visitor.follow(&saved);
    assert!(list.text().contains(title) && list.text().contains("was added successfully"));

    let out = visitor.post_form("/admin/logout/", &[("csrfmiddlewaretoken", &token)]);
    assert_eq!(out.status, 200, "{}", out.text());
    assert_eq!(visitor.get("/admin/").status, 302, "closed again");
}

#[test]
fn a_form_of_django_with_a_file_comes_back_as_it_was() {
    let server = site_at("/blog");
    let mut visitor = Visitor::of(&server);
    let token = token(&visitor.get("/blog/write/"));
    let content = pattern(3 << 20);
    let form = |token| {
        [
            ("csrfmiddlewaretoken", Field::Text(token)),
            ("title", Field::Text("Привет, мир")),
            ("text", Field::Text("<b>&amp; text")),
            ("attachment", Field::File { name: "Zeugnis.bin", content: &content }),
        ]
    };
    let forged = visitor.post_multipart("/blog/write/", &form("of nobody"));
    assert_eq!(forged.status, 403);
    let saved = visitor.post_multipart("/blog/write/", &form(&token));
    let address = format!("/blog/entry/{}/", quote("привет-мир"));
    assert_eq!(saved.status, 302, "{}", saved.text());
    assert_eq!(saved.header("Location"), Some(address.as_str()));
    let page = visitor.follow(&saved);
    assert!(page.text().contains("&lt;b&gt;&amp;amp; text"), "{}", page.text());
    assert!(page.text().contains("/blog/entry/1/attachment"), "{}", page.text());
    let file = visitor.get("/blog/entry/1/attachment");
    assert!(file.body == content, "the attachment changed on its way");
    assert_eq!(file.header("Content-Length"), Some(content.len().to_string().as_str()));
    assert!(file.header("Content-Disposition").unwrap().starts_with("attachment; filename="));
    let incomplete = visitor.post_form("/blog/write/", &[("csrfmiddlewaretoken", &token)]);
    assert!(incomplete.text().contains("This field is required."));
}

#[test]
fn an_upload_to_django_is_spooled_and_whole() {
    let server = site_at("/");
    for size in [1 << 10, 6 << 20] {
        let content = pattern(size);
        let form = [("file", Field::File { name: "data.bin", content: &content })];
        let answer = Visitor::of(&server).post_multipart("/upload/", &form);
        // Django keeps what is larger than 2.5 MB in a file.
        let expected = json!({
            "name": "data.bin", "size": size, "md5": md5(&content), "spooled": size > 2_621_440,
        });
        assert_eq!(answer.json(), expected);
    }
    assert_eq!(server.get("/upload/").status, 405);
}

#[test]
fn httpd_serves_the_static_files_of_django_beside_it() {
    let server = site_at("/");
    let sheet = server.get("/static/admin/css/base.css");
    assert_eq!((sheet.status, sheet.header("Content-Type")), (200, Some("text/css")));
    assert!(sheet.text().contains("--primary"), "it is the style sheet of the admin");
    let tag = sheet.header("ETag").unwrap();
    let again = server.send("GET", "/static/admin/css/base.css", &[("If-None-Match", tag)], b"");
    assert_eq!(again.status, 304);
    assert_eq!(server.get("/static/nothing.css").status, 404);
    assert!(server.get("/").text().contains("<h1>site</h1>"), "the site is there as well");
}

#[test]
fn a_stream_of_django_comes_piece_by_piece() {
    streams(&site_at("/"), "", "/");
}

#[test]
fn sessions_of_django_are_kept_apart() {
    let server = site_at("/");
    let (mut one, mut other) = (Visitor::of(&server), Visitor::of(&server));
    for (visits, visitor) in [(1, &mut one), (1, &mut other)] {
        assert_eq!(visitor.get("/visits/").json(), json!({"visits": visits}));
    }
    assert_eq!(one.get("/visits/").json(), json!({"visits": 2}));
    assert_eq!(one.get("/visits/").json(), json!({"visits": 3}));
    assert_eq!(other.get("/visits/").json(), json!({"visits": 2}));
    assert_ne!(one.cookies()["sessionid"], other.cookies()["sessionid"]);
}

#[test]
fn django_redirects_to_addresses_below_its_mount_point() {
    let server = site_at("/a/b");
    let moved = server.get("/a/b/old/");
    assert_eq!((moved.status, moved.header("Location")), (301, Some("/a/b/")));
    let slash = server.get("/a/b/visits?x=%C3%A9");
    assert_eq!((slash.status, slash.header("Location")), (301, Some("/a/b/visits/?x=%C3%A9")));
    let bare = server.get("/a/b");
    assert_eq!(bare.status, 200, "the empty path is the index");
    let (head, got) = (server.send("HEAD", "/a/b/", &[], b""), server.get("/a/b/"));
    assert_eq!(head.header("Content-Length"), got.header("Content-Length"));
    assert_eq!(head.header("Content-Length"), Some(got.body.len().to_string().as_str()));
}

#[test]
fn what_breaks_in_django_is_told_in_the_log_and_seen_by_the_client() {
    let server = site_at("/");
    let missing = server.get(&format!("/entry/{}/", quote("нет")));
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("The requested resource was not found"));
    let broken = server.get("/broken/");
    assert_eq!(broken.status, 500);
    assert!(broken.text().contains("Server Error (500)"), "Django's own page");
    server.await_log("LookupError: broken on purpose");
    assert!(server.error_log().contains("in broken"), "the frame of the view is told");
    let cut = server.get("/broken-stream/");
    assert_eq!((cut.status, cut.complete), (200, false), "what is cut is not taken for whole");
    assert_eq!(cut.text(), "the first piece\n");
    server.await_log("LookupError: broken in the middle");
    assert_eq!(server.get("/").status, 200, "it goes on");
}

#[test]
fn a_browser_logs_in_to_the_admin_and_writes_an_entry() {
    let browser = match Browser::start() {
        Ok(browser) => browser,
        Err(why) => {
            // Past the harness of cargo, which shows nothing of a test that passes.
            let _ = writeln!(std::io::stderr(), "SKIPPED, no browser: {why}");
            return;
        }
    };
    let server = site_at("/");
    let address = |path: &str| format!("http://localhost:{}{path}", server.port);
    browser.open(&address("/admin/"));
    browser.await_title("Log in | Django site admin");
    assert_eq!(
        browser.style("#header", "background-color"),
        "rgba(65, 118, 144, 1)",
        "styles come"
    );
    browser.type_into("#id_username", ADMIN.0);
    browser.type_into("#id_password", ADMIN.1);
    browser.click("input[type=submit]");
    browser.await_title("Site administration | Django site admin");
    browser.click(".model-entry .addlink");
    browser.type_into("#id_title", "Écrit au clavier");
    browser.type_into("#id_text", "première ligne");
    browser.click("input[name=_save]");
    browser.await_address(&address("/admin/website/entry/"));
    assert!(browser.text(".messagelist").contains("Écrit au clavier"), "it was added");
    browser.open(&address("/"));
    browser.click("li a");
    browser.await_title("Écrit au clavier");
    assert_eq!(browser.text("h1"), "Écrit au clavier");
    browser.await_address(&address(&format!("/entry/{}/", quote("écrit-au-clavier"))));
}
