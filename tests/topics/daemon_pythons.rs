//! What a daemon process is: the Python of its own group, with an address space, a user, a directory, an environment and
//! limits of its own.

use super::with_notes;
use crate::harness::{Installation, Server, run, wait_for};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const APPLICATION: &str = "
import json, os, resource, sys, threading

def application(environ, start_response):
    expression = environ['QUERY_STRING']
    from urllib.parse import unquote
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(eval(unquote(expression))).encode()]
";

fn ask(server: &Server, path: &str, expression: &str) -> serde_json::Value {
    let quoted: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
    server.get(&format!("{path}?{quoted}")).json()
}

/// Pythons besides the one under test, for which there are engines: `RUSTGI_PYTHONS`, with colons between them.
fn other_pythons() -> Vec<PathBuf> {
    let named = std::env::var_os("RUSTGI_PYTHONS").unwrap_or_default();
    std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect()
}

#[test]
fn groups_with_pythons_of_their_own_run_beside_the_embedded_one() {
    let others = other_pythons();
    if others.is_empty() {
        eprintln!("skipped: RUSTGI_PYTHONS names no other Python");
        return;
    }
    let mut builder = Server::builder().app("app.wsgi", APPLICATION).embedded();
    let mut pythons = vec![Installation::get().python.clone()];
    pythons.extend(others);
    for (number, python) in pythons.iter().enumerate() {
        let venv = builder.root().join(format!("venv{number}"));
        run(Command::new(python).args(["-m", "venv", "--without-pip"]).arg(&venv));
        builder = builder.config(&format!(
            "WSGIDaemonProcess d{number} python-home=@root@/venv{number} threads=2
WSGIScriptAlias /d{number} @apps@/app.wsgi process-group=d{number} application-group=%{{GLOBAL}}"
        ));
    }
    let server = builder.config("WSGIScriptAlias / @apps@/app.wsgi").start();
    let facts = "[sys.version, sys.prefix, sys.executable, sys.base_prefix]";
    let said = |python: &Path| {
        let printed = run(Command::new(python).args(["-c", "import sys; print(sys.version)"]));
        printed.trim().to_owned()
    };
    let embedded = ask(&server, "/", facts);
    assert_eq!(embedded[0], said(&Installation::get().python));
    for (number, python) in pythons.iter().enumerate() {
        let found = ask(&server, &format!("/d{number}"), facts);
        println!("{found}");
        let venv = server.root().join(format!("venv{number}"));
        assert_eq!(found[0], said(python));
        assert_eq!(found[1], venv.to_str().unwrap());
        assert!(found[2].as_str().unwrap().starts_with(venv.join("bin/python").to_str().unwrap()));
    }
}

#[test]
fn the_memory_of_the_server_is_not_the_memory_of_a_worker() {
    // A key that httpd has read, as it reads those of TLS: every directive's text stays in its memory.
    let secret = format!("{}{}", "SECRET-OF-THE-", "SERVER-0f3c");
    let server = Server::builder_of(APPLICATION)
        .daemon("site threads=2")
        .load(&["headers"])
        .config(&format!("Header set X-Key \"{secret}\" env=never"))
        .start();
    server.get("/?1");
    assert!(memory_holds(server.child(), &secret), "a child of the server has it");
    assert!(!memory_holds(server.worker(), &secret), "a worker has it");
}

fn memory_holds(pid: i32, text: &str) -> bool {
    use std::os::unix::fs::FileExt;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let from = u64::from_str_radix(from, 16).unwrap();
        let length = u64::from_str_radix(to, 16).unwrap() - from;
        let mut block = vec![0; length.min(256 << 20) as usize];
        let read = memory.read_at(&mut block, from).unwrap_or(0);
        memchr::memmem::find(&block[..read], text.as_bytes()).is_some()
    })
}

#[test]
fn a_worker_is_what_its_options_say() {
    let builder = with_notes(Server::builder_of(APPLICATION));
    let builder = builder.file("extra/placed.py", "WHERE = 'python-path'\n").daemon(
        "site processes=2 threads=3 umask=0027 home=@root@/run python-path=@root@/extra lang=C.UTF-8 \
         locale=C.UTF-8 python-eggs=@root@/eggs display-name=%{GROUP} cpu-time-limit=1000 \
         virtual-memory-limit=8000000000 memory-limit=4000000000 stack-size=1048576 switch-interval=0.02 \
         env=COLOUR=red environment-file=@root@/environment",
    );
    let builder = builder.file("environment", "# a comment\nSHAPE=round\nTEXT='with spaces'\n");
    let server = builder.start();
    let says = |expression: &str| ask(&server, "/", expression);
    let root = server.root().to_str().unwrap().to_owned();
    assert_eq!(says("os.getcwd()"), format!("{root}/run"));
    let first = [format!("{root}/run"), format!("{root}/extra")];
    assert_eq!(says("sys.path[:2]"), serde_json::json!(first));
    assert_eq!(says("__import__('placed').WHERE"), "python-path");
    assert_eq!(says("os.umask(0o27)"), 0o27);
    assert_eq!(
        says("[os.environ['LANG'], os.environ['LC_ALL']]"),
        serde_json::json!(["C.UTF-8", "C.UTF-8"])
    );
    assert_eq!(says("os.environ['PYTHON_EGG_CACHE']"), format!("{root}/eggs"));
    assert_eq!(says("resource.getrlimit(resource.RLIMIT_CPU)[0]"), 1000);
    assert_eq!(
        says("resource.getrlimit(resource.RLIMIT_AS)"),
        serde_json::json!([8_000_000_000_u64, 8_000_000_000_u64])
    );
    assert_eq!(says("resource.getrlimit(resource.RLIMIT_DATA)[0]"), 4_000_000_000_u64);
    assert_eq!(says("sys.getswitchinterval()"), 0.02);
    assert_eq!(
        says("[os.environ['COLOUR'], os.environ['SHAPE'], os.environ['TEXT']]"),
        serde_json::json!(["red", "round", "with spaces"])
    );
    assert_eq!(says("__import__('mod_wsgi').process_group"), "site");
    assert_eq!(
        says(
            "[__import__('mod_wsgi').maximum_processes, __import__('mod_wsgi').threads_per_process]"
        ),
        serde_json::json!([2, 3])
    );
    assert_eq!(
        says("[environ['wsgi.multiprocess'], environ['wsgi.multithread']]"),
        serde_json::json!([true, true])
    );
    assert_eq!(says("environ['mod_wsgi.process_group']"), "site");
    // One of the two may only be starting, and has its name later than the other.
    let line = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    wait_for("the name of both workers", || {
        let lines: Vec<String> = server.workers().into_iter().map(line).collect();
        (lines.len() == 2 && lines.iter().all(|line| line.starts_with("(wsgi:site)"))).then_some(())
    });
}

#[test]
fn a_worker_runs_as_the_user_of_its_group() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can run processes as others");
        return;
    }
    let server = Server::builder_of(APPLICATION)
        .daemon("site user=nobody group=nogroup supplementary-groups=nogroup home=/")
        .start();
    let ids =
        ask(&server, "/", "[os.getresuid(), os.getresgid(), os.getgroups(), os.environ['HOME']]");
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (user, group) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    assert_eq!(ids[0], serde_json::json!([user, user, user]));
    assert_eq!(ids[1], serde_json::json!([group, group, group]));
    assert_eq!(ids[2], serde_json::json!([group]));
    assert_eq!(ids[3], nobody.dir.to_str().unwrap());
}

#[test]
fn processes_that_an_application_starts_do_not_disturb_its_worker() {
    let server = Server::builder_of(
        "
import multiprocessing, os, subprocess, sys

def double(number):
    return number * 2

def application(environ, start_response):
    if environ['PATH_INFO'] == '/fork':
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        text = str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    elif environ['PATH_INFO'] == '/subprocess':
        text = subprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True, text=True).stdout.strip()
    else:
        with multiprocessing.get_context(environ['PATH_INFO'][1:]).Pool(2) as pool:
            text = str(pool.map(abs, [-1, -2]))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [text.encode()]
",
    )
    .daemon("site threads=2")
    .start();
    let worker = server.worker();
    assert_eq!(server.get("/fork").text(), "7");
    assert_eq!(server.get("/subprocess").text(), "42");
    assert_eq!(server.get("/spawn").text(), "[1, 2]");
    assert_eq!(server.get("/forkserver").text(), "[1, 2]");
    wait_for("the helpers to end", || (server.workers() == [worker]).then_some(()));
}
