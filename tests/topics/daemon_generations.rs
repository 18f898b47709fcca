//! Daemon processes that are replaced under load: by `graceful`, by a changed script, by a number of requests, by time and by
//! signals. No request is lost, and there is no moment without answers.

use crate::harness::{Builder, Load, Server, Tally, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// Takes two milliseconds, and says which process and which version of the code it is.
const APPLICATION: &str = "
import os, time
VERSION = 'one'

def application(environ, start_response):
    if environ['QUERY_STRING']:
        with open(os.path.dirname(__file__) + '/../run/long', 'a') as file:
            print('begun', file=file)
    time.sleep(float(environ['QUERY_STRING'] or 0.002))
    body = b'version %s process %d end' % (VERSION.encode(), os.getpid())
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body]
";

fn builder(options: &str) -> Builder {
    Server::builder_of(APPLICATION).daemon(&format!("site {options}")).children(2, 10)
}

/// Waits until the application has begun so many requests that it is to take its time for.
#[track_caller]
fn await_long_requests(server: &Server, count: usize) {
    wait_for("long requests", || {
        let begun = fs::read_to_string(server.root().join("run/long")).unwrap_or_default();
        (begun.lines().count() >= count).then_some(())
    });
}

/// Writes another version of the application.
fn deploy(server: &Server, version: &str) {
    let source = APPLICATION.replace("'one'", &format!("'{version}'"));
    fs::write(server.root().join("apps/app.wsgi"), source).unwrap();
}

#[track_caller]
fn lost_nothing(tally: &Tally, longest: Duration) {
    assert!(tally.failed.is_empty(), "of {}: {:?}", tally.answers.len(), tally.failed);
    let gap = tally.longest_gap();
    assert!(gap <= longest, "for {gap:?} there was no answer");
}

fn graceful(times: usize, longest: Duration) {
    let server = builder("threads=4").start();
    let tally = Load::of(&server).expect("end").while_doing(|progress| {
        for _ in 0..times {
            server.graceful();
            progress.more(20);
        }
    });
    println!(
        "{times} times graceful: {} requests, {} failed, longest gap {:?}",
        tally.answers.len(),
        tally.failed.len(),
        tally.longest_gap()
    );
    lost_nothing(&tally, longest);
    wait_for("the replaced workers to leave", || (server.workers().len() == 1).then_some(()));
}

/// Machines on which the tests run at the same time are slow now and then; the long forms run alone.
const LENIENT: Duration = Duration::from_secs(2);

#[test]
fn ten_graceful_restarts_lose_no_request() {
    graceful(10, LENIENT);
}

#[test]
#[ignore = "takes minutes"]
fn two_hundred_graceful_restarts_lose_no_request_and_leave_no_gap() {
    graceful(200, Duration::from_millis(200));
}

/// Changes the script so many times, a quarter of a second after the one before was served.
fn touches(processes: usize, times: usize, longest: Duration) -> (Tally, Tally) {
    let server = builder(&format!("processes={processes} threads=4")).start();
    let load = Load::of(&server).expect("end");
    let quiet = load.run(Duration::from_secs(2));
    let tally = load.while_doing(|progress| {
        for number in 0..times {
            let version = format!("touched{number}");
            deploy(&server, &version);
            // One request notices and waits; as long as it does, others get what is there.
            let is_there = || server.get("/").text().contains(&version).then_some(());
            wait_for("the new version", is_there);
            std::thread::sleep(Duration::from_millis(250));
            progress.more(20);
        }
    });
    println!(
        "{times} touches, {processes} processes: {} requests, {} failed, longest gap {:?}, rate {:.0} of {:.0} per second",
        tally.answers.len(),
        tally.failed.len(),
        tally.longest_gap(),
        tally.rate(),
        quiet.rate(),
    );
    lost_nothing(&tally, longest);
    (quiet, tally)
}

#[test]
fn a_changed_script_is_served_at_once_and_no_request_is_lost() {
    for processes in [1, 3] {
        touches(processes, 5, LENIENT);
    }
}

#[test]
fn the_request_after_a_change_gets_the_new_code() {
    let server = builder("processes=2 threads=4").start();
    for number in 0..5 {
        for _ in 0..4 {
            server.get("/");
        }
        let version = format!("changed{number}");
        deploy(&server, &version);
        let text = server.get("/").text().to_owned();
        assert!(text.contains(&version), "{text} after {version}");
    }
}

#[test]
#[ignore = "takes minutes"]
fn a_hundred_touches_lose_no_request_and_stall_nobody() {
    for processes in [1, 3] {
        let (quiet, touched) = touches(processes, 100, Duration::from_millis(100));
        let kept = touched.rate() / quiet.rate();
        assert!(kept >= 0.9, "{kept:.2} of the rate is left with {processes} processes");
    }
}

#[test]
fn code_that_breaks_does_not_replace_code_that_works() {
    let server = builder("processes=2 threads=4").start();
    // In both of them there is something that works.
    let mut working = std::collections::BTreeSet::new();
    wait_for("both workers", || {
        let text = server.get("/").text().to_owned();
        assert!(text.contains("version one"), "{text}");
        working.insert(text);
        (working.len() == 2).then_some(())
    });
    let tally = Load::of(&server).expect("version one").while_doing(|progress| {
        fs::write(server.root().join("apps/app.wsgi"), "import no_such_module_anywhere\n").unwrap();
        progress.more(200);
        server.await_log("no_such_module_anywhere");
        progress.more(200);
    });
    lost_nothing(&tally, LENIENT);
    deploy(&server, "mended");
    let mended = || server.get("/").text().contains("version mended").then_some(());
    wait_for("the mended code", mended);
}

/// Writes a script that is not one of the versions of the application.
fn write(server: &Server, source: &str) {
    fs::write(server.root().join("apps/app.wsgi"), source).unwrap();
}

#[test]
fn code_without_a_callable_does_not_replace_code_that_works() {
    let server = builder("threads=4").start();
    assert!(server.get("/").text().contains("version one"));
    let tally = Load::of(&server).expect("version one").while_doing(|progress| {
        write(&server, "VERSION = 'none'\n");
        let missing = "does not contain WSGI application 'application'";
        let line = server.await_log("generation 2 was given up");
        assert!(line.contains(missing), "{line}");
        progress.more(50);
        write(&server, "application = 'it is text'\n");
        let line = server.await_log("generation 3 was given up");
        assert!(line.contains("cannot be called: it is of type str"), "{line}");
        progress.more(50);
        server.graceful();
        let line = server.await_log("generation 4 was given up");
        assert!(line.contains("WSGI0089"), "{line}");
        progress.more(50);
    });
    lost_nothing(&tally, LENIENT);
    deploy(&server, "mended");
    let mended = || server.get("/").text().contains("version mended").then_some(());
    wait_for("the mended code", mended);
}

#[test]
fn a_callable_that_is_renamed_in_script_and_configuration_is_found() {
    for reloading in ["On", "Off"] {
        let server = builder("threads=4")
            .config(&format!("WSGIScriptReloading {reloading}\nWSGICallableObject application"))
            .start();
        assert!(server.get("/").text().contains("version one"));
        let source = APPLICATION.replace("'one'", "'two'").replace("def application", "def other");
        write(&server, &source);
        let file = server.root().join("httpd.conf");
        let before = fs::read_to_string(&file).unwrap();
        let after = before.replace("WSGICallableObject application", "WSGICallableObject other");
        fs::write(&file, after).unwrap();
        server.graceful();
        wait_for("the other callable", || {
            server.get("/").text().contains("version two").then_some(())
        });
        assert!(!server.error_log().contains("does not contain WSGI application 'application'"));
    }
}

/// An import that does not end until the test lets it.
const STUCK: &str = "
import os, time
def wait_for_the_test():
    while not os.path.exists('@root@/run/enough'):
        time.sleep(0.01)
wait_for_the_test()
";

fn stuck(server: &Server) -> String {
    STUCK.replace("@root@", server.root().to_str().unwrap())
}

#[test]
fn an_import_that_never_ends_is_in_the_log_with_its_stack_and_gives_way_to_newer_code() {
    let server = builder("processes=2 threads=4").start();
    let mut both = std::collections::BTreeSet::new();
    wait_for("both workers", || {
        both.insert(server.get("/").text().to_owned());
        (both.len() == 2).then_some(())
    });
    std::thread::scope(|scope| {
        write(&server, &stuck(&server));
        let waiting = scope.spawn(|| server.get("/").text().to_owned());
        let line = server.await_log("WSGI1071");
        assert!(line.contains("/apps/app.wsgi' has been loading for"), "{line}");
        assert!(line.contains("startup-timeout is 60"), "{line}");
        server.await_log("in wait_for_the_test");
        // Only one request waits for the new workers, in whichever worker it is.
        for _ in 0..20 {
            assert!(server.get("/").text().contains("version one"));
        }
        assert!(!waiting.is_finished());
        let begun = Instant::now();
        deploy(&server, "two");
        let there = || server.get("/").text().contains("version two").then_some(());
        wait_for("the newer code", there);
        println!("the newer code after {:?}", begun.elapsed());
        assert!(waiting.join().unwrap().contains("version one"));
    });
    let line = server.await_log("generation 2 was given up for a newer one");
    assert!(line.contains("it was still loading '") && line.contains("/apps/app.wsgi'"), "{line}");
}

#[test]
fn graceful_replaces_a_generation_whose_import_never_ends() {
    let server = builder("threads=4").start();
    assert!(server.get("/").text().contains("version one"));
    write(&server, &stuck(&server));
    server.graceful();
    server.await_log("WSGI1071");
    deploy(&server, "two");
    server.graceful();
    server.await_log("generation 2 was given up for a newer one");
    let there = || server.get("/").text().contains("version two").then_some(());
    wait_for("the newer code", there);
}

#[test]
fn startup_timeout_gives_a_generation_up_and_the_request_that_waits_gets_the_old_code() {
    let server = builder("threads=4 startup-timeout=7").start();
    assert!(server.get("/").text().contains("version one"));
    write(&server, &stuck(&server));
    assert!(server.get("/").text().contains("version one"));
    let line = server.await_log("generation 2 was given up");
    assert!(line.contains("it was still loading '") && line.contains("/apps/app.wsgi'"), "{line}");
    assert!(line.contains("startup-timeout=7 has expired"), "{line}");
    let line = server.await_log("WSGI1072");
    assert!(line.contains("startup-timeout=7: '"), "{line}");
}

#[test]
fn requests_that_take_seconds_outlive_a_touch_and_a_graceful_restart() {
    let server = builder("threads=4").start();
    std::thread::scope(|scope| {
        let slow: Vec<_> = (0..3).map(|_| scope.spawn(|| server.get("/?2"))).collect();
        await_long_requests(&server, 3);
        deploy(&server, "two");
        assert!(server.get("/").text().contains("version two"));
        server.graceful();
        for request in slow {
            let answer = request.join().unwrap();
            assert!(answer.complete && answer.text().contains("version one"), "{answer:?}");
        }
    });
}

#[test]
fn a_stop_waits_for_requests_no_longer_than_the_timeouts_say() {
    let server = builder("threads=4 shutdown-timeout=2").expect_in_log("AH00045").start();
    server.get("/");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = server.connect();
            connection.send("GET /?40 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            connection.rest();
        });
        await_long_requests(&server, 1);
        server.signal(Signal::SIGTERM);
    });
    let took = server.stop().took;
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[test]
fn processes_that_reach_their_number_of_requests_are_replaced_without_loss() {
    let server = builder("threads=4 maximum-requests=50").start();
    let first = server.worker();
    let tally = Load::of(&server).expect("end").while_doing(|progress| progress.more(600));
    lost_nothing(&tally, LENIENT);
    wait_for("another worker", || (!server.workers().contains(&first)).then_some(()));
    assert!(
        server.error_log().contains("maximum_requests")
            || server.error_log().contains("aximum requests")
    );
}

#[test]
fn processes_that_reach_their_age_are_replaced_without_loss() {
    let server = builder("threads=4 restart-interval=1").start();
    let first = server.worker();
    let tally =
        Load::of(&server).expect("end").while_doing(|_| std::thread::sleep(Duration::from_secs(4)));
    lost_nothing(&tally, LENIENT);
    assert!(!server.workers().contains(&first));
}

#[test]
fn a_worker_that_is_told_to_go_is_replaced_without_loss() {
    for signal in [Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGINT] {
        let server = builder("processes=2 threads=4").start();
        server.get("/");
        let tally = Load::of(&server).expect("end").while_doing(|progress| {
            for _ in 0..3 {
                let all = wait_for("two workers", || {
                    let all = server.workers();
                    (all.len() == 2).then_some(all)
                });
                kill(Pid::from_raw(all[0]), signal).unwrap();
                wait_for("it to leave", || (!server.workers().contains(&all[0])).then_some(()));
                progress.more(50);
            }
        });
        assert!(tally.failed.is_empty(), "{signal}: {:?}", tally.failed);
    }
}

#[test]
fn after_a_graceful_restart_the_new_configuration_serves() {
    let server = Server::builder_of(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return [repr((environ['wsgi.multithread'], environ['wsgi.multiprocess'])).encode()]
",
    )
    .daemon("site threads=4")
    .start();
    assert_eq!(server.get("/").text(), "(True, False)");
    let file = server.root().join("httpd.conf");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, before.replace("site threads=4", "site threads=1 processes=1")).unwrap();
    server.graceful();
    let begun = Instant::now();
    wait_for("the new group", || (server.get("/").text() == "(False, True)").then_some(()));
    println!("in force after {:?}", begun.elapsed());
}

#[test]
fn a_group_that_is_gone_from_the_configuration_leaves_no_process() {
    let server = builder("threads=4 graceful-timeout=1").start();
    server.get("/");
    let file = server.root().join("httpd.conf");
    let before = fs::read_to_string(&file).unwrap();
    let without: String = before
        .lines()
        .filter(|line| {
            !line.starts_with("WSGIDaemonProcess") && !line.starts_with("WSGIProcessGroup")
        })
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&file, without).unwrap();
    server.graceful();
    wait_for("the request to be served embedded", || (server.get("/").status == 200).then_some(()));
    wait_for("the workers to leave", || server.workers().is_empty().then_some(()));
}

#[test]
fn restarts_that_follow_each_other_at_once_are_survived() {
    let server = Server::builder_of(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'end']\n",
    )
    .daemon("site threads=2")
    .start();
    for round in 0..100 {
        server.signal(Signal::SIGUSR1);
        std::thread::sleep(Duration::from_millis(10 + round % 7 * 9));
    }
    assert_eq!(server.get("/").text(), "end");
}
