//! Words as `loom` has them, and how a thread waits for one, as `futex(2)` says: whoever finds the word as it was lies down in
//! one step, and is woken by somebody. No time passes here: where only the time would help, `loom` finds a deadlock.

use loom::sync::atomic;
pub use loom::sync::atomic::Ordering;
use loom::sync::{Condvar, Mutex};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// A word that is 0 at first, and is so for everybody: `loom` would not put a value that a word is made with in one order with
/// others.
pub struct Word<T>(T);

/// A word.
pub type AtomicU32 = Word<atomic::AtomicU32>;
/// Two words.
pub type AtomicU64 = Word<atomic::AtomicU64>;

impl<T> Deref for Word<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl Default for AtomicU32 {
    fn default() -> AtomicU32 {
        let word = Word(atomic::AtomicU32::new(0));
        word.store(0, Ordering::SeqCst);
        word
    }
}

impl Default for AtomicU64 {
    fn default() -> AtomicU64 {
        let word = Word(atomic::AtomicU64::new(0));
        word.store(0, Ordering::SeqCst);
        word
    }
}

loom::lazy_static! {
    /// Where those lie who wait for the word at an address.
    static ref BEDS: Mutex<Vec<(usize, Arc<Condvar>)>> = Mutex::default();
}

fn bed(beds: &mut Vec<(usize, Arc<Condvar>)>, word: &AtomicU32) -> Arc<Condvar> {
    let address = std::ptr::from_ref(word).addr();
    if let Some((_, bed)) = beds.iter().find(|(of, _)| *of == address) {
        return Arc::clone(bed);
    }
    let bed = Arc::new(Condvar::new());
    beds.push((address, Arc::clone(&bed)));
    bed
}

/// Waits as long as the word is what it was.
pub fn wait(word: &AtomicU32, was: u32, _time: Duration) {
    let mut beds = BEDS.lock().unwrap();
    let bed = bed(&mut beds, word);
    if word.load(Ordering::SeqCst) == was {
        drop(bed.wait(beds));
    }
}

/// Wakes one who waits at a word, or all.
pub fn wake(word: &AtomicU32, count: u32) {
    let bed = bed(&mut BEDS.lock().unwrap(), word);
    if count == 1 {
        bed.notify_one();
    } else {
        bed.notify_all();
    }
}
