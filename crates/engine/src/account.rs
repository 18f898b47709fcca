//! The account of one request: what it has cost so far, kept only while somebody asks (a subscriber of events, or
//! metrics). No Python in here.

use crate::metrics::Usage;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a request has cost so far. Times in nanoseconds.
#[derive(Debug, Default)]
pub struct Account {
    watched: AtomicBool,
    input_time: AtomicU64,
    output_time: AtomicU64,
}

thread_local! {
    /// How long and how often this thread has waited for an interpreter since it began to be watched.
    static GIL_WAITS: Cell<Option<(Duration, u64)>> = const { Cell::new(None) };
}

impl Account {
    /// Begins the account of another request. With `watched` it is kept, on this thread.
    pub fn begin(&self, watched: bool) {
        self.watched.store(watched, Ordering::Relaxed);
        self.input_time.store(0, Ordering::Relaxed);
        self.output_time.store(0, Ordering::Relaxed);
        GIL_WAITS.set(watched.then(Default::default));
    }

    /// Ends it; whether it was kept.
    pub fn end(&self) -> bool {
        GIL_WAITS.set(None);
        self.watched.swap(false, Ordering::Relaxed)
    }

    /// Counts the time that `body` takes as time spent reading the request.
    pub fn reading<R>(&self, body: impl FnOnce() -> R) -> R {
        self.timed(&self.input_time, body)
    }

    /// Counts the time that `body` takes as time spent writing the answer.
    pub fn writing<R>(&self, body: impl FnOnce() -> R) -> R {
        self.timed(&self.output_time, body)
    }

    fn timed<R>(&self, sum: &AtomicU64, body: impl FnOnce() -> R) -> R {
        if !self.watched.load(Ordering::Relaxed) {
            return body();
        }
        let begun = Instant::now();
        let result = body();
        sum.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }

    /// Seconds spent reading the request.
    pub fn input_time(&self) -> f64 {
        self.input_time.load(Ordering::Relaxed) as f64 / 1e9
    }

    /// Seconds spent writing the answer.
    pub fn output_time(&self) -> f64 {
        self.output_time.load(Ordering::Relaxed) as f64 / 1e9
    }
}

/// Waits for an interpreter with `body`, and counts that if this thread is being watched.
pub fn waiting_for_interpreter(body: impl FnOnce()) {
    let Some((time, count)) = GIL_WAITS.get() else { return body() };
    let begun = Instant::now();
    body();
    GIL_WAITS.set(Some((time + begun.elapsed(), count + 1)));
}

/// How long, in seconds, and how often this thread has waited for an interpreter.
pub fn gil_waits() -> (f64, u64) {
    GIL_WAITS.get().map_or((0.0, 0), |(time, count)| (time.as_secs_f64(), count))
}

/// The time in seconds since the epoch.
pub fn now() -> f64 {
    let now = clock(libc::CLOCK_REALTIME);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// What a clock of the system says; every request asks several times.
#[expect(unsafe_code, reason = "clock_gettime fills a structure")]
pub fn clock(which: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is there to be filled. These clocks are there on every system.
    unsafe { libc::clock_gettime(which, &mut now) };
    now
}

/// CPU seconds of this thread.
pub fn thread_usage() -> Usage {
    usage(libc::RUSAGE_THREAD)
}

/// What this process has used.
pub fn process_usage() -> Usage {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    Usage { rss: pages.unwrap_or(0) * page_size(), ..usage(libc::RUSAGE_SELF) }
}

/// How often this thread has waited for something.
pub fn thread_waits() -> u64 {
    rusage(libc::RUSAGE_THREAD).ru_nvcsw.unsigned_abs()
}

#[expect(unsafe_code, reason = "getrusage fills a structure")]
fn rusage(whose: libc::c_int) -> libc::rusage {
    let mut used = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the structure is large enough, and zeroes are values of it.
    unsafe {
        libc::getrusage(whose, used.as_mut_ptr());
        used.assume_init()
    }
}

fn usage(whose: libc::c_int) -> Usage {
    let used = rusage(whose);
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Usage {
        user: seconds(used.ru_utime),
        system: seconds(used.ru_stime),
        rss: 0,
        max_rss: used.ru_maxrss.unsigned_abs() * 1024,
    }
}

#[expect(unsafe_code, reason = "sysconf is a C function")]
fn page_size() -> u64 {
    // SAFETY: a question without arguments in memory.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.unsigned_abs()
}
