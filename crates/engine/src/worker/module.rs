//! `_rustgi` as a Python extension module: what the bootstrap of a worker imports.
#![expect(unsafe_code, reason = "defines a module through the C API")]

use super::life;
use pyo3_ffi as ffi;
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_long, c_void};
use std::panic::catch_unwind;
use std::ptr::null_mut;

struct Definition(UnsafeCell<ffi::PyModuleDef>);

// SAFETY: written by Python alone, which imports a module under a lock.
unsafe impl Sync for Definition {}

/// Slots and methods as Python reads them: it never writes to them.
struct Constant<T>(T);

// SAFETY: never written.
unsafe impl<T> Sync for Constant<T> {}

static METHODS: Constant<[ffi::PyMethodDef; 2]> = Constant([
    ffi::PyMethodDef {
        ml_name: c"work".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: work },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: c"work()\n--\n\nServes requests until the supervisor says that it is over; returns the exit code."
            .as_ptr(),
    },
    ffi::PyMethodDef::zeroed(),
]);

const fn slot(slot: c_int, value: *mut c_void) -> ffi::PyModuleDef_Slot {
    ffi::PyModuleDef_Slot { slot, value }
}

#[cfg(Py_3_13)]
static SLOTS: Constant<[ffi::PyModuleDef_Slot; 3]> = Constant([
    slot(ffi::Py_mod_multiple_interpreters, ffi::Py_MOD_PER_INTERPRETER_GIL_SUPPORTED),
    slot(ffi::Py_mod_gil, ffi::Py_MOD_GIL_NOT_USED),
    slot(0, null_mut()),
]);

#[cfg(all(Py_3_12, not(Py_3_13)))]
static SLOTS: Constant<[ffi::PyModuleDef_Slot; 2]> = Constant([
    slot(ffi::Py_mod_multiple_interpreters, ffi::Py_MOD_PER_INTERPRETER_GIL_SUPPORTED),
    slot(0, null_mut()),
]);

#[cfg(not(Py_3_12))]
static SLOTS: Constant<[ffi::PyModuleDef_Slot; 1]> = Constant([slot(0, null_mut())]);

static DEFINITION: Definition = Definition(UnsafeCell::new(ffi::PyModuleDef {
    m_base: ffi::PyModuleDef_HEAD_INIT,
    m_name: c"_rustgi".as_ptr(),
    m_doc: c"The engine of mod_rustgi.".as_ptr(),
    m_size: 0,
    m_methods: (&raw const METHODS.0).cast_mut().cast(),
    m_slots: (&raw const SLOTS.0).cast_mut().cast(),
    m_traverse: None,
    m_clear: None,
    m_free: None,
}));

/// What Python calls to import the module.
#[unsafe(no_mangle)]
pub extern "C" fn PyInit__rustgi() -> *mut ffi::PyObject {
    // SAFETY: called by Python, attached; the definition lives as long as the process.
    unsafe { ffi::PyModuleDef_Init(DEFINITION.0.get()) }
}

unsafe extern "C" fn work(_: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // What a panic leaves behind is not to be used, and the thread may not be attached any more.
    let code = catch_unwind(life::live).unwrap_or_else(|_| life::leave_at_once(1));
    // SAFETY: `live` comes back attached.
    unsafe { ffi::PyLong_FromLong(c_long::from(code)) }
}
