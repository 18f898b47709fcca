//! What kind of server there can be: where its applications run, in which processes it serves, and who starts it.

/// The multi-processing module of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mpm {
    Event,
    Worker,
    Prefork,
}

/// Where the applications of a run are served, unless a test says where its own are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the children of httpd.
    Embedded,
    /// In daemon processes, where the environment says `RUSTGI_MODE=daemon`.
    Daemon,
}

impl Mode {
    /// That of this run.
    pub fn get() -> Mode {
        match std::env::var("RUSTGI_MODE").as_deref() {
            Ok("daemon") => Mode::Daemon,
            Ok("embedded") | Err(_) => Mode::Embedded,
            Ok(other) => panic!("RUSTGI_MODE is embedded or daemon, not {other}"),
        }
    }

    /// The daemon group that serves what does not say otherwise.
    pub(super) fn daemon(self) -> Option<&'static str> {
        (self == Mode::Daemon).then_some("everything threads=8 server-metrics=On")
    }

    /// The name of the process group that serves what does not say otherwise, as an application sees it.
    pub fn process_group(self) -> &'static str {
        self.daemon().and_then(|daemon| daemon.split(' ').next()).unwrap_or_default()
    }
}

/// Who starts httpd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Whoever runs the tests. If that is root, the children of httpd run as an ordinary user.
    Whoever,
    /// An ordinary user, also when root runs the tests.
    Unprivileged,
}
