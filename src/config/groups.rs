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
    /// `%{SERVER}` in the server at this place.
    Server(usize),
    /// `%{RESOURCE}` at the alias with this number of the server at this place.
    Alias {
        /// The server.
        server: usize,
        /// The number of its alias.
        alias: usize,
    },
}

/// An alias whose requests are served by the server's own processes.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The place of its server.
    pub server: usize,
    /// Its number in that server.
    pub alias: usize,
    /// The application group it says, or that it inherits from its server.
    pub group: Expression<'a>,
    /// Whether it leads to one place in the URL space (and not, like a regular expression, to many).
    pub is_single: bool,
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
            Expression::Server => Reach::One(Sole::Server(self.server)),
            Expression::Resource if self.is_single => {
                Reach::One(Sole::Alias { server: self.server, alias: self.alias })
            }
            Expression::Resource | Expression::Host | Expression::Env(_) => Reach::Many,
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
            count(Candidate { server: 0, alias: 0, group, is_single: true }.reach())?;
        } else if candidates.is_empty() || candidates.iter().any(|other| other.group != group) {
            return None;
        }
    }
    if global { None } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(server: usize, alias: usize, group: Expression<'_>) -> Candidate<'_> {
        Candidate { server, alias, group, is_single: true }
    }

    #[test]
    fn a_single_alias_is_the_sole_group() {
        let alias = Sole::Alias { server: 0, alias: 0 };
        assert_eq!(sole(&[at(0, 0, Expression::Resource)], &[]), Some(alias.clone()));
        assert_eq!(sole(&[at(0, 0, Expression::Resource)], &[Expression::Resource]), Some(alias));
        assert_eq!(sole(&[], &[]), None);
    }

    #[test]
    fn two_aliases_are_two_groups_unless_they_name_the_same() {
        let two = [at(0, 0, Expression::Resource), at(0, 1, Expression::Resource)];
        assert_eq!(sole(&two, &[]), None);
        let named = Expression::Literal(b"site");
        let same = [at(0, 0, named), at(1, 0, named)];
        assert_eq!(sole(&same, &[named]), Some(Sole::Name(b"site".to_vec())));
        let server = [at(2, 0, Expression::Server), at(2, 1, Expression::Server)];
        assert_eq!(sole(&server, &[Expression::Server]), Some(Sole::Server(2)));
        let servers = [at(1, 0, Expression::Server), at(2, 0, Expression::Server)];
        assert_eq!(sole(&servers, &[]), None);
    }

    #[test]
    fn whoever_asks_for_the_main_interpreter_has_it_alone() {
        let mixed = [at(0, 0, Expression::Global), at(0, 1, Expression::Resource)];
        assert_eq!(sole(&mixed, &[]), None);
        assert_eq!(sole(&[at(0, 0, Expression::Resource)], &[Expression::Global]), None);
        assert_eq!(sole(&[at(0, 0, Expression::Global)], &[Expression::Global]), None);
    }

    #[test]
    fn names_that_a_client_or_a_file_system_chooses_are_many() {
        assert_eq!(sole(&[at(0, 0, Expression::Host)], &[]), None);
        assert_eq!(sole(&[at(0, 0, Expression::Env(b"x"))], &[]), None);
        let matching = Candidate { is_single: false, ..at(0, 0, Expression::Resource) };
        assert_eq!(sole(&[matching], &[]), None);
    }

    #[test]
    fn a_directive_for_scripts_without_an_alias_counts_too() {
        let alias = at(0, 0, Expression::Resource);
        assert_eq!(sole(&[alias], &[Expression::Literal(b"other")]), None);
        assert_eq!(sole(&[alias], &[Expression::Server]), None);
        assert_eq!(sole(&[], &[Expression::Server]), None);
        assert_eq!(sole(&[], &[Expression::Literal(b"only")]), Some(Sole::Name(b"only".to_vec())));
    }
}
