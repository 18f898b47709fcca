//! `start_response` and the `write` callable it returns (PEP 3333). Both are methods of one object, the adapter, which
//! stands for the answer of one request.

use crate::answering::AnswerHead;
use crate::py::class::{count_arguments, method};
use crate::py::{Attached, Class, Kind, Object, Py, This, raise, raise_exc_info};
use crate::request::Request;
use crate::{events, startup};
use exchange::{Found, LookUp, Push, WriteError};
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
        method!(Adapter, "write", write, "Sends bytes to the client at once."),
        method!(
            Adapter,
            "ssl_is_https",
            ssl_is_https,
            "1 if the client's connection is a TLS one."
        ),
        method!(Adapter, "ssl_var_lookup", ssl_var_lookup, "A variable of the TLS layer, or None."),
    ];
}

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
    let committed = request.answering.take(attached).committed;
    check_exc_info(attached, arguments.get(2), committed)?;
    // Filled without holding the answer: a message shows the repr() of what is wrong, which the application may define.
    let mut head = request.answering.take(attached).spare_head();
    fill(attached, &mut head, status, headers)?;
    request.answering.take(attached).accept(head);
    events::response_started(attached, request, status, headers, arguments.get(2));
    adapter.object.attr(request.interpreter.state().names.write.get(attached))
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
    let Some(given) = exc_info else {
        let message =
            "start_response() was called again without exc_info after the response had begun";
        return Err(raise(attached, Kind::Runtime, message));
    };
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
    with_latin1(attached, status, "status", |line| head.set_status(line))?;
    let mut index = 0;
    while let Some(header) = headers.item(index) {
        index += 1;
        if !header.is_tuple() {
            let message =
                format!("list of tuples expected for headers, found {}", header.type_name());
            return Err(raise(attached, Kind::Type, &message));
        }
        let (2, Some(name), Some(value)) = (header.items_len(), header.item(0), header.item(1))
        else {
            let message = format!(
                "tuple of length 2 expected for a header, length is {}",
                header.items_len()
            );
            return Err(raise(attached, Kind::Value, &message));
        };
        with_latin1(attached, &name, "header name", |name_bytes| {
            if let Some(value_bytes) = value.latin1_bytes() {
                return head.add_header(name_bytes, value_bytes).map(|()| true);
            }
            Ok(false)
        })
        .and_then(|done| {
            if done {
                return Ok(());
            }
            // Not a latin-1 `str`: this raises what is due.
            with_latin1(attached, &value, "header value", |_| Ok(()))
        })?;
    }
    Ok(())
}

/// Runs `body` with the latin-1 bytes of a `str`. TypeError for another type, UnicodeEncodeError for other characters,
/// ValueError with the text for what `body` refuses.
fn with_latin1<R>(
    attached: &Attached,
    text: &Object<'_>,
    what: &str,
    body: impl FnOnce(&[u8]) -> Result<R, &'static str>,
) -> Py<R> {
    if let Some(bytes) = text.latin1_bytes() {
        return body(bytes).map_err(|refusal| {
            raise(attached, Kind::Value, &format!("{refusal}, value {}", text.repr()))
        });
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
    match send(attached, request, bytes, Push::Flush) {
        Ok(()) => Ok(attached.none()),
        Err(error) => Err(raise(
            attached,
            Kind::Os,
            &format!("mod_wsgi failed to write response data: {error}"),
        )),
    }
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
pub fn ended(attached: &Attached, what: &str) -> crate::py::Raised {
    let message = format!("{what} was called after the request had completed");
    raise(attached, Kind::Runtime, &message)
}
