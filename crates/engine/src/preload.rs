//! Scripts that are loaded when a process starts, before its first request: `WSGIImportScript`, and aliases whose groups
//! are known. What goes wrong is in the log; the first request tries again.

use crate::attach;
use crate::host::Host;
use crate::py::Attached;
use crate::report;
use crate::request::Request;
use crate::script::Purpose;
use crate::seat::Seat;
use crate::settings;
use exchange::{Bytes, Code, Preload, Script as Wanted};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Loads what the settings say, in their order, on the calling thread.
pub fn all(host: &Host) {
    each(host, &configured(), Purpose::Preload, || true);
}

/// What the settings say, without directories: an alias may lead to a directory of scripts, of which none is loaded before a
/// request names it. This process looks, because httpd's parent must not wait for a file system of the group's user.
pub fn configured() -> Vec<Preload> {
    let is_directory = |script: &&Preload| Path::new(OsStr::from_bytes(&script.path)).is_dir();
    settings().preload.iter().filter(|script| !is_directory(script)).cloned().collect()
}

/// Loads these scripts, in their order, on the calling thread, as long as it shall go on. Comes back with those that could
/// not be, and why in one line.
pub fn each(
    host: &Host,
    wanted: &[Preload],
    purpose: Purpose,
    goes_on: impl Fn() -> bool,
) -> Vec<(Vec<u8>, String)> {
    let mut done: Vec<&Preload> = Vec::new();
    let mut failed = Vec::new();
    for preload in wanted {
        if !goes_on() {
            break;
        }
        // Named twice for one interpreter, it is loaded once.
        if done.contains(&preload) {
            continue;
        }
        done.push(preload);
        let interpreter = if preload.main {
            Ok(host.main())
        } else {
            host.interpreter_named(&preload.application_group)
        };
        let loaded = interpreter.and_then(|interpreter| {
            attach::enter(interpreter, |attached, seat| load(attached, seat, preload, purpose))
        });
        crate::startup::leave_if_forked();
        if let Err(code) = loaded {
            let reason = report::take_last().unwrap_or_else(|| code.text().into());
            // In one line of the supervisor's, which is no place for more.
            let reason: String = reason.chars().take(1000).collect();
            failed.push((preload.path.clone(), format!("{code}: {reason}")));
        }
    }
    failed
}

fn load(
    attached: &Attached,
    seat: &mut Seat,
    preload: &Preload,
    purpose: Purpose,
) -> Result<(), Code> {
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
        Ok(script) => script.names(attached, &request, &wanted, purpose).map(drop),
        Err(raised) => {
            raised.forget();
            Err(Code::PreloadException)
        }
    }
}
