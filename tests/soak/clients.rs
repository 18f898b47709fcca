//! The clients: some send a request as soon as they have the last answer, over kept and new connections; some send requests to the
//! tenant's group only; some stop reading or close the connection too early. Right answers are counted; all others are recorded with
//! their tokens.

use crate::http::{Asked, Got, Http};
use crate::random::Random;
use crate::site::Group;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Clients of all groups but the tenant's; clients of the tenant; clients that stop reading or close the connection too early.
const CLIENTS: [(u64, Kind); 3] = [(20, Kind::Plain), (2, Kind::OfTenant), (4, Kind::Aborting)];

/// How long a client waits for the next byte of an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that takes longer than this many seconds is recorded.
const SLOW: f64 = 10.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    OfTenant,
    Aborting,
}

/// A request that did not get its right answer, or took long.
#[derive(Clone, Debug)]
pub struct Failure {
    pub asked: Asked,
    pub got: Got,
    /// Whether the connection had carried a request before.
    pub reused: bool,
    /// When it ended, in seconds since the start of the load.
    pub at: f64,
    /// How long it took, in seconds.
    pub took: f64,
}

/// The outcomes of all requests.
#[derive(Default)]
pub struct Records {
    pub requests: u64,
    /// By group and outcome.
    pub outcomes: BTreeMap<(Group, String), u64>,
    pub failures: Vec<Failure>,
    /// Requests that took longer than [`SLOW`], with any outcome.
    pub slow: Vec<Failure>,
    /// The tokens of POST requests with the right answer.
    pub posted: Vec<u64>,
    /// Connections that could not be made, and why.
    pub unconnected: Vec<String>,
}

impl Records {
    fn note(&mut self, failure: Failure) {
        let outcome = match &failure.got {
            Got::Right => "200".to_owned(),
            Got::Status(status) => status.to_string(),
            Got::Wrong(_) => "wrong".to_owned(),
            Got::Cut(_) => "cut".to_owned(),
            Got::Silence => "silence".to_owned(),
            Got::Left => "client left".to_owned(),
        };
        self.requests += 1;
        *self.outcomes.entry((failure.asked.group, outcome)).or_default() += 1;
        if failure.took > SLOW && !matches!(failure.got, Got::Left) {
            self.slow.push(failure.clone());
        }
        match failure.got {
            Got::Right if failure.asked.post => self.posted.push(failure.asked.token),
            Got::Right | Got::Left => {}
            _ => self.failures.push(failure),
        }
    }

    fn add(&mut self, other: Records) {
        self.requests += other.requests;
        for (key, count) in other.outcomes {
            *self.outcomes.entry(key).or_default() += count;
        }
        self.failures.extend(other.failures);
        self.slow.extend(other.slow);
        self.posted.extend(other.posted);
        self.unconnected.extend(other.unconnected);
    }
}

/// The state that all clients share.
struct Common {
    port: u16,
    begun: Instant,
    over: AtomicBool,
    answered: AtomicU64,
    tokens: AtomicU64,
}

/// Clients that send requests until [`Load::end`].
pub struct Load<'scope> {
    common: Arc<Common>,
    clients: Vec<ScopedJoinHandle<'scope, Records>>,
}

impl<'scope> Load<'scope> {
    pub fn begin(scope: &'scope Scope<'scope, '_>, port: u16, seed: u64) -> Load<'scope> {
        let common = Arc::new(Common {
            port,
            begun: Instant::now(),
            over: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            tokens: AtomicU64::new(1),
        });
        let kinds = CLIENTS.iter().flat_map(|&(count, kind)| (0..count).map(move |_| kind));
        let client = |(number, kind)| {
            let random = Random::of(seed, number);
            let client =
                Client { common: Arc::clone(&common), random, records: Records::default() };
            scope.spawn(move || client.run(kind))
        };
        let clients = (1000..).zip(kinds).map(client).collect();
        Load { common, clients }
    }

    /// Prints the number of answered requests every 30 s.
    pub fn report_progress(&self, elapsed: Duration) {
        if elapsed.as_secs() % 30 == 0 {
            let answered = self.common.answered.load(Ordering::Relaxed);
            println!("{:4} s: {answered} requests", elapsed.as_secs());
        }
    }

    /// Waits until the clients have their last answers.
    pub fn end(self) -> Records {
        self.common.over.store(true, Ordering::Relaxed);
        let mut all = Records::default();
        for client in self.clients {
            all.add(client.join().expect("a client does not panic"));
        }
        all
    }
}

struct Client {
    common: Arc<Common>,
    random: Random,
    records: Records,
}

impl Client {
    fn run(mut self, kind: Kind) -> Records {
        while !self.common.over.load(Ordering::Relaxed) {
            let connected = Http::connect(self.common.port, PATIENCE);
            match connected {
                Err(error) => {
                    self.records.unconnected.push(error.to_string());
                    std::thread::sleep(Duration::from_millis(100));
                }
                Ok(http) if kind == Kind::Aborting => self.abort_request(http),
                Ok(http) => self.use_connection(http, kind),
            }
        }
        self.records
    }

    /// Sends some requests on one connection.
    fn use_connection(&mut self, mut http: Http, kind: Kind) {
        let requests = if self.random.percent(40) { 1 } else { self.random.between(2, 60) };
        for number in 1..=requests {
            let asked = self.asked(kind);
            let close = number == requests && self.random.percent(70);
            let begun = Instant::now();
            let got = http.exchange(&asked, close);
            let refused = matches!(got, Got::Status(_) | Got::Cut(_));
            self.note(asked, got, number > 1, begun);
            if refused {
                // Like a browser, the client does not repeat a failed request at once.
                std::thread::sleep(Duration::from_millis(20));
            }
            if !http.open || self.common.over.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// A client that stops reading, or closes the connection in the middle of its request or of the answer.
    fn abort_request(&mut self, mut http: Http) {
        let mut asked = self.asked(Kind::Plain);
        let begun = Instant::now();
        match self.random.below(4) {
            0 => {
                (asked.post, asked.size) = (false, 4_000_000);
                http.send(&asked.bytes(false));
                let pause = self.random.between(500, 6000);
                self.rest(pause);
            }
            1 => {
                (asked.post, asked.body) = (true, 300_000);
                let bytes = asked.bytes(false);
                let part = self.random.below(bytes.len() as u64) as usize;
                http.send(&bytes[..part]);
                let pause = self.random.below(100);
                self.rest(pause);
            }
            2 => {
                asked.size = 300_000;
                http.send(&asked.bytes(false));
                http.read_some(10_000);
            }
            _ => {
                // At once, or while the application runs.
                asked.delay = 30;
                http.send(&asked.bytes(false));
                let pause = self.random.below(40);
                self.rest(pause);
            }
        }
        drop(http);
        self.note(asked, Got::Left, false, begun);
        let pause = self.random.between(20, 200);
        self.rest(pause);
    }

    fn rest(&self, milliseconds: u64) {
        let until = Instant::now() + Duration::from_millis(milliseconds);
        while Instant::now() < until && !self.common.over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20).min(until - Instant::now()));
        }
    }

    fn asked(&mut self, kind: Kind) -> Asked {
        const SIZES: [(u64, usize); 4] = [(40, 0), (44, 100), (12, 70_000), (4, 300_000)];
        let groups =
            [(30, Group::Embedded), (30, Group::Site), (20, Group::Other), (20, Group::Stream)];
        let group = match kind {
            Kind::OfTenant => Group::Tenant,
            Kind::Plain | Kind::Aborting => self.random.weighted(&groups),
        };
        Asked {
            group,
            token: self.common.tokens.fetch_add(1, Ordering::Relaxed),
            post: self.random.percent(50),
            body: self.random.weighted(&SIZES),
            size: self.random.weighted(&SIZES),
            delay: self.random.weighted(&[(90, 0), (8, 5), (2, 50)]),
            chunked: self.random.percent(30),
        }
    }

    fn note(&mut self, asked: Asked, got: Got, reused: bool, begun: Instant) {
        let at = self.common.begun.elapsed().as_secs_f64();
        let took = begun.elapsed().as_secs_f64();
        self.common.answered.fetch_add(1, Ordering::Relaxed);
        self.records.note(Failure { asked, got, reused, at, took });
    }
}
