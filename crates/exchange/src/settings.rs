//! What a gateway is told when its process starts. Travels as a list of name-and-value pairs, so that it has one form
//! for a C table, a pipe and a test.

use std::fmt;

/// One thing said, as it travels.
pub type Pair = (&'static str, Vec<u8>);

/// What a gateway is told when its process starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The Python executable whose installation is to be used, as `sys.executable` of that Python says it.
    pub program: Vec<u8>,
    /// `WSGIPythonHome`, if it is given and is not a virtual environment. Empty otherwise.
    pub home: Vec<u8>,
    /// Directories that `WSGIPythonPath` or `python-path=` adds to `sys.path`.
    pub python_path: Vec<Vec<u8>>,
    /// `WSGIRestrictStdin`: reading `sys.stdin` is an error.
    pub restrict_stdin: bool,
    /// `WSGIRestrictStdout`: writing to `sys.stdout` is an error.
    pub restrict_stdout: bool,
    /// `WSGIRestrictSignal`: `signal.signal` installs nothing.
    pub restrict_signal: bool,
    /// The daemon process group that this process belongs to; empty in a child of the server.
    pub process_group: Vec<u8>,
    /// The most processes that serve the same applications beside each other, 1 or more.
    pub maximum_processes: u32,
    /// Request threads of this process, 1 or more.
    pub threads_per_process: u32,
    /// What `wsgi.multiprocess` says.
    pub multiprocess: bool,
    /// What `wsgi.multithread` says.
    pub multithread: bool,
    /// The server runs as one process on a terminal, for debugging: standard streams stay as they are.
    pub debugging: bool,
    /// The server that carries the requests.
    pub server: Server,
}

/// Facts about the server that carries the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Its version as three numbers.
    pub version: [u32; 3],
    /// Its description with all components (`ap_get_server_description`).
    pub description: Vec<u8>,
    /// The name of its multi-processing module.
    pub mpm: Vec<u8>,
    /// When it was built.
    pub built: Vec<u8>,
}

/// A pair that is not one of ours or whose value cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    name: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "setting '{}' is unknown or has an impossible value", self.name)
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// As a list of pairs. `python-path` stands once for each directory.
    pub fn to_pairs(&self) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = vec![
            ("program", self.program.clone()),
            ("home", self.home.clone()),
            ("restrict-stdin", flag(self.restrict_stdin)),
            ("restrict-stdout", flag(self.restrict_stdout)),
            ("restrict-signal", flag(self.restrict_signal)),
            ("process-group", self.process_group.clone()),
            ("maximum-processes", self.maximum_processes.to_string().into()),
            ("threads-per-process", self.threads_per_process.to_string().into()),
            ("multiprocess", flag(self.multiprocess)),
            ("multithread", flag(self.multithread)),
            ("debugging", flag(self.debugging)),
            ("server-description", self.server.description.clone()),
            ("server-mpm", self.server.mpm.clone()),
            ("server-built", self.server.built.clone()),
            ("server-version", self.server.version.map(|n| n.to_string()).join(".").into()),
        ];
        pairs.extend(self.python_path.iter().map(|entry| ("python-path", entry.clone())));
        pairs
    }

    /// From a list of pairs.
    ///
    /// # Errors
    /// A name is unknown or a value cannot be: the two sides are of different versions.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Settings, SettingsError> {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            settings.take(name, value).ok_or_else(|| SettingsError {
                name: String::from_utf8_lossy(name).into_owned(),
            })?;
        }
        Ok(settings)
    }

    fn take(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        match name {
            b"program" => self.program = value.to_vec(),
            b"home" => self.home = value.to_vec(),
            b"python-path" => self.python_path.push(value.to_vec()),
            b"restrict-stdin" => self.restrict_stdin = number(value)? == 1,
            b"restrict-stdout" => self.restrict_stdout = number(value)? == 1,
            b"restrict-signal" => self.restrict_signal = number(value)? == 1,
            b"process-group" => self.process_group = value.to_vec(),
            b"maximum-processes" => self.maximum_processes = number(value)?,
            b"threads-per-process" => self.threads_per_process = number(value)?,
            b"multiprocess" => self.multiprocess = number(value)? == 1,
            b"multithread" => self.multithread = number(value)? == 1,
            b"debugging" => self.debugging = number(value)? == 1,
            b"server-description" => self.server.description = value.to_vec(),
            b"server-mpm" => self.server.mpm = value.to_vec(),
            b"server-built" => self.server.built = value.to_vec(),
            b"server-version" => {
                let mut parts = value.split(|&b| b == b'.');
                for part in &mut self.server.version {
                    *part = number(parts.next()?)?;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

fn flag(value: bool) -> Vec<u8> {
    u8::from(value).to_string().into()
}

fn number(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_from_their_pairs() {
        let settings = Settings {
            program: b"/srv/v\xffenv/bin/python".to_vec(),
            python_path: vec![b"/a b".to_vec(), b"/c:d".to_vec()],
            restrict_signal: true,
            maximum_processes: 3,
            threads_per_process: 25,
            server: Server { version: [2, 4, 71], ..Server::default() },
            ..Settings::default()
        };
        let pairs = settings.to_pairs();
        let back = Settings::from_pairs(pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_slice())));
        assert_eq!(back, Ok(settings));
    }

    #[test]
    fn a_setting_of_another_version_is_refused_by_name() {
        let refused = Settings::from_pairs([(&b"colour"[..], &b"red"[..])]).unwrap_err();
        assert!(refused.to_string().contains("'colour'"));
        assert!(Settings::from_pairs([(&b"multithread"[..], &b"yes"[..])]).is_err());
    }
}
