//! The Python objects of one request: `wsgi.input`, `wsgi.errors`, `start_response`, `write` and the adapter behind these
//! two. They are made together and, if the application has kept none of them, used again for the next request of the same
//! thread and interpreter.

use crate::adapter::{self, Adapter};
use crate::input::Input;
use crate::log::Log;
use crate::py::{Attached, Kept, Py};
use crate::request::Request;
use crate::state::State;
use exchange::Head;
use std::sync::Arc;

/// The Python objects of one request.
pub struct Bundle {
    /// What they share.
    pub request: Arc<Request>,
    /// `wsgi.input`.
    pub input: Kept,
    /// `wsgi.errors`.
    pub errors: Kept,
    /// What `errors` writes to.
    log: Kept,
    adapter: Kept,
    /// `start_response`, a method of `adapter`.
    pub start_response: Kept,
    /// `write`, another one.
    write: Kept,
}

impl Bundle {
    /// Makes the objects of a request that is about to be served.
    pub fn new(
        attached: &Attached,
        state: &State,
        interpreter: &'static crate::interpreter::Interpreter,
    ) -> Py<Bundle> {
        let request = Arc::new(Request::new(interpreter));
        let share = || Arc::clone(&request);
        let input = state.input.instance(attached, Input { request: share() })?;
        let log = state.log.instance(attached, Log::of_request(share()))?;
        let errors = state.setup.text_stream.get(attached).call([&log])?;
        let adapter = state.adapter.instance(attached, Adapter { request: share() })?;
        let start_response = adapter.get(c"start_response")?;
        let write = adapter::write_of(&adapter)?;
        *request.write.take(attached) = Some(Kept::new(write.clone()));
        Ok(Bundle {
            request,
            input: Kept::new(input),
            errors: Kept::new(errors),
            log: Kept::new(log),
            adapter: Kept::new(adapter),
            start_response: Kept::new(start_response),
            write: Kept::new(write),
        })
    }

    /// Makes them ready for the next request.
    pub fn begin(&self, attached: &Attached, head: &Head<'_>) {
        self.request.begin(attached, head);
    }

    /// Gives the bundle back if nobody else holds a part of it. The request is over, and its environ has been let go.
    pub fn end(self, attached: &Attached) -> Option<Bundle> {
        if self.is_ours_alone(attached) {
            return Some(self);
        }
        self.release(attached);
        None
    }

    /// Gives up everything it holds.
    pub fn release(self, attached: &Attached) {
        let Bundle { request, input, errors, log, adapter, start_response, write } = self;
        let shared = request.write.take(attached).take();
        for kept in [input, errors, log, adapter, start_response, write].into_iter().chain(shared) {
            drop(kept.release(attached));
        }
    }

    /// Whether each object has just the references that the bundle itself accounts for, and nothing was left on those
    /// that attributes can be set on and weak references made of.
    fn is_ours_alone(&self, attached: &Attached) -> bool {
        let count = |kept: &Kept| kept.get(attached).count();
        count(&self.input) == 2 // the template of environ holds it
            && count(&self.errors) == 2 // as above
            && count(&self.log) == 2 // `errors` writes to it
            && count(&self.start_response) == 1
            && count(&self.adapter) == 3 // `start_response` and `write` are bound to it
            && count(&self.write) == 2 // the request has it for `start_response`
            && self.errors.get(attached).is_bare()
            && self.start_response.get(attached).is_bare()
            && self.write.get(attached).is_bare()
    }
}
