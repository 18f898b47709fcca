//! One examination: this process becomes the user of the group, looks for the files of a Python, and runs the interpreter.
//! All of it can take any time; the collector kills it at the deadline.

use super::facts::{InterpreterInfo, Unusable};
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

/// The script with which an interpreter describes itself.
const DESCRIBE: &str = include_str!("describe.py");
/// How many bytes are read of the standard output of an interpreter, and of its standard error.
const LONGEST_ANSWER: u64 = 64 * 1024;
/// The longest environment file in bytes.
const LONGEST_VARIABLES: u64 = 64 * 1024;

/// Reads an examination from standard input, runs it, and writes the result to standard output.
///
/// # Errors
/// Standard input holds no examination, or the other end of standard output is closed.
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
    let (facts, info) = facts(examination, &program)?;
    info.check_version(&program)?;
    let library = match info.libraries.iter().find(|library| is_readable(library)) {
        Some(library) => bytes(library),
        None if examination.is_embedded => {
            let text = no_library(&program, &info);
            return Err(Unusable(Code::LibpythonMissing, text));
        }
        None => Vec::new(),
    };
    let engine = engine(examination, &program, &info)?;
    Ok(Interpreter {
        facts,
        own_name: bytes(&info.program),
        engine: bytes(&engine),
        is_free_threaded: info.is_free_threaded(),
        version: info.version(),
        is_venv: info.is_venv,
        library,
        variables,
    })
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// The output of an interpreter, as it is and decoded.
type Answer = (Vec<u8>, InterpreterInfo);

/// Changes the root directory and becomes the user; it cannot change back.
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
    // Set after the change of user, which resets it. With it the examiner does not outlive its collector.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
    Ok(())
}

fn show(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}

/// Reads `environment-file` with the rights of the user, before the root directory changes. A link to a file that the user cannot
/// read, such as one of root's, is refused.
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
    wire::variables::parse(&text).map_err(|line| {
        unusable(format!("must consist of lines NAME=VALUE (line {line} is not one)"))
    })
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

/// Runs `body` with the effective user of an identity. Real and saved user stay root, so processes of the user can neither signal nor
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

/// The description of the interpreter: the known one if its files have not changed, or else from the interpreter itself.
fn facts(examination: &Examination, program: &Path) -> Result<(Facts, InterpreterInfo), Unusable> {
    let stamps = stamps(program);
    if let Some(known) = &examination.known {
        let is_same = known.program == bytes(program) && stamps.as_ref() == Some(&known.stamps);
        if let Some(info) = InterpreterInfo::read(&known.output).filter(|_| is_same) {
            return Ok((known.clone(), info));
        }
    }
    let (library_path, output, info) =
        match (ask(examination, program, None), library_path(program)) {
            (Ok((output, info)), _) => (None, output, info),
            (Err(_), Some(path)) => {
                let (output, info) = ask(examination, program, Some(&path))?;
                (Some(path.into_vec()), output, info)
            }
            (Err(unusable), None) => return Err(unusable),
        };
    let stamps = stamps.unwrap_or_default();
    Ok((Facts { program: bytes(program), stamps, library_path, output }, info))
}

/// The state of the executable, and of the `pyvenv.cfg` files that make it part of a virtual environment.
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

/// Runs the interpreter, and returns its description as it is and decoded.
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
    // Standard input is inherited and at its end, because there may be no /dev/null in the root directory of the group.
    command.args(["-I", "-c", DESCRIBE]).stdin(Stdio::inherit()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).current_dir("/");
    if let Some(path) = library_path {
        command.env("LD_LIBRARY_PATH", path);
    }
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    // Both pipes are read at the same time: an interpreter that fills one of them must not wait until the other is read.
    let errors = child.stderr.take().map(|pipe| std::thread::spawn(|| last_line(pipe)));
    let mut output = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        let read = pipe.take(LONGEST_ANSWER).read_to_end(&mut output);
        read.map_err(|error| failed(error.to_string()))?;
    }
    match InterpreterInfo::read(&output) {
        Some(info) => {
            // The description is complete. The end of the interpreter, which can take any time, is not waited for.
            let _ = child.kill();
            Ok((output, info))
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
    let mut text = Vec::new();
    stderr.by_ref().take(LONGEST_ANSWER).read_to_end(&mut text).ok()?;
    let _ = io::copy(&mut stderr, &mut io::sink());
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rfind(|line| !line.is_empty())?;
    Some(format!("({})", last.chars().take(1000).collect::<String>()))
}

/// `LD_LIBRARY_PATH` for an interpreter that was moved from the directory for which it was built: its shared library is beside it.
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

/// The engine for an interpreter: in its installed packages, or else beside the module.
fn engine(
    examination: &Examination,
    program: &Path,
    info: &InterpreterInfo,
) -> Result<PathBuf, Unusable> {
    let name = format!("_rustgi{}", info.suffix);
    let mut places: Vec<PathBuf> = info.site.iter().map(|site| site.join(&name)).collect();
    places.dedup();
    if !examination.engines.is_empty() {
        places.push(Path::new(OsStr::from_bytes(&examination.engines)).join(&name));
    }
    let found = places.iter().find(|place| place.is_file()).cloned();
    found.ok_or_else(|| {
        let text = no_engine(program, info, &places);
        Unusable(Code::EngineMissing, text)
    })
}

fn no_library(program: &Path, info: &InterpreterInfo) -> String {
    let version = info.version();
    let searched = list(&info.libraries);
    format!(
        "{} is Python {version} without a shared library that the server's children may read (looked for {searched}). Install it: apt-get install \
         libpython{version}, dnf install python{version}-libs, or build Python with --enable-shared",
        program.display()
    )
}

fn no_engine(program: &Path, info: &InterpreterInfo, places: &[PathBuf]) -> String {
    let version = info.version();
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
        return "nothing: the interpreter names no path".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
