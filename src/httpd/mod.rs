//! httpd's own nouns, entered safely. Everything that is `unsafe` about talking to httpd stands in this directory.
//!
//! A structure of httpd is entered through a closure (`Request::with`) whose lifetime nothing can outlive; what is
//! reached from it (strings, tables, configuration) has that lifetime, because it lies in pools that httpd destroys
//! only after the hook has returned.
//!
//! | noun | what it is | file |
//! |---|---|---|
//! | `ffi` | httpd as bindgen sees it | `ffi.rs` |
//! | [`callback!`](callback) | the one door from httpd into Rust | `callback.rs` |
//! | [`Pool`], [`Table`] | APR's memory, and its tables of strings | `pool.rs`, `table.rs` |
//! | [`Request`] | `request_rec` and its `conn_rec` | `request.rs` |
//! | | its file, and what the configuration says of that | `walk.rs` |
//! | | the head of its answer | `answer.rs` |
//! | | whoever sent it | `client.rs` |
//! | [`ServerRec`] | `server_rec`, and what the process knows of itself | `server.rs`, `process.rs` |
//! | | what the parent keeps and looks after | `parent.rs` |
//! | [`Input`], [`Output`] | a request's brigades | `input.rs`, `output.rs` |
//! | [`Regex`] | httpd's regular expressions | `regex.rs` |
//! | `scoreboard` | what the server's threads are doing | `scoreboard.rs` |
//! | `log` | the error log | `log.rs` |

mod answer;
pub mod callback;
mod client;
pub mod ffi;
pub mod input;
pub mod log;
pub mod output;
pub mod parent;
pub mod pool;
pub mod process;
pub mod regex;
pub mod request;
pub mod scoreboard;
pub mod server;
#[cfg(test)]
mod stand_ins;
pub mod table;
pub mod walk;

pub use input::Input;
pub use output::{End, Output};
pub use pool::Pool;
pub use regex::Regex;
pub use request::Request;
pub use server::ServerRec;
pub use table::Table;
