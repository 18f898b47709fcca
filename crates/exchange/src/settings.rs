//! What a gateway is told when its process starts. Travels as a list of name-and-value pairs, so that it has one form
//! for a C table, a pipe and a test.

use std::fmt;

/// One thing said, as it travels.
pub type Pair = (&'static str, Vec<u8>);

/// What a gateway is told when its process starts.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// `WSGIPythonOptimize`: as `-O` given so many times.
    pub optimize: u32,
    /// `WSGIDontWriteBytecode`: as `-B`.
    pub dont_write_bytecode: bool,
    /// `WSGIPythonWarnings`: as `-W`, in this order.
    pub warnings: Vec<Vec<u8>>,
    /// `WSGIPythonHashSeed`; `None` leaves it to Python, which takes a random one.
    pub hash_seed: Option<u32>,
    /// `WSGIPythonEggs`: what `PYTHON_EGG_CACHE` says; empty for nothing.
    pub python_eggs: Vec<u8>,
    /// `WSGICaseSensitivity`: whether paths that differ in case are different scripts.
    pub case_sensitive: bool,
    /// `WSGIDestroyInterpreter`: whether interpreters are ended when the process ends.
    pub destroy_interpreters: bool,
    /// `WSGIPerInterpreterGIL`: whether sub-interpreters get a lock of their own.
    pub own_gil: bool,
    /// `WSGIFreeThreading`: whether a free-threaded Python runs without its lock.
    pub free_threading: bool,
    /// `WSGISwitchInterval` in seconds.
    pub switch_interval: Option<f64>,
    /// `WSGIServerMetrics`: whether applications may look at the scoreboard.
    pub server_metrics: bool,
    /// `WSGITelemetryService` takes the metrics, and applications get none.
    pub telemetry: bool,
    /// `WSGISlowRequests` in seconds.
    pub slow_requests: Option<f64>,
    /// `<WSGIInterpreterOptions>` that concern this process, the least specific first, later ones winning.
    pub options: Vec<InterpreterOptions>,
    /// Scripts to load before the first request, in this order.
    pub preload: Vec<Preload>,
    /// The server that carries the requests.
    pub server: Server,
}

/// What one `<WSGIInterpreterOptions>` says of the interpreters it is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InterpreterOptions {
    /// The application group it is for (empty: the main interpreter); `None` for all.
    pub application_group: Option<Vec<u8>>,
    /// `WSGIPerInterpreterGIL`.
    pub own_gil: Option<bool>,
    /// `WSGISwitchInterval` in seconds.
    pub switch_interval: Option<f64>,
    /// `WSGIPythonPath`.
    pub python_path: Vec<Vec<u8>>,
    /// `WSGIRestrictStdin`.
    pub restrict_stdin: Option<bool>,
    /// `WSGIRestrictStdout`.
    pub restrict_stdout: Option<bool>,
    /// `WSGIRestrictSignal`.
    pub restrict_signal: Option<bool>,
}

/// A script to load before the first request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preload {
    /// Its file.
    pub path: Vec<u8>,
    /// The application group whose interpreter it is loaded in.
    pub application_group: Vec<u8>,
    /// That is the main interpreter.
    pub main: bool,
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
        pairs.extend([
            ("optimize", self.optimize.to_string().into()),
            ("dont-write-bytecode", flag(self.dont_write_bytecode)),
            ("python-eggs", self.python_eggs.clone()),
            ("case-sensitive", flag(self.case_sensitive)),
            ("destroy-interpreters", flag(self.destroy_interpreters)),
            ("own-gil", flag(self.own_gil)),
            ("free-threading", flag(self.free_threading)),
            ("server-metrics", flag(self.server_metrics)),
            ("telemetry", flag(self.telemetry)),
        ]);
        let text = |value: &dyn ToString| value.to_string().into();
        pairs.extend(self.hash_seed.iter().map(|seed| ("hash-seed", text(seed))));
        pairs.extend(self.switch_interval.iter().map(|value| ("switch-interval", text(value))));
        pairs.extend(self.slow_requests.iter().map(|value| ("slow-requests", text(value))));
        pairs.extend(self.warnings.iter().map(|entry| ("warning", entry.clone())));
        pairs.extend(self.python_path.iter().map(|entry| ("python-path", entry.clone())));
        for options in &self.options {
            options.add_to(&mut pairs);
        }
        for preload in &self.preload {
            pairs.push(("preload", preload.path.clone()));
            pairs.push(("preload-main", flag(preload.main)));
            pairs.push(("preload-group", preload.application_group.clone()));
        }
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
            b"restrict-stdin" => self.restrict_stdin = number::<u32>(value)? == 1,
            b"restrict-stdout" => self.restrict_stdout = number::<u32>(value)? == 1,
            b"restrict-signal" => self.restrict_signal = number::<u32>(value)? == 1,
            b"process-group" => self.process_group = value.to_vec(),
            b"maximum-processes" => self.maximum_processes = number(value)?,
            b"threads-per-process" => self.threads_per_process = number(value)?,
            b"multiprocess" => self.multiprocess = number::<u32>(value)? == 1,
            b"multithread" => self.multithread = number::<u32>(value)? == 1,
            b"debugging" => self.debugging = number::<u32>(value)? == 1,
            b"server-description" => self.server.description = value.to_vec(),
            b"server-mpm" => self.server.mpm = value.to_vec(),
            b"server-built" => self.server.built = value.to_vec(),
            b"server-version" => {
                let mut parts = value.split(|&b| b == b'.');
                for part in &mut self.server.version {
                    *part = number(parts.next()?)?;
                }
            }
            b"optimize" => self.optimize = number(value)?,
            b"dont-write-bytecode" => self.dont_write_bytecode = number::<u32>(value)? == 1,
            b"python-eggs" => self.python_eggs = value.to_vec(),
            b"case-sensitive" => self.case_sensitive = number::<u32>(value)? == 1,
            b"destroy-interpreters" => self.destroy_interpreters = number::<u32>(value)? == 1,
            b"own-gil" => self.own_gil = number::<u32>(value)? == 1,
            b"free-threading" => self.free_threading = number::<u32>(value)? == 1,
            b"server-metrics" => self.server_metrics = number::<u32>(value)? == 1,
            b"telemetry" => self.telemetry = number::<u32>(value)? == 1,
            b"hash-seed" => self.hash_seed = Some(number(value)?),
            b"switch-interval" => self.switch_interval = Some(number(value)?),
            b"slow-requests" => self.slow_requests = Some(number(value)?),
            b"warning" => self.warnings.push(value.to_vec()),
            b"options" => self.options.push(InterpreterOptions::default()),
            b"preload" => {
                self.preload.push(Preload { path: value.to_vec(), ..Preload::default() });
            }
            b"preload-main" => self.preload.last_mut()?.main = number::<u32>(value)? == 1,
            b"preload-group" => self.preload.last_mut()?.application_group = value.to_vec(),
            _ => self.options.last_mut()?.take(name.strip_prefix(b"options-")?, value)?,
        }
        Some(())
    }
}

impl InterpreterOptions {
    /// Everything that follows an `options` pair belongs to the same options.
    fn add_to(&self, pairs: &mut Vec<Pair>) {
        pairs.push(("options", Vec::new()));
        pairs.extend(self.application_group.iter().map(|g| ("options-group", g.clone())));
        pairs.extend(self.own_gil.map(|value| ("options-own-gil", flag(value))));
        let interval = self.switch_interval.map(|value| value.to_string().into());
        pairs.extend(interval.map(|value| ("options-switch-interval", value)));
        pairs.extend(self.python_path.iter().map(|p| ("options-python-path", p.clone())));
        pairs.extend(self.restrict_stdin.map(|value| ("options-restrict-stdin", flag(value))));
        pairs.extend(self.restrict_stdout.map(|value| ("options-restrict-stdout", flag(value))));
        pairs.extend(self.restrict_signal.map(|value| ("options-restrict-signal", flag(value))));
    }

    fn take(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let flag = || Some(number::<u32>(value)? == 1);
        match name {
            b"group" => self.application_group = Some(value.to_vec()),
            b"own-gil" => self.own_gil = Some(flag()?),
            b"switch-interval" => self.switch_interval = Some(number(value)?),
            b"python-path" => self.python_path.push(value.to_vec()),
            b"restrict-stdin" => self.restrict_stdin = Some(flag()?),
            b"restrict-stdout" => self.restrict_stdout = Some(flag()?),
            b"restrict-signal" => self.restrict_signal = Some(flag()?),
            _ => return None,
        }
        Some(())
    }
}

fn flag(value: bool) -> Vec<u8> {
    u8::from(value).to_string().into()
}

fn number<N: std::str::FromStr>(value: &[u8]) -> Option<N> {
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
            hash_seed: Some(7),
            warnings: vec![b"ignore".to_vec(), b"error::UserWarning".to_vec()],
            switch_interval: Some(0.005),
            options: vec![
                InterpreterOptions { own_gil: Some(true), ..Default::default() },
                InterpreterOptions {
                    application_group: Some(b"a|".to_vec()),
                    python_path: vec![b"/x".to_vec()],
                    restrict_stdin: Some(false),
                    ..Default::default()
                },
            ],
            preload: vec![Preload { path: b"/p".to_vec(), main: true, ..Default::default() }],
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
