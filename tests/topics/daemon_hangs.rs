//! Interpreters and environment files that hang delay their own group alone, and a supervisor that is stopped delays neither a start nor
//! a reload of httpd.

use super::with_notes;
use crate::harness::{Builder, Installation, Server, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const APPLICATION: &str = "
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [f\"{environ['mod_wsgi.process_group']} {os.environ.get('COLOUR')} {os.getpid()}\".encode()]
";

/// Writes the user of each examination to a file `run/examined.PID`, and hangs as long as `run/hang` exists.
const PYTHON: &str = "#!/bin/sh
if [ \"$1\" = -I ]; then
    id -u > @root@/run/examined.$$
    while [ -e @root@/run/hang ]; do sleep 0.1; done
fi
exec @python@ \"$@\"
";

/// A wait that the server bounds to 2 s ends within this time even on a loaded machine; without the bound it would take minutes.
const SOON: Duration = Duration::from_secs(12);

fn python() -> String {
    PYTHON.replace("@python@", Installation::get().python.to_str().unwrap())
}

/// A group `slow` with the interpreter above, and a group `sound`.
fn builder() -> Builder {
    let builder = with_notes(Server::builder())
        .app("app.wsgi", APPLICATION)
        .file("docs/static.txt", "static")
        .file("tenant/python3", python())
        .embedded()
        .config(
            "WSGIDaemonProcess slow python=@root@/tenant/python3 threads=2 connect-timeout=1
WSGIDaemonProcess sound threads=2
WSGIScriptAlias /slow @apps@/app.wsgi process-group=slow application-group=%{GLOBAL}
WSGIScriptAlias /sound @apps@/app.wsgi process-group=sound application-group=%{GLOBAL}",
        );
    fs::create_dir(builder.root().join("tenant")).unwrap();
    let place = builder.root().join("tenant/python3");
    fs::write(&place, "").unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    builder
}

fn hang(root: &Path) {
    fs::write(root.join("run/hang"), "").unwrap();
}

fn go_on(root: &Path) {
    fs::remove_file(root.join("run/hang")).unwrap();
}

fn examinations(server: &Server) -> Vec<String> {
    let files = fs::read_dir(server.root().join("run")).unwrap().map(|entry| entry.unwrap().path());
    let noted = files.filter(|path| path.to_str().unwrap().contains("/examined."));
    noted.map(|path| fs::read_to_string(path).unwrap().trim().to_owned()).collect()
}

/// How long it takes.
fn time<T>(body: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = body();
    (begun.elapsed(), done)
}

fn status(server: &Server) -> String {
    let directory = link_directory(server);
    let rustgi = Installation::get().module.with_file_name("rustgi").join("rustgi");
    let mut command = Command::new(rustgi);
    command.arg("ctl").arg("--socket").arg(directory.join("rustgi.control")).arg("status");
    let told = command.output().unwrap();
    String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned()
}

fn link_directory(server: &Server) -> std::path::PathBuf {
    server.root().join(format!("run/wsgi.{}", server.supervisor()))
}

#[test]
fn an_interpreter_that_does_not_answer_affects_its_own_group_alone() {
    let builder = builder();
    hang(builder.root());
    let (took, server) = time(|| builder.start());
    assert!(took < SOON, "start: {took:?}");
    server.await_log("WSGI1081: WSGIDaemonProcess slow");
    let refused = wait_for("a refusal that says why", || {
        let answer = server.get("/slow");
        assert_eq!(answer.status, 503);
        server.error_log().contains("(WSGI1081: ").then_some(answer)
    });
    assert!(refused.header("Retry-After").is_some());
    let told = status(&server);
    assert!(told.contains("slow: ") && told.contains("tenant/python3"), "{told}");
    for _ in 0..2 {
        let (took, answer) = time(|| {
            server.graceful();
            server.get("/static.txt")
        });
        assert_eq!(answer.text(), "static");
        assert!(took < SOON, "graceful: {took:?}");
        println!("graceful and a static file beside an interpreter that hangs: {took:?}");
        let (took, answer) = time(|| server.get("/sound"));
        assert!(answer.text().starts_with("sound "), "{}", answer.text());
        assert!(took < SOON, "{took:?}");
    }
    // The configuration is not read again: the supervisor repeats the examination.
    go_on(server.root());
    wait_for("the group serves", || (server.get("/slow").status == 200).then_some(()));
    assert!(server.get("/slow").text().starts_with("slow "));
    let told = status(&server);
    assert!(!told.contains("requests get 503 (WSGI"), "{told}");
}

#[test]
fn many_interpreters_that_do_not_answer_take_no_longer_than_one() {
    const MANY: usize = 20;
    let mut builder = builder();
    for number in 0..MANY {
        builder = builder.config(&format!(
            "WSGIDaemonProcess g{number} python=@root@/tenant/other{number} threads=1"
        ));
        std::os::unix::fs::symlink("python3", builder.root().join(format!("tenant/other{number}")))
            .unwrap();
    }
    hang(builder.root());
    let (took, server) = time(|| builder.start());
    println!("a start with {MANY} interpreters that hang: {took:?}");
    assert!(took < SOON, "{took:?}");
    assert_eq!(server.get("/static.txt").text(), "static");
    assert!(server.get("/sound").text().starts_with("sound "));
}

#[test]
fn an_interpreter_is_run_again_only_when_its_file_has_changed() {
    let server = builder().start();
    wait_for("the group serves", || (server.get("/slow").status == 200).then_some(()));
    // On a loaded machine the supervisor may have had to run an examination, too.
    let before = examinations(&server).len();
    for _ in 0..2 {
        server.graceful();
        assert_eq!(server.get("/slow").status, 200);
    }
    assert_eq!(examinations(&server).len(), before);
    let place = server.root().join("tenant/python3");
    let text = fs::read_to_string(&place).unwrap();
    fs::write(&place, text + "# changed\n").unwrap();
    server.graceful();
    wait_for("another examination", || (examinations(&server).len() > before).then_some(()));
    assert_eq!(server.get("/slow").status, 200);
}

#[test]
fn interpreters_are_run_as_the_user_of_their_group() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can run processes as others");
        return;
    }
    let server = builder()
        .config(
            "WSGIDaemonProcess other python=@root@/tenant/python3 user=nobody group=nogroup home=/
WSGIScriptAlias /other @apps@/app.wsgi process-group=other application-group=%{GLOBAL}",
        )
        .start();
    wait_for("both groups serve", || {
        ["/slow", "/other"].iter().all(|path| server.get(path).status == 200).then_some(())
    });
    let users = examinations(&server);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid.to_string();
    assert!(users.contains(&nobody), "{users:?}");
    assert!(!users.contains(&"0".to_owned()), "{users:?}");
}

#[test]
fn an_environment_file_is_read_as_the_user_of_the_group_and_delays_no_other_group() {
    let builder = builder().file("sound.env", "COLOUR=red\n").config(
        "WSGIDaemonProcess coloured environment-file=@root@/tenant/env threads=2 connect-timeout=1
WSGIScriptAlias /coloured @apps@/app.wsgi process-group=coloured application-group=%{GLOBAL}",
    );
    let place = builder.root().join("tenant/env");
    fs::write(&place, "COLOUR=blue\n").unwrap();
    let server = builder.start();
    assert!(server.get("/coloured").text().starts_with("coloured blue "));
    let exchange = |make: &dyn Fn()| {
        fs::remove_file(&place).unwrap();
        make();
        let (took, answer) = time(|| {
            server.graceful();
            server.get("/static.txt")
        });
        assert_eq!(answer.text(), "static");
        assert!(took < SOON, "{took:?}");
    };
    // A pipe without a writer has no variables.
    exchange(&|| {
        nix::unistd::mkfifo(&place, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    });
    wait_for("no colour", || server.get("/coloured").text().contains(" None ").then_some(()));
    // httpd would end if this were an error of its configuration.
    exchange(&|| fs::write(&place, "nonsense\n").unwrap());
    server.await_log("WSGI1080: process group 'coloured'");
    assert_eq!(server.get("/coloured").status, 200, "the workers that were there go on");
    exchange(&|| fs::write(&place, "COLOUR=green\n").unwrap());
    wait_for("another colour", || server.get("/coloured").text().contains(" green ").then_some(()));
    if nix::unistd::geteuid().is_root() {
        let secret = server.root().join("secret.env");
        fs::write(&secret, "COLOUR=secret\n").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        exchange(&|| std::os::unix::fs::symlink(&secret, &place).unwrap());
        server.await_log("Permission denied");
        assert!(server.get("/coloured").text().contains(" green "));
    }
}

#[test]
fn httpd_stop_works_without_the_configured_python() {
    let python = Installation::get().python.clone();
    let builder = Server::builder_of(APPLICATION).embedded();
    let home = builder.root().join("home/bin");
    fs::create_dir_all(&home).unwrap();
    crate::harness::run(
        Command::new(python).args(["-m", "venv", "--without-pip"]).arg(builder.root().join("venv")),
    );
    let mut server = builder.config("WSGIPythonHome @root@/venv").start();
    assert_eq!(server.get("/").status, 200);
    fs::rename(server.root().join("venv"), server.root().join("gone")).unwrap();
    let stopped = Command::new(&Installation::get().httpd)
        .arg("-f")
        .arg(server.root().join("httpd.conf"))
        .args(["-k", "stop"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert!(stopped.status.success(), "{said}");
    server.await_end();
}

#[test]
fn a_stopped_supervisor_delays_no_restart_and_takes_the_newest_configuration_when_it_runs_again() {
    let server = Server::builder_of(APPLICATION)
        .file("docs/static.txt", "static")
        .daemon("site threads=2 env=COLOUR=first")
        .config("Alias /static.txt @docs@/static.txt")
        .load(&["alias"])
        .start();
    let first = server.get("/").text().to_owned();
    assert!(first.starts_with("site first "), "{first}");
    let supervisor = Pid::from_raw(server.supervisor());
    kill(supervisor, Signal::SIGSTOP).unwrap();
    let place = server.root().join("httpd.conf");
    let config = fs::read_to_string(&place).unwrap();
    for colour in ["second", "third"] {
        fs::write(&place, config.replace("COLOUR=first", &format!("COLOUR={colour}"))).unwrap();
        for (what, body) in [("static", "/static.txt"), ("site first ", "/")] {
            let (took, answer) = time(|| {
                server.graceful();
                server.get(body)
            });
            println!("graceful and {body} while the supervisor is stopped: {took:?}");
            assert!(answer.text().starts_with(what), "{}", answer.text());
            // If httpd waited for the supervisor, each would take 10 s or longer; 6 s are enough for a loaded machine.
            assert!(took < Duration::from_secs(6), "{body}: {took:?}");
        }
    }
    kill(supervisor, Signal::SIGCONT).unwrap();
    wait_for("the newest configuration", || {
        server.get("/").text().starts_with("site third ").then_some(())
    });
    assert_eq!(server.supervisor(), supervisor.as_raw());
    assert!(!server.error_log().contains("second "), "{}", server.error_log());
}

#[test]
fn more_restarts_than_a_channel_holds_are_not_delayed_by_a_stopped_supervisor() {
    let server = Server::builder_of(APPLICATION).daemon("site threads=2 env=COLOUR=first").start();
    assert!(server.get("/").text().starts_with("site first "));
    let supervisor = Pid::from_raw(server.supervisor());
    kill(supervisor, Signal::SIGSTOP).unwrap();
    let place = server.root().join("httpd.conf");
    let config = fs::read_to_string(&place).unwrap();
    let (took, ()) = time(|| {
        for number in 0..12 {
            fs::write(&place, config.replace("COLOUR=first", &format!("COLOUR={number}"))).unwrap();
            server.graceful();
        }
    });
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(server.get("/").text().starts_with("site first "));
    server.await_log("WSGI1082");
    kill(supervisor, Signal::SIGCONT).unwrap();
    // The watchdog, which httpd calls every few seconds, hands over the newest one.
    wait_for("the newest configuration", || {
        server.get("/").text().starts_with("site 11 ").then_some(())
    });
    assert_eq!(server.error_log().matches("WSGI1082").count(), 1);
}

#[test]
fn httpd_stop_ends_a_stopped_supervisor() {
    let mut server = Server::builder_of(APPLICATION)
        .daemon("site threads=2 shutdown-timeout=1")
        .files_may_stay_open()
        .start();
    assert_eq!(server.get("/").status, 200);
    let supervisor = server.supervisor();
    kill(Pid::from_raw(supervisor), Signal::SIGSTOP).unwrap();
    server.signal(Signal::SIGTERM);
    server.await_end();
    // It has ended; httpd's parent may reap it a little later.
    wait_for("its end", || (!Path::new(&format!("/proc/{supervisor}/exe")).exists()).then_some(()));
}

#[test]
#[ignore = "takes more than a minute"]
fn a_supervisor_that_is_stopped_for_a_minute_is_replaced() {
    let server = Server::builder_of(APPLICATION)
        .daemon("site threads=2 env=COLOUR=first")
        .expect_in_log("exit signal Killed")
        .files_may_stay_open()
        .start();
    assert!(server.get("/").text().starts_with("site first "));
    let supervisor = server.supervisor();
    kill(Pid::from_raw(supervisor), Signal::SIGSTOP).unwrap();
    let place = server.root().join("httpd.conf");
    let config = fs::read_to_string(&place).unwrap();
    fs::write(&place, config.replace("COLOUR=first", "COLOUR=second")).unwrap();
    let (took, ()) = time(|| {
        server.graceful();
        assert!(server.get("/").text().starts_with("site first "));
        let begun = Instant::now();
        while !server.error_log().contains("It is killed, and another one is started") {
            assert!(begun.elapsed() < Duration::from_secs(150), "{}", server.error_log());
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    println!("killed after {took:?}");
    assert!(took > Duration::from_secs(55), "{took:?}");
    wait_for("another one", || {
        let answer = server.get("/");
        (answer.status == 200 && answer.text().starts_with("site second ")).then_some(())
    });
    assert_ne!(server.supervisor(), supervisor);
}
