//! Plays the supervisor and the children of a server for one worker.

use exchange::{
    Body, Clocks, Group, Head, Known, Level, Outcome, ReadError, Scheme, Script, Settings, Slice,
    Variables,
};
use link::{Channel, Line, Offer, Page, Shared, Side, Stream, Tray};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use wire::control::{self, FromWorker, ToWorker};
use wire::{Carried, End, Frame, HEADER, Hello, Kind, Note, Ready, Request, Secret, Tag, header};

/// A Python and the engine for it.
#[derive(Clone, Debug)]
pub struct Python {
    /// Its executable.
    pub program: PathBuf,
    engine: PathBuf,
}

impl Python {
    /// Those to be tested: `RUSTGI_PYTHONS` (with colons between them), or else `PYTHON`.
    pub fn all() -> Vec<Python> {
        let list = std::env::var("RUSTGI_PYTHONS").or_else(|_| std::env::var("PYTHON"));
        let list = list.unwrap_or_else(|_| "/usr/bin/python3".into());
        list.split(':').map(|program| Python::new(Path::new(program))).collect()
    }

    fn new(program: &Path) -> Python {
        let ask = "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))";
        let said = Command::new(program).args(["-c", ask]).output().expect("Python runs");
        let suffix = String::from_utf8(said.stdout).unwrap();
        let module = std::env::var_os("RUSTGI_MODULE").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/mod_rustgi.so"),
            PathBuf::from,
        );
        let engine = module.with_file_name("rustgi").join(format!("_rustgi{}", suffix.trim()));
        assert!(engine.exists(), "{} has not been built", engine.display());
        Python { program: program.to_owned(), engine }
    }

    /// Whether only one thread of it runs at a time, as it is started here. Says so, if not.
    pub fn has_lock(&self) -> bool {
        let ask = "import sys; print(getattr(sys, '_is_gil_enabled', lambda: True)())";
        let said = Command::new(&self.program).args(["-c", ask]).output().expect("Python runs");
        let has_lock = said.stdout.starts_with(b"True");
        if !has_lock {
            eprintln!("SKIPPED: {} has no lock", self.program.display());
        }
        has_lock
    }
}

/// What the supervisor starts a worker with.
const BOOTSTRAP: &str = r#"
import sys
def begin(engine):
    import importlib.machinery, importlib.util
    loader = importlib.machinery.ExtensionFileLoader("_rustgi", engine)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("_rustgi", loader))
    loader.exec_module(module)
    return module.work
work = begin(sys.argv[1])
del begin
sys.exit(work())
"#;

/// A worker and everything that it was given.
pub struct Worker {
    child: Child,
    channel: Channel,
    page: Shared<Page>,
    directory: TempDir,
    heard: Vec<FromWorker>,
}

/// How a worker is started.
pub struct Plan {
    /// What it is told of its group.
    pub options: control::Worker,
    /// What it is told besides.
    pub settings: Settings,
    /// What it is to load.
    pub scripts: Vec<control::Script>,
}

impl Plan {
    /// So many threads, and nothing out of the ordinary.
    pub fn threads(threads: u32) -> Plan {
        Plan {
            options: control::Worker { threads, shutdown_timeout: 5, ..control::Worker::default() },
            settings: Settings {
                process_group: b"group".to_vec(),
                maximum_processes: 1,
                threads_per_process: threads,
                multithread: threads != 1,
                case_sensitive: true,
                destroy_interpreters: true,
                restrict_signal: true,
                ..Settings::default()
            },
            scripts: Vec::new(),
        }
    }

    /// Changes an option.
    pub fn with(mut self, change: impl FnOnce(&mut control::Worker)) -> Plan {
        change(&mut self.options);
        self
    }

    /// Starts the worker with these files in its directory.
    pub fn start(self, python: &Python, files: &[(&str, &str)]) -> Worker {
        let Plan { mut options, mut settings, scripts } = self;
        let directory = tempfile::Builder::new().prefix("rustgi-worker-").tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        for preload in &mut settings.preload {
            preload.path = name_in(directory.path(), &preload.path);
        }
        let pairs = settings.to_pairs().into_iter();
        options.settings = pairs.map(|(name, value)| (name.to_owned(), value)).collect();
        let scripts = scripts.into_iter().map(|script| control::Script {
            path: name_in(directory.path(), &script.path),
            ..script
        });
        let (channel, theirs) = Channel::pair().unwrap();
        let log =
            File::options().create(true).append(true).open(directory.path().join("log")).unwrap();
        let child = Command::new(&python.program)
            .args(["-c", BOOTSTRAP])
            .arg(&python.engine)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .current_dir(directory.path())
            .spawn()
            .unwrap();
        let page = Shared::<Page>::create("page").unwrap();
        let socket = link::listen(&directory.path().join("socket"), 100).unwrap();
        let begin = ToWorker::Begin {
            number: 7,
            group: b"group".to_vec(),
            log_level: Level::Info as u8,
            clients: vec![nix::unistd::getuid().as_raw()],
            secret: secret(),
            scripts: scripts.collect(),
            options: options.clone(),
        };
        let descriptors = [socket.as_fd(), page.as_fd()];
        let skip = usize::from(options.threads == 0);
        channel.send(&control::encode(&begin), &descriptors[skip..]).unwrap();
        Worker { child, channel, page, directory, heard: Vec::new() }
    }
}

/// The secret of the workers that these tests start.
pub fn secret() -> Secret {
    Secret::of_group(&[7; 32], b"group")
}

fn name_in(directory: &Path, name: &[u8]) -> Vec<u8> {
    directory.join(std::str::from_utf8(name).unwrap()).into_os_string().into_encoded_bytes()
}

/// For how long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

impl Worker {
    /// Starts a worker of some threads with one script, `app.wsgi`, and waits until it is ready.
    pub fn serving(python: &Python, plan: Plan, script: &str) -> Worker {
        let mut worker = plan.start(python, &[("app.wsgi", script)]);
        assert_eq!(worker.ready(), []);
        worker
    }

    /// Waits until it is ready: what could not be loaded.
    pub fn ready(&mut self) -> Vec<(Vec<u8>, String)> {
        self.hear_until(|message| match message {
            FromWorker::Ready { failed, .. } => Some(failed.clone()),
            _ => None,
        })
    }

    /// Waits until it says something that `wanted` makes something of.
    pub fn hear_until<R>(&mut self, wanted: impl Fn(&FromWorker) -> Option<R>) -> R {
        let until = Instant::now() + PATIENCE;
        loop {
            self.hear();
            if let Some(index) = self.heard.iter().position(|message| wanted(message).is_some()) {
                let message = self.heard.remove(index);
                return wanted(&message).unwrap();
            }
            let lives = Instant::now() < until && self.is_running();
            assert!(lives, "it said {:?}\n{}", self.heard, self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Takes what it has said so far.
    pub fn heard(&mut self) -> Vec<FromWorker> {
        self.hear();
        std::mem::take(&mut self.heard)
    }

    fn hear(&mut self) {
        while let Ok(Some((message, _))) = self.channel.try_receive() {
            let message = control::decode(&message).unwrap();
            // `Ready` repeats the list.
            if !matches!(message, FromWorker::Trying(_)) {
                self.heard.push(message);
            }
        }
    }

    /// Says something to it.
    pub fn tell(&self, message: &ToWorker, descriptor: Option<&File>) {
        let descriptors: Vec<_> = descriptor.iter().map(|file| file.as_fd()).collect();
        self.channel.send(&control::encode(message), &descriptors).unwrap();
    }

    /// Has it leave.
    pub fn leave(&self, patience: Option<u64>) {
        self.tell(&ToWorker::Leave { reason: "restart_interval".into(), patience }, None);
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until it has ended in order.
    pub fn ends_with(&mut self, code: i32) {
        let status = self.ended();
        assert_eq!((status.code(), status.signal()), (Some(code), None), "{}", self.log());
    }

    /// Whether it is running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its process.
    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id() as i32)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.path().join("log")).unwrap()).into_owned()
    }

    /// Waits until its log has a line with this text.
    #[track_caller]
    pub fn logs(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < until, "'{text}' is not in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until it has finished so many requests.
    #[track_caller]
    pub fn has_served(&self, count: u64) {
        let until = Instant::now() + PATIENCE;
        while self.page().served() != count {
            assert!(Instant::now() < until, "it has served {}", self.page().served());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Lets go of the channel, as a supervisor does that dies.
    pub fn orphan(&mut self) {
        self.channel = Channel::pair().unwrap().0;
    }

    /// Its page.
    pub fn page(&self) -> &'static Page {
        self.page.write().unwrap()
    }

    /// Connects to it as any process of the same user can.
    pub fn connect_without_proof(&self) -> Stream {
        let stream = link::connect(&self.directory.path().join("socket"), PATIENCE).unwrap();
        stream.set_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Connects to it as a child of the server.
    pub fn connect(&self) -> Client {
        let stream = self.connect_without_proof();
        // The worker may have left, as the caller will see.
        let _ = stream.write(&[&secret().proof()], &[]);
        let (mut said, mut memory) = ([0; Hello::LENGTH], VecDeque::new());
        assert_eq!(stream.read(&mut said, &mut memory).unwrap(), said.len());
        let hello = Hello::read(&said).unwrap();
        assert_eq!(hello.worker, 7);
        let page = Shared::<Page>::adopt(memory.pop_front().unwrap()).unwrap();
        let tray = Shared::<Tray>::adopt(memory.pop_front().unwrap()).unwrap();
        let (page, tray) = (Arc::new(page.map_for_now().unwrap()), tray.map_for_now().unwrap());
        let line = Line::new(page, hello.slot, tray, stream, Side::Child, Some(PATIENCE)).unwrap();
        Client {
            offer: line.offer().last(),
            line,
            script: name_in(self.directory.path(), b"app.wsgi"),
            received: Vec::new(),
            descriptors: VecDeque::new(),
        }
    }

    /// What a new connection is answered for `GET path`.
    pub fn get(&self, path: &str) -> Answer {
        self.connect().get(path)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of the worker:\n{}", self.log());
        }
    }
}

/// A connection of a child.
pub struct Client {
    line: Line,
    offer: Offer,
    script: Vec<u8>,
    received: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

/// What is special about a request.
pub struct Ask<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its method.
    pub method: &'a str,
    /// The file of the script, if it is not `app.wsgi`.
    pub script: Option<&'a str>,
    /// Application group; the main interpreter if it is empty.
    pub group: &'a str,
    /// How much body was announced.
    pub body: Body,
    /// How it comes.
    pub carried: Carried<'a>,
    /// The file that it is in.
    pub file: Option<&'a File>,
    /// What follows.
    pub broken: Option<ReadError>,
    /// Whether the script is compared with its file.
    pub reloading: bool,
    /// The worker shall not do that this time.
    pub as_loaded: bool,
    /// It is no sign of use.
    pub ignored: bool,
    /// When it began.
    pub begun: SystemTime,
    /// What is written to its log.
    pub log_level: Level,
}

impl<'a> Ask<'a> {
    /// `GET path`
    pub fn get(path: &'a str) -> Ask<'a> {
        Ask {
            path,
            method: "GET",
            script: None,
            group: "",
            body: Body::None,
            carried: Carried::inline(b""),
            file: None,
            broken: None,
            reloading: false,
            as_loaded: false,
            ignored: false,
            begun: SystemTime::now(),
            log_level: Level::Info,
        }
    }

    /// `POST path` with a body in the frame.
    pub fn post(path: &'a str, body: &'a [u8]) -> Ask<'a> {
        Ask {
            method: "POST",
            body: Body::Length(body.len() as u64),
            carried: Carried::inline(body),
            ..Ask::get(path)
        }
    }
}

/// An answer, as far as it came.
#[derive(Debug, Default)]
pub struct Answer {
    /// The status; 0 if there was none.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The length that was declared.
    pub length: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
    /// Records for the log of the request.
    pub notes: Vec<(Level, String)>,
    /// How it ended; `None` if the connection broke before it did.
    pub end: Option<End>,
    /// How many frames with bytes of the body there were.
    pub pieces: usize,
    /// Whether a file came as a descriptor.
    pub had_file: bool,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it is complete.
    pub fn is_done(&self) -> bool {
        self.end == Some(End::Served(Outcome::Done))
    }

    /// All its notes, as lines.
    pub fn log(&self) -> String {
        self.notes.iter().map(|(_, line)| format!("{line}\n")).collect()
    }
}

impl Client {
    /// The connection itself.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Asks and waits for the answer.
    pub fn get(&mut self, path: &str) -> Answer {
        self.ask(&Ask::get(path))
    }

    /// Asks and waits for the answer.
    pub fn ask(&mut self, ask: &Ask<'_>) -> Answer {
        self.offer(ask);
        self.answer(&mut |_| None)
    }

    /// Offers a request.
    pub fn offer(&mut self, ask: &Ask<'_>) {
        self.offer_next();
        self.send(ask);
    }

    /// Offers these bytes as a request.
    pub fn offer_bytes(&mut self, bytes: &[u8]) {
        self.offer_next();
        self.line.call(&[bytes]).unwrap();
    }

    fn offer_next(&mut self) {
        self.offer = self.offer.next();
        self.line.restart();
        self.line.offer().offer(self.offer);
    }

    /// Whether the worker has taken the request.
    pub fn is_taken(&self) -> bool {
        self.line.offer().is_taken(self.offer)
    }

    /// Waits until the worker has taken the request.
    #[track_caller]
    pub fn await_taken(&self) {
        let until = Instant::now() + PATIENCE;
        while !self.is_taken() {
            assert!(Instant::now() < until, "it is not taken");
            std::thread::yield_now();
        }
    }

    /// Withdraws the request. `false` if it was taken.
    pub fn withdraw(&self) -> bool {
        self.line.offer().withdraw(self.offer)
    }

    /// Sends the frame of a request under the number of the offer.
    fn send(&mut self, ask: &Ask<'_>) {
        let script = match ask.script {
            Some(name) => name_in(
                Path::new(std::str::from_utf8(&self.script).unwrap()).parent().unwrap(),
                name.as_bytes(),
            ),
            None => self.script.clone(),
        };
        let begun = ask.begun.duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
        let mut variables = Variables::default();
        variables.put(Known::RequestMethod, ask.method.as_bytes());
        variables.put(Known::RequestUri, ask.path.as_bytes());
        variables.put(Known::PathInfo, ask.path.as_bytes());
        variables.put_other(b"mod_wsgi.process_group", b"group");
        let variables = variables.settle();
        let request = Request {
            serial: self.offer.serial(),
            head: Head {
                id: "the-id".into(),
                script: Script {
                    path: Slice::new(&script),
                    resource: Slice::new(&script),
                    callable: "application".into(),
                    modified: Script::UNKNOWN,
                    reloading: ask.reloading,
                },
                group: Group { name: ask.group.into(), main: ask.group.is_empty() },
                variables: variables.runs(),
                scheme: Scheme::Http,
                body: ask.body,
                header_only: ask.method == "HEAD",
                native: false,
                clocks: Clocks { request_start: begun, queue_start: begun + 1, daemon_start: 0 },
            },
            carried: ask.carried,
            broken: ask.broken,
            log_level: ask.log_level,
            as_loaded: ask.as_loaded,
            ignored: ask.ignored,
        };
        let mut frame = Vec::new();
        assert!(request.append_to(&mut frame));
        // The worker may have left, as the caller will see.
        let _ = ask.file.map(|file| self.line.send_descriptor(file.as_fd()));
        let _ = self.line.call(&[&frame, request.inline()]);
    }

    /// Sends a piece of the body that was asked for.
    pub fn give(&mut self, kind: Kind, bytes: &[u8]) {
        let tag = Tag::of_serial(self.offer.serial());
        self.line.write(&[&header(kind, 0, tag, bytes.len()), bytes]).unwrap();
    }

    /// Waits for the answer. `wanted` is asked for pieces of the body.
    pub fn answer(
        &mut self,
        wanted: &mut dyn FnMut(u32) -> Option<Result<Vec<u8>, ReadError>>,
    ) -> Answer {
        let mut answer = Answer::default();
        while let Some((frame, payload)) = self.try_frame() {
            let push = || Ready::decode(frame.flags).unwrap().0;
            let last = match frame.kind {
                Kind::Note => {
                    let Note(record) = Note::decode(&payload).unwrap();
                    let line = String::from_utf8_lossy(&record.line).into_owned();
                    answer.notes.push((record.level, line));
                    false
                }
                Kind::Want => {
                    let most = wire::decode_want(&payload).unwrap();
                    match wanted(most) {
                        Some(Ok(bytes)) => self.give(Kind::Body, &bytes),
                        Some(Err(error)) => self.give(Kind::BodyFailed, &[error as u8]),
                        None => {}
                    }
                    false
                }
                Kind::Answer => {
                    let mut headers = Vec::new();
                    let got = wire::Answer::decode(&payload, &mut headers).unwrap();
                    answer.status = got.head.status;
                    answer.length = got.head.has_length.then_some(got.head.length);
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    answer.headers =
                        got.head.headers.iter().map(|h| (text(&h.name), text(&h.value))).collect();
                    answer.pieces += usize::from(!got.body.is_empty());
                    answer.body.extend_from_slice(got.body);
                    push() == exchange::Push::Last
                }
                Kind::Data => {
                    answer.pieces += 1;
                    answer.body.extend_from_slice(&payload);
                    push() == exchange::Push::Last
                }
                Kind::File => {
                    let wire::File(part) = wire::File::decode(&payload).unwrap();
                    self.line.descriptors(&mut self.descriptors).unwrap();
                    let file = self.descriptors.pop_front().expect("a file comes along");
                    let file = File::from(file);
                    let mut bytes = vec![0; part.length as usize];
                    file.read_exact_at(&mut bytes, part.offset).unwrap();
                    answer.body.extend_from_slice(&bytes);
                    answer.had_file = true;
                    push() == exchange::Push::Last
                }
                Kind::End => {
                    answer.end = Some(End::decode(&payload).unwrap());
                    return answer;
                }
                other => panic!("a worker sends no {other:?}"),
            };
            if last {
                answer.end = Some(End::Served(Outcome::Done));
                return answer;
            }
        }
        answer
    }

    /// The next frame; `None` if the connection has broken.
    pub fn try_frame(&mut self) -> Option<(Frame, Vec<u8>)> {
        loop {
            if let Some(head) = self.received.first_chunk::<HEADER>() {
                let frame = Frame::decode(*head).unwrap();
                if self.received.len() >= HEADER + frame.length {
                    let payload = self.received[HEADER..HEADER + frame.length].to_vec();
                    self.received.drain(..HEADER + frame.length);
                    return Some((frame, payload));
                }
            }
            let mut buffer = [0; 65536];
            match self.line.read(&mut buffer, Some(PATIENCE)) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("the worker says nothing")
                }
                Err(_) => return None,
            }
        }
    }
}
