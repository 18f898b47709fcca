//! Applications that share a process: two Django sites, each in a group of its own, and numpy in the main interpreter.

use super::frameworks::{django_site, let_write, with_frameworks};
use super::free_threading::is_free_threaded;
use crate::harness::{Connection, Mpm, Server, request};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

const SITES: [&str; 2] = ["one", "two"];
const THREADS_EACH: usize = 8;
fn three_neighbours() -> Server {
    // More threads than clients: with none to spare, this MPM closes connections that it has promised to keep.
    let mut builder = with_frameworks().mpm(Mpm::Event).children(1, 4 * THREADS_EACH);
    for name in SITES {
        builder = django_site(builder, name).config(&format!(
            "WSGIScriptAlias /{name} @apps@/{name}/website/wsgi.py application-group={name}"
        ));
    }
    let server = builder
        .app("numbers.wsgi", include_str!("../apps/numbers.wsgi"))
        .config("WSGIScriptAlias /numbers @apps@/numbers.wsgi application-group=%{GLOBAL}")
        // A connection is kept for all the requests of a client.
        .config("MaxKeepAliveRequests 0\nLogLevel wsgi:warn")
        .start();
    for name in SITES {
        let_write(&server, name);
    }
    server
}

/// One request and what must come back.
fn ask(connection: &mut Connection, who: &str, number: usize) -> Result<(), String> {
    let (bytes, expected) = match who {
        "numbers" => {
            let expected = json!({
                "site": who, "group": "", "number": number, "largest": number.max(2) as f64,
            });
            (request("GET", &format!("/numbers/{number}"), &[], b""), expected)
        }
        site => {
            let form = format!("number={number}");
            let kind = [("Content-Type", "application/x-www-form-urlencoded")];
            let posts = number % 3 == 0;
            let method = if posts { "POST" } else { "GET" };
            let body: &[u8] = if posts { form.as_bytes() } else { b"" };
            let posted = if posts { number.to_string() } else { String::new() };
            let expected = json!({
                "site": site, "group": site, "number": number, "posted": posted, "entries": [],
            });
            (request(method, &format!("/{site}/who/{number}/"), &kind, body), expected)
        }
    };
    connection.try_send(&bytes).map_err(|error| error.to_string())?;
    let answer = connection.receive();
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status == 200 && answer.complete && told == expected {
        Ok(())
    } else {
        Err(format!("{who} {number}: {} {told}", answer.status))
    }
}

/// Sends so many requests to each neighbour, eight clients each at a time, and gives what went wrong.
fn mixed(server: &Server, requests: usize) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let visit = |first: usize| {
        let mut connection = server.connect();
        let mut wrong = Vec::new();
        let neighbours = [SITES[0], SITES[1], "numbers"];
        for turn in first.. {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= requests || wrong.len() > 3 {
                break;
            }
            wrong.extend(ask(&mut connection, neighbours[turn % 3], number).err());
        }
        wrong
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..3 * THREADS_EACH).map(|n| scope.spawn(move || visit(n))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// All get along over so many requests, and after a fifth of them resident memory grows by less than `flat` KiB: what the
/// allocator's arenas for so many threads still take.
fn get_along(requests: usize, flat: u64) {
    let server = three_neighbours();
    let way = server.way();
    let begun = std::time::Instant::now();
    assert_eq!(mixed(&server, requests / 5), Vec::<String>::new());
    let early = server.resident();
    assert_eq!(mixed(&server, requests - requests / 5), Vec::<String>::new());
    let late = server.resident();
    // Threads without a lock have copies of bytecode and heaps of their own, which fill one by one.
    let flat = if is_free_threaded() { 4 * flat } else { flat };
    let took = begun.elapsed();
    println!(
        "{requests} requests in {took:.1?}: resident {early} KiB after a fifth, {late} KiB at the end"
    );
    assert_eq!(server.way(), way, "the same processes have served everything");
    assert!(late < early + flat, "resident memory grew from {early} to {late} KiB");
}

#[test]
fn two_django_sites_and_numpy_share_a_process_without_meeting() {
    get_along(3_000, 8 << 10);
}

#[test]
fn neighbours_are_restarted_and_stopped_in_order() {
    let server = three_neighbours();
    let all_well = |server: &Server| assert_eq!(mixed(server, 200), Vec::<String>::new());
    all_well(&server);
    server.graceful();
    all_well(&server);
    server.restart();
    all_well(&server);
    let remains = server.stop();
    let ends = remains.error_log.matches("did not finish in time").count();
    assert_eq!(ends, 0, "Python is finalised each time:\n{}", remains.error_log);
}

#[test]
#[ignore = "takes minutes: the same with 100,000 requests"]
fn two_django_sites_and_numpy_share_a_process_for_long() {
    get_along(100_000, 4 << 10);
}
