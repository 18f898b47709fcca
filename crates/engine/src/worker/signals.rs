//! The signals of a worker. A handler only writes down what has come and rings; the thread that steers does the rest. They
//! are not blocked in any thread, as processes that an application starts would inherit that.
#![expect(unsafe_code, reason = "installs handlers, which run in the middle of anything")]

use crate::py::Attached;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// A signal that a worker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Signal {
    /// It ends.
    Terminate = libc::SIGTERM,
    /// As `Terminate`.
    Interrupt = libc::SIGINT,
    /// It wants to be replaced.
    Evict = libc::SIGUSR1,
    /// It has used up its time on the processor.
    CpuTime = libc::SIGXCPU,
    /// For the application.
    Hangup = libc::SIGHUP,
    /// For the application.
    User2 = libc::SIGUSR2,
}

const ALL: [Signal; 6] = [
    Signal::Terminate,
    Signal::Interrupt,
    Signal::Evict,
    Signal::CpuTime,
    Signal::Hangup,
    Signal::User2,
];

static CAME: [AtomicBool; ALL.len()] = [const { AtomicBool::new(false) }; ALL.len()];
/// The process that has installed the handlers.
static PROCESS: AtomicI32 = AtomicI32::new(0);
/// What is rung.
static BELL: AtomicI32 = AtomicI32::new(-1);

impl Signal {
    /// Its name and its number.
    pub fn name(self) -> (&'static str, i32) {
        let name = match self {
            Signal::Terminate => "SIGTERM",
            Signal::Interrupt => "SIGINT",
            Signal::Evict => "SIGUSR1",
            Signal::CpuTime => "SIGXCPU",
            Signal::Hangup => "SIGHUP",
            Signal::User2 => "SIGUSR2",
        };
        (name, self as i32)
    }
}

/// Takes the signals that have come since it was last asked.
pub fn take() -> impl Iterator<Item = Signal> {
    let pairs = ALL.into_iter().zip(&CAME);
    pairs.filter(|(_, came)| came.swap(false, Ordering::AcqRel)).map(|(signal, _)| signal)
}

extern "C" fn note(number: libc::c_int) {
    // SAFETY: as all that follows, it may be called in a handler.
    if unsafe { libc::getpid() } != PROCESS.load(Ordering::Relaxed) {
        // A process that the application has forked: nobody here would act on it.
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(255) };
    }
    for (signal, came) in ALL.iter().zip(&CAME) {
        if *signal as i32 == number {
            came.store(true, Ordering::Release);
        }
    }
    let one = 1u64;
    // SAFETY: the descriptor of an eventfd that stays open; a full one has been rung already. What a failure sets
    // is put back, as the code that is interrupted may be looking at it.
    unsafe {
        let error = *libc::__errno_location();
        libc::write(BELL.load(Ordering::Relaxed), (&raw const one).cast(), size_of::<u64>());
        *libc::__errno_location() = error;
    }
}

/// For a process that runs scripts: it is not ended by what means nothing to it.
extern "C" fn ignore(_: libc::c_int) {}

fn handle(signal: Signal, handler: extern "C" fn(libc::c_int)) {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeroes are a value of it: no flags, nothing blocked.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: a complete action; its handler does what may be done in one.
    unsafe { libc::sigaction(signal as libc::c_int, action, std::ptr::null_mut()) };
}

/// Installs the handlers; they ring `bell`, which stays open.
pub fn install(bell: &OwnedFd) {
    PROCESS.store(std::process::id() as i32, Ordering::Relaxed);
    BELL.store(bell.as_raw_fd(), Ordering::Relaxed);
    ALL.into_iter().for_each(|signal| handle(signal, note));
}

/// For a process that runs scripts: SIGTERM is Python's, SIGINT is noted, the others do nothing.
pub fn install_for_scripts(bell: &OwnedFd) {
    install(bell);
    for signal in [Signal::Evict, Signal::CpuTime, Signal::Hangup, Signal::User2] {
        handle(signal, ignore);
    }
}

/// For a process whose scripts have ended, on the thread that has run them: SIGTERM ends nothing any more. What a handler
/// of Python's raises for one that came before is of no consequence.
pub fn be_deaf_to_terminate(_: &Attached) {
    handle(Signal::Terminate, ignore);
    // SAFETY: attached, on the thread that runs Python's handlers.
    if unsafe { pyo3_ffi::PyErr_CheckSignals() } != 0 {
        // SAFETY: attached, and an exception is set.
        unsafe { pyo3_ffi::PyErr_Clear() };
    }
}

/// The signal on which faulthandler writes the stacks of all threads: the last but one real-time signal, which applications are least
/// likely to use.
pub fn stack_signal() -> libc::c_int {
    libc::SIGRTMAX() - 1
}

/// Makes faulthandler write the stacks of all threads of the main interpreter, and returns when they are written. `false` if
/// faulthandler has not registered the signal.
pub fn write_stacks() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the structure is large enough, and zeroes are values of it.
    let action = unsafe {
        libc::sigaction(stack_signal(), std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    if [libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction) {
        return false;
    }
    // SAFETY: a signal with a handler, to this thread, which runs it before the call returns.
    unsafe { libc::raise(stack_signal()) == 0 }
}

/// Sends SIGTERM to this process.
pub fn terminate() {
    // SAFETY: a signal to oneself.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
}
