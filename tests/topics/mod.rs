//! One topic a file. The names of the tests are sentences that hold.

mod commands;
mod directives;
mod environ;
mod failures;
mod file_wrapper;
mod filters;
mod frameworks;
mod frameworks_django;
mod frameworks_small;
mod frameworks_together;
mod frameworks_tutorials;
mod generations;
mod harness;
mod input;
mod interpreters;
mod leftovers;
mod lifecycle;
mod loading;
mod logging;
mod mounting;
mod responses;
mod restrictions;
mod start_response;
mod transfers;
mod validation;

use crate::harness::{Response, Server};

/// An application that answers with its environ.
const ENVIRON: &str = include_str!("../apps/environ.wsgi");

/// What the application in `apps/probe.wsgi` answers when it is sent this Python, which defines
/// `app(environ, start_response)`.
#[track_caller]
fn probe(server: &Server, python: &str) -> Response {
    server.post("/", python)
}
