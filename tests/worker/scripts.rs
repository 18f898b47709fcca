//! Workers that serve no requests but run scripts.

use crate::driver::{Plan, Python, Worker};
use exchange::Preload;
use nix::sys::signal::Signal;

fn running(python: &Python, script: &str) -> Worker {
    let mut plan = Plan::threads(0);
    plan.settings.preload =
        vec![Preload { path: b"script.py".to_vec(), main: true, ..Preload::default() }];
    let mut worker = plan.start(python, &[("script.py", script)]);
    assert_eq!(worker.ready(), []);
    worker
}

#[test]
fn a_worker_without_threads_ends_when_its_script_has() {
    for python in Python::all() {
        let mut worker =
            running(&python, "import threading\nprint(threading.current_thread().name)\n");
        worker.ends_with(0);
        assert!(worker.log().contains("MainThread"), "{}", worker.log());
    }
}

const LOOP: &str = r#"
import atexit, mod_wsgi, signal, sys, time
mod_wsgi.subscribe_shutdown(lambda name, **payload: print("event", name))
atexit.register(lambda: print("at the end"))
if TOLD:
    signal.signal(signal.SIGUSR2, lambda number, frame: print("got", number))
print("begun")
try:
    for _ in range(1000):
        time.sleep(0.01)
finally:
    print("ended", sys.exc_info()[0].__name__)
"#;

#[test]
fn sigterm_ends_the_script_and_other_signals_are_its_own() {
    for python in Python::all() {
        let mut worker = running(&python, &LOOP.replace("TOLD", "True"));
        worker.logs("begun");
        for signal in [Signal::SIGUSR1, Signal::SIGHUP, Signal::SIGINT, Signal::SIGUSR2] {
            worker.signal(signal);
        }
        worker.logs("got 12");
        assert!(worker.is_running());
        worker.signal(Signal::SIGTERM);
        worker.ends_with(0);
        let log = worker.log();
        assert!(log.contains("ended SystemExit") && log.contains("at the end"), "{log}");
        assert!(!log.contains("event") && !log.contains("WSGI0"), "{log}");
    }
}

#[test]
fn the_supervisor_ends_a_script_too() {
    for python in Python::all() {
        let mut worker = running(&python, &LOOP.replace("TOLD", "False"));
        worker.logs("begun");
        worker.leave(Some(1000));
        worker.ends_with(0);
        assert!(worker.log().contains("ended SystemExit"), "{}", worker.log());
        let mut orphan = running(&python, &LOOP.replace("TOLD", "False"));
        orphan.logs("begun");
        orphan.orphan();
        orphan.ends_with(0);
    }
}
