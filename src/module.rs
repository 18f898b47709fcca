//! The module record: the one symbol that httpd looks for, and the hooks behind it. httpd fills in the rest of the
//! record when it loads the module, and takes it back when it unloads it; it may do both more than once.
#![expect(unsafe_code, reason = "the record is a C structure that httpd writes to")]

use crate::config::{groups, store, written::Resolved};
use crate::httpd::callback::callback;
use crate::httpd::ffi::{self, apr_pool_t, conn_rec, request_rec, server_rec};
use crate::httpd::{Pool, Request, ServerRec, log, process};
use crate::{child, handler, mapping, python};
use exchange::{COMPATIBLE_WITH, Level};
use std::ffi::{CStr, c_char, c_int};

/// What `LoadModule wsgi_module` looks for. The names are mod_wsgi's, for `<IfModule mod_wsgi.c>` and `LogLevel wsgi:`.
#[unsafe(no_mangle)]
pub static mut wsgi_module: ffi::module = ffi::module {
    version: ffi::MODULE_MAGIC_NUMBER_MAJOR as c_int,
    minor_version: ffi::MODULE_MAGIC_NUMBER_MINOR as c_int,
    module_index: -1,
    name: c"mod_wsgi.c".as_ptr(),
    dynamic_load_handle: std::ptr::null_mut(),
    next: std::ptr::null_mut(),
    magic: ffi::MODULE_MAGIC_COOKIE as _,
    rewrite_args: None,
    create_dir_config: Some(store::create_directory),
    merge_dir_config: Some(store::merge_directory),
    create_server_config: Some(store::create_server),
    merge_server_config: Some(store::merge_server),
    cmds: store::COMMANDS.as_ptr(),
    register_hooks: Some(register_hooks),
    flags: 0,
};

/// A list of names of modules, ended by NULL, as the order of hooks is given.
#[repr(transparent)]
struct Modules<const N: usize>([*const c_char; N]);

// SAFETY: string constants, which nobody writes to.
unsafe impl<const N: usize> Sync for Modules<N> {}

/// `Alias` and `Redirect` come first.
static AFTER: Modules<2> = Modules([c"mod_alias.c".as_ptr(), std::ptr::null()]);
/// What only guesses comes later.
static BEFORE: Modules<3> =
    Modules([c"mod_userdir.c".as_ptr(), c"mod_vhost_alias.c".as_ptr(), std::ptr::null()]);
/// Before core's own handler, which serves a file as it is, and after everybody else's. Not by core's name: it has
/// another handler, which comes first of all.
const BEFORE_CORE: c_int = ffi::APR_HOOK_REALLY_LAST as c_int - 1;

callback! {
    fn register_hooks(_pool: *mut apr_pool_t), else (); {
        const MIDDLE: c_int = ffi::APR_HOOK_MIDDLE as c_int;
        let any: *const *const c_char = std::ptr::null();
        let list = |modules: &'static [*const c_char]| modules.as_ptr();
        // SAFETY: this is the moment for it; the functions and the lists live as long as the module.
        unsafe {
            ffi::ap_hook_check_config(Some(check_config), any, any, MIDDLE);
            ffi::ap_hook_post_config(Some(post_config), any, any, MIDDLE);
            // The first to register a cleanup is the last to be cleaned up: Python ends after what may still call it.
            ffi::ap_hook_child_init(Some(child_init), any, any, ffi::APR_HOOK_REALLY_FIRST);
            ffi::ap_hook_generate_log_id(
                Some(generate_log_id),
                any,
                any,
                ffi::APR_HOOK_LAST as c_int,
            );
            ffi::ap_hook_translate_name(Some(translate_name), list(&AFTER.0), list(&BEFORE.0), MIDDLE);
            ffi::ap_hook_handler(Some(handle), any, any, MIDDLE);
            ffi::ap_hook_handler(Some(handle_unowned), any, any, BEFORE_CORE);
        }
    }
}

callback! {
    /// The whole configuration has been read: `httpd -t` comes as far as this.
    fn check_config(
        _pool: *mut apr_pool_t,
        _log: *mut apr_pool_t,
        _temporary: *mut apr_pool_t,
        main: *mut server_rec,
    ) -> c_int, else INTERNAL_ERROR; {
        // SAFETY: httpd passes the main server.
        unsafe { ServerRec::with(main, resolve) }
    }
}

const INTERNAL_ERROR: c_int = 500;

/// Makes of all that was written what is meant: the Python, and the sole application group.
fn resolve(main: ServerRec<'_>) -> c_int {
    let python = match python::find(store::of_server(main).process.python_home) {
        Ok(python) => python,
        Err(unusable) => {
            log::note_code(Level::Critical, unusable.code, &unusable.text);
            return INTERNAL_ERROR;
        }
    };
    let mut candidates = Vec::new();
    let mut explicit = Vec::new();
    for server in main.and_following() {
        let written = store::of_server(server);
        explicit.extend_from_slice(&written.groups);
        candidates.extend(written.aliases.iter().map(|alias| groups::Candidate {
            server: server.name().unwrap_or_default(),
            group: store::group_of_alias(written, alias),
            path: alias.path(),
        }));
    }
    let sole = groups::sole(&candidates, &explicit);
    let mut python = Some(python);
    for server in main.and_following() {
        let resolved = Resolved { sole: sole.clone(), python: python.take() };
        // Set once in each reading of the configuration: the records are new each time. A virtual host that says
        // nothing has the main server's.
        let _ = store::of_server(server).resolved.set(resolved);
    }
    ffi::OK as c_int
}

callback! {
    fn post_config(
        pool: *mut apr_pool_t,
        _log: *mut apr_pool_t,
        _temporary: *mut apr_pool_t,
        main: *mut server_rec,
    ) -> c_int, else INTERNAL_ERROR; {
        // SAFETY: httpd passes the main server.
        let python = unsafe { ServerRec::with(main, python_version) };
        // SAFETY: httpd passes the configuration's pool.
        unsafe { Pool::with(pool, |pool| add_version_components(pool, python.as_deref())) };
        ffi::OK as c_int
    }
}

fn python_version(main: ServerRec<'_>) -> Option<String> {
    Some(store::of_server(main).resolved.get()?.python.as_ref()?.version.clone())
}

fn add_version_components(pool: Pool<'_>, python: Option<&str>) {
    let [major, minor, patch] = COMPATIBLE_WITH;
    let mut components = vec![
        format!("mod_wsgi/{major}.{minor}.{patch}"),
        concat!("mod_rustgi/", env!("CARGO_PKG_VERSION")).to_owned(),
    ];
    components.extend(python.map(|version| format!("Python/{version}")));
    for component in components {
        let text: &CStr = pool.text(component.as_bytes());
        process::add_version_component(pool, text);
    }
}

callback! {
    fn child_init(pool: *mut apr_pool_t, main: *mut server_rec), else (); {
        // SAFETY: httpd passes the pool that is destroyed when the child ends.
        unsafe {
            ffi::apr_pool_cleanup_register(
                pool, std::ptr::null(), Some(child_exit), Some(ffi::apr_pool_cleanup_null),
            );
        }
        // SAFETY: httpd passes the main server.
        unsafe { ServerRec::with(main, child::start) }
    }
}

callback! {
    fn child_exit(_nothing: *mut std::ffi::c_void) -> ffi::apr_status_t, else 0; {
        child::stop();
        0
    }
}

callback! {
    /// core does the same for whoever comes without an identifier, with a system call (`getpid`) for each request.
    fn generate_log_id(
        _connection: *const conn_rec,
        request: *const request_rec,
        id: *mut *const c_char,
    ) -> c_int, else ffi::DECLINED; {
        if request.is_null() {
            return ffi::DECLINED;
        }
        // SAFETY: httpd passes a request that lives through the hook; nothing is written to it.
        let made = unsafe { Request::with(request.cast_mut(), |request| child::log_id(request).as_ptr()) };
        // SAFETY: httpd passes a place for the identifier.
        unsafe { *id = made };
        ffi::OK as c_int
    }
}

callback! {
    fn translate_name(request: *mut request_rec) -> c_int, else INTERNAL_ERROR; {
        // SAFETY: httpd passes the request of this hook.
        unsafe { Request::with(request, mapping::translate) }.code()
    }
}

callback! {
    fn handle(request: *mut request_rec) -> c_int, else INTERNAL_ERROR; {
        // SAFETY: httpd passes the request of this hook.
        unsafe { Request::with(request, handler::handle) }.code()
    }
}

callback! {
    fn handle_unowned(request: *mut request_rec) -> c_int, else INTERNAL_ERROR; {
        // SAFETY: httpd passes the request of this hook.
        unsafe { Request::with(request, handler::handle_unowned) }.code()
    }
}
