//! What is loaded when a process starts: `WSGIImportScript`, and aliases that fix both their groups.

use super::with_notes;
use crate::harness::Server;

const NOTES_LOADING: &str = "
import os, threading, mod_wsgi
with open('@root@/run/loaded', 'a') as file:
    main = threading.current_thread() is threading.main_thread()
    file.write(f'{os.path.basename(__file__)} {mod_wsgi.application_group!r} {main}\\n')
def application(environ, start_response):
    start_response('200 OK', [])
    return [__name__.encode()]
";

fn loaded(server: &Server) -> Vec<String> {
    let text = std::fs::read_to_string(server.root().join("run/loaded")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn scripts_are_loaded_in_their_order_before_the_first_request() {
    let server = with_notes(Server::builder())
        .app("one.wsgi", NOTES_LOADING)
        .app("two.wsgi", NOTES_LOADING)
        .app("three.wsgi", NOTES_LOADING)
        .app("later.wsgi", NOTES_LOADING)
        .config(
            "WSGIImportScript @apps@/one.wsgi process-group=@group@ application-group=mine
WSGIScriptAlias /two @apps@/../apps//two.wsgi process-group=@group@ application-group=%{GLOBAL}
WSGIScriptAlias /later @apps@/later.wsgi application-group=mine
WSGIImportScript @apps@/three.wsgi process-group=@group@ application-group=%{GLOBAL}
WSGIScriptAlias /dir @apps@/ process-group=@group@ application-group=%{GLOBAL}",
        )
        .start();
    let expected = ["one.wsgi 'mine' True", "two.wsgi '' True", "three.wsgi '' True"];
    crate::harness::wait_for("the scripts to be loaded", || {
        (loaded(&server).len() >= 3).then_some(())
    });
    assert_eq!(loaded(&server), expected);
    assert_eq!(server.get("/two").status, 200);
    assert_eq!(loaded(&server), expected, "the request finds the script loaded");
    assert_eq!(server.get("/later").status, 200);
    assert_eq!(loaded(&server).len(), 4);
}

#[test]
fn what_fails_is_told_and_tried_again_by_a_request() {
    let server = with_notes(Server::builder())
        .app("broken.wsgi", "raise ValueError('not yet')")
        .app("sound.wsgi", NOTES_LOADING)
        .config(
            "WSGIScriptAlias / @apps@/broken.wsgi process-group=@group@ application-group=%{GLOBAL}
WSGIImportScript @apps@/missing.wsgi process-group=@group@ application-group=%{GLOBAL}
WSGIImportScript @apps@/sound.wsgi process-group=@group@ application-group=%{GLOBAL}",
        )
        .start();
    server.await_log("WSGI0110");
    server.await_log("WSGI0106");
    crate::harness::wait_for("the last script to be loaded", || {
        (loaded(&server).len() == 1).then_some(())
    });
    assert_eq!(server.get("/").status, 500);
    server.await_log("WSGI0109");
    std::fs::write(
        server.root().join("apps/broken.wsgi"),
        NOTES_LOADING.replace("@root@", server.root().to_str().unwrap()),
    )
    .unwrap();
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn python_runs_for_an_import_even_where_applications_may_not() {
    let server = with_notes(Server::builder())
        .embedded()
        .app("one.wsgi", NOTES_LOADING)
        .config("WSGIRestrictEmbedded On\nWSGIImportScript @apps@/one.wsgi process-group=%{GLOBAL} application-group=%{GLOBAL}")
        .start();
    crate::harness::wait_for("the script to be loaded", || {
        (loaded(&server).len() == 1).then_some(())
    });
}

#[test]
fn both_groups_are_wanted_and_must_be_known() {
    for (config, words) in [
        ("WSGIImportScript", &["WSGIImportScript", "path"][..]),
        ("WSGIImportScript @apps@/x", &["process-group"]),
        ("WSGIImportScript @apps@/x process-group=%{GLOBAL}", &["application-group= is missing"]),
        ("WSGIImportScript @apps@/x application-group=x", &["process-group= is missing"]),
        (
            "WSGIImportScript @apps@/x process-group=p application-group=x",
            &["'p'", "not yet configured"],
        ),
        (
            "WSGIImportScript @apps@/x process-group=p application-group=x\nWSGIDaemonProcess p",
            &["not yet configured"],
        ),
        ("WSGIImportScript @apps@/x colour=red", &["colour"]),
        ("WSGIImportScript @apps@/x process-group=", &["process-group"]),
        (
            "<VirtualHost *:80>\nServerName a\nWSGIDaemonProcess p\n</VirtualHost>\n<VirtualHost *:80>\nServerName b\n\
             WSGIImportScript @apps@/x process-group=p application-group=x\n</VirtualHost>",
            &["not accessible"],
        ),
        (
            "<Location />\nWSGIImportScript @apps@/x process-group=%{GLOBAL} application-group=x\n</Location>",
            &["WSGIImportScript", "not allowed"],
        ),
    ] {
        let checked = Server::builder().config(config).check();
        assert!(!checked.accepted, "{config}");
        for word in words {
            assert!(checked.said.contains(word), "{config}\n{word}\n{}", checked.said);
        }
    }
    for config in [
        "WSGIDaemonProcess p\nWSGIImportScript @apps@/x process-group=p application-group=x",
        "WSGIDaemonProcess p\n<VirtualHost *:80>\nWSGIScriptAlias / /x process-group=p application-group=%{GLOBAL}\n</VirtualHost>",
        "<VirtualHost *:80>\nServerName a\nWSGIDaemonProcess p\n</VirtualHost>\n<VirtualHost *:443>\nServerName a\n\
         WSGIImportScript @apps@/x process-group=p application-group=x\n</VirtualHost>",
        "WSGIScriptAlias / /x process-group=nobody",
        "WSGIScriptAliasMatch ^/(a) /x/$1 process-group=%{GLOBAL} application-group=%{GLOBAL}",
    ] {
        let checked = Server::builder().config(config).check();
        assert!(checked.accepted, "{config}\n{}", checked.said);
    }
}

#[test]
fn each_configuration_says_anew_whether_python_runs_and_what_it_loads() {
    let server = with_notes(Server::builder())
        .embedded()
        .app("one.wsgi", NOTES_LOADING)
        .config("WSGIRestrictEmbedded On")
        .start();
    let conf = server.root().join("httpd.conf");
    let before = std::fs::read_to_string(&conf).unwrap();
    let has_python = || {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.child())).ok()?;
        Some(maps.contains("libpython"))
    };
    assert_eq!(has_python(), Some(false));
    let script = server.root().join("apps/one.wsgi");
    let import = format!(
        "{before}\nWSGIImportScript {} process-group=%{{GLOBAL}} application-group=%{{GLOBAL}}\n",
        script.display()
    );
    std::fs::write(&conf, import).unwrap();
    server.graceful();
    crate::harness::wait_for("the script to be loaded", || {
        (loaded(&server).len() == 1).then_some(())
    });
    std::fs::write(&conf, before).unwrap();
    server.graceful();
    crate::harness::wait_for("a child without Python", || {
        (server.children().len() == 1 && has_python() == Some(false)).then_some(())
    });
    assert_eq!(loaded(&server).len(), 1);
}

#[test]
fn scripts_of_daemon_processes_do_not_crowd_an_application_out_of_the_main_interpreter() {
    let server = Server::builder()
        .embedded()
        .app(
            "app.wsgi",
            "
import mod_wsgi
def application(environ, start_response):
    start_response('200 OK', [])
    return [repr(mod_wsgi.application_group).encode()]
",
        )
        .config(
            "WSGIDaemonProcess d
WSGIImportScript /x.wsgi process-group=d application-group=of-d
WSGIHandlerScript h /x.wsgi process-group=d application-group=of-h
WSGIScriptAlias /d @apps@/app.wsgi process-group=d
WSGIScriptAlias /a @apps@/app.wsgi",
        )
        .start();
    assert_eq!(server.get("/a").text(), "''", "it is the only one here");
}
