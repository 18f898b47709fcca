//! Scripts that are loaded when a process starts, before its first request: `WSGIImportScript`, and aliases whose groups
//! are known. What goes wrong is in the log; the first request tries again.

use crate::attach;
use crate::host::Host;
use crate::py::Attached;
use crate::request::Request;
use crate::script::Purpose;
use crate::seat::Seat;
use crate::settings;
use exchange::{Bytes, Preload, Script as Wanted};

/// Loads what the settings say, in their order, on the calling thread.
pub fn all(host: &Host) {
    let mut done: Vec<&Preload> = Vec::new();
    for preload in &settings().preload {
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
        if let Ok(interpreter) = interpreter {
            attach::enter(interpreter, |attached, seat| load(attached, seat, preload));
        }
    }
}

fn load(attached: &Attached, seat: &mut Seat, preload: &Preload) {
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
            let _reported = script.names(attached, &request, &wanted, Purpose::Preload);
        }
        Err(raised) => raised.forget(),
    }
}
