//! How a server with the module starts, goes on and ends: MPMs, identities, restarts under load, the end of Python.

use crate::harness::{Builder, Connection, Identity, Mpm, Server, request, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const MPMS: [Mpm; 3] = [Mpm::Event, Mpm::Worker, Mpm::Prefork];

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello\\n']
";

fn serves(builder: Builder) {
    let server = builder.start();
    for _ in 0..20 {
        assert_eq!(server.get("/").text(), "hello\n");
    }
}

#[test]
fn every_mpm_serves_and_ends_without_a_trace() {
    for mpm in MPMS {
        serves(Server::builder_of(HELLO).mpm(mpm));
        serves(Server::builder_of(HELLO).mpm(mpm).children(3, 2));
    }
}

#[test]
fn an_unprivileged_user_can_run_it() {
    for mpm in MPMS {
        serves(Server::builder_of(HELLO).mpm(mpm).identity(Identity::Unprivileged));
    }
}

#[test]
fn one_process_serves_and_ends_when_told() {
    for mpm in MPMS {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let mut server = Server::builder_of(HELLO).mpm(mpm).single_process().start();
            for _ in 0..5 {
                assert_eq!(server.get("/").text(), "hello\n", "{mpm:?}");
            }
            server.signal(signal);
            server.await_end();
        }
    }
}

#[test]
fn a_server_that_never_served_ends_without_a_trace() {
    for mpm in MPMS {
        Server::builder_of(HELLO).mpm(mpm).children(2, 2).start();
    }
}

#[test]
fn the_parent_never_runs_python() {
    let server = Server::builder_of(HELLO).embedded().start();
    server.get("/");
    let maps = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(maps(server.child()).contains("libpython"), "the child does");
    assert!(!maps(server.parent()).contains("libpython"), "the parent does not");
}

#[test]
fn restarts_read_the_configuration_again() {
    for mpm in MPMS {
        let server = Server::builder_of(HELLO)
            .app("second.wsgi", &HELLO.replace("hello", "second"))
            .mpm(mpm)
            .start();
        assert_eq!(server.get("/").text(), "hello\n");
        let path = server.root().join("httpd.conf");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, config.replace("app.wsgi", "second.wsgi")).unwrap();
        server.graceful();
        wait_for("the new configuration", || (server.get("/").text() == "second\n").then_some(()));
        std::fs::write(&path, config).unwrap();
        server.restart();
        wait_for("the old configuration", || (server.get("/").text() == "hello\n").then_some(()));
    }
}

/// Clients ask without a pause while `doing`, which sees how many were answered, is done. No answer may be wrong.
fn under_load(server: &Server, doing: impl FnOnce(&AtomicUsize)) {
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (over, answered) = (&over, &answered);
            scope.spawn(move || {
                let mut turn = 0;
                while !over.load(Ordering::Relaxed) {
                    let path = format!("/{thread}/{turn}");
                    let answer = server.get(&path);
                    assert_eq!((answer.status, answer.text()), (200, path.as_str()));
                    answered.fetch_add(1, Ordering::Relaxed);
                    turn += 1;
                }
            });
        }
        doing(&answered);
        over.store(true, Ordering::Relaxed);
    });
}

const ECHO_PATH: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['PATH_INFO'].encode()]
";

#[test]
fn ten_graceful_restarts_under_load_lose_nothing() {
    for mpm in MPMS {
        let server = Server::builder_of(ECHO_PATH).mpm(mpm).children(2, 4).start();
        under_load(&server, |answered| {
            for _ in 0..10 {
                let before = answered.load(Ordering::Relaxed);
                server.graceful();
                wait_for("answers of the new generation", || {
                    (answered.load(Ordering::Relaxed) > before + 10).then_some(())
                });
            }
        });
    }
}

#[test]
fn restarts_end_requests_and_serve_again() {
    for mpm in MPMS {
        let server = Server::builder_of(ECHO_PATH).mpm(mpm).start();
        for turn in 0..5 {
            server.restart();
            let path = format!("/{turn}");
            assert_eq!(server.get(&path).text(), path, "{mpm:?}");
        }
    }
}

const SLOW: &str = "
import time
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'begun '
    print('the request has begun', flush=True)
    time.sleep(1)
    yield b'ended'
";

#[test]
fn a_graceful_stop_lets_requests_end() {
    for mpm in MPMS {
        let mut server = Server::builder_of(SLOW).mpm(mpm).start();
        let mut connection = server.connect();
        connection.send(request("GET", "/", &[("Connection", "close")], b""));
        server.await_log("the request has begun");
        server.graceful_stop();
        let answer = connection.receive();
        assert_eq!((answer.text(), answer.complete), ("begun ended", true), "{mpm:?}");
        server.await_end();
    }
}

#[test]
fn a_stop_in_the_middle_of_requests_ends_in_order() {
    for mpm in MPMS {
        let server = Server::builder_of(SLOW).mpm(mpm).start();
        let connections: Vec<Connection> = (0..3)
            .map(|_| {
                let mut connection = server.connect();
                connection.send(request("GET", "/", &[], b""));
                connection
            })
            .collect();
        server.await_log("the request has begun");
        let took = server.stop().took;
        assert!(took < Duration::from_secs(8), "{mpm:?} took {took:?}");
        drop(connections);
    }
}

#[test]
fn a_child_ends_after_its_number_of_connections_and_another_goes_on() {
    for mpm in MPMS {
        let server =
            Server::builder_of(ECHO_PATH).mpm(mpm).config("MaxConnectionsPerChild 10").start();
        for turn in 0..60 {
            let path = format!("/{turn}");
            assert_eq!(server.get(&path).text(), path, "{mpm:?}");
        }
        // httpd tells its children to stop by one byte each in a common pipe. While one is on its way out and the next
        // on its way in, the byte may go to the wrong one, and the other is only killed ten seconds later.
        let mut at_rest = (server.children(), Instant::now());
        wait_for("children at rest", || {
            let children = server.children();
            if children != at_rest.0 {
                at_rest = (children, Instant::now());
            }
            (at_rest.1.elapsed() > Duration::from_secs(1)).then_some(())
        });
    }
}

#[test]
fn a_child_that_is_killed_is_replaced() {
    let server = Server::builder_of(HELLO).expect_in_log("exit signal Killed").start();
    assert_eq!(server.get("/").text(), "hello\n");
    let child = server.child();
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    wait_for("another child", || {
        (!server.children().is_empty() && server.children() != [child]).then_some(())
    });
    assert_eq!(server.get("/").text(), "hello\n");
}

/// Registers what is to run at the end, in three interpreters.
fn with_exit(application: &str) -> Builder {
    Server::builder().app("app.wsgi", application).config(
        "
WSGIScriptAlias /one @apps@/app.wsgi
WSGIScriptAlias /two @apps@/app.wsgi
WSGIScriptAlias /main @apps@/app.wsgi application-group=%{GLOBAL}",
    )
}

const PATHS: [&str; 3] = ["/one", "/two", "/main"];

#[test]
fn exit_functions_run_in_every_interpreter() {
    for mpm in MPMS {
        let server = with_exit(
            "
import atexit, sys
def application(environ, start_response):
    name = environ['SCRIPT_NAME']
    atexit.register(lambda: print('exit of', name, file=sys.stderr, flush=True))
    start_response('200 OK', [])
    return [name.encode()]
",
        )
        .mpm(mpm)
        .children(1, 4)
        .start();
        for path in PATHS {
            // One child only, as far as the MPM has that.
            assert_eq!(server.get(path).text(), path);
        }
        let log = server.stop().error_log;
        for path in PATHS {
            assert!(log.contains(&format!("exit of {path}")), "{mpm:?}: {path}\n{log}");
        }
    }
}

#[test]
fn exit_functions_run_when_a_restart_ends_a_child() {
    let server = Server::of(
        "
import atexit, os, sys
atexit.register(lambda: print('exit of', os.getpid(), file=sys.stderr, flush=True))
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
",
    );
    let first = server.get("/").text().to_owned();
    server.graceful();
    server.await_log(&format!("exit of {first}"));
}

#[test]
fn exit_functions_that_fail_are_told_and_hurt_nobody() {
    let server = with_exit(
        "
import atexit, sys
def fail(): raise KeyError('at the end')
def leave(): raise SystemExit('at the end')
atexit.register(fail)
atexit.register(leave)
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['SCRIPT_NAME'].encode()]
",
    )
    .start();
    for path in PATHS {
        server.get(path);
    }
    let log = server.stop().error_log;
    assert!(log.contains("KeyError: 'at the end'"), "{log}");
}

/// Stops a server whose application will not end by itself; httpd may lose patience once, but must not kill.
fn stops_soon(application: &str) {
    for mpm in MPMS {
        let server = with_exit(application).mpm(mpm).expect_in_log("AH00045").start();
        for path in PATHS {
            assert_eq!(server.get(path).text(), path, "{mpm:?}");
        }
        let took = server.stop().took;
        assert!(took < Duration::from_secs(9), "{mpm:?} took {took:?}");
    }
}

#[test]
fn a_thread_that_never_ends_does_not_hang_the_stop() {
    stops_soon(
        "
import threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['SCRIPT_NAME'].encode()]
",
    );
}

#[test]
fn an_exit_function_that_never_ends_does_not_hang_the_stop() {
    stops_soon(
        "
import atexit, time
atexit.register(time.sleep, 1000)
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['SCRIPT_NAME'].encode()]
",
    );
}

#[test]
fn threads_that_still_run_at_the_end_do_not_crash_it() {
    let server_of = |mpm| {
        with_exit(
            "
import sys, threading, time
def busy():
    while True:
        sum(range(1000))
def sleepy():
    while True:
        time.sleep(0.0005)
def chatty():
    while True:
        print('still talking', file=sys.stderr)
        time.sleep(0.01)
for target in (busy, sleepy, chatty):
    threading.Thread(target=target, daemon=True).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['SCRIPT_NAME'].encode()]
",
        )
        .mpm(mpm)
        .expect_in_log("AH00045")
        .start()
    };
    for mpm in MPMS {
        let server = server_of(mpm);
        for path in PATHS {
            assert_eq!(server.get(path).text(), path, "{mpm:?}");
        }
        let took = server.stop().took;
        assert!(took < Duration::from_secs(9), "{mpm:?} took {took:?}");
    }
}

#[test]
fn requests_that_are_being_served_at_the_stop_do_not_crash_it() {
    let server = Server::builder_of(
        "
import time
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/sleep':
        time.sleep(1000)
    return endless()
def endless():
    while True:
        yield b'x'
",
    )
    // httpd waits for its request threads, and in the end kills the child.
    .expect_in_log("AH00045")
    .expect_in_log("AH00046")
    .start();
    let connections: Vec<Connection> = ["/sleep", "/", "/sleep", "/"]
        .iter()
        .map(|path| {
            let mut connection = server.connect();
            connection.send(request("GET", path, &[], b""));
            connection
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    let took = server.stop().took;
    assert!(took < Duration::from_secs(12), "took {took:?}");
    drop(connections);
}

#[test]
fn a_client_that_leaves_at_any_moment_leaves_nothing_behind() {
    let server = Server::builder_of(
        "
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    for turn in range(20):
        yield b'block' * 1000
",
    )
    .children(1, 4)
    .start();
    let whole = request("POST", "/", &[], &[b'x'; 5000]);
    for cut in (0..whole.len()).step_by(97) {
        let mut connection = server.connect();
        let _ = connection.try_send(&whole[..cut]);
    }
    for _ in 0..20 {
        let mut connection = server.connect();
        connection.send(&whole);
        connection.bytes(10);
    }
    assert_eq!(server.post("/", "x").body.len(), 100_000);
}

#[test]
fn threads_of_every_interpreter_are_waited_for() {
    let server = with_exit(
        "
import concurrent.futures, sys, threading, time
pool = concurrent.futures.ThreadPoolExecutor(2)
def finish():
    time.sleep(1.5)
    print('done in', group, file=sys.stderr)
def application(environ, start_response):
    global group
    group = environ['SCRIPT_NAME']
    pool.submit(time.sleep, 0.01)
    threading.Thread(target=finish, daemon=False).start()
    start_response('200 OK', [])
    return [b'']
",
    )
    .children(1, 4)
    .start();
    for path in PATHS {
        assert_eq!(server.get(path).status, 200);
    }
    let log = server.stop().error_log;
    for path in PATHS {
        assert!(log.contains(&format!("done in {path}")), "{path}\n{log}");
    }
}

#[test]
fn a_thread_inside_one_of_our_functions_does_not_crash_the_end() {
    let server = Server::of(
        "
import mod_wsgi, os, signal, sys, threading, time
class Slow:
    def read(self, size):
        time.sleep(0.0005)
        return b'x'
def lines():
    while True:
        time.sleep(0.0005)
        yield b'x'
for work in (lambda: sys.stderr.buffer.writelines(lines()), lambda: list(mod_wsgi.FileWrapper(Slow()))):
    threading.Thread(target=work, daemon=True).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'']
",
    );
    server.get("/");
    let before = server.runner();
    nix::sys::signal::kill(Pid::from_raw(server.parent()), Signal::SIGHUP).unwrap();
    wait_for("another process", || {
        let runners = server.runners();
        (!runners.is_empty() && !runners.contains(&before)).then_some(())
    });
    // A crash of the process that ended is in the log, where the harness finds it.
    server.get("/");
}
