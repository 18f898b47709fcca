//! What only httpd's parent knows and does: how far it is, what it keeps from one configuration to the next, and which
//! processes it looks after besides its children.
#![expect(
    unsafe_code,
    reason = "keeps plain data in the pool of the process, and registers a process with APR"
)]

use super::callback::callback;
use super::{ServerRec, ffi};
use link::Channel;
use std::ffi::{CStr, c_int, c_void};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use wire::Master;

/// What is kept as long as the parent lives. Plain data: httpd unloads this module between two configurations.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Our end of the channel to the supervisor.
    pub channel: RawFd,
    /// The memory of the board.
    pub board: RawFd,
    /// The memory of the request queue.
    pub queue: RawFd,
    /// The key from which the secrets of the process groups are derived. Children inherit it with this memory; it is stored nowhere else.
    pub master: Master,
    /// The supervisor's process.
    pub supervisor: u32,
    /// Ours.
    pub parent: u32,
    /// When the supervisor was started, in seconds of a clock that only goes forward.
    pub since: i64,
    /// The version of messages that the supervisor understands.
    pub version: u32,
    /// Serial number of the last state that was sent to it.
    pub sent: u32,
    /// Serial number of the last state that it has acknowledged.
    pub taken: u32,
    /// Since when it has not acknowledged a state, if `sent` is not `taken`.
    pub silent_since: i64,
    /// There is a newer state than the one that was sent last.
    pub is_behind: bool,
    /// The log already says that it does not acknowledge.
    pub is_reported: bool,
}

/// Another version of this module may find what this one has kept, so the name changes with the structure.
const KEY: &CStr = c"mod_rustgi-daemons-4";

/// How far httpd is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It reads its configuration for the first time, to see whether it can; another reading follows.
    Trying,
    /// It is about to end.
    Ending,
    /// Anything else.
    Running,
}

/// How far httpd is.
pub fn phase() -> Phase {
    // SAFETY: a number of httpd's.
    let state = unsafe { ffi::ap_state_query(ffi::AP_SQ_MAIN_STATE as c_int) } as u32;
    match state {
        ffi::AP_SQ_MS_CREATE_PRE_CONFIG => Phase::Trying,
        ffi::AP_SQ_MS_EXITING => Phase::Ending,
        _ => Phase::Running,
    }
}

impl Kept {
    /// What was kept, in the parent or a child of it.
    pub fn find(server: ServerRec<'_>) -> Option<Kept> {
        let mut found = std::ptr::null_mut();
        let pool = server.process_pool();
        // SAFETY: the pool of the process; a place for the answer, which stays NULL where there is nothing.
        unsafe { ffi::apr_pool_userdata_get(&mut found, KEY.as_ptr(), pool) };
        // SAFETY: kept below, in this pool, by this module or the same one before it was loaded again.
        (!found.is_null()).then(|| unsafe { *found.cast::<Kept>() })
    }

    /// The channel, by a descriptor of its own.
    pub fn channel(self) -> Option<Channel> {
        Some(Channel::new(duplicate(self.channel).ok()?))
    }

    /// The memory of the board, to be read only; by a descriptor of its own.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn board_to_read(self) -> std::io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.board);
        match std::fs::File::open(path) {
            Ok(file) => Ok(file.into()),
            // There is no /proc: the channel stays as it is.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.board_file(),
            Err(error) => Err(error),
        }
    }

    /// Closes the channel and the memory of the board and of the queue.
    pub fn forget(self) {
        self.forget_channel();
        for memory in [self.board, self.queue] {
            // SAFETY: inherited, and open; nothing else in this process uses the number.
            drop(unsafe { OwnedFd::from_raw_fd(memory) });
        }
    }

    /// Closes the channel.
    pub fn forget_channel(self) {
        // SAFETY: made by this process or inherited, and open; nobody else knows it.
        drop(unsafe { OwnedFd::from_raw_fd(self.channel) });
    }

    /// The memory of the board, by a descriptor of its own.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn board_file(self) -> std::io::Result<OwnedFd> {
        duplicate(self.board)
    }

    /// The memory of the request queue, by a descriptor of its own.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn queue_file(self) -> std::io::Result<OwnedFd> {
        duplicate(self.queue)
    }

    /// Keeps it in place of what was kept.
    pub fn keep(self, server: ServerRec<'_>) {
        keep_at(server, KEY, self);
    }
}

/// Stores plain data under a key for as long as the process lives, and replaces older data under that key.
fn keep_at<T: Copy>(server: ServerRec<'_>, key: &CStr, value: T) {
    let pool = server.process_pool();
    let mut place = std::ptr::null_mut();
    // SAFETY: the pool of the process, which only the parent's one thread uses; a place for the answer.
    unsafe { ffi::apr_pool_userdata_get(&mut place, key.as_ptr(), pool) };
    if !place.is_null() {
        // SAFETY: kept below under this name, which stands for this structure alone.
        unsafe { place.cast::<T>().write(value) };
        return;
    }
    // SAFETY: as above.
    let place = unsafe { ffi::apr_palloc(pool, size_of::<T>()) };
    // SAFETY: memory of this size and APR's alignment, which lives as long as the process.
    unsafe { place.cast::<T>().write(value) };
    // SAFETY: as above. APR copies the key, which goes with this module.
    unsafe { ffi::apr_pool_userdata_set(place, key.as_ptr(), None, pool) };
}

/// The key of bytes that are stored for as long as the parent lives.
#[derive(Clone, Copy)]
pub struct KeptBytes(pub &'static CStr);

/// The address and length of stored bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Place {
    start: *mut u8,
    length: usize,
    room: usize,
}

fn place_of_bytes(server: ServerRec<'_>, name: KeptBytes) -> Option<Place> {
    let mut found = std::ptr::null_mut();
    // SAFETY: the pool of the process; a place for the answer, which stays NULL where there is nothing.
    unsafe { ffi::apr_pool_userdata_get(&mut found, name.0.as_ptr(), server.process_pool()) };
    // SAFETY: kept below under this name.
    (!found.is_null()).then(|| unsafe { *found.cast::<Place>() })
}

/// The bytes that are stored under a key.
pub fn kept_bytes(server: ServerRec<'_>, name: KeptBytes) -> Option<Vec<u8>> {
    let place = place_of_bytes(server, name)?;
    // SAFETY: `length` bytes of the pool of the process, which only the parent's one thread writes.
    Some(unsafe { std::slice::from_raw_parts(place.start, place.length) }.to_vec())
}

/// Stores bytes under a key and replaces older ones. Memory of the process's pool is never freed, so an allocation has twice the needed
/// size: all allocations together are at most four times the largest stored length.
pub fn keep_bytes(server: ServerRec<'_>, name: KeptBytes, bytes: &[u8]) {
    let place = place_of_bytes(server, name).filter(|place| place.room >= bytes.len());
    let place = place.unwrap_or_else(|| {
        let room = (bytes.len() * 2).max(1024);
        // SAFETY: the pool of the process, which only the parent's one thread uses.
        let start = unsafe { ffi::apr_palloc(server.process_pool(), room) };
        Place { start: start.cast(), length: 0, room }
    });
    // SAFETY: the allocation is large enough, and there is no other reference to it.
    unsafe { place.start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    keep_at(server, name.0, Place { length: bytes.len(), ..place });
}

/// Kills the supervisor, which may be stopped and so react to no other signal.
pub fn kill(pid: u32) {
    if let Some(pid) = c_int::try_from(pid).ok().filter(|pid| *pid > 0) {
        // SAFETY: a system call; the process is a child of this one that has not been waited for.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// Seconds of a clock that only goes forward, whichever version of this module asks.
pub fn seconds() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec
}

fn duplicate(number: RawFd) -> std::io::Result<OwnedFd> {
    // SAFETY: kept by this process or its parent, and open.
    unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()
}

/// What becomes of a process that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has ended.
    Ended,
    /// httpd stops without waiting for requests, and has just told its children to end.
    ToEnd,
}

/// A process that the parent is told of until the configuration is read again.
struct Watched<F> {
    process: ffi::apr_proc_t,
    tell: F,
}

/// Has `tell` called when something becomes of a process that the parent has started; not after the configuration's pool
/// has been cleared.
pub fn watch<F: Fn(Fate) + 'static>(server: ServerRec<'_>, pid: u32, tell: F) {
    // SAFETY: plain data of C, for which zeroes are valid.
    let mut process: ffi::apr_proc_t = unsafe { std::mem::zeroed() };
    process.pid = c_int::try_from(pid).unwrap_or(0);
    let keep = |pool: super::Pool<'_>| {
        let watched = pool.keep(Watched { process, tell });
        // SAFETY: kept in the pool, to which the registration belongs as well; APR undoes the registration first, since
        // it was made later.
        unsafe {
            ffi::apr_proc_other_child_register(
                &raw mut (*watched).process,
                Some(maintain::<F>),
                watched.cast(),
                std::ptr::null_mut(),
                pool.raw(),
            );
        }
    };
    // SAFETY: the pool of the configuration, which only the parent's one thread uses.
    unsafe { super::Pool::with(server.configuration_pool(), keep) }
}

/// What APR calls when something has become of a watched process.
///
/// # Safety
/// Called by APR alone, with what was registered.
unsafe extern "C" fn maintain<F: Fn(Fate) + 'static>(
    reason: c_int,
    watched: *mut c_void,
    _: c_int,
) {
    super::callback::guarded((), || {
        let fate = match reason as u32 {
            ffi::APR_OC_REASON_DEATH | ffi::APR_OC_REASON_LOST => {
                // APR has forgotten the process but not the registration, and looks at the process of every one of
                // them when another child of httpd ends.
                // SAFETY: what was registered, and is still so; APR expects this here.
                unsafe { ffi::apr_proc_other_child_unregister(watched) };
                // Nobody is to follow whoever was told to end.
                if stops_at_once() {
                    return;
                }
                Fate::Ended
            }
            ffi::APR_OC_REASON_RESTART if stops_at_once() => Fate::ToEnd,
            _ => return,
        };
        // SAFETY: registered above with a `Watched` of this kind, which lives until the pool is cleared.
        (unsafe { &(*watched.cast::<Watched<F>>()).tell })(fate);
    });
}

/// Whether httpd stops (and does not start again) without waiting for requests.
pub fn stops_at_once() -> bool {
    // SAFETY: the MPM's record, which lives as long as the process, or NULL.
    let retained = unsafe { ffi::ap_unixd_mpm_get_retained_data().as_ref() };
    retained.is_some_and(|retained| retained.shutdown_pending != 0 && retained.is_ungraceful != 0)
}

callback! {
    fn before_clearing(data: *mut c_void) -> ffi::apr_status_t, else 0; {
        // SAFETY: registered below with a function.
        let body: fn() = unsafe { std::mem::transmute(data) };
        body();
        0
    }
}

/// Has `body` called before the configuration goes: in the parent, before it is read again and before the end.
pub fn at_end_of_configuration(server: ServerRec<'_>, body: fn()) {
    let pool = server.configuration_pool();
    // SAFETY: the pool of the configuration, which is cleared before this module is unloaded.
    unsafe {
        ffi::apr_pool_cleanup_register(
            pool,
            body as *const c_void,
            Some(before_clearing),
            Some(ffi::apr_pool_cleanup_null),
        );
    }
}
