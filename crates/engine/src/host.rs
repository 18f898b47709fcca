//! The host: Python in this process, with its main interpreter and the sub-interpreters that have been asked for.

use crate::interpreter::{self, Interpreter};
use crate::{account, attach, options, preload, report, shutdown, startup};
use exchange::abi::Process;
use exchange::{
    Code, Exchange, Failure, Gateway, Group, InterpreterOptions, Level, Outcome, Question, Record,
    Reply, Settings, Surroundings,
};
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Python in this process.
pub struct Host {
    main: &'static Interpreter,
    /// The sub-interpreters by the name of their application group.
    subs: RwLock<HashMap<Vec<u8>, Sub>>,
    /// Held while one is being made: how many have been tried.
    making: Mutex<usize>,
}

/// What has come of making a sub-interpreter.
#[derive(Clone, Copy)]
enum Sub {
    Made(&'static Interpreter),
    /// It could not be made, and is tried again after `until`. The pause was as long as `pause`.
    Failed {
        until: Instant,
        pause: Duration,
    },
}

/// How long nobody tries again when an interpreter could not be made for the first time; twice as long each time after.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

static HOST: OnceLock<Host> = OnceLock::new();
static SETTINGS: OnceLock<Settings> = OnceLock::new();
static SURROUNDINGS: OnceLock<Box<dyn Surroundings>> = OnceLock::new();
static STARTED: OnceLock<f64> = OnceLock::new();

/// What this process was told when it started.
pub fn settings() -> &'static Settings {
    SETTINGS.get().expect("nothing asks for the settings before the host starts")
}

/// What this process offers, its log above all.
pub fn surroundings() -> &'static dyn Surroundings {
    &**SURROUNDINGS.get().expect("nothing is logged before the host starts")
}

/// When the host started, in seconds since the epoch.
pub fn started() -> f64 {
    STARTED.get().copied().unwrap_or_default()
}

impl Process for Host {
    fn start(settings: Settings, surroundings: Box<dyn Surroundings>) -> Option<&'static Host> {
        if !begin(settings, surroundings) {
            return None;
        }
        let held = startup::SignalsHeld::new();
        let made = attach::first(startup::python, Host::new);
        drop(held);
        let host = Host::settle(made)?;
        preload::all(host);
        Some(host)
    }

    fn started() -> Option<&'static Host> {
        HOST.get()
    }

    fn stop(&self) {
        if !shutdown::begin() {
            return;
        }
        shutdown::run(self.main, &self.subs());
    }
}

/// Takes over what this process is told. `false` if that has been done before.
fn begin(settings: Settings, surroundings: Box<dyn Surroundings>) -> bool {
    if SURROUNDINGS.set(surroundings).is_err() || SETTINGS.set(settings).is_err() {
        return false;
    }
    STARTED.get_or_init(account::now);
    std::panic::set_hook(Box::new(|panic| {
        let line = format!("{}: {}: {panic}", Code::Panic, Code::Panic.text());
        crate::surroundings().note(&Record::new(Level::Error, line.as_bytes()));
    }));
    true
}

impl Gateway for Host {
    fn serve(&self, exchange: &mut dyn Exchange) -> Outcome {
        crate::serve::serve(self, exchange)
    }

    fn ask(
        &self,
        exchange: &mut dyn Exchange,
        question: Question<'_>,
        reply: &mut dyn FnMut(Reply<'_>),
    ) -> Result<(), Failure> {
        crate::questions::ask(self, exchange, question, reply)
    }
}

impl Host {
    /// The host of a process that Python itself has started, on the thread that it started with. The thread is attached,
    /// and stays so. Loads nothing yet.
    pub fn adopt(settings: Settings, surroundings: Box<dyn Surroundings>) -> Option<&'static Host> {
        if !begin(settings, surroundings) {
            return None;
        }
        startup::watch_forks();
        Host::settle(attach::adopted(Host::new))
    }

    /// The host, if it could be made; or else the log says why not.
    fn settle(made: Result<Host, String>) -> Option<&'static Host> {
        match made {
            Ok(host) => Some(HOST.get_or_init(|| host)),
            Err(reason) => {
                let code = Code::PythonNotStarted;
                note(Level::Critical, &format!("{code}: {}: {reason}", code.text()));
                None
            }
        }
    }

    /// The sub-interpreters, in the order in which they were made.
    pub fn subs(&self) -> Vec<&'static Interpreter> {
        let subs = self.subs.read().unwrap_or_else(PoisonError::into_inner);
        let mut subs: Vec<_> = subs.values().filter_map(|sub| sub.made()).collect();
        subs.sort_by_key(|interpreter| interpreter.number);
        subs
    }

    /// Furnishes the main interpreter, which Python has just started with.
    fn new(attached: &crate::py::Attached) -> Result<Host, String> {
        let main = Interpreter::adopt_new(attached, 0, Vec::new());
        main.furnish(attached).map_err(|raised| {
            let exception = crate::py::take_exception(attached, raised);
            format!("{}: {}", exception.value.type_name(), exception.value.repr())
        })?;
        Ok(Host { main, subs: RwLock::default(), making: Mutex::new(0) })
    }

    /// The interpreter that serves the application group of a request, made if it is the first. Called detached.
    pub fn interpreter(&self, exchange: &mut dyn Exchange) -> Result<&'static Interpreter, Code> {
        let group = exchange.head().group;
        if let Some(found) = self.known(&group) {
            return Ok(found);
        }
        let name = group.name.to_vec();
        self.interpreter_named(&name).inspect_err(|code| {
            let line = format!("{code}: {}: '{}'", code.text(), String::from_utf8_lossy(&name));
            exchange.note(&Record::new(Level::Error, line.as_bytes()));
        })
    }

    /// Whether all threads that are inside interpreters take turns.
    pub fn is_shared(&self) -> bool {
        let own = |options: &InterpreterOptions| options.own_gil == Some(true);
        let settings = settings();
        let is_free = cfg!(Py_GIL_DISABLED) && settings.free_threading;
        !is_free && !settings.own_gil && !settings.options.iter().any(own)
    }

    /// The interpreter that serves an application group, if there is one.
    pub fn known(&self, group: &Group<'_>) -> Option<&'static Interpreter> {
        if group.main { Some(self.main) } else { self.found(&group.name).and_then(Sub::made) }
    }

    /// The main interpreter.
    pub fn main(&self) -> &'static Interpreter {
        self.main
    }

    /// The sub-interpreter of an application group, made if it is the first time. Called detached.
    pub fn interpreter_named(&self, name: &[u8]) -> Result<&'static Interpreter, Code> {
        let mut tried = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = match self.found(name) {
            Some(Sub::Made(found)) => return Ok(found),
            Some(Sub::Failed { until, .. }) if Instant::now() < until => {
                return Err(Code::InterpreterUnavailable);
            }
            Some(Sub::Failed { pause, .. }) => (pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        *tried += 1;
        let made = self.make(*tried, name);
        let sub =
            made.map_or_else(|| Sub::Failed { until: Instant::now() + pause, pause }, Sub::Made);
        self.subs.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_vec(), sub);
        made.ok_or(Code::InterpreterUnavailable)
    }

    /// What has come of making the sub-interpreter of an application group, if that has been tried.
    fn found(&self, name: &[u8]) -> Option<Sub> {
        self.subs.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// Makes the sub-interpreter of an application group. The lock `making` is held.
    fn make(&self, number: usize, name: &[u8]) -> Option<&'static Interpreter> {
        let shown = String::from_utf8_lossy(name);
        let own_gil = options::own_gil(name);
        let with = if own_gil { " with own GIL" } else { "" };
        note(Level::Info, &format!("Create interpreter '{shown}'{with}."));
        let made = attach::enter(self.main, |attached, _| {
            interpreter::make(attached, number, name, own_gil, |attached, raised| {
                report::unfurnished(attached, raised, Code::StartException, &shown);
            })
        });
        made.map_err(|reason| {
            let code = Code::SubInterpreterFailed;
            note(Level::Critical, &format!("{code}: {}: '{shown}': {reason}", code.text()));
        })
        .ok()
    }
}

impl Sub {
    fn made(self) -> Option<&'static Interpreter> {
        match self {
            Sub::Made(interpreter) => Some(interpreter),
            Sub::Failed { .. } => None,
        }
    }
}

/// Writes one line to the log of this process. May be waited for, so an interpreter should not be.
pub fn note(level: Level, line: &str) {
    surroundings().note(&Record::new(level, line.as_bytes()));
}
