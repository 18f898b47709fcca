//! Requests that wait for a thread of their process group: how long they may wait, in which order they are served, what waiting costs,
//! and that no thread is lost, however a request or an httpd child ends.

use crate::harness::{Builder, Connection, Mpm, Server, request, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// Writes a line when a request begins. Then sleeps for so many seconds, or waits until the test writes the file of the request's name.
const APPLICATION: &str = "
import os, time

def application(environ, start_response):
    what = environ['PATH_INFO'][1:]
    log = os.open('@root@/run/begun', os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(log, b'%s\\n' % what.encode())
    os.close(log)
    seconds = environ['QUERY_STRING']
    if seconds:
        time.sleep(float(seconds))
    else:
        while not os.path.exists('@root@/run/let-' + what):
            time.sleep(0.005)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'process %d' % os.getpid()]
";

fn builder(options: &str) -> Builder {
    Server::builder_of(APPLICATION).daemon(&format!("site {options}"))
}

/// The requests that were begun, in this order.
fn begun(server: &Server) -> Vec<String> {
    let text = fs::read_to_string(server.root().join("run/begun")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn await_begun(server: &Server, what: &str) {
    wait_for(what, || begun(server).iter().any(|line| line == what).then_some(()));
}

fn send(server: &Server, target: &str) -> Connection {
    let mut connection = server.connect();
    connection.send(request("GET", target, &[("Connection", "close")], b""));
    connection
}

/// A request that is being served until the test lets it end.
fn hold(server: &Server, what: &str) -> Connection {
    let connection = send(server, &format!("/{what}"));
    await_begun(server, what);
    connection
}

fn let_end(server: &Server, what: &str) {
    fs::write(server.root().join("run").join(format!("let-{what}")), "").unwrap();
}

/// CPU that a process has used.
fn cpu(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Ten times as many requests as threads, sent one after the other.
fn all_are_answered_in_order(builder: Builder, processes: usize) {
    const THREADS: usize = 2;
    const SERVICE: &str = "0.2";
    // A request may be given no worker for longer than this only if others are served meanwhile.
    let options = format!("site processes={processes} threads={THREADS} connect-timeout=2");
    let server = builder.daemon(&options).start();
    wait_for("all workers", || {
        let count = server.workers().len();
        (server.get("/first?0").status == 200 && count == processes).then_some(())
    });
    let slots = processes * THREADS;
    let mut sent = Vec::new();
    for number in 0..10 * slots {
        sent.push(send(&server, &format!("/{number}?{SERVICE}")));
        // The next one arrives later.
        std::thread::sleep(Duration::from_millis(4));
    }
    for mut connection in sent {
        let answer = connection.receive();
        assert_eq!(answer.status, 200, "{}", server.error_log());
    }
    let order: Vec<usize> = begun(&server).iter().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(order.len(), 10 * slots);
    let displaced = order.iter().enumerate().map(|(at, number)| at.abs_diff(*number)).max();
    // Requests that begin within one service time may be written down in any order, and a loaded machine may accept them so.
    assert!(displaced <= Some(2 * slots), "{displaced:?} of {slots} threads: {order:?}");
}

#[test]
fn ten_requests_for_each_thread_are_answered_in_order_with_one_process() {
    all_are_answered_in_order(Server::builder_of(APPLICATION).children(1, 64), 1);
    all_are_answered_in_order(Server::builder_of(APPLICATION).children(4, 16), 1);
}

#[test]
fn ten_requests_for_each_thread_are_answered_in_order_with_two_processes() {
    all_are_answered_in_order(Server::builder_of(APPLICATION).children(1, 64), 2);
    all_are_answered_in_order(Server::builder_of(APPLICATION).children(4, 16), 2);
}

#[test]
fn ten_requests_for_each_thread_are_answered_in_order_with_eight_processes() {
    all_are_answered_in_order(Server::builder_of(APPLICATION).children(1, 200), 8);
    all_are_answered_in_order(Server::builder_of(APPLICATION).children(4, 50), 8);
}

#[test]
fn ten_requests_for_each_thread_are_answered_in_order_by_every_mpm() {
    for (mpm, children, threads) in [(Mpm::Worker, 4, 16), (Mpm::Prefork, 50, 1)] {
        let builder = Server::builder_of(APPLICATION).mpm(mpm).children(children, threads);
        all_are_answered_in_order(builder, 2);
    }
}

#[test]
fn a_request_waits_longer_than_connect_timeout_while_all_threads_are_busy() {
    let server = builder("processes=2 threads=1 connect-timeout=1").children(4, 8).start();
    let busy = [hold(&server, "a"), hold(&server, "b")];
    let mut waits = send(&server, "/later?0");
    assert!(waits.silent(Duration::from_secs(4)), "{}", server.error_log());
    ["a", "b"].iter().for_each(|what| let_end(&server, what));
    assert_eq!(waits.receive().status, 200);
    busy.into_iter().for_each(|mut it| assert_eq!(it.receive().status, 200));
}

#[test]
fn waiting_for_a_thread_costs_no_processor_time() {
    let server = builder("processes=2 threads=1").children(2, 64).start();
    let busy = [hold(&server, "a"), hold(&server, "b")];
    let mut waiting: Vec<_> = (0..100).map(|_| send(&server, "/later?0")).collect();
    // All of them are in the queue by then.
    std::thread::sleep(Duration::from_secs(1));
    let used = || server.children().into_iter().map(cpu).sum::<Duration>();
    let before = used();
    std::thread::sleep(Duration::from_secs(6));
    let used = used() - before;
    // A hundredth of a processor for 6 s is 60 ms; the clock of processes ticks every 10 ms.
    assert!(used <= Duration::from_millis(60), "100 waiting requests used {used:?} in 6 s");
    assert!(!begun(&server).contains(&"later".to_owned()));
    ["a", "b"].iter().for_each(|what| let_end(&server, what));
    waiting.iter_mut().for_each(|connection| assert_eq!(connection.receive().status, 200));
    busy.into_iter().for_each(|mut it| assert_eq!(it.receive().status, 200));
}

#[test]
fn waiting_for_a_worker_that_starts_costs_no_processor_time() {
    let script = format!(
        "import os, time
while not os.path.exists('@root@/run/let-import'):
    time.sleep(0.01)
{APPLICATION}"
    );
    let server = Server::builder_of(&script)
        .daemon("site threads=20 startup-timeout=60")
        .config("WSGIImportScript @apps@/app.wsgi process-group=site application-group=app")
        .children(2, 64)
        .start();
    let mut waiting: Vec<_> = (0..60).map(|_| send(&server, "/later?0")).collect();
    std::thread::sleep(Duration::from_secs(1));
    let used = || server.children().into_iter().map(cpu).sum::<Duration>();
    let before = used();
    std::thread::sleep(Duration::from_secs(4));
    let used = used() - before;
    assert!(used <= Duration::from_millis(40), "60 waiting requests used {used:?} in 4 s");
    let_end(&server, "import");
    waiting.iter_mut().for_each(|connection| assert_eq!(connection.receive().status, 200));
}

#[test]
fn a_thread_whose_request_was_given_up_is_given_to_no_other_request_until_it_is_free() {
    let server =
        builder("processes=2 threads=1 socket-timeout=5").config("Timeout 60").children(1, 16);
    let server = server.start();
    // Both processes serve.
    let busy = ["first", "second"].map(|what| hold(&server, what));
    ["first", "second"].iter().for_each(|what| let_end(&server, what));
    busy.into_iter().for_each(|mut it| assert_eq!(it.receive().status, 200));
    // httpd answers it after five seconds; the application goes on with it.
    assert_eq!(send(&server, "/stuck").receive().status, 504);
    // These can only be served by the other process, and none of them waits for the one that is busy.
    for _ in 0..20 {
        assert_eq!(server.get("/quick?0").status, 200, "{}", server.error_log());
    }
    let other = hold(&server, "other");
    let_end(&server, "stuck");
    // Both threads are busy or were until now: a thread that was lost would be missing here.
    assert_eq!(server.get("/last?0").status, 200, "{}", server.error_log());
    let_end(&server, "other");
    drop(other);
}

#[test]
fn a_client_that_leaves_takes_no_thread_with_it() {
    let server = builder("threads=2").children(1, 16).start();
    for round in 0..6 {
        let names = [format!("{round}-a"), format!("{round}-b")];
        let busy = names.each_ref().map(|name| hold(&server, name));
        let waits = send(&server, &format!("/{round}-waits?0"));
        drop(busy);
        drop(waits);
        names.iter().for_each(|name| let_end(&server, name));
    }
    let busy = [hold(&server, "a"), hold(&server, "b")];
    ["a", "b"].iter().for_each(|what| let_end(&server, what));
    busy.into_iter().for_each(|mut it| assert_eq!(it.receive().status, 200));
}

#[test]
fn what_a_killed_child_of_httpd_had_reserved_is_free_again() {
    let server = builder("threads=2")
        .children(3, 4)
        .expect_in_log("exit signal Killed")
        .expect_in_log("SIGKILL")
        .start();
    for round in 0..3 {
        let names = [format!("{round}-a"), format!("{round}-b")];
        let busy = names.each_ref().map(|name| hold(&server, name));
        let waits = send(&server, &format!("/{round}-waits?0"));
        for child in server.children() {
            kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
        }
        names.iter().for_each(|name| let_end(&server, name));
        drop((busy, waits));
        wait_for("other children", || {
            let mut connection = Connection::try_open(server.port).ok()?;
            connection.try_send(&request("GET", "/x?0", &[("Connection", "close")], b"")).ok()?;
            (connection.rest().starts_with(b"HTTP/1.1 200")).then_some(())
        });
    }
    let busy = [hold(&server, "a"), hold(&server, "b")];
    ["a", "b"].iter().for_each(|what| let_end(&server, what));
    busy.into_iter().for_each(|mut it| assert_eq!(it.receive().status, 200));
}

#[test]
fn a_request_that_its_worker_does_not_take_goes_to_one_that_does() {
    let server = builder("processes=2 threads=2").children(1, 16).start();
    wait_for("both workers", || {
        (server.get("/first?0").status == 200 && server.workers().len() == 2).then_some(())
    });
    let stopped = server.workers()[0];
    kill(Pid::from_raw(stopped), Signal::SIGSTOP).unwrap();
    for _ in 0..6 {
        let answer = server.get("/quick?0");
        assert_eq!(answer.status, 200);
        assert_ne!(answer.text(), format!("process {stopped}"));
    }
    kill(Pid::from_raw(stopped), Signal::SIGCONT).unwrap();
    // Each was served once, though the stopped process was offered some of them.
    wait_for("the stopped process", || {
        let text = format!("process {stopped}");
        (server.get("/again?0").text() == text).then_some(())
    });
    assert_eq!(begun(&server).iter().filter(|line| *line == "quick").count(), 6);
}

#[test]
fn a_worker_that_is_stopped_and_whose_socket_is_full_delays_no_request_while_another_has_a_free_thread()
 {
    let server = builder("processes=2 threads=2 listen-backlog=2 connect-timeout=4").start();
    let stopped = wait_for("both workers", || {
        let is_answered = server.get("/first?0").status == 200;
        let workers = server.workers();
        (is_answered && workers.len() == 2).then(|| Pid::from_raw(workers[0]))
    });
    kill(stopped, Signal::SIGSTOP).unwrap();
    let statuses: Vec<u16> =
        (0..20).map(|number| server.get(&format!("/{number}?0")).status).collect();
    kill(stopped, Signal::SIGCONT).unwrap();
    assert_eq!(statuses, [200; 20], "{}", server.error_log());
}

#[test]
fn requests_of_a_worker_that_is_stopped_go_to_another_one_although_requests_wait_for_its_threads() {
    let builder = builder("processes=2 threads=1 socket-timeout=8").config("Timeout 60");
    let server = builder.children(1, 16).start();
    wait_for("both workers", || {
        (server.get("/first?0").status == 200 && server.workers().len() == 2).then_some(())
    });
    let stopped = Pid::from_raw(server.workers()[0]);
    kill(stopped, Signal::SIGSTOP).unwrap();
    let end = Instant::now() + Duration::from_secs(12);
    let statuses = std::thread::scope(|scope| {
        let client = |number: usize| {
            let server = &server;
            scope.spawn(move || {
                let mut statuses = Vec::new();
                while Instant::now() < end {
                    statuses.push(server.get(&format!("/{number}?0.1")).status);
                }
                statuses
            })
        };
        let clients: Vec<_> = (0..6).map(client).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    kill(stopped, Signal::SIGCONT).unwrap();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    // No thread of a worker is left reserved.
    let both = ["one", "two"].map(|what| hold(&server, what));
    ["one", "two"].iter().for_each(|what| let_end(&server, what));
    both.into_iter().for_each(|mut it| assert_eq!(it.receive().status, 200));
}

/// A library that shows a process the time that stands in a file.
fn faketime() -> Option<String> {
    let arch = std::env::consts::ARCH;
    let places = [
        format!("/usr/lib/{arch}-linux-gnu/faketime/libfaketimeMT.so.1"),
        "/usr/lib64/faketime/libfaketimeMT.so.1".to_owned(),
    ];
    places.into_iter().find(|place| fs::exists(place).unwrap_or(false))
}

#[test]
fn a_step_of_the_clock_ends_no_request_that_waits() {
    let Some(library) = faketime() else {
        eprintln!("SKIPPED: libfaketime is not installed");
        return;
    };
    let clock = tempfile::NamedTempFile::new().unwrap();
    let set = |time: &str| fs::write(clock.path(), time).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(clock.path(), open).unwrap();
    set("+0");
    // The application itself cannot sleep under such a clock.
    let server = builder("threads=1 queue-timeout=100 env=LD_PRELOAD=")
        .children(1, 8)
        .environment("LD_PRELOAD", &library)
        .environment("FAKETIME_TIMESTAMP_FILE", clock.path().to_str().unwrap())
        .environment("FAKETIME_NO_CACHE", "1")
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    let busy = hold(&server, "a");
    let mut waits = send(&server, "/later?0");
    assert!(waits.silent(Duration::from_millis(500)));
    set("+3600");
    assert!(waits.silent(Duration::from_millis(500)), "{}", server.error_log());
    let_end(&server, "a");
    assert_eq!(waits.receive().status, 200, "{}", server.error_log());
    drop(busy);
}
