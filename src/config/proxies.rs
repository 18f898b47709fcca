//! `WSGITrustedProxies` and `WSGITrustedProxyHeaders`: which peers are believed, and what of what they say. Addresses are
//! numbers; no name is ever looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of which some leading bits are the same. IPv4 is kept as IPv6 (`::ffff:a.b.c.d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    mask: u128,
}

/// How many bits stand before an IPv4 address in its IPv6 form.
const BEFORE_V4: u32 = 96;

impl Network {
    /// Reads an address, `address/bits`, `a.b.c.d/m.a.s.k`, or the first parts of an IPv4 address (`10.1`).
    pub fn parse(text: &str) -> Option<Network> {
        if let Some((address, mask)) = text.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let mask = match (address, mask.parse::<Ipv4Addr>()) {
                (IpAddr::V4(_), Ok(dotted)) => leading(BEFORE_V4) | u128::from(u32::from(dotted)),
                (IpAddr::V4(_), Err(_)) => leading(BEFORE_V4 + bits(mask, 32)?),
                (IpAddr::V6(_), _) => leading(bits(mask, 128)?),
            };
            return Some(Network::new(widened(address), mask));
        }
        match text.parse::<IpAddr>() {
            Ok(address) => Some(Network::new(widened(address), u128::MAX)),
            Err(_) => Network::parse_partial(text.strip_suffix('.').unwrap_or(text)),
        }
    }

    fn parse_partial(text: &str) -> Option<Network> {
        let mut octets = [0; 4];
        let parts: Vec<&str> = text.split('.').collect();
        if parts.len() > octets.len() {
            return None;
        }
        for (octet, part) in octets.iter_mut().zip(&parts) {
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            *octet = part.parse().ok().filter(|_| is_number)?;
        }
        let mask = leading(BEFORE_V4 + 8 * u32::try_from(parts.len()).ok()?);
        Some(Network::new(widened(IpAddr::V4(Ipv4Addr::from(octets))), mask))
    }

    fn new(bits: u128, mask: u128) -> Network {
        Network { bits: bits & mask, mask }
    }

    /// Whether an address belongs to it. One of IPv4 belongs to networks of IPv4 alone, in whatever form it is written.
    pub fn holds(self, address: IpAddr) -> bool {
        let address = widened(address);
        let is_v4 = |bits: u128| bits >> 32 == 0xffff;
        let for_v4 = is_v4(self.bits) && self.mask >> 32 == u128::MAX >> 32;
        address & self.mask == self.bits && is_v4(address) == for_v4
    }
}

fn widened(address: IpAddr) -> u128 {
    let wide: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    u128::from(wide)
}

/// That many ones, and zeroes behind them.
fn leading(ones: u32) -> u128 {
    u128::MAX.checked_shl(u128::BITS - ones).unwrap_or(0)
}

fn bits(text: &str, most: u32) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|bits| is_number && *bits <= most)
}

/// What a header of a proxy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Who the client is.
    Client,
    /// What host it asked for.
    Host,
    /// What the server is called.
    Server,
    /// At what port.
    Port,
    /// Where the application lies.
    ScriptName,
    /// Whether it came by TLS.
    Scheme,
}

/// How the value of a header is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Addresses with commas between them, each added by a proxy for the one before it.
    Addresses,
    /// One address.
    Address,
    /// Whatever it is.
    Verbatim,
    /// `https` or `http`.
    SchemeName,
    /// `on`, `true`, `1`, or their opposites.
    SchemeFlag,
}

/// A header that a proxy may be trusted with.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name in environ.
    pub name: &'static str,
    /// What it says.
    pub category: Category,
    /// How.
    pub reading: Reading,
}

const fn header(name: &'static str, category: Category, reading: Reading) -> Header {
    Header { name, category, reading }
}

/// All of them. The one table for what is believed and for what is taken away.
pub const HEADERS: &[Header] = &[
    header("HTTP_X_FORWARDED_FOR", Category::Client, Reading::Addresses),
    header("HTTP_X_CLIENT_IP", Category::Client, Reading::Address),
    header("HTTP_X_REAL_IP", Category::Client, Reading::Address),
    header("HTTP_X_FORWARDED_HOST", Category::Host, Reading::Verbatim),
    header("HTTP_X_HOST", Category::Host, Reading::Verbatim),
    header("HTTP_X_FORWARDED_SERVER", Category::Server, Reading::Verbatim),
    header("HTTP_X_FORWARDED_PORT", Category::Port, Reading::Verbatim),
    header("HTTP_X_SCRIPT_NAME", Category::ScriptName, Reading::Verbatim),
    header("HTTP_X_FORWARDED_SCRIPT_NAME", Category::ScriptName, Reading::Verbatim),
    header("HTTP_X_FORWARDED_PROTO", Category::Scheme, Reading::SchemeName),
    header("HTTP_X_FORWARDED_SCHEME", Category::Scheme, Reading::SchemeName),
    header("HTTP_X_SCHEME", Category::Scheme, Reading::SchemeName),
    header("HTTP_X_FORWARDED_HTTPS", Category::Scheme, Reading::SchemeFlag),
    header("HTTP_X_FORWARDED_SSL", Category::Scheme, Reading::SchemeFlag),
    header("HTTP_X_HTTPS", Category::Scheme, Reading::SchemeFlag),
];

impl Header {
    /// The header that a directive names: `X-Forwarded-For`. `Ok(None)` for one that nothing is known of.
    ///
    /// # Errors
    /// It is no name of a header, or one that could not be told from another in environ.
    pub fn named(text: &[u8]) -> Result<Option<&'static Header>, &'static str> {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        if text.is_empty() || !text.iter().all(is_name) {
            return Err("names of headers, of letters, digits and hyphens");
        }
        let folded = |byte: &u8| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() };
        let same = |known: &[u8]| text.iter().map(folded).eq(known.iter().copied());
        Ok(HEADERS.iter().find(|header| same(&header.name.as_bytes()["HTTP_".len()..])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        Network::parse(network).unwrap().holds(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_a_network_of_one() {
        assert!(holds("10.1.2.3", "10.1.2.3"));
        assert!(!holds("10.1.2.3", "10.1.2.4"));
        assert!(holds("::1", "0:0:0:0:0:0:0:1"));
        assert!(holds("2001:DB8::1", "2001:db8::1"));
    }

    #[test]
    fn a_network_is_written_with_bits_a_mask_or_its_first_parts() {
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.9.9.9/8", "10.1.1.1"), "the bits behind the network do not count");
        assert!(holds("10.1.0.0/255.255.0.0", "10.1.9.9"));
        assert!(!holds("10.1.0.0/255.255.0.0", "10.2.0.1"));
        assert!(holds("10.1", "10.1.2.3") && !holds("10.1", "10.2.2.3"));
        assert!(holds("10.", "10.2.2.3"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::5") && !holds("2001:db8::/32", "2001:db9::"));
        assert!(holds("::/0", "::1") && !holds("::/0", "1.2.3.4"));
    }

    #[test]
    fn an_ipv4_address_in_ipv6_form_is_an_ipv4_address() {
        assert!(holds("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(holds("::ffff:10.0.0.0/104", "10.1.1.1"));
    }

    #[test]
    fn what_is_no_address_is_no_network() {
        for wrong in [
            "localhost",
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.1/16",
            "1.2.3.4.5",
            "10..1",
            "256.1",
            "::1/129",
            "::1/255.0.0.0",
            "fe80::1%eth0",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "1.2.3.4:80",
            "*",
        ] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn headers_are_known_in_any_case_and_others_are_passed_over() {
        assert_eq!(Header::named(b"x-FORWARDED-for").unwrap().unwrap().name, HEADERS[0].name);
        assert_eq!(Header::named(b"X-Unheard-Of"), Ok(None));
        for wrong in [&b"X_Forwarded_For"[..], b"X-F\xf6r", b"", b"X-For:", b"X For"] {
            assert!(Header::named(wrong).is_err());
        }
        for known in HEADERS {
            let written = known.name["HTTP_".len()..].replace('_', "-");
            assert_eq!(Header::named(written.as_bytes()), Ok(Some(known)), "{written}");
        }
    }
}
