//! What has been said of an answer: its head as `start_response` gave it, whether it is committed, how many bytes of
//! the body have been produced. No Python in here.

use exchange::{Answer, Bytes, Header, Slice, WriteError};

/// A stretch of [`AnswerHead::text`].
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: usize,
    end: usize,
}

/// Status and headers, as bytes that need no Python object.
#[derive(Debug, Default)]
pub struct AnswerHead {
    status: u16,
    reason: Option<Span>,
    headers: Vec<(Span, Span)>,
    length: Option<u64>,
    text: Vec<u8>,
}

/// Why a status line or header is refused; `Display` is the message of the ValueError.
pub type Refusal = &'static str;

impl AnswerHead {
    /// About how many bytes it takes on its way.
    pub fn size(&self) -> usize {
        self.text.len() + self.headers.len() * size_of::<(Span, Span)>()
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.status = 0;
        self.reason = None;
        self.headers.clear();
        self.length = None;
        self.text.clear();
    }

    /// Whether the status is 500 or higher.
    pub fn is_failure(&self) -> bool {
        self.status >= 500
    }

    /// Takes the status line of PEP 3333: three digits, and a space and a reason phrase if there is more.
    pub fn set_status(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let (Some(digits), rest) = (line.get(..3), line.get(3..).unwrap_or_default()) else {
            return Err("status code must be a 3 digit number");
        };
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err("status code must be a 3 digit number");
        }
        self.status = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        if self.status < 200 {
            return Err("status code must be 200 or more: an application gives final responses");
        }
        self.reason = match rest {
            [] => None,
            [b' ', reason @ ..] if reason.iter().any(u8::is_ascii_control) => {
                return Err("status reason must not contain control characters");
            }
            [b' ', reason @ ..] => Some(self.keep(reason)),
            [digit, ..] if digit.is_ascii_digit() => {
                return Err("status code must be a 3 digit number");
            }
            _ => return Err("status code must be followed by a space and the reason"),
        };
        Ok(())
    }

    /// Takes one header. The name is a token (RFC 9110, 5.6.2); the value holds no control character but the tab.
    pub fn add_header(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.is_empty() {
            return Err("header name must not be empty");
        }
        if !all_are(TOKEN, name) {
            return Err("header name must be a token: letters, digits and !#$%&'*+-.^_`|~");
        }
        if !is_value(value) {
            return Err("header value must not contain control characters");
        }
        const LENGTH: &[u8] = b"Content-Length";
        if name == LENGTH || name.eq_ignore_ascii_case(LENGTH) {
            return self.set_length(value);
        }
        let header = (self.keep(name), self.keep(value));
        self.headers.push(header);
        Ok(())
    }

    fn set_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err("Content-Length must be a decimal number of bytes");
        }
        let add = |sum: i64, digit: &u8| sum.checked_mul(10)?.checked_add((digit - b'0').into());
        let length = value.iter().try_fold(0, add).ok_or("Content-Length is too large")?;
        let length = length.unsigned_abs();
        if self.length.is_some_and(|earlier| earlier != length) {
            return Err("Content-Length is given twice with different values");
        }
        self.length = Some(length);
        Ok(())
    }

    /// Says how long the body is, if the application has not.
    pub fn infer_length(&mut self, length: u64) {
        self.length.get_or_insert(length);
    }

    fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        Span { start, end: self.text.len() }
    }

    fn bytes(&self, span: Span) -> Bytes<'_> {
        Bytes::new(&self.text[span.start..span.end])
    }

    /// The head as a carrier takes it.
    pub fn with_answer<R>(&self, body: impl FnOnce(&Answer<'_>) -> R) -> R {
        const FEW: usize = 8;
        let empty = Header { name: Bytes::EMPTY, value: Bytes::EMPTY };
        let header =
            |&(name, value): &_| Header { name: self.bytes(name), value: self.bytes(value) };
        // Most answers have few headers, for which no memory needs to be had.
        let (mut few, many) = ([empty; FEW], &mut Vec::new());
        let headers = match few.get_mut(..self.headers.len()) {
            Some(few) => {
                few.iter_mut().zip(&self.headers).for_each(|(place, from)| *place = header(from));
                few
            }
            None => {
                many.extend(self.headers.iter().map(header));
                many.as_mut_slice()
            }
        };
        body(&Answer {
            status: self.status,
            has_reason: self.reason.is_some(),
            reason: self.reason.map_or(Bytes::EMPTY, |span| self.bytes(span)),
            headers: Slice::new(headers),
            has_length: self.length.is_some(),
            length: self.length.unwrap_or(0),
        })
    }
}

/// What a byte may be part of.
static KINDS: [u8; 256] = {
    let mut kinds = [VALUE; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_control() && byte as u8 != b'\t' {
            kinds[byte] = 0;
        }
        if (byte as u8).is_ascii_alphanumeric() {
            kinds[byte] |= TOKEN;
        }
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut other = 0;
    while other < others.len() {
        kinds[others[other] as usize] |= TOKEN;
        other += 1;
    }
    kinds
};
const TOKEN: u8 = 1;
const VALUE: u8 = 2;

/// Whether every byte may be part of that kind of text.
fn all_are(kind: u8, bytes: &[u8]) -> bool {
    bytes.iter().fold(kind, |kinds, &byte| kinds & KINDS[byte as usize]) == kind
}

/// Whether every byte may be part of a header's value. Eight are looked at together, and one by one only if there may be
/// one among them that is not.
fn is_value(bytes: &[u8]) -> bool {
    let mut words = bytes.chunks_exact(8);
    let is_plain = |word: &[u8]| {
        let word = word.try_into().map_or(0, u64::from_ne_bytes);
        !has_byte_below(word, b' ') && !has_byte_below(word ^ each(0x7f), 1)
    };
    words.by_ref().all(|word| is_plain(word) || all_are(VALUE, word))
        && all_are(VALUE, words.remainder())
}

/// Eight times the same byte.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Whether one of eight bytes is below `limit`, which is at most 128.
const fn has_byte_below(word: u64, limit: u8) -> bool {
    word.wrapping_sub(each(limit)) & !word & each(0x80) != 0
}

/// How far an answer has come.
#[derive(Debug, Default)]
pub struct Answering {
    /// The head that `start_response` gave last.
    pub head: AnswerHead,
    /// Whether `start_response` has been called with success.
    pub accepted: bool,
    /// Whether the head has gone to the carrier, so that it cannot be replaced.
    pub committed: bool,
    /// Why nothing more can be sent.
    pub failed: Option<WriteError>,
    header_only: bool,
    produced: u64,
    writes: u64,
    status: u16,
}

impl Answering {
    /// Forgets the request before.
    pub fn begin(&mut self, header_only: bool) {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        *self = Answering { head, header_only, ..Answering::default() };
    }

    /// How many of `count` more bytes belong to the body: those beyond its declared length are dropped.
    pub fn admit(&mut self, count: usize) -> usize {
        let before = self.produced;
        self.produced += count as u64;
        self.writes += u64::from(count > 0);
        match self.head.length {
            Some(length) => length.saturating_sub(before).min(count as u64) as usize,
            None => count,
        }
    }

    /// The length of the body, declared or inferred.
    pub fn length(&self) -> Option<u64> {
        self.head.length
    }

    /// Declared and produced length, if the body is over and fell short of what was declared.
    pub fn shortfall(&self) -> Option<(u64, u64)> {
        let bodiless = self.header_only || matches!(self.head.status, 204 | 304);
        let length = self.head.length.filter(|_| !bodiless)?;
        (self.produced < length).then_some((length, self.produced))
    }

    /// An empty head to fill: the memory of the one before, unless that is still in force.
    pub fn spare_head(&mut self) -> AnswerHead {
        if self.accepted {
            return AnswerHead::default();
        }
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        head
    }

    /// Takes the head that `start_response` gave.
    pub fn accept(&mut self, head: AnswerHead) {
        self.status = head.status;
        self.head = head;
        self.accepted = true;
    }

    /// The status that was accepted last, if any was.
    pub fn status(&self) -> Option<u16> {
        self.accepted.then_some(self.status)
    }

    /// Stretches and bytes of the body that were produced.
    pub fn counts(&self) -> (u64, u64) {
        (self.writes, self.produced)
    }

    /// Whether the client gets the head only.
    pub fn header_only(&self) -> bool {
        self.header_only
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(line: &[u8]) -> Result<(u16, Option<Vec<u8>>), Refusal> {
        let mut head = AnswerHead::default();
        head.set_status(line)?;
        Ok(head.with_answer(|answer| {
            (answer.status, answer.has_reason.then(|| answer.reason.to_vec()))
        }))
    }

    #[test]
    fn a_status_line_is_three_digits_and_perhaps_a_reason() {
        assert_eq!(status(b"200"), Ok((200, None)));
        assert_eq!(status(b"200 "), Ok((200, Some(vec![]))));
        assert_eq!(
            status(b"404 Nicht gef\xfcnden"),
            Ok((404, Some(b"Nicht gef\xfcnden".to_vec())))
        );
        assert_eq!(status(b"999 x"), Ok((999, Some(b"x".to_vec()))));
    }

    #[test]
    fn anything_else_is_no_status_line() {
        let wrong: [&[u8]; 9] = [
            b"",
            b"20",
            b"2000",
            b"2x0 OK",
            b"200OK",
            b"200\tOK",
            b" 200",
            b"100 Continue",
            b"099",
        ];
        for line in wrong {
            assert!(status(line).is_err(), "{line:?}");
        }
        for byte in (0..0x20).chain([0x7f]) {
            assert!(status(&[b"200 O".as_slice(), &[byte]].concat()).is_err(), "{byte:#x}");
        }
    }

    #[test]
    fn header_names_are_tokens_and_values_hold_no_control_characters() {
        let mut head = AnswerHead::default();
        for name in [&b""[..], b"a b", b"a:", b"a(", b"a\n", b"a\0", b"\xe4", b"a/b", b"\"a\""] {
            assert!(head.add_header(name, b"v").is_err(), "{name:?}");
        }
        for byte in (0..0x20).chain([0x7f]).filter(|&byte| byte != b'\t') {
            assert!(head.add_header(b"X", &[byte]).is_err(), "{byte:#x}");
        }
        assert_eq!(head.add_header(b"X-!#$%&'*+.^_`|~9", b"a\tb \xff"), Ok(()));
        for at in 0..20 {
            for byte in 0..=u8::MAX {
                let mut value = [b'v'; 20];
                value[at] = byte;
                let is_control = byte.is_ascii_control() && byte != b'\t';
                assert_eq!(is_value(&value), !is_control, "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn a_content_length_is_digits_and_agrees_with_itself() {
        let wrong: [&[u8]; 7] = [b"", b"+5", b" 5", b"5 ", b"-1", b"0x5", b"9223372036854775808"];
        for value in wrong {
            assert!(
                AnswerHead::default().add_header(b"Content-Length", value).is_err(),
                "{value:?}"
            );
        }
        let mut head = AnswerHead::default();
        assert_eq!(head.add_header(b"content-length", b"12"), Ok(()));
        assert_eq!(head.add_header(b"Content-Length", b"12"), Ok(()));
        assert!(head.add_header(b"Content-Length", b"13").is_err());
        assert!(head.with_answer(|answer| answer.headers.is_empty() && answer.length == 12));
    }

    #[test]
    fn bytes_beyond_the_declared_length_are_dropped_and_missing_ones_are_noticed() {
        let mut answering = Answering::default();
        answering.begin(false);
        answering.head.set_status(b"200 OK").unwrap();
        answering.head.infer_length(5);
        assert_eq!(answering.admit(3), 3);
        assert_eq!(answering.shortfall(), Some((5, 3)));
        assert_eq!(answering.admit(3), 2);
        assert_eq!(answering.admit(3), 0);
        assert_eq!(answering.shortfall(), None);
    }

    #[test]
    fn answers_without_a_body_cannot_fall_short() {
        for (header_only, line) in [(true, "200 OK"), (false, "304 x"), (false, "204 x")] {
            let mut answering = Answering::default();
            answering.begin(header_only);
            answering.head.set_status(line.as_bytes()).unwrap();
            answering.head.infer_length(5);
            assert_eq!(answering.shortfall(), None, "{line}");
        }
    }
}
