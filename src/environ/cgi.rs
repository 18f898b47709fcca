//! What CGI defines (RFC 3875) in httpd's reading of it, and the `mod_wsgi.*` strings.

use super::Known as Also;
use crate::config::MapHead;
use crate::group::decimal;
use crate::handler::Call;
use crate::httpd::Request;
use exchange::{Known, Variables};

/// Adds them. They win over what `SetEnv` gave the same names.
pub fn add<'r>(call: &Call<'r>, also: &Also<'r>, variables: &mut Variables) {
    add_request(call, also, variables);
    add_server(call.request, also, variables);
    add_client(call.request, variables);
    add_user(call.request, variables);
    add_redirect(call.request, variables);
    add_ours(call, also, variables);
}

fn add_request<'r>(call: &Call<'r>, also: &Also<'r>, variables: &mut Variables) {
    let request = call.request;
    variables.put(Known::RequestMethod, method(call));
    variables.put(Known::ServerProtocol, request.protocol().unwrap_or_default());
    variables.put(Known::RequestUri, request_uri(request));
    variables.put(Known::QueryString, request.args().unwrap_or_default());
    variables.put(Known::ScriptName, also.paths.script_name);
    variables.put(Known::PathInfo, also.paths.path_info);
    variables.put(Known::ScriptFilename, script_filename(call));
}

fn add_server<'r>(request: Request<'r>, also: &Also<'r>, variables: &mut Variables) {
    let server = request.server();
    variables.put(Known::DocumentRoot, request.document_root().unwrap_or_default());
    variables.put(Known::ContextPrefix, request.context_prefix().unwrap_or_default());
    let context = request.context_document_root();
    variables.put(Known::ContextDocumentRoot, context.unwrap_or_default());
    variables.put(Known::RequestScheme, request.scheme().unwrap_or_default());
    variables.put(Known::ServerSoftware, also.child.banner);
    variables.put(Known::ServerName, server_name(request));
    variables.put(Known::ServerPort, decimal(request.server_port(), &mut [0; 5]));
    variables.put(Known::ServerAddr, request.local_address().unwrap_or_default());
    if let Some(admin) = server.admin() {
        variables.put(Known::ServerAdmin, admin);
    }
}

fn add_client<'r>(request: Request<'r>, variables: &mut Variables) {
    variables.put(Known::RemoteAddr, request.useragent_ip().unwrap_or_default());
    variables.put(Known::RemotePort, decimal(request.peer_port(), &mut [0; 5]));
}

fn add_user<'r>(request: Request<'r>, variables: &mut Variables) {
    if let Some(user) = request.user() {
        variables.put(Known::RemoteUser, user);
    } else {
        let mut earlier = std::iter::successors(request.previous(), |request| request.previous());
        if let Some(user) = earlier.find_map(|request| request.user()) {
            variables.put(Known::RedirectRemoteUser, user);
        }
    }
    if let Some(kind) = request.ap_auth_type() {
        variables.put(Known::AuthType, kind);
    }
}

fn add_redirect<'r>(request: Request<'r>, variables: &mut Variables) {
    let Some(previous) = request.previous() else { return };
    let path = previous.uri().unwrap_or_default();
    let qualifies = request.qualifies_redirect_url();
    let url = if qualifies { previous.construct_url(path) } else { path };
    variables.put(Known::RedirectUrl, url);
    if let Some(query) = previous.args() {
        variables.put(Known::RedirectQueryString, query);
    }
}

fn add_ours<'r>(call: &Call<'r>, also: &Also<'r>, variables: &mut Variables) {
    let request = call.request;
    let (host, port) = request.listener();
    variables.put(Known::ProcessGroup, also.process_group);
    variables.put(Known::ApplicationGroup, also.group.name.get());
    variables.put(Known::CallableObject, also.callable);
    variables.put(Known::RequestHandler, request.handler().unwrap_or_default());
    let handler = call.handler.map_or(&[][..], |handler| handler.path);
    variables.put(Known::HandlerScript, handler);
    variables.put(Known::ModWsgiScriptName, also.paths.script_name);
    variables.put(Known::ModWsgiPathInfo, also.paths.path_info);
    variables.put(Known::ListenerHost, host.unwrap_or_default());
    variables.put(Known::ListenerPort, decimal(port, &mut [0; 5]));
    variables.put(Known::ServerPid, also.child.pid.as_bytes());
    if let Some(id) = request.connection_log_id() {
        variables.put(Known::ConnectionId, id);
    }
}

/// The method as the application sees it: an output filter that changes content needs the body even if the client
/// does not want it.
fn method<'r>(call: &Call<'r>) -> &'r [u8] {
    let method = call.request.method().unwrap_or_default();
    let mapped = match call.meant.map_head_to_get {
        MapHead::Off => false,
        MapHead::On => method == b"HEAD",
        MapHead::Auto => method == b"HEAD" && call.request.filters_content(),
    };
    if mapped { b"GET" } else { method }
}

/// The second word of the request line, as it came, unless `CGIVar` wants the path as it is now.
pub fn request_uri(request: Request<'_>) -> &[u8] {
    match request.cgi_rule(c"REQUEST_URI") {
        Some(b"current-uri") => request.uri().unwrap_or_default(),
        _ => second_word(request.the_request().unwrap_or_default()),
    }
}

fn second_word(line: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let first = line.iter().position(is_blank).unwrap_or(line.len());
    let rest = &line[first..];
    let start = rest.iter().position(|byte| !is_blank(byte)).unwrap_or(rest.len());
    let rest = &rest[start..];
    &rest[..rest.iter().position(is_blank).unwrap_or(rest.len())]
}

/// The file of the request. Behind a proxy's mapping the query is at its end.
fn script_filename<'r>(call: &Call<'r>) -> &'r [u8] {
    let file = call.resource();
    let Some(query) = file.iter().position(|&byte| byte == b'?') else { return file };
    let is_proxied = call.request.notes().get(c"proxy-noquery").is_some();
    if is_proxied { &file[..query] } else { file }
}

/// The server's name. It may come from the client, and applications write it into pages.
pub(super) fn server_name(request: Request<'_>) -> &[u8] {
    let name = request.server_name().unwrap_or_default();
    let is_plain = !name.iter().any(|byte| matches!(byte, b'<' | b'>' | b'&' | b'"'));
    if is_plain { name } else { request.escape_html(name) }
}

#[cfg(test)]
mod tests {
    use super::second_word;

    #[test]
    fn the_uri_of_a_request_line_is_its_second_word() {
        assert_eq!(second_word(b"GET /a?b=c HTTP/1.1"), b"/a?b=c");
        assert_eq!(second_word(b"GET   /a"), b"/a");
        assert_eq!(second_word(b"GET"), b"");
        assert_eq!(second_word(b""), b"");
    }
}
