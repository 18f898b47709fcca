//! Daemon processes that die: what their requests come to, what the log says, how soon there are others, and that no
//! process is left behind when httpd itself is gone.

use crate::harness::{Builder, Load, Server, Waiting, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

const APPLICATION: &str = "
import os, signal, time

def application(environ, start_response):
    query = environ['QUERY_STRING']
    if query == 'exit':
        os._exit(3)
    if query == 'crash':
        signal.raise_signal(signal.SIGSEGV)
    if query == 'middle':
        write = start_response('200 OK', [('Content-Type', 'text/plain')])
        write(b'begun')
        time.sleep(0.3)
        os._exit(4)
    if query:
        print('a long one is served', flush=True)
    time.sleep(float(query or 0.002))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'process %d end' % os.getpid()]
";

fn builder(options: &str) -> Builder {
    Server::builder_of(APPLICATION)
        .daemon(&format!("site {options}"))
        .children(2, 10)
        .expect_in_log("ended")
        .expect_in_log("SIG")
        .expect_in_log("signal")
}

fn killed(processes: usize, times: usize, longest: Duration) {
    const THREADS: usize = 4;
    let server = builder(&format!("processes={processes} threads={THREADS}")).start();
    server.get("/");
    let tally = Load::of(&server).expect("end").while_doing(|progress| {
        for _ in 0..times {
            let all = wait_for("all workers", || {
                let all = server.workers();
                (all.len() == processes).then_some(all)
            });
            // A worker that has been ready for less than a second is not always replaced at once.
            std::thread::sleep(Duration::from_millis(1100));
            kill(Pid::from_raw(all[0]), Signal::SIGKILL).unwrap();
            wait_for("it to be gone", || (!server.workers().contains(&all[0])).then_some(()));
            progress.more(40);
        }
    });
    println!(
        "{times} kills, {processes} processes: {} requests, {} failed, longest gap {:?}",
        tally.answers.len(),
        tally.failed.len(),
        tally.longest_gap()
    );
    assert!(tally.failed.len() <= times * THREADS, "{:?}", tally.failed);
    for failed in &tally.failed {
        assert!(failed.contains(" 502 ") || failed.contains(" 503 "), "{failed}");
    }
    let gap = tally.longest_gap();
    assert!(gap <= longest, "for {gap:?} there was no answer");
}

#[test]
fn a_worker_that_is_killed_takes_only_what_it_had_in_hand_with_it() {
    killed(1, 5, Duration::from_secs(2));
    killed(3, 5, Duration::from_secs(2));
}

#[test]
#[ignore = "takes minutes"]
fn a_hundred_kills_leave_no_gap() {
    killed(1, 100, Duration::from_millis(200));
    killed(3, 100, Duration::from_millis(50));
}

#[test]
fn the_log_names_the_cause_the_process_and_the_request() {
    let server = builder("threads=2").start();
    for (query, cause) in [("exit", "code 3"), ("crash", "SIGSEGV")] {
        let pid = server.worker();
        assert_eq!(server.get(&format!("/?{query}")).status, 502);
        let line = server.await_log(&format!("/?{query}"));
        assert!(line.contains(cause) && line.contains(&pid.to_string()), "{line}");
        wait_for("another", || (server.workers() != [pid]).then_some(()));
        assert_eq!(server.get("/").status, 200);
    }
}

#[test]
fn an_answer_that_was_begun_is_cut_so_that_the_client_can_tell() {
    let server = builder("threads=2").start();
    let answer = server.get("/?middle");
    assert_eq!((answer.status, answer.complete), (200, false), "{answer:?}");
    assert_eq!(answer.text(), "begun");
}

#[test]
fn a_group_that_cannot_start_answers_at_once_and_says_when_to_come_again() {
    let server = Server::builder_of("import os; os._exit(5)")
        .daemon("site threads=2")
        .config("WSGIImportScript @apps@/app.wsgi process-group=site application-group=%{GLOBAL}")
        .expect_in_log("ended")
        .start();
    wait_for("the refusal", || {
        let begun = Instant::now();
        let answer = server.get("/");
        let soon = begun.elapsed() < Duration::from_millis(500);
        (answer.status == 503 && soon && answer.header("Retry-After").is_some()).then_some(())
    });
    server.await_log("code 5");
}

#[test]
fn no_process_is_left_when_httpd_is_killed() {
    let server = builder("processes=3 threads=2").start();
    server.get("/");
    let (workers, supervisor) = (server.workers(), server.supervisor());
    let children = server.children();
    assert_eq!(workers.len(), 3);
    let all = [workers.as_slice(), &[supervisor]].concat();
    let mut waiting = Waiting::of(&all);
    server.signal(Signal::SIGKILL);
    let begun = Instant::now();
    let is_there = |pid: &i32| std::path::Path::new(&format!("/proc/{pid}/exe")).exists();
    wait_for("all of them to end", || {
        let took = begun.elapsed().saturating_sub(waiting.look(&all));
        assert!(took < Duration::from_secs(2), "{took:?}");
        (!all.iter().any(is_there)).then_some(())
    });
    // httpd's own children go on without a parent, as they do without this module.
    for child in children {
        let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
    }
}

#[test]
fn a_supervisor_that_is_killed_is_started_again() {
    let server = builder("processes=2 threads=2").start();
    server.get("/");
    let (workers, supervisor) = (server.workers(), server.supervisor());
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    wait_for("another supervisor", || (server.supervisor() != supervisor).then_some(()));
    wait_for("new workers", || {
        let now = server.workers();
        (now.len() == 2 && now.iter().all(|pid| !workers.contains(pid))).then_some(())
    });
    wait_for("answers", || (server.get("/").status == 200).then_some(()));
}

#[test]
fn whoever_waits_for_a_worker_that_dies_before_taking_the_request_is_served_by_another() {
    // One thread, which is busy; what waits behind it has not been taken.
    let server = builder("threads=1").start();
    server.get("/");
    let pid = server.worker();
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| server.get("/?100").status);
        server.await_log("a long one is served");
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| server.get("/").status)).collect();
        std::thread::sleep(Duration::from_millis(300));
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        assert_eq!(busy.join().unwrap(), 502);
        for one in waiting {
            assert_eq!(one.join().unwrap(), 200);
        }
    });
}

#[test]
fn httpd_survives_the_end_of_other_children_after_that_of_the_supervisor() {
    let server =
        builder("threads=1").config("ErrorLog \"|/usr/bin/tee -a @logs@/error.log\"").start();
    server.get("/");
    let supervisor = server.supervisor();
    // One that has only just been started is not replaced at once.
    std::thread::sleep(Duration::from_secs(3));
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    wait_for("another supervisor", || (server.supervisor() != supervisor).then_some(()));
    // A process that httpd has started as well, of which APR keeps a list.
    let is_logger = |pid: &i32| watch_command(*pid).contains("tee");
    let logger = children_of(server.parent()).into_iter().find(is_logger).expect("a logger");
    kill(Pid::from_raw(logger), Signal::SIGKILL).unwrap();
    let is_there = |pid: i32| std::path::Path::new(&format!("/proc/{pid}")).exists();
    wait_for("the logger to be reaped", || (!is_there(logger)).then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    assert!(is_there(server.parent()) && !server.children().is_empty());
    assert!(server.get("/").text().ends_with("end"));
}

fn watch_command(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

fn children_of(parent: i32) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let stat = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_child = |pid: &i32| {
        let stat = stat(*pid);
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        fields.nth(1) == Some(parent.to_string().as_str())
    };
    pids.filter(is_child).collect()
}

#[test]
fn a_stop_starts_nothing() {
    let server = builder("processes=2 threads=1").start();
    server.get("/");
    let log = server.stop().error_log;
    assert!(!log.contains("WSGI1037") && !log.contains("WSGI1022"), "{log}");
    assert_eq!(log.matches("was started").count(), 2, "{log}");
}
