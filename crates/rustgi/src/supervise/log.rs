//! A log: where the supervisor writes what operators are to know, in the form of the server's own lines. One for the
//! main server, which is standard error, and one for each group; each lasts until the server hands over a new one.

use exchange::{Code, Level};
use nix::poll::{PollFd, PollFlags, poll};
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest line in bytes: what a pipe takes at once (`PIPE_BUF`). What workers say goes into it.
const LONGEST: usize = 4096;
/// For how many milliseconds a log may be full.
const PATIENCE: u8 = 100;

/// A log.
#[derive(Debug)]
pub struct Log {
    file: File,
    level: u8,
}

impl Log {
    /// Records of this level and below are written to this file.
    pub fn new(file: OwnedFd, level: u8) -> Log {
        Log { file: File::from(file), level }
    }

    /// Writes a record.
    pub fn write(&self, level: Level, text: impl fmt::Display) {
        if level as u8 > self.level {
            return;
        }
        let line = line(chrono::Local::now(), level, std::process::id(), &text.to_string());
        if self.has_room() {
            // There is nowhere to say that the log cannot be written.
            let _ = (&self.file).write_all(line.as_bytes());
        }
    }

    /// Whether a line can be written without waiting. A program that is to take the log (`ErrorLog "|…"`) and does not
    /// shall not keep workers from being looked after.
    fn has_room(&self) -> bool {
        let mut watched = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        poll(&mut watched, PATIENCE).is_ok_and(|ready| ready > 0)
    }

    /// Writes a record that begins with a code.
    pub fn fail(&self, level: Level, code: Code, text: impl fmt::Display) {
        self.write(level, format_args!("{code}: {text}"));
    }
}

impl AsFd for Log {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn line(time: chrono::DateTime<chrono::Local>, level: Level, pid: u32, text: &str) -> String {
    let time = time.format("%a %b %d %H:%M:%S%.6f %Y");
    let mut line = format!("[{time}] [wsgi:{}] [pid {pid}:tid {pid}] ", level.name());
    // What a character may become at most, and the end of the line.
    const ROOM: usize = 12;
    for char in text.chars() {
        if line.len() > LONGEST - ROOM {
            break;
        }
        crate::plain::push(&mut line, char);
    }
    line.push('\n');
    line
}

/// Bytes as they are shown to a reader.
pub fn show(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn nobody_waits_for_whoever_does_not_read_the_log() {
        let (_reader, writer) = nix::unistd::pipe().unwrap();
        let log = Log::new(writer, Level::Info as u8);
        let begun = std::time::Instant::now();
        for _ in 0..20 {
            log.write(Level::Error, "\u{1}x\u{10ffff}".repeat(3000));
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    }

    #[test]
    fn a_line_reads_as_the_servers_own_and_stays_one_line() {
        let time = chrono::Local.with_ymd_and_hms(2026, 11, 20, 10, 17, 39).unwrap();
        let line = line(time + chrono::TimeDelta::microseconds(42), Level::Info, 7, "a\nb");
        let shown = "[Fri Nov 20 10:17:39.000042 2026] [wsgi:info] [pid 7:tid 7] a\\nb\n";
        assert_eq!(line, shown);
    }
}
