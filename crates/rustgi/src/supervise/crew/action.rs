//! What a crew says and is told: actions, wishes, reasons. Plain values without a life of their own.

use std::rc::Rc;
use std::time::Duration;
use wire::control::{Group, Script, Version};

/// A time: how long after the supervisor began.
pub type Time = Duration;

/// `shutdown_reason` of the event, as far as the supervisor gives it.
pub mod reason {
    /// The server ends.
    pub const SHUTDOWN: &str = "shutdown_signal";
    /// The server has read its configuration again, or an operator wants new workers.
    pub const GRACEFUL: &str = "graceful_signal";
    /// SIGUSR1.
    pub const EVICTION: &str = "eviction_signal";
    /// A script has changed.
    pub const SCRIPT: &str = "script_reload";
    /// It is old enough.
    pub const INTERVAL: &str = "restart_interval";
    /// Its scripts have taken longer to load than `startup-timeout`.
    pub const STARTUP_TIMEOUT: &str = "startup_timeout";
    /// A request has taken longer than `request-timeout`.
    pub const REQUEST_TIMEOUT: &str = "request_timeout";
}

/// A new generation that somebody wants.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// What it is started with, if that is not what the serving one was started with.
    pub group: Option<Rc<Group>>,
    /// The scripts that have changed, each in the state that was reported last.
    pub changed: Vec<Version>,
    /// Why.
    pub reason: String,
}

impl Wish {
    /// Both of them at once.
    pub fn merge(&mut self, other: Wish) {
        self.group = other.group.or(self.group.take());
        other.changed.into_iter().for_each(|version| self.add_changed(version));
        self.reason = other.reason;
    }

    /// This script has changed as well.
    pub fn add_changed(&mut self, version: Version) {
        let known = self.changed.iter().position(|known| known.path == version.path);
        match known {
            Some(known) => self.changed[known] = version,
            None if self.changed.len() < super::CHANGES => self.changed.push(version),
            None => {}
        }
    }

    /// Whether changed scripts are the only reason.
    pub fn is_for_scripts(&self) -> bool {
        self.group.is_none() && self.reason == reason::SCRIPT
    }
}

/// Why a generation cannot take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// One of its workers has ended.
    Gone {
        /// Its number.
        number: u32,
        /// The script that it was still loading.
        loading: Option<Vec<u8>>,
        /// `startup-timeout` in seconds, if it has ended because that had expired.
        timeout: Option<u32>,
    },
    /// It had been starting for [`SLOW`](super::SLOW) when a newer generation was requested. The script that one of its workers was
    /// still loading, if that is known.
    Superseded(Option<Vec<u8>>),
    /// Scripts cannot be loaded: their paths, and what went wrong.
    Scripts(Vec<(Vec<u8>, String)>),
    /// The group cannot run.
    Unusable(u16, String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start a worker.
    Start {
        /// Its number.
        number: u32,
        /// Its generation.
        generation: u32,
        /// What it is started with.
        group: Rc<Group>,
        /// What it loads before it is ready.
        scripts: Vec<Script>,
    },
    /// This worker takes requests from now on.
    Serve {
        /// Its number.
        number: u32,
    },
    /// The workers of this generation are the ones that serve.
    Switch {
        /// The generation.
        generation: u32,
    },
    /// Tell a worker to leave.
    Dismiss {
        /// Its number.
        number: u32,
        /// Why.
        reason: String,
        /// How long it may go on with what it has.
        patience: Time,
    },
    /// This worker leaves by itself.
    Leaving {
        /// Its number.
        number: u32,
    },
    /// Tell a worker that another one has found this change.
    Expect {
        /// Its number.
        number: u32,
        /// The present state of the script.
        version: Version,
    },
    /// Tell a worker to serve a script as it has loaded it.
    Keep {
        /// Its number.
        number: u32,
        /// The script.
        path: Vec<u8>,
    },
    /// End a worker by force: its time is over.
    Kill {
        /// Its number.
        number: u32,
        /// Which time: the index in `link::Cause::TIMERS`.
        timer: u8,
    },
    /// A generation was given up.
    Refuse {
        /// The generation.
        generation: u32,
        /// Why.
        refusal: Refusal,
    },
    /// There are no workers for this reason until then, or there is no such trouble any more.
    Trouble(Option<(u16, Option<Time>)>),
}
