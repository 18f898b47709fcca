//! A program that runs as httpd's user outside httpd (a CGI program, another application) attacks the workers and the httpd
//! children. The workers close its connections without sending anything, nothing runs as the user of a group, and the server goes on.

use crate::harness::{Attack, AttackResult, Server, wait_for};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const APPLICATION: &str = "
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'served by user %d' % os.getuid()]
";

/// The attacker's script. It writes a file with the name of the user that has run it.
const THEIRS: &str = "
import os
open('@root@/attacked/user-%d' % os.getuid(), 'w').close()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'']
";

/// A server with a group of httpd's user and a group of another user, and the attacks on it.
struct AttackedServer {
    server: Server,
    attack: Attack,
}

impl AttackedServer {
    /// `None` where the tests do not run as root, because httpd cannot have groups of other users then.
    #[track_caller]
    fn start() -> Option<AttackedServer> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root can give a group of workers to another user");
            return None;
        }
        let server = Server::builder_of(APPLICATION)
            .daemon("site threads=2")
            .without_core_dumps()
            .app("games.wsgi", APPLICATION)
            .file("theirs/theirs.wsgi", THEIRS)
            .file("attacked/README", "what the attacker's script writes")
            .config(
                "WSGIDaemonProcess games user=games processes=2 threads=2
WSGIScriptAlias /games @apps@/games.wsgi process-group=games",
            )
            .expect_in_log("WSGI0034")
            .expect_in_log("WSGI1027")
            .start();
        let files = server.root().join("attacked");
        fs::set_permissions(&files, fs::Permissions::from_mode(0o777)).unwrap();
        let attacked = AttackedServer {
            attack: Attack::on(
                &server.root().join("run/wsgi"),
                &server.root().join("theirs/theirs.wsgi"),
            ),
            server,
        };
        attacked.assert_serves();
        wait_for("three workers", || (attacked.server.workers().len() == 3).then_some(()));
        Some(attacked)
    }

    /// Asserts that both groups answer.
    #[track_caller]
    fn assert_serves(&self) {
        for target in ["/", "/games"] {
            assert_eq!(
                self.server.get(target).status,
                200,
                "{target}\n{}",
                self.server.error_log()
            );
        }
    }

    /// Runs an attack. Asserts that each worker closes the connection without sending anything, and that the server serves as before.
    #[track_caller]
    fn assert_gives_nothing_to(&self, kind: &str) -> AttackResult {
        let result = self.attack.run(kind, &[]);
        assert!(result.count("connected") >= 3 && result.is_empty(), "{result:?}");
        assert_eq!(result.count("ended"), result.count("connected"), "{result:?}");
        self.assert_serves();
        result
    }

    /// The names of the files that the attacker's script has written.
    fn attacker_files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.server.root().join("attacked")).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("user-")).collect()
    }
}

#[test]
fn a_program_that_sends_nothing_has_its_connection_closed() {
    let Some(attacked) = AttackedServer::start() else { return };
    attacked.assert_gives_nothing_to("silent");
}

#[test]
fn a_program_that_sends_random_bytes_has_its_connection_closed() {
    let Some(attacked) = AttackedServer::start() else { return };
    for _ in 0..5 {
        attacked.assert_gives_nothing_to("noise");
    }
}

#[test]
fn a_request_without_the_secret_of_the_group_runs_nothing() {
    let Some(attacked) = AttackedServer::start() else { return };
    let result = attacked.attack.run("request", &["--seconds".into(), "5".into()]);
    let ran = attacked.attacker_files();
    assert!(ran.is_empty(), "the attacker's script ran: {ran:?}, {result:?}");
    attacked.assert_gives_nothing_to("request");
    assert_eq!(attacked.attacker_files(), [""; 0]);
}

#[test]
fn a_request_with_a_guessed_secret_runs_nothing() {
    let Some(attacked) = AttackedServer::start() else { return };
    for _ in 0..3 {
        attacked.assert_gives_nothing_to("guess");
        assert_eq!(attacked.attacker_files(), [""; 0]);
    }
}

#[test]
fn a_script_that_an_unproven_program_has_named_is_not_loaded_again() {
    let Some(attacked) = AttackedServer::start() else { return };
    attacked.attack.run("request", &["--seconds".into(), "5".into()]);
    for name in attacked.attacker_files() {
        fs::remove_file(attacked.server.root().join("attacked").join(name)).unwrap();
    }
    let before = attacked.server.workers();
    attacked.server.graceful();
    wait_for("new workers", || {
        let now = attacked.server.workers();
        (now.len() == 3 && !now.iter().any(|pid| before.contains(pid))).then_some(())
    });
    attacked.assert_serves();
    assert_eq!(attacked.attacker_files(), [""; 0]);
}

#[test]
fn a_connection_without_a_proof_is_logged_with_process_and_user() {
    let Some(attacked) = AttackedServer::start() else { return };
    for kind in ["silent", "noise", "guess"] {
        let result = attacked.attack.run(kind, &[]);
        let user = nix::unistd::User::from_name("www-data").unwrap().map_or(33, |it| it.uid.into());
        let numbers = |line: &str| -> Vec<String> {
            line.split(|c: char| !c.is_ascii_digit()).map(str::to_owned).collect()
        };
        let names_it = |line: &&str| {
            let numbers = numbers(line);
            line.contains("WSGI")
                && numbers.contains(&result.pid.to_string())
                && numbers.contains(&u32::to_string(&user))
        };
        wait_for(&format!("a line about the attack '{kind}'"), || {
            let log = attacked.server.error_log();
            log.lines().any(|line| names_it(&line)).then_some(())
        });
    }
}

#[test]
fn thousands_of_connections_without_a_proof_delay_no_request() {
    let Some(attacked) = AttackedServer::start() else { return };
    let mut flood = attacked.attack.begin("flood", &["--number".into(), "3000".into()]);
    let opened = flood.next();
    assert!(opened["opened"].as_u64().unwrap_or_default() > 100, "{opened}");
    attacked.assert_serves();
    // The new httpd child has no connection to a worker yet and must get one.
    attacked.server.graceful();
    for _ in 0..20 {
        attacked.assert_serves();
    }
    let result = flood.end();
    assert!(result.is_empty(), "{result:?}");
    attacked.assert_serves();
}

#[test]
fn memory_and_descriptors_of_children_and_workers_are_out_of_reach() {
    let Some(attacked) = AttackedServer::start() else { return };
    let server = &attacked.server;
    // Two of another user, and one of httpd's own.
    let workers = server.workers();
    assert_eq!(workers.len(), 3);
    let pids = [server.children(), vec![server.parent(), server.supervisor()], workers].concat();
    let numbers: Vec<String> =
        std::iter::once("--pids".to_owned()).chain(pids.iter().map(i32::to_string)).collect();
    let result = attacked.attack.run("processes", &numbers);
    assert_eq!(result.count("looked"), pids.len() as u64, "{result:?}");
    for pid in pids {
        assert_eq!(result.access(pid), None, "{pid}: {result:?}");
    }
    attacked.assert_serves();
}
