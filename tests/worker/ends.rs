//! How a worker ends, and how it is replaced.

use crate::driver::{Ask, Client, Plan, Python, Worker};
use exchange::Level;
use nix::sys::signal::Signal;
use std::fs::File;
use std::time::{Duration, Instant};
use wire::End;
use wire::control::{FromWorker, Script, ToWorker};

const APP: &str = r#"
import atexit, ctypes, mod_wsgi, os, signal, sys, threading, time

mod_wsgi.subscribe_shutdown(lambda name, **payload: print("event", name, payload["shutdown_reason"]))
mod_wsgi.subscribe_signals(lambda name, **payload: print("event", name, payload["signame"], payload["signum"]))
atexit.register(lambda: print("atexit", mod_wsgi.application_group or "main"))

def application(environ, start_response):
    path, _, argument = environ["PATH_INFO"][1:].partition("/")
    seconds = float(argument or "0")
    try:
        if path == "sleep":
            time.sleep(seconds)
        elif path == "spin":
            until = time.time() + seconds
            while time.time() < until:
                sum(range(100))
        elif path == "hold":
            ctypes.PyDLL(None).usleep(int(seconds * 1e6))
        elif path == "stubborn":
            until = time.time() + seconds
            while time.time() < until:
                try:
                    time.sleep(0.01)
                except BaseException:
                    pass
        elif path == "late":
            start_response("200 OK", [])
            return late(seconds)
    except mod_wsgi.RequestTimeout:
        print("interrupted")
        raise
    start_response("200 OK", [])
    return [b"done"]

def late(seconds):
    yield b"some"
    until = time.time() + seconds
    while time.time() < until:
        time.sleep(0.01)
"#;

fn each(plan: impl Fn() -> Plan, body: impl Fn(&mut Worker)) {
    for python in Python::all() {
        body(&mut Worker::serving(&python, plan(), APP));
    }
}

/// A connection on which a request is being served.
fn busy(worker: &Worker, path: &str) -> Client {
    let mut client = worker.connect();
    client.offer(&Ask::get(path));
    let until = Instant::now() + Duration::from_secs(10);
    while !client.is_taken() {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    client
}

fn replaced(worker: &mut Worker) -> String {
    worker.hear_until(|message| match message {
        FromWorker::Replace { reason } => Some(reason.clone()),
        _ => None,
    })
}

fn leaving(worker: &mut Worker) -> String {
    worker.hear_until(|message| match message {
        FromWorker::Leaving { reason } => Some(reason.clone()),
        _ => None,
    })
}

#[test]
fn a_worker_that_is_told_to_leave_ends_in_order() {
    each(
        || Plan::threads(2),
        |worker| {
            assert_eq!(worker.get("/").status, 200);
            let ask = Ask { group: "other", ..Ask::get("/") };
            assert_eq!(worker.connect().ask(&ask).text(), "done");
            worker.leave(None);
            worker.ends_with(0);
            let log = worker.log();
            assert!(log.contains("event process_stopping restart_interval"), "{log}");
            assert!(log.contains("atexit main") && log.contains("atexit other"), "{log}");
            assert!(log.contains("[wsgi:info]") && log.contains("Shutdown requested"), "{log}");
            assert!(!log.contains("WSGI1"), "{log}");
        },
    );
}

#[test]
fn requests_in_hand_are_finished_and_others_left_to_other_workers() {
    each(
        || Plan::threads(8),
        |worker| {
            let mut clients: Vec<_> = (0..8).map(|_| busy(worker, "/sleep/0.5")).collect();
            let mut waiting = worker.connect();
            waiting.offer(&Ask::get("/"));
            let mut idle = worker.connect();
            worker.leave(None);
            assert!(idle.try_frame().is_none());
            for client in &mut clients {
                let answer = client.answer(&mut |_| None);
                assert_eq!((answer.text().as_str(), answer.is_done()), ("done", true));
            }
            let refused = waiting.answer(&mut |_| None);
            let is_left = refused.end == Some(End::Leaving) || !waiting.is_taken();
            assert!(refused.status == 0 && is_left, "{refused:?}");
            worker.ends_with(0);
        },
    );
}

#[test]
fn a_request_that_takes_longer_than_patience_and_shutdown_is_cut_off() {
    let plan = || Plan::threads(2).with(|options| options.shutdown_timeout = 1);
    each(plan, |worker| {
        let mut client = busy(worker, "/sleep/30");
        let begun = Instant::now();
        worker.leave(Some(300));
        worker.ends_with(255);
        assert!((1300..3000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        let answer = client.answer(&mut |_| None);
        assert!(answer.end.is_none() && client.is_taken());
        worker.logs("WSGI1008: Python did not finish in time and was left (restart_interval)");
    });
}

#[test]
fn sigterm_ends_a_worker_after_its_requests() {
    each(
        || Plan::threads(2),
        |worker| {
            assert_eq!(worker.get("/").text(), "done");
            let mut client = busy(worker, "/sleep/0.4");
            worker.signal(Signal::SIGTERM);
            assert_eq!(leaving(worker), "shutdown_signal");
            assert_eq!(client.answer(&mut |_| None).text(), "done");
            worker.ends_with(0);
            assert!(worker.log().contains("event process_stopping shutdown_signal"));
        },
    );
}

#[test]
fn sigusr1_and_sigxcpu_ask_for_a_replacement_and_requests_go_on() {
    for (signal, reason) in
        [(Signal::SIGUSR1, "eviction_signal"), (Signal::SIGXCPU, "cpu_time_limit")]
    {
        each(
            || Plan::threads(2),
            |worker| {
                worker.signal(signal);
                assert_eq!(replaced(worker), reason);
                assert_eq!(worker.get("/").text(), "done");
                worker.leave(Some(5000));
                worker.ends_with(0);
                assert!(worker.log().contains(&format!("event process_stopping {reason}")));
            },
        );
    }
}

#[test]
fn sighup_and_sigusr2_are_for_the_application() {
    each(
        || Plan::threads(1),
        |worker| {
            assert_eq!(worker.get("/").text(), "done");
            worker.signal(Signal::SIGHUP);
            worker.logs("event process_signal SIGHUP 1");
            worker.signal(Signal::SIGUSR2);
            worker.logs("event process_signal SIGUSR2 12");
            assert_eq!(worker.get("/").text(), "done");
            assert!(worker.is_running());
        },
    );
}

#[test]
fn a_worker_does_not_outlive_its_supervisor() {
    let plan = || Plan::threads(2).with(|options| options.shutdown_timeout = 0);
    each(plan, |worker| {
        assert_eq!(worker.get("/").text(), "done");
        worker.orphan();
        worker.ends_with(0);
        worker.logs("WSGI1029: The supervisor has gone");
    });
}

#[test]
fn a_worker_finishes_its_requests_when_its_supervisor_has_died() {
    let plan = || Plan::threads(2).with(|options| options.graceful_timeout = 60);
    each(plan, |worker| {
        let mut client = busy(worker, "/sleep/3");
        worker.orphan();
        worker.logs("WSGI1029: The supervisor has gone");
        // It still takes requests, because there may be no other worker for a while.
        assert_eq!(worker.get("/").text(), "done");
        assert_eq!(client.answer(&mut |_| None).text(), "done");
        worker.ends_with(0);
    });
}

#[test]
fn a_worker_whose_supervisor_has_died_ends_in_time_whatever_it_does() {
    let plan = || {
        Plan::threads(1).with(|options| {
            options.graceful_timeout = 1;
            options.shutdown_timeout = 1;
        })
    };
    each(plan, |worker| {
        let _busy = busy(worker, "/stubborn/1000");
        worker.orphan();
        worker.ends_with(255);
        worker.logs("WSGI1008");
    });
}

#[test]
fn a_worker_that_loads_ends_at_once_when_its_supervisor_dies() {
    for python in Python::all() {
        let script = |name: &str| Script { path: name.into(), main: true, ..Script::default() };
        let plan = Plan { scripts: vec![script("app.wsgi")], ..Plan::threads(1) };
        let endless = "import time\nprint('loads', flush=True)\ntime.sleep(1000)\n";
        let mut worker = plan.start(&python, &[("app.wsgi", endless)]);
        worker.logs("loads");
        worker.orphan();
        worker.ends_with(255);
    }
}

#[test]
fn a_worker_accepts_on_the_new_socket_when_its_own_was_removed() {
    each(
        || Plan::threads(1),
        |worker| {
            assert_eq!(worker.get("/").text(), "done");
            let path = worker.directory().join("socket");
            std::fs::remove_file(&path).unwrap();
            let socket = File::from(link::listen(&path, 100).unwrap());
            worker.tell(&ToWorker::Listen, Some(&socket));
            assert_eq!(worker.get("/").text(), "done");
        },
    );
}

#[test]
fn a_worker_asks_for_a_replacement_after_its_number_of_requests() {
    let plan = || Plan::threads(2).with(|options| options.maximum_requests = 3);
    each(plan, |worker| {
        for _ in 0..2 {
            assert_eq!(worker.get("/").text(), "done");
        }
        worker.has_served(2);
        assert!(!worker.heard().iter().any(|m| matches!(m, FromWorker::Replace { .. })));
        for _ in 0..3 {
            assert_eq!(worker.get("/").text(), "done");
        }
        assert_eq!(replaced(worker), "maximum_requests");
    });
}

#[test]
fn a_worker_that_is_not_used_any_more_asks_for_a_replacement() {
    let plan = || Plan::threads(2).with(|options| options.inactivity_timeout = 1);
    each(plan, |worker| {
        std::thread::sleep(Duration::from_millis(1300));
        assert!(worker.heard().is_empty());
        assert_eq!(worker.get("/sleep/1.3").text(), "done");
        let begun = Instant::now();
        let mut ignored = 0;
        let reason = loop {
            let ask = Ask { ignored: true, ..Ask::get("/") };
            assert_eq!(worker.connect().ask(&ask).text(), "done");
            ignored += 1;
            std::thread::sleep(Duration::from_millis(50));
            let reason = worker.heard().into_iter().find_map(|message| match message {
                FromWorker::Replace { reason } => Some(reason),
                _ => None,
            });
            if let Some(reason) = reason {
                break reason;
            }
            assert!(begun.elapsed() < Duration::from_secs(5));
        };
        assert_eq!(reason, "inactivity_timeout");
        assert!(begun.elapsed() > Duration::from_millis(800) && ignored > 5);
    });
}

#[test]
fn a_request_that_takes_too_long_has_the_worker_replaced() {
    let plan = || Plan::threads(1).with(|options| options.request_timeout = 1);
    each(plan, |worker| {
        let mut client = busy(worker, "/sleep/2");
        let begun = Instant::now();
        assert_eq!(replaced(worker), "request_timeout");
        assert!((800..1900).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        worker.leave(Some(60_000));
        assert_eq!(client.answer(&mut |_| None).text(), "done");
        worker.ends_with(0);
        let log = worker.log();
        assert!(log.contains("event process_stopping request_timeout"), "{log}");
        let line =
            log.lines().find(|line| line.contains("WSGI1072")).expect("a line of the timeout");
        assert!(line.contains("request-timeout=1 with 1 threads"), "{line}");
        assert!(line.contains("request the-id /sleep/2 has taken"), "{line}");
        assert!(log.contains("in application"), "{log}");
        assert_eq!(log.matches("WSGI1072").count(), 1, "{log}");
    });
}

#[test]
fn a_request_that_takes_too_long_is_interrupted() {
    // Loaded before, which can take longer than the requests may.
    let script = |group: &[u8], main| Script {
        path: b"app.wsgi".into(),
        group: group.into(),
        main,
        callables: Vec::new(),
    };
    let plan = || {
        let plan = Plan::threads(1).with(|options| {
            options.request_timeout = 1;
            options.interrupt_timeout = 1;
        });
        Plan { scripts: vec![script(b"", true), script(b"other", false)], ..plan }
    };
    each(plan, |worker| {
        let mut client = busy(worker, "/spin/10");
        let answer = client.answer(&mut |_| None);
        let code = exchange::Code::RequestTimeout;
        let expected = exchange::Outcome::Unanswered(code.into());
        assert_eq!(answer.end, Some(End::Served(expected)), "{answer:?}");
        assert!(answer.log().contains("interrupted"), "{}", answer.log());
        worker.logs("request the-id /spin/10 has taken more than 1.0 s");
        worker.logs("RequestTimeout is raised in it (main interpreter). Python stack:");
        let cut = client.get("/late/10");
        assert_eq!(cut.text(), "some");
        let expected = exchange::Outcome::Truncated(code.into());
        assert_eq!(cut.end, Some(End::Served(expected)), "{cut:?}");
        assert!(!worker.heard().iter().any(|m| matches!(m, FromWorker::Replace { .. })));
        assert_eq!(client.get("/").text(), "done");
        let ask = Ask { group: "other", ..Ask::get("/spin/10") };
        assert_eq!(
            client.ask(&ask).end,
            Some(End::Served(exchange::Outcome::Unanswered(code.into())))
        );
        let _busy = busy(worker, "/stubborn/20");
        assert_eq!(replaced(worker), "request_timeout");
    });
}

#[test]
fn a_worker_whose_interpreter_cannot_be_had_leaves() {
    let plan = || {
        Plan::threads(2).with(|options| {
            options.deadlock_timeout = 1;
            options.shutdown_timeout = 1;
        })
    };
    for python in Python::all().into_iter().filter(Python::has_lock) {
        let mut worker = Worker::serving(&python, plan(), APP);
        let begun = Instant::now();
        let _client = busy(&worker, "/hold/30");
        assert_eq!(leaving(&mut worker), "deadlock_timeout");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        worker.ends_with(255);
        worker.logs("WSGI1031: The lock of the main interpreter could not be taken in time");
    }
}

#[test]
fn the_log_goes_where_the_supervisor_says() {
    each(
        || Plan::threads(1),
        |worker| {
            assert_eq!(worker.get("/").text(), "done");
            let path = worker.directory().join("other");
            let file = File::create(&path).unwrap();
            worker.tell(&ToWorker::Log { log_level: Level::Error as u8 }, Some(&file));
            worker.signal(Signal::SIGHUP);
            let until = Instant::now() + Duration::from_secs(10);
            while !std::fs::read_to_string(&path).unwrap().contains("event process_signal") {
                assert!(Instant::now() < until);
                std::thread::sleep(Duration::from_millis(2));
            }
            worker.leave(None);
            worker.ends_with(0);
            let other = std::fs::read_to_string(&path).unwrap();
            assert!(!other.contains("Shutdown requested"), "{other}");
            assert!(!worker.log().contains("event"), "{}", worker.log());
        },
    );
}

#[test]
fn a_worker_whose_end_takes_too_long_writes_its_stacks() {
    let plan = || Plan::threads(2).with(|options| options.shutdown_timeout = 1);
    each(plan, |worker| {
        // The script is loaded before, so that the stack of the request is in the application.
        assert_eq!(worker.get("/").text(), "done");
        let _busy = busy(worker, "/sleep/20");
        worker.leave(Some(0));
        worker.ends_with(255);
        let log = worker.log();
        let line =
            log.lines().find(|line| line.contains("WSGI1072")).expect("a line of the timeout");
        assert!(line.contains("shutdown-timeout=1: request the-id /sleep/20 has taken"), "{line}");
        assert!(log.contains("time.sleep(seconds)"), "{log}");
    });
}

#[test]
fn a_request_that_is_not_finished_when_its_worker_must_end_is_named_with_its_stack() {
    let plan = || Plan::threads(2).with(|options| options.shutdown_timeout = 1);
    each(plan, |worker| {
        assert_eq!(worker.get("/").text(), "done");
        let _busy = busy(worker, "/sleep/20");
        worker.leave(Some(2000));
        worker.logs("graceful-timeout: request the-id /sleep/20 has taken");
        worker.ends_with(255);
        assert_eq!(worker.log().matches("time.sleep(seconds)").count(), 1, "{}", worker.log());
    });
}

#[test]
fn a_worker_whose_interpreter_lock_is_held_writes_the_stacks_of_all_threads() {
    for python in Python::all().iter().filter(|python| python.has_lock()) {
        let plan = Plan::threads(2).with(|options| {
            options.request_timeout = 1;
            options.shutdown_timeout = 1;
        });
        let worker = Worker::serving(python, plan, APP);
        let _busy = busy(&worker, "/hold/20");
        worker.logs("request the-id /hold/20 has taken");
        worker.logs(
            "The lock of the interpreter could not be taken. Threads of the main interpreter:",
        );
        worker.logs("in application");
    }
}

const STUCK: &str = "import time\nprint('begun')\ntime.sleep(100)\n";
const HELD: &str = "import ctypes\nprint('begun')\nctypes.PyDLL(None).usleep(100_000_000)\n";

#[test]
fn a_worker_that_cannot_load_its_script_in_time_writes_the_stack_and_ends() {
    for python in Python::all() {
        for (source, line) in
            [(STUCK, "time.sleep(100)"), (HELD, "app.wsgi\\\", line 3 in <module>")]
        {
            if source == HELD && !python.has_lock() {
                continue;
            }
            let script = Script { path: b"app.wsgi".into(), main: true, ..Script::default() };
            let plan = Plan::threads(1).with(|options| options.load_timeout = 7);
            let plan = Plan { scripts: vec![script], ..plan };
            let mut worker = plan.start(&python, &[("app.wsgi", source)]);
            let slow = worker.hear_until(|message| match message {
                FromWorker::Loading(script) => Some(script.clone()),
                _ => None,
            });
            assert!(slow.ends_with(b"/app.wsgi"));
            worker.logs("WSGI1071");
            assert_eq!(leaving(&mut worker), "startup_timeout");
            worker.ends_with(255);
            let log = worker.log();
            assert!(
                log.contains("app.wsgi' has been loading for 5 s; startup-timeout is 7"),
                "{log}"
            );
            assert!(log.contains("startup-timeout=7: '"), "{log}");
            let line = line.replace("\\\"", "\"");
            assert_eq!(log.matches(&line).count(), 2, "{log}");
        }
    }
}

#[test]
fn a_worker_that_is_told_to_leave_while_it_loads_ends_soon() {
    for python in Python::all() {
        let script = Script { path: b"app.wsgi".into(), main: true, ..Script::default() };
        let plan = Plan { scripts: vec![script], ..Plan::threads(1) };
        let plan = plan.with(|options| options.shutdown_timeout = 100);
        let mut worker = plan.start(&python, &[("app.wsgi", STUCK)]);
        worker.logs("begun");
        worker.leave(Some(0));
        worker.ends_with(0);
        assert!(!worker.log().contains("WSGI1"), "{}", worker.log());
    }
}
