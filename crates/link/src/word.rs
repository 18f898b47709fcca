//! Words of memory that several processes map, and how a process waits until another has changed one.
//! `model/` tries what rings and calls do with words of its own in their place.

use rustix::io::Errno;
use rustix::thread::futex;
pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Waits as long as the word is what it was; no longer than so long.
pub fn wait(word: &AtomicU32, was: u32, time: Duration) {
    let time = futex::Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    match futex::wait(word, futex::Flags::empty(), was, Some(&time)) {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
        // Nothing else can be, with a word that is there; whoever asks again shall not do so at once.
        Err(_) => std::thread::sleep(Duration::from_millis(1)),
    }
}

/// Wakes up to so many who wait at a word.
pub fn wake(word: &AtomicU32, count: u32) {
    let _nobody = futex::wake(word, futex::Flags::empty(), count);
}
