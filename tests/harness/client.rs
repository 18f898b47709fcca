//! A client that sends exactly the bytes it is given and sees exactly those that come back. Made by a test; the
//! connection closes with it.

use super::patience;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// One TCP connection to a server.
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// How the end of a body was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body: HEAD, 204, 304.
    None,
    Length(u64),
    Chunked,
    /// The end of the connection is the end of the body.
    Close,
}

/// One answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub reason: String,
    /// In the order of the wire; names as sent, values decoded as latin-1.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub framing: Framing,
    /// The body ended as its framing promised.
    pub complete: bool,
    /// Statuses of the interim answers (100) before it.
    pub interim: Vec<u16>,
}

impl Response {
    /// The value of a header that must not be repeated.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name).into_iter();
        let value = values.next();
        assert!(values.next().is_none(), "{name} is repeated: {:?}", self.headers);
        value
    }

    /// The values of a header, line by line.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON, of an answer that is 200 and whole.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        assert!(self.complete, "the answer was cut");
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// The bytes of an HTTP/1.1 request. `Host` and, for a body, `Content-Length` are added unless given.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let has = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    if !has("Host") {
        text.push_str("Host: localhost\r\n");
    }
    if !body.is_empty() && !has("Content-Length") && !has("Transfer-Encoding") {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A body in chunks.
pub fn chunked(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(format!("{:x}\r\n", part.len()).into_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

impl Connection {
    #[track_caller]
    pub fn open(port: u16) -> Connection {
        Connection::try_open(port).expect("the server listens")
    }

    /// Where nobody may be listening.
    pub fn try_open(port: u16) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(patience())).unwrap();
        stream.set_write_timeout(Some(patience())).unwrap();
        stream.set_nodelay(true).unwrap();
        Ok(Connection { stream, unread: Vec::new() })
    }

    /// The port that it has at this end.
    pub fn local_port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Connection {
        self.try_send(bytes.as_ref()).expect("the server takes what is sent");
        self
    }

    /// Sends, where the server may have closed already.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Takes the next answer, of a request that was not HEAD.
    #[track_caller]
    pub fn receive(&mut self) -> Response {
        self.receive_for("GET")
    }

    /// Takes the next answer, of a request with this method.
    #[track_caller]
    pub fn receive_for(&mut self, method: &str) -> Response {
        let mut response = self.receive_head(method);
        match response.framing {
            Framing::None => {}
            Framing::Length(length) => {
                let length = usize::try_from(length).unwrap();
                response.complete = self.fill(length);
                let there = self.unread.len().min(length);
                response.body = self.unread.drain(..there).collect();
            }
            Framing::Chunked => response.complete = self.receive_chunks(&mut response.body),
            Framing::Close => response.body = self.rest(),
        }
        response
    }

    /// Takes the head of the next answer and leaves its body. Interim answers before it are counted.
    #[track_caller]
    pub fn receive_head(&mut self, method: &str) -> Response {
        let mut interim = Vec::new();
        loop {
            let mut response = parse_head(&self.receive_head_bytes());
            if (100..200).contains(&response.status) && response.status != 101 {
                interim.push(response.status);
                continue;
            }
            response.framing = framing(method, &response);
            response.interim = interim;
            return response;
        }
    }

    #[track_caller]
    fn receive_head_bytes(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                return self.unread.drain(..end + 4).collect();
            }
            assert!(
                self.more(),
                "the connection ended before the head of an answer; there is {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        }
    }

    fn receive_chunks(&mut self, body: &mut Vec<u8>) -> bool {
        while let Some(line) = self.line() {
            let size = line.split(|&b| b == b';').next().unwrap_or_default();
            let size =
                std::str::from_utf8(size).ok().and_then(|s| usize::from_str_radix(s, 16).ok());
            let Some(size) = size else {
                panic!("not a chunk: {:?}", String::from_utf8_lossy(&line));
            };
            if size == 0 {
                // Trailers, if any, up to the empty line.
                while let Some(trailer) = self.line() {
                    if trailer.is_empty() {
                        return true;
                    }
                }
                return false;
            }
            let whole = self.fill(size + 2);
            body.extend(self.unread.drain(..size.min(self.unread.len())));
            if !whole {
                return false;
            }
            assert_eq!(&self.unread[..2], b"\r\n", "a chunk is longer than it says");
            self.unread.drain(..2);
        }
        false
    }

    /// Takes exactly so many bytes, as they come on the wire.
    #[track_caller]
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        assert!(self.fill(count), "only {} of {count} bytes came", self.unread.len());
        self.unread.drain(..count).collect()
    }

    /// Takes everything up to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.unread)
    }

    /// Takes everything up to the end of the connection, and only counts it.
    pub fn count_rest(&mut self) -> u64 {
        let mut count = 0;
        loop {
            count += u64::try_from(self.unread.len()).unwrap();
            self.unread.clear();
            if !self.more() {
                return count;
            }
        }
    }

    /// Takes everything up to the last chunk of a chunked body, as it comes on the wire.
    pub fn through_last_chunk(&mut self) -> Vec<u8> {
        while !self.unread.ends_with(b"0\r\n\r\n") && self.more() {}
        std::mem::take(&mut self.unread)
    }

    /// Whether the server has closed the connection, with nothing left unread.
    pub fn closed(&mut self) -> bool {
        self.unread.is_empty() && !self.more()
    }

    /// Whether nothing comes for so long, while the connection stays open.
    pub fn silent(&mut self, for_so_long: Duration) -> bool {
        self.stream.set_read_timeout(Some(for_so_long)).unwrap();
        let mut byte = [0];
        let looked = self.stream.peek(&mut byte);
        self.stream.set_read_timeout(Some(patience())).unwrap();
        self.unread.is_empty()
            && looked
                .is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let mut line: Vec<u8> = self.unread.drain(..end + 2).collect();
                line.truncate(end);
                return Some(line);
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Reads until so many bytes are there; false if the connection ends before.
    fn fill(&mut self, count: usize) -> bool {
        while self.unread.len() < count {
            if !self.more() {
                return false;
            }
        }
        true
    }

    /// Reads what there is; false at the end of the connection.
    #[track_caller]
    fn more(&mut self) -> bool {
        let mut block = vec![0; 1 << 16];
        let read = loop {
            match self.stream.read(&mut block) {
                // A signal for the test's own process: another test's client has ended.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&block[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!(
                "no answer ({error}); unread so far: {:?}",
                String::from_utf8_lossy(&self.unread)
            ),
        }
    }
}

fn parse_head(bytes: &[u8]) -> Response {
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let mut status_line = lines.next().unwrap_or_default().splitn(3, ' ');
    let status = status_line.nth(1).and_then(|code| code.parse().ok());
    let status = status.unwrap_or_else(|| panic!("not the head of an answer: {text:?}"));
    let header = |line: &str| {
        let (name, value) =
            line.split_once(':').unwrap_or_else(|| panic!("not a header: {line:?}"));
        (name.to_owned(), value.strip_prefix(' ').unwrap_or(value).to_owned())
    };
    Response {
        status,
        reason: status_line.next().unwrap_or_default().to_owned(),
        headers: lines.map(header).collect(),
        body: Vec::new(),
        framing: Framing::None,
        complete: true,
        interim: Vec::new(),
    }
}

fn framing(method: &str, response: &Response) -> Framing {
    if method == "HEAD" || matches!(response.status, 204 | 304) {
        Framing::None
    } else if response.header("Transfer-Encoding").is_some_and(|v| v.ends_with("chunked")) {
        Framing::Chunked
    } else if let Some(length) = response.header("Content-Length") {
        Framing::Length(length.parse().expect("Content-Length is a number"))
    } else {
        Framing::Close
    }
}

/// Where `needle` begins in `haystack`.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
