//! The engine of mod_rustgi: the Python side, in the order of a request's path.
//!
//! | what | file |
//! |---|---|
//! | Python in this process: its start, its interpreters, its end | `host.rs` `startup.rs` `interpreter.rs` `shutdown.rs` |
//! | getting a thread into an interpreter, and what it keeps there | `attach.rs` `seat.rs` |
//! | what is in every interpreter | `state.rs` `options.rs` `module.rs` `control.rs` `restrict.rs` `setup.py` |
//! | one request, top-down | `serve.rs` |
//! | one question about a request, top-down | `questions.rs` |
//! | loading the script | `script.rs` `preload.rs` |
//! | environ and the objects in it | `environ.rs` `bundle.rs` `input.rs` `log.rs` `file_wrapper.rs` |
//! | the answer | `adapter.rs` `answering.rs` `reply.rs` |
//! | what those share of a request, and for how long | `request.rs` `lease.rs` `turn.rs` `reading.rs` |
//! | exceptions that nobody caught | `report.rs` |
//! | what a request costs, and who is told | `watch.rs` `account.rs` `metrics.rs` `events.rs` |
//! | a process that Python itself has started, and that serves requests from a socket | `worker/` |
//! | Python objects as Rust sees them | `py/` |
//!
//! Nothing in here knows what carries the requests; see the crate `exchange`. Everything that Python holds belongs to one
//! interpreter: PyO3's own layer, whose types and interned strings belong to the process, is not used.

mod account;
mod adapter;
mod answering;
mod attach;
mod bundle;
mod control;
mod environ;
mod events;
mod file_wrapper;
mod host;
mod input;
mod interpreter;
mod lease;
mod log;
mod metrics;
mod module;
mod options;
mod preload;
mod py;
mod questions;
mod reading;
mod reply;
mod report;
mod request;
mod restrict;
mod script;
mod seat;
mod serve;
mod shutdown;
mod startup;
mod state;
mod turn;
mod watch;
mod worker;

use exchange::abi::Engine;
use host::{Host, settings, surroundings};

static ENGINE: Engine = Engine::of::<Host>();

/// The engine's table; see [`exchange::abi::ENTRY`].
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the one symbol that the server's side looks up")]
pub extern "C" fn rustgi_engine() -> *const Engine {
    &raw const ENGINE
}
