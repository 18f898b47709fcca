//! The clock for times in shared memory and messages: the monotonic clock, which counts from the start of the machine and which a
//! change of the date does not affect.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of `CLOCK_MONOTONIC`, which is the same in every process.
pub fn milliseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}
