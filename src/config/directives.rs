//! Every directive, declared once: name, place, what it takes, default, help and effect. The table of commands that
//! httpd parses with (`store.rs`), `conf/rustgi.conf` and the tests derive from [`DIRECTIVES`].

use super::written::{CALLABLE, MapHead, Process, Written};
use super::{Expression, alias};
use std::ffi::CStr;

/// One directive.
pub struct Directive {
    /// Its name.
    pub name: &'static CStr,
    /// Where it may stand.
    pub place: Place,
    /// What it takes, as the manual writes it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub takes: &'static str,
    /// What holds without it, as it would be written; empty if nothing that can be written does.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub default: &'static str,
    /// What it does, in a sentence; httpd adds it to its own messages.
    pub help: &'static CStr,
    /// What reading it does.
    pub effect: Effect,
}

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the main server, outside every section.
    Global,
    /// In a server, outside the sections of directories.
    Server,
    /// In a server and in the sections of directories.
    ServerOrDirectory,
    /// Everywhere, and in `.htaccess` files with `AllowOverride FileInfo`.
    FileInfo,
}

/// What was expected instead of the value that was written.
pub type Expected = &'static str;

/// What reading a directive does.
#[derive(Clone, Copy)]
pub enum Effect {
    /// It adds an alias; it takes all words of its line.
    Alias(alias::Kind),
    /// It sets something for a server or a directory; it takes one word.
    Written(for<'p> fn(&mut Written<'p>, &'p [u8]) -> Result<(), Expected>),
    /// It sets something for the process; it takes one word.
    Process(for<'p> fn(&mut Process<'p>, &'p [u8]) -> Result<(), Expected>),
}

/// A flag, in any case.
///
/// # Errors
/// It is something else.
pub fn on_or_off(value: &[u8]) -> Result<bool, Expected> {
    match value {
        _ if value.eq_ignore_ascii_case(b"on") => Ok(true),
        _ if value.eq_ignore_ascii_case(b"off") => Ok(false),
        _ => Err("On or Off"),
    }
}

/// The name of a callable. Of the `%{...}` words only `%{ENV:...}` has a meaning here; the others mean the default.
fn callable(value: &[u8]) -> Result<Expression<'_>, Expected> {
    match Expression::parse(value) {
        Expression::Literal(b"") => Err("the name of a global variable"),
        Expression::Literal(text) if text.starts_with(b"%") => Ok(Expression::Literal(CALLABLE)),
        variable_or_literal => Ok(variable_or_literal),
    }
}

fn map_head(value: &[u8]) -> Result<MapHead, Expected> {
    match on_or_off(value) {
        Ok(true) => Ok(MapHead::On),
        Ok(false) => Ok(MapHead::Off),
        Err(_) if value.eq_ignore_ascii_case(b"auto") => Ok(MapHead::Auto),
        Err(_) => Err("On, Off or Auto"),
    }
}

fn directory(value: &[u8]) -> Result<&[u8], Expected> {
    if value.starts_with(b"/") { Ok(value) } else { Err("an absolute path") }
}

/// All of them.
pub const DIRECTIVES: &[Directive] = &[
    Directive {
        name: c"WSGIScriptAlias",
        place: Place::Server,
        takes: "URL-path file [process-group=name] [application-group=name] [callable-object=name] [pass-authorization=On|Off]",
        default: "",
        help: c"a URL path, and the WSGI script that answers for it and everything below it",
        effect: Effect::Alias(alias::Kind::Prefix),
    },
    Directive {
        name: c"WSGIScriptAliasMatch",
        place: Place::Server,
        takes: "regex file [process-group=name] [application-group=name] [callable-object=name] [pass-authorization=On|Off]",
        default: "",
        help: c"a regular expression for URL paths, and the WSGI script that answers for them; $0 to $9 stand for its groups",
        effect: Effect::Alias(alias::Kind::Match),
    },
    Directive {
        name: c"WSGIApplicationGroup",
        place: Place::ServerOrDirectory,
        takes: "name|%{GLOBAL}|%{RESOURCE}|%{SERVER}|%{HOST}|%{ENV:variable}",
        default: "%{RESOURCE}",
        help: c"the interpreter that applications run in; %{GLOBAL} is the main one",
        effect: Effect::Written(|written, value| {
            written.application_group = Some(Expression::parse(value));
            Ok(())
        }),
    },
    Directive {
        name: c"WSGICallableObject",
        place: Place::FileInfo,
        takes: "name|%{ENV:variable}",
        default: "application",
        help: c"the name of the WSGI application in the script",
        effect: Effect::Written(|written, value| {
            written.callable_object = Some(callable(value)?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIPassAuthorization",
        place: Place::FileInfo,
        takes: "On|Off",
        default: "Off",
        help: c"whether applications see the Authorization header",
        effect: Effect::Written(|written, value| {
            written.pass_authorization = Some(on_or_off(value)?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIScriptReloading",
        place: Place::FileInfo,
        takes: "On|Off",
        default: "On",
        help: c"whether a script that has changed is loaded again",
        effect: Effect::Written(|written, value| {
            written.script_reloading = Some(on_or_off(value)?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIChunkedRequest",
        place: Place::FileInfo,
        takes: "On|Off",
        default: "Off",
        help: c"whether request bodies of unknown length are accepted",
        effect: Effect::Written(|written, value| {
            written.chunked_request = Some(on_or_off(value)?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIErrorOverride",
        place: Place::FileInfo,
        takes: "On|Off",
        default: "Off",
        help: c"whether httpd's error pages replace those of applications in daemon processes",
        effect: Effect::Written(|written, value| {
            written.error_override = Some(on_or_off(value)?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIMapHEADToGET",
        place: Place::FileInfo,
        takes: "On|Off|Auto",
        default: "Auto",
        help: c"whether applications see HEAD requests as GET; Auto: when an output filter needs the body",
        effect: Effect::Written(|written, value| {
            written.map_head_to_get = Some(map_head(value)?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIEnableSendfile",
        place: Place::FileInfo,
        takes: "On|Off",
        default: "Off",
        help: c"whether wsgi.file_wrapper may use sendfile",
        effect: Effect::Written(|written, value| {
            written.enable_sendfile = Some(on_or_off(value)?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIPythonHome",
        place: Place::Global,
        takes: "directory",
        default: "",
        help: c"the directory of the Python installation or virtual environment to use, as sys.prefix says it",
        effect: Effect::Process(|process, value| {
            process.python_home = Some(directory(value)?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIPythonPath",
        place: Place::Global,
        takes: "directory[:directory...]",
        default: "",
        help: c"directories to add to sys.path",
        effect: Effect::Process(|process, value| {
            process.python_path = Some(value);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIRestrictStdin",
        place: Place::Global,
        takes: "On|Off",
        default: "Off",
        help: c"whether reading sys.stdin is an error",
        effect: Effect::Process(|process, value| {
            process.restrict_stdin = Some(on_or_off(value)?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIRestrictStdout",
        place: Place::Global,
        takes: "On|Off",
        default: "Off",
        help: c"whether writing to sys.stdout is an error",
        effect: Effect::Process(|process, value| {
            process.restrict_stdout = Some(on_or_off(value)?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIRestrictSignal",
        place: Place::Global,
        takes: "On|Off",
        default: "On",
        help: c"whether signal.signal() leaves the handlers of the server alone",
        effect: Effect::Process(|process, value| {
            process.restrict_signal = Some(on_or_off(value)?);
            Ok(())
        }),
    },
];

impl Directive {
    /// Its name as text.
    pub fn title(&self) -> &'static str {
        self.name.to_str().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// `conf/rustgi.conf` as the table has it.
    fn reference() -> String {
        let mut text = String::from(
            "# Every directive of mod_rustgi with its default. Made from the table in src/config/directives.rs and\n\
             # compared with it by a test: change it there, and run the test with RUSTGI_WRITE=1.\n\
             <IfModule mod_wsgi.c>\n",
        );
        for directive in DIRECTIVES {
            let place = match directive.place {
                Place::Global => "main server",
                Place::Server => "servers",
                Place::ServerOrDirectory => "servers, directories",
                Place::FileInfo => "servers, directories, .htaccess with AllowOverride FileInfo",
            };
            let help = directive.help.to_str().unwrap();
            writeln!(text, "\n    # {help}.\n    # Where: {place}.").unwrap();
            writeln!(text, "    # Syntax: {} {}", directive.title(), directive.takes).unwrap();
            if !directive.default.is_empty() {
                writeln!(text, "    #{} {}", directive.title(), directive.default).unwrap();
            }
        }
        text + "</IfModule>\n"
    }

    #[test]
    fn the_configuration_that_is_shipped_shows_every_directive_with_its_default() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/rustgi.conf");
        if std::env::var_os("RUSTGI_WRITE").is_some() {
            std::fs::write(file, reference()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(file).unwrap(), reference());
    }

    #[test]
    fn every_default_means_what_holds_without_the_directive() {
        for directive in DIRECTIVES.iter().filter(|directive| !directive.default.is_empty()) {
            let mut written = Written::default();
            match directive.effect {
                Effect::Written(set) => {
                    set(&mut written, directive.default.as_bytes()).unwrap();
                    assert_ne!(written, Written::default(), "{}", directive.title());
                    assert_eq!(
                        written.meant(),
                        Written::default().meant(),
                        "{}",
                        directive.title()
                    );
                }
                Effect::Process(set) => {
                    set(&mut Process::default(), directive.default.as_bytes()).unwrap()
                }
                Effect::Alias(_) => panic!("an alias has no default"),
            }
        }
    }

    #[test]
    fn flags_are_on_and_off_in_any_case_and_nothing_else() {
        assert_eq!(on_or_off(b"oN"), Ok(true));
        assert_eq!(on_or_off(b"OFF"), Ok(false));
        for wrong in [&b"1"[..], b"yes", b"", b"on "] {
            assert_eq!(on_or_off(wrong), Err("On or Off"));
        }
        assert_eq!(map_head(b"auto"), Ok(MapHead::Auto));
        assert_eq!(map_head(b"maybe"), Err("On, Off or Auto"));
    }
}
