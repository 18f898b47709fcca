//! `wsgi.input` (PEP 3333, "Input and Error Streams"): the body of one request as a stream of bytes.

use crate::adapter::ended;
use crate::py::class::{count_arguments, door, method, slot};
use crate::py::{Attached, Class, Filling, Kind, Object, Py, Raised, This, raise};
use crate::reading::{Reading, Stop};
use crate::request::Request;
use pyo3_ffi as ffi;
use std::ffi::{CStr, c_void};
use std::sync::Arc;
use std::sync::MutexGuard;

/// The body of one request.
pub struct Input {
    /// The request.
    pub request: Arc<Request>,
}

/// What is asked for at once when nobody knows how much there is. Doubled as bytes arrive, so that a huge `read(n)`
/// takes no more memory than about twice what the client really sends.
const FIRST_ROOM: usize = 64 * 1024;
/// The most that is reserved on the client's word alone.
const MOST_ON_TRUST: usize = 1024 * 1024;

impl Class for Input {
    const NAME: &'static CStr = c"mod_wsgi.Input";
    const DOC: &'static CStr = c"The body of one request.";
    const METHODS: &'static [ffi::PyMethodDef] = &[
        method!(Input, "read", read, "Reads that many bytes, or all that are left."),
        method!(Input, "readline", readline, "Reads one line, or a part of it."),
        method!(Input, "readlines", readlines, "Reads lines into a list."),
        method!(Input, "close", close, "Does nothing: the server closes the input."),
    ];

    fn slots() -> Vec<ffi::PyType_Slot> {
        vec![
            slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *mut c_void),
            slot(ffi::Py_tp_iternext, next as *mut c_void),
        ]
    }
}

#[expect(unsafe_code, reason = "the door through which Python iterates")]
unsafe extern "C" fn next(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    door(std::ptr::null_mut(), |attached| {
        // SAFETY: Python calls the slot of the type with a live instance of it.
        let input = unsafe { crate::py::class::value_of::<Input>(object) };
        let line = input.line(attached, usize::MAX, "iteration")?;
        // A null pointer without an exception ends an iteration.
        Ok(if line.is_empty() { std::ptr::null_mut() } else { attached.bytes(&line)?.into_ptr() })
    })
}

fn read<'a>(
    attached: &'a Attached,
    input: This<'a, Input>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "read", arguments, 0..=1)?;
    let most = size(arguments)?;
    let mut reading = input.begin(attached, "read()")?;
    if most == 0 {
        attached
            .detach(|| reading.touch(&input.request.lease))
            .map_err(|stop| raise_stop(attached, stop, "read()"))?;
        return attached.bytes(b"");
    }
    if reading.is_drained() {
        return attached.bytes(b"");
    }
    // Room for one byte more than there should be: not filling it shows the end of the input.
    let announced = reading.announced().map_or(FIRST_ROOM as u64, |all| all.saturating_add(1));
    let room = (most as u64).min(announced).min(MOST_ON_TRUST as u64) as usize;
    let mut filling = Filling::new(attached, room).inspect_err(|_| _ = reading.give_up())?;
    loop {
        let room = filling.room();
        let count = attached
            .detach(|| {
                input.request.account.reading(|| {
                    reading.read(&input.request.lease, room, &mut |bytes| filling.push(bytes))
                })
            })
            .map_err(|stop| raise_stop(attached, stop, "read()"))?;
        if count < room || filling.len() == most {
            return filling.finish();
        }
        filling = grow(filling, most).inspect_err(|_| _ = reading.give_up())?;
    }
}

/// Twice the room, but no more than was asked for.
fn grow(filling: Filling<'_>, most: usize) -> Py<Filling<'_>> {
    let room = filling.len().saturating_mul(2).max(FIRST_ROOM).min(most);
    filling.resize(room)
}

fn readline<'a>(
    attached: &'a Attached,
    input: This<'a, Input>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "readline", arguments, 0..=1)?;
    let most = size(arguments)?;
    if most == 0 {
        drop(input.begin(attached, "readline()")?);
        return attached.bytes(b"");
    }
    attached.bytes(&input.line(attached, most, "readline()")?)
}

fn readlines<'a>(
    attached: &'a Attached,
    input: This<'a, Input>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "readlines", arguments, 0..=1)?;
    let hint = match arguments.first().map(Object::as_i64).transpose()? {
        Some(hint) if hint > 0 => usize::try_from(hint).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let lines = attached.list()?;
    let mut sum = 0;
    while sum < hint {
        let line = input.line(attached, usize::MAX, "readlines()")?;
        if line.is_empty() {
            break;
        }
        sum += line.len();
        lines.append(&attached.bytes(&line)?)?;
    }
    Ok(lines)
}

fn close<'a>(
    attached: &'a Attached,
    input: This<'a, Input>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "close", arguments, 0..=0)?;
    if !input.request.lease.is_open() {
        return Err(ended(attached, "close()"));
    }
    Ok(attached.none())
}

impl Input {
    /// Takes the turn to read, if there is anything to read from.
    fn begin<'i>(&'i self, attached: &Attached, what: &str) -> Py<MutexGuard<'i, Reading>> {
        let reading = self.request.reading.take(attached);
        if !self.request.lease.is_open() {
            return Err(ended(attached, what));
        }
        reading.check().map_err(|stop| raise_stop(attached, stop, what))?;
        Ok(reading)
    }

    fn line(&self, attached: &Attached, most: usize, what: &str) -> Py<Vec<u8>> {
        let mut reading = self.begin(attached, what)?;
        let mut line = Vec::new();
        attached
            .detach(|| {
                self.request
                    .account
                    .reading(|| reading.read_line(&self.request.lease, most, &mut line))
            })
            .map_err(|stop| raise_stop(attached, stop, what))?;
        Ok(line)
    }
}

/// The size argument: absent or negative means all.
fn size(arguments: &[Object<'_>]) -> Py<usize> {
    match arguments.first() {
        None => Ok(usize::MAX),
        Some(size) => Ok(usize::try_from(size.as_i64()?).unwrap_or(usize::MAX)),
    }
}

fn raise_stop(attached: &Attached, stop: Stop, what: &str) -> Raised {
    match stop {
        Stop::Failed(error) => {
            raise(attached, Kind::Os, &format!("mod_wsgi failed to read request data: {error}"))
        }
        Stop::FailedBefore => {
            let message =
                "mod_wsgi failed to read request data: the input is already in an error state";
            raise(attached, Kind::Os, message)
        }
        Stop::NoMemory => raise(attached, Kind::Memory, "there is no memory for the request data"),
        Stop::RequestEnded => ended(attached, what),
    }
}
