//! Words as `loom` has them, and how a thread waits for one, as `futex(2)` says: whoever finds the word as it was lies down in
//! one step, and is woken by somebody. No time passes here: where only the time would help, `loom` finds a deadlock.

use loom::sync::atomic;
pub use loom::sync::atomic::Ordering;
use loom::sync::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Duration;

/// Words that are 0 at first. `loom` knows the one order of all that `SeqCst` promises for fences only: so there is one on either
/// side of each such access.
macro_rules! words {
    ($($name:ident: $value:ty),*) => {$(
        /// A word.
        pub struct $name(atomic::$name);

        impl Default for $name {
            fn default() -> $name {
                let word = $name(atomic::$name::new(0));
                word.store(0, Ordering::SeqCst);
                word
            }
        }

        #[expect(missing_docs, reason = "as in std")]
        impl $name {
            words! { accesses $value;
                load() -> $value;
                store(value: $value) -> ();
                swap(value: $value) -> $value;
                fetch_add(value: $value) -> $value;
                fetch_sub(value: $value) -> $value;
                fetch_or(value: $value) -> $value;
                fetch_and(value: $value) -> $value;
                fetch_max(value: $value) -> $value;
            }

            pub fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                fenced(success, || self.0.compare_exchange(from, to, success, failure))
            }

            pub fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                fenced(success, || self.0.fetch_update(success, failure, change))
            }
        }
    )*};
    (accesses $value:ty; $($name:ident($($argument:ident: $kind:ty)?) -> $result:ty;)*) => {$(
        pub fn $name(&self, $($argument: $kind,)? order: Ordering) -> $result {
            fenced(order, || self.0.$name($($argument,)? order))
        }
    )*};
}

words!(AtomicU32: u32, AtomicU64: u64);

fn fenced<T>(order: Ordering, access: impl FnOnce() -> T) -> T {
    if order != Ordering::SeqCst {
        return access();
    }
    atomic::fence(order);
    let result = access();
    atomic::fence(order);
    result
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
