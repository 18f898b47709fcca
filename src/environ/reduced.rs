//! The shorter environ of scripts that are asked about access: what the client sent and where it came from, and nothing
//! that an `.htaccess` file could have put there.

use super::cgi;
use super::headers::{self, Secrets};
use crate::child::Child;
use crate::group::decimal;
use crate::httpd::Request;
use exchange::{Group, Known, Variables};

/// The variables of such a script, which runs in `group`. In memory of their own, as they are not those of the request.
pub fn variables<'r>(request: Request<'r>, child: &'static Child, group: Group<'r>) -> Variables {
    let mut variables = Variables::default();
    headers::add(request, Secrets::None, &mut variables, |_| {});
    add_server(request, child, &mut variables);
    add_request(request, &mut variables);
    variables.put(Known::ProcessGroup, b"");
    variables.put(Known::ApplicationGroup, group.name.get());
    variables
}

fn add_server<'r>(request: Request<'r>, child: &'static Child, variables: &mut Variables) {
    variables.put_other(b"SERVER_SIGNATURE", request.signature().unwrap_or_default());
    variables.put(Known::ServerSoftware, child.banner);
    variables.put(Known::ServerName, cgi::server_name(request));
    variables.put(Known::ServerAddr, request.local_address().unwrap_or_default());
    variables.put(Known::ServerPort, decimal(request.server_port(), &mut [0; 5]));
    if let Some(admin) = request.server().admin() {
        variables.put(Known::ServerAdmin, admin);
    }
    variables.put(Known::DocumentRoot, request.document_root().unwrap_or_default());
}

fn add_request<'r>(request: Request<'r>, variables: &mut Variables) {
    variables.put(Known::ServerProtocol, request.protocol().unwrap_or_default());
    if let Some(host) = request.client_name() {
        variables.put_other(b"REMOTE_HOST", host);
    }
    variables.put(Known::RemoteAddr, request.useragent_ip().unwrap_or_default());
    variables.put(Known::RemotePort, decimal(request.peer_port(), &mut [0; 5]));
    variables.put(Known::RequestMethod, request.method().unwrap_or_default());
    variables.put(Known::QueryString, request.args().unwrap_or_default());
    variables.put(Known::RequestUri, cgi::request_uri(request));
    let uri = request.uri().unwrap_or_default();
    let path_info = request.path_info().unwrap_or_default();
    let end = if path_info.is_empty() { uri.len() } else { request.length_before_path_info() };
    variables.put(Known::ScriptName, &uri[..end.min(uri.len())]);
    variables.put(Known::PathInfo, path_info);
}
