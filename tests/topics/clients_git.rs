//! `git` with the WSGI server of Dulwich.

use super::clients::{User, installed, let_write, noise, nothing_went_wrong, serving};
use crate::harness::{Mpm, Server};
use std::fs;

/// More than git sends with a length that it says first.
const TOO_MUCH_TO_KEEP: usize = 3 << 20;

/// A git server with one repository, empty yet, that everybody may push to.
fn dulwich(mpm: Mpm, user: &User, config: &str) -> Server {
    let server = serving(mpm)
        .config("WSGIScriptAlias /git @apps@/git.wsgi")
        .config(config)
        .files_may_stay_open() // Dulwich keeps its packs open.
        .start();
    let repository = server.root().join("data/project.git");
    user.run("git", &format!("init --quiet --bare --initial-branch main {}", repository.display()));
    let_write(&server.root().join("data"));
    user.write(".gitconfig", "[user]\nname = Margaret\nemail = margaret@localhost\n");
    server
}

/// A clone in `first` with a commit in it that is too large to be sent in one piece.
fn clone_and_commit(user: &User, server: &Server) -> Vec<u8> {
    user.run("git", &format!("clone --quiet {} first", address(server)));
    let content = noise(TOO_MUCH_TO_KEEP);
    user.write("first/noise.bin", &content);
    user.write("first/straße/größe.txt", "42\n");
    user.run("git", "-C first add --all");
    user.run("git", "-C first commit --quiet --message begun");
    content
}

fn address(server: &Server) -> String {
    format!("http://localhost:{}/git/project.git", server.port)
}

fn is_cloned_and_pushed_to(mpm: Mpm) {
    if !installed("git") {
        return;
    }
    let user = User::new();
    let server = dulwich(mpm, &user, "WSGIChunkedRequest On");

    let content = clone_and_commit(&user, &server);
    let pushed = user
        .command("git")
        .args(["-C", "first", "push", "origin", "HEAD:main"])
        .env("GIT_TRACE_CURL", user.path("trace"))
        .output()
        .unwrap();
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let trace = fs::read_to_string(user.path("trace")).unwrap().to_lowercase();
    assert!(trace.contains("=> send header: transfer-encoding: chunked"), "it was not chunked");

    user.run("git", &format!("clone --quiet --branch main {} second", address(&server)));
    assert!(user.read("second/noise.bin") == content, "the clone differs");
    assert_eq!(user.read("second/straße/größe.txt"), b"42\n");

    user.write("second/straße/größe.txt", "43\n");
    user.run("git", "-C second commit --quiet --all --message corrected");
    user.run("git", "-C second tag first-release");
    user.run("git", "-C second push --quiet origin main first-release");
    user.run("git", "-C first pull --quiet --tags origin main");
    assert_eq!(user.read("first/straße/größe.txt"), b"43\n");
    assert_eq!(user.run("git", "-C first tag"), "first-release\n");
    user.run("git", "-C second push --quiet origin :first-release");
    assert!(!user.run("git", "-C first ls-remote origin").contains("first-release"));

    let repository = server.root().join("data/project.git");
    user.write(".gitconfig", "[safe]\ndirectory = *\n");
    user.run("git", &format!("-C {} fsck --strict", repository.display()));
    nothing_went_wrong(&server);
}

#[test]
fn git_clones_from_a_server_and_pushes_to_it_on_event() {
    is_cloned_and_pushed_to(Mpm::Event);
}

#[test]
fn git_clones_from_a_server_and_pushes_to_it_on_prefork() {
    is_cloned_and_pushed_to(Mpm::Prefork);
}

#[test]
fn git_is_told_when_chunked_bodies_are_not_allowed() {
    if !installed("git") {
        return;
    }
    let user = User::new();
    let server = dulwich(Mpm::Event, &user, "");
    clone_and_commit(&user, &server);
    let pushed = user.attempt("git", "-C first push origin HEAD:main");
    assert!(!pushed.status.success());
    let said = String::from_utf8_lossy(&pushed.stderr);
    assert!(said.contains("411"), "{said}");
    assert_eq!(user.run("git", "-C first ls-remote origin"), "");
}
