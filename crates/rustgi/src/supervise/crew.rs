//! A crew: the workers of one group as a machine of states. It is told what happened and when, and says what is to be done;
//! it starts nothing itself and knows no clock, so every case can be shown in a test. It is made when a group is first
//! wanted and ends when the group is no longer wanted and its last worker has gone.
//!
//! Workers are of a *generation*: all that were started after the same change of the configuration or of a script. One
//! generation serves; another one may be under way. It takes over when all of its workers are ready, or is given up when one
//! of them cannot load what the serving one has loaded.

mod action;
mod member;
#[cfg(test)]
mod tests;
mod turn;

pub use action::{Action, Refusal, Time, Wish, reason};
pub use member::{Death, Phase};

use exchange::Code;
use member::Member;
use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;
use wire::control::{Group, Script, Version};

/// The delay after the second death in a row that tells of trouble; it doubles with each. After the first there is none.
const FIRST_DELAY: Time = Duration::from_millis(100);
/// From this many deaths in a row on, when the delay has grown to 0.8 s, requests get 503. Before, they wait for the next worker.
const TROUBLED: u32 = 5;
/// The longest delay.
const LONGEST_DELAY: Time = Duration::from_secs(20);
/// A worker that was ready for so long has started well. Service scripts begin no more often.
const SETTLED: Time = Duration::from_secs(1);
/// A worker ends by itself when its time is over; it is killed so much later.
const MARGIN: Time = Duration::from_secs(1);
/// The same for `startup-timeout`: longer, because the worker first writes the Python stack of its import to the log.
const STARTUP_MARGIN: Time = Duration::from_secs(3);
/// The end of everything is bounded even if `shutdown-timeout` is not.
const LONGEST_END: Time = Duration::from_secs(60);
/// Children of the server that know a group which is no longer wanted have finished after this.
const FAREWELL: Time = Duration::from_secs(2);
/// A new generation loads no more scripts than this before it is ready.
const SCRIPTS: usize = 64;

/// A worker may tell of as many as it likes; of no more are remembered.
const REMEMBERED: usize = 1024;

/// A generation that has been starting for this long and is not ready is given up when a newer one is requested, because its import
/// may never end. A younger generation is waited for: otherwise requests for new generations that arrive faster than an application
/// can be imported would keep every generation from becoming ready.
const SLOW: Time = Duration::from_secs(5);

/// As many changed scripts are remembered while a generation is under way.
const CHANGES: usize = 256;

/// `startup-timeout` in `link::Cause::TIMERS`.
const STARTUP: u8 = 0;
/// `shutdown-timeout` in `link::Cause::TIMERS`.
const SHUTDOWN: u8 = 3;

/// A generation under way.
#[derive(Debug)]
struct Upcoming {
    generation: u32,
    begun: Time,
    wish: Wish,
    group: Rc<Group>,
    /// Scripts that its workers have tried to load, with the state of their files at that time.
    tried: HashSet<Version>,
    failed: HashSet<Vec<u8>>,
}

impl Upcoming {
    fn try_all(&mut self, tried: Vec<Version>) {
        let room = REMEMBERED.saturating_sub(self.tried.len());
        self.tried.extend(tried.into_iter().take(room));
    }
}

/// The workers of one group.
pub struct Crew {
    numbers: Rc<Cell<u32>>,
    /// What the serving generation was started with.
    group: Rc<Group>,
    /// The configuration of the next generation: the one that httpd has read last.
    configured: Rc<Group>,
    generation: u32,
    /// The last generation that was begun.
    last: u32,
    members: Vec<Member>,
    upcoming: Option<Upcoming>,
    /// What was asked for while a generation was under way.
    wanted: Option<Wish>,
    /// What has been loaded, in order.
    scripts: Vec<Script>,
    /// What the serving generation could not load.
    failed: HashSet<Vec<u8>>,
    failures: u32,
    /// When the last of them was seen.
    failed_at: Option<Time>,
    retry: Option<Time>,
    trouble: Option<(u16, Option<Time>)>,
    farewell: Option<Time>,
    /// Nobody is started any more,
    stopping: bool,
    /// and never will be.
    is_final: bool,
    actions: Vec<Action>,
}

impl Crew {
    /// A crew whose first workers are started at once. `numbers` holds the number of the next worker, `generation` is that
    /// which was last given in the group's place.
    pub fn new(now: Time, group: Rc<Group>, generation: u32, numbers: Rc<Cell<u32>>) -> Crew {
        let mut crew = Crew {
            numbers,
            configured: Rc::clone(&group),
            group,
            generation,
            last: generation,
            members: Vec::new(),
            upcoming: None,
            wanted: None,
            scripts: Vec::new(),
            failed: HashSet::new(),
            failures: 0,
            failed_at: None,
            retry: None,
            trouble: None,
            farewell: None,
            stopping: false,
            is_final: false,
            actions: Vec::new(),
        };
        crew.take_over_at_once();
        crew.settle(now);
        crew
    }

    /// What is to be done now, in this order.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The generation that serves.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Nobody is left.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// It is over, once nobody is left.
    pub fn is_ending(&self) -> bool {
        self.stopping
    }

    /// Where a worker is in its life, and why another one is to take its place.
    pub fn look_up(&self, number: u32) -> Option<(Phase, Option<&str>)> {
        self.member(number).map(|member| (member.phase, member.retiring.as_deref()))
    }

    /// This group is wanted from now on.
    pub fn configure(&mut self, now: Time, group: Rc<Group>) {
        self.want();
        self.configured = Rc::clone(&group);
        let reason = reason::GRACEFUL.to_owned();
        self.request(now, Wish { group: Some(group), changed: Vec::new(), reason });
        self.settle(now);
    }

    /// The configuration has the group again, after it did not.
    pub fn want(&mut self) {
        if !self.is_final {
            (self.farewell, self.stopping) = (None, false);
        }
    }

    /// All workers are to be replaced.
    pub fn reload(&mut self, now: Time, reason: &str) {
        self.request(now, Wish { reason: reason.to_owned(), ..Wish::default() });
        self.settle(now);
    }

    /// The group is no longer wanted.
    pub fn retire(&mut self, now: Time) {
        self.farewell.get_or_insert(now + FAREWELL);
    }

    /// All workers are to end.
    pub fn stop(&mut self, now: Time) {
        (self.stopping, self.is_final) = (true, true);
        (self.upcoming, self.wanted, self.retry) = (None, None, None);
        for number in self.numbers_of(|_| true) {
            self.dismiss(now, number, reason::SHUTDOWN);
        }
    }

    /// A worker has found that a script has changed. No further generation is needed if the one under way was started because of
    /// this change or has tried to load this version. Otherwise a new generation is requested; the request is dropped if the workers
    /// of the generation under way turn out to have tried to load this version.
    pub fn changed(&mut self, now: Time, number: u32, version: Version) {
        if !self.is_of(number, self.generation) {
            return;
        }
        let others = |m: &Member| m.generation == self.generation && m.is_ready();
        for other in self.numbers_of(|member| others(member) && member.number != number) {
            self.actions.push(Action::Expect { number: other, version: version.clone() });
        }
        if let Some(upcoming) = &mut self.upcoming {
            if upcoming.wish.changed.contains(&version) || upcoming.tried.contains(&version) {
                upcoming.wish.add_changed(version);
                return;
            }
        }
        let reason = reason::SCRIPT.to_owned();
        self.request(now, Wish { group: None, changed: vec![version], reason });
        self.settle(now);
    }

    /// A worker has loaded a script.
    pub fn loaded(&mut self, script: Script) {
        if let Some(known) = self.scripts.iter_mut().find(|known| known.is_same(&script)) {
            known.add_callables(&script.callables);
        } else if self.scripts.len() < REMEMBERED {
            self.scripts.push(script);
        }
    }

    /// A worker is ready. It has tried to load these scripts, and could not load those that failed.
    pub fn ready(
        &mut self,
        now: Time,
        number: u32,
        failed: Vec<(Vec<u8>, String)>,
        tried: Vec<Version>,
    ) {
        let (current, upcoming) = (self.generation, self.upcoming.as_ref().map(|u| u.generation));
        let Some(member) = self.members.iter_mut().find(|member| member.number == number) else {
            return;
        };
        if member.phase != Phase::Starting || member.group.worker.threads == 0 {
            return;
        }
        member.phase = Phase::Ready(now);
        (member.deadline, member.loading) = (None, None);
        member.restart = turn::restart_time(now, member);
        let is_gone = |path: &[u8]| tried.iter().any(|it| it.path == path && it.modified.is_none());
        self.scripts.retain(|script| !is_gone(&script.path));
        if let Some(upcoming) =
            self.upcoming.as_mut().filter(|it| it.generation == member.generation)
        {
            upcoming.try_all(tried);
        }
        if Some(member.generation) == upcoming {
            self.one_of_upcoming_is_ready(now, failed);
        } else if member.generation == current {
            self.one_of_current_is_ready(now, number, failed);
        }
        self.settle(now);
    }

    /// A worker begins to load these scripts. Changes to the same versions that were reported meanwhile need no further generation.
    pub fn trying(&mut self, number: u32, tried: Vec<Version>) {
        let generation = self.member(number).map(|member| member.generation);
        let Some(upcoming) = self.upcoming.as_mut().filter(|it| Some(it.generation) == generation)
        else {
            return;
        };
        upcoming.try_all(tried);
        let tried = upcoming.tried.clone();
        let noticed = self.forget_changes(&tried);
        let wish = self.upcoming.as_mut().map(|upcoming| &mut upcoming.wish);
        wish.into_iter()
            .for_each(|wish| noticed.iter().for_each(|it| wish.add_changed(it.clone())));
    }

    /// A worker that is not ready has been loading this script for 5 s or more.
    pub fn loading(&mut self, number: u32, script: Vec<u8>) {
        if let Some(member) = self.member_mut(number) {
            member.loading = Some(script).filter(|_| member.phase == Phase::Starting);
        }
    }

    /// A worker wants to be replaced, and serves until then.
    pub fn replace(&mut self, now: Time, number: u32, reason: String) {
        if let Some(member) = self.member_mut(number) {
            if member.is_ready() {
                member.retiring.get_or_insert(reason);
            } else if member.phase == Phase::Leaving && reason == reason::REQUEST_TIMEOUT {
                // Requests that are lost with the worker are then lost because of this timeout, whatever the worker was leaving for.
                member.retiring = Some(reason);
            }
        }
        self.settle(now);
    }

    /// A worker ends, and takes no more requests.
    pub fn leaving(&mut self, now: Time, number: u32, reason: String) {
        let is_upcoming = self.upcoming.as_ref().is_some_and(|u| self.is_of(number, u.generation));
        let Some(member) = self.member_mut(number) else { return };
        if member.phase == Phase::Leaving {
            return;
        }
        let was_ready = member.is_ready();
        let started = member.started;
        let (loading, startup_timeout) = (member.loading.clone(), member.group.startup_timeout);
        member.phase = Phase::Leaving;
        member.deadline = turn::end(now, Duration::ZERO, member.group.shutdown_timeout);
        let is_late = reason == reason::STARTUP_TIMEOUT;
        member.retiring = Some(reason);
        self.actions.push(Action::Leaving { number });
        if is_upcoming {
            let timeout = is_late.then_some(startup_timeout);
            self.give_up(now, Refusal::Gone { number, loading, timeout });
        } else if !was_ready && self.is_of(number, self.generation) {
            // What it was to load has ended it, and will end the next one.
            self.back_off(now, started);
        }
        self.settle(now);
    }

    /// A worker is no more.
    pub fn died(&mut self, now: Time, number: u32, death: Death) {
        let Some(at) = self.members.iter().position(|member| member.number == number) else {
            return;
        };
        let member = self.members.remove(at);
        if self.stopping {
            return;
        }
        if Some(member.generation) == self.upcoming.as_ref().map(|u| u.generation) {
            let is_late = member.killed_by == Some(STARTUP);
            let timeout = is_late.then_some(member.group.startup_timeout);
            self.give_up(now, Refusal::Gone { number, loading: member.loading, timeout });
        } else if member.generation == self.generation {
            self.count_death(now, &member, death);
        }
        self.settle(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        for member in &mut self.members {
            if let Some((_, timer)) = member.deadline.filter(|(at, _)| *at <= now) {
                member.deadline = None;
                member.killed_by = Some(timer);
                self.actions.push(Action::Kill { number: member.number, timer });
            }
            if member.restart.is_some_and(|at| at <= now) && member.is_ready() {
                member.restart = None;
                member.retiring.get_or_insert_with(|| reason::INTERVAL.to_owned());
            }
        }
        if self.farewell.is_some_and(|at| at <= now) && !self.stopping {
            self.farewell = None;
            self.stopping = true;
            (self.upcoming, self.wanted) = (None, None);
            for number in self.numbers_of(|member| member.phase != Phase::Leaving) {
                self.dismiss(now, number, reason::GRACEFUL);
            }
        }
        self.settle(now);
    }

    /// When [`tick`](Crew::tick) is to be called at the latest.
    pub fn next(&self) -> Option<Time> {
        let deadlines = self.members.iter().filter_map(|member| member.deadline.map(|(at, _)| at));
        let restarts = self.members.iter().filter(|member| member.is_ready());
        let restarts = restarts.filter_map(|member| member.restart);
        let is_held = self.upcoming.is_some() || self.farewell.is_some() || self.stopping;
        let retry = self.retry.filter(|_| !is_held);
        let stuck = self.stuck_at().filter(|_| self.wanted.is_some());
        deadlines.chain(restarts).chain(retry).chain(stuck).chain(self.farewell).min()
    }

    /// When what is under way has been so for too long.
    fn stuck_at(&self) -> Option<Time> {
        let begun = match &self.upcoming {
            Some(upcoming) => Some(upcoming.begun),
            None if self.serves() => None,
            None => {
                let mut members = self.members.iter();
                members.find(|m| m.phase == Phase::Starting).map(|member| member.started)
            }
        };
        begun.map(|begun| begun + SLOW)
    }

    fn is_stuck(&self, now: Time) -> bool {
        self.stuck_at().is_some_and(|at| at <= now)
    }

    fn member(&self, number: u32) -> Option<&Member> {
        self.members.iter().find(|member| member.number == number)
    }

    fn member_mut(&mut self, number: u32) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.number == number)
    }

    fn is_of(&self, number: u32, generation: u32) -> bool {
        self.member(number).is_some_and(|member| member.generation == generation)
    }

    fn numbers_of(&self, which: impl Fn(&Member) -> bool) -> Vec<u32> {
        self.members.iter().filter(|member| which(member)).map(|member| member.number).collect()
    }

    /// Somebody of the serving generation is there to serve, or will be.
    fn has(&self, which: impl Fn(&Member) -> bool) -> bool {
        self.members.iter().any(|member| member.generation == self.generation && which(member))
    }

    fn serves(&self) -> bool {
        self.has(Member::is_ready)
    }

    fn starts(&self) -> bool {
        self.has(|member| member.phase == Phase::Starting)
    }

    fn is_service(&self) -> bool {
        self.group.worker.threads == 0
    }
}
