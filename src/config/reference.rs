//! The reference pages that are made from the tables, and the tests that hold them against the tables:
//! `conf/rustgi.conf`, `docs/directives.md` and `docs/error-codes.md`. With `RUSTGI_WRITE=1` the tests write them anew:
//!
//!     RUSTGI_WRITE=1 cargo test --lib reference

use super::daemon::{OPTIONS, Takes};
use super::directives::{Directive, Effect, Place, on_or_off};
use super::plan::Section;
use super::proxies::{Category, HEADERS};
use super::table::DIRECTIVES;
use super::written::{Process, Written};
use exchange::{Code, Owner};
use std::fmt::Write as _;

/// How a page says where it comes from.
const MADE: &str = "RUSTGI_WRITE=1 cargo test --lib reference";

fn place(directive: &Directive) -> &'static str {
    match directive.place {
        Place::Global => "main server",
        Place::Server => "servers",
        Place::ServerOrDirectory => "servers, directories",
        Place::FileInfo => "servers, directories, .htaccess with AllowOverride FileInfo",
        Place::AuthConfig => "directories, .htaccess with AllowOverride AuthConfig",
        Place::Anywhere => "servers, directories, .htaccess",
    }
}

/// Whether it stands in `<WSGIInterpreterOptions>` for some interpreters.
fn is_for_interpreters(directive: &Directive) -> bool {
    matches!(directive.effect, Effect::Interpreters(_))
}

/// Its end, if it is a section.
fn end(directive: &Directive) -> Option<String> {
    Some(format!("</{}>", directive.title().strip_prefix('<')?))
}

/// `conf/rustgi.conf`
fn configuration() -> String {
    let mut text = format!(
        "# Every directive of mod_rustgi with its default. Made from the table in src/config/table.rs and compared\n\
         # with it by a test. To make it anew: {MADE}\n\
         <IfModule mod_wsgi.c>\n",
    );
    for directive in DIRECTIVES.iter().filter(|d| !matches!(d.effect, Effect::Gone)) {
        let help = directive.help.to_str().unwrap();
        writeln!(text, "\n    # {help}.\n    # Where: {}.", place(directive)).unwrap();
        writeln!(text, "    # Syntax: {} {}", directive.title(), directive.takes).unwrap();
        match (directive.default, directive.place) {
            ("", _) => {}
            (default, Place::AuthConfig) => writeln!(text, "    # Default: {default}").unwrap(),
            (default, _) => writeln!(text, "    #{} {default}", directive.title()).unwrap(),
        }
    }
    text + "</IfModule>\n"
}

/// `docs/directives.md`
fn manual() -> String {
    let mut text = format!(
        "# Directives\n\nMade from the tables in `src/config`, and compared with them by a test. To make it anew:\n\
         `{MADE}`. What each accepts, what is said of each argument that cannot be, and the tests that show it:\n\
         [`directive-tests.md`](directive-tests.md).\n\n\
         | directive | takes | default | where |\n|---|---|---|---|\n",
    );
    let (gone, here): (Vec<_>, Vec<_>) =
        DIRECTIVES.iter().partition(|d| matches!(d.effect, Effect::Gone));
    let cell = |text: &str| {
        if text.is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|")) }
    };
    for directive in &here {
        let name = directive.title().trim_start_matches('<');
        let default = cell(directive.default);
        let (takes, place) = (cell(directive.takes.trim_end_matches('>')), place(directive));
        writeln!(text, "| [`{name}`](#{}) | {takes} | {default} | {place} |", name.to_lowercase())
            .unwrap();
    }
    for directive in &here {
        let name = directive.title().trim_start_matches('<');
        let help = directive.help.to_str().unwrap();
        write!(text, "\n## {name}\n\n{}{}.\n\n", help[..1].to_uppercase(), &help[1..]).unwrap();
        writeln!(text, "    {} {}", directive.title(), directive.takes).unwrap();
        if let Some(end) = end(directive) {
            writeln!(text, "    {end}").unwrap();
        }
        writeln!(text, "\nWhere: {}.", place(directive)).unwrap();
        if is_for_interpreters(directive) {
            writeln!(text, "In `<WSGIInterpreterOptions>`, for the interpreters of some groups.")
                .unwrap();
        }
        if !directive.default.is_empty() {
            writeln!(text, "Default: `{}`.", directive.default).unwrap();
        }
        match name {
            "WSGIDaemonProcess" => daemon_options(&mut text),
            "WSGITrustedProxyHeaders" => proxy_headers(&mut text),
            _ => {}
        }
    }
    text.push_str(
        "\n## Directives that are gone\n\nThey are accepted, with one warning each (WSGI1014).\n\n",
    );
    text.push_str("| directive | |\n|---|---|\n");
    for directive in &gone {
        writeln!(text, "| `{}` | {} |", directive.title(), directive.help.to_str().unwrap())
            .unwrap();
    }
    text
}

/// Paragraphs of the documentation about single options.
const NOTES: &[(&str, &str)] = &[
    (
        "script-user",
        "Every script that a process of the group loads must belong to this user, and so must its directory; no other user and \
         no group may have write access to them. Otherwise requests get 403 (WSGI1038), and nothing is loaded. The file that a \
         request names is checked by the httpd child, and each file that is loaded by the process that loads it: handler scripts \
         and scripts of `WSGIImportScript` must belong to the user, too. `script-group` demands the same of a group, which may have \
         write access.",
    ),
    (
        "request-timeout",
        "In seconds, multiplied by 1 + ln(`threads`), as in mod_wsgi: with more threads a slow request blocks a smaller share of the process. \
         `request-timeout=3 threads=5` lets a request run for 7.8 s, with 15 threads for 11.1 s, with 1 thread for 3 s. When it \
         expires, the Python stack of the request is written to the error log (WSGI1072), and its process is replaced: another one is \
         started, and the old one ends when the request has ended, at the latest `shutdown-timeout` after that. A request that is cut \
         off then gets 504. With `interrupt-timeout` the exception `mod_wsgi.RequestTimeout` is raised in the request first, and \
         the process is replaced only if the request goes on for that many seconds more.",
    ),
    (
        "startup-timeout",
        "In seconds; 0 for any time. How long a process may take to load the scripts that it loads before it is ready: those of \
         `WSGIImportScript`, and those that earlier processes of the group had loaded; 60 if the option is not given. If the option is \
         given, it also limits how long the script of the first request may take to load. A process that takes longer is \
         ended, and the log has the Python stack of its import (WSGI1072). Raise it for applications that take longer to import.",
    ),
    (
        "memory-limit",
        "In bytes; `RLIMIT_DATA`. It counts the writable memory of the process, including the stacks of its threads (8 MiB each, unless \
         `stack-size` is set). A process that cannot allocate memory because it has reached this limit or \
         `virtual-memory-limit` (`RLIMIT_AS`) is replaced (WSGI1070).",
    ),
];

fn daemon_options(text: &mut String) {
    text.push_str(
        "\nA number is read up to its first other character; text without a number is 0.\n\n",
    );
    text.push_str("| option | takes | default |\n|---|---|---|\n");
    for (name, takes, default) in OPTIONS {
        let takes = match takes {
            Takes::Number(0, most) if *most >= i64::from(i32::MAX) => "a number".to_owned(),
            Takes::Number(least, most) if *most >= i64::from(i32::MAX) => {
                format!("a number from {least}")
            }
            Takes::Number(least, most) => format!("a number from {least} to {most}"),
            Takes::Size(least) => format!("0, or a number of bytes from {least}"),
            Takes::Interval => "seconds".to_owned(),
            Takes::Octal => "an octal number".to_owned(),
            Takes::Flag => "On or Off".to_owned(),
            Takes::User | Takes::AnyUser => "a user, or # and its number".to_owned(),
            Takes::Group => "a group, or # and its number".to_owned(),
            Takes::Groups => "groups, with commas between them".to_owned(),
            Takes::Path | Takes::Jail => "an absolute path".to_owned(),
            Takes::Variables => {
                "the absolute path of a file of variables, which the user of the group may read"
                    .to_owned()
            }
            Takes::Variable => "a variable, NAME=VALUE; may be repeated".to_owned(),
            Takes::Word(words) => format!("`{}`", words.join("` or `")),
            Takes::Text => "text".to_owned(),
        };
        writeln!(text, "| `{name}` | {takes} | {default} |").unwrap();
    }
    for (name, note) in NOTES {
        assert!(OPTIONS.iter().any(|(known, ..)| known == name), "{name}");
        writeln!(text, "\n**`{name}`** {note}").unwrap();
    }
}

fn proxy_headers(text: &mut String) {
    text.push_str("\n| header | changes |\n|---|---|\n");
    for header in HEADERS {
        let changes = match header.category {
            Category::Client => "`REMOTE_ADDR`",
            Category::Host => "`HTTP_HOST`",
            Category::Server => "`SERVER_NAME`",
            Category::Port => "`SERVER_PORT`",
            Category::ScriptName => "`SCRIPT_NAME`, `mod_wsgi.mount_point`",
            Category::Scheme => "`wsgi.url_scheme`",
        };
        writeln!(text, "| `{}` | {changes} |", header.name).unwrap();
    }
}

/// `docs/error-codes.md`
fn codes() -> String {
    let mut text = format!(
        "# Error codes\n\nMade from the register in `crates/exchange/src/failure.rs`, and compared with it by a test. To make \
         it anew: `{MADE}`\n\n\
         Every line of the error log that tells of a failure begins with a code that never changes its meaning. Those\n\
         below 1000 are mod_wsgi's own, for the same events.\n\n\
         | code | what happened | the client gets | who can mend it |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let owner = match code.owner() {
            Owner::Client => "whoever sent the request",
            Owner::Application => "the application",
            Owner::Configuration => "the configuration",
            Owner::Carrier => "the machine",
            Owner::Ourselves => "mod_rustgi",
        };
        let status = match code.status() {
            0 => String::new(),
            status => status.to_string(),
        };
        writeln!(text, "| {code} | {} | {status} | {owner} |", code.text()).unwrap();
    }
    text
}

#[track_caller]
fn compare(name: &str, made: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("RUSTGI_WRITE").is_some() {
        std::fs::write(&file, made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == made, "{name} is not what the tables say; {MADE}");
}

#[test]
fn the_configuration_that_is_shipped_shows_every_directive_with_its_default() {
    compare("conf/rustgi.conf", &configuration());
}

#[test]
fn the_manual_shows_every_directive_and_every_option() {
    compare("docs/directives.md", &manual());
}

#[test]
fn the_manual_shows_every_code() {
    compare("docs/error-codes.md", &codes());
}

#[test]
fn every_directive_is_declared_once_and_explained() {
    for (at, directive) in DIRECTIVES.iter().enumerate() {
        let title = directive.title();
        assert!(DIRECTIVES[..at].iter().all(|other| other.title() != title), "{title}");
        assert!(directive.help.count_bytes() > 10, "{title}");
        assert_eq!(matches!(directive.effect, Effect::Section), end(directive).is_some());
    }
}

#[test]
fn every_default_means_what_holds_without_the_directive() {
    for directive in DIRECTIVES.iter().filter(|directive| !directive.default.is_empty()) {
        let (title, value) = (directive.title(), directive.default.as_bytes());
        match directive.effect {
            Effect::Written(set) => {
                let mut written = Written::default();
                set(&mut written, value).unwrap();
                assert_ne!(written, Written::default(), "{title}");
                assert_eq!(written.meant(), Written::default().meant(), "{title}");
            }
            Effect::Process(set) => {
                let mut process = Process::default();
                set(&mut process, value).unwrap();
                // What was said and what was not are told apart in these two, and mean the same.
                process.restrict_embedded = process.restrict_embedded.filter(|flag| *flag);
                process.accept_mutex = process.accept_mutex.filter(|name| *name != "fcntl");
                assert_eq!(process, Process::default(), "{title}");
            }
            Effect::Interpreters(set) => {
                let mut section = Section::default();
                set(&mut section, value).unwrap();
                assert_ne!(section, Section::default(), "{title}");
            }
            Effect::Word(_) | Effect::Deprecated => assert!(on_or_off(value).is_ok(), "{title}"),
            Effect::Line(_) => assert_eq!(value, b"None", "{title}"),
            Effect::Alias(_) | Effect::Section | Effect::Gone => panic!("{title} has no default"),
        }
    }
}
