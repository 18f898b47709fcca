//! litmus, which tests WebDAV servers, with WsgiDAV.

use super::clients::{User, installed, nothing_went_wrong, serving, writable};
use crate::harness::{Builder, Mpm};

/// What it tests, in its own order.
const SUITES: [&str; 5] = ["basic", "copymove", "props", "locks", "http"];

fn passes(builder: Builder) {
    if !installed("litmus") {
        return;
    }
    let server =
        builder.config("WSGIScriptAlias /dav @apps@/webdav.wsgi\nWSGIPassAuthorization On").start();
    writable(&server, "files");
    assert_eq!(server.get("/dav/").status, 401);
    let address = format!("http://localhost:{}/dav/", server.port);
    let done = User::new()
        .command("litmus")
        .args(["--keep-going", &address, "margaret", "secret"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    for suite in SUITES {
        let summary = format!("<- summary for `{suite}':");
        let line = said.lines().find(|line| line.starts_with(&summary));
        assert!(line.is_some_and(|line| line.ends_with(" 0 failed. 100.0%")), "{suite}:\n{said}");
    }
    for complaint in ["FAIL", "WARNING", "SKIPPED", "skipped"] {
        assert!(!said.contains(complaint), "{said}");
    }
    assert!(done.status.success(), "{said}");
    nothing_went_wrong(&server);
}

#[test]
fn litmus_finds_nothing_wrong_with_wsgidav_on_event() {
    passes(serving(Mpm::Event).children(1, 8));
}

/// WsgiDAV keeps its locks in the memory of one process, so there is only one, and it must not wait for a client's next
/// request while another connection of the same client waits for it.
#[test]
fn litmus_finds_nothing_wrong_with_wsgidav_on_prefork() {
    passes(serving(Mpm::Prefork).children(1, 1).config("MaxRequestWorkers 1\nKeepAlive Off"));
}
