//! Every turn that a crew can take, without a process.

mod generations;
mod places;

use super::*;
use std::collections::HashMap;
use wire::control::Worker;

/// A crew with a clock and files that the test sets, which remembers what is to be done.
struct Stage {
    crew: Crew,
    now: Time,
    /// The modification time of each script that exists.
    files: HashMap<Vec<u8>, i64>,
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
        let now = seconds(100.0);
        let crew = Crew::new(now, Rc::new(group), 0, Rc::new(Cell::new(1)));
        let mut stage = Stage { crew, now, files: HashMap::new(), done: Vec::new() };
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
        let tried = self.tried();
        self.act(|crew, now| crew.ready(now, number, Vec::new(), tried));
    }

    /// A worker becomes ready but could not load this script.
    fn fails(&mut self, number: u32, path: &str) {
        let tried = self.tried();
        self.act(|crew, now| crew.ready(now, number, failed(path), tried));
    }

    /// All known scripts, with the states of their files.
    fn tried(&self) -> Vec<Version> {
        let known = self.crew.scripts.iter().map(|script| script.path.clone());
        let all: std::collections::BTreeSet<_> = known.chain(self.files.keys().cloned()).collect();
        let version = |path: Vec<u8>| Version { modified: self.files.get(&path).copied(), path };
        all.into_iter().map(version).collect()
    }

    fn all_ready(&mut self) {
        for number in self.in_phase(|phase| phase == Phase::Starting) {
            self.is_ready(number);
        }
    }

    fn dies(&mut self, number: u32) {
        self.act(|crew, now| crew.died(now, number, Death::default()));
    }

    fn changed(&mut self, number: u32, path: &str, time: i64) {
        self.files.insert(path.into(), time);
        let version = Version { path: path.into(), modified: Some(time) };
        self.act(|crew, now| crew.changed(now, number, version));
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
        Action::Dismiss { number, reason, patience } => {
            format!("dismiss {number} {reason} {}", patience.as_secs())
        }
        Action::Leaving { number } => format!("leaving {number}"),
        Action::Expect { number, version } => {
            format!("expect {number} {}", String::from_utf8_lossy(&version.path))
        }
        Action::Keep { number, path } => format!("keep {number} {}", String::from_utf8_lossy(path)),
        Action::Kill { number, timer } => {
            format!("kill {number} {}", link::Cause::TIMERS[*timer as usize])
        }
        Action::Refuse { generation, .. } => format!("refuse {generation}"),
        Action::Trouble(None) => "no trouble".to_owned(),
        Action::Trouble(Some((code, _))) => format!("trouble {code}"),
    }
}
