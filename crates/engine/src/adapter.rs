//! `start_response` and the `write` callable it returns (PEP 3333). Both are methods of one object, the adapter, which
//! stands for the answer of one request.

use crate::answering::{AnswerHead, Refusal};
use crate::py::class::{bound, count_arguments, method};
use crate::py::{Attached, Class, Kind, Object, Py, Raised, This, raise, raise_exc_info};
use crate::request::Request;
use crate::{events, startup, worker};
use exchange::{Found, Level, LookUp, Push, WriteError};
use pyo3_ffi as ffi;
use std::ffi::CStr;
use std::sync::Arc;

/// The answer of one request, as Python calls it.
pub struct Adapter {
    /// The request.
    pub request: Arc<Request>,
}

impl Class for Adapter {
    const NAME: &'static CStr = c"mod_wsgi.Adapter";
    const DOC: &'static CStr = c"The answer of one request: the owner of start_response and write.";
    const METHODS: &'static [ffi::PyMethodDef] = &[
        method!(
            Adapter,
            "start_response",
            start_response,
            "Begins the answer: start_response(status, headers, exc_info=None) returns write."
        ),
        *WRITE,
        method!(
            Adapter,
            "ssl_is_https",
            ssl_is_https,
            "1 if the client's connection is a TLS one."
        ),
        method!(Adapter, "ssl_var_lookup", ssl_var_lookup, "A variable of the TLS layer, or None."),
    ];
}

const WRITE: &ffi::PyMethodDef =
    &method!(Adapter, "write", write, "Sends bytes to the client at once.");

fn start_response<'a>(
    attached: &'a Attached,
    adapter: This<'a, Adapter>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    let request = &adapter.request;
    if !request.lease.is_open() {
        return Err(ended(attached, "start_response()"));
    }
    count_arguments(attached, "start_response", arguments, 2..=3)?;
    let (status, headers) = (&arguments[0], &arguments[1]);
    if !headers.is_list() {
        let message =
            format!("start_response() argument 2 must be list, not {}", headers.type_name());
        return Err(raise(attached, Kind::Type, &message));
    }
    let (committed, mut offered) = offer(attached, request);
    check_exc_info(attached, arguments.get(2), committed)?;
    fill(attached, &mut offered, status, headers)?;
    let is_failure = offered.is_failure();
    if !accept(attached, request, offered) {
        return Err(begun(attached));
    }
    if is_failure {
        // Frameworks catch MemoryError and answer with status 500.
        if let Some(line) = worker::server_error() {
            request.note_line(attached, Level::Error, &line);
        }
    }
    events::response_started(attached, request, status, headers, arguments.get(2));
    match &*request.write.take(attached) {
        Some(write) => Ok(write.get(attached).clone()),
        None => write_of(adapter.object),
    }
}

/// `write` of an adapter.
pub fn write_of<'a>(adapter: &Object<'a>) -> Py<Object<'a>> {
    bound(adapter, WRITE)
}

/// Whether the head has gone, and an empty one to be filled. What raises may run code of the application (a `__repr__`,
/// an exception's class) and with it this function again, so the answer is not held locked while the head is filled.
fn offer(attached: &Attached, request: &Request) -> (bool, AnswerHead) {
    let mut answering = request.answering.take(attached);
    (answering.committed, answering.spare_head())
}

/// Takes a head over, unless one has gone meanwhile.
fn accept(attached: &Attached, request: &Request, head: AnswerHead) -> bool {
    let mut answering = request.answering.take(attached);
    if answering.committed {
        return false;
    }
    answering.accept(head);
    true
}

fn begun(attached: &Attached) -> Raised {
    let message = "start_response() was called again without exc_info after the response had begun";
    raise(attached, Kind::Runtime, message)
}

/// PEP 3333: with `exc_info`, an answer that has begun raises it again; without, it must not be begun again.
fn check_exc_info(attached: &Attached, exc_info: Option<&Object<'_>>, committed: bool) -> Py<()> {
    let exc_info = exc_info.filter(|given| !given.is_none());
    if exc_info.is_some_and(|given| !given.is_tuple()) {
        let message = "exc_info passed to start_response() must be a 3-tuple or None";
        return Err(raise(attached, Kind::Runtime, message));
    }
    if !committed {
        return Ok(());
    }
    let Some(given) = exc_info else { return Err(begun(attached)) };
    match (given.items_len(), given.item(0), given.item(1), given.item(2)) {
        (3, Some(kind), Some(value), Some(traceback)) => {
            Err(raise_exc_info(attached, &kind, &value, &traceback))
        }
        _ => Err(raise(attached, Kind::Type, "exc_info must be a tuple of 3 items")),
    }
}

fn fill(
    attached: &Attached,
    head: &mut AnswerHead,
    status: &Object<'_>,
    headers: &Object<'_>,
) -> Py<()> {
    let line = latin1(attached, status, "status")?;
    head.set_status(line).map_err(|refusal| refused(attached, refusal, status))?;
    let mut index = 0;
    while let Some(header) = headers.item(index) {
        index += 1;
        let Some([name, value]) = header.pair() else { return Err(no_pair(attached, &header)) };
        let name = latin1(attached, name, "header name")?;
        let value = latin1(attached, value, "header value")?;
        head.add_header(name, value).map_err(|refusal| refused(attached, refusal, &header))?;
    }
    Ok(())
}

/// What is in the place of a header is not a name and a value.
fn no_pair(attached: &Attached, header: &Object<'_>) -> Raised {
    if !header.is_tuple() {
        let message = format!("list of tuples expected for headers, found {}", header.type_name());
        return raise(attached, Kind::Type, &message);
    }
    let length = header.items_len();
    let message = format!("tuple of length 2 expected for a header, length is {length}");
    raise(attached, Kind::Value, &message)
}

fn refused(attached: &Attached, refusal: Refusal, given: &Object<'_>) -> Raised {
    raise(attached, Kind::Value, &format!("{refusal}: {}", given.repr()))
}

/// The latin-1 bytes of a `str`. TypeError for another type, UnicodeEncodeError for other characters.
#[inline]
fn latin1<'t>(attached: &Attached, text: &'t Object<'_>, what: &str) -> Py<&'t [u8]> {
    if let Some(bytes) = text.latin1_bytes() {
        return Ok(bytes);
    }
    if text.is_text() {
        text.encode_latin1()?;
    }
    let message =
        format!("expected unicode object for {what}, value of type {} found", text.type_name());
    Err(raise(attached, Kind::Type, &message))
}

fn write<'a>(
    attached: &'a Attached,
    adapter: This<'a, Adapter>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    let request = &adapter.request;
    if !request.lease.is_open() {
        return Err(ended(attached, "write()"));
    }
    count_arguments(attached, "write", arguments, 1..=1)?;
    let Some(bytes) = arguments[0].bytes() else {
        let message =
            format!("byte string value expected, value of type {} found", arguments[0].type_name());
        return Err(raise(attached, Kind::Type, &message));
    };
    check_started(attached, request)?;
    match send(attached, request, bytes, Push::Flush) {
        Ok(()) => Ok(attached.none()),
        Err(error) => Err(raise(
            attached,
            Kind::Os,
            &format!("mod_wsgi failed to write response data: {error}"),
        )),
    }
}

/// PEP 3333: `start_response` comes before the first byte of the body.
pub fn check_started(attached: &Attached, request: &Request) -> Py<()> {
    if request.answering.take(attached).accepted {
        return Ok(());
    }
    let message = "response has not been started: start_response() was not called";
    Err(raise(attached, Kind::Runtime, message))
}

/// Sends a stretch of the body, the head before it if it has not gone yet. An empty stretch commits the head and no
/// more.
pub fn send(
    attached: &Attached,
    request: &Request,
    bytes: &[u8],
    push: Push,
) -> Result<(), WriteError> {
    let mut answering = request.answering.take(attached);
    if let Some(error) = answering.failed {
        return Err(error);
    }
    if startup::forked() {
        return Err(WriteError::Gone);
    }
    let starting = !std::mem::replace(&mut answering.committed, true);
    let admitted = answering.admit(bytes.len());
    let bytes = &bytes[..admitted];
    if !starting && bytes.is_empty() && push != Push::Last {
        return Ok(());
    }
    let sent = attached.detach(|| {
        request.account.writing(|| {
            request.lease.with(|exchange| {
                if starting {
                    answering.head.with_answer(|answer| exchange.start(answer))?;
                }
                if bytes.is_empty() && push != Push::Last {
                    return Ok(());
                }
                exchange.write(bytes, push)
            })
        })
    });
    let sent = sent.unwrap_or(Err(WriteError::Gone));
    answering.failed = sent.err();
    sent
}

fn ssl_is_https<'a>(
    attached: &'a Attached,
    adapter: This<'a, Adapter>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "ssl_is_https", arguments, 0..=0)?;
    let request = &adapter.request;
    let found = attached.detach(|| {
        request.lease.with(|exchange| exchange.look_up(LookUp::Tls) == Some(Found::Flag(true)))
    });
    match found {
        Some(https) => attached.int(i64::from(https)),
        None => Err(ended(attached, "ssl_is_https()")),
    }
}

fn ssl_var_lookup<'a>(
    attached: &'a Attached,
    adapter: This<'a, Adapter>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "ssl_var_lookup", arguments, 1..=1)?;
    let Some(name) = arguments[0].bytes().or_else(|| arguments[0].latin1_bytes()) else {
        let message =
            format!("variable name must be str or bytes, not {}", arguments[0].type_name());
        return Err(raise(attached, Kind::Type, &message));
    };
    let request = &adapter.request;
    let found = attached.detach(|| {
        request.lease.with(|exchange| match exchange.look_up(LookUp::TlsVariable(name)) {
            Some(Found::Text(text)) => Some(text.to_vec()),
            _ => None,
        })
    });
    match found {
        Some(Some(value)) => attached.latin1(&value),
        Some(None) => Ok(attached.none()),
        None => Err(ended(attached, "ssl_var_lookup()")),
    }
}

/// What every use of a request's objects raises after its end.
pub fn ended(attached: &Attached, what: &str) -> Raised {
    let message = format!("{what} was called after the request had completed");
    raise(attached, Kind::Runtime, &message)
}
