//! How httpd makes, merges and fills our configuration: the slots and the table of commands of the module record, and
//! the way back from a request to what was written.
#![expect(unsafe_code, reason = "configuration crosses httpd as untyped pointers")]

use super::alias::quoted;
use super::directives::{DIRECTIVES, Directive, Effect, Place};
use super::{Alias, Expression, Meant, Server, Written};
use crate::httpd::callback::callback;
use crate::httpd::ffi::{self, apr_pool_t, cmd_parms, server_rec};
use crate::httpd::{Pool, Request, ServerRec};
use crate::module::wsgi_module;
use std::ffi::{CStr, c_char, c_int, c_void};

// Types in the slots: a directory's is `Written`, which httpd may make for each request and which needs no drop; a
// server's is `Server`, which is dropped with the configuration's pool. Their strings are in pools that live at
// least as long, which is what the lifetimes below say.

callback! {
    /// Makes the configuration of a directory.
    pub fn create_directory(pool: *mut apr_pool_t, _directory: *mut c_char) -> *mut c_void,
    else std::ptr::null_mut(); {
        // SAFETY: httpd passes the pool that the configuration is to live in.
        unsafe { Pool::with(pool, |pool| pool.place(Written::default()).cast()) }
    }
}

callback! {
    /// Merges a directory's configuration into that of the directory above.
    pub fn merge_directory(pool: *mut apr_pool_t, base: *mut c_void, new: *mut c_void) -> *mut c_void,
    else base; {
        // SAFETY: both came from the functions here, and live as long as the result.
        let (base, new) = unsafe { (&*base.cast::<Written<'_>>(), &*new.cast::<Written<'_>>()) };
        // SAFETY: httpd passes the pool that the result is to live in.
        unsafe { Pool::with(pool, |pool| pool.place(new.over(base)).cast()) }
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
        // SAFETY: both came from the functions here, and live as long as the result.
        let (base, new) = unsafe { (&*base.cast::<Server<'_>>(), &*new.cast::<Server<'_>>()) };
        // SAFETY: httpd passes the pool that the result is to live in.
        unsafe { Pool::with(pool, |pool| pool.keep(new.over(base)).cast()) }
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

/// What is meant for a request: what its directory says, over what its server says.
pub fn of_request<'r>(request: Request<'r>) -> Meant<'r> {
    // SAFETY: a request has the configuration of its directory, and ours in it; nobody writes to it now.
    let directory = unsafe {
        let vector = (*request.raw()).per_dir_config;
        &*ffi::ap_get_module_config(vector, &raw const wsgi_module).cast::<Written<'r>>()
    };
    directory.over(&of_server(request.server()).written).meant()
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

/// One directive as httpd has read it.
struct Call<'p> {
    pool: Pool<'p>,
    /// The server it stands in; see [`server`](Call::server).
    server: *mut Server<'p>,
    /// The directory it stands in, if it does.
    directory: Option<&'p mut Written<'p>>,
}

impl<'p> Call<'p> {
    /// Enters the call of a directive.
    ///
    /// # Safety
    /// `parms` and `directory` are what httpd gave to the function of a command, and this returns before that does.
    unsafe fn with<T>(
        parms: *mut cmd_parms,
        directory: *mut c_void,
        body: impl for<'a> FnOnce(Call<'a>) -> T,
    ) -> T {
        // SAFETY: httpd passes a record that lives through the call, with the server that is being configured.
        let parms = unsafe { &*parms };
        // SAFETY: the server has our configuration.
        let server = unsafe {
            let vector = (*parms.server).module_config;
            ffi::ap_get_module_config(vector, &raw const wsgi_module)
        };
        let enter = |pool: Pool<'_>| {
            // SAFETY: inside a section `directory` is ours, made by `create_directory`.
            let directory = (!parms.path.is_null())
                .then(|| unsafe { directory.cast::<Written<'_>>().as_mut() })
                .flatten();
            body(Call { pool, server: server.cast(), directory })
        };
        // SAFETY: the strings of a configuration go into its pool.
        unsafe { Pool::with(parms.pool, enter) }
    }

    /// The server's configuration, to be changed.
    fn server(&mut self) -> &mut Server<'p> {
        // SAFETY: only directives that cannot stand in an .htaccess file ask for it, so this is the one thread that
        // reads the configuration, before there are requests.
        unsafe { &mut *self.server }
    }

    fn apply(mut self, directive: &Directive, text: &[u8]) -> Result<(), String> {
        match directive.effect {
            Effect::Alias(kind) => {
                let alias = Alias::parse(self.pool, kind, text)?;
                self.server().aliases.push(alias);
                Ok(())
            }
            Effect::Process(set) => {
                let value = self.pool.text(text).to_bytes();
                set(&mut self.server().process, value).map_err(|expected| takes(expected, text))
            }
            Effect::Written(set) => {
                let value = self.pool.text(text).to_bytes();
                let mut written = Written::default();
                set(&mut written, value).map_err(|expected| takes(expected, text))?;
                if let Some(group) = written.application_group {
                    self.server().groups.push(group);
                }
                match &mut self.directory {
                    Some(directory) => **directory = written.over(directory),
                    None => self.server().written = written.over(&self.server().written),
                }
                Ok(())
            }
        }
    }
}

fn takes(expected: &str, value: &[u8]) -> String {
    format!("takes {expected}, not {}", quoted(value))
}

callback! {
    /// Reads one directive, with its one word or all that follows its name.
    fn read(parms: *mut cmd_parms, directory: *mut c_void, text: *const c_char) -> *const c_char,
    else c"an internal error was caught (WSGI1010)".as_ptr(); {
        // SAFETY: `info` is the `cmd_data` that `command` below put in the table.
        let directive = unsafe { &*(*parms).info.cast::<Directive>() };
        if directive.place == Place::Global {
            // SAFETY: httpd's record of the directive.
            let refused = unsafe { ffi::ap_check_cmd_context(parms, ffi::GLOBAL_ONLY) };
            if !refused.is_null() {
                return refused;
            }
        }
        // SAFETY: httpd passes a string of C.
        let text = unsafe { CStr::from_ptr(text) }.to_bytes();
        // SAFETY: this is the function of a command.
        unsafe {
            Call::with(parms, directory, |call| {
                let pool = call.pool;
                match call.apply(directive, text) {
                    Ok(()) => std::ptr::null(),
                    Err(wrong) => {
                        pool.text(format!("{} {wrong}", directive.title()).as_bytes()).as_ptr()
                    }
                }
            })
        }
    }
}

const fn command(directive: &'static Directive) -> ffi::command_rec {
    let (func, args_how) = match directive.effect {
        Effect::Alias(_) => (ffi::cmd_func { raw_args: Some(read) }, ffi::RAW_ARGS),
        Effect::Written(_) | Effect::Process(_) => {
            (ffi::cmd_func { take1: Some(read) }, ffi::TAKE1)
        }
    };
    let place = match directive.place {
        Place::Global | Place::Server => ffi::RSRC_CONF,
        Place::ServerOrDirectory => ffi::RSRC_CONF | ffi::ACCESS_CONF,
        Place::FileInfo => ffi::OR_FILEINFO,
    };
    ffi::command_rec {
        name: directive.name.as_ptr(),
        func,
        cmd_data: (&raw const *directive).cast_mut().cast(),
        req_override: place as c_int,
        args_how,
        errmsg: directive.help.as_ptr(),
    }
}

/// The table of commands, which httpd only reads.
pub struct Commands([ffi::command_rec; DIRECTIVES.len() + 1]);

// SAFETY: nobody writes to the table or to what it points to.
unsafe impl Sync for Commands {}

impl Commands {
    /// For the module record.
    pub const fn as_ptr(&self) -> *const ffi::command_rec {
        self.0.as_ptr()
    }
}

/// The table of commands that httpd parses the configuration with.
pub static COMMANDS: Commands = {
    let end = ffi::command_rec {
        name: std::ptr::null(),
        func: ffi::cmd_func { no_args: None },
        cmd_data: std::ptr::null_mut(),
        req_override: 0,
        args_how: ffi::RAW_ARGS,
        errmsg: std::ptr::null(),
    };
    let mut table = [end; DIRECTIVES.len() + 1];
    let mut at = 0;
    while at < DIRECTIVES.len() {
        table[at] = command(&DIRECTIVES[at]);
        at += 1;
    }
    Commands(table)
};

/// The application group that requests of an alias get, unless their directory says otherwise.
pub fn group_of_alias<'p>(server: &Server<'p>, alias: &Alias<'p>) -> Expression<'p> {
    match alias.options.application_group {
        Some(text) => Expression::parse(text.to_bytes()),
        None => server.written.meant().application_group,
    }
}
