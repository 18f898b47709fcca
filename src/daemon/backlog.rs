//! The bytes of a response that the worker has produced and the client has not taken yet, so that a client that reads slowly does not
//! occupy a thread of the worker. In memory up to a limit, then in a file without a name, up to the budget of the child
//! ([`GroupSpool`]).

use super::spool::{GroupSpool, NoRoom, SpoolFile, Spooled};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Bytes that wait for the client.
#[derive(Debug, Default)]
pub struct Backlog {
    memory: VecDeque<u8>,
    /// The bytes that follow those in memory.
    file: Option<SpoolFile>,
    /// Up to where the file has been read.
    read: u64,
    piece: Vec<u8>,
}

impl Backlog {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty() && !self.is_on_disk()
    }

    fn is_on_disk(&self) -> bool {
        self.file.as_ref().is_some_and(|file| self.read < file.end())
    }

    /// Whether the next bytes would go to the disk.
    pub fn is_full(&self, limit: usize) -> bool {
        self.is_on_disk() || self.memory.len() >= limit
    }

    /// Adds bytes: all of them, or none.
    ///
    /// # Errors
    /// The budget or the disk has no room for them.
    pub fn add(
        &mut self,
        bytes: &[u8],
        limit: usize,
        spool: &Arc<GroupSpool>,
    ) -> Result<(), NoRoom> {
        if !self.is_full(limit) {
            self.memory.extend(bytes);
            return Ok(());
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => SpoolFile::new(spool, Spooled::Response)?,
        };
        self.file.insert(file).append(bytes)
    }

    /// Up to `most` of the bytes that have waited longest, as far as they lie together.
    ///
    /// # Errors
    /// The disk fails.
    pub fn first(&mut self, most: usize) -> io::Result<&[u8]> {
        if !self.memory.is_empty() {
            let (waiting, _) = self.memory.as_slices();
            return Ok(&waiting[..waiting.len().min(most)]);
        }
        let Some(file) = &self.file else { return Ok(&[]) };
        let length = usize::try_from(file.end() - self.read).unwrap_or(most).min(most);
        self.piece.resize(length, 0);
        file.read_at(&mut self.piece, self.read)?;
        Ok(&self.piece)
    }

    /// The client has taken so many of them.
    pub fn take(&mut self, count: usize) {
        if !self.memory.is_empty() {
            self.memory.drain(..count);
            return;
        }
        let Some(file) = &mut self.file else { return };
        self.read += count as u64;
        if self.read < file.end() {
            file.release_until(self.read);
            return;
        }
        file.clear();
        self.read = file.end();
    }
}

#[cfg(test)]
mod tests {
    use super::{Backlog, GroupSpool};

    #[test]
    fn what_waits_comes_out_as_it_went_in_whether_memory_is_enough_or_not() {
        let sent: Vec<u8> = (0..200_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let spool = GroupSpool::of_test(1 << 20);
        for limit in [0, 1000, 1 << 20] {
            let (mut backlog, mut received, mut at) = (Backlog::default(), Vec::new(), 0);
            for round in 0.. {
                let end = sent.len().min(at + 777);
                backlog.add(&sent[at..end], limit, &spool).unwrap();
                at = end;
                if round % 3 > 0 || at == sent.len() {
                    let first = backlog.first(if at == sent.len() { 4096 } else { 500 }).unwrap();
                    let count = first.len();
                    received.extend_from_slice(first);
                    backlog.take(count);
                }
                if at == sent.len() && backlog.is_empty() {
                    break;
                }
            }
            assert!(received == sent, "{limit}");
            drop(backlog);
            assert_eq!(spool.used(), 0);
        }
    }

    #[test]
    fn what_has_been_taken_takes_no_memory_even_if_something_always_waits() {
        let (mut backlog, spool) = (Backlog::default(), GroupSpool::of_test(0));
        backlog.add(&[b'x'; 500], 1000, &spool).unwrap();
        for _ in 0..10_000 {
            backlog.add(&[b'x'; 400], 1000, &spool).unwrap();
            let count = backlog.first(400).unwrap().len();
            backlog.take(count);
        }
        assert!(backlog.memory.capacity() < 10_000, "{}", backlog.memory.capacity());
    }

    #[test]
    fn a_backlog_begins_anew_when_it_was_emptied() {
        let (mut backlog, spool) = (Backlog::default(), GroupSpool::of_test(6));
        assert!(backlog.is_empty());
        for _ in 0..2 {
            backlog.add(b"abc", 2, &spool).unwrap();
            backlog.add(b"def", 2, &spool).unwrap();
            assert!(backlog.is_full(2));
            // 3 bytes are on the disk, and responses may use 6.
            assert!(backlog.add(b"ghij", 2, &spool).is_err());
            assert_eq!(backlog.first(2).unwrap(), b"ab");
            backlog.take(2);
            assert_eq!(backlog.first(9).unwrap(), b"c");
            backlog.take(1);
            assert_eq!(backlog.first(9).unwrap(), b"def");
            backlog.take(3);
            assert!(backlog.is_empty());
            assert!(!backlog.is_full(2));
        }
    }
}
