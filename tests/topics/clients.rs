//! What the topics about applications with clients of their own share.

use crate::harness::{Builder, Mpm, Server, Venv, run};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Longest that one run of a client may take, in seconds. Long, because a loaded machine is no defect.
const PATIENCE: &str = "120";

/// A server in the making that has these applications in its Python, and the scripts of `apps/clients`.
pub fn serving(mpm: Mpm) -> Builder {
    let builder = Server::builder();
    // Some look for settings of httpd's user there; ours is not theirs to read.
    let home = builder.root().to_str().unwrap().to_owned();
    builder
        .mpm(mpm)
        .environment("HOME", &home)
        .children(2, 4)
        .tree("clients", "apps")
        .config(&format!("WSGIPythonHome \"{}\"", Venv::with_clients().home().display()))
}

/// Makes a directory below `data/` that the children of httpd may write to.
pub fn writable(server: &Server, name: &str) -> PathBuf {
    let directory = server.root().join("data").join(name);
    fs::create_dir_all(&directory).unwrap();
    let_write(&directory);
    directory
}

/// Lets the children of httpd write to a directory and everything in it.
pub fn let_write(directory: &Path) {
    run(Command::new("chmod").args(["-R", "a+rwX"]).arg(directory));
}

/// Neither an application nor the module had anything to complain of.
#[track_caller]
pub fn nothing_went_wrong(server: &Server) {
    let log = server.error_log();
    let wrong =
        |line: &&str| ["WSGI0", "WSGI1", "Traceback"].iter().any(|sign| line.contains(sign));
    assert_eq!(log.lines().find(wrong), None, "{log}");
}

/// Whether a program of this machine is there. Where it is not, says that the test is skipped.
pub fn installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    if !found.status.success() {
        let _ = writeln!(std::io::stderr(), "SKIPPED, there is no {program} on this machine");
    }
    found.status.success()
}

/// Somebody who uses clients: a home without settings, where they start, and an environment without any of ours.
pub struct User {
    home: TempDir,
}

impl User {
    pub fn new() -> User {
        User { home: tempfile::tempdir().unwrap() }
    }

    /// A path in the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A client, named as on the PATH or below `bin/` of the virtual environment.
    pub fn command(&self, program: &str) -> Command {
        let own = Venv::with_clients().home().join("bin").join(program);
        let program = if own.exists() { own } else { PathBuf::from(program) };
        let mut command = Command::new("timeout");
        command
            .arg(PATIENCE)
            .arg(program)
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home.path())
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// What a client prints; it must succeed. Its arguments are separated by blanks.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &str) -> String {
        run(self.command(program).args(arguments.split_whitespace()))
    }

    /// Runs a client that need not succeed.
    pub fn attempt(&self, program: &str, arguments: &str) -> Output {
        self.command(program).args(arguments.split_whitespace()).output().unwrap()
    }

    /// Writes a file in the home.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Reads a file in the home.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

/// So many bytes that nothing can compress; the same each time.
pub fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}
