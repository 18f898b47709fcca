//! The body of a request, gathered before a worker is asked, so that a client that sends slowly keeps no thread of the
//! application. A small body stays in memory, a larger one goes to memory that can be handed on, and one that is larger
//! still to a file without a name. Memory is bounded without a budget: a request thread of the child gathers one body at a
//! time, and keeps up to `request-body-memory` of it there. Files are bounded by the budget of the child ([`GroupSpool`]).
//!
//! When a body finds no more room, the child stops gathering it: what has been gathered goes to the worker, and the child reads
//! the rest from the client when the worker asks for it.

use super::spool::{GroupSpool, NoRoom, SpoolFile, Spooled};
use exchange::{Exchange, ReadError};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fchmod};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use wire::Carried;

/// As much of a body goes with the request itself.
pub const INLINE: usize = 64 * 1024;

/// As much is read at once when [`INLINE`] bytes are there. If there is no room for it, all of these bytes go with the request. Together
/// with its head they must fit into the memory of a connection: a request that waits until a worker reads cannot move to another.
const BEYOND: usize = 8 * 1024;

/// A body that has been gathered, or the beginning of one.
#[derive(Debug, Default)]
pub struct Gathered {
    large: Option<Large>,
    /// What follows `large`: up to [`INLINE`], and [`BEYOND`] more if there was no room.
    small: Vec<u8>,
    /// The rest has not been read from the client.
    continues: bool,
    /// Why there is no more of it, if it ended before its end.
    pub broken: Option<ReadError>,
}

#[derive(Debug)]
enum Large {
    Memory { file: File, length: u64 },
    Disk { file: SpoolFile, for_worker: File },
}

impl Gathered {
    /// A body of which nothing is gathered.
    pub fn on_demand() -> Gathered {
        Gathered { continues: true, ..Gathered::default() }
    }

    /// Reads a body to its end, or until there is no more room. Up to `memory` bytes of it are kept in memory.
    pub fn read(exchange: &mut dyn Exchange, memory: u64, spool: &Arc<GroupSpool>) -> Gathered {
        let mut gathered = Gathered::default();
        loop {
            let mut kept = Ok(());
            let most = match INLINE.saturating_sub(gathered.small.len()) {
                0 => BEYOND,
                left => left,
            };
            let read = exchange.read(most, &mut |bytes| match kept {
                Ok(()) => kept = gathered.add(bytes, memory, spool),
                Err(_) => gathered.small.extend_from_slice(bytes),
            });
            match (read, kept) {
                (Ok(0), _) => break,
                (Ok(_), Ok(())) => {}
                (Ok(_), Err(no_room)) => {
                    spool.note(&no_room, Spooled::Body);
                    gathered.continues = true;
                    return gathered;
                }
                (Err(error), _) => {
                    gathered.broken = Some(error);
                    break;
                }
            }
        }
        if let Some(large) = &mut gathered.large {
            // What finds no room goes with the request.
            if large.write(&gathered.small).is_ok() {
                gathered.small = Vec::new();
            }
        }
        gathered
    }

    /// Adds bytes at the end. They are kept even if there is no room for so many; then no more may be added.
    fn add(&mut self, bytes: &[u8], memory: u64, spool: &Arc<GroupSpool>) -> Result<(), NoRoom> {
        let fits = self.small.len() + bytes.len() <= INLINE;
        let made_room = if fits { Ok(()) } else { self.make_room(bytes.len(), memory, spool) };
        self.small.extend_from_slice(bytes);
        made_room
    }

    /// Moves what is in `small` to where large bodies are. If there is no room, everything stays where it is.
    fn make_room(
        &mut self,
        coming: usize,
        memory: u64,
        spool: &Arc<GroupSpool>,
    ) -> Result<(), NoRoom> {
        let length = self.large.as_ref().map_or(0, Large::length);
        let whole = length + (self.small.len() + coming) as u64;
        let new = match &mut self.large {
            None if whole > memory => Some(Large::on_disk(spool)?),
            None => Some(Large::in_memory()?),
            Some(Large::Memory { file, length }) if whole > memory => {
                Some(Large::moved(file, *length, spool)?)
            }
            Some(large) => {
                large.write(&self.small)?;
                None
            }
        };
        if let Some(mut new) = new {
            new.write(&self.small)?;
            self.large = Some(new);
        }
        self.small.clear();
        Ok(())
    }

    /// Forgets what has been gathered, and gives its room back. The worker has read it.
    pub fn release(&mut self) {
        (self.large, self.small) = (None, Vec::new());
    }

    /// How it goes to a worker.
    pub fn carried(&self) -> Carried<'_> {
        let file = self.large.as_ref().map(Large::length);
        Carried { file, inline: &self.small, continues: self.continues }
    }

    /// What goes beside the request.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.large.as_ref().map(|large| match large {
            Large::Memory { file, .. } | Large::Disk { for_worker: file, .. } => file.as_fd(),
        })
    }
}

impl Large {
    fn in_memory() -> io::Result<Large> {
        let file = File::from(memfd_create(c"rustgi-body", MFdFlags::MFD_CLOEXEC)?);
        // The kernel creates it with mode 0777.
        fchmod(file.as_fd(), Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(Large::Memory { file, length: 0 })
    }

    fn on_disk(spool: &Arc<GroupSpool>) -> io::Result<Large> {
        let file = SpoolFile::new(spool, Spooled::Body)?;
        let for_worker = file.for_reading()?;
        Ok(Large::Disk { file, for_worker })
    }

    /// Moves a body from memory to a file.
    fn moved(memory: &File, length: u64, spool: &Arc<GroupSpool>) -> Result<Large, NoRoom> {
        let mut large = Large::on_disk(spool)?;
        let (mut piece, mut at) = (vec![0; INLINE], 0);
        while at < length {
            let count = usize::try_from(length - at).unwrap_or(INLINE).min(INLINE);
            memory.read_exact_at(&mut piece[..count], at)?;
            large.write(&piece[..count])?;
            at += count as u64;
        }
        Ok(large)
    }

    fn length(&self) -> u64 {
        match self {
            Large::Memory { length, .. } => *length,
            Large::Disk { file, .. } => file.end(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        match self {
            Large::Memory { file, length } => {
                file.write_all(bytes)?;
                *length += bytes.len() as u64;
            }
            Large::Disk { file, .. } => file.append(bytes)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Carried, File, FileExt, Gathered, GroupSpool, INLINE, Large};
    use crate::daemon::spool::SpoolBudget;

    #[test]
    fn a_body_above_request_body_memory_goes_to_disk_whole_and_returns_its_bytes_to_the_budget() {
        let spool = GroupSpool::of_test(1 << 20);
        let sent: Vec<u8> = (0..500_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let mut gathered = Gathered::default();
        for piece in sent.chunks(INLINE) {
            gathered.add(piece, 200_000, &spool).unwrap();
        }
        let Some(Large::Disk { file, .. }) = &gathered.large else { panic!("it is in memory") };
        let mut kept = vec![0; file.end() as usize];
        file.read_at(&mut kept, 0).unwrap();
        kept.extend_from_slice(&gathered.small);
        assert!(kept == sent);
        assert!(spool.used() > 300_000);
        drop(gathered);
        assert_eq!(spool.used(), 0);
    }

    #[test]
    fn a_body_that_finds_no_room_keeps_all_that_it_was_given() {
        let no_directory =
            GroupSpool::new(&SpoolBudget::new([1 << 20]), b"test", 1 << 20, "/none".into());
        let full = GroupSpool::of_test(300_000);
        let nothing = GroupSpool::of_test(0);
        let piece = |n: u8| [n; 50_000];
        for (spool, memory) in [(full, 100_000), (nothing, 0), (no_directory, 100_000)] {
            let mut gathered = Gathered::default();
            let refused = (0..20).find(|n| gathered.add(&piece(*n), memory, &spool).is_err());
            let given: Vec<u8> = (0..=refused.expect("there is room")).flat_map(piece).collect();
            let Carried { file, inline, .. } = gathered.carried();
            assert!(inline.len() <= 100_000 && file != Some(0), "{file:?}");
            let mut kept = vec![0; file.unwrap_or_default() as usize];
            if let Some(file) = gathered.file() {
                let file = File::from(file.try_clone_to_owned().unwrap());
                file.read_exact_at(&mut kept, 0).unwrap();
            }
            kept.extend_from_slice(inline);
            assert!(kept == given, "{memory}: {} of {} bytes", kept.len(), given.len());
            gathered.release();
            assert_eq!(spool.used(), 0);
        }
    }
}
