//! New workers take over from those that were there, or do not.

use crate::harness::{READY, Supervised, group, lives, until};
use link::State;
use std::fs;
use std::path::Path;
use wire::control::Group;

#[test]
fn new_workers_take_over_when_all_of_them_are_ready_and_the_old_ones_leave() {
    let mut supervised = Supervised::of(group("g", 2), READY);
    let old = supervised.ready(2);
    let before = supervised.group().generation();
    supervised.behave("sleep 0.3\nready");
    supervised.run_again();
    until("new ones start", || (supervised.workers(State::Starting).len() == 2).then_some(()));
    assert_eq!(supervised.ready(2), old);
    until("they take over", || (supervised.group().generation() > before).then_some(()));
    until("the old leave", || (!old.iter().any(|pid| lives(*pid))).then_some(()));
    let new = supervised.ready(2);
    assert!(!new.iter().any(|pid| old.contains(pid)));
    assert!(supervised.heard(old[0]).contains("graceful_signal"));
    assert_eq!(supervised.group().failures(), 0);
}

#[test]
fn new_workers_load_what_the_old_ones_had_loaded_and_a_script_that_fails_keeps_the_old_ones() {
    let supervised = Supervised::of(group("g", 1), READY);
    let old = supervised.ready(1)[0];
    let (script, gone) = (supervised.directory.path().join("a.wsgi"), "/nowhere/b.wsgi");
    fs::write(&script, "").unwrap();
    let script = script.to_str().unwrap();
    supervised.order(old, &format!("loaded {script}"));
    supervised.order(old, &format!("loaded {gone}"));
    supervised.behave(&format!("touch begun\nready {script} -{gone}"));
    supervised.order(old, &format!("changed {script}"));
    until("a failure", || (supervised.group().failures() == 1).then_some(()));
    supervised.await_log("WSGI1016: process group 'g': generation 2 was given up");
    supervised.await_log(&format!("'{script}': SyntaxError"));
    until("it is told to keep", || supervised.heard(old).contains("(2, 0,").then_some(()));
    assert_eq!((supervised.group().generation(), supervised.ready(1)), (1, vec![old]));
    supervised.behave(READY);
    supervised.order(old, &format!("changed {script}"));
    until("the next takes over", || (supervised.group().generation() == 3).then_some(()));
    let new = supervised.ready(1)[0];
    let begin = supervised.heard(new);
    assert!(begin.contains("a.wsgi") && !begin.contains("b.wsgi"), "{begin}");
    until("the old leaves", || (!lives(old)).then_some(()));
    assert!(supervised.heard(old).contains("script_reload"));
}

#[test]
fn a_new_worker_that_dies_keeps_the_old_ones() {
    let mut supervised = Supervised::of(group("g", 2), READY);
    let old = supervised.ready(2);
    supervised.behave("exit 1");
    supervised.run_again();
    until("a failure", || (supervised.group().failures() == 1).then_some(()));
    assert_eq!(supervised.ready(2), old);
    supervised.await_log("WSGI1016");
    assert_eq!(supervised.group().trouble(), None);
}

#[test]
fn a_group_that_cannot_run_says_so_and_runs_when_it_can() {
    let broken = Group { unusable: Some((1003, "no engine".to_owned())), ..group("g", 1) };
    let mut supervised = Supervised::of(broken, READY);
    assert_eq!(until("trouble", || supervised.group().trouble()), (1003, 0));
    supervised.await_log("WSGI1003: process group 'g': no engine");
    supervised.run(vec![group("g", 1)]);
    supervised.ready(1);
    assert_eq!(supervised.group().trouble(), None);
}

#[test]
fn groups_come_and_go_and_keep_their_places() {
    let mut supervised = Supervised::new(READY);
    assert_eq!(supervised.run(vec![group("a", 1), group("b", 1)]), [0, 1]);
    let first = supervised.ready(1)[0];
    assert_eq!(supervised.run(vec![group("b", 1), group("c", 1)]), [1, 2]);
    until("the first ends", || (!lives(first)).then_some(()));
    // A place goes to another group only when there is no new one left, and waits for its own.
    assert_eq!(supervised.run(vec![group("d", 1), group("a", 1)]), [3, 0]);
    assert_ne!(supervised.ready(1)[0], first);
}

fn ctl(supervised: &Supervised, words: &[&str]) -> String {
    let socket = supervised.sockets().join("rustgi.control");
    crate::operators::ctl(&[Path::new("--socket"), &socket], words).0
}

#[test]
fn an_operator_sees_the_workers_and_replaces_them() {
    let supervised = Supervised::of(group("site", 1), READY);
    let old = supervised.ready(1)[0];
    let table = ctl(&supervised, &["status"]);
    assert!(table.contains(&format!("site   1           {old}")), "{table}");
    assert!(table.contains("ready"), "{table}");
    assert_eq!(ctl(&supervised, &["reload", "other"]), "rustgi: no such group\n");
    assert_eq!(ctl(&supervised, &["reload", "site"]), "reloading 1\n");
    until("the old leaves", || (!lives(old)).then_some(()));
    supervised.behave("exit 1");
    ctl(&supervised, &["reload"]);
    until("a failure", || (supervised.group().failures() == 1).then_some(()));
    let table = ctl(&supervised, &["status"]);
    assert!(table.contains("WSGI1016") || table.contains("WSGI1018"), "{table}");
}
