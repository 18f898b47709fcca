//! A worker as its crew knows it, from its start until its end has been told.

use super::action::Time;
use std::rc::Rc;
use wire::control::Group;

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has been started.
    Starting,
    /// It has loaded what it was to load.
    Ready(Time),
    /// It finishes.
    Leaving,
}

/// A worker.
#[derive(Debug)]
pub struct Member {
    pub(super) number: u32,
    pub(super) generation: u32,
    pub(super) group: Rc<Group>,
    pub(super) phase: Phase,
    pub(super) started: Time,
    /// When it is killed, and which timer that is.
    pub(super) deadline: Option<(Time, u8)>,
    /// When it is old enough.
    pub(super) restart: Option<Time>,
    /// Another one is to take its place, for this reason.
    pub(super) retiring: Option<String>,
    /// The script that it has been loading for 5 s or more while it is starting.
    pub(super) loading: Option<Vec<u8>>,
    /// The timeout because of which it is killed.
    pub(super) killed_by: Option<u8>,
}

impl Member {
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready(_))
    }
}

/// How a worker has ended, as far as it matters for what follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Death {
    /// By itself and without a failure.
    pub is_well: bool,
}
