//! A process that serves a single application group runs it in the main interpreter, where every extension module
//! works. Whether there is a single one is decided when all of the configuration has been read, by [`sole`].
//!
//! `%{GLOBAL}` is the main interpreter in any case. What the configuration cannot tell (`.htaccess`, names that come
//! from the client) goes by the ordinary rule: a name other than the sole one gets an interpreter of its own.

use super::Expression;

/// The one application group that runs in the main interpreter besides `%{GLOBAL}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sole {
    /// The group of this name.
    Name(Vec<u8>),
    /// `%{SERVER}` in the servers of this name.
    Server(Vec<u8>),
    /// `%{RESOURCE}` at an alias.
    Alias {
        /// The name of its server.
        server: Vec<u8>,
        /// Its path, without slashes at the end.
        path: Vec<u8>,
    },
}

/// An alias whose requests are served by the server's own processes.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The name of its server. Two servers of one name (ports 80 and 443) have their groups in common.
    pub server: &'a [u8],
    /// The application group it says, or that it inherits from its server.
    pub group: Expression<'a>,
    /// The one place in the URL space that it leads to; `None` for a regular expression, which leads to many.
    pub path: Option<&'a [u8]>,
}

/// What is the same for all ways to write the path of an alias: SCRIPT_NAME, but for slashes at its end.
pub fn without_last_slashes(path: &[u8]) -> &[u8] {
    let slashes = path.iter().rev().take_while(|&&byte| byte == b'/').count();
    &path[..path.len() - slashes]
}

/// The groups that requests can come to: one by one as far as they can be told apart.
enum Reach {
    Global,
    One(Sole),
    Many,
}

impl Candidate<'_> {
    fn reach(&self) -> Reach {
        match self.group {
            Expression::Global => Reach::Global,
            Expression::Literal(b"") => Reach::Global,
            Expression::Literal(name) => Reach::One(Sole::Name(name.to_vec())),
            Expression::Server => Reach::One(Sole::Server(self.server.to_vec())),
            Expression::Resource => self.path.map_or(Reach::Many, |path| {
                let path = without_last_slashes(path).to_vec();
                Reach::One(Sole::Alias { server: self.server.to_vec(), path })
            }),
            Expression::Host | Expression::Env(_) => Reach::Many,
        }
    }
}

/// The sole application group, if there is one. `explicit` are all `WSGIApplicationGroup` directives, wherever they
/// stand.
pub fn sole(candidates: &[Candidate<'_>], explicit: &[Expression<'_>]) -> Option<Sole> {
    let mut found: Option<Sole> = None;
    let mut global = false;
    let mut count = |reach: Reach| match reach {
        Reach::Global => {
            global = true;
            Some(())
        }
        Reach::One(group) => {
            let same = found.as_ref().is_none_or(|before| *before == group);
            found = Some(group);
            same.then_some(())
        }
        Reach::Many => None,
    };
    for candidate in candidates {
        count(candidate.reach())?;
    }
    for &group in explicit {
        let named = matches!(group, Expression::Global | Expression::Literal(_));
        // A directive that every alias follows says nothing new. One that some do not follow, and that names no group
        // by itself, stands for scripts that no alias leads to: nobody knows how many.
        if named {
            count(Candidate { server: b"", group, path: None }.reach())?;
        } else if candidates.is_empty() || candidates.iter().any(|other| other.group != group) {
            return None;
        }
    }
    if global { None } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(server: &'a str, path: &'a str, group: Expression<'a>) -> Candidate<'a> {
        Candidate { server: server.as_bytes(), group, path: Some(path.as_bytes()) }
    }

    fn alias(server: &str, path: &str) -> Option<Sole> {
        Some(Sole::Alias { server: server.into(), path: path.into() })
    }

    #[test]
    fn a_single_alias_is_the_sole_group() {
        assert_eq!(sole(&[at("s", "/a", Expression::Resource)], &[]), alias("s", "/a"));
        let directive = [Expression::Resource];
        assert_eq!(sole(&[at("s", "/", Expression::Resource)], &directive), alias("s", ""));
        assert_eq!(sole(&[], &[]), None);
    }

    #[test]
    fn one_site_at_two_ports_is_one_group() {
        let two = [at("s", "/", Expression::Resource), at("s", "/", Expression::Resource)];
        assert_eq!(sole(&two, &[]), alias("s", ""));
        let other = [at("s", "/", Expression::Resource), at("t", "/", Expression::Resource)];
        assert_eq!(sole(&other, &[]), None);
    }

    #[test]
    fn two_aliases_are_two_groups_unless_they_name_the_same() {
        let two = [at("s", "/a", Expression::Resource), at("s", "/b", Expression::Resource)];
        assert_eq!(sole(&two, &[]), None);
        let named = Expression::Literal(b"site");
        let same = [at("s", "/a", named), at("t", "/b", named)];
        assert_eq!(sole(&same, &[named]), Some(Sole::Name(b"site".to_vec())));
        let server = [at("s", "/a", Expression::Server), at("s", "/b", Expression::Server)];
        assert_eq!(sole(&server, &[Expression::Server]), Some(Sole::Server(b"s".to_vec())));
        let servers = [at("s", "/a", Expression::Server), at("t", "/a", Expression::Server)];
        assert_eq!(sole(&servers, &[]), None);
    }

    #[test]
    fn whoever_asks_for_the_main_interpreter_has_it_alone() {
        let mixed = [at("s", "/a", Expression::Global), at("s", "/b", Expression::Resource)];
        assert_eq!(sole(&mixed, &[]), None);
        let one = [at("s", "/a", Expression::Resource)];
        assert_eq!(sole(&one, &[Expression::Global]), None);
        let global = [at("s", "/a", Expression::Global)];
        assert_eq!(sole(&global, &[Expression::Global]), None);
    }

    #[test]
    fn names_that_a_client_or_a_file_system_chooses_are_many() {
        assert_eq!(sole(&[at("s", "/a", Expression::Host)], &[]), None);
        assert_eq!(sole(&[at("s", "/a", Expression::Env(b"x"))], &[]), None);
        let matching = Candidate { path: None, ..at("s", "", Expression::Resource) };
        assert_eq!(sole(&[matching], &[]), None);
    }

    #[test]
    fn a_directive_for_scripts_without_an_alias_counts_too() {
        let alias = at("s", "/a", Expression::Resource);
        assert_eq!(sole(&[alias], &[Expression::Literal(b"other")]), None);
        assert_eq!(sole(&[alias], &[Expression::Server]), None);
        assert_eq!(sole(&[], &[Expression::Server]), None);
        let only = [Expression::Literal(b"only")];
        assert_eq!(sole(&[], &only), Some(Sole::Name(b"only".to_vec())));
    }

    #[test]
    fn the_root_is_the_empty_script_name() {
        assert_eq!(without_last_slashes(b"/"), b"");
        assert_eq!(without_last_slashes(b"/a//"), b"/a");
        assert_eq!(without_last_slashes(b"/a"), b"/a");
    }
}
