//! Connections on which the secret of the group has not yet been received. Every process of httpd's user can connect, so the worker
//! sends nothing on such a connection, closes it after 5 s, and keeps at most 128 of them.

use super::clock::now;
use super::journal;
use exchange::{Code, Level};
use link::{Credentials, Stream};
use rustix::event::{PollFd, PollFlags};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use wire::Secret;

/// After how many milliseconds a connection without a proof is closed. A child sends the proof as soon as it is connected.
const TIME: u64 = 5_000;
/// Upper bound of the connections without a proof. At the bound the oldest one is closed for a new one.
const MOST: usize = 128;
/// Least time in milliseconds between two log lines about refused processes. Refusals in between are counted.
const BETWEEN_LINES: u64 = 1_000;

/// The connections without a proof, oldest first.
#[derive(Debug, Default)]
pub struct Unproved {
    all: VecDeque<Connection>,
    refused: Refused,
}

#[derive(Debug)]
struct Connection {
    stream: Stream,
    peer: Credentials,
    proof: [u8; Secret::PROOF],
    read: usize,
    until: u64,
}

/// The state of a connection after a read.
enum Progress {
    Waits,
    Proved,
    Failed(&'static str),
}

impl Unproved {
    /// Adds a new connection. Its proof may have arrived already.
    pub fn add(&mut self, stream: Stream, peer: Credentials) {
        if self.all.len() >= MOST {
            if let Some(oldest) = self.all.pop_front() {
                self.refused.note(oldest.peer, "too many connections are without a proof");
            }
        }
        let until = now() + TIME;
        self.all.push_back(Connection { stream, peer, proof: [0; Secret::PROOF], read: 0, until });
    }

    /// Logs that a process was refused for another reason than its proof.
    pub fn refuse(&mut self, peer: Credentials, why: &'static str) {
        self.refused.note(peer, why);
    }

    /// The descriptors to poll.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.all.iter().map(|it| PollFd::from_borrowed_fd(it.stream.as_fd(), PollFlags::IN))
    }

    /// When [`take_proved`](Unproved::take_proved) must be called at the latest.
    pub fn next(&self) -> Option<u64> {
        let refused = self.refused.next();
        self.all.front().map(|oldest| oldest.until).into_iter().chain(refused).min()
    }

    /// Closes the connections whose proof is wrong or late. Returns those whose proof is right.
    pub fn take_proved(&mut self, secret: &Secret) -> Vec<Stream> {
        let now = now();
        let mut proved = Vec::new();
        for mut connection in std::mem::take(&mut self.all) {
            match connection.read(secret, now) {
                Progress::Waits => self.all.push_back(connection),
                Progress::Proved => proved.push(connection.stream),
                Progress::Failed(why) => self.refused.note(connection.peer, why),
            }
        }
        self.refused.tell_rest(now);
        proved
    }
}

impl Connection {
    fn read(&mut self, secret: &Secret, now: u64) -> Progress {
        let mut descriptors = VecDeque::new();
        while self.read < self.proof.len() {
            let count = match self.stream.try_read(&mut self.proof[self.read..], &mut descriptors) {
                Ok(0) => return Progress::Failed("it ended the connection without a proof"),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && now < self.until => {
                    return Progress::Waits;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Progress::Failed("it sent no proof in time");
                }
                Err(_) => return Progress::Failed("it ended the connection without a proof"),
            };
            if !descriptors.is_empty() {
                return Progress::Failed("it sent descriptors");
            }
            self.read += count;
        }
        match secret.is_proved_by(&self.proof) {
            true => Progress::Proved,
            false => Progress::Failed("its proof is wrong"),
        }
    }
}

/// The refused processes that have not been logged yet.
#[derive(Debug, Default)]
struct Refused {
    /// When the last line was written; 0 for never.
    last: u64,
    /// The last process that was counted and not logged.
    latest: Option<(Credentials, &'static str)>,
    counted: u32,
}

impl Refused {
    /// Logs a refused process, or counts it if a line was written less than 1 s ago.
    fn note(&mut self, peer: Credentials, why: &'static str) {
        let now = now();
        if self.last != 0 && now < self.last + BETWEEN_LINES {
            self.latest = Some((peer, why));
            self.counted += 1;
            return;
        }
        self.last = now;
        write(peer, why, 0);
    }

    /// When the counted refusals must be logged.
    fn next(&self) -> Option<u64> {
        (self.counted > 0).then_some(self.last + BETWEEN_LINES)
    }

    fn tell_rest(&mut self, now: u64) {
        if self.next().is_some_and(|next| now >= next) {
            let more = std::mem::take(&mut self.counted) - 1;
            if let Some((peer, why)) = self.latest.take() {
                self.last = now;
                write(peer, why, more);
            }
        }
    }
}

fn write(peer: Credentials, why: &str, more: u32) {
    let code = Code::PeerRefused;
    let others =
        if more > 0 { format!(" ({more} more connections were refused)") } else { String::new() };
    let group = String::from_utf8_lossy(&crate::settings().process_group);
    let line = format!(
        "{code}: {}: process group '{group}', from pid {}, uid {}: {why}{others}. The connection was closed.",
        code.text(),
        peer.pid,
        peer.user,
    );
    journal::note(Level::Error, &line);
}
