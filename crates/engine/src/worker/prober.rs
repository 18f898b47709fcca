//! The prober: a thread that enters interpreters, so that the control thread need not wait for their locks. It checks that the lock of
//! the main interpreter can be taken, raises RequestTimeout in threads, and writes the Python stacks of threads to the log.
#![expect(unsafe_code, reason = "throws exceptions into threads through the C API")]

use super::clock::now;
use super::desk::{Desk, Thread};
use super::journal;
use super::post::Post;
use crate::attach;
use crate::host::Host;
use crate::interpreter::Interpreter;
use crate::py::{Attached, Py};
use exchange::Level;
use pyo3_ffi as ffi;
use std::ffi::c_long;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A task for the prober.
enum Task {
    /// Raise RequestTimeout in a request; write `line` and the stack of the request.
    Interrupt { desk: &'static Desk, serial: u64, line: String },
    /// Write the stack of this thread, and report when that is done.
    Stack { place: Place, level: Level, done: Sender<()> },
}

/// The threads whose stacks are written.
#[derive(Clone, Copy)]
pub struct Place {
    /// The interpreter.
    pub interpreter: &'static Interpreter,
    /// Python's identifier of the thread; `None` for all threads of the interpreter.
    pub ident: Option<u64>,
}

impl From<Thread> for Place {
    fn from(Thread { interpreter, ident }: Thread) -> Self {
        Place { interpreter, ident: Some(ident) }
    }
}

/// The prober, as the thread that steers knows it.
pub struct Prober {
    tasks: Sender<Task>,
    /// Since when it has been waiting for an interpreter; 0 if it is not.
    waiting: &'static AtomicU64,
}

static WAITING: AtomicU64 = AtomicU64::new(0);

/// Whether Python is being finalised, so that the prober must not enter an interpreter any more. The prober holds this lock while it
/// is inside one.
static CLOSED: Mutex<bool> = Mutex::new(false);

/// How long the control thread waits for stacks. It does nothing else meanwhile, and the supervisor kills a worker 1 s after its time
/// to end has expired.
const PATIENCE: Duration = Duration::from_millis(500);

/// Keeps the prober from entering interpreters from now on, and waits until it has left the one that it is in. The caller must be
/// detached.
pub fn close() {
    *CLOSED.lock().unwrap_or_else(PoisonError::into_inner) = true;
}

impl Prober {
    /// Starts it.
    pub fn start(post: &'static Post, host: &'static Host) -> io::Result<Prober> {
        let (tasks, todo) = channel();
        std::thread::Builder::new().name("wsgi-prober".into()).spawn(move || {
            work(post, host, &todo);
        })?;
        Ok(Prober { tasks, waiting: &WAITING })
    }

    /// Raises RequestTimeout in a request, and writes `line` and the stack of the request.
    pub fn interrupt(&self, desk: &'static Desk, serial: u64, line: String) {
        desk.note_interrupted();
        // It is gone only when the process is about to be.
        let _gone = self.tasks.send(Task::Interrupt { desk, serial, line });
    }

    /// Writes the stack of a thread. `false` if its interpreter could not be entered in time.
    pub fn write_stack(&self, place: Place, level: Level) -> bool {
        let (done, written) = channel();
        let sent = self.tasks.send(Task::Stack { place, level, done });
        sent.is_ok() && written.recv_timeout(PATIENCE).is_ok()
    }

    /// Whether it has been waiting for an interpreter for so long that the caller must not wait for it.
    pub fn is_late(&self) -> bool {
        let patience = PATIENCE.as_millis() as u64;
        self.waiting_since().is_some_and(|since| since + patience <= now())
    }

    /// Since when it has been waiting for an interpreter.
    pub fn waiting_since(&self) -> Option<u64> {
        let since = self.waiting.load(Ordering::Acquire);
        (since != 0).then_some(since)
    }
}

fn work(post: &Post, host: &Host, todo: &Receiver<Task>) {
    let timeout = u64::from(post.options.deadlock_timeout);
    // Often enough that what is found is found in about the time that was asked for.
    let pause = Duration::from_millis((timeout * 100).clamp(200, 30_000));
    loop {
        let task = if timeout > 0 && post.course.is_serving() && !post.course.has_ended() {
            todo.recv_timeout(pause)
        } else {
            todo.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match task {
            Ok(Task::Interrupt { .. }) if post.course.has_ended() => {}
            Ok(Task::Interrupt { desk, serial, line }) => interrupt(desk, serial, line),
            Ok(Task::Stack { place, level, done }) => {
                write_stack(place, level);
                // The control thread may have stopped waiting for it.
                let _gone = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => go_into(host.main(), |_| {}),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn go_into(interpreter: &'static Interpreter, body: impl FnOnce(&Attached)) {
    let closed = CLOSED.lock().unwrap_or_else(PoisonError::into_inner);
    if *closed {
        return;
    }
    WAITING.store(now(), Ordering::Release);
    attach::enter(interpreter, |attached, _| {
        WAITING.store(0, Ordering::Release);
        body(attached);
    });
}

fn write_stack(Place { interpreter, ident }: Place, level: Level) {
    go_into(interpreter, |attached| {
        let lines = stack(attached, interpreter, ident);
        attached.detach(|| lines.iter().for_each(|line| journal::note(level, line)));
    });
}

fn interrupt(desk: &'static Desk, serial: u64, line: String) {
    let Some(Thread { interpreter, ident }) = desk.thread() else { return };
    go_into(interpreter, |attached| {
        let line = format!(
            "{line}; RequestTimeout is raised in it ({}). Python stack:",
            interpreter.describe(),
        );
        let mut lines = vec![line];
        lines.extend(stack(attached, interpreter, Some(ident)));
        attached.detach(|| lines.iter().for_each(|line| journal::note(Level::Warning, line)));
        let class = interpreter.state().request_timeout.get(attached).as_ptr();
        desk.throw_into(serial, |thread| {
            if std::ptr::eq(thread.interpreter, interpreter) {
                // SAFETY: attached to the interpreter of that thread; a class of it, of which Python takes its own count.
                unsafe { ffi::PyThreadState_SetAsyncExc(thread.ident as c_long as _, class) };
            }
        });
    });
}

/// Where a thread of an interpreter is, or all of them are, as lines.
fn stack(
    attached: &Attached,
    interpreter: &'static Interpreter,
    ident: Option<u64>,
) -> Vec<String> {
    let look = || {
        let ident = match ident {
            Some(ident) => attached.int(ident as i64)?,
            None => attached.none(),
        };
        let list = interpreter.state().setup.stacks.get(attached).call([&ident])?;
        list.items().map(|line| line.to_text()).collect::<Py<Vec<String>>>()
    };
    look().unwrap_or_else(|raised| {
        raised.forget();
        Vec::new()
    })
}

/// What Python calls this thread.
pub fn ident() -> u64 {
    // SAFETY: a question without arguments, for any thread.
    unsafe { ffi::PyThread_get_thread_ident() }
}

/// Takes back what has been thrown into this thread and not been raised yet.
pub fn take_back(_: &Attached) {
    // SAFETY: attached, about this very thread.
    unsafe { ffi::PyThreadState_SetAsyncExc(ident() as c_long as _, std::ptr::null_mut()) };
}
