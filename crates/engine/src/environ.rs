//! The environ of one request (PEP 3333, "environ Variables"): a copy of the interpreter's constants, the carrier's
//! variables, and the objects of the request.

use crate::bundle::Bundle;
use crate::py::{Attached, Kept, Object, Py};
use crate::seat::{Seat, thread_id};
use crate::state::State;
use exchange::{Head, Known, Scheme, Variable};
use std::time::SystemTime;

/// Makes the environ of a request.
pub fn make<'a>(
    attached: &'a Attached,
    seat: &mut Seat,
    state: &'static State,
    head: &Head<'_>,
    bundle: &Bundle,
) -> Py<Object<'a>> {
    let environ = state.base.get(attached).dict_copy()?;
    let names = &state.names;
    for variable in head.variables.get() {
        match variable.slot() {
            Some(known) => {
                let value = known_value(attached, seat, state, known, variable.value())?;
                environ.dict_set(state.known[known as usize].get(attached), value)?;
            }
            None => set_other(attached, &environ, variable)?,
        }
    }
    let scheme = match head.scheme {
        Scheme::Http => &names.http,
        Scheme::Https => &names.https,
    };
    let put = |key: &Kept, value: &Object<'_>| environ.dict_set(key.get(attached), value);
    put(&names.url_scheme, scheme.get(attached))?;
    put(&names.input, bundle.input.get(attached))?;
    put(&names.errors, bundle.errors.get(attached))?;
    put(&names.thread_id, &attached.int(i64::from(thread_id()))?)?;
    put(&names.request_start, &attached.float(seconds(head.clocks.request_start))?)?;
    put(&names.application_start, &attached.float(now())?)?;
    Ok(environ)
}

/// A value that was not seen last time on this thread is made and remembered; most are the same as last time.
fn known_value<'s>(
    attached: &'s Attached,
    seat: &'s mut Seat,
    state: &'static State,
    known: Known,
    value: &[u8],
) -> Py<&'s Object<'s>> {
    if value.is_empty() {
        return Ok(state.names.empty.get(attached));
    }
    let remembered = &mut seat.values[known as usize];
    let same =
        remembered.as_ref().is_some_and(|kept| kept.get(attached).latin1_bytes() == Some(value));
    if !same {
        let made = if known.is_path() { attached.path(value)? } else { attached.latin1(value)? };
        if let Some(kept) = remembered.replace(Kept::new(made)) {
            drop(kept.release(attached));
        }
    }
    match remembered {
        Some(kept) => Ok(kept.get(attached)),
        None => unreachable!("just remembered"),
    }
}

fn set_other(attached: &Attached, environ: &Object<'_>, variable: &Variable<'_>) -> Py<()> {
    environ.dict_set(&attached.latin1(variable.name())?, &attached.latin1(variable.value())?)
}

fn seconds(microseconds: i64) -> f64 {
    microseconds as f64 / 1e6
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
