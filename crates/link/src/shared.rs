//! Memory that several processes map. It is a `memfd` whose size is sealed, so that no process can take it away from under
//! another; its content is atomics, or bytes that are only copied, so that no process can make another's reads unsound. It is mapped for the rest of the
//! process's life, or as long as a [`Mapped`] of it lives.
#![expect(unsafe_code, reason = "maps memory that other processes map as well")]

use rustix::fs::{
    MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate,
    memfd_create,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What may lie in shared memory.
///
/// # Safety
/// All bytes zero is a value, every value of every byte is one, and everything in it is an atomic or lies in an `UnsafeCell`
/// to which nobody is given a reference.
pub unsafe trait Layout: Sync + 'static {}

/// Memory of the layout `T`, to be mapped.
pub struct Shared<T: Layout>(OwnedFd, PhantomData<T>);

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

impl<T: Layout> Shared<T> {
    /// New memory, all zero. The descriptor is closed on exec. Mode 0600: other users cannot open the memory by its path in
    /// `/proc/<pid>/fd`.
    ///
    /// # Errors
    /// The system has none.
    pub fn create(name: &str) -> io::Result<Shared<T>> {
        Shared::create_with(name, 0o600)
    }

    /// As [`create`](Shared::create), but with mode 0644: other users can open it for reading.
    ///
    /// # Errors
    /// There is no memory, or there are no more descriptors.
    pub fn create_for_readers(name: &str) -> io::Result<Shared<T>> {
        Shared::create_with(name, 0o644)
    }

    fn create_with(name: &str, mode: u32) -> io::Result<Shared<T>> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create(name, flags)?;
        // The kernel creates it with mode 0777.
        fchmod(&file, Mode::from_raw_mode(mode))?;
        ftruncate(&file, size_of::<T>() as u64)?;
        fcntl_add_seals(&file, SEALS)?;
        Ok(Shared(file, PhantomData))
    }

    /// Memory that another process has made.
    ///
    /// # Errors
    /// It is not of this size, or could be cut.
    pub fn adopt(file: OwnedFd) -> io::Result<Shared<T>> {
        let is_sealed = fcntl_get_seals(&file)?.contains(SEALS);
        if !is_sealed || fstat(&file)?.st_size as u64 != size_of::<T>() as u64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "shared memory of another kind",
            ));
        }
        Ok(Shared(file, PhantomData))
    }

    /// Maps it to be read only.
    ///
    /// # Errors
    /// There is no address space.
    pub fn read(&self) -> io::Result<&'static T> {
        self.map(ProtFlags::READ)
    }

    /// Maps it to be read and written.
    ///
    /// # Errors
    /// There is no address space.
    pub fn write(&self) -> io::Result<&'static T> {
        self.map(ProtFlags::READ | ProtFlags::WRITE)
    }

    /// Maps it to be read and written until what is returned is dropped.
    ///
    /// # Errors
    /// There is no address space.
    pub fn map_for_now(&self) -> io::Result<Mapped<T>> {
        Ok(Mapped(self.map(ProtFlags::READ | ProtFlags::WRITE)?))
    }

    fn map(&self, protection: ProtFlags) -> io::Result<&'static T> {
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping, at an address that the system chooses.
        let address =
            unsafe { mmap(null, size_of::<T>(), protection, MapFlags::SHARED, &self.0, 0)? };
        // SAFETY: the file is as long as `T` and cannot be cut; `T` is a `Layout`; only a `Mapped` unmaps it, at its end.
        Ok(unsafe { &*address.cast::<T>() })
    }
}

/// Shared memory that is mapped as long as this lives.
pub struct Mapped<T: Layout>(&'static T);

impl<T: Layout> Deref for Mapped<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0
    }
}

impl<T: Layout> Drop for Mapped<T> {
    fn drop(&mut self) {
        let address: *const T = self.0;
        // SAFETY: mapped by `map_for_now` for this alone, and nobody borrows from it any more. It can only fail for an
        // address that is none.
        let _ = unsafe { munmap(address.cast_mut().cast(), size_of::<T>()) };
    }
}

impl<T: Layout> AsFd for Shared<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T: Layout> From<Shared<T>> for OwnedFd {
    fn from(shared: Shared<T>) -> OwnedFd {
        shared.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    // SAFETY: an atomic only.
    unsafe impl Layout for AtomicU32 {}

    #[test]
    fn other_users_cannot_write_to_shared_memory_by_its_name_in_proc() {
        let mode = |shared: &Shared<AtomicU32>| fstat(shared).unwrap().st_mode & 0o7777;
        assert_eq!(mode(&Shared::create("own").unwrap()), 0o600);
        assert_eq!(mode(&Shared::create_for_readers("board").unwrap()), 0o644);
    }
}
