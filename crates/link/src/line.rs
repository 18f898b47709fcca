//! A line between a child of the server and a worker: what they say goes through two rings in memory that both map, which
//! costs no system call as long as nobody has to wait. The socket beside it carries descriptors, and its end is the end of
//! the line, also when a process dies.
#![expect(unsafe_code, reason = "says that rings may lie in shared memory")]

use crate::offer::OfferWord;
use crate::ring::{Bytes, Positions, Ring};
use crate::shared::Layout;
use crate::{Mapped, Page, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// The memory of a line, which only the child and the worker at its two ends map. Each direction has room for a request or a
/// response with 64 KiB of body; the ring to the child is larger (512 KiB), so that the two sides of a large response seldom wait
/// for each other.
#[repr(C)]
pub struct Tray {
    offer: OfferWord,
    positions: [Positions; 2],
    to_worker: Bytes<{ 128 * 1024 }>,
    to_child: Bytes<{ 512 * 1024 }>,
}

// SAFETY: atomics, and bytes in `UnsafeCell`s, of which each is a value, and which are copied only.
unsafe impl Layout for Tray {}

impl Tray {
    /// What lies here goes to the worker.
    pub fn to_worker(&self) -> &Bytes<{ 128 * 1024 }> {
        &self.to_worker
    }

    /// What lies here goes to the child.
    pub fn to_child(&self) -> &Bytes<{ 512 * 1024 }> {
        &self.to_child
    }
}

/// One end of a line.
pub struct Line {
    page: Arc<Mapped<Page>>,
    slot: u32,
    tray: Mapped<Tray>,
    socket: Stream,
    side: Side,
    /// How long it waits for the other side while it writes, and in the middle of something that it reads; `None` for ever.
    patience: Option<Duration>,
    /// It has been ended from here, or is known to have been from there.
    is_over: AtomicBool,
}

/// Whose end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A child of the server, which offers requests.
    Child,
    /// A worker, which answers them.
    Worker,
}

/// As many descriptors may be ahead of what they belong to. Each takes one of this whole process's.
const FILES: usize = 4;
/// As often it is looked for another: who sends nothing but bytes shall not keep anybody busy.
const ROUNDS: usize = 64;
/// If nobody wakes who waits, it looks after so long whether somebody is still there.
const PULSE: Duration = Duration::from_secs(1);

impl Line {
    /// The line with this slot of a worker's page, this memory and this socket. While it writes, and in the middle of
    /// something that it reads, it waits for so long each time, or for ever. `None` if there is no such slot.
    pub fn new(
        page: Arc<Mapped<Page>>,
        slot: u32,
        tray: Mapped<Tray>,
        socket: Stream,
        side: Side,
        patience: Option<Duration>,
    ) -> Option<Line> {
        page.wakes(slot)?;
        let is_over = AtomicBool::new(false);
        Some(Line { page, slot, tray, socket, side, patience, is_over })
    }

    /// Its page.
    pub fn page(&self) -> &Arc<Mapped<Page>> {
        &self.page
    }

    /// Its slot of the page.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    fn rings(&self) -> [Ring<'_>; 2] {
        let Some(wakes) = self.page.wakes(self.slot) else {
            unreachable!("the slot was there when the line was made")
        };
        let [to_worker, to_child] = &self.tray.positions;
        [
            self.tray.to_worker.ring(to_worker, &wakes.worker, &wakes.child),
            self.tray.to_child.ring(to_child, &wakes.child, &wakes.worker),
        ]
    }

    /// The state of the request on it.
    pub fn offer(&self) -> &OfferWord {
        &self.tray.offer
    }

    fn incoming(&self) -> Ring<'_> {
        self.rings()[usize::from(self.side == Side::Child)]
    }

    fn outgoing(&self) -> Ring<'_> {
        self.rings()[usize::from(self.side == Side::Worker)]
    }

    /// Nothing is on its way any more. For the child, before it says something while the worker has nothing to say.
    pub fn restart(&self) {
        for ring in self.rings() {
            ring.restart();
        }
    }

    /// Whether something can be read without waiting.
    pub fn has_bytes(&self) -> bool {
        self.incoming().has_bytes()
    }

    /// Reads what there is, or waits so long for something. 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` when the time is over, `InvalidData` if the other side is not honest.
    pub fn read(&self, into: &mut [u8], time: Option<Duration>) -> io::Result<usize> {
        let ring = self.incoming();
        if !ring.has_bytes() && !self.wait(time)? {
            return Ok(0);
        }
        ring.read(into)
    }

    /// Fills `into`.
    ///
    /// # Errors
    /// As [`read`](Line::read); the end is one.
    pub fn read_exactly(&self, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            match self.read(into, self.patience)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => into = &mut into[count..],
            }
        }
        Ok(())
    }

    /// Reads what there is, which may be nothing.
    ///
    /// # Errors
    /// `InvalidData` if the other side is not honest.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.incoming().read(into)
    }

    /// Waits so long until there is something to be read. `false` if it is the end.
    ///
    /// # Errors
    /// `WouldBlock` when the time is over.
    pub fn wait(&self, time: Option<Duration>) -> io::Result<bool> {
        let ring = self.incoming();
        self.until(time, || ring.has_bytes(), |time| ring.wait_for_bytes(time))
    }

    /// Waits with `wait` until something `is_so`. `false` if it never will be, because nobody is at the other end.
    fn until(
        &self,
        time: Option<Duration>,
        is_so: impl Fn() -> bool,
        wait: impl Fn(Duration),
    ) -> io::Result<bool> {
        let begun = Instant::now();
        let mut left = time;
        loop {
            wait(left.map_or(PULSE, |left| left.min(PULSE)));
            if is_so() {
                return Ok(true);
            }
            // What was said before the end counts.
            if self.has_ended() {
                return Ok(is_so());
            }
            left = time.map(|time| time.saturating_sub(begun.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    /// Writes all of the parts.
    ///
    /// # Errors
    /// `WouldBlock` when the time is over, `BrokenPipe` when nobody is at the other end, `InvalidData` if whoever is there is
    /// not honest. Some of it may have been written.
    pub fn write(&self, parts: &[&[u8]]) -> io::Result<()> {
        self.write_from(parts, 0)
    }

    /// As [`write`](Line::write), of what is behind the first `written` bytes.
    fn write_from(&self, parts: &[&[u8]], mut written: usize) -> io::Result<()> {
        let ring = self.outgoing();
        let whole: usize = parts.iter().map(|part| part.len()).sum();
        while written < whole {
            if self.is_over() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            written += ring.write(parts, written)?;
            self.tell();
            let wait = |time| ring.wait_for_room(time);
            if written < whole && !self.until(self.patience, || ring.has_room(), wait)? {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        Ok(())
    }

    /// Wakes who waits for what has been written.
    fn tell(&self) {
        if self.outgoing().wake_reader() {
            self.socket.nudge();
        }
    }

    /// For the child: says something that begins with a request, and has a thread of the worker come for it.
    ///
    /// # Errors
    /// As [`write`](Line::write).
    pub fn call(&self, parts: &[&[u8]]) -> io::Result<()> {
        let written = self.outgoing().write(parts, 0)?;
        self.page.calls.call(self.slot);
        if written < parts.iter().map(|part| part.len()).sum() {
            // A thread has to read before the rest can be written.
            self.page.calls.urge();
        }
        // A thread may have come before, for a call that was left over from who had the slot.
        self.tell();
        self.write_from(parts, written)
    }

    /// For the child: no thread has taken the request yet; wakes one.
    pub fn urge(&self) {
        self.page.calls.urge();
    }

    /// For the child: no thread has taken the request for 2 ms; wakes one, even if another child has written wrong values into the
    /// page.
    pub fn force_wake(&self) {
        self.page.calls.force_wake(self.slot);
    }

    /// For the worker: the first thing it says, which goes through the socket.
    ///
    /// # Errors
    /// Those of the system.
    pub fn greet(&self, hello: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.socket.write(&[hello], descriptors)
    }

    /// Sends a descriptor, for which the other side will look when it is told to.
    ///
    /// # Errors
    /// Those of the system.
    pub fn send_descriptor(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.socket.write(&[b"d"], &[descriptor])
    }

    /// Takes descriptors that have come.
    ///
    /// # Errors
    /// Those of the system; `InvalidData` if too many have come, or nothing but bytes without end.
    pub fn descriptors(&self, into: &mut VecDeque<OwnedFd>) -> io::Result<()> {
        let mut bytes = [0; 64];
        for _ in 0..ROUNDS {
            match self.socket.try_read(&mut bytes, into) {
                Ok(0) => return Ok(()),
                Ok(_) if into.len() > FILES => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    /// From now on there is something to be read from the [socket](Line::as_fd) once something has been written. What
    /// has been written before is not told of.
    pub fn listen(&self) {
        self.incoming().listen();
    }

    /// Nothing is to be told of any more; takes descriptors that have come meanwhile.
    ///
    /// # Errors
    /// Those of the system.
    pub fn hush(&self, into: &mut VecDeque<OwnedFd>) -> io::Result<()> {
        self.incoming().hush();
        self.descriptors(into)
    }

    /// Whether nobody is at the other end.
    pub fn has_ended(&self) -> bool {
        let mut all = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut all, Some(&now)).is_ok() && !all[0].revents().is_empty()
    }

    /// Whether it has been ended from here, or [is known](Line::end) to have been from there.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Whether there is room for so many bytes.
    pub fn has_room_for(&self, count: usize) -> bool {
        self.outgoing().has_room_for(count)
    }

    /// Says nothing more: the other side sees the end, and shall end the line. Whoever waits for anything is woken; who was just
    /// about to wait looks after a second.
    pub fn hang_up(&self) {
        self.end_with(Shutdown::Write);
    }

    /// Ends it, even if another process has it open, too. Whoever waits is woken as by [`hang_up`](Line::hang_up).
    pub fn end(&self) {
        self.end_with(Shutdown::Both);
    }

    fn end_with(&self, how: Shutdown) {
        self.is_over.store(true, Ordering::Release);
        let _gone = shutdown(&self.socket, how);
        for ring in self.rings() {
            ring.wake();
        }
    }
}

/// The socket, which is readable when a descriptor has come, when the line [was told to say so](Line::listen), and when
/// it has ended.
impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
