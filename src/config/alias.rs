//! `WSGIScriptAlias` and `WSGIScriptAliasMatch`: where in the URL space an application lies.

use super::plan::Import;
use super::words::quoted;
use super::{Expression, words};
use crate::httpd::{Pool, Regex};
use std::ffi::CStr;

/// One alias, its strings in the pool of the configuration.
#[derive(Clone, Copy)]
pub struct Alias<'p> {
    /// What of a URL it takes.
    pub pattern: Pattern<'p>,
    /// The file it leads to.
    pub target: &'p CStr,
    /// What it says of the requests it takes.
    pub options: Options<'p>,
}

/// What of a URL an alias takes.
#[derive(Clone, Copy)]
pub enum Pattern<'p> {
    /// A path and everything below it.
    Prefix(&'p [u8]),
    /// Whatever matches, and everything after it.
    Match(Regex<'p>),
}

/// Which of the two directives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `WSGIScriptAlias`
    Prefix,
    /// `WSGIScriptAliasMatch`
    Match,
}

/// The options of an alias; each beats the directive of the same purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'p> {
    /// `process-group=`
    pub process_group: Option<&'p CStr>,
    /// `application-group=`
    pub application_group: Option<&'p CStr>,
    /// `callable-object=`
    pub callable_object: Option<&'p CStr>,
    /// `pass-authorization=`
    pub pass_authorization: Option<bool>,
}

impl<'p> Alias<'p> {
    /// The file that `path` leads to through this alias, if it does.
    pub fn maps<'r>(&self, pool: Pool<'r>, path: &'r CStr) -> Option<&'r CStr> {
        let bytes = path.to_bytes();
        match &self.pattern {
            Pattern::Prefix(alias) => {
                let end = prefix_end(alias, bytes)?;
                let rest = if *alias == b"/" { bytes } else { &bytes[end..] };
                Some(pool.concat(&[self.target.to_bytes(), rest]))
            }
            Pattern::Match(regex) => {
                let (end, target) = regex.substitute(pool, path, self.target)?;
                if end == 0 {
                    return None;
                }
                let rest = if &bytes[..end] == b"/" { bytes } else { &bytes[end..] };
                Some(pool.concat(&[target, rest]))
            }
        }
    }

    /// The one file that it leads to, unless that depends on the URL.
    pub fn script(&self) -> Option<&'p CStr> {
        match self.pattern {
            Pattern::Prefix(_) => Some(self.target),
            Pattern::Match(_) => None,
        }
    }

    /// Reads the arguments of the directive.
    ///
    /// # Errors
    /// What is wrong, and what is expected, without the name of the directive.
    pub fn parse(pool: Pool<'p>, kind: Kind, mut args: &[u8]) -> Result<Alias<'p>, String> {
        let (Some(pattern), Some(target)) = (words::next(&mut args), words::next(&mut args)) else {
            return Err("takes a URL path and the file it leads to, and then options".to_owned());
        };
        let options = Options::parse(pool, args)?;
        let pattern = match kind {
            Kind::Prefix => Pattern::Prefix(pool.text(&pattern).to_bytes()),
            Kind::Match => {
                let text = pool.text(&pattern);
                Pattern::Match(Regex::compile(pool, text).ok_or_else(|| {
                    format!("takes a regular expression, which {} is not", quoted(&pattern))
                })?)
            }
        };
        Ok(Alias { pattern, target: pool.text(&target), options })
    }

    /// The script to load when its processes start: both its groups are the same for all requests, and so is its file.
    pub fn preload(&self) -> Option<Import<'p>> {
        let is_one_file = match self.pattern {
            Pattern::Prefix(_) => true,
            Pattern::Match(_) => !self.target.to_bytes().contains(&b'$'),
        };
        let name = |text: Option<&'p CStr>| Expression::parse(text?.to_bytes()).name();
        let process_group = name(self.options.process_group)?;
        let application_group = name(self.options.application_group)?;
        let path = self.target.to_bytes();
        is_one_file.then_some(Import { path, process_group, application_group, is_alias: true })
    }

    /// Whether every request that it takes for the file itself has the same SCRIPT_NAME.
    pub fn path(&self) -> Option<&'p [u8]> {
        match self.pattern {
            Pattern::Prefix(path) => Some(path),
            Pattern::Match(_) => None,
        }
    }
}

impl<'p> Options<'p> {
    fn parse(pool: Pool<'p>, rest: &[u8]) -> Result<Options<'p>, String> {
        const KNOWN: &str =
            "process-group, application-group, callable-object and pass-authorization";
        let mut options = Options::default();
        words::options(rest, KNOWN, |name, value| {
            match name {
                b"process-group" => options.process_group = Some(pool.text(value)),
                b"application-group" => options.application_group = Some(pool.text(value)),
                b"callable-object" => options.callable_object = Some(pool.text(value)),
                b"pass-authorization" => options.pass_authorization = Some(passes(value)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(options)
    }
}

/// The value of `pass-authorization=`.
///
/// # Errors
/// It is neither On nor Off.
pub fn passes(value: &[u8]) -> Result<bool, String> {
    super::directives::on_or_off(value).map_err(|expected| {
        format!("option pass-authorization takes {expected}, not {}", quoted(value))
    })
}

/// Where in `path` the part ends that `alias` matches; `None` if it does not.
///
/// A run of slashes in one matches a run in the other, and the match ends where a segment ends, unless the alias
/// itself ends with a slash.
pub fn prefix_end(alias: &[u8], path: &[u8]) -> Option<usize> {
    let slashes =
        |text: &[u8], from: usize| text[from..].iter().take_while(|&&b| b == b'/').count();
    let (mut a, mut p) = (0, 0);
    while a < alias.len() {
        if path.get(p) != Some(&alias[a]) {
            return None;
        }
        if alias[a] == b'/' {
            a += slashes(alias, a);
            p += slashes(path, p);
        } else {
            (a, p) = (a + 1, p + 1);
        }
    }
    let whole_segment = alias.ends_with(b"/") || path.get(p).is_none_or(|&next| next == b'/');
    whole_segment.then_some(p)
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn an_alias_takes_its_path_and_everything_below_it() {
        let end = |alias: &str, path: &str| prefix_end(alias.as_bytes(), path.as_bytes());
        assert_eq!(end("/file", "/file"), Some(5));
        assert_eq!(end("/file", "/file/"), Some(5));
        assert_eq!(end("/file", "/file/a/b"), Some(5));
        assert_eq!(end("/file", "/filex"), None);
        assert_eq!(end("/file", "/File"), None);
        assert_eq!(end("/file", "/fil"), None);
        assert_eq!(end("/", "/a"), Some(1));
    }

    #[test]
    fn an_alias_that_ends_with_a_slash_wants_it() {
        let end = |alias: &str, path: &str| prefix_end(alias.as_bytes(), path.as_bytes());
        assert_eq!(end("/first/", "/first"), None);
        assert_eq!(end("/first/", "/first/"), Some(7));
        assert_eq!(end("/first/", "/first/a"), Some(7));
    }

    #[test]
    fn runs_of_slashes_match_runs_of_slashes() {
        let end = |alias: &str, path: &str| prefix_end(alias.as_bytes(), path.as_bytes());
        assert_eq!(end("/file", "//file//a"), Some(6));
        assert_eq!(end("/sl//x", "/sl/x/1"), Some(5));
        assert_eq!(end("/sl/x", "/sl///x"), Some(7));
    }
}
