//! A client cannot set a key of environ that is not its own. Each row is a way to try it: what is sent besides an
//! ordinary request, and the only keys that may differ from those of that ordinary request.

use super::ENVIRON;
use super::environ_repeated::OF_ITS_OWN;
use crate::harness::{Builder, Server};
use serde_json::Value;
use std::collections::BTreeMap;

/// What becomes of a try.
#[derive(Clone, Copy)]
enum Outcome {
    /// 400, and no application sees it.
    Refused,
    /// These keys with these values are what differs, and nothing else.
    Differs(&'static [(&'static str, &'static str)]),
}
use Outcome::{Differs, Refused};

/// One way to try it.
struct Row {
    sent: &'static [u8],
    /// With httpd as it is.
    strict: Outcome,
    /// With `HttpProtocolOptions Unsafe`, where httpd leaves more to the module.
    lenient: Outcome,
}

/// Makes the table, and a test of each row with either kind of httpd.
macro_rules! rows {
    ($($name:ident: $sent:expr => $strict:expr, $lenient:expr;)+) => {
        const ROWS: &[(&str, Row)] = &[
            $((stringify!($name), Row { sent: $sent, strict: $strict, lenient: $lenient })),+
        ];
        $(
            #[test]
            fn $name() {
                let (_, row) = ROWS.iter().find(|(name, _)| *name == stringify!($name)).unwrap();
                let server = lenient().start();
                row.holds(&server, row.lenient);
            }
        )+
    };
}

fn strict() -> Builder {
    Server::builder_of(ENVIRON).config("WSGIChunkedRequest On")
}

fn lenient() -> Builder {
    strict().config("HttpProtocolOptions Unsafe LenientMethods Allow0.9")
}

#[test]
fn httpd_as_it_is_leaves_no_more_of_any_of_them() {
    let server = strict().start();
    assert!(ROWS.len() >= 12);
    for (name, row) in ROWS {
        println!("{name}");
        row.holds(&server, row.strict);
    }
}

rows! {
    an_underscore_does_not_make_the_name_of_a_variable:
        b"REMOTE_USER: root\r\nRemote_Addr: 6.6.6.6\r\nREQUEST_METHOD: PUT\r\n"
        => Differs(&[]), Differs(&[]);
    an_underscore_does_not_take_the_place_of_a_hyphen:
        b"X-Real-IP: 1.1.1.1\r\nX_Real_IP: 6.6.6.6\r\nX_Real-IP: 6.6.6.6\r\nX-Real_IP: 6.6.6.6\r\n"
        => Differs(&[("HTTP_X_REAL_IP", "1.1.1.1")]), Differs(&[("HTTP_X_REAL_IP", "1.1.1.1")]);
    an_underscore_does_not_stand_first_or_last_either:
        b"_Host: evil\r\nHost_: evil\r\n_: evil\r\n__init__: evil\r\n"
        => Differs(&[]), Differs(&[]);
    the_length_and_the_type_have_no_second_name:
        b"Content_Length: 99\r\nContent_Type: text/evil\r\nHTTP_CONTENT_LENGTH: 99\r\n"
        => Differs(&[]), Differs(&[]);
    the_name_of_a_variable_is_not_the_name_of_a_header:
        b"HTTP_HOST: evil\r\nHTTP-Host: evil\r\n"
        => Differs(&[("HTTP_HTTP_HOST", "evil")]), Differs(&[("HTTP_HTTP_HOST", "evil")]);
    a_dot_does_not_make_a_key_of_wsgi:
        b"wsgi.url_scheme: https\r\nwsgi.input: evil\r\nwsgi.multithread: no\r\nwsgi.url-scheme: https\r\n"
        => Differs(&[]), Differs(&[]);
    a_dot_does_not_make_a_key_of_mod_wsgi:
        b"mod_wsgi.process_group: evil\r\nmod_wsgi.application_group: evil\r\nmod_wsgi.callable_object: evil\r\n\
          mod_wsgi.x-handler: evil\r\nmod-wsgi.script-name: /evil\r\napache.version: 0\r\n"
        => Differs(&[]), Differs(&[]);
    a_hyphen_makes_a_key_of_mod_wsgi_only_below_http:
        b"Mod-WSGI-Process-Group: evil\r\nWSGI-URL-Scheme: https\r\n"
        => Differs(&[("HTTP_MOD_WSGI_PROCESS_GROUP", "evil"), ("HTTP_WSGI_URL_SCHEME", "https")]),
           Differs(&[("HTTP_MOD_WSGI_PROCESS_GROUP", "evil"), ("HTTP_WSGI_URL_SCHEME", "https")]);
    a_proxy_is_never_named:
        b"Proxy: http://evil\r\nPROXY: http://evil\r\npRoXy: http://evil\r\nProxy_: x\r\nHTTP_PROXY: http://evil\r\n"
        => Differs(&[]), Differs(&[]);
    the_user_is_not_who_the_client_says:
        b"Remote-User: root\r\nAuth-Type: Basic\r\nRedirect-Remote-User: root\r\nX-Remote-User: root\r\n"
        => Differs(USERS), Differs(USERS);
    credentials_have_no_second_name:
        b"Authorization: Basic cm9vdDo=\r\nHTTP_AUTHORIZATION: Basic cm9vdDo=\r\nProxy-Authorization: Basic cm9vdDo=\r\n\
          Authorization_: x\r\nREDIRECT_HTTP_AUTHORIZATION: x\r\n"
        => Differs(&[]), Differs(&[]);
    the_scheme_is_not_what_the_client_says:
        b"HTTPS: on\r\nX-Forwarded-Proto: https\r\nX-Forwarded-SSL: on\r\nX-HTTPS: 1\r\nX-Scheme: https\r\nRequest-Scheme: https\r\n"
        => Differs(SCHEMES), Differs(SCHEMES);
    a_certificate_is_not_what_the_client_says:
        b"SSL_CLIENT_S_DN: CN=root\r\nSSL_CLIENT_VERIFY: SUCCESS\r\nSSL-Client-S-DN: CN=root\r\nSSL-Client-Verify: SUCCESS\r\n"
        => Differs(CERTIFICATES), Differs(CERTIFICATES);
    the_mount_point_is_not_what_the_client_says:
        b"X-Script-Name: /evil\r\nX-Forwarded-Script-Name: /evil\r\nScript-Name: /evil\r\nPath-Info: /evil\r\n\
          SCRIPT_NAME: /evil\r\nPATH_INFO: /evil\r\nX-Original-URL: /evil\r\n"
        => Differs(MOUNTS), Differs(MOUNTS);
    the_address_is_not_what_the_client_says:
        b"X-Forwarded-For: 6.6.6.6\r\nX-Client-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6;host=evil;proto=https\r\nRemote-Addr: 6.6.6.6\r\n"
        => Differs(ADDRESSES), Differs(ADDRESSES);
    the_server_is_not_what_another_header_says:
        b"X-Forwarded-Host: evil\r\nX-Host: evil\r\nX-Forwarded-Server: evil\r\nX-Forwarded-Port: 666\r\nServer-Name: evil\r\nServer-Port: 666\r\n"
        => Differs(SERVERS), Differs(SERVERS);
    the_method_is_not_what_another_header_says:
        b"X-HTTP-Method-Override: DELETE\r\nRequest-Method: DELETE\r\n"
        => Differs(METHODS), Differs(METHODS);
    the_paths_of_the_server_are_not_what_the_client_says:
        b"Path: /evil\r\nDocument-Root: /evil\r\nSCRIPT_FILENAME: /evil\r\nPYTHONPATH: /evil\r\nLD_PRELOAD: /evil\r\n"
        => Differs(PATHS), Differs(PATHS);
    a_second_host_is_refused_or_shown_beside_the_first:
        b"Host: evil\r\n"
        => Refused, Differs(&[("HTTP_HOST", "localhost, evil"), ("SERVER_NAME", "localhost, evil")]);
    a_second_length_is_refused:
        b"Content-Length: 0\r\nContent-Length: 5\r\n"
        => Refused, Refused;
    a_length_that_is_none_is_refused:
        b"Content-Length: +0\r\n"
        => Refused, Refused;
    cases_of_one_name_are_one_header:
        b"x-user: a\r\nX-User: b\r\nX-USER: c\r\n"
        => Differs(&[("HTTP_X_USER", "a, b, c")]), Differs(&[("HTTP_X_USER", "a, b, c")]);
    a_folded_line_is_no_header_of_its_own:
        b"X-Note: 1\r\n Remote-User: root\r\n\tHTTPS: on\r\n"
        => Differs(&[("HTTP_X_NOTE", "1 Remote-User: root HTTPS: on")]),
           Differs(&[("HTTP_X_NOTE", "1 Remote-User: root HTTPS: on")]);
    a_carriage_return_begins_no_header:
        b"X-Note: 1\rRemote-User: root\r\n"
        => Refused, Refused;
    a_nul_ends_no_name:
        b"Remote-User\0: root\r\n"
        => Refused, Refused;
    a_nul_ends_no_value:
        b"X-Note: 1\0Remote-User: root\r\n"
        => Refused, Refused;
    a_blank_stands_in_no_name:
        b"Remote User: root\r\n"
        => Refused, Refused;
    a_letter_beyond_ascii_stands_in_no_name:
        b"Remote\xb5User: root\r\nX-\xdf: root\r\n\xc5\xbfSL: on\r\n"
        => Refused, Differs(&[]);
    punctuation_stands_in_no_name:
        b"Remote!User: root\r\nRemote~User: root\r\nRemote+User: root\r\nRemote|User: root\r\nRemote$User: root\r\n"
        => Differs(&[]), Differs(&[]);
    a_header_without_a_name_is_refused:
        b": root\r\n"
        => Refused, Refused;
}

const USERS: &[(&str, &str)] = &[
    ("HTTP_AUTH_TYPE", "Basic"),
    ("HTTP_REDIRECT_REMOTE_USER", "root"),
    ("HTTP_REMOTE_USER", "root"),
    ("HTTP_X_REMOTE_USER", "root"),
];
const SCHEMES: &[(&str, &str)] = &[
    ("HTTP_HTTPS", "on"),
    ("HTTP_REQUEST_SCHEME", "https"),
    ("HTTP_X_FORWARDED_PROTO", "https"),
    ("HTTP_X_FORWARDED_SSL", "on"),
    ("HTTP_X_HTTPS", "1"),
    ("HTTP_X_SCHEME", "https"),
];
const CERTIFICATES: &[(&str, &str)] =
    &[("HTTP_SSL_CLIENT_S_DN", "CN=root"), ("HTTP_SSL_CLIENT_VERIFY", "SUCCESS")];
const MOUNTS: &[(&str, &str)] = &[
    ("HTTP_PATH_INFO", "/evil"),
    ("HTTP_SCRIPT_NAME", "/evil"),
    ("HTTP_X_FORWARDED_SCRIPT_NAME", "/evil"),
    ("HTTP_X_ORIGINAL_URL", "/evil"),
    ("HTTP_X_SCRIPT_NAME", "/evil"),
];
const ADDRESSES: &[(&str, &str)] = &[
    ("HTTP_FORWARDED", "for=6.6.6.6;host=evil;proto=https"),
    ("HTTP_REMOTE_ADDR", "6.6.6.6"),
    ("HTTP_X_CLIENT_IP", "6.6.6.6"),
    ("HTTP_X_FORWARDED_FOR", "6.6.6.6"),
];
const SERVERS: &[(&str, &str)] = &[
    ("HTTP_SERVER_NAME", "evil"),
    ("HTTP_SERVER_PORT", "666"),
    ("HTTP_X_FORWARDED_HOST", "evil"),
    ("HTTP_X_FORWARDED_PORT", "666"),
    ("HTTP_X_FORWARDED_SERVER", "evil"),
    ("HTTP_X_HOST", "evil"),
];
const METHODS: &[(&str, &str)] =
    &[("HTTP_REQUEST_METHOD", "DELETE"), ("HTTP_X_HTTP_METHOD_OVERRIDE", "DELETE")];
const PATHS: &[(&str, &str)] =
    &[("HTTP_DOCUMENT_ROOT", "/evil"), ("HTTP_PATH", "/evil"), ("HTTP_PYTHONPATH", "/evil")];

impl Row {
    #[track_caller]
    fn holds(&self, server: &Server, outcome: Outcome) {
        let sent = self.sent.escape_ascii();
        let ordinary = ask(server, b"").expect("an ordinary request is answered");
        let tried = ask(server, self.sent);
        match (outcome, tried) {
            (Refused, Err(status)) => assert_eq!(status, 400, "{sent}"),
            (Refused, Ok(tried)) => {
                panic!("not refused: {sent}: {:?}", difference(&ordinary, &tried))
            }
            (Differs(_), Err(status)) => panic!("{status}: {sent}"),
            (Differs(keys), Ok(tried)) => {
                let expected = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).into()));
                assert_eq!(difference(&ordinary, &tried), expected.collect(), "{sent}");
            }
        }
    }
}

/// Environ by its keys.
type Environ = BTreeMap<String, Value>;

/// What differs, with a null for what has vanished.
fn difference(ordinary: &Environ, tried: &Environ) -> Environ {
    let mut differing: Environ = tried
        .iter()
        .filter(|(key, value)| ordinary.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let vanished = ordinary.keys().filter(|key| !tried.contains_key(*key));
    differing.extend(vanished.map(|key| (key.clone(), Value::Null)));
    differing
}

/// Environ of a request with these headers besides, without what differs in any two; or the status that refuses it.
#[track_caller]
fn ask(server: &Server, headers: &[u8]) -> Result<Environ, u16> {
    let mut connection = server.connect();
    connection.send(
        [b"GET /p?q HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", headers, b"\r\n"]
            .concat(),
    );
    let answer = connection.receive();
    if answer.status != 200 {
        return Err(answer.status);
    }
    let mut environ: Environ = serde_json::from_slice(&answer.body).expect("environ");
    for key in OF_ITS_OWN.into_iter().chain(["REMOTE_PORT", "wsgi.errors"]) {
        environ.remove(key);
    }
    Ok(environ)
}

/// What a request with this head after `Host`, and this body, is to an application that reads it.
fn framed(server: &Server, head: &str, body: &str) -> (u16, String) {
    let mut connection = server.connect();
    connection.send(format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n{body}"
    ));
    let answer = connection.receive();
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

#[test]
fn the_length_that_a_client_sends_beside_chunks_is_not_the_length() {
    const FRAMING: &str = "
def application(environ, start_response):
    keys = ('CONTENT_LENGTH', 'HTTP_CONTENT_LENGTH', 'HTTP_TRANSFER_ENCODING')
    start_response('200 OK', [])
    return [repr([environ.get(key) for key in keys] + [environ['wsgi.input'].read()]).encode()]
";
    let chunks = "3\r\nabc\r\n0\r\n\r\n";
    for options in ["", "HttpProtocolOptions Unsafe"] {
        let server =
            Server::builder_of(FRAMING).config("WSGIChunkedRequest On").config(options).start();
        let chunked = (200, "[None, None, 'chunked', b'abc']".to_owned());
        let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(framed(&server, both, chunks), chunked);
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 99999\r\n";
        assert_eq!(framed(&server, both, chunks), chunked);
        // A name that is another does not frame, and does not show.
        let unframed = (200, "['3', None, None, b'abc']".to_owned());
        for head in [
            "Transfer_Encoding: chunked\r\nContent-Length: 3\r\n",
            "Content_Length: 5\r\nContent-Length: 3\r\n",
            "Transfer.Encoding: chunked\r\nContent-Length: 3\r\n",
        ] {
            assert_eq!(framed(&server, head, "abc"), unframed, "{head}");
        }
        for head in [
            "Transfer-Encoding: xchunked\r\nContent-Length: 3\r\n",
            "Transfer-Encoding: chunked, identity\r\nContent-Length: 3\r\n",
            "Transfer-Encoding: chunked;q=1\r\nContent-Length: 3\r\n",
            "Transfer-Encoding: \u{b}chunked\r\nContent-Length: 3\r\n",
        ] {
            let (status, _) = framed(&server, head, chunks);
            assert!(matches!(status, 400 | 501), "{status}: {head}");
        }
    }
}
