//! The page of a worker: one slot for each connection, in which a child of the server offers a request and the worker takes
//! it. As long as it has not been taken, the child may withdraw it and offer it to another worker; afterwards never. A
//! slot outlives the worker, so a child can tell what became of its request when the worker has died.
#![expect(unsafe_code, reason = "says that the page may lie in shared memory")]

use crate::calls::Calls;
use crate::ring::Positions;
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
    /// At which slots requests lie.
    pub calls: Calls<WORDS>,
    slots: [Slot; SLOTS],
}

#[repr(C, align(64))]
struct Slot {
    offer: AtomicU32,
    to_worker: Positions,
    to_child: Positions,
}

const WORDS: usize = SLOTS / u64::BITS as usize;

// SAFETY: atomics only.
unsafe impl Layout for Page {}

/// What became of an offer, in the two lowest bits; the serial stands above.
const OFFERED: u32 = 1;
const TAKEN: u32 = 2;
const WITHDRAWN: u32 = 3;
const SERIAL: u32 = u32::MAX >> 2;

/// One offer of a connection: its serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer(u32);

impl Offer {
    /// The number as it stands in a frame.
    pub const fn serial(self) -> u32 {
        self.0
    }

    /// From a number.
    pub const fn from_serial(serial: u32) -> Offer {
        Offer(serial & SERIAL)
    }

    /// The next of the same connection.
    pub const fn next(self) -> Offer {
        Offer((self.0 + 1) & SERIAL)
    }

    const fn word(self, what: u32) -> u32 {
        self.0 << 2 | what
    }
}

impl Page {
    /// How many connections a worker has at most.
    pub const SLOTS: u32 = SLOTS as u32;

    fn slot(&self, number: u32) -> Option<&AtomicU32> {
        self.slots.get(number as usize).map(|slot| &slot.offer)
    }

    /// The positions of a slot's rings: to the worker, and to the child. `None` if there is no such slot.
    pub fn positions(&self, slot: u32) -> Option<[&Positions; 2]> {
        self.slots.get(slot as usize).map(|slot| [&slot.to_worker, &slot.to_child])
    }

    /// The worker has died: wakes the children that wait for what it would have said.
    pub fn mourn(&self) {
        for slot in &self.slots {
            slot.to_child.wake();
            slot.to_worker.wake();
        }
    }

    /// The offer that was the last one in a slot, whoever made it. A connection that is given a slot goes on from there: the
    /// one that had it before may still look at what became of its own offer.
    pub fn last(&self, slot: u32) -> Offer {
        Offer(self.slot(slot).map_or(0, |word| word.load(Ordering::Acquire)) >> 2)
    }

    /// The child offers a request. `false` if there is no such slot.
    pub fn offer(&self, slot: u32, offer: Offer) -> bool {
        let Some(word) = self.slot(slot) else { return false };
        word.store(offer.word(OFFERED), Ordering::Release);
        true
    }

    /// The worker takes it. `false` if it was withdrawn.
    pub fn take(&self, slot: u32, offer: Offer) -> bool {
        self.change(slot, offer, TAKEN)
    }

    /// The child withdraws it. `false` if it was taken.
    pub fn withdraw(&self, slot: u32, offer: Offer) -> bool {
        self.change(slot, offer, WITHDRAWN)
    }

    fn change(&self, slot: u32, offer: Offer, what: u32) -> bool {
        let (from, to) = (offer.word(OFFERED), offer.word(what));
        self.slot(slot).is_some_and(|word| {
            word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }

    /// Whether the worker has taken it.
    pub fn is_taken(&self, slot: u32, offer: Offer) -> bool {
        self.slot(slot).is_some_and(|word| word.load(Ordering::Acquire) == offer.word(TAKEN))
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

    /// [`busy`](Page::busy) and [`served`](Page::served) of a page that is not mapped: whoever sees many workers come and
    /// go would hold the memory of all their pages.
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
    fn an_offer_is_taken_or_withdrawn_and_never_both() {
        let shared = Shared::<Page>::create("page").unwrap();
        let (child, worker) = (shared.write().unwrap(), shared.write().unwrap());
        let offer = Offer::from_serial(7);
        assert!(child.offer(3, offer));
        assert!(!child.is_taken(3, offer));
        assert!(worker.take(3, offer));
        assert!(!child.withdraw(3, offer) && child.is_taken(3, offer));
        let next = offer.next();
        assert!(child.offer(3, next));
        assert!(!worker.take(3, offer));
        assert!(child.withdraw(3, next));
        assert!(!worker.take(3, next) && !child.is_taken(3, next));
        assert!(!child.offer(Page::SLOTS, next));
    }

    #[test]
    fn who_is_given_a_slot_does_not_touch_the_offers_of_who_had_it() {
        let shared = Shared::<Page>::create("page").unwrap();
        let page = shared.write().unwrap();
        let before = page.last(9).next();
        assert!(page.offer(9, before) && page.take(9, before));
        let after = page.last(9).next();
        assert_ne!(before, after);
        assert!(page.offer(9, after));
        assert!(!page.withdraw(9, before) && !page.take(9, before));
        assert!(page.take(9, after));
    }

    #[test]
    fn serial_numbers_go_round() {
        let last = Offer::from_serial(u32::MAX);
        assert_eq!(last.next(), Offer::from_serial(0));
    }

    #[test]
    fn what_both_offer_and_take_is_counted() {
        let shared = Shared::<Page>::create("page").unwrap();
        let page = shared.write().unwrap();
        page.begin();
        page.begin();
        assert_eq!((page.end(), page.busy(), page.served()), (1, 1, 1));
        assert_eq!(Page::counts(&shared).unwrap(), (1, 1));
    }
}
