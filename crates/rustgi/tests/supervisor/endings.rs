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
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let now = supervised.ready(2);
    assert!(!now.contains(&ready[0]) && now.contains(&ready[1]));
    supervised.await_log("WSGI1018: process group 'g': worker");
    supervised.await_log("was ended by SIGKILL");
    assert_eq!(supervised.group().trouble(), None);
}

#[test]
fn workers_that_never_get_ready_are_started_again_ever_more_seldom_and_requests_are_told() {
    let supervised = Supervised::of(group("g", 1), "exit 3");
    let (code, retry) = until("trouble", || supervised.group().trouble());
    assert_eq!(code, 1017);
    assert!(retry.abs_diff(link::milliseconds()) < 60_000, "{retry}");
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
        // Sooner than the shutdown-timeout and what is added to it.
        assert!(time < Duration::from_secs(2), "{time:?}");
        assert!(!ready.iter().any(|pid| lives(*pid)));
        assert!(!sockets.exists());
        for pid in ready {
            assert!(supervised.heard(pid).contains("shutdown_signal"), "{}", supervised.heard(pid));
        }
        assert!(!supervised.log().contains("WSGI1"), "{}", supervised.log());
    }
}

#[test]
fn all_end_when_the_server_was_killed_even_if_somebody_else_holds_its_end_of_the_channel() {
    let mut supervised = Supervised::by_a_shell(READY);
    supervised.run(vec![group("g", 1)]);
    let ready = supervised.ready(1);
    let supervisor = supervised.board.supervisor();
    supervised.process.kill().unwrap();
    supervised.process.wait().unwrap();
    until("all end", || (!lives(supervisor) && !lives(ready[0])).then_some(()));
    assert!(!supervised.log().contains("WSGI1"), "{}", supervised.log());
}

#[test]
fn a_new_supervisor_takes_the_place_of_one_that_was_killed() {
    let mut supervised = Supervised::new(READY);
    supervised.run(vec![group("a", 1), group("b", 1)]);
    let first = supervised.ready(1);
    let number = supervised.workers(State::Ready)[0].1;
    let (generation, left) = (supervised.group().generation(), supervised.sockets());
    supervised.process.kill().unwrap();
    supervised.process.wait().unwrap();
    supervised.start_again();
    assert_eq!(supervised.run(vec![group("b", 1), group("a", 1)]), [1, 0]);
    let now = until("a new worker", || {
        supervised.workers(State::Ready).pop().filter(|(_, _, pid)| *pid != first[0])
    });
    assert!(now.1 > number && supervised.group().generation() > generation);
    assert!(!left.exists());
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
fn a_supervisor_whose_poll_fails_goes_on_and_replaces_workers() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let supervised = Supervised::of(group("g", 2), READY);
    let first = supervised.ready(2)[0];
    let supervisor = Pid::from_raw(supervised.process.id() as i32);
    // poll fails if it gets more descriptors than the process may open.
    let few = Rlimit { current: Some(2), maximum: Some(4096) };
    let before = prlimit(supervisor, Resource::Nofile, few).unwrap();
    // An event that wakes it and has no other effect.
    signal(supervised.process.id(), Signal::SIGHUP);
    supervised.await_log("WSGI1010: the supervisor cannot wait for events");
    let many = Rlimit { current: before.maximum.map(|most| most.min(4096)), maximum: Some(4096) };
    prlimit(supervisor, Resource::Nofile, many).unwrap();
    signal(first, Signal::SIGKILL);
    supervised.cause(first);
    assert!(!supervised.ready(2).contains(&first));
}

#[test]
fn a_worker_that_takes_too_long_to_get_ready_is_cut_off_and_replaced() {
    let slow = Group { startup_timeout: 1, ..group("g", 1) };
    let supervised = Supervised::of(slow, "deaf");
    supervised.await_log("was ended because its startup-timeout was over");
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
    // By the log: on a busy machine this test may look too seldom.
    let log = supervised.log();
    let starts: Vec<&str> = log.lines().filter(|line| line.contains("was started")).collect();
    let time = |line: &str| line.split(&[' ', ':'][..]).nth(5).unwrap().parse::<f64>().unwrap();
    let apart = (time(starts[7]) - time(starts[4])).rem_euclid(60.0);
    assert!(apart > 0.05, "{log}");
    assert!(log.contains("restart_interval"), "{log}");
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

#[test]
fn a_worker_that_talks_nonsense_is_ended_and_replaced() {
    let supervised = Supervised::of(group("g", 1), READY);
    let first = supervised.ready(1)[0];
    supervised.order(first, "garbage");
    supervised.cause(first);
    assert_ne!(supervised.ready(1)[0], first);
    supervised.await_log("WSGI1022: process group 'g': worker");
}

#[test]
fn a_worker_that_talks_much_is_heard_to_the_end() {
    let supervised = Supervised::of(group("g", 1), READY);
    let first = supervised.ready(1)[0];
    supervised.order(first, "flood 3000");
    supervised.order(first, "replace maximum_requests");
    until("it ends", || (!lives(first)).then_some(()));
    supervised.await_log("maximum_requests");
}

#[test]
fn sigusr1_to_the_supervisor_replaces_all_with_a_patience_of_its_own() {
    let supervised = Supervised::of(Group { eviction_timeout: 7, ..group("g", 1) }, READY);
    let first = supervised.ready(1)[0];
    signal(supervised.process.id(), Signal::SIGHUP);
    signal(supervised.process.id(), Signal::SIGUSR1);
    until("it ends", || (!lives(first)).then_some(()));
    assert!(supervised.heard(first).contains("eviction_signal"), "{}", supervised.heard(first));
    assert_eq!(supervised.group().generation(), 2);
}

#[test]
fn the_channel_ends_when_the_last_worker_has_ended() {
    let mut supervised = Supervised::of(group("g", 1), "ready\ndeaf");
    let ready = supervised.ready(1)[0];
    supervised.stop();
    supervised.await_silence();
    assert!(!lives(ready));
}

#[test]
fn another_supervisor_begins_at_once_beside_one_that_understands_nothing_any_more() {
    let mut supervised = Supervised::of(group("g", 1), "ready\ndeaf");
    let old = supervised.ready(1)[0];
    supervised.talk_nonsense();
    supervised.await_silence();
    supervised.await_log("WSGI1022");
    assert!(lives(old));
    supervised.behave(READY);
    supervised.start_again();
    supervised.run_again();
    let new = until("a new worker", || {
        supervised.workers(State::Ready).pop().map(|(_, _, pid)| pid).filter(|pid| *pid != old)
    });
    until("the old one ends", || (!lives(old)).then_some(()));
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(supervised.ready(1), [new]);
}
