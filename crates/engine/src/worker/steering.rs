//! The control thread of a worker: it reads messages of the supervisor and signals, accepts connections of children, and acts when
//! a timeout expires. It takes no lock of an interpreter and waits for no other process. The one exception: when a timeout has
//! expired it waits for the prober to write a stack to the log, for 1 s at most.

use super::callbacks::Callbacks;
use super::clock::now;
use super::desk::Sitting;
use super::life::leave_at_once;
use super::post::Post;
use super::prober::{Place, Prober};
use super::proof::Unproved;
use super::signals::{self, Signal};
use super::timers::{Due, State, Timers};
use super::{journal, service};
use crate::host::Host;
use exchange::{Code, Level};
use link::Channel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use wire::control::{self, FromWorker, ToWorker};

/// How many milliseconds a worker may take to end that has never been ready.
const UNSERVED: u64 = 1000;
/// After how many milliseconds without a request a worker whose supervisor has died ends. By then the children of httpd have found
/// the workers of the next supervisor, if there is one.
const IDLE: u64 = 2000;
/// How many milliseconds such a worker may take to end if `shutdown-timeout` allows any time.
const LONGEST_END: u64 = 60_000;

/// The thread that steers.
pub struct Steering {
    post: &'static Post,
    host: &'static Host,
    /// `None` when the supervisor has gone.
    channel: Option<Channel>,
    /// `None` when nobody is to connect any more.
    listener: Option<OwnedFd>,
    /// Connections without a proof.
    unproved: Unproved,
    timers: Timers,
    prober: Option<Prober>,
    callbacks: Callbacks,
    /// When the first request came.
    first: Option<u64>,
    /// Until when requests are waited for.
    patience: Option<u64>,
    /// Requests were given time to finish.
    has_waited: bool,
    /// Since when the worker has had no request, if its supervisor has died.
    idle_since: Option<u64>,
    /// When the process is ended, whatever it does.
    deadline: Option<u64>,
    /// When it began.
    began: u64,
    /// Since when it has served requests.
    served_from: Option<u64>,
    /// Since when the script that was last reported as slow has been loading, and after how many milliseconds of loading it is reported
    /// next.
    slow: Option<(u64, u64)>,
}

/// A script that has been loading for this many milliseconds is reported in the log, and again each time that the time has doubled.
const SLOW: u64 = 5000;
/// A worker that reaches a memory limit is replaced only when it has been ready for this many milliseconds: if the limit is too low
/// for any request, processes must not be started as fast as requests arrive.
const REPLACE_AFTER: u64 = 2000;

impl Steering {
    /// Starts it.
    pub fn start(
        post: &'static Post,
        host: &'static Host,
        channel: Channel,
        listener: Option<OwnedFd>,
    ) -> io::Result<()> {
        let steering = Steering {
            post,
            host,
            channel: Some(channel),
            listener,
            unproved: Unproved::default(),
            timers: Timers::new(&post.options),
            prober: None,
            callbacks: Callbacks::default(),
            first: None,
            patience: None,
            has_waited: false,
            idle_since: None,
            deadline: None,
            began: now(),
            served_from: None,
            slow: None,
        };
        let thread = std::thread::Builder::new().name("wsgi-steering".into());
        thread.spawn(move || steering.steer()).map(drop)
    }

    fn steer(mut self) {
        loop {
            let next = self.see_to_what_is_due();
            let [parted, heard, knocked] = self.wait(next);
            for signal in signals::take() {
                self.obey(signal);
            }
            if parted {
                self.post.connections.see_off();
            }
            if heard {
                self.listen();
            }
            if let Some(listener) = self.listener.as_ref().filter(|_| knocked) {
                let post = self.post;
                post.connections.accept(post, listener.as_fd(), &mut self.unproved);
            }
            for stream in self.unproved.take_proved(&self.post.secret) {
                self.post.connections.admit(self.post, stream);
            }
        }
    }

    /// Waits until `next`, or until something comes: from somebody who has gone, from the supervisor, or from somebody who
    /// wants to connect.
    fn wait(&self, next: Option<u64>) -> [bool; 3] {
        let time = next.map(|next| {
            let left = next.saturating_sub(now());
            Timespec { tv_sec: (left / 1000) as i64, tv_nsec: (left % 1000 * 1_000_000) as _ }
        });
        let bell = self.post.bell();
        let partings = self.post.connections.partings();
        let mut all = vec![
            PollFd::new(bell, PollFlags::IN),
            PollFd::from_borrowed_fd(partings, PollFlags::IN),
        ];
        let channel = self.channel.as_ref().map(|channel| {
            all.push(PollFd::new(channel, PollFlags::IN));
            all.len() - 1
        });
        let listener = self.listener.as_ref().map(|listener| {
            all.push(PollFd::new(listener, PollFlags::IN));
            all.len() - 1
        });
        all.extend(self.unproved.watched());
        if poll(&mut all, time.as_ref()).is_err() {
            return [false; 3];
        }
        let came = |index: Option<usize>| index.is_some_and(|at| !all[at].revents().is_empty());
        if came(Some(0)) {
            let _ = rustix::io::read(bell, &mut [0; 8]);
        }
        [came(Some(1)), came(channel), came(listener)]
    }

    fn obey(&mut self, signal: Signal) {
        match signal {
            // No other script is run; the one that is running goes on.
            _ if self.post.options.threads == 0 => self.post.course.drain(),
            Signal::Terminate | Signal::Interrupt => self.leave("shutdown_signal"),
            Signal::Evict => self.post.want_out("eviction_signal"),
            Signal::CpuTime => {
                let limit = self.post.options.cpu_time_limit;
                self.report_all(&format!("cpu-time-limit={limit}"), "the worker is replaced");
                self.post.want_out("cpu_time_limit");
            }
            Signal::Hangup | Signal::User2 => {
                if !self.post.course.has_ended() {
                    self.callbacks.tell(self.host, signal);
                }
            }
        }
    }

    fn listen(&mut self) {
        while let Some(channel) = &mut self.channel {
            match channel.try_receive() {
                Ok(Some((message, descriptors))) => match control::decode(&message) {
                    Ok(message) => self.hear(message, descriptors),
                    Err(_) => return self.be_orphaned(),
                },
                Ok(None) => return,
                Err(_) => return self.be_orphaned(),
            }
        }
    }

    fn hear(&mut self, message: ToWorker, descriptors: Vec<OwnedFd>) {
        match message {
            ToWorker::Begin { .. } => {}
            ToWorker::Leave { reason, patience } => {
                self.post.course.give_reason(&reason);
                self.post.course.drain();
                self.turn_away();
                // When httpd stops, requests are not given more time: `shutdown-timeout` limits the end of the worker.
                self.has_waited = patience != Some(0);
                self.patience = Some(patience.map_or(u64::MAX, |time| now().saturating_add(time)));
            }
            ToWorker::Keep(path) => self.post.changes.keep(&path),
            ToWorker::Expect(version) => self.post.changes.expect(version),
            ToWorker::Listen => self.listen_at(descriptors.into_iter().next()),
            ToWorker::Log { log_level } => {
                journal::set_level(log_level);
                if let Some(log) = descriptors.first() {
                    let _ = rustix::stdio::dup2_stdout(log);
                    let _ = rustix::stdio::dup2_stderr(log);
                }
            }
        }
    }

    /// The supervisor has died. httpd starts another one, and its children then find the workers of that one. Until then this worker
    /// takes requests, because no other worker can, and it finishes those that it has. It must end by itself, because no process
    /// will tell it to.
    fn be_orphaned(&mut self) {
        let code = Code::SupervisorGone;
        journal::note(Level::Warning, &format!("{code}: {}; leaving.", code.text()));
        self.channel = None;
        self.post.course.give_reason("shutdown_signal");
        let graceful = u64::from(self.post.options.graceful_timeout) * 1000;
        let until = now().saturating_add(graceful);
        self.patience = Some(self.patience.map_or(until, |patience| patience.min(until)));
        self.idle_since = Some(now());
        if self.post.options.threads == 0 {
            self.end("");
        } else if !self.post.course.is_serving() {
            // The script that it loads may hang, and it has no request to lose.
            leave_at_once(255);
        }
        if self.post.course.has_ended() {
            self.deadline = Some(self.deadline.unwrap_or(now() + LONGEST_END));
        }
    }

    /// Whether there has been nothing to do for so long, in a worker whose supervisor has died, that it can end. Without a connection
    /// it ends at once: httpd has gone as well, or no child has ever used it.
    fn is_idle(&mut self, now: u64) -> bool {
        if self.idle_since.is_some() && self.post.connections.is_empty() {
            return true;
        }
        if self.idle_since.is_some() && self.post.page.busy() > 0 {
            self.idle_since = Some(now);
        }
        self.idle_since.is_some_and(|since| now >= since + IDLE)
    }

    /// Accepts connections on another socket from now on. The connections that are pending on the old one are accepted first.
    fn listen_at(&mut self, socket: Option<OwnedFd>) {
        let (Some(listener), Some(socket)) = (&mut self.listener, socket) else { return };
        self.post.connections.accept(self.post, listener.as_fd(), &mut self.unproved);
        // The number stays the same, because processes that the application forks close this number.
        let _ = rustix::io::dup3(&socket, listener, rustix::io::DupFlags::CLOEXEC);
    }

    /// Nobody is to connect any more.
    fn turn_away(&mut self) {
        if let Some(listener) = self.listener.take() {
            // Another process may have it open as well.
            let _ = shutdown(listener, Shutdown::Both);
        }
        self.unproved = Unproved::default();
    }

    /// The process ends, which the supervisor has not asked for.
    fn leave(&mut self, reason: &str) {
        if !self.post.course.has_ended() {
            self.post.course.give_reason(reason);
            let reason = self.post.course.reason().to_owned();
            self.post.say(&FromWorker::Leaving { reason });
            self.end("");
        }
    }

    /// The process ends.
    fn end(&mut self, reason: &str) {
        self.post.course.give_reason(reason);
        self.turn_away();
        if !self.post.course.end() {
            return;
        }
        let line = format!("Shutdown requested ({}).", self.post.course.reason());
        journal::note(Level::Info, &line);
        self.post.connections.end(&self.post.page);
        let timeout = u64::from(self.post.options.shutdown_timeout) * 1000;
        let longest = self.channel.is_none().then_some(LONGEST_END);
        let timeout = (timeout > 0).then_some(timeout).or(longest);
        self.deadline = timeout.map(|timeout| now() + timeout);
        if self.post.options.threads == 0 {
            service::end();
        } else if self.is_loading() {
            // The thread that loads cannot be interrupted, and the worker has not served a request.
            self.deadline = Some(now() + UNSERVED);
        }
    }

    /// Does what is due; when to look again.
    fn see_to_what_is_due(&mut self) -> Option<u64> {
        let now = now();
        let mut next = self.look_at_timers(now);
        let others = [self.look_at_loading(now), self.look_at_memory(now)];
        next = next.into_iter().chain(others.into_iter().flatten()).min();
        let mut look_at = |time: Option<u64>| {
            if let Some(time) = time.filter(|time| *time != u64::MAX) {
                next = Some(next.map_or(time, |next| next.min(time)));
            }
        };
        look_at(self.unproved.next());
        if let Some(until) = self.patience.filter(|_| !self.post.course.has_ended()) {
            let desks: Vec<_> = self.post.desks.iter().map(|desk| desk.sitting()).collect();
            let is_done = match self.post.course.is_draining() {
                true => !self.timers.is_any_alive(&desks, now),
                false => self.is_idle(now),
            };
            if now >= until || is_done {
                if now >= until && self.has_waited {
                    let timer = match self.post.course.reason() {
                        "eviction_signal" => "eviction-timeout or graceful-timeout",
                        _ => "graceful-timeout",
                    };
                    self.report_all(timer, "its worker ends");
                }
                self.end("");
            } else {
                look_at(Some(until));
                // Whoever grows too old is not waited for.
                let looks = self.timers.has_age_limit() || self.channel.is_none();
                look_at(looks.then_some(now + 200));
            }
        }
        match self.deadline {
            Some(deadline) if now >= deadline && self.is_loading() => leave_at_once(0),
            Some(deadline) if now >= deadline => {
                let code = Code::ShutdownTimedOut;
                let line = format!("{code}: {} ({}).", code.text(), self.post.course.reason());
                journal::note(Level::Error, &line);
                self.report_end();
                leave_at_once(255)
            }
            deadline => look_at(deadline),
        }
        next
    }

    fn look_at_timers(&mut self, now: u64) -> Option<u64> {
        let post = self.post;
        if !post.course.is_serving() || post.course.has_ended() {
            return None;
        }
        self.served_from = self.served_from.or(Some(now));
        if self.timers.need_prober() {
            self.have_prober();
        }
        let desks: Vec<Option<Sitting>> = post.desks.iter().map(|desk| desk.sitting()).collect();
        let used = post.used.load(Ordering::Relaxed);
        let earliest = desks.iter().flatten().map(|sitting| sitting.since).min();
        self.first = self.first.or(earliest).or((used > 0).then_some(used));
        let state = State {
            desks: &desks,
            used,
            waiting: self.prober.as_ref().and_then(Prober::waiting_since),
            starting: self.first.filter(|_| !post.has_loaded()),
        };
        let look = self.timers.look(&state, now);
        for due in look.due {
            match due {
                Due::Interrupt(index) => {
                    if let (Some(prober), Some(sitting)) = (&self.prober, desks[index]) {
                        let seconds = self.timers.request_seconds();
                        let desk = &post.desks[index];
                        let what = format!(
                            "request-timeout={} with {} threads: {} has taken more than {seconds:.1} s",
                            post.options.request_timeout,
                            post.options.threads,
                            desk.describe(),
                        );
                        prober.interrupt(desk, sitting.serial, expired(&what));
                    }
                }
                Due::Overdue(index) => {
                    let options = &post.options;
                    let mut timer = format!(
                        "request-timeout={} with {} threads ({:.1} s)",
                        options.request_timeout,
                        options.threads,
                        self.timers.request_seconds()
                    );
                    if options.interrupt_timeout > 0 {
                        timer += &format!(" and interrupt-timeout={}", options.interrupt_timeout);
                    }
                    self.report_requests(index..index + 1, &timer, "its worker is replaced");
                    post.want_out("request_timeout");
                    if post.course.note_overdue() {
                        // Sent even if the worker is being replaced already, because this is why the request will be lost.
                        let reason = "request_timeout".to_owned();
                        post.say(&FromWorker::Replace { reason });
                    }
                }
                Due::Inactive => post.want_out("inactivity_timeout"),
                Due::Unstarted => {
                    let timeout = post.options.startup_timeout;
                    let timer = format!("startup-timeout={timeout}: no script has been loaded");
                    self.report_all(&timer, "the worker ends");
                    self.leave("startup_timeout");
                }
                Due::Deadlock => {
                    let (code, timeout) = (Code::DeadlockDetected, post.options.deadlock_timeout);
                    let line = format!("{code}: {} (deadlock-timeout={timeout}).", code.text());
                    journal::note(Level::Error, &line);
                    let timer = format!("deadlock-timeout={timeout}");
                    if self.post.desks.iter().any(|desk| desk.sitting().is_some()) {
                        self.report_all(&timer, "the worker ends");
                    } else {
                        self.write_stacks_without_lock(Level::Error);
                    }
                    self.leave("deadlock_timeout");
                }
            }
        }
        look.next
    }

    fn have_prober(&mut self) {
        if self.prober.is_none() {
            self.prober = Prober::start(self.post, self.host).ok();
        }
    }

    fn is_loading(&self) -> bool {
        self.post.options.threads > 0 && !self.post.course.is_serving()
    }

    /// Reports a script that takes a long time to load before the worker is ready, and ends the worker when `startup-timeout` expires.
    /// Returns when to call this again.
    fn look_at_loading(&mut self, now: u64) -> Option<u64> {
        let post = self.post;
        if !self.is_loading() || post.course.has_ended() {
            return None;
        }
        // The thread that loads wakes this thread when it begins.
        let loading = post.being_loaded()?;
        let timeout = post.options.load_timeout;
        let end = (timeout > 0).then(|| self.began + u64::from(timeout) * 1000);
        let script = String::from_utf8_lossy(&loading.script).into_owned();
        let seconds = now.saturating_sub(loading.since) / 1000;
        let place = loading.thread;
        if end.is_some_and(|end| now >= end) {
            let what = format!(
                "startup-timeout={timeout}: '{script}' has not been loaded for {seconds} s; the worker ends"
            );
            self.report(&expired(&what), Level::Error, place);
            post.say(&FromWorker::Loading(loading.script));
            post.say(&FromWorker::Leaving { reason: "startup_timeout".to_owned() });
            // The worker has not served a request, and the thread that loads cannot be interrupted.
            leave_at_once(255);
        }
        let (since, next) = self.slow.unwrap_or_default();
        let mut next = if since == loading.since { next } else { SLOW };
        if now >= loading.since + next {
            let bound = match timeout {
                0 => "startup-timeout is 0, so it may take any time".to_owned(),
                _ => format!("startup-timeout is {timeout}"),
            };
            let code = Code::ScriptSlow;
            let group = String::from_utf8_lossy(&crate::settings().process_group);
            let line = format!(
                "{code}: {}: process group '{group}': '{script}' has been loading for {seconds} s; {bound}",
                code.text(),
            );
            self.report(&line, Level::Warning, place);
            post.say(&FromWorker::Loading(loading.script));
            next *= 2;
        }
        self.slow = Some((loading.since, next));
        let again = loading.since + next;
        Some(end.map_or(again, |end| end.min(again)))
    }

    /// If a memory limit was reached, asks the supervisor for another worker, but not before [`REPLACE_AFTER`]. Returns when to call this
    /// again.
    fn look_at_memory(&self, now: u64) -> Option<u64> {
        let from = self.served_from.filter(|_| self.post.memory.is_reached())? + REPLACE_AFTER;
        if now < from {
            return Some(from);
        }
        self.post.want_out("memory_limit");
        None
    }

    /// Writes for the requests of these desks that `timer` has expired, with their stacks; once for each request.
    fn report_requests(&mut self, desks: Range<usize>, timer: &str, what: &str) {
        let mut unknown = false;
        for desk in &self.post.desks[desks] {
            let Some(sitting) = desk.sitting().filter(|it| desk.report_once(it.serial)) else {
                continue;
            };
            let seconds = now().saturating_sub(sitting.since) as f64 / 1000.0;
            let request = desk.describe();
            let line = expired(&format!("{timer}: {request} has taken {seconds:.1} s; {what}"));
            unknown |= !self.try_report(&line, Level::Error, desk.thread().map(Place::from));
        }
        if unknown {
            self.write_stacks_without_lock(Level::Error);
        }
    }

    /// The same for all requests that the worker is running.
    fn report_all(&mut self, timer: &str, what: &str) {
        self.report_requests(0..self.post.desks.len(), timer, what);
    }

    /// `shutdown-timeout` has expired: writes the requests that have not ended, or else the stacks of all threads.
    fn report_end(&mut self) {
        let timer = format!("shutdown-timeout={}", self.post.options.shutdown_timeout);
        if self.post.desks.iter().any(|desk| desk.sitting().is_some()) {
            self.report_all(&timer, "the worker is ended");
        } else if self.post.course.is_serving() {
            let line = expired(&format!("{timer}: the application has not ended"));
            let all = Place { interpreter: self.host.main(), ident: None };
            self.report(&line, Level::Error, Some(all));
        }
    }

    /// Writes a line and the stack of a thread.
    fn report(&mut self, line: &str, level: Level, place: Option<Place>) {
        if !self.try_report(line, level, place) {
            self.write_stacks_without_lock(level);
        }
    }

    /// Writes a line and, below it, the stack of a thread. `false` if the stack could not be read.
    fn try_report(&mut self, line: &str, level: Level, place: Option<Place>) -> bool {
        journal::note(level, &format!("{line}. Python stack:"));
        self.have_prober();
        let prober = self.prober.as_ref().filter(|prober| !prober.is_late());
        let written = place.zip(prober).map(|(place, prober)| prober.write_stack(place, level));
        written == Some(true)
    }

    /// Writes the stacks of the threads of the main interpreter while one of them keeps its lock.
    fn write_stacks_without_lock(&self, level: Level) {
        let lines = self.post.stacks_without_lock();
        let what = match lines.is_empty() {
            true => "Not available: the lock of the interpreter could not be taken.",
            false => {
                "The lock of the interpreter could not be taken. Threads of the main interpreter:"
            }
        };
        journal::note(level, what);
        lines.iter().for_each(|line| journal::note(level, line));
    }
}

/// The log line of a timeout that has expired.
fn expired(what: &str) -> String {
    let (code, group) = (Code::TimeoutExpired, &crate::settings().process_group);
    format!("{code}: {}: process group '{}': {what}", code.text(), String::from_utf8_lossy(group))
}
