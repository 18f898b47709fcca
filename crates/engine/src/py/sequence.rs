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

    /// How many items a `list` or `tuple` has (not what a subclass's `__len__` says); anything else has none.
    pub fn items_len(&self) -> usize {
        // SAFETY: alive and attached; the check decides which of the two it is.
        unsafe {
            if self.is_list() {
                ffi::PyList_GET_SIZE(self.as_ptr()) as usize
            } else if self.is_tuple() {
                ffi::PyTuple_GET_SIZE(self.as_ptr()) as usize
            } else {
                0
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
                Object::from_borrowed(attached, ffi::PyTuple_GET_ITEM(self.as_ptr(), index))
            });
        }
        self.list_item(index)
    }

    /// An item of a `list`, which has so many; the interpreter's lock is held, so it still has.
    #[cfg(not(Py_GIL_DISABLED))]
    fn list_item(&self, index: ffi::Py_ssize_t) -> Option<Object<'a>> {
        // SAFETY: alive and attached; the index is within bounds, and a list has no empty places.
        Some(unsafe {
            Object::from_borrowed(self.attached(), ffi::PyList_GET_ITEM(self.as_ptr(), index))
        })
    }

    /// An item of a `list`. Another thread may have shortened it: that is its end, too.
    #[cfg(Py_GIL_DISABLED)]
    fn list_item(&self, index: ffi::Py_ssize_t) -> Option<Object<'a>> {
        // SAFETY: alive and attached; a count of its own comes back.
        let item = unsafe {
            Object::from_owned(
                self.attached(),
                ffi::compat::PyList_GetItemRef(self.as_ptr(), index),
            )
        };
        item.map_err(super::Raised::forget).ok()
    }

    /// The items of a `tuple` of two, which are its own as long as it lives.
    pub fn pair(&self) -> Option<[&Object<'a>; 2]> {
        // SAFETY: alive and attached; the check comes first.
        if !self.is_tuple() || unsafe { ffi::PyTuple_GET_SIZE(self.as_ptr()) } != 2 {
            return None;
        }
        let tuple = self.as_ptr().cast::<ffi::PyTupleObject>();
        // SAFETY: a tuple of two items, which lie behind each other and do not change while it is alive.
        unsafe {
            let items = (&raw const (*tuple).ob_item).cast::<*mut ffi::PyObject>();
            let attached = self.attached();
            Some([Object::peek(attached, &*items), Object::peek(attached, &*items.add(1))])
        }
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
