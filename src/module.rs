//! The module record: the one symbol that httpd looks for, and the hooks behind it. httpd fills in the rest of the
//! record when it loads the module, and takes it back when it unloads it; it may do both more than once.
#![expect(unsafe_code, reason = "the record is a C structure that httpd writes to")]

use crate::access::{self, Membership, Password};
use crate::config::{commands, resolve, store};
use crate::daemon::supervisor;
use crate::httpd::callback::callback;
use crate::httpd::ffi::{self, apr_pool_t, conn_rec, request_rec, server_rec};
use crate::httpd::{Pool, Request, ServerRec, process, walk};
use crate::{child, handler, mapping};
use exchange::COMPATIBLE_WITH;
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
    cmds: commands::COMMANDS.as_ptr(),
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
/// Whoever comes without the certificate that is required is refused first.
static AFTER_TLS: Modules<2> = Modules([c"mod_ssl.c".as_ptr(), std::ptr::null()]);
/// What only looks at addresses comes later.
static BEFORE_HOSTS: Modules<2> = Modules([c"mod_authz_host.c".as_ptr(), std::ptr::null()]);
/// Before core's own handler, which serves a file as it is, and after everybody else's. Not by core's name: it has
/// another handler, which comes first of all.
const BEFORE_CORE: c_int = ffi::APR_HOOK_REALLY_LAST as c_int - 1;

callback! {
    fn register_hooks(pool: *mut apr_pool_t), else (); {
        const MIDDLE: c_int = ffi::APR_HOOK_MIDDLE as c_int;
        let any: *const *const c_char = std::ptr::null();
        let list = |modules: &'static [*const c_char]| modules.as_ptr();
        // SAFETY: this is the moment for it; the functions and the lists live as long as the module.
        unsafe {
            ffi::ap_hook_check_config(Some(check_config), any, any, MIDDLE);
            ffi::ap_hook_post_config(Some(post_config), any, any, MIDDLE);
            // Workers are told how the server describes itself, which the others add to.
            let last = ffi::APR_HOOK_REALLY_LAST as c_int;
            ffi::ap_hook_post_config(Some(start_workers), any, any, last);
            ffi::ap_hook_monitor(Some(look_after_workers), any, any, MIDDLE);
            // The first to register a cleanup is the last to be cleaned up: Python ends after what may still call it.
            ffi::ap_hook_child_status(Some(child_status), any, any, MIDDLE);
            ffi::ap_hook_child_init(Some(child_init), any, any, ffi::APR_HOOK_REALLY_FIRST);
            ffi::ap_hook_generate_log_id(
                Some(generate_log_id),
                any,
                any,
                ffi::APR_HOOK_LAST as c_int,
            );
            ffi::ap_hook_translate_name(Some(translate_name), list(&AFTER.0), list(&BEFORE.0), MIDDLE);
            // After everybody who knows better than the file system; core comes last.
            ffi::ap_hook_map_to_storage(Some(map_to_storage), any, any, ffi::APR_HOOK_LAST as c_int);
            let first = ffi::APR_HOOK_REALLY_FIRST;
            ffi::ap_hook_dirwalk_stat(Some(walk::dirwalk_stat), any, any, first);
            ffi::ap_hook_open_htaccess(Some(walk::open_htaccess), any, any, first);
            ffi::ap_hook_check_access(
                Some(check_access),
                list(&AFTER_TLS.0),
                list(&BEFORE_HOSTS.0),
                MIDDLE,
                ffi::AP_AUTH_INTERNAL_PER_CONF as c_int,
            );
            register_provider(pool, &ffi::AUTHN_PROVIDER_GROUP[..], c"wsgi", &raw const PASSWORDS);
            register_provider(pool, &ffi::AUTHZ_PROVIDER_GROUP[..], c"wsgi-group", &raw const GROUPS);
            ffi::ap_hook_handler(Some(handle), any, any, MIDDLE);
            ffi::ap_hook_handler(Some(handle_unowned), any, any, BEFORE_CORE);
        }
    }
}

/// `AuthBasicProvider wsgi` and `AuthDigestProvider wsgi`.
static PASSWORDS: ffi::authn_provider = ffi::authn_provider {
    check_password: Some(check_password),
    get_realm_hash: Some(get_realm_hash),
};
/// `Require wsgi-group`
static GROUPS: ffi::authz_provider =
    ffi::authz_provider { check_authorization: Some(check_groups), parse_require_line: None };

/// Makes a provider known to the modules that ask providers.
///
/// # Safety
/// `pool` is that of the hooks, `group` ends with NUL, and the table lives as long as the module.
unsafe fn register_provider<T>(
    pool: *mut apr_pool_t,
    group: &'static [u8],
    name: &'static CStr,
    table: *const T,
) {
    // SAFETY: the caller's promise; the version of both kinds of providers is the same text.
    unsafe {
        ffi::ap_register_auth_provider(
            pool,
            group.as_ptr().cast(),
            name.as_ptr(),
            ffi::AUTHN_PROVIDER_VERSION.as_ptr().cast(),
            table.cast(),
            ffi::AP_AUTH_INTERNAL_PER_CONF as c_int,
        );
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
        let resolved = unsafe { ServerRec::with(main, resolve::all) };
        if resolved.is_ok() { ffi::OK as c_int } else { INTERNAL_ERROR }
    }
}

const INTERNAL_ERROR: c_int = 500;

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

callback! {
    fn start_workers(
        _pool: *mut apr_pool_t,
        _log: *mut apr_pool_t,
        _temporary: *mut apr_pool_t,
        main: *mut server_rec,
    ) -> c_int, else INTERNAL_ERROR; {
        // SAFETY: httpd passes the main server.
        unsafe { ServerRec::with(main, supervisor::configure) };
        ffi::OK as c_int
    }
}

callback! {
    fn look_after_workers(_pool: *mut apr_pool_t, main: *mut server_rec) -> c_int, else ffi::DECLINED; {
        // SAFETY: httpd passes the main server.
        unsafe { ServerRec::with(main, supervisor::look_after) };
        ffi::DECLINED
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
    /// httpd's parent calls this for each child that has ended, for whatever reason.
    fn child_status(
        main: *mut server_rec,
        pid: ffi::pid_t,
        _generation: ffi::ap_generation_t,
        _slot: c_int,
        status: ffi::mpm_child_status,
    ), else (); {
        if status == ffi::MPM_CHILD_EXITED {
            let pid = u32::try_from(pid).unwrap_or(0);
            // SAFETY: httpd passes the main server.
            unsafe { ServerRec::with(main, |main| supervisor::child_ended(main, pid)) };
        }
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
    fn map_to_storage(request: *mut request_rec) -> c_int, else INTERNAL_ERROR; {
        // SAFETY: httpd passes the request of this hook.
        unsafe { Request::with(request, mapping::locate) }.unwrap_or(ffi::DECLINED)
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

callback! {
    fn check_access(request: *mut request_rec) -> c_int, else FORBIDDEN; {
        // SAFETY: httpd passes the request of this hook.
        unsafe { Request::with(request, access::check_access) }.code()
    }
}

const FORBIDDEN: c_int = 403;

/// What is known of a password, as httpd has it.
fn password_status(password: Password, right: ffi::authn_status) -> ffi::authn_status {
    match password {
        Password::Right => right,
        Password::Wrong => ffi::AUTH_DENIED,
        Password::NoUser => ffi::AUTH_USER_NOT_FOUND,
        Password::Failed => ffi::AUTH_GENERAL_ERROR,
    }
}

callback! {
    fn check_password(
        request: *mut request_rec,
        user: *const c_char,
        password: *const c_char,
    ) -> ffi::authn_status, else ffi::AUTH_GENERAL_ERROR; {
        // SAFETY: httpd passes strings of C.
        let (user, password) = unsafe { (CStr::from_ptr(user), CStr::from_ptr(password)) };
        let check = |request: Request<'_>| {
            access::check_password(request, user.to_bytes(), password.to_bytes())
        };
        // SAFETY: httpd passes the request that is being authenticated.
        password_status(unsafe { Request::with(request, check) }, ffi::AUTH_GRANTED)
    }
}

callback! {
    fn get_realm_hash(
        request: *mut request_rec,
        user: *const c_char,
        realm: *const c_char,
        hash: *mut *mut c_char,
    ) -> ffi::authn_status, else ffi::AUTH_GENERAL_ERROR; {
        // SAFETY: httpd passes strings of C.
        let (user, realm) = unsafe { (CStr::from_ptr(user), CStr::from_ptr(realm)) };
        let ask = |request: Request<'_>| {
            let keep = |text: &[u8]| {
                let text = request.pool().text(text).as_ptr().cast_mut();
                // SAFETY: httpd passes a place for the hash, which lives as long as the request.
                unsafe { *hash = text };
            };
            access::realm_hash(request, user.to_bytes(), realm.to_bytes(), keep)
        };
        // SAFETY: httpd passes the request that is being authenticated.
        password_status(unsafe { Request::with(request, ask) }, ffi::AUTH_USER_FOUND)
    }
}

callback! {
    fn check_groups(
        request: *mut request_rec,
        line: *const c_char,
        _parsed: *const std::ffi::c_void,
    ) -> ffi::authz_status, else ffi::AUTHZ_DENIED; {
        // SAFETY: httpd passes a string of C.
        let line = unsafe { CStr::from_ptr(line) }.to_bytes();
        let check = |request: Request<'_>| access::check_groups(request, line);
        // SAFETY: httpd passes the request that is being authorised.
        match unsafe { Request::with(request, check) } {
            Membership::Member => ffi::AUTHZ_GRANTED,
            Membership::Stranger => ffi::AUTHZ_DENIED,
            Membership::NoUser => ffi::AUTHZ_DENIED_NO_USER,
        }
    }
}
