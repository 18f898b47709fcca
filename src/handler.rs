//! The handler: whether a request is ours, whether it is accepted, and what httpd is told when it has been answered.
//! The steps stand in the order in which they are taken.

use crate::child::{self, Child};
use crate::config::daemon::Daemon;
use crate::config::{self, Expression, Handler, Meant, store};
use crate::daemon;
use crate::dispatch;
use crate::environ::{self, Paths};
use crate::group;
use crate::httpd::request::FileKind;
use crate::httpd::{Request, log};
use crate::httpd_exchange::{HttpdExchange, Server};
use crate::mapping;
use exchange::{Body, Code, Failure, Level, Record};
use std::ffi::{CStr, c_int};

/// The name of our handler.
pub const SCRIPT: &CStr = c"wsgi-script";
/// Its older name, which is a content type (`AddType`).
const SCRIPT_TYPE: &[u8] = b"application/x-httpd-wsgi";

/// What a hook tells httpd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not ours.
    Declined,
    /// Done with.
    Done,
    /// httpd is to answer with this status.
    Refused(u16),
    /// A filter has answered already.
    Answered,
}

impl Status {
    /// As httpd has it.
    pub fn code(self) -> c_int {
        use crate::httpd::ffi;
        match self {
            Status::Declined => ffi::DECLINED,
            Status::Done => ffi::OK as c_int,
            Status::Refused(status) => c_int::from(status),
            Status::Answered => ffi::AP_FILTER_ERROR,
        }
    }
}

/// A request for one of our scripts, and what the configuration says of it.
pub struct Call<'r> {
    /// The request.
    pub request: Request<'r>,
    /// What its server says.
    pub server: &'r config::Server<'r>,
    /// What is meant for it, the options of its alias included.
    pub meant: Meant<'r>,
    /// The script that handles its file, if it is not a script itself.
    pub handler: Option<&'r Handler<'r>>,
    /// An alias led to the script.
    is_aliased: bool,
}

/// Answers a request for a script.
pub fn handle(request: Request<'_>) -> Status {
    match request.handler() {
        Some(name) if name == SCRIPT.to_bytes() || name == SCRIPT_TYPE => {
            answer(Call::new(request))
        }
        Some(name) => match store::handler_of_request(request, name) {
            Some(handler) => answer(Call::of_handler(request, handler)),
            None => Status::Declined,
        },
        None => Status::Declined,
    }
}

/// Answers a request that an alias led to a script, and that a later phase took away for a handler that nobody has
/// (`AddHandler cgi-script` without mod_cgi, MultiViews): it comes here after every module has declined it, and
/// otherwise core would send the source of the script. A handler that is somebody's has taken the request before,
/// and core's own, when it was asked for by name, shall have it.
pub fn handle_unowned(request: Request<'_>) -> Status {
    let is_aliased = || request.notes().get(mapping::FORCED_TYPE) == Some(SCRIPT.to_bytes());
    if request.handler() == Some(b"default-handler") || !is_aliased() {
        return Status::Declined;
    }
    answer(Call::new(request))
}

impl<'r> Call<'r> {
    fn new(request: Request<'r>) -> Self {
        let mut call = Call {
            request,
            server: store::of_server(request.server()),
            meant: store::of_request(request),
            handler: None,
            is_aliased: false,
        };
        let (mut process, mut application, mut callable, mut pass) = (None, None, None, None);
        request.notes().for_each(|name, value| match name {
            _ if name == mapping::FORCED_TYPE => call.is_aliased = value == SCRIPT.to_bytes(),
            _ if name == mapping::PROCESS_GROUP => process = Some(value),
            _ if name == mapping::APPLICATION_GROUP => application = Some(value),
            _ if name == mapping::CALLABLE_OBJECT => callable = Some(value),
            _ if name == mapping::PASS_AUTHORIZATION => pass = Some(value == b"1"),
            _ => {}
        });
        if call.is_aliased {
            let meant = &mut call.meant;
            meant.process_group = process.map_or(meant.process_group, Expression::parse);
            meant.application_group =
                application.map_or(meant.application_group, Expression::parse);
            meant.callable_object = callable.map_or(meant.callable_object, Expression::Literal);
            meant.pass_authorization = pass.unwrap_or(meant.pass_authorization);
        }
        call
    }

    /// A request for a file that a script handles.
    fn of_handler(request: Request<'r>, handler: &'r Handler<'r>) -> Self {
        const CALLABLE: &[u8] = b"handle_request";
        let mut meant = store::of_request(request);
        meant.process_group = handler.process_group.unwrap_or(meant.process_group);
        meant.application_group = handler.application_group.unwrap_or(meant.application_group);
        meant.pass_authorization = handler.pass_authorization.unwrap_or(meant.pass_authorization);
        meant.callable_object = Expression::Literal(CALLABLE);
        let server = store::of_server(request.server());
        Call { request, server, meant, handler: Some(handler), is_aliased: false }
    }

    /// The file that was asked for: the script itself, unless another script handles it.
    pub fn resource(&self) -> &'r [u8] {
        self.request.filename().map_or(&[], CStr::to_bytes)
    }

    /// The file of the script.
    pub fn script(&self) -> &'r [u8] {
        self.handler.map_or_else(|| self.resource(), |handler| handler.path)
    }

    /// Writes a failure to the request's log, and makes of it what httpd is told.
    pub fn refuse(&self, code: Code, particulars: &[u8]) -> Status {
        self.note(&Record::new(Level::Error, &log::line(code, particulars)));
        Status::Refused(code.status())
    }

    /// Writes a record to the request's log, with the script in front.
    pub fn note(&self, record: &Record<'_>) {
        let prefix = [b"[script ", &*log::shortened(self.resource()), b"] "].concat();
        log::note_for_request(self.request, record, &prefix);
    }
}

/// Why a request is refused: a code, and what is to be said besides.
type Cause<'r> = (Code, &'r [u8]);

/// A request is not accepted.
pub enum Refusal<'r> {
    /// For this cause, which is to be noted.
    For(Cause<'r>),
    /// For a cause that has been noted.
    Noted(Failure),
}

impl<'r> From<Cause<'r>> for Refusal<'r> {
    fn from(cause: Cause<'r>) -> Self {
        Refusal::For(cause)
    }
}

fn answer(mut call: Call<'_>) -> Status {
    match accept(&mut call) {
        Ok(accepted) => serve(&call, accepted),
        Err(Refusal::For((code, particulars))) => call.refuse(code, particulars),
        Err(Refusal::Noted(failure)) => Status::Refused(failure.status()),
    }
}

/// What was found out on the way to accepting a request.
struct Accepted<'r> {
    child: &'static Child,
    body: Body,
    paths: Paths<'r>,
    /// The group of processes that is to answer; `None` for this one.
    daemon: Option<&'r Daemon<'r>>,
}

/// The steps to accepting a request, in order.
fn accept<'r>(call: &mut Call<'r>) -> Result<Accepted<'r>, Refusal<'r>> {
    if call.handler.is_none() {
        script_may_be_executed(call)?;
        script_is_a_file(call)?;
    }
    path_info_is_welcome(call)?;
    let body = body_is_understood(call)?;
    body_is_within_its_limit(call, body)?;
    let paths = environ::paths(call.request);
    if let Some(script) = call.meant.dispatch {
        dispatch::ask(call, &script, paths)?;
    }
    let daemon = process_group_may_serve(call, &paths)?;
    let child = if daemon.is_some() { child_has_begun()? } else { child_has_an_engine()? };
    Ok(Accepted { child, body, paths, daemon })
}

fn script_may_be_executed<'r>(call: &Call<'r>) -> Result<(), Cause<'r>> {
    if call.is_aliased || call.request.may_execute() {
        return Ok(());
    }
    Err((Code::ExecNotAllowed, b""))
}

fn script_is_a_file<'r>(call: &Call<'r>) -> Result<(), Cause<'r>> {
    match call.request.file_kind() {
        FileKind::File => Ok(()),
        FileKind::Missing => Err((Code::ScriptMissing, b"")),
        FileKind::Directory => Err((Code::ScriptIsDirectory, b"")),
    }
}

fn path_info_is_welcome<'r>(call: &Call<'r>) -> Result<(), Cause<'r>> {
    let path_info = call.request.path_info().unwrap_or_default();
    if path_info.is_empty() || !call.request.rejects_path_info() {
        return Ok(());
    }
    Err((Code::PathInfoRefused, path_info))
}

fn body_is_understood<'r>(call: &Call<'r>) -> Result<Body, Cause<'r>> {
    let headers = call.request.headers_in();
    if let Some(encoding) = headers.get(c"Transfer-Encoding") {
        return match encoding {
            _ if !encoding.eq_ignore_ascii_case(b"chunked") => {
                Err((Code::TransferEncodingUnknown, encoding))
            }
            _ if !call.meant.chunked_request => {
                Err((Code::ChunkedRefused, b"WSGIChunkedRequest is Off"))
            }
            _ => Ok(Body::Unknown),
        };
    }
    let Some(length) = headers.get(c"Content-Length") else {
        // A request of HTTP/2 may have a body without saying so.
        let may_follow = call.request.is_multiplexed();
        return Ok(if may_follow { Body::Unknown } else { Body::None });
    };
    let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(length).ok().and_then(|text| text.parse::<i64>().ok());
    match number.filter(|_| is_number).and_then(|number| u64::try_from(number).ok()) {
        Some(number) => Ok(Body::Length(number)),
        None => Err((Code::ContentLengthInvalid, length)),
    }
}

fn body_is_within_its_limit<'r>(call: &Call<'r>, body: Body) -> Result<(), Cause<'r>> {
    let limit = call.request.body_limit();
    match body {
        Body::Length(length) if limit > 0 && length > limit => Err((Code::BodyTooLarge, b"")),
        _ => Ok(()),
    }
}

/// The group of processes that may serve it; `None` if it is this process.
fn process_group_may_serve<'r>(
    call: &Call<'r>,
    paths: &Paths<'r>,
) -> Result<Option<&'r Daemon<'r>>, Cause<'r>> {
    let name = group::expand(call.request, call.meant.process_group, paths.script_name);
    let may_serve = call
        .meant
        .restrict_process
        .is_none_or(|groups| groups.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)));
    if !may_serve {
        return Err((Code::ProcessGroupNotAllowed, name));
    }
    if name.is_empty() {
        let is_restricted = call.server.process.restrict_embedded.unwrap_or(false);
        return if is_restricted { Err((Code::EmbeddedRestricted, b"")) } else { Ok(None) };
    }
    let daemon = call.server.resolved.get().and_then(|resolved| resolved.plan.daemon(name));
    match daemon {
        None => Err((Code::ProcessGroupUnknown, name)),
        Some(daemon) if !daemon.serves(call.request.server()) => {
            Err((Code::ProcessGroupOfOthers, name))
        }
        Some(daemon) => Ok(Some(daemon)),
    }
}

fn child_has_begun<'r>() -> Result<&'static Child, Cause<'r>> {
    child::get().ok_or((Code::WorkerUnreachable, b""))
}

fn child_has_an_engine<'r>() -> Result<&'static Child, Cause<'r>> {
    child::get().filter(|child| child.has_engine()).ok_or((Code::EmbeddedUnavailable, b""))
}

fn serve<'r>(call: &Call<'r>, accepted: Accepted<'r>) -> Status {
    let Accepted { child, body, paths, daemon } = accepted;
    // A filter may change the length (inflate).
    let body =
        if call.request.filters_input() && body != Body::None { Body::Unknown } else { body };
    if let Some(daemon) = daemon {
        return serve_elsewhere(call, child, body, paths, daemon);
    }
    let here = Server { sole: call.server.sole(), ..Server::default() };
    let mut exchange = HttpdExchange::new(call, child, body, paths, here);
    match child.serve(&mut exchange) {
        Some(outcome) => exchange.finish(outcome),
        None => call.refuse(Code::EmbeddedUnavailable, b""),
    }
}

fn serve_elsewhere<'r>(
    call: &Call<'r>,
    child: &'static Child,
    body: Body,
    paths: Paths<'r>,
    daemon: &'r Daemon<'r>,
) -> Status {
    let name = daemon.name;
    let remote = child.remote.as_ref();
    let Some((remote, group)) = remote.and_then(|remote| Some((remote, remote.group(name)?)))
    else {
        return call.refuse(Code::WorkerUnreachable, name);
    };
    let jailed = match daemon::jailed(group, call) {
        Ok(jailed) => jailed,
        Err((code, particulars)) => return call.refuse(code, particulars),
    };
    let sole = daemon.sole.get().and_then(Option::as_ref);
    let queue_start = daemon::now();
    let there = Server { process_group: name, sole, jailed, queue_start };
    let exchange = HttpdExchange::new(call, child, body, paths, there);
    daemon::serve(remote, group, call, body, exchange)
}
