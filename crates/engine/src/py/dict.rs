//! Dicts: the environ of a request and the name spaces of modules.
#![expect(
    unsafe_code,
    reason = "calls the C API on references whose types say that the thread is attached"
)]

use super::{Attached, Object, Py, Raised};
use pyo3_ffi as ffi;

unsafe extern "C" {
    /// Exported by libpython (3.5 to 3.14), not declared by pyo3-ffi.
    fn _PyDict_NewPresized(minused: ffi::Py_ssize_t) -> *mut ffi::PyObject;
}

impl Attached {
    /// An empty `dict` with room for `room` entries.
    pub fn dict(&self, room: usize) -> Py<Object<'_>> {
        // SAFETY: attached.
        unsafe { Object::from_owned(self, _PyDict_NewPresized(room as ffi::Py_ssize_t)) }
    }
}

impl<'a> Object<'a> {
    /// A copy of this dict, with the same room.
    pub fn dict_copy(&self) -> Py<Object<'a>> {
        // SAFETY: alive and attached; anything but a dict raises SystemError.
        unsafe { Object::from_owned(self.attached(), ffi::PyDict_Copy(self.as_ptr())) }
    }

    /// `self[key] = value` of a dict.
    pub fn dict_set(&self, key: &Object<'_>, value: &Object<'_>) -> Py<()> {
        // SAFETY: all are alive and the thread attached.
        Raised::when(unsafe {
            ffi::PyDict_SetItem(self.as_ptr(), key.as_ptr(), value.as_ptr()) != 0
        })
    }

    /// `self.get(key)` of a dict.
    pub fn dict_get(&self, key: &Object<'_>) -> Py<Option<Object<'a>>> {
        // SAFETY: both are alive and the thread attached; a borrowed reference comes back.
        let pointer = unsafe { ffi::PyDict_GetItemWithError(self.as_ptr(), key.as_ptr()) };
        if pointer.is_null() {
            return Raised::if_set().map(|()| None);
        }
        // SAFETY: the dict holds it while we take our own count.
        Ok(Some(unsafe { Object::from_borrowed(self.attached(), pointer) }))
    }

    /// `self.pop(key, None)` of a dict.
    pub fn dict_remove(&self, key: &Object<'_>) -> Py<()> {
        if self.dict_get(key)?.is_none() {
            return Ok(());
        }
        // SAFETY: both are alive and the thread attached.
        Raised::when(unsafe { ffi::PyDict_DelItem(self.as_ptr(), key.as_ptr()) != 0 })
    }

    /// The name space of a module.
    pub fn module_dict(&self) -> Option<Object<'a>> {
        // SAFETY: alive and attached.
        if unsafe { ffi::PyModule_Check(self.as_ptr()) } == 0 {
            return None;
        }
        // SAFETY: a module has a dict, borrowed from it.
        Some(unsafe {
            Object::from_borrowed(self.attached(), ffi::PyModule_GetDict(self.as_ptr()))
        })
    }
}
