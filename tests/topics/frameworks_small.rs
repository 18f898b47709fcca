//! Applications of Flask, Bottle, CherryPy, Pyramid, Falcon and web.py, written as their own tutorials write them: each
//! does the same things in its own way, and runs as it is.

use super::frameworks::{md5, pattern, with_frameworks};
use crate::harness::{Builder, Field, Server, Visitor, quote};
use serde_json::json;

/// What the applications are called, their files, and what they say of themselves.
const ALL: [(&str, &str); 6] = [
    ("flask", "Flask is here"),
    ("bottle", "Bottle is here"),
    ("cherrypy", "CherryPy is here"),
    ("pyramid", "Pyramid is here"),
    ("falcon", "Falcon is here"),
    ("webpy", "web.py is here"),
];

fn builder() -> Builder {
    // Uploads that they have spooled wait in cycles for Python's collector.
    with_frameworks().tree("frameworks", "apps").files_may_stay_open()
}

fn mounted(name: &str, prefix: &str) -> Server {
    builder().config(&format!("WSGIScriptAlias /{prefix} @apps@/{name}.wsgi")).start()
}

/// Everything that each of them does, below this prefix.
fn runs(server: &Server, prefix: &str, greeting: &str) {
    let at = |path: &str| format!("{prefix}{path}");
    assert_eq!(server.get(&at("/")).text(), greeting);
    keeps_cookies(server, &at("/count"));
    reads_unicode(server, &at(""));
    reads_forms(server, &at(""));
    streams(server, &at(""), "");
    fails_well(server, &at(""));
}

fn keeps_cookies(server: &Server, target: &str) {
    let (mut one, mut other) = (Visitor::of(server), Visitor::of(server));
    assert_eq!(one.get(target).text(), "1");
    assert_eq!(one.get(target).text(), "2");
    assert_eq!(other.get(target).text(), "1");
    assert_eq!(one.get(target).text(), "3");
    assert_eq!(one.cookies().keys().collect::<Vec<_>>(), ["second", "visits"]);
}

fn reads_unicode(server: &Server, prefix: &str) {
    let name = "Grüße 世界";
    let target = format!("{prefix}/named/{}", quote(name));
    let mut visitor = Visitor::of(server);
    let moved = visitor.get(&format!("{prefix}/moved"));
    assert!((302..=303).contains(&moved.status), "{}", moved.status);
    let location = moved.header("Location").unwrap();
    assert!(location.ends_with(&target), "{location} is not {target}");
    assert_eq!(visitor.follow(&moved).json(), json!({"name": name, "query": ""}));
    let asked = format!("{target}?q={}", quote("ÿ & más"));
    assert_eq!(server.get(&asked).json(), json!({"name": name, "query": "ÿ & más"}));
}

fn reads_forms(server: &Server, prefix: &str) {
    let mut visitor = Visitor::of(server);
    let fields = [("title", "Ein Ärgernis = 1 & 2"), ("tag", "a"), ("tag", "ß")];
    let answer = visitor.post_form(&format!("{prefix}/form"), &fields).json();
    assert_eq!(answer, json!({"title": "Ein Ärgernis = 1 & 2", "tags": ["a", "ß"]}));

    let content = pattern(3 << 20);
    let file = Field::File { name: "data.bin", content: &content };
    let form = [("note", Field::Text("not a file")), ("file", file)];
    let answer = visitor.post_multipart(&format!("{prefix}/upload"), &form).json();
    let expected = json!({"name": "data.bin", "size": content.len(), "md5": md5(&content)});
    assert_eq!(answer, expected);
}

/// The second piece is made only after another request has asked for it, so the first one was not held back for it.
pub fn streams(server: &Server, prefix: &str, slash: &str) {
    let mut connection = server.connect();
    let target = format!("{prefix}/stream{slash}");
    connection.send(crate::harness::request("GET", &target, &[], b""));
    let head = connection.receive_head("GET");
    assert_eq!(head.status, 200);
    let first = connection.bytes("10\r\nthe first piece\n\r\n".len());
    assert_eq!(String::from_utf8_lossy(&first), "10\r\nthe first piece\n\r\n");
    assert_eq!(server.get(&format!("{prefix}/release{slash}")).status, 200);
    let second = connection.bytes("9\r\nreleased\n\r\n0\r\n\r\n".len());
    assert_eq!(String::from_utf8_lossy(&second), "9\r\nreleased\n\r\n0\r\n\r\n");
}

fn fails_well(server: &Server, prefix: &str) {
    assert_eq!(server.get(&format!("{prefix}/missing")).status, 404);
    let told = |log: &str| log.matches("LookupError: broken on purpose").count();
    let before = told(&server.error_log());
    assert_eq!(server.get(&format!("{prefix}/broken")).status, 500);
    crate::harness::wait_for("the traceback", || {
        (told(&server.error_log()) > before).then_some(())
    });
    let log = server.error_log();
    assert!(
        log.contains("raise LookupError('broken on purpose')"),
        "the frames are missing: {log}"
    );
    assert_eq!(server.get(&format!("{prefix}/")).status, 200, "it goes on");
}

fn runs_alone(name: &str) {
    let (_, greeting) = ALL.into_iter().find(|(known, _)| *known == name).unwrap();
    runs(&mounted(name, ""), "", greeting);
}

#[test]
fn flask_runs_as_it_is() {
    runs_alone("flask");
}

#[test]
fn bottle_runs_as_it_is() {
    runs_alone("bottle");
}

#[test]
fn cherrypy_runs_as_it_is() {
    runs_alone("cherrypy");
}

#[test]
fn pyramid_runs_as_it_is() {
    runs_alone("pyramid");
}

#[test]
fn falcon_runs_as_it_is() {
    runs_alone("falcon");
}

#[test]
fn webpy_runs_as_it_is() {
    runs_alone("webpy");
}

#[test]
fn all_of_them_run_side_by_side_below_paths_of_their_own() {
    let aliases = ALL.map(|(name, _)| format!("WSGIScriptAlias /{name} @apps@/{name}.wsgi\n"));
    let server = builder().config(&aliases.concat()).start();
    for (name, greeting) in ALL {
        runs(&server, &format!("/{name}"), greeting);
    }
}
