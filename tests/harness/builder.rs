//! The configuration of a private httpd, in the making. Ends as a running [`Server`], or as what `httpd -t` says of it.

use super::installation::open_to_everybody;
use super::{Identity, Installation, Mode, Mpm, Server};
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A server that is being described. `@root@`, `@apps@`, `@docs@`, `@logs@`, `@port@` and `@port2@` stand for its own
/// directories and ports in configuration and applications alike, and `@group@` for the process group that serves what
/// does not say otherwise.
pub struct Builder {
    pub(super) root: TempDir,
    pub(super) mpm: Mpm,
    pub(super) identity: Identity,
    pub(super) single_process: bool,
    pub(super) tls: bool,
    pub(super) expected_in_log: Vec<String>,
    pub(super) files_may_stay_open: bool,
    dumps_core: bool,
    pub(super) under: Vec<String>,
    module: Option<PathBuf>,
    pub(super) environment: Vec<(String, String)>,
    loaded: Vec<String>,
    config: String,
    files: Vec<(PathBuf, Vec<u8>)>,
    children: usize,
    threads: usize,
    log_level: String,
    daemon: Option<String>,
}

/// What `httpd -t` says of a configuration.
#[derive(Debug)]
pub struct Checked {
    pub accepted: bool,
    pub said: String,
}

impl Builder {
    pub(super) fn new() -> Builder {
        let root = tempfile::Builder::new().prefix("rustgi-test-").tempdir().unwrap();
        open_to_everybody(root.path());
        for directory in ["apps", "docs", "logs", "run"] {
            fs::create_dir(root.path().join(directory)).unwrap();
            open_to_everybody(&root.path().join(directory));
        }
        Builder {
            root,
            mpm: Mpm::Event,
            identity: Identity::Whoever,
            single_process: false,
            tls: false,
            expected_in_log: Vec::new(),
            files_may_stay_open: false,
            dumps_core: true,
            under: Vec::new(),
            module: Some(Installation::get().module.clone()),
            environment: Vec::new(),
            loaded: Vec::new(),
            config: String::new(),
            files: Vec::new(),
            children: 1,
            threads: 8,
            log_level: "notice wsgi:info".to_owned(),
            daemon: Mode::get().daemon().map(str::to_owned),
        }
    }

    /// The directory where everything of this server is: `apps/`, `docs/`, `logs/`, `run/`.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Writes an application to `apps/NAME`.
    pub fn app(self, name: &str, source: &str) -> Builder {
        self.file(&format!("apps/{name}"), source)
    }

    /// Writes a file, named from the server's own directory, before the start.
    pub fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Builder {
        self.files.push((PathBuf::from(name), content.as_ref().to_vec()));
        self
    }

    /// Writes a directory of `tests/apps`, with everything in it, to another, named from the server's own directory.
    pub fn tree(mut self, from: &str, to: &str) -> Builder {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("apps").join(from);
        for entry in fs::read_dir(&from).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let below = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
            let to = format!("{to}/{name}");
            if name == "__pycache__" {
                continue;
            }
            self = if path.is_dir() {
                self.tree(below.strip_prefix("apps").unwrap().to_str().unwrap(), &to)
            } else {
                self.file(&to, fs::read(&path).unwrap())
            };
        }
        self
    }

    /// Adds lines of configuration.
    pub fn config(mut self, lines: &str) -> Builder {
        self.config.push_str(lines);
        self.config.push('\n');
        self
    }

    /// Loads modules of httpd besides those that every server has (an MPM, `authz_core`, `log_config`, `unixd`).
    pub fn load(mut self, names: &[&str]) -> Builder {
        self.loaded.extend(names.iter().map(|name| (*name).to_owned()));
        if names.contains(&"mime") {
            // Only the types that a test names; httpd's own table is not at the same place everywhere.
            self.config.push_str("TypesConfig /dev/null\n");
        }
        self
    }

    pub fn mpm(mut self, mpm: Mpm) -> Builder {
        self.mpm = mpm;
        self
    }

    pub fn identity(mut self, identity: Identity) -> Builder {
        self.identity = identity;
        self
    }

    /// How many children, and for the threaded MPMs how many request threads in each. One child of eight is given.
    pub fn children(mut self, children: usize, threads: usize) -> Builder {
        (self.children, self.threads) = (children, threads);
        self
    }

    /// `httpd -X`: one process, for debugging.
    pub fn single_process(mut self) -> Builder {
        self.single_process = true;
        self
    }

    /// The first port speaks TLS, with a certificate of its own.
    pub fn tls(mut self) -> Builder {
        self.tls = true;
        self
    }

    /// What `LogLevel` says; `notice wsgi:info` is given.
    pub fn log_level(mut self, level: &str) -> Builder {
        self.log_level = level.to_owned();
        self
    }

    /// Applications run in a daemon group of this name, `processes=1` and the like being its options. All requests go there
    /// unless they are configured otherwise.
    pub fn daemon(mut self, name_and_options: &str) -> Builder {
        self.daemon = Some(name_and_options.to_owned());
        self
    }

    /// Applications run in the children of httpd, whatever the [`Mode`] of the run.
    pub fn embedded(mut self) -> Builder {
        self.daemon = None;
        self
    }

    /// If applications run in a daemon group, it has these options besides: what directives say to children alone.
    pub fn daemon_options(mut self, options: &str) -> Builder {
        self.daemon = self.daemon.map(|daemon| format!("{daemon} {options}"));
        self
    }

    /// Directories, with colons between them, where applications find modules.
    pub fn python_path(self, path: &str) -> Builder {
        self.config(&format!("WSGIPythonPath {path}"))
            .daemon_options(&format!("python-path={path}"))
    }

    /// Bodies of requests reach applications as they come, also in daemon processes, which otherwise get them whole.
    pub fn streaming(self) -> Builder {
        self.daemon_options("request-body=stream")
    }

    /// Whether applications run in a daemon group that the builder has added.
    pub(super) fn runs_workers(&self) -> bool {
        self.daemon.is_some()
    }

    fn group(&self) -> Option<&str> {
        self.daemon.as_deref().and_then(|daemon| daemon.split(' ').next())
    }

    /// Sets a variable in the environment of httpd.
    pub fn environment(mut self, name: &str, value: &str) -> Builder {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The check after the end passes over log lines with this text, which it would take for a crash.
    pub fn expect_in_log(mut self, text: &str) -> Builder {
        self.expected_in_log.push(text.to_owned());
        self
    }

    /// The check after the end does not compare open files: the application keeps some on purpose.
    pub fn files_may_stay_open(mut self) -> Builder {
        self.files_may_stay_open = true;
        self
    }

    /// Leaves out `CoreDumpDirectory`, which would let httpd's user trace the children.
    pub fn without_core_dumps(mut self) -> Builder {
        self.dumps_core = false;
        self
    }

    /// Loads a copy of the module that has no engine beside it.
    pub fn without_engine(mut self) -> Builder {
        let alone = self.root().join("run/mod_rustgi.so");
        let module = &Installation::get().module;
        fs::copy(module, &alone).unwrap();
        let programs = alone.with_file_name("rustgi");
        fs::create_dir(&programs).unwrap();
        open_to_everybody(&programs);
        let program = programs.join("rustgi");
        fs::copy(module.with_file_name("rustgi").join("rustgi"), &program).unwrap();
        open_to_everybody(&program);
        self.module = Some(alone);
        self
    }

    /// Loads everything but the module.
    pub fn without_module(mut self) -> Builder {
        self.module = None;
        self
    }

    /// Runs httpd by way of another program, with these arguments in front.
    pub fn under(mut self, command: &[&str]) -> Builder {
        let root = self.root().to_str().unwrap().to_owned();
        self.under = command.iter().map(|word| word.replace("@root@", &root)).collect();
        self
    }

    /// Starts it, and waits until it takes requests.
    #[track_caller]
    pub fn start(self) -> Server {
        Server::start(self)
    }

    /// Asks `httpd -t`.
    #[track_caller]
    pub fn check(self) -> Checked {
        self.lay_out(&free_ports());
        let httpd = Installation::get();
        let checked = Command::new(&httpd.httpd)
            .args(["-t", "-f"])
            .arg(self.root().join("httpd.conf"))
            .output()
            .expect("httpd runs");
        let mut said = String::from_utf8_lossy(&checked.stderr).into_owned();
        said.push_str(&String::from_utf8_lossy(&checked.stdout));
        said.push_str(&fs::read_to_string(self.root().join("logs/error.log")).unwrap_or_default());
        Checked { accepted: checked.status.success(), said }
    }

    /// Writes applications and configuration for these ports.
    pub(super) fn lay_out(&self, ports: &[u16; 2]) {
        for (name, content) in &self.files {
            let path = self.root().join(name);
            for parent in path.parent().unwrap().ancestors().take_while(|p| *p != self.root()) {
                fs::create_dir_all(parent).unwrap();
                open_to_everybody(parent);
            }
            fs::write(&path, self.fill_in_bytes(content, ports)).unwrap();
            open_to_everybody(&path);
        }
        fs::write(self.root().join("httpd.conf"), self.fill_in(&self.whole_config(), ports))
            .unwrap();
    }

    fn fill_in(&self, text: &str, ports: &[u16; 2]) -> String {
        let root = self.root().to_str().unwrap();
        text.replace("@apps@", &format!("{root}/apps"))
            .replace("@docs@", &format!("{root}/docs"))
            .replace("@logs@", &format!("{root}/logs"))
            .replace("@root@", root)
            .replace("@port@", &ports[0].to_string())
            .replace("@port2@", &ports[1].to_string())
            .replace("@group@", self.group().unwrap_or("%{GLOBAL}"))
    }

    fn fill_in_bytes(&self, content: &[u8], ports: &[u16; 2]) -> Vec<u8> {
        match std::str::from_utf8(content) {
            Ok(text) => self.fill_in(text, ports).into_bytes(),
            Err(_) => content.to_vec(),
        }
    }

    fn whole_config(&self) -> String {
        let httpd = Installation::get();
        let mut text = String::from("ServerRoot \"@root@\"\n");
        let mpm = match self.mpm {
            Mpm::Event => "mpm_event",
            Mpm::Worker => "mpm_worker",
            Mpm::Prefork => "mpm_prefork",
        };
        let mut names = vec![mpm, "unixd", "log_config", "authz_core"];
        if self.tls {
            names.extend(["socache_shmcb", "ssl"]);
        }
        for name in names.into_iter().chain(self.loaded.iter().map(String::as_str)) {
            text.push_str(&httpd.load_line(name));
        }
        if let Some(module) = &self.module {
            writeln!(text, "LoadModule wsgi_module \"{}\"", module.display()).unwrap();
        }
        text.push_str(&self.processes());
        if nix::unistd::geteuid().is_root() && self.identity == Identity::Whoever {
            let (user, group) = ordinary_user();
            writeln!(text, "User {user}\nGroup {group}").unwrap();
        }
        text.push_str(COMMON);
        if self.dumps_core {
            text.push_str("CoreDumpDirectory \"@root@/run\"\n");
        }
        writeln!(text, "LogLevel {}", self.log_level).unwrap();
        // So that the whole suite can be run in another mode, as without the lock of a free-threaded Python.
        writeln!(text, "{}", std::env::var("RUSTGI_CONFIG").unwrap_or_default()).unwrap();
        if self.tls {
            let (certificate, key) = httpd.certificate();
            writeln!(text, "SSLSessionCache none\nSSLEngine on").unwrap();
            writeln!(text, "SSLCertificateFile \"{}\"", certificate.display()).unwrap();
            writeln!(text, "SSLCertificateKeyFile \"{}\"", key.display()).unwrap();
        }
        if let (Some(daemon), Some(name)) = (&self.daemon, self.group()) {
            writeln!(text, "WSGIDaemonProcess {daemon}\nWSGIProcessGroup {name}").unwrap();
        }
        text.push_str(&self.config);
        text
    }

    fn processes(&self) -> String {
        let (children, threads) = (self.children, self.threads);
        match self.mpm {
            Mpm::Prefork => format!(
                "ServerLimit {limit}\nStartServers {children}\nMinSpareServers 1\nMaxSpareServers {limit}\n\
                 MaxRequestWorkers {limit}\n",
                limit = children.max(4),
            ),
            // The limit leaves room for the children of earlier generations.
            Mpm::Event | Mpm::Worker => format!(
                "ServerLimit {limit}\nStartServers {children}\nThreadsPerChild {threads}\nThreadLimit {threads}\n\
                 MinSpareThreads 1\nMaxSpareThreads {workers}\nMaxRequestWorkers {workers}\n",
                limit = children + 7,
                workers = children * threads,
            ),
        }
    }
}

const COMMON: &str = "\
ServerName localhost
Listen 127.0.0.1:@port@
PidFile \"@root@/run/httpd.pid\"
DefaultRuntimeDir \"@root@/run\"
DocumentRoot \"@docs@\"
ErrorLog \"@logs@/error.log\"
LogFormat \"%m %U%q %>s %B %X\" told
CustomLog \"@logs@/access.log\" told
Timeout 30
KeepAliveTimeout 10
MaxKeepAliveRequests 0
<Directory />
    AllowOverride None
    Require all denied
</Directory>
<Directory \"@root@\">
    Require all granted
</Directory>
";

/// Two ports that were free a moment ago. Whoever uses them must be ready to find them taken.
pub(super) fn free_ports() -> [u16; 2] {
    // Both are held at once, so that they differ.
    [0, 0]
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .map(|l| l.local_addr().unwrap().port())
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    free_ports()[0]
}

/// An unprivileged user of this machine, and its group.
pub(super) fn ordinary_user() -> (String, String) {
    use nix::unistd::{Group, User};
    for name in ["www-data", "apache", "daemon", "nobody"] {
        if let Ok(Some(user)) = User::from_name(name) {
            let group = Group::from_gid(user.gid).unwrap().expect("the user has a group");
            return (user.name, group.name);
        }
    }
    panic!("this machine has no ordinary user to run httpd's children");
}
