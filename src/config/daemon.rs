//! `WSGIDaemonProcess`: a group of processes beside httpd, as it is written. Its options are declared once, in
//! [`OPTIONS`]; a number is read as C's `atoi` reads it, and then held against its limits.

use super::directives::on_or_off;
use super::groups::Sole;
use super::words::{self, integer, quoted, real};
use crate::httpd::{Pool, ServerRec, process};
use crate::python::Examined;
use nix::unistd::{Gid, Group, Uid, User};
use std::sync::OnceLock;

/// A group of processes.
pub struct Daemon<'p> {
    /// Its name.
    pub name: &'p [u8],
    /// The virtual host it stands in; `None` if it serves all of them.
    pub host: Option<ServerRec<'p>>,
    /// What is said of it.
    pub options: Options<'p>,
    /// The only application group that its processes will serve, as far as the configuration tells.
    pub sole: OnceLock<Option<Sole>>,
    /// Its Python, with the result of the examination if there was one in time.
    pub python: OnceLock<Examined>,
}

/// What is said of a group; a name stands once, but for `env`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options<'p>(Vec<(&'static str, Value<'p>)>);

impl<'p> Options<'p> {
    fn get(&self, name: &str) -> Option<Value<'p>> {
        debug_assert!(OPTIONS.iter().any(|(known, ..)| *known == name), "{name} is no option");
        self.0.iter().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }

    /// Whether an option is given.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A number that was given.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A number, or what holds without it. None is above the limit of the option, which fits.
    pub fn number_or<N: TryFrom<i64>>(&self, name: &str, otherwise: N) -> N {
        self.number(name).and_then(|number| N::try_from(number).ok()).unwrap_or(otherwise)
    }

    /// A number with a fraction.
    pub fn real(&self, name: &str) -> Option<f64> {
        match self.get(name)? {
            Value::Real(number) => Some(number),
            _ => None,
        }
    }

    /// A flag that is Off unless it is given.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some(Value::Flag(true))
    }

    /// A user or a group.
    pub fn identity(&self, name: &str) -> Option<u32> {
        match self.get(name)? {
            Value::Identity(number) => Some(number),
            _ => None,
        }
    }

    /// Text.
    pub fn text(&self, name: &str) -> Option<&'p [u8]> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What each `env` says, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &'p [u8]> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Text(text) if *name == REPEATED => Some(*text),
            _ => None,
        })
    }
}

/// The value of an option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'p> {
    /// A number, also of seconds, bytes, or the bits of a mask.
    Number(i64),
    /// A number with a fraction.
    Real(f64),
    /// On or Off.
    Flag(bool),
    /// The identifier of a user or a group.
    Identity(u32),
    /// Anything else.
    Text(&'p [u8]),
}

/// What an option takes.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A number between two others.
    Number(i64, i64),
    /// A number of bytes: 0 for the default, or this many and more.
    Size(i64),
    /// A number above 0, with or without a fraction.
    Interval,
    /// Octal digits.
    Octal,
    /// On or Off.
    Flag,
    /// The name of a user, or # and its number; not root.
    User,
    /// As [`User`](Takes::User), root as well.
    AnyUser,
    /// The name of a group, or # and its number.
    Group,
    /// Groups, with commas between them.
    Groups,
    /// A path from the root.
    Path,
    /// As [`Path`](Takes::Path), if httpd was started by root.
    Jail,
    /// As [`Path`](Takes::Path): a file of variables, which is read with the rights of the group's user.
    Variables,
    /// A variable, as NAME=VALUE.
    Variable,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text.
    Text,
}

/// Any number from 0.
const COUNT: Takes = Takes::Number(0, i32::MAX as i64);
/// Any number of bytes from 0.
const BYTES: Takes = Takes::Number(0, i64::MAX);

/// The option that may stand several times.
const REPEATED: &str = "env";

/// The options, what they take, and what holds without them.
pub const OPTIONS: &[(&str, Takes, &str)] = &[
    ("processes", Takes::Number(1, i32::MAX as i64), "1"),
    ("threads", Takes::Number(0, 65533), "15"),
    ("user", Takes::User, "User"),
    ("group", Takes::Group, "Group"),
    ("supplementary-groups", Takes::Groups, "those of the user"),
    ("umask", Takes::Octal, "inherited"),
    ("home", Takes::Path, "the user's, if that is not User"),
    ("chroot", Takes::Jail, ""),
    ("display-name", Takes::Text, ""),
    ("script-user", Takes::AnyUser, ""),
    ("script-group", Takes::Group, ""),
    ("socket-user", Takes::AnyUser, "User"),
    ("python", Takes::Path, "that of python-home"),
    ("python-home", Takes::Text, "WSGIPythonHome"),
    ("python-path", Takes::Text, ""),
    ("python-eggs", Takes::Text, ""),
    ("environment-file", Takes::Variables, ""),
    (REPEATED, Takes::Variable, ""),
    ("lang", Takes::Text, "inherited"),
    ("locale", Takes::Text, "inherited"),
    ("switch-interval", Takes::Interval, "Python's own"),
    ("stack-size", Takes::Number(1, i64::MAX), "the system's"),
    ("server-metrics", Takes::Flag, "Off"),
    ("listen-backlog", COUNT, "100"),
    ("connect-timeout", COUNT, "15"),
    ("socket-timeout", COUNT, "0: Timeout"),
    ("queue-timeout", COUNT, "0: off"),
    ("response-socket-timeout", COUNT, "0: socket-timeout"),
    ("response-flush-delay", COUNT, "5 (ms)"),
    ("response-buffer-size", Takes::Size(65536), "0: 8 MiB"),
    ("response-memory", BYTES, "1048576"),
    ("header-buffer-size", Takes::Size(8192), "0: no limit"),
    ("request-body", Takes::Word(&["gather", "stream"]), "gather"),
    ("request-body-memory", BYTES, "1048576"),
    ("spool-limit", BYTES, "268435456"),
    ("spool-directory", Takes::Path, "TMPDIR, or /tmp"),
    ("send-buffer-size", Takes::Size(512), "0: the system's"),
    ("receive-buffer-size", Takes::Size(512), "0: the system's"),
    ("maximum-requests", COUNT, "0: off"),
    ("restart-interval", COUNT, "0: off"),
    ("inactivity-timeout", COUNT, "0: off"),
    ("deadlock-timeout", COUNT, "300"),
    ("request-timeout", COUNT, "0: off"),
    ("interrupt-timeout", COUNT, "0: off"),
    ("startup-timeout", COUNT, "60 before a process is ready; off for its first request"),
    ("graceful-timeout", COUNT, "15"),
    ("eviction-timeout", COUNT, "0: graceful-timeout"),
    ("shutdown-timeout", COUNT, "5"),
    ("cpu-time-limit", COUNT, "0: off"),
    ("cpu-priority", Takes::Number(-20, 20), "0"),
    ("memory-limit", BYTES, "0: off"),
    ("virtual-memory-limit", BYTES, "0: off"),
];

/// Options of mod_wsgi 2 to 5 that are gone, and what took their place.
const GONE: &[(&str, &str)] = &[
    ("accept-mutex", ""),
    ("blocked-timeout", "request-timeout"),
    ("proxy-buffer-size", "response-buffer-size"),
    ("newrelic-config-file", ""),
    ("newrelic-environment", ""),
];

impl<'p> Daemon<'p> {
    /// Reads the arguments of the directive; `warn` is told of options that are gone.
    ///
    /// # Errors
    /// What is wrong, and what is expected, without the name of the directive.
    pub fn parse(
        pool: Pool<'p>,
        host: Option<ServerRec<'p>>,
        args: &[u8],
        warn: impl FnMut(String),
    ) -> Result<Daemon<'p>, String> {
        let mut rest = args;
        let name = words::next(&mut rest).filter(|name| !name.is_empty());
        let name = name.ok_or("takes the name of the group, and then options")?;
        let name = pool.text(&name).to_bytes();
        let options = parse_options(rest, |text| pool.text(text).to_bytes(), warn)?;
        let (sole, python) = Default::default();
        Ok(Daemon { name, host, options, sole, python })
    }

    /// Whether the requests of a server may go to it.
    pub fn serves(&self, server: ServerRec<'_>) -> bool {
        self.host.is_none_or(|host| {
            host.raw() == server.raw() || (host.name().is_some() && host.name() == server.name())
        })
    }
}

fn parse_options<'p>(
    rest: &[u8],
    keep: impl Fn(&[u8]) -> &'p [u8],
    mut warn: impl FnMut(String),
) -> Result<Options<'p>, String> {
    let known: Vec<&str> = OPTIONS.iter().map(|(name, ..)| *name).collect();
    let mut options: Vec<(&'static str, Value<'p>)> = Vec::new();
    words::options(rest, &known.join(", "), |name, value| {
        if let Some((gone, instead)) = GONE.iter().find(|(gone, _)| gone.as_bytes() == name) {
            warn(gone_option(gone, instead));
            return Ok(true);
        }
        let Some((name, takes, _)) = OPTIONS.iter().find(|(known, ..)| known.as_bytes() == name)
        else {
            return Ok(false);
        };
        let value = read(*takes, value, &keep)
            .map_err(|expected| format!("option {name} takes {expected}, not {}", quoted(value)))?;
        options.retain(|(before, _)| before != name || *name == REPEATED);
        options.push((name, value));
        Ok(true)
    })?;
    let has = |name: &str| options.iter().any(|(given, _)| *given == name);
    if has("script-user") && has("script-group") {
        return Err("takes one of script-user and script-group, not both".to_owned());
    }
    Ok(Options(options))
}

fn gone_option(name: &str, instead: &str) -> String {
    match instead {
        "" => format!("option {name} is of an older mod_wsgi and has no effect"),
        _ => format!("option {name} is of an older mod_wsgi and has no effect; see {instead}"),
    }
}

fn read<'p>(
    takes: Takes,
    value: &[u8],
    keep: &impl Fn(&[u8]) -> &'p [u8],
) -> Result<Value<'p>, String> {
    let number = integer(value);
    let text = || Ok(Value::Text(keep(value)));
    match takes {
        Takes::Number(least, most) if (least..=most).contains(&number) => Ok(Value::Number(number)),
        Takes::Number(least, most) => Err(format!("a number from {least} to {most}")),
        Takes::Size(least) if number == 0 || number >= least => Ok(Value::Number(number)),
        Takes::Size(least) => Err(format!("0, or a number of bytes from {least}")),
        Takes::Interval => real(value)
            .filter(|seconds| *seconds > 0.0)
            .map(Value::Real)
            .ok_or_else(|| "a number of seconds above 0".to_owned()),
        Takes::Octal => {
            let text = std::str::from_utf8(value).ok();
            let mask = text.and_then(|text| i64::from_str_radix(text, 8).ok());
            let mask = mask.filter(|mask| (0..=0o777).contains(mask));
            mask.map(Value::Number).ok_or_else(|| "an octal number up to 777".to_owned())
        }
        Takes::Flag => Ok(Value::Flag(on_or_off(value)?)),
        Takes::User => match user(value)? {
            0 => Err("a user other than root: processes are blocked from running as root".into()),
            user => Ok(Value::Identity(user)),
        },
        Takes::AnyUser => user(value).map(Value::Identity),
        Takes::Group => group(value).map(Value::Identity),
        Takes::Groups => {
            value.split(|&byte| byte == b',').try_for_each(|name| group(name).map(drop))?;
            text()
        }
        Takes::Path | Takes::Jail | Takes::Variables if !value.starts_with(b"/") => {
            Err("an absolute path".to_owned())
        }
        Takes::Jail if !process::is_superuser() => {
            Err("a path only when httpd is started by root; chroot cannot be used when not root"
                .into())
        }
        Takes::Word(words) if !words.iter().any(|word| word.as_bytes() == value) => {
            Err(words.join(" or "))
        }
        Takes::Variable => match wire::variables::split(value) {
            Some(_) => text(),
            None => Err("a variable as NAME=VALUE".to_owned()),
        },
        Takes::Path | Takes::Jail | Takes::Variables | Takes::Text | Takes::Word(_) => text(),
    }
}

fn user(name: &[u8]) -> Result<u32, String> {
    let wrong = || "the name of a user, or # and the number of one".to_owned();
    let text = std::str::from_utf8(name).map_err(|_| wrong())?;
    let found = match text.strip_prefix('#') {
        Some(number) => User::from_uid(Uid::from_raw(number.parse().map_err(|_| wrong())?)),
        None => User::from_name(text),
    };
    found.ok().flatten().map(|user| user.uid.as_raw()).ok_or_else(wrong)
}

fn group(name: &[u8]) -> Result<u32, String> {
    let wrong = || "the name of a group, or # and the number of one".to_owned();
    let text = std::str::from_utf8(name).map_err(|_| wrong())?;
    if let Some(number) = text.strip_prefix('#') {
        return number.parse().map(Gid::from_raw).map(Gid::as_raw).map_err(|_| wrong());
    }
    Group::from_name(text).ok().flatten().map(|group| group.gid.as_raw()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<Vec<(&'static str, Value<'static>)>, String> {
        let keep = |text: &[u8]| &*Box::leak(text.to_vec().into_boxed_slice());
        Ok(parse_options(text.as_bytes(), keep, |_| {})?.0)
    }

    #[test]
    fn numbers_are_read_leniently_and_held_against_their_limits() {
        assert_eq!(options("threads=abc"), Ok(vec![("threads", Value::Number(0))]));
        assert_eq!(options("queue-timeout=45s"), Ok(vec![("queue-timeout", Value::Number(45))]));
        let of = |text: &str| options(text).unwrap_err();
        assert!(of("processes=0").contains("processes takes a number from 1"));
        assert!(of("threads=65534").contains("'65534'"));
        assert!(of("header-buffer-size=100").contains("8192"));
        assert!(of("switch-interval=0").contains("above 0"));
        assert!(of("umask=9").contains("octal"));
        assert!(of("server-metrics=1").contains("On or Off"));
    }

    #[test]
    fn a_later_option_beats_an_earlier_one() {
        let all = options("threads=5 home='/a b' threads=7").unwrap();
        assert_eq!(all, [("home", Value::Text(b"/a b")), ("threads", Value::Number(7))]);
    }

    #[test]
    fn users_and_groups_must_be_known_and_no_process_runs_as_root() {
        assert!(options("user=root").unwrap_err().contains("blocked from running as root"));
        assert!(options("user=nobody-of-this-name").unwrap_err().contains("name of a user"));
        assert!(options("group=nobody-of-this-name").unwrap_err().contains("name of a group"));
        assert_eq!(options("group=#0"), Ok(vec![("group", Value::Identity(0))]));
        assert_eq!(options("script-user=root"), Ok(vec![("script-user", Value::Identity(0))]));
        assert!(options("script-user=root script-group=#0").unwrap_err().contains("not both"));
    }

    #[test]
    fn what_is_no_option_is_refused_by_name() {
        for wrong in ["colour=red", "Threads=5", "nonsense", "threads=", "home=relative"] {
            let said = options(wrong).unwrap_err();
            let name = wrong.split('=').next().unwrap();
            assert!(said.contains(name), "{wrong}: {said}");
        }
    }

    #[test]
    fn variables_may_stand_several_times_and_the_words_of_an_option_are_known() {
        let all = Options(options("env=A=1 env='B=2 =3' env=A=").unwrap());
        let variables: Vec<_> = all.variables().collect();
        assert_eq!(variables, [&b"A=1"[..], b"B=2 =3", b"A="]);
        assert!(options("env=A").unwrap_err().contains("NAME=VALUE"));
        assert!(options("request-body=sometimes").unwrap_err().contains("gather or stream"));
        assert!(options("environment-file=nowhere").unwrap_err().contains("absolute"));
    }

    #[test]
    fn an_option_that_is_gone_is_said_once_and_passed_over() {
        let mut said = Vec::new();
        let read = parse_options(b"blocked-timeout=60", |_| b"", |text| said.push(text));
        assert_eq!(read, Ok(Options::default()));
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("blocked-timeout") && said[0].contains("request-timeout"));
    }

    #[test]
    fn every_option_is_declared_once() {
        for (at, (name, ..)) in OPTIONS.iter().enumerate() {
            assert!(OPTIONS[..at].iter().all(|(other, ..)| other != name), "{name}");
        }
        assert_eq!(OPTIONS.len(), 44 + 8);
    }
}
