//! How long the threads of some processes have waited for a processor, as the kernel counts it: what a machine with too much to
//! do keeps from them, and nobody's defect. Made by whoever measures a time, and looked at until that is over.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What threads have waited, by their numbers: when they were first seen, and when last. Whoever measures is 0.
#[derive(Debug, Default)]
pub struct Waiting(BTreeMap<i32, (u64, u64)>);

impl Waiting {
    /// Counts from now on.
    pub fn of(processes: &[i32]) -> Waiting {
        Waiting(all(processes).map(|(thread, waited)| (thread, (waited, waited))).collect())
    }

    /// Looks again, and says what all of them together have waited since. Whoever was not there before has waited for nothing
    /// else; whoever has gone has waited as long as it was seen to.
    pub fn look(&mut self, processes: &[i32]) -> Duration {
        for (thread, waited) in all(processes) {
            self.0.entry(thread).or_default().1 = waited;
        }
        Duration::from_nanos(self.0.values().map(|(first, last)| last.saturating_sub(*first)).sum())
    }
}

/// All threads of processes and the one that asks, and how long each has waited since it began.
fn all(processes: &[i32]) -> impl Iterator<Item = (i32, u64)> {
    let own = waited(Path::new("/proc/thread-self")).map(|waited| (0, waited));
    processes.iter().flat_map(|pid| threads(*pid)).chain(own)
}

fn threads(pid: i32) -> impl Iterator<Item = (i32, u64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| Some((task.file_name().to_str()?.parse().ok()?, waited(&task.path())?)))
}

/// How long a thread has waited, in nanoseconds. Nothing where the kernel does not say.
fn waited(task: &Path) -> Option<u64> {
    fs::read_to_string(task.join("schedstat")).ok()?.split(' ').nth(1)?.parse().ok()
}
