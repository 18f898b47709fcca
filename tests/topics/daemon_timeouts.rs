//! The times that are set for a group of daemon processes, each by what it does: what a client waits for, what a request may
//! take, and how long a worker may be idle, stuck, on its way in or on its way out.

use super::with_notes;
use crate::harness::{Builder, Connection, Response, Server, request, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// Sleeps, works, waits for the test (up to so many seconds), or keeps Python's lock for so many seconds.
const APPLICATION: &str = "
import ctypes, os, time

def wait(until, pause):
    while not os.path.exists('@root@/run/enough') and time.time() < until:
        if pause:
            time.sleep(pause)

def application(environ, start_response):
    what, seconds = environ['PATH_INFO'][1:], float(environ['QUERY_STRING'] or 0)
    with open('@root@/run/calls', 'a') as file:
        file.write(what + '\\n')
    until = time.time() + seconds
    if what == 'sleep':
        time.sleep(seconds)
    elif what == 'work':
        while time.time() < until:
            sum(range(1000))
    elif what in ('wait', 'spin'):
        wait(until, 0 if what == 'spin' else 0.01)
    elif what == 'hold':
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    elif what == 'yield':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return (b'x' * 65536 for _ in range(int(seconds)))
    elif what == 'begin':
        write = start_response('200 OK', [('Content-Type', 'text/plain')])
        write(b'begun')
        wait(until, 0.01)
        return [b' ended']
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'process %d' % os.getpid()]
";

fn builder(options: &str) -> Builder {
    with_notes(Server::builder_of(APPLICATION)).daemon(&format!("site {options}"))
}

/// How often the application was called for this.
fn calls(server: &Server, what: &str) -> usize {
    let text = std::fs::read_to_string(server.root().join("run/calls")).unwrap_or_default();
    text.lines().filter(|line| *line == what).count()
}

/// A request that is being served.
fn begin(server: &Server, target: &str) -> Connection {
    let what = target.trim_start_matches('/').split('?').next().unwrap();
    let before = calls(server, what);
    let mut connection = server.connect();
    connection.send(request("GET", target, &[("Connection", "close")], b""));
    wait_for("the request to be served", || (calls(server, what) > before).then_some(()));
    connection
}

/// Those who wait for the test need not wait any more.
fn enough(server: &Server) {
    std::fs::write(server.root().join("run/enough"), "").unwrap();
}

/// The answer with this status comes, and soon. A machine with too much to do is late now and then; a timeout that is longer
/// than it should be is so each time.
#[track_caller]
fn soon(longest: Duration, status: u16, answer: impl Fn() -> Response) -> Duration {
    let timed = |_| {
        let begun = Instant::now();
        assert_eq!(answer().status, status);
        begun.elapsed()
    };
    let mut took = (0..5).map(timed);
    took.find(|took| *took < longest).expect("one of five answers comes in time")
}

fn other_worker(server: &Server, than: i32) {
    wait_for("another worker", || {
        let all = server.workers();
        (!all.is_empty() && !all.contains(&than)).then_some(())
    });
}

#[test]
fn queue_timeout_whoever_waits_too_long_for_a_thread_gets_a_504_and_is_not_served() {
    let server = builder("threads=1 queue-timeout=1").start();
    // Nobody is served in time by a process that is only starting.
    wait_for("the worker", || (server.get("/").status == 200).then_some(()));
    let mut busy = begin(&server, "/wait?100");
    soon(Duration::from_millis(2900), 504, || server.get("/other"));
    server.await_log("WSGI0084");
    enough(&server);
    assert_eq!(busy.receive().status, 200);
    assert_eq!(calls(&server, "other"), 0);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn socket_timeout_a_worker_that_is_silent_for_too_long_is_a_504() {
    let server = builder("threads=6 socket-timeout=1").start();
    let took = soon(Duration::from_millis(1900), 504, || server.get("/wait?100"));
    assert!(took >= Duration::from_secs(1), "{took:?}");
    server.await_log("WSGI0145");
    enough(&server);
    wait_for("a thread", || (server.get("/").status == 200).then_some(()));
    std::fs::remove_file(server.root().join("run/enough")).unwrap();
    let begun = server.get("/begin?100");
    assert_eq!((begun.status, begun.complete), (200, false), "{begun:?}");
    enough(&server);
}

#[test]
fn the_timeout_of_the_server_holds_where_the_group_has_none() {
    let server = builder("threads=2").config("Timeout 1").start();
    assert_eq!(server.get("/wait?100").status, 504);
    server.await_log("WSGI0145");
    enough(&server);
}

#[test]
fn connect_timeout_is_how_long_a_group_without_a_ready_worker_is_waited_for() {
    let script = "
import os, time
while not os.path.exists('@root@/run/enough'):
    time.sleep(0.01)
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'late']
";
    let start = |options: &str| {
        with_notes(Server::builder_of(script))
            .daemon(&format!("site {options}"))
            .config(
                "WSGIImportScript @apps@/app.wsgi process-group=site application-group=%{GLOBAL}",
            )
            .start()
    };
    let server = start("connect-timeout=1");
    soon(Duration::from_secs(4), 503, || {
        let answer = server.get("/");
        assert!(answer.header("Retry-After").is_some());
        answer
    });
    enough(&server);
    let server = start("connect-timeout=15");
    std::thread::scope(|scope| {
        let patient = scope.spawn(|| server.get("/").text().to_owned());
        std::thread::sleep(Duration::from_secs(3));
        enough(&server);
        assert_eq!(patient.join().unwrap(), "late");
    });
}

#[test]
fn listen_backlog_is_how_many_may_knock_at_a_worker_that_does_not_answer() {
    let of_backlog = |backlog: u32| {
        let server = builder(&format!(
            "threads=8 listen-backlog={backlog} connect-timeout=1 socket-timeout=3"
        ))
        .start();
        assert_eq!(server.get("/").status, 200);
        let worker = Pid::from_raw(server.worker());
        kill(worker, Signal::SIGSTOP).unwrap();
        let stat = format!("/proc/{worker}/stat");
        let is_stopped = || std::fs::read_to_string(&stat).unwrap().contains(") T ");
        wait_for("the worker to stand still", || is_stopped().then_some(()));
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| server.get("/").status)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        kill(worker, Signal::SIGCONT).unwrap();
        let told = server.error_log();
        wait_for("the worker to go on", || (server.get("/").status == 200).then_some(()));
        (statuses.iter().filter(|status| **status == 503).count(), told)
    };
    let (refused, told) = of_backlog(1);
    assert!(refused >= 3 && told.contains("WSGI0116"), "{refused} were refused: {told}");
    assert_eq!(of_backlog(100).0, 0);
}

#[test]
fn request_timeout_has_a_worker_replaced_and_the_request_may_end() {
    let server = builder("threads=1 request-timeout=1").start();
    let worker = server.worker();
    let mut slow = begin(&server, "/wait?100");
    server.await_log("request_timeout");
    enough(&server);
    assert_eq!(slow.receive().status, 200);
    other_worker(&server, worker);
}

/// A request that exceeds `request-timeout` is lost with its worker: the log gives the cause, and the stack of the request once.
fn overdue(options: &str, target: &str, then: impl FnOnce(&Server)) {
    let server = builder(options).start();
    let worker = server.worker();
    let mut slow = begin(&server, target);
    let line = server.await_log("its worker is replaced");
    assert!(line.contains("request-timeout=1 with "), "{line}");
    assert!(line.contains("WSGI1072") && line.contains(target), "{line}");
    then(&server);
    let answer = slow.receive();
    assert_eq!(answer.status, 504, "{answer:?}");
    let line = server.await_log(&format!("worker {worker} was ended"));
    assert!(line.contains("because its request-timeout was over"), "{line}");
    assert_eq!(
        server.error_log().matches("WSGI1072").count(),
        1 + usize::from(options.contains("interrupt"))
    );
    server.await_log("in application");
}

#[test]
fn request_timeout_is_the_cause_of_a_lost_request_even_if_its_worker_was_leaving_for_another_reason()
 {
    let ends = "request-timeout=1 graceful-timeout=1 shutdown-timeout=1";
    overdue(&format!("threads=1 {ends}"), "/sleep?30", |_| {});
    overdue(&format!("threads=2 {ends}"), "/sleep?30", Server::graceful);
    // The worker cannot end itself.
    overdue(&format!("threads=1 {ends}"), "/hold?30", |_| {});
    // The request does not react to RequestTimeout.
    overdue(&format!("threads=1 interrupt-timeout=1 {ends}"), "/sleep?30", |_| {});
    // The worker was being replaced already.
    let long = "threads=1 request-timeout=1 graceful-timeout=30 shutdown-timeout=1";
    let server = builder(long).start();
    let worker = server.worker();
    let mut slow = begin(&server, "/sleep?30");
    server.graceful();
    assert_eq!(slow.receive().status, 504);
    let line = server.await_log(&format!("worker {worker} was ended"));
    assert!(line.contains("because its request-timeout was over"), "{line}");
}

#[test]
fn interrupt_timeout_a_request_whose_script_is_being_loaded_is_a_504_as_well() {
    let server = Server::builder_of("import time\nwhile True: time.sleep(0.01)")
        .daemon("site threads=1 request-timeout=1 interrupt-timeout=20")
        .start();
    assert_eq!(server.get("/").status, 504);
    server.await_log("RequestTimeout is raised in it");
}

#[test]
fn interrupt_timeout_a_request_that_takes_too_long_is_a_504_and_its_worker_goes_on() {
    let server = builder("threads=1 request-timeout=1 interrupt-timeout=5").start();
    let worker = server.worker();
    let answer = server.get("/work?100");
    assert_eq!(answer.status, 504);
    soon(Duration::from_secs(5), 200, || server.get("/"));
    assert_eq!(server.worker(), worker);
}

#[test]
fn deadlock_timeout_a_worker_that_is_stuck_is_replaced() {
    let server = builder("threads=2 deadlock-timeout=1 shutdown-timeout=1").start();
    let worker = server.worker();
    let mut held = begin(&server, "/hold?30");
    let line = server.await_log("WSGI1031");
    assert!(line.contains("wsgi:error"), "{line}");
    other_worker(&server, worker);
    assert_eq!(held.receive().status, 502);
    assert_eq!(server.get("/").status, 200);
    let line = server.await_log(&format!("worker {worker} was ended"));
    assert!(line.contains("deadlock-timeout"), "{line}");
    server.await_log("Threads of the main interpreter:");
    server.await_log("app.wsgi\", line ");
    let line = server.await_log("WSGI1072");
    assert!(line.contains("deadlock-timeout=1: request") && line.contains("/hold?30"), "{line}");
}

#[test]
fn inactivity_timeout_a_worker_that_was_used_and_is_not_any_more_is_replaced_once() {
    let server = builder("threads=2 inactivity-timeout=1").start();
    let worker = server.worker();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(server.worker(), worker, "it has not been used yet");
    assert_eq!(server.get("/sleep?2").status, 200, "nobody is idle who serves");
    other_worker(&server, worker);
    server.await_log("inactivity_timeout");
    let fresh = server.worker();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(server.worker(), fresh);
}

#[test]
fn requests_that_do_not_count_as_activity_keep_no_worker_awake() {
    let server = builder("threads=2 inactivity-timeout=1")
        .config("<Location /ping>\nWSGIIgnoreActivity On\n</Location>")
        .start();
    let worker = server.worker();
    server.get("/");
    let begun = Instant::now();
    while server.workers().contains(&worker) {
        assert!(begun.elapsed() < Duration::from_secs(15), "it is kept awake");
        server.get("/ping");
        std::thread::sleep(Duration::from_millis(100));
    }
    // As long as no second passes between two of them, which is not the test's to promise.
    let kept_awake = |_| {
        let server = builder("threads=2 inactivity-timeout=1").start();
        let worker = server.worker();
        let (begun, mut longest) = (Instant::now(), Duration::ZERO);
        while begun.elapsed() < Duration::from_secs(4) {
            let before = Instant::now();
            server.get("/ping");
            std::thread::sleep(Duration::from_millis(100));
            longest = longest.max(before.elapsed());
        }
        let is_there = server.worker() == worker;
        assert!(
            is_there || longest > Duration::from_millis(450),
            "other requests do keep it awake"
        );
        is_there
    };
    assert!((0..10).any(kept_awake), "it was never asked often enough");
}

#[test]
fn startup_timeout_a_worker_that_does_not_come_to_its_start_is_ended() {
    let server = Server::builder_of("import time; time.sleep(100)")
        .daemon("site threads=2 startup-timeout=1 connect-timeout=2 shutdown-timeout=1")
        .config("WSGIImportScript @apps@/app.wsgi process-group=site application-group=%{GLOBAL}")
        .start();
    let line = server.await_log("startup-timeout");
    assert!(line.contains("site"), "{line}");
    assert_eq!(server.get("/").status, 503);
}

#[test]
fn startup_timeout_a_worker_whose_first_request_does_not_get_its_script_loaded_is_ended() {
    let server = Server::builder_of("import time; time.sleep(100)")
        .daemon("site threads=2 startup-timeout=1 shutdown-timeout=1")
        .start();
    let worker = server.worker();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(server.worker(), worker, "there was no request yet");
    assert_eq!(server.get("/").status, 502);
    server.await_log("startup-timeout");
    other_worker(&server, worker);
}

/// How long a request of 30 seconds lasts when `what` is done to its worker.
fn lasts(options: &str, what: impl FnOnce(&Server, Pid)) -> Duration {
    let server = builder(options).start();
    let worker = Pid::from_raw(server.worker());
    let mut slow = begin(&server, "/sleep?30");
    let begun = Instant::now();
    what(&server, worker);
    let answer = slow.receive();
    assert_eq!(answer.status, 502, "{answer:?}");
    let line = server.await_log("WSGI1072");
    assert!(line.contains("/sleep?30 has taken"), "{line}");
    server.await_log("time.sleep(seconds)");
    other_worker(&server, worker.as_raw());
    begun.elapsed()
}

#[test]
fn graceful_and_shutdown_timeout_are_what_a_request_of_a_replaced_worker_has() {
    let took = lasts("threads=2 graceful-timeout=1 shutdown-timeout=1", |server, _| {
        server.graceful();
    });
    assert!(took < Duration::from_secs(9), "{took:?}");
    assert!(took > Duration::from_millis(1800), "both together: {took:?}");
}

#[test]
fn eviction_timeout_takes_the_place_of_graceful_timeout_after_sigusr1() {
    let options = "threads=2 graceful-timeout=30 eviction-timeout=1 shutdown-timeout=1";
    let took = lasts(options, |_, worker| kill(worker, Signal::SIGUSR1).unwrap());
    assert!(took < Duration::from_secs(9), "{took:?}");
}

#[test]
fn shutdown_timeout_ends_a_worker_that_was_told_to_end() {
    let took = lasts("threads=2 graceful-timeout=30 shutdown-timeout=1", |_, worker| {
        kill(worker, Signal::SIGTERM).unwrap();
    });
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// How much of a processor's time a process has had.
fn processor_time(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    // In user mode and in the kernel; in hundredths of a second, whatever the machine.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn cpu_time_limit_replaces_a_worker_that_has_used_it_up() {
    let server = builder("threads=2 cpu-time-limit=1 socket-timeout=300").start();
    let worker = server.worker();
    let mut busy = begin(&server, "/spin?1000");
    // It may take long until it has had its second; another worker is started then.
    while server.workers() == [worker] {
        assert!(processor_time(worker) < Duration::from_secs(4), "{}", server.error_log());
        std::thread::sleep(Duration::from_millis(50));
    }
    enough(&server);
    assert_eq!(busy.receive().status, 200);
    server.await_log("cpu_time_limit");
    let line = server.await_log("cpu-time-limit=1");
    assert!(line.contains("/spin?1000 has taken"), "{line}");
    other_worker(&server, worker);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn response_socket_timeout_is_how_long_a_client_that_takes_nothing_is_waited_for() {
    let server = builder("threads=2 response-socket-timeout=1").start();
    let mut silent = server.connect();
    silent.send(request("GET", "/yield?1024", &[], b""));
    silent.receive_head("GET");
    let begun = Instant::now();
    wait_for("the end of the request", || server.access_log().contains("/yield").then_some(()));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(12), "{took:?}; Timeout is 30 s");
}
