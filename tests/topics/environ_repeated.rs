//! environ when threads serve requests of many kinds one after the other. Most of what one request has is kept for the
//! next; nothing of it may show in one that does not have it.

use super::ENVIRON;
use crate::harness::{Connection, Server, request};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What some requests have and others have not, or have with another value: variables about the client and about the
/// request, with a number and without.
const HEADERS: [(&str, &str); 9] = [
    ("User-Agent", "HTTP_USER_AGENT"),
    ("accept", "HTTP_ACCEPT"),
    ("Accept-Language", "HTTP_ACCEPT_LANGUAGE"),
    ("Cookie", "HTTP_COOKIE"),
    ("Referer", "HTTP_REFERER"),
    ("X-Unheard-Of", "HTTP_X_UNHEARD_OF"),
    ("X-Forwarded-For", "HTTP_X_FORWARDED_FOR"),
    ("Content-Type", "CONTENT_TYPE"),
    ("sec-ch-ua", "HTTP_SEC_CH_UA"),
];

/// What differs from one request to another for reasons of its own.
pub const OF_ITS_OWN: [&str; 8] = [
    "mod_wsgi.application_start",
    "mod_wsgi.connection_id",
    "mod_wsgi.daemon_start",
    "mod_wsgi.queue_start",
    "mod_wsgi.request_id",
    "mod_wsgi.request_start",
    "mod_wsgi.thread_id",
    "wsgi.input",
];

/// Numbers that are the same in every run.
struct Dice(u32);

impl Dice {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) % limit
    }
}

/// A request, and what of its environ follows from it.
fn thrown(dice: &mut Dice, place: &str) -> (Vec<u8>, BTreeMap<&'static str, String>) {
    let path = ["", "/", "/a", "/a/longer/path"][dice.below(4) as usize];
    let query = ["", "x=1", "another=query"][dice.below(3) as usize];
    let method = ["GET", "POST", "PUT"][dice.below(3) as usize];
    let mark = if query.is_empty() { String::new() } else { format!("?{query}") };
    let uri = format!("{place}{path}{mark}");
    let mut environ = BTreeMap::from([
        ("REQUEST_METHOD", method.to_owned()),
        ("REQUEST_URI", uri.clone()),
        ("QUERY_STRING", query.to_owned()),
        ("PATH_INFO", path.to_owned()),
        ("mod_wsgi.path_info", path.to_owned()),
        ("HTTP_HOST", "localhost".to_owned()),
    ]);
    let mut headers = Vec::new();
    for (header, variable) in HEADERS {
        if dice.below(2) == 0 {
            let value = format!("{}-{}", header.to_lowercase(), dice.below(2));
            environ.insert(variable, value.clone());
            headers.push((header, value));
        }
    }
    if let Some(language) = environ.get("HTTP_ACCEPT_LANGUAGE").cloned() {
        environ.insert("LANGUAGE", language);
    }
    let body = &b"body"[..dice.below(2) as usize * 4];
    if !body.is_empty() {
        environ.insert("CONTENT_LENGTH", body.len().to_string());
    }
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    (request(method, &uri, &headers, body), environ)
}

/// What of an environ does not follow from its request, and has to be that of every other for the same place.
fn common(environ: &Map<String, Value>, known: &BTreeSet<&str>) -> Map<String, Value> {
    let is_common =
        |name: &str| !known.contains(name) && name != "REMOTE_PORT" && !OF_ITS_OWN.contains(&name);
    let pairs = environ.iter().filter(|(name, _)| is_common(name));
    pairs.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[test]
fn nothing_of_a_request_shows_in_another_on_the_same_threads() {
    let places = ["/one", "/two"];
    let lines = "WSGIScriptAlias /one @apps@/one.wsgi\nWSGIScriptAlias /two @apps@/two.wsgi\n\
                 SetEnvIf Accept-Language (.+) LANGUAGE=$1";
    let server = Server::builder()
        .app("one.wsgi", ENVIRON)
        .app("two.wsgi", ENVIRON)
        .load(&["setenvif"])
        .config(lines)
        .children(1, 2)
        .start();
    let mut connections: Vec<Connection> = (0..2).map(|_| server.connect()).collect();
    let mut common_of: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let mut dice = Dice(1);
    for count in 0..400 {
        let place = places[dice.below(2) as usize];
        let (bytes, expected) = thrown(&mut dice, place);
        let connection = &mut connections[dice.below(2) as usize];
        let port = connection.local_port().to_string();
        let environ = connection.send(&bytes).receive().json();
        let environ = environ.as_object().unwrap();
        let said = String::from_utf8_lossy(&bytes);
        for (name, value) in &expected {
            assert_eq!(environ.get(*name), Some(&Value::from(value.as_str())), "{name} of {said}");
        }
        assert_eq!(environ["REMOTE_PORT"], port, "request {count}");
        assert!(ids.insert(environ["mod_wsgi.request_id"].to_string()), "{said}");
        let known = expected.keys().copied().collect();
        let common = common(environ, &known);
        let before = common_of.entry(place).or_insert_with(|| common.clone());
        assert_eq!(&common, before, "request {count}: {said}");
    }
    let [one, two] = places.map(|place| &common_of[place]);
    assert_ne!(one["SCRIPT_NAME"], two["SCRIPT_NAME"]);
}
