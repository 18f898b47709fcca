//! The supervisor: the process that starts workers, replaces them and ends them. The server's parent starts it, says over
//! a channel what shall run, and ends it by closing that channel; meanwhile it outlives every restart of the server's children.
//!
//! | noun | what it is | file |
//! |---|---|---|
//! | [`Crew`](crew::Crew) | the workers of a group as a machine of states; generations, replacements, delays | `crew.rs` `crew/` |
//! | [`Group`] | a group that runs: does what its crew decides | `group.rs` |
//! | [`Worker`](worker::Worker) | one process, its channel and its page | `worker.rs` |
//! | the start of a process, and whom it runs as | | `spawn.rs` `identity.rs` `worker.py` |
//! | [`Examinations`] | groups whose Python is not known yet | `examine.rs` |
//! | how a process ended | | `death.rs` |
//! | [`Sockets`] | the directory in which workers are found | `sockets.rs` |
//! | [`Removals`](removals::Removals) | notices when files of that directory are removed | `removals.rs` |
//! | [`Operators`] | who asks with `rustgi ctl` | `operators.rs` |
//! | [`Log`] | lines for the server's error log | `log.rs` |
//!
//! It is one thread that waits for everything at once, and the only one who writes the board.

mod crew;
mod death;
mod examine;
mod group;
pub mod identity;
mod log;
mod operators;
mod removals;
mod sockets;
mod spawn;
mod worker;

pub use sockets::CONTROL;
pub use spawn::close_inherited;

use examine::{Examinations, Order};
use exchange::{Code, Level};
use group::{Group, Surroundings};
use link::{Board, Channel, Queue, Shared};
use log::Log;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use operators::Operators;
use sockets::Sockets;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::control::{Ask, Desired, FromSupervisor, ToSupervisor, Told, decode, encode};

/// How long the supervisor sleeps after an internal error, so that a permanent error does not use a whole processor.
const ERROR_SLEEP: Duration = Duration::from_millis(100);
/// Least time between two log lines about such errors.
const ERROR_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How long after a removal in the directory of sockets the supervisor restores it: the program that removes files may not be done.
const RESTORE_DELAY: Duration = Duration::from_millis(100);
/// How often it checks the directory if it has no inotify watch, or if the directory could not be made.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The supervisor.
struct Supervisor {
    control: Option<Channel>,
    signals: SignalFd,
    /// The server's parent, as a descriptor that becomes readable when it ends.
    server: Option<OwnedFd>,
    log: Log,
    groups: Vec<Group>,
    around: Surroundings,
    examinations: Examinations,
    operators: Option<Operators>,
    stopping: bool,
    /// The prefix of the directory of sockets that could not be made.
    without_sockets: Option<Vec<u8>>,
    /// When an internal error was logged last.
    error_logged: Option<Duration>,
}

/// Runs until the server ends.
///
/// # Errors
/// This process was not started as the server starts it.
pub fn run() -> io::Result<()> {
    spawn::close_inherited();
    // Signals to the server's process group, or from its terminal, are for the server.
    let _ = nix::unistd::setsid();
    let mut supervisor = Supervisor::new()?;
    while !supervisor.is_done() {
        supervisor.turn();
    }
    Ok(())
}

impl Supervisor {
    fn new() -> io::Result<Supervisor> {
        let server = rustix::process::getppid();
        let open = |pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        let server = server.and_then(|pid| open(pid).ok());
        let control = Channel::new(spawn::standard(0)?);
        let board = Shared::<Board>::adopt(spawn::standard(1)?)?.write()?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        nix::unistd::dup2_stdout(&null)?;
        let mut signals = SigSet::empty();
        for signal in [
            Signal::SIGCHLD,
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ] {
            signals.add(signal);
        }
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&signals, flags)?;
        // A number is never given again, so that nobody takes a new worker for an old one.
        let known = (0..).map_while(|place| board.worker(place)).map(link::Worker::number);
        let numbers = Rc::new(Cell::new(known.max().unwrap_or(0) + 1));
        board.begin(std::process::id());
        let around = Surroundings {
            board,
            queue: None,
            sockets: None,
            client_user: u32::MAX,
            mask: umask(Mode::from_bits_truncate(0o077)),
            began: Instant::now(),
            files: spawn::open_many_files(),
            numbers,
            ended: Vec::new(),
            sockets_due: None,
        };
        let log = Log::new(spawn::standard(2)?, Level::Warning as u8);
        let (groups, examinations, operators) = (Vec::new(), Examinations::default(), None);
        let (control, stopping) = (Some(control), false);
        let (error_logged, without_sockets) = (None, None);
        let supervisor = Supervisor {
            control,
            signals,
            server,
            log,
            groups,
            around,
            examinations,
            operators,
            stopping,
            without_sockets,
            error_logged,
        };
        Ok(supervisor)
    }

    fn is_done(&self) -> bool {
        // Processes that hang before they execute their program have been killed and are not waited for.
        let is_over = |group: &Group| group.workers.values().all(|worker| worker.has_failed);
        self.stopping && self.groups.iter().all(is_over)
    }

    /// Waits for an event and handles it. Errors and panics are logged, and the supervisor goes on: without it no worker would be
    /// replaced.
    fn turn(&mut self) {
        let mut failed = None;
        if let Err(error) = self.wait() {
            failed = Some(format!("the supervisor cannot wait for events: {error}"));
        }
        if catch_unwind(AssertUnwindSafe(|| self.attend())).is_err() {
            failed = Some("an internal error".to_owned());
        }
        if let Some(failed) = failed {
            let now = self.around.now();
            if self.error_logged.is_none_or(|at| now >= at + ERROR_LOG_INTERVAL) {
                self.error_logged = Some(now);
                let text = format_args!("{failed}; the supervisor goes on");
                self.log.fail(Level::Critical, Code::Panic, text);
            }
            std::thread::sleep(ERROR_SLEEP);
        }
    }

    /// The descriptors to poll, and for each whether for room to write, too.
    fn watched(&self, now: Duration) -> Vec<(BorrowedFd<'_>, bool)> {
        let mut watched = vec![(self.signals.as_fd(), false)];
        let channels = self.control.iter().map(AsFd::as_fd);
        watched.extend(channels.chain(self.server.iter().map(AsFd::as_fd)).map(|fd| (fd, false)));
        watched.extend(self.examinations.descriptors().map(|fd| (fd, false)));
        watched.extend(self.operators.iter().flat_map(Operators::descriptors));
        watched.extend(self.groups.iter().flat_map(|group| group.descriptors(now)));
        if self.around.sockets_due.is_none() {
            let sockets = self.around.sockets.as_ref();
            let removals = sockets.and_then(Sockets::removals);
            watched.extend(removals.map(|removals| (removals.as_fd(), false)));
        }
        watched
    }

    /// Waits until there is something to do.
    fn wait(&self) -> io::Result<()> {
        let now = self.around.now();
        let flags = |writes: bool| match writes {
            true => PollFlags::POLLIN | PollFlags::POLLOUT,
            false => PollFlags::POLLIN,
        };
        let watched = self.watched(now).into_iter();
        let mut watched: Vec<_> =
            watched.map(|(fd, writes)| PollFd::new(fd, flags(writes))).collect();
        let ended = self.around.ended.iter().map(|(at, ..)| *at);
        let groups = self.groups.iter().filter_map(|group| group.next(now));
        let next = groups.chain(ended).chain(self.around.sockets_due);
        let next = next.chain(self.examinations.next()).min();
        let timeout = next.map_or(PollTimeout::NONE, |next| {
            // Rounded up, or the last millisecond would be spent in turning round.
            let wait = next.saturating_sub(now) + Duration::from_micros(999);
            PollTimeout::try_from(wait.as_millis()).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut watched, timeout) {
            Err(error) if error != nix::errno::Errno::EINTR => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Looks after everybody. What has nothing to say costs one call each.
    fn attend(&mut self) {
        self.hear_signals();
        self.hear_server();
        self.read_examinations();
        self.attend_groups(|group, around| {
            let numbers: Vec<u32> = group.workers.keys().copied().collect();
            numbers.into_iter().for_each(|number| group.hear(number, around));
        });
        self.reap();
        self.attend_groups(Group::tick);
        self.hear_operators();
        self.check_sockets();
        let now = self.around.now();
        let board = self.around.own_board();
        self.around.ended.retain(|(at, group, place)| {
            if let Some(board) = board.filter(|_| *at <= now) {
                board.group(*group).iter().for_each(|group| board.remove(group, *place));
            }
            *at > now
        });
        if !self.stopping {
            let ended = &self.around.ended;
            // A place is given to another group only when nobody reads the causes of this one any more.
            let is_read = |place: u32| ended.iter().any(|(_, group, _)| *group == place);
            self.groups.retain(|group| {
                !group.crew.is_ending() || !group.crew.is_empty() || is_read(group.place)
            });
        }
    }

    /// Calls `act` with each group that is not paused.
    fn attend_groups(&mut self, act: impl Fn(&mut Group, &mut Surroundings)) {
        let now = self.around.now();
        for group in self.groups.iter_mut().filter(|group| !group.is_paused(now)) {
            group.guarded(&mut self.around, &act);
        }
    }

    fn hear_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match Signal::try_from(signal.ssi_signo as i32) {
                Ok(Signal::SIGTERM | Signal::SIGINT) => self.stop(),
                Ok(Signal::SIGUSR1) => {
                    self.reload(None, crew::reason::EVICTION);
                }
                _ => {}
            }
        }
    }

    fn hear_server(&mut self) {
        let has_ended = |server: &OwnedFd| {
            let mut watched = [PollFd::new(server.as_fd(), PollFlags::POLLIN)];
            poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        };
        if self.server.as_ref().is_some_and(has_ended) {
            self.server = None;
            self.stop();
        }
        let mut newest = None;
        while let Some(control) = &mut self.control {
            let message = match control.try_receive() {
                Ok(Some((message, descriptors))) => decode(&message).map(|it| (it, descriptors)),
                Ok(None) => break,
                Err(_) => {
                    self.control = None;
                    self.stop();
                    return;
                }
            };
            match message {
                // Several states may have arrived while this process could not run; only the newest counts.
                Ok((ToSupervisor::Run(desired), descriptors)) => {
                    newest = Some((desired, descriptors))
                }
                Ok((ToSupervisor::Stop, _)) => self.stop(),
                Err(error) => {
                    let text = format!("{error}; the workers are ended");
                    self.log.fail(Level::Error, Code::SupervisorConfused, text);
                    // The server starts another one, which understands it, and need not wait for this one.
                    self.control = None;
                    self.stop();
                }
            }
        }
        if let Some((desired, descriptors)) = newest {
            self.run(desired, descriptors);
        }
    }

    /// What the server wants to run from now on.
    fn run(&mut self, desired: Desired, descriptors: Vec<OwnedFd>) {
        if self.stopping {
            return;
        }
        let mut descriptors = descriptors.into_iter();
        if let Some(log) = descriptors.next() {
            let _ = nix::unistd::dup2_stderr(&log);
            let level = desired.groups.iter().map(|group| group.log_level).max();
            self.log = Log::new(log, level.unwrap_or(Level::Warning as u8));
        }
        let memory = descriptors.next();
        if self.around.queue.is_none() {
            let queue = memory.map(|memory| Shared::<Queue>::adopt(memory)?.write());
            match queue {
                Some(Ok(queue)) => self.around.queue = Some(queue),
                Some(Err(error)) => {
                    let text = format!("the memory of the request queue cannot be mapped: {error}");
                    self.log.fail(Level::Error, Code::SupervisorConfused, text);
                }
                None => {}
            }
        }
        self.around.client_user = desired.client_user;
        self.make_sockets(&desired.prefix);
        let names: Vec<_> = desired.groups.iter().map(|group| group.name.clone()).collect();
        let places = self.places(&names);
        if let Some(control) = &self.control {
            // If the socket is full because httpd's parent does not read, it reads a later acknowledgement. Its death is noticed
            // elsewhere.
            let _ = control.try_send(&encode(&FromSupervisor::Taken(desired.serial)), &[]);
        }
        let now = self.around.now();
        self.examinations.keep(&names);
        for (wanted, place) in desired.groups.into_iter().zip(places) {
            let own = if wanted.has_log { descriptors.next() } else { None };
            let file = own.map_or_else(|| self.log.as_fd().try_clone_to_owned(), Ok);
            let (Ok(file), Some(place)) = (file, place) else { continue };
            let log = Log::new(file, wanted.log_level);
            let known = self.groups.iter_mut().find(|group| group.place == place);
            match (self.examinations.order(now, wanted), known) {
                (Order::Configure(wanted), Some(group)) => {
                    group.guarded(&mut self.around, |group, around| {
                        group.configure(wanted, log, around);
                    });
                }
                (Order::Wait(wanted), Some(group)) => group.set_log(wanted.log_level, log),
                (Order::Configure(wanted) | Order::Wait(wanted), None) => {
                    self.groups.push(Group::start(wanted, place, log, &mut self.around));
                }
            }
        }
        let gone = self.groups.iter_mut().filter(|group| !names.iter().any(|n| n == group.name()));
        gone.for_each(|group| group.crew.retire(now));
    }

    /// Configures groups whose Python has been examined.
    fn read_examinations(&mut self) {
        for wanted in self.examinations.attend(self.around.now()) {
            if let Some(group) = self.groups.iter_mut().find(|group| group.name() == wanted.name) {
                group.guarded(&mut self.around, |group, around| group.reconfigure(wanted, around));
            }
        }
    }

    fn make_sockets(&mut self, prefix: &[u8]) {
        if let Some(sockets) = &mut self.around.sockets {
            if let Err(error) = sockets.also(prefix) {
                sockets::complain(&self.log, prefix, &error);
            }
            self.restore_sockets();
            return;
        }
        match Sockets::make(prefix, &self.log) {
            Ok(sockets) => {
                self.operators = sockets.listen_for_operators().ok().map(Operators::new);
                self.around.sockets = Some(sockets);
                self.without_sockets = None;
            }
            Err(error) => {
                sockets::complain(&self.log, prefix, &error);
                self.without_sockets = Some(prefix.to_vec());
                self.around.sockets_due = Some(self.around.now() + CHECK_INTERVAL);
            }
        }
    }

    /// Restores the directory of sockets when that is due.
    fn check_sockets(&mut self) {
        let now = self.around.now();
        let Some(sockets) = &self.around.sockets else {
            // It could not be made, so no worker can be started: perhaps it can be made now.
            let prefix = self.without_sockets.take_if(|_| self.around.sockets_due <= Some(now));
            if let Some(prefix) = prefix {
                self.around.sockets_due = None;
                self.make_sockets(&prefix);
            }
            return;
        };
        let is_told = sockets.removals().is_some();
        if self.around.sockets_due.is_none() {
            let wait = match sockets.removals() {
                Some(removals) if removals.take() => Some(RESTORE_DELAY),
                Some(_) => None,
                None => Some(CHECK_INTERVAL),
            };
            self.around.sockets_due = wait.map(|wait| now + wait);
        }
        if self.around.sockets_due.is_some_and(|due| due <= now) {
            self.around.sockets_due = (!is_told).then_some(now + CHECK_INTERVAL);
            self.restore_sockets();
        }
    }

    /// Makes the removed parts of the directory of sockets again, and the sockets in it.
    fn restore_sockets(&mut self) {
        let now = self.around.now();
        let Some(sockets) = &mut self.around.sockets else { return };
        if let Err(error) = sockets.restore(&self.log) {
            sockets::complain(&self.log, sockets.prefix().as_os_str().as_bytes(), &error);
            self.around.sockets_due = Some(now + CHECK_INTERVAL);
            return;
        }
        if !sockets.has_socket_for_operators() {
            match (sockets.listen_for_operators(), &mut self.operators) {
                (Ok(listener), Some(operators)) => operators.listen(listener),
                (Ok(listener), none) => *none = Some(Operators::new(listener)),
                (Err(_), _) => self.around.sockets_due = Some(now + CHECK_INTERVAL),
            }
        }
        self.attend_groups(Group::restore_sockets);
    }

    /// The place of each group: the one it has or had, or one that nobody has had, or else one that is free. Children of
    /// the server that have not yet heard of a change must not take one group for another.
    fn places(&self, names: &[Vec<u8>]) -> Vec<Option<u32>> {
        let board = self.around.board;
        let mut held: Vec<u32> = self.groups.iter().map(|group| group.place).collect();
        let mut place = |name: &Vec<u8>| {
            let group = self.groups.iter().find(|group| group.name() == *name);
            let find = |fits: &dyn Fn(&link::Group) -> bool| {
                let fits = |place: &u32| board.group(*place).is_some_and(fits);
                (0..Board::GROUPS).filter(|place| !held.contains(place)).find(fits)
            };
            let place = group.map(|group| group.place);
            let place = place.or_else(|| find(&|group| group.is_of(name)));
            let place = place.or_else(|| find(&link::Group::is_new)).or_else(|| find(&|_| true));
            held.extend(place);
            match place.and_then(|place| board.group(place)) {
                Some(_) => board.set_name(place.unwrap_or_default(), name),
                None => {
                    let text = format!("process group '{}' has no place", log::show(name));
                    self.log.fail(Level::Error, Code::BoardFull, text);
                }
            }
            place
        };
        names.iter().map(&mut place).collect()
    }

    /// Ends all workers, and then itself. The server may wait for the end of the channel, which is that of this process.
    fn stop(&mut self) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.examinations.stop();
        let now = self.around.now();
        for group in &mut self.groups {
            group.guarded(&mut self.around, |group, around| {
                group.crew.stop(now);
                group.act(around);
            });
        }
    }

    /// New workers for this group, or for all. How many groups that are.
    fn reload(&mut self, name: Option<&[u8]>, reason: &str) -> u32 {
        let now = self.around.now();
        self.examinations.retry_now(now, name);
        let mut count = 0;
        for group in &mut self.groups {
            if name.is_none_or(|name| name == group.name()) {
                group.guarded(&mut self.around, |group, around| {
                    group.crew.reload(now, reason);
                    group.act(around);
                });
                count += 1;
            }
        }
        count
    }

    fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let Some(pid) = status.pid().filter(|_| !matches!(status, WaitStatus::StillAlive))
            else {
                return;
            };
            let pid = pid.as_raw().unsigned_abs();
            for group in &mut self.groups {
                let found = group.workers.iter().find(|(_, worker)| worker.pid() == pid);
                if let Some(number) = found.map(|(number, _)| *number) {
                    group.note_reaped(number);
                    group.guarded(&mut self.around, |group, around| {
                        group.reaped(number, status, around);
                    });
                    group.forget(number, &mut self.around);
                    break;
                }
            }
        }
    }

    fn hear_operators(&mut self) {
        let Some(mut operators) = self.operators.take() else { return };
        let answer = |ask| match ask {
            Ask::Status => {
                let now = self.around.now();
                let status = |group: &Group| {
                    let mut status = group.status(&self.around);
                    if let Some(waits) = self.examinations.about(now, group.name()) {
                        let date = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                        status.failure = Some((date.as_secs(), waits));
                    }
                    status
                };
                Told::Status(self.groups.iter().map(status).collect())
            }
            Ask::Reload(name) => {
                Told::Reloading(self.reload(name.as_deref(), crew::reason::GRACEFUL))
            }
        };
        let attended = catch_unwind(AssertUnwindSafe(|| operators.attend(answer)));
        // Put back even after a panic, so that further commands are served.
        self.operators = Some(operators);
        attended.unwrap_or_else(|panic| resume_unwind(panic));
    }
}
