//! A request in parts, before it is bytes. Made valid, then mutated in place; ends when it is written down.

use super::Random;

/// A request that need not be one.
pub struct Draft {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub version: Vec<u8>,
    /// Names, and values as they follow the colon.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub line_end: Vec<u8>,
    pub body: Vec<u8>,
}

impl Draft {
    /// A valid request.
    pub fn valid(random: &mut Random) -> Draft {
        let mut draft = Draft {
            method: b"GET".to_vec(),
            target: random.pick(TARGETS).to_vec(),
            version: b"HTTP/1.1".to_vec(),
            headers: Vec::new(),
            line_end: b"\r\n".to_vec(),
            body: Vec::new(),
        };
        draft.put("Host", b"localhost");
        draft.put("User-Agent", b"mutations/1");
        draft.put("Accept", b"*/*");
        if random.one_in(3) {
            draft.put("Cookie", b"a=1; b=2");
        }
        if random.one_in(2) {
            draft.method = random.pick(&[&b"POST"[..], b"PUT", b"PATCH"]).to_vec();
            draft.put("Content-Type", b"application/octet-stream");
            let lines = random.below(40);
            let body: Vec<u8> =
                (0..lines).flat_map(|line| format!("line {line} of it\n").into_bytes()).collect();
            if random.one_in(2) {
                draft.put("Transfer-Encoding", b"chunked");
                draft.body = chunked(&body, random);
            } else {
                draft.put("Content-Length", body.len().to_string().as_bytes());
                draft.body = body;
            }
        }
        draft
    }

    /// Adds a header.
    pub fn put(&mut self, name: &str, value: &[u8]) {
        self.put_raw(name.as_bytes().to_vec(), value);
    }

    /// Adds a header of any name.
    pub fn put_raw(&mut self, name: Vec<u8>, value: &[u8]) {
        self.headers.push((name, [b" ", value].concat()));
    }

    /// Takes away all headers of this name.
    pub fn drop(&mut self, name: &str) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name.as_bytes()));
    }

    /// One of its headers; it gets one if it has none.
    pub fn any_header(&mut self, random: &mut Random) -> &mut (Vec<u8>, Vec<u8>) {
        if self.headers.is_empty() {
            self.put("X-Only", b"one");
        }
        let at = random.below(self.headers.len());
        &mut self.headers[at]
    }

    /// As bytes.
    pub fn written(&self) -> Vec<u8> {
        let mut bytes = self.method.clone();
        // HTTP/0.9 has no version, and no blank before it.
        for part in [&self.target, &self.version] {
            if !part.is_empty() {
                bytes.push(b' ');
                bytes.extend(part);
            }
        }
        bytes.extend(&self.line_end);
        for (name, value) in &self.headers {
            bytes.extend(name);
            bytes.push(b':');
            bytes.extend(value);
            bytes.extend(&self.line_end);
        }
        bytes.extend(&self.line_end);
        bytes.extend(&self.body);
        bytes
    }
}

/// What the application does depends on the length of the path; see `application.wsgi`.
const TARGETS: &[&[u8]] =
    &[b"/", b"/a", b"/ab", b"/abc?x=1", b"/abcd", b"/abcde?", b"/abcdef", b"/abcdefg?x=%41&y"];

/// A body in chunks.
pub fn chunked(body: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at((1 + random.below(200)).min(rest.len()));
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
        rest = after;
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}
