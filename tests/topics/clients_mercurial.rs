//! `hg` with hgweb.

use super::clients::{User, let_write, noise, nothing_went_wrong, serving};
use crate::harness::{Mpm, Server};

/// hgweb with one repository, empty yet, that everybody may push to.
fn hgweb(mpm: Mpm, user: &User) -> Server {
    let server = serving(mpm)
        .file(
            "data/hgweb.config",
            "[paths]\nproject = @root@/data/project\n[web]\npush_ssl = false\nallow_push = *\n\
             allow-archive = gz\n",
        )
        .config("WSGIScriptAlias /hg @apps@/mercurial.wsgi")
        .start();
    let repository = server.root().join("data/project");
    user.run("hg", &format!("init {}", repository.display()));
    let_write(&server.root().join("data"));
    assert_eq!(server.get("/hg/").status, 200);
    server
}

fn is_cloned_and_pushed_to(mpm: Mpm) {
    let user = User::new();
    let server = hgweb(mpm, &user);
    let address = format!("http://localhost:{}/hg/project", server.port);

    user.run("hg", &format!("clone {address} first"));
    let content = noise(3 << 20);
    user.write("first/noise.bin", &content);
    user.write("first/straße/größe.txt", "42\n");
    user.run("hg", "--cwd first commit --addremove --user margaret --message begun");
    user.run("hg", "--cwd first push");

    user.run("hg", &format!("clone {address} second"));
    assert!(user.read("second/noise.bin") == content, "the clone differs");
    assert_eq!(user.read("second/straße/größe.txt"), b"42\n");

    user.write("second/straße/größe.txt", "43\n");
    user.run("hg", "--cwd second commit --user ada --message corrected");
    user.run("hg", "--cwd second bookmark --rev tip stable");
    user.run("hg", "--cwd second push --bookmark stable");
    user.run("hg", "--cwd first pull --update");
    assert_eq!(user.read("first/straße/größe.txt"), b"43\n");
    assert!(user.run("hg", "--cwd first bookmarks").contains("stable"));

    let repository = server.root().join("data/project");
    user.run("hg", &format!("--repository {} verify", repository.display()));
    assert!(server.get("/hg/project/raw-file/0/noise.bin").body == content);
    assert!(server.get("/hg/project/log").text().contains("corrected"));
    let archive = server.get("/hg/project/archive/tip.tar.gz");
    assert_eq!((archive.status, &archive.body[..2]), (200, &[0x1f, 0x8b][..]));
    nothing_went_wrong(&server);
}

#[test]
fn hg_clones_from_hgweb_and_pushes_to_it_on_event() {
    is_cloned_and_pushed_to(Mpm::Event);
}

#[test]
fn hg_clones_from_hgweb_and_pushes_to_it_on_prefork() {
    is_cloned_and_pushed_to(Mpm::Prefork);
}
