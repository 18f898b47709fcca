//! Reports of exceptions that nobody caught: one line that names what happened and where, then the traceback with all its
//! frames, all in one go.

use crate::interpreter::Interpreter;
use crate::py::{Attached, Exception, Kind, Raised, take_exception};
use crate::request::Request;
use crate::state::Setup;
use crate::{settings, worker};
use exchange::{Code, Level, Record};
use std::cell::Cell;

thread_local! {
    /// The last line of the last traceback that this thread has reported.
    static LAST: Cell<Option<String>> = const { Cell::new(None) };
}

/// What the exception that this thread has reported last was, in one line.
pub fn take_last() -> Option<String> {
    LAST.take()
}

/// Remembers a failure without an exception as the last failure of this thread.
pub fn set_last(line: &str) {
    LAST.set(Some(line.to_owned()));
}

/// Reports an exception of a request to the request's log. SystemExit is reported under `on_exit`: it ends the request,
/// never the process.
pub fn request(
    attached: &Attached,
    request: &Request,
    raised: Raised,
    script: &[u8],
    (on_exception, on_exit): (Code, Code),
) -> Code {
    let exception = take_exception(attached, raised);
    let exits = exception.is(Kind::SystemExit);
    let code = if exits { on_exit } else { on_exception };
    let interpreter = request.interpreter;
    let mut lines = vec![headline(&exception, code, exits, script, interpreter)];
    lines.extend(traceback(attached, &interpreter.state().setup, &exception));
    LAST.set(lines.last().cloned());
    if let Some(hint) = hint(&exception, interpreter, &lines) {
        lines.push(hint);
    }
    if exception.is(Kind::Memory) {
        lines.extend(worker::memory_error());
    }
    write(lines, |records| request.note(attached, records.iter().copied()));
    code
}

/// Reports an exception that belongs to no request. `doing` says what was being done, if the code does not.
pub fn process(attached: &Attached, setup: &Setup, raised: Raised, code: Code, doing: &str) {
    let exception = take_exception(attached, raised);
    let lines = traceback(attached, setup, &exception);
    write_process(attached, &exception, code, doing, lines);
}

/// As [`process`], for an interpreter that is not set up yet: without a traceback.
pub fn unfurnished(attached: &Attached, raised: Raised, code: Code, doing: &str) {
    let exception = take_exception(attached, raised);
    let line = format!("{}: {}", exception.value.type_name(), exception.value.repr());
    write_process(attached, &exception, code, doing, vec![line]);
}

/// Reports an exception of a callback of an event.
pub fn callback(
    attached: &Attached,
    interpreter: &'static Interpreter,
    exception: &Exception<'_>,
    code: Code,
    event: &str,
) {
    let name = exception.value.type_name();
    let mut lines = vec![format!("{code}: {} ('{event}'): {name}", code.text())];
    lines.extend(traceback(attached, &interpreter.state().setup, exception));
    write(lines, |records| crate::log::note(attached, interpreter, records.iter().copied()));
}

fn write_process(
    attached: &Attached,
    exception: &Exception<'_>,
    code: Code,
    doing: &str,
    traceback: Vec<String>,
) {
    let mut headline = format!("{code}: {}", code.text());
    if !doing.is_empty() {
        headline.push_str(&format!(" ({doing})"));
    }
    headline.push_str(&format!(": {}", exception.value.type_name()));
    let mut lines = vec![headline];
    lines.extend(traceback);
    write(lines, |records| {
        attached.detach(|| records.iter().for_each(|record| crate::surroundings().note(record)));
    });
}

fn write(lines: Vec<String>, to: impl FnOnce(&[Record<'_>])) {
    let records: Vec<Record<'_>> =
        lines.iter().map(|line| Record::new(Level::Error, line.as_bytes())).collect();
    to(&records);
}

fn headline(
    exception: &Exception<'_>,
    code: Code,
    exits: bool,
    script: &[u8],
    interpreter: &Interpreter,
) -> String {
    let process = match settings().process_group.as_slice() {
        b"" => "embedded".to_string(),
        group => format!("process group '{}'", String::from_utf8_lossy(group)),
    };
    format!(
        "{code}: Exception {}{} occurred processing WSGI script '{}' ({}, {process}).",
        exception.value.type_name(),
        if exits { ", ignored," } else { "" },
        String::from_utf8_lossy(script),
        interpreter.describe(),
    )
}

/// The traceback as lines; without frames if even that raises.
fn traceback(attached: &Attached, setup: &Setup, exception: &Exception<'_>) -> Vec<String> {
    let made = setup
        .traceback_lines
        .get(attached)
        .call([&exception.value])
        .and_then(|list| list.items().map(|line| line.to_text()).collect());
    made.unwrap_or_else(|raised| {
        raised.forget();
        vec![format!("{}: {}", exception.value.type_name(), exception.value.repr())]
    })
}

/// Texts by which extension modules say that they work in the main interpreter only.
const REFUSALS: &[&str] = &[
    "does not support loading in subinterpreters",
    "PyO3 modules do not yet support subinterpreters",
    "PyO3 modules may only be initialized once per interpreter process",
    "Interpreter change detected",
    "cannot load module more than once per process",
    "CPU dispatcher tracer already initlized",
    "CPU dispatcher tracer already initialized",
];

/// What to do if an import failed because of the sub-interpreter it was tried in.
fn hint(exception: &Exception<'_>, interpreter: &Interpreter, lines: &[String]) -> Option<String> {
    if interpreter.is_main() || exception.is(Kind::SystemExit) {
        return None;
    }
    lines.iter().any(|line| REFUSALS.iter().any(|refusal| line.contains(refusal))).then(|| {
        format!(
            "{}: {}: the {} is not the main interpreter. Give the application \"WSGIApplicationGroup %{{GLOBAL}}\" \
             to run it there.",
            Code::NotForSubInterpreters,
            Code::NotForSubInterpreters.text(),
            interpreter.describe(),
        )
    })
}
