//! A program that runs as httpd's user outside httpd and attacks workers and httpd children: `tests/attack/attack.py`. Made
//! for one server; each attack is one process, which ends by itself.

use super::builder::ordinary_user;
use super::{Installation, open_to_everybody};
use exchange::{Body, Clocks, Group, Head, Known, Level, Scheme, Script, Slice, Variables};
use nix::unistd::User;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use wire::{Carried, Request, Secret};

/// The attacks on one server.
pub struct Attack {
    place: TempDir,
    /// The prefix of the paths of sockets.
    prefix: PathBuf,
}

/// What the attacker received.
#[derive(Debug)]
pub struct AttackResult {
    /// The pid of the attacker.
    pub pid: u32,
    /// Its report; null if it has ended without one.
    pub said: Value,
}

impl AttackResult {
    /// One of its counts; 0 if the report does not have it.
    pub fn count(&self, name: &str) -> u64 {
        self.said[name].as_u64().unwrap_or_default()
    }

    /// Whether no worker has sent a byte, a descriptor or memory.
    pub fn got_nothing(&self) -> bool {
        !self.said.is_null()
            && ["bytes", "descriptors", "placed"].iter().all(|name| self.count(name) == 0)
    }

    /// Whether, in addition, the workers have closed all connections.
    pub fn is_empty(&self) -> bool {
        self.got_nothing() && self.count("kept") == 0
    }

    /// How the attacker can access this process, if it can.
    pub fn access(&self, pid: i32) -> Option<&Value> {
        self.said["access"].get(pid.to_string())
    }
}

/// An attack that has begun.
pub struct Underway {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Attack {
    /// Attacks on the server whose sockets have this prefix. `theirs` is a script of the attacker, which the frame of its request names as
    /// an httpd child would.
    pub fn on(prefix: &Path, theirs: &Path) -> Attack {
        let place = tempfile::Builder::new().prefix("rustgi-attack-").tempdir().unwrap();
        open_to_everybody(place.path());
        for (name, content) in [
            ("attack.py", include_bytes!("../attack/attack.py").to_vec()),
            ("frame", frame(theirs)),
            ("proof", Secret::of_group(&[7; 32], b"games").proof().to_vec()),
        ] {
            let path = place.path().join(name);
            fs::write(&path, content).unwrap();
            open_to_everybody(&path);
        }
        Attack { place, prefix: prefix.to_owned() }
    }

    /// Begins an attack as httpd's user.
    pub fn begin(&self, kind: &str, more: &[String]) -> Underway {
        let mut command = Command::new(&Installation::get().python);
        command
            .arg(self.place.path().join("attack.py"))
            .arg(kind)
            .arg("--prefix")
            .arg(&self.prefix)
            .arg("--frame")
            .arg(self.place.path().join("frame"))
            .arg("--proof")
            .arg(self.place.path().join("proof"))
            .args(more)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if nix::unistd::geteuid().is_root() {
            let user = User::from_name(&ordinary_user().0).unwrap().unwrap();
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let mut process = command.spawn().expect("Python runs");
        let output = BufReader::new(process.stdout.take().unwrap());
        Underway { process, output }
    }

    /// Runs an attack as httpd's user to its end.
    pub fn run(&self, kind: &str, more: &[String]) -> AttackResult {
        self.begin(kind, more).end()
    }
}

impl Underway {
    /// The next line that the attacker writes. Null if it has ended.
    pub fn next(&mut self) -> Value {
        let mut line = String::new();
        let _ = self.output.read_line(&mut line);
        serde_json::from_str(&line).unwrap_or(Value::Null)
    }

    /// Waits for its end.
    pub fn end(mut self) -> AttackResult {
        let mut last = Value::Null;
        loop {
            match self.next() {
                Value::Null => break,
                line => last = line,
            }
        }
        let _ = self.process.wait();
        AttackResult { pid: self.process.id(), said: last }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The frame of a request that names this script.
fn frame(script: &Path) -> Vec<u8> {
    let script = script.as_os_str().as_bytes();
    let mut variables = Variables::default();
    variables.put(Known::RequestMethod, b"GET");
    variables.put(Known::PathInfo, b"/");
    let variables = variables.settle();
    let request = Request {
        serial: 1,
        head: Head {
            id: "attack".into(),
            script: Script {
                path: Slice::new(script),
                resource: Slice::new(script),
                callable: "application".into(),
                modified: Script::UNKNOWN,
                reloading: false,
            },
            group: Group { name: "".into(), main: true },
            variables: variables.runs(),
            scheme: Scheme::Http,
            body: Body::None,
            header_only: false,
            native: false,
            clocks: Clocks { request_start: 1, queue_start: 1, daemon_start: 0 },
        },
        carried: Carried::inline(b""),
        broken: None,
        log_level: Level::Info,
        as_loaded: true,
        ignored: false,
    };
    let mut frame = Vec::new();
    assert!(request.append_to(&mut frame));
    frame
}
