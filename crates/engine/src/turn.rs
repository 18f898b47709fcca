//! A lock for what several threads of one application may use at once. Whoever holds it may be waiting for a client, so
//! it is never waited for while attached: that would stop every other thread of the interpreter.

use crate::py::Attached;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// A mutex that is taken while attached and never waited for while attached.
#[derive(Default)]
pub struct Turn<T>(Mutex<T>);

impl<T> Turn<T> {
    /// Waits, detached, for the turn. Hardly ever is there anything to wait for, and every request takes many.
    #[inline(always)]
    pub fn take<'t>(&'t self, attached: &Attached) -> MutexGuard<'t, T> {
        match self.0.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait_detached(attached),
        }
    }

    #[cold]
    fn wait_detached<'t>(&'t self, attached: &Attached) -> MutexGuard<'t, T> {
        attached.detach(|| self.wait())
    }

    /// Waits for the turn. Must be called detached.
    pub fn wait(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
