//! What an httpd process knows of itself: its MPM, its sockets, its names, and the functions that other modules offer.
#![expect(unsafe_code, reason = "asks httpd about the process")]

#[cfg(not(test))]
use super::ffi as c;
#[cfg(test)]
use super::stand_ins as c;
use super::{Pool, Request, ffi};
use exchange::{Found, LookUp};
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// `c"..."` of httpd, which lives as long as the process.
fn constant(text: *const c_char) -> &'static [u8] {
    // SAFETY: the callers below pass strings that httpd keeps for the life of the process or of the configuration
    // that this child was made with, and NULL is not looked at.
    if text.is_null() { b"" } else { unsafe { CStr::from_ptr(text) }.to_bytes() }
}

/// What `SERVER_SOFTWARE` says (`ServerTokens`). Only in a child: the parent's changes with the configuration.
pub fn server_banner() -> &'static [u8] {
    // SAFETY: no arguments; httpd's own string.
    constant(unsafe { ffi::ap_get_server_banner() })
}

/// The server with all its components, for a child.
pub fn server_description() -> Vec<u8> {
    // SAFETY: no arguments; httpd's own string.
    constant(unsafe { ffi::ap_get_server_description() }).to_vec()
}

/// When httpd was built.
pub fn server_built() -> Vec<u8> {
    // SAFETY: no arguments; a constant of httpd.
    constant(unsafe { ffi::ap_get_server_built() }).to_vec()
}

/// The name of the MPM: `event`.
pub fn mpm_name() -> Vec<u8> {
    // SAFETY: no arguments; a constant of the MPM.
    constant(unsafe { ffi::ap_show_mpm() }).to_vec()
}

/// The httpd that this module was compiled for.
pub const BUILT_FOR: [u32; 3] = [
    ffi::AP_SERVER_MAJORVERSION_NUMBER,
    ffi::AP_SERVER_MINORVERSION_NUMBER,
    ffi::AP_SERVER_PATCHLEVEL_NUMBER,
];

/// How many of something the MPM makes.
fn mpm_query(code: u32) -> Option<u32> {
    let mut result: c_int = 0;
    // SAFETY: `result` is a place for the answer.
    let status = unsafe { ffi::ap_mpm_query(code as c_int, &mut result) };
    (status == ffi::APR_SUCCESS as c_int).then_some(u32::try_from(result).ok()?)
}

/// The shape of the server: how many children, how many threads in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The most children at a time; 1 if the server does not fork.
    pub processes: u32,
    /// The threads of a child; 1 if it has no others.
    pub threads: u32,
}

/// Asks the MPM. Only in a child: before that the MPM is not configured.
pub fn shape() -> Shape {
    let of = |kind: u32, most: u32| match mpm_query(kind) {
        Some(0) | None => 1,
        Some(_) => mpm_query(most).unwrap_or(1).max(1),
    };
    Shape {
        processes: of(ffi::AP_MPMQ_IS_FORKED, ffi::AP_MPMQ_MAX_DAEMONS),
        threads: of(ffi::AP_MPMQ_IS_THREADED, ffi::AP_MPMQ_MAX_THREADS),
    }
}

/// `httpd -X`
pub fn is_debugging() -> bool {
    // SAFETY: a string of C; the list of definitions belongs to the process.
    unsafe { ffi::ap_exists_config_define(c"DEBUG".as_ptr()) != 0 }
}

/// A path, from `ServerRoot` if it does not begin at the root.
pub fn below_server_root<'p>(pool: Pool<'p>, path: &[u8]) -> Option<&'p [u8]> {
    let path = pool.text(path);
    // SAFETY: the pool lives and owns the result, or the path does.
    let whole = unsafe { c::ap_server_root_relative(pool.raw(), path.as_ptr()) };
    // SAFETY: a string of the pool, or NULL.
    (!whole.is_null()).then(|| unsafe { CStr::from_ptr(whole) }.to_bytes())
}

/// A path in the directory for what lives as long as the server runs (`DefaultRuntimeDir`).
pub fn below_runtime_directory<'p>(pool: Pool<'p>, path: &CStr) -> Option<&'p [u8]> {
    // SAFETY: the pool lives and owns the result.
    let whole = unsafe { ffi::ap_runtime_dir_relative(pool.raw(), path.as_ptr()) };
    // SAFETY: a string of the pool, or NULL.
    (!whole.is_null()).then(|| unsafe { CStr::from_ptr(whole) }.to_bytes())
}

/// How often the configuration has been read.
pub fn configuration_generation() -> u32 {
    // SAFETY: a number of httpd's.
    u32::try_from(unsafe { ffi::ap_state_query(ffi::AP_SQ_CONFIG_GEN as c_int) }).unwrap_or(0)
}

/// Whether processes may leave core files (`CoreDumpDirectory`).
pub fn may_dump_core() -> bool {
    // SAFETY: a number of httpd's, written while the configuration is read, by this same thread.
    unsafe { ffi::ap_coredumpdir_configured != 0 }
}

/// The user that this process runs as.
pub fn own_user() -> u32 {
    // SAFETY: a system call without arguments.
    unsafe { libc::geteuid() }
}

/// Whether a process with this pid exists, of any user.
pub fn exists(pid: u32) -> bool {
    let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0) else { return false };
    // SAFETY: a system call on numbers; signal 0 is not delivered.
    let answer = unsafe { libc::kill(pid, 0) };
    answer == 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Adds to the description of the server.
pub fn add_version_component(pool: Pool<'_>, component: &CStr) {
    // SAFETY: the pool of the configuration; httpd copies the string.
    unsafe { ffi::ap_add_version_component(pool.raw(), component.as_ptr()) };
}

/// The ports of the listening sockets.
pub fn listening_ports() -> Vec<u16> {
    let mut ports = Vec::new();
    // SAFETY: httpd's own list, which is complete before a child is made.
    let mut listener = unsafe { ffi::ap_listeners };
    // SAFETY: a list that ends with NULL.
    while let Some(here) = unsafe { listener.as_ref() } {
        // SAFETY: the address of a listener, or NULL.
        if let Some(address) = unsafe { here.bind_addr.as_ref() } {
            ports.push(address.port);
        }
        listener = here.next;
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// User and group of the children (`User`, `Group`).
pub fn child_identity() -> (u32, u32) {
    // SAFETY: a record of httpd that is written while the configuration is read, by this same thread.
    unsafe { (ffi::ap_unixd_config.user_id, ffi::ap_unixd_config.group_id) }
}

/// Whether mod_ssl says that the connection of a request is a TLS one.
pub fn is_tls(request: Request<'_>) -> bool {
    type IsHttps = unsafe extern "C" fn(*mut ffi::conn_rec) -> c_int;
    static IS_HTTPS: OnceLock<Option<IsHttps>> = OnceLock::new();
    let function = IS_HTTPS.get_or_init(|| {
        // SAFETY: a string of C.
        let found = unsafe { ffi::apr_dynamic_fn_retrieve(c"ssl_is_https".as_ptr()) };
        // SAFETY: what is registered under this name has this type (mod_ssl.h).
        found.map(|found| unsafe { std::mem::transmute::<_, IsHttps>(found) })
    });
    // SAFETY: the function of mod_ssl, with the connection of a live request.
    function.is_some_and(|is_https| unsafe { is_https(request.rec().connection) } != 0)
}

/// A variable of mod_ssl (`SSL_PROTOCOL`) for a request.
pub fn tls_variable<'r>(request: Request<'r>, name: &[u8]) -> Option<&'r [u8]> {
    type VarLookup = unsafe extern "C" fn(
        *mut ffi::apr_pool_t,
        *mut ffi::server_rec,
        *mut ffi::conn_rec,
        *mut ffi::request_rec,
        *mut c_char,
    ) -> *mut c_char;
    static VAR_LOOKUP: OnceLock<Option<VarLookup>> = OnceLock::new();
    let function = VAR_LOOKUP.get_or_init(|| {
        // SAFETY: a string of C.
        let found = unsafe { ffi::apr_dynamic_fn_retrieve(c"ssl_var_lookup".as_ptr()) };
        // SAFETY: what is registered under this name has this type (mod_ssl.h).
        found.map(|found| unsafe { std::mem::transmute::<_, VarLookup>(found) })
    });
    let look_up = (*function)?;
    let pool = request.pool();
    let name = pool.text(name);
    let rec = request.rec();
    // SAFETY: all of them belong to a live request; the result is a string of its pool, a constant, or NULL.
    let value = unsafe {
        look_up(pool.raw(), rec.server, rec.connection, request.raw(), name.as_ptr().cast_mut())
    };
    // SAFETY: see above.
    let value = (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) }.to_bytes())?;
    (!value.is_empty()).then_some(value)
}

/// What httpd knows of a request besides environ. Its own structure is given out only if the configuration says so.
pub fn look_up<'r>(request: Request<'r>, what: LookUp<'_>, is_native: bool) -> Option<Found<'r>> {
    match what {
        LookUp::Tls => Some(Found::Flag(is_tls(request))),
        LookUp::TlsVariable(name) => tls_variable(request, name).map(Found::Text),
        LookUp::Logged(level) => Some(Found::Flag(request.logs(level))),
        LookUp::Native => is_native.then(|| Found::Address(request.raw().addr())),
    }
}

/// Whether this process may become another user.
pub fn is_superuser() -> bool {
    // SAFETY: a system call without arguments.
    unsafe { libc::geteuid() == 0 }
}

/// The file that this module was loaded from.
pub fn module_file() -> Option<PathBuf> {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    let here: fn() -> Option<PathBuf> = module_file;
    // SAFETY: an address inside this object, and a place for the answer.
    if unsafe { libc::dladdr(here as *const c_void, found.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: `dladdr` filled it; zeroes are valid too.
    let name = unsafe { found.assume_init() }.dli_fname;
    // SAFETY: the name of a loaded object, or NULL.
    let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) })?;
    std::fs::canonicalize(OsStr::from_bytes(name.to_bytes())).ok()
}

/// Waits until there is something to read, or the other side has closed; `false` when the time is over.
pub fn wait_readable(file: BorrowedFd<'_>, time: Duration) -> bool {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Without one if it is beyond all clocks.
    let until = Instant::now().checked_add(time);
    loop {
        let left = until.map_or(time, |until| until.saturating_duration_since(Instant::now()));
        let milliseconds = c_int::try_from(left.as_millis()).unwrap_or(c_int::MAX).max(1);
        // SAFETY: one descriptor, which is open while it is borrowed.
        let ready = unsafe { libc::poll(&mut poll, 1, milliseconds) };
        // A signal is no answer, neither this nor that.
        let is_interrupted =
            || std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted;
        if ready >= 0 || !is_interrupted() {
            return ready != 0;
        }
    }
}

/// Whether whoever opened it may read it: not if it was opened for writing only, or only to be named (`O_PATH`).
pub fn is_open_for_reading(file: BorrowedFd<'_>) -> bool {
    // SAFETY: an open descriptor.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_PATH == 0 && flags & libc::O_ACCMODE != libc::O_WRONLY
}

/// How long a regular file is; `None` for anything else.
pub fn file_size(file: BorrowedFd<'_>) -> Option<u64> {
    let mut found = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: an open descriptor, and a place for the answer.
    if unsafe { libc::fstat(file.as_raw_fd(), found.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: `fstat` filled it; zeroes are valid too.
    let found = unsafe { found.assume_init() };
    (found.st_mode & libc::S_IFMT == libc::S_IFREG).then_some(u64::try_from(found.st_size).ok()?)
}
