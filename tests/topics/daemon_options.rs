//! Options of a group of daemon processes that are no times, each by what it does.

use super::with_notes;
use crate::harness::{Server, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

const PLAIN: &str = "
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(os.getpriority(os.PRIO_PROCESS, 0)).encode()]
";

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root can give files and processes to others");
    }
    root
}

#[test]
fn cpu_priority_is_that_of_the_process() {
    assert_eq!(
        Server::builder_of(PLAIN).daemon("site cpu-priority=7").start().get("/").text(),
        "7"
    );
    // Without it, it is that of whoever starts httpd.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let own = stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap();
    assert_eq!(Server::builder_of(PLAIN).daemon("site").start().get("/").text(), own);
}

#[test]
fn script_user_and_script_group_let_only_their_own_scripts_run() {
    if !is_root() {
        return;
    }
    for (option, status) in [
        ("script-user=root", 200),
        ("script-user=daemon", 403),
        ("script-group=root", 200),
        ("script-group=daemon", 403),
    ] {
        let server = Server::builder_of(PLAIN).daemon(&format!("site {option}")).start();
        assert_eq!(server.get("/").status, status, "{option}");
        if status == 403 {
            server.await_log("WSGI1038");
        }
    }
    let server = Server::builder_of(PLAIN).daemon("site script-user=root").start();
    let script = server.root().join("apps/app.wsgi");
    let writable = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(&script, writable).unwrap();
    assert_eq!(server.get("/").status, 403, "anybody can have written it");
}

/// Whether this is the socket of a worker, which is called by its number.
fn is_of_worker(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".sock"));
    name.is_some_and(|number| number.parse::<u32>().is_ok())
}

#[test]
fn socket_user_owns_the_socket_and_nobody_else_may_connect() {
    if !is_root() {
        return;
    }
    let owner = |options: &str| {
        let server = Server::builder_of(PLAIN).daemon(&format!("site {options}")).start();
        server.worker();
        let mut all = vec![server.root().join("run")];
        let mut sockets = Vec::new();
        while let Some(directory) = all.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                let facts = entry.metadata().unwrap();
                if facts.is_dir() {
                    assert_eq!(facts.mode() & 0o077, 0o011, "it may be entered and not be read");
                    all.push(entry.path());
                } else if is_of_worker(&entry.path()) {
                    sockets.push((facts.uid(), facts.mode() & 0o777));
                }
            }
        }
        assert_eq!(sockets.len(), 1, "{sockets:?}");
        assert_eq!(sockets[0].1, 0o600);
        (sockets[0].0, server.get("/").status)
    };
    let number = |name: &str| User::from_name(name).unwrap().unwrap().uid.as_raw();
    let (of_httpd, status) = owner("");
    assert_eq!(status, 200);
    assert_ne!(of_httpd, 0);
    // Children of httpd, which run as another user, are kept out then.
    assert_eq!(owner("socket-user=daemon connect-timeout=1"), (number("daemon"), 503));
}

#[test]
fn header_buffer_size_is_the_longest_line_of_a_head() {
    let source = "
def application(environ, start_response):
    start_response('200 OK', [('X-Long', 'x' * int(environ['QUERY_STRING']))])
    return [b'body']
";
    let server = Server::builder_of(source).daemon("site header-buffer-size=8192").start();
    let answer = server.get("/?8000");
    assert_eq!((answer.status, answer.header("X-Long").map(str::len)), (200, Some(8000)));
    assert_eq!(server.get("/?8200").status, 500);
    server.await_log("WSGI0144");
    let server = Server::builder_of(source).daemon("site").start();
    assert_eq!(server.get("/?8200").status, 200);
}

#[test]
fn request_body_memory_says_what_of_a_body_goes_to_the_disk() {
    let source = "
import os
def application(environ, start_response):
    links = [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if os.path.islink(f'/proc/self/fd/{fd}')]
    size = len(environ['wsgi.input'].read())
    body = [link for link in links if 'rustgi-body' in link or link.endswith(' (deleted)') and not link.startswith('/memfd')]
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [f'{size} {body}'.encode()]
";
    let body = vec![b'x'; 200_000];
    let server = Server::builder_of(source).daemon("site").start();
    assert_eq!(server.post("/", "small").text(), "5 []");
    let text = server.post("/", &body).text().to_owned();
    assert!(text.starts_with("200000 ") && text.contains("/memfd:rustgi-body"), "{text}");
    let server = Server::builder_of(source).daemon("site request-body-memory=100000").start();
    let text = server.post("/", &body).text().to_owned();
    assert!(text.starts_with("200000 ['/") && !text.contains("memfd"), "{text}");
}

#[test]
fn error_pages_of_the_server_take_the_place_of_an_applications_if_they_shall() {
    let source = "
def application(environ, start_response):
    start_response(environ['QUERY_STRING'] + ' Mine', [('WWW-Authenticate', 'Basic realm=\"x\"'), ('X-Mine', 'yes')])
    return [b'my page']
";
    let server = Server::builder_of(source)
        .daemon("site")
        .config("ErrorDocument 404 \"httpd's page\"\nErrorDocument 401 \"httpd's page\"")
        .config("<Location /over>\nWSGIErrorOverride On\n</Location>")
        .start();
    for status in [400, 401, 404, 500, 503] {
        let answer = server.get(&format!("/?{status}"));
        assert_eq!((answer.status, answer.text()), (status, "my page"));
        let answer = server.get(&format!("/over?{status}"));
        assert_eq!((answer.status, answer.header("X-Mine")), (status, None));
        assert!(!answer.text().contains("my page"), "{answer:?}");
        assert_eq!(answer.text() == "httpd's page", matches!(status, 401 | 404), "{answer:?}");
        let challenge = answer.header("WWW-Authenticate");
        assert_eq!(challenge, Some("Basic realm=\"x\""));
    }
    let answer = server.get("/over?302");
    assert_eq!((answer.status, answer.text()), (302, "my page"), "no error is overridden");
}

#[test]
fn a_service_that_waits_for_its_threads_is_told_to_end() {
    let service = "
import atexit, os, signal, threading

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: (print('service is told', flush=True), stop.set()))

def work():
    open('@root@/run/begun', 'w').close()
    stop.wait()
    print('service thread ends', flush=True)

atexit.register(lambda: print('service exits', flush=True))
threading.Thread(target=work).start()
";
    let server = with_notes(Server::builder_of(PLAIN))
        .app("service.py", service)
        .daemon("service threads=0")
        .config(
            "WSGIImportScript @apps@/service.py process-group=service application-group=%{GLOBAL}",
        )
        .start();
    let begun = server.root().join("run/begun");
    wait_for("the service", || begun.exists().then_some(()));
    // The script has ended by then, and its thread has not.
    std::thread::sleep(Duration::from_millis(300));
    let log = server.stop().error_log;
    for line in ["service is told", "service thread ends", "service exits"] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
}

#[test]
fn threads_0_makes_a_process_that_runs_a_script_and_serves_no_requests() {
    let service = "
import atexit, os, signal, time

def note(name):
    with open('@root@/run/' + name, 'a') as file:
        file.write(f'{os.getpid()}\\n')
    print('service', name, os.getpid())

@atexit.register
def at_exit():
    # Whoever was told to end is not told once more.
    if os.path.exists('@root@/run/stopped'):
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.05)
    note('exited')

note('begun')
try:
    while True:
        time.sleep(0.05)
except SystemExit:
    time.sleep(0.3)
    note('ended')
    raise
";
    let server = with_notes(Server::builder_of(PLAIN))
        .app("service.py", service)
        .daemon("service threads=0")
        .config(
            "WSGIImportScript @apps@/service.py process-group=service application-group=%{GLOBAL}",
        )
        .config("<Location /embedded>\nWSGIProcessGroup %{GLOBAL}\n</Location>")
        .start();
    let lines = |name: &str| {
        let text = fs::read_to_string(server.root().join("run").join(name)).unwrap_or_default();
        text.lines().map(|line| line.parse::<i32>().unwrap()).collect::<Vec<_>>()
    };
    let first = wait_for("the service", || lines("begun").first().copied());
    assert_eq!(server.worker(), first);
    let refused = server.get("/");
    assert_eq!(refused.status, 503);
    server.await_log("WSGI1021");
    assert_eq!(server.get("/embedded").status, 200);
    kill(Pid::from_raw(first), Signal::SIGUSR1).unwrap();
    kill(Pid::from_raw(first), Signal::SIGTERM).unwrap();
    wait_for("its end", || lines("ended").contains(&first).then_some(()));
    let second = wait_for("another one", || lines("begun").get(1).copied());
    assert_ne!(first, second);
    fs::write(server.root().join("run/stopped"), "").unwrap();
    // Stopping the server ends it as well, once; the harness looks for what is left.
    let log = server.stop().error_log;
    assert!(!log.contains("SystemExit"), "{log}");
    for name in ["begun", "ended", "exited"] {
        for pid in [first, second] {
            assert_eq!(log.matches(&format!("service {name} {pid}")).count(), 1, "{name}: {log}");
        }
    }
}

/// Allocates and keeps 1 MB in each request, and reports a MemoryError in one of three ways.
const GREEDY: &str = "
KEPT = []

def application(environ, start_response):
    what = environ['PATH_INFO'][1:]
    try:
        if what == 'raise':
            raise MemoryError
        if what:
            KEPT.append(bytearray(10 << 20))
    except MemoryError:
        if what != 'caught':
            raise
        start_response('500 Internal Server Error', [])
        return [b'caught']
    start_response('200 OK', [])
    return [b'done']
";

#[test]
fn a_worker_that_has_reached_its_memory_limit_is_replaced_and_the_log_names_the_option() {
    for (option, way) in [
        ("memory-limit", "/uncaught"),
        ("memory-limit", "/caught"),
        ("virtual-memory-limit", "/uncaught"),
    ] {
        let server = Server::builder_of(GREEDY)
            .daemon(&format!("site threads=2 {option}=400000000"))
            .start();
        let worker = server.worker();
        assert_eq!(server.get("/").status, 200);
        // Far below the limit nothing is logged.
        assert_eq!(server.get("/raise").status, 500);
        let failed = (0..100).any(|_| server.get(way).status == 500);
        assert!(failed, "{}", server.error_log());
        let line = server.await_log("WSGI1070");
        assert!(line.contains(&format!("{option} is 400000000")), "{line}");
        wait_for("another worker", || (!server.workers().contains(&worker)).then_some(()));
        server.await_log("memory_limit");
        assert_eq!(server.get(way).status, 200);
        assert_eq!(server.error_log().matches("WSGI1070").count(), 1);
    }
}

#[test]
fn memory_error_far_below_the_limit_does_not_replace_a_worker() {
    let server =
        Server::builder_of(GREEDY).daemon("site threads=2 memory-limit=4000000000").start();
    let worker = server.worker();
    for _ in 0..3 {
        assert_eq!(server.get("/raise").status, 500);
    }
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(server.worker(), worker);
    assert!(!server.error_log().contains("WSGI1070"));
}

#[test]
fn the_log_names_the_memory_limit_of_a_worker_that_cannot_start() {
    let server = Server::builder_of(GREEDY)
        .daemon("site threads=2 memory-limit=3000000 connect-timeout=1")
        .expect_in_log("")
        .start();
    let line = server.await_log("it ran with memory-limit=3000000");
    assert!(line.contains("process group 'site'"), "{line}");
    assert_eq!(server.get("/").status, 503);
}

#[test]
fn a_script_of_another_owner_is_not_loaded_by_wsgi_import_script_either() {
    if !is_root() {
        return;
    }
    let import = "WSGIImportScript @apps@/app.wsgi process-group=site application-group=%{GLOBAL}";
    let source = format!("print('it runs')\n{PLAIN}");
    let start = |option: &str| {
        Server::builder_of(&source).daemon(&format!("site {option}")).config(import).start()
    };
    let server = start("script-user=root");
    assert_eq!(server.get("/").status, 200);
    server.await_log("it runs");
    let server = start("script-user=daemon");
    let line = server.await_log("WSGI1038");
    assert!(line.contains("the directory has owner 0"), "{line}");
    assert_eq!(server.get("/").status, 403);
    assert!(!server.error_log().contains("it runs"));
}
