//! One process writes and the other reads: every byte arrives, and whoever waits is woken.
#![expect(unsafe_code, reason = "makes memory without a system, which two threads touch")]

use loom::cell::UnsafeCell;
use loom::thread;
use model::in_every_order;
use model::ring::{Bytes, Positions, Ring, WakeWord};
use model::word::{AtomicU32, Ordering, wait, wake};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

/// What lies in the memory of a ring. Not on a thread's stack, which is small here.
fn bytes() -> Arc<Bytes<2>> {
    // SAFETY: all bytes zero is a value, as in new memory of a system.
    Arc::new(unsafe { MaybeUninit::zeroed().assume_init() })
}

/// A ring, and a socket beside it.
struct Memory {
    positions: Positions,
    reader: WakeWord,
    writer: WakeWord,
    bytes: Arc<Bytes<2>>,
    /// Stands for the bytes: nobody may touch it whose turn it is not.
    content: UnsafeCell<()>,
    nudges: AtomicU32,
}

// SAFETY: that the two sides take turns at `content` is what is tried here.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(bytes: Arc<Bytes<2>>) -> Arc<Memory> {
        let (reader, writer) = (WakeWord::default(), WakeWord::default());
        let (positions, nudges) = (Positions::default(), AtomicU32::default());
        Arc::new(Memory { positions, reader, writer, bytes, content: UnsafeCell::new(()), nudges })
    }

    fn ring(&self) -> Ring<'_> {
        self.bytes.ring(&self.positions, &self.reader, &self.writer)
    }

    /// Writes 1, 2, 3 …
    fn write(&self, count: u8) {
        let all: Vec<u8> = (1..=count).collect();
        let (ring, mut at) = (self.ring(), 0);
        while at < all.len() {
            ring.wait_for_room(Duration::MAX);
            if !ring.has_bytes() {
                self.content.with_mut(|_| {});
            }
            at += ring.write(&[&all], at).unwrap();
            if ring.wake_reader() {
                self.nudges.fetch_add(1, Ordering::SeqCst);
                wake(&self.nudges, 1);
            }
        }
    }

    /// Reads as many, so many at a time, as `wait` waits for them.
    fn read(&self, count: u8, most: usize, wait: impl Fn()) {
        let ring = self.ring();
        let mut all = Vec::new();
        while all.len() < count.into() {
            wait();
            let mut piece = [0; 4];
            if ring.has_bytes() {
                self.content.with(|_| {});
            }
            let read = ring.read(&mut piece[..most]).unwrap();
            all.extend_from_slice(&piece[..read]);
        }
        assert!(all.iter().copied().eq(1..=count), "{all:?}");
    }

    /// Waits for bytes at the socket, as a child does that waits for its client as well.
    fn wait_at_the_socket(&self) {
        let ring = self.ring();
        let nudges = self.nudges.load(Ordering::SeqCst);
        ring.listen();
        if !ring.has_bytes() {
            wait(&self.nudges, nudges, Duration::MAX);
        }
        ring.hush();
    }
}

fn both_sides(changes: usize, read: impl Fn(&Memory) + Copy + Sync + Send + 'static, count: u8) {
    let bytes = bytes();
    in_every_order(changes, move || {
        let memory = Memory::new(Arc::clone(&bytes));
        let there = Arc::clone(&memory);
        let writer = thread::spawn(move || there.write(count));
        read(&memory);
        writer.join().unwrap();
    });
}

#[test]
fn more_than_there_is_room_for_arrives_piece_by_piece() {
    both_sides(3, |memory| memory.read(3, 1, || memory.ring().wait_for_bytes(Duration::MAX)), 3);
}

#[test]
fn more_than_there_is_room_for_arrives_in_pieces_as_large_as_they_come() {
    both_sides(3, |memory| memory.read(5, 4, || memory.ring().wait_for_bytes(Duration::MAX)), 5);
}

#[test]
fn whoever_waits_at_the_socket_is_told_there() {
    both_sides(3, |memory| memory.read(3, 4, || memory.wait_at_the_socket()), 3);
}
