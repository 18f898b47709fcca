//! A child of httpd: what it knows from its first moment to its last, and the engine in it. The parent never comes
//! here, so this is the one place for a static: a process has one engine.

use crate::config::{Process, store};
use crate::httpd::{Request, ServerRec, process};
use crate::httpd_exchange::HttpdExchange;
use crate::python::Installation;
use exchange::abi::Engine;
use exchange::{Outcome, Settings};
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::OnceLock;

/// What a child knows.
pub struct Child {
    engine: Option<&'static Engine>,
    /// Its process identifier.
    number: u32,
    /// The same in decimal.
    pub pid: String,
    /// What `SERVER_SOFTWARE` says.
    pub banner: &'static [u8],
    /// The ports that the server listens on.
    pub ports: Vec<u16>,
    /// The environment that the process began with. A copy: applications may change the real one at any time.
    environment: HashMap<Vec<u8>, Vec<u8>>,
}

static CHILD: OnceLock<Child> = OnceLock::new();

thread_local! {
    /// This thread is inside the engine.
    static SERVING: Cell<bool> = const { Cell::new(false) };
}

/// Begins a child: starts the engine, unless the configuration has none (the log has said why).
pub fn start(main: ServerRec<'_>) {
    let configuration = store::of_server(main);
    let python = configuration.resolved.get().and_then(|resolved| resolved.python.as_ref());
    let engine = python
        .and_then(|python| crate::engine::start(python, &settings(python, &configuration.process)));
    // Only a child that was begun twice could find it set; then the first engine is the one that runs.
    let _ = CHILD.set(Child {
        engine,
        number: std::process::id(),
        pid: std::process::id().to_string(),
        banner: process::server_banner(),
        ports: process::listening_ports(),
        environment: std::env::vars_os()
            .map(|(name, value)| (name.into_vec(), value.into_vec()))
            .collect(),
    });
}

/// Ends the engine of this child. Not if this thread is inside it: the prefork MPM cleans up in the handler of a
/// signal, on top of whatever its one thread was doing, and Python cannot be ended from there.
pub fn stop() {
    let engine = CHILD.get().and_then(|child| child.engine);
    let ours = CHILD.get().is_some_and(|child| child.number == std::process::id());
    if let Some(engine) = engine.filter(|_| ours && !SERVING.get()) {
        engine.stop();
    }
}

/// An identifier for a request in the log, of the kind that httpd itself makes: eleven characters of the time, the
/// process and the place of the connection.
pub fn log_id(request: Request<'_>) -> &CStr {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const LENGTH: usize = 11;
    let pid = CHILD.get().map_or_else(std::process::id, |child| child.number);
    let place = request.connection_place() as u64;
    let number = request.time() as u64 ^ u64::from(pid) << 40 ^ (place >> 4) << 32;
    request.pool().text(&std::array::from_fn::<u8, LENGTH, _>(|at| {
        // The digits that change most from one request to the next come first.
        DIGITS[(number.rotate_right(6 * at as u32) % 64) as usize]
    }))
}

/// This child, once it has begun.
pub fn get() -> Option<&'static Child> {
    CHILD.get()
}

impl Child {
    /// Whether there is somebody to answer requests.
    pub fn has_engine(&self) -> bool {
        self.engine.is_some()
    }

    /// Has the engine answer a request.
    pub fn serve(&self, exchange: &mut HttpdExchange<'_, '_>) -> Option<Outcome> {
        let engine = self.engine?;
        let before = SERVING.replace(true);
        let outcome = engine.serve(exchange);
        SERVING.set(before);
        Some(outcome)
    }

    /// A variable of the environment that the process began with.
    pub fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        self.environment.get(name).map(Vec::as_slice)
    }
}

fn settings(python: &Installation, written: &Process<'_>) -> Settings {
    let shape = process::shape();
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
    let directories = written.python_path.unwrap_or_default();
    Settings {
        program: bytes(&python.program),
        home: bytes(&python.home),
        python_path: std::env::split_paths(OsStr::from_bytes(directories))
            .filter(|directory| !directory.as_os_str().is_empty())
            .map(|directory| bytes(&directory))
            .collect(),
        restrict_stdin: written.restrict_stdin.unwrap_or(false),
        restrict_stdout: written.restrict_stdout.unwrap_or(false),
        restrict_signal: written.restrict_signal.unwrap_or(true),
        process_group: Vec::new(),
        maximum_processes: shape.processes,
        threads_per_process: shape.threads,
        multiprocess: shape.processes != 1,
        multithread: shape.threads != 1,
        debugging: process::is_debugging(),
        case_sensitive: true,
        destroy_interpreters: true,
        server: exchange::Server {
            version: process::BUILT_FOR,
            description: process::server_description(),
            mpm: process::mpm_name(),
            built: process::server_built(),
        },
        ..Settings::default()
    }
}
