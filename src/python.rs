//! The configured Pythons. They are examined while the configuration is read, so that `httpd -t` reports what is missing. httpd's
//! children load one of them (`WSGIPythonHome`); the workers of process groups run the others.
//!
//! `rustgi examine` looks up their files and runs them, all at the same time, each in a process that runs as the user of the group.
//! httpd's parent makes no file look-up below a directory of such a user, and waits at most [`BOUND`] for all results together. The
//! supervisor examines the Pythons that have no result by then. Results are kept; at the next reading of the configuration
//! `rustgi examine` only checks whether the files are still the same.

use crate::httpd::parent::{self, KeptBytes};
use crate::httpd::{ServerRec, process};
use crate::identity;
use exchange::Code;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use wire::control::{self, Examination, Examine, Facts, Interpreter, Python, decode, encode};

/// The Python that is used when `WSGIPythonHome` is not given: the one this module was built with.
const DEFAULT: &str = env!("RUSTGI_PYTHON");

/// How long httpd's parent waits for the examinations of all process groups together.
pub const BOUND: Duration = Duration::from_secs(2);
/// How long it waits for the Python of the children if it has no earlier result. Only the administrator of httpd controls that Python,
/// and children cannot start without it.
const BOUND_OF_CHILDREN: Duration = Duration::from_secs(20);
/// How long it waits for a Python that did not answer in time when the configuration was read last.
const SHORT: Duration = Duration::from_millis(300);
/// How much earlier `rustgi examine` gives up, so that it can kill the processes that it has started.
const MARGIN: Duration = Duration::from_millis(200);

/// A Python that can be loaded, and the engine for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Its executable.
    pub program: PathBuf,
    /// What Python's own home is to be; empty if it finds that by itself.
    pub home: PathBuf,
    /// Its shared library.
    pub library: PathBuf,
    /// The engine built for it.
    pub engine: PathBuf,
    /// `3.11`
    pub version: String,
}

/// How a Python is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// The one this module was built with.
    Default,
    /// By the directory of its installation, or of a virtual environment; the directive or option that names it.
    Home(&'a [u8], &'static str),
    /// By its executable.
    Program(&'a [u8]),
}

impl<'a> Choice<'a> {
    /// `WSGIPythonHome`, if it is given.
    pub fn of_home(home: Option<&'a [u8]>) -> Self {
        home.map_or(Choice::Default, |home| Choice::Home(home, "WSGIPythonHome"))
    }

    fn python(self) -> Python {
        match self {
            Choice::Default => Python::Program(DEFAULT.into()),
            Choice::Home(home, named_by) => Python::Home(home.to_vec(), named_by.to_owned()),
            Choice::Program(program) => Python::Program(program.to_vec()),
        }
    }
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What happened.
    pub code: Code,
    /// The particulars, and what to do.
    pub text: String,
}

/// The Python of a process group.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The examination.
    pub examination: Examination,
    /// Its result; `None` if there was none in time.
    pub result: Option<Result<Interpreter, Unusable>>,
}

impl Examined {
    /// Why the group cannot run yet, for the log.
    pub fn unusable(&self) -> Option<Unusable> {
        match &self.result {
            Some(Ok(_)) => None,
            Some(Err(unusable)) => Some(unusable.clone()),
            None => {
                let (name, seconds) = (name(&self.examination), BOUND.as_secs());
                let text = format!(
                    "{name} has not answered within {seconds} s. The supervisor examines it again, and starts the processes \
                     of the group when it answers"
                );
                Some(Unusable { code: Code::InterpreterSilent, text })
            }
        }
    }
}

/// The examination of the Python of a process group.
pub fn of_group(choice: Choice<'_>, options: &crate::config::daemon::Options<'_>) -> Examination {
    Examination {
        python: choice.python(),
        identity: identity::of_group(options),
        chroot: options.text("chroot").map(<[u8]>::to_vec),
        is_embedded: false,
        engines: engines(),
        environment_file: options.text("environment-file").map(<[u8]>::to_vec),
        known: None,
    }
}

/// The directory of engines beside the module.
fn engines() -> Vec<u8> {
    let directory = process::module_file().map(|module| module.with_file_name("rustgi"));
    directory.map(|directory| directory.as_os_str().as_bytes().to_vec()).unwrap_or_default()
}

/// Examines the Python of the children and those of the process groups. A Python that several groups name is examined once.
pub fn examine(
    main: ServerRec<'_>,
    home: Option<&[u8]>,
    is_needed: bool,
    groups: Vec<Examination>,
) -> (Result<Installation, Unusable>, Vec<Examined>) {
    let embedded = Examination {
        python: Choice::of_home(home).python(),
        identity: identity::of_children(),
        is_embedded: true,
        engines: engines(),
        ..Examination::default()
    };
    let mut memory = Memory::load(main);
    let is_new = is_needed && memory.facts(&embedded).is_none();
    let bound = if is_new { BOUND_OF_CHILDREN } else { BOUND };
    let begun = Instant::now();
    let ours = Run::start(vec![memory.with_facts(&embedded)], begun + bound);
    let mut all: Vec<Examination> = Vec::new();
    for examination in &groups {
        if !all.contains(examination) {
            all.push(examination.clone());
        }
    }
    let is_slow: Vec<bool> = all.iter().map(|examination| memory.is_slow(examination)).collect();
    let theirs = if all.is_empty() {
        Vec::new()
    } else {
        let with_facts = all.iter().map(|examination| memory.with_facts(examination)).collect();
        results(Run::start(with_facts, begun + BOUND), &is_slow)
    };
    let ours = results(ours, &[false]).pop().flatten();
    let ours = memory.answer_if_silent(&embedded, ours);
    let of_children = installation(home, ours.clone());
    memory.replace(&embedded, &ours);
    for (examination, result) in all.iter().zip(&theirs) {
        memory.replace(examination, result);
    }
    memory.store(main);
    let examined = groups.into_iter().map(|examination| {
        let at = all.iter().position(|other| *other == examination);
        Examined { result: at.and_then(|at| theirs[at].clone()), examination }
    });
    (of_children, examined.collect())
}

type Found = Option<Result<Interpreter, Unusable>>;

/// The results of a run, or of one that could not be started.
fn results(run: io::Result<Run>, is_slow: &[bool]) -> Vec<Found> {
    match run {
        Ok(run) => run.results(is_slow),
        Err(error) => {
            let text = error.to_string();
            let unusable = Unusable { code: Code::InterpreterRefused, text };
            is_slow.iter().map(|_| Some(Err(unusable.clone()))).collect()
        }
    }
}

/// The Python of the children.
fn installation(home: Option<&[u8]>, found: Found) -> Result<Installation, Unusable> {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let found = found.unwrap_or_else(|| Err(silent()))?;
    let program = if found.own_name.is_empty() { &found.facts.program } else { &found.own_name };
    // A virtual environment finds its base installation by itself, from the place of its executable.
    let own_home = home.filter(|_| !found.is_venv).unwrap_or_default();
    Ok(Installation {
        program: path(program),
        home: path(own_home),
        library: path(&found.library),
        engine: path(&found.engine),
        version: found.version.clone(),
    })
}

fn silent() -> Unusable {
    let seconds = BOUND_OF_CHILDREN.as_secs();
    let text =
        format!("the Python of WSGIPythonHome, or {DEFAULT}, did not answer within {seconds} s");
    Unusable { code: Code::InterpreterSilent, text }
}

/// A `rustgi examine` process.
struct Run {
    all: Vec<Examination>,
    process: Child,
    output: ChildStdout,
    until: Instant,
}

impl Run {
    /// Starts it. Examinations without a result at `until` are given up.
    fn start(all: Vec<Examination>, until: Instant) -> io::Result<Run> {
        let program = program()?;
        let mut process = Command::new(&program)
            .arg("examine")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", program.display()))
            })?;
        let left = until.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
        let order = Examine { all, time: left.as_millis().try_into().unwrap_or(u32::MAX) };
        // This write cannot block for long: the process runs as the user of this one and reads all of it before it does anything else.
        process.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(&encode(&order)))?;
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Run { all: order.all, process, output, until })
    }

    /// The results that arrive in time. If only Pythons that were too slow the last time are left, this waits no longer than [`SHORT`]:
    /// the supervisor examines them anyway.
    fn results(mut self, is_slow: &[bool]) -> Vec<Found> {
        let mut results: Vec<Found> = self.all.iter().map(|_| None).collect();
        let (mut received, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        let short = Instant::now() + SHORT;
        loop {
            let mut missing = results.iter().zip(is_slow).filter(|(result, _)| result.is_none());
            let until = match missing.clone().next() {
                None => break,
                Some(_) if missing.all(|(_, is_slow)| *is_slow) => short.min(self.until),
                Some(_) => self.until,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !process::wait_readable(self.output.as_fd(), left) {
                break;
            }
            match self.output.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
            let Ok((come, length)) = control::results(&received, self.all.len()) else { break };
            for (index, bytes) in come {
                results[index] = Some(read(&self.all[index], bytes));
            }
            received.drain(..length);
        }
        self.end();
        results
    }

    /// Ends the process, which kills those that it has started.
    fn end(self) {
        let Run { mut process, output, until, .. } = self;
        drop(output);
        // It ends when its output is closed. It runs no code of a group's user that could keep it from ending.
        let until = until.max(Instant::now() + MARGIN);
        while matches!(process.try_wait(), Ok(None)) {
            if Instant::now() >= until {
                let _ = process.kill();
                let _ = process.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Decodes a result. The group's user controls it, so it is untrusted.
fn read(examination: &Examination, bytes: &[u8]) -> Result<Interpreter, Unusable> {
    match control::Examined::read(examination, bytes) {
        Ok(control::Examined::Usable(found)) => Ok(found),
        Ok(control::Examined::Unusable(code, text)) => {
            let code = Code::from_number(code).filter(|code| code.is_of_examination());
            Err(Unusable { code: code.unwrap_or(Code::InterpreterRefused), text })
        }
        // Any process of its user can end the process that examines it, before it has answered or in the middle.
        Err(error) => {
            let name = name(examination);
            let text = format!("{name} was examined without a usable answer: {error}");
            let is_silent = examination.is_embedded;
            let code = if is_silent { Code::InterpreterSilent } else { Code::InterpreterRefused };
            Err(Unusable { code, text })
        }
    }
}

/// The Python of an examination, for a message.
fn name(examination: &Examination) -> String {
    match &examination.python {
        Python::Program(program) => String::from_utf8_lossy(program).into_owned(),
        Python::Home(home, named_by) => {
            format!("the Python of {named_by} '{}'", String::from_utf8_lossy(home))
        }
    }
}

/// The program beside the module.
///
/// # Errors
/// The file does not exist.
pub fn program() -> io::Result<PathBuf> {
    let module = process::module_file();
    let program = module.map(|module| module.with_file_name("rustgi").join("rustgi"));
    program.filter(|program: &PathBuf| Path::is_file(program)).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "there is no program rustgi in the directory rustgi beside mod_rustgi.so; `make install` puts it there",
        )
    })
}

/// The results of earlier readings of the configuration. They are stored in the pool of the process, because httpd unloads this module
/// between two readings.
#[derive(Default)]
struct Memory {
    before: Vec<Remembered>,
    now: Vec<Remembered>,
}

/// An encoded examination without facts, and its result; `None` if it did not answer in time.
type Remembered = (Vec<u8>, Option<Interpreter>);

const MEMORY: KeptBytes = KeptBytes(c"mod_rustgi-pythons-1");

impl Memory {
    fn load(main: ServerRec<'_>) -> Memory {
        let before = parent::kept_bytes(main, MEMORY).and_then(|bytes| decode(&bytes).ok());
        Memory { before: before.unwrap_or_default(), now: Vec::new() }
    }

    fn store(&self, main: ServerRec<'_>) {
        parent::keep_bytes(main, MEMORY, &encode(&self.now));
    }

    fn find(&self, examination: &Examination) -> Option<&Option<Interpreter>> {
        let key = encode(examination);
        self.before.iter().find(|(known, _)| *known == key).map(|(_, answer)| answer)
    }

    fn answer(&self, examination: &Examination) -> Option<Interpreter> {
        self.find(examination)?.clone()
    }

    fn facts(&self, examination: &Examination) -> Option<Facts> {
        Some(self.answer(examination)?.facts)
    }

    fn with_facts(&self, examination: &Examination) -> Examination {
        Examination { known: self.facts(examination), ..examination.clone() }
    }

    /// What was found, or what was known before if a Python has not answered, or a process that could have was ended. httpd's parent
    /// must not end at a graceful restart because another process of its children's user has ended that one.
    fn answer_if_silent(&self, examination: &Examination, found: Found) -> Found {
        let is_silent = match &found {
            None => true,
            Some(Err(unusable)) => unusable.code == Code::InterpreterSilent,
            Some(Ok(_)) => false,
        };
        let known = self.answer(examination).filter(|_| is_silent);
        known.map_or(found, |known| Some(Ok(known)))
    }

    /// Whether the Python did not answer in time when the configuration was read last.
    fn is_slow(&self, examination: &Examination) -> bool {
        self.find(examination).is_some_and(Option::is_none)
    }

    /// Remembers a result. An unusable Python is not remembered, so the next reading examines it again.
    fn replace(&mut self, examination: &Examination, result: &Found) {
        let answer = match result {
            Some(Ok(found)) => Some(Interpreter { variables: Vec::new(), ..found.clone() }),
            Some(Err(_)) => return,
            None => None,
        };
        self.now.push((encode(examination), answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_python_of_children_is_the_known_one_however_often_it_does_not_answer() {
        let examination = Examination { is_embedded: true, ..Examination::default() };
        let known = Interpreter { library: b"/lib/libpython".to_vec(), ..Interpreter::default() };
        let mut memory = Memory::default();
        memory.replace(&examination, &Some(Ok(known.clone())));
        let killed = read(&examination, b"").unwrap_err();
        for found in [None, Some(Err(killed.clone())), None] {
            memory = Memory { before: memory.now, now: Vec::new() };
            let found = memory.answer_if_silent(&examination, found);
            assert_eq!(found, Some(Ok(known.clone())));
            assert!(installation(None, found.clone()).is_ok());
            memory.replace(&examination, &found);
        }
        let nothing = Memory::default();
        assert!(installation(None, nothing.answer_if_silent(&examination, None)).is_err());
        let refused = Unusable { code: Code::InterpreterRefused, ..killed };
        let found = memory.answer_if_silent(&examination, Some(Err(refused)));
        assert!(installation(None, found).is_err());
    }

    #[test]
    fn what_did_not_answer_is_not_waited_for_again_and_what_cannot_be_used_is_examined_anew() {
        let of = |name: &str| Examination {
            python: Python::Program(name.into()),
            ..Examination::default()
        };
        let mut memory = Memory::default();
        let found = Interpreter { version: "3.11".into(), ..Interpreter::default() };
        memory.replace(&of("/good"), &Some(Ok(found.clone())));
        let unusable = Unusable { code: Code::InterpreterRefused, text: String::new() };
        memory.replace(&of("/bad"), &Some(Err(unusable)));
        memory.replace(&of("/slow"), &None);
        let bytes = encode(&memory.now);
        let memory = Memory { before: decode(&bytes).unwrap(), now: Vec::new() };
        assert_eq!(memory.answer(&of("/good")), Some(found));
        assert!(memory.with_facts(&of("/good")).known.is_some());
        assert!(!memory.is_slow(&of("/good")) && !memory.is_slow(&of("/bad")));
        assert!(memory.is_slow(&of("/slow")) && !memory.is_slow(&of("/new")));
        assert!(memory.with_facts(&of("/slow")).known.is_none());
    }
}
