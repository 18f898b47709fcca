//! Generations: when they take over, and when not.

use super::*;

#[test]
fn the_first_workers_serve_one_by_one_even_with_scripts_that_fail() {
    let mut stage = Stage::new(group(2));
    assert_eq!(stage.done(), ["switch to 1", "start 1 of 1", "start 2 of 1"]);
    stage.fails(2, "a");
    assert_eq!(stage.done(), ["serve 2"]);
    stage.fails(1, "a");
    assert_eq!(stage.done(), ["serve 1"]);
}

#[test]
fn a_generation_takes_over_when_all_are_ready() {
    let mut stage = Stage::ready(group(2));
    stage.act(|crew, now| crew.configure(now, Rc::new(group(3))));
    assert_eq!(stage.done(), ["start 3 of 2", "start 4 of 2", "start 5 of 2"]);
    stage.is_ready(3);
    stage.is_ready(5);
    assert!(stage.done().is_empty());
    stage.is_ready(4);
    let expected = ["serve 3", "serve 4", "serve 5", "switch to 2"];
    let leave = ["dismiss 1 graceful_signal 15", "dismiss 2 graceful_signal 15"];
    assert_eq!(stage.done(), [&expected[..], &leave].concat());
    stage.dies(1);
    stage.dies(2);
    assert!(stage.done().is_empty());
}

#[test]
fn a_generation_loads_what_was_loaded_and_is_still_there() {
    let mut stage = Stage::ready(group(1));
    for path in ["a", "gone", "b", "a"] {
        stage.act(|crew, _| crew.loaded(script(path)));
    }
    for many in 0..100 {
        stage.act(|crew, _| crew.loaded(script(&format!("s{many}"))));
        stage.files.insert(format!("s{many}").into(), 1);
    }
    stage.files.extend([(b"a".to_vec(), 1), (b"b".to_vec(), 1)]);
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    let Some(Action::Start { scripts, .. }) = stage.done.last() else { panic!("none started") };
    assert!(scripts.contains(&script("gone")));
    // The supervisor examines no files; the worker that tried to load it reports that it does not exist.
    stage.is_ready(2);
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    let Some(Action::Start { scripts, .. }) = stage.done.last() else { panic!("none started") };
    assert_eq!(scripts[..3], [script("a"), script("b"), script("s0")]);
    assert_eq!(scripts.len(), 64);
}

#[test]
fn a_changed_script_that_fails_keeps_the_old_ones_and_is_tried_when_it_changes_again() {
    let mut stage = Stage::ready(group(2));
    stage.changed(1, "a", 1);
    assert_eq!(stage.done(), ["expect 2 a", "start 3 of 2", "start 4 of 2"]);
    // The other old worker has found the same change.
    stage.changed(2, "a", 1);
    assert_eq!(stage.done(), ["expect 1 a"]);
    stage.fails(3, "a");
    let keep = ["keep 1 a", "keep 2 a", "refuse 2"];
    let gone = ["dismiss 3 script_reload 15", "dismiss 4 script_reload 0"];
    assert_eq!(stage.done(), [&keep[..], &gone].concat());
    stage.changed(1, "a", 2);
    assert_eq!(stage.done(), ["expect 2 a", "start 5 of 3", "start 6 of 3"]);
    stage.all_ready();
    assert_eq!(stage.living(), [5, 6]);
}

#[test]
fn a_script_that_changes_again_meanwhile_makes_another_generation() {
    let mut stage = Stage::ready(group(1));
    stage.changed(1, "a", 1);
    stage.changed(1, "a", 2);
    stage.done();
    // It had been loaded before it changed again.
    stage.files.insert(b"a".to_vec(), 1);
    stage.is_ready(2);
    let expected = ["serve 2", "switch to 2", "dismiss 1 script_reload 15", "start 3 of 3"];
    assert_eq!(stage.done(), expected);
    // Those that leave have nothing to say any more.
    stage.changed(1, "a", 3);
    assert!(stage.done().is_empty());
}

#[test]
fn what_failed_before_is_no_reason_to_keep_the_old_ones() {
    let mut stage = Stage::new(group(1));
    stage.fails(1, "a");
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    stage.fails(2, "a");
    assert_eq!(stage.crew.generation(), 2);
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    stage.fails(3, "b");
    assert_eq!(stage.crew.generation(), 2);
}

#[test]
fn a_generation_of_which_one_dies_or_leaves_is_given_up() {
    for leaves in [false, true] {
        let mut stage = Stage::ready(group(2));
        stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
        stage.is_ready(3);
        stage.done();
        if leaves {
            stage.act(|crew, now| crew.leaving(now, 3, "x".to_owned()));
            assert_eq!(stage.done()[..2], ["leaving 3", "refuse 2"]);
        } else {
            stage.dies(4);
            assert_eq!(stage.done(), ["refuse 2", "dismiss 3 graceful_signal 15"]);
        }
        assert_eq!(stage.in_phase(|phase| phase != Phase::Leaving), [1, 2]);
        stage.pass(60.0);
        assert_eq!(stage.crew.generation(), 1);
    }
}

#[test]
fn wishes_during_a_generation_are_granted_together_after_it() {
    let mut stage = Stage::ready(group(1));
    for _ in 0..5 {
        stage.act(|crew, now| crew.configure(now, Rc::new(group(1))));
    }
    assert_eq!(stage.done(), ["start 2 of 2"]);
    stage.is_ready(2);
    stage.is_ready(3);
    assert_eq!(stage.living(), [3]);
    assert_eq!(stage.crew.generation(), 3);
}

#[test]
fn wishes_before_anybody_is_ready_do_not_end_the_first_ones() {
    let mut stage = Stage::new(group(1));
    stage.act(|crew, now| crew.configure(now, Rc::new(group(1))));
    assert_eq!(stage.done(), ["switch to 1", "start 1 of 1"]);
    stage.is_ready(1);
    assert_eq!(stage.done(), ["serve 1", "start 2 of 2"]);
    let mut stage = Stage::new(group(1));
    stage.act(|crew, now| crew.configure(now, Rc::new(group(1))));
    stage.dies(1);
    assert_eq!(stage.done()[2..], ["switch to 2", "start 2 of 2"]);
}

#[test]
fn another_configuration_overrides_the_generation_under_way() {
    let mut stage = Stage::ready(group(1));
    stage.changed(1, "a", 1);
    stage.done();
    stage.act(|crew, now| crew.configure(now, Rc::new(group(2))));
    let expected = ["dismiss 2 graceful_signal 0", "start 3 of 3", "start 4 of 3"];
    assert_eq!(stage.done(), expected);
    stage.fails(3, "a");
    assert!(stage.done().contains(&"keep 1 a".to_owned()));
}

#[test]
fn the_generation_under_way_serves_at_once_when_nobody_else_does() {
    let mut stage = Stage::ready(group(2));
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    stage.is_ready(3);
    stage.done();
    stage.dies(1);
    assert!(stage.done().is_empty());
    stage.dies(2);
    assert_eq!(stage.done(), ["serve 3", "switch to 2"]);
    stage.is_ready(4);
    assert_eq!(stage.done(), ["serve 4"]);
}

#[test]
fn a_group_that_cannot_run_leaves_those_alone_that_do() {
    let unusable = Group { unusable: Some((1003, "x".to_owned())), ..group(1) };
    let mut stage = Stage::new(unusable.clone());
    assert_eq!(stage.done(), ["switch to 1", "refuse 1", "trouble 1003"]);
    stage.act(|crew, now| crew.configure(now, Rc::new(group(1))));
    assert_eq!(stage.done(), ["switch to 2", "start 1 of 2", "no trouble"]);
    stage.is_ready(1);
    stage.done();
    stage.act(|crew, now| crew.configure(now, Rc::new(unusable)));
    assert_eq!(stage.done(), ["refuse 3"]);
    assert_eq!(stage.living(), [1]);
}

#[test]
fn a_generation_that_never_gets_ready_gives_way_to_the_next() {
    let mut stage = Stage::ready(group(1));
    stage.changed(1, "a", 1);
    assert_eq!(stage.done(), ["start 2 of 2"]);
    stage.pass(3.0);
    // The mistake is mended; the worker with it might still get ready.
    stage.changed(1, "a", 2);
    assert!(stage.done().is_empty());
    stage.pass(2.0);
    let given_up = ["keep 1 a", "refuse 2", "dismiss 2 script_reload 0"];
    assert_eq!(stage.done(), [&given_up[..], &["start 3 of 3"]].concat());
    stage.is_ready(3);
    assert_eq!(stage.done(), ["serve 3", "switch to 3", "dismiss 1 script_reload 15"]);
}

#[test]
fn a_generation_that_is_slow_gives_way_to_a_newer_request_at_once() {
    let by_script: fn(&mut Stage) = |stage| stage.changed(1, "a", 2);
    let by_operator: fn(&mut Stage) =
        |stage| stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    let by_httpd: fn(&mut Stage) =
        |stage| stage.act(|crew, now| crew.configure(now, Rc::new(group(1))));
    for request in [by_script, by_operator, by_httpd] {
        let mut stage = Stage::ready(group(1));
        stage.changed(1, "a", 1);
        stage.act(|crew, _| crew.loading(2, b"/a.wsgi".to_vec()));
        stage.done();
        stage.pass(6.0);
        assert!(stage.done.is_empty());
        request(&mut stage);
        let refusal = Refusal::Superseded(Some(b"/a.wsgi".to_vec()));
        let overtaken = Action::Refuse { generation: 2, refusal };
        assert!(stage.done.contains(&overtaken), "{:?}", stage.done);
        let done = stage.done();
        assert_eq!(done[0], "keep 1 a");
        assert_eq!(done[done.len() - 1], "start 3 of 3");
    }
}

#[test]
fn a_generation_that_is_given_up_names_the_script_that_it_was_loading_and_the_timer() {
    let slow = Group { startup_timeout: 30, ..group(1) };
    for ends_itself in [true, false] {
        let mut stage = Stage::ready(slow.clone());
        stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
        stage.act(|crew, _| crew.loading(2, b"/a.wsgi".to_vec()));
        if ends_itself {
            let reason = reason::STARTUP_TIMEOUT.to_owned();
            stage.act(|crew, now| crew.leaving(now, 2, reason));
        } else {
            stage.pass(40.0);
            stage.dies(2);
        }
        let loading = Some(b"/a.wsgi".to_vec());
        let refusal = Refusal::Gone { number: 2, loading, timeout: Some(30) };
        let refused = Action::Refuse { generation: 2, refusal };
        assert!(stage.done.contains(&refused), "{:?}", stage.done);
    }
}

#[test]
fn the_next_generation_uses_the_newest_configuration_even_if_that_could_not_take_over_before() {
    let mut stage = Stage::ready(group(1));
    stage.act(|crew, now| crew.configure(now, Rc::new(group(3))));
    stage.fails(2, "a");
    assert_eq!(stage.living(), [1]);
    stage.done();
    stage.changed(1, "a", 2);
    assert_eq!(stage.done(), ["start 5 of 3", "start 6 of 3", "start 7 of 3"]);
}

#[test]
fn request_timeout_is_the_cause_of_death_of_a_worker_that_was_leaving_for_another_reason() {
    let mut stage = Stage::ready(group(1));
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    stage.is_ready(2);
    stage.act(|crew, now| crew.replace(now, 1, reason::REQUEST_TIMEOUT.to_owned()));
    assert_eq!(stage.crew.look_up(1), Some((Phase::Leaving, Some("request_timeout"))));
    stage.act(|crew, now| crew.replace(now, 2, reason::REQUEST_TIMEOUT.to_owned()));
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    stage.all_ready();
    assert_eq!(stage.crew.look_up(2), Some((Phase::Leaving, Some("request_timeout"))));
}

#[test]
fn the_callables_of_a_script_are_remembered_together() {
    let mut stage = Stage::ready(group(1));
    let of = |callables: &[&str]| Script {
        callables: callables.iter().map(|name| name.as_bytes().to_vec()).collect(),
        ..script("a")
    };
    stage.files.insert(b"a".to_vec(), 1);
    for callables in [&[][..], &["one"], &["two"], &["one"], &[]] {
        stage.act(|crew, _| crew.loaded(of(callables)));
    }
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    let Some(Action::Start { scripts, .. }) = stage.done.last() else { panic!("none started") };
    assert_eq!(*scripts, [of(&["two", "one"])]);
}

#[test]
fn first_workers_that_never_get_ready_give_way_as_well() {
    let mut stage = Stage::new(group(1));
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    stage.done();
    stage.pass(5.0);
    let expected = ["dismiss 1 graceful_signal 0", "switch to 2", "start 2 of 2"];
    assert_eq!(stage.done(), expected);
}

#[test]
fn a_worker_that_tells_of_changes_without_end_is_not_remembered_without_end() {
    let mut stage = Stage::ready(group(1));
    for many in 0..1000 {
        stage.changed(1, &format!("s{many}"), 1);
    }
    let wanted = stage.crew.wanted.as_ref().map(|wish| wish.changed.len());
    assert_eq!(wanted, Some(CHANGES));
}

#[test]
fn a_change_that_the_new_generation_has_loaded_starts_no_further_generation() {
    let mut stage = Stage::ready(group(1));
    stage.files.insert(b"a".to_vec(), 1);
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    // Reported while new workers are loading it.
    stage.changed(1, "a", 2);
    assert_eq!(stage.done(), ["start 2 of 2"]);
    stage.is_ready(2);
    assert_eq!(stage.done(), ["serve 2", "switch to 2", "dismiss 1 graceful_signal 15"]);
    assert!(stage.crew.wanted.is_none());
}

#[test]
fn a_change_after_the_new_generation_has_loaded_the_script_starts_another_generation() {
    let mut stage = Stage::ready(group(2));
    stage.changed(1, "a", 1);
    stage.is_ready(3);
    stage.changed(2, "a", 1);
    stage.changed(2, "a", 2);
    stage.files.insert(b"a".to_vec(), 1);
    stage.done();
    stage.is_ready(4);
    assert!(stage.done().contains(&"switch to 2".to_owned()));
    stage.pass(0.1);
    assert_eq!(stage.living(), [3, 4, 5, 6]);
}

#[test]
fn a_change_that_the_new_generation_could_not_load_is_not_tried_again() {
    let mut stage = Stage::ready(group(1));
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    stage.changed(1, "a", 2);
    stage.done();
    stage.fails(2, "a");
    assert_eq!(stage.done(), ["keep 1 a", "refuse 2", "dismiss 2 graceful_signal 15"]);
    stage.pass(10.0);
    assert!(stage.done().is_empty());
}

#[test]
fn the_other_workers_are_told_of_a_change_so_that_one_request_alone_waits_for_it() {
    let mut stage = Stage::ready(group(3));
    stage.changed(2, "a", 1);
    assert_eq!(stage.done()[..2], ["expect 1 a", "expect 3 a"]);
}

#[test]
fn changes_that_a_slow_generation_is_loading_already_start_no_further_generation() {
    let mut stage = Stage::ready(group(1));
    stage.files.insert(b"b".to_vec(), 1);
    stage.act(|crew, _| crew.loaded(script("b")));
    stage.changed(1, "a", 1);
    stage.done();
    // Reported before and after the new worker has reported what it loads.
    stage.changed(1, "b", 1);
    let tried = stage.tried();
    stage.act(|crew, _| crew.trying(2, tried));
    stage.changed(1, "b", 1);
    stage.pass(20.0);
    assert!(stage.done().is_empty());
    stage.changed(1, "b", 2);
    assert!(stage.done().contains(&"refuse 2".to_owned()));
}
