//! `Remote`: the groups of workers as a child of httpd knows them, and which worker is to answer. Made when the child
//! begins, and lives as long as it.

use super::connection::{Connection, Knock};
use crate::config::daemon::Daemon;
use crate::httpd::ServerRec;
use link::{Board, Mapped, NameHash, Page, State, Worker as Posted};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// What a child knows of workers.
pub struct Remote {
    board: &'static Board,
    prefix: PathBuf,
    groups: Vec<Group>,
}

/// A group of workers.
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// What was agreed on with it.
    pub terms: Terms,
    place: Place,
    workers: Mutex<Vec<Arc<Worker>>>,
    turn: AtomicUsize,
}

/// Where a group is on the board, as far as this child knows: it looks for the group by name when it needs it first, and
/// again when the place does not fit any more. The parent does not wait for the supervisor, so it cannot tell.
struct Place {
    name: NameHash,
    /// The last place found; `u32::MAX` before the first.
    found: AtomicU32,
    /// [`Board::renamed`], plus one, when the group was not on the board; 0 if it was.
    missed: AtomicU64,
}

/// A group that is not on the board: the supervisor has not begun, or has no place for it. It has no workers yet.
static NONE: link::Group = link::Group::none();

impl Place {
    fn new(name: &[u8]) -> Place {
        let (name, found, missed) = (NameHash::of(name), u32::MAX.into(), 0.into());
        Place { name, found, missed }
    }

    fn look_up(&self, board: &'static Board) -> &'static link::Group {
        let known = board.group(self.found.load(Ordering::Relaxed));
        known.filter(|group| group.has_name(self.name)).unwrap_or_else(|| self.search(board))
    }

    #[cold]
    fn search(&self, board: &'static Board) -> &'static link::Group {
        let renamed = u64::from(board.renamed()) + 1;
        if self.missed.load(Ordering::Relaxed) == renamed {
            return &NONE;
        }
        let Some(place) = board.find(self.name) else {
            self.missed.store(renamed, Ordering::Relaxed);
            return &NONE;
        };
        self.missed.store(0, Ordering::Relaxed);
        self.found.store(place, Ordering::Relaxed);
        board.group(place).unwrap_or(&NONE)
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
    /// Request threads of a worker.
    pub threads: u32,
}

/// A worker as this child knows it.
pub struct Worker {
    /// Its number, which no other has had.
    pub number: u32,
    /// Its process.
    pub pid: u32,
    place: u32,
    page: OnceLock<Arc<Mapped<Page>>>,
    /// Requests of this child that it has been given.
    in_flight: AtomicU32,
    #[expect(clippy::vec_box, reason = "a connection goes from hand to hand in each request")]
    idle: Mutex<Vec<Box<Connection>>>,
}

/// A worker that a request is being given to. Counts as one of its requests as long as it lives.
pub struct Chosen(Arc<Worker>);

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
            threads: options.number_or("threads", 15),
        }
    }
}

impl Remote {
    /// What the configuration of a child and the board say.
    pub fn new(board: &'static Board, prefix: &[u8], daemons: &[Daemon<'_>]) -> Remote {
        let group = |daemon: &Daemon<'_>| Group {
            name: daemon.name.to_vec(),
            terms: Terms::of(daemon),
            place: Place::new(daemon.name),
            workers: Mutex::default(),
            turn: AtomicUsize::new(0),
        };
        Remote {
            board,
            prefix: Path::new(std::ffi::OsStr::from_bytes(prefix)).to_owned(),
            groups: daemons.iter().map(group).collect(),
        }
    }

    /// A group by its name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The group as the supervisor has posted it; without workers as long as it has not.
    pub fn posted(&self, group: &Group) -> Option<&'static link::Group> {
        Some(group.place.look_up(self.board))
    }

    /// How a worker is doing, as long as its place has not been given to another.
    pub fn posted_worker(&self, worker: &Worker) -> Option<&'static Posted> {
        self.board.worker(worker.place).filter(|posted| posted.number() == worker.number)
    }

    /// The worker that has the least to do; not `except`, unless there is no other.
    pub fn choose(&self, group: &Group, except: Option<u32>) -> Option<Chosen> {
        let posted = self.posted(group)?;
        let generation = posted.generation();
        let mut workers = locked(&group.workers);
        let (mut seen, mut best, turn) = (0, None, group.turn.load(Ordering::Relaxed));
        for (place, ready) in self.board.workers(posted) {
            if ready.state() != State::Ready || ready.generation() != generation {
                continue;
            }
            let known = known(&mut workers, place, ready);
            let worker = &workers[known];
            // Of those that have the same to do, the one whose turn it is.
            let rank = (except == Some(worker.number), worker.load(), (seen + turn) % WORKERS);
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, known));
            }
            seen += 1;
        }
        let chosen = best.map(|(_, known)| Chosen::new(&workers[known]));
        if seen > 1 {
            group.turn.store(turn + WORKERS - 1, Ordering::Relaxed);
        }
        if workers.len() > seen {
            workers.retain(|worker| self.is_there(worker));
        }
        chosen
    }

    /// Whether another worker of the group has a thread that nobody uses.
    pub fn has_better(&self, group: &Group, than: &Worker) -> bool {
        let Some(posted) = self.posted(group) else { return false };
        let generation = posted.generation();
        let workers = locked(&group.workers);
        self.board.workers(posted).any(|(_, ready)| {
            ready.number() != than.number
                && ready.state() == State::Ready
                && ready.generation() == generation
                && workers
                    .iter()
                    .find(|worker| worker.number == ready.number())
                    .is_none_or(|worker| worker.load() < group.terms.threads.max(1))
        })
    }

    /// A connection to a worker that this child has not used yet.
    ///
    /// # Errors
    /// Nobody listens (any more), or has no room, or is not who is expected.
    pub fn connect(
        &self,
        chosen: &Chosen,
        patience: Duration,
        writing: Option<Duration>,
    ) -> std::io::Result<Knock> {
        let supervisor = self.board.supervisor();
        let path = link::path(&self.prefix, supervisor, chosen.0.number);
        let stream = link::connect(&path, patience)?;
        // Sockets of workers are made by the supervisor.
        if link::peer(&stream)?.pid != supervisor {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        Knock::new(stream, writing)
    }

    fn is_there(&self, worker: &Worker) -> bool {
        let posted = self.posted_worker(worker);
        posted.is_some_and(|posted| matches!(posted.state(), State::Ready | State::Leaving))
    }
}

/// More than a group can have.
const WORKERS: usize = Board::WORKERS_OF_GROUP as usize;

/// Where in the list a worker is that has been posted.
fn known(workers: &mut Vec<Arc<Worker>>, place: u32, posted: &Posted) -> usize {
    let number = posted.number();
    workers.iter().position(|worker| worker.number == number).unwrap_or_else(|| {
        workers.push(Arc::new(Worker {
            number,
            pid: posted.pid(),
            place,
            page: OnceLock::new(),
            in_flight: AtomicU32::new(0),
            idle: Mutex::default(),
        }));
        workers.len() - 1
    })
}

impl Worker {
    /// How much it has to do, as far as is known.
    fn load(&self) -> u32 {
        let busy = self.page.get().map_or(0, |page| page.busy());
        busy.max(self.in_flight.load(Ordering::Relaxed))
    }

    /// Its page, once a connection has brought it.
    pub fn page(&self) -> Option<&Arc<Mapped<Page>>> {
        self.page.get()
    }

    /// The connection that was used last and is idle.
    pub fn idle(&self) -> Option<Box<Connection>> {
        locked(&self.idle).pop()
    }

    /// Keeps a connection for a later request.
    pub fn keep(&self, mut connection: Box<Connection>) {
        self.page.get_or_init(|| Arc::clone(connection.page()));
        connection.rest();
        locked(&self.idle).push(connection);
    }
}

impl Chosen {
    fn new(worker: &Arc<Worker>) -> Chosen {
        worker.in_flight.fetch_add(1, Ordering::Relaxed);
        Chosen(Arc::clone(worker))
    }
}

impl std::ops::Deref for Chosen {
    type Target = Worker;
    fn deref(&self) -> &Worker {
        &self.0
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A lock whose holder never panics.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
    fn a_group_is_found_by_its_name_and_again_when_it_has_another_place() {
        let board = Shared::<Board>::create("board").unwrap().write().unwrap();
        let place = Place::new(b"site");
        let is_at = |at: u32| std::ptr::eq(place.look_up(board), board.group(at).unwrap());
        assert!(std::ptr::eq(place.look_up(board), &NONE));
        board.set_name(0, b"other");
        assert!(std::ptr::eq(place.look_up(board), &NONE));
        board.set_name(5, b"site");
        assert!(is_at(5));
        board.set_name(5, b"third");
        assert!(std::ptr::eq(place.look_up(board), &NONE));
        board.set_name(9, b"site");
        assert!(is_at(9) && is_at(9));
    }
}
