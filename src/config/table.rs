//! Every directive, declared once.

use super::directives::{Directive, Effect, Place, on_or_off};
use super::{Expression, alias, values};
use std::ffi::CStr;

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
        All(values::handler_script)),
    directive(c"WSGICallableObject", FileInfo, "name|%{ENV:variable}", "application",
        c"the name of the WSGI application in the script",
        Effect::Written(|written, value| {
            written.callable_object = Some(values::callable(value)?);
            Ok(())
        })),
    directive(c"WSGIDispatchScript", ServerOrDirectory, HOOK, "",
        c"a script that says which process group, application group and callable serve a request",
        All(|line| {
            line.scope.written.dispatch = Some(values::hook(line)?);
            Ok(())
        })),
    directive(c"WSGIImportScript", Server, "file process-group=name application-group=name", "",
        c"a script that is loaded when the processes of a group start",
        All(values::import_script)),

    directive(c"WSGIDaemonProcess", Server, "name [option=value ...]", "",
        c"a group of processes that serve applications beside httpd",
        All(values::daemon_process)),
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
        All(values::restrict_process)),
    directive(c"WSGIRestrictEmbedded", Global, FLAG, "Off",
        c"whether applications may not run in the children of httpd", flag!(Process, restrict_embedded)),
    directive(c"WSGISocketPrefix", Global, "path", "",
        c"what the paths of the sockets of daemon processes begin with", Effect::Word(values::socket_prefix)),
    directive(c"WSGISocketRotation", Global, FLAG, "On",
        c"whether the sockets of daemon processes get new names when httpd is restarted",
        process_flag!(keep_sockets unless true)),
    directive(c"WSGIAcceptMutex", Global, "default|flock|fcntl|sysvsem|posixsem|pthread", "fcntl",
        c"how daemon processes of a group take turns at their socket",
        Whole(|process, value| {
            process.accept_mutex = Some(values::accept_mutex(value)?);
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
            section.switch_interval = Some(values::switch_interval(value)?);
            Ok(())
        })),
    directive(c"WSGIDestroyInterpreter", Global, FLAG, "On",
        c"whether interpreters are ended when a process ends",
        process_flag!(keep_interpreters unless true)),

    directive(c"WSGIPythonHome", Global, "directory", "",
        c"the directory of the Python installation or virtual environment to use, as sys.prefix says it",
        Whole(|process, value| {
            process.python_home = Some(values::directory(value)?);
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
            process.optimize = values::python_optimize(value);
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
            process.hash_seed = values::hash_seed(value)?;
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
        c"nothing: LogLevel says what is logged", Effect::Deprecated),

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
            written.map_head_to_get = Some(values::map_head(value)?);
            Ok(())
        })),
    directive(c"WSGIEnableSendfile", FileInfo, FLAG, "Off",
        c"whether wsgi.file_wrapper may use sendfile", flag!(Written, enable_sendfile)),
    directive(c"WSGIIgnoreActivity", FileInfo, FLAG, "Off",
        c"whether requests do not keep a daemon process from being taken for idle", flag!(Written, ignore_activity)),
    directive(c"WSGITrustedProxyHeaders", FileInfo, "header ...", "",
        c"headers that proxies are trusted with", All(values::trusted_proxy_headers)),
    directive(c"WSGITrustedProxies", FileInfo, "address|network ...", "",
        c"the addresses of the proxies that are trusted; without it all are", All(values::trusted_proxies)),
    directive(c"WSGIPassApacheRequest", ServerOrDirectory, FLAG, "Off",
        c"whether applications get httpd's own structure of the request, as apache.request_rec",
        flag!(Written, pass_apache_request)),

    directive(c"WSGIAccessScript", AuthConfig, HOOK, "",
        c"a script whose allow_access() says whether a client may come in",
        All(|line| {
            line.scope.auth.access = values::hook(line)?;
            Ok(())
        })),
    directive(c"WSGIAuthUserScript", AuthConfig, HOOK, "",
        c"a script whose check_password() or get_realm_hash() authenticates users, for AuthBasicProvider or AuthDigestProvider wsgi",
        All(|line| {
            line.scope.auth.user = values::hook(line)?;
            Ok(())
        })),
    directive(c"WSGIAuthGroupScript", AuthConfig, HOOK, "",
        c"a script whose groups_for_user() says the groups of a user, for Require wsgi-group",
        All(|line| {
            line.scope.auth.group = values::hook(line)?;
            Ok(())
        })),
    directive(c"WSGIGroupAuthoritative", AuthConfig, FLAG, "On",
        c"nothing: Require and its sections say what is required", Effect::Word(values::ignored_flag)),

    directive(c"WSGIServerMetrics", Global, FLAG, "Off",
        c"whether applications may look at the scoreboard of httpd", process_flag!(server_metrics unless false)),
    directive(c"WSGITelemetryService", Global, "unix:/path [interval=seconds]", "",
        c"a socket that metrics are sent to", All(values::telemetry_service)),
    directive(c"WSGISlowRequests", Global, "seconds", "0",
        c"how long a request takes before it is slow; 0: none is",
        Whole(|process, value| {
            process.slow_requests = values::slow_requests(value)?;
            Ok(())
        })),
    directive(c"WSGITelemetryOptions", Global, "None|All|[+|-]CaptureUserAgent ...", "None",
        c"what metrics tell of requests", All(values::telemetry_options)),

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
