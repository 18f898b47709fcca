//! `WSGIDispatchScript`: a script says where a request is to be served. It sees what the application would see. If it
//! cannot be asked, or gives no answer that has a meaning, the request is refused: whoever wrote it relies on it.

use crate::child;
use crate::config::{Expression, Hook, values};
use crate::environ::{self, Paths};
use crate::group;
use crate::handler::{Call, Refusal};
use crate::httpd::Pool;
use crate::inquiry::Inquiry;
use exchange::{Code, Failure, Known, Question, Reply, Variables};

/// Asks the script, and changes what is meant for the request as it says.
///
/// # Errors
/// The request is to be refused.
pub fn ask<'r>(
    call: &mut Call<'r>,
    script: &Hook<'r>,
    paths: Paths<'r>,
) -> Result<(), Refusal<'r>> {
    let request = call.request;
    let unavailable = (Code::DispatchUnavailable, script.path);
    let child = child::get().filter(|child| child.has_engine()).ok_or(unavailable)?;
    let inquiry = Inquiry::of(request, script, &call.meant);
    let known = environ::Known {
        child,
        paths,
        process_group: b"",
        group: inquiry.group,
        callable: group::callable(request, call.meant.callable_object),
        id: request.established_log_id(),
    };
    let (mut variables, _) = environ::variables(call, &known, Variables::default());
    variables.remove("mod_wsgi.callable_object");
    variables.put(Known::RequestId, known.id);
    if let Some(https) = request.subprocess_env().get(c"HTTPS") {
        variables.put_other(b"HTTPS", https);
    }
    let (pool, mut is_sound) = (request.pool(), true);
    let meant = &mut call.meant;
    let mut take = |text: &[u8]| {
        is_sound &= !text.contains(&0);
        kept(pool, text)
    };
    let asked = inquiry.about(variables).ask(child, Question::Dispatch, &mut |reply| match reply {
        Reply::ProcessGroup(text) => meant.process_group = Expression::parse(take(text)),
        Reply::ApplicationGroup(text) => meant.application_group = Expression::parse(take(text)),
        Reply::CallableObject(text) => {
            let text = take(text);
            meant.callable_object = values::callable(text).unwrap_or(Expression::Literal(text));
        }
        _ => {}
    });
    match asked {
        Some(Ok(())) if is_sound => Ok(()),
        Some(Ok(())) => Err((Code::NameWithNul, script.path).into()),
        Some(Err(failure)) => Err(Refusal::Noted(Failure { code: refused(failure.code) })),
        None => Err(unavailable.into()),
    }
}

/// Whatever went wrong in the script, it is the server that cannot answer.
fn refused(code: Code) -> Code {
    if code.status() == 500 { code } else { Code::DispatchUnavailable }
}

fn kept<'r>(pool: Pool<'r>, text: &[u8]) -> &'r [u8] {
    pool.text(text).to_bytes()
}
