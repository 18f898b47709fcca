//! Processes that an application starts.

use crate::driver::{Ask, Plan, Python, Worker};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

const APP: &str = r#"
import multiprocessing, os, signal, subprocess, sys, threading, time

def double(n):
    return 2 * n

def application(environ, start_response):
    body = globals()[environ["PATH_INFO"][1:]](environ)
    start_response("200 OK", [])
    return [str(body).encode()]

def hello(environ):
    return "hello"

def forked(environ):
    pid = os.fork()
    if pid == 0:
        try:
            print("from the fork")
            environ["wsgi.errors"].write("to the errors from the fork\n")
            environ["wsgi.errors"].flush()
        finally:
            os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def returns_twice(environ):
    pid = os.fork()
    if pid == 0:
        return "the child"
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def exits(environ):
    pid = os.fork()
    if pid == 0:
        sys.exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def terminated(environ):
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    time.sleep(0.1)
    os.kill(pid, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def lingers(environ):
    if os.fork() == 0:
        time.sleep(5)
        os._exit(0)
    return "left"

def ran(environ):
    done = subprocess.run(["/bin/sh", "-c", "echo out; cat; kill -TERM $$; echo alive"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return done.stdout, done.returncode

def pooled(environ):
    return multiprocessing.get_context("fork").Pool(2).map(double, range(4))

def spawned(environ):
    import helper
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=helper.work, args=(queue,))
    process.start()
    result = queue.get(timeout=15)
    process.join()
    return result, process.exitcode
"#;

const HELPER: &str = r#"
import sys

def work(queue):
    queue.put(("mod_wsgi" in sys.modules, sys.modules["__main__"].__name__))
"#;

fn each(body: impl Fn(&mut Worker)) {
    for python in Python::all() {
        let plan = Plan::threads(2).with(|options| options.home = Some(b".".to_vec()));
        let mut worker = plan.start(&python, &[("app.wsgi", APP), ("helper.py", HELPER)]);
        assert_eq!(worker.ready(), []);
        body(&mut worker);
        assert_eq!(worker.get("/hello").text(), "hello");
        worker.leave(None);
        worker.ends_with(0);
    }
}

#[test]
fn a_forked_process_does_not_touch_what_is_the_workers() {
    each(|worker| {
        let mut client = worker.connect();
        let answer = client.get("/forked");
        assert_eq!(answer.text(), "7");
        assert!(!answer.log().contains("from the fork"), "{}", answer.log());
        assert!(worker.log().contains("from the fork"), "{}", worker.log());
        assert!(worker.log().contains("to the errors from the fork"), "{}", worker.log());
        assert_eq!(client.get("/returns_twice").text(), "1");
        assert!(worker.log().contains("WSGI1011: "), "{}", worker.log());
        assert_eq!(client.get("/exits").text(), "1");
        assert_eq!(client.get("/terminated").text(), "255");
    });
}

#[test]
fn programs_and_pools_run_as_in_any_process() {
    each(|worker| {
        let mut client = worker.connect();
        assert_eq!(client.get("/ran").text(), "(b'out\\n', -15)");
        assert_eq!(client.get("/pooled").text(), "[0, 2, 4, 6]");
        assert_eq!(client.get("/spawned").text(), "((False, '__main__'), 0)");
    });
}

#[test]
fn a_process_that_an_application_leaves_behind_does_not_hide_the_end_of_the_worker() {
    for python in Python::all() {
        let mut worker = Worker::serving(&python, Plan::threads(2), APP);
        let mut client = worker.connect();
        assert_eq!(client.get("/lingers").text(), "left");
        client.offer(&Ask::get("/terminated"));
        client.await_taken();
        let begun = Instant::now();
        worker.signal(Signal::SIGKILL);
        assert!(client.answer(&mut |_| None).end.is_none());
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        worker.ended();
    }
}
