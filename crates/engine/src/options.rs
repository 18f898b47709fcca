//! What the configuration says of one interpreter: the directives at top level, and above them the
//! `<WSGIInterpreterOptions>` that are for it, the more specific ones and the later ones winning.

use crate::host::note;
use crate::interpreter::Interpreter;
use crate::settings;
use exchange::{Code, InterpreterOptions, Level, Settings};

/// What the configuration says of one interpreter.
#[derive(Debug, PartialEq)]
pub struct Options {
    /// It gets a lock of its own, if it is a sub-interpreter.
    pub own_gil: bool,
    /// What `sys.setswitchinterval` is to be called with, in seconds.
    pub switch_interval: Option<f64>,
    /// What is added to `sys.path`, the first at the back.
    pub python_path: Vec<&'static [Vec<u8>]>,
    /// Reading `sys.stdin` is an error.
    pub restrict_stdin: bool,
    /// Writing to `sys.stdout` is an error.
    pub restrict_stdout: bool,
    /// `signal.signal` installs nothing.
    pub restrict_signal: bool,
}

impl Options {
    /// For an interpreter that is being furnished. What cannot be had is said in the log.
    pub fn of(interpreter: &Interpreter) -> Options {
        let (options, skipped) = resolve(settings(), &interpreter.name, interpreter.is_main());
        if let Some(code) = skipped {
            note(Level::Warning, &format!("{code}: {}: {}.", code.text(), interpreter.describe()));
        }
        options
    }
}

/// Whether the sub-interpreter of an application group gets a lock of its own. What cannot be had is said in the log.
pub fn own_gil(name: &[u8]) -> bool {
    let wanted = resolve(settings(), name, false).0.own_gil;
    let refused = match (wanted, cfg!(Py_GIL_DISABLED), cfg!(Py_3_12)) {
        (true, true, _) if settings().free_threading => Code::OwnGilSkipped,
        (true, _, false) => Code::OwnGilUnsupported,
        _ => return wanted,
    };
    let shown = String::from_utf8_lossy(name);
    note(Level::Warning, &format!("{refused}: {}: sub-interpreter '{shown}'.", refused.text()));
    false
}

fn resolve(settings: &'static Settings, name: &[u8], main: bool) -> (Options, Option<Code>) {
    let is_for = |options: &&InterpreterOptions| {
        options.application_group.as_deref().is_none_or(|group| group == name)
    };
    let all: Vec<&InterpreterOptions> = settings.options.iter().filter(is_for).collect();
    fn last<T>(
        all: &[&InterpreterOptions],
        of: impl Fn(&InterpreterOptions) -> Option<T>,
    ) -> Option<T> {
        all.iter().rev().find_map(|options| of(options))
    }
    let own_gil = !main && last(&all, |options| options.own_gil).unwrap_or(settings.own_gil);
    let interval = last(&all, |options| {
        options.switch_interval.map(|interval| (interval, options.application_group.is_some()))
    });
    let free = cfg!(Py_GIL_DISABLED) && settings.free_threading;
    let (switch_interval, skipped) = match interval.or(settings.switch_interval.map(|i| (i, false)))
    {
        Some((_, true)) if free => (None, Some(Code::SwitchIntervalUselessHere)),
        // Said once for the process.
        Some(_) if free => (None, main.then_some(Code::SwitchIntervalUseless)),
        // With one lock for all, what is meant for one interpreter would change the others.
        Some((_, true)) if !own_gil => (None, Some(Code::SwitchIntervalSkipped)),
        interval => (interval.map(|(interval, _)| interval), None),
    };
    let paths = all.iter().map(|options| options.python_path.as_slice());
    let options = Options {
        own_gil,
        switch_interval,
        python_path: [settings.python_path.as_slice()].into_iter().chain(paths).collect(),
        restrict_stdin: last(&all, |o| o.restrict_stdin).unwrap_or(settings.restrict_stdin),
        restrict_stdout: last(&all, |o| o.restrict_stdout).unwrap_or(settings.restrict_stdout),
        restrict_signal: last(&all, |o| o.restrict_signal).unwrap_or(settings.restrict_signal),
    };
    (options, skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: Vec<InterpreterOptions>) -> &'static Settings {
        let base = Settings {
            restrict_signal: true,
            python_path: vec![b"/base".to_vec()],
            options,
            ..Settings::default()
        };
        Box::leak(Box::new(base))
    }

    fn for_all() -> InterpreterOptions {
        InterpreterOptions {
            own_gil: Some(true),
            restrict_signal: Some(false),
            restrict_stdin: Some(true),
            python_path: vec![b"/all".to_vec()],
            ..Default::default()
        }
    }

    fn for_a() -> InterpreterOptions {
        InterpreterOptions {
            application_group: Some(b"a".to_vec()),
            restrict_signal: Some(true),
            switch_interval: Some(0.5),
            python_path: vec![b"/a".to_vec()],
            ..Default::default()
        }
    }

    #[test]
    fn the_more_specific_options_win_and_each_thing_by_itself() {
        let settings = settings(vec![for_all(), for_a()]);
        let (a, skipped) = resolve(settings, b"a", false);
        assert_eq!(skipped, None);
        assert!(a.own_gil && a.restrict_signal && a.restrict_stdin && !a.restrict_stdout);
        assert_eq!(a.switch_interval, Some(0.5));
        let paths: Vec<_> = a.python_path.concat();
        assert_eq!(paths, [b"/base".to_vec(), b"/all".to_vec(), b"/a".to_vec()]);
        let (b, _) = resolve(settings, b"b", false);
        assert!(!b.restrict_signal);
        assert_eq!(b.switch_interval, None);
    }

    #[test]
    fn the_main_interpreter_has_no_lock_of_its_own_and_one_interval_needs_one() {
        let (main, _) = resolve(settings(vec![for_all()]), b"", true);
        assert!(!main.own_gil);
        let (a, skipped) = resolve(settings(vec![for_a()]), b"a", false);
        assert_eq!(a.switch_interval, None);
        assert_eq!(skipped, Some(Code::SwitchIntervalSkipped));
    }
}
