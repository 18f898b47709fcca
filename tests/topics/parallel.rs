//! Applications that compute at the same time: with a lock of its own for each interpreter, or with none at all. Needs
//! two processors and nothing else that wants them, so it is not run by default:
//!
//!     cargo test -p rustgi-tests --test server -- parallel --ignored --nocapture --test-threads=1

use super::free_threading::is_free_threaded;
use crate::harness::{Installation, Server, request};
use std::time::{Duration, Instant};

/// Computes for some milliseconds, in two groups; or says which Python it runs in.
const SUM: &str = "
import sys

def application(environ, start_response):
    if environ['QUERY_STRING'] == 'version':
        start_response('200 OK', [])
        return [sys.version.split()[0].encode()]
    number = 0
    for step in range(400000):
        number = (number * 31 + step) % 1000003
    start_response('200 OK', [])
    return [str(number).encode()]
";

/// Two clients in each of two groups.
const TWO_GROUPS: [&str; 4] = ["/a", "/b", "/a", "/b"];
/// All clients in one.
const ONE_GROUP: [&str; 4] = ["/a"; 4];

/// How many requests are answered in a second, of clients that ask for these.
fn rate(config: &str, paths: [&'static str; 4]) -> f64 {
    let server = Server::builder()
        .app("app.wsgi", SUM)
        .config(
            "WSGIScriptAlias /a @apps@/app.wsgi application-group=a
WSGIScriptAlias /b @apps@/app.wsgi application-group=b",
        )
        .config(config)
        .start();
    let version = Installation::get().python_says("sys.version.split()[0]");
    assert_eq!(server.get("/a?version").text(), version, "the module was built for another Python");
    let right = server.get("/a").text().to_owned();
    assert_eq!(server.get("/b").text(), right);
    let begun = Instant::now();
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let clients: Vec<_> = paths
            .map(|path| {
                let (server, right) = (&server, &right);
                scope.spawn(move || {
                    let mut connection = server.connect();
                    let mut count = 0;
                    while begun.elapsed() < Duration::from_secs(5) {
                        connection.send(request("GET", path, &[], b""));
                        let answer = connection.receive();
                        assert_eq!((answer.status, answer.text()), (200, &**right));
                        count += 1;
                    }
                    count
                })
            })
            .into_iter()
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    counts.iter().sum::<usize>() as f64 / begun.elapsed().as_secs_f64()
}

/// Both ways in turn, so that whatever else this machine does hits both; the best of each.
fn gain(shared: &str, apart: &str, paths: [&'static str; 4]) -> f64 {
    let mut best = [0.0_f64; 2];
    for _ in 0..3 {
        for (best, config) in best.iter_mut().zip([shared, apart]) {
            *best = best.max(rate(config, paths));
        }
    }
    let gain = best[1] / best[0];
    eprintln!(
        "Python {}: {:.1} requests a second with a shared lock, {:.1} with {apart:?}: {gain:.2} times",
        Installation::get().python_says("sys.version.split()[0]"),
        best[0],
        best[1],
    );
    gain
}

#[test]
#[ignore = "needs two processors for itself"]
fn two_groups_with_locks_of_their_own_compute_in_parallel() {
    if Installation::get().python_says("sys.version_info >= (3, 12)") == "False" {
        eprintln!("SKIPPED: the Python under test (PYTHON) has one lock for all interpreters");
        return;
    }
    let config = "WSGIFreeThreading Off\nWSGIPerInterpreterGIL";
    let gain = gain(&format!("{config} Off"), &format!("{config} On"), TWO_GROUPS);
    assert!(gain >= 1.6, "{gain:.2} times as fast as with one lock");
}

#[test]
#[ignore = "needs two processors for itself"]
fn groups_without_a_lock_compute_in_parallel_and_so_does_each() {
    if !is_free_threaded() {
        eprintln!("SKIPPED: the Python under test (PYTHON) is not free-threaded");
        return;
    }
    for paths in [TWO_GROUPS, ONE_GROUP] {
        let gain = gain("WSGIFreeThreading Off", "WSGIFreeThreading On", paths);
        assert!(gain >= 1.6, "{gain:.2} times as fast as with the lock: {paths:?}");
    }
}
