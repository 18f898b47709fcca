//! A desk: what is known from outside of one request thread. The thread writes, the one that steers reads.

use super::clock::now;
use super::prober;
use crate::interpreter::Interpreter;
use crate::py::Attached;
use exchange::{Head, Known};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A request thread, as others see it.
#[derive(Debug, Default)]
pub struct Desk {
    /// Since when it has had its request; 0 if it has none.
    since: AtomicU64,
    /// When that request was interrupted; 0 if it was not.
    interrupted: AtomicU64,
    /// Which of its requests it is.
    serial: AtomicU64,
    /// The serial number of the last request that was written to the log because a timeout had expired.
    reported: AtomicU64,
    /// httpd's identifier of the request, and its URL.
    request: Mutex<Vec<u8>>,
    inside: Mutex<Inside>,
}

/// How many bytes of a URL are kept for the log.
const URL: usize = 1024;

#[derive(Debug, Default)]
struct Inside {
    thread: Option<Thread>,
    injected: bool,
}

/// A thread in an interpreter.
#[derive(Clone, Copy)]
pub struct Thread {
    /// Where it is.
    pub interpreter: &'static Interpreter,
    /// What Python calls it.
    pub ident: u64,
}

impl std::fmt::Debug for Thread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "thread {}", self.ident)
    }
}

/// A request at a desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sitting {
    /// Since when.
    pub since: u64,
    /// When it was interrupted.
    pub interrupted: Option<u64>,
    /// Which of the desk's requests it is.
    pub serial: u64,
}

impl Desk {
    /// A request begins.
    pub fn begin(&self, head: &Head<'_>) {
        let mut request = self.request.lock().unwrap_or_else(PoisonError::into_inner);
        request.clear();
        request.extend_from_slice(&head.id);
        request.push(b' ');
        let url = head.variables.get(Known::RequestUri).unwrap_or_default();
        request.extend_from_slice(&url[..url.len().min(URL)]);
        drop(request);
        self.interrupted.store(0, Ordering::Relaxed);
        self.serial.fetch_add(1, Ordering::Relaxed);
        self.since.store(now(), Ordering::Release);
    }

    /// The request has ended.
    pub fn end(&self) {
        self.since.store(0, Ordering::Release);
    }

    /// The request that is there now.
    pub fn sitting(&self) -> Option<Sitting> {
        let since = self.since.load(Ordering::Acquire);
        let interrupted = self.interrupted.load(Ordering::Relaxed);
        let serial = self.serial.load(Ordering::Relaxed);
        let interrupted = (interrupted != 0).then_some(interrupted);
        (since != 0).then_some(Sitting { since, interrupted, serial })
    }

    /// The present or last request, for the log: httpd's identifier and the URL.
    pub fn describe(&self) -> String {
        let request = self.request.lock().unwrap_or_else(PoisonError::into_inner);
        format!("request {}", String::from_utf8_lossy(&request))
    }

    /// Whether the request with this serial number must still be written to the log because a timeout has expired. `true` once for
    /// each request.
    pub fn report_once(&self, serial: u64) -> bool {
        self.reported.swap(serial, Ordering::Relaxed) != serial
    }

    /// The request is being interrupted.
    pub fn note_interrupted(&self) {
        self.interrupted.store(now(), Ordering::Relaxed);
    }

    /// The thread is in an interpreter while `body` runs. What was thrown into it too late is taken back.
    pub fn inside<R>(
        &self,
        attached: &Attached,
        interpreter: &'static Interpreter,
        body: impl FnOnce() -> R,
    ) -> R {
        struct Out<'d>(&'d Desk, &'d Attached);
        impl Drop for Out<'_> {
            fn drop(&mut self) {
                let Out(desk, attached) = self;
                let mut inside = desk.inside.lock().unwrap_or_else(PoisonError::into_inner);
                inside.thread = None;
                if std::mem::take(&mut inside.injected) {
                    prober::take_back(attached);
                }
            }
        }
        let thread = Thread { interpreter, ident: prober::ident() };
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).thread = Some(thread);
        let _out = Out(self, attached);
        body()
    }

    /// Where the thread is, if it is in an interpreter.
    pub fn thread(&self) -> Option<Thread> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).thread
    }

    /// Throws something into the thread with `body`, if it is still in the interpreter with that request. Called attached.
    pub fn throw_into(&self, serial: u64, body: impl FnOnce(Thread)) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if self.serial.load(Ordering::Relaxed) != serial {
            return;
        }
        if let Some(thread) = inside.thread {
            inside.injected = true;
            body(thread);
        }
    }
}
