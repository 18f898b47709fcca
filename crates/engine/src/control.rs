//! The functions of the module `mod_wsgi`, as methods of one object in each interpreter.

use crate::account::{self, process_usage};
use crate::interpreter::Interpreter;
use crate::log;
use crate::metrics::{self, Moment, Report, Value};
use crate::py::class::{count_arguments, method};
use crate::py::{Attached, Class, Kept, Kind, Object, Py, This, raise};
use crate::settings;
use exchange::{Level, Record, Scoreboard, Slot};
use pyo3_ffi as ffi;
use std::ffi::CStr;
use std::time::Instant;

/// What the functions of `mod_wsgi` in one interpreter are methods of.
pub struct Control {
    /// The interpreter.
    pub interpreter: &'static Interpreter,
}

impl Class for Control {
    const NAME: &'static CStr = c"mod_wsgi.Control";
    const DOC: &'static CStr = c"What the functions of mod_wsgi are methods of.";
    const METHODS: &'static [ffi::PyMethodDef] = &[
        method!(
            Control,
            "subscribe_events",
            subscribe_events,
            "Calls callback(name, **payload) for each event of this interpreter; returns callback."
        ),
        method!(
            Control,
            "subscribe_shutdown",
            subscribe_shutdown,
            "Calls callback('process_stopping', **payload) when the process stops; returns callback."
        ),
        method!(
            Control,
            "subscribe_signals",
            subscribe_signals,
            "Calls callback('process_signal', **payload) for SIGHUP and SIGUSR2 of a daemon process; \
             returns callback. In a child of the server it says so in the log and does nothing."
        ),
        method!(
            Control,
            "request_data",
            request_data,
            "The dict of the request that the calling thread is serving."
        ),
        method!(
            Control,
            "start_recording_metrics",
            start_recording_metrics,
            "Begins to count what requests of this process cost."
        ),
        method!(
            Control,
            "request_metrics",
            request_metrics,
            "What the requests since the call before have cost, or None if that is not recorded."
        ),
        method!(
            Control,
            "process_metrics",
            process_metrics,
            "What this process has used, or None if metrics are not recorded."
        ),
        method!(
            Control,
            "server_metrics",
            server_metrics,
            "What every process and thread of the server is doing, or None if that is not allowed."
        ),
        method!(Control, "active_requests", active_requests, "The requests of this interpreter."),
        method!(Control, "logged", logged, "Whether a record of a logging level would be written."),
        method!(Control, "log", write_log, "Writes (level, text, path, line) to the log."),
    ];
}

fn subscribe<'a>(
    attached: &'a Attached,
    list: &Kept,
    name: &str,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, name, arguments, 1..=1)?;
    list.get(attached).append(&arguments[0])?;
    Ok(arguments[0].clone())
}

fn subscribe_events<'a>(
    attached: &'a Attached,
    control: This<'a, Control>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    let list = &control.interpreter.state().subscriptions.events;
    subscribe(attached, list, "subscribe_events", arguments)
}

fn subscribe_shutdown<'a>(
    attached: &'a Attached,
    control: This<'a, Control>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    let list = &control.interpreter.state().subscriptions.shutdown;
    subscribe(attached, list, "subscribe_shutdown", arguments)
}

fn subscribe_signals<'a>(
    attached: &'a Attached,
    control: This<'a, Control>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    if crate::worker::post().is_some() {
        let list = &control.interpreter.state().subscriptions.signals;
        return subscribe(attached, list, "subscribe_signals", arguments);
    }
    count_arguments(attached, "subscribe_signals", arguments, 1..=1)?;
    let stack_lines = &control.interpreter.state().setup.stack_lines;
    let line = "Callback registration for signals ignored: not a daemon process.".into();
    log::note_with_stack(attached, control.interpreter, stack_lines, line)?;
    Ok(arguments[0].clone())
}

fn request_data<'a>(
    attached: &'a Attached,
    control: This<'a, Control>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "request_data", arguments, 0..=0)?;
    match log::current(control.interpreter) {
        Some(request) => request.data(attached),
        None => Err(raise(attached, Kind::Runtime, "this thread is not serving a request")),
    }
}

fn active_requests<'a>(
    attached: &'a Attached,
    control: This<'a, Control>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "active_requests", arguments, 0..=0)?;
    control.interpreter.active_requests(attached)
}

fn moment() -> Moment {
    Moment { instant: Instant::now(), time: account::now(), usage: process_usage() }
}

fn start_recording_metrics<'a>(
    attached: &'a Attached,
    _: This<'a, Control>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "start_recording_metrics", arguments, 0..=0)?;
    metrics::start(moment(), crate::host::started());
    Ok(attached.none())
}

fn request_metrics<'a>(
    attached: &'a Attached,
    _: This<'a, Control>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "request_metrics", arguments, 0..=0)?;
    let threads = settings().threads_per_process;
    let report = metrics::with(|metrics| metrics.requests(moment(), threads));
    give(attached, report.filter(|_| !settings().telemetry))
}

fn process_metrics<'a>(
    attached: &'a Attached,
    _: This<'a, Control>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "process_metrics", arguments, 0..=0)?;
    let report = metrics::with(|metrics| metrics.process(&moment()));
    give(attached, report.filter(|_| !settings().telemetry))
}

fn server_metrics<'a>(
    attached: &'a Attached,
    _: This<'a, Control>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "server_metrics", arguments, 0..=0)?;
    if !settings().server_metrics {
        return Ok(attached.none());
    }
    let mut slots = Vec::new();
    let found = attached
        .detach(|| crate::surroundings().scoreboard(&mut |slot| slots.push(Place::from(slot))));
    match found {
        Some(scoreboard) => scoreboard_dict(attached, &scoreboard, &slots),
        None => Ok(attached.none()),
    }
}

/// A place in the scoreboard, copied.
enum Place {
    Process { report: Report },
    Worker { report: Report, texts: [(&'static str, Vec<u8>); 4] },
}

impl From<Slot<'_>> for Place {
    fn from(slot: Slot<'_>) -> Place {
        let int = |name: &str, value: u64| (name.to_string(), Value::Int(value as i64));
        let time = |name: &str, value: i64| (name.to_string(), Value::Float(value as f64 / 1e6));
        match slot {
            Slot::Process(process) => Place::Process {
                report: vec![
                    int("process_num", process.number.into()),
                    int("pid", process.pid.into()),
                    int("generation", process.generation.into()),
                    int("quiescing", process.quiescing.into()),
                ],
            },
            Slot::Worker(worker) => Place::Worker {
                report: vec![
                    int("thread_num", worker.number.into()),
                    int("generation", worker.generation.into()),
                    int("access_count", worker.access_count),
                    int("bytes_served", worker.bytes_served),
                    time("start_time", worker.start_time),
                    time("stop_time", worker.stop_time),
                    time("last_used", worker.last_used),
                ],
                texts: [
                    ("status", vec![worker.status]),
                    ("client", worker.client.to_vec()),
                    ("request", worker.request.to_vec()),
                    ("vhost", worker.vhost.to_vec()),
                ],
            },
        }
    }
}

fn scoreboard_dict<'a>(
    attached: &'a Attached,
    scoreboard: &Scoreboard,
    slots: &[Place],
) -> Py<Object<'a>> {
    let processes = attached.list()?;
    let mut workers = attached.list()?;
    for slot in slots {
        match slot {
            Place::Process { report } => {
                let process = dict(attached, report)?;
                let quiescing = attached.interned("quiescing")?;
                let flag =
                    process.dict_get(&quiescing)?.is_some_and(|n| n.as_i64().is_ok_and(|n| n == 1));
                process.dict_set(&quiescing, &attached.bool(flag))?;
                workers = attached.list()?;
                process.dict_set(&attached.interned("workers")?, &workers)?;
                processes.append(&process)?;
            }
            Place::Worker { report, texts } => {
                let worker = dict(attached, report)?;
                for (name, text) in texts {
                    worker.dict_set(&attached.interned(name)?, &attached.latin1(text)?)?;
                }
                workers.append(&worker)?;
            }
        }
    }
    let restart = scoreboard.restart_time as f64 / 1e6;
    let now = account::now();
    let int = |name: &str, value: u32| (name.to_string(), Value::Int(value.into()));
    let whole = dict(
        attached,
        &vec![
            int("server_limit", scoreboard.server_limit),
            int("thread_limit", scoreboard.thread_limit),
            int("running_generation", scoreboard.generation),
            ("restart_time".into(), Value::Float(restart)),
            ("current_time".into(), Value::Float(now)),
            ("running_time".into(), Value::Int((now - restart).max(0.0) as i64)),
        ],
    )?;
    whole.dict_set(&attached.interned("processes")?, &processes)?;
    Ok(whole)
}

/// A report as a dict, or None.
fn give(attached: &Attached, report: Option<Report>) -> Py<Object<'_>> {
    report.map_or_else(|| Ok(attached.none()), |report| dict(attached, &report))
}

fn dict<'a>(attached: &'a Attached, report: &Report) -> Py<Object<'a>> {
    let made = attached.dict()?;
    for (name, value) in report {
        made.dict_set(&attached.interned(name)?, &object(attached, value)?)?;
    }
    Ok(made)
}

fn object<'a>(attached: &'a Attached, value: &Value) -> Py<Object<'a>> {
    let list = |items: &mut dyn Iterator<Item = Py<Object<'a>>>| {
        let list = attached.list()?;
        for item in items {
            list.append(&item?)?;
        }
        Ok(list)
    };
    match value {
        Value::Nothing => Ok(attached.none()),
        Value::Int(value) => attached.int(*value),
        Value::Float(value) => attached.float(*value),
        Value::Ints(values) => list(&mut values.iter().map(|value| attached.int(*value))),
        Value::Floats(values) => list(&mut values.iter().map(|value| attached.float(*value))),
        Value::Reports(reports) => list(&mut reports.iter().map(|report| dict(attached, report))),
    }
}

/// The server's level for a number of Python's `logging`.
fn level(number: i64) -> Level {
    match number {
        50.. => Level::Critical,
        40.. => Level::Error,
        30.. => Level::Warning,
        20.. => Level::Info,
        _ => Level::Debug,
    }
}

fn logged<'a>(
    attached: &'a Attached,
    control: This<'a, Control>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "logged", arguments, 1..=1)?;
    let level = level(arguments[0].as_i64()?);
    Ok(attached.bool(log::would_be_written(attached, control.interpreter, level)))
}

fn write_log<'a>(
    attached: &'a Attached,
    control: This<'a, Control>,
    arguments: &'a [Object<'a>],
) -> Py<Object<'a>> {
    count_arguments(attached, "log", arguments, 4..=4)?;
    let level = level(arguments[0].as_i64()?);
    let (text, path) = (arguments[1].to_text()?, arguments[2].to_text()?);
    let line = u32::try_from(arguments[3].as_i64()?).unwrap_or(0);
    let records = text.split('\n').map(|part| Record {
        level,
        line: part.into(),
        file: path.as_str().into(),
        file_line: line,
    });
    log::note(attached, control.interpreter, records);
    Ok(attached.none())
}
