//! `WSGITrustedProxyHeaders` and `WSGITrustedProxies`, as applications see their effect. The rules themselves are tested row
//! by row beside `src/environ/proxies.rs`.

use super::ENVIRON;
use crate::harness::{Builder, Server};

fn builder(config: &str) -> Builder {
    Server::builder_of(ENVIRON).config(config)
}

/// Every header of the registry: what a client sends, and the variable that changes when it is believed.
const ROWS: &[(&str, &str, &str, &str)] = &[
    ("X-Forwarded-For", "192.0.2.7", "REMOTE_ADDR", "192.0.2.7"),
    ("X-Client-IP", "192.0.2.7", "REMOTE_ADDR", "192.0.2.7"),
    ("X-Real-IP", "192.0.2.7", "REMOTE_ADDR", "192.0.2.7"),
    ("X-Forwarded-Host", "outer:8443", "HTTP_HOST", "outer:8443"),
    ("X-Host", "outer:8443", "HTTP_HOST", "outer:8443"),
    ("X-Forwarded-Server", "outer", "SERVER_NAME", "outer"),
    ("X-Forwarded-Port", "8443", "SERVER_PORT", "8443"),
    ("X-Script-Name", "//mount", "SCRIPT_NAME", "//mount"),
    ("X-Forwarded-Script-Name", "/mount", "SCRIPT_NAME", "/mount"),
    ("X-Forwarded-Proto", "HTTPS", "wsgi.url_scheme", "https"),
    ("X-Forwarded-Scheme", "https", "wsgi.url_scheme", "https"),
    ("X-Scheme", "https", "wsgi.url_scheme", "https"),
    ("X-Forwarded-HTTPS", "On", "wsgi.url_scheme", "https"),
    ("X-Forwarded-SSL", "true", "wsgi.url_scheme", "https"),
    ("X-HTTPS", "1", "wsgi.url_scheme", "https"),
];

fn variable(header: &str) -> String {
    format!("HTTP_{}", header.to_uppercase().replace('-', "_"))
}

#[test]
fn every_header_has_its_effect_when_it_is_trusted_and_passes_as_it_came_when_it_is_not() {
    let mut config = String::new();
    for (at, (header, ..)) in ROWS.iter().enumerate() {
        config.push_str(&format!(
            "<Location /{at}>\nWSGITrustedProxyHeaders {header}\n</Location>\n"
        ));
    }
    let server = builder(&config).start();
    for (at, (header, value, name, effect)) in ROWS.iter().enumerate() {
        let ask = |path: &str| server.send("GET", path, &[(header, value)], b"").json();
        let environ = ask(&format!("/{at}"));
        assert_eq!(environ[name], *effect, "{header}");
        assert_eq!(environ[variable(header)], *value, "{header}");
        let plain = ask("/");
        assert_ne!(plain[name], *effect, "{header} is believed without being trusted");
        assert_eq!(plain[variable(header)], *value, "{header}");
    }
    let environ = server.send("GET", "/7/x", &[("X-Script-Name", "/m")], b"").json();
    assert_eq!(environ["mod_wsgi.mount_point"], "/m");
    assert_eq!(environ["mod_wsgi.script_name"], "");
    assert_eq!(environ["PATH_INFO"], "/7/x");
}

#[test]
fn a_peer_that_is_no_proxy_says_nothing() {
    let headers: Vec<&str> = ROWS.iter().map(|(header, ..)| *header).collect();
    let server = builder(&format!(
        "WSGITrustedProxyHeaders {}\nWSGITrustedProxies 192.0.2.0/24 2001:db8::/32",
        headers.join(" ")
    ))
    .start();
    let sent: Vec<(&str, &str)> =
        ROWS.iter().map(|(header, value, ..)| (*header, *value)).collect();
    let environ = server.send("GET", "/", &sent, b"").json();
    for (header, _, name, effect) in ROWS {
        assert_ne!(environ[name], *effect, "{header}");
        assert!(environ[variable(header)].is_null(), "{header}");
    }
    assert_eq!(environ["REMOTE_ADDR"], "127.0.0.1");
}

#[test]
fn a_list_of_addresses_is_read_up_to_the_first_that_no_proxy_vouches_for() {
    let server =
        builder("WSGITrustedProxyHeaders X-Forwarded-For\nWSGITrustedProxies 127.0.0.0/8\nWSGITrustedProxies 10.1")
            .start();
    let ask = |list: &str| {
        let environ = server.send("GET", "/", &[("X-Forwarded-For", list)], b"").json();
        (environ["REMOTE_ADDR"].clone(), environ["HTTP_X_FORWARDED_FOR"].clone())
    };
    assert_eq!(
        ask("6.6.6.6, 192.0.2.7, 10.1.0.9"),
        ("192.0.2.7".into(), "192.0.2.7, 10.1.0.9".into())
    );
    assert_eq!(ask("192.0.2.7"), ("192.0.2.7".into(), "192.0.2.7".into()));
    assert_eq!(ask("6.6.6.6, localhost"), ("127.0.0.1".into(), serde_json::Value::Null));
    assert_eq!(ask("unknown"), ("127.0.0.1".into(), serde_json::Value::Null));
}

#[test]
fn a_more_specific_place_replaces_the_lists_as_a_whole() {
    let server = builder(
        "WSGITrustedProxyHeaders X-Forwarded-For
WSGITrustedProxyHeaders X-Forwarded-Host
<Location /inner>
    WSGITrustedProxyHeaders X-Forwarded-Port
    WSGITrustedProxies 127.0.0.1
</Location>",
    )
    .start();
    let sent =
        [("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Host", "h"), ("X-Forwarded-Port", "1")];
    let outer = server.send("GET", "/", &sent, b"").json();
    assert_eq!((&outer["REMOTE_ADDR"], &outer["HTTP_HOST"]), (&"192.0.2.7".into(), &"h".into()));
    let inner = server.send("GET", "/inner", &sent, b"").json();
    assert_eq!((&inner["REMOTE_ADDR"], &inner["SERVER_PORT"]), (&"127.0.0.1".into(), &"1".into()));
    assert_ne!(inner["HTTP_HOST"], "h");
}

#[test]
fn a_scheme_that_is_none_leaves_what_tls_says() {
    let server = builder("WSGITrustedProxyHeaders X-Forwarded-Proto").tls().start();
    let ask = |proto: &str| {
        let done = server.curl(&["-H", &format!("X-Forwarded-Proto: {proto}")], "/");
        let environ: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        (environ["wsgi.url_scheme"].clone(), environ["HTTP_X_FORWARDED_PROTO"].clone())
    };
    assert_eq!(ask("wss"), ("https".into(), serde_json::Value::Null));
    assert_eq!(ask("http"), ("http".into(), "http".into()));
}

#[test]
fn a_htaccess_file_may_trust_proxies() {
    let server = Server::builder()
        .load(&["mime"])
        .file("docs/app.wsgi", ENVIRON)
        .file("docs/.htaccess", "WSGITrustedProxyHeaders X-Real-IP\nWSGITrustedProxies 127.0.0.1")
        .config("<Directory @docs@>\nAllowOverride FileInfo\nOptions +ExecCGI\nAddHandler wsgi-script .wsgi\n</Directory>")
        .start();
    let environ = server.send("GET", "/app.wsgi", &[("X-Real-IP", "192.0.2.7")], b"").json();
    assert_eq!(environ["REMOTE_ADDR"], "192.0.2.7");
}

#[test]
fn what_is_no_address_and_no_name_of_a_header_is_refused() {
    for (config, words) in [
        ("WSGITrustedProxies", &["WSGITrustedProxies", "address"][..]),
        ("WSGITrustedProxies localhost", &["localhost", "address"]),
        ("WSGITrustedProxies 10.0.0.0/33", &["10.0.0.0/33"]),
        ("WSGITrustedProxies 10.0.0.1 proxy.example.com", &["proxy.example.com"]),
        ("WSGITrustedProxies ::1/200", &["::1/200"]),
        ("WSGITrustedProxyHeaders", &["WSGITrustedProxyHeaders", "names of headers"]),
        ("WSGITrustedProxyHeaders X_Forwarded_For", &["X_Forwarded_For", "names of headers"]),
        ("WSGITrustedProxyHeaders X-Forwarded-For,X-Real-IP", &["X-Forwarded-For,X-Real-IP"]),
        ("WSGITrustedProxyHeaders \"X Forwarded\"", &["X Forwarded"]),
    ] {
        let checked = Server::builder().config(config).check();
        assert!(!checked.accepted, "{config}");
        for word in words {
            assert!(checked.said.contains(word), "{config}: {}", checked.said);
        }
    }
    for config in [
        "WSGITrustedProxies 10.1 10.0.0.0/8 10.0.0.0/255.0.0.0 ::1 2001:db8::/32 2001:DB8::1 127.0.0.1",
        "WSGITrustedProxyHeaders X-Unheard-Of x-forwarded-for",
    ] {
        let checked = Server::builder().config(config).check();
        assert!(checked.accepted, "{config}: {}", checked.said);
    }
}
