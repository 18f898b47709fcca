//! Types of ours: heap types that are made anew in every interpreter, whose instances carry a Rust value, and the one
//! door through which Python calls their methods.
#![expect(unsafe_code, reason = "lays out Python types and is called by Python")]

use super::{Attached, Kept, Kind, Object, Py, raise};
use crate::attach;
use pyo3_ffi as ffi;
use std::any::TypeId;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

/// A type whose instances carry a `Self`.
pub trait Class: Sized + Send + Sync + 'static {
    /// `module.Name`.
    const NAME: &'static CStr;
    /// Its docstring.
    const DOC: &'static CStr;
    /// Whether Python code may derive from it and make instances (then `slots` has a `tp_new`).
    const OPEN: bool = false;
    /// Its methods.
    const METHODS: &'static [ffi::PyMethodDef] = &[];
    /// Its attributes.
    const ATTRIBUTES: &'static [ffi::PyGetSetDef] = &[];
    /// Whatever else it has.
    fn slots() -> Vec<ffi::PyType_Slot> {
        Vec::new()
    }
    /// Python objects that the value holds, for the collector of cycles.
    fn held(&self) -> Option<*mut ffi::PyObject> {
        None
    }
}

/// An instance in memory.
#[repr(C)]
struct Instance<T> {
    base: ffi::PyObject,
    value: T,
}

/// The type of instances that carry a `T`, as one interpreter has it.
pub struct Made<T> {
    class: Kept,
    carries: PhantomData<fn() -> T>,
}

impl<T: Class> Made<T> {
    /// Makes the type in the current interpreter.
    pub fn new(attached: &Attached, module: &Object<'_>) -> Py<Made<T>> {
        Ok(Made { class: Kept::new(make_class::<T>(attached, module)?), carries: PhantomData })
    }

    /// The type.
    pub fn class<'b, 'a: 'b>(&'b self, attached: &'a Attached) -> &'b Object<'a> {
        self.class.get(attached)
    }

    /// Makes an instance.
    pub fn instance<'a>(&self, attached: &'a Attached, value: T) -> Py<Object<'a>> {
        // SAFETY: the type is one that `make_class::<T>` made.
        unsafe { instance(attached, self.class.get(attached), value) }
    }

    /// What `object` carries, if it is an instance of this type or of one derived from it.
    pub fn value<'b>(&self, object: &'b Object<'_>) -> Option<&'b T> {
        let class = self.class.get(object.attached()).as_ptr().cast();
        // SAFETY: compares the type of a live object with another live type.
        let is_instance = unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), class) != 0 };
        // SAFETY: the type is the one that `make_class::<T>` made, or its instances begin like that one's; the object
        // is alive as long as its borrow.
        is_instance.then(|| unsafe { value_of(object.as_ptr()) })
    }
}

/// Makes the type in the current interpreter.
fn make_class<'a, T: Class>(attached: &'a Attached, module: &Object<'_>) -> Py<Object<'a>> {
    // SAFETY: attached; the definition and everything in it lives as long as the process.
    unsafe {
        Object::from_owned(
            attached,
            ffi::PyType_FromModuleAndSpec(module.as_ptr(), definition::<T>(), null_mut()),
        )
    }
}

/// What the type is made from: one for the process, which interpreters read and nobody changes.
struct Definition(*mut ffi::PyType_Spec);

// SAFETY: the definition is only read once it is made.
unsafe impl Send for Definition {}

/// The definition of a type, made at first use.
fn definition<T: Class>() -> *mut ffi::PyType_Spec {
    static MADE: Mutex<Vec<(TypeId, Definition)>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, found)) = made.iter().find(|(class, _)| *class == TypeId::of::<T>()) {
        return found.0;
    }
    let new = define::<T>();
    made.push((TypeId::of::<T>(), Definition(new)));
    new
}

fn define<T: Class>() -> *mut ffi::PyType_Spec {
    let mut slots = T::slots();
    slots.push(slot(ffi::Py_tp_dealloc, dealloc::<T> as *mut c_void));
    slots.push(slot(ffi::Py_tp_doc, T::DOC.as_ptr() as *mut c_void));
    slots.push(slot(ffi::Py_tp_methods, terminated(T::METHODS, ffi::PyMethodDef::zeroed())));
    slots.push(slot(ffi::Py_tp_getset, terminated(T::ATTRIBUTES, no_attribute())));
    let mut flags = ffi::Py_TPFLAGS_DEFAULT;
    if T::OPEN {
        flags |= ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
        slots.push(slot(ffi::Py_tp_traverse, traverse::<T> as *mut c_void));
    } else {
        flags |= ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    }
    slots.push(ffi::PyType_Slot::default());
    Box::leak(Box::new(ffi::PyType_Spec {
        name: T::NAME.as_ptr(),
        basicsize: size_of::<Instance<T>>() as c_int,
        itemsize: 0,
        flags: flags as _,
        slots: slots.leak().as_mut_ptr(),
    }))
}

/// One slot of a type's definition.
pub fn slot(slot: impl TryInto<c_int>, function: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot: slot.try_into().unwrap_or_default(), pfunc: function }
}

fn terminated<D: Copy>(definitions: &[D], end: D) -> *mut c_void {
    let mut all = definitions.to_vec();
    all.push(end);
    all.leak().as_mut_ptr().cast()
}

const fn no_attribute() -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: std::ptr::null(),
        get: None,
        set: None,
        doc: std::ptr::null(),
        closure: null_mut(),
    }
}

/// Makes an instance of `class`, which `make_class::<T>` made (or of a class derived from it).
///
/// # Safety
/// `class` is such a type.
pub unsafe fn instance<'a, T: Class>(
    attached: &'a Attached,
    class: &Object<'_>,
    value: T,
) -> Py<Object<'a>> {
    let class = class.as_ptr().cast::<ffi::PyTypeObject>();
    // SAFETY: attached; a type that is ready has an allocator.
    let made = unsafe {
        let allocate = (*class).tp_alloc.unwrap_or(ffi::PyType_GenericAlloc);
        Object::from_owned(attached, allocate(class, 0))?
    };
    // SAFETY: the new object has room for an `Instance<T>`, as the type's `basicsize` says.
    unsafe { (&raw mut (*made.as_ptr().cast::<Instance<T>>()).value).write(value) };
    Ok(made)
}

/// The value that an instance carries.
///
/// # Safety
/// `object` is an instance of a type that `make_class::<T>` made and stays alive for `'b`.
pub unsafe fn value_of<'b, T: Class>(object: *mut ffi::PyObject) -> &'b T {
    // SAFETY: the caller's promise, and `instance` wrote the value.
    unsafe { &(*object.cast::<Instance<T>>()).value }
}

unsafe extern "C" fn dealloc<T: Class>(object: *mut ffi::PyObject) {
    // SAFETY: Python calls this once, with an instance whose last count is gone. The type is held by each instance.
    unsafe {
        let class = ffi::Py_TYPE(object);
        if T::OPEN {
            ffi::PyObject_GC_UnTrack(object.cast());
        }
        let value = &raw mut (*object.cast::<Instance<T>>()).value;
        // A panic in a destructor must not reach Python; the value is lost either way.
        let _ = catch_unwind(AssertUnwindSafe(|| std::ptr::drop_in_place(value)));
        if let Some(free) = (*class).tp_free {
            free(object.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn traverse<T: Class>(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: Python calls this with a live instance; the type is one of the things it holds.
    unsafe {
        let of_type = visit(ffi::Py_TYPE(object).cast(), argument);
        if of_type != 0 {
            return of_type;
        }
        value_of::<T>(object).held().map_or(0, |held| visit(held, argument))
    }
}

/// A method of `object`, as looking it up by its name would give it.
pub fn bound<'a>(object: &Object<'a>, method: &'static ffi::PyMethodDef) -> Py<Object<'a>> {
    let method = (&raw const *method).cast_mut();
    // SAFETY: the object is alive and attached, and the definition lives for ever and is not written to.
    unsafe {
        let made = ffi::PyCFunction_NewEx(method, object.as_ptr(), null_mut());
        Object::from_owned(object.attached(), made)
    }
}

/// Runs `body` for Python: attached, with panics and exceptions turned into what Python expects.
pub fn door<R>(failed: R, body: impl FnOnce(&Attached) -> Py<R>) -> R {
    // SAFETY: Python calls us attached, and the value ends with this call.
    let attached = unsafe { Attached::assume() };
    let _guest = attach::Guest::new();
    match catch_unwind(AssertUnwindSafe(|| body(&attached))) {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => failed,
        Err(_) => {
            let _ = raise(
                &attached,
                Kind::Runtime,
                "WSGI1010: an internal error of mod_rustgi was caught",
            );
            failed
        }
    }
}

/// `self` of a method: the object and the value that it carries.
pub struct This<'a, T> {
    /// The object.
    pub object: &'a Object<'a>,
    value: &'a T,
}

impl<T> std::ops::Deref for This<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value
    }
}

/// As [`door`], for a method of `T` that gives an object.
///
/// # Safety
/// `object` is an instance of `T`'s type, `arguments` holds `count` objects; all are alive during the call.
pub unsafe fn method_door<T: Class>(
    object: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    body: for<'a> fn(&'a Attached, This<'a, T>, &'a [Object<'a>]) -> Py<Object<'a>>,
) -> *mut ffi::PyObject {
    door(null_mut(), |attached| {
        // SAFETY: the caller's promises.
        let (value, object, arguments) = unsafe {
            (
                value_of::<T>(object),
                Object::peek(attached, &object),
                Object::slice(attached, arguments, count.max(0) as usize),
            )
        };
        body(attached, This { object, value }, arguments).map(Object::into_ptr)
    })
}

/// Declares a method that takes positional arguments: `method!(Input, "read", read, "docstring")`.
macro_rules! method {
    ($class:ty, $name:literal, $body:path, $doc:literal) => {{
        #[expect(unsafe_code, reason = "the door through which Python calls a method")]
        unsafe extern "C" fn call(
            object: *mut pyo3_ffi::PyObject,
            arguments: *mut *mut pyo3_ffi::PyObject,
            count: pyo3_ffi::Py_ssize_t,
        ) -> *mut pyo3_ffi::PyObject {
            // SAFETY: Python calls a method of the type with an instance of it and its arguments.
            unsafe { $crate::py::class::method_door::<$class>(object, arguments, count, $body) }
        }
        pyo3_ffi::PyMethodDef {
            ml_name: concat!($name, "\0").as_ptr().cast(),
            ml_meth: pyo3_ffi::PyMethodDefPointer { PyCFunctionFast: call },
            ml_flags: pyo3_ffi::METH_FASTCALL,
            ml_doc: concat!($name, "($self, /, *args)\n--\n\n", $doc, "\0").as_ptr().cast(),
        }
    }};
}
pub(crate) use method;

/// Declares a read-only attribute: `attribute!(Log, "name", name)`.
macro_rules! attribute {
    ($class:ty, $name:literal, $body:path) => {{
        #[expect(unsafe_code, reason = "the door through which Python reads an attribute")]
        unsafe extern "C" fn get(
            object: *mut pyo3_ffi::PyObject,
            _: *mut std::ffi::c_void,
        ) -> *mut pyo3_ffi::PyObject {
            // SAFETY: Python reads an attribute of the type from an instance of it.
            unsafe { $crate::py::class::method_door::<$class>(object, std::ptr::null(), 0, $body) }
        }
        pyo3_ffi::PyGetSetDef {
            name: concat!($name, "\0").as_ptr().cast(),
            get: Some(get),
            set: None,
            doc: std::ptr::null(),
            closure: std::ptr::null_mut(),
        }
    }};
}
pub(crate) use attribute;

/// Refuses any other number of arguments than `allowed`, in CPython's words.
pub fn count_arguments(
    attached: &Attached,
    name: &str,
    arguments: &[Object<'_>],
    allowed: std::ops::RangeInclusive<usize>,
) -> Py<()> {
    let given = arguments.len();
    let (least, most) = (*allowed.start(), *allowed.end());
    if allowed.contains(&given) {
        return Ok(());
    }
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let message = if most == 0 {
        format!("{name}() takes no arguments ({given} given)")
    } else if least == most {
        format!("{name}() takes exactly {most} argument{} ({given} given)", plural(most))
    } else if given < least {
        format!("{name}() takes at least {least} argument{} ({given} given)", plural(least))
    } else {
        format!("{name}() takes at most {most} argument{} ({given} given)", plural(most))
    };
    Err(raise(attached, Kind::Type, &message))
}
