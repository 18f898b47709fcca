//! The connections of a worker. Children of the server connect and stay; each connection has a slot of the worker's page,
//! at which the child calls when it has a request.

use super::forks;
use super::journal;
use super::post::{Post, memory_error};
use super::proof::Unproved;
use exchange::{Code, Level};
use link::{Line, Page, Shared, Side, Stream, Tray};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire::Hello;

/// The connections of a worker.
pub struct Connections {
    /// Tells of those whose other side has gone.
    partings: OwnedFd,
    table: Vec<Mutex<Option<Arc<Held>>>>,
    free: Arc<Free>,
    /// Behind the slot of the last call: all have their turn.
    from: AtomicU32,
    is_over: AtomicBool,
}

/// Slots that nobody uses.
type Free = Mutex<Vec<u32>>;

/// A connection that has a slot. The slot is given to another connection only when the child has closed this one and no thread of the
/// worker uses it any more.
pub struct Held {
    line: Line,
    /// The serial of the offer that a thread has attended to last.
    attended: AtomicU32,
    free: Arc<Free>,
}

impl Held {
    /// Claims the pending request for this thread. Returns `false` if there is none or another thread has claimed it. A bit of the
    /// ready queue alone is no proof of a request: it may be left from the connection that had the slot before, or another child may
    /// have set it; and several threads may have been woken for one request.
    pub fn attends(&self) -> bool {
        loop {
            let attended = self.attended.load(Ordering::Acquire);
            let Some(pending) = self.line.offer().pending() else { return false };
            if pending.serial() == attended || self.line.is_over() {
                return false;
            }
            let order = (Ordering::AcqRel, Ordering::Relaxed);
            // If another thread has changed `attended` meanwhile, check again: it may have read and answered the request.
            if self.attended.compare_exchange(attended, pending.serial(), order.0, order.1).is_ok()
            {
                return true;
            }
        }
    }
}

impl Deref for Held {
    type Target = Line;
    fn deref(&self) -> &Line {
        &self.line
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.line.page().remove_connection();
        locked(&self.free).push(self.line.slot());
    }
}

/// Upper bound of the connections that are accepted in one round.
const AT_ONCE: usize = 64;

/// A parting is told once.
const PARTING: EventFlags = EventFlags::RDHUP.union(EventFlags::ET);

impl Connections {
    /// None yet.
    pub fn new() -> io::Result<Connections> {
        let partings = epoll::create(CreateFlags::CLOEXEC)?;
        forks::withhold(partings.as_raw_fd());
        Ok(Connections {
            partings,
            table: (0..Page::SLOTS).map(|_| Mutex::default()).collect(),
            free: Arc::new(Mutex::new((0..Page::SLOTS).rev().collect())),
            from: AtomicU32::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    /// Waits until somebody calls and fewer than `most` threads come for it; then the caller does. `false` when it is over.
    pub fn wait(&self, page: &Page, most: u32) -> bool {
        loop {
            let bell = page.calls.bell();
            if page.calls.come(most) {
                return true;
            }
            // After a look at the bell, which rings when this has been set.
            if self.is_over.load(Ordering::SeqCst) {
                return false;
            }
            page.calls.wait(bell);
        }
    }

    /// Takes a call, if there still is one, for a thread that has come: its slot.
    pub fn next(&self, page: &Page) -> Option<u32> {
        let slot = page.calls.take(self.from.load(Ordering::Relaxed))?;
        self.from.store(slot + 1, Ordering::Relaxed);
        Some(slot)
    }

    /// No thread shall wait for requests any more.
    pub fn end(&self, page: &Page) {
        self.is_over.store(true, Ordering::SeqCst);
        page.calls.wake_all();
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        locked(&self.free).len() == Page::SLOTS as usize
    }

    /// The connection of a slot.
    pub fn at(&self, slot: u32) -> Option<Arc<Held>> {
        self.place(slot).clone()
    }

    fn place(&self, slot: u32) -> MutexGuard<'_, Option<Arc<Held>>> {
        locked(&self.table[slot as usize])
    }

    /// Takes a connection out of the table.
    fn remove(&self, line: &Arc<Held>) {
        let taken = self.place(line.slot()).take_if(|there| Arc::ptr_eq(there, line));
        if let Some(line) = taken {
            self.part_with(&line);
        }
    }

    fn part_with(&self, line: &Line) {
        forks::forget_connection(line.slot());
        let _ = epoll::delete(&self.partings, line);
        line.end();
    }

    /// Becomes readable when the other side of a connection has gone.
    pub fn partings(&self) -> BorrowedFd<'_> {
        self.partings.as_fd()
    }

    /// Closes the connections whose other side has gone.
    pub fn see_off(&self) {
        let mut space = [MaybeUninit::<Event>::uninit(); 16];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        while let Ok((gone, _)) = epoll::wait(&self.partings, &mut space, Some(&now)) {
            if gone.is_empty() {
                return;
            }
            for event in gone {
                let line = self.at(event.data.u64() as u32).filter(|line| line.has_ended());
                if let Some(line) = line {
                    self.remove(&line);
                }
            }
        }
    }

    /// Closes all connections. Their slots keep what is in them.
    pub fn close_all(&self) {
        for slot in 0..Page::SLOTS {
            let line = self.place(slot).take();
            if let Some(line) = line {
                self.part_with(&line);
            }
        }
    }

    /// Accepts new connections, which must then send their proof. At most [`AT_ONCE`] in one round, so that processes that connect in
    /// a loop do not keep the thread from its other work.
    pub fn accept(&self, post: &Post, listener: BorrowedFd<'_>, unproved: &mut Unproved) {
        for _ in 0..AT_ONCE {
            let socket = match link::accept(listener) {
                Ok(socket) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_) => {
                    // No descriptor is free. Whoever waits goes on waiting; asking at once would only keep us busy.
                    std::thread::sleep(Duration::from_millis(20));
                    return;
                }
            };
            match link::peer(&socket) {
                Ok(peer) if post.clients.contains(&peer.user) => {
                    unproved.add(Stream::new(socket), peer);
                }
                Ok(peer) => unproved.refuse(peer, "processes of its user may not send requests"),
                Err(_) => {}
            }
        }
    }

    /// Gives a connection whose proof was right a slot, and sends the memory to its child.
    pub fn admit(&self, post: &Post, stream: Stream) {
        // Without a free slot the connection is closed, and the child tries another worker.
        let Some(slot) = locked(&self.free).pop() else { return };
        if let Err(error) = self.welcome(post, slot, stream) {
            let code = Code::ConnectionNotMade;
            journal::note(Level::Error, &format!("{code}: {}: {error}.", code.text()));
            if error.kind() == io::ErrorKind::OutOfMemory {
                let reached = memory_error();
                reached.iter().for_each(|line| journal::note(Level::Error, line));
            }
        }
    }

    fn welcome(&self, post: &Post, slot: u32, stream: Stream) -> io::Result<()> {
        let time = post.options.socket_timeout;
        let patience = (time > 0).then(|| Duration::from_secs(time.into()));
        let tray = Shared::<Tray>::create("rustgi-line");
        let mapped = tray.and_then(|tray| Ok((tray.map_for_now()?, tray)));
        let page = Arc::clone(&post.page);
        let line = mapped.and_then(|(here, tray)| {
            let line = Line::new(page, slot, here, stream, Side::Worker, patience);
            Ok((line.ok_or(io::ErrorKind::InvalidInput)?, tray))
        });
        let (line, tray) = line.inspect_err(|_| locked(&self.free).push(slot))?;
        // The first request of a connection has the serial number 1.
        let (attended, free) = (AtomicU32::new(0), Arc::clone(&self.free));
        post.page.add_connection();
        let line = Arc::new(Held { line, attended, free });
        forks::withhold_connection(slot, &line.as_fd());
        // Before the child hears of it: it may call at once.
        *self.place(slot) = Some(Arc::clone(&line));
        let mut hello = Vec::new();
        Hello { worker: post.number, slot }.append_to(&mut hello);
        let data = EventData::new_u64(slot.into());
        let told = epoll::add(&self.partings, &line.line, data, PARTING)
            .map_err(io::Error::from)
            .and_then(|()| line.greet(&hello, &[post.page_memory.as_fd(), tray.as_fd()]));
        // A child that has gone again is none of our concern.
        if told.is_err() {
            self.remove(&line);
        }
        Ok(())
    }
}

/// A lock whose holder never panics.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
