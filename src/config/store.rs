//! How httpd makes, merges and fills our configuration: the slots and the table of commands of the module record, and
//! the way back from a request to what was written.
#![expect(unsafe_code, reason = "configuration crosses httpd as untyped pointers")]

use super::directives::{Directive, Effect, Line, Place, takes};
use super::hooks::Auth;
use super::plan::Section;
use super::table::DIRECTIVES;
use super::words::{self, quoted};
use super::{Alias, Expression, Handler, Meant, Plan, Scope, Server, Written};
use crate::httpd::callback::callback;
use crate::httpd::ffi::{self, apr_pool_t, cmd_parms, server_rec};
use crate::httpd::{Pool, Request, ServerRec, log};
use crate::module::wsgi_module;
use exchange::{Code, Level};
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};

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

/// One directive as httpd has read it.
struct Call<'p> {
    pool: Pool<'p>,
    /// The server it stands in.
    server: ServerRec<'p>,
    /// Its configuration; see [`server`](Call::server).
    configuration: *mut Server<'p>,
    /// The directory it stands in, if it does.
    directory: Option<&'p mut Scope<'p>>,
    /// The section for interpreters it stands in, if it does.
    section: Option<&'p mut Section<'p>>,
    /// The server is a virtual host.
    is_virtual: bool,
    /// It stands in an `.htaccess` file: a request is being served.
    is_late: bool,
}

impl<'p> Call<'p> {
    /// Enters the call of a directive.
    ///
    /// # Safety
    /// `parms` and `directory` are what httpd gave to the function of a command, and this returns before that does.
    unsafe fn with<T>(
        parms: *mut cmd_parms,
        directory: *mut c_void,
        place: Place,
        body: impl for<'a> FnOnce(Call<'a>) -> T,
    ) -> T {
        // SAFETY: httpd passes a record that lives through the call, with the server that is being configured.
        let parms = unsafe { &*parms };
        // SAFETY: the server has our configuration.
        let configuration = unsafe {
            let vector = (*parms.server).module_config;
            ffi::ap_get_module_config(vector, &raw const wsgi_module)
        };
        // SAFETY: the server lives through the call.
        let is_virtual = unsafe { (*parms.server).is_virtual } != 0;
        // SAFETY: the strings of a configuration go into its pool, and its servers live as long.
        unsafe {
            Pool::with_server(parms.pool, parms.server, |pool, server| {
                // An alias of a provider is a directory without a path.
                let is_directory = !parms.path.is_null() || place == Place::AuthConfig;
                // SAFETY: inside a section `directory` is ours, made by `create_directory`.
                let directory =
                    is_directory.then(|| directory.cast::<Scope<'_>>().as_mut()).flatten();
                // SAFETY: what is found is a section that `read_section` is waiting with.
                let section = section_around(parms.directive).cast::<Section<'_>>().as_mut();
                let configuration = configuration.cast();
                let is_late = server.configuration_pool() != parms.pool;
                body(Call { pool, server, configuration, directory, section, is_virtual, is_late })
            })
        }
    }

    /// The server's configuration, to be changed.
    fn server(&mut self) -> &mut Server<'p> {
        assert!(!self.is_late, "an .htaccess file changes no server");
        // SAFETY: this is the one thread that reads the configuration, before there are requests.
        unsafe { &mut *self.configuration }
    }

    fn apply(
        mut self,
        directive: &Directive,
        text: &[u8],
        warnings: &mut Vec<String>,
    ) -> Result<(), String> {
        let value = self.pool.text(text).to_bytes();
        match directive.effect {
            Effect::Alias(kind) => self.add_alias(kind, text),
            Effect::Process(set) => {
                set(&mut self.server().process, value).map_err(|expected| takes(expected, text))
            }
            Effect::Interpreters(set) => {
                let result = match &mut self.section {
                    Some(section) => set(section, value),
                    None => set(&mut self.server().process.interpreters, value),
                };
                result.map_err(|expected| takes(expected, text))
            }
            Effect::Written(set) => {
                let mut written = Written::default();
                set(&mut written, value).map_err(|expected| takes(expected, text))?;
                if let Some(group) = written.application_group {
                    self.server().groups.push(group);
                }
                let scope = match &mut self.directory {
                    Some(directory) => directory,
                    None => &mut self.server().scope,
                };
                scope.written = written.over(&scope.written);
                Ok(())
            }
            Effect::Word(read) | Effect::Line(read) => self.read_line(read, text, warnings),
            Effect::Section => Err("is a section".to_owned()),
            Effect::Gone => {
                let help = directive.help.to_str().unwrap_or_default();
                warnings.push(format!("has no effect; it is {help}"));
                Ok(())
            }
        }
    }

    fn add_alias(&mut self, kind: super::alias::Kind, text: &[u8]) -> Result<(), String> {
        let alias = Alias::parse(self.pool, kind, text)?;
        if let Some(import) = alias.preload() {
            plan(self.server).borrow_mut().import(import, self.server)?;
        }
        self.server().aliases.push(alias);
        Ok(())
    }

    fn read_line(
        mut self,
        read: for<'a> fn(&mut Line<'a, 'p>) -> Result<(), String>,
        text: &[u8],
        warnings: &mut Vec<String>,
    ) -> Result<(), String> {
        let (pool, server, is_virtual) = (self.pool, self.server, self.is_virtual);
        let plan = (!self.is_late).then(|| plan(server));
        let (scope, process) = match self.directory.take() {
            Some(directory) => (directory, None),
            None => {
                let Server { scope, process, .. } = self.server();
                (scope, Some(process))
            }
        };
        read(&mut Line { pool, text, server, is_virtual, plan, process, scope, warnings })
    }
}

/// The section of ours that a directive stands in, or NULL.
///
/// # Safety
/// `directive` is one of httpd's tree, or NULL.
unsafe fn section_around(directive: *const ffi::ap_directive_t) -> *mut c_void {
    // SAFETY: the caller's promise.
    let mut around = unsafe { directive.as_ref() }.map_or(std::ptr::null_mut(), |here| here.parent);
    // SAFETY: a chain of the tree, which ends with NULL.
    while let Some(here) = unsafe { around.as_ref() } {
        // SAFETY: every directive has a name.
        let name = unsafe { CStr::from_ptr(here.directive) }.to_bytes();
        if name.eq_ignore_ascii_case(SECTION) {
            return here.data;
        }
        around = here.parent;
    }
    std::ptr::null_mut()
}

const SECTION: &[u8] = b"<WSGIInterpreterOptions";

/// The selectors of a section, up to its `>`.
fn selectors<'p>(pool: Pool<'p>, text: &[u8]) -> Result<Section<'p>, String> {
    let text = text.trim_ascii_end();
    let inside = text.strip_suffix(b">").ok_or("directive missing closing '>'")?;
    let mut section = Section::default();
    let mut rest = inside;
    while let Some(pair) = words::next_pair(&mut rest) {
        let (name, value) = pair.map_err(|text| {
            format!("takes process-group=name and application-group=name, not {}", quoted(&text))
        })?;
        let group = match value.as_slice() {
            b"%{GLOBAL}" => &[][..],
            value => pool.text(value).to_bytes(),
        };
        let selector = match name.to_ascii_lowercase().as_slice() {
            b"process-group" => &mut section.process_group,
            b"application-group" => &mut section.application_group,
            _ => {
                let name = quoted(&name);
                return Err(format!("knows process-group and application-group, not {name}"));
            }
        };
        if selector.replace(group).is_some() {
            return Err(format!("takes {} once", quoted(&name)));
        }
    }
    Ok(section)
}

/// What httpd is told of a directive that cannot be.
fn refusal(pool: Pool<'_>, directive: &Directive, wrong: &str) -> *const c_char {
    pool.text(format!("{} {wrong}", directive.title()).as_bytes()).as_ptr()
}

/// Tells the operator of something in the configuration that was passed over.
fn warn(parms: &cmd_parms, directive: &Directive, what: &str) {
    // SAFETY: a directive of httpd's tree, or NULL.
    let place = unsafe { parms.directive.as_ref() }.map_or_else(String::new, |here| {
        // SAFETY: the name of a file, which every directive has.
        let file = unsafe { CStr::from_ptr(here.filename) }.to_string_lossy();
        format!(" (line {} of {file})", here.line_num)
    });
    let line = format!("{} {what}{place}", directive.title());
    log::note_code(Level::Warning, Code::DirectiveGone, &line);
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
        let mut warnings = Vec::new();
        // SAFETY: this is the function of a command.
        let refused = unsafe {
            Call::with(parms, directory, directive.place, |call| {
                let pool = call.pool;
                match call.apply(directive, text, &mut warnings) {
                    Ok(()) => std::ptr::null(),
                    Err(wrong) => refusal(pool, directive, &wrong),
                }
            })
        };
        for what in warnings {
            // SAFETY: httpd's record of the directive.
            warn(unsafe { &*parms }, directive, &what);
        }
        refused
    }
}

callback! {
    /// Reads a section: its selectors, and then every directive in it.
    fn read_section(parms: *mut cmd_parms, directory: *mut c_void, text: *const c_char) -> *const c_char,
    else c"an internal error was caught (WSGI1010)".as_ptr(); {
        // SAFETY: `info` is the `cmd_data` that `command` below put in the table.
        let directive = unsafe { &*(*parms).info.cast::<Directive>() };
        // SAFETY: httpd's record of the directive.
        let refused = unsafe { ffi::ap_check_cmd_context(parms, ffi::GLOBAL_ONLY) };
        if !refused.is_null() {
            return refused;
        }
        // SAFETY: httpd passes a string of C.
        let text = unsafe { CStr::from_ptr(text) }.to_bytes();
        // SAFETY: this is the function of a command.
        unsafe {
            Call::with(parms, directory, directive.place, |call| {
                let section = match selectors(call.pool, text) {
                    Ok(section) => call.pool.place(section),
                    Err(wrong) => return refusal(call.pool, directive, &wrong),
                };
                // SAFETY: the section's own place in httpd's tree; what stands in it looks here (`section_around`).
                let here = (*parms).directive;
                (*here).data = section.cast();
                let refused = ffi::ap_walk_config((*here).first_child, parms, (*parms).context);
                (*here).data = std::ptr::null_mut();
                // SAFETY: placed above; what stood in it has let go of it.
                let section = *section;
                if section.application_group.is_some() && section.free_threading.is_some() {
                    let code = Code::FreeThreadingPerProcess;
                    log::note_code(Level::Warning, code, code.text());
                }
                plan(call.server).borrow_mut().sections.push(section);
                refused
            })
        }
    }
}

const fn command(directive: &'static Directive) -> ffi::command_rec {
    let (func, args_how) = match directive.effect {
        Effect::Section => (ffi::cmd_func { raw_args: Some(read_section) }, ffi::RAW_ARGS),
        Effect::Alias(_) | Effect::Line(_) | Effect::Gone => {
            (ffi::cmd_func { raw_args: Some(read) }, ffi::RAW_ARGS)
        }
        Effect::Written(_) | Effect::Process(_) | Effect::Interpreters(_) | Effect::Word(_) => {
            (ffi::cmd_func { take1: Some(read) }, ffi::TAKE1)
        }
    };
    let place = match directive.place {
        Place::Global | Place::Server => ffi::RSRC_CONF,
        Place::ServerOrDirectory => ffi::RSRC_CONF | ffi::ACCESS_CONF,
        Place::FileInfo => ffi::OR_FILEINFO,
        Place::AuthConfig => ffi::OR_AUTHCFG,
        Place::Anywhere => ffi::OR_ALL | ffi::OR_FILEINFO | ffi::OR_AUTHCFG,
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
