//! References to Python objects. A reference lives no longer than the [`Attached`] it was made with, and that ends
//! when the thread detaches, so no count is ever touched by a thread that may not.
#![expect(
    unsafe_code,
    reason = "calls the C API on references whose types say that the thread is attached"
)]

use super::{Py, Raised};
use crate::attach;
use pyo3_ffi as ffi;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

unsafe extern "C" {
    /// Exported by libpython, not public in pyo3-ffi.
    fn _PyObject_GetDictPtr(object: *mut ffi::PyObject) -> *mut *mut ffi::PyObject;
}

/// Proof that this thread is attached to an interpreter (holds its lock, where it has one). Made only by
/// [`crate::attach`] and by the doors through which Python calls us.
pub struct Attached {
    not_send: PhantomData<*mut ()>,
}

impl Attached {
    /// # Safety
    /// The thread is attached for as long as the value exists.
    pub unsafe fn assume() -> Attached {
        Attached { not_send: PhantomData }
    }

    /// Runs `body` detached, so that other threads may run Python meanwhile. `body` must not touch any object.
    pub fn detach<R>(&self, body: impl FnOnce() -> R) -> R {
        attach::detached(body)
    }

    /// `None`.
    pub fn none(&self) -> Object<'_> {
        // SAFETY: `None` exists as long as the interpreter; the count taken here is given back on drop.
        unsafe { Object::from_borrowed(self, ffi::Py_None()) }
    }

    /// `True` or `False`.
    pub fn bool(&self, value: bool) -> Object<'_> {
        // SAFETY: both exist as long as the interpreter; the count taken here is given back on drop.
        unsafe { Object::from_borrowed(self, if value { ffi::Py_True() } else { ffi::Py_False() }) }
    }

    /// An `int`.
    pub fn int(&self, value: i64) -> Py<Object<'_>> {
        // SAFETY: attached.
        unsafe { Object::from_owned(self, ffi::PyLong_FromLongLong(value)) }
    }

    /// A `float`.
    pub fn float(&self, value: f64) -> Py<Object<'_>> {
        // SAFETY: attached.
        unsafe { Object::from_owned(self, ffi::PyFloat_FromDouble(value)) }
    }

    /// A capsule without a name around an address that belongs to somebody else.
    pub fn capsule(&self, address: usize) -> Py<Object<'_>> {
        let pointer = std::ptr::with_exposed_provenance_mut(address);
        // SAFETY: attached; nothing is freed with the capsule. A null address raises ValueError.
        unsafe { Object::from_owned(self, ffi::PyCapsule_New(pointer, std::ptr::null(), None)) }
    }

    /// Imports a module by its dotted name.
    pub fn import(&self, name: &CStr) -> Py<Object<'_>> {
        // SAFETY: attached; `name` ends in NUL.
        unsafe { Object::from_owned(self, ffi::PyImport_ImportModule(name.as_ptr())) }
    }

    /// `sys.modules`.
    pub fn modules(&self) -> Object<'_> {
        // SAFETY: attached; the dict exists as long as the interpreter.
        unsafe { Object::from_borrowed(self, ffi::PyImport_GetModuleDict()) }
    }

    /// Replaces an attribute of `sys`.
    pub fn set_sys(&self, name: &CStr, value: &Object<'_>) -> Py<()> {
        // SAFETY: attached; `name` ends in NUL.
        Raised::when(unsafe { ffi::PySys_SetObject(name.as_ptr(), value.as_ptr()) } != 0)
    }
}

/// An owned reference. Its count is given back on drop, which the borrow of [`Attached`] makes sure is while attached.
#[repr(transparent)]
pub struct Object<'a> {
    pointer: NonNull<ffi::PyObject>,
    attached: PhantomData<&'a Attached>,
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        // SAFETY: one count is ours, and the thread is attached while `'a` lives.
        unsafe { ffi::Py_DECREF(self.pointer.as_ptr()) }
    }
}

impl Clone for Object<'_> {
    fn clone(&self) -> Self {
        // SAFETY: the object is alive and the thread attached.
        unsafe { ffi::Py_INCREF(self.pointer.as_ptr()) };
        Object { pointer: self.pointer, attached: PhantomData }
    }
}

impl<'a> Object<'a> {
    /// Takes over a new reference; null means that an exception is set.
    ///
    /// # Safety
    /// `pointer` is null or a count that the caller owns.
    pub unsafe fn from_owned(_: &'a Attached, pointer: *mut ffi::PyObject) -> Py<Object<'a>> {
        match NonNull::new(pointer) {
            Some(pointer) => Ok(Object { pointer, attached: PhantomData }),
            None => Err(Raised::already()),
        }
    }

    /// Takes a count of its own on a borrowed reference.
    ///
    /// # Safety
    /// `pointer` is an object that is alive.
    pub unsafe fn from_borrowed(_: &'a Attached, pointer: *mut ffi::PyObject) -> Object<'a> {
        // SAFETY: the caller's promise.
        unsafe { ffi::Py_INCREF(pointer) };
        // SAFETY: an object that is alive is not null.
        Object { pointer: unsafe { NonNull::new_unchecked(pointer) }, attached: PhantomData }
    }

    /// Sees an array of borrowed references as borrowed objects.
    ///
    /// # Safety
    /// `array` holds `count` objects that stay alive for `'a`.
    pub unsafe fn slice(
        _: &'a Attached,
        array: *const *mut ffi::PyObject,
        count: usize,
    ) -> &'a [Object<'a>] {
        if count == 0 {
            return &[];
        }
        // SAFETY: `Object` is a transparent non-null pointer; `&[Object]` gives back no counts.
        unsafe { std::slice::from_raw_parts(array.cast(), count) }
    }

    /// Sees one borrowed reference as a borrowed object.
    ///
    /// # Safety
    /// `pointer` is where the reference stands, and the object stays alive for `'b`.
    pub unsafe fn peek<'b>(_: &'b Attached, pointer: &'b *mut ffi::PyObject) -> &'b Object<'b> {
        // SAFETY: as in `slice`.
        unsafe { &*std::ptr::from_ref(pointer).cast() }
    }

    /// The reference itself, for the C API.
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.pointer.as_ptr()
    }

    /// Gives the count to the caller.
    pub fn into_ptr(self) -> *mut ffi::PyObject {
        let pointer = self.pointer.as_ptr();
        std::mem::forget(self);
        pointer
    }

    /// The proof it was made with.
    pub fn attached(&self) -> &'a Attached {
        const PROOF: &Attached = &Attached { not_send: PhantomData };
        PROOF
    }

    /// Whether it is `None`.
    pub fn is_none(&self) -> bool {
        // SAFETY: compares addresses.
        self.as_ptr() == unsafe { ffi::Py_None() }
    }

    /// How many counts there are on it; for an object that this thread has made, and of which nobody else could get hold
    /// without counting.
    #[cfg(not(Py_GIL_DISABLED))]
    pub fn count(&self) -> isize {
        // SAFETY: the object is alive and the thread attached.
        unsafe { ffi::Py_REFCNT(self.as_ptr()) }
    }

    /// As above. Other threads count on their own side, so what they hold shows there, or that they ever did.
    #[cfg(Py_GIL_DISABLED)]
    pub fn count(&self) -> isize {
        use std::sync::atomic::Ordering::{Acquire, Relaxed};
        // SAFETY: the object is alive and the thread attached; both fields are atomic.
        let (own, others) = unsafe {
            let object = &*self.as_ptr();
            (object.ob_ref_local.load(Relaxed), object.ob_ref_shared.load(Acquire))
        };
        if others == 0 { own as isize } else { isize::MAX }
    }

    /// Whether it has no attributes of its own and no weak references to it.
    pub fn is_bare(&self) -> bool {
        // SAFETY: a live object of a type that is ready: its dict, if instances have one, stands where the first line
        // says; the list of weak references, if there may be any, where the type says.
        unsafe {
            let dict = _PyObject_GetDictPtr(self.as_ptr());
            let no_dict = dict.is_null() || (*dict).is_null() || ffi::PyDict_Size(*dict) == 0;
            let offset = (*ffi::Py_TYPE(self.as_ptr())).tp_weaklistoffset;
            let list = self.as_ptr().byte_offset(offset).cast::<*mut ffi::PyObject>();
            no_dict && (offset == 0 || (*list).is_null())
        }
    }

    /// The name of its type, as error messages show it.
    pub fn type_name(&self) -> String {
        // SAFETY: a live object has a type, and the type a name that ends in NUL and lives as long as it.
        let name = unsafe { CStr::from_ptr((*ffi::Py_TYPE(self.as_ptr())).tp_name) };
        name.to_string_lossy().into_owned()
    }

    /// `self.name`.
    pub fn attr(&self, name: &Object<'_>) -> Py<Object<'a>> {
        let attached = self.attached();
        // SAFETY: both are alive and the thread attached.
        unsafe { Object::from_owned(attached, ffi::PyObject_GetAttr(self.as_ptr(), name.as_ptr())) }
    }

    /// `self.name` by a literal name.
    pub fn get(&self, name: &CStr) -> Py<Object<'a>> {
        let attached = self.attached();
        // SAFETY: alive and attached; `name` ends in NUL.
        unsafe {
            Object::from_owned(attached, ffi::PyObject_GetAttrString(self.as_ptr(), name.as_ptr()))
        }
    }

    /// `self.name`, or nothing where there is none. Another exception than AttributeError stays one.
    pub fn attr_if_there(&self, name: &Object<'_>) -> Py<Option<Object<'a>>> {
        match self.attr(name) {
            Ok(value) => Ok(Some(value)),
            Err(raised) if raised.is(super::Kind::Attribute) => {
                raised.forget();
                Ok(None)
            }
            Err(raised) => Err(raised),
        }
    }

    /// `self.name = value`.
    pub fn set(&self, name: &CStr, value: &Object<'_>) -> Py<()> {
        // SAFETY: both are alive and the thread attached; `name` ends in NUL.
        Raised::when(unsafe {
            ffi::PyObject_SetAttrString(self.as_ptr(), name.as_ptr(), value.as_ptr()) != 0
        })
    }

    /// `self(*arguments)`.
    pub fn call<const N: usize>(&self, arguments: [&Object<'_>; N]) -> Py<Object<'a>> {
        let raw = arguments.map(Object::as_ptr);
        // SAFETY: all are alive and the thread attached; the array outlives the call.
        unsafe {
            Object::from_owned(
                self.attached(),
                ffi::PyObject_Vectorcall(self.as_ptr(), raw.as_ptr(), N, std::ptr::null_mut()),
            )
        }
    }

    /// `self.name(*arguments)`.
    pub fn call_method<const N: usize>(
        &self,
        name: &CStr,
        arguments: [&Object<'_>; N],
    ) -> Py<Object<'a>> {
        self.get(name)?.call(arguments)
    }

    /// Runs this code object as the body of a module with these names.
    pub fn evaluate(&self, names: &Object<'_>) -> Py<()> {
        // SAFETY: alive and attached; a code object and a dict, or an exception is raised.
        let result = unsafe { ffi::PyEval_EvalCode(self.as_ptr(), names.as_ptr(), names.as_ptr()) };
        // SAFETY: a new reference or null.
        unsafe { Object::from_owned(self.attached(), result) }.map(drop)
    }

    /// `iter(self)`.
    pub fn iter(&self) -> Py<Object<'a>> {
        // SAFETY: alive and attached.
        unsafe { Object::from_owned(self.attached(), ffi::PyObject_GetIter(self.as_ptr())) }
    }

    /// `next(self)`, nothing at the end. `self` must be an iterator.
    pub fn next(&self) -> Py<Option<Object<'a>>> {
        // SAFETY: alive and attached; `self` came from `iter`.
        let pointer = unsafe { ffi::PyIter_Next(self.as_ptr()) };
        if pointer.is_null() {
            return Raised::if_set().map(|()| None);
        }
        // SAFETY: a new reference.
        unsafe { Object::from_owned(self.attached(), pointer) }.map(Some)
    }

    /// `bool(self)`.
    pub fn is_true(&self) -> Py<bool> {
        // SAFETY: alive and attached.
        match unsafe { ffi::PyObject_IsTrue(self.as_ptr()) } {
            -1 => Err(Raised::already()),
            truth => Ok(truth == 1),
        }
    }

    /// The value of an `int` (or of something with `__index__`) that fits.
    pub fn as_i64(&self) -> Py<i64> {
        let index = if self.is_int() {
            self.clone()
        } else {
            // SAFETY: alive and attached.
            unsafe { Object::from_owned(self.attached(), ffi::PyNumber_Index(self.as_ptr()))? }
        };
        let mut overflow = 0;
        // Many times as fast as `PyLong_AsLongLong`, which goes through an array of bytes before Python 3.12.
        // SAFETY: as above; a place for the flag.
        let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(index.as_ptr(), &mut overflow) };
        if value == -1 {
            Raised::if_set()?;
        }
        if overflow != 0 {
            let message = "int too large to convert";
            return Err(super::raise(self.attached(), super::Kind::Overflow, message));
        }
        Ok(value)
    }

    /// Whether it is an `int`.
    pub fn is_int(&self) -> bool {
        // SAFETY: alive and attached.
        unsafe { ffi::PyLong_Check(self.as_ptr()) != 0 }
    }

    /// `True` or `False`, if it is one of these two.
    pub fn as_bool(&self) -> Option<bool> {
        // SAFETY: compares addresses.
        let (is_true, is_false) =
            unsafe { (self.as_ptr() == ffi::Py_True(), self.as_ptr() == ffi::Py_False()) };
        (is_true || is_false).then_some(is_true)
    }

    /// Whether it is callable.
    pub fn is_callable(&self) -> bool {
        // SAFETY: alive and attached.
        unsafe { ffi::PyCallable_Check(self.as_ptr()) != 0 }
    }

    /// `repr(self)`, shortened if it is long; `?` if even that raises.
    pub fn repr(&self) -> String {
        // SAFETY: alive and attached.
        let made =
            unsafe { Object::from_owned(self.attached(), ffi::PyObject_Repr(self.as_ptr())) };
        match made.and_then(|text| text.to_text()) {
            Ok(text) if text.chars().count() > 200 => {
                text.chars().take(200).chain("...".chars()).collect()
            }
            Ok(text) => text,
            Err(raised) => {
                raised.forget();
                "?".into()
            }
        }
    }
}

/// A reference that an interpreter holds as long as it lives: names, types, constants.
pub struct Kept(NonNull<ffi::PyObject>);

// SAFETY: only `get` leads to the object, and it asks for proof that the thread is attached.
unsafe impl Send for Kept {}
// SAFETY: as above.
unsafe impl Sync for Kept {}

impl Kept {
    /// Keeps `object` for good.
    pub fn new(object: Object<'_>) -> Kept {
        let pointer = object.pointer;
        std::mem::forget(object);
        Kept(pointer)
    }

    /// The object. The caller is attached to the interpreter that keeps it.
    pub fn get<'b, 'a: 'b>(&'b self, _: &'a Attached) -> &'b Object<'a> {
        // SAFETY: `Object` is a transparent non-null pointer; `&Object` gives back no count, and the count that was
        // kept outlives the interpreter's last use.
        unsafe { &*std::ptr::from_ref(&self.0).cast() }
    }

    /// The object, given up by who kept it.
    pub fn release(self, _: &Attached) -> Object<'_> {
        Object { pointer: self.0, attached: PhantomData }
    }
}
