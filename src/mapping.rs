//! The step from a URL to a script: `WSGIScriptAlias` and `WSGIScriptAliasMatch`, in the hook `translate_name`, after
//! mod_alias. It only maps; access control, `SetHandler` and the rest of httpd's phases come after it.

use crate::config::store;
use crate::handler::{self, Status};
use crate::httpd::Request;
use std::ffi::CStr;

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
