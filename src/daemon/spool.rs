//! `SpoolBudget`: how many bytes of request bodies and of responses one child of httpd keeps in files; and the files. Made when the child
//! starts, lives as long as the child; all request threads of the child share it.
//!
//! A group has at most its own `spool-limit`; all groups of the child together have at most the largest `spool-limit` of
//! them. Of both, responses leave an eighth to bodies: an application whose response finds no room waits for one client
//! that reads slowly, and whose request bodies find none for all of those that send slowly. If there are several groups, a group has
//! at most twice as much as it leaves free, so that the clients of one tenant cannot take the last byte from the others.
//!
//! Every byte is taken from the budget before it is written. It is given back when the file system has freed its space (a hole is
//! punched, or the file is truncated), and at the latest when the [`SpoolFile`] is dropped.

use crate::httpd::log;
use exchange::{Code, Level};
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Default of `spool-limit`, in bytes.
pub const LIMIT: u64 = 256 << 20;

/// Least time between two log lines about the same kind of shortage in a group. Events in between are counted.
const QUIET: Duration = Duration::from_secs(60);

/// Space of a file that has been read is freed in pieces of this many bytes.
const HOLE: u64 = 1 << 20;

/// The bytes that all groups of a child may keep in files.
#[derive(Debug)]
pub struct SpoolBudget {
    limit: u64,
    /// Several groups share it.
    is_shared: bool,
    used: AtomicU64,
}

/// A group's part of the budget, and the directory of its files.
#[derive(Debug)]
pub struct GroupSpool {
    group: String,
    limit: u64,
    directory: PathBuf,
    used: AtomicU64,
    budget: Arc<SpoolBudget>,
    bodies: Shortage,
    responses: Shortage,
}

/// The kind of bytes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spooled {
    /// The body of a request.
    Body,
    /// The part of a response that the client has not taken.
    Response,
}

/// Why bytes could not be written to a file.
#[derive(Debug)]
pub enum NoRoom {
    /// They would exceed `spool-limit`.
    Limit,
    /// The file system failed.
    Disk(io::Error),
}

impl From<io::Error> for NoRoom {
    fn from(error: io::Error) -> Self {
        NoRoom::Disk(error)
    }
}

/// A kind of event that is logged at most once in [`QUIET`], with how often it has happened.
#[derive(Debug, Default)]
struct Shortage(Mutex<Logged>);

#[derive(Debug, Default)]
struct Logged {
    last: Option<Instant>,
    /// How often it has happened since.
    since: u64,
}

/// A file without a name.
#[derive(Debug)]
pub struct SpoolFile {
    file: File,
    spool: Arc<GroupSpool>,
    spooled: Spooled,
    /// The end of the written bytes.
    end: u64,
    /// Below this offset the file is a hole.
    hole: u64,
    /// How many bytes of the budget it holds.
    taken: u64,
}

impl SpoolBudget {
    /// The budget of a child whose groups have these limits.
    pub fn new(limits: impl IntoIterator<Item = u64>) -> Arc<SpoolBudget> {
        let (mut groups, mut limit) = (0, 0);
        for of_group in limits {
            (groups, limit) = (groups + 1, of_group.max(limit));
        }
        Arc::new(SpoolBudget { limit, is_shared: groups > 1, used: AtomicU64::new(0) })
    }
}

impl GroupSpool {
    /// The part of a group with this name and this limit, whose files are in this directory.
    pub fn new(
        budget: &Arc<SpoolBudget>,
        group: &[u8],
        limit: u64,
        directory: PathBuf,
    ) -> Arc<GroupSpool> {
        Arc::new(GroupSpool {
            group: String::from_utf8_lossy(group).into_owned(),
            limit,
            directory,
            used: AtomicU64::new(0),
            budget: Arc::clone(budget),
            bodies: Shortage::default(),
            responses: Shortage::default(),
        })
    }

    /// The largest body for which there is room when nothing else is kept.
    pub fn largest_body(&self) -> u64 {
        let whole = self.budget.limit;
        // A group may have twice as much as it leaves free, that is, two thirds of the whole.
        let alone = if self.budget.is_shared { whole - whole / 3 } else { whole };
        alone.min(self.limit)
    }

    /// Takes so many bytes of the budget, all or none of them.
    fn take(&self, bytes: u64, spooled: Spooled) -> bool {
        let share = |limit: u64| match spooled {
            Spooled::Body => limit,
            Spooled::Response => limit - limit / 8,
        };
        let Some(own) = add_within(&self.used, bytes, share(self.limit)) else { return false };
        let left_free = if self.budget.is_shared { own / 2 } else { 0 };
        let most = share(self.budget.limit).min(self.budget.limit.saturating_sub(left_free));
        let is_taken = add_within(&self.budget.used, bytes, most).is_some();
        if !is_taken {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_taken
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Logs that bytes could not be kept, at most once in [`QUIET`].
    pub fn note(&self, no_room: &NoRoom, spooled: Spooled) {
        let (shortage, level, on_disk, what, remedy) = match spooled {
            Spooled::Body => (
                &self.bodies,
                Level::Warning,
                Code::BodyNotGathered,
                "the application gets the rest of a request body as the client sends it, and a thread waits for that",
                "raise spool-limit=",
            ),
            Spooled::Response => (
                &self.responses,
                Level::Error,
                Code::AnswerNotKept,
                "a worker waits for a client that reads slowly",
                "raise spool-limit=, or lower response-socket-timeout=",
            ),
        };
        let Some(more) = shortage.count(Instant::now()) else { return };
        let more = match more {
            0 => String::new(),
            more => format!(" ({more} more since the last line)"),
        };
        let line = match no_room {
            NoRoom::Limit => format!(
                "{}: {}: process group '{}': {what}{more}; spool-limit={} and {} bytes of it in use, {} bytes in use \
                 in child {} by all groups. To keep more, {remedy}.",
                Code::SpoolFull,
                Code::SpoolFull.text(),
                self.group,
                self.limit,
                self.used.load(Ordering::Relaxed),
                self.budget.used.load(Ordering::Relaxed),
                std::process::id(),
            ),
            NoRoom::Disk(error) => format!(
                "{}: {}: process group '{}': {what}{more}; spool-directory={}: {error}.",
                on_disk,
                on_disk.text(),
                self.group,
                self.directory.display(),
            ),
        };
        log::note_for_process(level, line.as_bytes());
    }
}

/// Adds to a counter unless that exceeds a limit. Returns the new value.
fn add_within(counter: &AtomicU64, by: u64, limit: u64) -> Option<u64> {
    let raised = |used: u64| used.checked_add(by).filter(|sum| *sum <= limit);
    let before = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, raised).ok()?;
    raised(before)
}

impl Shortage {
    /// Counts an event. If it must be logged now, returns how many were counted since the last line.
    fn count(&self, now: Instant) -> Option<u64> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = logged.last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        if !is_due {
            logged.since += 1;
            return None;
        }
        logged.last = Some(now);
        Some(std::mem::take(&mut logged.since))
    }
}

impl SpoolFile {
    /// A file with nothing in it.
    ///
    /// # Errors
    /// No file can be made in the directory.
    pub fn new(spool: &Arc<GroupSpool>, spooled: Spooled) -> io::Result<SpoolFile> {
        let file = tempfile::tempfile_in(&spool.directory)?;
        Ok(SpoolFile { file, spool: Arc::clone(spool), spooled, end: 0, hole: 0, taken: 0 })
    }

    /// The end of the written bytes.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Writes at the end: all of the bytes, or none.
    ///
    /// # Errors
    /// The budget or the disk has no room.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let count = bytes.len() as u64;
        if !self.spool.take(count, self.spooled) {
            return Err(NoRoom::Limit);
        }
        self.taken += count;
        if let Err(error) = self.file.write_all_at(bytes, self.end) {
            // A partial write is undone, so the bytes can be given back.
            if self.file.set_len(self.end).is_ok() {
                self.give_back(count);
            }
            return Err(error.into());
        }
        self.end += count;
        Ok(())
    }

    /// Fills `into` from this offset.
    ///
    /// # Errors
    /// The file system fails.
    pub fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }

    /// Frees the space below this offset, which has been read. Without this, a client that reads a little slower than the worker writes
    /// would fill the disk with bytes that it has already taken.
    pub fn release_until(&mut self, at: u64) {
        let length = at.saturating_sub(self.hole) / HOLE * HOLE;
        let (Ok(offset), Ok(size @ 1..)) = (i64::try_from(self.hole), i64::try_from(length)) else {
            return;
        };
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        // A file system without holes keeps the space, and the bytes of the budget, until the whole file has been read.
        if fallocate(self.file.as_fd(), flags, offset, size).is_ok() {
            self.hole += length;
            self.give_back(length);
        }
    }

    /// The whole file has been read: truncates it.
    pub fn clear(&mut self) {
        if self.file.set_len(0).is_ok() {
            (self.end, self.hole) = (0, 0);
            self.give_back(self.taken);
        }
    }

    /// The file for a worker, opened for reading only: bytes that a worker writes would be in no budget.
    pub fn for_reading(&self) -> io::Result<File> {
        File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
            // There is no /proc, because httpd runs in a chroot.
            .or_else(|_| self.file.try_clone())
    }

    fn give_back(&mut self, bytes: u64) {
        self.taken -= bytes;
        self.spool.give_back(bytes);
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        // Truncated, so that a worker that still has the file open does not keep its space.
        let _ = self.file.set_len(0);
        self.spool.give_back(self.taken);
    }
}

#[cfg(test)]
impl GroupSpool {
    /// The only group of a child, with its files in the directory for temporary files.
    pub fn of_test(limit: u64) -> Arc<GroupSpool> {
        GroupSpool::new(&SpoolBudget::new([limit]), b"test", limit, std::env::temp_dir())
    }

    /// How many bytes of the budget it holds.
    pub fn used(&self) -> u64 {
        assert!(self.budget.used.load(Ordering::Relaxed) >= self.used.load(Ordering::Relaxed));
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_takes_no_more_than_the_limit_and_gives_all_of_it_back() {
        let spool = GroupSpool::of_test(1000);
        let mut file = SpoolFile::new(&spool, Spooled::Body).unwrap();
        file.append(&[b'x'; 900]).unwrap();
        assert!(matches!(file.append(&[b'x'; 101]), Err(NoRoom::Limit)));
        file.append(&[b'x'; 100]).unwrap();
        assert_eq!((spool.used(), file.end()), (1000, 1000));
        let mut other = SpoolFile::new(&spool, Spooled::Body).unwrap();
        assert!(matches!(other.append(b"x"), Err(NoRoom::Limit)));
        file.clear();
        other.append(b"x").unwrap();
        assert_eq!(spool.used(), 1);
        drop((file, other));
        assert_eq!((spool.used(), spool.budget.used.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn responses_leave_an_eighth_of_the_limit_to_bodies() {
        let spool = GroupSpool::of_test(1000);
        let mut response = SpoolFile::new(&spool, Spooled::Response).unwrap();
        assert!(matches!(response.append(&[b'x'; 876]), Err(NoRoom::Limit)));
        response.append(&[b'x'; 875]).unwrap();
        let mut body = SpoolFile::new(&spool, Spooled::Body).unwrap();
        body.append(&[b'x'; 125]).unwrap();
    }

    #[test]
    fn a_group_leaves_room_to_the_others_of_its_child() {
        let budget = SpoolBudget::new([900, 900, 300]);
        let group = |limit| GroupSpool::new(&budget, b"test", limit, std::env::temp_dir());
        let (one, other, small) = (group(900), group(900), group(300));
        assert_eq!((one.largest_body(), small.largest_body()), (600, 300));
        assert!(!one.take(601, Spooled::Body));
        assert!(one.take(600, Spooled::Body));
        assert!(other.take(200, Spooled::Body) && !other.take(1, Spooled::Body));
        assert!(small.take(60, Spooled::Body) && !small.take(40, Spooled::Body));
        one.give_back(600);
        assert!(small.take(240, Spooled::Body) && !small.take(1, Spooled::Body));
    }

    #[test]
    fn bytes_that_have_been_read_use_no_space_while_more_are_written() {
        let spool = GroupSpool::of_test(16 << 20);
        let mut file = SpoolFile::new(&spool, Spooled::Response).unwrap();
        let mut read = 0;
        for round in 0..200_u8 {
            file.append(&[round; 300_000]).unwrap();
            if round > 2 {
                let mut piece = [0; 300_000];
                file.read_at(&mut piece, read).unwrap();
                assert!(piece.iter().all(|byte| *byte == round - 3));
                read += 300_000;
                file.release_until(read);
            }
        }
        assert!(spool.used() < 3 << 20, "{}", spool.used());
        assert!(file.file.metadata().unwrap().blocks() * 512 < 4 << 20);
    }

    #[test]
    fn a_worker_reads_the_file_and_cannot_make_it_larger() {
        let spool = GroupSpool::of_test(1000);
        let mut file = SpoolFile::new(&spool, Spooled::Body).unwrap();
        file.append(b"body").unwrap();
        let of_worker = file.for_reading().unwrap();
        let mut read = [0; 4];
        of_worker.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"body");
        assert!(of_worker.write_all_at(b"more", 4).is_err() && of_worker.set_len(1 << 30).is_err());
        // The open file uses no space when the request has ended.
        drop(file);
        assert_eq!(of_worker.metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_shortage_is_logged_once_a_minute_with_how_often_it_happened() {
        let (shortage, begun) = (Shortage::default(), Instant::now());
        assert_eq!(shortage.count(begun), Some(0));
        for second in 0..59 {
            assert_eq!(shortage.count(begun + Duration::from_secs(second)), None);
        }
        assert_eq!(shortage.count(begun + Duration::from_secs(60)), Some(59));
        assert_eq!(shortage.count(begun + Duration::from_secs(61)), None);
    }
}
