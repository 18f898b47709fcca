//! A request of httpd that a group of workers is to answer: what is checked and made ready before, and what httpd is told
//! when it is over.

use super::body::{Gathered, INLINE};
use super::relay::{Ended, Instead, Particulars, Relay};
use super::remote::{self, Group, Remote};
use super::spool::{NoRoom, Spooled};
use super::{inside, owner};
use crate::handler::{Call, Status};
use crate::httpd_exchange::HttpdExchange;
use exchange::{Body, Code, Known, Variables};

/// What a request is called inside of the group's root directory.
#[derive(Clone, Copy, Debug)]
pub struct Jailed<'r> {
    /// The script.
    pub script: &'r [u8],
    /// The file that was asked for.
    pub resource: &'r [u8],
    /// The documents, if they are there at all.
    pub documents: Option<&'r [u8]>,
}

impl<'r> Jailed<'r> {
    /// Gives variables the names that hold inside.
    pub fn rename(&self, variables: &mut Variables) {
        variables.put(Known::ScriptFilename, self.resource);
        match self.documents {
            Some(documents) => variables.put(Known::DocumentRoot, documents),
            None => variables.remove(Known::DocumentRoot.name()),
        }
    }
}

/// A cause for a refusal: a code, and what is to be said besides.
type Cause<'r> = (Code, &'r [u8]);

/// Whether the group may have the request, and what it is called there if the group has a root directory of its own.
///
/// # Errors
/// It may not.
pub fn jailed<'r>(group: &Group, call: &Call<'r>) -> Result<Option<Jailed<'r>>, Cause<'r>> {
    let terms = &group.terms;
    owner::check(terms, call)?;
    let Some(jail) = &terms.jail else { return Ok(None) };
    let below = |path: &'r [u8]| inside(jail, path).ok_or((Code::ScriptOutsideJail, path));
    Ok(Some(Jailed {
        script: below(call.script())?,
        resource: below(call.resource())?,
        documents: call.request.document_root().and_then(|path| inside(jail, path)),
    }))
}

/// Has a worker answer a request.
pub fn serve(
    remote: &Remote,
    group: &Group,
    call: &Call<'_>,
    body: Body,
    mut exchange: HttpdExchange<'_, '_>,
) -> Status {
    let terms = &group.terms;
    let body = if body == Body::None {
        Some(Gathered::default())
    } else if terms.streams_body {
        None
    } else {
        match gather(group, body, &mut exchange) {
            Ok(body) => Some(body),
            Err(no_room) => return refuse_body(group, call, &no_room),
        }
    };
    if let Some(answered) = exchange.answered() {
        return answered;
    }
    let request = call.request;
    let particulars = Particulars {
        log_level: request.log_level(),
        ignored: call.meant.ignore_activity,
        overrides_errors: call.meant.error_override,
        timeout: remote::socket_timeout(terms, request.server()),
    };
    let patience = terms.client_timeout.and_then(|time| request.set_client_timeout(time));
    let ended = Relay::new(remote, group, particulars, &mut exchange, body).run();
    if let Some(before) = patience {
        request.set_client_timeout(before);
    }
    finish(call, exchange, ended)
}

fn gather(
    group: &Group,
    body: Body,
    exchange: &mut HttpdExchange<'_, '_>,
) -> Result<Gathered, NoRoom> {
    let memory = group.terms.body_memory;
    let largest = group.spool.largest_body().max(memory).max(INLINE as u64);
    match body {
        // Refused before any byte of it is read, because it can never fit.
        Body::Length(length) if length > largest => Err(NoRoom::Limit),
        _ => Gathered::read(exchange, memory, &group.spool),
    }
}

/// Answers a request whose body could not be kept.
fn refuse_body(group: &Group, call: &Call<'_>, no_room: &NoRoom) -> Status {
    // The rest of the body is not read, so that a client that sends slowly does not occupy this thread.
    call.request.close_connection();
    match no_room {
        NoRoom::Limit => {
            group.spool.note(no_room, Spooled::Body);
            Status::Refused(Code::SpoolFull.status())
        }
        NoRoom::Disk(error) => {
            let cause = format!("{}: {error}", group.spool.directory().display());
            call.refuse(Code::BodyNotGathered, cause.as_bytes())
        }
    }
}

fn finish(call: &Call<'_>, exchange: HttpdExchange<'_, '_>, ended: Ended) -> Status {
    let request = call.request;
    if let Some(seconds) = ended.retry_after {
        request
            .err_headers_out()
            .set(c"Retry-After", request.pool().text(seconds.to_string().as_bytes()));
    }
    match ended.instead {
        None => exchange.finish(ended.outcome),
        Some(Instead::Redirect(place)) => {
            exchange.drop_unanswered();
            request.redirect_inside(request.pool().text(&place));
            Status::Done
        }
        Some(Instead::Error(status, challenges)) => {
            exchange.drop_unanswered();
            for challenge in challenges {
                let value = request.pool().text(&challenge);
                request.err_headers_out().add(c"WWW-Authenticate", value);
            }
            Status::Refused(status)
        }
    }
}
