//! What is around a group of daemon processes: logs that are rotated, piped or a virtual host's own, a root directory of
//! their own, and bodies that pass through without being kept.

use crate::harness::{Builder, Connection, Installation, Server, request, run, wait_for};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Writes to the log of its process, which is that of no request: at once, or after so many seconds.
const NOTES: &str = "
import sys, threading, time
def note(text):
    thread = threading.Thread(target=lambda: print(text, file=sys.stderr, flush=True))
    thread.start()
    thread.join()
def application(environ, start_response):
    text, _, seconds = environ['QUERY_STRING'].partition(':')
    note(f'before {text}')
    time.sleep(float(seconds or 0))
    note(f'after {text}')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'noted']
";

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[test]
fn after_a_rotation_workers_write_to_the_new_log_also_those_that_are_still_busy() {
    let server = Server::builder_of(NOTES).daemon("site threads=4").start();
    server.get("/?first");
    server.await_log("after first");
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| server.get("/?slow:3").status);
        server.await_log("before slow");
        let (log, old) =
            (server.root().join("logs/error.log"), server.root().join("logs/error.log.1"));
        fs::rename(&log, &old).unwrap();
        server.signal(nix::sys::signal::Signal::SIGUSR1);
        wait_for("the next generation", || {
            read(&log).contains("resuming normal operations").then_some(())
        });
        assert_eq!(slow.join().unwrap(), 200);
        wait_for("the late line", || read(&log).contains("after slow").then_some(()));
        assert!(!read(&old).contains("after slow"));
        server.get("/?second");
        wait_for("a new line", || read(&log).contains("after second").then_some(()));
    });
}

#[test]
fn a_log_that_is_a_program_gets_what_workers_write_before_and_after_a_graceful_restart() {
    let server = Server::builder_of(NOTES)
        .daemon("site threads=4")
        .config("ErrorLog \"|$cat >> '@logs@/error.log'\"")
        .start();
    server.get("/?first");
    server.await_log("after first");
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| server.get("/?slow:3").status);
        server.await_log("before slow");
        server.graceful();
        assert_eq!(slow.join().unwrap(), 200);
        server.await_log("after slow");
    });
    server.get("/?second");
    server.await_log("after second");
}

#[test]
fn a_group_of_a_virtual_host_writes_to_the_log_of_that_host() {
    let server = Server::builder_of(NOTES)
        .embedded()
        .config(
            "WSGIDaemonProcess common threads=2
<VirtualHost 127.0.0.1:@port@>
    ServerName a
    WSGIProcessGroup common
    ErrorLog @logs@/a.log
</VirtualHost>
<VirtualHost 127.0.0.1:@port@>
    ServerName b
    ErrorLog @logs@/b.log
    WSGIDaemonProcess own threads=2
    WSGIProcessGroup own
</VirtualHost>",
        )
        .start();
    let get = |host: &str, text: &str| {
        let answer = server.send("GET", &format!("/?{text}"), &[("Host", host)], b"");
        assert_eq!(answer.status, 200);
    };
    get("a", "common");
    get("b", "own");
    server.await_log("after common");
    let own = server.root().join("logs/b.log");
    wait_for("the line in the host's log", || read(&own).contains("after own").then_some(()));
    assert!(!server.error_log().contains("after own"));
    assert!(!read(&own).contains("common"));
    fs::rename(&own, server.root().join("logs/b.log.1")).unwrap();
    server.graceful();
    wait_for("its new log", || {
        get("b", "again");
        read(&own).contains("after again").then_some(())
    });
}

#[test]
fn where_applications_run_in_daemon_processes_alone_the_server_has_no_python() {
    let server = Server::builder_of(NOTES)
        .daemon("site threads=2")
        .config("WSGIRestrictEmbedded On")
        .start();
    assert_eq!(server.get("/?x").status, 200);
    let maps = |pid: i32| fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    for pid in [server.parent(), server.child(), server.supervisor()] {
        assert!(!maps(pid).contains("libpython") && !maps(pid).contains("/_rustgi."), "{pid}");
    }
    assert!(maps(server.worker()).contains("/_rustgi."));
}

/// Copies files and directories to where they are inside a root directory.
fn furnish(jail: &Path, paths: &[PathBuf]) {
    for path in paths {
        let to = jail.join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        run(Command::new("cp").args(["-aL", "--no-target-directory"]).arg(path).arg(&to));
    }
}

/// The shared libraries of a program.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let told = run(Command::new("ldd").arg(program));
    told.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

#[test]
fn with_chroot_a_worker_sees_nothing_outside() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can change the root directory");
        return;
    }
    let source = "
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr([__file__, os.path.exists('@root@/httpd.conf'), os.listdir('/'), environ['SCRIPT_FILENAME']]).encode()]
";
    let builder = Server::builder()
        .file("jail/srv/app.wsgi", source)
        .app("outside.wsgi", source)
        .daemon("site threads=2 chroot=@root@/jail home=/srv")
        .config("WSGIScriptAlias /outside @apps@/outside.wsgi\nWSGIScriptAlias / @root@/jail/srv/app.wsgi");
    let installed = Installation::get();
    let jail = builder.root().join("jail");
    fs::create_dir(&jail).unwrap();
    let engine = installed.python_says("sysconfig.get_config_var('EXT_SUFFIX')");
    let engine = installed.module.with_file_name("rustgi").join(format!("_rustgi{engine}"));
    let standard = PathBuf::from(installed.python_says("sysconfig.get_path('stdlib')"));
    let mut paths = libraries(&installed.python);
    paths.extend(libraries(&engine));
    paths.extend([installed.python.clone(), engine, standard]);
    furnish(&jail, &paths);
    let server = builder.start();
    let text = server.get("/").text().to_owned();
    assert!(text.starts_with("['/srv/app.wsgi', False, ["), "{text}");
    assert!(text.ends_with("], '/srv/app.wsgi']"), "{text}");
    assert_eq!(server.get("/outside").status, 502);
    server.await_log("WSGI0081");
}

#[test]
fn a_jail_without_a_python_is_told_in_the_log() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can change the root directory");
        return;
    }
    let server = Server::builder()
        .file("jail/srv/app.wsgi", NOTES)
        .daemon("site threads=2 chroot=@root@/jail home=/srv connect-timeout=1")
        .config("WSGIScriptAlias / @root@/jail/srv/app.wsgi")
        .start();
    let line = server.await_log("WSGI1005");
    assert!(line.contains("site") && line.contains("No such file"), "{line}");
    let answer = server.get("/");
    assert_eq!(answer.status, 503);
    assert!(answer.header("Retry-After").is_some());
}

const COUNTING: &str = "
def application(environ, start_response):
    size = sum(map(len, iter(lambda: environ['wsgi.input'].read(65536), b'')))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(size).encode()]
";

/// The highest resident memory of a process, in KiB.
fn highest(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn upload(server: &Server, mib: usize) {
    let mut connection: Connection = server.connect();
    let length = (mib << 20).to_string();
    connection.send(request("POST", "/", &[("Content-Length", &length)], b""));
    let block = vec![b'x'; 1 << 20];
    for _ in 0..mib {
        connection.send(&block);
    }
    assert_eq!(connection.receive().text(), length);
}

fn streams(mib: usize) {
    let server = streaming(COUNTING).config("LimitRequestBody 0").start();
    (0..3).for_each(|_| upload(&server, 1));
    let way = server.way();
    let before: Vec<u64> = way.iter().map(|pid| highest(*pid)).collect();
    upload(&server, mib);
    for (pid, before) in way.iter().zip(before) {
        let grown = highest(*pid) - before;
        println!("{mib} MiB streamed: process {pid} rose by {grown} KiB");
        assert!(grown < 4096, "{grown} KiB");
    }
}

fn streaming(source: &str) -> Builder {
    Server::builder_of(source).daemon("site threads=4 request-body=stream")
}

#[test]
fn an_upload_of_64_mib_that_is_streamed_is_kept_nowhere() {
    streams(64);
}

#[test]
#[ignore = "moves 1 GiB"]
fn an_upload_of_1_gib_that_is_streamed_is_kept_nowhere() {
    streams(1024);
}

#[test]
fn a_body_that_is_too_large_or_broken_is_refused_before_the_application_is_asked() {
    let source = "
def application(environ, start_response):
    print('it was asked', flush=True)
    start_response('200 OK', [])
    return [environ['wsgi.input'].read()]
";
    let server = Server::builder_of(source)
        .daemon("site threads=2")
        .config("WSGIChunkedRequest On\nLimitRequestBody 1000")
        .start();
    for (body, status) in [
        ([b"7d0\r\n".as_slice(), &[b'x'; 2000], b"\r\n0\r\n\r\n"].concat(), 413),
        (b"5\r\nabcde\r\nnonsense\r\n".to_vec(), 400),
    ] {
        let mut connection = server.connect();
        connection.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        let _ = connection.try_send(&body);
        let everything = String::from_utf8(connection.rest()).unwrap();
        assert!(everything.starts_with(&format!("HTTP/1.1 {status} ")), "{everything}");
        assert_eq!(everything.matches("HTTP/1.1").count(), 1, "{everything}");
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(!server.error_log().contains("it was asked"));
}
