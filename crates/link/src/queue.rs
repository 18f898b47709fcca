//! `RequestQueue`: which threads of which workers the httpd children have reserved, and which requests wait for a thread. Lives in
//! memory that httpd's parent creates and that its children and the supervisor map; workers and applications do not map it.
//!
//! A child reserves a thread of a worker before it sends the request there ([`reserve`](RequestQueue::reserve): a
//! compare-and-swap of the worker's counter, bounded by its number of threads), so a request is only sent to a worker that has a
//! thread for it. When no worker has one, the request takes a ticket and waits at a *slot* of its own
//! ([`start_waiting`](RequestQueue::start_waiting)). The process that gives a thread back ([`give_back`](RequestQueue::give_back)) hands
//! it to the waiting request of the group with the lowest ticket and wakes that request alone. A request that arrives while others
//! wait takes a ticket as well, so requests are served in the order of their arrival.
//!
//! Invariants (checked by the loom model): no more than `threads` threads of a worker are reserved at a time; as long as a request
//! waits, no thread of its group stays free; each reserved thread is given back once.
//!
//! Every field may be written by any process of httpd's user, so each value is checked before it is used as an index, loops are
//! bounded, and a wrong value can delay a request or send it to a worker that is busy, but never lose, repeat or mix up a request:
//! [`OfferWord`](crate::OfferWord) decides that. A slot names the process that owns it and the thread that it has reserved, so that
//! the parent can give back the threads of a child that has died ([`reclaim`](RequestQueue::reclaim)).

use crate::word::{AtomicU32, AtomicU64, Ordering, wait, wake};
use std::time::Duration;

/// The queue, for `GROUPS` groups, `WORKERS` workers and `SLOTS` requests at the same time.
#[repr(C, align(64))]
pub struct RequestQueue<const GROUPS: usize, const WORKERS: usize, const SLOTS: usize> {
    /// The last ticket that was given.
    tickets: AtomicU64,
    /// Upper bound of the slots that have ever been owned.
    used: AtomicU32,
    /// For each group: how many requests wait. A hint: 0 lets a request reserve a thread without taking a ticket.
    waiting: [AtomicU32; GROUPS],
    /// For each worker: its number above the count of its threads that are reserved.
    reserved: [AtomicU64; WORKERS],
    /// For each slot: what the request there waits for, or the thread that it was given. See [`WaitState`].
    states: [AtomicU64; SLOTS],
    slots: [Slot; SLOTS],
}

/// The fields of a slot besides its state. On a cache line of their own, because each request writes them.
#[repr(C, align(64))]
struct Slot {
    /// The process that owns it; 0 for none.
    owner: AtomicU32,
    /// The word that the request's thread sleeps on.
    wake: AtomicU32,
    /// The worker of which the request has reserved a thread, as [`WorkerRef::word`]; 0 for none.
    held: AtomicU64,
    /// The worker of which the slot's owner has reserved a thread for another slot, or for a move to another worker; 0 for none.
    passing: AtomicU64,
}

/// A worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerRef {
    /// Its place on the board, which a later worker may get.
    pub place: u32,
    /// Its number, which no other worker has.
    pub number: u32,
}

/// A worker to which a child may send a request.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The worker.
    pub worker: WorkerRef,
    /// How many request threads it has.
    pub threads: u32,
}

/// What a request at a slot waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitState {
    /// For nothing.
    Idle,
    /// For a thread of a group, with this ticket.
    Waiting {
        /// The place of the group.
        group: u32,
        /// The ticket: lower ones are served first.
        ticket: u64,
    },
    /// Another process has reserved a thread of this worker for it.
    Granted(WorkerRef),
    /// For a change of the workers or the trouble of a group.
    Watching {
        /// The place of the group.
        group: u32,
    },
}

const KIND: u32 = 62;
const WAITING: u64 = 1;
const GRANTED: u64 = 2;
const WATCHING: u64 = 3;
const GROUP: u32 = 52;
const GROUP_MASK: u64 = 0x3ff;
const VALUE_MASK: u64 = (1 << GROUP) - 1;
const PLACE_MASK: u64 = 0x1fff;

impl WorkerRef {
    /// Never 0: the highest bit is set.
    fn word(self) -> u64 {
        1 << 63 | (u64::from(self.place) & PLACE_MASK) << 32 | u64::from(self.number)
    }

    fn of_word(word: u64) -> Option<WorkerRef> {
        let place = (word >> 32 & PLACE_MASK) as u32;
        (word >> 63 != 0).then_some(WorkerRef { place, number: word as u32 })
    }
}

impl WaitState {
    fn word(self) -> u64 {
        let of_group =
            |kind: u64, group: u32| kind << KIND | (u64::from(group) & GROUP_MASK) << GROUP;
        match self {
            WaitState::Idle => 0,
            WaitState::Waiting { group, ticket } => of_group(WAITING, group) | ticket & VALUE_MASK,
            WaitState::Granted(worker) => GRANTED << KIND | worker.word() & VALUE_MASK,
            WaitState::Watching { group } => of_group(WATCHING, group),
        }
    }

    fn of_word(word: u64) -> WaitState {
        let group = (word >> GROUP & GROUP_MASK) as u32;
        match word >> KIND {
            WAITING => WaitState::Waiting { group, ticket: word & VALUE_MASK },
            GRANTED => WaitState::Granted(WorkerRef {
                place: (word >> 32 & PLACE_MASK) as u32,
                number: word as u32,
            }),
            WATCHING => WaitState::Watching { group },
            _ => WaitState::Idle,
        }
    }
}

/// Upper bound of the iterations of a loop that other processes can prolong. If it is reached, the next process that gives a thread
/// back continues.
const MAX_ITERATIONS: u32 = 1024;

const ORDER: Ordering = Ordering::SeqCst;

/// All zero, as new memory is.
impl<const GROUPS: usize, const WORKERS: usize, const SLOTS: usize> Default
    for RequestQueue<GROUPS, WORKERS, SLOTS>
{
    fn default() -> Self {
        RequestQueue {
            tickets: AtomicU64::default(),
            used: AtomicU32::default(),
            waiting: std::array::from_fn(|_| AtomicU32::default()),
            reserved: std::array::from_fn(|_| AtomicU64::default()),
            states: std::array::from_fn(|_| AtomicU64::default()),
            slots: std::array::from_fn(|_| Slot {
                owner: AtomicU32::default(),
                wake: AtomicU32::default(),
                held: AtomicU64::default(),
                passing: AtomicU64::default(),
            }),
        }
    }
}

impl<const GROUPS: usize, const WORKERS: usize, const SLOTS: usize>
    RequestQueue<GROUPS, WORKERS, SLOTS>
{
    /// Gives a process a slot. `None` if all are owned.
    pub fn claim_slot(&self, owner: u32) -> Option<u32> {
        let free = |slot: &&Slot| slot.owner.compare_exchange(0, owner, ORDER, ORDER).is_ok();
        let at = self.slots.iter().enumerate().find(|(_, slot)| free(slot))?.0;
        self.states[at].store(0, ORDER);
        self.used.fetch_max(at as u32 + 1, ORDER);
        Some(at as u32)
    }

    fn used(&self) -> usize {
        (self.used.load(ORDER) as usize).min(SLOTS)
    }

    /// Reserves a thread for the request at a slot, if no other request of the group waits for one: of the candidate with the
    /// fewest reserved threads, and of several such candidates the one whose number follows `after`. `None` if other requests wait or
    /// no candidate has a free thread.
    pub fn reserve<C: Iterator<Item = Candidate>>(
        &self,
        slot: u32,
        group: u32,
        candidates: impl Fn() -> C,
        after: u32,
    ) -> Option<WorkerRef> {
        if self.has_waiting(group) {
            return None;
        }
        self.reserve_for(|slot| &slot.held, slot, candidates, after)
    }

    /// Reserves a thread of another worker for the request at a slot that its worker has not taken. `None` if other requests wait or no
    /// candidate has a free thread. The caller then calls [`move_to`](RequestQueue::move_to) or [`cancel_move`](RequestQueue::cancel_move).
    pub fn reserve_another<C: Iterator<Item = Candidate>>(
        &self,
        slot: u32,
        group: u32,
        candidates: impl Fn() -> C,
    ) -> Option<WorkerRef> {
        if self.has_waiting(group) {
            return None;
        }
        self.reserve_for(|slot| &slot.passing, slot, candidates, 0)
    }

    fn reserve_for<C: Iterator<Item = Candidate>>(
        &self,
        note: impl Fn(&Slot) -> &AtomicU64,
        slot: u32,
        candidates: impl Fn() -> C,
        after: u32,
    ) -> Option<WorkerRef> {
        let note = self.slots.get(slot as usize).map(note);
        // Each iteration but the first follows a change that another process made.
        for _ in 0..MAX_ITERATIONS {
            let worker = self.least_busy(candidates(), after)?;
            // Written before the thread is reserved: if this process dies in between, the parent gives the thread back.
            note.inspect(|note| note.store(worker.worker.word(), Ordering::Relaxed));
            if self.try_reserve(worker) {
                return Some(worker.worker);
            }
            note.inspect(|note| note.store(0, Ordering::Relaxed));
        }
        None
    }

    fn least_busy(
        &self,
        candidates: impl Iterator<Item = Candidate>,
        after: u32,
    ) -> Option<Candidate> {
        let mut best: Option<((u32, u32), Candidate)> = None;
        for candidate in candidates {
            let busy = self.reserved_of(candidate.worker);
            let Some(busy) = busy.filter(|busy| *busy < candidate.threads) else { continue };
            let rank = (busy, candidate.worker.number.wrapping_sub(after).wrapping_sub(1));
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// How many threads of a worker are reserved. `None` if a later worker has its place.
    pub fn reserved_of(&self, worker: WorkerRef) -> Option<u32> {
        count_of(self.reserved.get(worker.place as usize)?.load(ORDER), worker)
    }

    fn try_reserve(&self, candidate: Candidate) -> bool {
        let Candidate { worker, threads } = candidate;
        let Some(reserved) = self.reserved.get(worker.place as usize) else { return false };
        let one_more = |word| {
            let count = count_of(word, worker).filter(|count| *count < threads)?;
            Some(word_of(worker, count + 1))
        };
        reserved.fetch_update(ORDER, ORDER, one_more).is_ok()
    }

    /// Gives back a thread of a worker. Does nothing if a later worker has its place.
    pub fn release(&self, worker: WorkerRef) {
        let Some(reserved) = self.reserved.get(worker.place as usize) else { return };
        let one_less = |word| {
            let is_its = (word >> 32) as u32 == worker.number;
            let count = (word as u32).checked_sub(1).filter(|_| is_its)?;
            Some(word_of(worker, count))
        };
        let _ = reserved.fetch_update(ORDER, ORDER, one_less);
    }

    /// Gives back the thread that a slot has reserved, and hands it to the request of the group that has waited longest.
    pub fn give_back<C: Iterator<Item = Candidate>>(
        &self,
        slot: u32,
        group: u32,
        candidates: impl Fn() -> C,
    ) {
        if let Some(Slot { held, .. }) = self.slots.get(slot as usize) {
            if let Some(worker) = WorkerRef::of_word(held.load(Ordering::Relaxed)) {
                self.release(worker);
            }
            held.store(0, Ordering::Relaxed);
        }
        self.grant_free_threads(Some(slot), group, candidates);
    }

    /// The slot's request goes to the worker that [`reserve_another`](RequestQueue::reserve_another) has returned. Gives back the
    /// thread that it had reserved before.
    pub fn move_to<C: Iterator<Item = Candidate>>(
        &self,
        slot: u32,
        group: u32,
        worker: WorkerRef,
        candidates: impl Fn() -> C,
    ) {
        let before = self.slots.get(slot as usize).and_then(|slot| {
            let before = slot.held.swap(worker.word(), Ordering::Relaxed);
            slot.passing.store(0, Ordering::Relaxed);
            WorkerRef::of_word(before)
        });
        before.into_iter().for_each(|before| self.release(before));
        self.grant_free_threads(Some(slot), group, candidates);
    }

    /// The slot's request stays with its worker, which has taken it meanwhile. Gives back the thread that
    /// [`reserve_another`](RequestQueue::reserve_another) has reserved.
    pub fn cancel_move<C: Iterator<Item = Candidate>>(
        &self,
        slot: u32,
        group: u32,
        worker: WorkerRef,
        candidates: impl Fn() -> C,
    ) {
        self.release(worker);
        if let Some(slot) = self.slots.get(slot as usize) {
            slot.passing.store(0, Ordering::Relaxed);
        }
        self.grant_free_threads(Some(slot), group, candidates);
    }

    /// Forgets the thread that a slot has reserved: the worker reports it when it is free, and the supervisor gives it back.
    pub fn forget_held(&self, slot: u32) {
        if let Some(slot) = self.slots.get(slot as usize) {
            slot.held.store(0, Ordering::Relaxed);
        }
    }

    /// Whether requests of a group wait for a thread.
    pub fn has_waiting(&self, group: u32) -> bool {
        self.waiting.get(group as usize).is_some_and(|waiting| waiting.load(ORDER) > 0)
    }

    /// The next ticket. Requests with lower tickets are served first.
    pub fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, ORDER) & VALUE_MASK
    }

    /// From now on the request at a slot waits for a thread of a group, behind the requests with lower tickets.
    pub fn start_waiting<C: Iterator<Item = Candidate>>(
        &self,
        slot: u32,
        group: u32,
        ticket: u64,
        candidates: impl Fn() -> C,
    ) {
        if let Some(waiting) = self.waiting.get(group as usize) {
            waiting.fetch_add(1, ORDER);
        }
        self.set_state(slot, WaitState::Waiting { group, ticket });
        // A process may have given a thread back before it could see that this request waits.
        self.grant_free_threads(Some(slot), group, candidates);
    }

    /// How often the slot has been woken. The caller reads it before it checks its other conditions, and passes it to
    /// [`await_grant`](RequestQueue::await_grant), so that no wake-up in between is lost.
    pub fn wake_count(&self, slot: u32) -> u32 {
        self.slots.get(slot as usize).map_or(0, |slot| slot.wake.load(ORDER))
    }

    /// Sleeps until the slot is woken, but no longer than `time`, and not at all if it has been woken since its wake count was
    /// `seen`. Returns the worker of which a thread was reserved for it, if one was.
    pub fn await_grant(&self, slot: u32, seen: u32, time: Duration) -> Option<WorkerRef> {
        let at = self.slots.get(slot as usize)?;
        if !matches!(self.state(slot), WaitState::Granted(_)) {
            wait(&at.wake, seen, time);
        }
        match self.state(slot) {
            WaitState::Granted(_) => self.stop_waiting(slot),
            _ => None,
        }
    }

    /// From now on the request at a slot waits for a change of a group: [`notify`](RequestQueue::notify) wakes it.
    pub fn watch(&self, slot: u32, group: u32) {
        self.set_state(slot, WaitState::Watching { group });
    }

    fn set_state(&self, slot: u32, state: WaitState) {
        if let Some(word) = self.states.get(slot as usize) {
            word.store(state.word(), ORDER);
        }
    }

    /// What the request at a slot waits for, or the thread that it was given.
    pub fn state(&self, slot: u32) -> WaitState {
        let word = self.states.get(slot as usize).map_or(0, |word| word.load(ORDER));
        WaitState::of_word(word)
    }

    /// The request at a slot stops waiting. Returns the worker of which a thread was reserved for it meanwhile, if one was; the slot
    /// then holds that thread.
    pub fn stop_waiting(&self, slot: u32) -> Option<WorkerRef> {
        self.stop_waiting_for(|slot| &slot.held, slot)
    }

    /// As [`stop_waiting`](RequestQueue::stop_waiting) for a request that has reserved a thread of a worker that does not take it, and
    /// waits in line for one of another: the thread that it was given is reserved as by
    /// [`reserve_another`](RequestQueue::reserve_another).
    pub fn stop_waiting_for_another(&self, slot: u32) -> Option<WorkerRef> {
        self.stop_waiting_for(|slot| &slot.passing, slot)
    }

    fn stop_waiting_for(&self, note: impl Fn(&Slot) -> &AtomicU64, slot: u32) -> Option<WorkerRef> {
        let state = self.states.get(slot as usize)?;
        let note = note(self.slots.get(slot as usize)?);
        loop {
            let word = state.load(ORDER);
            match WaitState::of_word(word) {
                WaitState::Granted(worker) => {
                    // First, so that a process that dies in between is taken to hold the thread.
                    note.store(worker.word(), Ordering::Relaxed);
                    state.store(0, ORDER);
                    return Some(worker);
                }
                before if state.compare_exchange(word, 0, ORDER, ORDER).is_ok() => {
                    if let WaitState::Waiting { group, .. } = before {
                        self.decrement_waiting(group);
                    }
                    return None;
                }
                _ => {}
            }
        }
    }

    fn decrement_waiting(&self, group: u32) {
        if let Some(waiting) = self.waiting.get(group as usize) {
            let _ = waiting.fetch_update(ORDER, ORDER, |count| count.checked_sub(1));
        }
    }

    /// Gives the free threads of a group to the requests that have waited longest. `slot` is one of the caller's own slots, if it has
    /// any. The supervisor calls this when a worker becomes ready; [`give_back`](RequestQueue::give_back) does it itself.
    pub fn grant_free_threads<C: Iterator<Item = Candidate>>(
        &self,
        slot: Option<u32>,
        group: u32,
        candidates: impl Fn() -> C,
    ) {
        if !self.has_waiting(group) {
            return;
        }
        let by = slot.unwrap_or(u32::MAX);
        for _ in 0..MAX_ITERATIONS {
            let Some((at, ticket)) = self.oldest(group) else { break };
            let found = self.reserve_for(|slot| &slot.passing, by, &candidates, 0);
            let Some(worker) = found else { break };
            let from = WaitState::Waiting { group, ticket }.word();
            let to = WaitState::Granted(worker).word();
            if self.states[at].compare_exchange(from, to, ORDER, ORDER).is_ok() {
                self.decrement_waiting(group);
                self.wake_slot(at);
            } else {
                self.release(worker);
            }
        }
        if let Some(slot) = self.slots.get(by as usize) {
            slot.passing.store(0, Ordering::Relaxed);
        }
    }

    /// The slot with the lowest ticket of those that wait for a thread of a group.
    fn oldest(&self, group: u32) -> Option<(usize, u64)> {
        let all = self.states[..self.used()].iter().enumerate();
        let waiting = all.filter_map(|(at, word)| match WaitState::of_word(word.load(ORDER)) {
            WaitState::Waiting { group: of, ticket } if of == group => Some((at, ticket)),
            _ => None,
        });
        waiting.min_by_key(|(_, ticket)| *ticket)
    }

    /// The workers or the trouble of a group have changed: wakes the requests that watch it, and if `all` also those that wait for a
    /// thread of it.
    pub fn notify(&self, group: u32, all: bool) {
        for at in 0..self.used() {
            match WaitState::of_word(self.states[at].load(ORDER)) {
                WaitState::Watching { group: of } if of == group => self.wake_slot(at),
                WaitState::Waiting { group: of, .. } if all && of == group => self.wake_slot(at),
                _ => {}
            }
        }
    }

    fn wake_slot(&self, at: usize) {
        self.slots[at].wake.fetch_add(1, ORDER);
        wake(&self.slots[at].wake, u32::MAX >> 1);
    }

    /// A process has ended: frees its slots and gives back the threads that they held. The caller then calls
    /// [`grant_free_threads`](RequestQueue::grant_free_threads) for each group.
    pub fn reclaim(&self, owner: u32) {
        for (slot, state) in self.slots[..self.used()].iter().zip(&self.states) {
            if slot.owner.load(ORDER) != owner {
                continue;
            }
            let granted = match WaitState::of_word(state.swap(0, ORDER)) {
                WaitState::Waiting { group, .. } => {
                    self.decrement_waiting(group);
                    None
                }
                WaitState::Granted(worker) => Some(worker),
                WaitState::Idle | WaitState::Watching { .. } => None,
            };
            let held = WorkerRef::of_word(slot.held.swap(0, ORDER));
            let passing = WorkerRef::of_word(slot.passing.swap(0, ORDER));
            let held = held.filter(|held| granted != Some(*held));
            for worker in [granted, held, passing].into_iter().flatten() {
                self.release(worker);
            }
            slot.owner.store(0, ORDER);
        }
    }
}

/// How many threads of a worker are reserved: 0 if the word is of an earlier worker at its place. `None` if it is of a later one.
fn count_of(word: u64, worker: WorkerRef) -> Option<u32> {
    match worker.number.wrapping_sub((word >> 32) as u32) {
        0 => Some(word as u32),
        later if later < 1 << 31 => Some(0),
        _ => None,
    }
}

fn word_of(worker: WorkerRef, count: u32) -> u64 {
    u64::from(worker.number) << 32 | u64::from(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    type Small = RequestQueue<2, 4, 64>;

    fn worker(place: u32, threads: u32) -> Candidate {
        Candidate { worker: WorkerRef { place, number: 10 + place }, threads }
    }

    #[test]
    fn a_request_goes_to_the_worker_with_the_fewest_reserved_threads() {
        let queue = Small::default();
        let all = || [worker(0, 2), worker(1, 2)].into_iter();
        let slots: Vec<u32> = (0..5).map(|_| queue.claim_slot(7).unwrap()).collect();
        let places = slots[..4].iter().map(|slot| queue.reserve(*slot, 0, all, 10).unwrap().place);
        assert_eq!(places.collect::<Vec<_>>(), [1, 0, 1, 0]);
        assert_eq!(queue.reserve(slots[4], 0, all, 0), None);
        queue.give_back(slots[0], 0, all);
        assert_eq!(queue.reserve(slots[4], 0, all, 0), Some(worker(1, 2).worker));
    }

    #[test]
    fn a_free_thread_goes_to_the_lowest_ticket_of_its_group_and_a_new_request_does_not_overtake() {
        let queue = Small::default();
        let all = || [worker(0, 1)].into_iter();
        let none = || std::iter::empty();
        let [first, second, other, new] = std::array::from_fn(|_| queue.claim_slot(7).unwrap());
        let holder = queue.claim_slot(7).unwrap();
        assert!(queue.reserve(holder, 0, all, 0).is_some());
        let (early, late) = (queue.ticket(), queue.ticket());
        queue.start_waiting(other, 1, queue.ticket(), none);
        queue.start_waiting(second, 0, late, all);
        queue.start_waiting(first, 0, early, all);
        assert_eq!(queue.await_grant(first, 0, Duration::ZERO), None);
        queue.give_back(holder, 0, all);
        assert_eq!(queue.reserve(new, 0, all, 0), None);
        assert_eq!(queue.await_grant(second, 0, Duration::ZERO), None);
        assert_eq!(queue.await_grant(first, 0, Duration::ZERO), Some(worker(0, 1).worker));
        assert_eq!(queue.stop_waiting(second), None);
        queue.give_back(first, 0, all);
        assert!(queue.reserve(new, 0, all, 0).is_some());
        assert_eq!(queue.state(other), WaitState::Waiting { group: 1, ticket: 2 });
    }

    #[test]
    fn a_request_that_its_worker_does_not_take_waits_in_line_for_another_thread() {
        let queue = Small::default();
        let all = || [worker(0, 1), worker(1, 1)].into_iter();
        let [stuck, busy, late] = std::array::from_fn(|_| queue.claim_slot(7).unwrap());
        let ticket = queue.ticket();
        assert_eq!(queue.reserve(stuck, 0, all, 9), Some(worker(0, 1).worker));
        assert_eq!(queue.reserve(busy, 0, all, 9), Some(worker(1, 1).worker));
        queue.start_waiting(late, 0, queue.ticket(), all);
        assert_eq!(queue.reserve_another(stuck, 0, all), None);
        queue.start_waiting(stuck, 0, ticket, all);
        queue.give_back(busy, 0, all);
        let another = queue.stop_waiting_for_another(stuck);
        assert_eq!(another, Some(worker(1, 1).worker));
        // The thread that the request leaves goes to the one that waits.
        queue.move_to(stuck, 0, another.unwrap(), all);
        assert_eq!(queue.stop_waiting(late), Some(worker(0, 1).worker));
        [stuck, late].iter().for_each(|slot| queue.give_back(*slot, 0, all));
        assert_eq!([0, 1].map(|at| queue.reserved_of(worker(at, 1).worker)), [Some(0); 2]);
        assert!(!queue.has_waiting(0));
    }

    #[test]
    fn what_a_dead_process_held_is_given_back() {
        let queue = Small::default();
        let all = || [worker(0, 1)].into_iter();
        let [dead, waits_too, alive] = [7, 7, 8].map(|owner| queue.claim_slot(owner).unwrap());
        assert!(queue.reserve(dead, 0, all, 0).is_some());
        queue.start_waiting(waits_too, 0, queue.ticket(), all);
        queue.start_waiting(alive, 0, queue.ticket(), all);
        queue.reclaim(7);
        queue.grant_free_threads(None, 0, all);
        assert_eq!(queue.await_grant(alive, 0, Duration::ZERO), Some(worker(0, 1).worker));
        assert!(!queue.has_waiting(0));
        assert_eq!(queue.claim_slot(9), Some(dead));
        assert_eq!(queue.reserved_of(worker(0, 1).worker), Some(1));
    }

    #[test]
    fn a_worker_begins_with_no_reserved_threads_whatever_the_worker_before_had() {
        let queue = Small::default();
        let before = worker(3, 1);
        let after = Candidate { worker: WorkerRef { number: 99, ..before.worker }, threads: 1 };
        let slot = queue.claim_slot(7).unwrap();
        assert!(queue.reserve(slot, 0, || [before].into_iter(), 0).is_some());
        let next = queue.claim_slot(7).unwrap();
        assert!(queue.reserve(next, 0, || [after].into_iter(), 0).is_some());
        queue.give_back(slot, 0, std::iter::empty);
        assert_eq!(queue.reserved_of(after.worker), Some(1));
        // A child that has not yet seen the change cannot take the place back.
        assert_eq!(queue.reserve(slot, 0, || [before].into_iter(), 0), None);
    }

    #[test]
    fn a_change_of_a_group_wakes_the_requests_that_watch_it() {
        let queue = Small::default();
        let [watches, waits] = std::array::from_fn(|_| queue.claim_slot(7).unwrap());
        queue.watch(watches, 1);
        queue.start_waiting(waits, 1, queue.ticket(), std::iter::empty);
        let count = |slot: u32| queue.slots[slot as usize].wake.load(ORDER);
        queue.notify(0, true);
        assert_eq!([watches, waits].map(count), [0, 0]);
        queue.notify(1, false);
        assert_eq!([watches, waits].map(count), [1, 0]);
        queue.notify(1, true);
        assert_eq!([watches, waits].map(count), [2, 1]);
    }

    #[test]
    fn no_value_in_the_memory_of_the_queue_causes_a_panic_or_an_endless_loop() {
        let queue = Small::default();
        let all = || [worker(0, 1), worker(9000, 1)].into_iter();
        queue.used.store(u32::MAX, ORDER);
        for word in queue.states.iter().chain(&queue.reserved) {
            word.store(u64::MAX / 3 * 2, ORDER);
        }
        queue.waiting.iter().for_each(|waiting| waiting.store(u32::MAX, ORDER));
        for slot in [0, 63, 64, u32::MAX] {
            queue.reserve(slot, 0, all, 0);
            queue.start_waiting(slot, 77, 1, all);
            queue.await_grant(slot, 0, Duration::ZERO);
            queue.stop_waiting(slot);
            queue.give_back(slot, 5000, all);
        }
        queue.notify(9999, true);
        queue.reclaim(0);
    }

    #[test]
    fn many_requests_share_three_threads_and_all_are_served() {
        const ROUNDS: u32 = 2_000;
        let queue = Small::default();
        let all = || [worker(0, 1), worker(1, 2)].into_iter();
        let (busy, is_wrong) = (AtomicU32::default(), AtomicBool::default());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let slot = queue.claim_slot(7).unwrap();
                    for _ in 0..ROUNDS {
                        if queue.reserve(slot, 0, all, 0).is_none() {
                            queue.start_waiting(slot, 0, queue.ticket(), all);
                            while queue
                                .await_grant(slot, queue.wake_count(slot), Duration::from_secs(60))
                                .is_none()
                            {}
                        }
                        if busy.fetch_add(1, ORDER) >= 3 {
                            is_wrong.store(true, ORDER);
                        }
                        busy.fetch_sub(1, ORDER);
                        queue.give_back(slot, 0, all);
                    }
                });
            }
        });
        assert!(!is_wrong.into_inner());
        assert_eq!([0, 1].map(|at| queue.reserved_of(worker(at, 1).worker)), [Some(0), Some(0)]);
    }
}
