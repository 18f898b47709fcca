//! The board: which groups there are, and which workers, as the supervisor knows them. It writes; the children of the
//! server read, and choose a worker by what they read. The parent makes the board once, before it starts a supervisor, and
//! every process of the server keeps it mapped.
#![expect(unsafe_code, reason = "says that the board may lie in shared memory")]

use crate::queue::{Candidate, RequestQueue, WorkerRef};
use crate::shared::Layout;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

const GROUPS: usize = 1024;
const WORKERS: usize = 8192;
const WORKERS_OF_GROUP: usize = 1000;
/// Upper bound of the requests that all children together have in daemon mode at the same time.
const REQUESTS: usize = 32_768;

/// The [`RequestQueue`] of a server, for the groups and workers of its board.
pub type Queue = RequestQueue<GROUPS, WORKERS, REQUESTS>;

// SAFETY: atomics only.
unsafe impl Layout for Queue {}

/// The board.
#[repr(C, align(64))]
pub struct Board {
    supervisor: AtomicU32,
    /// Incremented each time that a place is given to another group.
    renamed: AtomicU32,
    groups: [Group; GROUPS],
    workers: [Worker; WORKERS],
}

// SAFETY: atomics only.
unsafe impl Layout for Board {}

/// A hash of the name of a group, by which children find its place. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameHash(u64);

impl NameHash {
    /// The hash of this name.
    pub fn of(name: &[u8]) -> NameHash {
        NameHash(hash(name))
    }
}

/// A group of workers.
#[repr(C, align(64))]
pub struct Group {
    /// A hash of its name; 0 where there has never been one.
    name: AtomicU64,
    generation: AtomicU32,
    failures: AtomicU32,
    code: AtomicU32,
    /// Up to where `workers` has ever been used.
    used: AtomicU32,
    /// In [`milliseconds`](crate::milliseconds).
    retry: AtomicU64,
    /// Places of its workers plus one; 0 for none.
    workers: [AtomicU16; WORKERS_OF_GROUP],
}

/// A worker. Its place may be given to another one when it has ended; its number is never given again.
#[repr(C, align(64))]
pub struct Worker {
    number: AtomicU32,
    pid: AtomicU32,
    state: AtomicU32,
    cause: AtomicU64,
    generation: AtomicU32,
    threads: AtomicU32,
}

/// What a worker does.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody is here.
    Empty,
    /// It has been started and is not yet ready for requests.
    Starting,
    /// It takes requests.
    Ready,
    /// It finishes what it has taken.
    Leaving,
    /// It has ended; [`Worker::cause`] says how.
    Ended,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// With this exit code.
    Exit(u8),
    /// By this signal.
    Signal(u8),
    /// By a signal that the kernel sent because memory had run out.
    OutOfMemory,
    /// The supervisor ended it because this time was over: the index in [`Cause::TIMERS`].
    Timer(u8),
}

impl Cause {
    /// What can run out: names of options.
    pub const TIMERS: [&'static str; 8] = [
        "startup-timeout",
        "graceful-timeout",
        "eviction-timeout",
        "shutdown-timeout",
        "deadlock-timeout",
        "request-timeout",
        "cpu-time-limit",
        "inactivity-timeout",
    ];

    /// The cause of death of a worker that the supervisor ended because this timeout option had expired.
    pub fn of_timer(option: &str) -> Option<Cause> {
        let at = Cause::TIMERS.iter().position(|timer| *timer == option)?;
        Some(Cause::Timer(u8::try_from(at).ok()?))
    }

    fn word(self) -> u64 {
        match self {
            Cause::Exit(code) => 1 << 8 | u64::from(code),
            Cause::Signal(signal) => 2 << 8 | u64::from(signal),
            Cause::OutOfMemory => 3 << 8,
            Cause::Timer(timer) => 4 << 8 | u64::from(timer),
        }
    }

    fn from_word(word: u64) -> Option<Cause> {
        let value = word as u8;
        match word >> 8 {
            1 => Some(Cause::Exit(value)),
            2 => Some(Cause::Signal(value)),
            3 => Some(Cause::OutOfMemory),
            4 => Some(Cause::Timer(value)),
            _ => None,
        }
    }
}

impl Board {
    /// How many groups there can be.
    pub const GROUPS: u32 = GROUPS as u32;
    /// How many workers a group can have, those included that are being replaced.
    pub const WORKERS_OF_GROUP: u32 = WORKERS_OF_GROUP as u32;

    /// The process that writes.
    pub fn supervisor(&self) -> u32 {
        self.supervisor.load(Ordering::Acquire)
    }

    /// A new supervisor begins: nothing of the one before holds any more.
    pub fn begin(&self, supervisor: u32) {
        for group in &self.groups {
            group.forget();
        }
        for worker in &self.workers {
            if worker.state() != State::Empty {
                worker.set_state(State::Empty);
            }
        }
        self.supervisor.store(supervisor, Ordering::Release);
    }

    /// The place of the group of this name, if it has one. Compares all 1,024 places.
    pub fn find(&self, name: NameHash) -> Option<u32> {
        let place = self.groups.iter().position(|group| group.has_name(name))?;
        u32::try_from(place).ok()
    }

    /// A counter that changes when a place is given to another group. As long as it is the same, [`find`](Board::find) returns the
    /// same.
    pub fn renamed(&self) -> u32 {
        self.renamed.load(Ordering::Acquire)
    }

    /// Gives the place to the group of this name. The place stays with the group when another supervisor takes over, so children
    /// need not search for it again.
    pub fn set_name(&self, place: u32, name: &[u8]) {
        let Some(group) = self.group(place).filter(|group| !group.is_of(name)) else { return };
        group.name.store(hash(name), Ordering::Release);
        self.renamed.fetch_add(1, Ordering::AcqRel);
    }

    /// A group by its place.
    pub fn group(&self, place: u32) -> Option<&Group> {
        self.groups.get(place as usize)
    }

    /// A worker by its place.
    pub fn worker(&self, place: u32) -> Option<&Worker> {
        self.workers.get(place as usize)
    }

    /// The workers of a group.
    pub fn workers<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = (u32, &'a Worker)> {
        let places = group.workers.iter().map(|place| place.load(Ordering::Acquire));
        // Holes are few and behind them there may be more; but nothing follows the last one for long.
        let places = places.take(group.used()).filter(|place| *place != 0);
        places.filter_map(|place| {
            let place = u32::from(place) - 1;
            Some((place, self.worker(place)?))
        })
    }

    /// The workers of the group at this place to which a child may send a request: those of the serving generation that are ready.
    pub fn candidates(&self, group: u32) -> impl Iterator<Item = Candidate> {
        let group = self.group(group);
        let generation = group.map_or(0, Group::generation);
        let workers = group.into_iter().flat_map(|group| self.workers(group));
        workers.filter_map(move |(place, worker)| {
            let is_one = worker.state() == State::Ready && worker.generation() == generation;
            let number = worker.number();
            let threads = worker.threads.load(Ordering::Relaxed);
            is_one.then_some(Candidate { worker: WorkerRef { place, number }, threads })
        })
    }

    /// Gives a new worker with `threads` request threads a place. `None` if all places are taken.
    pub fn add(
        &self,
        group: &Group,
        number: u32,
        generation: u32,
        threads: u32,
    ) -> Option<(u32, &Worker)> {
        let hole = group.workers.iter().position(|p| p.load(Ordering::Relaxed) == 0)?;
        let free = |worker: &Worker| worker.state() == State::Empty;
        let place = self.workers.iter().position(free)?;
        let worker = &self.workers[place];
        worker.number.store(number, Ordering::Relaxed);
        worker.pid.store(0, Ordering::Relaxed);
        worker.cause.store(0, Ordering::Relaxed);
        worker.generation.store(generation, Ordering::Relaxed);
        worker.threads.store(threads, Ordering::Relaxed);
        worker.set_state(State::Starting);
        group.workers[hole].store(place as u16 + 1, Ordering::Release);
        group.used.fetch_max(hole as u32 + 1, Ordering::AcqRel);
        Some((place as u32, worker))
    }

    /// Takes a worker off the board. Its cause stays readable until its place is given to another.
    pub fn remove(&self, group: &Group, place: u32) {
        for held in &group.workers {
            if u32::from(held.load(Ordering::Relaxed)) == place + 1 {
                held.store(0, Ordering::Release);
            }
        }
        if let Some(worker) = self.worker(place) {
            worker.set_state(State::Empty);
        }
    }
}

impl Group {
    /// Up to where `workers` has ever been used.
    fn used(&self) -> usize {
        self.used.load(Ordering::Acquire) as usize
    }

    fn forget(&self) {
        if self.used() > 0 {
            self.workers.iter().for_each(|place| place.store(0, Ordering::Release));
        }
        self.set_trouble(None);
    }

    /// Whether this is the place of the group of this name, or was the last time that it had one.
    pub fn is_of(&self, name: &[u8]) -> bool {
        self.has_name(NameHash::of(name))
    }

    /// As [`is_of`](Group::is_of).
    pub fn has_name(&self, name: NameHash) -> bool {
        self.name.load(Ordering::Acquire) == name.0
    }

    /// Whether no group has ever had this place.
    pub fn is_new(&self) -> bool {
        self.name.load(Ordering::Relaxed) == 0
    }

    /// The generation whose workers serve. It grows when new ones have taken over.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// The workers of another generation serve from now on.
    pub fn set_generation(&self, generation: u32) {
        self.generation.store(generation, Ordering::Release);
    }

    /// How often new workers were started that could not take over.
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Acquire)
    }

    /// New workers could not take over.
    pub fn add_failure(&self) {
        self.failures.fetch_add(1, Ordering::AcqRel);
    }

    /// Why the group has no workers, as the number of an error code, and when the supervisor tries again, in
    /// [`milliseconds`](crate::milliseconds).
    pub fn trouble(&self) -> Option<(u16, u64)> {
        let code = self.code.load(Ordering::Acquire) as u16;
        (code != 0).then(|| (code, self.retry.load(Ordering::Relaxed)))
    }

    /// There are no workers for this reason, or there is none any more.
    pub fn set_trouble(&self, trouble: Option<(u16, u64)>) {
        let (code, retry) = trouble.unwrap_or_default();
        self.retry.store(retry, Ordering::Relaxed);
        self.code.store(u32::from(code), Ordering::Release);
    }
}

/// FNV-1a, and never 0.
fn hash(name: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    name.iter().fold(0xcbf2_9ce4_8422_2325, step).max(1)
}

impl Worker {
    /// Its number, which names its socket.
    pub fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// It runs as this process.
    pub fn set_pid(&self, pid: u32) {
        self.pid.store(pid, Ordering::Relaxed);
    }

    /// The generation that it belongs to.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// What it does.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            1 => State::Starting,
            2 => State::Ready,
            3 => State::Leaving,
            4 => State::Ended,
            _ => State::Empty,
        }
    }

    /// It does this from now on.
    pub fn set_state(&self, state: State) {
        self.state.store(state as u32, Ordering::Release);
    }

    /// How it ended, if it has.
    pub fn cause(&self) -> Option<Cause> {
        Cause::from_word(self.cause.load(Ordering::Acquire))
    }

    /// It has ended so.
    pub fn set_cause(&self, cause: Cause) {
        self.cause.store(cause.word(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shared;

    #[test]
    fn what_is_written_is_read_by_others() {
        let shared = Shared::<Board>::create("board").unwrap();
        let (writes, reads) = (shared.write().unwrap(), shared.read().unwrap());
        writes.begin(77);
        let group = writes.group(5).unwrap();
        let (place, worker) = writes.add(group, 100, 1, 5).unwrap();
        worker.set_pid(4711);
        worker.set_state(State::Ready);
        let seen: Vec<_> = reads
            .workers(reads.group(5).unwrap())
            .map(|(place, worker)| (place, worker.number(), worker.pid(), worker.state()))
            .collect();
        assert_eq!(seen, [(place, 100, 4711, State::Ready)]);
        assert_eq!(reads.candidates(5).count(), 0);
        group.set_generation(1);
        let candidate = reads.candidates(5).next().unwrap();
        assert_eq!((candidate.worker, candidate.threads), (WorkerRef { place, number: 100 }, 5));
        assert_eq!(reads.supervisor(), 77);
        for cause in [Cause::Exit(3), Cause::Signal(11), Cause::OutOfMemory, Cause::Timer(2)] {
            worker.set_cause(cause);
            assert_eq!(reads.worker(place).unwrap().cause(), Some(cause));
        }
        writes.remove(group, place);
        assert_eq!(reads.workers(reads.group(5).unwrap()).count(), 0);
    }

    #[test]
    fn places_are_used_again_and_run_out() {
        let board = Shared::<Board>::create("board").unwrap().write().unwrap();
        let group = board.group(0).unwrap();
        let places: Vec<u32> =
            (0..Board::WORKERS_OF_GROUP).map(|n| board.add(group, n, 1, 1).unwrap().0).collect();
        assert!(board.add(group, 1, 1, 1).is_none());
        board.remove(group, places[3]);
        assert_eq!(board.add(group, 1, 1, 1).unwrap().0, places[3]);
        assert!(board.group(Board::GROUPS).is_none());
    }

    #[test]
    fn a_place_keeps_the_name_of_its_group() {
        let board = Shared::<Board>::create("board").unwrap().write().unwrap();
        let group = board.group(3).unwrap();
        assert!(group.is_new() && !group.is_of(b""));
        let name = NameHash::of(b"site");
        assert_eq!((board.find(name), board.renamed()), (None, 0));
        board.set_name(3, b"site");
        board.set_name(3, b"site");
        board.begin(1);
        assert!(group.is_of(b"site") && !group.is_of(b"sight") && !group.is_new());
        assert_eq!((board.find(name), board.renamed()), (Some(3), 1));
        board.set_name(3, b"other");
        assert_eq!((board.find(name), board.renamed()), (None, 2));
    }

    #[test]
    fn trouble_comes_and_goes() {
        let board = Shared::<Board>::create("board").unwrap().write().unwrap();
        let group = board.group(0).unwrap();
        assert_eq!(group.trouble(), None);
        group.set_trouble(Some((1013, 5)));
        assert_eq!(group.trouble(), Some((1013, 5)));
        group.set_trouble(None);
        assert_eq!(group.trouble(), None);
    }
}
