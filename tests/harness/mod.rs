//! What every test of this package stands on.
//!
//! | noun | what it is | file |
//! |---|---|---|
//! | [`Installation`] | the httpd of this machine and the module that was built | `installation.rs` |
//! | [`Builder`] | a configuration in the making | `builder.rs` |
//! | [`Mode`], [`Mpm`], [`Identity`] | what kind of server it is | `mode.rs` |
//! | [`Server`] | one private httpd, from its start to the checks after its end | `server.rs` `processes.rs` |
//! | [`Connection`], [`Response`] | a client that sees every byte | `client.rs` |
//! | [`Load`], [`Tally`] | clients that keep asking, and what came of it | `load.rs` |
//! | [`Visitor`] | a client with cookies and forms | `visitor.rs` |
//! | [`Browser`] | a headless Chromium | `browser.rs` |
//! | [`Attack`], [`AttackResult`] | a program of httpd's user that attacks workers and children, and what it received | `attack.rs` |
//! | [`Venv`] | a Python that has what real applications stand on | `venv.rs` |
//! | `Waiting` | what a loaded machine keeps from a server | `waiting.rs` |
//! | `watch` | what is looked at after every server: log, processes, open files | `watch.rs` |

mod attack;
mod browser;
mod builder;
mod client;
mod installation;
mod load;
mod mode;
mod processes;
mod server;
mod venv;
mod visitor;
mod waiting;
mod watch;

pub use attack::{Attack, AttackResult};
pub use browser::Browser;
pub use builder::{Builder, free_port};
pub use client::{Connection, Framing, Response, chunked, request};
pub use installation::{Installation, open_to_everybody};
pub use load::{Load, Tally};
pub use mode::{Identity, Mode, Mpm};
pub use server::{Server, pid_of};
pub use venv::{Venv, run};
pub use visitor::{Field, Visitor, quote};
pub use waiting::Waiting;

use std::time::{Duration, Instant};

/// Longest wait for anything that should happen at once, where four threads share a processor.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest wait for anything that should happen at once. The more has to be done meanwhile on this machine, the longer: that is
/// no defect.
pub fn patience() -> Duration {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let threads: f64 = load.split(' ').next().and_then(|one| one.parse().ok()).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    PATIENCE.mul_f64((threads / (4 * processors) as f64).max(1.0))
}

/// Asks again and again until `answer` is something, and says what was waited for if it never is.
#[track_caller]
pub fn wait_for<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let (begun, patience) = (Instant::now(), patience());
    loop {
        if let Some(value) = answer() {
            return value;
        }
        assert!(begun.elapsed() < patience, "waited {patience:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
