//! What `SetEnv`, `SetEnvIf`, mod_ssl, mod_rewrite and others gave the request: merged only when there is something.

use super::Variables;
use crate::httpd::Request;

/// Adds what has not been defined otherwise. Names in the table compare without regard to case, as httpd's tables do.
/// Returns whether `HTTPS` is in it and on: it is not shown, but decides the scheme.
pub fn add<'r>(request: Request<'r>, variables: &mut Variables<'r>) -> bool {
    let table = request.subprocess_env();
    let mut https = false;
    if table.len() == 0 {
        return https;
    }
    let defined = variables.all().len();
    table.for_each(|name, value| {
        let name = name.to_bytes();
        if name.eq_ignore_ascii_case(b"HTTPS") {
            https = value.eq_ignore_ascii_case(b"on") || value == b"1";
        } else if !name.eq_ignore_ascii_case(b"PATH") && !is_defined(variables, defined, name) {
            variables.put_other(name, value);
        }
    });
    https
}

/// Whether one of the first `count` variables has this name, in any case.
fn is_defined(variables: &Variables<'_>, count: usize, name: &[u8]) -> bool {
    let defined = &variables.all()[..count];
    defined.iter().any(|variable| variable.name().eq_ignore_ascii_case(name))
}
