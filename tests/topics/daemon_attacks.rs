//! A program that runs as httpd's user outside httpd (a CGI program, another application) attacks the workers and the httpd
//! children. It gets the end of the connection and nothing else, nothing runs as the user of a group, and the server goes on.

use crate::harness::{Attack, Loot, Server, wait_for};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const APPLICATION: &str = "
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'served by user %d' % os.getuid()]
";

/// The attacker's own script. It leaves a file, named after the user that has run it.
const THEIRS: &str = "
import os
open('@root@/loot/user-%d' % os.getuid(), 'w').close()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'']
";

/// A server with a group of httpd's user and a group of another user, and the attacks on it.
struct Victim {
    server: Server,
    attack: Attack,
}

impl Victim {
    /// Nothing where the tests do not run as root: httpd cannot have groups of other users then.
    #[track_caller]
    fn start() -> Option<Victim> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root can give a group of workers to another user");
            return None;
        }
        let server = Server::builder_of(APPLICATION)
            .daemon("site threads=2")
            .without_core_dumps()
            .app("games.wsgi", APPLICATION)
            .file("theirs/theirs.wsgi", THEIRS)
            .file("loot/README", "what the attacker's script writes")
            .config(
                "WSGIDaemonProcess games user=games processes=2 threads=2
WSGIScriptAlias /games @apps@/games.wsgi process-group=games",
            )
            .expect_in_log("WSGI0034")
            .expect_in_log("WSGI1027")
            .start();
        let loot = server.root().join("loot");
        fs::set_permissions(&loot, fs::Permissions::from_mode(0o777)).unwrap();
        let victim = Victim {
            attack: Attack::on(
                &server.root().join("run/wsgi"),
                &server.root().join("theirs/theirs.wsgi"),
            ),
            server,
        };
        victim.serves();
        wait_for("three workers", || (victim.server.workers().len() == 3).then_some(()));
        Some(victim)
    }

    /// Both groups answer.
    #[track_caller]
    fn serves(&self) {
        for target in ["/", "/games"] {
            assert_eq!(
                self.server.get(target).status,
                200,
                "{target}\n{}",
                self.server.error_log()
            );
        }
    }

    /// Attacks. Each worker has to end the connection without a word, and the server serves as before.
    #[track_caller]
    fn gives_nothing_to(&self, kind: &str) -> Loot {
        let loot = self.attack.run(kind, &[]);
        assert!(loot.count("connected") >= 3 && loot.is_empty(), "{loot:?}");
        assert_eq!(loot.count("ended"), loot.count("connected"), "{loot:?}");
        self.serves();
        loot
    }

    /// The names of the files that the attacker's script has written.
    fn left_behind(&self) -> Vec<String> {
        let entries = fs::read_dir(self.server.root().join("loot")).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("user-")).collect()
    }
}

#[test]
fn a_program_that_says_nothing_gets_the_end_of_the_connection() {
    let Some(victim) = Victim::start() else { return };
    victim.gives_nothing_to("silent");
}

#[test]
fn a_program_that_sends_random_bytes_gets_the_end_of_the_connection() {
    let Some(victim) = Victim::start() else { return };
    for _ in 0..5 {
        victim.gives_nothing_to("noise");
    }
}

#[test]
fn a_request_without_the_secret_of_the_group_runs_nothing() {
    let Some(victim) = Victim::start() else { return };
    let loot = victim.attack.run("request", &["--seconds".into(), "5".into()]);
    let ran = victim.left_behind();
    assert!(ran.is_empty(), "the attacker's script ran: {ran:?}, {loot:?}");
    victim.gives_nothing_to("request");
    assert_eq!(victim.left_behind(), [""; 0]);
}

#[test]
fn a_request_with_a_guessed_secret_runs_nothing() {
    let Some(victim) = Victim::start() else { return };
    for _ in 0..3 {
        victim.gives_nothing_to("guess");
        assert_eq!(victim.left_behind(), [""; 0]);
    }
}

#[test]
fn a_script_that_an_unproven_program_has_named_is_not_loaded_again() {
    let Some(victim) = Victim::start() else { return };
    victim.attack.run("request", &["--seconds".into(), "5".into()]);
    for name in victim.left_behind() {
        fs::remove_file(victim.server.root().join("loot").join(name)).unwrap();
    }
    let before = victim.server.workers();
    victim.server.graceful();
    wait_for("new workers", || {
        let now = victim.server.workers();
        (now.len() == 3 && !now.iter().any(|pid| before.contains(pid))).then_some(())
    });
    victim.serves();
    assert_eq!(victim.left_behind(), [""; 0]);
}

#[test]
fn a_connection_without_a_proof_is_logged_with_process_and_user() {
    let Some(victim) = Victim::start() else { return };
    for kind in ["silent", "noise", "guess"] {
        let loot = victim.attack.run(kind, &[]);
        let user = nix::unistd::User::from_name("www-data").unwrap().map_or(33, |it| it.uid.into());
        let numbers = |line: &str| -> Vec<String> {
            line.split(|c: char| !c.is_ascii_digit()).map(str::to_owned).collect()
        };
        let names_it = |line: &&str| {
            let numbers = numbers(line);
            line.contains("WSGI")
                && numbers.contains(&loot.pid.to_string())
                && numbers.contains(&u32::to_string(&user))
        };
        wait_for(&format!("a line about the attack '{kind}'"), || {
            let log = victim.server.error_log();
            log.lines().any(|line| names_it(&line)).then_some(())
        });
    }
}

#[test]
fn thousands_of_connections_without_a_proof_keep_no_request_waiting() {
    let Some(victim) = Victim::start() else { return };
    let mut flood = victim.attack.begin("flood", &["--number".into(), "3000".into()]);
    let opened = flood.next();
    assert!(opened["opened"].as_u64().unwrap_or_default() > 100, "{opened}");
    victim.serves();
    // The new httpd child has no connection to a worker yet.
    victim.server.graceful();
    for _ in 0..20 {
        victim.serves();
    }
    let loot = flood.end();
    assert!(loot.is_empty(), "{loot:?}");
    victim.serves();
}

#[test]
fn memory_and_descriptors_of_children_and_workers_are_out_of_reach() {
    let Some(victim) = Victim::start() else { return };
    let server = &victim.server;
    // Two of another user, and one of httpd's own.
    let workers = server.workers();
    assert_eq!(workers.len(), 3);
    let pids = [server.children(), vec![server.parent(), server.supervisor()], workers].concat();
    let numbers: Vec<String> =
        std::iter::once("--pids".to_owned()).chain(pids.iter().map(i32::to_string)).collect();
    let loot = victim.attack.run("processes", &numbers);
    assert_eq!(loot.count("looked"), pids.len() as u64, "{loot:?}");
    for pid in pids {
        assert_eq!(loot.access(pid), None, "{pid}: {loot:?}");
    }
    victim.serves();
}
