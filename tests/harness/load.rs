//! Clients that keep asking while something goes on, and what came of all they asked.

use super::waiting::Waiting;
use super::{Connection, Server, request, wait_for};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Clients that ask at the same time, each on a new connection for each request.
pub struct Load<'s> {
    server: &'s Server,
    clients: usize,
    expected: String,
}

/// What came of the requests of a load.
#[derive(Debug, Default)]
pub struct Tally {
    /// When each right answer was complete, and how long it took, in the order in which they came.
    pub answers: Vec<(Instant, Duration)>,
    /// What came instead of a right answer: the status line, or nothing.
    pub failed: Vec<String>,
    /// How long the processes of the server had waited for a processor, at several times.
    kept_waiting: Vec<(Instant, Duration)>,
}

impl Tally {
    /// The longest time between an answer and the next one, of whichever client. From more than a second it is taken off
    /// what the machine kept from the server meanwhile.
    pub fn longest_gap(&self) -> Duration {
        let gap = |pair: &[(Instant, Duration)]| {
            let (from, to) = (pair[0].0, pair[1].0);
            match to - from {
                long if long > Duration::from_secs(1) => {
                    long.saturating_sub(self.waited_by(to) - self.waited_by(from))
                }
                gap => gap,
            }
        };
        self.answers.windows(2).map(gap).max().unwrap_or_default()
    }

    /// What had been waited by then, as far as it was looked at.
    fn waited_by(&self, time: Instant) -> Duration {
        let before = self.kept_waiting.partition_point(|(looked, _)| *looked <= time);
        before.checked_sub(1).map_or(Duration::ZERO, |last| self.kept_waiting[last].1)
    }

    /// Answers in a second.
    pub fn rate(&self) -> f64 {
        let (Some(first), Some(last)) = (self.answers.first(), self.answers.last()) else {
            return 0.0;
        };
        self.answers.len() as f64 / (last.0 - first.0).as_secs_f64().max(0.001)
    }

    /// How long so many percent of the requests took at most.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut took: Vec<Duration> = self.answers.iter().map(|(_, took)| *took).collect();
        took.sort();
        took.get(took.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }

    fn add(&mut self, other: Tally) {
        self.answers.extend(other.answers);
        self.failed.extend(other.failed);
    }
}

/// Tells how far a load has come to whoever acts meanwhile.
pub struct Progress<'a>(&'a AtomicUsize);

impl Progress<'_> {
    /// How many right answers there have been.
    pub fn answered(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until so many more have been answered.
    #[track_caller]
    pub fn more(&self, count: usize) {
        let enough = self.answered() + count;
        wait_for("more answers", || (self.answered() >= enough).then_some(()));
    }
}

/// Tells the clients to end, also when something else has failed.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'s> Load<'s> {
    /// Eight clients that GET `/`; any answer of 200 that is complete is right.
    pub fn of(server: &'s Server) -> Load<'s> {
        Load { server, clients: 8, expected: String::new() }
    }

    /// So many clients.
    pub fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    /// Only an answer with this text in it is right.
    pub fn expect(mut self, text: &str) -> Self {
        self.expected = text.to_owned();
        self
    }

    /// Keeps asking while `meanwhile` goes on.
    pub fn while_doing(&self, meanwhile: impl FnOnce(&Progress<'_>)) -> Tally {
        let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let client = || {
                let mut tally = Tally::default();
                while !over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    match self.ask() {
                        Ok(()) => {
                            tally.answers.push((Instant::now(), begun.elapsed()));
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(came) => {
                            tally.failed.push(came);
                            // Whoever is refused at once does not ask again at once.
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    }
                }
                tally
            };
            let watch = scope.spawn(|| self.kept_waiting(&over));
            let clients: Vec<_> = (0..self.clients).map(|_| scope.spawn(client)).collect();
            let end = AtTheEnd(&over);
            let progress = Progress(&answered);
            progress.more(self.clients * 4);
            meanwhile(&progress);
            drop(end);
            let mut all = Tally::default();
            clients.into_iter().for_each(|client| all.add(client.join().unwrap()));
            all.answers.sort();
            all.kept_waiting = watch.join().unwrap();
            all
        })
    }

    /// Keeps asking for so long.
    pub fn run(&self, time: Duration) -> Tally {
        self.while_doing(|_| std::thread::sleep(time))
    }

    fn kept_waiting(&self, over: &AtomicBool) -> Vec<(Instant, Duration)> {
        let mut waiting = Waiting::of(&self.server.everybody());
        let mut looked = Vec::new();
        while !over.load(Ordering::Relaxed) {
            looked.push((Instant::now(), waiting.look(&self.server.everybody())));
            std::thread::sleep(Duration::from_millis(50));
        }
        looked
    }

    fn ask(&self) -> Result<(), String> {
        let mut connection =
            Connection::try_open(self.server.port).map_err(|error| error.to_string())?;
        let asked = request("GET", "/", &[("Connection", "close")], b"");
        if connection.try_send(&asked).is_err() {
            return Err("the connection was closed".to_owned());
        }
        let answer = String::from_utf8_lossy(&connection.rest()).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.lines().next().unwrap_or("nothing").to_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let whole = match length.and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => body.len() == length,
            None => body.ends_with("0\r\n\r\n"),
        };
        if status == "HTTP/1.1 200 OK" && whole && body.contains(&self.expected) {
            return Ok(());
        }
        Err(if whole { status } else { format!("{status}, and then it is cut") })
    }
}
