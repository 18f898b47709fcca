//! The disturbances while clients send requests: workers are killed, scripts rewritten, httpd reloaded, the supervisor killed or
//! stopped, the tenant's interpreter hangs, and a program of httpd's user attacks. Each kind has its own thread and its own random
//! numbers.

use crate::harness::{Attack, AttackResult, Server};
use crate::processes::{self, Process};
use crate::random::Random;
use crate::site::Group;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// All disturbances of the run.
#[derive(Default)]
pub struct Events {
    /// Each disturbance, with the second in which it happened.
    pub told: Vec<(f64, String)>,
    /// Workers that were sent SIGKILL.
    pub killed: HashSet<i32>,
    /// Workers that were sent SIGTERM, which finish their requests.
    pub ended: HashSet<i32>,
    /// Workers of a supervisor that was killed.
    pub orphaned: HashSet<i32>,
    pub supervisors_killed: usize,
    /// Attacks that received something from a worker or a child, with their reports.
    pub successful_attacks: Vec<String>,
    /// The number of attacks.
    pub attacks: u64,
}

/// The state that all threads of disturbances share.
struct Common {
    begun: Instant,
    events: Mutex<Events>,
    over: Mutex<bool>,
    ends: Condvar,
    /// The parent of httpd, its directory.
    parent: i32,
    root: PathBuf,
    seed: u64,
}

/// Disturbances that go on until [`Disturbances::end`].
pub struct Disturbances<'scope> {
    common: Arc<Common>,
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> Disturbances<'scope> {
    pub fn begin<'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        server: &'env Server,
        attack: &'env Attack,
        seed: u64,
    ) -> Disturbances<'scope> {
        let common = Arc::new(Common {
            begun: Instant::now(),
            events: Mutex::default(),
            over: Mutex::new(false),
            ends: Condvar::new(),
            parent: server.parent(),
            root: server.root().to_owned(),
            seed,
        });
        type Disturbance = fn(&Common, &mut Random);
        // With the shortest and the longest time between two of them, in milliseconds.
        let kinds: [(u64, u64, Disturbance); 5] = [
            (300, 2500, kill_worker),
            (1000, 4000, change_script),
            (5000, 12_000, reload),
            (7000, 15_000, trouble_supervisor),
            (6000, 12_000, hang_tenant),
        ];
        let mut threads = Vec::new();
        for (number, (least, most, disturb)) in (1..).zip(kinds) {
            let common = Arc::clone(&common);
            threads.push(scope.spawn(move || {
                let mut random = Random::of(common.seed, number);
                while !common.rest(random.between(least, most)) {
                    disturb(&common, &mut random);
                }
            }));
        }
        let attacker = Arc::clone(&common);
        threads.push(scope.spawn(move || {
            let mut random = Random::of(attacker.seed, 0);
            while !attacker.rest(random.between(2000, 6000)) {
                attack_workers(&attacker, attack, &mut random);
            }
        }));
        Disturbances { common, threads }
    }

    /// Waits until the last disturbance has ended.
    pub fn end(self) -> Events {
        *self.common.over.lock().unwrap() = true;
        self.common.ends.notify_all();
        for thread in self.threads {
            thread.join().expect("a disturbance does not panic");
        }
        std::mem::take(&mut *self.common.events.lock().unwrap())
    }
}

impl Common {
    /// Waits this many milliseconds. True if the soak ends before.
    fn rest(&self, milliseconds: u64) -> bool {
        let over = self.over.lock().unwrap();
        let time = Duration::from_millis(milliseconds);
        *self.ends.wait_timeout_while(over, time, |over| !*over).unwrap().0
    }

    fn tell(&self, what: String) {
        let at = self.begun.elapsed().as_secs_f64();
        self.events.lock().unwrap().told.push((at, what));
    }
}

fn send(process: Process, signal: Signal) {
    // It may have ended meanwhile.
    if process.is_there() {
        let _ = kill(Pid::from_raw(process.pid), signal);
    }
}

/// Ends a worker that is older than 3 s. A younger one is spared, because the supervisor delays the next start after a worker that died
/// while it started.
fn kill_worker(common: &Common, random: &mut Random) {
    const GROWN: f64 = 3.0;
    let mut workers = processes::workers(common.parent);
    workers.retain(|worker| worker.age() > GROWN);
    if workers.is_empty() {
        return;
    }
    let worker = workers[random.below(workers.len() as u64) as usize];
    let signal = if random.percent(60) { Signal::SIGKILL } else { Signal::SIGTERM };
    {
        let mut events = common.events.lock().unwrap();
        let list = if signal == Signal::SIGKILL { &mut events.killed } else { &mut events.ended };
        list.insert(worker.pid);
    }
    send(worker, signal);
    common.tell(format!("{signal} to worker {}", worker.pid));
}

/// Touches a script, or writes it with another version.
fn change_script(common: &Common, random: &mut Random) {
    let group = Group::ALL[random.below(Group::ALL.len() as u64) as usize];
    let path = common.root.join("apps").join(format!("{}.wsgi", group.name()));
    let Ok(text) = fs::read_to_string(&path) else { return };
    let is_rewritten = random.percent(60);
    let text = match is_rewritten {
        true => text
            .lines()
            .map(|line| match line.strip_prefix("VERSION = ").map(str::parse::<u64>) {
                Some(Ok(version)) => format!("VERSION = {}\n", version + 1),
                _ => format!("{line}\n"),
            })
            .collect(),
        false => text,
    };
    // Renamed into place, so that no process reads a half-written file.
    let new = path.with_extension("new");
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
    let how = if is_rewritten { "rewritten" } else { "touched" };
    common.tell(format!("{}.wsgi {how}: {written:?}", group.name()));
}

fn reload(common: &Common, _: &mut Random) {
    let _ = kill(Pid::from_raw(common.parent), Signal::SIGUSR1);
    common.tell("httpd graceful".to_owned());
}

fn trouble_supervisor(common: &Common, random: &mut Random) {
    let Some(supervisor) = processes::supervisor(common.parent) else { return };
    // A younger supervisor is spared, because httpd delays the next start after it.
    if random.percent(40) && supervisor.age() > 5.0 {
        let workers = processes::workers(common.parent);
        let mut events = common.events.lock().unwrap();
        events.orphaned.extend(workers.iter().map(|worker| worker.pid));
        events.supervisors_killed += 1;
        drop(events);
        send(supervisor, Signal::SIGKILL);
        common.tell(format!("SIGKILL to supervisor {}", supervisor.pid));
        return;
    }
    let time = random.between(500, 4000);
    send(supervisor, Signal::SIGSTOP);
    common.tell(format!("supervisor {} stopped for {time} ms", supervisor.pid));
    common.rest(time);
    send(supervisor, Signal::SIGCONT);
}

/// Makes the tenant's interpreter hang when it is started, and kills the tenant's worker so that it is started. Sometimes reloads httpd
/// meanwhile.
fn hang_tenant(common: &Common, random: &mut Random) {
    let hang = common.root.join("tenant/hang");
    let _ = fs::write(&hang, "");
    let workers = processes::workers(common.parent);
    for worker in workers.into_iter().filter(|worker| worker.is_called("(wsgi:tenant)")) {
        common.events.lock().unwrap().killed.insert(worker.pid);
        send(worker, Signal::SIGKILL);
    }
    let is_reloaded = random.percent(50);
    if is_reloaded {
        let _ = kill(Pid::from_raw(common.parent), Signal::SIGUSR1);
    }
    let time = random.between(2000, 8000);
    let and = if is_reloaded { ", httpd graceful" } else { "" };
    common.tell(format!("the tenant's interpreter hangs for {time} ms{and}"));
    common.rest(time);
    let _ = fs::remove_file(&hang);
}

fn attack_workers(common: &Common, attack: &Attack, random: &mut Random) {
    let is_root = nix::unistd::geteuid().is_root();
    let own = nix::unistd::getuid().as_raw();
    let kind = random.weighted(&[
        (20, "silent"),
        (20, "noise"),
        (20, "request"),
        (20, "guess"),
        (10, "flood"),
        // Without root all processes belong to the attacker's user.
        (if is_root { 20 } else { 0 }, "processes"),
    ]);
    let mut more: Vec<String> = vec!["--number".into(), "1500".into()];
    let mut watched = Vec::new();
    if kind == "processes" {
        // Not the interpreters that httpd examines, which run as the user of their group.
        watched = processes::children(common.parent);
        watched.retain(|child| child.is_called("httpd.conf") || child.is_called("supervise"));
        watched.extend(Process::of(common.parent));
        let games = nix::unistd::User::from_name("games").ok().flatten();
        let games = games.map_or(own, |user| user.uid.as_raw());
        let workers = processes::workers(common.parent).into_iter();
        watched.extend(workers.filter(|worker| worker.user() == Some(games)));
        more.push("--pids".into());
        more.extend(watched.iter().map(|process| process.pid.to_string()));
    }
    let result = attack.run(kind, &more);
    let found = success_of(kind, &result, &watched);
    let mut events = common.events.lock().unwrap();
    events.attacks += 1;
    events.successful_attacks.extend(found);
    drop(events);
    common.tell(format!("attack by process {}: {}", result.pid, result.said));
}

/// The report of an attack that received something.
fn success_of(kind: &str, result: &AttackResult, watched: &[Process]) -> Option<String> {
    let has = match kind {
        // The pid may belong to another process by now.
        "processes" => watched.iter().any(|it| result.access(it.pid).is_some() && it.is_there()),
        _ => {
            // The tenant's workers accept nothing while their interpreter hangs: there may be two of them, one of them leaving.
            let sockets = result.count("sockets").max(1);
            let unaccepted = 2 * (result.count("connected") / sockets + 1);
            !result.got_nothing() || result.count("kept") > unaccepted
        }
    };
    has.then(|| result.said.to_string())
}
