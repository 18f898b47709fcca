//! Every directive, row by row: where it may stand, arguments that are accepted, arguments that are refused and the whole of
//! what is then said after its name (`...` stands for what is not the row's business), and the tests that show it in force.
//! `directive_table.rs` runs them, and makes the page `docs/directive-tests.md` of them.

use super::directive_table::{Place, Row};
use Place::{Anywhere, AuthConfig, FileInfo, Global, Server, ServerOrDirectory};

/// Arguments that are refused, each with what is then said.
type Refusals = &'static [(&'static str, &'static str)];

const FLAGS: &[&str] = &["On", "off"];
/// What is wrong with every flag.
const FLAG: Refusals = &[
    ("maybe", "takes On or Off, not 'maybe'"),
    ("1", "takes On or Off, not '1'"),
    ("\"\"", "takes one argument, ..."),
    ("", "takes one argument, ..."),
    ("On Off", "takes one argument, ..."),
];
/// What is wrong with every value that is one word.
const WORD: Refusals = &[("", "takes one argument, ..."), ("a b", "takes one argument, ...")];
const HOOKS: &[&str] = &["/x.py", "'/with blank.py' application-group=%{GLOBAL}"];
const HOOK: Refusals = &[
    ("", "takes the path of a script, and then options"),
    ("/x.py colour=red", "knows the options application-group, not 'colour'"),
    ("/x.py process-group=x", "knows the options application-group, not 'process-group'"),
    ("/x.py application-group=", "option 'application-group' has no value"),
    (
        "/x.py nonsense",
        "takes options as name=value, without blanks, not 'nonsense'; it knows application-group",
    ),
];
const GONE: &[&str] = &["anything at all", "On", ""];

/// Declares the rows, and for each three tests of its own, named for the directive.
macro_rules! rows {
    ($($name:ident {
        place: $place:expr,
        accepts: $accepts:expr,
        refuses: $refuses:expr,
        shown_by: $shown_by:expr,
    })*) => {
        /// All of them, in the order of the table that httpd parses with.
        pub const ROWS: &[Row] = &[$(Row {
            name: stringify!($name),
            place: $place,
            accepts: $accepts,
            refuses: $refuses,
            shown_by: $shown_by,
        }),*];

        $(
            #[expect(non_snake_case, reason = "named for its directive")]
            mod $name {
                use crate::topics::directive_table::row;

                #[test]
                fn is_accepted_where_it_may_stand() {
                    row(stringify!($name)).is_accepted_where_it_may_stand();
                }

                #[test]
                fn is_refused_where_it_may_not_stand() {
                    row(stringify!($name)).is_refused_where_it_may_not_stand();
                }

                #[test]
                fn is_refused_with_arguments_that_cannot_be() {
                    row(stringify!($name)).is_refused_with_arguments_that_cannot_be();
                }
            }
        )*
    };
}

#[rustfmt::skip]
rows! {
    WSGIScriptAlias {
        place: Server,
        accepts: &[
            "/x /y",
            "/x /y process-group=%{GLOBAL} application-group=x callable-object=c pass-authorization=oFF",
        ],
        refuses: &[("", "takes a URL path and the file it leads to, and then options"), ("/x", "takes a URL path and the file it leads to, and then options"), ("/x /y colour=red", "knows the options process-group, application-group, callable-object and pass-authorization, not 'colour'"), ("/x /y Process-Group=x", "knows the options process-group, application-group, callable-object and pass-authorization, not 'Process-Group'"), ("/x /y callable-object=''", "option 'callable-object' has no value"), ("/x /y pass-authorization=yes", "option pass-authorization takes On or Off, not 'yes'"), ("/x /y process-group=p application-group=%{GLOBAL}", "process-group='p' names a WSGI process group that is not yet configured; %{GLOBAL} is expected, or the name of a WSGIDaemonProcess that stands before")],
        shown_by: &["interpreters::each_application_has_an_interpreter_of_its_own_unless_told_otherwise", "directives::an_option_given_twice_counts_the_last_time"],
    }
    WSGIScriptAliasMatch {
        place: Server,
        accepts: &["^/x(.*) /y$1", "^/x /y application-group=x"],
        refuses: &[("([ /y", "takes a regular expression, which '([' is not"), ("^/x", "takes a URL path and the file it leads to, and then options"), ("^/x /y colour=red", "knows the options process-group, application-group, callable-object and pass-authorization, not 'colour'"), ("^/x /y process-group=p application-group=x", "process-group='p' names a WSGI process group that is not yet configured; %{GLOBAL} is expected, or the name of a WSGIDaemonProcess that stands before")],
        shown_by: &["mounting::a_pattern_alias_substitutes_and_appends_the_rest"],
    }
    WSGIHandlerScript {
        place: ServerOrDirectory,
        accepts: &["name /x.py", "name /x.py process-group=p application-group=x pass-authorization=On"],
        refuses: &[("", "takes the name of a handler and the path of its script, and then options"), ("name", "takes the name of a handler and the path of its script, and then options"), ("name /x.py callable-object=c", "knows the options process-group, application-group and pass-authorization, not 'callable-object'"), ("name /x.py application-group=", "option 'application-group' has no value"), ("name /x.py pass-authorization=1", "option pass-authorization takes On or Off, not '1'")],
        shown_by: &["handler_scripts::groups_and_authorization_are_those_of_the_handler_and_then_those_of_the_place"],
    }
    WSGICallableObject {
        place: FileInfo,
        accepts: &["app", "%{ENV:x}", "%{GLOBAL}"],
        refuses: &[("", "takes one argument, ..."), ("a b", "takes one argument, ..."), ("\"\"", "takes one argument, ...")],
        shown_by: &["mounting::a_callable_can_be_chosen_for_a_file_a_place_or_an_alias"],
    }
    WSGIDispatchScript {
        place: ServerOrDirectory,
        accepts: HOOKS,
        refuses: HOOK,
        shown_by: &["dispatch::the_script_says_group_and_callable"],
    }
    WSGIImportScript {
        place: Server,
        accepts: &["/x.py process-group=%{GLOBAL} application-group=%{GLOBAL}"],
        refuses: &[("", "takes the path of a script, process-group= and application-group="), ("/x.py", "takes the path of a script, process-group= and application-group=; process-group= is missing"), ("/x.py process-group=%{GLOBAL}", "takes the path of a script, process-group= and application-group=; application-group= is missing"), ("/x.py process-group=p application-group=x", "process-group='p' names a WSGI process group that is not yet configured; %{GLOBAL} is expected, or the name of a WSGIDaemonProcess that stands before"), ("/x.py process-group=%{GLOBAL} application-group=x\n<VirtualHost *:80>\nServerName other\nWSGIDaemonProcess theirs\n</VirtualHost>\nWSGIImportScript /x.py process-group=theirs application-group=x", "process-group='theirs' names a WSGI process group that is not accessible here: it stands in a virtual host with another ServerName. A group outside all virtual hosts is expected, or one of this host"), ("/x.py process-group=%{GLOBAL} application-group=x callable-object=c", "knows the options process-group and application-group, not 'callable-object'")],
        shown_by: &["import_scripts::scripts_are_loaded_in_their_order_before_the_first_request"],
    }
    WSGIDaemonProcess {
        place: Server,
        accepts: &[
            "name",
            "'a name' processes=2 threads=0 user=nobody umask=0007 home=/ display-name=%{GROUP} python-home=/x python-path='/a b:/c'",
            "name lang=C locale=C switch-interval=0.5 stack-size=65536 server-metrics=On listen-backlog=5 connect-timeout=1s",
            "name socket-timeout=1 queue-timeout=1 response-socket-timeout=1 response-flush-delay=1 response-buffer-size=65536",
            "name header-buffer-size=8192 send-buffer-size=512 receive-buffer-size=0 maximum-requests=9 restart-interval=9",
            "name inactivity-timeout=9 deadlock-timeout=9 request-timeout=9 interrupt-timeout=9 startup-timeout=9 graceful-timeout=9",
            "name eviction-timeout=9 shutdown-timeout=9 cpu-time-limit=9 cpu-priority=-3 memory-limit=9999999999 virtual-memory-limit=0",
            "name script-user=root socket-user=nobody supplementary-groups=#0,#1 group=#65534 python-eggs=/x",
            "name python=/x/bin/python3 env=A=1 env='B=two words' environment-file=/dev/null request-body=stream request-body-memory=0 response-memory=0",
            "name spool-limit=0 spool-directory=/x",
        ],
        refuses: &[("", "takes the name of the group, and then options"), ("name colour=red", "knows the options ..., not 'colour'"), ("name Threads=5", "knows the options ..., not 'Threads'"), ("name threads", "takes options as name=value, without blanks, not 'threads'; it knows ..."), ("name threads=", "option 'threads' has no value"), ("name processes=0", "option processes takes a number from 1 to 2147483647, not '0'"), ("name threads=65534", "option threads takes a number from 0 to 65533, not '65534'"), ("name user=root", "option user takes a user other than root: processes are blocked from running as root, not 'root'"), ("name user=nobody-of-this-name", "option user takes the name of a user, or # and the number of one, not 'nobody-of-this-name'"), ("name group=nobody-of-this-name", "option group takes the name of a group, or # and the number of one, not 'nobody-of-this-name'"), ("name supplementary-groups=#0,nobody-of-this-name", "option supplementary-groups takes the name of a group, or # and the number of one, not '#0,nobody-of-this-name'"), ("name umask=8", "option umask takes an octal number up to 777, not '8'"), ("name home=relative", "option home takes an absolute path, not 'relative'"), ("name chroot=relative", "option chroot takes an absolute path, not 'relative'"), ("name script-user=root script-group=#0", "takes one of script-user and script-group, not both"), ("name switch-interval=0", "option switch-interval takes a number of seconds above 0, not '0'"), ("name stack-size=0", "option stack-size takes a number from 1 to 9223372036854775807, not '0'"), ("name server-metrics=maybe", "option server-metrics takes On or Off, not 'maybe'"), ("name listen-backlog=-1", "option listen-backlog takes a number from 0 to 2147483647, not '-1'"), ("name header-buffer-size=100", "option header-buffer-size takes 0, or a number of bytes from 8192, not '100'"), ("name response-buffer-size=1", "option response-buffer-size takes 0, or a number of bytes from 65536, not '1'"), ("name send-buffer-size=511", "option send-buffer-size takes 0, or a number of bytes from 512, not '511'"), ("name receive-buffer-size=511", "option receive-buffer-size takes 0, or a number of bytes from 512, not '511'"), ("name deadlock-timeout=-5", "option deadlock-timeout takes a number from 0 to 2147483647, not '-5'"), ("name python=bin/python3", "option python takes an absolute path, not 'bin/python3'"), ("name env=A", "option env takes a variable as NAME=VALUE, not 'A'"), ("name environment-file=x/y", "option environment-file takes an absolute path, not 'x/y'"), ("name request-body=sometimes", "option request-body takes gather or stream, not 'sometimes'"), ("name request-body-memory=-1", "option request-body-memory takes a number from 0 to 9223372036854775807, not '-1'"), ("name response-memory=-1", "option response-memory takes a number from 0 to 9223372036854775807, not '-1'"), ("name spool-limit=-1", "option spool-limit takes a number from 0 to 9223372036854775807, not '-1'"), ("name spool-directory=run", "option spool-directory takes an absolute path, not 'run'"), ("name\nWSGIDaemonProcess name", "name duplicates a previous one: 'name'; every group has a name of its own")],
        shown_by: &["dispatch::a_process_group_of_another_host_is_out_of_reach", "daemon_pythons::a_worker_is_what_its_options_say", "daemon_timeouts::queue_timeout_whoever_waits_too_long_for_a_thread_gets_a_504_and_is_not_served", "daemon_options::cpu_priority_is_that_of_the_process"],
    }
    WSGIProcessGroup {
        place: ServerOrDirectory,
        accepts: &["name", "%{GLOBAL}", "%{ENV:x}"],
        refuses: WORD,
        shown_by: &["dispatch::a_process_group_of_another_host_is_out_of_reach"],
    }
    WSGIApplicationGroup {
        place: ServerOrDirectory,
        accepts: &["name", "%{GLOBAL}", "%{RESOURCE}"],
        refuses: WORD,
        shown_by: &["interpreters::a_group_is_expanded_from_its_keyword"],
    }
    WSGIRestrictProcess {
        place: ServerOrDirectory,
        accepts: &["", "a b %{GLOBAL}"],
        refuses: &[],
        shown_by: &["dispatch::only_the_process_groups_that_are_allowed_may_serve"],
    }
    WSGIRestrictEmbedded {
        place: Global,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["dispatch::applications_may_be_kept_out_of_the_children"],
    }
    WSGISocketPrefix {
        place: Global,
        accepts: &["/x/wsgi", "run/wsgi"],
        refuses: &[("", "takes one argument, ..."), ("a b", "takes one argument, ..."), ("\"\"", "takes one argument, ...")],
        shown_by: &[],
    }
    WSGISocketRotation {
        place: Global,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &[],
    }
    WSGIAcceptMutex {
        place: Global,
        accepts: &["default", "Flock", "fcntl", "sysvsem", "posixsem", "pthread"],
        refuses: &[("", "takes one argument, ..."), ("spin", "takes default, flock, fcntl, sysvsem, posixsem or pthread, not 'spin'")],
        shown_by: &[],
    }
    WSGIInterpreterOptions {
        place: Global,
        accepts: &["", "application-group=%{GLOBAL}", "process-group=a application-group='b c'"],
        refuses: &[
            ("a", "takes process-group=name and application-group=name, not 'a'"),
            ("colour=red", "knows process-group and application-group, not 'colour'"),
            ("process-group=a process-group=b", "takes 'process-group' once"),
        ],
        shown_by: &["interpreter_options::a_section_is_for_its_interpreters_and_the_more_specific_one_wins", "interpreter_options::sections_and_values_that_cannot_be_are_refused"],
    }
    WSGIPerInterpreterGIL {
        place: Global,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["interpreter_options::what_this_python_cannot_do_is_a_warning", "parallel::two_groups_with_locks_of_their_own_compute_in_parallel"],
    }
    WSGIFreeThreading {
        place: Global,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["free_threading::the_lock_is_there_unless_the_directive_takes_it_away", "parallel::groups_without_a_lock_compute_in_parallel_and_so_does_each"],
    }
    WSGISwitchInterval {
        place: Global,
        accepts: &["0.005"],
        refuses: &[("", "takes one argument, ..."), ("0", "takes a number of seconds above 0, not '0'"), ("-1", "takes a number of seconds above 0, not '-1'"), ("1s", "takes a number of seconds above 0, not '1s'"), ("text", "takes a number of seconds above 0, not 'text'")],
        shown_by: &["interpreter_options::the_switch_interval_is_that_of_the_process_or_of_a_lock_of_its_own"],
    }
    WSGIDestroyInterpreter {
        place: Global,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["interpreter_options::interpreters_may_be_left_at_the_end"],
    }
    WSGIPythonHome {
        place: Global,
        accepts: &["@python@"],
        refuses: &[("", "takes one argument, ..."), ("relative", "takes an absolute path, not 'relative'"), ("/nowhere", "'/nowhere' is no Python installation or virtual environment: there is no bin/python3 in it. ...")],
        shown_by: &["directives::the_python_home_may_be_a_virtual_environment", "directives::the_engine_may_stand_in_the_site_packages_of_the_python_home"],
    }
    WSGIPythonPath {
        place: Global,
        accepts: &["/a:/b", "/a"],
        refuses: WORD,
        shown_by: &["loading::the_python_path_of_the_configuration_comes_first_and_its_pth_files_count"],
    }
    WSGIPythonEggs {
        place: Global,
        accepts: &["/a"],
        refuses: WORD,
        shown_by: &["interpreter_options::python_starts_as_the_configuration_says"],
    }
    WSGIPythonOptimize {
        place: Global,
        accepts: &["2", "0", "-1", "text"],
        refuses: WORD,
        shown_by: &["interpreter_options::python_starts_as_the_configuration_says"],
    }
    WSGIPythonWarnings {
        place: Global,
        accepts: &["ignore", "error::UserWarning"],
        refuses: WORD,
        shown_by: &["interpreter_options::python_starts_as_the_configuration_says"],
    }
    WSGIPythonHashSeed {
        place: Global,
        accepts: &["random", "0", "4294967295"],
        refuses: &[("", "takes one argument, ..."), ("-1", "takes random or a number from 0 to 4294967295, not '-1'"), ("4294967296", "takes random or a number from 0 to 4294967295, not '4294967296'"), ("text", "takes random or a number from 0 to 4294967295, not 'text'")],
        shown_by: &["interpreter_options::python_starts_as_the_configuration_says"],
    }
    WSGIDontWriteBytecode {
        place: Global,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["interpreter_options::python_starts_as_the_configuration_says"],
    }
    WSGIRestrictStdin {
        place: Global,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["restrictions::standard_input_is_at_its_end_or_forbidden"],
    }
    WSGIRestrictStdout {
        place: Global,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["restrictions::standard_output_is_the_log_or_forbidden"],
    }
    WSGIRestrictSignal {
        place: Global,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["restrictions::with_the_restriction_off_python_decides_itself"],
    }
    WSGICaseSensitivity {
        place: Global,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["interpreter_options::with_case_insensitivity_paths_that_differ_in_case_are_one_application"],
    }
    WSGIVerboseDebugging {
        place: Global,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["old_directives::a_directive_without_effect_is_deprecated_in_one_line_at_level_info"],
    }
    WSGIPassAuthorization {
        place: FileInfo,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["environ_configured::authorization_is_passed_on_where_the_configuration_says_so"],
    }
    WSGIScriptReloading {
        place: FileInfo,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["loading::reloading_can_be_switched_off"],
    }
    WSGIChunkedRequest {
        place: FileInfo,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["bodies::a_chunked_body_is_refused_unless_enabled"],
    }
    WSGIErrorOverride {
        place: FileInfo,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &[],
    }
    WSGIMapHEADToGET {
        place: FileInfo,
        accepts: &["On", "off", "AUTO"],
        refuses: &[("", "takes one argument, ..."), ("maybe", "takes On, Off or Auto, not 'maybe'")],
        shown_by: &["environ_configured::head_reaches_the_application_as_head_get_or_as_filters_need_it"],
    }
    WSGIEnableSendfile {
        place: FileInfo,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["file_wrapper::the_contents_are_the_same_however_httpd_sends_them"],
    }
    WSGIIgnoreActivity {
        place: FileInfo,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &[],
    }
    WSGITrustedProxyHeaders {
        place: FileInfo,
        accepts: &["X-Forwarded-For X-Forwarded-Proto", "X-Unheard-Of"],
        refuses: &[("", "takes one or more names of headers"), ("X_Forwarded_For", "takes names of headers, of letters, digits and hyphens, not 'X_Forwarded_For'")],
        shown_by: &["trusted_proxies::a_more_specific_place_replaces_the_lists_as_a_whole"],
    }
    WSGITrustedProxies {
        place: FileInfo,
        accepts: &["127.0.0.1 10.0.0.0/8 10.1 ::1"],
        refuses: &[("", "takes IPv4 or IPv6 addresses or networks (10.0.0.0/8)"), ("localhost", "takes IPv4 or IPv6 addresses or networks (10.0.0.0/8), not 'localhost'"), ("10.0.0.0/33", "takes IPv4 or IPv6 addresses or networks (10.0.0.0/8), not '10.0.0.0/33'")],
        shown_by: &["trusted_proxies::a_peer_that_is_no_proxy_says_nothing"],
    }
    WSGIPassApacheRequest {
        place: ServerOrDirectory,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["python_module::the_request_of_the_server_is_given_out_where_it_is_allowed"],
    }
    WSGIAccessScript {
        place: AuthConfig,
        accepts: HOOKS,
        refuses: HOOK,
        shown_by: &["auth::a_client_comes_in_is_turned_away_or_left_to_others"],
    }
    WSGIAuthUserScript {
        place: AuthConfig,
        accepts: HOOKS,
        refuses: HOOK,
        shown_by: &["auth::a_script_of_passwords_that_cannot_be_asked_refuses_everybody"],
    }
    WSGIAuthGroupScript {
        place: AuthConfig,
        accepts: HOOKS,
        refuses: HOOK,
        shown_by: &["auth::a_user_comes_in_with_one_of_the_groups_and_names_compare_exactly"],
    }
    WSGIGroupAuthoritative {
        place: AuthConfig,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["old_directives::a_server_with_them_serves"],
    }
    WSGIServerMetrics {
        place: Global,
        accepts: FLAGS,
        refuses: FLAG,
        shown_by: &["python_module::the_scoreboard_is_shown_where_it_is_allowed"],
    }
    WSGITelemetryService {
        place: Global,
        accepts: &["unix:/x", "unix:/x interval=0.5"],
        refuses: &[("", "takes unix:/path and perhaps interval=seconds, 0.5 or more"), ("tcp:host", "takes unix:/path and perhaps interval=seconds, 0.5 or more, not 'tcp:host'"), ("unix:relative", "takes unix:/path and perhaps interval=seconds, 0.5 or more, not 'unix:relative'"), ("unix:/x every=5", "takes unix:/path and perhaps interval=seconds, 0.5 or more, not 'every=5'"), ("unix:/x interval=0.4", "takes unix:/path and perhaps interval=seconds, 0.5 or more, not 'interval=0.4'"), ("unix:/x interval=1 more", "takes unix:/path and perhaps interval=seconds, 0.5 or more, not 'interval=1'")],
        shown_by: &["python_module::a_telemetry_service_takes_the_metrics_away"],
    }
    WSGISlowRequests {
        place: Global,
        accepts: &["2.5", "0", "text"],
        refuses: &[("", "takes one argument, ..."), ("-1", "takes a number of seconds, 0 or more, not '-1'")],
        shown_by: &[],
    }
    WSGITelemetryOptions {
        place: Global,
        accepts: &["None", "All", "captureuseragent", "+CaptureUserAgent", "-CaptureUserAgent", "None All"],
        refuses: &[("", "takes None, All or CaptureUserAgent, or all with + or - in front of CaptureUserAgent"), ("+", "takes None, All or CaptureUserAgent, or all with + or - in front of CaptureUserAgent, not '+'"), ("Everything", "takes None, All or CaptureUserAgent, or all with + or - in front of CaptureUserAgent, not 'Everything'"), ("+CaptureUserAgent None", "takes None, All or CaptureUserAgent, or all with + or - in front of CaptureUserAgent, not '+CaptureUserAgent None'")],
        shown_by: &[],
    }
    WSGILazyInitialization {
        place: Server,
        accepts: GONE,
        refuses: &[],
        shown_by: &["old_directives::a_directive_that_is_gone_is_accepted_with_one_warning"],
    }
    WSGINewRelicConfigFile {
        place: Server,
        accepts: GONE,
        refuses: &[],
        shown_by: &["old_directives::a_directive_that_is_gone_is_accepted_with_one_warning"],
    }
    WSGINewRelicEnvironment {
        place: Server,
        accepts: GONE,
        refuses: &[],
        shown_by: &["old_directives::a_directive_that_is_gone_is_accepted_with_one_warning"],
    }
    WSGIPythonExecutable {
        place: Server,
        accepts: GONE,
        refuses: &[],
        shown_by: &["old_directives::a_directive_that_is_gone_is_accepted_with_one_warning"],
    }
    WSGIPy3kWarningFlag {
        place: Server,
        accepts: GONE,
        refuses: &[],
        shown_by: &["old_directives::a_directive_that_is_gone_is_accepted_with_one_warning"],
    }
    WSGIReloadMechanism {
        place: Anywhere,
        accepts: GONE,
        refuses: &[],
        shown_by: &["old_directives::a_directive_that_is_gone_is_accepted_with_one_warning"],
    }
    WSGIOutputBuffering {
        place: Anywhere,
        accepts: GONE,
        refuses: &[],
        shown_by: &["old_directives::a_directive_that_is_gone_is_accepted_with_one_warning"],
    }
    WSGIUserAuthoritative {
        place: Anywhere,
        accepts: GONE,
        refuses: &[],
        shown_by: &["old_directives::a_directive_that_is_gone_is_accepted_with_one_warning"],
    }
}
