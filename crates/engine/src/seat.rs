//! A seat: what one thread of the server keeps for one interpreter, beside its thread state. Touched only by that thread
//! while it is attached to that interpreter; when the thread ends, the next one that attaches there clears it away.

use crate::bundle::Bundle;
use crate::environ::Template;
use crate::interpreter::Interpreter;
use crate::py::Attached;
use crate::script::Script;
use pyo3_ffi as ffi;
use std::sync::atomic::{AtomicU32, Ordering};

/// What one thread keeps for one interpreter.
pub struct Seat {
    /// The interpreter.
    pub interpreter: &'static Interpreter,
    /// The environ of the last request.
    pub template: Option<Box<Template>>,
    /// The Python objects of the last request, if the application kept none of them.
    pub bundle: Option<Bundle>,
    /// The script that was run last.
    pub script: Option<&'static Script>,
    state: *mut ffi::PyThreadState,
}

impl Seat {
    pub(crate) fn new(interpreter: &'static Interpreter, state: *mut ffi::PyThreadState) -> Seat {
        Seat { interpreter, template: None, bundle: None, script: None, state }
    }

    /// Gives up everything it holds of Python's. Its thread has ended.
    pub fn release(self, attached: &Attached) -> *mut ffi::PyThreadState {
        if let Some(bundle) = self.bundle {
            bundle.release(attached);
        }
        if let Some(template) = self.template {
            template.release(attached);
        }
        self.state
    }

    pub(crate) fn state(&self) -> *mut ffi::PyThreadState {
        self.state
    }
}

/// The number of this thread among those that have served requests of this process, from 1:
/// `environ['mod_wsgi.thread_id']`.
pub fn thread_id() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static ID: u32 = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    }
    ID.with(|id| *id)
}
