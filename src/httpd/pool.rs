//! `apr_pool_t`: memory that is freed all at once, when the thing it was made for (a request, a configuration) ends.
#![expect(unsafe_code, reason = "asks APR for memory and hands it out with the pool's lifetime")]

#[cfg(not(test))]
use super::ffi as c;
#[cfg(test)]
use super::stand_ins as c;
use super::{ServerRec, ffi};
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;

/// A pool that lives for `'p`.
#[derive(Clone, Copy)]
pub struct Pool<'p> {
    raw: *mut ffi::apr_pool_t,
    lives: PhantomData<fn(&'p ()) -> &'p ()>,
}

impl<'p> Pool<'p> {
    /// Enters a pool.
    ///
    /// # Safety
    /// `raw` is a pool that is neither cleared nor destroyed before this returns, and no other thread uses it.
    pub unsafe fn with<T>(
        raw: *mut ffi::apr_pool_t,
        body: impl for<'a> FnOnce(Pool<'a>) -> T,
    ) -> T {
        body(Pool { raw, lives: PhantomData })
    }

    /// Enters a pool together with a server of the configuration that the pool's strings are for.
    ///
    /// # Safety
    /// As [`with`](Pool::with); the server lives as long as the pool.
    pub unsafe fn with_server<T>(
        raw: *mut ffi::apr_pool_t,
        server: *mut ffi::server_rec,
        body: impl for<'a> FnOnce(Pool<'a>, ServerRec<'a>) -> T,
    ) -> T {
        // SAFETY: the caller's promise.
        unsafe {
            Pool::with(raw, |pool| {
                ServerRec::with(server, |server| body(pool, server.as_long_as(pool)))
            })
        }
    }

    /// The pool of something that itself lives for `'p`.
    ///
    /// # Safety
    /// `raw` is a pool that is neither cleared nor destroyed before `'p` ends, and no other thread uses it.
    pub(super) unsafe fn of<O: ?Sized>(raw: *mut ffi::apr_pool_t, _owner: &O) -> Pool<'p> {
        Pool { raw, lives: PhantomData }
    }

    /// For calls into APR and httpd.
    pub fn raw(self) -> *mut ffi::apr_pool_t {
        self.raw
    }

    /// `length` bytes, all of them zero or whatever was there before: the caller writes every one.
    fn allocate(self, length: usize) -> *mut u8 {
        // SAFETY: the pool is alive for 'p; httpd's pools abort the process rather than return NULL.
        let memory = unsafe { c::apr_palloc(self.raw, length) };
        assert!(!memory.is_null(), "httpd's pools never return NULL");
        memory.cast()
    }

    /// The parts, one after the other, as one string of the pool. A part that holds a NUL ends the string there for
    /// C, so callers pass only what came from C or was checked.
    pub fn concat(self, parts: &[&[u8]]) -> &'p CStr {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let start = self.allocate(length + 1);
        let mut end = start;
        for part in parts {
            // SAFETY: `allocate` gave `length + 1` bytes, and the parts together are `length`.
            unsafe { end.copy_from_nonoverlapping(part.as_ptr(), part.len()) };
            // SAFETY: still inside, or one before the end.
            end = unsafe { end.add(part.len()) };
        }
        // SAFETY: the last of the `length + 1` bytes.
        unsafe { end.write(0) };
        // SAFETY: the bytes end with the NUL just written, and live as long as the pool.
        unsafe { CStr::from_ptr(start.cast()) }
    }

    /// A copy of `bytes` as a string of the pool; see [`concat`](Pool::concat).
    pub fn text(self, bytes: &[u8]) -> &'p CStr {
        self.concat(&[bytes])
    }

    /// `length` bytes, each made by `byte` from its position.
    pub fn bytes_from(self, length: usize, byte: impl Fn(usize) -> u8) -> &'p [u8] {
        let start = self.allocate(length.max(1));
        for at in 0..length {
            // SAFETY: `at` is below the length that was allocated.
            unsafe { start.add(at).write(byte(at)) };
        }
        // SAFETY: all `length` bytes have been written, and live as long as the pool.
        unsafe { std::slice::from_raw_parts(start, length) }
    }

    /// A copy of a list, in the pool.
    pub fn list<T: Copy>(self, list: &[T]) -> &'p [T] {
        const { assert!(align_of::<T>() <= 16 && size_of::<T>() > 0, "what APR aligns to") };
        // APR aligns to 8; a list of wider things is moved to the next multiple.
        let start = self.allocate(size_of_val(list) + align_of::<T>());
        let start: *mut T = start.wrapping_add(start.align_offset(align_of::<T>())).cast();
        for (at, value) in list.iter().enumerate() {
            // SAFETY: `at` is below the length that was allocated, and the place is aligned.
            unsafe { start.add(at).write(*value) };
        }
        // SAFETY: all places have been written, and live as long as the pool.
        unsafe { std::slice::from_raw_parts(start, list.len()) }
    }

    /// What was given to the pool under a name, or NULL.
    pub fn userdata(self, key: &'static CStr) -> *mut c_void {
        let mut found = std::ptr::null_mut();
        // SAFETY: the pool is alive; a place for the answer, which stays NULL where there is nothing.
        unsafe { ffi::apr_pool_userdata_get(&mut found, key.as_ptr(), self.raw) };
        found
    }

    /// As [`keep`](Pool::keep), to be found again under a name.
    pub fn keep_as<T>(self, key: &'static CStr, value: T) -> *mut T {
        let kept = self.keep(value);
        // SAFETY: the pool is alive and drops the value itself; the key lives for ever.
        unsafe { ffi::apr_pool_userdata_setn(kept.cast(), key.as_ptr(), None, self.raw) };
        kept
    }

    /// Moves a value that needs no drop into the pool.
    pub fn place<T: Copy>(self, value: T) -> *mut T {
        const { assert!(align_of::<T>() <= 8, "what APR aligns to") };
        let memory: *mut T = self.allocate(size_of::<T>()).cast();
        // SAFETY: `memory` has the size, and APR's alignment of 8 is enough.
        unsafe { memory.write(value) };
        memory
    }

    /// Moves a value into the pool's keeping; it is dropped when the pool is cleared or destroyed.
    pub fn keep<T>(self, value: T) -> *mut T {
        unsafe extern "C" fn release<T>(value: *mut c_void) -> ffi::apr_status_t {
            // SAFETY: registered below with what `Box::into_raw` returned; APR runs a cleanup once.
            super::callback::guarded((), || drop(unsafe { Box::from_raw(value.cast::<T>()) }));
            0
        }
        let value = Box::into_raw(Box::new(value));
        // SAFETY: the pool is alive; the second function is APR's own "do nothing before exec".
        unsafe {
            ffi::apr_pool_cleanup_register(
                self.raw,
                value.cast(),
                Some(release::<T>),
                Some(ffi::apr_pool_cleanup_null),
            );
        }
        value
    }
}
