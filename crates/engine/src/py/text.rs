//! `str` and `bytes`, and the bytes inside them.
#![expect(unsafe_code, reason = "reads the storage of str and bytes objects")]

use super::{Attached, Object, Py, Raised};
use pyo3_ffi as ffi;

impl Attached {
    /// A `str` of latin-1 bytes: PEP 3333's native string.
    pub fn latin1(&self, bytes: &[u8]) -> Py<Object<'_>> {
        // SAFETY: attached; pointer and length are a slice's.
        unsafe {
            Object::from_owned(
                self,
                ffi::PyUnicode_DecodeLatin1(
                    bytes.as_ptr().cast(),
                    bytes.len() as ffi::Py_ssize_t,
                    std::ptr::null(),
                ),
            )
        }
    }

    /// A `str` of UTF-8.
    pub fn text(&self, text: &str) -> Py<Object<'_>> {
        // SAFETY: attached; pointer and length are a slice's.
        unsafe {
            Object::from_owned(
                self,
                ffi::PyUnicode_FromStringAndSize(
                    text.as_ptr().cast(),
                    text.len() as ffi::Py_ssize_t,
                ),
            )
        }
    }

    /// An interned `str`, for a key that is used again and again.
    pub fn interned(&self, text: &str) -> Py<Object<'_>> {
        self.intern(self.text(text)?)
    }

    /// The same of latin-1.
    pub fn interned_latin1(&self, bytes: &[u8]) -> Py<Object<'_>> {
        self.intern(self.latin1(bytes)?)
    }

    fn intern<'a>(&'a self, text: Object<'a>) -> Py<Object<'a>> {
        let mut pointer = text.into_ptr();
        // SAFETY: attached; the count moves from the string to the interned one.
        unsafe { ffi::PyUnicode_InternInPlace(&mut pointer) };
        // SAFETY: as above.
        unsafe { Object::from_owned(self, pointer) }
    }

    /// A path as `str`: the file system's encoding with surrogate escapes, latin-1 if that fails.
    pub fn path(&self, bytes: &[u8]) -> Py<Object<'_>> {
        // SAFETY: attached; pointer and length are a slice's.
        let decoded = unsafe {
            Object::from_owned(
                self,
                ffi::PyUnicode_DecodeFSDefaultAndSize(
                    bytes.as_ptr().cast(),
                    bytes.len() as ffi::Py_ssize_t,
                ),
            )
        };
        decoded.or_else(|raised| {
            raised.forget();
            self.latin1(bytes)
        })
    }

    /// A `bytes` object.
    pub fn bytes(&self, bytes: &[u8]) -> Py<Object<'_>> {
        // SAFETY: attached; pointer and length are a slice's.
        unsafe {
            Object::from_owned(
                self,
                ffi::PyBytes_FromStringAndSize(
                    bytes.as_ptr().cast(),
                    bytes.len() as ffi::Py_ssize_t,
                ),
            )
        }
    }
}

impl<'a> Object<'a> {
    /// Whether it is a `str`.
    pub fn is_text(&self) -> bool {
        // SAFETY: alive and attached.
        unsafe { ffi::PyUnicode_Check(self.as_ptr()) != 0 }
    }

    /// The latin-1 bytes of a `str`, if all its characters are latin-1. Looks straight into the object.
    pub fn latin1_bytes(&self) -> Option<&[u8]> {
        if !self.is_text() {
            return None;
        }
        // SAFETY: a `str` is ready on every Python from 3.10 on as soon as it can be seen.
        if unsafe { ffi::PyUnicode_KIND(self.as_ptr()) } != ffi::PyUnicode_1BYTE_KIND {
            return None;
        }
        // SAFETY: a one-byte `str` stores its characters as latin-1; they do not change while it is alive.
        Some(unsafe {
            std::slice::from_raw_parts(
                ffi::PyUnicode_1BYTE_DATA(self.as_ptr()),
                ffi::PyUnicode_GET_LENGTH(self.as_ptr()) as usize,
            )
        })
    }

    /// The `bytes` of a `str` in latin-1; UnicodeEncodeError if it has other characters.
    pub fn encode_latin1(&self) -> Py<Object<'a>> {
        // SAFETY: alive and attached; anything but a `str` raises TypeError.
        unsafe { Object::from_owned(self.attached(), ffi::PyUnicode_AsLatin1String(self.as_ptr())) }
    }

    /// The `bytes` of a `str` in UTF-8; UnicodeEncodeError if it has lone surrogates.
    pub fn encode_utf8(&self) -> Py<Object<'a>> {
        // SAFETY: alive and attached; anything but a `str` raises TypeError.
        unsafe { Object::from_owned(self.attached(), ffi::PyUnicode_AsUTF8String(self.as_ptr())) }
    }

    /// The text of a `str`; what cannot be UTF-8 (lone surrogates) is escaped.
    pub fn to_text(&self) -> Py<String> {
        // SAFETY: alive and attached; anything but a `str` raises TypeError; the literals end in NUL.
        let bytes = unsafe {
            Object::from_owned(
                self.attached(),
                ffi::PyUnicode_AsEncodedString(
                    self.as_ptr(),
                    c"utf-8".as_ptr(),
                    c"backslashreplace".as_ptr(),
                ),
            )?
        };
        Ok(String::from_utf8_lossy(bytes.bytes().unwrap_or_default()).into_owned())
    }

    /// The bytes of a `bytes` object (or of a subclass's).
    pub fn bytes(&self) -> Option<&[u8]> {
        // SAFETY: alive and attached.
        if unsafe { ffi::PyBytes_Check(self.as_ptr()) } == 0 {
            return None;
        }
        // SAFETY: a `bytes` object stores so many bytes, which do not change while it is alive.
        Some(unsafe {
            std::slice::from_raw_parts(
                ffi::PyBytes_AS_STRING(self.as_ptr()).cast(),
                ffi::Py_SIZE(self.as_ptr()) as usize,
            )
        })
    }

    /// Calls `body` with the bytes of anything that has a contiguous buffer (`bytearray`, `memoryview`, …).
    pub fn with_buffer<R>(&self, body: impl FnOnce(&[u8]) -> R) -> Py<R> {
        let mut view = std::mem::MaybeUninit::<ffi::Py_buffer>::zeroed();
        // SAFETY: alive and attached; `view` is filled on success.
        let got =
            unsafe { ffi::PyObject_GetBuffer(self.as_ptr(), view.as_mut_ptr(), ffi::PyBUF_SIMPLE) };
        Raised::when(got != 0)?;
        // SAFETY: filled; a simple buffer is `len` bytes at `buf`, which may be null when there are none.
        let bytes = unsafe {
            let view = view.assume_init_ref();
            match view.len {
                0 => &[][..],
                length => std::slice::from_raw_parts(view.buf.cast(), length as usize),
            }
        };
        let result = body(bytes);
        // SAFETY: released once, after the last use of the bytes.
        unsafe { ffi::PyBuffer_Release(view.as_mut_ptr()) };
        Ok(result)
    }
}

unsafe extern "C" {
    /// Exported by libpython, not public in pyo3-ffi.
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> std::ffi::c_int;
}

/// A `bytes` object that is being filled. Nobody else can see it yet, so it may be filled while detached.
pub struct Filling<'a> {
    object: Object<'a>,
    filled: usize,
}

impl<'a> Filling<'a> {
    /// With room for `capacity` bytes. MemoryError if there is none.
    pub fn new(attached: &'a Attached, capacity: usize) -> Py<Filling<'a>> {
        // SAFETY: attached; a null pointer asks for uninitialised room.
        let object = unsafe {
            Object::from_owned(
                attached,
                ffi::PyBytes_FromStringAndSize(std::ptr::null(), capacity as ffi::Py_ssize_t),
            )?
        };
        Ok(Filling { object, filled: 0 })
    }

    /// How many bytes are in it.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// How many more it has room for.
    pub fn room(&self) -> usize {
        self.capacity() - self.filled
    }

    fn capacity(&self) -> usize {
        // SAFETY: reads the size field of a live object that only we know; no count is touched.
        unsafe { (*self.object.as_ptr().cast::<ffi::PyVarObject>()).ob_size as usize }
    }

    /// Appends bytes. There must be room for them.
    pub fn push(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.room(), "more bytes than were asked for");
        // SAFETY: room was checked; nobody else knows the object.
        unsafe {
            let start = ffi::PyBytes_AsString(self.object.as_ptr()).cast::<u8>().add(self.filled);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len());
        }
        self.filled += bytes.len();
    }

    /// Makes room for `capacity` bytes in all.
    pub fn resize(self, capacity: usize) -> Py<Filling<'a>> {
        let attached = self.object.attached();
        let filled = self.filled.min(capacity);
        let mut pointer = self.object.into_ptr();
        // SAFETY: attached; the only count is ours. On failure the object is gone and the pointer null.
        unsafe { _PyBytes_Resize(&mut pointer, capacity as ffi::Py_ssize_t) };
        // SAFETY: as above.
        let object = unsafe { Object::from_owned(attached, pointer)? };
        Ok(Filling { object, filled })
    }

    /// The finished object.
    pub fn finish(self) -> Py<Object<'a>> {
        let filled = self.filled;
        if filled == self.capacity() {
            return Ok(self.object);
        }
        Ok(self.resize(filled)?.object)
    }
}
