//! What the requests of this process have cost: counted from `start_recording_metrics()` on, asked for by applications.
//! No Python in here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A value of a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`.
    Nothing,
    /// An `int`.
    Int(i64),
    /// A `float`.
    Float(f64),
    /// A `list` of `int`.
    Ints(Vec<i64>),
    /// A `list` of `float`.
    Floats(Vec<f64>),
    /// A `list` of `dict`.
    Reports(Vec<Report>),
}

/// Names and values, in the order in which the dict has them.
pub type Report = Vec<(String, Value)>;

/// What one finished request has cost. Times in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// The thread that served it, from 1.
    pub thread: u32,
    /// Its status; 0 counts as 5xx.
    pub status: u16,
    /// From the beginning of the request to that of the application, or until it was handed towards this process.
    pub server_time: f64,
    /// From there until this process took it, if it came from another.
    pub queue_time: Option<f64>,
    /// From there to the beginning of the application.
    pub daemon_time: f64,
    /// The application's.
    pub application_time: f64,
    /// Spent waiting for the body.
    pub input_time: f64,
    /// Spent waiting for the client to take the answer.
    pub output_time: f64,
    /// Spent waiting for the interpreter's lock.
    pub gil_wait_time: f64,
    /// How often it was waited for.
    pub gil_wait_count: u64,
    /// Of the thread.
    pub cpu_time: f64,
    /// Reads and bytes of the body.
    pub input: (u64, u64),
    /// Writes and bytes of the answer.
    pub output: (u64, u64),
}

const BUCKETS: usize = 65;

/// The place of a duration among the buckets: four to an octave of milliseconds.
fn bucket(seconds: f64) -> usize {
    let milliseconds = seconds * 1000.0;
    if milliseconds < 1.0 {
        return 0;
    }
    if milliseconds >= 65536.0 {
        return BUCKETS - 1;
    }
    let octave = milliseconds.log2().floor();
    let quarter = (4.0 * (milliseconds / octave.exp2() - 1.0)).floor();
    (4.0 * octave + quarter) as usize
}

/// One of the times of a request, over a window.
#[derive(Clone, Debug)]
struct Phase {
    sum: f64,
    least: f64,
    most: f64,
    buckets: [i64; BUCKETS],
}

impl Default for Phase {
    fn default() -> Self {
        Phase { sum: 0.0, least: f64::INFINITY, most: 0.0, buckets: [0; BUCKETS] }
    }
}

impl Phase {
    fn add(&mut self, seconds: f64) {
        let seconds = seconds.max(0.0);
        self.sum += seconds;
        self.least = self.least.min(seconds);
        self.most = self.most.max(seconds);
        self.buckets[bucket(seconds)] += 1;
    }

    fn report(&self, name: &str, count: u64, report: &mut Report) {
        let microseconds = |seconds: f64| match count {
            0 => Value::Nothing,
            _ => Value::Int((seconds * 1e6) as i64),
        };
        let mean = if count == 0 { 0.0 } else { self.sum / count as f64 };
        report.push((name.into(), Value::Float(mean)));
        report.push((format!("{name}_min_us"), microseconds(self.least)));
        report.push((format!("{name}_max_us"), microseconds(self.most)));
        report.push((format!("{name}_buckets"), Value::Ints(self.buckets.to_vec())));
    }
}

/// A thread that serves requests.
#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    /// Since recording began.
    requests: u64,
    /// In the window.
    completed: u64,
    busy: f64,
    cpu: f64,
    longest: f64,
    /// When its request began, if it is serving one.
    since: Option<Instant>,
}

/// What is counted between two reports of `request_metrics()`.
#[derive(Clone, Debug, Default)]
struct Window {
    requests: u64,
    statuses: [i64; 5],
    input: (u64, u64),
    output: (u64, u64),
    gil_waits: u64,
    phases: [Phase; 6],
    /// How many requests came from another process, and their times on the way.
    queued: u64,
    way: [Phase; 2],
}

const PHASES: [&str; 6] = [
    "server_time",
    "application_time",
    "request_time",
    "input_read_time",
    "output_write_time",
    "gil_wait_time",
];
/// Times that only requests from another process have.
const WAY: [&str; 2] = ["queue_time", "daemon_time"];

/// What the process as a whole has used. Seconds and bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time in user mode.
    pub user: f64,
    /// CPU time in the kernel.
    pub system: f64,
    /// Memory resident now.
    pub rss: u64,
    /// The most memory that was resident.
    pub max_rss: u64,
}

/// What a report is made at: the clock and what the process has used.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The monotonic clock.
    pub instant: Instant,
    /// Seconds since the epoch.
    pub time: f64,
    /// What the process has used until then.
    pub usage: Usage,
}

/// The metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    /// When the process started, in seconds since the epoch.
    started: f64,
    window_begun: Moment,
    window: Window,
    /// Requests come from another process.
    has_queue: bool,
    requests: u64,
    busy: f64,
    threads: Vec<Thread>,
}

static RECORDING: AtomicBool = AtomicBool::new(false);
static METRICS: LazyLock<Mutex<Option<Metrics>>> = LazyLock::new(Mutex::default);

/// Whether metrics are recorded.
pub fn recording() -> bool {
    RECORDING.load(Ordering::Relaxed)
}

/// Begins to record, if that has not been done. `started` is when the process started, in seconds since the epoch.
pub fn start(moment: Moment, started: f64) {
    lock().get_or_insert_with(|| Metrics::new(moment, started));
    RECORDING.store(true, Ordering::Relaxed);
}

/// The metrics, while they are recorded.
pub fn with<R>(body: impl FnOnce(&mut Metrics) -> R) -> Option<R> {
    lock().as_mut().map(body)
}

fn lock() -> MutexGuard<'static, Option<Metrics>> {
    METRICS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    fn new(moment: Moment, started: f64) -> Metrics {
        Metrics {
            started,
            window_begun: moment,
            window: Window::default(),
            has_queue: false,
            requests: 0,
            busy: 0.0,
            threads: Vec::new(),
        }
    }

    fn thread(&mut self, number: u32) -> &mut Thread {
        let index = number.max(1) as usize - 1;
        if self.threads.len() <= index {
            self.threads.resize(index + 1, Thread::default());
        }
        &mut self.threads[index]
    }

    /// A thread begins to serve a request.
    pub fn begin(&mut self, thread: u32, now: Instant) {
        self.thread(thread).since = Some(now);
    }

    /// A thread has served a request.
    pub fn end(&mut self, sample: &Sample, now: Instant) {
        let window_begun = self.window_begun.instant;
        let thread = self.thread(sample.thread);
        let since = thread.since.take();
        let whole = since.map_or(0.0, |since| (now - since).as_secs_f64());
        let here = since.map_or(0.0, |since| (now - since.max(window_begun)).as_secs_f64());
        thread.requests += 1;
        thread.completed += 1;
        thread.busy += here;
        thread.cpu += sample.cpu_time;
        thread.longest = thread.longest.max(whole);
        self.requests += 1;
        self.busy += whole;

        let window = &mut self.window;
        window.requests += 1;
        let class = usize::from(sample.status / 100).checked_sub(1).filter(|&class| class < 5);
        window.statuses[class.unwrap_or(4)] += 1;
        window.input = (window.input.0 + sample.input.0, window.input.1 + sample.input.1);
        window.output = (window.output.0 + sample.output.0, window.output.1 + sample.output.1);
        window.gil_waits += sample.gil_wait_count;
        let way = [sample.queue_time.unwrap_or_default(), sample.daemon_time];
        if sample.queue_time.is_some() {
            self.has_queue = true;
            window.queued += 1;
            window.way.iter_mut().zip(way).for_each(|(phase, seconds)| phase.add(seconds));
        }
        let before: f64 =
            [sample.server_time, way[0], way[1]].map(|time| time.max(0.0)).iter().sum();
        let times = [
            sample.server_time,
            sample.application_time,
            before + sample.application_time,
            sample.input_time,
            sample.output_time,
            sample.gil_wait_time,
        ];
        for (phase, seconds) in window.phases.iter_mut().zip(times) {
            phase.add(seconds);
        }
    }

    fn active(&self) -> usize {
        self.threads.iter().filter(|thread| thread.since.is_some()).count()
    }

    /// `process_metrics()`: since recording began.
    pub fn process(&self, now: &Moment) -> Report {
        let float = |name: &str, value: f64| (name.to_string(), Value::Float(value));
        let int = |name: &str, value: u64| (name.to_string(), Value::Int(value as i64));
        let running = self.threads.iter().filter_map(|thread| thread.since);
        let running: f64 = running.map(|since| (now.instant - since).as_secs_f64()).sum();
        let threads = self.threads.iter().enumerate().map(|(index, thread)| {
            vec![int("thread_id", index as u64 + 1), int("request_count", thread.requests)]
        });
        vec![
            int("pid", u64::from(std::process::id())),
            int("request_count", self.requests),
            float("request_busy_time", self.busy + running),
            int("active_requests", self.active() as u64),
            int("request_threads", self.threads.len() as u64),
            float("restart_time", self.started),
            float("current_time", now.time),
            int("running_time", (now.time - self.started).max(0.0) as u64),
            float("cpu_user_time", now.usage.user),
            float("cpu_system_time", now.usage.system),
            float("cpu_time", now.usage.user + now.usage.system),
            int("memory_rss", now.usage.rss),
            int("memory_max_rss", now.usage.max_rss),
            ("threads".into(), Value::Reports(threads.collect())),
        ]
    }

    /// `request_metrics()`: since the report before; begins the next window. `maximum` is how many threads there can be.
    pub fn requests(&mut self, now: Moment, maximum: u32) -> Report {
        let period = (now.instant - self.window_begun.instant).as_secs_f64().max(1e-6);
        let count = self.window.requests;
        let mut report: Report = Vec::new();
        let mut float = |name: &str, value: f64| report.push((name.into(), Value::Float(value)));
        float("start_time", self.window_begun.time);
        float("stop_time", now.time);
        float("sample_period", period);
        float("request_throughput", count as f64 / period);
        let (user, system) = (
            (now.usage.user - self.window_begun.usage.user) / period,
            (now.usage.system - self.window_begun.usage.system) / period,
        );
        // The second three are older names of the first.
        for suffix in ["utilization", "time"] {
            float(&format!("cpu_user_{suffix}"), user);
            float(&format!("cpu_system_{suffix}"), system);
            float(&format!("cpu_{suffix}"), user + system);
        }
        self.report_threads(&now, period, maximum, &mut report);
        let mut int = |name: &str, value: i64| report.push((name.into(), Value::Int(value)));
        int("pid", i64::from(std::process::id()));
        int("request_count", count as i64);
        for (class, requests) in (1..).zip(self.window.statuses) {
            int(&format!("status_{class}xx"), requests);
        }
        int("input_reads", self.window.input.0 as i64);
        int("input_bytes", self.window.input.1 as i64);
        int("output_writes", self.window.output.0 as i64);
        int("output_bytes", self.window.output.1 as i64);
        int("gil_wait_count", self.window.gil_waits as i64);
        int("memory_rss", now.usage.rss as i64);
        int("memory_max_rss", now.usage.max_rss as i64);
        for (phase, name) in self.window.phases.iter().zip(PHASES) {
            phase.report(name, count, &mut report);
        }
        for (phase, name) in self.window.way.iter().zip(WAY) {
            phase.report(name, self.window.queued, &mut report);
            if !self.has_queue {
                // No request waits for a process of its own here.
                report
                    .iter_mut()
                    .filter(|(key, _)| key == name)
                    .for_each(|it| it.1 = Value::Nothing);
            }
        }
        self.next_window(now);
        report
    }

    fn report_threads(&self, now: &Moment, period: f64, maximum: u32, report: &mut Report) {
        let begun = self.window_begun.instant;
        let of = |index: usize| self.threads.get(index).copied().unwrap_or_default();
        let running = |thread: &Thread, from: Option<Instant>| {
            thread.since.map_or(0.0, |since| {
                (now.instant - from.map_or(since, |from| since.max(from))).as_secs_f64()
            })
        };
        let all: Vec<Thread> = (0..maximum as usize).map(of).collect();
        let floats =
            |value: &dyn Fn(&Thread) -> f64| Value::Floats(all.iter().map(value).collect());
        let busy: Vec<f64> =
            all.iter().map(|thread| thread.busy + running(thread, Some(begun))).collect();
        let utilization = busy.iter().sum::<f64>() / (period * f64::from(maximum.max(1)));
        let completed = Value::Ints(all.iter().map(|thread| thread.completed as i64).collect());
        let mut put = |name: &str, value: Value| report.push((name.into(), value));
        put("request_threads_maximum", Value::Int(i64::from(maximum)));
        put("request_threads_started", Value::Int(self.threads.len() as i64));
        put("request_threads_active", Value::Int(self.active() as i64));
        put("capacity_utilization", Value::Float(utilization));
        put("request_threads_completed", completed.clone());
        put("request_threads_buckets", completed);
        put("request_threads_busy_time", Value::Floats(busy));
        put("request_threads_cpu_time", floats(&|thread| thread.cpu));
        put("request_threads_current_elapsed", floats(&|thread| running(thread, None)));
        put(
            "request_threads_max_duration",
            floats(&|thread| thread.longest.max(running(thread, None))),
        );
    }

    fn next_window(&mut self, now: Moment) {
        self.window = Window::default();
        self.window_begun = now;
        for thread in &mut self.threads {
            (thread.completed, thread.busy, thread.cpu, thread.longest) = (0, 0.0, 0.0, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn moment(instant: Instant, time: f64) -> Moment {
        Moment { instant, time, usage: Usage::default() }
    }

    fn value(report: &Report, name: &str) -> Value {
        report.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap()
    }

    #[test]
    fn buckets_divide_each_octave_of_milliseconds_by_four() {
        let places = [0.0, 0.0009, 0.001, 0.00125, 0.0015, 0.002, 0.0025, 1.024, 65.535, 65.536];
        let expected = [0, 0, 0, 1, 2, 4, 5, 40, 63, 64];
        assert_eq!(places.map(bucket), expected);
    }

    #[test]
    fn a_window_counts_its_own_requests_and_the_process_all_of_them() {
        let start = Instant::now();
        let after = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut metrics = Metrics::new(moment(start, 1000.0), 1000.0);
        metrics.begin(1, after(1.0));
        metrics.begin(2, after(1.0));
        let sample = Sample { thread: 1, status: 404, application_time: 1.0, ..Sample::default() };
        metrics.end(&sample, after(2.0));

        let first = metrics.requests(moment(after(4.0), 1004.0), 2);
        assert_eq!(value(&first, "start_time"), Value::Float(1000.0));
        assert_eq!(value(&first, "request_count"), Value::Int(1));
        assert_eq!(value(&first, "status_4xx"), Value::Int(1));
        assert_eq!(value(&first, "request_threads_active"), Value::Int(1));
        assert_eq!(value(&first, "request_threads_completed"), Value::Ints(vec![1, 0]));
        assert_eq!(value(&first, "request_threads_busy_time"), Value::Floats(vec![1.0, 3.0]));
        assert_eq!(value(&first, "capacity_utilization"), Value::Float(0.5));
        assert_eq!(value(&first, "application_time_max_us"), Value::Int(1_000_000));
        assert_eq!(value(&first, "queue_time"), Value::Nothing);

        metrics.end(&Sample { thread: 2, ..Sample::default() }, after(5.0));
        let second = metrics.requests(moment(after(6.0), 1006.0), 2);
        assert_eq!(value(&second, "start_time"), Value::Float(1004.0));
        assert_eq!(value(&second, "status_5xx"), Value::Int(1));
        assert_eq!(value(&second, "request_threads_busy_time"), Value::Floats(vec![0.0, 1.0]));
        assert_eq!(value(&second, "request_threads_max_duration"), Value::Floats(vec![0.0, 4.0]));

        let process = metrics.process(&moment(after(6.0), 1006.0));
        assert_eq!(value(&process, "request_count"), Value::Int(2));
        assert_eq!(value(&process, "request_busy_time"), Value::Float(5.0));
        assert_eq!(value(&process, "running_time"), Value::Int(6));
    }

    #[test]
    fn the_way_from_another_process_is_counted_where_there_is_one() {
        let start = Instant::now();
        let at = |seconds: f64| moment(start + Duration::from_secs_f64(seconds), seconds);
        let mut metrics = Metrics::new(at(0.0), 0.0);
        let sample = Sample {
            thread: 1,
            server_time: 0.25,
            queue_time: Some(0.5),
            daemon_time: 0.125,
            application_time: 1.0,
            ..Sample::default()
        };
        metrics.end(&sample, start + Duration::from_secs(1));
        let report = metrics.requests(at(2.0), 1);
        assert_eq!(value(&report, "queue_time"), Value::Float(0.5));
        assert_eq!(value(&report, "daemon_time_max_us"), Value::Int(125_000));
        assert_eq!(value(&report, "request_time"), Value::Float(1.875));
        let empty = metrics.requests(at(3.0), 1);
        assert_eq!(value(&empty, "queue_time"), Value::Float(0.0));
        assert_eq!(value(&empty, "queue_time_min_us"), Value::Nothing);
    }

    #[test]
    fn a_window_without_requests_has_no_least_and_no_most() {
        let start = Instant::now();
        let mut metrics = Metrics::new(moment(start, 0.0), 0.0);
        let report = metrics.requests(moment(start + Duration::from_secs(1), 1.0), 1);
        assert_eq!(value(&report, "request_time"), Value::Float(0.0));
        assert_eq!(value(&report, "request_time_min_us"), Value::Nothing);
        assert_eq!(value(&report, "request_time_buckets"), Value::Ints(vec![0; 65]));
    }
}
