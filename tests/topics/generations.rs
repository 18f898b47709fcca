//! `httpd -k graceful` while clients keep asking, `-k restart` and `-k stop` in the middle of requests: what is lost, what
//! is logged, what is left.

use crate::harness::{Builder, Connection, Installation, Mpm, Server, request, run, wait_for};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Takes a few milliseconds, in several pieces, so that there is always something under way; says which child it is.
const APPLICATION: &str = "
import os, time

def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'child %d ' % os.getpid()
    time.sleep(1 if environ['PATH_INFO'] == '/long' else 0.002)
    yield body
    yield b'end'
";

const CLIENTS: usize = 6;

fn builder(mpm: Mpm) -> Builder {
    let builder = Server::builder_of(APPLICATION).mpm(mpm);
    match mpm {
        // Room for every client, and for generations that have not quite left yet.
        Mpm::Prefork => builder.children(CLIENTS + 2, 1),
        Mpm::Event | Mpm::Worker => builder.children(2, CLIENTS),
    }
}

/// `httpd -k VERB`, as an administrator says it.
fn httpd(server: &Server, verb: &str) {
    run(Command::new(&Installation::get().httpd)
        .arg("-f")
        .arg(server.root().join("httpd.conf"))
        .args(["-k", verb]));
}

fn generations(server: &Server) -> usize {
    server.error_log().matches("resuming normal operations").count()
}

/// `httpd -k VERB`, and waits for the generation that it begins.
fn next_generation(server: &Server, verb: &str) {
    let before = generations(server);
    httpd(server, verb);
    wait_for("the next generation", || (generations(server) > before).then_some(()));
}

/// What one request came to.
enum Came {
    Well,
    /// The connection ended before anything of an answer.
    Nothing,
    /// An answer that is not the right one.
    Wrong(String),
}

fn ask(connection: &mut Connection, number: usize) -> Came {
    let body = format!("number {number} ");
    if connection
        .try_send(&request("POST", "/", &[("Connection", "close")], body.as_bytes()))
        .is_err()
    {
        return Came::Nothing;
    }
    // Its own way to read, because a stopped server may end a connection anywhere.
    let answer = String::from_utf8_lossy(&connection.rest()).into_owned();
    let ended = answer.ends_with("3\r\nend\r\n0\r\n\r\n");
    if answer.is_empty() {
        Came::Nothing
    } else if answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains(&body) && ended {
        Came::Well
    } else {
        Came::Wrong(answer)
    }
}

/// What came of all requests.
#[derive(Debug, Default)]
struct Tally {
    well: usize,
    nothing: usize,
    wrong: Vec<String>,
}

/// Clients keep asking, each time on a new connection, while `meanwhile` goes on.
fn under_load(server: &Server, meanwhile: impl FnOnce(&AtomicUsize)) -> Tally {
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = |first: usize| {
        let mut tally = Tally::default();
        for number in (first..).step_by(CLIENTS) {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let came = Connection::try_open(server.port).map(|mut c| ask(&mut c, number));
            match came.unwrap_or(Came::Nothing) {
                Came::Well => {
                    tally.well += 1;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Came::Nothing => tally.nothing += 1,
                Came::Wrong(answer) => tally.wrong.push(answer),
            }
        }
        tally
    };
    std::thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..CLIENTS).map(|n| scope.spawn(move || client(n))).collect();
        let end = AtTheEnd(&over);
        await_answers(&answered, 50);
        meanwhile(&answered);
        drop(end);
        clients.into_iter().map(|c| c.join().unwrap()).fold(Tally::default(), |mut all, one| {
            all.well += one.well;
            all.nothing += one.nothing;
            all.wrong.extend(one.wrong);
            all
        })
    })
}

/// Tells the clients to end, also when something else has failed.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Until so many more have been answered.
fn await_answers(answered: &AtomicUsize, more: usize) {
    let enough = answered.load(Ordering::Relaxed) + more;
    wait_for("more answers", || (answered.load(Ordering::Relaxed) >= enough).then_some(()));
}

fn graceful_loses_nothing(mpm: Mpm) {
    let server = builder(mpm).start();
    let tally = under_load(&server, |answered| {
        for _ in 0..10 {
            next_generation(&server, "graceful");
            await_answers(answered, 30);
        }
    });
    assert_eq!(
        (tally.nothing, tally.wrong.as_slice()),
        (0, [].as_slice()),
        "of {} requests",
        tally.well
    );
    println!("{mpm:?}: ten times graceful, {} requests, none lost", tally.well);
    // Generations that have been replaced are gone when their last request is.
    let most = match mpm {
        Mpm::Prefork => CLIENTS + 6,
        Mpm::Event | Mpm::Worker => 2,
    };
    wait_for("earlier generations to leave", || (server.children().len() <= most).then_some(()));
    server.stop();
}

/// Requests that are inside the application, each on its own connection, and stay there for a second.
fn under_way(server: &Server) -> Vec<Connection> {
    let begin = |_| {
        let mut connection = server.connect();
        connection.send(request("GET", "/long", &[("Connection", "close")], b""));
        connection
    };
    let mut connections: Vec<Connection> = (0..CLIENTS).map(begin).collect();
    for connection in &mut connections {
        assert_eq!(connection.receive_head("GET").status, 200);
    }
    connections
}

/// Whatever a server still says when it is ended ungracefully, it does not call a cut answer whole.
fn no_lies(connections: Vec<Connection>) {
    for mut connection in connections {
        let rest = String::from_utf8_lossy(&connection.rest()).into_owned();
        let (whole, ended) = (rest.ends_with("0\r\n\r\n"), rest.contains("end"));
        assert_eq!(whole, ended, "a cut answer that says it is whole: {rest:?}");
    }
}

/// With no thread in code of the MPM: that of httpd 2.4 itself may crash when connections come and go while it closes
/// all of them (`close_worker_sockets`, `ap_queue_info_free_idle_pools`), whatever module serves them.
fn restart_and_stop_end_in_order(mpm: Mpm) {
    let mut server = builder(mpm).start();
    for _ in 0..3 {
        let connections = under_way(&server);
        next_generation(&server, "restart");
        no_lies(connections);
        let answer = server.post("/", "fresh ");
        assert!(answer.complete && answer.text().ends_with("fresh end"), "{answer:?}");
    }
    let connections = under_way(&server);
    httpd(&server, "stop");
    no_lies(connections);
    assert!(server.await_end().success(), "httpd ends well");
    let remains = server.stop();
    assert!(remains.error_log.contains("caught SIGTERM, shutting down"), "{}", remains.error_log);
}

#[test]
fn event_restarted_ten_times_gracefully_loses_no_request() {
    graceful_loses_nothing(Mpm::Event);
}

#[test]
fn worker_restarted_ten_times_gracefully_loses_no_request() {
    graceful_loses_nothing(Mpm::Worker);
}

#[test]
fn prefork_restarted_ten_times_gracefully_loses_no_request() {
    graceful_loses_nothing(Mpm::Prefork);
}

#[test]
fn event_restarts_and_stops_in_the_middle_of_requests_without_a_crash() {
    restart_and_stop_end_in_order(Mpm::Event);
}

#[test]
fn worker_restarts_and_stops_in_the_middle_of_requests_without_a_crash() {
    restart_and_stop_end_in_order(Mpm::Worker);
}

#[test]
fn prefork_restarts_and_stops_in_the_middle_of_requests_without_a_crash() {
    restart_and_stop_end_in_order(Mpm::Prefork);
}

#[test]
fn a_request_under_way_outlives_a_graceful_restart() {
    let server = Server::of(
        "
import os, time

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'begun by %d\\n' % os.getpid()
    for _ in range(2000):
        if os.path.exists('@root@/docs/go'):
            break
        time.sleep(0.01)
    yield b'ended by %d\\n' % os.getpid()
",
    );
    let mut connection = server.connect();
    connection.send(request("GET", "/", &[], b""));
    connection.receive_head("GET");
    let old = server.runner();
    next_generation(&server, "graceful");
    std::fs::write(server.root().join("docs/go"), "").unwrap();
    wait_for("an answer of the new generation", || {
        (!server.get("/").text().contains(&old.to_string())).then_some(())
    });
    let rest = String::from_utf8(connection.rest()).unwrap();
    assert!(rest.contains(&format!("ended by {old}\n")), "{rest}");
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
    wait_for("the old processes to leave", || {
        (server.children().len() == 1 && server.runners().len() == 1).then_some(())
    });
}
