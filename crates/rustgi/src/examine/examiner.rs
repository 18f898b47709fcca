//! One examination: this process becomes the user of the group, looks for the files of a Python, and runs the interpreter.
//! All of it may take any time; the collector ends it.

use super::facts::{Said, Unusable};
use crate::supervise::identity;
use exchange::Code;
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::{AccessFlags, Gid, Uid};
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wire::control::{Examination, Examined, Facts, Identity, Interpreter, Python, decode, encode};
use wire::variables::Variable;

/// What an interpreter is asked.
const QUESTION: &str = include_str!("question.py");
/// The longest answer of an interpreter in bytes, and the most that is read of its errors.
const LONGEST_ANSWER: u64 = 64 * 1024;
/// The longest environment file in bytes.
const LONGEST_VARIABLES: u64 = 64 * 1024;

/// Examines what standard input says, and writes the result to standard output.
///
/// # Errors
/// Standard input holds no examination, or nobody reads the result.
pub fn examine_one() -> io::Result<()> {
    crate::supervise::close_inherited();
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    let examination: Examination = decode(&bytes).map_err(io::Error::other)?;
    let examined = match examine(&examination) {
        Ok(found) => Examined::Usable(found),
        Err(Unusable(code, text)) => Examined::Unusable(code as u16, text),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(&encode(&examined))?;
    stdout.flush()
}

fn refused(text: String) -> Unusable {
    Unusable(Code::InterpreterRefused, text)
}

fn examine(examination: &Examination) -> Result<Interpreter, Unusable> {
    let is_root = nix::unistd::geteuid().is_root();
    let identity = examination.identity.as_ref().filter(|_| is_root);
    let variables = match &examination.environment_file {
        Some(path) => read_variables(path, identity)?,
        None => Vec::new(),
    };
    drop_privileges(examination, identity)?;
    let program = executable(&examination.python)?;
    let (facts, said) = facts(examination, &program)?;
    said.check_version(&program)?;
    let library = match said.libraries.iter().find(|library| is_readable(library)) {
        Some(library) => bytes(library),
        None if examination.is_embedded => {
            let text = no_library(&program, &said);
            return Err(Unusable(Code::LibpythonMissing, text));
        }
        None => Vec::new(),
    };
    let engine = engine(examination, &program, &said)?;
    Ok(Interpreter {
        facts,
        own_name: bytes(&said.program),
        engine: bytes(&engine),
        is_free_threaded: said.is_free_threaded(),
        version: said.version(),
        is_venv: said.is_venv,
        library,
        variables,
    })
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// What an interpreter has written, and what that says.
type Answer = (Vec<u8>, Said);

/// Changes the root directory, and becomes the user for good.
fn drop_privileges(examination: &Examination, identity: Option<&Identity>) -> Result<(), Unusable> {
    if let Some(jail) = &examination.chroot {
        let done = nix::unistd::chroot(jail.as_slice());
        let failed =
            |error| refused(format!("the root directory cannot be '{}': {error}", show(jail)));
        done.map_err(failed)?;
    }
    let _ = nix::unistd::chdir("/");
    if let Some(identity) = identity {
        identity::assume(identity)
            .map_err(|(step, error)| refused(format!("{}: {error}", step.text())))?;
    }
    // Only now, because a change of the user undoes it. An examiner does not outlive its collector.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
    Ok(())
}

fn show(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}

/// Reads `environment-file` with the rights of the user and outside of the root directory that the group will have: a link
/// to a file of root's, which the user cannot read, is refused.
fn read_variables(path: &[u8], identity: Option<&Identity>) -> Result<Vec<Variable>, Unusable> {
    let text = match identity {
        Some(identity) => with_rights_of(identity, || read_file(path)),
        None => read_file(path),
    };
    let unusable = |why: String| {
        let text = format!("environment-file '{}' {why}", show(path));
        Unusable(Code::EnvironmentFileRefused, text)
    };
    let text = text.map_err(|error| {
        unusable(format!(
            "cannot be read by the user of the group: {error}. Give that user the right to read it"
        ))
    })?;
    wire::variables::parse(&text)
        .map_err(|line| unusable(format!("must consist of lines NAME=VALUE (line {line} is none)")))
}

fn read_file(path: &[u8]) -> io::Result<Vec<u8>> {
    let nonblock = OFlag::O_NONBLOCK.bits();
    let file =
        OpenOptions::new().read(true).custom_flags(nonblock).open(OsStr::from_bytes(path))?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut text = Vec::new();
    file.take(LONGEST_VARIABLES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST_VARIABLES {
        return Err(io::Error::other("it is longer than 64 KiB"));
    }
    Ok(text)
}

/// Does something with the effective user of an identity. Real and saved user stay root, so the user can neither signal nor
/// trace this process meanwhile.
fn with_rights_of<T>(identity: &Identity, body: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut groups: Vec<Gid> = vec![Gid::from_raw(identity.group)];
    groups.extend(identity.groups.iter().copied().map(Gid::from_raw));
    nix::unistd::setgroups(&groups)?;
    nix::unistd::setegid(Gid::from_raw(identity.group))?;
    nix::unistd::seteuid(Uid::from_raw(identity.user))?;
    let result = body();
    nix::unistd::seteuid(Uid::from_raw(0))?;
    nix::unistd::setegid(nix::unistd::getgid())?;
    result
}

fn executable(python: &Python) -> Result<PathBuf, Unusable> {
    let path = |text: &[u8]| PathBuf::from(OsStr::from_bytes(text));
    let (home, named_by) = match python {
        Python::Program(program) => return Ok(path(program)),
        Python::Home(home, named_by) => (path(home), named_by),
    };
    let candidates = ["bin/python3", "bin/python"].map(|name| home.join(name));
    let found = candidates.iter().find(|candidate| candidate.is_file());
    found.cloned().ok_or_else(|| {
        refused(format!(
            "{named_by} '{}' is no Python installation or virtual environment: there is no bin/python3 in it. It is \
             the directory that sys.prefix names in the Python to be used: python3 -c 'import sys; print(sys.prefix)'",
            home.display()
        ))
    })
}

/// What the interpreter says: as it is known, if its files have not changed, or from the interpreter itself.
fn facts(examination: &Examination, program: &Path) -> Result<(Facts, Said), Unusable> {
    let stamps = stamps(program);
    if let Some(known) = &examination.known {
        let is_same = known.program == bytes(program) && stamps.as_ref() == Some(&known.stamps);
        if let Some(said) = Said::read(&known.output).filter(|_| is_same) {
            return Ok((known.clone(), said));
        }
    }
    let (library_path, output, said) =
        match (ask(examination, program, None), library_path(program)) {
            (Ok((output, said)), _) => (None, output, said),
            (Err(_), Some(path)) => {
                let (output, said) = ask(examination, program, Some(&path))?;
                (Some(path.into_vec()), output, said)
            }
            (Err(unusable), None) => return Err(unusable),
        };
    let stamps = stamps.unwrap_or_default();
    Ok((Facts { program: bytes(program), stamps, library_path, output }, said))
}

/// The state of the executable, and of the files that make it that of a virtual environment.
fn stamps(program: &Path) -> Option<Vec<[i64; 5]>> {
    let stamp = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        let signed = |number: u64| i64::from_ne_bytes(number.to_ne_bytes());
        let (device, inode) = (signed(found.dev()), signed(found.ino()));
        Some([device, inode, signed(found.size()), found.mtime(), found.mtime_nsec()])
    };
    let executable = stamp(program)?;
    let directory = program.parent()?;
    let around = [directory.parent(), Some(directory)].into_iter().flatten();
    let environments = around.map(|place| stamp(&place.join("pyvenv.cfg")).unwrap_or_default());
    Some([executable].into_iter().chain(environments).collect())
}

/// Runs the interpreter: what it says, and the same as it came.
fn ask(
    examination: &Examination,
    program: &Path,
    library_path: Option<&OsStr>,
) -> Result<Answer, Unusable> {
    let runner =
        if examination.is_embedded { "a child of the server" } else { "a process of the group" };
    let failed = |why: String| {
        refused(format!(
            "{} cannot be run as {runner} would run it: {why}. Install Python (apt-get install python3), or name its \
             directory with WSGIPythonHome",
            program.display()
        ))
    };
    let mut command = Command::new(program);
    // Standard input is at its end. There may be no /dev/null in the root directory of the group.
    command.args(["-I", "-c", QUESTION]).stdin(Stdio::inherit()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).current_dir("/");
    if let Some(path) = library_path {
        command.env("LD_LIBRARY_PATH", path);
    }
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    // Both at once: an interpreter that writes much to the one must not wait for a reader of the other.
    let errors = child.stderr.take().map(|pipe| std::thread::spawn(|| last_line(pipe)));
    let mut output = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        let read = pipe.take(LONGEST_ANSWER).read_to_end(&mut output);
        read.map_err(|error| failed(error.to_string()))?;
    }
    match Said::read(&output) {
        Some(said) => {
            // It has said all. What it does at its end is not waited for.
            let _ = child.kill();
            Ok((output, said))
        }
        None => {
            let status = child.wait().map_err(|error| failed(error.to_string()))?;
            let last = errors.and_then(|errors| errors.join().ok()).flatten().unwrap_or_default();
            let mut unusable =
                failed(format!("it ended with {status} {last}").trim_end().to_owned());
            // Any process of its user can send it one, so it says nothing about the interpreter.
            if examination.is_embedded && status.signal().is_some() {
                unusable.0 = Code::InterpreterSilent;
            }
            Err(unusable)
        }
    }
}

fn last_line(mut stderr: impl Read) -> Option<String> {
    let mut said = Vec::new();
    stderr.by_ref().take(LONGEST_ANSWER).read_to_end(&mut said).ok()?;
    let _ = io::copy(&mut stderr, &mut io::sink());
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.is_empty())?;
    Some(format!("({})", last.chars().take(1000).collect::<String>()))
}

/// Where the interpreter finds its own shared library, if it was moved from where it was built to be: beside it.
fn library_path(program: &Path) -> Option<OsString> {
    let real = fs::canonicalize(program).ok()?;
    let beside = real.parent()?.parent()?.join("lib");
    let inherited = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let inherited = std::env::split_paths(&inherited).filter(|path| path.is_absolute());
    std::env::join_paths(std::iter::once(beside).chain(inherited)).ok()
}

fn is_readable(path: &Path) -> bool {
    nix::unistd::access(path, AccessFlags::R_OK).is_ok()
}

/// The engine for an interpreter: in its packages, or beside the module.
fn engine(examination: &Examination, program: &Path, said: &Said) -> Result<PathBuf, Unusable> {
    let name = format!("_rustgi{}", said.suffix);
    let mut places: Vec<PathBuf> = said.site.iter().map(|site| site.join(&name)).collect();
    places.dedup();
    if !examination.engines.is_empty() {
        places.push(Path::new(OsStr::from_bytes(&examination.engines)).join(&name));
    }
    let found = places.iter().find(|place| place.is_file()).cloned();
    found.ok_or_else(|| {
        let text = no_engine(program, said, &places);
        Unusable(Code::EngineMissing, text)
    })
}

fn no_library(program: &Path, said: &Said) -> String {
    let version = said.version();
    let searched = list(&said.libraries);
    format!(
        "{} is Python {version} without a shared library that the server's children may read (looked for {searched}). Install it: apt-get install \
         libpython{version}, dnf install python{version}-libs, or build Python with --enable-shared",
        program.display()
    )
}

fn no_engine(program: &Path, said: &Said, places: &[PathBuf]) -> String {
    let version = said.version();
    let searched = list(places);
    format!(
        "there is no mod_rustgi engine for Python {version} ({}); looked for {searched}. Build it, in mod_rustgi's \
         directory: make install PYTHON={}",
        program.display(),
        program.display()
    )
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "nothing: it names none".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
