//! Python exceptions as Rust values.
#![expect(unsafe_code, reason = "reads and sets the thread's exception through the C API")]

use super::{Attached, Object};
use pyo3_ffi as ffi;
use std::ffi::CString;

/// The exception indicator of this thread is set. Whoever has this either passes it on to Python or takes it.
#[derive(Debug)]
#[must_use]
pub struct Raised(());

/// A result whose error is a Python exception that is set.
pub type Py<T> = Result<T, Raised>;

/// The built-in exceptions that we raise or look for.
#[derive(Clone, Copy)]
pub enum Kind {
    Attribute,
    Memory,
    Os,
    Overflow,
    Runtime,
    SystemExit,
    Type,
    Value,
}

impl Kind {
    fn class(self) -> *mut ffi::PyObject {
        // SAFETY: these are set when the library is loaded and never change.
        unsafe {
            match self {
                Kind::Attribute => ffi::PyExc_AttributeError,
                Kind::Memory => ffi::PyExc_MemoryError,
                Kind::Os => ffi::PyExc_OSError,
                Kind::Overflow => ffi::PyExc_OverflowError,
                Kind::Runtime => ffi::PyExc_RuntimeError,
                Kind::SystemExit => ffi::PyExc_SystemExit,
                Kind::Type => ffi::PyExc_TypeError,
                Kind::Value => ffi::PyExc_ValueError,
            }
        }
    }
}

impl Raised {
    /// Says that the C API has just set an exception.
    pub(super) fn already() -> Raised {
        debug_assert!(Raised::set(), "the C API reported an exception and set none");
        Raised(())
    }

    /// An error if `failed`; the C API has then set the exception.
    pub fn when(failed: bool) -> Py<()> {
        if failed { Err(Raised::already()) } else { Ok(()) }
    }

    /// An error if the exception indicator is set.
    pub(super) fn if_set() -> Py<()> {
        if Raised::set() { Err(Raised(())) } else { Ok(()) }
    }

    fn set() -> bool {
        // SAFETY: whoever calls the C API is attached.
        !unsafe { ffi::PyErr_Occurred() }.is_null()
    }

    /// Whether the exception is of this kind.
    pub fn is(&self, kind: Kind) -> bool {
        // SAFETY: the indicator is set, so the thread is attached.
        unsafe { ffi::PyErr_ExceptionMatches(kind.class()) != 0 }
    }

    /// Whether the exception is an instance of this class.
    pub fn is_a(&self, class: &Object<'_>) -> bool {
        // SAFETY: the indicator is set, so the thread is attached; the class is alive.
        unsafe { ffi::PyErr_ExceptionMatches(class.as_ptr()) != 0 }
    }

    /// Clears the exception: it is of no consequence.
    pub fn forget(self) {
        // SAFETY: as above.
        unsafe { ffi::PyErr_Clear() }
    }
}

/// Raises an exception with this message.
pub fn raise(_: &Attached, kind: Kind, message: &str) -> Raised {
    let text = CString::new(message.replace('\0', "\\x00")).unwrap_or_default();
    // SAFETY: attached; the text ends in NUL and is copied.
    unsafe { ffi::PyErr_SetString(kind.class(), text.as_ptr()) };
    Raised(())
}

/// An exception that was taken out of the indicator, with its traceback.
pub struct Exception<'a> {
    /// The exception object.
    pub value: Object<'a>,
}

impl<'a> Exception<'a> {
    /// Whether it is of this kind.
    pub fn is(&self, kind: Kind) -> bool {
        self.is_a_pointer(kind.class())
    }

    /// Whether it is an instance of this class.
    pub fn is_a(&self, class: &Object<'_>) -> bool {
        self.is_a_pointer(class.as_ptr())
    }

    fn is_a_pointer(&self, class: *mut ffi::PyObject) -> bool {
        // SAFETY: both are alive; matching against a class raises nothing.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.value.as_ptr(), class) != 0 }
    }

    /// Sets it again.
    pub fn restore(self) -> Raised {
        // SAFETY: the class is alive as long as its instance; `PyErr_SetObject` takes its own counts.
        unsafe {
            let value = self.value.as_ptr();
            ffi::PyErr_SetObject(ffi::Py_TYPE(value).cast(), value);
        }
        Raised(())
    }
}

/// Takes the exception out of the indicator. Its traceback is attached to it, so that printing shows all frames.
pub fn take_exception(attached: &Attached, raised: Raised) -> Exception<'_> {
    let Raised(()) = raised;
    Exception { value: taken(attached) }
}

#[cfg(Py_3_12)]
fn taken(attached: &Attached) -> Object<'_> {
    // SAFETY: attached; the indicator is set, so a new reference comes back.
    unsafe { Object::from_owned(attached, ffi::PyErr_GetRaisedException()) }
        .unwrap_or_else(|_| attached.none())
}

#[cfg(not(Py_3_12))]
fn taken(attached: &Attached) -> Object<'_> {
    use std::ptr::null_mut;
    let (mut kind, mut value, mut traceback) = (null_mut(), null_mut(), null_mut());
    // SAFETY: attached; the three counts become ours.
    unsafe { ffi::PyErr_Fetch(&mut kind, &mut value, &mut traceback) };
    // SAFETY: these are the fetched three; after this `value` is an instance of `kind`.
    unsafe { ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut traceback) };
    if !traceback.is_null() {
        // SAFETY: `value` is an exception and `traceback` a traceback.
        unsafe { ffi::PyException_SetTraceback(value, traceback) };
        // SAFETY: the exception holds its own count now.
        unsafe { ffi::Py_DECREF(traceback) };
    }
    // SAFETY: normalising leaves a class; its count is ours.
    unsafe { ffi::Py_XDECREF(kind) };
    // SAFETY: as for `kind`; the indicator was set, so there is a value.
    unsafe { Object::from_owned(attached, value) }.unwrap_or_else(|_| attached.none())
}

/// Raises the exception that an `exc_info` tuple holds, with its traceback.
pub fn raise_exc_info(
    _: &Attached,
    kind: &Object<'_>,
    value: &Object<'_>,
    traceback: &Object<'_>,
) -> Raised {
    // SAFETY: all are alive and the thread attached. The traceback is set only on what is an exception, which refuses
    // anything but a traceback or None; a kind that is no exception class raises SystemError.
    unsafe {
        if ffi::PyExceptionInstance_Check(value.as_ptr()) != 0
            && ffi::PyException_SetTraceback(value.as_ptr(), traceback.as_ptr()) != 0
        {
            return Raised(());
        }
        ffi::PyErr_SetObject(kind.as_ptr(), value.as_ptr());
    }
    Raised(())
}
