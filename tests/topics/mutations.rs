//! Thousands of requests that no client should send: nothing crashes, nothing is the server's fault, and it serves on.

#[path = "../fuzz/mod.rs"]
mod fuzz;

use crate::harness::{Builder, Mpm, Server, wait_for};
use std::time::{Duration, Instant};

const APPLICATION: &str = include_str!("../fuzz/application.wsgi");

/// What `make test` sends. Another one is taken with `RUSTGI_FUZZ_SEED`.
const SEED: u64 = 20_261_120;

/// How much of what is not HTTP httpd lets through to the module.
#[derive(Clone, Copy, Debug)]
enum Parser {
    /// As httpd is by itself.
    Strict,
    /// Everything that it can be made to let through.
    Lenient,
    /// As by itself; the module believes forwarded headers, and scripts are asked about every request.
    Trusting,
}

const EVERY: [Parser; 3] = [Parser::Strict, Parser::Lenient, Parser::Trusting];

/// Scripts of every kind, which look at all they are given.
const HOOKS: &str = "
def looked_at(environ):
    for key, value in environ.items():
        assert type(key) is str and key.isascii() and key.isprintable(), ascii(key)
        assert type(value) is not str or '\\0' not in value, (ascii(key), ascii(value))

def allow_access(environ, host):
    looked_at(environ)

def check_password(environ, user, password):
    looked_at(environ)
    assert type(user) is str and type(password) is str
    return True

def application_group(environ):
    looked_at(environ)
    return '%{GLOBAL}'
";

const TRUSTING: &str = "
WSGITrustedProxies 127.0.0.1
WSGITrustedProxyHeaders X-Forwarded-For X-Real-IP X-Forwarded-Host X-Forwarded-Server X-Forwarded-Port
WSGITrustedProxyHeaders X-Script-Name X-Forwarded-Proto X-Scheme X-Forwarded-SSL X-HTTPS
SetEnv mod_wsgi.trusting 1
WSGIDispatchScript @apps@/hooks.py
<Location />
    WSGIAccessScript @apps@/hooks.py
    <If \"-n req('Authorization')\">
        AuthType Basic
        AuthName hooks
        AuthBasicProvider wsgi
        WSGIAuthUserScript @apps@/hooks.py
        Require valid-user
    </If>
</Location>";

fn builder(parser: Parser) -> Builder {
    let builder = Server::builder_of(APPLICATION)
        .config("WSGIChunkedRequest On\nAllowEncodedSlashes NoDecode\nTimeout 10");
    match parser {
        Parser::Strict => builder,
        Parser::Lenient => builder.config("HttpProtocolOptions Unsafe LenientMethods Allow0.9"),
        Parser::Trusting => builder
            .load(&["env", "auth_basic", "authn_core", "authz_user"])
            .app("hooks.py", HOOKS)
            .config(TRUSTING),
    }
}

/// Sends so many requests to a server, and checks it afterwards.
fn withstands(server: Server, parser: Parser, count: u64) {
    let seed = std::env::var("RUSTGI_FUZZ_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    println!("RUSTGI_FUZZ_SEED={seed}, {count} requests, {parser:?}");
    assert_eq!(server.get("/").status, 200);
    let processes = server.processes();
    let begun = Instant::now();
    let tally = fuzz::fire(server.port, seed, 0..count);
    println!("{:?}: {:?}, unanswered {}", begun.elapsed(), tally.statuses, tally.unanswered);
    let first: Vec<&String> = tally.complaints.iter().take(10).collect();
    assert!(first.is_empty(), "{} complaints: {first:#?}", tally.complaints.len());
    assert!(tally.of(200) > count / 10, "enough reaches the application");
    assert!(tally.of(400) > count / 10, "enough is not HTTP");
    let asked = matches!(parser, Parser::Trusting);
    assert_eq!(tally.of(401) > 0, asked, "scripts are asked, and only where they are configured");
    assert_eq!(server.processes(), processes, "no process is another (seed {seed})");

    let log = settled(&server);
    let faults: Vec<&str> = log.lines().filter(|line| fuzz::is_fault(status(line))).collect();
    assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
    // What fails after the head is sent does not show in the status.
    let said = server.error_log();
    assert!(!said.contains("Traceback"), "seed {seed}: {said}");
    let ordinary = server.post("/", "an ordinary body");
    assert_eq!((ordinary.status, ordinary.text()), (200, "16 d1a134bf\n"), "seed {seed}");
    server.stop();
}

/// The access log, once the last of the clients that went away is in it.
fn settled(server: &Server) -> String {
    let mut before = server.access_log();
    wait_for("the end of all requests", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = server.access_log();
        let same = now == before;
        before = now;
        same.then_some(())
    });
    before
}

/// The status in a line of the access log: `%m %U%q %>s %B %X`.
fn status(line: &str) -> u16 {
    let status = line.rsplit(' ').nth(2).expect("five fields");
    // A request that ended before it had a status has a dash.
    status.parse().unwrap_or(0)
}

#[test]
fn mutated_requests_bring_no_crash_and_no_fault_of_the_server() {
    for parser in EVERY {
        withstands(builder(parser).start(), parser, 700);
    }
}

#[test]
#[ignore = "takes a minute: 10,000 mutated requests on event"]
fn ten_thousand_mutated_requests_on_event() {
    for parser in EVERY {
        withstands(builder(parser).start(), parser, 3500);
    }
}

#[test]
#[ignore = "takes a minute: 10,000 mutated requests on prefork"]
fn ten_thousand_mutated_requests_on_prefork() {
    for parser in EVERY {
        let server = builder(parser).mpm(Mpm::Prefork).children(4, 1).start();
        withstands(server, parser, 3500);
    }
}

#[test]
fn a_seed_always_means_the_same_requests() {
    let text = |seed: u64| -> String {
        (0..200).map(|number| fuzz::Attempt::of(seed, number).to_string()).collect()
    };
    assert_eq!(text(SEED), text(SEED));
    assert_ne!(text(SEED), text(SEED + 1));
}
