//! The page of a worker: one slot for each connection, in which a child of the server offers a request and the worker takes
//! it. As long as it has not been taken, the child may withdraw it and offer it to another worker; afterwards never. A
//! slot outlives the worker, so a child can tell what became of its request when the worker has died.
//!
//! Children call at a slot when a request lies there; a thread of the worker that has nothing else to do is woken, and whichever
//! is free first takes it.
#![expect(unsafe_code, reason = "says that the page may lie in shared memory")]

use crate::ring::{self, Positions};
use crate::shared::Layout;
use rustix::io::pread;
use std::io;
use std::mem::offset_of;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How many connections a worker has at most.
const SLOTS: usize = 4096;

/// The page of a worker.
#[repr(C, align(64))]
pub struct Page {
    /// Requests that it has taken and not finished.
    busy: AtomicU32,
    /// Requests that it has finished.
    served: AtomicU64,
    /// Changes whenever somebody calls.
    bell: AtomicU32,
    /// Threads of the worker that wait for the bell.
    sleepers: AtomicU32,
    /// Threads of the worker that are on their way to take a call.
    coming: AtomicU32,
    /// As many words of `calls` have been used.
    words: AtomicU32,
    /// A bit for each slot: somebody calls there.
    calls: [AtomicU64; WORDS],
    slots: [Slot; SLOTS],
}

#[repr(C, align(64))]
struct Slot {
    offer: AtomicU32,
    to_worker: Positions,
    to_child: Positions,
}

const WORDS: usize = SLOTS / BITS;
const BITS: usize = u64::BITS as usize;

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

    /// The child calls: a request lies at a slot.
    pub fn call(&self, slot: u32) {
        let (word, bit) = (slot as usize / BITS, slot as usize % BITS);
        let Some(calls) = self.calls.get(word) else { return };
        calls.fetch_or(1 << bit, Ordering::SeqCst);
        if self.words.load(Ordering::SeqCst) <= word as u32 {
            self.words.fetch_max(word as u32 + 1, Ordering::SeqCst);
        }
        self.bell.fetch_add(1, Ordering::SeqCst);
        self.wake_if_nobody_comes();
    }

    /// Whoever comes sees to it that somebody comes for what it leaves.
    fn wake_if_nobody_comes(&self) {
        let nobody_comes = self.coming.load(Ordering::SeqCst) == 0;
        if nobody_comes && self.sleepers.load(Ordering::SeqCst) > 0 {
            ring::wake(&self.bell, 1);
        }
    }

    /// A thread of the worker comes to take a call, unless as many come as there are calls, or as `most`.
    pub fn come(&self, most: u32) -> bool {
        // In this order: whoever is counted below takes one of the calls that are counted here.
        let calls = self.calls().min(most);
        let order = (Ordering::SeqCst, Ordering::SeqCst);
        let one_more = |coming| (coming < calls).then_some(coming + 1);
        self.coming.fetch_update(order.0, order.1, one_more).is_ok()
    }

    /// A thread that has come takes a call, if there still is one: the slot, as the first one from `from` on.
    pub fn take_call(&self, from: u32) -> Option<u32> {
        let order = (Ordering::SeqCst, Ordering::SeqCst);
        // Before it is taken: or else a call that comes in between would seem to be this thread's. A child may have written
        // something else there.
        let _ = self.coming.fetch_update(order.0, order.1, |coming| coming.checked_sub(1));
        let taken = self.next(from);
        if taken.is_some() && self.calls() > 0 {
            self.bell.fetch_add(1, Ordering::SeqCst);
            self.wake_if_nobody_comes();
        }
        taken
    }

    fn next(&self, from: u32) -> Option<u32> {
        let words = (self.words.load(Ordering::SeqCst) as usize).min(WORDS);
        let (first, bit) = ((from as usize / BITS).min(words), from as usize % BITS);
        let later = !0 << bit;
        // Where it begins comes once more at the end, with what lies before `from`.
        let all = (first..words).chain(0..words.min(first + 1));
        for (round, word) in all.enumerate() {
            let mask = if round == 0 && word == first { later } else { !0 };
            let found = self.take_of(word, mask);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn take_of(&self, word: usize, mask: u64) -> Option<u32> {
        loop {
            let there = self.calls[word].load(Ordering::SeqCst) & mask;
            if there == 0 {
                return None;
            }
            let bit = there.trailing_zeros();
            if self.calls[word].fetch_and(!(1 << bit), Ordering::SeqCst) & 1 << bit != 0 {
                return Some(word as u32 * u64::BITS + bit);
            }
        }
    }

    /// How many slots there are at which somebody calls.
    fn calls(&self) -> u32 {
        let words = (self.words.load(Ordering::SeqCst) as usize).min(WORDS);
        self.calls[..words].iter().map(|word| word.load(Ordering::SeqCst).count_ones()).sum()
    }

    /// What the bell shows now: it is looked at before it is looked for calls, and then waited for.
    pub fn bell(&self) -> u32 {
        self.bell.load(Ordering::SeqCst)
    }

    /// A thread of the worker waits as long as the bell shows this.
    pub fn wait(&self, bell: u32) {
        const LONG: Duration = Duration::from_secs(3600);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        ring::wait(&self.bell, bell, LONG);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes all threads of the worker that wait for a call.
    pub fn wake_all(&self) {
        self.bell.fetch_add(1, Ordering::SeqCst);
        ring::wake(&self.bell, u32::MAX >> 1);
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
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// The worker has finished one; how many it has finished by now.
    pub fn end(&self) -> u64 {
        self.busy.fetch_sub(1, Ordering::Relaxed);
        self.served.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Requests that it has taken and not finished.
    pub fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
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
        pread(&page, &mut busy, offset_of!(Page, busy) as u64)?;
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
    fn each_call_is_taken_once_and_all_have_their_turn() {
        let shared = Shared::<Page>::create("page").unwrap();
        let page = shared.write().unwrap();
        assert_eq!(page.next(0), None);
        for slot in [3, 64, 4095, 63, Page::SLOTS] {
            page.call(slot);
        }
        assert_eq!((page.next(4), page.next(64), page.next(65)), (Some(63), Some(64), Some(4095)));
        page.call(4095);
        assert_eq!((page.next(4000), page.next(4000), page.next(9)), (Some(4095), Some(3), None));
        page.call(0);
        assert_eq!((page.next(Page::SLOTS), page.next(u32::MAX)), (Some(0), None));
    }

    #[test]
    fn no_call_is_missed() {
        const ROUNDS: u32 = 20_000;
        let shared = Shared::<Page>::create("page").unwrap();
        let page = shared.write().unwrap();
        let taken = AtomicU32::new(0);
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for most in [1, 1, 2] {
                let (page, taken, is_over) = (&page, &taken, &is_over);
                scope.spawn(move || {
                    let mut from = 0;
                    loop {
                        let bell = page.bell();
                        if !page.come(most) {
                            if is_over.load(Ordering::SeqCst) {
                                break;
                            }
                            page.wait(bell);
                            continue;
                        }
                        if let Some(slot) = page.take_call(from) {
                            from = slot + 1;
                            page.slots[slot as usize].offer.store(1, Ordering::SeqCst);
                            taken.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
            let callers: Vec<_> = [7, 80]
                .map(|slot| {
                    scope.spawn(move || {
                        let begun = std::time::Instant::now();
                        for round in 0..ROUNDS {
                            page.slots[slot].offer.store(0, Ordering::SeqCst);
                            page.call(slot as u32);
                            while page.slots[slot].offer.load(Ordering::SeqCst) == 0 {
                                assert!(begun.elapsed().as_secs() < 60, "round {round}");
                                std::thread::yield_now();
                            }
                        }
                    })
                })
                .into_iter()
                .collect();
            for caller in callers {
                caller.join().unwrap();
            }
            is_over.store(true, Ordering::SeqCst);
            page.wake_all();
        });
        assert_eq!(taken.into_inner(), 2 * ROUNDS);
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
