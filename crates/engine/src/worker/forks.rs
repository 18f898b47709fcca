//! Processes that an application forks from a worker. They must not keep the worker's connections open: the other side
//! would not see the worker's end.
#![expect(
    unsafe_code,
    reason = "acts in a process that has just been forked, where little is allowed"
)]

use link::Page;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

const SLOTS: usize = Page::SLOTS as usize;
/// Descriptors that are no connections.
const OTHERS: usize = 16;

/// Descriptors that a forked process closes; -1 for none.
static HELD: [AtomicI32; SLOTS + OTHERS] = [const { AtomicI32::new(-1) }; SLOTS + OTHERS];

/// The connection of a slot shall not live on in forked processes.
pub fn withhold_connection(slot: u32, descriptor: &impl AsRawFd) {
    HELD[slot as usize].store(descriptor.as_raw_fd(), Ordering::Release);
}

/// The connection of a slot is about to be closed.
pub fn forget_connection(slot: u32) {
    HELD[slot as usize].store(-1, Ordering::Release);
}

/// Something else that stays open to the end shall not live on in forked processes.
pub fn withhold(descriptor: RawFd) {
    for place in &HELD[SLOTS..] {
        let taken = place.compare_exchange(-1, descriptor, Ordering::AcqRel, Ordering::Relaxed);
        if taken.is_ok() {
            return;
        }
    }
}

/// From now on forked processes close what is withheld from them.
pub fn watch() {
    extern "C" fn in_child() {
        for place in &HELD {
            let descriptor = place.swap(-1, Ordering::Relaxed);
            if descriptor >= 0 {
                // SAFETY: a descriptor of this process alone; nobody here uses it, as its threads are gone.
                unsafe { libc::close(descriptor) };
            }
        }
    }
    // SAFETY: the handler uses nothing but atomics and `close`, which are safe in a process that has just been forked.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}
