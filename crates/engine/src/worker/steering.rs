//! The thread that steers a worker: it hears what the supervisor says and what signals come, lets children connect, and sees
//! to what is due. It never waits for an interpreter, nor for anybody but the kernel.

use super::callbacks::Callbacks;
use super::desk::{Sitting, now};
use super::life::leave_at_once;
use super::post::Post;
use super::prober::Prober;
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
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use wire::control::{self, FromWorker, ToWorker};

/// How long the end may take when there is nobody who would put an end to it.
const ORPHANED: u32 = 5;

/// The thread that steers.
pub struct Steering {
    post: &'static Post,
    host: &'static Host,
    /// `None` when the supervisor has gone.
    channel: Option<Channel>,
    /// `None` when nobody is to connect any more.
    listener: Option<OwnedFd>,
    /// Connections that have not yet proved to be of a child of httpd.
    unproved: Unproved,
    timers: Timers,
    prober: Option<Prober>,
    callbacks: Callbacks,
    /// When the first request came.
    first: Option<u64>,
    /// Until when requests are waited for.
    patience: Option<u64>,
    /// When the process is ended, whatever it does.
    deadline: Option<u64>,
}

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
            deadline: None,
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
            Signal::CpuTime => self.post.want_out("cpu_time_limit"),
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
                self.patience = Some(patience.map_or(u64::MAX, |time| now().saturating_add(time)));
            }
            ToWorker::Keep(path) => self.post.changes.keep(&path),
            ToWorker::Log { log_level } => {
                journal::set_level(log_level);
                if let Some(log) = descriptors.first() {
                    let _ = rustix::stdio::dup2_stdout(log);
                    let _ = rustix::stdio::dup2_stderr(log);
                }
            }
        }
    }

    /// The supervisor has gone, and with it whoever would put an end to this process.
    fn be_orphaned(&mut self) {
        let code = Code::SupervisorGone;
        journal::note(Level::Warning, &format!("{code}: {}; leaving.", code.text()));
        self.channel = None;
        self.end("shutdown_signal");
        let most = now() + u64::from(ORPHANED) * 1000;
        self.deadline = Some(self.deadline.map_or(most, |deadline| deadline.min(most)));
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
        self.deadline = (timeout > 0).then(|| now() + timeout);
        if self.post.options.threads == 0 {
            service::end();
        }
    }

    /// Does what is due; when to look again.
    fn see_to_what_is_due(&mut self) -> Option<u64> {
        let now = now();
        let mut next = self.look_at_timers(now);
        let mut look_at = |time: Option<u64>| {
            if let Some(time) = time.filter(|time| *time != u64::MAX) {
                next = Some(next.map_or(time, |next| next.min(time)));
            }
        };
        look_at(self.unproved.next());
        if let Some(until) = self.patience.filter(|_| !self.post.course.has_ended()) {
            let desks: Vec<_> = self.post.desks.iter().map(|desk| desk.sitting()).collect();
            if now >= until || !self.timers.is_any_alive(&desks, now) {
                self.end("");
            } else {
                look_at(Some(until));
                // Whoever grows too old is not waited for.
                look_at(self.timers.has_age_limit().then_some(now + 200));
            }
        }
        match self.deadline {
            Some(deadline) if now >= deadline => {
                let code = Code::ShutdownTimedOut;
                let line = format!("{code}: {} ({}).", code.text(), self.post.course.reason());
                journal::note(Level::Error, &line);
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
        self.have_prober();
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
                        prober.interrupt(&post.desks[index], sitting.serial, seconds);
                    }
                }
                Due::Overdue => {
                    post.course.note_overdue();
                    post.want_out("request_timeout");
                }
                Due::Inactive => post.want_out("inactivity_timeout"),
                Due::Unstarted => self.leave("startup_timeout"),
                Due::Deadlock => {
                    let code = Code::DeadlockDetected;
                    journal::note(Level::Error, &format!("{code}: {}.", code.text()));
                    self.leave("deadlock_timeout");
                }
            }
        }
        look.next
    }

    fn have_prober(&mut self) {
        let options = &self.post.options;
        let interrupts = options.request_timeout > 0 && options.interrupt_timeout > 0;
        if self.prober.is_none() && (options.deadlock_timeout > 0 || interrupts) {
            self.prober = Prober::start(self.post, self.host).ok();
        }
    }
}
