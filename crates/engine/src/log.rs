//! The streams to the error log: what is under `wsgi.errors`, `sys.stderr` and `sys.stdout`. Bytes go in, whole lines come
//! out, each with the request it belongs to where there is one.

use crate::adapter::ended;
use crate::interpreter::Interpreter;
use crate::py::class::{attribute, count_arguments, method};
use crate::py::{Attached, Class, Kept, Kind, Object, Py, This, raise};
use crate::request::Request;
use crate::turn::Turn;
use exchange::{Found, Level, LookUp, Record};
use pyo3_ffi as ffi;
use std::cell::RefCell;
use std::ffi::CStr;
use std::sync::Arc;

thread_local! {
    /// The request that this thread is serving.
    static CURRENT: RefCell<Option<Arc<Request>>> = const { RefCell::new(None) };
}

/// Says what request this thread is serving while `body` runs.
pub fn serving<R>(request: &Arc<Request>, body: impl FnOnce() -> R) -> R {
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            CURRENT.set(None);
        }
    }
    CURRENT.set(Some(Arc::clone(request)));
    let _over = Over;
    body()
}

/// The request that this thread is serving in `interpreter`.
pub fn current(interpreter: &'static Interpreter) -> Option<Arc<Request>> {
    CURRENT.with_borrow(|current| {
        current
            .as_ref()
            .filter(|request| std::ptr::eq(request.interpreter, interpreter))
            .map(Arc::clone)
    })
}

/// A stream to the error log.
pub struct Log {
    stream: Stream,
    target: Target,
}

/// Which of the streams.
#[derive(Clone, Copy)]
pub enum Stream {
    Errors,
    Hook,
    Stderr,
    Stdout,
}

enum Target {
    /// The log of one request.
    Request(Arc<Request>),
    /// The log of the request that the writing thread is serving, or else of the process.
    Process { interpreter: &'static Interpreter, line: Turn<Vec<u8>> },
}

impl Log {
    /// `wsgi.errors` of one request.
    pub fn of_request(request: Arc<Request>) -> Log {
        Log { stream: Stream::Errors, target: Target::Request(request) }
    }

    /// `wsgi.errors` of a question about a request.
    pub fn of_question(request: Arc<Request>) -> Log {
        Log { stream: Stream::Hook, target: Target::Request(request) }
    }

    /// `sys.stderr` or `sys.stdout` of an interpreter.
    pub fn of_process(stream: Stream, interpreter: &'static Interpreter) -> Log {
        Log { stream, target: Target::Process { interpreter, line: Turn::default() } }
    }

    /// Adds bytes; whole lines go to the log. With `flush`, so does what is left.
    fn put(&self, attached: &Attached, bytes: &[u8], flush: bool) -> Py<()> {
        match &self.target {
            Target::Request(request) => {
                if !request.lease.is_open() && !bytes.is_empty() {
                    return Err(ended(attached, "write() of wsgi.errors"));
                }
                put_line(attached, &request.line, Some(request), bytes, flush);
            }
            Target::Process { interpreter, line } => match current(interpreter) {
                Some(request) => put_line(attached, &request.line, Some(&request), bytes, flush),
                None => put_line(attached, line, None, bytes, flush),
            },
        }
        Ok(())
    }
}

/// Writes what is left of the last line of a request.
pub fn finish_line(attached: &Attached, request: &Request) {
    put_line(attached, &request.line, Some(request), b"", true);
}

fn put_line(
    attached: &Attached,
    line: &Turn<Vec<u8>>,
    request: Option<&Request>,
    bytes: &[u8],
    flush: bool,
) {
    let mut pending = line.take(attached);
    pending.extend_from_slice(bytes);
    let end = if flush {
        pending.len()
    } else {
        memchr::memrchr(b'\n', &pending).map_or(0, |newline| newline + 1)
    };
    if end == 0 {
        return;
    }
    let rest = pending.split_off(end);
    let whole = std::mem::replace(&mut *pending, rest);
    // Another thread may write the next line while this one is waiting for the log's disk.
    drop(pending);
    let whole = whole.strip_suffix(b"\n").unwrap_or(&whole);
    let records = whole.split(|&byte| byte == b'\n').map(|line| Record::new(Level::Error, line));
    match request {
        Some(request) => request.note(attached, records),
        None => attached.detach(|| records.for_each(|record| crate::surroundings().note(&record))),
    }
}

impl Class for Log {
    const NAME: &'static CStr = c"mod_wsgi.Log";
    const DOC: &'static CStr = c"A stream to the error log.";
    const METHODS: &'static [ffi::PyMethodDef] = &[
        method!(Log, "write", write, "Adds bytes to the log; whole lines are written at once."),
        method!(Log, "writelines", writelines, "Adds each of several stretches of bytes."),
        method!(Log, "flush", flush, "Writes what is left of the last line."),
        method!(Log, "close", flush, "As flush: the stream belongs to the server and stays open."),
        method!(Log, "isatty", no, "False."),
        method!(Log, "readable", no, "False."),
        method!(Log, "seekable", no, "False."),
        method!(Log, "writable", yes, "True."),
        method!(Log, "fileno", fileno, "Raises OSError: there is no descriptor."),
    ];
    const ATTRIBUTES: &'static [ffi::PyGetSetDef] = &[
        attribute!(Log, "name", name),
        attribute!(Log, "encoding", encoding),
        attribute!(Log, "errors", errors),
        attribute!(Log, "closed", closed),
    ];
}

fn write<'a>(
    attached: &'a Attached,
    log: This<'a, Log>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "write", arguments, 1..=1)?;
    put_object(attached, &log, &arguments[0])?;
    Ok(attached.none())
}

fn writelines<'a>(
    attached: &'a Attached,
    log: This<'a, Log>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "writelines", arguments, 1..=1)?;
    let lines = arguments[0].iter()?;
    while let Some(line) = lines.next()? {
        put_object(attached, &log, &line)?;
    }
    Ok(attached.none())
}

fn put_object(attached: &Attached, log: &Log, object: &Object<'_>) -> Py<()> {
    if object.is_text() {
        let warnings = attached.import(c"warnings")?;
        let message =
            attached.text("str written to a binary log stream of mod_wsgi; write bytes")?;
        let builtins = attached.import(c"builtins")?;
        warnings.call_method(c"warn", [&message, &builtins.get(c"DeprecationWarning")?])?;
        return log.put(attached, object.to_text()?.as_bytes(), false);
    }
    // The bytes are copied: writing to the log detaches, and another thread may change a bytearray meanwhile.
    let bytes = object.with_buffer(<[u8]>::to_vec)?;
    log.put(attached, &bytes, false)
}

fn flush<'a>(
    attached: &'a Attached,
    log: This<'a, Log>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "flush", arguments, 0..=0)?;
    log.put(attached, b"", true)?;
    Ok(attached.none())
}

fn no<'a>(attached: &'a Attached, _: This<'a, Log>, _: &'a [Object<'a>]) -> Py<Object<'a>> {
    Ok(attached.bool(false))
}

fn yes<'a>(attached: &'a Attached, _: This<'a, Log>, _: &'a [Object<'a>]) -> Py<Object<'a>> {
    Ok(attached.bool(true))
}

fn fileno<'a>(attached: &'a Attached, _: This<'a, Log>, _: &'a [Object<'a>]) -> Py<Object<'a>> {
    Err(raise(attached, Kind::Os, "a log stream of mod_wsgi has no file descriptor"))
}

fn name<'a>(attached: &'a Attached, log: This<'a, Log>, _: &'a [Object<'a>]) -> Py<Object<'a>> {
    attached.text(match log.stream {
        Stream::Errors => "<wsgi.errors>",
        Stream::Hook => "<log>",
        Stream::Stderr => "<stderr>",
        Stream::Stdout => "<stdout>",
    })
}

fn encoding<'a>(attached: &'a Attached, _: This<'a, Log>, _: &'a [Object<'a>]) -> Py<Object<'a>> {
    attached.text("utf-8")
}

fn errors<'a>(attached: &'a Attached, _: This<'a, Log>, _: &'a [Object<'a>]) -> Py<Object<'a>> {
    attached.text("replace")
}

fn closed<'a>(attached: &'a Attached, _: This<'a, Log>, _: &'a [Object<'a>]) -> Py<Object<'a>> {
    Ok(attached.bool(false))
}

/// Writes records to the log of the request that this thread is serving in `interpreter`, or else of the process.
pub fn note<'r>(
    attached: &Attached,
    interpreter: &'static Interpreter,
    records: impl Iterator<Item = Record<'r>>,
) {
    match current(interpreter) {
        Some(request) => request.note(attached, records),
        None => attached.detach(|| records.for_each(|record| crate::surroundings().note(&record))),
    }
}

/// Whether a record of this level would be written for what this thread is serving. The log of the process decides for
/// itself.
pub fn would_be_written(
    attached: &Attached,
    interpreter: &'static Interpreter,
    level: Level,
) -> bool {
    let Some(request) = current(interpreter) else { return true };
    let refused = attached.detach(|| {
        request
            .lease
            .with(|exchange| exchange.look_up(LookUp::Logged(level)) == Some(Found::Flag(false)))
    });
    refused != Some(true)
}

/// Writes one line at level info, and under it where the call came from; `stack_lines` is the function of `setup.py`.
pub fn note_with_stack(
    attached: &Attached,
    interpreter: &'static Interpreter,
    stack_lines: &Kept,
    line: String,
) -> Py<()> {
    let mut lines = vec![line];
    for line in stack_lines.get(attached).call([])?.items() {
        lines.push(line.to_text()?);
    }
    let records = lines.iter().map(|line| Record::new(Level::Info, line.as_bytes()));
    note(attached, interpreter, records);
    Ok(())
}
