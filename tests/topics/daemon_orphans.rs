//! A supervisor that is killed: its workers finish their requests and end by themselves, while httpd starts another supervisor.

use crate::harness::{Builder, Load, Server, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const APPLICATION: &str = "
import os, time

def application(environ, start_response):
    query = environ['QUERY_STRING']
    if query:
        print('held for', query, flush=True)
    while query and not os.path.exists('@root@/' + query):
        time.sleep(0.01)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'process %d end' % os.getpid()]
";

fn builder(options: &str) -> Builder {
    Server::builder_of(APPLICATION).daemon(&format!("site threads=3 {options}")).children(2, 10)
}

fn is_there(pid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}/exe")).exists()
}

/// Kills the supervisor, and waits for another one.
fn kill_supervisor(server: &Server) {
    let supervisor = server.supervisor();
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    wait_for("another supervisor", || (server.supervisor() != supervisor).then_some(()));
}

fn process(text: &str) -> i32 {
    text.split(' ').nth(1).and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_request_is_finished_after_its_supervisor_was_killed_and_the_new_workers_take_all_others() {
    let server = builder("graceful-timeout=60").start();
    server.get("/");
    let old = server.worker();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| server.get("/?go"));
        server.await_log("held for go");
        kill_supervisor(&server);
        wait_for("new workers", || (process(server.get("/").text()) != old).then_some(()));
        for _ in 0..20 {
            let answer = server.get("/");
            assert_eq!(answer.status, 200);
            assert_ne!(process(answer.text()), old);
        }
        assert!(is_there(old));
        std::fs::write(server.root().join("go"), "").unwrap();
        let answer = held.join().unwrap();
        assert_eq!((answer.status, process(answer.text())), (200, old));
    });
    wait_for("the old worker to end", || (!is_there(old)).then_some(()));
}

#[test]
fn no_request_is_lost_when_the_supervisor_is_killed() {
    let server = builder("processes=2").start();
    let tally = Load::of(&server).expect("end").while_doing(|progress| {
        kill_supervisor(&server);
        progress.more(200);
    });
    println!("{} requests, {:?}", tally.answers.len(), tally.failed);
    assert!(tally.failed.is_empty(), "{:?}", tally.failed);
}

#[test]
fn a_request_that_does_not_end_is_cut_off_after_graceful_timeout_in_a_worker_without_supervisor() {
    let server = builder("graceful-timeout=1 shutdown-timeout=1").expect_in_log("WSGI1008").start();
    server.get("/");
    let old = server.worker();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| server.get("/?never"));
        server.await_log("held for never");
        kill_supervisor(&server);
        server.await_log("WSGI1008");
        assert_eq!(held.join().unwrap().status, 502);
        wait_for("the old worker to end", || (!is_there(old)).then_some(()));
    });
}

#[test]
fn a_worker_that_is_still_loading_ends_with_its_supervisor() {
    let server = Server::builder_of("import time; print('loads', flush=True); time.sleep(1000)")
        .daemon("site threads=2 shutdown-timeout=1")
        .expect_in_log("WSGI1008")
        .config("WSGIImportScript @apps@/app.wsgi process-group=site application-group=%{GLOBAL}")
        .start();
    server.await_log("loads");
    let old = server.worker();
    kill_supervisor(&server);
    wait_for("it to end", || (!is_there(old)).then_some(()));
}

#[test]
fn no_worker_is_left_when_httpd_and_the_supervisor_are_killed_together() {
    let server = builder("processes=2").start();
    server.get("/");
    let all = [server.workers(), vec![server.supervisor()]].concat();
    let children = server.children();
    server.signal(Signal::SIGKILL);
    kill(Pid::from_raw(all[2]), Signal::SIGKILL).unwrap();
    wait_for("all of them to end", || (!all.iter().any(|pid| is_there(*pid))).then_some(()));
    // httpd's own children go on without a parent, as they do without this module.
    for child in children {
        let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
    }
}
