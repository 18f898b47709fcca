//! Which directives and values `httpd -t` takes, where, and with what words it refuses the others.

use crate::harness::{Installation, Server};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Whether this configuration is accepted, and what is said of it.
fn check(config: &str) -> (bool, String) {
    let checked = Server::builder().app("app.wsgi", "").config(config).check();
    (checked.accepted, checked.said)
}

#[track_caller]
fn accepted(configs: &[&str]) {
    // All at once is quicker; each alone only where that fails.
    let (all, _) = check(&configs.join("\n"));
    if !all {
        for config in configs {
            let (accepted, said) = check(config);
            assert!(accepted, "{config}\n{said}");
        }
        panic!("each is accepted, and all together are not");
    }
}

/// Each configuration is refused with all of these words.
#[track_caller]
fn refused(rows: &[(&str, &[&str])]) {
    for (config, words) in rows {
        let (accepted, said) = check(config);
        assert!(!accepted, "this was accepted:\n{config}");
        for word in *words {
            assert!(said.contains(word), "{config}\nis refused without saying {word:?}:\n{said}");
        }
    }
}

#[test]
fn every_directive_is_accepted_in_the_server_and_in_a_virtual_host() {
    let everywhere = "
WSGIScriptAlias /a @apps@/app.wsgi
WSGIScriptAlias /b \"@apps@/app.wsgi\" process-group=%{GLOBAL} application-group=x callable-object=y pass-authorization=on
WSGIScriptAlias /c '@apps@/with space.wsgi' application-group='with space'
WSGIScriptAliasMatch ^/m/([^/]+) @apps@/$1.wsgi application-group=%{RESOURCE}
WSGIApplicationGroup %{GLOBAL}
WSGIApplicationGroup \"any name\"
WSGICallableObject app
WSGIPassAuthorization On
WSGIScriptReloading Off
WSGIChunkedRequest on
WSGIErrorOverride OFF
WSGIMapHEADToGET Auto
WSGIMapHEADToGET On
WSGIMapHEADToGET off
WSGIEnableSendfile On";
    let server_only = "
WSGIPythonPath /one:/two
WSGIRestrictStdin On
WSGIRestrictStdout On
WSGIRestrictSignal Off";
    accepted(&[
        everywhere,
        server_only,
        &format!("<VirtualHost *:80>\n{everywhere}\n</VirtualHost>"),
        &format!("<IfModule mod_wsgi.c>\n{server_only}\n</IfModule>"),
        "<IfModule !mod_wsgi.c>\nThisIsNoDirective\n</IfModule>",
    ]);
}

#[test]
fn directives_for_files_are_accepted_in_every_kind_of_section() {
    let inside = "
WSGIApplicationGroup x
WSGICallableObject app
WSGIPassAuthorization On
WSGIScriptReloading Off
WSGIChunkedRequest On
WSGIErrorOverride On
WSGIMapHEADToGET Off
WSGIEnableSendfile On";
    let sections =
        ["Directory @apps@", "Location /x", "LocationMatch ^/x", "Files x.wsgi", "If \"true\""];
    let all: Vec<String> = sections
        .iter()
        .map(|section| format!("<{section}>\n{inside}\n</{}>", section.split(' ').next().unwrap()))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    accepted(&all);
}

#[test]
fn a_flag_is_on_or_off_and_nothing_else() {
    for directive in [
        "WSGIPassAuthorization",
        "WSGIScriptReloading",
        "WSGIChunkedRequest",
        "WSGIErrorOverride",
        "WSGIEnableSendfile",
        "WSGIRestrictStdin",
        "WSGIRestrictStdout",
        "WSGIRestrictSignal",
    ] {
        refused(&[
            (&format!("{directive} maybe"), &[directive, "maybe", "On", "Off"]),
            (&format!("{directive} 1"), &[directive, "'1'"]),
            (&format!("{directive} \"\""), &[directive]),
            (directive, &[directive]),
            (&format!("{directive} On Off"), &[directive]),
        ]);
    }
    refused(&[
        ("WSGIMapHEADToGET maybe", &["WSGIMapHEADToGET", "maybe", "On", "Off", "Auto"]),
        ("WSGIMapHEADToGET", &["WSGIMapHEADToGET"]),
    ]);
}

#[test]
fn an_alias_says_what_is_wrong_with_it() {
    for directive in ["WSGIScriptAlias", "WSGIScriptAliasMatch"] {
        refused(&[
            (directive, &[directive]),
            (&format!("{directive} /x"), &[directive]),
            (&format!("{directive} /x @apps@/app.wsgi colour=red"), &[directive, "colour"]),
            (&format!("{directive} /x @apps@/app.wsgi nonsense"), &[directive, "nonsense"]),
            (
                &format!("{directive} /x @apps@/app.wsgi application-group="),
                &[directive, "application-group"],
            ),
            (
                &format!("{directive} /x @apps@/app.wsgi process-group="),
                &[directive, "process-group"],
            ),
            (
                &format!("{directive} /x @apps@/app.wsgi callable-object=''"),
                &[directive, "callable-object"],
            ),
            (
                &format!("{directive} /x @apps@/app.wsgi pass-authorization=maybe"),
                &[directive, "maybe"],
            ),
            (
                &format!("{directive} /x @apps@/app.wsgi Application-Group=x"),
                &[directive, "Application-Group"],
            ),
        ]);
    }
    refused(&[("WSGIScriptAliasMatch ([ @apps@/app.wsgi", &["WSGIScriptAliasMatch", "(["])]);
}

#[test]
fn an_alias_to_a_process_group_that_does_not_exist_is_refused_or_answers_500() {
    refused(&[(
        "WSGIScriptAlias /x @apps@/app.wsgi process-group=nobody application-group=x",
        &["nobody"],
    )]);
    let server = Server::builder_of("")
        .config("WSGIScriptAlias /x @apps@/app.wsgi process-group=nobody")
        .config("<Location /x>\n</Location>")
        .start();
    let answer = server.get("/x");
    assert_eq!(answer.status, 500);
}

#[test]
fn an_option_given_twice_counts_the_last_time() {
    let server = Server::builder()
        .app("app.wsgi", "
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['mod_wsgi.application_group'].encode()]
")
        .config("WSGIScriptAlias / @apps@/app.wsgi application-group=first application-group='the second'")
        .start();
    assert_eq!(server.get("/").text(), "the second");
}

#[test]
fn directives_of_the_whole_server_are_refused_elsewhere() {
    for directive in [
        "WSGIPythonHome /usr",
        "WSGIPythonPath /x",
        "WSGIRestrictStdin On",
        "WSGIRestrictStdout On",
        "WSGIRestrictSignal On",
    ] {
        let name = directive.split(' ').next().unwrap();
        refused(&[
            (&format!("<VirtualHost *:80>\n{directive}\n</VirtualHost>"), &[name, "VirtualHost"]),
            (&format!("<Location /x>\n{directive}\n</Location>"), &[name]),
            (&format!("<Directory @apps@>\n{directive}\n</Directory>"), &[name]),
        ]);
    }
}

#[test]
fn aliases_are_refused_in_sections_for_places() {
    refused(&[
        ("<Location /x>\nWSGIScriptAlias /y @apps@/app.wsgi\n</Location>", &["WSGIScriptAlias"]),
        (
            "<Directory @apps@>\nWSGIScriptAlias /y @apps@/app.wsgi\n</Directory>",
            &["WSGIScriptAlias"],
        ),
        ("<Files x>\nWSGIScriptAliasMatch /y @apps@/app.wsgi\n</Files>", &["WSGIScriptAliasMatch"]),
    ]);
}

#[test]
fn wrong_numbers_of_arguments_are_refused() {
    refused(&[
        ("WSGIApplicationGroup", &["WSGIApplicationGroup", "takes one argument"]),
        ("WSGIApplicationGroup a b", &["WSGIApplicationGroup", "takes one argument"]),
        ("WSGICallableObject", &["WSGICallableObject", "takes one argument"]),
        ("WSGICallableObject a b", &["WSGICallableObject", "takes one argument"]),
        ("WSGIPythonHome", &["WSGIPythonHome"]),
        ("WSGIPythonPath a b", &["WSGIPythonPath"]),
    ]);
}

#[test]
fn a_htaccess_file_may_hold_what_files_may_have_and_no_more() {
    for (line, status) in [
        ("WSGICallableObject app", 200),
        ("WSGIPassAuthorization On", 200),
        ("WSGIScriptReloading Off", 200),
        ("WSGIMapHEADToGET On", 200),
        ("WSGIApplicationGroup x", 500),
        ("WSGIPythonPath /x", 500),
        ("WSGIScriptAlias /x /y", 500),
        ("WSGIPassAuthorization maybe", 500),
    ] {
        let server = Server::builder()
            .load(&["mime"])
            .file("docs/app.wsgi", "
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'']
application = app
")
            .file("docs/.htaccess", line)
            .config("<Directory @docs@>\nAllowOverride FileInfo\nOptions +ExecCGI\nAddHandler wsgi-script .wsgi\n</Directory>")
            .start();
        assert_eq!(server.get("/app.wsgi").status, status, "{line}");
    }
}

#[test]
fn a_virtual_host_inherits_and_overrides() {
    let server = Server::builder_of("
import json
def application(environ, start_response):
    start_response('200 OK', [])
    return [json.dumps([environ['mod_wsgi.callable_object'], environ['mod_wsgi.application_group'], 'HTTP_AUTHORIZATION' in environ]).encode()]
app = application
")
    .config(
        "
WSGICallableObject app
WSGIApplicationGroup of-main
WSGIPassAuthorization On
<VirtualHost 127.0.0.1:@port@>
    ServerName heir
</VirtualHost>
<VirtualHost 127.0.0.1:@port@>
    ServerName rebel
    WSGICallableObject application
    WSGIApplicationGroup of-rebel
    WSGIPassAuthorization Off
</VirtualHost>
<Directory @apps@>
    <Files app.wsgi>
        WSGICallableObject app
    </Files>
</Directory>",
    )
    .start();
    let ask = |host| server.send("GET", "/", &[("Host", host), ("Authorization", "x")], b"").json();
    assert_eq!(ask("heir"), serde_json::json!(["app", "of-main", true]));
    assert_eq!(
        ask("rebel"),
        serde_json::json!(["app", "of-rebel", false]),
        "a directory of the main server beats the host"
    );
}

#[test]
fn an_inner_section_beats_an_outer_one() {
    let server = Server::builder_of(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['mod_wsgi.application_group'].encode()]
",
    )
    .config(
        "
<Location />
    WSGIApplicationGroup outer
</Location>
<Location /inner>
    WSGIApplicationGroup inner
</Location>
<Location /inner/other>
    WSGIPassAuthorization On
</Location>",
    )
    .start();
    assert_eq!(server.get("/").text(), "outer");
    assert_eq!(server.get("/inner").text(), "inner");
    assert_eq!(server.get("/inner/other").text(), "inner");
}

#[test]
fn the_python_home_may_be_a_virtual_environment() {
    let python = Installation::get();
    let builder = Server::builder_of(
        "
import json, sys, only_here
def application(environ, start_response):
    start_response('200 OK', [])
    return [json.dumps([sys.prefix, sys.base_prefix, sys.executable, only_here.__file__]).encode()]
",
    )
    .config("WSGIPythonHome @root@/venv");
    let venv = builder.root().join("venv");
    let made = Command::new(&python.python)
        .args(["-m", "venv", "--without-pip"])
        .arg(&venv)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let version = python.python_says("'python%d.%d' % sys.version_info[:2] + sys.abiflags");
    let module = venv.join("lib").join(version).join("site-packages/only_here.py");
    fs::write(&module, "").unwrap();
    let server = builder.start();
    let facts = server.get("/").json();
    assert_eq!(facts[0], venv.to_str().unwrap());
    assert_eq!(facts[1], python.python_says("sys.base_prefix").as_str());
    assert!(facts[2].as_str().unwrap().starts_with(venv.to_str().unwrap()), "{facts}");
    assert_eq!(facts[3], module.to_str().unwrap());
}

#[test]
fn a_python_home_without_a_python_is_refused() {
    refused(&[("WSGIPythonHome @root@/nowhere", &["WSGIPythonHome", "/nowhere"])]);
    refused(&[("WSGIPythonHome @apps@", &["WSGIPythonHome", "/apps"])]);
}

/// What is said of a home whose `bin/python3` is this shell script.
fn with_python(script: &str) -> (bool, String) {
    let builder = Server::builder().config("WSGIPythonHome @root@/home");
    let directory = builder.root().join("home/bin");
    fs::create_dir_all(&directory).unwrap();
    let program = directory.join("python3");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let checked = builder.check();
    (checked.accepted, checked.said)
}

#[test]
fn a_python_that_does_not_run_is_refused_with_what_it_said() {
    let (accepted, said) = with_python("#!/bin/sh\necho 'this is no Python' >&2\nexit 3\n");
    assert!(!accepted && said.contains("/home"), "{said}");
    let (accepted, said) = with_python("#!/bin/sh\necho nonsense\n");
    assert!(!accepted && said.contains("/home"), "{said}");
}

#[test]
fn a_module_without_its_engine_says_what_is_missing_and_how_to_get_it() {
    let checked = Server::builder().without_engine().check();
    assert!(!checked.accepted);
    let suffix = Installation::get().python_says("sysconfig.get_config_var('EXT_SUFFIX')");
    assert!(checked.said.contains(&format!("_rustgi{suffix}")), "{}", checked.said);
    assert!(checked.said.contains("make"), "{}", checked.said);
}

#[test]
fn the_engine_may_stand_in_the_site_packages_of_the_python_home() {
    let installed = Installation::get();
    let builder = Server::builder_of(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'served']
",
    )
    .without_engine()
    .config("WSGIPythonHome @root@/venv");
    let venv = builder.root().join("venv");
    let made = Command::new(&installed.python)
        .args(["-m", "venv", "--without-pip"])
        .arg(&venv)
        .output()
        .unwrap();
    assert!(made.status.success());
    let version = installed.python_says("'python%d.%d' % sys.version_info[:2] + sys.abiflags");
    let suffix = installed.python_says("sysconfig.get_config_var('EXT_SUFFIX')");
    let engine = format!("_rustgi{suffix}");
    let from = installed.module.with_file_name("rustgi").join(&engine);
    let to = venv.join("lib").join(version).join("site-packages").join(&engine);
    fs::copy(&from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    crate::harness::open_to_everybody(&to);
    assert_eq!(builder.start().get("/").text(), "served");
}

#[test]
fn an_error_in_the_configuration_is_one_line_with_its_place() {
    let (accepted, said) = check("WSGIPassAuthorization maybe");
    assert!(!accepted);
    assert!(said.contains("httpd.conf:") || said.contains("Syntax error on line"), "{said}");
}

#[test]
fn the_configuration_to_start_from_is_accepted_with_every_default_in_force() {
    let conf = include_str!("../../conf/rustgi.conf");
    let in_force = conf.replace("    #WSGI", "    WSGI");
    assert!(
        in_force.matches("\n    WSGI").count() > 10,
        "each default stands there, commented out"
    );
    accepted(&[conf, &in_force]);
}
