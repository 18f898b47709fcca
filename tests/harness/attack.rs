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
    /// What the paths of sockets begin with.
    prefix: PathBuf,
}

/// What the attacker got.
#[derive(Debug)]
pub struct Loot {
    /// The process that attacked.
    pub pid: u32,
    /// What it says it got; null if it has ended without a word.
    pub said: Value,
}

impl Loot {
    /// One of its counts; 0 if the attacker does not say it.
    pub fn count(&self, name: &str) -> u64 {
        self.said[name].as_u64().unwrap_or_default()
    }

    /// Whether no worker has given anything away: a byte, a descriptor, its memory.
    pub fn got_nothing(&self) -> bool {
        !self.said.is_null()
            && ["bytes", "descriptors", "placed"].iter().all(|name| self.count(name) == 0)
    }

    /// Whether all workers have ended the connections, besides.
    pub fn is_empty(&self) -> bool {
        self.got_nothing() && self.count("kept") == 0
    }

    /// How the attacker gets at this process, if it does.
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
    /// Attacks on the server whose sockets have this prefix. The script `theirs` is the attacker's own: it is what the frame
    /// of the attacker's request names, as an httpd child would write it.
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

    /// Attacks as httpd's user, and waits for the end of the attack.
    pub fn run(&self, kind: &str, more: &[String]) -> Loot {
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
    pub fn end(mut self) -> Loot {
        let mut last = Value::Null;
        loop {
            match self.next() {
                Value::Null => break,
                line => last = line,
            }
        }
        let _ = self.process.wait();
        Loot { pid: self.process.id(), said: last }
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
