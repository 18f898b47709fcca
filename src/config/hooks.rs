//! Scripts that are not applications mounted at a URL: those that are asked about a request (access, passwords, groups,
//! dispatch), and those that handle files (`WSGIHandlerScript`).

use super::plan::Import;
use super::{Expression, alias, words};
use crate::httpd::Pool;

/// A script that is asked about requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook<'p> {
    /// Its file.
    pub path: &'p [u8],
    /// The interpreter it runs in.
    pub application_group: Expression<'p>,
}

/// What a directory says of access and authentication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auth<'p> {
    /// `WSGIAccessScript`
    pub access: Option<Hook<'p>>,
    /// `WSGIAuthUserScript`
    pub user: Option<Hook<'p>>,
    /// `WSGIAuthGroupScript`
    pub group: Option<Hook<'p>>,
}

impl<'p> Auth<'p> {
    /// This, and what `base` says where this says nothing.
    pub fn over(&self, base: &Auth<'p>) -> Auth<'p> {
        Auth {
            access: self.access.or(base.access),
            user: self.user.or(base.user),
            group: self.group.or(base.group),
        }
    }
}

/// `WSGIHandlerScript`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handler<'p> {
    /// What `SetHandler` calls it.
    pub name: &'p [u8],
    /// The file of the script.
    pub path: &'p [u8],
    /// `process-group=`
    pub process_group: Option<Expression<'p>>,
    /// `application-group=`
    pub application_group: Option<Expression<'p>>,
    /// `pass-authorization=`
    pub pass_authorization: Option<bool>,
}

impl<'p> Hook<'p> {
    /// Reads the arguments of one of the directives.
    ///
    /// # Errors
    /// What is wrong, and what is expected, without the name of the directive.
    pub fn parse(pool: Pool<'p>, mut args: &[u8]) -> Result<Hook<'p>, String> {
        let path = words::next(&mut args).filter(|path| !path.is_empty());
        let path = path.ok_or("takes the path of a script, and then options")?;
        let mut application_group = Expression::Global;
        words::options(args, "application-group", |name, value| {
            if name == b"application-group" {
                application_group = Expression::parse_of_hook(pool.text(value).to_bytes());
            }
            Ok(name == b"application-group")
        })?;
        Ok(Hook { path: pool.text(&path).to_bytes(), application_group })
    }
}

impl<'p> Handler<'p> {
    /// Reads the arguments of the directive.
    ///
    /// # Errors
    /// What is wrong, and what is expected, without the name of the directive.
    pub fn parse(pool: Pool<'p>, mut args: &[u8]) -> Result<Handler<'p>, String> {
        const KNOWN: &str = "process-group, application-group and pass-authorization";
        let mut word = || words::next(&mut args).filter(|word| !word.is_empty());
        let (Some(name), Some(path)) = (word(), word()) else {
            return Err("takes the name of a handler and the path of its script, and then options"
                .to_owned());
        };
        let mut handler = Handler {
            name: pool.text(&name).to_bytes(),
            path: pool.text(&path).to_bytes(),
            process_group: None,
            application_group: None,
            pass_authorization: None,
        };
        words::options(args, KNOWN, |name, value| {
            let group = || Some(Expression::parse(pool.text(value).to_bytes()));
            match name {
                b"process-group" => handler.process_group = group(),
                b"application-group" => handler.application_group = group(),
                b"pass-authorization" => {
                    handler.pass_authorization = Some(alias::passes(value)?);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(handler)
    }

    /// The handlers of a place and those of the place around it, of which it may have its own.
    pub fn union(own: &[Handler<'p>], base: &[Handler<'p>]) -> Vec<Handler<'p>> {
        let inherited = base.iter().filter(|other| own.iter().all(|mine| mine.name != other.name));
        own.iter().chain(inherited).copied().collect()
    }
}

/// Reads the arguments of `WSGIImportScript`.
///
/// # Errors
/// What is wrong, and what is expected, without the name of the directive.
pub fn parse_import<'p>(pool: Pool<'p>, mut args: &[u8]) -> Result<Import<'p>, String> {
    const BOTH: &str = "takes the path of a script, process-group= and application-group=";
    let path = words::next(&mut args).filter(|path| !path.is_empty()).ok_or(BOTH)?;
    let (mut process_group, mut application_group) = (None, None);
    words::options(args, "process-group and application-group", |name, value| {
        let value = match value {
            b"%{GLOBAL}" => &[][..],
            _ => pool.text(value).to_bytes(),
        };
        match name {
            b"process-group" => process_group = Some(value),
            b"application-group" => application_group = Some(value),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let missing = |name: &str| format!("{BOTH}; {name}= is missing");
    Ok(Import {
        path: pool.text(&path).to_bytes(),
        process_group: process_group.ok_or_else(|| missing("process-group"))?,
        application_group: application_group.ok_or_else(|| missing("application-group"))?,
        is_alias: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler<'p>(name: &'p str, path: &'p str) -> Handler<'p> {
        Handler {
            name: name.as_bytes(),
            path: path.as_bytes(),
            process_group: None,
            application_group: None,
            pass_authorization: None,
        }
    }

    #[test]
    fn a_place_has_its_own_handlers_and_those_around_it() {
        let own = [handler("a", "/own")];
        let base = [handler("a", "/base"), handler("b", "/base")];
        let both = Handler::union(&own, &base);
        assert_eq!(both, [handler("a", "/own"), handler("b", "/base")]);
    }

    #[test]
    fn scripts_of_an_inner_place_win_one_by_one() {
        let hook = |path| Some(Hook { path, application_group: Expression::Global });
        let base = Auth { access: hook(b"/a"), user: hook(b"/u"), group: None };
        let inner = Auth { user: hook(b"/v"), ..Auth::default() };
        assert_eq!(inner.over(&base), Auth { user: hook(b"/v"), ..base });
    }
}
