//! Children call, and threads of a worker come: each call is taken once, and by a thread that has nothing else to do.

use loom::thread;
use model::calls::Calls;
use model::in_every_order;
use model::word::{AtomicU32, Ordering, wait, wake};
use std::sync::Arc;
use std::time::Duration;

/// A worker.
#[derive(Default)]
struct Office {
    calls: Calls<2>,
    /// Calls that have been taken.
    taken: AtomicU32,
    is_over: AtomicU32,
    /// Requests end at once.
    are_brisk: AtomicU32,
}

impl Office {
    /// A thread takes calls as `Clerk::work` does. A request ends when all that there will be have been taken: none
    /// waits for a thread that has something to do.
    fn work(&self, most: u32, all: u32) {
        loop {
            let bell = self.calls.bell();
            if !self.calls.come(most) {
                if self.is_over.load(Ordering::SeqCst) == 1 {
                    return;
                }
                self.calls.wait(bell);
                continue;
            }
            if self.calls.take(0).is_some() {
                let taken = self.taken.fetch_add(1, Ordering::SeqCst) + 1;
                assert!(taken <= all, "one was taken twice");
                if self.are_brisk.load(Ordering::SeqCst) == 1 {
                    self.calls.begin();
                    self.calls.end();
                }
                if taken == all {
                    wake(&self.taken, u32::MAX);
                    self.is_over.store(1, Ordering::SeqCst);
                    self.calls.wake_all();
                } else if self.are_brisk.load(Ordering::SeqCst) == 0 {
                    wait(&self.taken, taken, Duration::MAX);
                }
            }
        }
    }
}

/// Each slot is called at once, while so many threads come as say for how many of them there is room.
fn all_are_taken<const CALLS: usize>(slots: [u32; CALLS], threads: &'static [u32], changes: usize) {
    work_is_done(slots, threads, changes, false);
}

fn work_is_done<const CALLS: usize>(
    slots: [u32; CALLS],
    threads: &'static [u32],
    changes: usize,
    are_brisk: bool,
) {
    in_every_order(changes, move || {
        let office = Arc::new(Office::default());
        if are_brisk {
            office.calls.set_brisk(true);
            office.are_brisk.store(1, Ordering::SeqCst);
        }
        let mut others = Vec::new();
        for most in threads {
            let office = Arc::clone(&office);
            others.push(thread::spawn(move || office.work(*most, CALLS as u32)));
        }
        for slot in &slots[1..] {
            let (office, slot) = (Arc::clone(&office), *slot);
            others.push(thread::spawn(move || office.calls.call(slot)));
        }
        office.calls.call(slots[0]);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

#[test]
fn one_call_is_taken_once() {
    all_are_taken([3], &[1, 1], 3);
}

#[test]
fn two_calls_are_taken_by_two_who_come_one_after_the_other() {
    all_are_taken([3, 5], &[1, 1], 2);
}

#[test]
fn two_calls_are_taken_by_two_of_whom_one_comes_beside_the_other() {
    all_are_taken([3, 5], &[1, 2], 2);
}

#[test]
fn two_calls_far_apart_are_taken_by_two_who_come_at_once() {
    all_are_taken([3, 70], &[u32::MAX, u32::MAX], 2);
}

#[test]
fn brisk_calls_are_taken_by_who_is_there() {
    work_is_done([3, 5], &[1], 3, true);
}

#[test]
fn brisk_calls_are_taken_by_one_of_two() {
    work_is_done([3, 70], &[1, 1], 1, true);
}
