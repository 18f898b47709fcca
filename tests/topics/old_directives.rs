//! Directives and options of older releases of mod_wsgi: a configuration that has them starts, and says so once for each.

use crate::harness::Server;

#[test]
fn a_directive_that_is_gone_is_accepted_with_one_warning() {
    for directive in [
        "WSGILazyInitialization Off",
        "WSGINewRelicConfigFile /etc/newrelic.ini",
        "WSGINewRelicEnvironment production",
        "WSGIPythonExecutable /usr/bin/python",
        "WSGIPy3kWarningFlag On",
        "WSGIReloadMechanism Process",
        "WSGIOutputBuffering On",
        "WSGIUserAuthoritative Off",
    ] {
        let checked = Server::builder().config(directive).check();
        assert!(checked.accepted, "{directive}\n{}", checked.said);
        let name = directive.split(' ').next().unwrap();
        let lines: Vec<&str> =
            checked.said.lines().filter(|line| line.contains("WSGI1014")).collect();
        assert_eq!(lines.len(), 1, "{directive}\n{}", checked.said);
        assert!(lines[0].contains(name) && lines[0].contains("line "), "{}", lines[0]);
    }
}

#[test]
fn a_directive_without_effect_is_deprecated_in_one_line_at_level_info() {
    for flag in ["On", "Off"] {
        let checked = Server::builder().config(&format!("WSGIVerboseDebugging {flag}")).check();
        assert!(checked.accepted, "{}", checked.said);
        let lines: Vec<&str> =
            checked.said.lines().filter(|line| line.contains("WSGIVerboseDebugging")).collect();
        assert_eq!(lines.len(), 1, "{}", checked.said);
        assert!(
            lines[0].contains("[wsgi:info]") && lines[0].contains("deprecated"),
            "{}",
            lines[0]
        );
    }
    let quiet = Server::builder().log_level("warn").config("WSGIVerboseDebugging On").check();
    assert!(quiet.accepted && !quiet.said.contains("WSGIVerboseDebugging"), "{}", quiet.said);
}

#[test]
fn an_option_that_is_gone_is_accepted_with_one_warning_and_the_rest_counts() {
    for (option, instead) in [
        ("blocked-timeout=60", "request-timeout"),
        ("proxy-buffer-size=65536", "response-buffer-size"),
        ("accept-mutex=sysvsem", ""),
        ("newrelic-config-file=/x", ""),
        ("newrelic-environment=x", ""),
    ] {
        let config = format!("WSGIDaemonProcess old threads=5 {option} processes=2");
        let checked = Server::builder().config(&config).check();
        assert!(checked.accepted, "{config}\n{}", checked.said);
        let lines: Vec<&str> =
            checked.said.lines().filter(|line| line.contains("WSGI1014")).collect();
        assert_eq!(lines.len(), 1, "{config}\n{}", checked.said);
        assert!(lines[0].contains(option.split('=').next().unwrap()), "{}", lines[0]);
        assert!(lines[0].contains(instead), "{}", lines[0]);
    }
}

#[test]
fn a_server_with_them_serves() {
    let server = Server::builder_of("
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'served']
")
    .config("WSGILazyInitialization On\nWSGIVerboseDebugging On\n<Directory @apps@>\nWSGIOutputBuffering On\nWSGIGroupAuthoritative Off\n</Directory>")
    .start();
    assert_eq!(server.get("/").text(), "served");
}
