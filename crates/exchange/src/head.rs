//! What is known of a request before its body is read. Plain borrowed data: whoever carries the request makes it,
//! and it is valid as long as the exchange is.

use crate::{Bytes, Runs};

/// The head of one request.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The carrier's identifier of this request, as it stands in the log (`%L` of httpd's `ErrorLogFormat`). It is also
    /// [`Known::RequestId`](crate::Known::RequestId), which is not among the variables.
    pub id: Bytes<'a>,
    /// The application that is to answer.
    pub script: Script<'a>,
    /// The application group, and with it the interpreter, that it runs in.
    pub group: Group<'a>,
    /// The string part of environ (PEP 3333, "environ Variables"). Names are unique.
    pub variables: Runs<'a>,
    /// What `wsgi.url_scheme` says.
    pub scheme: Scheme,
    /// How much body the client announced.
    pub body: Body,
    /// No byte of a body may follow the head of the answer (RFC 9110, 9.3.2: HEAD). The application is still asked
    /// for one, and what it produces is dropped by the carrier.
    pub header_only: bool,
    /// The application is to get the carrier's own structure of the request ([`LookUp::Native`](crate::LookUp::Native)).
    pub native: bool,
    /// When what happened to this request.
    pub clocks: Clocks,
}

/// Which callable of which file answers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// The file that is loaded.
    pub path: Bytes<'a>,
    /// The file that was asked for: `path` itself, but for a handler script the resource. `reload_required` gets it.
    pub resource: Bytes<'a>,
    /// The global name looked up in the loaded script.
    pub callable: Bytes<'a>,
    /// Modification time of `path` in microseconds since the epoch; `Script::UNKNOWN` when the carrier did not look.
    pub modified: i64,
    /// Whether a changed file is loaded again (`WSGIScriptReloading`).
    pub reloading: bool,
}

impl Script<'_> {
    /// The value of `modified` that says "look yourself".
    pub const UNKNOWN: i64 = i64::MIN;
}

/// An application group and the interpreter that serves it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Its name, as `environ['mod_wsgi.application_group']` shows it.
    pub name: Bytes<'a>,
    /// It runs in the main interpreter: it is `%{GLOBAL}`, or the only group that this process serves.
    pub main: bool,
}

/// PEP 3333's `wsgi.url_scheme`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// What the client announced of the request body.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Neither Content-Length nor Transfer-Encoding: no body (RFC 9112, 6.3).
    None,
    /// So many bytes.
    Length(u64),
    /// As many as come before the carrier says that it is the end.
    Unknown,
}

/// Points in time, in microseconds since the epoch; 0 where it did not happen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    /// The server began to read the request.
    pub request_start: i64,
    /// The request was handed towards a daemon process.
    pub queue_start: i64,
    /// The daemon process took it.
    pub daemon_start: i64,
}
