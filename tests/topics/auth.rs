//! Access, passwords and groups by scripts: every answer of theirs, and that whatever is not a clear yes refuses.

use super::{ENVIRON, with_notes};
use crate::harness::{Builder, Identity, Response, Server};

const SCRIPT: &str = r#"
import json, sys

def say(kind, environ, *arguments):
    line = json.dumps([kind, {key: value for key, value in environ.items() if isinstance(value, str)}, arguments])
    with open('@root@/run/asked', 'a') as file:
        file.write(line + '\n')

def check_password(environ, user, password):
    say('password', environ, user, password)
    assert environ['mod_ssl.is_https']() == 0 and environ['mod_ssl.var_lookup']('SSL_PROTOCOL') is None
    print('password of', user, file=environ['wsgi.errors'])
    if user == 'raises':
        raise ValueError('no passwords today')
    if user == 'exits':
        sys.exit(1)
    return {
        'alice': password == 'right', 'renamed': 'another', 'empty': '', 'one': 1, 'bytes': b'x', 'true': 'True' and True,
        'nul': 'ad\0min', 'surrogate': '\udc80', 'unicode': '\u20ac',
    }.get(user)

def get_realm_hash(environ, user, realm):
    say('hash', environ, user, realm)
    import hashlib
    right = hashlib.md5(f'{user}:{realm}:right'.encode()).hexdigest()
    if user == 'raises':
        raise ValueError('no hashes today')
    return {'alice': right, 'bytes': right.encode(), 'empty': '', 'one': 1, 'euro': '\u20ac'}.get(user)

def groups_for_user(environ, user):
    say('groups', environ, user)
    def midway():
        yield 'staff'
        raise ValueError('groups are over')
    if user == 'raises':
        raise ValueError('no groups today')
    return {
        'alice': ['staff', b'two words'], 'case': ['Staff'], 'none': [], 'nothing': None, 'one': 1, 'items': ['staff', 1],
        'euro': ['staff', '\u20ac'], 'midway': midway(), 'letters': 'ab', 'other': iter(['others']),
    }[user]

def allow_access(environ, host):
    say('access', environ, host)
    query = environ['QUERY_STRING']
    if query == 'raises':
        raise ValueError('no access today')
    return {'yes': True, 'no': False, 'nothing': None, 'one': 1}.get(query, True)
"#;

const MODULES: &[&str] =
    &["auth_basic", "authn_core", "authz_user", "authz_host", "auth_digest", "authn_file"];

fn builder(location: &str) -> Builder {
    with_notes(Server::builder_of(ENVIRON))
        .load(MODULES)
        .app("auth.py", SCRIPT)
        .config(&format!("<Location />\n{location}\n</Location>"))
}

const BASIC: &str =
    "AuthType Basic\nAuthName realm\nAuthBasicProvider wsgi\nWSGIAuthUserScript @apps@/auth.py\n";

fn log_in(server: &Server, target: &str, user: &str, password: &str) -> Response {
    let word = base64(format!("{user}:{password}").as_bytes());
    server.send("GET", target, &[("Authorization", &format!("Basic {word}"))], b"")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let of = |group: &[u8]| {
        let number = group.iter().fold(0_u32, |all, &byte| all << 8 | u32::from(byte));
        let number = number << (8 * (3 - group.len()));
        let digits = (0..4).map(|at| {
            if at > group.len() {
                '='
            } else {
                char::from(DIGITS[(number >> (18 - 6 * at) & 63) as usize])
            }
        });
        digits.collect::<String>()
    };
    bytes.chunks(3).map(of).collect()
}

/// What the script was asked, as it saw it.
fn asked(server: &Server) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(server.root().join("run/asked")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_password_is_right_wrong_or_nobodys() {
    let server = builder(&format!("{BASIC}Require valid-user")).start();
    assert_eq!(server.get("/").status, 401);
    assert_eq!(log_in(&server, "/", "alice", "right").status, 200);
    assert_eq!(log_in(&server, "/", "true", "").status, 200);
    assert_eq!(log_in(&server, "/", "alice", "wrong").status, 401);
    assert_eq!(log_in(&server, "/", "nobody", "x").status, 401);
    let renamed = log_in(&server, "/", "renamed", "x").json();
    assert_eq!(renamed["REMOTE_USER"], "another");
    assert_eq!(renamed["AUTH_TYPE"], "Basic");
    let line = server.await_log("password of alice");
    assert!(line.contains("[script ") && line.contains("auth.py]"), "{line}");
}

#[test]
fn whatever_is_no_answer_about_a_password_is_a_500_with_its_code() {
    let server = builder(&format!("{BASIC}Require valid-user")).start();
    for (user, said) in [
        ("empty", "WSGI0176"),
        ("one", "WSGI0177"),
        ("bytes", "WSGI0177"),
        ("raises", "ValueError: no passwords today"),
        ("exits", "WSGI0175"),
        ("surrogate", "UnicodeEncodeError"),
        ("nul", "WSGI1015"),
    ] {
        assert_eq!(log_in(&server, "/", user, "x").status, 500, "{user}");
        server.await_log(said);
    }
}

#[test]
fn a_script_of_passwords_that_cannot_be_asked_refuses_everybody() {
    let location = |script: &str| {
        format!(
            "AuthType Basic\nAuthName realm\nAuthBasicProvider wsgi\nRequire valid-user\n{script}"
        )
    };
    for (script, said) in [
        ("", "WSGI0041"),
        ("WSGIAuthUserScript @apps@/missing.py", "WSGI0105"),
        ("WSGIAuthUserScript @apps@/broken.py", "SyntaxError"),
        ("WSGIAuthUserScript @apps@/empty.py", "WSGI0043"),
    ] {
        let server = builder(&location(script))
            .app("broken.py", "def check_password(:")
            .app("empty.py", "")
            .start();
        assert_eq!(log_in(&server, "/", "alice", "right").status, 500, "{script}");
        server.await_log(said);
    }
}

#[test]
fn a_digest_is_checked_against_the_hash() {
    let server = builder("AuthType Digest\nAuthName realm\nAuthDigestProvider wsgi\nWSGIAuthUserScript @apps@/auth.py\nRequire valid-user").start();
    let log_in = |user: &str, password: &str| {
        let user = format!("{user}:{password}");
        let done = server
            .curl(&["--digest", "--user", &user, "-o", "/dev/null", "-w", "%{http_code}"], "/");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    assert_eq!(log_in("alice", "right"), "200");
    assert_eq!(log_in("bytes", "right"), "200");
    assert_eq!(log_in("alice", "wrong"), "401");
    assert_eq!(log_in("nobody", "right"), "401");
    for (user, said) in [
        ("empty", "WSGI0178"),
        ("one", "WSGI0179"),
        ("euro", "UnicodeEncodeError"),
        ("raises", "ValueError: no hashes today"),
    ] {
        assert_eq!(log_in(user, "right"), "500", "{user}");
        server.await_log(said);
    }
}

/// Everybody's password is right.
const ANYBODY: &str = "
def check_password(environ, user, password):
    return True
";

fn groups(require: &str) -> Builder {
    builder(&format!(
        "AuthType Basic\nAuthName realm\nAuthBasicProvider wsgi\nWSGIAuthUserScript @apps@/anybody.py\n{require}"
    ))
    .app("anybody.py", ANYBODY)
}

#[test]
fn a_user_comes_in_with_one_of_the_groups_and_names_compare_exactly() {
    let server =
        groups("WSGIAuthGroupScript @apps@/auth.py\nRequire wsgi-group staff \"two words\"\nAuthzSendForbiddenOnFailure On")
            .start();
    assert_eq!(server.get("/").status, 401);
    assert_eq!(log_in(&server, "/", "alice", "x").status, 200);
    for (user, said) in [
        ("case", "WSGI0060"),
        ("other", "WSGI0060"),
        ("letters", "WSGI0060"),
        ("none", "WSGI0059"),
        ("nothing", "WSGI0051"),
        ("one", "WSGI0051"),
        ("items", "WSGI0050"),
        ("euro", "WSGI0049"),
        ("midway", "ValueError: groups are over"),
        ("raises", "ValueError: no groups today"),
        ("unheard-of", "KeyError"),
    ] {
        assert_eq!(log_in(&server, "/", user, "x").status, 403, "{user}");
        server.await_log(said);
    }
}

#[test]
fn groups_that_cannot_be_asked_for_are_none() {
    for (script, said) in [
        ("", "WSGI0058"),
        ("WSGIAuthGroupScript @apps@/missing.py", "WSGI0105"),
        ("WSGIAuthGroupScript @apps@/anybody.py", "WSGI0052"),
    ] {
        let server = groups(&format!("{script}\nRequire wsgi-group staff")).start();
        assert_eq!(log_in(&server, "/", "alice", "x").status, 401, "{script}");
        server.await_log(said);
    }
}

#[test]
fn a_client_comes_in_is_turned_away_or_left_to_others() {
    let server = builder("WSGIAccessScript @apps@/auth.py\nRequire all granted").start();
    for (query, status) in
        [("yes", 200), ("nothing", 200), ("no", 403), ("one", 403), ("raises", 403)]
    {
        assert_eq!(server.get(&format!("/?{query}")).status, status, "{query}");
    }
    server.await_log("WSGI0057");
    server.await_log("WSGI0055");
    server.await_log("ValueError: no access today");
    assert_eq!(asked(&server)[0][2][0], "127.0.0.1");
}

#[test]
fn a_script_of_access_that_cannot_be_asked_lets_nobody_in() {
    for (script, said) in
        [("missing.py", "WSGI0105"), ("empty.py", "WSGI0056"), ("raises.py", "ZeroDivisionError")]
    {
        let server = builder(&format!("WSGIAccessScript @apps@/{script}\nRequire all granted"))
            .app("empty.py", "")
            .app("raises.py", "1 / 0")
            .start();
        assert_eq!(server.get("/").status, 403, "{script}");
        server.await_log(said);
    }
}

#[test]
fn scripts_see_what_the_client_sent_and_nothing_that_a_htaccess_file_could_set() {
    let server = builder(&format!(
        "{BASIC}WSGIAccessScript @apps@/auth.py\nRequire valid-user\nSetEnv FROM_SET_ENV x"
    ))
    .load(&["env"])
    .start();
    let word = base64(b"alice:right");
    let answer = server.send(
        "GET",
        "/a//b?q=1",
        &[
            ("Authorization", &format!("Basic {word}")),
            ("Proxy", "http://evil"),
            ("Proxy-Authorization", "secret"),
            ("X_Folded", "x"),
            ("X-Plain", "y"),
        ],
        b"",
    );
    assert_eq!(answer.status, 200);
    let asked = asked(&server);
    assert_eq!(
        asked.iter().map(|line| line[0].as_str().unwrap()).collect::<Vec<_>>(),
        ["access", "password"]
    );
    for line in &asked {
        let environ = &line[1];
        for (key, value) in [
            ("REQUEST_METHOD", "GET"),
            ("QUERY_STRING", "q=1"),
            ("REQUEST_URI", "/a//b?q=1"),
            ("SCRIPT_NAME", ""),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("HTTP_X_PLAIN", "y"),
            ("SERVER_NAME", "127.0.0.1"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("mod_wsgi.process_group", ""),
            ("mod_wsgi.application_group", ""),
        ] {
            assert!(
                environ[key] == value || key == "SERVER_NAME" && environ[key].is_string(),
                "{key}: {environ}"
            );
        }
        for key in [
            "HTTP_AUTHORIZATION",
            "HTTP_PROXY_AUTHORIZATION",
            "HTTP_PROXY",
            "HTTP_X_FOLDED",
            "FROM_SET_ENV",
            "SCRIPT_FILENAME",
            "REMOTE_USER",
            "AUTH_TYPE",
            "REMOTE_HOST",
            "HTTPS",
            "PATH",
        ] {
            assert!(environ[key].is_null(), "{key}: {environ}");
        }
        for key in [
            "SERVER_SIGNATURE",
            "SERVER_SOFTWARE",
            "SERVER_ADDR",
            "SERVER_PORT",
            "REMOTE_PORT",
            "DOCUMENT_ROOT",
        ] {
            assert!(environ[key].is_string(), "{key}: {environ}");
        }
    }
    assert_eq!(asked[1][2], serde_json::json!(["alice", "right"]));
}

#[test]
fn a_changed_script_is_asked_in_its_new_form() {
    let server = builder("WSGIAccessScript @apps@/changing.py\nRequire all granted")
        .app("changing.py", "def allow_access(environ, host): return True")
        .start();
    assert_eq!(server.get("/").status, 200);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let script = server.root().join("apps/changing.py");
    std::fs::write(&script, "def allow_access(environ, host): return False").unwrap();
    assert_eq!(server.get("/").status, 403);
}

#[test]
fn a_script_runs_in_the_group_it_is_given() {
    for (option, name) in [
        ("", ""),
        ("application-group=mine", "mine"),
        ("application-group=%{GLOBAL}", ""),
        ("application-group=%{SERVER}", "localhost"),
        ("application-group=%{RESOURCE}", "%{RESOURCE}"),
    ] {
        let server =
            builder(&format!("WSGIAccessScript @apps@/auth.py {option}\nRequire all granted"))
                .start();
        assert_eq!(server.get("/").status, 200);
        assert_eq!(asked(&server)[0][1]["mod_wsgi.application_group"], name, "{option}");
    }
}

#[test]
fn scripts_are_asked_where_applications_may_not_run() {
    let server = builder(&format!("{BASIC}WSGIAccessScript @apps@/auth.py\nRequire valid-user"))
        .embedded()
        .config("WSGIRestrictEmbedded On")
        .file("docs/page.txt", "a page")
        .config("WSGIScriptAlias /app @apps@/app.wsgi\nAlias /page @docs@/page.txt")
        .load(&["alias"])
        .start();
    assert_eq!(log_in(&server, "/page", "alice", "right").text(), "a page");
    assert_eq!(log_in(&server, "/page", "alice", "wrong").status, 401);
    assert_eq!(log_in(&server, "/app", "alice", "right").status, 500);
    server.await_log("WSGI0143");
}

#[test]
fn a_script_first_named_in_a_htaccess_file_denies_when_there_is_no_python() {
    for (directives, said, status) in [
        ("WSGIAccessScript @apps@/auth.py", "WSGI0054", 403),
        (
            "AuthType Basic\nAuthName r\nAuthBasicProvider wsgi\nWSGIAuthUserScript @apps@/auth.py\nRequire valid-user",
            "WSGI0042",
            500,
        ),
    ] {
        let server = Server::builder()
            .load(MODULES)
            .app("auth.py", SCRIPT)
            .file("docs/.htaccess", directives)
            .file("docs/page.txt", "a page")
            .config("WSGIRestrictEmbedded On\n<Directory @docs@>\nAllowOverride AuthConfig\n</Directory>")
            .start();
        assert_eq!(log_in(&server, "/page.txt", "alice", "right").status, status, "{directives}");
        server.await_log(said);
    }
}

#[test]
fn a_htaccess_file_may_name_scripts_where_it_is_allowed_to() {
    let server = with_notes(Server::builder())
        .load(MODULES)
        .app("auth.py", SCRIPT)
        .file("docs/.htaccess", format!("{BASIC}Require valid-user"))
        .file("docs/page.txt", "a page")
        .config("<Directory @docs@>\nAllowOverride AuthConfig\n</Directory>")
        .start();
    assert_eq!(server.get("/page.txt").status, 401);
    assert_eq!(log_in(&server, "/page.txt", "alice", "right").text(), "a page");
    assert_eq!(log_in(&server, "/page.txt", "raises", "x").status, 500);
}

#[test]
fn an_alias_of_the_provider_and_another_provider_behind_it_work() {
    let server = with_notes(Server::builder_of(ENVIRON))
        .load(MODULES)
        .app("auth.py", SCRIPT)
        .config(
            "<AuthnProviderAlias wsgi ours>\nWSGIAuthUserScript @apps@/auth.py\n</AuthnProviderAlias>\n\
             <Location />\nAuthType Basic\nAuthName r\nAuthBasicProvider ours file\nAuthUserFile @root@/users\nRequire valid-user\n</Location>",
        )
        // Its password is `x`.
        .file("users", "other:{SHA}Efatjl+tPtfjZvwe5eNJ7dfMEZo=\n")
        .start();
    assert_eq!(log_in(&server, "/", "alice", "right").status, 200);
    assert_eq!(log_in(&server, "/", "alice", "wrong").status, 401);
    assert_eq!(log_in(&server, "/", "nobody-at-all", "x").status, 401);
}

#[test]
fn many_clients_at_once_are_each_asked_about_themselves() {
    let server =
        builder(&format!("{BASIC}Require valid-user")).identity(Identity::Unprivileged).start();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..20 {
                    let right = (number + round) % 2 == 0;
                    let password = if right { "right" } else { "wrong" };
                    let status = log_in(server, "/", "alice", password).status;
                    assert_eq!(status, if right { 200 } else { 401 });
                }
            });
        }
    });
}

#[test]
fn whoever_is_turned_away_may_log_in_where_either_is_enough() {
    let server = builder(&format!(
        "{BASIC}WSGIAccessScript @apps@/auth.py\nRequire valid-user\nSatisfy Any"
    ))
    .load(&["access_compat"])
    .start();
    assert_eq!(server.get("/?no").status, 401);
    assert_eq!(log_in(&server, "/?no", "alice", "right").status, 200);
    assert_eq!(server.get("/?yes").status, 200);
    assert!(!server.error_log().contains("WSGI0057"), "{}", server.error_log());
}

#[test]
fn an_application_beside_a_script_that_is_asked_keeps_its_own_interpreter() {
    let shown = "
import sys
def application(environ, start_response):
    start_response('200 OK', [])
    return [repr('asked here' in sys.modules).encode()]
";
    let asked = "
import sys
sys.modules['asked here'] = sys
def allow_access(environ, host): return True
";
    for (option, together) in [("", "False"), ("application-group=both", "True")] {
        let server = Server::builder_of(shown)
            .embedded()
            .app("asked.py", asked)
            .config(&format!(
                "WSGIApplicationGroup both\n<Location />\nWSGIAccessScript @apps@/asked.py {option}\n</Location>"
            ))
            .start();
        assert_eq!(server.get("/").text(), together, "{option}");
    }
}
