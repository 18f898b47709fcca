//! Clients of daemon processes that stop reading or sending are dropped after `Timeout`, however many bytes are kept for them and
//! whatever the application does; clients that are only slow are not dropped.

use super::with_notes;
use crate::harness::{Builder, Connection, Server, request, wait_for};
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const APPLICATION: &str = "
import os, time
BLOCK = b'x' * 65536

def note(what):
    with open('@root@/run/notes', 'a') as file:
        file.write(what + '\\n')

def is_enough():
    return os.path.exists('@root@/run/enough')

class Endless:
    # What it yields, and how long it pauses after each piece.
    def __init__(self, pause):
        self.pause = pause
    def __iter__(self):
        return self
    def __next__(self):
        if is_enough():
            raise StopIteration
        time.sleep(self.pause)
        return BLOCK
    def close(self):
        note('closed')

def silent():
    for _ in range(256):
        yield BLOCK
    note('silent')
    while not is_enough():
        time.sleep(0.01)

def application(environ, start_response):
    what = environ['PATH_INFO']
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if what == '/busy':
        return Endless(0.005)
    if what == '/quick':
        return Endless(0)
    if what == '/silent':
        return silent()
    if what == '/large':
        return (BLOCK for _ in range(512))
    if what == '/file':
        return environ['wsgi.file_wrapper'](open('@root@/big', 'rb'), 65536)
    if what == '/upload':
        note('upload')
        try:
            return [b'%d' % len(environ['wsgi.input'].read())]
        except OSError:
            note('broken')
            raise
    return [b'end']
";

/// Much shorter than the time after which a test gives up, and shorter than the 30 s of other tests.
const TIMEOUT: Duration = Duration::from_secs(2);

fn builder(options: &str) -> Builder {
    with_notes(Server::builder_of(APPLICATION))
        .daemon(&format!("site threads=4 {options}"))
        .children(1, 16)
        .config("Timeout 2\nRequestReadTimeout header=0 body=0")
        .load(&["reqtimeout"])
}

/// How often the application has written this line.
fn notes(server: &Server, what: &str) -> usize {
    let text = fs::read_to_string(server.root().join("run/notes")).unwrap_or_default();
    text.lines().filter(|line| *line == what).count()
}

/// Waits until the server has finished `count` requests for this target.
#[track_caller]
fn await_end(server: &Server, target: &str, count: usize) {
    wait_for("the end of requests", || {
        let ended = server.access_log();
        (ended.lines().filter(|line| line.contains(target)).count() >= count).then_some(())
    });
}

/// A client that has read the head of an answer and reads no more.
fn stop_reading(server: &Server, target: &str) -> Connection {
    let mut connection = server.connect();
    connection.send(request("GET", target, &[], b""));
    assert_eq!(connection.receive_head("GET").status, 200);
    connection
}

/// A client of another protocol that reads no more than fits into a pipe. Its answer has begun.
struct Curl(Child);

impl Curl {
    fn stop_reading(server: &Server, arguments: &[&str], address: &str) -> Curl {
        let mut curl = Command::new("curl")
            .args(["--silent", "--insecure", "--max-time", "300"])
            .args(arguments)
            .arg(format!("{address}://localhost:{}/busy", server.port))
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl runs");
        curl.stdout.as_mut().unwrap().read_exact(&mut [0; 1000]).expect("the answer begins");
        Curl(curl)
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn clients_that_stop_reading_are_dropped_however_busy_the_worker_is() {
    let server = builder("").start();
    let begun = Instant::now();
    let stalled = [(); 3].map(|()| stop_reading(&server, "/busy"));
    wait_for("close() of all three", || (notes(&server, "closed") == 3).then_some(()));
    assert!(begun.elapsed() >= TIMEOUT, "{:?}", begun.elapsed());
    await_end(&server, "/busy", 3);
    assert_eq!(server.get("/").text(), "end");
    for mut connection in stalled {
        connection.rest();
    }
}

#[test]
fn a_client_that_stops_reading_over_tls_is_dropped() {
    let server = builder("").tls().start();
    let _stalled = Curl::stop_reading(&server, &["--http1.1"], "https");
    wait_for("close()", || (notes(&server, "closed") == 1).then_some(()));
    await_end(&server, "/busy", 1);
}

#[test]
fn a_client_that_stops_reading_over_http_2_is_dropped() {
    for tls in [true, false] {
        let server = builder("").load(&["http2"]).config("Protocols h2 h2c http/1.1");
        let server = if tls { server.tls() } else { server }.start();
        let (flag, scheme) =
            if tls { ("--http2", "https") } else { ("--http2-prior-knowledge", "http") };
        let _stalled = Curl::stop_reading(&server, &[flag], scheme);
        wait_for("close()", || (notes(&server, "closed") == 1).then_some(()));
        await_end(&server, "/busy", 1);
    }
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// The client reads the connection but never opens the window of the stream again.
#[test]
fn a_stream_of_http_2_that_is_given_no_room_is_dropped() {
    for target in ["/busy", "/quick"] {
        let server = builder("").load(&["http2"]).config("Protocols h2c http/1.1").start();
        let mut connection = server.connect();
        let path = [&[0x04, target.len() as u8], target.as_bytes()].concat();
        // GET, http, the path, and an authority (RFC 7541, appendix A).
        let head = [&[0x82, 0x86], &path[..], &[0x01, 1, b'x']].concat();
        let all = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[]),
            frame(1, 0b101, 1, &head),
        ];
        connection.send(all.concat());
        assert!(connection.bytes(60_000).len() == 60_000);
        wait_for("close()", || (notes(&server, "closed") == 1).then_some(()));
    }
}

#[test]
fn a_client_that_stops_reading_is_dropped_while_the_worker_is_silent() {
    let server = builder("").start();
    let _stalled = stop_reading(&server, "/silent");
    wait_for("the worker to be silent", || (notes(&server, "silent") == 1).then_some(()));
    await_end(&server, "/silent", 1);
    fs::write(server.root().join("run/enough"), "").unwrap();
}

#[test]
fn a_client_that_stops_reading_is_dropped_when_the_worker_has_ended_and_in_a_file() {
    let server = builder("").file("big", vec![b'f'; 64 << 20]).start();
    for target in ["/large", "/file"] {
        let _stalled = stop_reading(&server, target);
        await_end(&server, target, 1);
    }
}

#[test]
fn a_client_that_stops_sending_its_body_is_dropped_and_the_application_gets_an_error() {
    let server = builder("").start();
    let mut connection = server.connect();
    connection.send(request("POST", "/upload", &[("Content-Length", "1000000")], b""));
    connection.send(vec![b'u'; 200_000]);
    await_end(&server, "/upload", 1);
    assert!(!connection.rest().starts_with(b"HTTP/1.1 200"));
    assert_eq!((notes(&server, "upload"), notes(&server, "broken")), (1, 1));
}

/// Reads a little now and then for `time`. Returns the longest pause between two reads, and whether the answer went on.
fn read_slowly(stream: &mut TcpStream, time: Duration) -> (Duration, bool) {
    const PAUSE: Duration = Duration::from_millis(250);
    let (begun, mut longest, mut piece) = (Instant::now(), Duration::ZERO, vec![0; 32 * 1024]);
    while begun.elapsed() < time {
        let before = Instant::now();
        std::thread::sleep(PAUSE);
        if !matches!(stream.read(&mut piece), Ok(1..)) {
            return (longest.max(before.elapsed()), false);
        }
        longest = longest.max(before.elapsed());
    }
    (longest, true)
}

/// It reads so little that its socket has no room for longer than `Timeout`: a socket has room when a third of its buffer is free.
#[test]
fn a_client_that_reads_a_little_now_and_then_is_not_dropped() {
    let server = builder("").start();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        std::io::Write::write_all(&mut stream, &request("GET", "/busy", &[], b"")).unwrap();
        // All buffers between application and client are full.
        std::thread::sleep(TIMEOUT / 2);
        let (longest, goes_on) = read_slowly(&mut stream, 5 * TIMEOUT);
        if goes_on {
            return;
        }
        // On a loaded machine the client itself may have paused for too long.
        assert!(longest > TIMEOUT / 2, "it was dropped though it read after {longest:?}");
    }
}
