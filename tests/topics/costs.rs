//! What a request costs, counted: instructions under valgrind's callgrind, system calls under strace. Unlike times, the
//! counts are the same on a busy machine; so what makes a request dearer fails here, by name. Everything is counted over
//! the floor, which is httpd with a handler that answers with fixed bytes, so that httpd's own cost is not in it.

use super::clients::installed;
use crate::harness::{Builder, Identity, Installation, Server, wait_for};
use nix::sys::signal::Signal;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Requests before anything is counted, so that every thread has served some, and requests that are counted.
const WARM_UP: u32 = 60;
const COUNTED: u32 = 400;
/// Few, so that the warm-up reaches all of them.
const THREADS: usize = 3;

/// What a load generator sends.
const PLAIN: &[&str] = &[];
/// What a browser sends.
const BROWSER: &[&str] = &[
    "Connection: keep-alive",
    "Cache-Control: max-age=0",
    "sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"",
    "sec-ch-ua-mobile: ?0",
    "sec-ch-ua-platform: \"Linux\"",
    "Upgrade-Insecure-Requests: 1",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Mode: navigate",
    "Accept-Language: en-US,en;q=0.9",
];

const APPLICATION: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '12')])
    return [b'Hello World!']
";

/// A way to serve requests.
struct Contender {
    server: fn() -> Builder,
    /// Whether other processes than httpd's one take part.
    has_daemons: bool,
}

const FLOOR: Contender = Contender {
    server: || {
        let module = Installation::get().floor();
        let lines = format!("LoadModule floor_module \"{}\"\nSetHandler floor", module.display());
        Server::builder().without_module().config(&lines)
    },
    has_daemons: false,
};

const EMBEDDED: Contender =
    Contender { server: || Server::builder_of(APPLICATION).embedded(), has_daemons: false };

const DAEMON: Contender = Contender {
    server: || {
        let import = "WSGIImportScript @apps@/app.wsgi process-group=cost application-group=%{GLOBAL}\n\
                      WSGIApplicationGroup %{GLOBAL}";
        Server::builder_of(APPLICATION).daemon("cost threads=3 shutdown-timeout=60").config(import)
    },
    has_daemons: true,
};

#[test]
fn a_request_costs_no_more_instructions_than_its_budget() {
    if installed("valgrind") {
        for (what, headers, embedded, daemon) in
            [("plain", PLAIN, 11_000.0, 16_000.0), ("of a browser", BROWSER, 14_000.0, 19_000.0)]
        {
            let floor = instructions(&FLOOR, headers);
            for (where_, contender, budget) in
                [("embedded", &EMBEDDED, embedded), ("daemon", &DAEMON, daemon)]
            {
                let over = instructions(contender, headers) - floor;
                check(&format!("instructions of a request, {what}, {where_}"), over, budget);
            }
        }
    }
}

#[test]
fn a_request_makes_no_system_call_that_httpd_would_not_make() {
    if installed("strace") {
        let floor = system_calls(&FLOOR);
        check("system calls of a request, embedded", system_calls(&EMBEDDED) - floor, 0.4);
        check("system calls of a request, daemon", system_calls(&DAEMON) - floor, 5.0);
    }
}

/// Says what was counted, as what is left of a budget is worth knowing too.
#[track_caller]
fn check(what: &str, over: f64, budget: f64) {
    let line = format!("{what}: {over:.1} over the floor, {budget} are allowed");
    let _ = writeln!(std::io::stderr(), "{line}");
    // Half of one is noise: what happens by the clock.
    assert!(over < budget + 0.5, "{line}");
}

/// Instructions of a request in all processes.
fn instructions(contender: &Contender, headers: &[&str]) -> f64 {
    let follow = if contender.has_daemons { "yes" } else { "no" };
    let follow = format!("--trace-children={follow}");
    let out = "--callgrind-out-file=@root@/run/callgrind.%p";
    of_each_request(
        contender,
        &["valgrind", "--tool=callgrind", "--vgdb=no", &follow, out],
        headers,
        |root| {
            wait_for("the counts of all processes", || {
                let files = fs::read_dir(root.join("run")).unwrap();
                let files = files.map(|entry| entry.unwrap().path());
                let counts = files.filter(|path| path.to_str().unwrap().contains("callgrind."));
                let counts: Vec<_> =
                    counts.filter_map(|path| total(&fs::read_to_string(path).ok()?)).collect();
                let has = |what: &str| counts.iter().any(|(command, _)| command.contains(what));
                let is_all = !contender.has_daemons || (has("supervise") && has("_rustgi"));
                let sum = counts.iter().map(|(_, count)| count).sum();
                (has("httpd.conf") && is_all).then_some(sum)
            })
        },
    )
}

/// What callgrind counted in a process, and its command line. Nothing of one that was killed, as the Python is that was
/// asked where it lies, once it has said so.
fn total(said: &str) -> Option<(String, f64)> {
    let line = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
    Some((line("cmd: ")?.to_owned(), line("totals: ")?.trim().parse().ok()?))
}

/// System calls of a request in all processes.
fn system_calls(contender: &Contender) -> f64 {
    // Beside the server instead of above it, so that signals reach the server itself.
    let under = ["strace", "-D", "-f", "-c", "-U", "calls,name", "-o", "@root@/logs/strace"];
    of_each_request(contender, &under, PLAIN, |root| {
        wait_for("the table of strace", || {
            let table = fs::read_to_string(root.join("logs/strace")).ok()?;
            table
                .lines()
                .rev()
                .find_map(|line| line.trim().strip_suffix(" total")?.trim().parse().ok())
        })
    })
}

/// How much more each request after the warm-up makes of what is `counted` in the directory of a server that has run under
/// another program.
fn of_each_request(
    contender: &Contender,
    under: &[&str],
    headers: &[&str],
    counted: impl Fn(&Path) -> f64,
) -> f64 {
    let with = |requests| {
        // An ordinary user from the start: what counts writes down its counts at the end.
        let server = (contender.server)().identity(Identity::Unprivileged).under(under);
        let server = server.children(1, THREADS).files_may_stay_open();
        // Where a hash falls decides what a look-up costs.
        let server = server.environment("PYTHONHASHSEED", "0");
        let level = if contender.has_daemons { "notice wsgi:info" } else { "notice" };
        let server = server.log_level(level);
        let mut server = server.single_process().start();
        if contender.has_daemons {
            // A request that comes before its process is ready looks for it again and again, which is not to be counted.
            server.await_log("Loading WSGI script");
            std::thread::sleep(Duration::from_secs(2));
        }
        ask(&server, headers, requests);
        server.signal(Signal::SIGTERM);
        server.await_end();
        counted(server.root())
    };
    (with(WARM_UP + COUNTED) - with(WARM_UP)) / f64::from(COUNTED)
}

/// Sends requests on one connection, each when the server has put it to rest after the one before: as slow as httpd is
/// here, it would otherwise find some of them on the spot.
fn ask(server: &Server, headers: &[&str], requests: u32) {
    let host = format!("Host: 127.0.0.1:{}", server.port);
    let lines = [&["GET / HTTP/1.1", &host], headers, &["", ""]].concat();
    let request = lines.join("\r\n");
    let mut connection = server.connect();
    for _ in 0..requests {
        let answer = connection.send(&request).receive();
        assert_eq!(answer.text(), "Hello World!");
        std::thread::sleep(Duration::from_millis(5));
    }
}
