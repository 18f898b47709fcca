//! One HTTP/1.1 connection of a client. It reports the outcome of a request and never panics. The body of the request and of the right
//! answer is the token of the request, repeated.

use crate::site::Group;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub group: Group,
    pub token: u64,
    pub post: bool,
    /// Bytes of its body.
    pub body: usize,
    /// Bytes that the application adds to its answer.
    pub size: usize,
    /// Milliseconds that the application sleeps.
    pub delay: u64,
    /// The application sends no Content-Length.
    pub chunked: bool,
}

/// The outcome of a request.
#[derive(Clone, Debug)]
pub enum Got {
    /// The right answer, all of it.
    Right,
    /// Another status than 200.
    Status(u16),
    /// A 200 answer that does not belong to this request.
    Wrong(String),
    /// The connection ended before the answer was complete, after this many bytes of it.
    Cut(usize),
    /// No byte arrived for as long as the client waits.
    Silence,
    /// The client itself closed the connection.
    Left,
}

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Got::Right => f.write_str("200"),
            Got::Status(status) => write!(f, "{status}"),
            Got::Wrong(fault) => write!(f, "wrong: {fault}"),
            Got::Cut(came) => write!(f, "cut after {came} bytes"),
            Got::Silence => f.write_str("silence"),
            Got::Left => f.write_str("the client left"),
        }
    }
}

impl Asked {
    /// The token as text, as in requests, answers and logs.
    pub fn text(&self) -> String {
        text(self.token)
    }

    fn head(&self, close: bool) -> String {
        let Asked { group, size, delay, .. } = self;
        let (token, name) = (self.text(), group.name());
        let (method, chunked) = (if self.post { "POST" } else { "GET" }, u8::from(self.chunked));
        let connection = if close { "Connection: close\r\n" } else { "" };
        let length = match self.post {
            true => format!("Content-Length: {}\r\n", self.body),
            false => String::new(),
        };
        format!(
            "{method} /{name}?t={token}&s={size}&d={delay}&c={chunked} HTTP/1.1\r\nHost: localhost\r\n\
             X-Token: {token}\r\n{length}{connection}\r\n"
        )
    }

    /// All bytes of the request.
    pub fn bytes(&self, close: bool) -> Vec<u8> {
        let mut bytes = self.head(close).into_bytes();
        bytes.extend(filled(&self.text(), if self.post { self.body } else { 0 }));
        bytes
    }

    /// What is wrong with a 200 answer, if anything.
    fn fault(&self, answer: &[u8]) -> Option<String> {
        let token = self.text();
        let shown = || String::from_utf8_lossy(&answer[..answer.len().min(80)]).into_owned();
        let Some(end) = answer.iter().position(|&byte| byte == b'\n') else {
            return Some(format!("no line: {}", shown()));
        };
        let line = String::from_utf8_lossy(&answer[..end]);
        let mut words = line.split(' ');
        if words.next() != Some(&token) || words.next() != Some("whole") {
            return Some(format!("instead of '{token} whole': {}", shown()));
        }
        let rest = &answer[end + 1..];
        (rest != filled(&token, self.size))
            .then(|| format!("{} bytes instead of {}", rest.len(), self.size))
    }
}

/// A token as text.
pub fn text(token: u64) -> String {
    format!("{token:016x}")
}

fn filled(token: &str, size: usize) -> Vec<u8> {
    let mut bytes = token.repeat(size / token.len() + 1).into_bytes();
    bytes.truncate(size);
    bytes
}

/// A connection.
pub struct Http {
    stream: TcpStream,
    unread: Vec<u8>,
    /// Bytes of the answer that have arrived.
    came: usize,
    /// Whether another request may follow.
    pub open: bool,
}

/// Why there is nothing to read.
enum Stop {
    End,
    Silence,
}

impl Http {
    pub fn connect(port: u16, patience: Duration) -> io::Result<Http> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Http { stream, unread: Vec::new(), came: 0, open: true })
    }

    /// Sends some bytes. An error is ignored, because the answer that follows tells more.
    pub fn send(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).is_err() {
            self.open = false;
        }
    }

    /// Reads up to `most` bytes and then no more.
    pub fn read_some(&mut self, most: usize) {
        while self.came < most && self.fill().is_ok() {}
    }

    /// Sends a request and reads its answer.
    pub fn exchange(&mut self, asked: &Asked, close: bool) -> Got {
        self.came = 0;
        self.send(&asked.bytes(close));
        let got = match self.answer() {
            Ok((200, body)) => match asked.fault(&body) {
                None => Got::Right,
                Some(fault) => Got::Wrong(fault),
            },
            Ok((status, _)) => Got::Status(status),
            Err(Stop::End) => Got::Cut(self.came),
            Err(Stop::Silence) => Got::Silence,
        };
        self.open &= !close && matches!(got, Got::Right | Got::Status(_));
        got
    }

    fn answer(&mut self) -> Result<(u16, Vec<u8>), Stop> {
        let head = loop {
            match find(&self.unread, b"\r\n\r\n") {
                Some(end) => break self.unread.drain(..end + 4).collect::<Vec<u8>>(),
                None => self.fill()?,
            }
        };
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if head.contains("\r\nconnection: close") {
            self.open = false;
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = match length.and_then(|length| length.trim().parse::<usize>().ok()) {
            Some(length) => self.take(length)?,
            None if head.contains("\r\ntransfer-encoding: chunked") => self.chunks()?,
            None => Vec::new(),
        };
        Ok((status, body))
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Stop> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match find(&self.unread, b"\r\n") {
                    Some(end) => break end,
                    None => self.fill()?,
                }
            };
            let line = String::from_utf8_lossy(&self.take(end + 2)?).into_owned();
            let Ok(size) = usize::from_str_radix(line.trim(), 16) else { return Err(Stop::End) };
            let chunk = self.take(size + 2)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Stop> {
        while self.unread.len() < count {
            self.fill()?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    fn fill(&mut self) -> Result<(), Stop> {
        let mut block = [0; 1 << 16];
        loop {
            match self.stream.read(&mut block) {
                Ok(0) => return Err(Stop::End),
                Ok(count) => {
                    self.came += count;
                    self.unread.extend_from_slice(&block[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return Err(Stop::Silence);
                }
                Err(_) => return Err(Stop::End),
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
