//! The harness sees what it is there to see. A check that cannot fail would prove nothing.

use crate::harness::{Mode, Server};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the harness says when this server is stopped.
fn complaint_about(server: Server) -> String {
    let stopped = catch_unwind(AssertUnwindSafe(|| drop(server.stop())));
    let raised = stopped.expect_err("the harness complains");
    raised.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn the_harness_notices_a_crash() {
    let server = Server::of(
        "
import os, signal
def application(environ, start_response):
    os.kill(os.getpid(), signal.SIGSEGV)
",
    );
    server.connect().send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").rest();
    let said = match Mode::get() {
        Mode::Embedded => "exit signal Segmentation fault",
        Mode::Daemon => "was ended by SIGSEGV",
    };
    assert!(complaint_about(server).contains(said));
}

#[test]
fn the_harness_notices_a_process_that_stays() {
    let server = Server::of(
        "
import subprocess
def application(environ, start_response):
    subprocess.Popen(['sleep', '60'], start_new_session=True, close_fds=True)
    start_response('200 OK', [])
    return [b'started']
",
    );
    server.get("/");
    assert!(complaint_about(server).contains("process left over"));
}

#[test]
fn the_harness_notices_a_file_that_stays_open() {
    let server = Server::of(
        "
kept = []
def application(environ, start_response):
    kept.append(open(__file__))
    start_response('200 OK', [])
    return [b'opened']
",
    );
    server.get("/");
    server.get("/");
    assert!(complaint_about(server).contains("app.wsgi (2 times)"));
}
