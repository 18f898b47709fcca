//! One private httpd. Made by a [`Builder`]; ends when it is dropped, or by [`Server::stop`], and then everything that
//! may be wrong with any server is checked.

use super::builder::{free_ports, ordinary_user};
use super::waiting::Waiting;
use super::watch::{self, MARK, OpenFiles};
use super::{Builder, Connection, Identity, Installation, Response, request, wait_for};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, chown};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Longest a server may take to stop. httpd itself kills its children after ten seconds.
const LONGEST_STOP: Duration = Duration::from_secs(20);

/// A stop that takes longer is looked at. httpd tells of a child that takes more than three seconds.
const SLOW_STOP: Duration = Duration::from_millis(2500);

/// A running httpd.
pub struct Server {
    pub(super) description: Builder,
    process: Child,
    /// The port it answers at.
    pub port: u16,
    mark: String,
    /// What its children and workers had open once the first request was answered.
    open_before: Mutex<BTreeMap<i32, OpenFiles>>,
    /// How long its processes waited for a processor when they were stopped.
    kept_waiting: Duration,
    /// How long its stop took but for that.
    took: Duration,
    ended: bool,
}

/// What is left of a server that was stopped.
pub struct Remains {
    pub error_log: String,
    /// How long the stop took, but for what the machine kept from its processes.
    pub took: Duration,
}

impl Server {
    /// A server in the making.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A server with one application, mounted at `/`.
    #[track_caller]
    pub fn of(application: &str) -> Server {
        Server::builder_of(application).start()
    }

    /// A server in the making, with one application, mounted at `/`.
    pub fn builder_of(application: &str) -> Builder {
        Builder::new().app("app.wsgi", application).config("WSGIScriptAlias / @apps@/app.wsgi")
    }

    #[track_caller]
    pub(super) fn start(mut description: Builder) -> Server {
        for _ in 0..10 {
            let ports = free_ports();
            description.lay_out(&ports);
            hand_over(&description);
            let (process, mark) = spawn(&description);
            let mut server = Server {
                description,
                process,
                port: ports[0],
                mark,
                open_before: Mutex::default(),
                kept_waiting: Duration::ZERO,
                took: Duration::ZERO,
                ended: false,
            };
            match server.await_start() {
                Ok(()) => return server,
                // Somebody else took the port since it was found free.
                Err(said) if said.contains("AH00072") => description = server.give_up(),
                Err(said) => {
                    server.ended = true;
                    panic!("httpd did not start:\n{said}");
                }
            }
        }
        panic!("ten times somebody else took the port first");
    }

    /// Waits until requests are taken; what httpd said, if it ends instead.
    fn await_start(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            if self.process.try_wait().unwrap().is_some() {
                return Err(self.everything_said());
            }
            // In one process, `resuming` is never said: the process serves instead of watching children.
            let up = if self.description.single_process {
                self.root().join("run/httpd.pid").exists()
            } else {
                self.error_log().contains("resuming normal operations")
            };
            if up {
                return Ok(());
            }
            if begun.elapsed() > self.patience() {
                self.kill_all();
                return Err(format!("it is not up after a long time\n{}", self.everything_said()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What httpd is run under (valgrind) slows it down by far.
    fn patience(&self) -> Duration {
        super::patience() * if self.description.under.is_empty() { 1 } else { 4 }
    }

    fn give_up(mut self) -> Builder {
        self.ended = true;
        let _ = fs::remove_file(self.root().join("logs/error.log"));
        std::mem::replace(&mut self.description, Builder::new())
    }

    /// Its own directory.
    pub fn root(&self) -> &Path {
        self.description.root()
    }

    /// GET, on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.send("GET", target, &[], b"")
    }

    /// POST, on a connection of its own.
    #[track_caller]
    pub fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Response {
        self.send("POST", target, &[], body.as_ref())
    }

    /// Any request, on a connection of its own.
    #[track_caller]
    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let mut headers = headers.to_vec();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Connection")) {
            headers.push(("Connection", "close"));
        }
        let mut connection = self.connect();
        // An answer may come before the whole body is taken; it is the answer that counts.
        let _ = connection.try_send(&request(method, target, &headers, body));
        let response = connection.receive_for(method);
        drop(connection);
        self.remember_open_files();
        response
    }

    /// A connection, for whoever cares for bytes.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(self.port)
    }

    /// The curl of this machine, with the address before `target`.
    #[track_caller]
    pub fn curl(&self, arguments: &[&str], target: &str) -> Output {
        let scheme = if self.description.tls { "https" } else { "http" };
        let done = Command::new("curl")
            .args(["--silent", "--show-error", "--insecure", "--max-time", "60"])
            .args(arguments)
            .arg(format!("{scheme}://localhost:{}{target}", self.port))
            .output()
            .expect("curl runs");
        self.remember_open_files();
        done
    }

    /// What the error log holds by now.
    pub fn error_log(&self) -> String {
        read_lossy(&self.root().join("logs/error.log"))
    }

    /// What the access log holds by now: method, path, status, bytes, connection state.
    pub fn access_log(&self) -> String {
        read_lossy(&self.root().join("logs/access.log"))
    }

    /// Waits for a line in the error log that holds this text, and gives that line.
    #[track_caller]
    pub fn await_log(&self, text: &str) -> String {
        let mut log = String::new();
        let begun = Instant::now();
        while begun.elapsed() < self.patience() {
            log = self.error_log();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the error log never says {text:?}; it says:\n{log}");
    }

    /// `httpd -k graceful`, and waits until the new generation serves.
    #[track_caller]
    pub fn graceful(&self) {
        self.next_generation(Signal::SIGUSR1);
    }

    /// `httpd -k restart`, and waits until the new generation serves.
    #[track_caller]
    pub fn restart(&self) {
        self.await_quiet();
        self.next_generation(Signal::SIGHUP);
    }

    /// `httpd -k graceful-stop`: children finish what they have.
    pub fn graceful_stop(&self) {
        self.signal(Signal::SIGWINCH);
    }

    /// Sends a signal to the parent.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("httpd runs");
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub fn await_end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        while begun.elapsed() < LONGEST_STOP {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("httpd does not end");
    }

    /// Stops it, checks it, and gives its logs.
    #[track_caller]
    pub fn stop(mut self) -> Remains {
        let complaints = self.end();
        assert!(complaints.is_empty(), "{}", self.complaint(&complaints));
        Remains { error_log: self.error_log(), took: self.took }
    }

    pub(super) fn pid(&self) -> Pid {
        pid_of(&self.process)
    }

    #[track_caller]
    fn next_generation(&self, signal: Signal) {
        let resumed = || self.error_log().matches("resuming normal operations").count();
        let before = resumed();
        self.signal(signal);
        wait_for("the next generation", || (resumed() > before).then_some(()));
    }

    /// Once, after the first answer: by then what is opened for good is open.
    fn remember_open_files(&self) {
        let mut before = self.open_before.lock().unwrap();
        if before.is_empty() {
            *before = self.open_files();
        }
    }

    fn open_files(&self) -> BTreeMap<i32, OpenFiles> {
        let of = |pid: i32| Some((pid, OpenFiles::of(pid)?));
        let workers = self.find_supervisor().map(watch::children).unwrap_or_default();
        self.children().into_iter().chain(workers).filter_map(of).collect()
    }

    /// Ends it, if it runs, and says all that is wrong.
    fn end(&mut self) -> Vec<String> {
        if std::mem::replace(&mut self.ended, true) {
            return Vec::new();
        }
        let mut complaints = Vec::new();
        if self.process.try_wait().unwrap().is_none() {
            complaints.extend(self.leaked_files());
            self.await_quiet();
            let all = self.everybody();
            let waiting = Waiting::of(&all);
            let _ = kill(self.pid(), Signal::SIGTERM);
            complaints.extend(self.await_stop(&all, waiting));
        }
        complaints.extend(self.left_over());
        let log = self.everything_said();
        let crashes = watch::crash_lines(&log, &self.description.expected_in_log);
        complaints.extend(crashes.into_iter().map(|line| format!("crash line: {line}")));
        complaints
    }

    /// Waits until connections that the test has closed are closed here too. A child of event that is told to stop at
    /// that very moment can crash: its main thread closes the sockets of the workers, and a worker frees one meanwhile.
    /// So its threads shall be asleep, too. Connections that are kept open and threads of applications are not waited for for
    /// long, if they have a processor.
    fn await_quiet(&self) {
        let children = self.children();
        let is_quiet = || {
            watch::connections(self.port) == 0
                && !children.iter().any(|pid| watch::is_running(*pid))
        };
        let (begun, mut waiting) = (Instant::now(), Waiting::of(&children));
        while !is_quiet() && begun.elapsed() < Duration::from_secs(3) {
            let had = begun.elapsed().saturating_sub(waiting.look(&children));
            if had > Duration::from_millis(500) {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(5));
    }

    /// Waits until it has stopped; what is wrong with that, if it takes too long. That the machine lets it wait is not wrong.
    fn await_stop(&mut self, all: &[i32], mut waiting: Waiting) -> Option<String> {
        let begun = Instant::now();
        let mut stacks = None;
        let expected = self.description.expected_in_log.iter().any(|text| text == "AH00045");
        while self.process.try_wait().unwrap().is_none() {
            if begun.elapsed() > LONGEST_STOP {
                return Some(format!("httpd did not stop within {LONGEST_STOP:?}"));
            }
            if begun.elapsed() > SLOW_STOP / 4 {
                self.kept_waiting = waiting.look(all);
                std::thread::sleep(Duration::from_millis(20));
            }
            self.took = begun.elapsed().saturating_sub(self.kept_waiting);
            let is_slow = self.took > SLOW_STOP && !expected && stacks.is_none();
            // Who waits for a processor at this moment is not counted yet, and to be looked at takes seconds.
            if is_slow && !all.iter().any(|pid| watch::is_running(*pid)) {
                stacks = Some(watch::stacks_of(&self.children()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if self.took > SLOW_STOP && !expected {
            stacks.get_or_insert_default();
        } else if begun.elapsed() > SLOW_STOP {
            // httpd tells of it by the clock on the wall.
            self.description.expected_in_log.push("AH00045".to_owned());
        }
        stacks.map(|stacks| {
            let (took, kept) = (begun.elapsed(), self.kept_waiting);
            format!("the stop took {took:?}, for {kept:?} without a processor:\n{stacks}")
        })
    }

    /// Files that requests left open. Connections of clients close by themselves, a little later.
    fn leaked_files(&self) -> Vec<String> {
        if self.description.files_may_stay_open {
            return Vec::new();
        }
        let before = self.open_before.lock().unwrap();
        let begun = Instant::now();
        loop {
            let leaked: Vec<String> = self
                .open_files()
                .iter()
                .filter_map(|(pid, now)| {
                    let more = now.more_than(before.get(pid)?)?;
                    Some(format!("process {pid} left open: {more}"))
                })
                .collect();
            if leaked.is_empty() || begun.elapsed() > Duration::from_secs(5) {
                return leaked;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn left_over(&mut self) -> Vec<String> {
        let begun = Instant::now();
        let mut left = watch::processes(&self.mark);
        while !left.is_empty() && begun.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(10));
            left = watch::processes(&self.mark);
        }
        let name = |pid: &i32| format!("process left over: {pid} {}", watch::command_line(*pid));
        let complaints = left.iter().map(name).collect();
        self.kill_all();
        complaints
    }

    fn kill_all(&mut self) {
        for pid in watch::processes(&self.mark) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn everything_said(&self) -> String {
        let said = |name: &str| read_lossy(&self.root().join(name));
        format!("{}{}{}", said("logs/stdout"), said("logs/stderr"), self.error_log())
    }

    fn complaint(&self, complaints: &[String]) -> String {
        format!(
            "{}\n--- the log:\n{}\n{}",
            complaints.join("\n"),
            tail(&self.everything_said(), 60),
            watch::stacks(&Installation::get().httpd, &self.root().join("run"))
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let complaints = self.end();
        if std::thread::panicking() {
            // The test has failed already; what the server says may tell why.
            eprintln!("{}", self.complaint(&complaints));
        } else {
            assert!(complaints.is_empty(), "{}", self.complaint(&complaints));
        }
    }
}

/// Gives the directories that httpd writes to their user, where httpd starts as an ordinary one.
fn hand_over(description: &Builder) {
    if nix::unistd::geteuid().is_root() {
        // Where a child that crashes leaves its memory.
        let user = User::from_name(&ordinary_user().0).unwrap().unwrap();
        chown(&description.root().join("run"), Some(user.uid), Some(user.gid)).unwrap();
    }
    if let Some(user) = other_user(description) {
        for name in ["", "logs", "run", "docs", "apps"] {
            chown(&description.root().join(name), Some(user.uid), Some(user.gid)).unwrap();
        }
    }
}

/// The ordinary user that root hands httpd to.
fn other_user(description: &Builder) -> Option<User> {
    let wanted = description.identity == Identity::Unprivileged && nix::unistd::geteuid().is_root();
    wanted.then(|| User::from_name(&ordinary_user().0).unwrap().unwrap())
}

fn spawn(description: &Builder) -> (Child, String) {
    let httpd = &Installation::get().httpd;
    let root = description.root();
    // So that a crash can be looked at; where it is not allowed, it is only told.
    let (_, most) = getrlimit(Resource::RLIMIT_CORE).unwrap();
    let _ = setrlimit(Resource::RLIMIT_CORE, most, most);
    let mark = root.file_name().unwrap().to_str().unwrap().to_owned();
    let mut command = match description.under.split_first() {
        None => Command::new(httpd),
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(httpd);
            command
        }
    };
    if let Some(user) = other_user(description) {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
        .arg("-f")
        .arg(root.join("httpd.conf"))
        .arg(if description.single_process { "-X" } else { "-DFOREGROUND" })
        .env(MARK, &mark)
        .env_remove("PYTHONDONTWRITEBYTECODE")
        .env_remove("PYTHONUNBUFFERED")
        .envs(description.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(File::create(root.join("logs/stdout")).unwrap())
        .stderr(File::create(root.join("logs/stderr")).unwrap());
    (command.spawn().expect("httpd runs"), mark)
}

/// The number of a process that this one started.
pub fn pid_of(process: &Child) -> Pid {
    Pid::from_raw(i32::try_from(process.id()).unwrap())
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
