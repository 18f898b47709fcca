//! What a directive is: name, place, what it takes, default, help and effect. All of them are declared in `table.rs`,
//! once; the commands that httpd parses with (`commands.rs`), `conf/rustgi.conf`, `docs/directives.md` and the tests derive
//! from that.

use super::alias;
use super::plan::{Plan, Section};
use super::words::{self, quoted};
use super::written::{Process, Scope, Written};
use crate::httpd::{Pool, ServerRec};
use std::cell::RefCell;
use std::ffi::CStr;

/// One directive.
pub struct Directive {
    /// Its name. That of a section begins with `<`.
    pub name: &'static CStr,
    /// Where it may stand.
    pub place: Place,
    /// What it takes, as the manual writes it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub takes: &'static str,
    /// What holds without it, as it would be written; empty if nothing that can be written does.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub default: &'static str,
    /// What it does, in a sentence; httpd adds it to its own messages.
    pub help: &'static CStr,
    /// What reading it does.
    pub effect: Effect,
}

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the main server, outside every section.
    Global,
    /// In a server, outside the sections of directories.
    Server,
    /// In a server and in the sections of directories.
    ServerOrDirectory,
    /// Everywhere, and in `.htaccess` files with `AllowOverride FileInfo`.
    FileInfo,
    /// In the sections of directories, and in `.htaccess` files with `AllowOverride AuthConfig`.
    AuthConfig,
    /// Everywhere, with any `AllowOverride`.
    Anywhere,
}

/// What was expected instead of the value that was written.
pub type Expected = &'static str;

/// What reading a directive does.
#[derive(Clone, Copy)]
pub enum Effect {
    /// It adds an alias; it takes all words of its line.
    Alias(alias::Kind),
    /// It sets something for a server or a directory; it takes one word.
    Written(for<'p> fn(&mut Written<'p>, &'p [u8]) -> Result<(), Expected>),
    /// It sets something for the process; it takes one word.
    Process(for<'p> fn(&mut Process<'p>, &'p [u8]) -> Result<(), Expected>),
    /// It sets something for all interpreters, or for those of a section; it takes one word.
    Interpreters(for<'p> fn(&mut Section<'p>, &'p [u8]) -> Result<(), Expected>),
    /// It takes one word, which is the whole of the line's text.
    Word(for<'a, 'p> fn(&mut Line<'a, 'p>) -> Result<(), String>),
    /// It takes all words of its line.
    Line(for<'a, 'p> fn(&mut Line<'a, 'p>) -> Result<(), String>),
    /// It is `<WSGIInterpreterOptions>`.
    Section,
    /// It is a flag without effect; the log says so at level info.
    Deprecated,
    /// It belongs to an older mod_wsgi, and has no effect.
    Gone,
}

/// A directive that takes all words of its line, and what it may change.
pub struct Line<'a, 'p> {
    /// Where strings of the configuration are kept.
    pub pool: Pool<'p>,
    /// The words.
    pub text: &'a [u8],
    /// The server it stands in.
    pub server: ServerRec<'p>,
    /// It stands in a virtual host.
    pub is_virtual: bool,
    /// What is said of processes; not from an `.htaccess` file.
    pub plan: Option<&'p RefCell<Plan<'p>>>,
    /// What is said of this process, if it can be said here.
    pub process: Option<&'a mut Process<'p>>,
    /// What is said of the directory, or of the server.
    pub scope: &'a mut Scope<'p>,
    /// What is to be said to the operator.
    pub warnings: &'a mut Vec<String>,
}

impl<'p> Line<'_, 'p> {
    /// All words that are left.
    ///
    /// # Errors
    /// There is none.
    pub fn words(&mut self, expected: Expected) -> Result<Vec<Vec<u8>>, String> {
        let mut rest = self.text;
        let words: Vec<Vec<u8>> = std::iter::from_fn(|| words::next(&mut rest)).collect();
        if words.is_empty() { Err(format!("takes {expected}")) } else { Ok(words) }
    }

    /// What is said of processes, to be added to.
    pub fn with_plan<T>(&self, body: impl FnOnce(&mut Plan<'p>) -> T) -> Option<T> {
        Some(body(&mut self.plan?.borrow_mut()))
    }
}

/// What is said of a value that cannot be.
pub fn takes(expected: &str, value: &[u8]) -> String {
    format!("takes {expected}, not {}", quoted(value))
}

/// A flag, in any case.
///
/// # Errors
/// It is something else.
pub fn on_or_off(value: &[u8]) -> Result<bool, Expected> {
    match value {
        _ if value.eq_ignore_ascii_case(b"on") => Ok(true),
        _ if value.eq_ignore_ascii_case(b"off") => Ok(false),
        _ => Err("On or Off"),
    }
}

impl Directive {
    /// Its name as text.
    pub fn title(&self) -> &'static str {
        self.name.to_str().unwrap_or_default()
    }
}
