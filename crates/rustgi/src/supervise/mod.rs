//! The supervisor: the process that starts workers, replaces them and ends them. The server's parent starts it, says over
//! a channel what shall run, and ends it by closing that channel; meanwhile it outlives every restart of the server's children.
//!
//! | noun | what it is | file |
//! |---|---|---|
//! | [`Crew`](crew::Crew) | the workers of a group as a machine of states; generations, replacements, delays | `crew.rs` `crew/` |
//! | [`Group`] | a group that runs: does what its crew decides | `group.rs` |
//! | [`Worker`](worker::Worker) | one process, its channel and its page | `worker.rs` |
//! | the start of a process, and whom it runs as | | `spawn.rs` `identity.rs` `worker.py` |
//! | [`Examinations`]: groups whose Python is not known yet | | `examine.rs` |
//! | how a process ended | | `death.rs` |
//! | [`Sockets`] | the directory in which workers are found | `sockets.rs` |
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
mod sockets;
mod spawn;
mod worker;

pub use sockets::CONTROL;
pub use spawn::close_inherited;

use examine::{Examinations, Order};
use exchange::{Code, Level};
use group::{Group, Surroundings};
use link::{Board, Channel, Shared};
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
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::control::{Ask, Desired, FromSupervisor, ToSupervisor, Told, decode, encode};

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
        supervisor.wait()?;
        supervisor.attend();
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
            sockets: None,
            client_user: u32::MAX,
            mask: umask(Mode::from_bits_truncate(0o077)),
            began: Instant::now(),
            files: spawn::open_many_files(),
            numbers,
            ended: Vec::new(),
        };
        let log = Log::new(spawn::standard(2)?, Level::Warning as u8);
        let (groups, examinations, operators) = (Vec::new(), Examinations::default(), None);
        let (control, stopping) = (Some(control), false);
        Ok(Supervisor {
            control,
            signals,
            server,
            log,
            groups,
            around,
            examinations,
            operators,
            stopping,
        })
    }

    fn is_done(&self) -> bool {
        self.stopping && self.groups.iter().all(|group| group.workers.is_empty())
    }

    /// Waits until there is something to do.
    fn wait(&self) -> io::Result<()> {
        let mut watched = vec![self.signals.as_fd()];
        watched.extend(self.control.iter().map(AsFd::as_fd));
        watched.extend(self.server.iter().map(AsFd::as_fd));
        watched.extend(self.examinations.descriptors());
        watched.extend(self.operators.iter().flat_map(Operators::descriptors));
        let workers = self.groups.iter().flat_map(|group| group.workers.values());
        watched.extend(workers.filter_map(|worker| worker.channel()).map(AsFd::as_fd));
        let mut watched: Vec<_> =
            watched.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let ended = self.around.ended.iter().map(|(at, ..)| *at);
        let next = self.groups.iter().filter_map(Group::next).chain(ended);
        let next = next.chain(self.examinations.next()).min();
        let now = self.around.now();
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
        self.hear_examinations();
        for group in &mut self.groups {
            let numbers: Vec<u32> = group.workers.keys().copied().collect();
            numbers.into_iter().for_each(|number| group.hear(number, &mut self.around));
        }
        self.reap();
        self.groups.iter_mut().for_each(|group| group.tick(&mut self.around));
        self.hear_operators();
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
                // Of several states that came while this process could not run, only the last is wanted.
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
        self.around.client_user = desired.client_user;
        self.make_sockets(&desired.prefix);
        let names: Vec<_> = desired.groups.iter().map(|group| group.name.clone()).collect();
        let places = self.places(&names);
        if let Some(control) = &self.control {
            // The server may not read for a while, and reads the newest one then. That it has gone is noticed elsewhere.
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
                    group.configure(wanted, log, &mut self.around);
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
    fn hear_examinations(&mut self) {
        for wanted in self.examinations.attend(self.around.now()) {
            if let Some(group) = self.groups.iter_mut().find(|group| group.name() == wanted.name) {
                group.reconfigure(wanted, &mut self.around);
            }
        }
    }

    fn make_sockets(&mut self, prefix: &[u8]) {
        if let Some(sockets) = &mut self.around.sockets {
            if let Err(error) = sockets.also(prefix) {
                sockets::complain(&self.log, prefix, &error);
            }
            return;
        }
        match Sockets::make(prefix, &self.log) {
            Ok(sockets) => {
                self.operators = sockets.listen_for_operators().ok().map(Operators::new);
                self.around.sockets = Some(sockets);
            }
            Err(error) => sockets::complain(&self.log, prefix, &error),
        }
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
            group.crew.stop(now);
            group.act(&mut self.around);
        }
    }

    /// New workers for this group, or for all. How many groups that are.
    fn reload(&mut self, name: Option<&[u8]>, reason: &str) -> u32 {
        let now = self.around.now();
        self.examinations.hurry(now, name);
        let mut count = 0;
        for group in &mut self.groups {
            if name.is_none_or(|name| name == group.name()) {
                group.crew.reload(now, reason);
                group.act(&mut self.around);
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
                    group.reaped(number, status, &mut self.around);
                    break;
                }
            }
        }
    }

    fn hear_operators(&mut self) {
        let Some(mut operators) = self.operators.take() else { return };
        operators.attend(|ask| match ask {
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
        });
        self.operators = Some(operators);
    }
}
