//! Starting Python in this process, and noticing when an application forks it.
#![expect(unsafe_code, reason = "configures and starts Python through the C API")]

use crate::state::c_string;
use exchange::{Code, Level, Record, Settings};
use pyo3_ffi as ffi;
use std::ffi::{CStr, c_char, c_int, c_ulong};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// Starts Python as an ordinary `python3` would start, but for signal handlers and arguments. The thread is attached to
/// the main interpreter afterwards.
///
/// # Errors
/// Why Python could not be started.
pub fn python(settings: &Settings) -> Result<(), String> {
    let mut config = Config::new();
    let program = c_string(&settings.program);
    let home = c_string(&settings.home);
    // SAFETY: each field belongs to the configuration it is set in.
    unsafe {
        let raw = config.0.as_mut_ptr();
        (*raw).install_signal_handlers = 0;
        (*raw).parse_argv = 0;
        (*raw).configure_c_stdio = 0;
        (*raw).optimization_level = c_int::try_from(settings.optimize).unwrap_or(c_int::MAX);
        (*raw).write_bytecode = c_int::from(!settings.dont_write_bytecode);
        if let Some(seed) = settings.hash_seed {
            (*raw).use_hash_seed = 1;
            (*raw).hash_seed = c_ulong::from(seed);
        }
        #[cfg(Py_GIL_DISABLED)]
        {
            (*raw).enable_gil = c_int::from(!settings.free_threading);
        }
        config.set_arguments(&[c"mod_wsgi"])?;
        for warning in &settings.warnings {
            config.add_warning(&c_string(warning))?;
        }
        if !program.is_empty() {
            config.set(&raw mut (*raw).program_name, &program)?;
            config.set(&raw mut (*raw).executable, &program)?;
        }
        if !home.is_empty() {
            config.set(&raw mut (*raw).home, &home)?;
        }
        check(ffi::Py_InitializeFromConfig(raw))?;
    }
    watch_forks();
    if settings.free_threading && cfg!(not(Py_GIL_DISABLED)) {
        let code = Code::FreeThreadingUnsupported;
        crate::host::note(Level::Warning, &format!("{code}: {}.", code.text()));
    }
    Ok(())
}

/// A `PyConfig` that is cleared in every case.
struct Config(MaybeUninit<ffi::PyConfig>);

impl Config {
    fn new() -> Config {
        let mut config = MaybeUninit::zeroed();
        // SAFETY: the function fills the whole structure.
        unsafe { ffi::PyConfig_InitPythonConfig(config.as_mut_ptr()) };
        Config(config)
    }

    /// # Safety
    /// `field` is a string field of this configuration.
    unsafe fn set(&mut self, field: *mut *mut libc::wchar_t, value: &CStr) -> Result<(), String> {
        // SAFETY: the caller's promise; the value is decoded and copied.
        check(unsafe { ffi::PyConfig_SetBytesString(self.0.as_mut_ptr(), field, value.as_ptr()) })
    }

    /// As one more `-W`.
    fn add_warning(&mut self, warning: &CStr) -> Result<(), String> {
        // SAFETY: decodes a string that ends in NUL into memory of Python's, freed below.
        let wide = unsafe { ffi::Py_DecodeLocale(warning.as_ptr(), std::ptr::null_mut()) };
        if wide.is_null() {
            return Err("a warning filter cannot be decoded".into());
        }
        // SAFETY: the list belongs to this configuration; the string is copied.
        let status = unsafe {
            let list = &raw mut (*self.0.as_mut_ptr()).warnoptions;
            ffi::PyWideStringList_Append(list, wide)
        };
        // SAFETY: `Py_DecodeLocale` allocated it so.
        unsafe { ffi::PyMem_RawFree(wide.cast()) };
        check(status)
    }

    fn set_arguments(&mut self, arguments: &[&CStr]) -> Result<(), String> {
        let mut raw: Vec<*const c_char> = arguments.iter().map(|text| text.as_ptr()).collect();
        // SAFETY: so many strings that end in NUL; they are decoded and copied.
        check(unsafe {
            ffi::PyConfig_SetBytesArgv(
                self.0.as_mut_ptr(),
                raw.len() as ffi::Py_ssize_t,
                raw.as_mut_ptr(),
            )
        })
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: filled by `new`.
        unsafe { ffi::PyConfig_Clear(self.0.as_mut_ptr()) };
    }
}

fn check(status: ffi::PyStatus) -> Result<(), String> {
    // SAFETY: asks about a value that the C API made.
    if unsafe { ffi::PyStatus_Exception(status) } == 0 {
        return Ok(());
    }
    if status.err_msg.is_null() {
        return Err("Python asked to exit".into());
    }
    // SAFETY: the message of a failed status is a string that ends in NUL and lives as long as the library.
    Err(unsafe { CStr::from_ptr(status.err_msg) }.to_string_lossy().into_owned())
}

/// Holds back the signals of this thread as long as it exists.
///
/// A prefork child is ended by a handler that frees its pools. If that interrupted Python while it allocates, the handler
/// would wait for the allocator for ever, and httpd would have to kill the child ten seconds later.
pub struct SignalsHeld(libc::sigset_t);

impl SignalsHeld {
    /// Holds them back.
    pub fn new() -> SignalsHeld {
        let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: both sets are large enough, and written before they are read.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
            SignalsHeld(before.assume_init())
        }
    }
}

impl Drop for SignalsHeld {
    fn drop(&mut self) {
        // SAFETY: the set that `new` was given.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}

/// Set in processes that were forked from this one.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Begins to notice when an application forks this process.
pub fn watch_forks() {
    extern "C" fn in_child() {
        FORKED.store(true, Ordering::Relaxed);
    }
    // SAFETY: the handler only stores a flag, which is safe in a process that has just been forked.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

/// Whether this process was forked from the one that the server started.
pub fn forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Ends this process if it was forked by an application and came back here: its parent answers the request, and this
/// process must not use the server's connections.
pub fn leave_if_forked() {
    if !forked() {
        return;
    }
    let line = format!("{}: {}.", Code::UnusableInProcess, Code::UnusableInProcess.text());
    crate::surroundings().note(&Record::new(Level::Error, line.as_bytes()));
    // SAFETY: ends the process at once, running nothing that belongs to the server.
    unsafe { libc::_exit(1) }
}
