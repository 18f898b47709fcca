//! `Remote`: the groups of workers as a child of httpd knows them, and which worker is to answer. Made when the child
//! begins, and lives as long as it.

use super::connection::{Connection, Knock};
use super::spool::{self, GroupSpool, SpoolBudget};
use super::supervisor::Inherited;
use crate::config::daemon::Daemon;
use crate::httpd::ServerRec;
use link::{Board, Mapped, NameHash, Page, Queue, State, Worker as Posted, WorkerRef};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use wire::Secret;

/// What a child knows of workers.
pub struct Remote {
    pub(super) board: &'static Board,
    pub(super) queue: &'static Queue,
    prefix: PathBuf,
    groups: Vec<Group>,
    /// Slots of the request queue that this child owns and no request uses.
    pub(super) slots: Mutex<Vec<u32>>,
}

/// A group of workers.
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// What was agreed on with it.
    pub terms: Terms,
    secret: Secret,
    /// The group's part of the child's budget for bytes in files.
    pub spool: Arc<GroupSpool>,
    pub(super) place: Place,
    workers: Mutex<Vec<Arc<Worker>>>,
    /// The number of the worker that was chosen last.
    pub(super) last: AtomicU32,
}

/// The place of a group on the board, as far as this child knows. The child looks the group up by name at its first request, and again
/// when the place belongs to another group. httpd's parent does not wait for the supervisor, so it cannot tell children the place.
pub(super) struct Place {
    name: NameHash,
    /// The last known place; `u32::MAX` before the first look-up.
    found: AtomicU32,
    /// [`Board::renamed`], plus one, when the group was not on the board; 0 if it was.
    missed: AtomicU64,
}

impl Place {
    fn new(name: &[u8]) -> Place {
        let (name, found, missed) = (NameHash::of(name), u32::MAX.into(), 0.into());
        Place { name, found, missed }
    }

    /// The place of the group. `None` as long as the supervisor has given it none.
    pub(super) fn look_up(&self, board: &Board) -> Option<u32> {
        let place = self.found.load(Ordering::Relaxed);
        let is_its = board.group(place).is_some_and(|group| group.has_name(self.name));
        if is_its { Some(place) } else { self.search(board) }
    }

    #[cold]
    fn search(&self, board: &Board) -> Option<u32> {
        let renamed = u64::from(board.renamed()) + 1;
        if self.missed.load(Ordering::Relaxed) == renamed {
            return None;
        }
        let Some(place) = board.find(self.name) else {
            self.missed.store(renamed, Ordering::Relaxed);
            return None;
        };
        self.missed.store(0, Ordering::Relaxed);
        self.found.store(place, Ordering::Relaxed);
        Some(place)
    }
}

/// Options of a group that concern children.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// How long to look for a worker (`connect-timeout`).
    pub patience: Duration,
    /// How long to wait for a worker that has been given a request (`socket-timeout`); `None` for the server's `Timeout`.
    pub socket_timeout: Option<Duration>,
    /// `queue-timeout` in seconds; 0 for any time.
    pub queue_timeout: u32,
    /// How long to wait for the client while an answer is relayed (`response-socket-timeout`); `None` as long as ever.
    pub client_timeout: Option<Duration>,
    /// The longest line of a head in bytes (`header-buffer-size`); 0 for any length.
    pub longest_header: usize,
    /// The body of a request goes to the worker as it comes (`request-body=stream`).
    pub streams_body: bool,
    /// How much of a request's body is kept in memory.
    pub body_memory: u64,
    /// How much of an answer is kept in memory.
    pub answer_memory: usize,
    /// `chroot`
    pub jail: Option<Vec<u8>>,
    /// `script-user`
    pub script_user: Option<u32>,
    /// `script-group`
    pub script_group: Option<u32>,
}

/// A worker as this child knows it.
pub struct Worker {
    /// Its number, which no other has had.
    pub number: u32,
    /// Its process.
    pub pid: u32,
    place: u32,
    page: OnceLock<Arc<Mapped<Page>>>,
    #[expect(clippy::vec_box, reason = "a connection goes from hand to hand in each request")]
    idle: Mutex<Vec<Box<Connection>>>,
}

impl Terms {
    fn of(daemon: &Daemon<'_>) -> Terms {
        let options = &daemon.options;
        let seconds = |name: &str| match options.number_or(name, 0) {
            0 => None,
            some => Some(Duration::from_secs(some)),
        };
        let socket_timeout = seconds("socket-timeout");
        Terms {
            patience: Duration::from_secs(options.number_or("connect-timeout", 15)),
            socket_timeout,
            queue_timeout: options.number_or("queue-timeout", 0),
            client_timeout: seconds("response-socket-timeout").or(socket_timeout),
            longest_header: options.number_or("header-buffer-size", 0),
            streams_body: options.text("request-body") == Some(b"stream"),
            body_memory: options.number_or("request-body-memory", 1 << 20),
            answer_memory: options.number_or("response-memory", 1 << 20),
            jail: options.text("chroot").map(<[u8]>::to_vec),
            script_user: options.identity("script-user"),
            script_group: options.identity("script-group"),
        }
    }
}

impl Remote {
    /// From the configuration and from what the child has inherited of its parent.
    pub fn new(inherited: &Inherited, prefix: &[u8], daemons: &[Daemon<'_>]) -> Remote {
        let budget = SpoolBudget::new(daemons.iter().map(spool_limit));
        let group = |daemon: &Daemon<'_>| Group {
            name: daemon.name.to_vec(),
            terms: Terms::of(daemon),
            secret: Secret::of_group(&inherited.master, daemon.name),
            spool: GroupSpool::new(
                &budget,
                daemon.name,
                spool_limit(daemon),
                spool_directory(daemon),
            ),
            place: Place::new(daemon.name),
            workers: Mutex::default(),
            last: AtomicU32::new(0),
        };
        Remote {
            board: inherited.board,
            queue: inherited.queue,
            prefix: Path::new(std::ffi::OsStr::from_bytes(prefix)).to_owned(),
            groups: daemons.iter().map(group).collect(),
            slots: Mutex::default(),
        }
    }

    /// A group by its name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The group on the board; `None` as long as the supervisor has given it no place.
    pub fn posted(&self, group: &Group) -> Option<&'static link::Group> {
        self.board.group(group.place.look_up(self.board)?)
    }

    /// How a worker is doing, as long as its place has not been given to another.
    pub fn posted_worker(&self, worker: &Worker) -> Option<&'static Posted> {
        self.board.worker(worker.place).filter(|posted| posted.number() == worker.number)
    }

    /// The pid of the supervisor.
    pub fn supervisor(&self) -> u32 {
        self.board.supervisor()
    }

    /// The worker of a reserved thread, unless it has ended.
    pub(super) fn known(&self, group: &Group, worker: WorkerRef) -> Option<Arc<Worker>> {
        group.last.store(worker.number, Ordering::Relaxed);
        let mut workers = locked(&group.workers);
        if let Some(known) = workers.iter().find(|known| known.number == worker.number) {
            return Some(Arc::clone(known));
        }
        let WorkerRef { place, number } = worker;
        let posted = self.board.worker(place).filter(|posted| posted.number() == number)?;
        workers.retain(|worker| self.is_there(worker));
        let new = Arc::new(Worker {
            number,
            pid: posted.pid(),
            place,
            page: OnceLock::new(),
            idle: Mutex::default(),
        });
        workers.push(Arc::clone(&new));
        Some(new)
    }

    /// A connection to a worker that this child has not used yet.
    ///
    /// # Errors
    /// Nobody listens (any more), or has no room, or is not who is expected.
    pub fn connect(
        &self,
        group: &Group,
        worker: &Worker,
        patience: Duration,
        writing: Option<Duration>,
    ) -> std::io::Result<Knock> {
        let supervisor = self.board.supervisor();
        let path = link::path(&self.prefix, supervisor, worker.number);
        let stream = link::connect(&path, patience)?;
        // The supervisor makes the sockets of workers. The secret must not be sent to a socket of any other process.
        if link::peer(&stream)?.pid != supervisor {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        stream.write(&[&group.secret.proof()], &[])?;
        Knock::new(stream, writing)
    }

    fn is_there(&self, worker: &Worker) -> bool {
        let posted = self.posted_worker(worker);
        posted.is_some_and(|posted| matches!(posted.state(), State::Ready | State::Leaving))
    }
}

fn spool_limit(daemon: &Daemon<'_>) -> u64 {
    daemon.options.number_or("spool-limit", spool::LIMIT)
}

fn spool_directory(daemon: &Daemon<'_>) -> PathBuf {
    let directory = daemon.options.text("spool-directory");
    directory.map_or_else(std::env::temp_dir, |path| std::ffi::OsStr::from_bytes(path).into())
}

impl Worker {
    /// Its place and number.
    pub fn reference(&self) -> WorkerRef {
        WorkerRef { place: self.place, number: self.number }
    }

    /// Its page, once a connection has brought it.
    pub fn page(&self) -> Option<&Arc<Mapped<Page>>> {
        self.page.get()
    }

    /// The connection that was used last and is idle.
    pub fn idle(&self) -> Option<Box<Connection>> {
        locked(&self.idle).pop()
    }

    /// Keeps a connection for a later request, unless the worker has so many that other children might find no slot.
    pub fn keep(&self, mut connection: Box<Connection>) {
        let page = self.page.get_or_init(|| Arc::clone(connection.page()));
        if page.is_crowded() {
            return;
        }
        connection.rest();
        locked(&self.idle).push(connection);
    }
}

/// A lock whose holder never panics.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a request may wait for anything of a worker.
pub fn socket_timeout(terms: &Terms, server: ServerRec<'_>) -> Duration {
    terms.socket_timeout.unwrap_or_else(|| server.timeout())
}

#[cfg(test)]
mod tests {
    use super::*;
    use link::Shared;

    #[test]
    fn a_request_that_was_given_a_thread_of_a_worker_that_has_gone_waits_in_line_again() {
        let board = Shared::<Board>::create("board").unwrap().write().unwrap();
        let queue = Shared::<Queue>::create("queue").unwrap().write().unwrap();
        board.begin(std::process::id());
        board.set_name(0, b"site");
        let budget = SpoolBudget::new([0]);
        let group = Group {
            name: b"site".to_vec(),
            terms: Terms::default(),
            secret: Secret::default(),
            spool: GroupSpool::new(&budget, b"site", 0, PathBuf::new()),
            place: Place::new(b"site"),
            workers: Mutex::default(),
            last: AtomicU32::new(0),
        };
        let (prefix, groups, slots) = (PathBuf::new(), vec![group], Mutex::default());
        let remote = Remote { board, queue, prefix, groups, slots };
        let posted = board.group(0).unwrap();
        let start = |number| {
            let (place, worker) = board.add(posted, number, posted.generation(), 1).unwrap();
            worker.set_state(State::Ready);
            place
        };
        let gone = start(1);
        // A request of another child, so that this one does not know the first worker.
        let other = queue.claim_slot(7).unwrap();
        let candidates = || board.candidates(0);
        queue.reserve(other, 0, candidates, 0).unwrap();
        let mut queued = remote.enqueue(&remote.groups[0]).unwrap();
        queued.locate().unwrap();
        queued.start_waiting();
        queue.give_back(other, 0, candidates);
        // It has been given the thread, but its process does not run before another worker has the place.
        board.remove(posted, gone);
        assert_eq!(start(2), gone);
        let none = Duration::ZERO;
        let given = (0..2).find_map(|_| queued.await_grant(queued.wake_count(), none));
        assert_eq!(given.unwrap().number, 2);
    }

    #[test]
    fn a_group_is_found_by_its_name_and_again_when_it_has_another_place() {
        let board = Shared::<Board>::create("board").unwrap().write().unwrap();
        let place = Place::new(b"site");
        assert_eq!(place.look_up(board), None);
        board.set_name(0, b"other");
        assert_eq!(place.look_up(board), None);
        board.set_name(5, b"site");
        assert_eq!(place.look_up(board), Some(5));
        board.set_name(5, b"third");
        assert_eq!(place.look_up(board), None);
        board.set_name(9, b"site");
        assert_eq!([place.look_up(board), place.look_up(board)], [Some(9), Some(9)]);
    }
}
