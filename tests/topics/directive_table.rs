//! Every directive, row by row: where it is accepted, where it is refused, and what is said of each value that cannot be.
//! The rows are held against the reference page, which is held against the table that httpd parses with.

use crate::harness::{Builder, Server};

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Global,
    Server,
    ServerOrDirectory,
    FileInfo,
    AuthConfig,
    Anywhere,
}
use Place::{Anywhere, AuthConfig, FileInfo, Global, Server as InServer, ServerOrDirectory};

/// A directive: its name, where it may stand, arguments that are accepted, and arguments that are refused with what is then
/// said (besides its name).
type Row = (
    &'static str,
    Place,
    &'static [&'static str],
    &'static [(&'static str, &'static [&'static str])],
);

/// What is wrong with every flag.
const FLAG: &[(&str, &[&str])] = &[
    ("maybe", &["On or Off", "'maybe'"]),
    ("1", &["On or Off", "'1'"]),
    ("\"\"", &["takes one argument"]),
    ("", &["takes one argument"]),
    ("On Off", &["takes one argument"]),
];
const FLAGS: &[&str] = &["On", "off"];
/// What is wrong with every value that is one word.
const WORD: &[(&str, &[&str])] = &[("", &["takes one argument"]), ("a b", &["takes one argument"])];
const HOOKS: &[&str] = &["/x.py", "'/with blank.py' application-group=%{GLOBAL}"];
const HOOK: &[(&str, &[&str])] = &[
    ("", &["path of a script"]),
    ("/x.py colour=red", &["'colour'", "application-group"]),
    ("/x.py process-group=x", &["'process-group'"]),
    ("/x.py application-group=", &["'application-group' has no value"]),
    ("/x.py nonsense", &["'nonsense'", "name=value"]),
];
const GONE: &[&str] = &["anything at all", "On", ""];

const ROWS: &[Row] = &[
    (
        "WSGIScriptAlias",
        InServer,
        &[
            "/x /y",
            "/x /y process-group=%{GLOBAL} application-group=x callable-object=c pass-authorization=oFF",
        ],
        &[
            ("", &["URL path"]),
            ("/x", &["URL path"]),
            ("/x /y colour=red", &["'colour'", "callable-object"]),
            ("/x /y Process-Group=x", &["'Process-Group'"]),
            ("/x /y callable-object=''", &["'callable-object' has no value"]),
            ("/x /y pass-authorization=yes", &["pass-authorization takes On or Off", "'yes'"]),
            (
                "/x /y process-group=p application-group=%{GLOBAL}",
                &["'p'", "not yet configured", "WSGIDaemonProcess"],
            ),
        ],
    ),
    (
        "WSGIScriptAliasMatch",
        InServer,
        &["^/x(.*) /y$1", "^/x /y application-group=x"],
        &[
            ("([ /y", &["regular expression", "'(['"]),
            ("^/x", &["URL path"]),
            ("^/x /y colour=red", &["'colour'"]),
            ("^/x /y process-group=p application-group=x", &["'p'", "not yet configured"]),
        ],
    ),
    (
        "WSGIHandlerScript",
        ServerOrDirectory,
        &["name /x.py", "name /x.py process-group=p application-group=x pass-authorization=On"],
        &[
            ("", &["name of a handler"]),
            ("name", &["path of its script"]),
            ("name /x.py callable-object=c", &["'callable-object'"]),
            ("name /x.py application-group=", &["has no value"]),
            ("name /x.py pass-authorization=1", &["On or Off", "'1'"]),
        ],
    ),
    (
        "WSGICallableObject",
        FileInfo,
        &["app", "%{ENV:x}", "%{GLOBAL}"],
        &[
            ("", &["takes one argument"]),
            ("a b", &["takes one argument"]),
            ("\"\"", &["takes one argument"]),
        ],
    ),
    ("WSGIDispatchScript", ServerOrDirectory, HOOKS, HOOK),
    (
        "WSGIImportScript",
        InServer,
        &["/x.py process-group=%{GLOBAL} application-group=%{GLOBAL}"],
        &[
            ("", &["path of a script"]),
            ("/x.py", &["process-group= is missing"]),
            ("/x.py process-group=%{GLOBAL}", &["application-group= is missing"]),
            ("/x.py process-group=p application-group=x", &["'p'", "not yet configured"]),
            (
                "/x.py process-group=%{GLOBAL} application-group=x callable-object=c",
                &["'callable-object'"],
            ),
        ],
    ),
    (
        "WSGIDaemonProcess",
        InServer,
        &[
            "name",
            "'a name' processes=2 threads=0 user=nobody umask=0007 home=/ display-name=%{GROUP} python-home=/x python-path='/a b:/c'",
            "name lang=C locale=C switch-interval=0.5 stack-size=65536 server-metrics=On listen-backlog=5 connect-timeout=1s",
            "name socket-timeout=1 queue-timeout=1 response-socket-timeout=1 response-flush-delay=1 response-buffer-size=65536",
            "name header-buffer-size=8192 send-buffer-size=512 receive-buffer-size=0 maximum-requests=9 restart-interval=9",
            "name inactivity-timeout=9 deadlock-timeout=9 request-timeout=9 interrupt-timeout=9 startup-timeout=9 graceful-timeout=9",
            "name eviction-timeout=9 shutdown-timeout=9 cpu-time-limit=9 cpu-priority=-3 memory-limit=9999999999 virtual-memory-limit=0",
            "name script-user=root socket-user=nobody supplementary-groups=#0,#1 group=#65534 python-eggs=/x",
        ],
        &[
            ("", &["name of the group"]),
            ("name colour=red", &["'colour'", "inactivity-timeout"]),
            ("name Threads=5", &["'Threads'"]),
            ("name threads", &["'threads'", "name=value"]),
            ("name threads=", &["'threads' has no value"]),
            ("name processes=0", &["processes", "from 1", "'0'"]),
            ("name threads=65534", &["threads", "65533"]),
            ("name user=root", &["blocked from running as root"]),
            ("name user=nobody-of-this-name", &["name of a user", "'nobody-of-this-name'"]),
            ("name group=nobody-of-this-name", &["name of a group"]),
            ("name supplementary-groups=#0,nobody-of-this-name", &["name of a group"]),
            ("name umask=8", &["octal", "'8'"]),
            ("name home=relative", &["absolute path", "'relative'"]),
            ("name chroot=relative", &["absolute path"]),
            ("name script-user=root script-group=#0", &["script-user and script-group"]),
            ("name switch-interval=0", &["above 0"]),
            ("name stack-size=0", &["stack-size", "from 1"]),
            ("name server-metrics=maybe", &["On or Off", "'maybe'"]),
            ("name listen-backlog=-1", &["listen-backlog", "from 0"]),
            ("name header-buffer-size=100", &["8192"]),
            ("name response-buffer-size=1", &["65536"]),
            ("name send-buffer-size=511", &["512"]),
            ("name receive-buffer-size=511", &["512"]),
            ("name deadlock-timeout=-5", &["deadlock-timeout"]),
            ("name\nWSGIDaemonProcess name", &["duplicates", "'name'"]),
        ],
    ),
    ("WSGIProcessGroup", ServerOrDirectory, &["name", "%{GLOBAL}", "%{ENV:x}"], WORD),
    ("WSGIApplicationGroup", ServerOrDirectory, &["name", "%{GLOBAL}", "%{RESOURCE}"], WORD),
    ("WSGIRestrictProcess", ServerOrDirectory, &["", "a b %{GLOBAL}"], &[]),
    ("WSGIRestrictEmbedded", Global, FLAGS, FLAG),
    (
        "WSGISocketPrefix",
        Global,
        &["/x/wsgi", "run/wsgi"],
        &[
            ("", &["takes one argument"]),
            ("a b", &["takes one argument"]),
            ("\"\"", &["takes one argument"]),
        ],
    ),
    ("WSGISocketRotation", Global, FLAGS, FLAG),
    (
        "WSGIAcceptMutex",
        Global,
        &["default", "Flock", "fcntl", "sysvsem", "posixsem", "pthread"],
        &[
            ("", &["takes one argument"]),
            ("spin", &["'spin'", "default, flock, fcntl, sysvsem, posixsem or pthread"]),
        ],
    ),
    ("WSGIPerInterpreterGIL", Global, FLAGS, FLAG),
    ("WSGIFreeThreading", Global, FLAGS, FLAG),
    (
        "WSGISwitchInterval",
        Global,
        &["0.005"],
        &[
            ("", &["takes one argument"]),
            ("0", &["above 0", "'0'"]),
            ("-1", &["above 0"]),
            ("1s", &["above 0", "'1s'"]),
            ("text", &["'text'"]),
        ],
    ),
    ("WSGIDestroyInterpreter", Global, FLAGS, FLAG),
    (
        "WSGIPythonHome",
        Global,
        &[],
        &[
            ("", &["takes one argument"]),
            ("relative", &["absolute path", "'relative'"]),
            ("/nowhere", &["WSGIPythonHome '/nowhere'", "sys.prefix"]),
        ],
    ),
    ("WSGIPythonPath", Global, &["/a:/b", "/a"], WORD),
    ("WSGIPythonEggs", Global, &["/a"], WORD),
    ("WSGIPythonOptimize", Global, &["2", "0", "-1", "text"], WORD),
    ("WSGIPythonWarnings", Global, &["ignore", "error::UserWarning"], WORD),
    (
        "WSGIPythonHashSeed",
        Global,
        &["random", "0", "4294967295"],
        &[
            ("", &["takes one argument"]),
            ("-1", &["random", "'-1'"]),
            ("4294967296", &["4294967295"]),
            ("text", &["'text'"]),
        ],
    ),
    ("WSGIDontWriteBytecode", Global, FLAGS, FLAG),
    ("WSGIRestrictStdin", Global, FLAGS, FLAG),
    ("WSGIRestrictStdout", Global, FLAGS, FLAG),
    ("WSGIRestrictSignal", Global, FLAGS, FLAG),
    ("WSGICaseSensitivity", Global, FLAGS, FLAG),
    ("WSGIVerboseDebugging", Global, FLAGS, FLAG),
    ("WSGIPassAuthorization", FileInfo, FLAGS, FLAG),
    ("WSGIScriptReloading", FileInfo, FLAGS, FLAG),
    ("WSGIChunkedRequest", FileInfo, FLAGS, FLAG),
    ("WSGIErrorOverride", FileInfo, FLAGS, FLAG),
    (
        "WSGIMapHEADToGET",
        FileInfo,
        &["On", "off", "AUTO"],
        &[("", &["takes one argument"]), ("maybe", &["On, Off or Auto", "'maybe'"])],
    ),
    ("WSGIEnableSendfile", FileInfo, FLAGS, FLAG),
    ("WSGIIgnoreActivity", FileInfo, FLAGS, FLAG),
    (
        "WSGITrustedProxyHeaders",
        FileInfo,
        &["X-Forwarded-For X-Forwarded-Proto", "X-Unheard-Of"],
        &[
            ("", &["names of headers"]),
            ("X_Forwarded_For", &["names of headers", "'X_Forwarded_For'"]),
        ],
    ),
    (
        "WSGITrustedProxies",
        FileInfo,
        &["127.0.0.1 10.0.0.0/8 10.1 ::1"],
        &[
            ("", &["addresses or networks"]),
            ("localhost", &["addresses or networks", "'localhost'"]),
            ("10.0.0.0/33", &["'10.0.0.0/33'"]),
        ],
    ),
    ("WSGIPassApacheRequest", ServerOrDirectory, FLAGS, FLAG),
    ("WSGIAccessScript", AuthConfig, HOOKS, HOOK),
    ("WSGIAuthUserScript", AuthConfig, HOOKS, HOOK),
    ("WSGIAuthGroupScript", AuthConfig, HOOKS, HOOK),
    ("WSGIGroupAuthoritative", AuthConfig, FLAGS, FLAG),
    ("WSGIServerMetrics", Global, FLAGS, FLAG),
    (
        "WSGITelemetryService",
        Global,
        &["unix:/x", "unix:/x interval=0.5"],
        &[
            ("", &["unix:/path"]),
            ("tcp:host", &["unix:/path", "'tcp:host'"]),
            ("unix:relative", &["'unix:relative'"]),
            ("unix:/x every=5", &["'every=5'"]),
            ("unix:/x interval=0.4", &["0.5 or more", "'interval=0.4'"]),
            ("unix:/x interval=1 more", &["interval"]),
        ],
    ),
    (
        "WSGISlowRequests",
        Global,
        &["2.5", "0", "text"],
        &[("", &["takes one argument"]), ("-1", &["0 or more", "'-1'"])],
    ),
    (
        "WSGITelemetryOptions",
        Global,
        &["None", "All", "captureuseragent", "+CaptureUserAgent", "-CaptureUserAgent", "None All"],
        &[
            ("", &["CaptureUserAgent"]),
            ("+", &["'+'"]),
            ("Everything", &["'Everything'"]),
            ("+CaptureUserAgent None", &["CaptureUserAgent", "+ or -"]),
        ],
    ),
    ("WSGILazyInitialization", InServer, GONE, &[]),
    ("WSGINewRelicConfigFile", InServer, GONE, &[]),
    ("WSGINewRelicEnvironment", InServer, GONE, &[]),
    ("WSGIPythonExecutable", InServer, GONE, &[]),
    ("WSGIPy3kWarningFlag", InServer, GONE, &[]),
    ("WSGIReloadMechanism", Anywhere, GONE, &[]),
    ("WSGIOutputBuffering", Anywhere, GONE, &[]),
    ("WSGIUserAuthoritative", Anywhere, GONE, &[]),
];

/// The sections that a directive may be tried in.
const SECTIONS: &[&str] =
    &["", "VirtualHost *:80", "Directory /x", "Location /x", "Files x", "If \"true\""];

impl Place {
    /// Whether a directive of this place is accepted in a section.
    fn takes(self, section: &str) -> bool {
        let is_directory = !section.is_empty() && !section.starts_with("VirtualHost");
        match self {
            Global => section.is_empty(),
            InServer => !is_directory,
            ServerOrDirectory | FileInfo | Anywhere => true,
            AuthConfig => is_directory,
        }
    }
}

fn inside(section: &str, line: &str) -> String {
    match section.split(' ').next() {
        Some("") | None => line.to_owned(),
        Some(name) => format!("<{section}>\n{line}\n</{name}>"),
    }
}

/// One httpd for all these lines: starting it for each would take minutes.
fn check(config: &str) -> (bool, String) {
    let checked = Server::builder().config(config).check();
    (checked.accepted, checked.said)
}

#[test]
fn the_rows_are_all_the_directives_there_are() {
    let page = include_str!("../../docs/directives.md");
    let mut documented: Vec<&str> = page
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| [`").or(line.strip_prefix("| `WSGI").map(|_| &line[3..]))
        })
        .map(|rest| rest.split('`').next().unwrap())
        .filter(|name| name.starts_with("WSGI") && *name != "WSGIInterpreterOptions")
        .collect();
    let mut rows: Vec<&str> = ROWS.iter().map(|(name, ..)| *name).collect();
    documented.sort_unstable();
    rows.sort_unstable();
    assert_eq!(rows, documented);
}

#[test]
fn every_directive_is_accepted_where_it_may_stand() {
    for section in SECTIONS {
        let mut lines = String::new();
        for (name, place, accepted, _) in ROWS {
            if place.takes(section) {
                for (number, arguments) in accepted.iter().enumerate() {
                    // Every group of processes has a name of its own.
                    let arguments = match *name {
                        "WSGIDaemonProcess" => {
                            arguments.replacen("name", &format!("name{number}"), 1)
                        }
                        _ => (*arguments).to_owned(),
                    };
                    lines.push_str(&format!("{name} {arguments}\n"));
                }
            }
        }
        let (accepted, said) = check(&inside(section, &lines));
        assert!(accepted, "{section}\n{said}");
    }
}

#[test]
fn every_directive_is_refused_where_it_may_not_stand() {
    std::thread::scope(|scope| {
        for part in ROWS.chunks(ROWS.len() / 4 + 1) {
            scope.spawn(move || {
                for (name, place, accepted, _) in part {
                    for section in SECTIONS.iter().filter(|section| !place.takes(section)) {
                        let arguments = accepted.first().unwrap_or(&"/x");
                        let config = inside(section, &format!("{name} {arguments}"));
                        let (accepted, said) = check(&config);
                        assert!(!accepted, "this was accepted:\n{config}");
                        let is_told = said.contains("not allowed") || said.contains("cannot occur");
                        assert!(said.contains(name) && is_told, "{config}\n{said}");
                    }
                }
            });
        }
    });
}

#[test]
fn every_value_that_cannot_be_is_refused_by_name_with_what_is_expected() {
    std::thread::scope(|scope| {
        for part in ROWS.chunks(ROWS.len() / 4 + 1) {
            scope.spawn(move || {
                for (name, place, _, refused) in part {
                    for (arguments, words) in *refused {
                        let section = if *place == AuthConfig { "Location /x" } else { "" };
                        let config = inside(section, &format!("{name} {arguments}"));
                        let (accepted, said) = check(&config);
                        assert!(!accepted, "this was accepted:\n{config}");
                        for word in [name].into_iter().chain(*words) {
                            assert!(said.contains(word), "{config}\ndoes not say {word}:\n{said}");
                        }
                    }
                }
            });
        }
    });
}

/// A server that reads one `.htaccess` file for each directive.
fn with_htaccess(allowed: &str) -> (Builder, Vec<(&'static str, Place, String)>) {
    let mut builder = Server::builder()
        .load(&["mime"])
        .config(&format!("<Directory @docs@>\nAllowOverride {allowed}\n</Directory>"));
    let mut asked = Vec::new();
    for (at, (name, place, accepted, _)) in ROWS.iter().enumerate() {
        let arguments = accepted.first().unwrap_or(&"/x");
        builder = builder
            .file(&format!("docs/{at}/.htaccess"), format!("{name} {arguments}\n"))
            .file(&format!("docs/{at}/page.txt"), "a page");
        asked.push((*name, *place, format!("/{at}/page.txt")));
    }
    (builder, asked)
}

#[test]
fn a_htaccess_file_may_hold_what_is_allowed_there_and_no_more() {
    for (allowed, is_allowed) in [
        ("FileInfo", [FileInfo, Anywhere].as_slice()),
        ("AuthConfig", [AuthConfig, Anywhere].as_slice()),
        ("Limit", [Anywhere].as_slice()),
    ] {
        let (builder, asked) = with_htaccess(allowed);
        let server = builder.start();
        for (name, place, path) in asked {
            let status = server.get(&path).status;
            if !is_allowed.contains(&place) {
                assert_eq!(status, 500, "{name} with AllowOverride {allowed}");
            } else if name == "WSGIAccessScript" {
                assert_eq!(status, 403, "the script is not there, so nobody comes in");
            } else {
                assert_eq!(status, 200, "{name} with AllowOverride {allowed}");
            }
        }
    }
}
