//! Scripts that are loaded when a process starts, before its first request: `WSGIImportScript`, and aliases whose groups
//! are known. What goes wrong is in the log; the first request tries again.

use crate::attach;
use crate::host::Host;
use crate::py::Attached;
use crate::report;
use crate::request::Request;
use crate::script::Purpose;
use crate::seat::Seat;
use crate::{settings, worker};
use exchange::{Bytes, Code, Preload, Script as Wanted};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A script to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loading {
    /// The script.
    pub script: Preload,
    /// The callables that requests have used. If there are any, the script must have one of them.
    pub callables: Vec<Vec<u8>>,
}

impl From<&Preload> for Loading {
    fn from(script: &Preload) -> Self {
        Loading { script: script.clone(), callables: Vec::new() }
    }
}

/// Loads what the settings say, in their order, on the calling thread.
pub fn all(host: &Host) {
    let all: Vec<Loading> = configured().iter().map(Loading::from).collect();
    each(host, &all, Purpose::Preload, || true);
}

/// The scripts that the settings name, without directories: an alias may name a directory of scripts, and none of those is loaded
/// before a request names it. The worker makes this look-up, because httpd's parent must not wait for a file system of the group's
/// user.
pub fn configured() -> Vec<Preload> {
    let is_directory = |script: &&Preload| Path::new(OsStr::from_bytes(&script.path)).is_dir();
    settings().preload.iter().filter(|script| !is_directory(script)).cloned().collect()
}

/// Loads these scripts, in their order, on the calling thread, as long as it shall go on. Comes back with those that could
/// not be, and why in one line.
pub fn each(
    host: &Host,
    wanted: &[Loading],
    purpose: Purpose,
    goes_on: impl Fn() -> bool,
) -> Vec<(Vec<u8>, String)> {
    let mut done: Vec<&Loading> = Vec::new();
    let mut failed = Vec::new();
    for loading in wanted {
        if !goes_on() {
            break;
        }
        // Named twice for one interpreter, it is loaded once.
        if done.contains(&loading) {
            continue;
        }
        done.push(loading);
        let preload = &loading.script;
        let mark = worker::loading(&preload.path);
        let interpreter = if preload.main {
            Ok(host.main())
        } else {
            host.interpreter_named(&preload.application_group)
        };
        let loaded = interpreter.and_then(|interpreter| {
            attach::enter(interpreter, |attached, seat| {
                mark.iter().for_each(|mark| mark.enter(interpreter));
                load(attached, seat, loading, purpose)
            })
        });
        drop(mark);
        crate::startup::leave_if_forked();
        if let Err(code) = loaded {
            let reason = report::take_last().unwrap_or_else(|| code.text().into());
            let reason = format!("{code}: {reason}");
            // In one line of the supervisor's, which is no place for more.
            failed.push((preload.path.clone(), reason.chars().take(1000).collect()));
        }
    }
    failed
}

fn load(
    attached: &Attached,
    seat: &mut Seat,
    loading: &Loading,
    purpose: Purpose,
) -> Result<(), Code> {
    let preload = &loading.script;
    let wanted = Wanted {
        path: Bytes::new(&preload.path),
        resource: Bytes::new(&preload.path),
        callable: Bytes::EMPTY,
        modified: Wanted::UNKNOWN,
        reloading: false,
    };
    // A request that never begins: what is said on its behalf goes to the log of the process.
    let request = Request::new(seat.interpreter);
    match seat.interpreter.scripts.find(attached, &wanted, None) {
        Ok(script) => {
            let names = script.names(attached, &request, &wanted, purpose)?;
            script.check_callables(attached, &request, &names, &loading.callables)
        }
        Err(raised) => {
            raised.forget();
            Err(Code::PreloadException)
        }
    }
}
