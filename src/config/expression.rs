//! The value of a group or a callable: a literal, or one of the `%{...}` words that are expanded for each request.

/// A value as it was written, its strings in the pool of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expression<'p> {
    /// `%{GLOBAL}`: the main interpreter, or the server's own processes.
    Global,
    /// `%{SERVER}`: the name of the virtual host.
    Server,
    /// `%{HOST}`: the name the client asked for.
    Host,
    /// `%{RESOURCE}`: the virtual host and the place of the application in it.
    Resource,
    /// `%{ENV:name}`: a variable of the request.
    Env(&'p [u8]),
    /// The value itself.
    Literal(&'p [u8]),
}

impl<'p> Expression<'p> {
    /// Reads a value. The words are case-sensitive and must be the whole of it.
    pub fn parse(text: &'p [u8]) -> Self {
        match text {
            b"%{GLOBAL}" => Expression::Global,
            b"%{SERVER}" => Expression::Server,
            b"%{HOST}" => Expression::Host,
            b"%{RESOURCE}" => Expression::Resource,
            _ => text
                .strip_prefix(b"%{ENV:")
                .and_then(|rest| rest.strip_suffix(b"}"))
                .map_or(Expression::Literal(text), Expression::Env),
        }
    }

    /// As the groups of hook scripts are read: of the words only `%{GLOBAL}`, `%{SERVER}` and `%{HOST}` have a meaning.
    pub fn parse_of_hook(text: &'p [u8]) -> Self {
        match Expression::parse(text) {
            Expression::Resource | Expression::Env(_) => Expression::Literal(text),
            other => other,
        }
    }

    /// The name it is for every request; `None` if it is not the same for all.
    pub fn name(self) -> Option<&'p [u8]> {
        match self {
            Expression::Global => Some(b""),
            Expression::Literal(text) if !text.windows(2).any(|two| two == b"%{") => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Expression;

    #[test]
    fn words_must_be_the_whole_value_and_in_capitals() {
        assert_eq!(Expression::parse(b"%{GLOBAL}"), Expression::Global);
        assert_eq!(Expression::parse(b"%{ENV:site}"), Expression::Env(b"site"));
        for literal in [&b"%{global}"[..], b"x%{GLOBAL}", b"%{OTHER}", b"%{ENV:a", b""] {
            assert_eq!(Expression::parse(literal), Expression::Literal(literal));
        }
    }

    #[test]
    fn a_literal_with_an_expansion_in_it_is_not_the_same_for_all() {
        assert_eq!(Expression::parse(b"site").name(), Some(&b"site"[..]));
        assert_eq!(Expression::Global.name(), Some(&b""[..]));
        assert_eq!(Expression::parse(b"a%{b").name(), None);
        assert_eq!(Expression::parse(b"%{ENV:x}").name(), None);
    }

    #[test]
    fn the_groups_of_hook_scripts_know_three_words() {
        let of = Expression::parse_of_hook;
        assert_eq!(of(b"%{SERVER}"), Expression::Server);
        assert_eq!(of(b"%{HOST}"), Expression::Host);
        assert_eq!(of(b"%{GLOBAL}"), Expression::Global);
        for literal in [&b"%{RESOURCE}"[..], b"%{ENV:x}", b"x"] {
            assert_eq!(of(literal), Expression::Literal(literal));
        }
    }
}
