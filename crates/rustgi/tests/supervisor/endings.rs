//! Workers that die, are killed, or are to end; and the end of the supervisor itself.

use crate::harness::{READY, Supervised, group, lives, until};
use link::{Cause, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};
use wire::control::{Group, Worker};

fn signal(pid: u32, which: Signal) {
    kill(Pid::from_raw(pid as i32), which).unwrap();
}

#[test]
fn a_worker_that_is_killed_is_replaced_at_once_and_the_board_says_how_it_ended() {
    let supervised = Supervised::of(group("g", 2), READY);
    let ready = supervised.ready(2);
    // Dying at once would be taken for trouble.
    std::thread::sleep(Duration::from_millis(1100));
    signal(ready[0], Signal::SIGKILL);
    let start = Instant::now();
    assert_eq!(supervised.cause(ready[0]), Cause::Signal(9));
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    let now = supervised.ready(2);
    assert!(!now.contains(&ready[0]) && now.contains(&ready[1]));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    supervised.await_log("WSGI1018: process group 'g': worker");
    supervised.await_log("was ended by SIGKILL");
    assert_eq!(supervised.group().trouble(), None);
}

#[test]
fn workers_that_never_get_ready_are_started_again_ever_more_seldom_and_requests_are_told() {
    let supervised = Supervised::of(group("g", 1), "exit 3");
    let (code, retry) = until("trouble", || supervised.group().trouble());
    assert_eq!(code, 1017);
    assert!(retry > 1_700_000_000_000);
    supervised.await_log("ended with exit code 3");
    let starts = || supervised.log().matches("was started").count();
    until("four starts", || (starts() >= 4).then_some(()));
    let before = starts();
    std::thread::sleep(Duration::from_millis(700));
    assert!(starts() <= before + 1, "{}", supervised.log());
    supervised.behave(READY);
    supervised.ready(1);
    assert_eq!(supervised.group().trouble(), None);
}

#[test]
fn nobody_outlives_a_supervisor_that_was_killed() {
    let mut supervised = Supervised::of(group("g", 3), READY);
    let ready = supervised.ready(3);
    supervised.process.kill().unwrap();
    supervised.process.wait().unwrap();
    let start = Instant::now();
    until("they end", || (!ready.iter().any(|pid| lives(*pid))).then_some(()));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn all_end_in_order_when_the_server_says_so_or_is_gone_or_a_signal_does() {
    let ends: [fn(&mut Supervised); 3] = [Supervised::stop, Supervised::hang_up, |supervised| {
        signal(supervised.process.id(), Signal::SIGTERM)
    }];
    for end in ends {
        let mut supervised = Supervised::of(group("g", 2), READY);
        let ready = supervised.ready(2);
        let sockets = supervised.sockets();
        assert!(sockets.exists());
        end(&mut supervised);
        let time = supervised.await_end();
        assert!(time < Duration::from_secs(1), "{time:?}");
        assert!(!ready.iter().any(|pid| lives(*pid)));
        assert!(!sockets.exists());
        for pid in ready {
            assert!(supervised.heard(pid).contains("shutdown_signal"), "{}", supervised.heard(pid));
        }
        assert!(!supervised.log().contains("WSGI1"), "{}", supervised.log());
    }
}

#[test]
fn who_does_not_end_in_time_is_killed_and_the_log_names_the_timer() {
    let mut supervised = Supervised::of(group("g", 1), "ready\ndeaf");
    let ready = supervised.ready(1);
    supervised.stop();
    let time = supervised.await_end();
    assert!(time > Duration::from_millis(1900) && time < Duration::from_secs(4), "{time:?}");
    assert!(!lives(ready[0]));
    supervised.await_log("WSGI1020: process group 'g': worker");
    supervised.await_log("was ended because its shutdown-timeout was over");
}

#[test]
fn a_worker_that_takes_too_long_to_get_ready_is_cut_off_and_replaced() {
    let slow = Group { startup_timeout: 1, ..group("g", 1) };
    let supervised = Supervised::of(slow, "deaf");
    supervised.await_log("was ended because its startup-timeout was over");
    until("trouble", || supervised.group().trouble());
    supervised.behave(READY);
    supervised.ready(1);
}

#[test]
fn a_worker_that_wants_to_be_replaced_serves_until_another_one_is_ready() {
    let supervised = Supervised::of(group("g", 1), READY);
    let first = supervised.ready(1)[0];
    supervised.behave("sleep 0.3\nready");
    supervised.order(first, "replace maximum_requests");
    until("another is started", || supervised.workers(State::Starting).pop());
    assert_eq!(supervised.workers(State::Ready)[0].2, first);
    until("it leaves", || (!lives(first)).then_some(()));
    assert_ne!(supervised.ready(1)[0], first);
    assert!(supervised.heard(first).contains("maximum_requests"));
    assert!(!supervised.log().contains("WSGI1"), "{}", supervised.log());
}

#[test]
fn workers_are_replaced_when_they_are_old_enough_and_not_all_together() {
    let short = Group { restart_interval: 2, ..group("g", 4) };
    let supervised = Supervised::of(short, READY);
    let first = supervised.ready(4);
    let start = Instant::now();
    let mut ends = Vec::new();
    let mut left = first;
    until("all are replaced", || {
        let gone = left.iter().filter(|pid| !lives(**pid)).count();
        ends.extend((0..gone).map(|_| start.elapsed()));
        left.retain(|pid| lives(*pid));
        left.is_empty().then_some(())
    });
    assert!(ends[0] > Duration::from_millis(1700), "{ends:?}");
    assert!(ends[3] - ends[0] > Duration::from_millis(50), "{ends:?}");
    assert!(supervised.log().contains("restart_interval"));
}

#[test]
fn a_service_script_is_started_again_a_second_later_and_serves_no_requests() {
    let service = Worker { threads: 0, ..Worker::default() };
    let supervised = Supervised::of(Group { worker: service, ..group("s", 1) }, "exit 0");
    let start = Instant::now();
    let starts = || supervised.log().matches("was started").count();
    until("three starts", || (starts() >= 3).then_some(()));
    let time = start.elapsed();
    assert!(time > Duration::from_millis(1800) && time < Duration::from_secs(4), "{time:?}");
    assert_eq!(supervised.group().trouble(), Some((1021, 0)));
    assert!(supervised.workers(State::Ready).is_empty());
    assert!(!supervised.log().contains("WSGI1"), "{}", supervised.log());
}
