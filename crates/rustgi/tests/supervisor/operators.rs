//! `rustgi ctl`: which processes it talks to, and how it prints names and messages.

use crate::harness::{READY, Supervised, group, until};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Its output, and whether its exit status is 0.
pub fn ctl(place: &[&Path], words: &[&str]) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rustgi"));
    let output = command.arg("ctl").args(place).args(words).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (text, output.status.success())
}

/// A process of another user that listens on a socket with this path.
struct Impostor(Child);

impl Impostor {
    fn at(path: &Path) -> Impostor {
        let listen = "
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print('listening', flush=True)
while True:
    client, _ = listener.accept()
    print('said', client.recv(100), flush=True)
";
        let mut python = Command::new("/usr/bin/python3");
        let python = python.args(["-c", listen]).arg(path).stdout(Stdio::piped());
        let mut impostor = Impostor(python.spawn().unwrap());
        assert_eq!(impostor.line(), "listening\n");
        impostor
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nothing_is_sent_to_a_socket_of_another_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: this is not root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let socket = directory.path().join("rustgi.control");
    let mut impostor = Impostor::at(&socket);
    let (text, done) = ctl(&[Path::new("--socket"), &socket], &["status"]);
    assert!(!done && text.contains("user 65534 listens there, not root or you"), "{text}");
    // The search does not find it either, although its directory has the name of a supervisor's.
    let own = directory.path().join(format!("wsgi.{}", std::process::id()));
    let other = Impostor::at(&own.join("rustgi.control"));
    let place = [Path::new("--directory"), directory.path()];
    let (text, done) = ctl(&place, &["status"]);
    assert!(!done && text.contains("no supervisor is running in "), "{text}");
    drop(other);
    // It has received nothing: the connection was closed.
    assert_eq!(impostor.line(), "said b''\n");
}

#[test]
fn the_supervisor_is_found_in_the_directory_that_is_named() {
    let supervised = Supervised::of(group("site", 1), READY);
    let pid = supervised.ready(1)[0];
    let place = [Path::new("--directory"), supervised.directory.path()];
    let (text, done) = ctl(&place, &["status"]);
    assert!(done && text.contains(&format!("site   1           {pid}")), "{text}");
    // The directory of another supervisor, which was killed.
    let left = supervised.directory.path().join("wsgi.1");
    std::fs::create_dir(&left).unwrap();
    drop(std::os::unix::net::UnixListener::bind(left.join("rustgi.control")).unwrap());
    let (text, done) = ctl(&place, &["status"]);
    assert!(done && text.contains("site"), "{text}");
}

#[test]
fn control_characters_in_messages_of_a_worker_are_escaped() {
    let supervised = Supervised::of(group("site", 1), READY);
    let old = supervised.ready(1)[0];
    let script = supervised.directory.path().join("a\u{1b}[2J\u{202e}.wsgi");
    std::fs::write(&script, "").unwrap();
    let script = script.to_str().unwrap();
    supervised.order(old, &format!("loaded {script}"));
    supervised.behave(&format!("ready {script}"));
    supervised.order(old, &format!("changed {script}"));
    until("a failure", || (supervised.group().failures() == 1).then_some(()));
    supervised.await_log("a\\u{1b}[2J\\u{202e}.wsgi': SyntaxError");
    let socket = supervised.sockets().join("rustgi.control");
    let (text, done) = ctl(&[Path::new("--socket"), &socket], &["status"]);
    assert!(done && text.contains("a\\u{1b}[2J\\u{202e}.wsgi': SyntaxError"), "{text}");
    let is_plain = |text: &str| text.chars().all(|it| it == '\n' || (' '..='~').contains(&it));
    assert!(is_plain(&text) && is_plain(&supervised.log()), "{text:?} {:?}", supervised.log());
}
