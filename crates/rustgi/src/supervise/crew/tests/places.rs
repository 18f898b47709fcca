//! The places of workers: who is replaced when, who has to wait, who is cut off.

use super::*;

#[test]
fn who_dies_is_replaced_at_once() {
    let mut stage = Stage::ready(group(2));
    stage.dies(1);
    assert_eq!(stage.done(), ["start 3 of 1"]);
    stage.is_ready(3);
    assert_eq!(stage.done(), ["serve 3"]);
    stage.act(|crew, now| crew.leaving(now, 2, "x".to_owned()));
    assert_eq!(stage.done(), ["leaving 2", "start 4 of 1"]);
    stage.pass(5.9);
    assert!(stage.done().is_empty());
    stage.pass(0.2);
    assert_eq!(stage.done(), ["kill 2 shutdown-timeout"]);
}

#[test]
fn early_deaths_make_the_next_start_wait_ever_longer() {
    let mut stage = Stage::new(group(1));
    let mut delays = Vec::new();
    // The first may have been an accident.
    stage.done();
    stage.pass(0.1);
    stage.dies(1);
    assert_eq!(stage.done(), ["start 2 of 1"]);
    for number in 2..13 {
        stage.pass(0.01);
        stage.done();
        stage.dies(number);
        // As long as the next worker is started within 0.4 s, requests wait for it.
        let is_told = number >= TROUBLED;
        assert_eq!(stage.done(), ["trouble 1017"][..usize::from(is_told)]);
        let before = stage.now;
        let next = stage.crew.next().unwrap();
        stage.pass((next - before).as_secs_f64());
        delays.push((next - before).as_millis());
        let expected = [format!("start {} of 1", number + 1), "no trouble".to_owned()];
        assert_eq!(stage.done(), expected[..1 + usize::from(is_told)]);
    }
    assert_eq!(delays[..9], [100, 200, 400, 800, 1600, 3200, 6400, 12800, 20000]);
    assert_eq!(delays[9..], [20000, 20000]);
    // One that was ready for a while ends the trouble.
    stage.is_ready(13);
    stage.pass(1.0);
    stage.dies(13);
    assert_eq!(stage.done(), ["serve 13", "start 14 of 1"]);
    for number in 14..16 {
        stage.pass(0.1);
        stage.dies(number);
    }
    assert_eq!(stage.crew.next(), Some(stage.now + seconds(0.1)));
}

#[test]
fn those_that_die_together_have_failed_once() {
    let mut stage = Stage::new(group(3));
    stage.pass(0.1);
    for number in 1..=3 {
        stage.dies(number);
    }
    assert_eq!(stage.living(), [4, 5, 6]);
    for round in 1..4 {
        stage.pass(0.1);
        for number in 1..=3 {
            stage.dies(round * 3 + number);
        }
        let delay = stage.crew.next().unwrap() - stage.now;
        assert_eq!(delay.as_millis(), 50 << round);
        stage.done();
        stage.pass(delay.as_secs_f64());
        assert_eq!(stage.done().len(), 3);
    }
}

#[test]
fn the_delay_between_starts_grows_while_workers_die_within_a_second_of_being_ready() {
    let mut stage = Stage::new(group(1));
    let mut delays = Vec::new();
    for number in 1..7 {
        stage.is_ready(number);
        // Long enough for one request, which ends the worker.
        stage.pass(0.1);
        stage.dies(number);
        let next = stage.crew.next().map_or(stage.now, |next| next.max(stage.now));
        delays.push((next - stage.now).as_millis());
        stage.pass((next - stage.now).as_secs_f64());
    }
    assert_eq!(delays, [0, 100, 200, 400, 800, 1600]);
    // Workers that stay up for a second or longer are replaced at once.
    for number in 7..12 {
        stage.is_ready(number);
        stage.pass(1.0);
        stage.done();
        stage.dies(number);
        assert_eq!(stage.done(), [format!("start {} of 1", number + 1)]);
    }
}

#[test]
fn death_soon_after_readiness_is_early_unless_it_was_on_purpose() {
    let mut stage = Stage::new(group(2));
    stage.all_ready();
    stage.done();
    stage.pass(0.5);
    stage.dies(1);
    assert_eq!(stage.done(), ["start 3 of 1"]);
    stage.pass(0.1);
    stage.dies(3);
    // There is somebody else, so this is no trouble for requests.
    assert!(stage.done().is_empty());
    stage.pass(0.2);
    assert_eq!(stage.done(), ["start 4 of 1"]);
    stage.act(|crew, now| crew.leaving(now, 2, "maximum_requests".to_owned()));
    stage.done();
    stage.dies(2);
    assert!(stage.crew.next().is_none());
}

#[test]
fn who_wants_to_be_replaced_serves_until_another_is_ready() {
    let mut stage = Stage::ready(group(2));
    stage.act(|crew, now| crew.replace(now, 1, "maximum_requests".to_owned()));
    stage.act(|crew, now| crew.replace(now, 1, "inactivity_timeout".to_owned()));
    assert_eq!(stage.done(), ["start 3 of 1"]);
    stage.is_ready(3);
    assert_eq!(stage.done(), ["serve 3", "dismiss 1 maximum_requests 15"]);
    stage.pass(20.9);
    assert!(stage.done().is_empty());
    stage.pass(0.2);
    assert_eq!(stage.done(), ["kill 1 shutdown-timeout"]);
}

#[test]
fn a_replacement_that_cannot_load_what_others_have_loaded_does_not_serve() {
    let mut stage = Stage::ready(group(1));
    stage.act(|crew, now| crew.replace(now, 1, "maximum_requests".to_owned()));
    stage.done();
    stage.fails(2, "a");
    assert_eq!(stage.done(), ["refuse 1", "dismiss 2 script_reload 15", "start 3 of 1"]);
    // Nobody else is there: better with errors than not at all.
    stage.dies(1);
    stage.fails(3, "a");
    assert_eq!(stage.done(), ["serve 3"]);
}

#[test]
fn a_replacement_wanted_during_a_generation_is_not_forgotten() {
    let mut stage = Stage::ready(group(1));
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    stage.act(|crew, now| crew.replace(now, 1, "maximum_requests".to_owned()));
    assert_eq!(stage.done(), ["start 2 of 2"]);
    stage.dies(2);
    assert_eq!(stage.done(), ["refuse 2", "start 3 of 1"]);
}

#[test]
fn workers_are_replaced_one_after_another_when_they_are_old_enough() {
    let old = Group { restart_interval: 100, ..group(4) };
    let mut stage = Stage::new(old);
    stage.all_ready();
    stage.done();
    stage.pass(89.9);
    assert!(stage.done().is_empty());
    stage.pass(20.2);
    let done = stage.done();
    assert_eq!(done, ["start 5 of 1", "start 6 of 1", "start 7 of 1", "start 8 of 1"]);
    let mut one = Stage::new(Group { restart_interval: 100, ..group(1) });
    one.is_ready(1);
    assert_eq!(one.crew.next(), Some(one.now + seconds(100.0)));
}

#[test]
fn eviction_has_a_patience_of_its_own() {
    let mut stage = Stage::ready(Group { eviction_timeout: 3, ..group(1) });
    stage.act(|crew, now| crew.reload(now, reason::EVICTION));
    stage.is_ready(2);
    assert!(stage.done().contains(&"dismiss 1 eviction_signal 3".to_owned()));
    let mut stage = Stage::ready(group(1));
    stage.act(|crew, now| crew.replace(now, 1, reason::EVICTION.to_owned()));
    stage.is_ready(2);
    assert!(stage.done().contains(&"dismiss 1 eviction_signal 15".to_owned()));
}

#[test]
fn who_is_not_ready_in_time_is_cut_off() {
    let mut stage = Stage::new(Group { startup_timeout: 30, ..group(1) });
    stage.done();
    // It ends itself after 30 s; if it cannot, the supervisor kills it 3 s later.
    stage.pass(32.9);
    assert!(stage.done().is_empty());
    stage.pass(0.2);
    assert_eq!(stage.done(), ["kill 1 startup-timeout"]);
    stage.dies(1);
    assert_eq!(stage.done(), ["start 2 of 1"]);
}

#[test]
fn all_end_within_the_shutdown_timeout() {
    let mut stage = Stage::ready(group(2));
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    stage.done();
    stage.act(|crew, now| crew.stop(now));
    let ready = ["dismiss 1 shutdown_signal 0", "dismiss 2 shutdown_signal 0"];
    let starting = ["dismiss 3 shutdown_signal 0", "dismiss 4 shutdown_signal 0"];
    assert_eq!(stage.done(), [ready, starting].concat());
    for number in [1, 2, 3] {
        stage.dies(number);
    }
    stage.act(|crew, now| crew.configure(now, Rc::new(group(1))));
    assert!(stage.done().is_empty());
    stage.pass(6.0);
    assert_eq!(stage.done(), ["kill 4 shutdown-timeout"]);
    stage.dies(4);
    assert!(stage.crew.is_empty() && stage.crew.next().is_none());
}

#[test]
fn without_a_shutdown_timeout_only_the_end_of_everything_is_bounded() {
    let mut stage = Stage::ready(Group { shutdown_timeout: 0, ..group(1) });
    stage.act(|crew, now| crew.leaving(now, 1, "x".to_owned()));
    assert_eq!(stage.crew.next(), None);
    stage.act(|crew, now| crew.stop(now));
    stage.done();
    stage.pass(61.0);
    assert_eq!(stage.done(), ["kill 1 shutdown-timeout", "kill 2 shutdown-timeout"]);
}

#[test]
fn a_group_that_is_no_longer_wanted_ends_a_little_later_unless_it_is_wanted_again() {
    let mut stage = Stage::ready(group(1));
    stage.act(|crew, now| crew.retire(now));
    stage.pass(1.9);
    assert!(stage.done().is_empty());
    stage.pass(0.2);
    assert_eq!(stage.done(), ["dismiss 1 graceful_signal 15"]);
    assert!(stage.crew.is_ending());
    stage.act(|crew, now| crew.configure(now, Rc::new(group(1))));
    assert_eq!(stage.done(), ["switch to 2", "start 2 of 2"]);
    let mut stage = Stage::ready(group(1));
    stage.act(|crew, now| crew.retire(now));
    stage.act(|crew, now| crew.configure(now, Rc::new(group(1))));
    stage.is_ready(2);
    stage.pass(10.0);
    assert_eq!(stage.living(), [2]);
}

#[test]
fn a_service_script_runs_once_at_a_time_and_begins_at_most_once_a_second() {
    let service = Group { worker: Worker::default(), ..group(1) };
    let mut stage = Stage::new(service.clone());
    assert_eq!(stage.done(), ["switch to 1", "start 1 of 1", "trouble 1021"]);
    stage.is_ready(1);
    stage.pass(0.3);
    stage.act(|crew, now| crew.died(now, 1, Death { is_well: true }));
    assert!(stage.done().is_empty());
    stage.pass(0.6);
    assert!(stage.done().is_empty());
    stage.pass(0.1);
    assert_eq!(stage.done(), ["start 2 of 1"]);
    stage.pass(10.0);
    stage.act(|crew, now| crew.configure(now, Rc::new(service)));
    assert_eq!(stage.done(), ["dismiss 2 graceful_signal 0", "switch to 2"]);
    stage.act(|crew, now| crew.died(now, 2, Death { is_well: true }));
    assert_eq!(stage.done(), ["start 3 of 2"]);
    // One that fails at once waits longer each time.
    let mut delays = Vec::new();
    for number in 3..9 {
        stage.dies(number);
        let delay = stage.crew.next().unwrap() - stage.now;
        delays.push(delay.as_millis());
        stage.pass(delay.as_secs_f64());
    }
    assert_eq!(delays, [1000, 1000, 1000, 1000, 1000, 1600]);
}

#[test]
fn one_that_leaves_before_it_is_ready_has_failed_as_if_it_had_died() {
    let mut stage = Stage::new(group(1));
    let mut delays = Vec::new();
    for number in 1..5 {
        stage.pass(0.01);
        stage.act(|crew, now| crew.leaving(now, number, "shutdown_signal".to_owned()));
        stage.dies(number);
        let next = stage.crew.next().map_or(stage.now, |next| next.max(stage.now));
        delays.push((next - stage.now).as_millis());
        stage.pass(delays[delays.len() - 1] as f64 / 1000.0);
    }
    assert_eq!(delays, [0, 100, 200, 400]);
}
