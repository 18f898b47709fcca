//! How httpd reads our directives: the table of commands of the module record, made from [`DIRECTIVES`], and the functions
//! behind it.
#![expect(unsafe_code, reason = "configuration crosses httpd as untyped pointers")]

use super::directives::{Directive, Effect, Line, Place, on_or_off, takes};
use super::plan::Section;
use super::store::plan;
use super::table::DIRECTIVES;
use super::words::{self, quoted};
use super::{Alias, Expression, Scope, Server, Written};
use crate::httpd::callback::callback;
use crate::httpd::ffi::{self, cmd_parms};
use crate::httpd::{Pool, ServerRec, log};
use crate::module::wsgi_module;
use exchange::{Code, Level};
use std::ffi::{CStr, c_char, c_int, c_void};

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
                let in_directory = self.directory.is_some();
                if let Some(group) = written.process_group.filter(|_| in_directory) {
                    plan(self.server).borrow_mut().directory_groups.push(group);
                }
                let callable = written.callable_object.filter(|_| !self.is_late);
                if let Some(Expression::Literal(callable)) = callable {
                    plan(self.server).borrow_mut().callables.push(callable);
                }
                let scope = match &mut self.directory {
                    Some(directory) => directory,
                    None => &mut self.server().scope,
                };
                scope.written = written.over(&scope.written);
                Ok(())
            }
            Effect::Word(read) | Effect::Line(read) => self.read_line(read, text, warnings),
            Effect::Deprecated => {
                on_or_off(text).map(drop).map_err(|expected| takes(expected, text))
            }
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
        if let Some(callable) = alias.options.callable_object {
            plan(self.server).borrow_mut().callables.push(callable.to_bytes());
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
    let line = format!("{} {what}{}", directive.title(), place(parms));
    log::note_code(Level::Warning, Code::DirectiveGone, &line);
}

/// Tells the operator of a directive that nobody needs any more.
fn note_deprecated(parms: &cmd_parms, directive: &Directive) {
    let help = directive.help.to_str().unwrap_or_default();
    let line = format!("{} is deprecated and does {help}{}.", directive.title(), place(parms));
    log::note_for_process(Level::Info, line.as_bytes());
}

/// Where a directive stands, for a message.
fn place(parms: &cmd_parms) -> String {
    // SAFETY: a directive of httpd's tree, or NULL.
    unsafe { parms.directive.as_ref() }.map_or_else(String::new, |here| {
        // SAFETY: the name of a file, which every directive has.
        let file = unsafe { CStr::from_ptr(here.filename) }.to_string_lossy();
        format!(" (line {} of {file})", here.line_num)
    })
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
        if matches!(directive.effect, Effect::Deprecated) && refused.is_null() {
            // SAFETY: as above.
            note_deprecated(unsafe { &*parms }, directive);
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
        Effect::Written(_)
        | Effect::Process(_)
        | Effect::Interpreters(_)
        | Effect::Word(_)
        | Effect::Deprecated => (ffi::cmd_func { take1: Some(read) }, ffi::TAKE1),
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
