//! Access, authentication and groups, by scripts: what httpd is told when it asks whether a client may come in, whether a
//! password is right, and what groups a user is in. Whatever is not a clear yes is a no.

use crate::child;
use crate::config::{Hook, store, words};
use crate::environ;
use crate::handler::Status;
use crate::httpd::{Request, log};
use crate::inquiry::Inquiry;
use exchange::{Code, Failure, Level, Question, Record, Reply};

/// What is known of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// It is right.
    Right,
    /// It is wrong.
    Wrong,
    /// Nobody of that name is known.
    NoUser,
    /// It cannot be told.
    Failed,
}

/// Whether a user is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// In one of those.
    Member,
    /// In none of them, or it cannot be told.
    Stranger,
    /// Nobody has logged in yet.
    NoUser,
}

/// What a script said.
enum Said<T> {
    Something(T),
    Nothing,
    /// It could not be asked, or raised, or said what has no meaning. That has been noted.
    Failed,
}

/// `WSGIAccessScript`: whether the client may come in.
pub fn check_access(request: Request<'_>) -> Status {
    let Some(script) = &store::auth_of_request(request).access else { return Status::Declined };
    let host = request.client_name().or_else(|| request.useragent_ip()).unwrap_or_default();
    let denied = Status::Refused(Code::AccessDenied.status());
    let said = ask(request, script, Question::Access { host }, Code::AccessUnavailable, |reply| {
        Some(reply == Reply::Yes)
    });
    match said {
        Said::Something(true) => Status::Done,
        Said::Something(false) => {
            // With `Satisfy Any` whoever logs in comes in all the same.
            if !request.may_log_in_instead() {
                note(request, script, Code::AccessDenied, b"");
            }
            denied
        }
        Said::Nothing => Status::Declined,
        Said::Failed => denied,
    }
}

/// `AuthBasicProvider wsgi`: whether this is the user's password. The script may give the user another name.
pub fn check_password(request: Request<'_>, user: &[u8], password: &[u8]) -> Password {
    let Some(script) = &store::auth_of_request(request).user else {
        return without_script(request, Code::PasswordScriptMissing);
    };
    let mut is_sound = true;
    let question = Question::Password { user, password };
    let said = ask(request, script, question, Code::PasswordUnavailable, |reply| match reply {
        Reply::Yes => Some(Password::Right),
        Reply::No => Some(Password::Wrong),
        Reply::YesAs(name) => {
            is_sound = !name.contains(&0);
            request.set_user(request.pool().text(name));
            Some(Password::Right)
        }
        _ => None,
    });
    match said {
        Said::Something(_) if !is_sound => {
            note(request, script, Code::NameWithNul, b"");
            Password::Failed
        }
        Said::Something(password) => password,
        Said::Nothing => Password::NoUser,
        Said::Failed => Password::Failed,
    }
}

/// `AuthDigestProvider wsgi`: the hash of the user's password goes to `hash`.
pub fn realm_hash(
    request: Request<'_>,
    user: &[u8],
    realm: &[u8],
    mut hash: impl FnMut(&[u8]),
) -> Password {
    let Some(script) = &store::auth_of_request(request).user else {
        return without_script(request, Code::HashScriptMissing);
    };
    let question = Question::RealmHash { user, realm };
    let said = ask(request, script, question, Code::HashUnavailable, |reply| match reply {
        Reply::Hash(text) => {
            hash(text);
            Some(())
        }
        _ => None,
    });
    match said {
        Said::Something(()) => Password::Right,
        Said::Nothing => Password::NoUser,
        Said::Failed => Password::Failed,
    }
}

/// `Require wsgi-group`: whether the user is in one of the groups that the line names. Names compare exactly.
pub fn check_groups(request: Request<'_>, line: &[u8]) -> Membership {
    let Some(user) = request.user() else { return Membership::NoUser };
    let Some(script) = &store::auth_of_request(request).group else {
        note_for(request, b"", Code::GroupsScriptMissing, b"");
        return Membership::Stranger;
    };
    let mut rest = line;
    let required: Vec<Vec<u8>> = std::iter::from_fn(|| words::next(&mut rest)).collect();
    let (mut is_member, mut is_somewhere) = (false, false);
    let question = Question::Groups { user };
    let said = ask(request, script, question, Code::GroupsUnavailable, |reply| {
        if let Reply::Group(group) = reply {
            is_somewhere = true;
            is_member |= required.iter().any(|required| required == group);
        }
        Some(())
    });
    match said {
        Said::Failed => return Membership::Stranger,
        _ if is_member => return Membership::Member,
        _ if is_somewhere => note(request, script, Code::UserInOtherGroups, user),
        _ => note(request, script, Code::UserInNoGroup, user),
    }
    Membership::Stranger
}

/// Asks a script. The last reply that `read` makes something of counts.
fn ask<'r, T>(
    request: Request<'r>,
    script: &Hook<'r>,
    question: Question<'_>,
    unavailable: Code,
    mut read: impl FnMut(Reply<'_>) -> Option<T>,
) -> Said<T> {
    let asked = child::get().filter(|child| child.has_engine()).and_then(|child| {
        let inquiry = Inquiry::of(request, script, &store::of_request(request));
        let variables = environ::reduced(request, child, inquiry.group);
        let mut said = None;
        let asked = inquiry.about(variables).ask(child, question, &mut |reply| {
            said = read(reply).or(said.take());
        })?;
        Some(asked.map(|()| said))
    });
    match asked {
        Some(Ok(Some(said))) => Said::Something(said),
        Some(Ok(None)) => Said::Nothing,
        Some(Err(Failure { .. })) => Said::Failed,
        None => {
            note(request, script, unavailable, b"");
            Said::Failed
        }
    }
}

fn without_script(request: Request<'_>, code: Code) -> Password {
    note_for(request, b"", code, b"");
    Password::Failed
}

fn note(request: Request<'_>, script: &Hook<'_>, code: Code, particulars: &[u8]) {
    let prefix = [b"[script ", script.path, b"] "].concat();
    note_for(request, &prefix, code, particulars);
}

fn note_for(request: Request<'_>, prefix: &[u8], code: Code, particulars: &[u8]) {
    let line = log::line(code, particulars);
    log::note_for_request(request, &Record::new(Level::Error, &line), prefix);
}
