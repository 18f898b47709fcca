//! What an application inside a server may not have: the server's standard streams and its signal handlers.

use crate::interpreter::Interpreter;
use crate::log;
use crate::py::class::{door, slot};
use crate::py::{Attached, Class, Kept, Kind, Made, Object, Py, raise};
use crate::state::Setup;
use pyo3_ffi as ffi;
use std::ffi::{CStr, c_void};

/// A standard stream whose use raises OSError (`WSGIRestrictStdin`, `WSGIRestrictStdout`).
pub struct Restricted {
    /// `sys.stdin` or `sys.stdout`.
    pub name: &'static str,
}

impl Class for Restricted {
    const NAME: &'static CStr = c"mod_wsgi.Restricted";
    const DOC: &'static CStr = c"A standard stream that must not be used.";

    fn slots() -> Vec<ffi::PyType_Slot> {
        vec![slot(ffi::Py_tp_getattro, get_attribute as *mut c_void)]
    }
}

#[expect(unsafe_code, reason = "the door through which Python reads an attribute")]
unsafe extern "C" fn get_attribute(
    object: *mut ffi::PyObject,
    _name: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    door(std::ptr::null_mut(), |attached| {
        // SAFETY: Python calls the slot of the type with a live instance of it.
        let restricted = unsafe { crate::py::class::value_of::<Restricted>(object) };
        let message = format!("{} access restricted by mod_wsgi", restricted.name);
        Err(raise(attached, Kind::Os, &message))
    })
}

/// `signal.signal` while `WSGIRestrictSignal` is on: installs nothing and says so in the log.
pub struct SignalIntercept {
    original: Kept,
    stack_lines: Kept,
    interpreter: &'static Interpreter,
}

impl SignalIntercept {
    /// Puts one in the place of what `signal.signal` calls. The module `signal` itself takes 13 KB that no interpreter
    /// gives back, so it is left to those who want it.
    pub fn install(
        attached: &Attached,
        module: &Object<'_>,
        setup: &Setup,
        interpreter: &'static Interpreter,
    ) -> Py<()> {
        let signal = attached.import(c"_signal")?;
        let original = Kept::new(signal.get(c"signal")?);
        let class = Made::<SignalIntercept>::new(attached, module)?;
        let stack_lines = Kept::new(setup.stack_lines.get(attached).clone());
        let intercept =
            class.instance(attached, SignalIntercept { original, stack_lines, interpreter })?;
        signal.set(c"signal", &intercept)
    }

    fn call<'a>(&self, attached: &'a Attached, arguments: &[Object<'a>]) -> Py<Object<'a>> {
        let [number, handler] = arguments else {
            let message = format!("signal() takes exactly 2 arguments ({} given)", arguments.len());
            return Err(raise(attached, Kind::Type, &message));
        };
        if !number.is_int() {
            let message = format!("signal number must be int, not {}", number.type_name());
            return Err(raise(attached, Kind::Type, &message));
        }
        if crate::startup::forked() {
            return self.original.get(attached).call([number, handler]);
        }
        let line = format!("Callback registration for signal {} ignored.", number.repr());
        log::note_with_stack(attached, self.interpreter, &self.stack_lines, line)?;
        attached.import(c"_signal")?.call_method(c"getsignal", [number])
    }
}

impl Class for SignalIntercept {
    const NAME: &'static CStr = c"mod_wsgi.SignalIntercept";
    const DOC: &'static CStr = c"signal.signal of a server: installs no handler.";

    fn slots() -> Vec<ffi::PyType_Slot> {
        vec![slot(ffi::Py_tp_call, call as *mut c_void)]
    }
}

#[expect(unsafe_code, reason = "the door through which Python calls an object")]
unsafe extern "C" fn call(
    object: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    door(std::ptr::null_mut(), |attached| {
        if !keywords.is_null() {
            return Err(raise(attached, Kind::Type, "signal() takes no keyword arguments"));
        }
        // SAFETY: Python calls the slot of the type with a live instance of it and a tuple.
        let (intercept, arguments) = unsafe {
            (
                crate::py::class::value_of::<SignalIntercept>(object),
                Object::from_borrowed(attached, arguments),
            )
        };
        let arguments: Vec<_> = arguments.items().collect();
        intercept.call(attached, &arguments).map(Object::into_ptr)
    })
}
