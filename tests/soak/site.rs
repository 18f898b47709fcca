//! The configuration under test: an embedded application and daemon groups of several kinds, which all run one source. Each
//! execution of the application appends one line to a file, so that executions can be counted.

use crate::harness::{Builder, Installation, Server, open_to_everybody};
use crate::http::{Asked, Got, Http};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where an application runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// In the httpd children.
    Embedded,
    /// Three workers of httpd's user.
    Site,
    /// Two workers of another user, if root runs the soak.
    Other,
    /// Two workers with `request-body=stream`.
    Stream,
    /// One worker whose interpreter hangs now and then. Its own requests may fail because of that; those of other groups must not.
    Tenant,
}

impl Group {
    pub const ALL: [Group; 5] =
        [Group::Embedded, Group::Site, Group::Other, Group::Stream, Group::Tenant];

    /// The name of its process group, of its script and of its path.
    pub fn name(self) -> &'static str {
        match self {
            Group::Embedded => "embedded",
            Group::Site => "site",
            Group::Other => "other",
            Group::Stream => "stream",
            Group::Tenant => "tenant",
        }
    }
}

/// Answers with the token of the request, whether the request's body was right, and `s` bytes made of the token.
const APPLICATION: &str = r#"
import os, time

EXECUTIONS = os.open('@root@/executions/NAME', os.O_WRONLY | os.O_APPEND)
VERSION = 1

def filled(token, size):
    return (token * (size // len(token) + 1))[:size]

def application(environ, start_response):
    asked = dict(pair.split('=') for pair in environ['QUERY_STRING'].split('&'))
    token = asked['t'].encode()
    os.write(EXECUTIONS, b'%s %s %d\n' % (environ['REQUEST_METHOD'].encode(), token, os.getpid()))
    body = environ['wsgi.input'].read()
    length = int(environ.get('CONTENT_LENGTH') or 0)
    whole = body == filled(token, length)
    time.sleep(int(asked['d']) / 1000)
    size = int(asked['s'])
    answer = b'%s %s %d %d\n' % (token, b'whole' if whole else b'damaged', VERSION, os.getpid()) + filled(token, size)
    if asked['c'] == '1':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return (answer[at:at + 50_000] for at in range(0, len(answer), 50_000))
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(answer)))])
    return [answer]
"#;

/// The script that a program of httpd's user names to workers. It writes a file with the name of the user that has run it.
const THEIRS: &str = "
import os
open('@root@/attacked/user-%d' % os.getuid(), 'w').close()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'']
";

const CONFIGURATION: &str = "\
ErrorLogFormat \"[%{u}t] [%-m:%l] [pid %P:tid %T] %E: [client %a] %M [token %{X-Token}i]\"
Timeout 20
KeepAliveTimeout 5
WSGIDaemonProcess site processes=3 threads=4
WSGIDaemonProcess other processes=2 threads=3 OF_OTHER
WSGIDaemonProcess stream processes=2 threads=4 request-body=stream
WSGIDaemonProcess tenant processes=1 threads=2 python=@root@/tenant/python3
";

/// The configuration. The Python of the tenant is a shell script that sleeps while a file is there.
pub fn builder() -> Builder {
    let python = Installation::get().python.display().to_string();
    let hanging =
        format!("#!/bin/sh\n[ -e @root@/tenant/hang ] && exec sleep 30\nexec {python} \"$@\"\n");
    let is_root = nix::unistd::geteuid().is_root();
    let other = if is_root { "user=games" } else { "" };
    let mut builder = Server::builder()
        .embedded()
        .without_core_dumps()
        .children(2, 40)
        .files_may_stay_open()
        // The soak reads the log itself.
        .expect_in_log("")
        .expect_in_log("AH00045")
        .config(&CONFIGURATION.replace("OF_OTHER", other))
        .file("tenant/python3", hanging)
        .file("theirs/theirs.wsgi", THEIRS)
        .file("attacked/README", "what the attacker's script writes");
    for group in Group::ALL {
        let name = group.name();
        let process_group = if group == Group::Embedded { "%{GLOBAL}" } else { name };
        builder = builder
            .app(&format!("{name}.wsgi"), &APPLICATION.replace("NAME", name))
            .file(&format!("executions/{name}"), "")
            .config(&format!(
                "WSGIScriptAlias /{name} @apps@/{name}.wsgi process-group={process_group} application-group=%{{GLOBAL}}"
            ));
    }
    // httpd runs this program when it reads its configuration.
    let directory = builder.root().join("tenant");
    fs::create_dir_all(&directory).unwrap();
    open_to_everybody(&directory);
    fs::write(directory.join("python3"), "").unwrap();
    set_mode(&directory.join("python3"), 0o755);
    for group in Group::ALL {
        let directory = builder.root().join("executions");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(group.name()), "").unwrap();
    }
    builder
}

/// Lets every user append to the files of executions and create files in the directory of the attacker's script.
pub fn prepare(root: &Path) {
    set_mode(&root.join("attacked"), 0o777);
    for group in Group::ALL {
        set_mode(&root.join("executions").join(group.name()), 0o666);
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Waits until every application answers.
pub fn await_service(port: u16, patience: Duration) -> Result<(), String> {
    let begun = Instant::now();
    for (number, group) in (0..).zip(Group::ALL) {
        loop {
            let token = u64::MAX - number;
            let asked =
                Asked { group, token, post: false, body: 0, size: 10, delay: 0, chunked: false };
            let got = Http::connect(port, patience).map(|mut http| http.exchange(&asked, true));
            if let Ok(Got::Right) = got {
                break;
            }
            if begun.elapsed() > patience {
                return Err(format!("{}: {got:?}", group.name()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// A line of an execution file: whether it was a POST, the token, the process.
#[derive(Clone, Copy, Debug)]
pub struct Execution {
    pub post: bool,
    pub token: u64,
    pub pid: i32,
}

/// All executions of all applications, by token.
pub fn executions(root: &Path) -> HashMap<u64, Vec<Execution>> {
    let mut found: HashMap<u64, Vec<Execution>> = HashMap::new();
    for group in Group::ALL {
        let text =
            fs::read_to_string(root.join("executions").join(group.name())).unwrap_or_default();
        for execution in text.lines().filter_map(execution) {
            found.entry(execution.token).or_default().push(execution);
        }
    }
    found
}

fn execution(line: &str) -> Option<Execution> {
    let mut words = line.split(' ');
    let (method, token, pid) = (words.next()?, words.next()?, words.next()?);
    let token = u64::from_str_radix(token, 16).ok()?;
    Some(Execution { post: method == "POST", token, pid: pid.parse().ok()? })
}

/// Files that the attacker's script has written.
pub fn attacker_files(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("attacked")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("user-")).collect()
}
