//! The prober: a thread that goes into interpreters, so that the one that steers need not wait for them. It tries whether
//! the main interpreter can be had at all, and throws RequestTimeout into threads.
#![expect(unsafe_code, reason = "throws exceptions into threads through the C API")]

use super::desk::{Desk, Thread, now};
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
use std::time::Duration;

/// A request to be interrupted.
struct Task {
    desk: &'static Desk,
    serial: u64,
    seconds: u64,
}

/// The prober, as the thread that steers knows it.
pub struct Prober {
    tasks: Sender<Task>,
    /// Since when it has been waiting for an interpreter; 0 if it is not.
    waiting: &'static AtomicU64,
}

static WAITING: AtomicU64 = AtomicU64::new(0);

impl Prober {
    /// Starts it.
    pub fn start(post: &'static Post, host: &'static Host) -> io::Result<Prober> {
        let (tasks, todo) = channel();
        std::thread::Builder::new().name("wsgi-prober".into()).spawn(move || {
            work(post, host, &todo);
        })?;
        Ok(Prober { tasks, waiting: &WAITING })
    }

    /// Has a request interrupted that has taken so many seconds.
    pub fn interrupt(&self, desk: &'static Desk, serial: u64, seconds: u64) {
        desk.note_interrupted();
        // It is gone only when the process is about to be.
        let _gone = self.tasks.send(Task { desk, serial, seconds });
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
        let task = if timeout > 0 {
            todo.recv_timeout(pause)
        } else {
            todo.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        if post.course.has_ended() {
            return;
        }
        match task {
            Ok(task) => interrupt(&task),
            Err(RecvTimeoutError::Timeout) => go_into(host.main(), |_| {}),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn go_into(interpreter: &'static Interpreter, body: impl FnOnce(&Attached)) {
    WAITING.store(now(), Ordering::Release);
    attach::enter(interpreter, |attached, _| {
        WAITING.store(0, Ordering::Release);
        body(attached);
    });
}

fn interrupt(task: &Task) {
    let Some(Thread { interpreter, ident }) = task.desk.thread() else { return };
    go_into(interpreter, |attached| {
        let mut lines = vec![format!(
            "A request has taken more than {} s; RequestTimeout is raised in it ({}). It is at:",
            task.seconds,
            interpreter.describe(),
        )];
        lines.extend(stack(attached, interpreter, Some(ident)));
        attached.detach(|| lines.iter().for_each(|line| journal::note(Level::Info, line)));
        let class = interpreter.state().request_timeout.get(attached).as_ptr();
        task.desk.throw_into(task.serial, |thread| {
            if std::ptr::eq(thread.interpreter, interpreter) {
                // SAFETY: attached to the interpreter of that thread; a class of it, of which Python takes its own count.
                unsafe { ffi::PyThreadState_SetAsyncExc(thread.ident as c_long as _, class) };
            }
        });
    });
}

/// Where a thread of an interpreter is, or all of them are, as lines.
pub fn stack(
    attached: &Attached,
    interpreter: &'static Interpreter,
    ident: Option<u64>,
) -> Vec<String> {
    let look = || {
        let ident = match ident {
            Some(ident) => attached.int(ident.cast_signed())?,
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
