//! The engine: the other shared object, loaded by a child after it was forked, and the one way from a request to it.
#![expect(unsafe_code, reason = "loads shared objects and looks up a symbol in one of them")]

use crate::httpd::log::{self, Server};
use crate::python::Installation;
use exchange::abi::{ENTRY, Engine, EntryFunction, RawSurroundings, VERSION};
use exchange::{Code, Level, Settings};
use std::ffi::{CStr, CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Loads libpython, so that every extension module finds it, and then the engine; starts it. `None` if that cannot
/// be: the log says why.
pub fn start(python: &Installation, settings: &Settings) -> Option<&'static Engine> {
    match load(python) {
        Ok(engine) => engine.start(settings, RawSurroundings::of::<Server>()).then_some(engine),
        Err((code, text)) => {
            log::note_code(Level::Error, code, &text);
            None
        }
    }
}

fn load(python: &Installation) -> Result<&'static Engine, (Code, String)> {
    open(&python.library, libc::RTLD_NOW | libc::RTLD_GLOBAL)
        .map_err(|error| (Code::LibpythonMissing, error))?;
    let object = open(&python.engine, libc::RTLD_NOW | libc::RTLD_LOCAL)
        .map_err(|error| (Code::EngineMissing, error))?;
    let wrong = |what: &str| {
        let text = format!("{} {what}; build it again", python.engine.display());
        (Code::EngineMismatch, text)
    };
    // SAFETY: `object` is open and stays so.
    let symbol = unsafe { libc::dlsym(object, ENTRY.as_ptr()) };
    if symbol.is_null() {
        return Err(wrong("is no mod_rustgi engine"));
    }
    // SAFETY: the symbol of this name is a function of this type in every version.
    let entry: EntryFunction = unsafe { std::mem::transmute(symbol) };
    // SAFETY: it takes nothing, and returns a table that lives as long as the object, which is never closed.
    let table = unsafe { entry() };
    // SAFETY: the version is the first field in every version.
    let version = (!table.is_null()).then(|| unsafe { *table.cast::<u32>() });
    if version != Some(VERSION) {
        return Err(wrong("belongs to another version of mod_rustgi"));
    }
    // SAFETY: a table of this version, which lives as long as the process.
    Ok(unsafe { &*table })
}

/// Opens a shared object for the rest of the process's life.
fn open(path: &Path, flags: c_int) -> Result<*mut libc::c_void, String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: a string of C; the initialisers are those of Python and of the engine.
    let object = unsafe { libc::dlopen(name.as_ptr(), flags) };
    if object.is_null() {
        // SAFETY: the call before has failed on this thread, so there is a message.
        let message = unsafe { CStr::from_ptr(libc::dlerror()) };
        return Err(message.to_string_lossy().into_owned());
    }
    Ok(object)
}
