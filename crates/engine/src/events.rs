//! Events: what applications can subscribe to (`mod_wsgi.subscribe_events` and its kin). Nothing is built for an event
//! that nobody listens to.

use crate::account;
use crate::interpreter::Interpreter;
use crate::py::{Attached, Exception, Kept, Kind, Object, Py, take_exception};
use crate::report;
use crate::request::Request;
use crate::seat::thread_id;
use crate::state::State;
use exchange::{Code, Head, Known};

/// What an interpreter's applications have subscribed to.
pub struct Subscriptions {
    /// `mod_wsgi.event_callbacks`.
    pub events: Kept,
    /// `mod_wsgi.shutdown_callbacks`.
    pub shutdown: Kept,
    /// `mod_wsgi.signal_callbacks`.
    pub signals: Kept,
}

impl Subscriptions {
    /// Nothing yet.
    pub fn new(attached: &Attached) -> Py<Subscriptions> {
        Ok(Subscriptions {
            events: Kept::new(attached.list()?),
            shutdown: Kept::new(attached.list()?),
            signals: Kept::new(attached.list()?),
        })
    }

    /// Whether anybody listens to requests.
    pub fn anyone(&self, attached: &Attached) -> bool {
        self.events.get(attached).items_len() > 0
    }
}

/// The payload of an event that is being built.
pub struct Payload<'a> {
    /// The dict.
    pub dict: Object<'a>,
}

impl<'a> Payload<'a> {
    fn new(attached: &'a Attached) -> Py<Payload<'a>> {
        Ok(Payload { dict: attached.dict()? })
    }

    /// Adds one entry.
    pub fn put(&self, name: &str, value: &Object<'_>) -> Py<()> {
        self.dict.dict_set(&self.dict.attached().interned(name)?, value)
    }

    fn float(&self, name: &str, value: f64) -> Py<()> {
        self.put(name, &self.dict.attached().float(value)?)
    }

    fn int(&self, name: &str, value: u64) -> Py<()> {
        self.put(name, &self.dict.attached().int(value as i64)?)
    }
}

/// Tells the subscribers of an interpreter; `fill` makes the payload. Comes back with the payload as they left it.
fn publish<'a>(
    attached: &'a Attached,
    interpreter: &'static Interpreter,
    lists: &[&Kept],
    name: &str,
    fill: impl FnOnce(&Payload<'a>) -> Py<()>,
) -> Option<Payload<'a>> {
    if lists.iter().all(|list| list.get(attached).items_len() == 0) {
        return None;
    }
    let state = interpreter.state();
    let tell = || {
        let payload = Payload::new(attached)?;
        fill(&payload)?;
        let publish = state.setup.publish.get(attached);
        for list in lists {
            let raised =
                publish.call([list.get(attached), &attached.text(name)?, &payload.dict])?;
            for value in raised.items() {
                report_callback(attached, interpreter, Exception { value }, name);
            }
        }
        Ok(payload)
    };
    tell()
        .map_err(|raised| {
            report_callback(attached, interpreter, take_exception(attached, raised), name);
        })
        .ok()
}

fn report_callback(
    attached: &Attached,
    interpreter: &'static Interpreter,
    exception: Exception<'_>,
    event: &str,
) {
    let code = if exception.is(Kind::SystemExit) {
        Code::CallbackSystemExit
    } else {
        Code::CallbackException
    };
    report::callback(attached, interpreter, &exception, code, event);
}

/// The facts of a request that events show.
#[derive(Clone, Copy)]
pub struct Facts<'h> {
    /// `mod_wsgi.request_id`.
    id: &'h [u8],
    /// `mod_wsgi.server_pid`.
    server_pid: u64,
    /// When it began, in seconds since the epoch.
    pub request_start: f64,
    /// When it was handed towards this process, in seconds since the epoch; 0 if it was not.
    pub queue_start: f64,
    /// When this process took it, likewise.
    pub daemon_start: f64,
    /// The name of the callable.
    callable: &'h [u8],
    /// When the application was called, in seconds since the epoch.
    pub application_start: f64,
}

impl<'h> Facts<'h> {
    /// From the head of a request whose application is about to be called.
    pub fn new(head: &Head<'h>) -> Facts<'h> {
        let pid = head
            .variables
            .get(Known::ServerPid)
            .and_then(|pid| std::str::from_utf8(pid).ok()?.parse().ok());
        Facts {
            id: head.id.get(),
            server_pid: pid.unwrap_or(0),
            request_start: head.clocks.request_start as f64 / 1e6,
            queue_start: head.clocks.queue_start as f64 / 1e6,
            daemon_start: head.clocks.daemon_start as f64 / 1e6,
            callable: head.script.callable.get(),
            application_start: account::now(),
        }
    }

    fn put_id(&self, attached: &Attached, request: &Request, payload: &Payload<'_>) -> Py<()> {
        if !self.id.is_empty() {
            payload.put("request_id", &attached.latin1(self.id)?)?;
        }
        payload.put("request_data", &request.data(attached)?)
    }

    fn put_common(&self, attached: &Attached, request: &Request, payload: &Payload<'_>) -> Py<()> {
        self.put_id(attached, request, payload)?;
        payload.int("thread_id", u64::from(thread_id()))?;
        payload.int("server_pid", self.server_pid)?;
        payload.float("request_start", self.request_start)?;
        payload.float("queue_start", self.queue_start)?;
        payload.float("daemon_start", self.daemon_start)?;
        payload.float("application_start", self.application_start)
    }
}

/// `request_started`. A subscriber may put another application in the place of this one.
pub fn request_started<'a>(
    attached: &'a Attached,
    request: &Request,
    facts: &Facts<'_>,
    application: Object<'a>,
    environ: &Object<'_>,
) -> Py<Object<'a>> {
    let interpreter = request.interpreter;
    let lists = [&interpreter.state().subscriptions.events];
    let payload = publish(attached, interpreter, &lists, "request_started", |payload| {
        facts.put_common(attached, request, payload)?;
        payload.int("daemon_connects", u64::from(facts.queue_start > 0.0))?;
        payload.int("daemon_restarts", 0)?;
        payload.put("application_object", &application)?;
        payload.put("callable_object", &attached.latin1(facts.callable)?)?;
        payload.put("request_environ", environ)
    });
    let Some(payload) = payload else { return Ok(application) };
    let replaced = payload.dict.dict_get(&attached.interned("application_object")?)?;
    Ok(replaced.unwrap_or(application))
}

/// `response_started`: what the application gave to `start_response`.
pub fn response_started(
    attached: &Attached,
    request: &Request,
    status: &Object<'_>,
    headers: &Object<'_>,
    exc_info: Option<&Object<'_>>,
) {
    let interpreter = request.interpreter;
    let lists = [&interpreter.state().subscriptions.events];
    publish(attached, interpreter, &lists, "response_started", |payload| {
        put_request(attached, request, payload)?;
        payload.put("response_status", status)?;
        payload.put("response_headers", headers)?;
        let none = attached.none();
        payload.put("exception_info", exc_info.unwrap_or(&none))
    });
}

/// `request_exception`: the application raised.
pub fn request_exception(attached: &Attached, request: &Request, exception: &Object<'_>) {
    let interpreter = request.interpreter;
    let state: &State = interpreter.state();
    let lists = [&state.subscriptions.events];
    publish(attached, interpreter, &lists, "request_exception", |payload| {
        put_request(attached, request, payload)?;
        let info = state.setup.exception_info.get(attached).call([exception])?;
        payload.put("exception_info", &info)
    });
}

fn put_request(attached: &Attached, request: &Request, payload: &Payload<'_>) -> Py<()> {
    let id = request.id.take(attached).clone();
    if !id.is_empty() {
        payload.put("request_id", &attached.latin1(&id)?)?;
    }
    payload.put("request_data", &request.data(attached)?)
}

/// What a request has cost, at its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// When the application had finished, in seconds since the epoch.
    pub application_finish: f64,
    /// Its status.
    pub status: u16,
    /// Reads and bytes of the body.
    pub input: (u64, u64),
    /// Writes and bytes of the answer.
    pub output: (u64, u64),
    /// Seconds spent waiting for the body.
    pub input_time: f64,
    /// Seconds spent waiting for the client to take the answer.
    pub output_time: f64,
    /// CPU seconds of the thread, in user mode and in the kernel.
    pub cpu: (f64, f64),
    /// Seconds spent waiting for the interpreter's lock, and how often.
    pub gil_waits: (f64, u64),
}

/// `request_finished`.
pub fn request_finished(attached: &Attached, request: &Request, facts: &Facts<'_>, cost: &Cost) {
    let interpreter = request.interpreter;
    let lists = [&interpreter.state().subscriptions.events];
    publish(attached, interpreter, &lists, "request_finished", |payload| {
        facts.put_common(attached, request, payload)?;
        payload.float("application_finish", cost.application_finish)?;
        let time = (cost.application_finish - facts.application_start).max(0.0);
        payload.float("application_time", time)?;
        payload.int("input_reads", cost.input.0)?;
        payload.int("input_length", cost.input.1)?;
        payload.float("input_time", cost.input_time)?;
        payload.int("output_writes", cost.output.0)?;
        payload.int("output_length", cost.output.1)?;
        payload.float("output_time", cost.output_time)?;
        payload.float("cpu_user_time", cost.cpu.0)?;
        payload.float("cpu_system_time", cost.cpu.1)?;
        payload.float("cpu_time", cost.cpu.0 + cost.cpu.1)?;
        payload.int("status", u64::from(cost.status))?;
        payload.float("gil_wait_time", cost.gil_waits.0)?;
        payload.int("gil_wait_count", cost.gil_waits.1)
    });
}

/// `process_signal`, to one interpreter.
pub fn process_signal(
    attached: &Attached,
    interpreter: &'static Interpreter,
    name: &str,
    number: i32,
) {
    let subscriptions = &interpreter.state().subscriptions;
    let lists = [&subscriptions.events, &subscriptions.signals];
    publish(attached, interpreter, &lists, "process_signal", |payload| {
        payload.put("signame", &attached.text(name)?)?;
        payload.put("signum", &attached.int(i64::from(number))?)
    });
}

/// `process_stopping`, to one interpreter.
pub fn process_stopping(attached: &Attached, interpreter: &'static Interpreter, reason: &str) {
    let subscriptions = &interpreter.state().subscriptions;
    let lists = [&subscriptions.events, &subscriptions.shutdown];
    publish(attached, interpreter, &lists, "process_stopping", |payload| {
        payload.put("shutdown_reason", &attached.text(reason)?)
    });
}
