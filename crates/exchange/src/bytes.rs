//! Borrowed plain data with a C layout: a pointer and a length, nothing else.
//!
//! `&[T]` has no layout that two compilers must agree on; [`Slice`] has. Both sides of the interface build these from
//! ordinary slices and read them as ordinary slices, so no other file needs `unsafe` for it.
#![expect(
    unsafe_code,
    reason = "turns a pointer and a length back into the slice they were made from"
)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// `&'a [T]` with a C layout. `T` must itself have a C layout where it crosses between shared objects.
#[repr(C)]
pub struct Slice<'a, T> {
    pointer: *const T,
    length: usize,
    borrowed: PhantomData<&'a [T]>,
}

/// `&'a [u8]` with a C layout.
pub type Bytes<'a> = Slice<'a, u8>;

// SAFETY: a `Slice` is a shared borrow of `[T]`, which is `Send` exactly when `T` is `Sync`.
unsafe impl<T: Sync> Send for Slice<'_, T> {}
// SAFETY: as above: `&[T]` is `Sync` exactly when `T` is `Sync`.
unsafe impl<T: Sync> Sync for Slice<'_, T> {}

impl<'a, T> Slice<'a, T> {
    /// The slice of no elements.
    pub const EMPTY: Slice<'a, T> = Slice::new(&[]);

    /// Borrows `slice` for `'a`.
    pub const fn new(slice: &'a [T]) -> Self {
        Slice { pointer: slice.as_ptr(), length: slice.len(), borrowed: PhantomData }
    }

    /// The slice this was made from.
    pub const fn get(self) -> &'a [T] {
        // SAFETY: `new` took pointer and length from a `&'a [T]`, and the borrow is still running.
        unsafe { std::slice::from_raw_parts(self.pointer, self.length) }
    }
}

impl<T> Clone for Slice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Slice<'_, T> {}

impl<T> Deref for Slice<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.get()
    }
}

impl<T> Default for Slice<'_, T> {
    fn default() -> Self {
        Slice::EMPTY
    }
}

impl<'a, T> From<&'a [T]> for Slice<'a, T> {
    fn from(slice: &'a [T]) -> Self {
        Slice::new(slice)
    }
}

impl<'a> From<&'a str> for Bytes<'a> {
    fn from(text: &'a str) -> Self {
        Slice::new(text.as_bytes())
    }
}

impl<T: fmt::Debug> fmt::Debug for Slice<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_comes_back_as_it_went_in() {
        let bytes = Bytes::from("environ");
        assert_eq!(bytes.get(), b"environ");
        assert!(Bytes::EMPTY.is_empty());
        assert_eq!(std::mem::size_of::<Bytes<'_>>(), 2 * std::mem::size_of::<usize>());
    }
}
