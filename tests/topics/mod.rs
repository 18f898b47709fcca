//! One topic a file. The names of the tests are sentences that hold.

mod environ;
mod harness;
mod lifecycle;
mod mounting;

/// An application that answers with its environ.
const ENVIRON: &str = include_str!("../apps/environ.wsgi");
