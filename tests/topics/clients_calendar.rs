//! The Python package `caldav`, a CalDAV client, with Radicale.

use super::clients::{User, nothing_went_wrong, serving, writable};
use crate::harness::Mpm;

fn keeps_calendars(mpm: Mpm) {
    let server = serving(mpm)
        .load(&["env"])
        .file("data/users", "margaret:secret\nada:other\n")
        .config("WSGIScriptAlias /radicale @apps@/calendar.wsgi\nWSGIPassAuthorization On")
        .config("SetEnv RADICALE_CONFIG @apps@/calendar.config")
        .start();
    writable(&server, "collections");
    assert_eq!(server.get("/radicale/margaret/").status, 401);
    let script = server.root().join("apps/calendar_client.py");
    let address = format!("http://localhost:{}/radicale/", server.port);
    let said = User::new().run("python", &format!("{} {address}", script.display()));
    assert_eq!(said, "done\n");
    nothing_went_wrong(&server);
}

#[test]
fn radicale_keeps_the_calendars_of_a_caldav_client_on_event() {
    keeps_calendars(Mpm::Event);
}

#[test]
fn radicale_keeps_the_calendars_of_a_caldav_client_on_prefork() {
    keeps_calendars(Mpm::Prefork);
}
