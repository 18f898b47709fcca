//! One topic a file. The names of the tests are sentences that hold.

mod auth;
mod bodies;
mod clients;
mod clients_calendar;
mod clients_git;
mod clients_mercurial;
mod clients_packages;
mod clients_webdav;
mod commands;
mod costs;
mod daemon_attacks;
mod daemon_clients;
mod daemon_config;
mod daemon_deaths;
mod daemon_generations;
mod daemon_hangs;
mod daemon_hostile;
mod daemon_options;
mod daemon_orphans;
mod daemon_pythons;
mod daemon_queue;
mod daemon_sockets;
mod daemon_spool;
mod daemon_stalled;
mod daemon_surroundings;
mod daemon_timeouts;
mod directive_rows;
mod directive_table;
mod directives;
mod dispatch;
mod endings;
mod environ;
mod environ_configured;
mod environ_repeated;
mod failures;
mod file_wrapper;
mod filters;
mod frameworks;
mod frameworks_django;
mod frameworks_small;
mod frameworks_together;
mod frameworks_tutorials;
mod free_threading;
mod generations;
mod handler_scripts;
mod handlers;
mod harness;
mod image;
mod import_scripts;
mod input;
mod interpreter_options;
mod interpreters;
mod leftovers;
mod lifecycle;
mod loading;
mod logging;
mod mounting;
mod mutations;
mod old_directives;
mod parallel;
mod python_module;
mod response_heads;
mod responses;
mod restrictions;
mod sections;
mod spoofing;
mod start_response;
mod transfers;
mod trusted_proxies;
mod validation;
mod wild;

use crate::harness::{Builder, Response, Server};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// An application that answers with its environ.
const ENVIRON: &str = include_str!("../apps/environ.wsgi");

/// With `@root@/run` open to applications, so that they can leave something behind.
fn with_notes(builder: Builder) -> Builder {
    let directory = builder.root().join("run");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
    builder
}

/// What the application in `apps/probe.wsgi` answers when it is sent this Python, which defines
/// `app(environ, start_response)`.
#[track_caller]
fn probe(server: &Server, python: &str) -> Response {
    server.post("/", python)
}

/// A server whose application runs what it is sent; [`probe`] sends it.
fn prober() -> Server {
    Server::of(include_str!("../apps/probe.wsgi"))
}
