//! `OfferWord`: whether a thread of the worker has taken the request on a connection, and whether it has finished. Lives in the memory
//! of that connection alone ([`Tray`](crate::Tray)), so neither another child nor another connection can change it.
//!
//! ```text
//!             child offers            worker takes             worker finishes
//!  (nothing) ──────────────► OFFERED ──────────────► TAKEN ─────────────────────► FINISHED
//!                               │ child withdraws      │ child gives up
//!                               ▼                      ▼
//!                           WITHDRAWN               ABANDONED   the worker, when it finishes, reports the free thread
//! ```
//!
//! Each arrow but the first is a compare-and-swap from the state before it with the same serial number, so a request is taken at most
//! once and never after it was withdrawn, and exactly one side gives back the thread that was reserved for it.

use crate::word::{AtomicU32, Ordering};

/// The state of the request on a connection: its serial number above the three bits of its [`State`].
#[repr(transparent)]
#[derive(Default)]
pub struct OfferWord(AtomicU32);

const OFFERED: u32 = 1;
const TAKEN: u32 = 2;
const WITHDRAWN: u32 = 3;
const FINISHED: u32 = 4;
const ABANDONED: u32 = 5;

const STATE_BITS: u32 = 3;
const STATE: u32 = (1 << STATE_BITS) - 1;

/// One request of a connection: its serial number, which wraps around after 2²⁹.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer(u32);

impl Offer {
    /// The number as it is sent in a frame.
    pub const fn serial(self) -> u32 {
        self.0
    }

    /// The request with this serial number, modulo 2²⁹.
    pub const fn from_serial(serial: u32) -> Offer {
        Offer(serial & (u32::MAX >> STATE_BITS))
    }

    /// The next request of the same connection.
    pub const fn next(self) -> Offer {
        Offer::from_serial(self.0 + 1)
    }

    const fn word(self, state: u32) -> u32 {
        self.0 << STATE_BITS | state
    }
}

impl OfferWord {
    /// The last request that was offered.
    pub fn last(&self) -> Offer {
        Offer(self.0.load(Ordering::Acquire) >> STATE_BITS)
    }

    /// The offered request that has been neither taken nor withdrawn.
    pub fn pending(&self) -> Option<Offer> {
        let word = self.0.load(Ordering::Acquire);
        (word & STATE == OFFERED).then_some(Offer(word >> STATE_BITS))
    }

    /// The child offers a request.
    pub fn offer(&self, offer: Offer) {
        self.0.store(offer.word(OFFERED), Ordering::Release);
    }

    /// The worker takes it. `false` if the child has withdrawn it.
    pub fn take(&self, offer: Offer) -> bool {
        self.change(offer, OFFERED, TAKEN)
    }

    /// The child withdraws it. `false` if the worker has taken it.
    pub fn withdraw(&self, offer: Offer) -> bool {
        self.change(offer, OFFERED, WITHDRAWN)
    }

    /// Whether the worker has taken it; it may have finished it, too.
    pub fn is_taken(&self, offer: Offer) -> bool {
        [TAKEN, FINISHED].map(|state| offer.word(state)).contains(&self.0.load(Ordering::Acquire))
    }

    /// The child gives up a request that the worker has taken. `true` if the worker has not finished it: the worker then reports
    /// the free thread to the supervisor when it has.
    pub fn abandon(&self, offer: Offer) -> bool {
        self.change(offer, TAKEN, ABANDONED)
    }

    /// The worker's thread has finished the request. `true` if the child had given it up: the caller must then report to the
    /// supervisor that the thread is free.
    pub fn finish(&self, offer: Offer) -> bool {
        !self.change(offer, TAKEN, FINISHED)
            && self.0.load(Ordering::Acquire) == offer.word(ABANDONED)
    }

    fn change(&self, offer: Offer, from: u32, to: u32) -> bool {
        let (from, to) = (offer.word(from), offer.word(to));
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_or_withdrawn_and_never_both() {
        let word = OfferWord::default();
        let offer = Offer::from_serial(7);
        word.offer(offer);
        assert!(!word.is_taken(offer));
        assert_eq!(word.pending(), Some(offer));
        assert!(word.take(offer) && !word.take(offer));
        assert!(!word.withdraw(offer) && word.is_taken(offer));
        assert_eq!(word.pending(), None);
        let next = offer.next();
        word.offer(next);
        assert!(!word.take(offer));
        assert!(word.withdraw(next) && !word.take(next) && !word.is_taken(next));
    }

    #[test]
    fn exactly_one_side_gives_back_the_thread_of_a_request() {
        let word = OfferWord::default();
        let offer = Offer::from_serial(1);
        word.offer(offer);
        assert!(!word.abandon(offer));
        assert!(word.take(offer) && word.abandon(offer));
        assert!(word.finish(offer));
        let next = offer.next();
        word.offer(next);
        assert!(word.take(next) && !word.finish(next) && !word.abandon(next));
        // The child offers its next request before the thread of the last one has finished.
        let (late, newer) = (next.next(), next.next().next());
        word.offer(late);
        assert!(word.take(late));
        word.offer(newer);
        assert!(!word.finish(late));
        assert!(word.take(newer));
    }

    #[test]
    fn serial_numbers_wrap_around() {
        let last = Offer::from_serial(u32::MAX);
        assert_eq!(last.next(), Offer::from_serial(0));
        assert_eq!(last.next().serial(), 0);
    }
}
