//! The head of an answer, recorded in `request_rec`: httpd's filters make the status line and the headers of it when
//! the first byte of the body, or its end, comes by. Nothing is sent from here.
#![expect(unsafe_code, reason = "writes the fields of request_rec that describe an answer")]

use super::{Request, ffi};
use exchange::{Answer, Header};
use std::ffi::{CStr, c_int};

/// What becomes of a header of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// It is the content type, which filters are chosen by.
    ContentType,
    /// It is one that an error page has too.
    WithErrors,
    /// It is a header like any other.
    Plain,
    /// It is for this connection alone, which is httpd's matter (RFC 9110, 7.6.1; PEP 3333, "Other HTTP Features").
    Dropped,
    /// It is `Connection`, of which `close` is honoured.
    Connection,
}

fn kept(name: &[u8]) -> Kept {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        2 if is("TE") => Kept::Dropped,
        7 if is("Upgrade") || is("Trailer") => Kept::Dropped,
        10 if is("Connection") => Kept::Connection,
        10 if is("Keep-Alive") => Kept::Dropped,
        12 if is("Content-Type") => Kept::ContentType,
        14 if is("Content-Length") => Kept::Dropped,
        16 if is("WWW-Authenticate") => Kept::WithErrors,
        16 if is("Proxy-Connection") => Kept::Dropped,
        17 if is("Transfer-Encoding") => Kept::Dropped,
        18 if is("Proxy-Authenticate") => Kept::Dropped,
        19 if is("Proxy-Authorization") => Kept::Dropped,
        25 if is("Proxy-Authentication-Info") => Kept::Dropped,
        _ => Kept::Plain,
    }
}

/// The status line that httpd has for a status; that of some other one if it has none.
fn standard_line(status: u16) -> &'static [u8] {
    // SAFETY: takes any number, and returns a constant.
    unsafe { CStr::from_ptr(ffi::ap_get_status_line(c_int::from(status))) }.to_bytes()
}

/// Whether a list like that of `Connection` names `close`.
fn says_close(value: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}

impl<'r> Request<'r> {
    /// Records status, headers and length of an answer.
    pub fn record_answer(self, answer: &Answer<'_>) {
        self.forget_file_type();
        self.record_status(answer);
        for header in answer.headers.iter() {
            self.record_header(header);
        }
        if answer.has_length {
            let length = i64::try_from(answer.length).unwrap_or(i64::MAX);
            // SAFETY: the request lives.
            unsafe { ffi::ap_set_content_length(self.raw(), length) };
        }
    }

    fn record_status(self, answer: &Answer<'_>) {
        let mut digits = *b"000 ";
        for (at, place) in [100, 10, 1].into_iter().enumerate() {
            digits[at] = b'0' + (answer.status / place % 10) as u8;
        }
        let reason = answer.has_reason.then(|| answer.reason.get());
        let line = reason
            .filter(|reason| standard_line(answer.status).strip_prefix(&digits) != Some(reason))
            .map(|reason| self.pool().concat(&[&digits, reason]));
        // SAFETY: the request lives, and the line as long as it. Without a line httpd takes the standard one, which it
        // need not look at before it sends it.
        unsafe {
            (*self.raw()).status = c_int::from(answer.status);
            (*self.raw()).status_line = line.map_or(std::ptr::null(), CStr::as_ptr);
        }
    }

    fn record_header(self, header: &Header<'_>) {
        let pool = self.pool();
        match kept(&header.name) {
            Kept::Dropped => {}
            Kept::ContentType => {
                let kind = pool.text(&header.value);
                // SAFETY: the request lives, and the string as long as it.
                unsafe { ffi::ap_set_content_type(self.raw(), kind.as_ptr()) };
            }
            Kept::Connection if !says_close(&header.value) => {}
            Kept::Connection => self.headers_out().set(c"Connection", c"close"),
            Kept::WithErrors => {
                self.err_headers_out().add(pool.text(&header.name), pool.text(&header.value));
            }
            Kept::Plain => {
                self.headers_out().add(pool.text(&header.name), pool.text(&header.value));
            }
        }
    }

    /// The type, language and encoding that mod_mime read off the script's name are not those of its answer.
    fn forget_file_type(self) {
        // SAFETY: the request lives; without a type httpd sends none.
        unsafe { ffi::ap_set_content_type(self.raw(), std::ptr::null()) };
        // SAFETY: as above.
        unsafe {
            (*self.raw()).content_encoding = std::ptr::null();
            (*self.raw()).content_languages = std::ptr::null_mut();
        }
    }

    /// Takes back what was recorded, of which nothing has been sent: httpd is to answer with a page of its own.
    pub fn withdraw_answer(self) {
        self.forget_file_type();
        self.headers_out().clear();
        self.err_headers_out().unset(c"WWW-Authenticate");
        // SAFETY: the request lives.
        unsafe {
            (*self.raw()).status = 200;
            (*self.raw()).status_line = std::ptr::null();
            (*self.raw()).clength = 0;
        }
    }

    /// Whether only the end of the connection tells the client where the answer ends (HTTP/1.0 without a length).
    pub fn is_delimited_by_close(self) -> bool {
        let rec = self.rec();
        rec.chunked == 0
            && !self.is_multiplexed()
            && self.headers_out().get(c"Content-Length").is_none()
    }

    /// Breaks the connection instead of closing it, so that the client cannot take what it has for the whole.
    pub fn reset_connection(self) {
        let connection = self.rec().connection;
        // SAFETY: the connection lives.
        let socket = unsafe { ffi::ap_get_conn_socket(connection) };
        let mut descriptor = -1;
        // SAFETY: the connection's socket, or NULL; a place for the answer.
        if socket.is_null() || unsafe { ffi::apr_os_sock_get(&mut descriptor, socket) } != 0 {
            return;
        }
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: an open socket, and an option of this type and size.
        unsafe {
            libc::setsockopt(
                descriptor,
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            );
        }
        // SAFETY: the connection lives. With this httpd closes it at once instead of lingering.
        unsafe { (*connection).aborted = 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_are_not_the_applications() {
        for name in
            ["Transfer-Encoding", "keep-alive", "UPGRADE", "te", "Trailer", "Proxy-Connection"]
        {
            assert_eq!(kept(name.as_bytes()), Kept::Dropped, "{name}");
        }
        assert_eq!(kept(b"content-TYPE"), Kept::ContentType);
        assert_eq!(kept(b"WWW-Authenticate"), Kept::WithErrors);
        assert_eq!(kept(b"Set-Cookie"), Kept::Plain);
        assert_eq!(kept(b"Connection"), Kept::Connection);
    }

    #[test]
    fn close_is_found_in_a_list() {
        assert!(says_close(b"close"));
        assert!(says_close(b"foo, Close"));
        assert!(!says_close(b"keep-alive, disclose"));
    }
}
