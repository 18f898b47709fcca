//! A client as a site knows its visitors: keeps cookies, fills in forms, follows redirects when told to. Made by a test.

use super::{Response, Server};
use std::collections::BTreeMap;

/// One visitor of a server.
pub struct Visitor<'s> {
    server: &'s Server,
    cookies: BTreeMap<String, String>,
}

/// A part of a multipart form.
pub enum Field<'a> {
    Text(&'a str),
    File { name: &'a str, content: &'a [u8] },
}

const BOUNDARY: &str = "----a-boundary-of-rustgi-tests";

impl<'s> Visitor<'s> {
    pub fn of(server: &'s Server) -> Visitor<'s> {
        Visitor { server, cookies: BTreeMap::new() }
    }

    /// The cookies that the server has set so far.
    pub fn cookies(&self) -> &BTreeMap<String, String> {
        &self.cookies
    }

    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.send("GET", target, &[], b"")
    }

    /// GET, and where that leads to.
    #[track_caller]
    pub fn follow(&mut self, response: &Response) -> Response {
        assert!((300..400).contains(&response.status), "{} is no redirect", response.status);
        let location = response.header("Location").expect("a redirect says where to").to_owned();
        let path = match location.split_once("://") {
            Some((_, rest)) => &rest[rest.find('/').expect("an address has a path")..],
            None => location.as_str(),
        };
        self.get(path)
    }

    /// POST of a form as browsers encode it.
    #[track_caller]
    pub fn post_form(&mut self, target: &str, fields: &[(&str, &str)]) -> Response {
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", quote(name), quote(value)))
            .collect();
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        self.send("POST", target, &[kind], pairs.join("&").as_bytes())
    }

    /// POST of a form with files in it.
    #[track_caller]
    pub fn post_multipart(&mut self, target: &str, fields: &[(&str, Field)]) -> Response {
        let mut body = Vec::new();
        for (name, field) in fields {
            body.extend(format!("--{BOUNDARY}\r\n").bytes());
            let head = format!("Content-Disposition: form-data; name=\"{name}\"");
            match field {
                Field::Text(value) => {
                    body.extend(format!("{head}\r\n\r\n{value}").bytes());
                }
                Field::File { name, content } => {
                    let kind = "Content-Type: application/octet-stream";
                    body.extend(format!("{head}; filename=\"{name}\"\r\n{kind}\r\n\r\n").bytes());
                    body.extend_from_slice(content);
                }
            }
            body.extend_from_slice(b"\r\n");
        }
        body.extend(format!("--{BOUNDARY}--\r\n").bytes());
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        self.send("POST", target, &[("Content-Type", &kind)], &body)
    }

    #[track_caller]
    pub fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let mut headers = headers.to_vec();
        let all: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let all = all.join("; ");
        if !all.is_empty() {
            headers.push(("Cookie", &all));
        }
        let response = self.server.send(method, target, &headers, body);
        assert!(response.complete, "{method} {target}: the answer was cut");
        for cookie in response.all("Set-Cookie") {
            let pair = cookie.trim().split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie has a name");
            let expired = cookie.to_ascii_lowercase().contains("max-age=0");
            if expired {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        response
    }
}

/// Percent-encodes a path or a form field; `/` stays.
pub fn quote(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
