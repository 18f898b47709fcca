//! Calls at the slots of a worker's page. A child of the server calls at a slot when a request lies there; a thread of the worker
//! that has nothing else to do is woken, and whichever is free first takes the call.
//!
//! While requests are [brisk](Calls::set_brisk) nobody is woken as long as a thread of the worker is busy with one: it will look
//! for calls before another thread could. A child whose request has not been taken after a moment [urges](Calls::urge).

use crate::word::{AtomicU32, AtomicU64, Ordering, wait, wake};
use std::mem::offset_of;
use std::time::Duration;

/// The calls at the slots of so many words.
#[repr(C)]
pub struct Calls<const WORDS: usize> {
    /// Changes whenever somebody calls.
    bell: AtomicU32,
    /// A thread of the worker that waits, and is woken before those that wait for the bell: the same one again and again, so
    /// that what it uses stays at hand. `EMPTY`, `ASLEEP` or `WOKEN`.
    seat: AtomicU32,
    /// Threads of the worker that wait for the bell.
    sleepers: AtomicU32,
    /// Threads of the worker that are on their way to take a call.
    coming: AtomicU32,
    /// Requests that have been taken and not finished.
    busy: AtomicU32,
    /// Not 0 while they are brisk.
    brisk: AtomicU32,
    /// As many words of `slots` have been used.
    words: AtomicU32,
    /// A bit for each slot: somebody calls there.
    slots: [AtomicU64; WORDS],
}

const BITS: usize = u64::BITS as usize;

/// Nobody is in the seat.
const EMPTY: u32 = 0;
/// Who is there waits.
const ASLEEP: u32 = 1;
/// Who is there has been woken, and looks for calls next.
const WOKEN: u32 = 2;

/// All zero, as new memory is.
impl<const WORDS: usize> Default for Calls<WORDS> {
    fn default() -> Calls<WORDS> {
        let [bell, seat, sleepers, coming, busy, brisk, words] = <[AtomicU32; 7]>::default();
        Calls {
            bell,
            seat,
            sleepers,
            coming,
            busy,
            brisk,
            words,
            slots: std::array::from_fn(|_| AtomicU64::default()),
        }
    }
}

impl<const WORDS: usize> Calls<WORDS> {
    /// The child calls: a request lies at a slot.
    pub fn call(&self, slot: u32) {
        self.set_pending(slot);
        self.bell.fetch_add(1, Ordering::SeqCst);
        if !self.is_brisk() || !self.will_look() {
            self.wake_if_nobody_comes();
        }
    }

    /// Wakes a thread for a request that no thread has taken for 2 ms. Ignores what this memory says about woken threads, because
    /// every child can write it. If a thread has been woken already, this wakes one more than necessary.
    pub fn force_wake(&self, slot: u32) {
        self.set_pending(slot);
        self.brisk.store(0, Ordering::SeqCst);
        self.coming.store(0, Ordering::SeqCst);
        self.bell.fetch_add(1, Ordering::SeqCst);
        if !self.wake_from_seat() {
            wake(&self.seat, 1);
            wake(&self.bell, 1);
        }
    }

    fn set_pending(&self, slot: u32) {
        let (word, bit) = (slot as usize / BITS, slot as usize % BITS);
        let Some(calls) = self.slots.get(word) else { return };
        calls.fetch_or(1 << bit, Ordering::SeqCst);
        if self.words.load(Ordering::SeqCst) <= word as u32 {
            self.words.fetch_max(word as u32 + 1, Ordering::SeqCst);
        }
    }

    /// Upper bound of the slots that have ever had a pending request.
    pub fn used_slots(&self) -> usize {
        (self.words.load(Ordering::SeqCst) as usize).min(WORDS) * BITS
    }

    /// Whether somebody looks for calls before long: who ends a request, or has been woken.
    fn will_look(&self) -> bool {
        self.busy.load(Ordering::SeqCst) > 0 || self.seat.load(Ordering::SeqCst) == WOKEN
    }

    /// The child has called, and nobody has taken its request yet: somebody shall come. Requests are not brisk while one keeps a
    /// thread busy for so long, or else each of the following ones would have to wait for so long as well.
    pub fn urge(&self) {
        self.brisk.store(0, Ordering::SeqCst);
        self.bell.fetch_add(1, Ordering::SeqCst);
        self.wake_if_nobody_comes();
    }

    /// Whether requests are brisk.
    pub fn is_brisk(&self) -> bool {
        self.brisk.load(Ordering::SeqCst) != 0
    }

    /// Whether requests are brisk: so short, and waiting for nothing, that a thread is done with one before another thread could
    /// come for the next.
    pub fn set_brisk(&self, brisk: bool) {
        self.brisk.store(brisk.into(), Ordering::SeqCst);
    }

    /// A thread of the worker begins with a request.
    pub fn begin(&self) {
        self.busy.fetch_add(1, Ordering::SeqCst);
    }

    /// A thread of the worker has finished one, and will look for calls.
    pub fn end(&self) {
        self.busy.fetch_sub(1, Ordering::SeqCst);
    }

    /// Requests that have been taken and not finished.
    pub fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Where [that](Calls::busy) lies in this.
    pub const BUSY: usize = offset_of!(Calls<WORDS>, busy);

    /// Whoever comes sees to it that somebody comes for what it leaves.
    fn wake_if_nobody_comes(&self) {
        if self.coming.load(Ordering::SeqCst) > 0 || self.wake_from_seat() {
            return;
        }
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            wake(&self.bell, 1);
        }
    }

    fn wake_from_seat(&self) -> bool {
        let order = (Ordering::SeqCst, Ordering::SeqCst);
        let was_asleep = self.seat.compare_exchange(ASLEEP, WOKEN, order.0, order.1).is_ok();
        if was_asleep {
            wake(&self.seat, 1);
        }
        was_asleep
    }

    /// A thread of the worker comes to take a call, unless as many come as there are calls, or as `most`.
    pub fn come(&self, most: u32) -> bool {
        // In this order: whoever is counted below takes one of the calls that are counted here.
        let calls = self.count().min(most);
        let order = (Ordering::SeqCst, Ordering::SeqCst);
        let one_more = |coming| (coming < calls).then_some(coming + 1);
        self.coming.fetch_update(order.0, order.1, one_more).is_ok()
    }

    /// A thread that has come takes a call, if there still is one: the slot, as the first one from `from` on.
    pub fn take(&self, from: u32) -> Option<u32> {
        let order = (Ordering::SeqCst, Ordering::SeqCst);
        // Before it is taken: or else a call that comes in between would seem to be this thread's. A child may have written
        // something else there.
        let _ = self.coming.fetch_update(order.0, order.1, |coming| coming.checked_sub(1));
        let taken = self.next(from);
        if taken.is_some() && !self.is_brisk() && self.count() > 0 {
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
            let there = self.slots[word].load(Ordering::SeqCst) & mask;
            if there == 0 {
                return None;
            }
            let bit = there.trailing_zeros();
            if self.slots[word].fetch_and(!(1 << bit), Ordering::SeqCst) & 1 << bit != 0 {
                return Some(word as u32 * u64::BITS + bit);
            }
        }
    }

    /// How many slots there are at which somebody calls.
    fn count(&self) -> u32 {
        let words = (self.words.load(Ordering::SeqCst) as usize).min(WORDS);
        self.slots[..words].iter().map(|word| word.load(Ordering::SeqCst).count_ones()).sum()
    }

    /// What the bell shows now: it is looked at before it is looked for calls, and then waited for.
    pub fn bell(&self) -> u32 {
        self.bell.load(Ordering::SeqCst)
    }

    /// A thread of the worker waits as long as the bell shows this.
    pub fn wait(&self, bell: u32) {
        const LONG: Duration = Duration::from_secs(3600);
        let order = (Ordering::SeqCst, Ordering::SeqCst);
        if self.seat.compare_exchange(EMPTY, ASLEEP, order.0, order.1).is_ok() {
            // Whoever has rung before may have found nobody here.
            if self.bell() == bell {
                wait(&self.seat, ASLEEP, LONG);
            }
            self.seat.store(EMPTY, Ordering::SeqCst);
        } else {
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            wait(&self.bell, bell, LONG);
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Wakes all threads of the worker that wait for a call.
    pub fn wake_all(&self) {
        self.bell.fetch_add(1, Ordering::SeqCst);
        self.wake_from_seat();
        wake(&self.bell, u32::MAX >> 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    #[test]
    fn each_call_is_taken_once_and_all_have_their_turn() {
        let calls = Calls::<64>::default();
        assert_eq!(calls.next(0), None);
        for slot in [3, 64, 4095, 63, 4096] {
            calls.call(slot);
        }
        let taken = [4, 64, 65].map(|from| calls.next(from));
        assert_eq!(taken, [Some(63), Some(64), Some(4095)]);
        calls.call(4095);
        let taken = [4000, 4000, 9].map(|from| calls.next(from));
        assert_eq!(taken, [Some(4095), Some(3), None]);
        calls.call(0);
        assert_eq!([4096, u32::MAX].map(|from| calls.next(from)), [Some(0), None]);
    }

    #[test]
    fn no_call_is_missed() {
        const ROUNDS: u32 = 20_000;
        let calls = Calls::<2>::default();
        let are_taken: [AtomicBool; 2 * BITS] = std::array::from_fn(|_| AtomicBool::default());
        let (taken, is_over) = (AtomicU32::default(), AtomicBool::default());
        std::thread::scope(|scope| {
            for most in [1, 1, 2] {
                let (calls, are_taken, taken, is_over) = (&calls, &are_taken, &taken, &is_over);
                scope.spawn(move || {
                    let mut from = 0;
                    loop {
                        let bell = calls.bell();
                        if !calls.come(most) {
                            if is_over.load(Ordering::SeqCst) {
                                break;
                            }
                            calls.wait(bell);
                            continue;
                        }
                        if let Some(slot) = calls.take(from) {
                            from = slot + 1;
                            are_taken[slot as usize].store(true, Ordering::SeqCst);
                            taken.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
            let callers = [7, 80].map(|slot| {
                let (calls, is_taken) = (&calls, &are_taken[slot]);
                scope.spawn(move || {
                    let begun = Instant::now();
                    for round in 0..ROUNDS {
                        is_taken.store(false, Ordering::SeqCst);
                        calls.call(slot as u32);
                        while !is_taken.load(Ordering::SeqCst) {
                            assert!(begun.elapsed().as_secs() < 60, "round {round}");
                            std::thread::yield_now();
                        }
                    }
                })
            });
            callers.into_iter().for_each(|caller| caller.join().unwrap());
            is_over.store(true, Ordering::SeqCst);
            calls.wake_all();
        });
        assert_eq!(taken.into_inner(), 2 * ROUNDS);
    }
}
