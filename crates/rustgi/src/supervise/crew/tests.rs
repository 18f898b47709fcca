//! Every turn that a crew can take, without a process.

use super::*;
use std::cell::RefCell;
use std::collections::HashMap;
use wire::control::Worker;

/// A crew with a clock and files that the test sets, which remembers what is to be done.
struct Stage {
    crew: Crew,
    now: Time,
    files: Rc<RefCell<HashMap<Vec<u8>, i64>>>,
    done: Vec<Action>,
}

fn group(processes: u32) -> Group {
    Group {
        processes,
        graceful_timeout: 15,
        shutdown_timeout: 5,
        worker: Worker { threads: 2, ..Worker::default() },
        ..Group::default()
    }
}

fn seconds(seconds: f64) -> Time {
    Duration::from_secs_f64(seconds)
}

fn script(path: &str) -> Script {
    Script { path: path.into(), ..Script::default() }
}

fn failed(path: &str) -> Vec<(Vec<u8>, String)> {
    vec![(path.into(), "SyntaxError".to_owned())]
}

impl Stage {
    fn new(group: Group) -> Stage {
        let files: Rc<RefCell<HashMap<Vec<u8>, i64>>> = Rc::default();
        let looked = Rc::clone(&files);
        let look = move |path: &[u8]| looked.borrow().get(path).map(|time| (*time, 0, 0, 0));
        let now = seconds(100.0);
        let crew = Crew::new(now, Rc::new(group), 0, Rc::new(Cell::new(1)), look);
        let mut stage = Stage { crew, now, files, done: Vec::new() };
        stage.pull();
        stage
    }

    /// A crew of which all are ready, and have been for a while.
    fn ready(group: Group) -> Stage {
        let mut stage = Stage::new(group);
        stage.all_ready();
        stage.pass(5.0);
        stage.done.clear();
        stage
    }

    fn pull(&mut self) {
        self.done.extend(self.crew.actions());
    }

    fn act(&mut self, what: impl FnOnce(&mut Crew, Time)) {
        what(&mut self.crew, self.now);
        self.pull();
    }

    /// Lets time pass, turn by turn.
    fn pass(&mut self, time: f64) {
        let end = self.now + seconds(time);
        let mut turns = 0;
        while let Some(next) = self.crew.next().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.act(|crew, now| crew.tick(now));
            turns += 1;
            assert!(turns < 10_000, "it turns round without end");
        }
        self.now = end;
    }

    fn is_ready(&mut self, number: u32) {
        self.act(|crew, now| crew.ready(now, number, Vec::new()));
    }

    fn all_ready(&mut self) {
        for number in self.in_phase(|phase| phase == Phase::Starting) {
            self.is_ready(number);
        }
    }

    fn dies(&mut self, number: u32) {
        self.act(|crew, now| crew.died(now, number, false));
    }

    fn changed(&mut self, number: u32, path: &str, time: i64) {
        self.files.borrow_mut().insert(path.into(), time);
        self.act(|crew, now| crew.changed(now, number, path.into()));
    }

    fn in_phase(&self, which: impl Fn(Phase) -> bool) -> Vec<u32> {
        self.crew.numbers_of(|member| which(member.phase))
    }

    fn living(&self) -> Vec<u32> {
        self.in_phase(|phase| phase != Phase::Leaving)
    }

    /// What was to be done since this was asked the last time, in short.
    fn done(&mut self) -> Vec<String> {
        std::mem::take(&mut self.done).iter().map(short).collect()
    }
}

fn short(action: &Action) -> String {
    match action {
        Action::Start { number, generation, .. } => format!("start {number} of {generation}"),
        Action::Serve { number } => format!("serve {number}"),
        Action::Switch { generation } => format!("switch to {generation}"),
        Action::Dismiss { number, reason, patience, by_signal } => {
            let signal = if *by_signal { " by signal" } else { "" };
            format!("dismiss {number} {reason} {}{signal}", patience.as_secs())
        }
        Action::Leaving { number } => format!("leaving {number}"),
        Action::Keep { number, path } => format!("keep {number} {}", String::from_utf8_lossy(path)),
        Action::Kill { number, timer } => {
            format!("kill {number} {}", link::Cause::TIMERS[*timer as usize])
        }
        Action::Refuse { generation, .. } => format!("refuse {generation}"),
        Action::Trouble(None) => "no trouble".to_owned(),
        Action::Trouble(Some((code, _))) => format!("trouble {code}"),
    }
}

#[test]
fn the_first_workers_serve_one_by_one_even_with_scripts_that_fail() {
    let mut stage = Stage::new(group(2));
    assert_eq!(stage.done(), ["switch to 1", "start 1 of 1", "start 2 of 1"]);
    stage.act(|crew, now| crew.ready(now, 2, failed("a")));
    assert_eq!(stage.done(), ["serve 2"]);
    stage.act(|crew, now| crew.ready(now, 1, failed("a")));
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
        stage.files.borrow_mut().insert(format!("s{many}").into(), 1);
    }
    stage.files.borrow_mut().extend([(b"a".to_vec(), 1), (b"b".to_vec(), 1)]);
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    let Some(Action::Start { scripts, .. }) = stage.done.last() else { panic!("none started") };
    assert_eq!(scripts[..3], [script("a"), script("b"), script("s0")]);
    assert_eq!(scripts.len(), 64);
}

#[test]
fn a_changed_script_that_fails_keeps_the_old_ones_and_is_tried_when_it_changes_again() {
    let mut stage = Stage::ready(group(2));
    stage.changed(1, "a", 1);
    assert_eq!(stage.done(), ["start 3 of 2", "start 4 of 2"]);
    // The other old worker has found the same change.
    stage.changed(2, "a", 1);
    stage.act(|crew, now| crew.ready(now, 3, failed("a")));
    let keep = ["keep 1 a", "keep 2 a", "refuse 2"];
    let gone = ["dismiss 3 script_reload 15", "dismiss 4 script_reload 0 by signal"];
    assert_eq!(stage.done(), [&keep[..], &gone].concat());
    stage.changed(1, "a", 2);
    assert_eq!(stage.done(), ["start 5 of 3", "start 6 of 3"]);
    stage.all_ready();
    assert_eq!(stage.living(), [5, 6]);
}

#[test]
fn a_script_that_changes_again_meanwhile_makes_another_generation() {
    let mut stage = Stage::ready(group(1));
    stage.changed(1, "a", 1);
    stage.changed(1, "a", 2);
    stage.done();
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
    stage.act(|crew, now| crew.ready(now, 1, failed("a")));
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    stage.act(|crew, now| crew.ready(now, 2, failed("a")));
    assert_eq!(stage.crew.generation(), 2);
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    stage.act(|crew, now| crew.ready(now, 3, failed("b")));
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
    let expected = ["dismiss 2 graceful_signal 0 by signal", "start 3 of 3", "start 4 of 3"];
    assert_eq!(stage.done(), expected);
    stage.act(|crew, now| crew.ready(now, 3, failed("a")));
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
    for number in 1..12 {
        stage.done();
        stage.dies(number);
        assert_eq!(stage.done(), ["trouble 1017"]);
        let before = stage.now;
        let next = stage.crew.next().unwrap();
        stage.pass((next - before).as_secs_f64());
        delays.push((next - before).as_millis());
        assert_eq!(stage.done(), [format!("start {} of 1", number + 1), "no trouble".to_owned()]);
    }
    assert_eq!(delays[..9], [100, 200, 400, 800, 1600, 3200, 6400, 12800, 20000]);
    assert_eq!(delays[9..], [20000, 20000]);
    // One that was ready for a while ends the trouble.
    stage.is_ready(12);
    stage.pass(1.0);
    stage.dies(12);
    assert_eq!(stage.done(), ["serve 12", "start 13 of 1"]);
    stage.dies(13);
    assert_eq!(stage.crew.next(), Some(stage.now + seconds(0.1)));
}

#[test]
fn death_soon_after_readiness_is_early_unless_it_was_on_purpose() {
    let mut stage = Stage::new(group(2));
    stage.all_ready();
    stage.done();
    stage.pass(0.5);
    stage.dies(1);
    // There is somebody else, so this is no trouble for requests.
    assert!(stage.done().is_empty());
    stage.pass(0.2);
    assert_eq!(stage.done(), ["start 3 of 1"]);
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
    stage.act(|crew, now| crew.ready(now, 2, failed("a")));
    assert_eq!(stage.done(), ["refuse 1", "dismiss 2 script_reload 15"]);
    stage.pass(0.1);
    assert_eq!(stage.done(), ["start 3 of 1"]);
    // Nobody else is there: better with errors than not at all.
    stage.dies(1);
    stage.act(|crew, now| crew.ready(now, 3, failed("a")));
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
    stage.pass(29.9);
    assert!(stage.done().is_empty());
    stage.pass(0.2);
    assert_eq!(stage.done(), ["kill 1 startup-timeout"]);
    stage.dies(1);
    assert_eq!(stage.done(), ["trouble 1017"]);
}

#[test]
fn all_end_within_the_shutdown_timeout() {
    let mut stage = Stage::ready(group(2));
    stage.act(|crew, now| crew.reload(now, reason::GRACEFUL));
    stage.done();
    stage.act(|crew, now| crew.stop(now));
    let ready = ["dismiss 1 shutdown_signal 0", "dismiss 2 shutdown_signal 0"];
    let starting =
        ["dismiss 3 shutdown_signal 0 by signal", "dismiss 4 shutdown_signal 0 by signal"];
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
fn a_service_script_runs_once_at_a_time_and_begins_at_most_once_a_second() {
    let service = Group { worker: Worker::default(), ..group(1) };
    let mut stage = Stage::new(service.clone());
    assert_eq!(stage.done(), ["switch to 1", "start 1 of 1", "trouble 1021"]);
    stage.is_ready(1);
    stage.pass(0.3);
    stage.act(|crew, now| crew.died(now, 1, true));
    assert!(stage.done().is_empty());
    stage.pass(0.6);
    assert!(stage.done().is_empty());
    stage.pass(0.1);
    assert_eq!(stage.done(), ["start 2 of 1"]);
    stage.pass(10.0);
    stage.act(|crew, now| crew.configure(now, Rc::new(service)));
    assert_eq!(stage.done(), ["dismiss 2 graceful_signal 0 by signal", "switch to 2"]);
    stage.act(|crew, now| crew.died(now, 2, true));
    assert_eq!(stage.done(), ["start 3 of 2"]);
    // One that fails at once waits longer each time.
    let mut delays = Vec::new();
    for number in 3..9 {
        stage.dies(number);
        let delay = stage.crew.next().unwrap() - stage.now;
        delays.push(delay.as_millis());
        stage.pass(delay.as_secs_f64());
    }
    assert_eq!(delays, [1000, 1000, 1000, 1000, 1600, 3200]);
}
