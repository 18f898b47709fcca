//! The environ of one request (PEP 3333, "environ Variables").
//!
//! Most of it is the same as in the request before on the same thread: the constants of the interpreter, the server's
//! names and addresses, often every header of the same client. So the variables are kept in a template; what differs
//! is changed there, what is missing is taken out, and environ is a copy of it.

use crate::py::{Attached, Kept, Object, Py};
use crate::request::Request;
use crate::seat::thread_id;
use crate::state::State;
use exchange::{About, Found, Head, Known, KnownSet, LookUp, Run, Scheme, Variable};

/// Environ as the request before had it, without what no two requests share. Large: it lives in a box.
pub struct Template {
    dict: Kept,
    /// One for each variable that has a number.
    slots: [Slot; Known::COUNT],
    /// Those of them that are in `dict`.
    there: KnownSet,
    /// What `dict` has of each run.
    runs: [Applied; About::ALL.len()],
    scheme: Option<Scheme>,
    /// An environ is being made. Stays so if that fails, as `dict` is then half the one and half the other.
    unfinished: bool,
}

/// What is known of one variable.
#[derive(Default)]
struct Slot {
    /// Its last value, as it came and as Python has it, also if it is not in the dict now.
    bytes: Vec<u8>,
    value: Option<Kept>,
}

/// What a run has brought, as long as its variables are in the dict.
#[derive(Clone, Copy, Default)]
struct Applied {
    /// That of the run.
    number: u64,
    names: KnownSet,
    /// There were variables without a number, which are not in the dict.
    others: bool,
}

impl Template {
    /// The template for the requests of this thread.
    pub fn new(attached: &Attached, state: &State) -> Py<Box<Template>> {
        let dict = state.base.get(attached).dict_copy()?;
        let id = attached.int(i64::from(thread_id()))?;
        dict.dict_set(state.names.thread_id.get(attached), &id)?;
        // What differs in every request has its place too: a copy that were full would grow at each first entry.
        let never = attached.float(0.0)?;
        dict.dict_set(state.names.request_start.get(attached), &never)?;
        dict.dict_set(state.names.application_start.get(attached), &never)?;
        Ok(Box::new(Template {
            dict: Kept::new(dict),
            slots: std::array::from_fn(|_| Slot::default()),
            there: KnownSet::default(),
            runs: Default::default(),
            scheme: None,
            unfinished: false,
        }))
    }

    /// Gives it back, unless making an environ failed half way.
    pub fn when_sound(self: Box<Self>, attached: &Attached) -> Option<Box<Template>> {
        if !self.unfinished {
            return Some(self);
        }
        self.release(attached);
        None
    }

    /// Gives up everything it holds.
    pub fn release(self, attached: &Attached) {
        let values = self.slots.into_iter().filter_map(|slot| slot.value);
        for kept in values.chain([self.dict]) {
            drop(kept.release(attached));
        }
    }

    /// Puts in the streams of the requests to come.
    pub fn set_streams(
        &mut self,
        attached: &Attached,
        state: &State,
        input: &Object<'_>,
        errors: &Object<'_>,
    ) -> Py<()> {
        let dict = self.dict.get(attached);
        dict.dict_set(state.names.input.get(attached), input)?;
        dict.dict_set(state.names.errors.get(attached), errors)
    }

    /// Makes the environ of a request.
    pub fn environ<'a>(
        &mut self,
        attached: &'a Attached,
        state: &State,
        head: &Head<'_>,
    ) -> Py<Object<'a>> {
        self.unfinished = true;
        for (place, run) in head.variables.runs().iter().enumerate() {
            if run.number() != self.runs[place].number {
                self.runs[place] = self.apply(attached, state, run)?;
            }
        }
        self.set(attached, state, Known::RequestId, &head.id)?;
        self.remove_missing(attached, state)?;
        self.set_scheme(attached, state, head.scheme)?;

        self.unfinished = false;

        let environ = self.dict.get(attached).dict_copy()?;
        for (run, applied) in head.variables.runs().iter().zip(&self.runs) {
            if applied.others {
                for variable in run.iter().filter(|variable| variable.slot().is_none()) {
                    set_other(attached, &environ, &variable)?;
                }
            }
        }
        let names = &state.names;
        let request_start = attached.float(seconds(head.clocks.request_start))?;
        environ.dict_set(names.request_start.get(attached), &request_start)?;
        if head.clocks.daemon_start != 0 {
            let queue_start = attached.float(seconds(head.clocks.queue_start))?;
            environ.dict_set(names.queue_start.get(attached), &queue_start)?;
            let daemon_start = attached.float(seconds(head.clocks.daemon_start))?;
            environ.dict_set(names.daemon_start.get(attached), &daemon_start)?;
        }
        environ.dict_set(
            names.application_start.get(attached),
            &attached.float(crate::account::now())?,
        )?;
        Ok(environ)
    }

    /// Puts in what a run has that is new or differs.
    fn apply(&mut self, attached: &Attached, state: &State, run: &Run<'_>) -> Py<Applied> {
        let mut applied = Applied { number: run.number(), ..Applied::default() };
        for variable in run.iter() {
            let Some(known) = variable.slot() else {
                applied.others = true;
                continue;
            };
            applied.names.insert(known);
            if !self.there.has(known) || self.slots[known as usize].bytes != variable.value() {
                self.set(attached, state, known, variable.value())?;
            }
        }
        Ok(applied)
    }

    /// Puts in a value that differs from the one before, or that was not there.
    fn set(&mut self, attached: &Attached, state: &State, known: Known, value: &[u8]) -> Py<()> {
        let slot = &mut self.slots[known as usize];
        if slot.value.is_none() || slot.bytes != value {
            let made = Kept::new(decode(attached, known, value)?);
            slot.bytes.clear();
            slot.bytes.extend_from_slice(value);
            if let Some(before) = slot.value.replace(made) {
                drop(before.release(attached));
            }
        }
        let Some(value) = &slot.value else { unreachable!("the value was just made") };
        self.there.insert(known);
        let name = state.known[known as usize].get(attached);
        self.dict.get(attached).dict_set(name, value.get(attached))
    }

    /// Takes out what the request before had and this one has not.
    fn remove_missing(&mut self, attached: &Attached, state: &State) -> Py<()> {
        let mut missing = self.runs.iter().fold(self.there, |names, run| names.without(run.names));
        missing.remove(Known::RequestId);
        self.there = self.there.without(missing);
        for known in missing.iter() {
            self.dict.get(attached).dict_remove(state.known[known as usize].get(attached))?;
        }
        Ok(())
    }

    fn set_scheme(&mut self, attached: &Attached, state: &State, scheme: Scheme) -> Py<()> {
        if self.scheme == Some(scheme) {
            return Ok(());
        }
        self.scheme = Some(scheme);
        let names = &state.names;
        let value = match scheme {
            Scheme::Http => &names.http,
            Scheme::Https => &names.https,
        };
        self.dict.get(attached).dict_set(names.url_scheme.get(attached), value.get(attached))
    }
}

/// Puts one variable into an environ that is not made from a template.
pub fn set_variable(
    attached: &Attached,
    state: &State,
    environ: &Object<'_>,
    variable: &Variable<'_>,
) -> Py<()> {
    let Some(known) = variable.slot() else { return set_other(attached, environ, variable) };
    let value = decode(attached, known, variable.value())?;
    environ.dict_set(state.known[known as usize].get(attached), &value)
}

fn decode<'a>(attached: &'a Attached, known: Known, value: &[u8]) -> Py<Object<'a>> {
    if known.is_path() { attached.path(value) } else { attached.latin1(value) }
}

/// Puts in `apache.request_rec` where the carrier shows it.
pub fn set_native(
    attached: &Attached,
    state: &State,
    environ: &Object<'_>,
    request: &Request,
) -> Py<()> {
    let found = attached.detach(|| {
        request.lease.with(|exchange| match exchange.look_up(LookUp::Native) {
            Some(Found::Address(address)) => Some(address),
            _ => None,
        })
    });
    let Some(address) = found.flatten() else { return Ok(()) };
    environ.dict_set(state.names.request_rec.get(attached), &attached.capsule(address)?)
}

fn set_other(attached: &Attached, environ: &Object<'_>, variable: &Variable<'_>) -> Py<()> {
    environ.dict_set(&attached.latin1(variable.name())?, &attached.latin1(variable.value())?)
}

fn seconds(microseconds: i64) -> f64 {
    microseconds as f64 / 1e6
}
