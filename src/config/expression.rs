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

    /// Whether it is the same for every request.
    pub fn is_static(self) -> bool {
        match self {
            Expression::Global => true,
            Expression::Literal(text) => !text.windows(2).any(|two| two == b"%{"),
            _ => false,
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
    fn a_literal_with_an_expansion_in_it_is_not_static() {
        assert!(Expression::parse(b"site").is_static());
        assert!(Expression::Global.is_static());
        assert!(!Expression::parse(b"a%{b").is_static());
        assert!(!Expression::parse(b"%{ENV:x}").is_static());
    }
}
