//! What the configuration means when all of it has been read: the Python of the children, the Python of each group of
//! processes, and the sole application group of each of them. Done once in each reading; `httpd -t` comes as far as this.

use super::daemon::Daemon;
use super::groups::{self, Candidate};
use super::written::{Process, Resolved};
use super::{Expression, Plan, store};
use crate::httpd::{ServerRec, log, walk};
use crate::python::{self, Choice, Examined};
use exchange::Level;
use std::sync::OnceLock;
use wire::control::Examination;

/// The children's Python is needed and cannot be had: the log says why.
pub struct Refused;

/// Makes of all that was written what is meant.
///
/// # Errors
/// The server cannot be run like this.
pub fn all(main: ServerRec<'_>) -> Result<(), Refused> {
    let plan = store::plan(main);
    let plan = store::keep_plan(main, plan.take());
    let process = &store::of_server(main).process;
    let wants_python = process.wants_python(plan);
    // `httpd -k stop` reads the configuration, too, and must stop the server even if the Python is missing by now.
    let (python, examined) = if stops() {
        (None, Vec::new())
    } else {
        let all = plan.daemons.iter().map(|daemon| examination(daemon, process)).collect();
        let (python, examined) = python::examine(main, process.python_home, wants_python, all);
        (Some(python), examined)
    };
    let python = match python.transpose() {
        Ok(python) => python,
        Err(unusable) if wants_python => {
            log::note_code(Level::Critical, unusable.code, &unusable.text);
            return Err(Refused);
        }
        Err(_) => None,
    };
    let mounts = mounts(main);
    let sole = groups::sole(&candidates(plan, &mounts, b""), &explicit(main, plan));
    resolve_daemons(main, plan, examined, &mounts);
    let mut python = python;
    for server in main.and_following() {
        let configuration = store::of_server(server);
        let resolved = Resolved {
            sole: sole.clone(),
            plan,
            wants_python,
            python: python.take(),
            resource_groups: configuration.aliases.iter().map(|_| OnceLock::new()).collect(),
            walks: configuration.aliases.iter().map(|_| walk::Known::default()).collect(),
        };
        // Set once in each reading of the configuration: the records are new each time. A virtual host that says
        // nothing has the main server's.
        let _ = configuration.resolved.set(resolved);
    }
    Ok(())
}

/// An alias as it comes to its groups.
struct Mount<'p> {
    process_group: Expression<'p>,
    candidate: Candidate<'p>,
}

fn mounts<'p>(main: ServerRec<'p>) -> Vec<Mount<'p>> {
    let mut mounts = Vec::new();
    for server in main.and_following() {
        let written = store::of_server(server);
        for alias in &written.aliases {
            let [process_group, group] = store::groups_of_alias(written, alias);
            let (server, path) = (server.name().unwrap_or_default(), alias.path());
            mounts.push(Mount { process_group, candidate: Candidate { server, group, path } });
        }
    }
    mounts
}

/// The aliases whose requests may be served by the processes of this name (empty: the server's own).
fn candidates<'p>(plan: &Plan<'p>, mounts: &[Mount<'p>], name: &[u8]) -> Vec<Candidate<'p>> {
    let is_open = is_open(plan, name);
    let here = mounts.iter().filter(|mount| is_open || leads_to(mount.process_group, name));
    here.map(|mount| mount.candidate).collect()
}

/// Whether requests of a process group that is said so may be served by the processes of this name.
fn leads_to(group: Expression<'_>, name: &[u8]) -> bool {
    group.name().is_none_or(|group| group == name)
}

/// Whether the section of a directory may lead any alias to a group of processes.
fn is_open(plan: &Plan<'_>, name: &[u8]) -> bool {
    !name.is_empty() && plan.directory_groups.iter().any(|group| leads_to(*group, name))
}

/// The application groups that are named for the server's own processes without an alias.
fn explicit<'p>(main: ServerRec<'p>, plan: &Plan<'p>) -> Vec<Expression<'p>> {
    let mut explicit = plan.groups.clone();
    for server in main.and_following() {
        explicit.extend_from_slice(&store::of_server(server).groups);
    }
    explicit
}

/// The application groups that are named for a group of processes without an alias. What a server says counts if it may
/// lead requests there.
fn explicit_for<'p>(main: ServerRec<'p>, plan: &Plan<'p>, name: &[u8]) -> Vec<Expression<'p>> {
    let mut explicit = Vec::new();
    for server in main.and_following() {
        let written = store::of_server(server);
        let by_alias = |alias| leads_to(store::groups_of_alias(written, alias)[0], name);
        if is_open(plan, name)
            || leads_to(written.scope.written.meant().process_group, name)
            || written.aliases.iter().any(by_alias)
        {
            explicit.extend_from_slice(&written.groups);
        }
    }
    let imports = plan.imports.iter().filter(|import| import.process_group == name);
    explicit.extend(imports.map(|import| Expression::Literal(import.application_group)));
    let may_come = |group: Option<Expression<'_>>| group.is_none_or(|group| leads_to(group, name));
    let handlers = plan.handlers.iter().filter(|(group, _)| may_come(*group));
    explicit.extend(handlers.map(|(_, group)| *group));
    explicit
}

/// The sole application group and the Python of each group of processes.
fn resolve_daemons<'p>(
    main: ServerRec<'p>,
    plan: &'p Plan<'p>,
    examined: Vec<Examined>,
    mounts: &[Mount<'p>],
) {
    for daemon in &plan.daemons {
        let name = daemon.name;
        let sole = groups::sole(&candidates(plan, mounts, name), &explicit_for(main, plan, name));
        let _ = daemon.sole.set(sole);
    }
    for (daemon, examined) in plan.daemons.iter().zip(examined) {
        if let Some(unusable) = examined.unusable() {
            let name = String::from_utf8_lossy(daemon.name);
            let text = format!("WSGIDaemonProcess {name}: {}", unusable.text);
            log::note_code(Level::Error, unusable.code, &text);
        }
        let _ = daemon.python.set(examined);
    }
}

/// The Python of a group.
fn examination(daemon: &Daemon<'_>, process: &Process<'_>) -> Examination {
    let options = &daemon.options;
    let choice = match (options.text("python"), options.text("python-home")) {
        (Some(program), _) => Choice::Program(program),
        (None, Some(home)) => Choice::Home(home, "python-home"),
        (None, None) => Choice::of_home(process.python_home),
    };
    python::of_group(choice, options)
}

/// Whether this is `httpd -k stop` or `graceful-stop`. Reads the arguments of the process, because the MPM removes `-k` from the
/// arguments that httpd keeps.
fn stops() -> bool {
    let mut words = std::env::args_os().map(std::ffi::OsString::into_encoded_bytes);
    let mut stops = false;
    while let Some(word) = words.next() {
        let order = match word.strip_prefix(b"-k") {
            Some(b"") => words.next(),
            order => order.map(<[u8]>::to_vec),
        };
        stops |= order.is_some_and(|order| matches!(&*order, b"stop" | b"graceful-stop"));
    }
    stops
}
