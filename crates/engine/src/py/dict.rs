//! Dicts: the environ of a request and the name spaces of modules.
#![expect(
    unsafe_code,
    reason = "calls the C API on references whose types say that the thread is attached"
)]

use super::{Attached, Object, Py, Raised};
use pyo3_ffi as ffi;

impl Attached {
    /// An empty `dict`.
    pub fn dict(&self) -> Py<Object<'_>> {
        // SAFETY: attached.
        unsafe { Object::from_owned(self, ffi::PyDict_New()) }
    }
}

impl<'a> Object<'a> {
    /// A copy of this dict.
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
        let mut pointer = std::ptr::null_mut();
        // SAFETY: both are alive and the thread attached; `pointer` gets a count of its own, or null.
        let found = unsafe {
            ffi::compat::PyDict_GetItemRef(self.as_ptr(), key.as_ptr(), &raw mut pointer)
        };
        Raised::when(found < 0)?;
        if pointer.is_null() {
            return Ok(None);
        }
        // SAFETY: as above.
        unsafe { Object::from_owned(self.attached(), pointer) }.map(Some)
    }

    /// `self.pop(key, None)` of a dict.
    #[cfg(Py_3_13)]
    pub fn dict_remove(&self, key: &Object<'_>) -> Py<()> {
        let mut removed = std::ptr::null_mut();
        // SAFETY: both are alive and the thread attached; `removed` gets a count of its own, or null.
        let found = unsafe { ffi::PyDict_Pop(self.as_ptr(), key.as_ptr(), &raw mut removed) };
        Raised::when(found < 0)?;
        // SAFETY: as above.
        unsafe { ffi::Py_XDECREF(removed) };
        Ok(())
    }

    /// `self.pop(key, None)` of a dict. The interpreter's lock is held, so nobody takes it out in between.
    #[cfg(not(Py_3_13))]
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
