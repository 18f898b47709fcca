//! Watching one request for whoever wants to know: subscribers of events, and metrics. Begins when the application is
//! about to be called, ends when its answer has been closed. Costs nothing while nobody asks.

use crate::account::{self, thread_usage};
use crate::events::{self, Cost, Facts};
use crate::metrics::{self, Sample, Usage};
use crate::py::{Attached, Object, Py};
use crate::request::Request;
use crate::seat::thread_id;
use exchange::Head;
use std::time::Instant;

/// A request that is being watched.
pub struct Watch<'h> {
    facts: Facts<'h>,
    usage: Usage,
}

impl<'h> Watch<'h> {
    /// Begins, if anybody wants to know.
    pub fn begin(attached: &Attached, request: &Request, head: &Head<'h>) -> Option<Watch<'h>> {
        let subscribed = request.interpreter.state().subscriptions.anyone(attached);
        if !subscribed && !metrics::recording() {
            return None;
        }
        request.account.begin(true);
        metrics::with(|metrics| metrics.begin(thread_id(), Instant::now()));
        Some(Watch { facts: Facts::new(head), usage: thread_usage() })
    }

    /// Publishes `request_started`; comes back with the application that is to be called.
    pub fn started<'a>(
        &self,
        attached: &'a Attached,
        request: &Request,
        application: Object<'a>,
        environ: &Object<'_>,
    ) -> Py<Object<'a>> {
        events::request_started(attached, request, &self.facts, application, environ)
    }

    /// Ends: publishes `request_finished` and counts what the request has cost.
    pub fn end(self, attached: &Attached, request: &Request, status: u16) {
        let used = thread_usage();
        let gil_waits = account::gil_waits();
        let (input, output) =
            (request.reading.take(attached).counts(), request.answering.take(attached).counts());
        let cost = Cost {
            application_finish: account::now(),
            status,
            input,
            output,
            input_time: request.account.input_time(),
            output_time: request.account.output_time(),
            cpu: (used.user - self.usage.user, used.system - self.usage.system),
            gil_waits,
        };
        request.account.end();
        events::request_finished(attached, request, &self.facts, &cost);
        let Facts { request_start, queue_start, daemon_start, application_start, .. } = self.facts;
        let came = daemon_start > 0.0;
        let sample = Sample {
            thread: thread_id(),
            status,
            server_time: if came { queue_start } else { application_start } - request_start,
            queue_time: came.then_some(daemon_start - queue_start),
            daemon_time: if came { application_start - daemon_start } else { 0.0 },
            application_time: cost.application_finish - self.facts.application_start,
            input_time: cost.input_time,
            output_time: cost.output_time,
            gil_wait_time: gil_waits.0,
            gil_wait_count: gil_waits.1,
            cpu_time: cost.cpu.0 + cost.cpu.1,
            input,
            output,
        };
        metrics::with(|metrics| metrics.end(&sample, Instant::now()));
    }
}
