//! Attaching threads to interpreters: the door between code that may touch Python objects and code that may not.
//!
//! A thread gets one thread state for each interpreter it serves, at first use, and keeps it for its life, so that
//! `threading.local` data persists and nothing is made or destroyed per request. What else a thread keeps for an
//! interpreter sits beside the state, in its [`Seat`].
#![expect(unsafe_code, reason = "switches thread states through the C API")]

use crate::account::waiting_for_interpreter;
use crate::interpreter::Interpreter;
use crate::py::Attached;
use crate::seat::Seat;
use exchange::Settings;
use pyo3_ffi as ffi;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

thread_local! {
    /// This thread's seats.
    static SEATS: RefCell<Seats> = const { RefCell::new(Seats(Vec::new())) };
    /// Whether this thread is inside [`enter`].
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// The seats of a thread, by the interpreter's number. Most threads of a server live as long as their process; those that
/// end before (mod_http2's) cannot attach any more by then, so they leave their seats for others to clear away.
struct Seats(Vec<Option<NonNull<Seat>>>);

impl Seats {
    fn place(&mut self, interpreter: &Interpreter) -> &mut Option<NonNull<Seat>> {
        if self.0.len() <= interpreter.number {
            self.0.resize(interpreter.number + 1, None);
        }
        &mut self.0[interpreter.number]
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        for seat in self.0.drain(..).flatten() {
            // SAFETY: made by `take_seat`, and with its thread goes its only user.
            let seat = unsafe { *Box::from_raw(seat.as_ptr()) };
            seat.interpreter.retire(seat);
        }
    }
}

/// Attaches this thread to `interpreter`, runs `body`, and detaches it. Must not be called while attached.
pub fn enter<R>(
    interpreter: &'static Interpreter,
    body: impl FnOnce(&Attached, &mut Seat) -> R,
) -> R {
    Entered::new(interpreter).with(body)
}

/// That this thread is attached to an interpreter. It is detached when this is dropped.
pub struct Entered {
    seat: NonNull<Seat>,
    attached: Attached,
    _leave: Leave,
}

impl Entered {
    /// Attaches this thread. Must not be called while attached.
    pub fn new(interpreter: &'static Interpreter) -> Entered {
        let seat = seat(interpreter);
        assert!(!INSIDE.replace(true), "a thread entered an interpreter from inside one");
        // SAFETY: a seat is this thread's own and lives as long as it; `INSIDE` says that no other borrow of one is in use.
        let state = unsafe { seat.as_ref() }.state();
        bind(state);
        // SAFETY: the thread is not attached, and the state is its own for this interpreter.
        unsafe { ffi::PyEval_RestoreThread(state) };
        let _leave = Leave;
        // SAFETY: attached by the line above, until `_leave` is dropped, which is with it.
        let attached = unsafe { Attached::assume() };
        interpreter.clear_retired(&attached);
        Entered { seat, attached, _leave }
    }

    /// The interpreter.
    pub fn interpreter(&self) -> &'static Interpreter {
        // SAFETY: as in `new`; the field does not change.
        unsafe { self.seat.as_ref() }.interpreter
    }

    /// Runs `body` there.
    pub fn with<R>(&mut self, body: impl FnOnce(&Attached, &mut Seat) -> R) -> R {
        // SAFETY: as in `new`; this value is borrowed mutably as long as the seat is.
        body(&self.attached, unsafe { self.seat.as_mut() })
    }
}

/// Starts Python on this thread with `start`, runs `body` attached to the main interpreter, and detaches.
pub fn first<R>(
    start: impl FnOnce(&Settings) -> Result<(), String>,
    body: impl FnOnce(&Attached) -> Result<R, String>,
) -> Result<R, String> {
    start(crate::settings())?;
    INSIDE.set(true);
    let leave = Leave;
    // SAFETY: Python starts attached to its main interpreter, and `leave` is not yet dropped.
    let attached = unsafe { Attached::assume() };
    let result = body(&attached);
    drop(leave);
    result
}

/// Runs `body` on a thread that Python has attached to its main interpreter, and that stays attached.
pub fn adopted<R>(body: impl FnOnce(&Attached) -> R) -> R {
    INSIDE.set(true);
    // SAFETY: what the caller says.
    let result = body(&unsafe { Attached::assume() });
    INSIDE.set(false);
    result
}

/// Detaches such a thread and runs `body`, which leaves it attached to the main interpreter again ([`last`]).
pub fn set_free<R>(body: impl FnOnce() -> R) -> R {
    // SAFETY: the thread is attached. Its state is that of its seat, which attaching finds again.
    unsafe { ffi::PyEval_SaveThread() };
    body()
}

/// Attaches this thread to an interpreter for the last time: it stays attached, or what `body` has made of that.
pub fn last<R>(interpreter: &'static Interpreter, body: impl FnOnce(&Attached) -> R) -> R {
    let seat = seat(interpreter);
    // SAFETY: a seat is this thread's own and lives as long as it, and the thread is not inside one.
    let state = unsafe { seat.as_ref() }.state();
    bind(state);
    // SAFETY: the thread is not attached, and the state is its own for this interpreter.
    unsafe { ffi::PyEval_RestoreThread(state) };
    // Objects that are destroyed at the end may log, and this thread must find its way back from that.
    INSIDE.set(true);
    // SAFETY: attached by the line above.
    body(&unsafe { Attached::assume() })
}

/// Detaches on drop, also when `body` panics.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        // SAFETY: made right after attaching.
        unsafe { ffi::PyEval_SaveThread() };
        INSIDE.set(false);
    }
}

fn seat(interpreter: &'static Interpreter) -> NonNull<Seat> {
    SEATS.with_borrow_mut(|seats| {
        *seats.place(interpreter).get_or_insert_with(|| {
            // SAFETY: the interpreter lives as long as the process serves requests; making a state needs no lock.
            let state = unsafe { ffi::PyThreadState_New(interpreter.raw()) };
            assert!(!state.is_null(), "no memory for a thread state");
            take_seat(interpreter, state)
        })
    })
}

fn take_seat(interpreter: &'static Interpreter, state: *mut ffi::PyThreadState) -> NonNull<Seat> {
    interpreter.adopt(state);
    NonNull::from(Box::leak(Box::new(Seat::new(interpreter, state))))
}

/// Gives this thread a seat with the state that is current, which was made with the interpreter.
pub fn adopt_current(interpreter: &'static Interpreter) {
    // SAFETY: the caller is attached.
    let state = unsafe { ffi::PyThreadState_Get() };
    let seat = take_seat(interpreter, state);
    SEATS.with_borrow_mut(|seats| *seats.place(interpreter) = Some(seat));
}

/// Runs `body` detached. The thread is attached before and afterwards.
pub fn detached<R>(body: impl FnOnce() -> R) -> R {
    struct Back(*mut ffi::PyThreadState);
    impl Drop for Back {
        fn drop(&mut self) {
            let passing = (!INSIDE.get()).then(Passing::new);
            // SAFETY: this thread's own state, which `PyEval_SaveThread` gave back.
            waiting_for_interpreter(|| unsafe { ffi::PyEval_RestoreThread(self.0) });
            drop(passing);
        }
    }
    // SAFETY: the caller is attached.
    let back = Back(unsafe { ffi::PyEval_SaveThread() });
    let result = body();
    drop(back);
    result
}

/// Set when Python is about to be finalised.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// How many of an application's own threads are between having seen that `CLOSED` is not set and being attached.
static PASSING: AtomicUsize = AtomicUsize::new(0);
/// How many functions of ours an application's own threads are inside.
static GUESTS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// How many of `GUESTS` are this thread's.
    static VISITS: Cell<usize> = const { Cell::new(0) };
}

/// A thread of the application inside a function of ours, from where it may go back to Python (`writelines` iterates).
/// There it must not be when Python is finalised, for the reason given at [`Passing`].
pub struct Guest(());

impl Guest {
    /// Nothing for a thread of the server. Called attached.
    pub fn new() -> Option<Guest> {
        if INSIDE.get() {
            return None;
        }
        GUESTS.fetch_add(1, Ordering::SeqCst);
        VISITS.set(VISITS.get() + 1);
        if CLOSED.load(Ordering::SeqCst) {
            // SAFETY: the caller is attached. It does not come back.
            unsafe { ffi::PyEval_SaveThread() };
            stay();
        }
        Some(Guest(()))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        VISITS.set(VISITS.get() - 1);
        GUESTS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether a thread of the application is inside a function of ours and may be in Python.
pub fn has_guests() -> bool {
    GUESTS.load(Ordering::SeqCst) > 0
}

/// Keeps a detached thread here for ever.
fn stay() -> ! {
    GUESTS.fetch_sub(VISITS.take(), Ordering::SeqCst);
    loop {
        std::thread::park();
    }
}

/// A thread of the application on its way back to Python. Python ends a thread that attaches while it is being
/// finalised by unwinding it, which a Rust frame must not see; so such a thread stays here for ever instead.
struct Passing;

impl Passing {
    fn new() -> Passing {
        PASSING.fetch_add(1, Ordering::SeqCst);
        if CLOSED.load(Ordering::SeqCst) {
            PASSING.fetch_sub(1, Ordering::SeqCst);
            stay();
        }
        Passing
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        PASSING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Lets no thread of an application back to Python any more, and waits (detached) for those that are on their way.
/// The thread that calls this is inside ([`last`]).
pub fn close(attached: &Attached) {
    CLOSED.store(true, Ordering::SeqCst);
    attached.detach(|| {
        let until = Instant::now() + Duration::from_secs(1);
        let on_their_way = || PASSING.load(Ordering::SeqCst) > 0 || has_guests();
        while on_their_way() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Attaching binds by itself.
#[cfg(Py_3_12)]
pub fn bind(_: *mut ffi::PyThreadState) {}

/// Makes `state` the one that `PyGILState_Ensure` finds on this thread; see `gilstate.c`.
#[cfg(not(Py_3_12))]
pub fn bind(state: *mut ffi::PyThreadState) {
    unsafe extern "C" {
        fn rustgi_gilstate_key() -> *mut ffi::Py_tss_t;
    }
    // SAFETY: the key was created when Python started and lives as long as it.
    unsafe {
        let key = rustgi_gilstate_key();
        if ffi::PyThread_tss_get(key) != state.cast() {
            ffi::PyThread_tss_set(key, state.cast());
        }
    }
}

/// As [`bind`], for a state that the caller has just made and attached by other means.
pub fn bind_current() {
    // SAFETY: the caller is attached.
    bind(unsafe { ffi::PyThreadState_Get() });
}
