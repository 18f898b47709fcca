//! `rustgi`: what httpd starts to run workers, and what an operator says to it.
//!
//! | what | file |
//! |---|---|
//! | the words of the command line | `cli.rs` |
//! | `rustgi supervise`: starts workers, replaces them, ends them | `supervise/` |
//! | `rustgi examine`: finds out which Pythons can be run | `examine/` |
//! | `rustgi ctl`: asks a supervisor | `ctl.rs` |
//! | escapes control characters for terminals and logs | `plain.rs` |

mod cli;
mod ctl;
mod examine;
mod plain;
mod supervise;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Line::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rustgi: {}", plain::plain(&error.to_string(), 10_000));
            ExitCode::FAILURE
        }
    }
}
