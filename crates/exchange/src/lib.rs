//! The one interface between whoever carries a request and whoever answers it.
//!
//! | noun | what it is | file |
//! |---|---|---|
//! | [`Exchange`] | one request and its answer, as its carrier offers it | `exchange.rs` |
//! | [`Gateway`] | whoever answers (the G of WSGI), requests and [`Question`]s | `gateway.rs` |
//! | [`Head`] | what is known of a request before its body is read | `head.rs` |
//! | [`Variables`], [`Runs`] | the string part of environ, being made and as it is carried | `variables.rs` `runs.rs` |
//! | [`Known`] | environ names that have a number, so that no key is made twice | `names.rs` |
//! | [`Failure`], [`Code`] | why a request was not answered as asked, and whose fault it is | `failure.rs` |
//! | [`Settings`] | what a gateway is told when its process starts | `settings.rs` |
//! | [`Surroundings`], [`Scoreboard`] | what a process offers its gateway besides requests | `gateway.rs` `scoreboard.rs` |
//! | [`Bytes`], [`Slice`] | borrowed plain data with a C layout | `bytes.rs` |
//! | [`abi`] | the C tables through which two shared objects meet | `abi.rs` |
//!
//! This crate names neither Apache nor Python and uses nothing but `std`. `unsafe` stands in `bytes.rs` and `abi.rs`
//! alone, because two shared objects that may come from different compilers share memory only through C layouts.

pub mod abi;
mod bytes;
mod exchange;
mod failure;
mod gateway;
mod head;
mod names;
mod runs;
mod scoreboard;
mod settings;
mod variables;

pub use bytes::{Bytes, Slice};
pub use exchange::{
    Answer, Exchange, Found, Header, Level, LookUp, Part, Push, ReadError, Record, WriteError,
};
pub use failure::{Code, Failure, Owner};
pub use gateway::{Gateway, Outcome, Question, Reply, Surroundings};
pub use head::{Body, Clocks, Group, Head, Scheme, Script};
pub use names::{About, Known, KnownSet};
pub use runs::{Run, Runs, Variable};
pub use scoreboard::{ProcessSlot, Scoreboard, Slot, WorkerSlot};
pub use settings::{InterpreterOptions, Preload, Server, Settings, SettingsError};
pub use variables::{Settled, Unsound, Variables};

/// The release of mod_wsgi whose behaviour is kept: what `mod_wsgi.version` says, and `mod_wsgi/` in the server's
/// description.
pub const COMPATIBLE_WITH: [u32; 3] = [6, 1, 1];
