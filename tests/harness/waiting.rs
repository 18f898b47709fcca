//! How long the threads of some processes have waited for a processor, as the kernel counts it: what a machine with too much to
//! do keeps from them, and nobody's defect. Made by whoever measures a time, and looked at until that is over.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// What threads have waited, by their numbers: when they were first seen, and when last.
#[derive(Debug, Default)]
pub struct Waiting(BTreeMap<i32, (u64, u64)>);

impl Waiting {
    /// Counts from now on.
    pub fn of(processes: &[i32]) -> Waiting {
        let seen = processes.iter().flat_map(|pid| threads(*pid));
        Waiting(seen.map(|(thread, waited)| (thread, (waited, waited))).collect())
    }

    /// Looks again, and says what all of them together have waited since. Whoever was not there before has waited for nothing
    /// else; whoever has gone has waited as long as it was seen to.
    pub fn look(&mut self, processes: &[i32]) -> Duration {
        for (thread, waited) in processes.iter().flat_map(|pid| threads(*pid)) {
            self.0.entry(thread).or_default().1 = waited;
        }
        Duration::from_nanos(self.0.values().map(|(first, last)| last.saturating_sub(*first)).sum())
    }
}

/// The threads of a process, and how long each has waited since it began, in nanoseconds. None where the kernel does not say.
fn threads(pid: i32) -> Vec<(i32, u64)> {
    let waited = |thread: i32| {
        let counts = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
        counts.split(' ').nth(1)?.parse().ok()
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let numbers = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    numbers.filter_map(|thread| Some((thread, waited(thread)?))).collect()
}
