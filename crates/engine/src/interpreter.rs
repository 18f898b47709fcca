//! An interpreter: the main one or a sub-interpreter, with the name of the application group it serves. Made at first
//! use, lives until the process ends.
#![expect(unsafe_code, reason = "makes and ends interpreters through the C API")]

use crate::attach;
use crate::py::{Attached, Kept, Object, Py, Raised};
use crate::request::Request;
use crate::script::Scripts;
use crate::seat::Seat;
use crate::shutdown;
use crate::state::State;
use pyo3_ffi as ffi;
#[cfg(Py_3_12)]
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

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
    /// The requests that are being served here.
    active: Mutex<Vec<Arc<Request>>>,
    /// The thread states that the server's threads have here.
    seats: Mutex<Vec<SeatState>>,
    /// The seats of threads that have ended.
    retired: Mutex<Vec<Seat>>,
    any_retired: AtomicBool,
}

#[derive(Clone, Copy, PartialEq)]
struct SeatState(*mut ffi::PyThreadState);

// SAFETY: the pointers are only handed to the C API, under its rules.
unsafe impl Send for SeatState {}
// SAFETY: `raw` and the states in seats name things of Python and are only handed to the C API, under its rules; everything
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
            active: Mutex::default(),
            seats: Mutex::default(),
            retired: Mutex::default(),
            any_retired: AtomicBool::new(false),
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

    /// Counts a request among the active ones while `body` runs.
    pub fn serving<R>(
        &self,
        attached: &Attached,
        request: &Arc<Request>,
        body: impl FnOnce() -> R,
    ) -> R {
        self.active().push(Arc::clone(request));
        self.show(attached, request);
        let result = body();
        self.active().retain(|active| !Arc::ptr_eq(active, request));
        // Also if nobody had asked when it began: the one who asked first may have put it in meanwhile.
        if let Some(shown) = self.state().active_requests.get() {
            hide(shown.get(attached), &request.id.take(attached));
        }
        result
    }

    fn active(&self) -> MutexGuard<'_, Vec<Arc<Request>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `mod_wsgi.active_requests`: kept up to date from the first time that somebody asks for it.
    pub fn active_requests<'a>(&self, attached: &'a Attached) -> Py<Object<'a>> {
        let state = self.state();
        if let Some(shown) = state.active_requests.get() {
            return Ok(shown.get(attached).clone());
        }
        let made = Kept::new(attached.dict()?);
        let shown = state.active_requests.get_or_init(|| made).get(attached).clone();
        let active = self.active().clone();
        for request in active {
            let Some(id) = self.show(attached, &request) else { continue };
            // It may have ended before it was put in, and its objects may serve another request by now.
            let is_active = self.active().iter().any(|active| Arc::ptr_eq(active, &request));
            if !is_active || *request.id.take(attached) != id {
                hide(&shown, &id);
            }
        }
        Ok(shown)
    }

    /// Puts a request into `active_requests`, if that is kept; under what name.
    fn show(&self, attached: &Attached, request: &Request) -> Option<Vec<u8>> {
        let shown = self.state().active_requests.get()?.get(attached);
        let id = request.id.take(attached).clone();
        let put = || shown.dict_set(&attached.latin1(&id)?, &request.data(attached)?);
        put().map_err(Raised::forget).ok().map(|()| id)
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
        // SAFETY: attached; the states of threads come and go only while theirs is.
        alone(self.raw, || unsafe {
            let mut state = ffi::PyInterpreterState_ThreadHead(self.raw);
            while !state.is_null() {
                if !seats.contains(&SeatState(state)) {
                    return true;
                }
                state = ffi::PyThreadState_Next(state);
            }
            false
        })
    }

    /// Takes over the seat of a thread that ends.
    pub(crate) fn retire(&self, seat: Seat) {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).push(seat);
        self.any_retired.store(true, Ordering::Release);
    }

    /// Clears away the seats of threads that have ended.
    pub(crate) fn clear_retired(&self, attached: &Attached) {
        if !self.any_retired.load(Ordering::Relaxed)
            || !self.any_retired.swap(false, Ordering::AcqRel)
        {
            return;
        }
        let retired =
            std::mem::take(&mut *self.retired.lock().unwrap_or_else(PoisonError::into_inner));
        for seat in retired {
            let state = seat.release(attached);
            self.seats
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|seat| *seat != SeatState(state));
            // SAFETY: attached, to this interpreter; the state's thread has ended.
            unsafe {
                ffi::PyThreadState_Clear(state);
                ffi::PyThreadState_Delete(state);
            }
        }
    }

    /// Ends it, unless threads of the application are still in it: Python cannot end it around them. The thread is attached
    /// to it, and afterwards to nothing ([`shutdown::back_to`](crate::shutdown::back_to)), if it could be ended.
    pub fn end(&self, attached: &Attached) -> bool {
        if self.has_foreign_threads(attached) {
            return false;
        }
        self.clear_seats(attached);
        // SAFETY: attached to it with the only thread state it has left.
        unsafe { ffi::Py_EndInterpreter(ffi::PyThreadState_Get()) };
        true
    }

    /// Deletes the thread states of the server's other threads, which will not come back.
    fn clear_seats(&self, _: &Attached) {
        let seats = std::mem::take(&mut *self.seats.lock().unwrap_or_else(PoisonError::into_inner));
        // SAFETY: attached, to this interpreter.
        let current = SeatState(unsafe { ffi::PyThreadState_Get() });
        for seat in seats.into_iter().filter(|seat| *seat != current) {
            // SAFETY: no request is being served, so no thread will attach with it again.
            unsafe {
                ffi::PyThreadState_Clear(seat.0);
                ffi::PyThreadState_Delete(seat.0);
            }
        }
    }
}

/// Takes a request out of `active_requests`.
fn hide(shown: &Object<'_>, id: &[u8]) {
    let name = shown.attached().latin1(id);
    if let Err(raised) = name.and_then(|name| shown.dict_remove(&name)) {
        raised.forget();
    }
}

/// Runs `body`, which must not touch any object, while no other thread is attached to the interpreter. The caller is.
#[cfg(Py_GIL_DISABLED)]
fn alone<R>(interpreter: *mut ffi::PyInterpreterState, body: impl FnOnce() -> R) -> R {
    unsafe extern "C" {
        /// Exported by libpython, not public in pyo3-ffi.
        fn _PyEval_StopTheWorld(interpreter: *mut ffi::PyInterpreterState);
        /// As above.
        fn _PyEval_StartTheWorld(interpreter: *mut ffi::PyInterpreterState);
    }
    // SAFETY: attached to it, and the others go on below.
    unsafe { _PyEval_StopTheWorld(interpreter) };
    let result = body();
    // SAFETY: stopped above.
    unsafe { _PyEval_StartTheWorld(interpreter) };
    result
}

/// Runs `body` while no other thread is attached to the interpreter: the caller holds its lock.
#[cfg(not(Py_GIL_DISABLED))]
fn alone<R>(_: *mut ffi::PyInterpreterState, body: impl FnOnce() -> R) -> R {
    body()
}

/// Set when an interpreter was made that nobody will end, as it could not be set up.
static LEFT_BEHIND: AtomicBool = AtomicBool::new(false);

/// Whether there is an interpreter that nobody will end.
pub fn left_behind() -> bool {
    LEFT_BEHIND.load(Ordering::Relaxed)
}

/// Makes a sub-interpreter for the application group `name` and furnishes it. The caller is attached to the main
/// interpreter, and afterwards to the new one if that came about and could not be ended again.
///
/// # Errors
/// What went wrong, as text; an exception has been reported.
pub fn make(
    _main: &Attached,
    number: usize,
    name: &[u8],
    own_gil: bool,
    report: impl FnOnce(&Attached, Raised),
) -> Result<&'static Interpreter, &'static str> {
    // SAFETY: attached to the main interpreter.
    let main_state = unsafe { ffi::PyThreadState_Get() };
    new_interpreter(own_gil)?;
    attach::bind_current();
    // SAFETY: attached to the new interpreter, until the caller detaches.
    let attached = unsafe { Attached::assume() };
    let interpreter = Interpreter::adopt_new(&attached, number, name.to_vec());
    match interpreter.furnish(&attached) {
        Ok(()) => Ok(interpreter),
        Err(raised) => {
            report(&attached, raised);
            if interpreter.end(&attached) {
                shutdown::back_to(main_state, true);
            } else {
                LEFT_BEHIND.store(true, Ordering::Relaxed);
            }
            Err("it could not be set up")
        }
    }
}

/// Makes an interpreter, whose thread state becomes the current one; on failure things are left as they were.
#[cfg(Py_3_12)]
fn new_interpreter(own_gil: bool) -> Result<(), &'static str> {
    /// `PyInterpreterConfig` of CPython's `cpython/pylifecycle.h` (3.13; `cpython/initconfig.h` 3.12), not declared by
    /// pyo3-ffi.
    #[repr(C)]
    struct Config {
        use_main_obmalloc: c_int,
        allow_fork: c_int,
        allow_exec: c_int,
        allow_threads: c_int,
        allow_daemon_threads: c_int,
        check_multi_interp_extensions: c_int,
        gil: c_int,
    }
    const SHARED_GIL: c_int = 1;
    const OWN_GIL: c_int = 2;
    unsafe extern "C" {
        fn Py_NewInterpreterFromConfig(
            state: *mut *mut ffi::PyThreadState,
            config: *const Config,
        ) -> ffi::PyStatus;
    }
    // Free-threaded builds have extensions that need to be told of several interpreters in any case.
    let isolated = c_int::from(own_gil);
    let config = Config {
        use_main_obmalloc: 1 - isolated,
        allow_fork: 1 - isolated,
        allow_exec: 1 - isolated,
        allow_threads: 1,
        allow_daemon_threads: 1 - isolated,
        check_multi_interp_extensions: isolated | c_int::from(cfg!(Py_GIL_DISABLED)),
        gil: if own_gil { OWN_GIL } else { SHARED_GIL },
    };
    let mut state = std::ptr::null_mut();
    // SAFETY: attached; the configuration is complete, and the state is written on success.
    let status = unsafe { Py_NewInterpreterFromConfig(&mut state, &config) };
    // SAFETY: asks about a value that the C API made.
    let failed = unsafe { ffi::PyStatus_Exception(status) != 0 };
    if failed || state.is_null() { Err("Python could not make it") } else { Ok(()) }
}

/// Makes an interpreter, whose thread state becomes the current one; on failure things are left as they were.
#[cfg(not(Py_3_12))]
fn new_interpreter(_own_gil: bool) -> Result<(), &'static str> {
    // SAFETY: attached.
    let state = unsafe { ffi::Py_NewInterpreter() };
    if state.is_null() { Err("Python could not make it") } else { Ok(()) }
}
