//! The step from a URL to a script: `WSGIScriptAlias` and `WSGIScriptAliasMatch`, in the hook `translate_name`, after
//! mod_alias. It only maps; access control, `SetHandler` and the rest of httpd's phases come after it.
//!
//! httpd then looks for the file, in the hook `map_to_storage`. It would try the whole path first, of which the script is
//! only the beginning, and after that each directory on the way, with a system call for every one of them. But an alias
//! knows where its script ends, so that httpd need only look there ([`locate`]), and what the configuration says of that
//! file is the same for all requests ([`walk`](crate::httpd::walk)).

use crate::config::store;
use crate::handler::{self, Status};
use crate::httpd::{Request, walk};
use std::ffi::{CStr, c_int};

/// The note by which httpd's modules know a handler that an alias forced.
pub const FORCED_TYPE: &CStr = c"alias-forced-type";
/// The notes by which an alias tells the handler of its options. Other modules may read and write them.
pub const PROCESS_GROUP: &CStr = c"mod_wsgi.process_group";
/// See [`PROCESS_GROUP`].
pub const APPLICATION_GROUP: &CStr = c"mod_wsgi.application_group";
/// See [`PROCESS_GROUP`].
pub const CALLABLE_OBJECT: &CStr = c"mod_wsgi.callable_object";
/// See [`PROCESS_GROUP`].
pub const PASS_AUTHORIZATION: &CStr = c"mod_wsgi.pass_authorization";

/// Maps a request by the first alias that takes it: the virtual host's in their order, then the main server's.
pub fn translate(request: Request<'_>) -> Status {
    let Some(path) = request.uri_text().filter(|path| path.to_bytes().starts_with(b"/")) else {
        return Status::Declined;
    };
    let server = store::of_server(request.server());
    let pool = request.pool();
    let mut aliases = server.aliases.iter().enumerate();
    let Some((number, alias, file)) =
        aliases.find_map(|(number, alias)| Some((number, alias, alias.maps(pool, path)?)))
    else {
        return Status::Declined;
    };
    request.set_filename(file);
    request.set_handler(handler::SCRIPT);
    store::remember_alias(request, number);

    let notes = request.notes();
    notes.set(FORCED_TYPE, handler::SCRIPT);
    let options = &alias.options;
    let flag = options.pass_authorization.map(|pass| if pass { c"1" } else { c"0" });
    for (name, value) in [
        (PROCESS_GROUP, options.process_group),
        (APPLICATION_GROUP, options.application_group),
        (CALLABLE_OBJECT, options.callable_object),
        (PASS_AUTHORIZATION, flag),
    ] {
        if let Some(value) = value {
            notes.set(name, value);
        }
    }
    Status::Done
}

/// The longest name of a file that httpd takes (`APR_PATH_MAX`).
const LONGEST: usize = 4096;

/// Leads httpd to the script that an alias names, and gives what it made of it. Where that is not a regular file (a
/// directory of scripts), and where httpd would change what follows it in the path, httpd finds its way by itself.
pub fn locate(request: Request<'_>) -> Option<c_int> {
    for earlier in [request.previous(), request.main()].into_iter().flatten() {
        if let Some((script, known)) = script(earlier) {
            earlier.recall_walk(script, known);
        }
    }
    let (script, known) = script(request)?;
    let file = request.filename().filter(|file| file.count_bytes() < LONGEST)?;
    let path_info = file.to_bytes_with_nul().strip_prefix(script.to_bytes())?;
    let path_info = CStr::from_bytes_with_nul(path_info).ok()?;
    if !has_plain_segments(path_info.to_bytes()) {
        return None;
    }
    request.walk_to(script, path_info, known)
}

/// The script of the alias that took a request, and what is known of httpd's walks to it.
fn script(request: Request<'_>) -> Option<(&CStr, &walk::Known)> {
    let number = store::remembered_alias(request)?;
    let server = store::of_server(request.server());
    Some((server.aliases.get(number)?.script()?, server.resolved.get()?.walks.get(number)?))
}

/// Whether these are segments that httpd leaves as they are, or there are none: none is empty, `.` or `..`.
fn has_plain_segments(path: &[u8]) -> bool {
    let is_whole = path.is_empty() || path.starts_with(b"/");
    is_whole && !path.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

#[cfg(test)]
mod tests {
    use super::has_plain_segments;

    #[test]
    fn a_path_that_httpd_would_change_has_no_plain_segments() {
        for plain in ["", "/", "/a", "/a/", "/a/b.c", "/a./b"] {
            assert!(has_plain_segments(plain.as_bytes()), "{plain}");
        }
        for other in ["a", "//", "/a//b", "/a//", "/.", "/a/../b", "/a/./b"] {
            assert!(!has_plain_segments(other.as_bytes()), "{other}");
        }
    }
}
