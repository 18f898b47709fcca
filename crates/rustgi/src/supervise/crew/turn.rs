//! How generations of a crew follow each other, and how its ranks are filled: the inner steps of `crew.rs`.

use super::*;

impl Crew {
    /// A new generation is wanted: now, or after the one that is under way.
    pub(super) fn request(&mut self, now: Time, wish: Wish) {
        if self.stopping {
            return;
        }
        let underway = match &self.upcoming {
            Some(upcoming) => Some(&upcoming.group),
            // The first ones have not been heard of yet; to end them with every wish would never let any be ready.
            None if self.starts() && !self.serves() && !self.is_service() => Some(&self.group),
            None => None,
        };
        if let Some(underway) = underway {
            let is_other = wish.group.as_ref().is_some_and(|group| group != underway);
            if !is_other && !self.is_stuck(now) {
                match &mut self.wanted {
                    Some(wanted) => wanted.merge(wish),
                    None => self.wanted = Some(wish),
                }
                return;
            }
        }
        if self.is_stuck(now) {
            let generation = self.upcoming.as_ref().map(|upcoming| upcoming.generation);
            let is_slow = |m: &Member| Some(m.generation) == generation && !m.is_ready();
            let mut slow = self.members.iter().filter(|member| is_slow(member));
            let loading = slow.find_map(|member| member.loading.clone());
            self.give_up(now, Refusal::Superseded(loading));
        }
        let mut wish = wish;
        if let Some(mut wanted) = self.wanted.take() {
            wanted.merge(wish);
            wish = wanted;
        }
        if let Some(upcoming) = self.upcoming.take() {
            // Changes that were reported since are newer.
            let newer = std::mem::replace(&mut wish.changed, upcoming.wish.changed);
            newer.into_iter().for_each(|version| wish.add_changed(version));
            self.dismiss_all(now, upcoming.generation, &wish.reason);
        }
        self.begin(now, wish);
    }

    /// Begins a new generation.
    fn begin(&mut self, now: Time, wish: Wish) {
        let group = Rc::clone(&self.configured);
        if !self.serves() || group.worker.threads == 0 {
            self.dismiss_all(now, self.generation, &wish.reason);
            self.group = group;
            self.take_over_at_once();
            return;
        }
        self.last += 1;
        let unusable = group.unusable.clone();
        let (generation, failed, tried) = (self.last, HashSet::new(), HashSet::new());
        let processes = group.processes;
        let begun = now;
        let upcoming =
            Upcoming { generation, begun, wish, group: Rc::clone(&group), tried, failed };
        self.upcoming = Some(upcoming);
        if let Some((code, text)) = unusable {
            self.give_up(now, Refusal::Unusable(code, text));
            return;
        }
        for _ in 0..processes {
            self.start(now, generation, &group);
        }
    }

    /// There is nobody whom the new generation would take over from.
    pub(super) fn take_over_at_once(&mut self) {
        self.last += 1;
        self.generation = self.last;
        (self.failures, self.retry) = (0, None);
        self.failed.clear();
        self.actions.push(Action::Switch { generation: self.generation });
        if let Some((code, text)) = &self.group.unusable {
            let refusal = Refusal::Unusable(*code, text.clone());
            self.actions.push(Action::Refuse { generation: self.generation, refusal });
        }
    }

    pub(super) fn one_of_upcoming_is_ready(&mut self, now: Time, failed: Vec<(Vec<u8>, String)>) {
        let Some(upcoming) = &mut self.upcoming else { return };
        upcoming.failed.extend(failed.iter().map(|(path, _)| path.clone()));
        // What could not be loaded before either is no reason to keep the old ones.
        let new: Vec<_> =
            failed.into_iter().filter(|(path, _)| !self.failed.contains(path)).collect();
        if !new.is_empty() {
            self.give_up(now, Refusal::Scripts(new));
            return;
        }
        let generation = upcoming.generation;
        let mut mates = self.members.iter().filter(|member| member.generation == generation);
        if mates.all(Member::is_ready) {
            self.switch(now);
        }
    }

    /// The generation under way takes over.
    fn switch(&mut self, now: Time) {
        let Some(upcoming) = self.upcoming.take() else { return };
        self.forget_changes(&upcoming.tried);
        self.adopt(&upcoming);
        for number in self.numbers_of(|member| {
            member.generation != upcoming.generation && member.phase != Phase::Leaving
        }) {
            self.dismiss(now, number, &upcoming.wish.reason);
        }
    }

    /// A generation has tried to load these versions, so no further generation is requested because of them. Returns those of them for
    /// which one had been requested.
    pub(super) fn forget_changes(&mut self, tried: &HashSet<Version>) -> Vec<Version> {
        let Some(wanted) = &mut self.wanted else { return Vec::new() };
        let all = std::mem::take(&mut wanted.changed);
        let (forgotten, left) = all.into_iter().partition(|version| tried.contains(version));
        wanted.changed = left;
        if wanted.is_for_scripts() && wanted.changed.is_empty() {
            self.wanted = None;
        }
        forgotten
    }

    fn adopt(&mut self, upcoming: &Upcoming) {
        self.group = Rc::clone(&upcoming.group);
        self.generation = upcoming.generation;
        self.failed.clone_from(&upcoming.failed);
        (self.failures, self.retry) = (0, None);
        for number in self.numbers_of(|m| m.generation == upcoming.generation && m.is_ready()) {
            self.actions.push(Action::Serve { number });
        }
        self.actions.push(Action::Switch { generation: self.generation });
    }

    /// The generation under way does not take over.
    pub(super) fn give_up(&mut self, now: Time, refusal: Refusal) {
        let Some(upcoming) = self.upcoming.take() else { return };
        let noticed_since = self.forget_changes(&upcoming.tried);
        for version in upcoming.wish.changed.iter().chain(&noticed_since) {
            for number in self.numbers_of(|m| m.generation == self.generation && m.is_ready()) {
                self.actions.push(Action::Keep { number, path: version.path.clone() });
            }
        }
        let generation = upcoming.generation;
        self.actions.push(Action::Refuse { generation, refusal });
        self.dismiss_all(now, generation, &upcoming.wish.reason);
    }

    pub(super) fn one_of_current_is_ready(
        &mut self,
        now: Time,
        number: u32,
        failed: Vec<(Vec<u8>, String)>,
    ) {
        let others = self.has(|member| member.is_ready() && member.number != number);
        let new: Vec<_> =
            failed.iter().filter(|(path, _)| !self.failed.contains(path)).cloned().collect();
        if others && !new.is_empty() {
            let generation = self.generation;
            self.actions.push(Action::Refuse { generation, refusal: Refusal::Scripts(new) });
            let started = self.members.iter().find(|m| m.number == number).map(|m| m.started);
            self.dismiss(now, number, reason::SCRIPT);
            self.back_off(now, started.unwrap_or(now));
            return;
        }
        let room = REMEMBERED.saturating_sub(self.failed.len());
        self.failed.extend(failed.into_iter().map(|(path, _)| path).take(room));
        self.actions.push(Action::Serve { number });
        let ready = self.numbers_of(|m| m.generation == self.generation && m.is_ready()).len();
        let surplus = ready.saturating_sub(self.group.processes as usize);
        let retiring = |m: &&Member| m.is_ready() && m.retiring.is_some();
        let retiring: Vec<_> = self.members.iter().filter(retiring).take(surplus).collect();
        let retiring: Vec<_> =
            retiring.iter().map(|m| (m.number, m.retiring.clone().unwrap_or_default())).collect();
        for (number, reason) in retiring {
            self.dismiss(now, number, &reason);
        }
    }

    pub(super) fn count_death(&mut self, now: Time, member: &Member, death: Death) {
        if self.is_service() {
            let next = (member.started + SETTLED).max(now);
            if death.is_well || now >= member.started + SETTLED || member.phase == Phase::Leaving {
                self.failures = 0;
                self.retry = Some(next);
            } else {
                self.back_off(now, member.started);
                self.retry = self.retry.max(Some(next));
            }
            return;
        }
        match member.phase {
            // Served requests do not count: an application can die of the first request of each worker.
            Phase::Ready(since) if now >= since + SETTLED || member.retiring.is_some() => {
                (self.failures, self.retry) = (0, None);
            }
            Phase::Leaving => {}
            _ => self.back_off(now, member.started),
        }
    }

    pub(super) fn back_off(&mut self, now: Time, started: Time) {
        // Those that were started together and die together have failed once.
        if self.failed_at.is_some_and(|at| started < at) {
            return;
        }
        self.failed_at = Some(now);
        self.failures += 1;
        self.retry = Some(now + self.delay());
    }

    /// How long the next start waits after the failures so far; no time after the first one.
    fn delay(&self) -> Time {
        let doublings = self.failures.checked_sub(2).map(|doublings| doublings.min(10));
        doublings
            .map_or(Time::ZERO, |doublings| (FIRST_DELAY * (1 << doublings)).min(LONGEST_DELAY))
    }

    /// Fills the ranks, and does what had to wait.
    pub(super) fn settle(&mut self, now: Time) {
        if !self.stopping {
            if self.upcoming.is_some() && !self.serves() {
                // Nobody is left whom it would take over from, so whoever is ready of it serves.
                let upcoming = self.upcoming.take();
                upcoming.iter().for_each(|upcoming| self.adopt(upcoming));
            }
            let is_free = self.upcoming.is_none() && (self.serves() || !self.starts());
            let is_stuck = self.is_stuck(now);
            match self.wanted.take_if(|_| is_free || is_stuck) {
                Some(wish) if is_free => self.begin(now, wish),
                Some(wish) => self.request(now, wish),
                None => {}
            }
            self.fill(now);
        }
        self.tell_trouble();
    }

    fn fill(&mut self, now: Time) {
        let waits = self.retry.is_some_and(|at| at > now) || self.farewell.is_some();
        if self.upcoming.is_some() || self.group.unusable.is_some() || waits {
            return;
        }
        self.retry = None;
        let generation = self.generation;
        // Two service scripts beside each other would do everything twice.
        let occupied = |m: &&Member| {
            let stays = m.phase != Phase::Leaving && m.retiring.is_none();
            self.is_service() || (m.generation == generation && stays)
        };
        let occupied = self.members.iter().filter(occupied).count();
        let group = Rc::clone(&self.group);
        for _ in occupied..group.processes as usize {
            self.start(now, generation, &group);
        }
    }

    fn start(&mut self, now: Time, generation: u32, group: &Rc<Group>) {
        let number = self.numbers.get();
        self.numbers.set(number.wrapping_add(1));
        let timeout = Duration::from_secs(group.startup_timeout.into());
        let timeout = timeout + STARTUP_MARGIN;
        let is_bounded = group.startup_timeout > 0 && group.worker.threads > 0;
        self.members.push(Member {
            number,
            generation,
            group: Rc::clone(group),
            phase: Phase::Starting,
            started: now,
            deadline: is_bounded.then_some((now + timeout, STARTUP)),
            restart: None,
            retiring: None,
            loading: None,
            killed_by: None,
        });
        let scripts = self.scripts.iter().take(SCRIPTS).cloned().collect();
        let group = Rc::clone(group);
        self.actions.push(Action::Start { number, generation, group, scripts });
    }

    fn dismiss_all(&mut self, now: Time, generation: u32, reason: &str) {
        for number in self.numbers_of(|m| m.generation == generation && m.phase != Phase::Leaving) {
            self.dismiss(now, number, reason);
        }
    }

    pub(super) fn dismiss(&mut self, now: Time, number: u32, reason: &str) {
        let stopping = self.stopping;
        let Some(member) = self.member_mut(number) else { return };
        let group = &member.group;
        let seconds = match reason {
            reason::SHUTDOWN => 0,
            reason::EVICTION if group.eviction_timeout > 0 => group.eviction_timeout,
            _ => group.graceful_timeout,
        };
        let has_requests = member.phase != Phase::Starting && group.worker.threads > 0;
        let patience = Duration::from_secs(if has_requests { seconds.into() } else { 0 });
        member.deadline = end(now, patience, group.shutdown_timeout);
        if stopping && member.deadline.is_none() {
            member.deadline = Some((now + patience + LONGEST_END, SHUTDOWN));
        }
        member.phase = Phase::Leaving;
        if member.retiring.as_deref() != Some(reason::REQUEST_TIMEOUT) {
            member.retiring = Some(reason.to_owned());
        }
        let reason = reason.to_owned();
        self.actions.push(Action::Dismiss { number, reason, patience });
    }

    fn tell_trouble(&mut self) {
        let is_there = |m: &Member| m.phase != Phase::Leaving && m.generation >= self.generation;
        let trouble = if let Some((code, _)) = self.group.unusable {
            Some((code, None))
        } else if self.is_service() {
            Some((Code::ServesNoRequests as u16, None))
        } else if self.retry.is_some()
            && self.failures >= TROUBLED
            && !self.members.iter().any(is_there)
        {
            Some((Code::WorkersFailing as u16, self.retry))
        } else {
            None
        };
        if trouble != self.trouble {
            self.trouble = trouble;
            self.actions.push(Action::Trouble(trouble));
        }
    }
}

/// When a worker that leaves is killed.
pub(super) fn end(now: Time, patience: Time, shutdown_timeout: u32) -> Option<(Time, u8)> {
    let timeout = Duration::from_secs(shutdown_timeout.into());
    (shutdown_timeout > 0).then_some((now + patience + timeout + MARGIN, SHUTDOWN))
}

/// When a worker is old enough: workers that became ready together shall not all be replaced together.
pub(super) fn restart_time(now: Time, member: &Member) -> Option<Time> {
    let group = &member.group;
    let interval = Duration::from_secs(group.restart_interval.into());
    // A well-mixed number of the worker's number: 0.9 to 1.1.
    let mixed = member.number.wrapping_mul(0x9e37_79b9) >> 16;
    let share = if group.processes > 1 { 0.9 + 0.2 * f64::from(mixed) / 65535.0 } else { 1.0 };
    (group.restart_interval > 0).then(|| now + interval.mul_f64(share))
}
