//! httpd's error log. Foreign text goes through a constant `%s` (apache/shim.c), NULs are escaped, and a line that is
//! longer than httpd's buffer is written as several records, so that nothing of it is lost.
#![expect(unsafe_code, reason = "calls httpd's logging functions")]

use super::{Request, ffi};
use exchange::{Code, Level, Record, Scoreboard, Slot, Surroundings};
use std::borrow::Cow;
use std::ffi::{CString, c_int};

/// httpd formats a record in `MAX_STRING_LEN` (8192) bytes, with what its `ErrorLogFormat` puts before and after.
const ROOM: usize = 7600;

/// What httpd makes of a byte: as it is, or `\xNN`.
fn escaped(byte: u8) -> usize {
    if (0x20..0x7f).contains(&byte) && byte != b'\\' { 1 } else { 4 }
}

/// Cuts a line where httpd would, each piece short enough to stand in one record with `prefix` in front.
fn pieces<'a>(prefix: &[u8], line: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let room = ROOM - prefix.iter().map(|&byte| escaped(byte)).sum::<usize>().min(ROOM / 2);
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let mut cost = 0;
        let end = line.iter().position(|&byte| {
            cost += escaped(byte);
            cost > room
        });
        let (piece, left) = line.split_at(end.unwrap_or(line.len()));
        rest = (!left.is_empty()).then_some(left);
        Some(piece)
    })
}

/// The bytes as a string of C, with each NUL written out.
fn c_text(prefix: &[u8], bytes: &[u8]) -> CString {
    let mut text = Vec::with_capacity(prefix.len() + bytes.len() + 1);
    for &byte in prefix.iter().chain(bytes) {
        match byte {
            0 => text.extend_from_slice(b"\\x00"),
            _ => text.push(byte),
        }
    }
    CString::new(text).unwrap_or_default()
}

fn level_of(level: Level) -> c_int {
    // The numbers are httpd's (`APLOG_CRIT` is 2 ... `APLOG_TRACE1` is 8). Without a status every record says so.
    level as c_int | ffi::APLOG_NOERRNO as c_int
}

/// The line that tells of a failure, and what is to be said besides.
pub fn line(code: Code, particulars: &[u8]) -> Vec<u8> {
    let mut line = format!("{code}: {}", code.text()).into_bytes();
    if !particulars.is_empty() {
        line.extend_from_slice(b": ");
        line.extend_from_slice(particulars);
    }
    line
}

/// A path for a log line. One that is longer than any file's shows its beginning and its end.
pub fn shortened(path: &[u8]) -> Cow<'_, [u8]> {
    const LONGEST: usize = libc::PATH_MAX as usize;
    const SHOWN: usize = 200;
    if path.len() < LONGEST {
        return Cow::Borrowed(path);
    }
    let (begin, end) = (&path[..SHOWN], &path[path.len() - SHOWN..]);
    let left_out = format!("...({} bytes)...", path.len() - 2 * SHOWN);
    Cow::Owned([begin, left_out.as_bytes(), end].concat())
}

/// Writes a record to the log of a request.
pub fn note_for_request(request: Request<'_>, record: &Record<'_>, prefix: &[u8]) {
    if !request.logs(record.level) {
        return;
    }
    let file = c_text(b"", if record.file.is_empty() { file!().as_bytes() } else { &record.file });
    let line = if record.file.is_empty() { line!() } else { record.file_line };
    for piece in pieces(prefix, &record.line) {
        let text = c_text(prefix, piece);
        // SAFETY: the request lives; all strings outlive the call.
        unsafe {
            ffi::rustgi_log_request(
                file.as_ptr(),
                line as c_int,
                level_of(record.level),
                request.raw(),
                text.as_ptr(),
            );
        }
    }
}

/// Writes a record to the log of the main server: for what belongs to no request.
pub fn note_for_process(level: Level, line: &[u8]) {
    Server.note(&Record::new(level, line));
}

/// `text`, after its code, to the log of the main server.
pub fn note_code(level: Level, code: Code, text: &str) {
    note_for_process(level, format!("{code}: {text}").as_bytes());
}

/// The surroundings of this process: the main server's error log, and the scoreboard.
#[derive(Default)]
pub struct Server;

impl Surroundings for Server {
    fn scoreboard(&self, sink: &mut dyn FnMut(Slot<'_>)) -> Option<Scoreboard> {
        super::scoreboard::look(sink)
    }

    fn note(&self, record: &Record<'_>) {
        // SAFETY: httpd sets `ap_server_conf` before it has modules do anything; before that it is NULL, which
        // ap_log_error takes (standard error).
        let server = unsafe { ffi::ap_server_conf };
        let level = record.level as c_int;
        // SAFETY: the main server, unless it is NULL, which is not looked at.
        let is_logged = server.is_null() || unsafe { ffi::rustgi_server_logs(server, level) } != 0;
        if !is_logged {
            return;
        }
        let file =
            c_text(b"", if record.file.is_empty() { file!().as_bytes() } else { &record.file });
        for piece in pieces(b"", &record.line) {
            let text = c_text(b"", piece);
            // SAFETY: the main server or NULL; all strings outlive the call.
            unsafe {
                ffi::rustgi_log_server(
                    file.as_ptr(),
                    record.file_line as c_int,
                    level_of(record.level),
                    server,
                    text.as_ptr(),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ROOM, c_text, pieces};

    #[test]
    fn a_long_line_comes_in_pieces_that_hold_all_of_it() {
        let line: Vec<u8> = (0..20_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
        let cut: Vec<&[u8]> = pieces(b"[script /x] ", &line).collect();
        assert_eq!(cut.len(), 3);
        assert_eq!(cut.concat(), line);
        assert_eq!(pieces(b"", b"").collect::<Vec<_>>(), [b""]);
    }

    #[test]
    fn bytes_that_httpd_escapes_take_their_room() {
        let line = vec![0xff; ROOM];
        let longest = pieces(b"", &line).map(<[u8]>::len).max();
        assert_eq!(longest, Some(ROOM / 4));
    }

    #[test]
    fn a_nul_is_written_out_and_does_not_end_the_line() {
        assert_eq!(c_text(b"[x] ", b"a\0b").to_bytes(), b"[x] a\\x00b");
    }
}
