//! The memory of the variables of a request: the thread's, which keeps those of its request before, as most of them are
//! the same in the next.

use exchange::{Settled, Variables};
use std::cell::Cell;

thread_local! {
    static MEMORY: Cell<Option<Settled>> = const { Cell::new(None) };
}

/// No variables yet, in the memory that this thread used last.
pub fn of_this_thread() -> Variables {
    MEMORY.take().unwrap_or_default().again()
}

/// Gives the memory back to the thread.
pub fn recycle(variables: Settled) {
    MEMORY.set(Some(variables));
}
