//! Request bodies and responses in files of an httpd child: the bound (`spool-limit`), the directory (`spool-directory`), and the
//! behaviour at the bound.

use super::commands::sha256;
use super::with_notes;
use crate::harness::{Builder, Connection, Server, chunked, request, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const APPLICATION: &str = "
import hashlib, os, time
BLOCK = b'x' * 65536

def endless():
    while not os.path.exists('@root@/run/enough'):
        yield BLOCK

def note(name, text):
    with open('@root@/run/new', 'w') as new:
        new.write(text)
    os.rename('@root@/run/new', '@root@/run/' + name)

# Notes when it has read so many bytes, if the query says a number.
def digest(environ):
    told, size, sha = int(environ['QUERY_STRING'] or -1), 0, hashlib.sha256()
    try:
        while piece := environ['wsgi.input'].read(10_000):
            size += len(piece)
            sha.update(piece)
            if 0 <= told <= size:
                told = -1
                note('told', '')
    except OSError as error:
        note('broken', str(error))
        raise
    return b'%d %s' % (size, sha.hexdigest().encode())

def application(environ, start_response):
    what = environ['PATH_INFO']
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if what == '/endless':
        return endless()
    if what == '/large':
        return (b'%08d' % number * 8192 for number in range(128))
    if what.startswith('/digest'):
        return [digest(environ)]
    if what == '/pid':
        return [b'%d' % os.getpid()]
    if what.startswith('/upload'):
        return [b'%d' % len(environ['wsgi.input'].read())]
    return [b'end']
";

/// A server with one child and one group, whose files are in their own directory.
fn builder(options: &str) -> Builder {
    let builder = with_notes(Server::builder_of(APPLICATION));
    let spool = builder.root().join("spool");
    fs::create_dir(&spool).unwrap();
    fs::set_permissions(spool, fs::Permissions::from_mode(0o777)).unwrap();
    builder
        .daemon(&format!("site spool-directory=@root@/spool {options}"))
        .children(1, 16)
        // No timeout drops a slow client in these tests.
        .config("Timeout 600\nRequestReadTimeout header=0 body=0\nWSGIChunkedRequest On")
        .load(&["reqtimeout"])
}

/// How many bytes of disk space the files of the child use.
fn spooled(server: &Server) -> u64 {
    let place = format!("/proc/{}/fd", server.child());
    let spool = server.root().join("spool");
    let of = |entry: fs::DirEntry| {
        let is_ours = fs::read_link(entry.path()).is_ok_and(|link| link.starts_with(&spool));
        let found = is_ours.then(|| fs::metadata(entry.path()).ok()).flatten()?;
        Some((found.ino(), found.blocks() * 512))
    };
    // A body has two descriptors: one to write, and one for the worker.
    let files: BTreeMap<u64, u64> = fs::read_dir(place).unwrap().flatten().filter_map(of).collect();
    files.values().sum()
}

/// A body that does not repeat itself within a piece of it.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251 + at / 65_537) as u8).collect()
}

/// What `/digest` answers to it.
fn digest(body: &[u8]) -> String {
    format!("{} {}", body.len(), sha256(body))
}

/// An upload with this body: its head, and the body in pieces of at most `size` bytes as they are sent.
fn upload(target: &str, body: &[u8], is_chunked: bool, size: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let length = body.len().to_string();
    let header = match is_chunked {
        true => ("Transfer-Encoding", "chunked"),
        false => ("Content-Length", length.as_str()),
    };
    let head = request("POST", target, &[header], b"");
    let mut pieces: Vec<Vec<u8>> = body.chunks(size).map(<[u8]>::to_vec).collect();
    if is_chunked {
        let last_chunk = chunked(&[]);
        for piece in &mut pieces {
            let mut chunk = chunked(&[piece]);
            chunk.truncate(chunk.len() - last_chunk.len());
            *piece = chunk;
        }
        pieces.push(last_chunk);
    }
    (head, pieces)
}

fn has_told(server: &Server, name: &str) -> bool {
    server.root().join("run").join(name).exists()
}

fn lines(server: &Server, code: &str) -> usize {
    server.error_log().lines().filter(|line| line.contains(code)).count()
}

/// A client that has read the head of an answer and reads no more.
fn stop_reading(server: &Server, target: &str) -> Connection {
    let mut connection = server.connect();
    connection.send(request("GET", target, &[], b""));
    assert_eq!(connection.receive_head("GET").status, 200);
    connection
}

const MIB: u64 = 1 << 20;

#[test]
fn clients_that_read_nothing_fill_the_disk_up_to_the_limit_and_leave_room_for_bodies() {
    let server =
        builder("threads=5 spool-limit=8388608 response-memory=65536 request-body-memory=65536")
            .start();
    let worker = server.worker();
    for _ in 0..2 {
        let stalled = [(); 3].map(|()| stop_reading(&server, "/endless"));
        wait_for("the disk to be used", || (spooled(&server) > 6 * MIB).then_some(()));
        server.await_log("WSGI1050");
        for _ in 0..20 {
            assert_eq!(server.get("/").text(), "end");
            // Files use whole blocks.
            let spooled = spooled(&server);
            assert!(spooled < 8 * MIB, "{spooled}");
        }
        // Responses leave an eighth to bodies.
        let body = vec![b'b'; 1_000_000];
        assert_eq!(server.post("/upload", &body).text(), body.len().to_string());
        drop(stalled);
        wait_for("the disk to be free again", || (spooled(&server) == 0).then_some(()));
    }
    assert_eq!(server.workers(), [worker]);
    assert_eq!(lines(&server, "WSGI1050"), 1, "{}", server.error_log());
    assert_eq!(fs::read_dir(server.root().join("spool")).unwrap().count(), 0);
}

#[test]
fn a_body_that_exceeds_the_limit_arrives_whole_and_is_told_of_once() {
    let server = builder("threads=2 request-body-memory=65536 spool-limit=1000000").start();
    let body = pattern(2_000_000);
    for _ in 0..3 {
        assert_eq!(server.post("/digest", &body).text(), digest(&body));
        let headers = [("Transfer-Encoding", "chunked")];
        let pieces: Vec<&[u8]> = body.chunks(100_000).collect();
        let response = server.send("POST", "/digest", &headers, &chunked(&pieces));
        assert_eq!(response.text(), digest(&body));
    }
    assert_eq!(server.post("/upload", vec![b'b'; 900_000]).text(), "900000");
    let line = server.await_log("WSGI1050");
    assert!(line.contains("'site'") && line.contains("spool-limit"), "{line}");
    assert!(line.contains("rest of a request body") && line.contains("warn"), "{line}");
    assert_eq!(lines(&server, "WSGI1050"), 1, "{}", server.error_log());
    wait_for("the disk to be free again", || (spooled(&server) == 0).then_some(()));
}

#[test]
fn large_uploads_arrive_whole_while_others_use_the_room_and_the_disk_stays_within_the_limit() {
    let server = builder("threads=4 request-body-memory=65536 spool-limit=1048576").start();
    let body = pattern(20 << 20);
    let expected = digest(&body);
    for used in [0, 500_000] {
        let mut other = server.connect();
        other.send(request("POST", "/upload", &[("Content-Length", "900000")], b""));
        other.send(vec![b'b'; used]);
        wait_for("the other body to come", || {
            (spooled(&server) + 200_000 > used as u64).then_some(())
        });
        for is_chunked in [false, true] {
            let (head, pieces) = upload("/digest", &body, is_chunked, 500_000);
            let mut connection = server.connect();
            connection.send(head);
            for piece in pieces {
                connection.send(piece);
                let spooled = spooled(&server);
                // A file has whole blocks.
                assert!(spooled <= MIB + 2 * 4096, "{spooled}");
            }
            assert_eq!(connection.receive().text(), expected, "chunked: {is_chunked}");
        }
        other.send(vec![b'b'; 900_000 - used]);
        assert_eq!(other.receive().text(), "900000");
        wait_for("the disk to be free again", || (spooled(&server) == 0).then_some(()));
    }
}

#[test]
fn what_has_been_gathered_gives_its_room_back_as_soon_as_the_application_asks_for_the_rest() {
    let server = builder("threads=1 request-body-memory=65536 spool-limit=1000000").start();
    let body = pattern(3_000_000);
    let (head, pieces) = upload("/digest?1500000", &body, true, 500_000);
    let mut connection = server.connect();
    connection.send(head);
    for piece in &pieces[..1] {
        connection.send(piece);
    }
    wait_for("the body to come", || (spooled(&server) > 400_000).then_some(()));
    assert!(!has_told(&server, "told"), "no thread is asked as long as there is room");
    for piece in &pieces[1..4] {
        connection.send(piece);
    }
    wait_for("the application to read", || has_told(&server, "told").then_some(()));
    assert_eq!(spooled(&server), 0);
    for piece in &pieces[4..] {
        connection.send(piece);
    }
    assert_eq!(connection.receive().text(), digest(&body));
}

#[test]
fn a_client_that_leaves_in_the_middle_of_what_had_no_room_is_an_error_in_the_application() {
    let server = builder("threads=1 request-body-memory=65536 spool-limit=1000000").start();
    let (head, pieces) = upload("/digest", &pattern(3_000_000), true, 500_000);
    let mut connection = server.connect();
    connection.send(head);
    for piece in &pieces[..4] {
        connection.send(piece);
    }
    drop(connection);
    wait_for("the application to fail", || has_told(&server, "broken").then_some(()));
    let error = fs::read_to_string(server.root().join("run/broken")).unwrap();
    assert!(error.contains("the client disconnected before the body was complete"), "{error}");
    assert_eq!(server.get("/").text(), "end");
    wait_for("the disk to be free again", || (spooled(&server) == 0).then_some(()));
}

#[test]
fn a_body_with_a_length_that_never_fits_goes_to_the_application_from_its_first_byte() {
    let server = builder("threads=2 spool-limit=2000000").start();
    let body = pattern(3_000_000);
    let (head, pieces) = upload("/digest?10000", &body, false, 10_000);
    let mut connection = server.connect();
    connection.send(head).send(&pieces[0]);
    wait_for("the application to read", || has_told(&server, "told").then_some(()));
    assert_eq!(spooled(&server), 0);
    assert!(server.await_log("WSGI1050").contains("'site'"));
    connection.send(pieces[1..].concat());
    assert_eq!(connection.receive().text(), digest(&body));
    assert_eq!(server.post("/upload", vec![b'b'; 2_000_000]).text(), "2000000");
    // The client is asked to continue when the application reads, and not before.
    let headers = [("Content-Length", "3000000"), ("Expect", "100-continue")];
    let mut connection = server.connect();
    connection.send(request("POST", "/digest", &headers, b""));
    assert!(connection.bytes(25).starts_with(b"HTTP/1.1 100 Continue\r\n"));
    connection.send(&body);
    assert_eq!(connection.receive().text(), digest(&body));
    let mut connection = server.connect();
    connection.send(request("POST", "/", &headers, b""));
    let response = connection.receive();
    assert_eq!((response.text(), &response.interim[..]), ("end", &[][..]));
}

#[test]
fn a_body_that_had_no_room_is_whole_for_the_worker_that_takes_it_after_another_did_not() {
    let options = "processes=2 threads=1 request-body-memory=65536 spool-limit=1000000";
    let server = builder(options).start();
    let body = pattern(3_000_000);
    for is_chunked in [true, false] {
        let pids = || wait_for("two workers", || <[i32; 2]>::try_from(server.workers()).ok());
        // The request goes to the worker that served the last one.
        let stopped = server.get("/pid").text().parse().unwrap();
        assert!(pids().contains(&stopped));
        kill(Pid::from_raw(stopped), Signal::SIGSTOP).unwrap();
        let (head, pieces) = upload("/digest", &body, is_chunked, 500_000);
        let mut connection = server.connect();
        connection.send(head).send(pieces.concat());
        assert_eq!(connection.receive().text(), digest(&body), "chunked: {is_chunked}");
        kill(Pid::from_raw(stopped), Signal::SIGCONT).unwrap();
    }
}

#[test]
fn an_incomplete_body_uses_the_budget_until_its_client_leaves() {
    let server = builder("threads=2 request-body-memory=65536 spool-limit=1000000").start();
    let body = vec![b'b'; 500_000];
    let mut slow = server.connect();
    slow.send(request("POST", "/upload", &[("Content-Length", "950000")], b""));
    slow.send(vec![b'b'; 900_000]);
    wait_for("the body to come", || (spooled(&server) > 800_000).then_some(()));
    for _ in 0..3 {
        assert_eq!(server.post("/upload", &body).text(), "500000");
    }
    assert_eq!(server.post("/upload", vec![b'b'; 60_000]).text(), "60000", "it goes to memory");
    assert_eq!(lines(&server, "WSGI1050"), 1, "{}", server.error_log());
    drop(slow);
    wait_for("the disk to be free again", || (spooled(&server) == 0).then_some(()));
    assert_eq!(server.post("/upload", &body).text(), "500000");
}

#[test]
fn a_group_cannot_use_up_the_budget_of_another() {
    let limits = "request-body-memory=65536 spool-limit=3000000 threads=2";
    let server = builder(limits)
        .config(&format!("WSGIDaemonProcess other {limits}"))
        .config("<Location /upload/other>\nWSGIProcessGroup other\n</Location>")
        .start();
    let mut slow = server.connect();
    slow.send(request("POST", "/upload", &[("Content-Length", "1990000")], b""));
    slow.send(vec![b'b'; 1_980_000]);
    wait_for("the body to come", || (spooled(&server) > 1_800_000).then_some(()));
    assert_eq!(lines(&server, "WSGI1050"), 0, "{}", server.error_log());
    assert_eq!(server.post("/upload", vec![b'b'; 500_000]).text(), "500000");
    assert!(server.await_log("WSGI1050").contains("'site'"));
    assert_eq!(server.post("/upload/other", vec![b'b'; 500_000]).text(), "500000");
    assert_eq!(lines(&server, "WSGI1050"), 1, "the other group has room");
}

#[test]
fn without_a_directory_responses_wait_for_their_clients_and_large_bodies_arrive_whole() {
    let server = builder("threads=3 request-body-memory=65536 response-memory=65536").start();
    fs::remove_dir(server.root().join("spool")).unwrap();
    let mut slow = stop_reading(&server, "/large");
    let told = server.await_log("WSGI1042");
    assert!(told.contains("spool-directory=") && told.contains("No such file"), "{told}");
    let body = pattern(200_000);
    for is_chunked in [false, true] {
        let (head, pieces) = upload("/digest", &body, is_chunked, 50_000);
        let mut connection = server.connect();
        connection.send(head).send(pieces.concat());
        assert_eq!(connection.receive().text(), digest(&body));
    }
    let told = server.await_log("WSGI1041");
    assert!(told.contains("'site'") && told.contains("/spool: No such file"), "{told}");
    assert_eq!(lines(&server, "WSGI1041"), 1, "{}", server.error_log());
    assert_eq!(server.get("/").text(), "end");
    let body = slow.through_last_chunk();
    assert!(body.len() > 128 * 65536 && body.ends_with(b"00000127\r\n0\r\n\r\n"));
    assert_eq!(lines(&server, "WSGI1042"), 1);
}

#[test]
fn bodies_of_a_group_that_may_keep_nothing_arrive_whole_whatever_their_size() {
    let server = builder("threads=1 spool-limit=0 request-body-memory=0").start();
    for size in [65_535, 65_536, 65_537, 73_728, 73_729, 140_000, 1_000_000] {
        let body = pattern(size);
        for is_chunked in [false, true] {
            let (head, pieces) = upload("/digest", &body, is_chunked, 30_000);
            let mut connection = server.connect();
            connection.send(head).send(pieces.concat());
            assert_eq!(connection.receive().text(), digest(&body), "chunked: {is_chunked}");
            assert_eq!(spooled(&server), 0);
        }
    }
}

/// Nothing is kept: neither in memory nor on the disk.
#[test]
fn a_group_that_may_keep_nothing_serves_slow_readers() {
    let server = builder("threads=3 spool-limit=0 response-memory=0").start();
    let mut slow = stop_reading(&server, "/large");
    server.await_log("WSGI1050");
    assert_eq!((server.get("/").text(), spooled(&server)), ("end", 0));
    let body = slow.through_last_chunk();
    assert!(body.len() > 128 * 65536 && body.ends_with(b"00000127\r\n0\r\n\r\n"));
}
