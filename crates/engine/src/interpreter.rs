//! An interpreter: the main one or a sub-interpreter, with the name of the application group it serves. Made at first
//! use, lives until the process ends.
#![expect(unsafe_code, reason = "makes and ends interpreters through the C API")]

use crate::attach;
use crate::py::{Attached, Py, Raised};
use crate::script::Scripts;
use crate::state::State;
use pyo3_ffi as ffi;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// One interpreter of this process.
pub struct Interpreter {
    /// Its place among the interpreters of this process; 0 is the main one.
    pub number: usize,
    /// The application group it was made for; empty for the main interpreter.
    pub name: Vec<u8>,
    /// The scripts that have been loaded in it.
    pub scripts: Scripts,
    raw: *mut ffi::PyInterpreterState,
    state: OnceLock<State>,
    /// The thread states that the server's threads have here.
    seats: Mutex<Vec<SeatState>>,
}

#[derive(Clone, Copy, PartialEq)]
struct SeatState(*mut ffi::PyThreadState);

// SAFETY: the pointers are only handed to the C API, under its rules.
unsafe impl Send for SeatState {}
// SAFETY: `raw` names an interpreter and is only handed to the C API, which may be called from any thread; everything
// else in it is `Send` and `Sync` by itself.
unsafe impl Send for Interpreter {}
// SAFETY: as above.
unsafe impl Sync for Interpreter {}

impl Interpreter {
    /// The interpreter that this thread is attached to, just made and without a state of ours.
    pub fn adopt_new(_: &Attached, number: usize, name: Vec<u8>) -> &'static Interpreter {
        // SAFETY: attached.
        let raw = unsafe { ffi::PyInterpreterState_Get() };
        let interpreter = Box::leak(Box::new(Interpreter {
            number,
            name,
            scripts: Scripts::default(),
            raw,
            state: OnceLock::new(),
            seats: Mutex::new(Vec::new()),
        }));
        attach::adopt_current(interpreter);
        interpreter
    }

    /// Fills the interpreter with what applications expect in it.
    pub fn furnish(&'static self, attached: &Attached) -> Py<()> {
        let state = State::new(attached, self)?;
        if self.state.set(state).is_err() {
            unreachable!("an interpreter is furnished once, by the thread that made it");
        }
        Ok(())
    }

    /// What we keep in it.
    pub fn state(&self) -> &State {
        self.state.get().expect("an interpreter is furnished before anybody can find it")
    }

    /// Whether it is the main interpreter.
    pub fn is_main(&self) -> bool {
        self.number == 0
    }

    /// For log lines: `main interpreter` or `sub-interpreter 'name'`.
    pub fn describe(&self) -> String {
        if self.is_main() {
            return "main interpreter".into();
        }
        format!("sub-interpreter '{}'", String::from_utf8_lossy(&self.name))
    }

    pub(crate) fn raw(&self) -> *mut ffi::PyInterpreterState {
        self.raw
    }

    /// Notes that `state` is the server's, not an application's.
    pub(crate) fn adopt(&self, state: *mut ffi::PyThreadState) {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).push(SeatState(state));
    }

    /// Whether threads of the application are still alive in this interpreter.
    pub fn has_foreign_threads(&self, _: &Attached) -> bool {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: attached; the list is walked under the interpreter's lock, which its changes need too.
        unsafe {
            let mut state = ffi::PyInterpreterState_ThreadHead(self.raw);
            while !state.is_null() {
                if !seats.contains(&SeatState(state)) {
                    return true;
                }
                state = ffi::PyThreadState_Next(state);
            }
        }
        false
    }

    /// Deletes the thread states of the server's other threads, which will not come back.
    pub fn clear_seats(&self, _: &Attached) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: attached, to this interpreter.
        let current = SeatState(unsafe { ffi::PyThreadState_Get() });
        for seat in seats.drain(..).filter(|seat| *seat != current) {
            // SAFETY: no request is being served, so no thread will attach with it again.
            unsafe {
                ffi::PyThreadState_Clear(seat.0);
                ffi::PyThreadState_Delete(seat.0);
            }
        }
    }
}

/// Set when an interpreter was made that nobody will end, as it could not be set up.
static LEFT_BEHIND: AtomicBool = AtomicBool::new(false);

/// Whether there is an interpreter that nobody will end.
pub fn left_behind() -> bool {
    LEFT_BEHIND.load(Ordering::Relaxed)
}

/// Makes a sub-interpreter for the application group `name` and furnishes it. The caller is attached to the main
/// interpreter, and afterwards to the new one if that came about.
///
/// # Errors
/// What went wrong, as text; an exception has been reported.
pub fn make(
    _main: &Attached,
    number: usize,
    name: &[u8],
    report: impl FnOnce(&Attached, Raised),
) -> Result<&'static Interpreter, &'static str> {
    // SAFETY: attached. The new interpreter's state becomes the current one; null leaves things as they were.
    if unsafe { ffi::Py_NewInterpreter() }.is_null() {
        return Err("Python could not make it");
    }
    attach::bind_current();
    // SAFETY: attached to the new interpreter, until the caller detaches.
    let attached = unsafe { Attached::assume() };
    let interpreter = Interpreter::adopt_new(&attached, number, name.to_vec());
    match interpreter.furnish(&attached) {
        Ok(()) => Ok(interpreter),
        Err(raised) => {
            report(&attached, raised);
            LEFT_BEHIND.store(true, Ordering::Relaxed);
            Err("it could not be set up")
        }
    }
}
