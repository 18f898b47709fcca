//! The body of a request, gathered before a worker is asked: whoever sends slowly keeps no worker waiting. A small one
//! stays in memory, a larger one goes to memory that can be handed on, and one that is larger still to a file without a name.

use exchange::{Exchange, ReadError};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::{File, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
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
struct Large {
    file: File,
    length: u64,
    is_on_disk: bool,
}

impl Gathered {
    /// Reads all of a body. Up to `memory` bytes of it are kept in memory.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn read(exchange: &mut dyn Exchange, memory: u64) -> io::Result<Gathered> {
        let mut gathered = Gathered::default();
        loop {
            let mut kept = Ok(());
            let read = exchange.read(INLINE, &mut |bytes| {
                if kept.is_ok() {
                    kept = gathered.add(bytes, memory);
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

    fn add(&mut self, bytes: &[u8], memory: u64) -> io::Result<()> {
        if self.small.len() + bytes.len() > INLINE {
            let length = self.large.as_ref().map_or(0, |large| large.length);
            let whole = length + (self.small.len() + bytes.len()) as u64;
            let large = match self.large.take() {
                None => Large::new(whole > memory)?,
                Some(large) if whole > memory && !large.is_on_disk => large.moved()?,
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
            Some(large) => Carried::File(large.length),
            None => Carried::Inline(&self.small),
        }
    }

    /// What goes beside the request.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.large.as_ref().map(|large| large.file.as_fd())
    }
}

impl Large {
    fn new(is_on_disk: bool) -> io::Result<Large> {
        let file = if is_on_disk {
            tempfile::tempfile()?
        } else {
            let file = File::from(memfd_create(c"rustgi-body", MFdFlags::MFD_CLOEXEC)?);
            // The kernel makes it with 0777.
            file.set_permissions(Permissions::from_mode(0o600))?;
            file
        };
        Ok(Large { file, length: 0, is_on_disk })
    }

    fn moved(mut self) -> io::Result<Large> {
        let mut large = Large::new(true)?;
        self.file.seek(SeekFrom::Start(0))?;
        large.length = io::copy(&mut self.file, &mut large.file)?;
        Ok(large)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}
