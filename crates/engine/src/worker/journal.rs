//! The log of a worker: lines as the server writes them, to the descriptor that the supervisor has given as standard
//! error. Each is one write, so that lines of several processes do not mix.
#![expect(unsafe_code, reason = "the local time is a C function")]

use exchange::{Level, Record, Scoreboard, Slot, Surroundings};
use std::fmt::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// Records of this level and below are written.
static LEVEL: AtomicU32 = AtomicU32::new(Level::Info as u32);

/// As much of a line as httpd would write.
const MOST: usize = 8192;

/// The log of this process.
pub struct Journal;

/// Records of this level (syslog's numbers) and below are written from now on.
pub fn set_level(level: u8) {
    LEVEL.store(level.into(), Ordering::Relaxed);
}

/// Whether a record of this level is written.
pub fn is_written(level: Level) -> bool {
    level as u32 <= LEVEL.load(Ordering::Relaxed)
}

/// Writes one line.
pub fn note(level: Level, line: &str) {
    Journal.note(&Record::new(level, line.as_bytes()));
}

/// Writes a record, whatever its level.
pub fn record(record: &Record<'_>) {
    write(line(SystemTime::now(), record.level, &record.line).as_bytes());
}

impl Surroundings for Journal {
    fn note(&self, record: &Record<'_>) {
        if is_written(record.level) {
            self::record(record);
        }
    }

    fn scoreboard(&self, _: &mut dyn FnMut(Slot<'_>)) -> Option<Scoreboard> {
        None
    }
}

fn write(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stderr(), bytes) {
            Ok(0) => return,
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            // There is nobody left to tell.
            Err(_) => return,
        }
    }
}

fn line(now: SystemTime, level: Level, text: &[u8]) -> String {
    let pid = std::process::id();
    let thread = rustix::thread::gettid().as_raw_nonzero();
    let mut line = String::with_capacity(96 + text.len());
    line.push('[');
    push_time(&mut line, now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    let _ = write!(line, "] [wsgi:{}] [pid {pid}:tid {thread}] ", level.name());
    for &byte in text {
        if line.len() >= MOST {
            break;
        }
        push_escaped(&mut line, byte);
    }
    line.push('\n');
    line
}

/// As httpd does it in its error log, so that no line can be forged.
fn push_escaped(line: &mut String, byte: u8) {
    match byte {
        b'\\' => line.push_str("\\\\"),
        b'\n' => line.push_str("\\n"),
        b'\r' => line.push_str("\\r"),
        b'\t' => line.push_str("\\t"),
        0x08 => line.push_str("\\b"),
        0x0b => line.push_str("\\v"),
        b' '..=b'~' => line.push(char::from(byte)),
        _ => drop(write!(line, "\\x{byte:02x}")),
    }
}

/// `Fri Nov 20 10:17:39.123456 2026`, in local time.
fn push_time(line: &mut String, since: Duration) {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = libc::time_t::try_from(since.as_secs()).unwrap_or_default();
    let mut parts = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: the structure is large enough and zeroes are values of it; `localtime_r` shares nothing with other threads.
    let parts = unsafe {
        libc::localtime_r(&raw const seconds, parts.as_mut_ptr());
        parts.assume_init()
    };
    let pick = |names: &[&'static str], at: i32| names[at.unsigned_abs() as usize % names.len()];
    let _ = write!(
        line,
        "{} {} {:02} {:02}:{:02}:{:02}.{:06} {}",
        pick(&DAYS, parts.tm_wday),
        pick(&MONTHS, parts.tm_mon),
        parts.tm_mday,
        parts.tm_hour,
        parts.tm_min,
        parts.tm_sec,
        since.subsec_micros(),
        parts.tm_year + 1900,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_as_one_of_the_server() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(1_600_000_000_123_456);
        let line = line(now, Level::Info, b"it\nis \xc3\xa9 \\");
        let (time, rest) = line[1..].split_once("] ").unwrap();
        assert!(time.contains(".123456 2020") && time.starts_with("S"), "{time}");
        let id = std::process::id();
        assert!(rest.starts_with(&format!("[wsgi:info] [pid {id}:tid ")), "{rest}");
        assert!(rest.ends_with("] it\\nis \\xc3\\xa9 \\\\\n"), "{rest}");
    }

    #[test]
    fn a_line_ends_where_the_server_would_end_it() {
        let line = line(SystemTime::now(), Level::Error, &[b'x'; 20_000]);
        assert_eq!(line.len(), MOST + 1);
    }
}
