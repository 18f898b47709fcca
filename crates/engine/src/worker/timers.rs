//! What is due in a worker, each thing by itself. Whoever sleeps until [`Look::next`] misses nothing: what has not begun
//! cannot be due sooner than its time from now.

use super::desk::Sitting;
use wire::control;

/// The times of a worker in milliseconds; `None` for never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timers {
    request: Option<u64>,
    interrupt: Option<u64>,
    inactivity: Option<u64>,
    deadlock: Option<u64>,
    startup: Option<u64>,
    /// Requests that are older do not count as alive.
    alive: Option<u64>,
}

/// What the timers look at.
#[derive(Debug)]
pub struct State<'a> {
    /// The request at each desk.
    pub desks: &'a [Option<Sitting>],
    /// When something was last done that counts as use; 0 for never.
    pub used: u64,
    /// Since when the main interpreter is being waited for.
    pub waiting: Option<u64>,
    /// When the first request came; nothing once a script has been loaded.
    pub starting: Option<u64>,
}

/// Something that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The request of this desk is to be interrupted.
    Interrupt(usize),
    /// The request of this desk has exceeded `request-timeout`, and `interrupt-timeout` if it is set.
    Overdue(usize),
    /// The process has not been used for long.
    Inactive,
    /// The main interpreter cannot be had.
    Deadlock,
    /// There have been requests, and no script has been loaded.
    Unstarted,
}

/// What has been found.
#[derive(Debug, PartialEq, Eq)]
pub struct Look {
    /// What is due.
    pub due: Vec<Due>,
    /// When to look again.
    pub next: Option<u64>,
}

impl Timers {
    /// Those of a worker.
    pub fn new(options: &control::Worker) -> Timers {
        let time = |seconds: u32| (seconds > 0).then(|| u64::from(seconds) * 1000);
        // With more threads a slow request does less harm.
        let scale = 1.0 + f64::from(options.threads.max(1)).ln();
        let request = time(options.request_timeout).map(|time| (time as f64 * scale) as u64);
        Timers {
            request,
            interrupt: time(options.interrupt_timeout),
            inactivity: time(options.inactivity_timeout),
            deadlock: time(options.deadlock_timeout),
            startup: time(options.startup_timeout),
            alive: time(options.request_timeout.saturating_add(options.interrupt_timeout)),
        }
    }

    /// After how many seconds a request is too slow.
    pub fn request_seconds(&self) -> f64 {
        self.request.unwrap_or_default() as f64 / 1000.0
    }

    /// Whether a timer needs the prober, because it enters interpreters.
    pub fn need_prober(&self) -> bool {
        self.deadlock.is_some() || (self.request.is_some() && self.interrupt.is_some())
    }

    /// Whether there is an age at which requests are not waited for any more.
    pub fn has_age_limit(&self) -> bool {
        self.alive.is_some()
    }

    /// Whether any request is worth waiting for.
    pub fn is_any_alive(&self, desks: &[Option<Sitting>], now: u64) -> bool {
        desks.iter().flatten().any(|sitting| {
            self.alive.is_none_or(|alive| now.saturating_sub(sitting.since) <= alive)
        })
    }

    /// Looks what is due now.
    pub fn look(&self, state: &State<'_>, now: u64) -> Look {
        let mut look = Look { due: Vec::new(), next: None };
        if let Some(time) = self.request {
            for (index, sitting) in state.desks.iter().enumerate() {
                match sitting {
                    Some(sitting) => self.look_at(index, sitting, time, now, &mut look),
                    None => look.at(now + time),
                }
            }
        }
        if let Some(time) = self.inactivity {
            let idle = state.used != 0 && !self.is_any_alive(state.desks, now);
            let since = if idle { state.used } else { now };
            look.when(since + time, now, Due::Inactive);
        }
        if let Some(time) = self.deadlock {
            look.when(state.waiting.unwrap_or(now) + time, now, Due::Deadlock);
        }
        if let Some(time) = self.startup {
            look.when(state.starting.unwrap_or(now) + time, now, Due::Unstarted);
        }
        look
    }

    fn look_at(&self, desk: usize, sitting: &Sitting, time: u64, now: u64, look: &mut Look) {
        match (sitting.interrupted, self.interrupt) {
            (Some(since), Some(interrupt)) => look.when(since + interrupt, now, Due::Overdue(desk)),
            (None, Some(_)) => look.when(sitting.since + time, now, Due::Interrupt(desk)),
            (_, None) => look.when(sitting.since + time, now, Due::Overdue(desk)),
        }
    }
}

impl Look {
    fn at(&mut self, time: u64) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }

    fn when(&mut self, time: u64, now: u64, due: Due) {
        if time > now {
            return self.at(time);
        }
        if !self.due.contains(&due) {
            self.due.push(due);
        }
        // It may not be over with being noticed once.
        self.at(now + 1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timers(options: control::Worker) -> Timers {
        Timers::new(&control::Worker { threads: 1, ..options })
    }

    fn state<'a>(desks: &'a [Option<Sitting>], used: u64) -> State<'a> {
        State { desks, used, waiting: None, starting: None }
    }

    fn sitting(since: u64, interrupted: Option<u64>) -> Option<Sitting> {
        Some(Sitting { since, interrupted, serial: 1 })
    }

    #[test]
    fn without_times_nothing_is_ever_due() {
        let look = timers(control::Worker::default()).look(&state(&[sitting(1, None)], 1), 1 << 40);
        assert_eq!(look, Look { due: vec![], next: None });
    }

    #[test]
    fn a_slow_request_is_interrupted_first_if_it_can_be() {
        let options = control::Worker { request_timeout: 2, ..control::Worker::default() };
        let plain = timers(options.clone());
        assert_eq!(plain.look(&state(&[sitting(1000, None)], 0), 2999).next, Some(3000));
        assert_eq!(plain.look(&state(&[sitting(1000, None)], 0), 3000).due, [Due::Overdue(0)]);
        let timers = timers(control::Worker { interrupt_timeout: 1, ..options });
        let due = |interrupted, now| timers.look(&state(&[sitting(1, interrupted)], 0), now).due;
        assert_eq!(due(None, 3000), [Due::Interrupt(0)]);
        assert_eq!(due(Some(3000), 3999), []);
        assert_eq!(due(Some(3000), 4000), [Due::Overdue(0)]);
    }

    #[test]
    fn more_threads_give_a_request_more_time() {
        let options =
            control::Worker { request_timeout: 10, threads: 15, ..control::Worker::default() };
        assert_eq!(Timers::new(&options).request_seconds(), 37.08);
    }

    #[test]
    fn a_process_is_inactive_when_it_was_used_and_is_not_any_more() {
        let options = control::Worker { inactivity_timeout: 2, ..control::Worker::default() };
        let timers = timers(options);
        assert_eq!(timers.look(&state(&[None], 0), 100_000).due, []);
        assert_eq!(timers.look(&state(&[sitting(1, None)], 1000), 100_000).due, []);
        assert_eq!(timers.look(&state(&[None], 1000), 2999).next, Some(3000));
        assert_eq!(timers.look(&state(&[None], 1000), 3000).due, [Due::Inactive]);
    }

    #[test]
    fn a_deadlock_is_one_after_its_time() {
        let timers = timers(control::Worker { deadlock_timeout: 1, ..control::Worker::default() });
        let look = |waiting, now| timers.look(&State { waiting, ..state(&[], 0) }, now).due;
        assert_eq!(look(None, 5000), []);
        assert_eq!(look(Some(4500), 5000), []);
        assert_eq!(look(Some(4000), 5000), [Due::Deadlock]);
    }

    #[test]
    fn a_process_has_so_long_for_its_first_script() {
        let timers = timers(control::Worker { startup_timeout: 1, ..control::Worker::default() });
        let look = |starting, now| timers.look(&State { starting, ..state(&[], 0) }, now);
        assert_eq!(look(None, 5000), Look { due: vec![], next: Some(6000) });
        assert_eq!(look(Some(4500), 5000).next, Some(5500));
        assert_eq!(look(Some(4000), 5000).due, [Due::Unstarted]);
    }

    #[test]
    fn requests_that_are_too_old_are_not_waited_for() {
        let options = control::Worker { request_timeout: 1, ..control::Worker::default() };
        let timers = timers(options);
        assert!(timers.is_any_alive(&[sitting(1000, None)], 2000));
        assert!(!timers.is_any_alive(&[None, sitting(1000, None)], 2001));
        let all = Timers::new(&control::Worker::default());
        assert!(all.is_any_alive(&[sitting(1, None)], 1 << 40));
    }
}
