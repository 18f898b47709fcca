//! Requests of several children share the threads of a group: no thread is reserved twice, every request is served, and no request
//! waits while a thread is free.

use loom::thread;
use model::in_every_order;
use model::offer::{Offer, OfferWord};
use model::queue::{Candidate, RequestQueue, WorkerRef};
use model::word::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

type Queue = RequestQueue<1, 2, 4>;

const GROUP: u32 = 0;
const WORKER: WorkerRef = WorkerRef { place: 1, number: 5 };

/// A group with one worker, and the counters that a test checks.
#[derive(Default)]
struct Group {
    queue: Queue,
    /// Threads of the worker; 0 while it starts.
    threads: AtomicU32,
    /// Requests that a thread of the worker is running.
    busy: AtomicU32,
    served: AtomicU32,
}

impl Group {
    fn with_threads(threads: u32) -> Arc<Group> {
        let group = Group::default();
        group.threads.store(threads, Ordering::SeqCst);
        Arc::new(group)
    }

    fn candidates(&self) -> impl Iterator<Item = Candidate> {
        let threads = self.threads.load(Ordering::SeqCst);
        (threads > 0).then_some(Candidate { worker: WORKER, threads }).into_iter()
    }

    /// A request reserves a thread, or waits for one.
    fn reserve(&self, slot: u32) {
        let candidates = || self.candidates();
        if self.queue.reserve(slot, GROUP, candidates, 0).is_none() {
            self.queue.start_waiting(slot, GROUP, self.queue.ticket(), candidates);
            loop {
                let seen = self.queue.wake_count(slot);
                if self.queue.await_grant(slot, seen, Duration::MAX).is_some() {
                    break;
                }
            }
        }
    }

    fn give_back(&self, slot: u32) {
        self.queue.give_back(slot, GROUP, || self.candidates());
    }

    /// A child reserves a thread, lets it run the request, and gives it back.
    fn serve(&self, slot: u32) {
        self.reserve(slot);
        let busy = self.busy.fetch_add(1, Ordering::SeqCst);
        assert!(busy < self.threads.load(Ordering::SeqCst), "a thread was reserved twice");
        self.busy.fetch_sub(1, Ordering::SeqCst);
        self.served.fetch_add(1, Ordering::SeqCst);
        self.give_back(slot);
    }

    /// Asserts that all threads were given back and no request waits.
    fn assert_at_rest(&self) {
        assert_eq!(self.queue.reserved_of(WORKER), Some(0));
        assert!(!self.queue.has_waiting(GROUP));
    }
}

#[test]
fn each_request_is_served_and_no_thread_is_reserved_twice() {
    in_every_order(3, || {
        let group = Group::with_threads(1);
        let slots = [1, 2].map(|owner| group.queue.claim_slot(owner).unwrap());
        let other = Arc::clone(&group);
        let child = thread::spawn(move || other.serve(slots[1]));
        group.serve(slots[0]);
        child.join().unwrap();
        group.assert_at_rest();
        assert_eq!(group.served.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn three_requests_share_one_thread() {
    in_every_order(2, || {
        let group = Group::with_threads(1);
        let slots = [1, 2, 3].map(|owner| group.queue.claim_slot(owner).unwrap());
        let children = [slots[1], slots[2]].map(|slot| {
            let group = Arc::clone(&group);
            thread::spawn(move || group.serve(slot))
        });
        group.serve(slots[0]);
        children.into_iter().for_each(|child| child.join().unwrap());
        group.assert_at_rest();
    });
}

#[test]
fn a_request_that_waits_for_a_worker_is_served_when_one_is_ready() {
    in_every_order(3, || {
        let group = Group::with_threads(0);
        let slot = group.queue.claim_slot(1).unwrap();
        let supervisor = Arc::clone(&group);
        let supervisor = thread::spawn(move || {
            supervisor.threads.store(1, Ordering::SeqCst);
            supervisor.queue.grant_free_threads(None, GROUP, || supervisor.candidates());
        });
        group.serve(slot);
        supervisor.join().unwrap();
        group.assert_at_rest();
    });
}

#[test]
fn a_request_that_gives_up_leaves_no_thread_reserved() {
    in_every_order(3, || {
        let group = Group::with_threads(1);
        let slots = [1, 2].map(|owner| group.queue.claim_slot(owner).unwrap());
        group.reserve(slots[0]);
        let other = Arc::clone(&group);
        let gives_up = thread::spawn(move || {
            let candidates = || other.candidates();
            other.queue.start_waiting(slots[1], GROUP, other.queue.ticket(), candidates);
            if other.queue.stop_waiting(slots[1]).is_some() {
                other.give_back(slots[1]);
            }
        });
        group.give_back(slots[0]);
        gives_up.join().unwrap();
        group.assert_at_rest();
    });
}

#[test]
fn a_thread_that_was_meant_for_a_request_that_gives_up_goes_to_the_next() {
    in_every_order(3, || {
        let group = Group::with_threads(1);
        let slots = [1, 2, 3].map(|owner| group.queue.claim_slot(owner).unwrap());
        group.reserve(slots[0]);
        group.queue.start_waiting(slots[1], GROUP, group.queue.ticket(), || group.candidates());
        let [gives_up, waits] = [0, 1].map(|_| Arc::clone(&group));
        let gives_up = thread::spawn(move || {
            if gives_up.queue.stop_waiting(slots[1]).is_some() {
                gives_up.give_back(slots[1]);
            }
        });
        let waits = thread::spawn(move || waits.serve(slots[2]));
        group.give_back(slots[0]);
        gives_up.join().unwrap();
        waits.join().unwrap();
        group.assert_at_rest();
    });
}

#[test]
fn the_thread_of_a_child_that_died_goes_to_the_next_request() {
    in_every_order(3, || {
        let group = Group::with_threads(1);
        let dead = group.queue.claim_slot(1).unwrap();
        let slot = group.queue.claim_slot(2).unwrap();
        group.reserve(dead);
        let parent = Arc::clone(&group);
        let parent = thread::spawn(move || {
            parent.queue.reclaim(1);
            parent.queue.grant_free_threads(None, GROUP, || parent.candidates());
        });
        group.serve(slot);
        parent.join().unwrap();
        group.assert_at_rest();
    });
}

#[test]
fn one_side_alone_gives_back_the_thread_of_a_request_that_is_given_up() {
    in_every_order(4, || {
        let group = Group::with_threads(1);
        let word = Arc::new(OfferWord::default());
        let slot = group.queue.claim_slot(1).unwrap();
        group.reserve(slot);
        let offer = Offer::from_serial(1);
        word.offer(offer);
        let (there, of_worker) = (Arc::clone(&word), Arc::clone(&group));
        let worker = thread::spawn(move || {
            // In the server the worker reports the thread, and the supervisor releases it.
            if there.take(offer) && there.finish(offer) {
                of_worker.queue.release(WORKER);
                of_worker.queue.grant_free_threads(None, GROUP, || of_worker.candidates());
            }
        });
        if !word.withdraw(offer) && word.abandon(offer) {
            group.queue.forget_held(slot);
        } else {
            group.give_back(slot);
        }
        worker.join().unwrap();
        group.assert_at_rest();
    });
}

/// A request waits for a thread of another worker while its own worker does not take it. `moves` says what it does with a thread that it
/// is given: it moves there, or its own worker has taken it meanwhile.
fn an_untaken_request_waits(moves: bool) {
    in_every_order(2, move || {
        let group = Group::with_threads(2);
        let slots = [1, 2, 3].map(|owner| group.queue.claim_slot(owner).unwrap());
        group.reserve(slots[0]);
        group.reserve(slots[1]);
        let [busy, waits] = [0, 1].map(|_| Arc::clone(&group));
        let busy = thread::spawn(move || busy.give_back(slots[1]));
        let waits = thread::spawn(move || waits.serve(slots[2]));
        let candidates = || group.candidates();
        group.queue.start_waiting(slots[0], GROUP, group.queue.ticket(), candidates);
        match group.queue.stop_waiting_for_another(slots[0]) {
            Some(given) if moves => group.queue.move_to(slots[0], GROUP, given, candidates),
            Some(given) => group.queue.cancel_move(slots[0], GROUP, given, candidates),
            None => {}
        }
        group.give_back(slots[0]);
        busy.join().unwrap();
        waits.join().unwrap();
        group.assert_at_rest();
    });
}

#[test]
fn a_request_that_moves_to_another_worker_leaves_no_thread_reserved() {
    an_untaken_request_waits(true);
}

#[test]
fn a_request_that_is_taken_while_it_waits_for_another_worker_leaves_no_thread_reserved() {
    an_untaken_request_waits(false);
}
