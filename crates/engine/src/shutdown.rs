//! The end of Python in this process. Threads are joined and atexit functions run in every interpreter while everything
//! still works; then the interpreters are ended. An application that does not come to an end is left behind: the server
//! wants its process back.
#![expect(unsafe_code, reason = "ends interpreters through the C API")]

use crate::attach;
use crate::host::note;
use crate::interpreter::{self, Interpreter};
use crate::py::{Attached, Exception, Kind};
use crate::{events, report, settings, startup};
use exchange::{Code, Level};
use pyo3_ffi as ffi;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the applications of a process have for coming to an end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether Python is to be ended now: once. That no thread is serving, and that the process is not one that an application
/// has forked, is the carrier's to see to ([`exchange::abi::Process::stop`]).
pub fn begin() -> bool {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    // A signal may have interrupted this function itself.
    !BEGUN.swap(true, Ordering::SeqCst)
}

/// Set when there is nothing left to wait for.
static ENDED: AtomicBool = AtomicBool::new(false);

/// Ends all interpreters, on the thread that started Python.
pub fn run(main: &'static Interpreter, subs: &[&'static Interpreter]) {
    // For good: the process is on its way out, and a handler that ended it a second time would do so in the middle.
    std::mem::forget(startup::SignalsHeld::new());
    let watch = std::thread::Builder::new().name("rustgi-shutdown".into()).spawn(leave_when_late);
    if watch.is_err() {
        note(Level::Warning, "The time that applications take to end cannot be watched.");
    }
    for interpreter in subs.iter().chain([&main]) {
        attach::enter(interpreter, |attached, _| {
            events::process_stopping(attached, interpreter, "");
        });
    }
    if settings().destroy_interpreters {
        destroy(main, subs);
    }
    ENDED.store(true, Ordering::SeqCst);
}

fn destroy(main: &'static Interpreter, subs: &[&'static Interpreter]) {
    finish_all(main, subs);
    if clear(main, subs) {
        // SAFETY: attached to the main interpreter, on the thread that started Python.
        unsafe { ffi::Py_FinalizeEx() };
    }
}

/// Joins the threads of the applications and runs their atexit functions, in all interpreters.
pub fn finish_all(main: &'static Interpreter, subs: &[&'static Interpreter]) {
    for interpreter in subs.iter().chain([&main]) {
        attach::enter(interpreter, |attached, _| finish(attached, interpreter));
    }
}

/// Ends the sub-interpreters once [`finish_all`] has returned. Afterwards this thread stays attached to the main interpreter. Returns
/// whether Python can be finalised.
pub fn clear(main: &'static Interpreter, subs: &[&'static Interpreter]) -> bool {
    attach::last(main, |attached| {
        attach::close(attached);
        let ended = subs.iter().filter(|sub| end(attached, sub)).count();
        // Python cannot be finalised around an interpreter that is still there, or a thread that is in the middle of
        // something of ours.
        ended == subs.len() && !interpreter::left_behind() && !attach::has_guests()
    })
}

/// Ends the process when the time is over. httpd has joined its threads and closed its listeners by now.
fn leave_when_late() {
    std::thread::sleep(PATIENCE);
    if ENDED.load(Ordering::SeqCst) {
        return;
    }
    let code = Code::ShutdownTimedOut;
    note(Level::Error, &format!("{code}: {} ({} s).", code.text(), PATIENCE.as_secs()));
    // SAFETY: ends the process at once; what hangs is not waited for.
    unsafe { libc::_exit(0) }
}

/// Joins the threads and runs the atexit functions of one interpreter.
fn finish(attached: &Attached, interpreter: &'static Interpreter) {
    let setup = &interpreter.state().setup;
    let raised = match setup.finish.get(attached).call([]) {
        Ok(raised) => raised,
        Err(raised) => {
            return report::process(attached, setup, raised, Code::ExitException, "");
        }
    };
    for value in raised.items() {
        let exception = Exception { value };
        let code =
            if exception.is(Kind::SystemExit) { Code::ExitSystemExit } else { Code::ExitException };
        let name = interpreter.describe();
        report::process(attached, setup, exception.restore(), code, &name);
    }
}

/// Ends a sub-interpreter; whether that could be. The thread is attached to the main interpreter before and afterwards.
fn end(_: &Attached, sub: &'static Interpreter) -> bool {
    // SAFETY: detaches from the main interpreter.
    let main_state = unsafe { ffi::PyEval_SaveThread() };
    let ended = attach::last(sub, |attached| sub.end(attached));
    back_to(main_state, ended);
    ended
}

/// Attaches to the main interpreter after another one was ended or detached from.
pub fn back_to(state: *mut ffi::PyThreadState, ended: bool) {
    attach::bind(state);
    // Before 3.12 the lock is still held when an interpreter has been ended, by a thread with no state.
    if cfg!(not(Py_3_12)) && ended {
        // SAFETY: this thread holds the lock, and the state is its own.
        unsafe { ffi::PyThreadState_Swap(state) };
        return;
    }
    if !ended {
        // SAFETY: attached to the interpreter that could not be ended.
        unsafe { ffi::PyEval_SaveThread() };
    }
    // SAFETY: not attached, and the state is this thread's own.
    unsafe { ffi::PyEval_RestoreThread(state) };
}
