//! Lists and tuples.
#![expect(
    unsafe_code,
    reason = "calls the C API on references whose types say that the thread is attached"
)]

use super::{Attached, Object, Py, Raised};
use pyo3_ffi as ffi;

impl Attached {
    /// An empty `list`.
    pub fn list(&self) -> Py<Object<'_>> {
        // SAFETY: attached.
        unsafe { Object::from_owned(self, ffi::PyList_New(0)) }
    }

    /// A `tuple` of these.
    pub fn tuple<const N: usize>(&self, items: [Object<'_>; N]) -> Py<Object<'_>> {
        // SAFETY: attached.
        let tuple = unsafe { Object::from_owned(self, ffi::PyTuple_New(N as ffi::Py_ssize_t))? };
        for (index, item) in items.into_iter().enumerate() {
            // SAFETY: a new tuple that nobody else knows; the count of `item` is given away.
            unsafe {
                ffi::PyTuple_SetItem(tuple.as_ptr(), index as ffi::Py_ssize_t, item.into_ptr());
            }
        }
        Ok(tuple)
    }
}

impl<'a> Object<'a> {
    /// Whether it is a `list` or of a subclass.
    pub fn is_list(&self) -> bool {
        // SAFETY: alive and attached.
        unsafe { ffi::PyList_Check(self.as_ptr()) != 0 }
    }

    /// Whether it is a `tuple` or of a subclass.
    pub fn is_tuple(&self) -> bool {
        // SAFETY: alive and attached.
        unsafe { ffi::PyTuple_Check(self.as_ptr()) != 0 }
    }

    /// `list.append(self, item)`.
    pub fn append(&self, item: &Object<'_>) -> Py<()> {
        // SAFETY: both are alive and the thread attached; anything but a list raises SystemError.
        Raised::when(unsafe { ffi::PyList_Append(self.as_ptr(), item.as_ptr()) != 0 })
    }

    /// How many items a `list` or `tuple` has (not what a subclass's `__len__` says).
    pub fn items_len(&self) -> usize {
        // SAFETY: alive and attached; the check decides which of the two it is.
        unsafe {
            if self.is_list() {
                ffi::PyList_Size(self.as_ptr()) as usize
            } else {
                ffi::PyTuple_Size(self.as_ptr()) as usize
            }
        }
    }

    /// An item of a `list` or `tuple`; nothing beyond the end.
    pub fn item(&self, index: usize) -> Option<Object<'a>> {
        if index >= self.items_len() {
            return None;
        }
        let (attached, index) = (self.attached(), index as ffi::Py_ssize_t);
        if !self.is_list() {
            // SAFETY: alive and attached; the index is within bounds, and a tuple holds its items as long as it lives.
            return Some(unsafe {
                Object::from_borrowed(attached, ffi::PyTuple_GetItem(self.as_ptr(), index))
            });
        }
        // SAFETY: alive and attached; a count of its own comes back.
        let item = unsafe {
            Object::from_owned(attached, ffi::compat::PyList_GetItemRef(self.as_ptr(), index))
        };
        // Without a lock of the interpreter another thread may have shortened the list: that is its end, too.
        item.map_err(Raised::forget).ok()
    }

    /// The items of a `list` or `tuple`, as long as there are any.
    pub fn items(&self) -> impl Iterator<Item = Object<'a>> {
        (0..).map_while(|index| self.item(index))
    }

    /// Whether it is exactly a `list` or a `tuple`, so that its items are all there is to it.
    pub fn is_plain_sequence(&self) -> bool {
        // SAFETY: alive and attached.
        unsafe {
            ffi::PyList_CheckExact(self.as_ptr()) != 0
                || ffi::PyTuple_CheckExact(self.as_ptr()) != 0
        }
    }
}
