//! What trusted proxies say of a request, put in the place of what httpd sees; and what others say in their name, taken
//! away. One table ([`HEADERS`]) for both.

use crate::config::proxies::{Category, HEADERS, Header, Network, Reading};
use exchange::{Known, Scheme, Variables};
use std::net::{IpAddr, Ipv6Addr};

/// Believes the configured headers, as far as the peer is trusted, and takes away every other header of the same
/// categories. Gives the scheme, if a header says it.
pub fn apply<'r>(
    headers: &[&'static Header],
    proxies: Option<&[Network]>,
    variables: &mut Variables,
    keep: impl Fn(&[u8]) -> &'r [u8],
) -> Option<Scheme> {
    let is_proxy = |address: IpAddr| {
        proxies.is_none_or(|proxies| proxies.iter().any(|network| network.holds(address)))
    };
    let peer = variables.get("REMOTE_ADDR").and_then(peer_address);
    let is_trusted = proxies.is_none() || peer.is_some_and(is_proxy);

    let mut kept: Vec<&Header> = Vec::new();
    let mut scheme = None;
    for header in headers {
        let Some(value) = variables.get(header.name).filter(|_| is_trusted).map(&keep) else {
            continue;
        };
        let believed = match header.reading {
            Reading::SchemeName => scheme_name(value).map(|said| scheme = Some(said)),
            Reading::SchemeFlag => scheme_flag(value).map(|said| scheme = Some(said)),
            Reading::Verbatim => {
                put(header, value, variables);
                Some(())
            }
            Reading::Address => address(value).map(|(_, text)| put(header, text, variables)),
            Reading::Addresses => {
                let scan = proxies.is_some().then_some(&is_proxy as &dyn Fn(IpAddr) -> bool);
                forwarded_for(value, scan).map(|client| client.put(header, variables, &keep))
            }
        };
        if believed.is_some() {
            kept.retain(|other| other.category != header.category);
            kept.push(header);
        }
    }
    let is_meant = |category| headers.iter().any(|header| header.category == category);
    for header in HEADERS.iter().filter(|header| is_meant(header.category)) {
        if !kept.iter().any(|kept| kept.name == header.name) {
            variables.remove(header.name);
        }
    }
    scheme
}

/// Puts a value where a header of this category has its effect.
fn put(header: &Header, value: &[u8], variables: &mut Variables) {
    match header.category {
        Category::Client => variables.put(Known::RemoteAddr, value),
        Category::Host => variables.put(Known::HttpHost, value),
        Category::Server => variables.put(Known::ServerName, value),
        Category::Port => variables.put(Known::ServerPort, value),
        Category::ScriptName => {
            variables.put(Known::ScriptName, value);
            variables.put(Known::MountPoint, value);
        }
        Category::Scheme => {}
    }
}

fn scheme_name(value: &[u8]) -> Option<Scheme> {
    match value {
        _ if value.eq_ignore_ascii_case(b"https") => Some(Scheme::Https),
        _ if value.eq_ignore_ascii_case(b"http") => Some(Scheme::Http),
        _ => None,
    }
}

fn scheme_flag(value: &[u8]) -> Option<Scheme> {
    let is =
        |names: [&str; 3]| names.iter().any(|name| value.eq_ignore_ascii_case(name.as_bytes()));
    if is(["on", "true", "1"]) {
        Some(Scheme::Https)
    } else if is(["off", "false", "0"]) {
        Some(Scheme::Http)
    } else {
        None
    }
}

/// The address of the peer, whose zone (`fe80::1%eth0`) says nothing about trust.
fn peer_address(text: &[u8]) -> Option<IpAddr> {
    let zone = text.iter().position(|&byte| byte == b'%').unwrap_or(text.len());
    std::str::from_utf8(&text[..zone]).ok()?.parse().ok()
}

/// An address and its text, without the port and the brackets that may be about it. Names are not looked up.
fn address(text: &[u8]) -> Option<(IpAddr, &[u8])> {
    let text = text.trim_ascii();
    let parse = |bare: &[u8]| std::str::from_utf8(bare).ok()?.parse::<IpAddr>().ok();
    let is_port = |port: &[u8]| !port.is_empty() && port.iter().all(u8::is_ascii_digit);
    if let Some(rest) = text.strip_prefix(b"[") {
        let end = rest.iter().position(|&byte| byte == b']')?;
        let (bare, behind) = (&rest[..end], &rest[end + 1..]);
        let is_end = behind.is_empty() || behind.strip_prefix(b":").is_some_and(is_port);
        let address: Ipv6Addr = std::str::from_utf8(bare).ok()?.parse().ok()?;
        return is_end.then_some((IpAddr::V6(address), bare));
    }
    if let Some(address) = parse(text) {
        return Some((address, text));
    }
    let colon = text.iter().rposition(|&byte| byte == b':')?;
    let (bare, port) = (&text[..colon], &text[colon + 1..]);
    let address = parse(bare).filter(|address| address.is_ipv4() && is_port(port))?;
    Some((address, bare))
}

/// What `X-Forwarded-For` says.
#[derive(Debug, PartialEq, Eq)]
enum Client<'r> {
    /// Nothing, and nothing wrong.
    Unsaid,
    /// The client.
    Is(&'r [u8]),
    /// The client, and the part of the header from it on.
    IsAt(&'r [u8], Vec<&'r [u8]>),
}

impl<'r> Client<'r> {
    fn put(self, header: &Header, variables: &mut Variables, keep: &impl Fn(&[u8]) -> &'r [u8]) {
        match self {
            Client::Unsaid => {}
            Client::Is(address) => put(header, address, variables),
            Client::IsAt(address, rest) => {
                put(header, address, variables);
                variables.remove(header.name);
                variables.put(Known::HttpXForwardedFor, keep(&rest.join(&b", "[..])));
            }
        }
    }
}

/// Reads the list: without `is_proxy` its first element is the client; with it, the last one that no trusted proxy
/// vouches for. `None` if that is no address.
fn forwarded_for<'r>(
    value: &'r [u8],
    is_proxy: Option<&dyn Fn(IpAddr) -> bool>,
) -> Option<Client<'r>> {
    let elements: Vec<&[u8]> = value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .collect();
    let Some(first) = elements.first() else { return Some(Client::Unsaid) };
    let Some(is_proxy) = is_proxy else {
        return address(first).map(|(_, text)| Client::Is(text));
    };
    let vouches = |element: &&&[u8]| address(element).is_some_and(|(address, _)| is_proxy(address));
    let trusted = elements.iter().rev().take_while(vouches).count();
    let at = elements.len().saturating_sub(trusted + 1);
    address(elements[at]).map(|(_, text)| Client::IsAt(text, elements[at..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of these variables when these headers are trusted, with these proxies; and the scheme.
    fn applied(
        headers: &str,
        proxies: Option<&str>,
        given: &[(&'static str, &'static str)],
    ) -> (Vec<(String, String)>, Option<Scheme>) {
        let headers: Vec<&Header> = headers
            .split_whitespace()
            .filter_map(|name| Header::named(name.as_bytes()).unwrap())
            .collect();
        let proxies: Option<Vec<Network>> = proxies
            .map(|text| text.split_whitespace().map(|n| Network::parse(n).unwrap()).collect());
        let mut variables = Variables::default();
        variables.put(Known::RemoteAddr, b"10.0.0.1");
        for (name, value) in given {
            match *name {
                "HTTP_X_FORWARDED_FOR" => {
                    variables.put(Known::HttpXForwardedFor, value.as_bytes());
                }
                "REMOTE_ADDR" => variables.put(Known::RemoteAddr, value.as_bytes()),
                name => variables.put_other(name.as_bytes(), value.as_bytes()),
            }
        }
        let leak = |text: &[u8]| -> &'static [u8] { Box::leak(text.to_vec().into_boxed_slice()) };
        let scheme = apply(&headers, proxies.as_deref(), &mut variables, leak);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut all: Vec<_> = variables.iter().map(|v| (text(v.name()), text(v.value()))).collect();
        all.sort();
        (all, scheme)
    }

    fn of(all: &[(String, String)], name: &str) -> Option<String> {
        all.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }

    /// Where the effect of a header of the table shows, and a value that shows it.
    fn effect(header: &Header) -> (&'static str, &'static str, &'static str) {
        match (header.category, header.reading) {
            (Category::Client, _) => ("REMOTE_ADDR", "1.2.3.4", "1.2.3.4"),
            (Category::Host, _) => ("HTTP_HOST", "outer:8443", "outer:8443"),
            (Category::Server, _) => ("SERVER_NAME", "outer", "outer"),
            (Category::Port, _) => ("SERVER_PORT", "8443", "8443"),
            (Category::ScriptName, _) => ("SCRIPT_NAME", "//mount", "//mount"),
            (Category::Scheme, Reading::SchemeFlag) => ("scheme", "TRUE", "Https"),
            (Category::Scheme, _) => ("scheme", "HTTPS", "Https"),
        }
    }

    #[test]
    fn every_header_of_the_table_has_its_effect_and_drives_out_its_kind() {
        for header in HEADERS {
            let (shows, value, shown) = effect(header);
            let name = header.name["HTTP_".len()..].replace('_', "-");
            let others = HEADERS.iter().filter(|other| other.name != header.name);
            let mut given: Vec<(&str, &str)> =
                others.map(|other| (other.name, "spoofed")).collect();
            given.push((header.name, value));
            for proxies in [None, Some("10.0.0.0/8")] {
                let (all, scheme) = applied(&name, proxies, &given);
                let found = match shows {
                    "scheme" => scheme.map(|scheme| format!("{scheme:?}")),
                    shows => of(&all, shows),
                };
                assert_eq!(found.as_deref(), Some(shown), "{name}");
                assert_eq!(of(&all, header.name).as_deref(), Some(value), "{name} is kept");
                let mount = (header.category == Category::ScriptName).then(|| value.to_owned());
                assert_eq!(of(&all, "mod_wsgi.mount_point"), mount);
                for other in HEADERS.iter().filter(|other| other.name != header.name) {
                    let stays = other.category != header.category;
                    assert_eq!(of(&all, other.name).is_some(), stays, "{name}: {}", other.name);
                }
            }
            let (all, scheme) = applied(&name, Some("192.0.2.1"), &given);
            assert_eq!(scheme, None, "{name} of a stranger");
            assert_ne!(of(&all, shows).as_deref(), Some(shown), "{name} of a stranger");
            for other in HEADERS.iter().filter(|other| other.category == header.category) {
                assert_eq!(of(&all, other.name), None, "{} of a stranger", other.name);
            }
        }
    }

    #[test]
    fn the_last_header_of_a_kind_that_says_something_counts() {
        let both = [("HTTP_X_REAL_IP", "1.1.1.1"), ("HTTP_X_CLIENT_IP", "2.2.2.2")];
        let (all, _) = applied("X-Real-IP X-Client-IP", None, &both);
        assert_eq!(of(&all, "REMOTE_ADDR").as_deref(), Some("2.2.2.2"));
        assert_eq!(of(&all, "HTTP_X_REAL_IP"), None);
        let wrong = [("HTTP_X_REAL_IP", "1.1.1.1"), ("HTTP_X_CLIENT_IP", "nobody")];
        let (all, _) = applied("X-Real-IP X-Client-IP", None, &wrong);
        assert_eq!(of(&all, "REMOTE_ADDR").as_deref(), Some("1.1.1.1"));
        assert_eq!(of(&all, "HTTP_X_CLIENT_IP"), None);
    }

    #[test]
    fn what_is_no_address_leaves_the_peer_and_is_dropped() {
        for wrong in ["unknown", "localhost", "1.2.3", "1.2.3.4:x", "[::1", "", "::1:", "a.b:80"] {
            let (all, _) = applied("X-Real-IP", None, &[("HTTP_X_REAL_IP", wrong)]);
            assert_eq!(all, [("REMOTE_ADDR".to_owned(), "10.0.0.1".to_owned())], "{wrong}");
        }
        for (right, address) in [
            ("1.2.3.4:80", "1.2.3.4"),
            ("[::1]:80", "::1"),
            ("[::1]", "::1"),
            (" ::1 ", "::1"),
            ("2001:db8::5", "2001:db8::5"),
        ] {
            let (all, _) = applied("X-Real-IP", None, &[("HTTP_X_REAL_IP", right)]);
            assert_eq!(of(&all, "REMOTE_ADDR").as_deref(), Some(address), "{right}");
        }
    }

    #[test]
    fn a_scheme_that_is_none_is_not_believed_and_dropped() {
        for (name, variable) in
            [("X-Forwarded-Proto", "HTTP_X_FORWARDED_PROTO"), ("X-HTTPS", "HTTP_X_HTTPS")]
        {
            let (all, scheme) = applied(name, None, &[(variable, "wss")]);
            assert_eq!(scheme, None);
            assert_eq!(of(&all, variable), None);
        }
        let (_, scheme) = applied("X-HTTPS", None, &[("HTTP_X_HTTPS", "Off")]);
        assert_eq!(scheme, Some(Scheme::Http));
    }

    /// REMOTE_ADDR and HTTP_X_FORWARDED_FOR, for this list behind these proxies.
    fn forwarded(proxies: Option<&str>, list: &'static str) -> (String, Option<String>) {
        let (all, _) = applied("X-Forwarded-For", proxies, &[("HTTP_X_FORWARDED_FOR", list)]);
        (of(&all, "REMOTE_ADDR").unwrap(), of(&all, "HTTP_X_FORWARDED_FOR"))
    }

    #[test]
    fn without_proxies_the_first_of_the_list_is_the_client() {
        let said = |list: &str| Some(list.to_owned());
        assert_eq!(
            forwarded(None, "1.1.1.1, 2.2.2.2"),
            ("1.1.1.1".into(), said("1.1.1.1, 2.2.2.2"))
        );
        assert_eq!(forwarded(None, " , ,"), ("10.0.0.1".into(), said(" , ,")));
        assert_eq!(forwarded(None, "unknown, 2.2.2.2"), ("10.0.0.1".into(), None));
        assert_eq!(forwarded(None, ",1.1.1.1:99"), ("1.1.1.1".into(), said(",1.1.1.1:99")));
    }

    #[test]
    fn with_proxies_the_list_is_read_from_its_end() {
        let of = |list: &'static str| forwarded(Some("10.0.0.0/8 ::1"), list);
        let is = |address: &str, list: &str| (address.to_owned(), Some(list.to_owned()));
        assert_eq!(of("6.6.6.6, 1.1.1.1, 10.0.0.9"), is("1.1.1.1", "1.1.1.1, 10.0.0.9"));
        assert_eq!(of("6.6.6.6, 1.1.1.1"), is("1.1.1.1", "1.1.1.1"));
        assert_eq!(of("10.0.0.7,10.0.0.8 , ::1"), is("10.0.0.7", "10.0.0.7, 10.0.0.8, ::1"));
        assert_eq!(of("6.6.6.6, localhost"), ("10.0.0.1".into(), None), "no name is looked up");
        assert_eq!(of("1.1.1.1, 10.0.0.9:4711"), is("1.1.1.1", "1.1.1.1, 10.0.0.9:4711"));
        assert_eq!(of(", ,"), is("10.0.0.1", ", ,"));
    }

    #[test]
    fn a_peer_that_is_no_address_is_not_trusted() {
        for peer in ["", "localhost", "unix"] {
            let given = [("REMOTE_ADDR", peer), ("HTTP_X_REAL_IP", "1.1.1.1")];
            let (all, _) = applied("X-Real-IP", Some("0.0.0.0/0 ::/0"), &given);
            assert_eq!(of(&all, "REMOTE_ADDR").as_deref(), Some(peer));
            assert_eq!(of(&all, "HTTP_X_REAL_IP"), None);
        }
        let given = [("REMOTE_ADDR", "fe80::1%eth0"), ("HTTP_X_REAL_IP", "1.1.1.1")];
        let (all, _) = applied("X-Real-IP", Some("fe80::/10"), &given);
        assert_eq!(of(&all, "REMOTE_ADDR").as_deref(), Some("1.1.1.1"));
    }

    #[test]
    fn kinds_that_are_not_configured_pass_as_they_came() {
        let given = [("HTTP_X_FORWARDED_PROTO", "https"), ("HTTP_X_REAL_IP", "1.1.1.1")];
        let (all, scheme) = applied("X-Real-IP X-Unheard-Of", None, &given);
        assert_eq!(scheme, None);
        assert_eq!(of(&all, "HTTP_X_FORWARDED_PROTO").as_deref(), Some("https"));
    }
}
