//! Slow clients of daemon processes hold no thread of the application, and files go to the client without passing through
//! anybody's memory.

use crate::harness::{Builder, Connection, Load, Server, request, wait_for};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const APPLICATION: &str = "
import os, time
BLOCK = b'x' * 65536

def application(environ, start_response):
    what = environ['PATH_INFO']
    if what == '/upload':
        size = len(environ['wsgi.input'].read())
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'%d end' % size]
    if what == '/large':
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(8 << 20))])
        return (BLOCK for _ in range((8 << 20) // len(BLOCK)))
    if what == '/file':
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(4 << 20))])
        return environ['wsgi.file_wrapper'](open('@root@/big', 'rb'))
    if what == '/stream':
        def pieces():
            for number in range(3):
                yield b'piece %d ' % number
                while not os.path.exists('@docs@/go-on'):
                    time.sleep(0.01)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return pieces()
    time.sleep(0.002)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'end']
";

fn builder() -> Builder {
    Server::builder_of(APPLICATION)
        .daemon("site threads=4")
        .children(2, 80)
        .file("big", vec![b'f'; 4 << 20])
        .config("RequestReadTimeout header=0 body=0")
        .load(&["reqtimeout"])
}

/// How long a fast client's requests take at the 95th percent, alone and beside `others`.
fn beside<T>(server: &Server, others: impl Fn() -> T) -> (Duration, Duration) {
    let load = Load::of(server).clients(1).expect("end");
    let alone = load.run(Duration::from_secs(2));
    let held = others();
    let crowded = load.run(Duration::from_secs(2));
    drop(held);
    assert!(alone.failed.is_empty() && crowded.failed.is_empty());
    (alone.percentile(95), crowded.percentile(95))
}

/// A loaded machine has delays of its own, which come and go; a thread that is held would cost seconds each time.
#[track_caller]
fn stays_fast<T>(server: &Server, others: impl Fn() -> T) {
    let is_fast = |_| {
        let (alone, crowded) = beside(server, &others);
        println!("a fast client: {alone:?} alone, {crowded:?} beside 64 slow ones (95 %)");
        crowded < alone * 2 + Duration::from_millis(20)
    };
    assert!((0..5).any(is_fast), "slow ones slow down a fast one");
}

#[test]
fn sixty_four_slow_uploads_leave_all_threads_to_others() {
    let server = builder().start();
    stays_fast(&server, || {
        let begin = |_| {
            let mut connection = server.connect();
            connection.send(request("POST", "/upload", &[("Content-Length", "1000000")], b""));
            connection.send(vec![b'u'; 1000]);
            connection
        };
        (0..64).map(begin).collect::<Vec<Connection>>()
    });
}

#[test]
fn sixty_four_slow_readers_leave_all_threads_to_others() {
    // One child may serve all of these clients.
    let server = builder().daemon("site threads=4 spool-limit=1073741824").start();
    stays_fast(&server, || {
        let begin = |_| {
            let mut connection = server.connect();
            connection.send(request("GET", "/large", &[], b""));
            connection.receive_head("GET");
            connection
        };
        let connections: Vec<Connection> = (0..64).map(begin).collect();
        // All that they will take for now is under way.
        std::thread::sleep(Duration::from_secs(1));
        connections
    });
}

#[test]
fn a_slow_reader_gets_everything_in_the_end() {
    let server = builder().start();
    let mut connection = server.connect();
    connection.send(request("GET", "/large", &[("Connection", "close")], b""));
    assert_eq!(connection.receive_head("GET").status, 200);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(connection.rest().len(), 8 << 20);
}

#[test]
fn what_an_application_yields_reaches_the_client_before_it_yields_more() {
    let server = builder().start();
    let mut connection = server.connect();
    connection.send(request("GET", "/stream", &[("Connection", "close")], b""));
    connection.receive_head("GET");
    let mut first = connection.bytes(1);
    while !String::from_utf8_lossy(&first).contains("piece 0") {
        first.extend(connection.bytes(1));
    }
    fs::write(server.root().join("docs/go-on"), "").unwrap();
    assert!(String::from_utf8_lossy(&connection.rest()).contains("piece 2"));
}

#[test]
fn a_file_goes_from_the_application_to_the_client_by_sendfile() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    let server =
        builder().config("EnableSendfile On\nWSGIEnableSendfile On").children(1, 8).start();
    assert_eq!(server.get("/file").body.len(), 4 << 20);
    let told = server.root().join("logs/strace");
    let mut strace = Command::new("strace")
        .args(["-f", "-q", "-e", "trace=sendfile", "-o"])
        .arg(&told)
        .args(["-p", &server.child().to_string()])
        .spawn()
        .unwrap();
    wait_for("strace", || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.child())).unwrap();
        (!status.contains("TracerPid:\t0\n")).then_some(())
    });
    let answer = server.get("/file");
    assert!(answer.complete && answer.body.iter().all(|&byte| byte == b'f'));
    nix::sys::signal::kill(crate::harness::pid_of(&strace), nix::sys::signal::Signal::SIGINT)
        .unwrap();
    strace.wait().unwrap();
    let told = fs::read_to_string(told).unwrap();
    assert!(told.contains("sendfile("), "{told}");
}

/// How long each of so many requests takes, from the shortest to the longest.
fn times(connection: &mut Connection, count: usize) -> Vec<Duration> {
    let mut timed = || {
        let begun = Instant::now();
        connection.send(request("GET", "/", &[], b""));
        assert_eq!(connection.receive().text(), "end");
        begun.elapsed()
    };
    let mut all: Vec<Duration> = (0..count).map(|_| timed()).collect();
    all.sort();
    all
}

/// Does something while a request waits for a file of this name, after so many short ones that their shortness is known.
fn beside_a_long_one(server: &Server, name: &str, what: impl FnOnce(&mut Connection)) {
    let mut connection = server.connect();
    times(&mut connection, 3000);
    std::thread::scope(|scope| {
        let long = scope.spawn(|| server.get(&format!("/wait?{name}")).status);
        server.await_log(&format!("it waits for {name}"));
        what(&mut connection);
        fs::write(server.root().join("docs").join(name), "").unwrap();
        assert_eq!(long.join().unwrap(), 200);
    });
}

/// Nobody is woken beside a thread that is busy, as long as requests are short: this one is not.
#[test]
fn a_request_that_takes_long_does_not_delay_many_short_ones_or_a_large_one() {
    let application = "
import os, time

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/wait':
        print('it waits for', environ['QUERY_STRING'], flush=True)
        while not os.path.exists('@docs@/' + environ['QUERY_STRING']):
            time.sleep(0.01)
    return [b'end']
";
    let server = Server::builder_of(application).daemon("site threads=4").children(1, 8).start();
    beside_a_long_one(&server, "short", |connection| {
        let beside = times(connection, 200);
        // Each that is not taken at once waits for two milliseconds.
        assert!(beside[50] < Duration::from_millis(2), "{beside:?}");
    });
    beside_a_long_one(&server, "large", |_| {
        // More than lies on the way at once.
        let value = "x".repeat(7900);
        let names: Vec<String> = (0..24).map(|number| format!("X-Large-{number}")).collect();
        let headers: Vec<_> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
        assert_eq!(server.send("GET", "/", &headers, b"").text(), "end");
    });
}
