//! A lease: the exchange of one request, lent to whatever Python holds of that request and revoked when it ends.
#![expect(
    unsafe_code,
    reason = "keeps a borrow where the compiler cannot see that it ends in time"
)]

use crate::py::Attached;
use crate::reading::Source;
use crate::turn::Turn;
use exchange::{Exchange, Head, ReadError};
use std::sync::atomic::{AtomicBool, Ordering};

/// The exchange of one request, as long as there is one.
#[derive(Default)]
pub struct Lease {
    exchange: Turn<Option<Lent>>,
    open: AtomicBool,
}

struct Lent(*mut (dyn Exchange + 'static));

// SAFETY: an `Exchange` is `Send`, and the mutex lets one thread at a time reach it.
unsafe impl Send for Lent {}

impl Lease {
    /// Lends `exchange` while `body` runs, which gets its head. Afterwards, also after a panic, nobody reaches it any more: a thread of the
    /// application that is using it at that moment is waited for, detached.
    pub fn lend<R>(
        &self,
        attached: &Attached,
        exchange: &mut dyn Exchange,
        body: impl FnOnce(Head<'_>) -> R,
    ) -> R {
        struct Revoke<'a>(&'a Lease, &'a Attached);
        impl Drop for Revoke<'_> {
            fn drop(&mut self) {
                self.0.open.store(false, Ordering::Release);
                *self.0.exchange.take(self.1) = None;
            }
        }
        let pointer: *mut (dyn Exchange + '_) = exchange;
        // SAFETY: only the lifetime changes. `Revoke` takes the pointer away before the borrow of `exchange` ends, and
        // until then nobody else can use that borrow.
        let pointer: *mut (dyn Exchange + 'static) = unsafe { std::mem::transmute(pointer) };
        *self.exchange.take(attached) = Some(Lent(pointer));
        self.open.store(true, Ordering::Release);
        let _revoke = Revoke(self, attached);
        // SAFETY: the pointer is valid as above; a head stays in place while the exchange is used (`Exchange::head`).
        body(unsafe { (*pointer).head() })
    }

    /// Whether the request is still running.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Uses the exchange; nothing if the request has ended. Threads take turns. Must be called detached: the turn before
    /// may be waiting for the client.
    pub fn with<R>(&self, body: impl FnOnce(&mut dyn Exchange) -> R) -> Option<R> {
        let mut lent = self.exchange.wait();
        let lent = lent.as_mut()?;
        // SAFETY: the borrow that was lent is still running (`Revoke`), and the lock makes this its only use.
        Some(body(unsafe { &mut *lent.0 }))
    }
}

impl Source for Lease {
    fn pull(&self, most: usize, sink: &mut dyn FnMut(&[u8])) -> Option<Result<usize, ReadError>> {
        self.with(|exchange| exchange.read(most, sink))
    }
}
