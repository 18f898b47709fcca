//! The headers of the request as `HTTP_*`, with the names that are not passed on.

use crate::handler::Call;
use crate::httpd::{Pool, Request};
use exchange::{Known, Variables};
use std::ffi::CStr;

/// Which of the headers that hold passwords are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// None of them.
    None,
    /// Those of the server (`WSGIPassAuthorization On`).
    Authorization,
    /// Those of a proxy as well (`CGIPassAuth On`).
    All,
}

/// Adds the headers. Names with a character that CGI would fold onto another are left out; they are given to `foldable`.
pub fn add<'r>(
    request: Request<'r>,
    secrets: Secrets,
    variables: &mut Variables,
    mut foldable: impl FnMut(&'r CStr),
) {
    request.headers_in().for_each(|name, value| {
        let header = name.to_bytes();
        match passed_as(header) {
            PassedAs::Known(known) => variables.put(known, value),
            PassedAs::Http(Some(known)) => variables.put(known, value),
            PassedAs::Http(None) if is_safe(header) => {
                variables.put_other(http_name(request.pool(), header), value);
            }
            PassedAs::Http(None) => foldable(name),
            PassedAs::Authorization if secrets != Secrets::None => {
                variables.put(Known::HttpAuthorization, value);
            }
            PassedAs::ProxyAuthorization if secrets == Secrets::All => {
                variables.put_other(b"HTTP_PROXY_AUTHORIZATION", value);
            }
            PassedAs::Authorization | PassedAs::ProxyAuthorization | PassedAs::Nothing => {}
        }
    });
}

/// Adds the headers for an application. Those that are left out are dropped from the request itself, so that no later
/// phase takes them for what they are not.
pub fn add_for<'r>(call: &Call<'r>, variables: &mut Variables) {
    let request = call.request;
    let secrets = match call.meant.pass_authorization {
        _ if request.passes_all_authorization() => Secrets::All,
        true => Secrets::Authorization,
        false => Secrets::None,
    };
    let mut dropped: Vec<&CStr> = Vec::new();
    add(request, secrets, variables, |name| dropped.push(name));
    for name in dropped {
        request.headers_in().unset(name);
    }
}

/// What becomes of a header.
#[derive(Debug, PartialEq, Eq)]
enum PassedAs {
    /// A variable of its own.
    Known(Known),
    /// `HTTP_*`, with a number if it has one.
    Http(Option<Known>),
    /// Only with `WSGIPassAuthorization On` or `CGIPassAuth On`.
    Authorization,
    /// Only with `CGIPassAuth On`.
    ProxyAuthorization,
    /// Never: `HTTP_PROXY` would name a proxy to libraries (CVE-2016-5385, "httpoxy").
    Nothing,
}

fn passed_as(header: &[u8]) -> PassedAs {
    let is = |name: &str| header.eq_ignore_ascii_case(name.as_bytes());
    match header.len() {
        5 if is("Proxy") => PassedAs::Nothing,
        12 if is("Content-Type") => PassedAs::Known(Known::ContentType),
        13 if is("Authorization") => PassedAs::Authorization,
        14 if is("Content-Length") => PassedAs::Known(Known::ContentLength),
        19 if is("Proxy-Authorization") => PassedAs::ProxyAuthorization,
        _ => PassedAs::Http(Known::of_header(header)),
    }
}

fn is_safe(header: &[u8]) -> bool {
    header.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn http_name<'r>(pool: Pool<'r>, header: &[u8]) -> &'r [u8] {
    const PREFIX: &[u8] = b"HTTP_";
    pool.bytes_from(PREFIX.len() + header.len(), |at| match PREFIX.get(at) {
        Some(&byte) => byte,
        None => match header[at - PREFIX.len()] {
            b'-' => b'_',
            byte => byte.to_ascii_uppercase(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_say_who_the_client_is_or_where_a_proxy_is_are_held_back() {
        assert_eq!(passed_as(b"proxy"), PassedAs::Nothing);
        assert_eq!(passed_as(b"AUTHORIZATION"), PassedAs::Authorization);
        assert_eq!(passed_as(b"Proxy-Authorization"), PassedAs::ProxyAuthorization);
        assert_eq!(passed_as(b"content-type"), PassedAs::Known(Known::ContentType));
        assert_eq!(passed_as(b"Host"), PassedAs::Http(Some(Known::HttpHost)));
        assert_eq!(passed_as(b"X-Unheard-Of"), PassedAs::Http(None));
    }

    #[test]
    fn a_name_that_cgi_would_fold_onto_another_is_not_safe() {
        assert!(is_safe(b"X-Real-IP2"));
        for name in [&b"X_Real-IP"[..], b"X.Real", b"X~", b"X\xe4"] {
            assert!(!is_safe(name));
        }
    }
}
