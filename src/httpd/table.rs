//! `apr_table_t`: a list of names and values, both strings. Names compare without regard to case.
#![expect(unsafe_code, reason = "reads and changes APR tables")]

use super::ffi;
use std::ffi::CStr;
use std::marker::PhantomData;

/// A table that lives for `'p`, and whose strings do.
#[derive(Clone, Copy)]
pub struct Table<'p> {
    raw: *mut ffi::apr_table_t,
    lives: PhantomData<fn(&'p ()) -> &'p ()>,
}

impl<'p> Table<'p> {
    /// The table of something that itself lives for `'p`.
    ///
    /// # Safety
    /// `raw` is a table whose pool lives until `'p` ends, and so do the strings in it; no other thread uses it.
    pub(super) unsafe fn of<O: ?Sized>(raw: *mut ffi::apr_table_t, _owner: &O) -> Table<'p> {
        Table { raw, lives: PhantomData }
    }

    /// The first value of a name.
    pub fn get(self, name: &CStr) -> Option<&'p [u8]> {
        // SAFETY: the table lives; the returned string does as long ('p).
        let value = unsafe { ffi::apr_table_get(self.raw, name.as_ptr()) };
        // SAFETY: a value of a table is a string of C or NULL.
        (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) }.to_bytes())
    }

    /// Replaces all values of a name by one.
    pub fn set(self, name: &'p CStr, value: &'p CStr) {
        // SAFETY: the table lives, and both strings as long as it.
        unsafe { ffi::apr_table_setn(self.raw, name.as_ptr(), value.as_ptr()) };
    }

    /// Adds a value, whether or not the name has one.
    pub fn add(self, name: &'p CStr, value: &'p CStr) {
        // SAFETY: the table lives, and both strings as long as it.
        unsafe { ffi::apr_table_addn(self.raw, name.as_ptr(), value.as_ptr()) };
    }

    /// Removes all values of a name.
    pub fn unset(self, name: &CStr) {
        // SAFETY: the table lives.
        unsafe { ffi::apr_table_unset(self.raw, name.as_ptr()) };
    }

    /// Removes everything.
    pub fn clear(self) {
        // SAFETY: the table lives.
        unsafe { ffi::apr_table_clear(self.raw) };
    }

    /// How many entries there are.
    pub fn len(self) -> usize {
        self.array().len()
    }

    fn array(self) -> &'p [ffi::apr_table_entry_t] {
        // SAFETY: `apr_table_elts` returns the table's own array.
        let array = unsafe { &*ffi::apr_table_elts(self.raw) };
        if array.nelts <= 0 || array.elts.is_null() {
            return &[];
        }
        // SAFETY: an array of `nelts` entries; nothing adds to the table while the caller walks it (`entries`).
        unsafe { std::slice::from_raw_parts(array.elts.cast(), array.nelts as usize) }
    }

    /// Calls `each` with every name and value, in order. A value that is NULL comes as an empty one. `each` must not
    /// add to or remove from this table.
    pub fn for_each(self, mut each: impl FnMut(&'p CStr, &'p [u8])) {
        for entry in self.array() {
            if entry.key.is_null() {
                continue;
            }
            // SAFETY: a name in a table is a string of C, and lives as long as the table.
            let name = unsafe { CStr::from_ptr(entry.key) };
            // SAFETY: a value is a string of C or NULL.
            let value = (!entry.val.is_null()).then(|| unsafe { CStr::from_ptr(entry.val) });
            each(name, value.map_or(&[], CStr::to_bytes));
        }
    }
}
