//! The Pythons that are configured: found while the configuration is read, so that `httpd -t` says what is missing. One
//! is loaded by the children, the others are run by processes of their own. The interpreter itself is asked where it lies;
//! nothing is guessed from names of directories.

use crate::httpd::process;
use crate::identity::Whom;
use exchange::Code;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The Python that is used when `WSGIPythonHome` is not given: the one this module was built with.
const DEFAULT: &str = env!("RUSTGI_PYTHON");

/// The oldest Python that there can be an engine for.
const OLDEST: (u32, u32) = (3, 10);

/// What the interpreter is asked. Each answer is a line; paths as bytes, since a path need not be text.
const QUESTION: &str = r"
import os, sys, sysconfig
def say(*values):
    sys.stdout.buffer.write(b'\0'.join(os.fsencode(str(value)) for value in values) + b'\n')
of = lambda name: sysconfig.get_config_var(name) or ''
say('version', *sys.version_info[:3])
say('program', sys.executable)
say('venv', int(sys.prefix != sys.base_prefix))
say('suffix', of('EXT_SUFFIX'))
say('site', sysconfig.get_path('platlib'), sysconfig.get_path('purelib'))
names = [of('INSTSONAME'), of('LDLIBRARY'), 'libpython%s.so.1.0' % of('LDVERSION')]
places = [os.path.join(sys.base_prefix, 'lib'), os.path.join(of('LIBDIR'), of('MULTIARCH')), of('LIBDIR'), of('LIBPL')]
libraries = [os.path.join(p, n) for n in names if '.so' in n for p in places if p]
say('libraries', *libraries)
say('readable', *[library for library in libraries if os.access(library, os.R_OK)])
";

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

/// A Python that processes of their own run, and the engine for it. It needs no shared library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Its executable.
    pub program: PathBuf,
    /// What that calls itself (`sys.executable`).
    pub own_name: PathBuf,
    /// The engine built for it.
    pub engine: PathBuf,
    /// `LD_LIBRARY_PATH`, if it does not run without.
    pub library_path: Option<OsString>,
    /// It can run without its lock.
    pub is_free_threaded: bool,
}

/// How a Python is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice<'a> {
    /// The one this module was built with.
    Default,
    /// By the directory of its installation, or of a virtual environment; what is said to name it.
    Home(&'a [u8], &'static str),
    /// By its executable.
    Program(&'a [u8]),
}

impl<'a> Choice<'a> {
    /// `WSGIPythonHome`, if it is given.
    pub fn of_home(home: Option<&'a [u8]>) -> Self {
        home.map_or(Choice::Default, |home| Choice::Home(home, "WSGIPythonHome"))
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

/// What an interpreter says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    version: Vec<u32>,
    program: PathBuf,
    is_venv: bool,
    suffix: String,
    site: Vec<PathBuf>,
    /// Where its shared library may be, the place it was moved to before the one it was built for.
    libraries: Vec<PathBuf>,
    /// Those of them that are there, and that a child may read.
    readable: Vec<PathBuf>,
}

impl Facts {
    fn read(output: &[u8]) -> Option<Facts> {
        let mut facts = Facts::default();
        for line in output.split(|&byte| byte == b'\n') {
            let mut values = line.split(|&byte| byte == 0);
            let name = values.next()?;
            let path = |value: &[u8]| PathBuf::from(OsStr::from_bytes(value));
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            match name {
                b"version" => facts.version = values.filter_map(|n| text(n).parse().ok()).collect(),
                b"program" => facts.program = path(values.next()?),
                b"venv" => facts.is_venv = values.next()? == b"1",
                b"suffix" => facts.suffix = text(values.next()?),
                b"site" => facts.site = values.map(path).collect(),
                b"libraries" => facts.libraries = values.map(path).collect(),
                b"readable" => facts.readable = values.map(path).collect(),
                _ => {}
            }
        }
        let complete =
            facts.version.len() == 3 && !facts.suffix.is_empty() && !facts.site.is_empty();
        complete.then_some(facts)
    }

    fn version(&self) -> String {
        format!("{}.{}", self.version[0], self.version[1])
    }

    /// It is one that the engine can be built for.
    fn is_supported(&self, program: &Path) -> Result<(), Unusable> {
        if (self.version[0], self.version[1]) >= OLDEST {
            return Ok(());
        }
        let (version, (major, minor)) = (self.version(), OLDEST);
        let text = format!(
            "{} is Python {version}; {major}.{minor} or later is needed",
            program.display()
        );
        Err(Unusable { code: Code::InterpreterRefused, text })
    }
}

/// Finds the Python of `WSGIPythonHome`, or the one this module was built with, and its engine.
///
/// # Errors
/// The interpreter cannot be run, has no shared library, or there is no engine for it.
pub fn find(home: Option<&[u8]>) -> Result<Installation, Unusable> {
    let whom = Whom::child();
    let program = executable(Choice::of_home(home), &whom)?;
    let facts = ask(&program, &whom, library_path(&program))?;
    facts.is_supported(&program)?;
    let Some(library) = facts.readable.first().cloned() else {
        return Err(Unusable { code: Code::LibpythonMissing, text: no_library(&program, &facts) });
    };
    let engine = engine(&program, &facts, &whom)?;
    let version = facts.version();
    // A virtual environment finds its base installation by itself, from the place of its executable.
    let own_home = home.filter(|_| !facts.is_venv).unwrap_or_default();
    Ok(Installation {
        program: if facts.program.as_os_str().is_empty() { program } else { facts.program },
        home: PathBuf::from(OsStr::from_bytes(own_home)),
        library,
        engine,
        version,
    })
}

/// Finds a Python that processes of their own are to run as `whom`, and its engine.
///
/// # Errors
/// The interpreter cannot be run, or there is no engine for it.
pub fn find_for(choice: Choice<'_>, whom: &Whom) -> Result<Interpreter, Unusable> {
    let program = executable(choice, whom)?;
    let (facts, library_path) = match (ask(&program, whom, None), library_path(&program)) {
        (Ok(facts), _) => (facts, None),
        (Err(_), Some(path)) => (ask(&program, whom, Some(path.clone()))?, Some(path)),
        (Err(unusable), None) => return Err(unusable),
    };
    facts.is_supported(&program)?;
    let engine = engine(&program, &facts, whom)?;
    let is_free_threaded = facts.suffix.contains("t-");
    let own_name =
        if facts.program.as_os_str().is_empty() { program.clone() } else { facts.program };
    Ok(Interpreter { program, own_name, engine, library_path, is_free_threaded })
}

/// The engine for an interpreter, as whoever runs it will name it.
fn engine(program: &Path, facts: &Facts, whom: &Whom) -> Result<PathBuf, Unusable> {
    let places = engine_places(facts);
    let found = places.iter().find(|place| whom.outside(place).is_file()).cloned();
    found.ok_or_else(|| Unusable {
        code: Code::EngineMissing,
        text: no_engine(program, facts, &places),
    })
}

fn executable(choice: Choice<'_>, whom: &Whom) -> Result<PathBuf, Unusable> {
    let (home, said) = match choice {
        Choice::Default => return Ok(PathBuf::from(DEFAULT)),
        Choice::Program(program) => return Ok(PathBuf::from(OsStr::from_bytes(program))),
        Choice::Home(home, said) => (Path::new(OsStr::from_bytes(home)), said),
    };
    let candidates = ["bin/python3", "bin/python"].map(|name| home.join(name));
    let found = candidates.iter().find(|candidate| whom.outside(candidate).is_file());
    found.cloned().ok_or_else(|| Unusable {
        code: Code::InterpreterRefused,
        text: format!(
            "{said} '{}' is no Python installation or virtual environment: there is no bin/python3 in it. It is \
             the directory that sys.prefix names in the Python to be used: python3 -c 'import sys; print(sys.prefix)'",
            home.display()
        ),
    })
}

/// Runs the interpreter and reads what it says of itself. It runs as a child would, or a process of its group: a virtual
/// environment may belong to somebody who must not become the user that httpd is started by.
fn ask(program: &Path, whom: &Whom, library_path: Option<OsString>) -> Result<Facts, Unusable> {
    let refused = |why: String| Unusable {
        code: Code::InterpreterRefused,
        text: format!(
            "{} cannot be run as {whom} would run it: {why}. Install Python (apt-get install python3), or name its directory with \
             WSGIPythonHome",
            program.display()
        ),
    };
    let mut command = Command::new(program);
    command.args(["-I", "-c", QUESTION]).stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).current_dir("/");
    if let Some(path) = library_path {
        command.env("LD_LIBRARY_PATH", path);
    }
    whom.run(&mut command);
    let mut child = command.spawn().map_err(|error| refused(error.to_string()))?;
    let output = read_within(&mut child, PATIENCE);
    // It has ended, or is to end now.
    let _ = child.kill();
    let status = child.wait().map_err(|error| refused(error.to_string()))?;
    let output = output.map_err(|error| refused(error.to_string()))?;
    Facts::read(&output).ok_or_else(|| {
        let said = child.stderr.and_then(last_line).unwrap_or_default();
        refused(format!("it ended with {status} {said}").trim_end().to_owned())
    })
}

/// Where the interpreter finds its own shared library, if it was moved from where it was built to be: beside it.
fn library_path(program: &Path) -> Option<OsString> {
    let real = std::fs::canonicalize(program).ok()?;
    let beside = real.parent()?.parent()?.join("lib");
    let inherited = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let inherited = std::env::split_paths(&inherited).filter(|path| path.is_absolute());
    std::env::join_paths(std::iter::once(beside).chain(inherited)).ok()
}

/// How long an interpreter may take to say where it lies.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// What the child writes until it closes its output, if it does so in time.
fn read_within(
    child: &mut std::process::Child,
    time: std::time::Duration,
) -> std::io::Result<Vec<u8>> {
    use std::io::{Error, ErrorKind, Read};
    let until = std::time::Instant::now() + time;
    let mut pipe = child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
    let mut output = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() || !process::wait_readable(pipe.as_fd(), left) {
            return Err(Error::new(ErrorKind::TimedOut, format!("it said nothing for {time:?}")));
        }
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(output),
            Ok(count) => output.extend_from_slice(&buffer[..count]),
            // httpd has been told something while it reads its configuration, which it does when that has been read.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn last_line(mut stderr: std::process::ChildStderr) -> Option<String> {
    use std::io::Read;
    let mut said = Vec::new();
    stderr.by_ref().take(64 * 1024).read_to_end(&mut said).ok()?;
    let said = String::from_utf8_lossy(&said);
    said.lines().rfind(|line| !line.is_empty()).map(|line| format!("({line})"))
}

/// Where an engine for this Python may lie, in the order in which it is looked for.
fn engine_places(facts: &Facts) -> Vec<PathBuf> {
    let name = format!("_rustgi{}", facts.suffix);
    let mut places: Vec<PathBuf> = facts.site.iter().map(|site| site.join(&name)).collect();
    places.dedup();
    if let Some(module) = process::module_file() {
        places.push(module.with_file_name("rustgi").join(&name));
    }
    places
}

fn no_library(program: &Path, facts: &Facts) -> String {
    let version = facts.version();
    let searched = list(&facts.libraries);
    format!(
        "{} is Python {version} without a shared library that the server's children may read (looked for {searched}). Install it: apt-get install \
         libpython{version}, dnf install python{version}-libs, or build Python with --enable-shared",
        program.display()
    )
}

fn no_engine(program: &Path, facts: &Facts, places: &[PathBuf]) -> String {
    let version = facts.version();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_known_by_what_it_says() {
        let said = b"version\x003\x0011\x002\nprogram\0/v\xffenv/bin/python3\nvenv\x001\nsuffix\0.cpython-311.so\n\
            site\0/v/lib\0/v/lib\nlibraries\0/usr/lib/libpython3.11.so.1.0\nreadable\n";
        let facts = Facts::read(said).unwrap();
        assert_eq!(facts.version(), "3.11");
        assert!(facts.is_venv);
        assert_eq!(facts.program, Path::new(OsStr::from_bytes(b"/v\xffenv/bin/python3")));
        assert_eq!((facts.libraries.len(), facts.readable.len()), (1, 0));
        assert_eq!(Facts::read(b"hello\n"), None);
        assert_eq!(Facts::read(b""), None);
    }
}
