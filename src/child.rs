//! A child of httpd: what it knows from its first moment to its last, and the engine in it. The parent never comes
//! here, so this is the one place for a static: a process has one engine.

use crate::config::written::{Process, Resolved};
use crate::config::{groups::Sole, store};
use crate::daemon::{Remote, supervisor};
use crate::httpd::{Request, ServerRec, process};
use crate::httpd_exchange::HttpdExchange;
use crate::python::Installation;
use exchange::abi::Engine;
use exchange::{Exchange, Failure, Outcome, Preload, Question, Reply, Settings};
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::CStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::OnceLock;

/// What a child knows.
pub struct Child {
    engine: Option<&'static Engine>,
    /// The groups of workers, if there are any.
    pub remote: Option<Remote>,
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
    let resolved = configuration.resolved.get().filter(|resolved| resolved.wants_python);
    let engine = resolved.and_then(|resolved| {
        let python = resolved.python.as_ref()?;
        crate::engine::start(python, &settings(python, &configuration.process, resolved))
    });
    // Only a child that was begun twice could find it set; then the first engine is the one that runs.
    let _ = CHILD.set(Child {
        engine,
        remote: remote(main),
        number: std::process::id(),
        pid: std::process::id().to_string(),
        banner: process::server_banner(),
        ports: process::listening_ports(),
        environment: std::env::vars_os()
            .map(|(name, value)| (name.into_vec(), value.into_vec()))
            .collect(),
    });
}

/// The groups of workers that this child may send requests to.
fn remote(main: ServerRec<'_>) -> Option<Remote> {
    let inherited = supervisor::inherit(main)?;
    let resolved = store::of_server(main).resolved.get()?;
    let prefix = supervisor::prefix(main);
    Some(Remote::new(&inherited, &prefix, &resolved.plan.daemons))
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

    /// Has the engine ask a script about a request. `None` if there is nobody to ask.
    pub fn ask<E: Exchange>(
        &self,
        exchange: &mut E,
        question: Question<'_>,
        reply: &mut dyn FnMut(Reply<'_>),
    ) -> Option<Result<(), Failure>> {
        let engine = self.engine?;
        let before = SERVING.replace(true);
        let asked = engine.ask(exchange, question, reply);
        SERVING.set(before);
        Some(asked)
    }

    /// A variable of the environment that the process began with.
    pub fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        self.environment.get(name).map(Vec::as_slice)
    }
}

fn settings(python: &Installation, written: &Process<'_>, resolved: &Resolved<'_>) -> Settings {
    let shape = process::shape();
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
    let plan = resolved.plan;
    let all = &written.interpreters;
    let is_main = |name: &[u8]| matches!(&resolved.sole, Some(Sole::Name(sole)) if sole == name);
    Settings {
        program: bytes(&python.program),
        home: bytes(&python.home),
        python_path: all.directories(),
        restrict_stdin: all.restrict_stdin.unwrap_or(false),
        restrict_stdout: all.restrict_stdout.unwrap_or(false),
        restrict_signal: all.restrict_signal.unwrap_or(true),
        process_group: Vec::new(),
        maximum_processes: shape.processes,
        threads_per_process: shape.threads,
        multiprocess: shape.processes != 1,
        multithread: shape.threads != 1,
        debugging: process::is_debugging(),
        optimize: written.optimize,
        dont_write_bytecode: written.dont_write_bytecode,
        warnings: written.warnings.iter().map(|filter| filter.to_vec()).collect(),
        hash_seed: written.hash_seed,
        python_eggs: written.python_eggs.unwrap_or_default().to_vec(),
        case_sensitive: !written.case_insensitive,
        destroy_interpreters: !written.keep_interpreters,
        own_gil: all.own_gil.unwrap_or(false),
        free_threading: plan.free_threading(b"").or(all.free_threading).unwrap_or(false),
        switch_interval: all.switch_interval,
        server_metrics: written.server_metrics,
        telemetry: written.telemetry.is_some(),
        slow_requests: written.slow_requests,
        options: plan.interpreter_options(b""),
        // A directory of scripts is an alias as well, and nothing to be loaded.
        preload: without_directories(plan.preload(b"", is_main)),
        server: exchange::Server {
            version: process::BUILT_FOR,
            description: process::server_description(),
            mpm: process::mpm_name(),
            built: process::server_built(),
        },
    }
}

fn without_directories(mut scripts: Vec<Preload>) -> Vec<Preload> {
    scripts.retain(|script| !Path::new(std::ffi::OsStr::from_bytes(&script.path)).is_dir());
    scripts
}
