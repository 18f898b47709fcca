//! How far a worker has come: it serves, it finishes what it has, it ends. Asked by every thread, changed by the one that
//! steers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

/// How far a worker has come.
#[derive(Debug, Default)]
pub struct Course {
    draining: AtomicBool,
    ended: Mutex<bool>,
    told: Condvar,
    reason: OnceLock<String>,
    overdue: AtomicBool,
    serving: AtomicBool,
}

impl Course {
    /// Requests are being served.
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    /// From now on requests are served.
    pub fn serve(&self) {
        self.serving.store(true, Ordering::Release);
    }

    /// Requests that have not been taken are another worker's.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// From now on nothing is taken any more.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Why it ends; the first reason stays. `false` if there was one already.
    pub fn give_reason(&self, reason: &str) -> bool {
        self.reason.set(reason.to_owned()).is_ok()
    }

    /// Why it ends.
    pub fn reason(&self) -> &str {
        self.reason.get().map_or("", String::as_str)
    }

    /// Notes that a request has exceeded `request-timeout`. `true` for the first such request.
    pub fn note_overdue(&self) -> bool {
        !self.overdue.swap(true, Ordering::Relaxed)
    }

    /// It ends now. `false` if that was so already.
    pub fn end(&self) -> bool {
        self.drain();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        self.told.notify_all();
        !std::mem::replace(&mut *ended, true)
    }

    /// Whether it ends.
    pub fn has_ended(&self) -> bool {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it ends.
    pub fn wait(&self) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.told.wait_while(ended, |ended| !*ended);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}
