//! The body of a request, received completely before a thread of a worker is reserved, so that a client that sends slowly does not
//! occupy one. Up to 64 KiB stay in memory; a larger body goes to a memfd, whose descriptor can be sent; above `request-body-memory` it
//! goes to a file without a name, up to the budget of the child ([`GroupSpool`]). Memory needs no budget: a request thread of the child
//! receives one body at a time and keeps at most `request-body-memory` of it in memory.

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

/// A body that has been gathered.
#[derive(Debug, Default)]
pub struct Gathered {
    small: Vec<u8>,
    large: Option<Large>,
    /// Why there is no more of it, if it ended before its end.
    pub broken: Option<ReadError>,
}

#[derive(Debug)]
enum Large {
    Memory { file: File, length: u64 },
    Disk { file: SpoolFile, for_worker: File },
}

impl Gathered {
    /// Reads all of a body. Up to `memory` bytes of it are kept in memory.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn read(
        exchange: &mut dyn Exchange,
        memory: u64,
        spool: &Arc<GroupSpool>,
    ) -> Result<Gathered, NoRoom> {
        let mut gathered = Gathered::default();
        loop {
            let mut kept = Ok(());
            let read = exchange.read(INLINE, &mut |bytes| {
                if kept.is_ok() {
                    kept = gathered.add(bytes, memory, spool);
                }
            });
            kept?;
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    gathered.broken = Some(error);
                    break;
                }
            }
        }
        if let Some(large) = &mut gathered.large {
            large.write(&gathered.small)?;
            gathered.small = Vec::new();
        }
        Ok(gathered)
    }

    fn add(&mut self, bytes: &[u8], memory: u64, spool: &Arc<GroupSpool>) -> Result<(), NoRoom> {
        if self.small.len() + bytes.len() > INLINE {
            let length = self.large.as_ref().map_or(0, Large::length);
            let whole = length + (self.small.len() + bytes.len()) as u64;
            let large = match self.large.take() {
                None if whole > memory => Large::on_disk(spool)?,
                None => Large::in_memory()?,
                Some(Large::Memory { file, length }) if whole > memory => {
                    Large::moved(&file, length, spool)?
                }
                Some(large) => large,
            };
            let large = self.large.insert(large);
            large.write(&self.small)?;
            self.small.clear();
        }
        self.small.extend_from_slice(bytes);
        Ok(())
    }

    /// How it goes to a worker.
    pub fn carried(&self) -> Carried<'_> {
        match &self.large {
            Some(large) => Carried::File(large.length()),
            None => Carried::Inline(&self.small),
        }
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
    use super::{Gathered, GroupSpool, INLINE, Large};

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
    fn a_body_without_room_returns_its_bytes_to_the_budget() {
        let spool = GroupSpool::of_test(300_000);
        let mut gathered = Gathered::default();
        let refused = (0..20).any(|_| gathered.add(&[b'x'; INLINE], 100_000, &spool).is_err());
        assert!(refused);
        drop(gathered);
        assert_eq!(spool.used(), 0);
    }
}
