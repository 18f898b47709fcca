//! Every directive, declared once.

use super::directives::{Directive, Effect, Expected, Line, Place, on_or_off, takes};
use super::hooks::{self, Handler, Hook};
use super::proxies::{Header, Network};
use super::words::{integer, quoted, real};
use super::written::{CALLABLE, MapHead, Telemetry};
use super::{Expression, alias, daemon::Daemon};
use crate::httpd::process;
use std::ffi::CStr;

/// The name of a callable. Of the `%{...}` words only `%{ENV:...}` has a meaning here; the others mean the default.
///
/// # Errors
/// It is empty.
pub fn callable(value: &[u8]) -> Result<Expression<'_>, Expected> {
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

fn hash_seed(value: &[u8]) -> Result<Option<u32>, Expected> {
    if value.is_empty() || value == b"random" {
        return Ok(None);
    }
    let is_number = value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_number);
    let seed = text.and_then(|text| text.parse().ok());
    seed.map(Some).ok_or("random or a number from 0 to 4294967295")
}

fn switch_interval(value: &[u8]) -> Result<f64, Expected> {
    real(value).filter(|seconds| *seconds > 0.0).ok_or("a number of seconds above 0")
}

fn slow_requests(value: &[u8]) -> Result<Option<f64>, Expected> {
    match real(value).unwrap_or(0.0) {
        seconds if seconds < 0.0 => Err("a number of seconds, 0 or more"),
        seconds => Ok(Some(seconds).filter(|seconds| *seconds > 0.0)),
    }
}

/// How processes take turns; those that every Linux has.
const MUTEXES: &[&str] = &["default", "flock", "fcntl", "sysvsem", "posixsem", "pthread"];

fn accept_mutex(value: &[u8]) -> Result<&'static str, Expected> {
    let known = MUTEXES.iter().find(|name| name.as_bytes().eq_ignore_ascii_case(value));
    known.copied().ok_or("default, flock, fcntl, sysvsem, posixsem or pthread")
}

fn handler_script(line: &mut Line<'_, '_>) -> Result<(), String> {
    let handler = Handler::parse(line.pool, line.text)?;
    let is_elsewhere =
        handler.process_group.and_then(Expression::name).is_some_and(|name| !name.is_empty());
    line.with_plan(|plan| {
        // Without a group of its own it has one for each file that it handles, which nobody can count.
        let group = handler.application_group.unwrap_or(Expression::Env(b""));
        plan.groups.extend((!is_elsewhere).then_some(group));
    });
    line.scope.handlers = line.pool.list(&Handler::union(&[handler], line.scope.handlers));
    Ok(())
}

/// A script that is asked about requests, and that Python must run for in every child.
fn hook<'p>(line: &mut Line<'_, 'p>) -> Result<Option<Hook<'p>>, String> {
    let hook = Hook::parse(line.pool, line.text)?;
    line.with_plan(|plan| {
        plan.has_hooks = true;
        plan.groups.push(hook.application_group);
    });
    Ok(Some(hook))
}

fn import_script(line: &mut Line<'_, '_>) -> Result<(), String> {
    let import = hooks::parse_import(line.pool, line.text)?;
    let server = line.server;
    line.with_plan(|plan| {
        if import.process_group.is_empty() {
            plan.groups.push(Expression::Literal(import.application_group));
        }
        plan.import(import, server)
    })
    .unwrap_or(Ok(()))
}

fn daemon_process(line: &mut Line<'_, '_>) -> Result<(), String> {
    let host = line.is_virtual.then_some(line.server);
    let daemon = Daemon::parse(line.pool, host, line.text, |text| line.warnings.push(text))?;
    line.with_plan(|plan| match plan.daemon(daemon.name) {
        Some(_) => Err(format!(
            "name duplicates a previous one: {}; every group has a name of its own",
            quoted(daemon.name)
        )),
        None => {
            plan.daemons.push(daemon);
            Ok(())
        }
    })
    .unwrap_or(Ok(()))
}

fn restrict_process(line: &mut Line<'_, '_>) -> Result<(), String> {
    let pool = line.pool;
    let names: Vec<&[u8]> = line
        .words("")
        .unwrap_or_default()
        .into_iter()
        .map(|name| match name.as_slice() {
            b"%{GLOBAL}" => &[][..],
            name => pool.text(name).to_bytes(),
        })
        .collect();
    line.scope.written.restrict_process = Some(Some(pool.list(&names)));
    Ok(())
}

fn trusted_proxy_headers(line: &mut Line<'_, '_>) -> Result<(), String> {
    let mut headers = line.scope.written.proxy_headers.unwrap_or_default().to_vec();
    for name in line.words("one or more names of headers")? {
        headers.extend(Header::named(&name).map_err(|expected| takes(expected, &name))?);
    }
    line.scope.written.proxy_headers = Some(line.pool.list(&headers));
    Ok(())
}

fn trusted_proxies(line: &mut Line<'_, '_>) -> Result<(), String> {
    const EXPECTED: &str = "IPv4 or IPv6 addresses or networks (10.0.0.0/8)";
    let mut networks = line.scope.written.proxies.flatten().unwrap_or_default().to_vec();
    for word in line.words(EXPECTED)? {
        let network = std::str::from_utf8(&word).ok().and_then(Network::parse);
        networks.push(network.ok_or_else(|| takes(EXPECTED, &word))?);
    }
    line.scope.written.proxies = Some(Some(line.pool.list(&networks)));
    Ok(())
}

fn python_optimize(value: &[u8]) -> u32 {
    u32::try_from(integer(value).clamp(0, i64::from(i32::MAX))).unwrap_or(0)
}

fn socket_prefix(line: &mut Line<'_, '_>) -> Result<(), String> {
    const EXPECTED: &str = "the beginning of a path";
    let path = process::below_server_root(line.pool, line.text);
    let path = path.filter(|_| !line.text.is_empty());
    let path = path.ok_or_else(|| takes(EXPECTED, line.text))?;
    if let Some(process) = &mut line.process {
        process.socket_prefix = Some(path);
    }
    Ok(())
}

/// A flag that is read and has no effect.
fn ignored_flag(line: &mut Line<'_, '_>) -> Result<(), String> {
    on_or_off(line.text).map(drop).map_err(|expected| takes(expected, line.text))
}

fn telemetry_service(line: &mut Line<'_, '_>) -> Result<(), String> {
    const EXPECTED: &str = "unix:/path and perhaps interval=seconds, 0.5 or more";
    let words = line.words(EXPECTED)?;
    let path = words[0].strip_prefix(b"unix:").filter(|path| path.starts_with(b"/"));
    let path = path.ok_or_else(|| takes(EXPECTED, &words[0]))?;
    let mut interval = 1.0;
    for word in &words[1..] {
        let seconds = word.strip_prefix(b"interval=").and_then(real);
        let seconds = seconds.filter(|seconds| *seconds >= 0.5 && words.len() == 2);
        interval = seconds.ok_or_else(|| takes(EXPECTED, word))?;
    }
    let path = line.pool.text(path).to_bytes();
    if let Some(process) = &mut line.process {
        process.telemetry = Some(Telemetry { path, interval });
    }
    Ok(())
}

fn telemetry_options(line: &mut Line<'_, '_>) -> Result<(), String> {
    const EXPECTED: &str =
        "None, All or CaptureUserAgent, or all with + or - in front of CaptureUserAgent";
    let words = line.words(EXPECTED)?;
    let is_signed = |word: &Vec<u8>| matches!(word.first(), Some(b'+' | b'-'));
    if words.iter().any(is_signed) && !words.iter().all(is_signed) {
        return Err(takes(EXPECTED, line.text));
    }
    let Some(process) = &mut line.process else { return Ok(()) };
    for word in &words {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        process.capture_user_agent = match word {
            _ if is("CaptureUserAgent") || is("+CaptureUserAgent") || is("All") => true,
            _ if is("-CaptureUserAgent") || is("None") => false,
            _ => return Err(takes(EXPECTED, word)),
        };
    }
    Ok(())
}

const FLAG: &str = "On|Off";
const GROUPS: &str = "name|%{GLOBAL}|%{RESOURCE}|%{SERVER}|%{HOST}|%{ENV:variable}";
const HOOK: &str = "file [application-group=name]";

const fn directive(
    name: &'static CStr,
    place: Place,
    takes: &'static str,
    default: &'static str,
    help: &'static CStr,
    effect: Effect,
) -> Directive {
    Directive { name, place, takes, default, help, effect }
}

/// A flag of one of the structures behind the effects.
macro_rules! flag {
    ($effect:ident, $field:ident) => {
        Effect::$effect(|all, value| {
            all.$field = Some(on_or_off(value)?);
            Ok(())
        })
    };
}

/// A flag of the process that differs from what holds without it.
macro_rules! process_flag {
    ($field:ident unless $default:literal) => {
        Effect::Process(|process, value| {
            const DEFAULT: bool = $default;
            process.$field = on_or_off(value)? != DEFAULT;
            Ok(())
        })
    };
}

use Effect::{Line as All, Process as Whole};
use Place::{AuthConfig, FileInfo, Global, Server, ServerOrDirectory};

/// All of them.
#[rustfmt::skip]
pub const DIRECTIVES: &[Directive] = &[
    directive(c"WSGIScriptAlias", Server,
        "URL-path file [process-group=name] [application-group=name] [callable-object=name] [pass-authorization=On|Off]", "",
        c"a URL path, and the WSGI script that answers for it and everything below it",
        Effect::Alias(alias::Kind::Prefix)),
    directive(c"WSGIScriptAliasMatch", Server,
        "regex file [process-group=name] [application-group=name] [callable-object=name] [pass-authorization=On|Off]", "",
        c"a regular expression for URL paths, and the WSGI script that answers for them; $0 to $9 stand for its groups",
        Effect::Alias(alias::Kind::Match)),
    directive(c"WSGIHandlerScript", ServerOrDirectory,
        "handler file [process-group=name] [application-group=name] [pass-authorization=On|Off]", "",
        c"a name for SetHandler and AddHandler, and the WSGI script that answers for the files it is set for",
        All(handler_script)),
    directive(c"WSGICallableObject", FileInfo, "name|%{ENV:variable}", "application",
        c"the name of the WSGI application in the script",
        Effect::Written(|written, value| {
            written.callable_object = Some(callable(value)?);
            Ok(())
        })),
    directive(c"WSGIDispatchScript", ServerOrDirectory, HOOK, "",
        c"a script that says which process group, application group and callable serve a request",
        All(|line| {
            line.scope.written.dispatch = Some(hook(line)?);
            Ok(())
        })),
    directive(c"WSGIImportScript", Server, "file process-group=name application-group=name", "",
        c"a script that is loaded when the processes of a group start",
        All(import_script)),

    directive(c"WSGIDaemonProcess", Server, "name [option=value ...]", "",
        c"a group of processes that serve applications beside httpd",
        All(daemon_process)),
    directive(c"WSGIProcessGroup", ServerOrDirectory, GROUPS, "%{GLOBAL}",
        c"the processes that applications run in; %{GLOBAL} are the children of httpd",
        Effect::Written(|written, value| {
            written.process_group = Some(Expression::parse(value));
            Ok(())
        })),
    directive(c"WSGIApplicationGroup", ServerOrDirectory, GROUPS, "%{RESOURCE}",
        c"the interpreter that applications run in; %{GLOBAL} is the main one",
        Effect::Written(|written, value| {
            written.application_group = Some(Expression::parse(value));
            Ok(())
        })),
    directive(c"WSGIRestrictProcess", ServerOrDirectory, "[name ...]", "",
        c"the process groups that requests may be sent to; %{GLOBAL} are the children of httpd",
        All(restrict_process)),
    directive(c"WSGIRestrictEmbedded", Global, FLAG, "Off",
        c"whether applications may not run in the children of httpd", flag!(Process, restrict_embedded)),
    directive(c"WSGISocketPrefix", Global, "path", "",
        c"what the paths of the sockets of daemon processes begin with", Effect::Word(socket_prefix)),
    directive(c"WSGISocketRotation", Global, FLAG, "On",
        c"whether the sockets of daemon processes get new names when httpd is restarted",
        process_flag!(keep_sockets unless true)),
    directive(c"WSGIAcceptMutex", Global, "default|flock|fcntl|sysvsem|posixsem|pthread", "fcntl",
        c"how daemon processes of a group take turns at their socket",
        Whole(|process, value| {
            process.accept_mutex = Some(accept_mutex(value)?);
            Ok(())
        })),
    directive(c"<WSGIInterpreterOptions", Global, "[process-group=name] [application-group=name]>", "",
        c"settings for the interpreters of some groups", Effect::Section),
    directive(c"WSGIPerInterpreterGIL", Global, FLAG, "Off",
        c"whether sub-interpreters get a lock of their own (Python 3.12 and later)", flag!(Interpreters, own_gil)),
    directive(c"WSGIFreeThreading", Global, FLAG, "Off",
        c"whether a free-threaded Python runs without its lock", flag!(Interpreters, free_threading)),
    directive(c"WSGISwitchInterval", Global, "seconds", "",
        c"how long a thread of Python runs while others wait for the lock",
        Effect::Interpreters(|section, value| {
            section.switch_interval = Some(switch_interval(value)?);
            Ok(())
        })),
    directive(c"WSGIDestroyInterpreter", Global, FLAG, "On",
        c"whether interpreters are ended when a process ends",
        process_flag!(keep_interpreters unless true)),

    directive(c"WSGIPythonHome", Global, "directory", "",
        c"the directory of the Python installation or virtual environment to use, as sys.prefix says it",
        Whole(|process, value| {
            process.python_home = Some(directory(value)?);
            Ok(())
        })),
    directive(c"WSGIPythonPath", Global, "directory[:directory...]", "",
        c"directories to add to sys.path",
        Effect::Interpreters(|section, value| {
            section.python_path = Some(value);
            Ok(())
        })),
    directive(c"WSGIPythonEggs", Global, "directory", "",
        c"what PYTHON_EGG_CACHE says in the environment of applications",
        Whole(|process, value| {
            process.python_eggs = Some(value);
            Ok(())
        })),
    directive(c"WSGIPythonOptimize", Global, "number", "0",
        c"how often -O is given to Python",
        Whole(|process, value| {
            process.optimize = python_optimize(value);
            Ok(())
        })),
    directive(c"WSGIPythonWarnings", Global, "filter", "",
        c"a filter for warnings, as -W is given to Python; may be repeated",
        Whole(|process, value| {
            process.warnings.push(value);
            Ok(())
        })),
    directive(c"WSGIPythonHashSeed", Global, "random|number", "random",
        c"what the hashes of Python begin with",
        Whole(|process, value| {
            process.hash_seed = hash_seed(value)?;
            Ok(())
        })),
    directive(c"WSGIDontWriteBytecode", Global, FLAG, "Off",
        c"whether Python writes no .pyc files", process_flag!(dont_write_bytecode unless false)),
    directive(c"WSGIRestrictStdin", Global, FLAG, "Off",
        c"whether reading sys.stdin is an error", flag!(Interpreters, restrict_stdin)),
    directive(c"WSGIRestrictStdout", Global, FLAG, "Off",
        c"whether writing to sys.stdout is an error", flag!(Interpreters, restrict_stdout)),
    directive(c"WSGIRestrictSignal", Global, FLAG, "On",
        c"whether signal.signal() leaves the handlers of the server alone", flag!(Interpreters, restrict_signal)),
    directive(c"WSGICaseSensitivity", Global, FLAG, "On",
        c"whether paths that differ in case lead to different scripts",
        process_flag!(case_insensitive unless true)),
    directive(c"WSGIVerboseDebugging", Global, FLAG, "Off",
        c"nothing: LogLevel says what is logged", Effect::Word(ignored_flag)),

    directive(c"WSGIPassAuthorization", FileInfo, FLAG, "Off",
        c"whether applications see the Authorization header", flag!(Written, pass_authorization)),
    directive(c"WSGIScriptReloading", FileInfo, FLAG, "On",
        c"whether a script that has changed is loaded again", flag!(Written, script_reloading)),
    directive(c"WSGIChunkedRequest", FileInfo, FLAG, "Off",
        c"whether request bodies of unknown length are accepted", flag!(Written, chunked_request)),
    directive(c"WSGIErrorOverride", FileInfo, FLAG, "Off",
        c"whether httpd's error pages replace those of applications in daemon processes", flag!(Written, error_override)),
    directive(c"WSGIMapHEADToGET", FileInfo, "On|Off|Auto", "Auto",
        c"whether applications see HEAD requests as GET; Auto: when an output filter needs the body",
        Effect::Written(|written, value| {
            written.map_head_to_get = Some(map_head(value)?);
            Ok(())
        })),
    directive(c"WSGIEnableSendfile", FileInfo, FLAG, "Off",
        c"whether wsgi.file_wrapper may use sendfile", flag!(Written, enable_sendfile)),
    directive(c"WSGIIgnoreActivity", FileInfo, FLAG, "Off",
        c"whether requests do not keep a daemon process from being taken for idle", flag!(Written, ignore_activity)),
    directive(c"WSGITrustedProxyHeaders", FileInfo, "header ...", "",
        c"headers that proxies are trusted with", All(trusted_proxy_headers)),
    directive(c"WSGITrustedProxies", FileInfo, "address|network ...", "",
        c"the addresses of the proxies that are trusted; without it all are", All(trusted_proxies)),
    directive(c"WSGIPassApacheRequest", ServerOrDirectory, FLAG, "Off",
        c"whether applications get httpd's own structure of the request, as apache.request_rec",
        flag!(Written, pass_apache_request)),

    directive(c"WSGIAccessScript", AuthConfig, HOOK, "",
        c"a script whose allow_access() says whether a client may come in",
        All(|line| {
            line.scope.auth.access = hook(line)?;
            Ok(())
        })),
    directive(c"WSGIAuthUserScript", AuthConfig, HOOK, "",
        c"a script whose check_password() or get_realm_hash() authenticates users, for AuthBasicProvider or AuthDigestProvider wsgi",
        All(|line| {
            line.scope.auth.user = hook(line)?;
            Ok(())
        })),
    directive(c"WSGIAuthGroupScript", AuthConfig, HOOK, "",
        c"a script whose groups_for_user() says the groups of a user, for Require wsgi-group",
        All(|line| {
            line.scope.auth.group = hook(line)?;
            Ok(())
        })),
    directive(c"WSGIGroupAuthoritative", AuthConfig, FLAG, "On",
        c"nothing: Require and its sections say what is required", Effect::Word(ignored_flag)),

    directive(c"WSGIServerMetrics", Global, FLAG, "Off",
        c"whether applications may look at the scoreboard of httpd", process_flag!(server_metrics unless false)),
    directive(c"WSGITelemetryService", Global, "unix:/path [interval=seconds]", "",
        c"a socket that metrics are sent to", All(telemetry_service)),
    directive(c"WSGISlowRequests", Global, "seconds", "0",
        c"how long a request takes before it is slow; 0: none is",
        Whole(|process, value| {
            process.slow_requests = slow_requests(value)?;
            Ok(())
        })),
    directive(c"WSGITelemetryOptions", Global, "None|All|[+|-]CaptureUserAgent ...", "None",
        c"what metrics tell of requests", All(telemetry_options)),

    directive(c"WSGILazyInitialization", Server, "...", "",
        c"of mod_wsgi 3 to 5: Python is always started by the children", Effect::Gone),
    directive(c"WSGINewRelicConfigFile", Server, "...", "",
        c"of mod_wsgi 4 and 5: the New Relic agent is started by the application", Effect::Gone),
    directive(c"WSGINewRelicEnvironment", Server, "...", "",
        c"of mod_wsgi 4 and 5: the New Relic agent is started by the application", Effect::Gone),
    directive(c"WSGIPythonExecutable", Server, "...", "",
        c"of mod_wsgi 1 and 2: see WSGIPythonHome", Effect::Gone),
    directive(c"WSGIPy3kWarningFlag", Server, "...", "",
        c"of mod_wsgi 2 and 3: for Python 2", Effect::Gone),
    directive(c"WSGIReloadMechanism", Place::Anywhere, "...", "",
        c"of mod_wsgi 2: see WSGIScriptReloading", Effect::Gone),
    directive(c"WSGIOutputBuffering", Place::Anywhere, "...", "",
        c"of mod_wsgi 1 to 3: responses are passed on as they come", Effect::Gone),
    directive(c"WSGIUserAuthoritative", Place::Anywhere, "...", "",
        c"of mod_wsgi 2: Require and its sections say what is required", Effect::Gone),
];

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_hash_seed_is_random_or_a_number_of_32_bits() {
        assert_eq!(hash_seed(b"random"), Ok(None));
        assert_eq!(hash_seed(b"4294967295"), Ok(Some(u32::MAX)));
        for wrong in [&b"4294967296"[..], b"-1", b"+1", b"Random", b"1 "] {
            assert!(hash_seed(wrong).is_err());
        }
    }

    #[test]
    fn intervals_are_numbers_above_nothing() {
        assert_eq!(switch_interval(b"0.005"), Ok(0.005));
        for wrong in [&b"0"[..], b"-1", b"1s", b"", b"inf", b"nan"] {
            assert!(switch_interval(wrong).is_err());
        }
        assert_eq!(slow_requests(b"2.5"), Ok(Some(2.5)));
        assert_eq!(slow_requests(b"0"), Ok(None));
        assert_eq!(slow_requests(b"text"), Ok(None));
        assert!(slow_requests(b"-1").is_err());
    }

    #[test]
    fn mutexes_and_levels_are_read_leniently() {
        assert_eq!(accept_mutex(b"PosixSem"), Ok("posixsem"));
        assert!(accept_mutex(b"spin").unwrap_err().contains("sysvsem"));
        assert_eq!(python_optimize(b"2"), 2);
        assert_eq!(python_optimize(b"-1"), 0);
        assert_eq!(python_optimize(b"text"), 0);
    }

    #[test]
    fn a_callable_is_a_name_or_a_variable() {
        assert_eq!(callable(b"app"), Ok(Expression::Literal(b"app")));
        assert_eq!(callable(b"%{ENV:x}"), Ok(Expression::Env(b"x")));
        assert_eq!(callable(b"%{GLOBAL}"), Ok(Expression::Global));
        assert_eq!(callable(b"%other"), Ok(Expression::Literal(CALLABLE)));
        assert!(callable(b"").is_err());
    }
}
