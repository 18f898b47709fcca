//! What shall run: `WSGIDaemonProcess` and whatever else the configuration says of its processes, as the supervisor is
//! told. Made anew in each reading of the configuration.

use crate::config::daemon::{Daemon, Options};
use crate::config::groups::Sole;
use crate::config::written::{CALLABLE, Process};
use crate::config::{Plan, store};
use crate::httpd::{ServerRec, process};
use crate::identity;
use exchange::{Preload, Settings};
use std::collections::BTreeSet;
use wire::control::{Desired, Group, ScriptOwner, Worker};
use wire::{Master, Secret};

/// Default of `startup-timeout` for the scripts that are loaded before a worker is ready, in seconds. Without the option the script of
/// the first request may take any time.
const LOADING: u32 = 60;

/// What the whole configuration wants to run.
pub fn all(main: ServerRec<'_>, plan: &Plan<'_>, master: &Master) -> Desired {
    let process = &store::of_server(main).process;
    let (client_user, _) = process::child_identity();
    Desired {
        serial: 0,
        generation: process::configuration_generation(),
        client_user: if process::is_superuser() { client_user } else { process::own_user() },
        prefix: super::supervisor::prefix(main),
        groups: plan
            .daemons
            .iter()
            .map(|daemon| {
                let secret = Secret::of_group(master, daemon.name);
                Group { secret, ..group(main, plan, process, daemon) }
            })
            .collect(),
    }
}

fn group(
    main: ServerRec<'_>,
    plan: &Plan<'_>,
    process: &Process<'_>,
    daemon: &Daemon<'_>,
) -> Group {
    let options = &daemon.options;
    let home = options.text("home").map(<[u8]>::to_vec);
    let (user, _) = process::child_identity();
    let mut group = Group {
        name: daemon.name.to_vec(),
        has_log: daemon.host.is_some_and(|host| host.has_own_log(main)),
        log_level: daemon.host.map_or_else(|| main.log_level(), ServerRec::log_level),
        environment: environment(process, options),
        processes: options.number_or("processes", 1),
        identity: identity::of_group(options),
        home,
        chroot: options.text("chroot").map(<[u8]>::to_vec),
        umask: options.number("umask").and_then(|mask| u32::try_from(mask).ok()),
        display_name: display_name(daemon),
        cpu_priority: options.number_or("cpu-priority", 0),
        cpu_time_limit: options.number_or("cpu-time-limit", 0),
        memory_limit: options.number_or("memory-limit", 0),
        virtual_memory_limit: options.number_or("virtual-memory-limit", 0),
        dumpable: process::may_dump_core(),
        listen_backlog: options.number_or("listen-backlog", 100),
        socket_user: process::is_superuser()
            .then(|| options.identity("socket-user").unwrap_or(user)),
        restart_interval: options.number_or("restart-interval", 0),
        graceful_timeout: options.number_or("graceful-timeout", 15),
        eviction_timeout: options.number_or("eviction-timeout", 0),
        shutdown_timeout: options.number_or("shutdown-timeout", 5),
        startup_timeout: options.number_or("startup-timeout", LOADING),
        worker: worker(main, plan, options),
        ..Group::default()
    };
    group.free_threading = is_free(plan, process, daemon.name);
    add_arguments(&mut group, process);
    let pairs = settings(plan, process, daemon).to_pairs().into_iter();
    group.worker.settings = pairs.map(|(name, value)| (name.to_owned(), value)).collect();
    let Some(examined) = daemon.python.get() else { return group };
    match &examined.result {
        Some(Ok(found)) => group.complete(found),
        Some(Err(unusable)) => {
            group.unusable = Some((unusable.code as u16, unusable.text.clone()));
            group.examination = Some(examined.examination.clone());
        }
        None => group.examination = Some(examined.examination.clone()),
    }
    group
}

/// The command line options of the interpreter.
fn add_arguments(group: &mut Group, process: &Process<'_>) {
    let arguments = &mut group.arguments;
    arguments.extend((0..process.optimize.min(2)).map(|_| b"-O".to_vec()));
    arguments.extend(process.dont_write_bytecode.then(|| b"-B".to_vec()));
    arguments.extend(process.warnings.iter().map(|filter| [b"-W", *filter].concat()));
}

fn is_free(plan: &Plan<'_>, process: &Process<'_>, name: &[u8]) -> bool {
    plan.free_threading(name).or(process.interpreters.free_threading).unwrap_or(false)
}

/// Changes to the environment that httpd has; later ones win.
fn environment(process: &Process<'_>, options: &Options<'_>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut changes: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut set = |name: &[u8], value: &[u8]| {
        changes.retain(|(known, _)| known != name);
        changes.push((name.to_vec(), value.to_vec()));
    };
    if let Some(seed) = process.hash_seed {
        set(b"PYTHONHASHSEED", seed.to_string().as_bytes());
    }
    for (name, value) in options.variables().filter_map(wire::variables::split) {
        set(name, value);
    }
    for (name, option) in [(&b"LANG"[..], "lang"), (b"LC_ALL", "locale")] {
        if let Some(value) = options.text(option) {
            set(name, value);
        }
    }
    changes.into_iter().map(|(name, value)| (name, Some(value))).collect()
}

/// `display-name`, in which `%{GROUP}` stands for the whole of it.
fn display_name(daemon: &Daemon<'_>) -> Option<Vec<u8>> {
    match daemon.options.text("display-name")? {
        b"%{GROUP}" => Some([b"(wsgi:", daemon.name, b")"].concat()),
        text => Some(text.to_vec()),
    }
}

fn worker(main: ServerRec<'_>, plan: &Plan<'_>, options: &Options<'_>) -> Worker {
    let timeout = main.timeout().as_secs().try_into().unwrap_or(u32::MAX);
    Worker {
        threads: options.number_or("threads", 15),
        stack_size: options.number_or("stack-size", 0),
        home: options.text("home").map(<[u8]>::to_vec),
        locale: options.text("locale").map(<[u8]>::to_vec),
        socket_timeout: match options.number_or("socket-timeout", 0) {
            0 => timeout,
            own => own,
        },
        maximum_requests: options.number_or("maximum-requests", 0),
        inactivity_timeout: options.number_or("inactivity-timeout", 0),
        deadlock_timeout: options.number_or("deadlock-timeout", 300),
        request_timeout: options.number_or("request-timeout", 0),
        interrupt_timeout: options.number_or("interrupt-timeout", 0),
        startup_timeout: options.number_or("startup-timeout", 0),
        load_timeout: options.number_or("startup-timeout", LOADING),
        shutdown_timeout: options.number_or("shutdown-timeout", 5),
        graceful_timeout: options.number_or("graceful-timeout", 15),
        cpu_time_limit: options.number_or("cpu-time-limit", 0),
        memory_limit: options.number_or("memory-limit", 0),
        virtual_memory_limit: options.number_or("virtual-memory-limit", 0),
        script_owner: ScriptOwner {
            user: options.identity("script-user"),
            group: options.identity("script-group"),
        },
        callables: callables(plan),
        settings: Vec::new(),
    }
}

/// The callables that the configuration names, and the one that a script has if none is named.
fn callables(plan: &Plan<'_>) -> Vec<Vec<u8>> {
    let all: BTreeSet<&[u8]> = plan.callables.iter().copied().chain([CALLABLE]).collect();
    all.into_iter().map(<[u8]>::to_vec).collect()
}

/// Without `program`, which the examination of its Python tells.
fn settings(plan: &Plan<'_>, process: &Process<'_>, daemon: &Daemon<'_>) -> Settings {
    let (options, all) = (&daemon.options, &process.interpreters);
    let threads: u32 = options.number_or("threads", 15);
    let path = options.text("python-path").unwrap_or_default().split(|&byte| byte == b':');
    let sole = daemon.sole.get().and_then(Option::as_ref);
    let is_main = |name: &[u8]| matches!(sole, Some(Sole::Name(sole)) if sole == name);
    Settings {
        program: Vec::new(),
        home: Vec::new(),
        python_path: path.filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect(),
        restrict_stdin: all.restrict_stdin.unwrap_or(false),
        restrict_stdout: all.restrict_stdout.unwrap_or(false),
        // A script that is the process itself handles its own signals.
        restrict_signal: threads != 0 && all.restrict_signal.unwrap_or(true),
        process_group: daemon.name.to_vec(),
        maximum_processes: options.number_or("processes", 1),
        threads_per_process: threads.max(1),
        multiprocess: options.has("processes"),
        multithread: threads != 1,
        debugging: false,
        optimize: process.optimize,
        dont_write_bytecode: process.dont_write_bytecode,
        warnings: process.warnings.iter().map(|filter| filter.to_vec()).collect(),
        hash_seed: process.hash_seed,
        python_eggs: options.text("python-eggs").unwrap_or_default().to_vec(),
        case_sensitive: !process.case_insensitive,
        destroy_interpreters: !process.keep_interpreters,
        own_gil: all.own_gil.unwrap_or(false),
        free_threading: is_free(plan, process, daemon.name),
        switch_interval: options.real("switch-interval"),
        server_metrics: options.is_on("server-metrics"),
        telemetry: process.telemetry.is_some(),
        slow_requests: process.slow_requests,
        options: plan.interpreter_options(daemon.name),
        preload: inside(options.text("chroot"), plan.preload(daemon.name, is_main)),
        server: exchange::Server {
            version: process::BUILT_FOR,
            description: process::server_description(),
            mpm: process::mpm_name(),
            built: process::server_built(),
        },
    }
}

/// The paths of scripts as a process with the root directory `jail` sees them. They may include directories, which aliases can name,
/// too: this process does not check that, because it must not wait for their file systems; the worker ignores directories.
fn inside(jail: Option<&[u8]>, mut scripts: Vec<Preload>) -> Vec<Preload> {
    if let Some(jail) = jail {
        scripts.retain_mut(|script| match super::inside(jail, &script.path) {
            Some(path) => {
                script.path = path.to_vec();
                true
            }
            None => false,
        });
    }
    scripts
}
