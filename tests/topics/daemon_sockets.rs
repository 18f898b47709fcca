//! The directory of sockets: if a program removes it, or files in it, the supervisor makes them again at once. The modes of shared
//! memory.

use crate::harness::{Server, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const APPLICATION: &str = "
import os

def application(environ, start_response):
    # The file of a body is closed when all of it has been read.
    environ['wsgi.input'].read(1)
    names = ['/proc/self/fd/' + name for name in os.listdir('/proc/self/fd')]
    modes = []
    for name in names:
        try:
            if 'memfd:rustgi' in os.readlink(name):
                modes.append('%s %o' % (os.readlink(name).split()[0], os.stat(name).st_mode & 0o7777))
        except OSError:
            pass
    environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('process %d end\\n' % os.getpid()).encode(), '\\n'.join(modes).encode()]
";

/// The directory with the sockets of this server's workers.
fn directory(server: &Server) -> PathBuf {
    server.root().join(format!("run/wsgi.{}", server.supervisor()))
}

/// Kills the children, so that httpd starts new ones, which have no connection to a worker yet, and waits until a request to one of them
/// is answered.
fn assert_new_children_find_workers(server: &Server) {
    for child in server.children() {
        let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
    }
    wait_for("an answer by a new child", || {
        let mut connection = crate::harness::Connection::try_open(server.port).ok()?;
        let asked = crate::harness::request("GET", "/", &[("Connection", "close")], b"");
        connection.try_send(&asked).ok()?;
        connection.rest().starts_with(b"HTTP/1.1 200").then_some(())
    });
}

#[test]
fn a_directory_that_is_removed_is_made_again_and_the_workers_in_it_are_found() {
    let server = Server::builder_of(APPLICATION)
        .daemon("site processes=1 threads=2")
        .children(1, 4)
        .expect_in_log("SIGKILL")
        .expect_in_log("signal")
        .start();
    server.get("/");
    let worker = server.worker();
    let directory = directory(&server);
    assert!(directory.join("lock").exists());
    fs::remove_dir_all(&directory).unwrap();
    server.await_log("WSGI1060");
    assert_new_children_find_workers(&server);
    // The worker is the same: it was not started again.
    assert_eq!(server.worker(), worker);
    // Only the sockets are removed.
    for name in fs::read_dir(&directory).unwrap().flatten() {
        if name.path().extension().is_some() {
            fs::remove_file(name.path()).unwrap();
        }
    }
    assert_new_children_find_workers(&server);
    assert_eq!(server.worker(), worker);
    assert!(directory.join("rustgi.control").exists());
}

#[test]
fn a_graceful_restart_makes_a_removed_directory_again() {
    let server = Server::builder_of(APPLICATION).daemon("site threads=2").children(1, 4).start();
    server.get("/");
    let directory = directory(&server);
    fs::remove_dir_all(&directory).unwrap();
    server.graceful();
    assert_eq!(server.get("/").status, 200);
    wait_for("all sockets", || directory.join("rustgi.control").exists().then_some(()));
}

#[test]
fn memory_that_processes_share_can_be_opened_by_no_other_user() {
    let server = Server::builder_of(APPLICATION)
        .daemon("site threads=2 request-body-memory=1000000")
        .children(1, 4)
        .start();
    let answer = server.post("/", vec![b'x'; 300_000]);
    let text = answer.text();
    let modes: Vec<_> = text.lines().skip(1).collect();
    for name in ["page", "body"] {
        assert!(
            modes.iter().any(|mode| mode.starts_with(&format!("/memfd:rustgi-{name}"))),
            "{text}"
        );
    }
    assert!(modes.iter().all(|mode| mode.ends_with(" 600")), "{text}");
    // The board belongs to root; a process that has become another user cannot open it for writing.
    let board = |pid: i32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let named = |file: &PathBuf| {
            fs::read_link(file).is_ok_and(|it| it.to_string_lossy().contains("rustgi-board"))
        };
        files.map(|file| file.path()).filter(named).collect::<Vec<_>>()
    };
    let boards = board(server.parent());
    assert!(!boards.is_empty());
    for file in boards {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o644);
    }
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.child())).unwrap();
    let mut maps = maps.lines().filter(|line| line.contains("rustgi-board")).peekable();
    assert!(maps.peek().is_some());
    assert!(maps.all(|line| line.contains(" r--s ")), "a child can write to the board");
    assert!(board(server.child()).is_empty());
}
