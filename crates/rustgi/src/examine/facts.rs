//! The description of an interpreter, read from the lines that `describe.py` writes.

use exchange::Code;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The oldest Python for which an engine can be built.
const OLDEST: (u32, u32) = (3, 10);

/// Why a Python cannot be run: the error code and the particulars.
#[derive(Debug)]
pub struct Unusable(pub Code, pub String);

/// The description of an interpreter, by itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct InterpreterInfo {
    version: Vec<u32>,
    /// `sys.executable`
    pub program: PathBuf,
    /// It belongs to a virtual environment.
    pub is_venv: bool,
    /// The ending of the file names of extension modules.
    pub suffix: String,
    /// The directories of installed packages.
    pub site: Vec<PathBuf>,
    /// Paths at which its shared library may be: first below its present directory, then below the one for which it was built.
    pub libraries: Vec<PathBuf>,
}

impl InterpreterInfo {
    /// Reads the lines; `None` if some are missing.
    pub fn read(output: &[u8]) -> Option<InterpreterInfo> {
        let mut info = InterpreterInfo::default();
        for line in output.split(|&byte| byte == b'\n') {
            let mut values = line.split(|&byte| byte == 0);
            let name = values.next()?;
            let path = |value: &[u8]| PathBuf::from(OsStr::from_bytes(value));
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            match name {
                b"version" => info.version = values.filter_map(|n| text(n).parse().ok()).collect(),
                b"program" => info.program = path(values.next()?),
                b"venv" => info.is_venv = values.next()? == b"1",
                b"suffix" => info.suffix = text(values.next()?),
                b"site" => info.site = values.map(path).collect(),
                b"libraries" => info.libraries = values.map(path).collect(),
                _ => {}
            }
        }
        let is_complete =
            info.version.len() == 3 && !info.suffix.is_empty() && !info.site.is_empty();
        is_complete.then_some(info)
    }

    /// `3.11`
    pub fn version(&self) -> String {
        format!("{}.{}", self.version[0], self.version[1])
    }

    /// It is a free-threaded build, which can run without its lock.
    pub fn is_free_threaded(&self) -> bool {
        self.suffix.contains("t-")
    }

    /// Whether an engine can be built for it.
    pub fn check_version(&self, program: &Path) -> Result<(), Unusable> {
        if (self.version[0], self.version[1]) >= OLDEST {
            return Ok(());
        }
        let (version, (major, minor)) = (self.version(), OLDEST);
        let text = format!(
            "{} is Python {version}; {major}.{minor} or later is needed",
            program.display()
        );
        Err(Unusable(Code::InterpreterRefused, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_of_an_interpreter_is_read() {
        let info = b"version\x003\x0011\x002\nprogram\0/v\xffenv/bin/python3\nvenv\x001\nsuffix\0.cpython-311.so\n\
            site\0/v/lib\0/v/lib\nlibraries\0/usr/lib/libpython3.11.so.1.0\n";
        let facts = InterpreterInfo::read(info).unwrap();
        assert_eq!(facts.version(), "3.11");
        assert!(facts.is_venv && !facts.is_free_threaded());
        assert_eq!(facts.program, Path::new(OsStr::from_bytes(b"/v\xffenv/bin/python3")));
        assert_eq!(facts.libraries.len(), 1);
        assert_eq!(InterpreterInfo::read(b"hello\n"), None);
        assert_eq!(InterpreterInfo::read(b""), None);
    }
}
