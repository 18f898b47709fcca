//! `memory-limit` and `virtual-memory-limit`: detects that the worker has reached one of them. Python seldom returns freed memory to
//! the system, so such a worker would fail requests from then on; it asks the supervisor for another worker in its place.

use rustix::fs::{Mode, OFlags};
use std::sync::atomic::{AtomicBool, Ordering};
use wire::control;

/// The memory limits of the worker.
#[derive(Debug, Default)]
pub struct Memory {
    data: u64,
    all: u64,
    reached: AtomicBool,
}

/// A limit counts as reached if MemoryError was raised while less than a quarter of it, or less than 16 MiB, was left: the failed
/// allocation may have been a large one. A MemoryError with more memory left, which an application can raise itself, is ignored.
pub const LEFT_FOR_LARGE: (u64, u64) = (4, 16 << 20);
/// The same for a response with a status of 500 or higher, with which frameworks answer a MemoryError that they catch: a sixteenth
/// of the limit, or 4 MiB.
pub const LEFT_FOR_SMALL: (u64, u64) = (16, 4 << 20);

impl Memory {
    /// The limits that the supervisor has set.
    pub fn new(options: &control::Worker) -> Memory {
        let (data, all) = (options.memory_limit, options.virtual_memory_limit);
        Memory { data, all, reached: AtomicBool::new(false) }
    }

    /// Whether the worker has reached a limit.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// Marks the worker as having reached a limit if no more than `left` of one is left, and returns the option, its limit and the
    /// memory in use, in bytes. Returns them once.
    pub fn detect(&self, left: (u64, u64)) -> Option<(&'static str, u64, u64)> {
        let is_limited = self.data > 0 || self.all > 0;
        if !is_limited || self.is_reached() {
            return None;
        }
        let exceeded = self.exceeded(left)?;
        (!self.reached.swap(true, Ordering::Relaxed)).then_some(exceeded)
    }

    /// The option whose limit is nearly used up, the limit, and the memory in use, in bytes.
    fn exceeded(&self, (share, least): (u64, u64)) -> Option<(&'static str, u64, u64)> {
        let (all, data) = in_use()?;
        let limits = [("memory-limit", self.data, data), ("virtual-memory-limit", self.all, all)];
        let is_near = |(_, limit, used): &(&str, u64, u64)| {
            *limit > 0 && used.saturating_add((limit / share).max(least)) >= *limit
        };
        limits.into_iter().find(is_near)
    }
}

/// The size of the process and of its data, in bytes. Allocates nothing.
fn in_use() -> Option<(u64, u64)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/proc/self/statm", flags, Mode::empty()).ok()?;
    let mut bytes = [0; 256];
    let length = rustix::io::read(file, &mut bytes).ok()?;
    sizes(std::str::from_utf8(&bytes[..length]).ok()?, rustix::param::page_size() as u64)
}

fn sizes(statm: &str, page: u64) -> Option<(u64, u64)> {
    let mut pages = statm.split_ascii_whitespace().map(str::parse::<u64>);
    let all = pages.next()?.ok()?;
    let data = pages.nth(4)?.ok()?;
    Some((all * page, data * page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_a_process_are_read_from_statm() {
        assert_eq!(sizes("100 50 20 1 0 30 0\n", 4096), Some((409_600, 122_880)));
        assert_eq!(sizes("100 50", 4096), None);
        let (all, data) = in_use().unwrap();
        assert!(all > data && data > 0);
    }

    #[test]
    fn a_limit_is_reached_when_little_is_left_of_it() {
        let (_, data) = in_use().unwrap();
        let memory = |limit| Memory { data: limit, ..Memory::default() };
        assert_eq!(memory(0).exceeded(LEFT_FOR_LARGE), None);
        assert_eq!(memory(data * 2 + (1 << 30)).exceeded(LEFT_FOR_LARGE), None);
        let (option, ..) = memory(data + (2 << 20)).exceeded(LEFT_FOR_SMALL).unwrap();
        assert_eq!(option, "memory-limit");
    }
}
