//! What `SetEnv`, `SetEnvIf`, mod_ssl, mod_rewrite and others gave the request: merged only when there is something.

use crate::httpd::Request;
use exchange::Variables;

/// Adds what has not been defined otherwise. Names in the table compare without regard to case, as httpd's tables do.
/// Returns whether `HTTPS` is in it and on: it is not shown, but decides the scheme.
pub fn add<'r>(request: Request<'r>, variables: &mut Variables) -> bool {
    let table = request.subprocess_env();
    let mut https = false;
    if table.len() == 0 {
        return https;
    }
    let mut added = Vec::new();
    table.for_each(|name, value| {
        let name = name.to_bytes();
        if name.eq_ignore_ascii_case(b"HTTPS") {
            https = value.eq_ignore_ascii_case(b"on") || value == b"1";
        } else if !name.eq_ignore_ascii_case(b"PATH") && !is_defined(variables, name) {
            added.push((name, value));
        }
    });
    for (name, value) in added {
        variables.put_other(name, value);
    }
    https
}

/// Whether one of the variables has this name, in any case.
fn is_defined(variables: &Variables, name: &[u8]) -> bool {
    variables.iter().any(|variable| variable.name().eq_ignore_ascii_case(name))
}
