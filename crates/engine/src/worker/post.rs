//! The post of a worker: what it was told, and what its threads share. Made when the first message has come, there until
//! the process ends.

use super::clock::now;
use super::connections::Connections;
use super::course::Course;
use super::desk::Desk;
use super::memory::{LEFT_FOR_LARGE, LEFT_FOR_SMALL, Memory};
use super::pace::Pace;
use super::prober::{self, Place};
use super::scripts::Changes;
use super::signals;
use crate::interpreter::Interpreter;
use exchange::Code;
use link::{Channel, Mapped, Page, Shared};
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use wire::Secret;
use wire::control::{self, FromWorker};

/// What the threads of a worker share.
pub struct Post {
    /// Its number.
    pub number: u32,
    /// What it was told of its group.
    pub options: control::Worker,
    /// The users whose processes may connect.
    pub clients: Vec<u32>,
    /// The secret that a child must send before the worker sends anything.
    pub secret: Secret,
    /// How far it has come.
    pub course: Course,
    /// Its page.
    pub page: Arc<Mapped<Page>>,
    /// The memory of its page, for those who connect.
    pub page_memory: Shared<Page>,
    /// Where requests come from.
    pub connections: Connections,
    /// How short they are.
    pub pace: Pace,
    /// Its request threads.
    pub desks: Vec<Desk>,
    /// Scripts that have changed.
    pub changes: Changes,
    /// When something was last done that counts as use; 0 for never. In milliseconds of [`now`].
    pub used: AtomicU64,
    /// After how many requests it wants to be replaced.
    maximum_requests: Option<u64>,
    reports: Mutex<Channel>,
    scripts: Mutex<HashSet<control::Script>>,
    has_loaded: AtomicBool,
    wants_out: AtomicBool,
    /// The memory limits.
    pub memory: Memory,
    loading: Mutex<Option<Loading>>,
    /// The pipe to which faulthandler writes stacks when [`signals::write_stacks`] is called.
    stacks: (OwnedFd, OwnedFd),
    bell: OwnedFd,
}

/// The script that is being loaded before the worker is ready.
#[derive(Clone)]
pub struct Loading {
    /// Its path.
    pub script: Vec<u8>,
    /// Since when, in milliseconds.
    pub since: u64,
    /// The thread that loads it, once it is in its interpreter.
    pub thread: Option<Place>,
}

/// While this exists, the worker records that this thread is loading a script.
pub struct LoadingMark(&'static Post);

impl LoadingMark {
    /// The thread has entered this interpreter and runs the script there.
    pub fn enter(&self, interpreter: &'static Interpreter) {
        if let Some(loading) = &mut *self.0.lock_loading() {
            loading.thread = Some(Place { interpreter, ident: Some(prober::ident()) });
        }
    }
}

impl Drop for LoadingMark {
    fn drop(&mut self) {
        *self.0.lock_loading() = None;
    }
}

/// Called when MemoryError was raised or an allocation failed. Returns the log line if a limit was reached for the first time.
pub fn memory_error() -> Option<String> {
    memory_limit_reached(LEFT_FOR_LARGE)
}

/// Called when a request was answered with a status of 500 or higher. Returns what [`memory_error`] returns.
pub fn server_error() -> Option<String> {
    memory_limit_reached(LEFT_FOR_SMALL)
}

fn memory_limit_reached(left: (u64, u64)) -> Option<String> {
    let post = post()?;
    let (option, limit, used) = post.memory.detect(left)?;
    post.ring();
    let code = Code::MemoryLimitReached;
    let group = String::from_utf8_lossy(&crate::settings().process_group);
    Some(format!(
        "{code}: {}: process group '{group}': {used} bytes are in use, and {option} is {limit}. The worker is replaced. Raise \
         {option}= if new workers reach the limit as well.",
        code.text(),
    ))
}

/// Records that this thread is about to load a script before the worker is ready. `None` outside a worker.
pub fn loading(script: &[u8]) -> Option<LoadingMark> {
    let post = post()?;
    let loading = Loading { script: script.to_vec(), since: now(), thread: None };
    *post.lock_loading() = Some(loading);
    post.ring();
    Some(LoadingMark(post))
}

static POST: OnceLock<Post> = OnceLock::new();

/// The post, if this process is a worker.
pub fn post() -> Option<&'static Post> {
    POST.get()
}

/// Takes the post.
pub fn take(post: Post) -> &'static Post {
    POST.get_or_init(|| post)
}

/// Records that the worker has loaded a script. With `tell` it also tells the supervisor, unless the supervisor has named the script.
/// Does nothing outside a worker.
pub fn loaded(path: &[u8], interpreter: &Interpreter, tell: bool) {
    if let Some(post) = post() {
        post.has_loaded.store(true, Ordering::Relaxed);
        if tell {
            post.report_script(path, interpreter, Vec::new());
        }
    }
}

/// A request has used a callable of a script: tells the supervisor once. Does nothing outside a worker.
pub fn used(path: &[u8], interpreter: &Interpreter, callable: &[u8]) {
    if let Some(post) = post() {
        post.report_script(path, interpreter, vec![callable.to_vec()]);
    }
}

impl Post {
    /// Makes it. `reports` is a second descriptor of the channel.
    pub fn new(
        number: u32,
        options: control::Worker,
        clients: Vec<u32>,
        secret: Secret,
        page_memory: Shared<Page>,
        reports: Channel,
    ) -> io::Result<Post> {
        let page = Arc::new(page_memory.map_for_now()?);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        super::forks::withhold(reports.as_fd().as_raw_fd());
        super::forks::withhold(bell.as_raw_fd());
        Ok(Post {
            number,
            clients,
            secret,
            course: Course::default(),
            page,
            page_memory,
            connections: Connections::new()?,
            pace: Pace::default(),
            desks: (0..options.threads).map(|_| Desk::default()).collect(),
            changes: Changes::default(),
            used: AtomicU64::new(0),
            maximum_requests: maximum(&options, number),
            memory: Memory::new(&options),
            loading: Mutex::default(),
            stacks: pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?,
            options,
            reports: Mutex::new(reports),
            scripts: Mutex::default(),
            has_loaded: AtomicBool::new(false),
            wants_out: AtomicBool::new(false),
            bell,
        })
    }

    /// Whether any script has been loaded.
    pub fn has_loaded(&self) -> bool {
        self.has_loaded.load(Ordering::Relaxed)
    }

    /// Says something to the supervisor. If it is not there any more the thread that steers finds out.
    pub fn say(&self, message: &FromWorker) {
        // The name of an application group can be as long as a client makes it.
        if !message.is_sensible() {
            return;
        }
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let _gone = reports.send(&control::encode(message), &[]);
    }

    /// Tells the supervisor that a script has changed, and its modification time.
    pub fn say_changed(&self, path: &[u8], modified: Option<i64>) {
        self.say(&FromWorker::Changed(control::Version { path: path.to_vec(), modified }));
    }

    /// Tells the supervisor that a thread has finished a request that the child had given up. Workers do not map the request queue, so
    /// only the supervisor can give the thread to a waiting request.
    pub fn report_free_thread(&self) {
        self.say(&FromWorker::ThreadFree);
    }

    /// The supervisor knows of this script.
    pub fn expect_script(&self, script: &control::Script) {
        let mut known = self.lock_scripts();
        for callable in &script.callables {
            known.insert(control::Script { callables: vec![callable.clone()], ..script.clone() });
        }
        known.insert(control::Script { callables: Vec::new(), ..script.clone() });
    }

    fn report_script(&self, path: &[u8], interpreter: &Interpreter, callables: Vec<Vec<u8>>) {
        let (path, group, main) = (path.to_vec(), interpreter.name.clone(), interpreter.is_main());
        let script = control::Script { path, group, main, callables };
        if self.lock_scripts().insert(script.clone()) {
            self.say(&FromWorker::Loaded(script));
        }
    }

    fn lock_scripts(&self) -> std::sync::MutexGuard<'_, HashSet<control::Script>> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_loading(&self) -> std::sync::MutexGuard<'_, Option<Loading>> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The script that is being loaded before the worker is ready.
    pub fn being_loaded(&self) -> Option<Loading> {
        self.lock_loading().clone()
    }

    /// The signal on which faulthandler writes the stacks of all threads, and the descriptor to which it writes them.
    pub fn stack_signal(&self) -> (i64, i64) {
        (signals::stack_signal().into(), self.stacks.1.as_raw_fd().into())
    }

    /// The stacks of all threads of the main interpreter, as lines, without taking its lock. Empty if faulthandler does not run.
    pub fn stacks_without_lock(&self) -> Vec<String> {
        let mut text = Vec::new();
        if signals::write_stacks() {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = rustix::io::read(&self.stacks.0, &mut piece) {
                text.extend_from_slice(&piece[..length]);
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
    }

    /// It wants another worker in its place; says so once.
    pub fn want_out(&self, reason: &str) {
        self.course.give_reason(reason);
        if !self.wants_out.swap(true, Ordering::AcqRel) {
            self.say(&FromWorker::Replace { reason: reason.to_owned() });
        }
    }

    /// A request has ended.
    pub fn count(&self) {
        let served = self.page.end();
        if self.maximum_requests == Some(served) {
            self.want_out("maximum_requests");
        }
        if self.course.is_draining() {
            self.ring();
        }
    }

    /// Something was done that counts as use.
    pub fn touch(&self) {
        if self.options.inactivity_timeout > 0 {
            self.used.store(now(), Ordering::Relaxed);
        }
    }

    /// Wakes the thread that steers.
    pub fn ring(&self) {
        let _full = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// What wakes the thread that steers.
    pub fn bell(&self) -> &OwnedFd {
        &self.bell
    }
}

/// `maximum-requests`. Where several processes serve the same requests they shall not all go at once, so each has a number
/// of its own, up to a tenth away.
fn maximum(options: &control::Worker, number: u32) -> Option<u64> {
    let maximum = options.maximum_requests;
    let several = options.settings.iter().any(|(name, value)| {
        name == "maximum-processes"
            && std::str::from_utf8(value).is_ok_and(|n| n != "1" && n != "0")
    });
    let tenth = if several { maximum / 10 } else { 0 };
    let spread = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (maximum > 0).then(|| maximum - tenth + spread % (2 * tenth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_processes_do_not_reach_their_maximum_together() {
        let options = |processes: &str| control::Worker {
            maximum_requests: 1000,
            settings: vec![("maximum-processes".into(), processes.into())],
            ..control::Worker::default()
        };
        assert_eq!(maximum(&options("1"), 7), Some(1000));
        let all: HashSet<_> = (0..20).map(|number| maximum(&options("3"), number)).collect();
        assert!(all.len() > 10 && all.iter().all(|n| n.is_some_and(|n| (900..=1100).contains(&n))));
        assert_eq!(maximum(&control::Worker::default(), 7), None);
    }
}
