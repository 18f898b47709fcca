//! What of an answer has come from the worker and the client has not taken yet, so that a client who reads slowly keeps no
//! worker waiting: in memory up to a limit, and behind that in a file without a name.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// As much waits in a file at most.
const MOST_ON_DISK: u64 = 1 << 30;

/// Bytes that wait for the client.
#[derive(Debug, Default)]
pub struct Backlog {
    memory: VecDeque<u8>,
    file: Option<File>,
    /// Where in `file` it begins and ends. It comes after what is in memory.
    on_disk: (u64, u64),
    piece: Vec<u8>,
}

impl Backlog {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty() && !self.is_on_disk()
    }

    fn is_on_disk(&self) -> bool {
        self.on_disk.0 < self.on_disk.1
    }

    /// Whether the next bytes would go to the disk.
    pub fn is_full(&self, limit: usize) -> bool {
        self.is_on_disk() || self.memory.len() >= limit
    }

    /// Whether there shall be no more bytes.
    pub fn is_at_its_end(&self) -> bool {
        self.on_disk.1 >= MOST_ON_DISK
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// There is no room for them on the disk.
    pub fn add(&mut self, bytes: &[u8], limit: usize) -> io::Result<()> {
        if !self.is_full(limit) {
            self.memory.extend(bytes);
            return Ok(());
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        let written = file.write_all_at(bytes, self.on_disk.1);
        self.file = Some(file);
        written?;
        self.on_disk.1 += bytes.len() as u64;
        Ok(())
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
        let (start, end) = self.on_disk;
        let length = usize::try_from(end - start).unwrap_or(most).min(most);
        self.piece.resize(length, 0);
        match &self.file {
            Some(file) => file.read_exact_at(&mut self.piece, start)?,
            None => self.piece.clear(),
        }
        Ok(&self.piece)
    }

    /// The client has taken so many of them.
    pub fn take(&mut self, count: usize) {
        if !self.memory.is_empty() {
            self.memory.drain(..count);
            return;
        }
        self.on_disk.0 += count as u64;
        if !self.is_on_disk() {
            // What was read is not needed again; whoever reads a little slower than the worker shall not fill the disk.
            self.on_disk = (0, 0);
            let _ = self.file.as_ref().map(|file| file.set_len(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Backlog;

    #[test]
    fn what_waits_comes_out_as_it_went_in_whether_memory_is_enough_or_not() {
        let sent: Vec<u8> = (0..200_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for limit in [0, 1000, 1 << 20] {
            let (mut backlog, mut received, mut at) = (Backlog::default(), Vec::new(), 0);
            for round in 0.. {
                let end = sent.len().min(at + 777);
                backlog.add(&sent[at..end], limit).unwrap();
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
        }
    }

    #[test]
    fn what_has_been_taken_takes_no_memory_even_if_something_always_waits() {
        let mut backlog = Backlog::default();
        backlog.add(&[b'x'; 500], 1000).unwrap();
        for _ in 0..10_000 {
            backlog.add(&[b'x'; 400], 1000).unwrap();
            let count = backlog.first(400).unwrap().len();
            backlog.take(count);
        }
        assert!(backlog.memory.capacity() < 10_000, "{}", backlog.memory.capacity());
    }

    #[test]
    fn a_backlog_begins_anew_when_it_was_emptied() {
        let mut backlog = Backlog::default();
        assert!(backlog.is_empty());
        for _ in 0..2 {
            backlog.add(b"abc", 2).unwrap();
            backlog.add(b"def", 2).unwrap();
            assert!(backlog.is_full(2) && !backlog.is_at_its_end());
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
