//! How httpd makes and merges our configuration: the slots of the module record, and the way back from a request to what
//! was written.
#![expect(unsafe_code, reason = "configuration crosses httpd as untyped pointers")]

use super::hooks::Auth;
use super::{Alias, Expression, Handler, Meant, Plan, Scope, Server};
use crate::httpd::callback::callback;
use crate::httpd::ffi::{self, apr_pool_t, server_rec};
use crate::httpd::{Pool, Request, ServerRec};
use crate::module::wsgi_module;
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};

// Types in the slots: a directory's is `Scope`, which httpd may make for each request and which needs no drop; a
// server's is `Server`, which is dropped with the configuration's pool. Their strings are in pools that live at
// least as long, which is what the lifetimes below say.

callback! {
    /// Makes the configuration of a directory.
    pub fn create_directory(pool: *mut apr_pool_t, _directory: *mut c_char) -> *mut c_void,
    else std::ptr::null_mut(); {
        // SAFETY: httpd passes the pool that the configuration is to live in.
        unsafe { Pool::with(pool, |pool| pool.place(Scope::default()).cast()) }
    }
}

callback! {
    /// Merges a directory's configuration into that of the directory above.
    pub fn merge_directory(pool: *mut apr_pool_t, base: *mut c_void, new: *mut c_void) -> *mut c_void,
    else base; {
        // SAFETY: httpd passes the pool that the result is to live in.
        unsafe {
            Pool::with(pool, |pool| {
                // SAFETY: both came from the functions here, and live as long as the result.
                let (base, new) = (&*base.cast::<Scope<'_>>(), &*new.cast::<Scope<'_>>());
                pool.place(new.over(base, pool)).cast()
            })
        }
    }
}

callback! {
    /// Makes the configuration of a server.
    pub fn create_server(pool: *mut apr_pool_t, _server: *mut server_rec) -> *mut c_void,
    else std::ptr::null_mut(); {
        // SAFETY: httpd passes the pool that the configuration is to live in.
        unsafe { Pool::with(pool, |pool| pool.keep(Server::default()).cast()) }
    }
}

callback! {
    /// Merges a virtual host's configuration into that of the main server.
    pub fn merge_server(pool: *mut apr_pool_t, base: *mut c_void, new: *mut c_void) -> *mut c_void,
    else base; {
        // SAFETY: httpd passes the pool that the result is to live in.
        unsafe {
            Pool::with(pool, |pool| {
                // SAFETY: both came from the functions here, and live as long as the result.
                let (base, new) = (&*base.cast::<Server<'_>>(), &*new.cast::<Server<'_>>());
                pool.keep(new.over(base, pool)).cast()
            })
        }
    }
}

/// What a server says.
pub fn of_server<'p>(server: ServerRec<'p>) -> &'p Server<'p> {
    // SAFETY: a live server has a vector of configurations, and ours in it; nobody writes to it after it was read.
    unsafe {
        let vector = (*server.raw()).module_config;
        &*ffi::ap_get_module_config(vector, &raw const wsgi_module).cast::<Server<'p>>()
    }
}

/// What the directory of a request says.
fn of_directory<'r>(request: Request<'r>) -> &'r Scope<'r> {
    // SAFETY: a request has the configuration of its directory, and ours in it; nobody writes to it now.
    unsafe {
        let vector = (*request.raw()).per_dir_config;
        &*ffi::ap_get_module_config(vector, &raw const wsgi_module).cast::<Scope<'r>>()
    }
}

/// What is meant for a request: what its directory says, over what its server says.
pub fn of_request<'r>(request: Request<'r>) -> Meant<'r> {
    let server = &of_server(request.server()).scope;
    of_directory(request).written.over(&server.written).meant()
}

/// What is said of access and authentication for a request.
pub fn auth_of_request<'r>(request: Request<'r>) -> &'r Auth<'r> {
    &of_directory(request).auth
}

/// The script that handles the files of a request, if its handler has this name.
pub fn handler_of_request<'r>(request: Request<'r>, name: &[u8]) -> Option<&'r Handler<'r>> {
    let places = [of_directory(request).handlers, of_server(request.server()).scope.handlers];
    places.into_iter().flatten().find(|handler| handler.name == name)
}

/// What the whole configuration says of processes.
pub fn plan<'p>(server: ServerRec<'p>) -> &'p RefCell<Plan<'p>> {
    const KEY: &CStr = c"mod_rustgi-plan";
    let enter = |pool: Pool<'_>| -> *mut c_void {
        let found = pool.userdata(KEY);
        if found.is_null() {
            pool.keep_as(KEY, RefCell::new(Plan::default())).cast()
        } else {
            found
        }
    };
    // SAFETY: the pool of the configuration, which is being read by this one thread, or has been.
    let plan = unsafe { Pool::with(server.configuration_pool(), enter) };
    // SAFETY: made above, in this pool, which lives as long as its servers.
    unsafe { &*plan.cast::<RefCell<Plan<'p>>>() }
}

/// Keeps a plan that is complete as long as its servers.
pub fn keep_plan<'p>(server: ServerRec<'p>, plan: Plan<'p>) -> &'p Plan<'p> {
    // SAFETY: the pool of the configuration, which is being read by this one thread.
    let kept = unsafe { Pool::with(server.configuration_pool(), |pool| pool.keep(plan)) };
    // SAFETY: kept in the pool, which lives as long as its servers.
    unsafe { &*kept }
}

/// Remembers which of its server's aliases took a request.
pub fn remember_alias(request: Request<'_>, number: usize) {
    // SAFETY: the request's own vector; the number, which is never 0 here, stands in place of a pointer.
    unsafe {
        let vector = (*request.raw()).request_config;
        ffi::ap_set_module_config(vector, &raw const wsgi_module, (number + 1) as *mut c_void);
    }
}

/// Which of its server's aliases took a request.
pub fn remembered_alias(request: Request<'_>) -> Option<usize> {
    // SAFETY: the request's own vector.
    let value = unsafe {
        let vector = (*request.raw()).request_config;
        ffi::ap_get_module_config(vector, &raw const wsgi_module)
    };
    (value as usize).checked_sub(1)
}

/// The process group and the application group that requests of an alias get, unless their directory says otherwise.
pub fn groups_of_alias<'p>(server: &Server<'p>, alias: &Alias<'p>) -> [Expression<'p>; 2] {
    let meant = server.scope.written.meant();
    let or = |text: Option<&'p CStr>, otherwise| {
        text.map_or(otherwise, |text| Expression::parse(text.to_bytes()))
    };
    [
        or(alias.options.process_group, meant.process_group),
        or(alias.options.application_group, meant.application_group),
    ]
}
