//! The clock of a worker's timeouts.

use crate::account::clock;

/// Milliseconds of the monotonic clock, plus 1, so never 0.
pub fn now() -> u64 {
    let now = clock(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000 + 1
}
