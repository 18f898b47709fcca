//! The page of a worker: the memory that it shares with all children that are connected to it. It holds the set of slots with a
//! pending request, the words that waiting threads sleep on, and counters. Every child can write all of it, so its values are hints:
//! a wrong one can delay a request. The state of a request is in the memory of its connection ([`Tray`](crate::Tray)).
#![expect(unsafe_code, reason = "says that the page may lie in shared memory")]

use crate::calls::Calls;
use crate::ring::WakeWord;
use crate::shared::Layout;
use rustix::io::pread;
use std::io;
use std::mem::offset_of;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How many connections a worker has at most.
const SLOTS: usize = 4096;

/// The page of a worker.
#[repr(C, align(64))]
pub struct Page {
    /// Requests that it has finished.
    served: AtomicU64,
    /// The number of open connections.
    connections: AtomicU32,
    /// At which slots requests lie.
    pub calls: Calls<WORDS>,
    slots: [Wakes; SLOTS],
}

/// The words that the two sides of a connection sleep on. They are in the page and not in the memory of the connection, so that
/// the supervisor can wake the children of a worker that has died.
#[repr(C, align(64))]
pub struct Wakes {
    /// The word that the child sleeps on.
    pub child: WakeWord,
    /// The word that a thread of the worker sleeps on.
    pub worker: WakeWord,
}

const WORDS: usize = SLOTS / u64::BITS as usize;

// SAFETY: atomics only.
unsafe impl Layout for Page {}

impl Page {
    /// How many connections a worker has at most.
    pub const SLOTS: u32 = SLOTS as u32;

    /// The words that the sides of a slot's connection sleep on. `None` if there is no such slot.
    pub fn wakes(&self, slot: u32) -> Option<&Wakes> {
        self.slots.get(slot as usize)
    }

    /// The worker has died: wakes the children that wait for what it would have said.
    pub fn mourn(&self) {
        let used = self.calls.used_slots().min(SLOTS);
        for slot in &self.slots[..used] {
            slot.child.wake_all();
            slot.worker.wake_all();
        }
    }

    /// Counts a new connection.
    pub fn add_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that has ended.
    pub fn remove_connection(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether more than three quarters of the slots are in use. A child then closes its connection after a request instead of
    /// keeping it; the last quarter is for children that have no connection yet.
    pub fn is_crowded(&self) -> bool {
        self.connections.load(Ordering::Relaxed) > Page::SLOTS / 4 * 3
    }

    /// The worker begins with a request.
    pub fn begin(&self) {
        self.calls.begin();
    }

    /// The worker has finished one; how many it has finished by now.
    pub fn end(&self) -> u64 {
        self.calls.end();
        self.served.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Requests that it has taken and not finished.
    pub fn busy(&self) -> u32 {
        self.calls.busy()
    }

    /// Requests that it has finished.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// [`busy`](Page::busy) and [`served`](Page::served) of a page that is not mapped: a process that sees many workers come and
    /// go would otherwise hold the memory of all their pages.
    ///
    /// # Errors
    /// Those of the system.
    pub fn counts(page: impl AsFd) -> io::Result<(u32, u64)> {
        let (mut busy, mut served) = ([0; 4], [0; 8]);
        pread(&page, &mut busy, (offset_of!(Page, calls) + Calls::<WORDS>::BUSY) as u64)?;
        pread(&page, &mut served, offset_of!(Page, served) as u64)?;
        Ok((u32::from_ne_bytes(busy), u64::from_ne_bytes(served)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shared;

    #[test]
    fn children_and_worker_share_the_counters() {
        let shared = Shared::<Page>::create("page").unwrap();
        let page = shared.write().unwrap();
        page.begin();
        page.begin();
        assert_eq!((page.end(), page.busy(), page.served()), (1, 1, 1));
        assert_eq!(Page::counts(&shared).unwrap(), (1, 1));
    }

    #[test]
    fn a_quarter_of_the_slots_is_left_for_new_connections() {
        let page = Shared::<Page>::create("page").unwrap().write().unwrap();
        (0..Page::SLOTS / 4 * 3).for_each(|_| page.add_connection());
        assert!(!page.is_crowded());
        page.add_connection();
        assert!(page.is_crowded());
        page.remove_connection();
        assert!(!page.is_crowded());
    }
}
