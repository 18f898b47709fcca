//! Which application group, and with it which interpreter, answers a request; and the expansion of `%{...}` words.

use crate::child;
use crate::config::groups::{Sole, without_last_slashes};
use crate::config::written::{CALLABLE, ResourceGroup};
use crate::config::{Expression, Hook, store};
use crate::handler::Call;
use crate::httpd::Request;
use exchange::Group;

/// The application group of a request, in processes that serve this one alone as far as the configuration tells.
pub fn of<'r>(call: &Call<'r>, sole: Option<&Sole>, script_name: &'r [u8]) -> Group<'r> {
    let expression = call.meant.application_group;
    let name = expand(call.request, expression, script_name);
    let main = name.is_empty() || is_sole(call, sole, expression, name, script_name);
    Group { name: name.into(), main }
}

/// The application group of a script that is asked about a request.
pub fn of_hook<'r>(request: Request<'r>, hook: &Hook<'r>) -> Group<'r> {
    let server = store::of_server(request.server());
    let name = expand(request, hook.application_group, b"");
    let sole = server.sole();
    let main = name.is_empty() || is_sole_name(request, sole, hook.application_group, name);
    Group { name: name.into(), main }
}

/// Whether the group is the only one that this process serves; see [`crate::config::groups`].
fn is_sole(
    call: &Call<'_>,
    sole: Option<&Sole>,
    expression: Expression<'_>,
    name: &[u8],
    script_name: &[u8],
) -> bool {
    match (sole, expression) {
        // A directory as a target is one alias and many scripts: only what lies at the alias itself is its group.
        (Some(Sole::Alias { server, path }), Expression::Resource) => {
            path == without_last_slashes(script_name)
                && server == own_name(call.request)
                && was_aliased_at(call, path)
        }
        _ => is_sole_name(call.request, sole, expression, name),
    }
}

/// The same for a group that has a name of its own.
fn is_sole_name(
    request: Request<'_>,
    sole: Option<&Sole>,
    expression: Expression<'_>,
    name: &[u8],
) -> bool {
    match (sole, expression) {
        (Some(Sole::Name(sole)), Expression::Literal(_) | Expression::Env(_)) => sole == name,
        (Some(Sole::Server(server)), Expression::Server) => server == own_name(request),
        _ => false,
    }
}

/// Whether an alias of this path led to the script.
fn was_aliased_at(call: &Call<'_>, path: &[u8]) -> bool {
    let number = store::remembered_alias(call.request);
    let alias = number.and_then(|number| call.server.aliases.get(number));
    let taken = alias.and_then(|alias| alias.path());
    taken.is_some_and(|taken| without_last_slashes(taken) == path)
}

/// The value of an expression for a request.
pub fn expand<'r>(
    request: Request<'r>,
    expression: Expression<'r>,
    script_name: &'r [u8],
) -> &'r [u8] {
    match expression {
        Expression::Global => b"",
        Expression::Literal(text) => text,
        Expression::Server => at_port(request, own_name(request), None),
        Expression::Host => {
            let asked = request.hostname().filter(|name| !name.is_empty());
            at_port(request, asked.unwrap_or_else(|| own_name(request)), None)
        }
        Expression::Resource => at_alias(request, script_name).unwrap_or_else(|| {
            let is_lowered = store::of_server(request.server()).process.case_insensitive;
            let script = if is_lowered { lowered(request, script_name) } else { script_name };
            at_port(request, own_name(request), Some(script))
        }),
        Expression::Env(name) => match variable(request, name).map(Expression::parse) {
            None => request.pool().concat(&[b"%{ENV:", name, b"}"]).to_bytes(),
            Some(Expression::Env(other)) => {
                request.pool().concat(&[b"%{ENV:", other, b"}"]).to_bytes()
            }
            Some(found) => expand(request, found, script_name),
        },
    }
}

/// `%{RESOURCE}` of what lies at the alias that led there, as it was for the first request there: it is the same for every
/// other one that comes to the same server and port.
fn at_alias<'r>(request: Request<'r>, script_name: &'r [u8]) -> Option<&'r [u8]> {
    let number = store::remembered_alias(request)?;
    let server = store::of_server(request.server());
    let path = server.aliases.get(number)?.path()?;
    if script_name != without_last_slashes(path) || server.process.case_insensitive {
        return None;
    }
    let (host, port) = (request.server().raw().addr(), port(request));
    let first = server.resolved.get()?.resource_groups.get(number)?.get_or_init(|| {
        let name = at_port(request, own_name(request), Some(script_name));
        ResourceGroup { server: host, port, name: name.to_vec() }
    });
    (first.server == host && first.port == port).then_some(&first.name)
}

/// With `WSGICaseSensitivity Off`, paths that differ in case lead to the same application.
fn lowered<'r>(request: Request<'r>, path: &'r [u8]) -> &'r [u8] {
    request.pool().text(&path.to_ascii_lowercase()).to_bytes()
}

/// The name of the callable: a literal, or the value of a variable as it is.
pub fn callable<'r>(request: Request<'r>, expression: Expression<'r>) -> &'r [u8] {
    match expression {
        Expression::Literal(text) => text,
        Expression::Env(name) => variable(request, name).unwrap_or(CALLABLE),
        _ => CALLABLE,
    }
}

fn own_name(request: Request<'_>) -> &[u8] {
    request.server().name().unwrap_or_default()
}

/// `name`, `name:port`, or either with `|script` behind.
fn at_port<'r>(request: Request<'r>, name: &'r [u8], script: Option<&'r [u8]>) -> &'r [u8] {
    let mut digits = [0; 5];
    let port = match port(request) {
        80 | 443 => &[][..],
        port => decimal(port, &mut digits),
    };
    let colon: &[u8] = if port.is_empty() { b"" } else { b":" };
    let bar: &[u8] = if script.is_some() { b"|" } else { b"" };
    if port.is_empty() && bar.is_empty() {
        return name;
    }
    request.pool().concat(&[name, colon, port, bar, script.unwrap_or_default()]).to_bytes()
}

/// The port as httpd has it, unless it is one that only the client names: a client must not be able to make
/// interpreters by counting through ports.
fn port(request: Request<'_>) -> u16 {
    let port = request.server_port();
    let server = request.server();
    let listens = || child::get().is_some_and(|child| child.ports.contains(&port));
    if port == 80 || port == 443 || listens() || server.has_port(port) {
        return port;
    }
    // As if the client had named none.
    match server.port() {
        0 => 80,
        own => own,
    }
}

/// A number in decimal.
pub fn decimal(mut number: u16, digits: &mut [u8; 5]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

/// A variable of the request: a note, a variable of `SetEnv` and its like, or of the process.
fn variable<'r>(request: Request<'r>, name: &[u8]) -> Option<&'r [u8]> {
    let name_text = request.pool().text(name);
    request
        .notes()
        .get(name_text)
        .or_else(|| request.subprocess_env().get(name_text))
        .or_else(|| child::get()?.variable(name))
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn a_port_is_written_in_decimal() {
        for port in [0, 7, 80, 8000, 65535] {
            assert_eq!(decimal(port, &mut [0; 5]), port.to_string().as_bytes());
        }
    }
}
