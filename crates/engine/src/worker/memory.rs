//! `memory-limit` and `virtual-memory-limit`: whether a worker has reached one, so that what it has allocated leaves no room
//! for its requests. Python frees memory for itself, hardly ever for the system, so such a worker does not recover; it asks for
//! another one in its place.

use super::post;
use exchange::Code;
use rustix::fs::{Mode, OFlags};
use std::sync::atomic::{AtomicBool, Ordering};
use wire::control;

/// The limits of a worker.
#[derive(Debug, Default)]
pub struct Memory {
    data: u64,
    all: u64,
    reached: AtomicBool,
}

/// How much of a limit may be left when MemoryError was raised: an allocation that failed can have been a large one. An
/// application that raises it by itself, far away from the limit, is no sign of anything.
const LEFT_FOR_LARGE: (u64, u64) = (4, 16 << 20);
/// The same when a request was answered with a status that tells of a failure of any kind, as frameworks answer MemoryError.
const LEFT_FOR_SMALL: (u64, u64) = (16, 4 << 20);

impl Memory {
    /// Those of a worker.
    pub fn new(options: &control::Worker) -> Memory {
        let (data, all) = (options.memory_limit, options.virtual_memory_limit);
        Memory { data, all, reached: AtomicBool::new(false) }
    }

    /// Whether a limit was found to be reached.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    fn is_limited(&self) -> bool {
        self.data > 0 || self.all > 0
    }

    /// The option whose limit has been reached, the limit, and what is in use.
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

/// MemoryError was raised, or the system had no memory. What is to be said of it, if that is because a limit was reached, and
/// for the first time.
pub fn memory_error() -> Option<String> {
    find(LEFT_FOR_LARGE)
}

/// A request was answered with a status that tells of a failure of the application. As [`memory_error`].
pub fn server_error() -> Option<String> {
    find(LEFT_FOR_SMALL)
}

fn find(left: (u64, u64)) -> Option<String> {
    let post = post().filter(|post| post.memory.is_limited() && !post.memory.is_reached())?;
    let (option, limit, used) = post.memory.exceeded(left)?;
    if post.memory.reached.swap(true, Ordering::Relaxed) {
        return None;
    }
    post.ring();
    let code = Code::MemoryLimitReached;
    let group = String::from_utf8_lossy(&crate::settings().process_group);
    Some(format!(
        "{code}: {}: process group '{group}': {used} bytes are in use, and {option} is {limit}. Another worker takes its \
         place; raise {option} if new workers reach it as well.",
        code.text(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_a_process_are_those_of_statm() {
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
