//! The messages that steer workers: what the server's parent wants to run, what the supervisor tells a worker, and what
//! a worker reports. Each is one packet of a `link::Channel`; descriptors go beside it, in the order that the message
//! says.

use crate::{Malformed, Secret};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One setting: a name and a value. See `exchange::Settings::to_pairs`.
pub type Pair = (String, Vec<u8>);

/// From the server's parent to the supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToSupervisor {
    /// What must run from now on. Acknowledged by [`FromSupervisor::Taken`].
    Run(Desired),
    /// End all workers in order, and then yourself. The end of the channel says the same.
    Stop,
}

/// From the supervisor to the server's parent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromSupervisor {
    /// The supervisor has received the state with this serial number and works on it. The parent does not wait for this message.
    Taken(u32),
}

/// What shall run.
///
/// Descriptors: the error log of the main server, the memory of the request queue (`link::Queue`), then the log of each group that
/// says [`Group::has_log`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// Serial number of the state, counted by the parent for each supervisor.
    pub serial: u32,
    /// How often the server has read its configuration.
    pub generation: u32,
    /// The user that the children of the server run as, who alone (besides root) may send requests.
    pub client_user: u32,
    /// What the paths of sockets begin with; directories are made as needed.
    pub prefix: Vec<u8>,
    /// The groups.
    pub groups: Vec<Group>,
}

/// A group of workers: what `WSGIDaemonProcess` means when everything is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// The secret that children send to its workers as their proof.
    pub secret: Secret,
    /// Its error log is not that of the main server.
    pub has_log: bool,
    /// Records of this level (syslog's numbers) and below are written to its log.
    pub log_level: u8,
    /// The Python executable.
    pub program: Vec<u8>,
    /// The file of the engine for it.
    pub engine: Vec<u8>,
    /// What stands before the script among the arguments of Python (`-B`, `-W…`, `-X…`).
    pub arguments: Vec<Vec<u8>>,
    /// Changes to the environment that the server has: a value, or nothing to remove the variable.
    pub environment: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Why its workers cannot run: a code and what is to be said besides. Then it has none.
    pub unusable: Option<(u16, String)>,
    /// The examination of its Python, if httpd's parent got no result in time: the supervisor runs it and then
    /// [completes](Group::complete) the group.
    pub examination: Option<Examination>,
    /// `WSGIFreeThreading On`: a free-threaded Python runs without its lock.
    pub free_threading: bool,
    /// How many workers.
    pub processes: u32,
    /// Whom they run as; `None` for whom the supervisor runs as.
    pub identity: Option<Identity>,
    /// `home`: the working directory.
    pub home: Option<Vec<u8>>,
    /// `chroot`
    pub chroot: Option<Vec<u8>>,
    /// `umask`
    pub umask: Option<u32>,
    /// `display-name`
    pub display_name: Option<Vec<u8>>,
    /// `cpu-priority`
    pub cpu_priority: i32,
    /// `cpu-time-limit` in seconds of CPU; 0 for none.
    pub cpu_time_limit: u64,
    /// `memory-limit` in bytes; 0 for none.
    pub memory_limit: u64,
    /// `virtual-memory-limit` in bytes; 0 for none.
    pub virtual_memory_limit: u64,
    /// Workers may leave core files (`CoreDumpDirectory`).
    pub dumpable: bool,
    /// `listen-backlog`
    pub listen_backlog: u32,
    /// The owner of its sockets; `None` for whom the supervisor runs as.
    pub socket_user: Option<u32>,
    /// `restart-interval` in seconds; 0 for never.
    pub restart_interval: u32,
    /// `graceful-timeout` in seconds: how long a worker that has been replaced may go on with what it has.
    pub graceful_timeout: u32,
    /// `eviction-timeout` in seconds: the same after SIGUSR1; 0 for `graceful_timeout`.
    pub eviction_timeout: u32,
    /// `shutdown-timeout` in seconds: how long the end of a worker may take; 0 for any time.
    pub shutdown_timeout: u32,
    /// `startup-timeout` in seconds: how long a worker may take to load what it is to load; 0 for any time.
    pub startup_timeout: u32,
    /// What concerns the worker alone.
    pub worker: Worker,
}

/// Whom workers run as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// All other groups.
    pub groups: Vec<u32>,
    /// The user's name: `USER` and `LOGNAME`.
    pub name: Vec<u8>,
    /// The user's home directory: `HOME`.
    pub home: Vec<u8>,
    /// The user is not the one that the server's children run as, and works in the home directory unless told otherwise.
    pub is_other: bool,
}

/// A Python to examine. A process that runs as [`Examination::identity`] makes all file look-ups and runs the interpreter,
/// because the user of a group controls both and can make both take any time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// How the Python is named.
    pub python: Python,
    /// The user that the examining process becomes; `None` for the user that it is started by.
    pub identity: Option<Identity>,
    /// The root directory of the examining process.
    pub chroot: Option<Vec<u8>>,
    /// The Python is for embedded mode, which needs its shared library.
    pub is_embedded: bool,
    /// The directory beside the module, in which engines are looked for last.
    pub engines: Vec<u8>,
    /// `environment-file`, which the examining process reads with the rights of `identity`, outside of `chroot`.
    pub environment_file: Option<Vec<u8>>,
    /// The result of an earlier examination. If the files are still the same, the interpreter is not run again.
    pub known: Option<Facts>,
}

/// How the configuration names a Python.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Python {
    /// The directory of an installation or a virtual environment, and the directive or option that names it.
    Home(Vec<u8>, String),
    /// The executable.
    Program(Vec<u8>),
}

impl Default for Python {
    fn default() -> Python {
        Python::Program(Vec::new())
    }
}

/// The output of an interpreter about itself, and the state of its files at that time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its executable.
    pub program: Vec<u8>,
    /// Device, inode, size, and modification time (seconds, nanoseconds) of the executable and of each `pyvenv.cfg`.
    pub stamps: Vec<[i64; 5]>,
    /// `LD_LIBRARY_PATH`, if it does not run without.
    pub library_path: Option<Vec<u8>>,
    /// What it has written to standard output.
    pub output: Vec<u8>,
}

/// The result of an examination. The user of the group controls it, so its content is untrusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Examined {
    /// A Python that workers, or the children of the server, can run.
    Usable(Interpreter),
    /// Why the Python cannot be run: the number of an error code, and the particulars.
    Unusable(u16, String),
}

/// A Python that can be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// Its executable, and what the next examination needs to know.
    pub facts: Facts,
    /// `sys.executable`; empty if it does not know.
    pub own_name: Vec<u8>,
    /// The file of the engine for it.
    pub engine: Vec<u8>,
    /// It is a free-threaded build, which can run without its lock.
    pub is_free_threaded: bool,
    /// `3.11`
    pub version: String,
    /// It belongs to a virtual environment.
    pub is_venv: bool,
    /// Its shared library, if the examination is for embedded mode.
    pub library: Vec<u8>,
    /// The variables of the environment file.
    pub variables: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The longest result of an examination in bytes.
pub const LONGEST_EXAMINED: usize = 256 * 1024;

/// The longest reason in bytes why a Python cannot be run.
const LONGEST_REASON: usize = 64 * 1024;

impl Examined {
    /// Decodes and checks a result.
    ///
    /// # Errors
    /// It is incomplete, of another version, too long, or does not fit the examination.
    pub fn read(examination: &Examination, bytes: &[u8]) -> Result<Examined, Malformed> {
        if bytes.len() > LONGEST_EXAMINED {
            return Err(Malformed("the result of an examination is too long"));
        }
        let examined = decode::<Examined>(bytes)?;
        match &examined {
            Examined::Usable(found) if !found.is_possible(&examination.python) => Err(Malformed(
                "the result of an examination names another Python or holds impossible values",
            )),
            Examined::Unusable(_, text) if text.len() > LONGEST_REASON => {
                Err(Malformed("the reason of an examination is too long"))
            }
            _ => Ok(examined),
        }
    }
}

impl Interpreter {
    fn is_possible(&self, python: &Python) -> bool {
        let facts = &self.facts;
        let is_named = match python {
            Python::Program(program) => facts.program == *program,
            // `bin/python3` or `bin/python` below it; the directory may end with a slash.
            Python::Home(home, _) => {
                let rest = facts.program.strip_prefix(home.as_slice());
                rest.is_some_and(|rest| {
                    matches!(
                        rest,
                        b"/bin/python3" | b"/bin/python" | b"bin/python3" | b"bin/python"
                    )
                })
            }
        };
        let is_text = |text: &[u8]| !text.contains(&0) && text.len() <= 4096;
        let texts = [&facts.program, &self.own_name, &self.engine, &self.library];
        let are_variables = self.variables.iter().all(|(name, value)| {
            !name.is_empty() && !name.contains(&b'=') && is_text(name) && !value.contains(&0)
        });
        let path = facts.library_path.as_deref().unwrap_or_default();
        let is_version = |c: char| c.is_ascii_digit() || c == '.';
        is_named
            && texts.into_iter().all(|text| is_text(text))
            && !path.contains(&0)
            && are_variables
            && self.version.len() <= 16
            && self.version.chars().all(is_version)
    }
}

impl Group {
    /// Adds what the examination of its Python has found: executable, engine, arguments and environment. Variables of the
    /// environment file come first, so that options of the configuration override them.
    pub fn complete(&mut self, found: &Interpreter) {
        (self.examination, self.unusable) = (None, None);
        self.program.clone_from(&found.facts.program);
        self.engine.clone_from(&found.engine);
        if found.is_free_threaded {
            let flag: &[u8] = if self.free_threading { b"-Xgil=0" } else { b"-Xgil=1" };
            self.arguments.push(flag.to_vec());
        }
        let variables = found.variables.iter().cloned();
        let variables = variables.map(|(name, value)| (name, Some(value)));
        self.environment.splice(0..0, variables);
        if let Some(path) = &found.facts.library_path {
            self.environment.push((b"LD_LIBRARY_PATH".to_vec(), Some(path.clone())));
        }
        let own_name = if found.own_name.is_empty() { &self.program } else { &found.own_name };
        for (name, value) in &mut self.worker.settings {
            if name == "program" {
                value.clone_from(own_name);
            }
        }
    }
}

/// To `rustgi examine`, on its standard input: the examinations to run at the same time. It writes the results to its standard
/// output in any order: the index of the examination and the length of the result as `u32` (little-endian), and the result. An
/// honest result is an [`Examined`]; the user of a group can make it any other bytes. An examination without a result did not
/// answer in time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examine {
    /// The examinations.
    pub all: Vec<Examination>,
    /// After how many milliseconds examinations without a result are given up.
    pub time: u32,
}

/// Results, each with its index.
pub type Results<'b> = Vec<(usize, &'b [u8])>;

/// The complete results of [`Examine`] at the beginning of `bytes`, and their length in bytes.
///
/// # Errors
/// A length or an index is out of range.
pub fn results(mut bytes: &[u8], count: usize) -> Result<(Results<'_>, usize), Malformed> {
    let (mut all, whole) = (Vec::new(), bytes.len());
    while let Some((head, rest)) = bytes.split_first_chunk::<8>() {
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (index, length) = (number(0) as usize, number(4) as usize);
        if index >= count || length > LONGEST_EXAMINED {
            return Err(Malformed(
                "the result of an examination is too long or has an unknown index",
            ));
        }
        let Some(result) = rest.get(..length) else { break };
        all.push((index, result));
        bytes = &rest[length..];
    }
    Ok((all, whole - bytes.len()))
}

/// What a worker is told of its group. Times are in seconds, 0 for none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// `exchange::Settings` as pairs.
    pub settings: Vec<Pair>,
    /// `threads`; with 0 the worker runs its scripts and ends.
    pub threads: u32,
    /// `stack-size` in bytes; 0 for the system's.
    pub stack_size: u64,
    /// `home`: what stands first in `sys.path`.
    pub home: Option<Vec<u8>>,
    /// `locale`
    pub locale: Option<Vec<u8>>,
    /// `socket-timeout`
    pub socket_timeout: u32,
    /// `maximum-requests`
    pub maximum_requests: u64,
    /// `inactivity-timeout`
    pub inactivity_timeout: u32,
    /// `deadlock-timeout`
    pub deadlock_timeout: u32,
    /// `request-timeout`
    pub request_timeout: u32,
    /// `interrupt-timeout`
    pub interrupt_timeout: u32,
    /// `startup-timeout` in seconds: how long the first request may take to have its script loaded; 0 for any time.
    pub startup_timeout: u32,
    /// How many seconds the scripts that are loaded before the worker is ready may take; 0 for any time.
    pub load_timeout: u32,
    /// `shutdown-timeout`
    pub shutdown_timeout: u32,
    /// `graceful-timeout` in seconds: how long it may go on with its requests when its supervisor has died.
    pub graceful_timeout: u32,
    /// `cpu-time-limit`
    pub cpu_time_limit: u64,
    /// `memory-limit` in bytes.
    pub memory_limit: u64,
    /// `virtual-memory-limit` in bytes.
    pub virtual_memory_limit: u64,
    /// `script-user` and `script-group`: the owner that every script must have.
    pub script_owner: ScriptOwner,
    /// The callables that the configuration names. A script whose callable requests have used must have that one or one of these: it
    /// may have been renamed in both.
    pub callables: Vec<Vec<u8>>,
}

/// `script-user` and `script-group`: the workers of a group load only files of this owner that no other user can have written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptOwner {
    /// `script-user`: the user that owns a script and its directory.
    pub user: Option<u32>,
    /// `script-group`: the group that owns a script and its directory.
    pub group: Option<u32>,
}

impl ScriptOwner {
    /// Whether neither option is set, so that files of any owner are admitted.
    pub fn is_any(self) -> bool {
        self.user.is_none() && self.group.is_none()
    }

    /// Whether a file with this owner, group and mode is admitted.
    pub fn admits(self, user: u32, group: u32, mode: u32) -> bool {
        const GROUP_WRITES: u32 = 0o020;
        const OTHERS_WRITE: u32 = 0o002;
        let by_user = |wanted| user == wanted && mode & (GROUP_WRITES | OTHERS_WRITE) == 0;
        let by_group = |wanted| group == wanted && mode & OTHERS_WRITE == 0;
        self.user.is_none_or(by_user) && self.group.is_none_or(by_group)
    }
}

/// A script that a worker has loaded, or is to load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Script {
    /// Its file.
    pub path: Vec<u8>,
    /// The application group.
    pub group: Vec<u8>,
    /// That is the main interpreter.
    pub main: bool,
    /// Names of the callables that requests have used. A worker that loads the script before it is ready becomes ready only if the
    /// script has one of them.
    pub callables: Vec<Vec<u8>>,
}

impl Script {
    /// How many callables of one script are remembered: those used last.
    pub const CALLABLES: usize = 8;

    /// Whether both name the same file in the same interpreter.
    pub fn is_same(&self, other: &Script) -> bool {
        let same_place = self.main == other.main && (self.main || self.group == other.group);
        same_place && self.path == other.path
    }

    /// Adds callables of the same script.
    pub fn add_callables(&mut self, names: &[Vec<u8>]) {
        for name in names {
            self.callables.retain(|known| known != name);
            self.callables.push(name.clone());
        }
        let surplus = self.callables.len().saturating_sub(Self::CALLABLES);
        self.callables.drain(..surplus);
    }
}

/// The state of a script's file, as a worker has seen it. The supervisor examines no script itself, because it must not wait for a
/// file system that a tenant controls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Its path.
    pub path: Vec<u8>,
    /// When it was last modified, in microseconds since the epoch; `None` if there is no such file.
    pub modified: Option<i64>,
}

/// From the supervisor to a worker.
#[expect(clippy::large_enum_variant, reason = "the large one is the first message of a worker")]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// The first message. Descriptors: the socket to accept requests on (not with `threads` 0), the worker's page.
    Begin {
        /// Its number: the serial on the board.
        number: u32,
        /// What it is told of its group.
        options: Worker,
        /// Name of its group, for the log.
        group: Vec<u8>,
        /// Records of this level and below are written.
        log_level: u8,
        /// Only processes of these users may send requests, and only those that know the secret.
        clients: Vec<u32>,
        /// The secret that a child of httpd must send before the worker sends anything to it.
        secret: Secret,
        /// What the workers it replaces have loaded, to be loaded before it is ready.
        scripts: Vec<Script>,
    },
    /// Another worker has taken its place: finish what is there and leave. Whoever is left after so many milliseconds is cut
    /// off.
    Leave {
        /// Why: `shutdown_reason` of the event.
        reason: String,
        /// Milliseconds; `None` for any time.
        patience: Option<u64>,
    },
    /// The group could not be started with the script as it is: serve what has been loaded until it changes again.
    Keep(Vec<u8>),
    /// The log has been opened anew; its descriptor comes along and takes the place of standard error and output.
    Log {
        /// Records of this level and below are written from now on.
        log_level: u8,
    },
    /// The path of its socket had been removed, and the supervisor has made another socket there: accept connections on that one.
    /// Descriptor: the socket.
    Listen,
    /// Another worker has found this version of a script, and new workers are being started because of it: no request of this
    /// worker must wait for them.
    Expect(Version),
}

/// From a worker to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// It is ready for requests, but these scripts of those it was to load could not be.
    Ready {
        /// Their paths, and what went wrong in one line.
        failed: Vec<(Vec<u8>, String)>,
        /// All scripts that it has tried to load, with the state of their files just before.
        tried: Vec<Version>,
    },
    /// It has loaded a script that it was not told to load.
    Loaded(Script),
    /// A script has changed; this is the present state of its file.
    Changed(Version),
    /// It wants to be replaced, and serves until then: `shutdown_reason` of the event.
    Replace {
        /// Why.
        reason: String,
    },
    /// It ends, and takes no more requests.
    Leaving {
        /// Why.
        reason: String,
    },
    /// It is not ready yet: it has been loading this script for 5 s or more.
    Loading(Vec<u8>),
    /// It begins to load these scripts, whose files are in these states.
    Trying(Vec<Version>),
    /// A thread has finished a request that the child had given up; the supervisor gives it to the next waiting request.
    ThreadFree,
}

impl FromWorker {
    /// Whether no name in it is longer than names are: whoever remembers it shall not be filled with it.
    pub fn is_sensible(&self) -> bool {
        const LONGEST: usize = 16 * 1024;
        let is_short = |text: &[u8]| text.len() <= LONGEST;
        match self {
            FromWorker::Ready { failed, tried } => {
                failed.iter().all(|(path, why)| is_short(path) && is_short(why.as_bytes()))
                    && tried.iter().all(|version| is_short(&version.path))
            }
            FromWorker::ThreadFree => true,
            FromWorker::Loaded(script) => {
                let is_short_list = script.callables.len() <= Script::CALLABLES;
                let mut callables = script.callables.iter();
                let names = is_short(&script.path) && is_short(&script.group);
                names && is_short_list && callables.all(|name| is_short(name))
            }
            FromWorker::Changed(version) => is_short(&version.path),
            FromWorker::Loading(path) => is_short(path),
            FromWorker::Trying(tried) => tried.iter().all(|version| is_short(&version.path)),
            FromWorker::Replace { reason } | FromWorker::Leaving { reason } => {
                is_short(reason.as_bytes())
            }
        }
    }
}

/// From an operator to the supervisor, over a socket of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// What runs. Answered by [`Told::Status`].
    Status,
    /// Replace the workers of this group, or of all. Answered by [`Told::Reloading`].
    Reload(Option<Vec<u8>>),
}

/// From the supervisor to an operator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Told {
    /// What runs.
    Status(Vec<GroupStatus>),
    /// So many groups are being reloaded.
    Reloading(u32),
}

/// What an operator is told of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: Vec<u8>,
    /// The generation that serves.
    pub generation: u32,
    /// Why it has no workers, as the number of an error code, and when the supervisor tries again, in milliseconds of the monotonic
    /// clock.
    pub trouble: Option<(u16, u64)>,
    /// When something went wrong the last time, in seconds since the epoch, and what.
    pub failure: Option<(u64, String)>,
    /// Its workers.
    pub workers: Vec<WorkerStatus>,
}

/// What an operator is told of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its process.
    pub pid: u32,
    /// Its generation.
    pub generation: u32,
    /// What it does, in a word.
    pub state: String,
    /// How many requests it has in hand.
    pub busy: u32,
    /// How many it has finished.
    pub served: u64,
    /// Its age in seconds.
    pub age: u64,
}

/// What each message ends with. Nothing else in it tells a message of another version from one of this: after an upgrade
/// a supervisor of the old one may be told things by a server of the new one.
pub const SIGNATURE: [u8; 4] = crate::VERSION.to_le_bytes();

/// A message as bytes.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let encoded = postcard::to_stdvec(message);
    let mut bytes = encoded.expect("a message of numbers, bytes and lists can be encoded");
    bytes.extend(SIGNATURE);
    bytes
}

/// A message from bytes.
///
/// # Errors
/// It is none: the other side is of another version.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    const OTHER: Malformed = Malformed("a message is of another version");
    let message = bytes.strip_suffix(&SIGNATURE).ok_or(OTHER)?;
    match postcard::take_from_bytes(message) {
        Ok((message, [])) => Ok(message),
        _ => Err(OTHER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_another_version_is_not_understood_by_accident() {
        let mut bytes =
            encode(&FromWorker::Changed(Version { path: b"/a".to_vec(), modified: Some(1) }));
        assert!(decode::<FromWorker>(&bytes).is_ok());
        let end = bytes.len() - SIGNATURE.len();
        bytes.insert(end, 0);
        assert!(decode::<FromWorker>(&bytes).is_err());
        bytes.remove(end);
        bytes[end] += 1;
        assert!(decode::<FromWorker>(&bytes).is_err());
    }

    #[test]
    fn what_is_to_be_remembered_is_short() {
        let version = |length| Version { path: vec![b'/'; length], modified: None };
        let changed = |length| FromWorker::Changed(version(length));
        assert!(changed(16_384).is_sensible() && !changed(16_385).is_sensible());
        let loaded = |callables| FromWorker::Loaded(Script { callables, ..Script::default() });
        assert!(loaded(vec![vec![b'a'; 16_384]; 8]).is_sensible());
        assert!(!loaded(vec![vec![b'a'; 16_385]]).is_sensible());
        assert!(!loaded(vec![Vec::new(); 9]).is_sensible());
        let tried = |length| FromWorker::Ready { failed: vec![], tried: vec![version(length)] };
        assert!(tried(16_384).is_sensible() && !tried(16_385).is_sensible());
        let ready = |why: &str| {
            let failed = vec![(b"/a".to_vec(), why.into())];
            FromWorker::Ready { failed, tried: vec![] }
        };
        assert!(ready("it is broken").is_sensible() && !ready(&"x".repeat(20_000)).is_sensible());
    }

    #[test]
    fn files_that_other_users_may_write_are_not_admitted() {
        let user = |user| ScriptOwner { user: Some(user), group: None };
        let group = |group| ScriptOwner { user: None, group: Some(group) };
        let admits = |owner: ScriptOwner, mode| owner.admits(7, 8, mode);
        assert!(admits(user(7), 0o100_644));
        assert!(!admits(user(8), 0o100_644));
        assert!(!admits(user(7), 0o100_664));
        assert!(!admits(user(7), 0o100_646));
        assert!(admits(group(8), 0o100_664));
        assert!(!admits(group(7), 0o100_664));
        assert!(!admits(group(8), 0o100_662));
        assert!(ScriptOwner::default().is_any() && admits(ScriptOwner::default(), 0o100_666));
    }

    #[test]
    fn the_callables_that_were_used_last_are_remembered() {
        let name = |number: usize| format!("callable{number}").into_bytes();
        let mut script = Script::default();
        (0..20).for_each(|number| script.add_callables(&[name(number)]));
        script.add_callables(&[name(15)]);
        assert_eq!(script.callables.len(), Script::CALLABLES);
        assert_eq!(script.callables.last(), Some(&name(15)));
        assert_eq!(script.callables[0], name(12));
    }

    #[test]
    fn an_impossible_result_of_an_examination_is_refused() {
        let of = |python: Python| Examination { python, ..Examination::default() };
        let facts = Facts { program: b"/v/bin/python3".to_vec(), ..Facts::default() };
        let found = Interpreter { facts, version: "3.11".into(), ..Interpreter::default() };
        let home = of(Python::Home(b"/v".to_vec(), String::new()));
        let read = |examination: &Examination, found: &Interpreter| {
            Examined::read(examination, &encode(&Examined::Usable(found.clone())))
        };
        assert!(read(&home, &found).is_ok());
        assert!(read(&of(Python::Program(b"/v/bin/python3".to_vec())), &found).is_ok());
        assert!(read(&of(Python::Program(b"/bin/sh".to_vec())), &found).is_err());
        assert!(read(&of(Python::Home(b"/w".to_vec(), String::new())), &found).is_err());
        let change = |change: fn(&mut Interpreter)| {
            let mut other = found.clone();
            change(&mut other);
            read(&home, &other)
        };
        assert!(change(|it| it.engine = b"/a\0b".to_vec()).is_err());
        assert!(change(|it| it.version = "3.11 (or so)".into()).is_err());
        assert!(change(|it| it.variables = vec![(b"A=".to_vec(), b"1".to_vec())]).is_err());
        assert!(change(|it| it.own_name = vec![b'/'; 5000]).is_err());
        assert!(Examined::read(&home, &vec![0; LONGEST_EXAMINED + 1]).is_err());
        assert!(Examined::read(&home, b"").is_err());
    }

    #[test]
    fn results_of_examinations_may_arrive_in_pieces() {
        let one = [&1_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"abc"].concat();
        let two = [&one[..], &0_u32.to_le_bytes(), &0_u32.to_le_bytes()].concat();
        assert_eq!(results(&two, 2), Ok((vec![(1, &b"abc"[..]), (0, b"")], two.len())));
        for cut in 0..one.len() {
            assert_eq!(results(&one[..cut], 2), Ok((vec![], 0)));
        }
        assert!(results(&one, 1).is_err());
        let long = [&0_u32.to_le_bytes()[..], &u32::MAX.to_le_bytes()].concat();
        assert!(results(&long, 1).is_err());
    }

    #[test]
    fn the_result_of_an_examination_completes_a_group() {
        let variable = |name: &str, value: &str| (name.into(), Some(value.into()));
        let mut group = Group {
            environment: vec![variable("A", "configured")],
            examination: Some(Examination::default()),
            worker: Worker { settings: vec![("program".into(), vec![])], ..Worker::default() },
            ..Group::default()
        };
        let facts = Facts {
            program: b"/v/bin/python3".to_vec(),
            library_path: Some(b"/v/lib".to_vec()),
            ..Facts::default()
        };
        group.complete(&Interpreter {
            facts,
            engine: b"/e.so".to_vec(),
            is_free_threaded: true,
            variables: vec![(b"A".to_vec(), b"file".to_vec())],
            ..Interpreter::default()
        });
        assert_eq!(group.arguments, [b"-Xgil=1"]);
        let expected = ["A=file", "A=configured", "LD_LIBRARY_PATH=/v/lib"];
        let expected = expected.map(|text| text.split_once('=').unwrap());
        assert_eq!(group.environment, expected.map(|(name, value)| variable(name, value)));
        assert_eq!(group.worker.settings[0].1, b"/v/bin/python3");
        assert_eq!(group.examination, None);
    }

    #[test]
    fn messages_come_back() {
        let group = Group {
            name: b"g\xff".to_vec(),
            identity: Some(Identity { user: 33, ..Identity::default() }),
            worker: Worker { threads: 15, ..Worker::default() },
            ..Group::default()
        };
        let desired = Desired { groups: vec![group], ..Desired::default() };
        let bytes = encode(&ToSupervisor::Run(desired.clone()));
        match decode(&bytes) {
            Ok(ToSupervisor::Run(back)) => assert_eq!(back, desired),
            other => panic!("{other:?}"),
        }
        for cut in 0..bytes.len() {
            assert!(decode::<ToSupervisor>(&bytes[..cut]).is_err(), "{cut}");
        }
    }
}
