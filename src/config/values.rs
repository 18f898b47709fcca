//! What the values of directives mean: one function for each kind that is more than a flag or a text. Each says what it
//! expects instead of a value that cannot be; that is the error of all of them.

use super::directives::{Expected, Line, on_or_off, takes};
use super::hooks::{self, Handler, Hook};
use super::proxies::{Header, Network};
use super::words::{integer, quoted, real};
use super::written::{CALLABLE, MapHead, Telemetry};
use super::{Expression, daemon::Daemon};
use crate::httpd::process;

/// The name of a callable. Of the `%{...}` words only `%{ENV:...}` has a meaning here; the others mean the default.
///
/// # Errors
/// It is empty.
pub fn callable(value: &[u8]) -> Result<Expression<'_>, Expected> {
    match Expression::parse(value) {
        Expression::Literal(b"") => Err("the name of a global variable"),
        Expression::Literal(text) if text.starts_with(b"%") => Ok(Expression::Literal(CALLABLE)),
        variable_or_literal => Ok(variable_or_literal),
    }
}

/// `WSGIMapHEADToGET`
pub fn map_head(value: &[u8]) -> Result<MapHead, Expected> {
    match on_or_off(value) {
        Ok(true) => Ok(MapHead::On),
        Ok(false) => Ok(MapHead::Off),
        Err(_) if value.eq_ignore_ascii_case(b"auto") => Ok(MapHead::Auto),
        Err(_) => Err("On, Off or Auto"),
    }
}

/// A directory that is named from the root.
pub fn directory(value: &[u8]) -> Result<&[u8], Expected> {
    if value.starts_with(b"/") { Ok(value) } else { Err("an absolute path") }
}

/// `WSGIPythonHashSeed`; nothing for a random one.
pub fn hash_seed(value: &[u8]) -> Result<Option<u32>, Expected> {
    if value.is_empty() || value == b"random" {
        return Ok(None);
    }
    let is_number = value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_number);
    let seed = text.and_then(|text| text.parse().ok());
    seed.map(Some).ok_or("random or a number from 0 to 4294967295")
}

/// `WSGISwitchInterval`
pub fn switch_interval(value: &[u8]) -> Result<f64, Expected> {
    real(value).filter(|seconds| *seconds > 0.0).ok_or("a number of seconds above 0")
}

/// `WSGISlowRequests`; nothing for none.
pub fn slow_requests(value: &[u8]) -> Result<Option<f64>, Expected> {
    match real(value).unwrap_or(0.0) {
        seconds if seconds < 0.0 => Err("a number of seconds, 0 or more"),
        seconds => Ok(Some(seconds).filter(|seconds| *seconds > 0.0)),
    }
}

/// How processes take turns; those that every Linux has.
const MUTEXES: &[&str] = &["default", "flock", "fcntl", "sysvsem", "posixsem", "pthread"];

/// `WSGIAcceptMutex`
pub fn accept_mutex(value: &[u8]) -> Result<&'static str, Expected> {
    let known = MUTEXES.iter().find(|name| name.as_bytes().eq_ignore_ascii_case(value));
    known.copied().ok_or("default, flock, fcntl, sysvsem, posixsem or pthread")
}

/// `WSGIHandlerScript`
pub fn handler_script(line: &mut Line<'_, '_>) -> Result<(), String> {
    let handler = Handler::parse(line.pool, line.text)?;
    let is_elsewhere =
        handler.process_group.and_then(Expression::name).is_some_and(|name| !name.is_empty());
    line.with_plan(|plan| {
        // Without a group of its own it has one for each file that it handles, which nobody can count.
        let group = handler.application_group.unwrap_or(Expression::Env(b""));
        plan.groups.extend((!is_elsewhere).then_some(group));
        plan.handlers.push((handler.process_group, group));
    });
    line.scope.handlers = line.pool.list(&Handler::union(&[handler], line.scope.handlers));
    Ok(())
}

/// A script that is asked about requests, and that Python must run for in every child.
pub fn hook<'p>(line: &mut Line<'_, 'p>) -> Result<Option<Hook<'p>>, String> {
    let hook = Hook::parse(line.pool, line.text)?;
    line.with_plan(|plan| {
        plan.has_hooks = true;
        plan.groups.push(hook.application_group);
    });
    Ok(Some(hook))
}

/// `WSGIImportScript`
pub fn import_script(line: &mut Line<'_, '_>) -> Result<(), String> {
    let import = hooks::parse_import(line.pool, line.text)?;
    let server = line.server;
    line.with_plan(|plan| {
        if import.process_group.is_empty() {
            plan.groups.push(Expression::Literal(import.application_group));
        }
        plan.import(import, server)
    })
    .unwrap_or(Ok(()))
}

/// `WSGIDaemonProcess`
pub fn daemon_process(line: &mut Line<'_, '_>) -> Result<(), String> {
    let host = line.is_virtual.then_some(line.server);
    let daemon = Daemon::parse(line.pool, host, line.text, |text| line.warnings.push(text))?;
    line.with_plan(|plan| match plan.daemon(daemon.name) {
        Some(_) => Err(format!(
            "name duplicates a previous one: {}; every group has a name of its own",
            quoted(daemon.name)
        )),
        None => {
            plan.daemons.push(daemon);
            Ok(())
        }
    })
    .unwrap_or(Ok(()))
}

/// `WSGIRestrictProcess`
pub fn restrict_process(line: &mut Line<'_, '_>) -> Result<(), String> {
    let pool = line.pool;
    let names: Vec<&[u8]> = line
        .words("")
        .unwrap_or_default()
        .into_iter()
        .map(|name| match name.as_slice() {
            b"%{GLOBAL}" => &[][..],
            name => pool.text(name).to_bytes(),
        })
        .collect();
    line.scope.written.restrict_process = Some(Some(pool.list(&names)));
    Ok(())
}

/// `WSGITrustedProxyHeaders`
pub fn trusted_proxy_headers(line: &mut Line<'_, '_>) -> Result<(), String> {
    let mut headers = line.scope.written.proxy_headers.unwrap_or_default().to_vec();
    for name in line.words("one or more names of headers")? {
        headers.extend(Header::named(&name).map_err(|expected| takes(expected, &name))?);
    }
    line.scope.written.proxy_headers = Some(line.pool.list(&headers));
    Ok(())
}

/// `WSGITrustedProxies`
pub fn trusted_proxies(line: &mut Line<'_, '_>) -> Result<(), String> {
    const EXPECTED: &str = "IPv4 or IPv6 addresses or networks (10.0.0.0/8)";
    let mut networks = line.scope.written.proxies.flatten().unwrap_or_default().to_vec();
    for word in line.words(EXPECTED)? {
        let network = std::str::from_utf8(&word).ok().and_then(Network::parse);
        networks.push(network.ok_or_else(|| takes(EXPECTED, &word))?);
    }
    line.scope.written.proxies = Some(Some(line.pool.list(&networks)));
    Ok(())
}

/// `WSGIPythonOptimize`, which takes anything.
pub fn python_optimize(value: &[u8]) -> u32 {
    u32::try_from(integer(value).clamp(0, i64::from(i32::MAX))).unwrap_or(0)
}

/// `WSGISocketPrefix`
pub fn socket_prefix(line: &mut Line<'_, '_>) -> Result<(), String> {
    const EXPECTED: &str = "the beginning of a path";
    let path = process::below_server_root(line.pool, line.text);
    let path = path.filter(|_| !line.text.is_empty());
    let path = path.ok_or_else(|| takes(EXPECTED, line.text))?;
    if let Some(process) = &mut line.process {
        process.socket_prefix = Some(path);
    }
    Ok(())
}

/// A flag that is read and has no effect.
pub fn ignored_flag(line: &mut Line<'_, '_>) -> Result<(), String> {
    on_or_off(line.text).map(drop).map_err(|expected| takes(expected, line.text))
}

/// `WSGITelemetryService`
pub fn telemetry_service(line: &mut Line<'_, '_>) -> Result<(), String> {
    const EXPECTED: &str = "unix:/path and perhaps interval=seconds, 0.5 or more";
    let words = line.words(EXPECTED)?;
    let path = words[0].strip_prefix(b"unix:").filter(|path| path.starts_with(b"/"));
    let path = path.ok_or_else(|| takes(EXPECTED, &words[0]))?;
    let mut interval = 1.0;
    for word in &words[1..] {
        let seconds = word.strip_prefix(b"interval=").and_then(real);
        let seconds = seconds.filter(|seconds| *seconds >= 0.5 && words.len() == 2);
        interval = seconds.ok_or_else(|| takes(EXPECTED, word))?;
    }
    let path = line.pool.text(path).to_bytes();
    if let Some(process) = &mut line.process {
        process.telemetry = Some(Telemetry { path, interval });
    }
    Ok(())
}

/// `WSGITelemetryOptions`
pub fn telemetry_options(line: &mut Line<'_, '_>) -> Result<(), String> {
    const EXPECTED: &str =
        "None, All or CaptureUserAgent, or all with + or - in front of CaptureUserAgent";
    let words = line.words(EXPECTED)?;
    let is_signed = |word: &Vec<u8>| matches!(word.first(), Some(b'+' | b'-'));
    if words.iter().any(is_signed) && !words.iter().all(is_signed) {
        return Err(takes(EXPECTED, line.text));
    }
    let Some(process) = &mut line.process else { return Ok(()) };
    for word in &words {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        process.capture_user_agent = match word {
            _ if is("CaptureUserAgent") || is("+CaptureUserAgent") || is("All") => true,
            _ if is("-CaptureUserAgent") || is("None") => false,
            _ => return Err(takes(EXPECTED, word)),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_on_and_off_in_any_case_and_nothing_else() {
        assert_eq!(on_or_off(b"oN"), Ok(true));
        assert_eq!(on_or_off(b"OFF"), Ok(false));
        for wrong in [&b"1"[..], b"yes", b"", b"on "] {
            assert_eq!(on_or_off(wrong), Err("On or Off"));
        }
        assert_eq!(map_head(b"auto"), Ok(MapHead::Auto));
        assert_eq!(map_head(b"maybe"), Err("On, Off or Auto"));
    }

    #[test]
    fn a_hash_seed_is_random_or_a_number_of_32_bits() {
        assert_eq!(hash_seed(b"random"), Ok(None));
        assert_eq!(hash_seed(b"4294967295"), Ok(Some(u32::MAX)));
        for wrong in [&b"4294967296"[..], b"-1", b"+1", b"Random", b"1 "] {
            assert!(hash_seed(wrong).is_err());
        }
    }

    #[test]
    fn intervals_are_numbers_above_nothing() {
        assert_eq!(switch_interval(b"0.005"), Ok(0.005));
        for wrong in [&b"0"[..], b"-1", b"1s", b"", b"inf", b"nan"] {
            assert!(switch_interval(wrong).is_err());
        }
        assert_eq!(slow_requests(b"2.5"), Ok(Some(2.5)));
        assert_eq!(slow_requests(b"0"), Ok(None));
        assert_eq!(slow_requests(b"text"), Ok(None));
        assert!(slow_requests(b"-1").is_err());
    }

    #[test]
    fn mutexes_and_levels_are_read_leniently() {
        assert_eq!(accept_mutex(b"PosixSem"), Ok("posixsem"));
        assert!(accept_mutex(b"spin").unwrap_err().contains("sysvsem"));
        assert_eq!(python_optimize(b"2"), 2);
        assert_eq!(python_optimize(b"-1"), 0);
        assert_eq!(python_optimize(b"text"), 0);
    }

    #[test]
    fn a_callable_is_a_name_or_a_variable() {
        assert_eq!(callable(b"app"), Ok(Expression::Literal(b"app")));
        assert_eq!(callable(b"%{ENV:x}"), Ok(Expression::Env(b"x")));
        assert_eq!(callable(b"%{GLOBAL}"), Ok(Expression::Global));
        assert_eq!(callable(b"%other"), Ok(Expression::Literal(CALLABLE)));
        assert!(callable(b"").is_err());
    }
}
