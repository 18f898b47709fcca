//! Request bodies and responses in files of an httpd child: the bound (`spool-limit`), the directory (`spool-directory`), and the
//! behaviour at the bound.

use super::with_notes;
use crate::harness::{Builder, Connection, Server, chunked, request, wait_for};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const APPLICATION: &str = "
import os, time
BLOCK = b'x' * 65536

def endless():
    while not os.path.exists('@root@/run/enough'):
        yield BLOCK

def application(environ, start_response):
    what = environ['PATH_INFO']
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if what == '/endless':
        return endless()
    if what == '/large':
        return (b'%08d' % number * 8192 for number in range(128))
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
        is_ours.then(|| fs::metadata(entry.path()).map_or(0, |found| found.blocks() * 512))
    };
    fs::read_dir(place).unwrap().flatten().filter_map(of).sum()
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
fn a_body_that_exceeds_the_limit_is_refused_and_logged_once() {
    let server = builder("threads=2 request-body-memory=65536 spool-limit=1000000").start();
    let too_large = vec![b'b'; 2_000_000];
    for _ in 0..3 {
        assert_eq!(server.post("/upload", &too_large).status, 507);
        let headers = [("Transfer-Encoding", "chunked")];
        let pieces: Vec<&[u8]> = too_large.chunks(100_000).collect();
        assert_eq!(server.send("POST", "/upload", &headers, &chunked(&pieces)).status, 507);
    }
    assert_eq!(server.post("/upload", vec![b'b'; 900_000]).text(), "900000");
    let line = server.await_log("WSGI1050");
    assert!(line.contains("'site'") && line.contains("spool-limit"), "{line}");
    assert_eq!(lines(&server, "WSGI1050"), 1, "{}", server.error_log());
    wait_for("the disk to be free again", || (spooled(&server) == 0).then_some(()));
}

#[test]
fn a_body_with_a_length_that_never_fits_is_refused_before_it_is_read() {
    let server = builder("threads=2 spool-limit=2000000").start();
    let mut connection = server.connect();
    connection.send(request("POST", "/upload", &[("Content-Length", "3000000")], b""));
    assert_eq!(connection.receive().status, 507);
    assert_eq!(server.post("/upload", vec![b'b'; 2_000_000]).text(), "2000000");
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
        assert_eq!(server.post("/upload", &body).status, 507);
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
    assert_eq!(server.post("/upload", vec![b'b'; 2_200_000]).status, 507);
    let mut slow = server.connect();
    slow.send(request("POST", "/upload", &[("Content-Length", "1990000")], b""));
    slow.send(vec![b'b'; 1_980_000]);
    wait_for("the body to come", || (spooled(&server) > 1_800_000).then_some(()));
    assert_eq!(server.post("/upload", vec![b'b'; 500_000]).status, 507);
    assert_eq!(server.post("/upload/other", vec![b'b'; 500_000]).text(), "500000");
}

#[test]
fn without_a_directory_responses_wait_for_their_clients_and_large_bodies_are_refused() {
    let server = builder("threads=3 request-body-memory=65536 response-memory=65536").start();
    fs::remove_dir(server.root().join("spool")).unwrap();
    let mut slow = stop_reading(&server, "/large");
    let told = server.await_log("WSGI1042");
    assert!(told.contains("spool-directory=") && told.contains("No such file"), "{told}");
    assert_eq!(server.post("/upload", vec![b'b'; 200_000]).status, 500);
    assert!(server.await_log("WSGI1041").contains("/spool: No such file"));
    assert_eq!(server.get("/").text(), "end");
    let body = slow.through_last_chunk();
    assert!(body.len() > 128 * 65536 && body.ends_with(b"00000127\r\n0\r\n\r\n"));
    assert_eq!(lines(&server, "WSGI1042"), 1);
}

/// Nothing is kept, neither in memory nor on disk.
#[test]
fn a_group_that_may_keep_nothing_serves_slow_readers() {
    let server = builder("threads=3 spool-limit=0 response-memory=0").start();
    let mut slow = stop_reading(&server, "/large");
    server.await_log("WSGI1050");
    assert_eq!((server.get("/").text(), spooled(&server)), ("end", 0));
    let body = slow.through_last_chunk();
    assert!(body.len() > 128 * 65536 && body.ends_with(b"00000127\r\n0\r\n\r\n"));
}
