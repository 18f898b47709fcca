//! How a server with the module starts, goes on and ends: three MPMs, two identities, restarts.

use crate::harness::{Identity, Mpm, Server};

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello\\n']
";

fn serves(mpm: Mpm, identity: Identity) {
    let server = Server::builder_of(HELLO).mpm(mpm).identity(identity).start();
    for _ in 0..20 {
        assert_eq!(server.get("/").text(), "hello\n");
    }
}

#[test]
fn event_serves_and_ends_without_a_trace() {
    serves(Mpm::Event, Identity::Whoever);
}

#[test]
fn worker_serves_and_ends_without_a_trace() {
    serves(Mpm::Worker, Identity::Whoever);
}

#[test]
fn prefork_serves_and_ends_without_a_trace() {
    serves(Mpm::Prefork, Identity::Whoever);
}

#[test]
fn an_unprivileged_user_can_run_it() {
    serves(Mpm::Event, Identity::Unprivileged);
}
