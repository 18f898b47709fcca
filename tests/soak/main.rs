//! The soak: one httpd with embedded and daemon applications serves requests with unique tokens while workers are killed,
//! scripts are rewritten, httpd is reloaded, the supervisor is killed and stopped, a tenant's interpreter hangs, clients stop
//! reading or leave, and a program of httpd's user attacks. At the end the soak checks every answer, every execution and every failure.
//! `make soak MINUTES=10` runs it; the exit status is 0 if all checks passed.
//!
//! | what | file |
//! |---|---|
//! | the configuration and the applications | `site.rs` |
//! | one HTTP connection that never panics | `http.rs` |
//! | the clients, and the records of their answers | `clients.rs` |
//! | the disturbances meanwhile: kills, reloads, attacks | `disturbances.rs` |
//! | processes as `/proc` shows them | `processes.rs` |
//! | core dumps, and the stacks in them | `cores.rs` |
//! | the causes of failures, and the checks at the end | `verdict.rs` |
//! | random numbers from a seed | `random.rs` |

mod clients;
mod cores;
mod disturbances;
#[path = "../harness/mod.rs"]
#[expect(dead_code, reason = "the soak needs a part of what the tests share")]
#[expect(unused_imports, reason = "the soak needs a part of what the tests share")]
mod harness;
mod http;
mod processes;
mod random;
mod site;
mod verdict;

use harness::Attack;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The options of the command line.
struct Arguments {
    time: Duration,
    seed: u64,
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("{wrong}\nusage: soak [--minutes N] [--seed N]");
            return ExitCode::from(2);
        }
    };
    let (time, seed) = (arguments.time, arguments.seed);
    println!("seed {seed}, {:.1} minutes", time.as_secs_f64() / 60.0);
    let builder = site::builder();
    let cores = cores::Cores::collect(builder.root());
    println!("core dumps: {}", cores.description());
    let server = builder.start();
    site::prepare(server.root());
    let prefix = server.root().join("run/wsgi");
    let attack = Attack::on(&prefix, &server.root().join("theirs/theirs.wsgi"));
    if let Err(refused) = site::await_service(server.port, Duration::from_secs(60)) {
        println!("the server does not answer: {refused}\n{}", server.error_log());
        return ExitCode::FAILURE;
    }
    let begun = Instant::now();
    let (took, records, events) = std::thread::scope(|scope| {
        let load = clients::Load::begin(scope, server.port, seed);
        let disturbances = disturbances::Disturbances::begin(scope, &server, &attack, seed);
        while begun.elapsed() < time {
            std::thread::sleep(Duration::from_secs(1).min(time));
            load.report_progress(begun.elapsed());
        }
        let events = disturbances.end();
        (begun.elapsed(), load.end(), events)
    });
    let serves = site::await_service(server.port, Duration::from_secs(60));
    let checks = verdict::judge(verdict::Evidence {
        full_length: time >= Duration::from_secs(600),
        took,
        serves,
        events,
        records,
        cores: &cores,
        server,
    });
    let passed = checks.iter().filter(|check| check.failures.is_empty()).count();
    println!("soak: {passed} passed, {} failed", checks.len() - passed);
    if passed == checks.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn arguments() -> Result<Arguments, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut found = Arguments { time: Duration::from_secs(600), seed: now.as_secs() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let wrong = || format!("{word} is not followed by a number: {value}");
        match word.as_str() {
            "--minutes" => {
                let minutes: f64 = value.parse().map_err(|_| wrong())?;
                found.time = Duration::try_from_secs_f64(minutes * 60.0).map_err(|_| wrong())?;
            }
            "--seed" => found.seed = value.parse().map_err(|_| wrong())?,
            _ => return Err(format!("there is no option {word}")),
        }
    }
    Ok(found)
}
