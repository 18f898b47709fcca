//! What the processes and threads of a server are doing, as plain data: httpd's scoreboard (`ap_get_scoreboard_*`).

use crate::Bytes;

/// The server as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Scoreboard {
    /// The most processes there can be.
    pub server_limit: u32,
    /// The most threads a process can have.
    pub thread_limit: u32,
    /// How often the server has been restarted gracefully.
    pub generation: u32,
    /// When it was last restarted, in microseconds since the epoch.
    pub restart_time: i64,
}

/// One place in the scoreboard.
#[derive(Clone, Copy, Debug)]
pub enum Slot<'a> {
    /// A process; its workers follow.
    Process(ProcessSlot),
    /// A thread of the process before.
    Worker(WorkerSlot<'a>),
}

/// A process.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ProcessSlot {
    /// Its place.
    pub number: u32,
    /// Its process id; 0 if the place is empty.
    pub pid: u32,
    /// The configuration generation it belongs to.
    pub generation: u32,
    /// It takes no new connections.
    pub quiescing: bool,
}

/// A thread of a process. Times are in microseconds since the epoch, 0 for never.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct WorkerSlot<'a> {
    /// Its place in the process.
    pub number: u32,
    /// The configuration generation it belongs to.
    pub generation: u32,
    /// What it is doing, as mod_status shows it (`_`, `W`, `K`, …).
    pub status: u8,
    /// How many requests it has served.
    pub access_count: u64,
    /// How many bytes it has sent.
    pub bytes_served: u64,
    /// When its last request began.
    pub start_time: i64,
    /// When its last request ended.
    pub stop_time: i64,
    /// When it last did anything.
    pub last_used: i64,
    /// The client it is serving.
    pub client: Bytes<'a>,
    /// The request line.
    pub request: Bytes<'a>,
    /// The virtual host.
    pub vhost: Bytes<'a>,
}
