//! The connections of a worker. Children of the server connect and stay; each connection has a slot of the worker's page,
//! and at any time one thread at most that has to do with it.

use super::forks;
use super::journal;
use super::post::Post;
use exchange::{Code, Level};
use link::{Page, Stream};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire::Hello;

/// The connections of a worker.
pub struct Connections {
    epoll: OwnedFd,
    /// Readable when no thread shall wait for requests any more.
    over: OwnedFd,
    table: Vec<Place>,
    free: Mutex<Vec<u32>>,
}

/// The place of a connection: that of its slot.
#[derive(Default)]
struct Place {
    stream: Mutex<Option<Arc<Stream>>>,
    /// Whether a thread has to do with it.
    state: AtomicU8,
}

/// Nobody has to do with a connection.
const IDLE: u8 = 0;
/// A thread has.
const BUSY: u8 = 1;
/// A thread has, and something has arrived since it began.
const MORE: u8 = 2;

/// In place of a slot: it is over.
const OVER: u64 = u64::MAX;

/// An arrival is told once, to one thread. Nothing has to be asked for again, which would be a system call for each
/// request; that only one thread has to do with a connection is seen to by its place.
const ARMED: EventFlags = EventFlags::IN.union(EventFlags::ET);

impl Connections {
    /// None yet.
    pub fn new() -> io::Result<Connections> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let over = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &over, EventData::new_u64(OVER), EventFlags::IN)?;
        forks::withhold(epoll.as_raw_fd());
        forks::withhold(over.as_raw_fd());
        Ok(Connections {
            epoll,
            over,
            table: (0..Page::SLOTS).map(|_| Place::default()).collect(),
            free: Mutex::new((0..Page::SLOTS).rev().collect()),
        })
    }

    /// Waits until something arrives, and gives the slot of the connection on which it does. The connection is the caller's
    /// until it is released or closed. `None` when it is over.
    pub fn next(&self) -> Option<u32> {
        let mut space = [MaybeUninit::<Event>::uninit()];
        loop {
            match epoll::wait(&self.epoll, &mut space, None) {
                Ok(([event], _)) => match event.data.u64() {
                    OVER => return None,
                    slot if self.table[slot as usize].claim() => return Some(slot as u32),
                    _ => {}
                },
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// The caller has done with a connection, of which it has read everything. `false` if more has arrived, which the
    /// caller has to read.
    pub fn release(&self, slot: u32) -> bool {
        self.table[slot as usize].release()
    }

    /// The connection of a slot.
    pub fn at(&self, slot: u32) -> Option<Arc<Stream>> {
        self.place(slot).clone()
    }

    fn place(&self, slot: u32) -> MutexGuard<'_, Option<Arc<Stream>>> {
        self.table[slot as usize].stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes a connection whose other side is not interested in its slot any more.
    pub fn close(&self, slot: u32) {
        let connection = self.place(slot).take();
        if let Some(stream) = connection {
            self.part_with(slot, &stream);
            // Whoever is told of it late finds another connection here, or none, and nothing to be read.
            self.table[slot as usize].state.store(IDLE, Ordering::Release);
            self.lock_free().push(slot);
        }
    }

    /// The other side sees the end even if another process has the connection open, too.
    fn part_with(&self, slot: u32, stream: &Stream) {
        forks::forget_connection(slot);
        let _ = epoll::delete(&self.epoll, stream);
        let _ = shutdown(stream, Shutdown::Both);
    }

    /// No thread shall wait for requests any more.
    pub fn end(&self) {
        let _full = rustix::io::write(&self.over, &1u64.to_ne_bytes());
    }

    /// Closes all connections. Their slots keep what is in them.
    pub fn close_all(&self) {
        for slot in 0..Page::SLOTS {
            let connection = self.place(slot).take();
            if let Some(stream) = connection {
                self.part_with(slot, &stream);
            }
        }
    }

    fn lock_free(&self) -> MutexGuard<'_, Vec<u32>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts whoever waits, and greets them.
    pub fn accept(&self, post: &Post, listener: BorrowedFd<'_>) {
        loop {
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
                Ok(peer) if post.clients.contains(&peer.user) => {}
                Ok(peer) => {
                    let code = Code::PeerRefused;
                    let line = format!("{code}: {}: {peer:?}.", code.text());
                    journal::note(Level::Error, &line);
                    continue;
                }
                Err(_) => continue,
            }
            // Without a slot it is turned away: the child finds another worker.
            let Some(slot) = self.lock_free().pop() else { return };
            if self.welcome(post, slot, Stream::new(socket)).is_err() {
                self.close(slot);
            }
        }
    }

    fn welcome(&self, post: &Post, slot: u32, stream: Stream) -> io::Result<()> {
        let time = post.options.socket_timeout;
        stream.set_timeout((time > 0).then(|| Duration::from_secs(time.into())))?;
        forks::withhold_connection(slot, &stream.as_fd());
        let stream = Arc::new(stream);
        *self.place(slot) = Some(Arc::clone(&stream));
        let mut hello = Vec::new();
        Hello { worker: post.number, slot }.append_to(&mut hello);
        stream.write(&[&hello], Some(post.page_memory.as_fd()))?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(slot.into()), ARMED)?;
        Ok(())
    }
}

impl Place {
    /// Something has arrived. `true` if the connection is now the caller's; otherwise whoever has it is told.
    fn claim(&self) -> bool {
        let next = |state| if state == IDLE { BUSY } else { MORE };
        let change = |state| Some(next(state));
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        before == Ok(IDLE)
    }

    fn release(&self) -> bool {
        let (order, otherwise) = (Ordering::AcqRel, Ordering::Acquire);
        if self.state.compare_exchange(BUSY, IDLE, order, otherwise).is_ok() {
            return true;
        }
        self.state.store(BUSY, Ordering::Release);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_connection_is_one_thread_s_which_learns_of_what_others_were_told() {
        let place = Place::default();
        assert!(place.claim());
        assert!(!place.claim() && !place.claim());
        assert!(!place.release());
        assert!(place.release());
        assert!(place.claim());
    }
}
