//! A ring: bytes on their way from one process to another, in memory that both map. One process writes and the other reads;
//! neither trusts the other to be honest about where it is, nor to leave alone what it has written.
#![expect(unsafe_code, reason = "copies bytes that another process may be writing")]

use crate::word::{AtomicU32, Ordering, wait, wake};
use std::cell::UnsafeCell;
use std::io;
use std::time::Duration;

/// The word that one side of a connection sleeps on. Its value is a counter, so that a thread about to sleep notices that it was
/// woken; it says nothing about bytes or room.
#[repr(transparent)]
#[derive(Default)]
pub struct WakeWord(AtomicU32);

impl WakeWord {
    /// Wakes the thread that sleeps on it.
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        wake(&self.0, 1);
    }

    /// Wakes every thread that sleeps on it.
    pub fn wake_all(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        wake(&self.0, u32::MAX >> 1);
    }
}

/// How far who writes and who reads have come, and whether one of them waits for the other. Positions go round.
#[repr(C)]
#[derive(Default)]
pub struct Positions {
    written: AtomicU32,
    read: AtomicU32,
    waiting: AtomicU32,
}

/// The memory of a ring: as many bytes are on their way at most.
#[repr(C, align(4096))]
pub struct Bytes<const LENGTH: usize>([Byte; LENGTH]);

#[repr(transparent)]
struct Byte(UnsafeCell<u8>);

// SAFETY: nobody is given a reference to what is in it; it is copied in and out, whatever it is by then.
unsafe impl Sync for Byte {}

impl<const LENGTH: usize> Bytes<LENGTH> {
    /// The ring of this memory and these positions, whose two sides sleep on these words.
    pub fn ring<'m>(
        &'m self,
        positions: &'m Positions,
        reader: &'m WakeWord,
        writer: &'m WakeWord,
    ) -> Ring<'m> {
        const { assert!(LENGTH.is_power_of_two(), "positions go round in a whole number of rings") }
        const { assert!(LENGTH <= 1 << 30, "positions are told apart") }
        Ring { positions, reader, writer, bytes: &self.0 }
    }
}

/// The other process is to be woken when there are bytes.
const READER: u32 = 1;
/// It is to be woken when there is room.
const WRITER: u32 = 2;
/// It waits at the socket for bytes.
const SOCKET: u32 = 4;

/// A ring. Each process has one of its ends.
#[derive(Clone, Copy)]
pub struct Ring<'m> {
    positions: &'m Positions,
    reader: &'m WakeWord,
    writer: &'m WakeWord,
    bytes: &'m [Byte],
}

impl Ring<'_> {
    fn capacity(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// Makes it empty, and begins at the beginning of its memory, which is in a cache then. Nobody writes or reads.
    pub fn restart(&self) {
        let Positions { written, read, waiting } = self.positions;
        for word in [waiting, read, written] {
            word.store(0, Ordering::Release);
        }
    }

    /// How many bytes are there to be read.
    ///
    /// # Errors
    /// More than can be: the other process is not honest.
    fn there(&self) -> io::Result<u32> {
        // In one order with what is said of who waits (`listen`).
        let read = self.positions.read.load(Ordering::SeqCst);
        let there = self.positions.written.load(Ordering::SeqCst).wrapping_sub(read);
        if there > self.capacity() { Err(io::ErrorKind::InvalidData.into()) } else { Ok(there) }
    }

    /// Whether there is something to be read, if it is only that the other process is not honest.
    pub fn has_bytes(&self) -> bool {
        self.there().map_or(true, |there| there > 0)
    }

    /// Whether there is room to write.
    pub fn has_room(&self) -> bool {
        self.there().map_or(true, |there| there < self.capacity())
    }

    /// Whether there is room for so many bytes, and the other process is honest.
    pub fn has_room_for(&self, count: usize) -> bool {
        self.there().is_ok_and(|there| (self.capacity() - there) as usize >= count)
    }

    /// Reads what there is, which may be nothing.
    ///
    /// # Errors
    /// The other process is not honest.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.there()? as usize);
        let from = self.positions.read.load(Ordering::Relaxed);
        self.copy_out(from, &mut into[..count]);
        // Who has been seen to be written to waits no longer, or is seen to wait below.
        self.positions.read.swap(from.wrapping_add(count as u32), Ordering::SeqCst);
        let is_waited_for = self.positions.waiting.load(Ordering::SeqCst) & WRITER != 0;
        // To be woken for a few bytes at a time would be more work than to write them.
        if is_waited_for && self.there()? <= self.capacity() / 4 {
            self.writer.wake();
        }
        Ok(count)
    }

    /// Writes as much of the parts behind the first `skip` bytes as there is room for.
    ///
    /// # Errors
    /// The other process is not honest.
    pub fn write(&self, parts: &[&[u8]], skip: usize) -> io::Result<usize> {
        let mut room = (self.capacity() - self.there()?) as usize;
        let from = self.positions.written.load(Ordering::Relaxed);
        let (mut to, mut skip) = (from, skip);
        for part in parts {
            let (_, rest) = part.split_at(skip.min(part.len()));
            skip -= part.len() - rest.len();
            let piece = &rest[..rest.len().min(room)];
            self.copy_in(to, piece);
            to = to.wrapping_add(piece.len() as u32);
            room -= piece.len();
        }
        self.positions.written.swap(to, Ordering::SeqCst);
        Ok(to.wrapping_sub(from) as usize)
    }

    /// Wakes who waits for bytes. `true` if that is at its socket, where the caller has to do it.
    pub fn wake_reader(&self) -> bool {
        let waiting = self.positions.waiting.load(Ordering::SeqCst);
        if waiting & READER != 0 {
            self.reader.wake();
        }
        waiting & SOCKET != 0 && self.positions.hush() & SOCKET != 0
    }

    /// Wakes the reader and the writer.
    pub fn wake(&self) {
        self.reader.wake_all();
        self.writer.wake_all();
    }

    /// Waits until somebody writes, or wakes, or the time is over; not if there is something already.
    pub fn wait_for_bytes(&self, time: Duration) {
        self.wait_as(READER, self.reader, || self.has_bytes(), time);
    }

    /// Waits until somebody has read a good deal, or wakes, or the time is over; not if there is room already.
    pub fn wait_for_room(&self, time: Duration) {
        self.wait_as(WRITER, self.writer, || self.has_room(), time);
    }

    /// Sets the flag that this side waits, checks once more whether it must, and sleeps until the other process wakes it.
    fn wait_as(&self, side: u32, word: &WakeWord, is_there: impl Fn() -> bool, time: Duration) {
        let was = word.0.load(Ordering::SeqCst);
        self.positions.waiting.fetch_or(side, Ordering::SeqCst);
        if !is_there() {
            wait(&word.0, was, time);
        }
        self.positions.waiting.fetch_and(!side, Ordering::SeqCst);
    }

    /// Who writes shall say so at the socket, once. What has been written before is not told of.
    pub fn listen(&self) {
        self.positions.waiting.fetch_or(SOCKET, Ordering::SeqCst);
    }

    /// Who writes need not say so any more.
    pub fn hush(&self) {
        self.positions.hush();
    }
}

impl Positions {
    fn hush(&self) -> u32 {
        self.waiting.fetch_and(!SOCKET, Ordering::SeqCst)
    }

    /// Whether somebody sleeps until there are bytes.
    #[cfg(test)]
    pub fn has_reader(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) & READER != 0
    }
}

impl Ring<'_> {
    /// Copies bytes in, from this position on.
    fn copy_in(&self, position: u32, from: &[u8]) {
        let (at, first) = self.split(position, from.len());
        let (start, rest) = from.split_at(first);
        for (at, piece) in [(at, start), (0, rest)] {
            let to = UnsafeCell::raw_get(
                self.bytes[at..at + piece.len()].as_ptr().cast::<UnsafeCell<u8>>(),
            );
            // SAFETY: the memory is that long, as has just been checked, and cannot be cut (`Shared`); bytes may be
            // written through an `UnsafeCell`. The other process may read them at the same time, which is its problem.
            unsafe { to.copy_from_nonoverlapping(piece.as_ptr(), piece.len()) };
        }
    }

    /// Copies bytes out, from this position on.
    fn copy_out(&self, position: u32, into: &mut [u8]) {
        let (at, first) = self.split(position, into.len());
        let (start, rest) = into.split_at_mut(first);
        for (at, piece) in [(at, start), (0, rest)] {
            let from = self.bytes[at..at + piece.len()].as_ptr();
            // SAFETY: as above. What the other process writes meanwhile makes other bytes of them, and every byte is one;
            // what is looked at is the copy.
            unsafe { piece.as_mut_ptr().copy_from_nonoverlapping(from.cast(), piece.len()) };
        }
    }

    /// Where in the memory a position is, and how many of so many bytes from there on lie before its end.
    fn split(&self, position: u32, count: usize) -> (usize, usize) {
        let at = (position % self.capacity()) as usize;
        (at, count.min(self.bytes.len() - at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Layout;
    use crate::{Shared, Tray};

    #[repr(C)]
    struct Memory {
        positions: Positions,
        reader: WakeWord,
        writer: WakeWord,
        tray: Tray,
    }

    // SAFETY: positions and wake words are atomics, and a tray implements `Layout`.
    unsafe impl Layout for Memory {}

    impl Memory {
        fn ring(&self) -> Ring<'_> {
            self.tray.to_child().ring(&self.positions, &self.reader, &self.writer)
        }
    }

    fn memory() -> &'static Memory {
        Shared::<Memory>::create("ring").unwrap().write().unwrap()
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 % 251) as u8).collect()
    }

    #[test]
    fn what_is_written_is_read_in_any_pieces_and_across_the_end_of_the_memory() {
        let memory = memory();
        let ring = memory.ring();
        let (sent, mut received) = (pattern(1_000_000), Vec::new());
        let mut at = 0;
        for round in 0_usize.. {
            let most = [1, 777, 70_000, 200_000][round % 4];
            let parts = [
                &sent[at..(at + most / 3).min(sent.len())],
                &sent[(at + most / 3).min(sent.len())..(at + most).min(sent.len())],
            ];
            at += ring.write(&parts, 0).unwrap();
            let mut piece = vec![0; [50_000, 3, 200_000][round % 3]];
            let count = ring.read(&mut piece).unwrap();
            received.extend_from_slice(&piece[..count]);
            if received.len() == sent.len() {
                break;
            }
        }
        assert!(received == sent);
        assert!(!ring.has_bytes() && ring.has_room());
    }

    #[test]
    fn a_part_of_what_is_to_be_written_can_have_been_written() {
        let memory = memory();
        let ring = memory.tray.to_worker().ring(&memory.positions, &memory.reader, &memory.writer);
        let parts: [&[u8]; 3] = [b"abc", b"", b"defg"];
        assert_eq!(ring.write(&parts, 2).unwrap(), 5);
        assert_eq!(ring.write(&parts, 6).unwrap(), 1);
        let mut all = [0; 9];
        assert_eq!((ring.read(&mut all).unwrap(), &all[..6]), (6, &b"cdefgg"[..]));
    }

    #[test]
    fn no_more_is_written_than_there_is_room_for() {
        let memory = memory();
        let ring = memory.tray.to_worker().ring(&memory.positions, &memory.reader, &memory.writer);
        let most = ring.bytes.len();
        let much = pattern(most + 5);
        assert_eq!(ring.write(&[&much], 0).unwrap(), most);
        assert_eq!(ring.write(&[&much], most).unwrap(), 0);
        assert!(!ring.has_room());
        let mut piece = [0; 2];
        assert_eq!(ring.read(&mut piece).unwrap(), 2);
        assert_eq!(ring.write(&[&much], most).unwrap(), 2);
        ring.restart();
        assert!(!ring.has_bytes() && ring.has_room());
    }

    #[test]
    fn positions_that_cannot_be_are_an_error_and_nothing_worse() {
        let memory = memory();
        let ring = memory.tray.to_worker().ring(&memory.positions, &memory.reader, &memory.writer);
        for (written, read) in [(ring.capacity() + 1, 0), (0, 1), (u32::MAX, 1)] {
            memory.positions.written.store(written, Ordering::Relaxed);
            memory.positions.read.store(read, Ordering::Relaxed);
            assert!(ring.read(&mut [0; 9]).is_err() && ring.write(&[b"x"], 0).is_err());
            assert!(ring.has_bytes() && ring.has_room());
            ring.wait_for_bytes(Duration::from_secs(60));
            ring.wait_for_room(Duration::from_secs(60));
        }
    }

    #[test]
    fn whoever_waits_for_bytes_or_for_room_is_woken() {
        let memory = memory();
        let ring = memory.tray.to_worker().ring(&memory.positions, &memory.reader, &memory.writer);
        let sent = pattern(3_000_000);
        let received = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let (mut received, mut piece) = (Vec::new(), vec![0; 32 * 1024]);
                while received.len() < sent.len() {
                    ring.wait_for_bytes(Duration::from_secs(20));
                    let count = ring.read(&mut piece).unwrap();
                    assert!(count > 0, "it was not woken");
                    received.extend_from_slice(&piece[..count]);
                }
                received
            });
            let mut at = 0;
            while at < sent.len() {
                ring.wait_for_room(Duration::from_secs(20));
                let count = ring.write(&[&sent], at).unwrap();
                assert!(count > 0, "it was not woken");
                assert!(!ring.wake_reader());
                at += count;
            }
            reader.join().unwrap()
        });
        assert!(received == sent);
    }

    #[test]
    fn whoever_waits_at_its_socket_is_told_of_once() {
        let memory = memory();
        let ring = memory.tray.to_worker().ring(&memory.positions, &memory.reader, &memory.writer);
        assert!(!ring.wake_reader());
        ring.listen();
        assert!(ring.wake_reader() && !ring.wake_reader());
        ring.listen();
        ring.hush();
        assert!(!ring.wake_reader());
    }
}
