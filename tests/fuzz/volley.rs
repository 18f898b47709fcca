//! Many attempts against one server, from several clients at once, and what came back.

use super::{Attempt, Ending};
use crate::harness::patience;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// As many as a server of prefork has children.
const CLIENTS: usize = 4;

/// What came back of a volley.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often each status was answered; a connection may have any number.
    pub statuses: BTreeMap<u16, u64>,
    /// Connections that were read to the end and brought nothing.
    pub unanswered: u64,
    /// What must not be, with the request that brought it.
    pub complaints: Vec<String>,
}

impl Tally {
    /// How often this status was answered.
    pub fn of(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }
}

/// Whether no request may bring this status.
pub fn is_fault(status: u16) -> bool {
    status >= 500 && !matches!(status, 501 | 505)
}

/// Sends these requests of a seed.
pub fn fire(port: u16, seed: u64, numbers: std::ops::Range<u64>) -> Tally {
    let next = AtomicU64::new(numbers.start);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    let attempt = Attempt::of(seed, number);
                    let outcome = send(port, &attempt);
                    count(&mut tally.lock().unwrap(), outcome, || {
                        format!("seed {seed}, request {number}:\n{attempt}")
                    });
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

fn count(tally: &mut Tally, outcome: Result<Option<Vec<u8>>, String>, which: impl Fn() -> String) {
    match outcome {
        Err(complaint) => tally.complaints.push(format!("{complaint}: {}", which())),
        Ok(None) => {}
        Ok(Some(answers)) if answers.is_empty() => tally.unanswered += 1,
        Ok(Some(answers)) => {
            for status in statuses(&answers) {
                *tally.statuses.entry(status).or_default() += 1;
                if is_fault(status) {
                    tally.complaints.push(format!("{status}: {}", which()));
                }
            }
        }
    }
}

/// Everything that was answered, if it was read.
fn send(port: u16, attempt: &Attempt) -> Result<Option<Vec<u8>>, String> {
    let mut stream =
        TcpStream::connect(("127.0.0.1", port)).map_err(|e| format!("refused ({e})"))?;
    stream.set_read_timeout(Some(patience())).unwrap();
    stream.set_write_timeout(Some(patience())).unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in &attempt.pieces {
        // The server may close before it has everything.
        if stream.write_all(piece).is_err_and(|e| e.kind() == ErrorKind::WouldBlock) {
            return Err("the server neither reads nor closes".to_owned());
        }
    }
    if attempt.ending == Ending::Early {
        return Ok(None);
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    match stream.read_to_end(&mut answers) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(format!("no end of the answer; so far {:?}", String::from_utf8_lossy(&answers)))
        }
        // A reset is how a server may refuse what it does not read.
        _ => Ok(Some(answers)),
    }
}

/// The statuses of all answers. No body of the tests' own holds what begins one.
fn statuses(answers: &[u8]) -> impl Iterator<Item = u16> {
    const BEGIN: &[u8] = b"HTTP/1.1 ";
    answers.windows(BEGIN.len() + 3).filter_map(|window| {
        let code = window.strip_prefix(BEGIN)?;
        std::str::from_utf8(code).ok()?.parse().ok()
    })
}
