//! The causes of failures, and the checks at the end of the soak.

use crate::clients::{Failure, Records};
use crate::cores::Cores;
use crate::disturbances::Events;
use crate::harness::{self, Server};
use crate::http::{self, Got};
use crate::site::{self, Execution, Group};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// The least number of requests of a run of ten minutes.
const LEAST: u64 = 200_000;

/// How many lines are printed of each failed check.
const SHOWN: usize = 12;

/// What the soak has recorded.
pub struct Evidence<'a> {
    /// The run was long enough for the check of the number of requests.
    pub full_length: bool,
    pub took: Duration,
    /// Whether all applications answered when the disturbances were over.
    pub serves: Result<(), String>,
    pub events: Events,
    pub records: Records,
    pub cores: &'a Cores,
    pub server: Server,
}

/// A check of the whole run, with its failures.
pub struct Check {
    pub text: &'static str,
    pub failures: Vec<String>,
}

/// The cause of a failure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// The worker that had the request was sent SIGKILL. The log names request and worker.
    Killed,
    /// httpd closed a connection that it had kept before it read another request, as HTTP/1.1 lets it.
    KeptConnectionClosed,
    /// The request was one of the tenant, whose interpreter hangs and whose worker is killed.
    OfTenant,
    /// A worker that was sent SIGTERM ended before the request did.
    Ended,
    /// A worker ended because the supervisor was killed.
    Orphaned,
    /// The log names the request with another cause.
    Logged,
    /// The log does not name the request.
    Unknown,
}

impl Cause {
    fn is_allowed(&self) -> bool {
        matches!(self, Cause::Killed | Cause::KeptConnectionClosed | Cause::OfTenant)
    }
}

/// What logs and executions show about requests.
struct Accounts<'a> {
    /// The lines of the error log that are about a request.
    log: HashMap<u64, Vec<&'a str>>,
    /// The requests of which an httpd child has read the head.
    read: HashSet<u64>,
    executions: HashMap<u64, Vec<Execution>>,
    events: &'a Events,
}

/// The tokens in a line of a log: in the URL, and in the header that `ErrorLogFormat` prints.
fn tokens(line: &str) -> BTreeSet<u64> {
    let begins = line.match_indices("[token ").chain(line.match_indices("?t="));
    begins
        .filter_map(|(at, mark)| line.get(at + mark.len()..at + mark.len() + 16))
        .filter_map(|token| u64::from_str_radix(token, 16).ok())
        .collect()
}

impl<'a> Accounts<'a> {
    fn of(
        error_log: &'a str,
        access_log: &str,
        executions: HashMap<u64, Vec<Execution>>,
        events: &'a Events,
    ) -> Accounts<'a> {
        let mut log: HashMap<u64, Vec<&str>> = HashMap::new();
        for line in error_log.lines() {
            for token in tokens(line) {
                log.entry(token).or_default().push(line);
            }
        }
        let read = access_log.lines().flat_map(tokens).collect();
        Accounts { log, read, executions, events }
    }

    fn lines(&self, token: u64) -> &[&'a str] {
        self.log.get(&token).map_or(&[], Vec::as_slice)
    }

    fn executions(&self, token: u64) -> &[Execution] {
        self.executions.get(&token).map_or(&[], Vec::as_slice)
    }

    fn cause(&self, failure: &Failure) -> Cause {
        let token = failure.asked.token;
        let lines = self.lines(token);
        let names = |pids: &HashSet<i32>| {
            lines.iter().any(|line| numbers(line).any(|it| pids.contains(&it)))
        };
        let may_be_lost = matches!(failure.got, Got::Status(502) | Got::Cut(_));
        let is_unread = !self.read.contains(&token) && self.executions(token).is_empty();
        if failure.asked.group == Group::Tenant && !matches!(failure.got, Got::Wrong(_)) {
            Cause::OfTenant
        } else if may_be_lost && names(&self.events.killed) {
            Cause::Killed
        } else if matches!(failure.got, Got::Cut(0)) && failure.reused && is_unread {
            Cause::KeptConnectionClosed
        } else if may_be_lost && names(&self.events.orphaned) {
            Cause::Orphaned
        } else if may_be_lost && names(&self.events.ended) {
            Cause::Ended
        } else if lines.is_empty() {
            Cause::Unknown
        } else {
            Cause::Logged
        }
    }

    fn describe(&self, failure: &Failure) -> String {
        let asked = &failure.asked;
        let by: Vec<i32> = self.executions(asked.token).iter().map(|one| one.pid).collect();
        let message =
            |line: &&'a str| line.split_once("WSGI").map_or(*line, |(head, _)| &line[head.len()..]);
        let said: Vec<&str> = self.lines(asked.token).iter().map(message).collect();
        format!(
            "at {:.1} s after {:.2} s: {} {} {}, body {}, answer {}{}: {}; executed by {by:?}; log: {}",
            failure.at,
            failure.took,
            if asked.post { "POST" } else { "GET" },
            asked.group.name(),
            asked.text(),
            if asked.post { asked.body } else { 0 },
            asked.size,
            if failure.reused { ", kept connection" } else { "" },
            failure.got,
            if said.is_empty() { "nothing".to_owned() } else { said.join(" | ") },
        )
    }
}

/// The numbers in the message of a log line.
fn numbers(line: &str) -> impl Iterator<Item = i32> + '_ {
    let message = line.split_once("WSGI").map_or(line, |(_, message)| message);
    all_numbers(message)
}

fn all_numbers(line: &str) -> impl Iterator<Item = i32> + '_ {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok())
}

/// Stops the server, prints what the soak has recorded, and makes the checks.
pub fn judge(evidence: Evidence<'_>) -> Vec<Check> {
    let Evidence { full_length, took, serves, events, records, cores, server } = evidence;
    let executions = site::executions(server.root());
    let attacker_files = site::attacker_files(server.root());
    let root = server.root().to_owned();
    let access_log = server.access_log();
    let mut text = server.error_log();
    let stopped = stop(server).map(|log| text = log);
    println!("\nDisturbances:");
    for (at, what) in &events.told {
        println!("{at:7.1} s  {what}");
    }
    print_outcomes(&records, took);

    let accounts = Accounts::of(&text, &access_log, executions, &events);
    let mut by_cause: BTreeMap<(Cause, String), Vec<String>> = BTreeMap::new();
    let mut refused = Vec::new();
    let mut lost = Vec::new();
    let mut others = Vec::new();
    let mut wrong = Vec::new();
    let mut silent = Vec::new();
    for failure in &records.failures {
        let cause = accounts.cause(failure);
        let line = accounts.describe(failure);
        let allowed = cause.is_allowed();
        let outcome = match &failure.got {
            Got::Status(status) => status.to_string(),
            Got::Cut(_) => "cut".to_owned(),
            got => format!("{got:?}").chars().take(20).collect(),
        };
        by_cause.entry((cause, outcome)).or_default().push(line.clone());
        match &failure.got {
            Got::Wrong(_) => wrong.push(line),
            _ if allowed => {}
            Got::Silence => silent.push(line),
            Got::Status(503 | 504) => refused.push(line),
            Got::Status(502) | Got::Cut(_) => lost.push(line),
            _ => others.push(line),
        }
    }
    print_causes(&by_cause);

    let is_post = |all: &&Vec<Execution>| all.iter().filter(|one| one.post).count() > 1;
    let twice = accounts
        .executions
        .values()
        .filter(is_post)
        .map(|all| format!("{} {all:?}", http::text(all[0].token)));
    let executions = &accounts.executions;
    let missing = records.posted.iter().filter(|token| !executions.contains_key(token));
    let few = full_length && records.requests < LEAST;
    let mut attacked = events.successful_attacks.clone();
    let ran = attacker_files.into_iter().map(|name| format!("the attacker's script ran: {name}"));
    attacked.extend(ran);
    let bound = harness::patience().as_secs_f64() / 2.0;
    let is_slow = |one: &&Failure| one.took > bound && one.asked.group != Group::Tenant;
    let slow: Vec<String> =
        records.slow.iter().filter(is_slow).map(|one| accounts.describe(one)).collect();
    let mut deaths = lines_with(&text, &["WSGI1037"]);
    if deaths.len() <= events.supervisors_killed {
        deaths.clear();
    }
    let checks = vec![
        check(
            "a run of ten minutes makes 200,000 requests",
            few.then(|| records.requests.to_string()),
        ),
        check("all connections are accepted", records.unconnected.clone()),
        check("no answer is wrong", wrong),
        check("no POST is executed twice", twice),
        check(
            "every POST that was answered has been executed",
            missing.map(|token| http::text(*token)),
        ),
        check("no request waits for longer than a minute", silent),
        check("no request but the tenant's takes longer than ten seconds", slow),
        check("requests are lost only if their worker was killed, and the log says so", lost),
        check("no request but the tenant's is answered with 503 or 504", refused),
        check("no request is answered with another status", others),
        check(
            "no httpd child and no worker crashes in code of this project",
            crashes(&text, cores, &events),
        ),
        check("the supervisor dies only when it is killed", deaths),
        check("no panic is caught", lines_with(&text, &["panicked at", "WSGI1010"])),
        check(
            "a program of httpd's user receives nothing from workers and children, and runs nothing",
            attacked,
        ),
        check("at the end all applications answer", serves.err()),
        check("httpd stops in time, and no process is left", stopped.err()),
    ];
    println!(
        "\n{} attacks, {} executions, the log has {} lines.",
        events.attacks,
        executions.len(),
        text.lines().count()
    );
    println!("\nChecks:");
    for check in &checks {
        let result = if check.failures.is_empty() { "passed" } else { "FAILED" };
        println!("{result} {} ({})", check.text, check.failures.len());
        for line in check.failures.iter().take(SHOWN) {
            println!("         {line}");
        }
    }
    if checks.iter().any(|check| !check.failures.is_empty()) {
        let kept = std::env::temp_dir().join(format!("rustgi-soak-{}.log", std::process::id()));
        let written = std::fs::write(&kept, &text);
        println!("The error log of {} is kept: {} ({written:?})", root.display(), kept.display());
    }
    checks
}

fn check(text: &'static str, failures: impl IntoIterator<Item = String>) -> Check {
    Check { text, failures: failures.into_iter().collect() }
}

/// Stops the server with the checks that every test makes, and returns its log.
fn stop(server: Server) -> Result<String, String> {
    let stopped = std::panic::catch_unwind(AssertUnwindSafe(|| server.stop().error_log));
    stopped.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        // The log follows, which is kept elsewhere.
        text.split("\n--- the log").next().unwrap_or_default().to_owned()
    })
}

fn print_outcomes(records: &Records, took: Duration) {
    let rate = records.requests as f64 / took.as_secs_f64();
    println!(
        "\n{} requests in {:.0} s ({rate:.0} each second):",
        records.requests,
        took.as_secs_f64()
    );
    let kinds: BTreeSet<&String> = records.outcomes.keys().map(|(_, outcome)| outcome).collect();
    let head: String = kinds.iter().map(|kind| format!("{kind:>12}")).collect();
    println!("{:10}{head}", "");
    for group in Group::ALL {
        let count = |kind: &&String| {
            records.outcomes.get(&(group, (*kind).clone())).copied().unwrap_or_default()
        };
        let row: String = kinds.iter().map(|kind| format!("{:>12}", count(kind))).collect();
        println!("{:10}{row}", group.name());
    }
}

fn print_causes(by_cause: &BTreeMap<(Cause, String), Vec<String>>) {
    println!("\nFailures by cause:");
    for ((cause, outcome), lines) in by_cause {
        println!("{:6} × {outcome}, {cause:?}", lines.len());
        // All lines of 503 and 504 are printed (up to 200), and three of each other outcome.
        let all = matches!(outcome.as_str(), "503" | "504");
        for line in lines.iter().take(if all { 200 } else { 3 }) {
            println!("         {line}");
        }
    }
}

fn lines_with(log: &str, texts: &[&str]) -> Vec<String> {
    let has = |line: &&str| texts.iter().any(|text| line.contains(text));
    log.lines().filter(has).map(str::to_owned).collect()
}

/// Crash lines of the log, each with the stack of its process if there is one. A crash in which no code of this project was running is
/// printed and is no failure.
fn crashes(log: &str, cores: &Cores, events: &Events) -> Vec<String> {
    const SIGNS: [&str; 6] = ["exit signal", "SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"];
    let crashes = cores.crashes();
    let ours = |line: &str| all_numbers(line).collect::<HashSet<i32>>();
    let mut broken = Vec::new();
    let mut told = HashSet::new();
    for line in lines_with(log, &SIGNS) {
        let pids = ours(&line);
        let crash = crashes.iter().find(|crash| pids.contains(&crash.pid));
        let Some(crash) = crash else {
            if !pids.iter().any(|pid| events.killed.contains(pid)) {
                broken.push(format!("{line}; there is no core dump"));
            }
            continue;
        };
        told.insert(crash.pid);
        let stack = crash.frames.iter().take(15).cloned().collect::<Vec<_>>().join(" < ");
        match crash.is_ours() {
            true => broken.push(format!("{line}; {stack}")),
            false => println!("A crash without code of this project: {line}; {stack}"),
        }
    }
    // Such a core dump may be of another program of this machine: the setting of the kernel is for all programs.
    for crash in crashes.iter().filter(|crash| !told.contains(&crash.pid)) {
        let stack = crash.frames.iter().take(15).cloned().collect::<Vec<_>>().join(" < ");
        let program = crash.program.display();
        println!(
            "A core dump without a line in the log: process {} ({program}): {stack}",
            crash.pid
        );
    }
    broken
}
