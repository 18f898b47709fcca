//! What the configuration says of processes and of what runs in them from their start, in the order in which it is
//! written, whatever server it stands in. One for each reading of the configuration, in httpd's configuration pool.

use super::Expression;
use super::daemon::Daemon;
use super::words::quoted;
use crate::httpd::ServerRec;
use exchange::{InterpreterOptions, Preload};
use std::path::{Component, Path, PathBuf};

/// Everything that concerns processes and not requests.
#[derive(Default)]
pub struct Plan<'p> {
    /// `WSGIDaemonProcess`
    pub daemons: Vec<Daemon<'p>>,
    /// `WSGIImportScript`, and aliases that fix both their groups.
    pub imports: Vec<Import<'p>>,
    /// `<WSGIInterpreterOptions>`
    pub sections: Vec<Section<'p>>,
    /// A script of a hook (access, passwords, groups, dispatch) is named outside `.htaccess` files.
    pub has_hooks: bool,
    /// The application groups of those scripts, and of handler scripts.
    pub groups: Vec<Expression<'p>>,
    /// What sections of directories say with `WSGIProcessGroup`.
    pub directory_groups: Vec<Expression<'p>>,
    /// The callables that `WSGICallableObject` and aliases name outside `.htaccess` files.
    pub callables: Vec<&'p [u8]>,
    /// The process group, if one is said, and the application group of each handler script.
    pub handlers: Vec<(Option<Expression<'p>>, Expression<'p>)>,
}

/// A script to load when a process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Import<'p> {
    /// Its file.
    pub path: &'p [u8],
    /// The processes it is loaded in; empty for the children of httpd.
    pub process_group: &'p [u8],
    /// The interpreter it is loaded in; empty for the main one.
    pub application_group: &'p [u8],
    /// It is the target of an alias.
    pub is_alias: bool,
}

/// What is said of interpreters: at top level, or in one `<WSGIInterpreterOptions>`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Section<'p> {
    /// The process group it is for; empty for the children of httpd, `None` for all.
    pub process_group: Option<&'p [u8]>,
    /// The application group it is for; empty for the main interpreter, `None` for all.
    pub application_group: Option<&'p [u8]>,
    /// `WSGIPythonPath`
    pub python_path: Option<&'p [u8]>,
    /// `WSGIRestrictStdin`
    pub restrict_stdin: Option<bool>,
    /// `WSGIRestrictStdout`
    pub restrict_stdout: Option<bool>,
    /// `WSGIRestrictSignal`
    pub restrict_signal: Option<bool>,
    /// `WSGIPerInterpreterGIL`
    pub own_gil: Option<bool>,
    /// `WSGIFreeThreading`
    pub free_threading: Option<bool>,
    /// `WSGISwitchInterval`
    pub switch_interval: Option<f64>,
}

impl<'p> Plan<'p> {
    /// The group of daemon processes of this name.
    pub fn daemon(&self, name: &[u8]) -> Option<&Daemon<'p>> {
        self.daemons.iter().find(|daemon| daemon.name == name)
    }

    /// Adds a script to be loaded in processes that are known by now.
    ///
    /// # Errors
    /// They are not, or `server` has no part in them.
    pub fn import(&mut self, import: Import<'p>, server: ServerRec<'p>) -> Result<(), String> {
        if !import.process_group.is_empty() {
            let name = quoted(import.process_group);
            let Some(daemon) = self.daemon(import.process_group) else {
                return Err(format!(
                    "process-group={name} names a WSGI process group that is not yet configured; %{{GLOBAL}} is \
                     expected, or the name of a WSGIDaemonProcess that stands before"
                ));
            };
            if !daemon.serves(server) {
                return Err(format!(
                    "process-group={name} names a WSGI process group that is not accessible here: it stands in a \
                     virtual host with another ServerName. A group outside all virtual hosts is expected, or one of \
                     this host"
                ));
            }
        }
        self.imports.push(import);
        Ok(())
    }

    /// The scripts that processes of this name (empty: children of httpd) load when they start. `is_main` says which
    /// groups run in the main interpreter.
    pub fn preload(&self, process_group: &[u8], is_main: impl Fn(&[u8]) -> bool) -> Vec<Preload> {
        let ours = self.imports.iter().filter(|import| import.process_group == process_group);
        let mut scripts = Vec::new();
        for import in ours {
            let script = Preload {
                path: if import.is_alias { canonical(import.path) } else { import.path.to_vec() },
                application_group: import.application_group.to_vec(),
                main: import.application_group.is_empty() || is_main(import.application_group),
            };
            if !scripts.contains(&script) {
                scripts.push(script);
            }
        }
        scripts
    }

    /// Whether a child of httpd loads a script when it starts because it was told to.
    pub fn has_imports(&self) -> bool {
        self.imports.iter().any(|import| !import.is_alias && import.process_group.is_empty())
    }

    /// The sections for processes of this name, the less specific before the more specific ones.
    fn sections_for(&self, process_group: &[u8]) -> Vec<&Section<'p>> {
        let mut ours: Vec<&Section<'p>> = self
            .sections
            .iter()
            .filter(|section| section.process_group.is_none_or(|name| name == process_group))
            .collect();
        ours.sort_by_key(|section| section.specificity());
        ours
    }

    /// What the sections say of the interpreters of a process, the less specific first, later ones winning.
    pub fn interpreter_options(&self, process_group: &[u8]) -> Vec<InterpreterOptions> {
        self.sections_for(process_group).into_iter().map(Section::options).collect()
    }

    /// Whether a process runs a free-threaded Python without its lock, as far as the sections say it. It is the same for
    /// all interpreters of a process.
    pub fn free_threading(&self, process_group: &[u8]) -> Option<bool> {
        let ours = self.sections_for(process_group).into_iter();
        let whole = ours.filter(|section| section.application_group.is_none());
        whole.filter_map(|section| section.free_threading).next_back()
    }
}

impl Section<'_> {
    fn specificity(&self) -> usize {
        usize::from(self.process_group.is_some()) + usize::from(self.application_group.is_some())
    }

    fn options(&self) -> InterpreterOptions {
        InterpreterOptions {
            application_group: self.application_group.map(<[u8]>::to_vec),
            own_gil: self.own_gil,
            switch_interval: self.switch_interval,
            python_path: self.directories(),
            restrict_stdin: self.restrict_stdin,
            restrict_stdout: self.restrict_stdout,
            restrict_signal: self.restrict_signal,
        }
    }

    /// The directories of its `WSGIPythonPath`.
    pub fn directories(&self) -> Vec<Vec<u8>> {
        let directories = self.python_path.unwrap_or_default().split(|&byte| byte == b':');
        directories.filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect()
    }
}

/// A path as httpd has it when a request has been mapped to it, so that a script is known by one name.
fn canonical(path: &[u8]) -> Vec<u8> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                whole.pop();
            }
            part => whole.push(part),
        }
    }
    whole.into_os_string().into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import<'p>(path: &'p str, process: &'p str, group: &'p str) -> Import<'p> {
        Import {
            path: path.as_bytes(),
            process_group: process.as_bytes(),
            application_group: group.as_bytes(),
            is_alias: true,
        }
    }

    #[test]
    fn a_child_loads_its_own_scripts_in_their_order_and_each_once() {
        let plan = Plan {
            imports: vec![
                import("/a/../b//x.wsgi", "", "g"),
                import("/daemon", "d", ""),
                import("/y.wsgi", "", ""),
                import("/b/x.wsgi", "", "g"),
                import("/b/x.wsgi", "", "h"),
            ],
            ..Plan::default()
        };
        let loaded: Vec<_> = plan
            .preload(b"", |group| group == b"h")
            .into_iter()
            .map(|script| {
                (String::from_utf8(script.path).unwrap(), script.application_group, script.main)
            })
            .collect();
        assert_eq!(
            loaded,
            [
                ("/b/x.wsgi".to_owned(), b"g".to_vec(), false),
                ("/y.wsgi".to_owned(), b"".to_vec(), true),
                ("/b/x.wsgi".to_owned(), b"h".to_vec(), true),
            ]
        );
        assert!(!plan.has_imports());
    }

    #[test]
    fn sections_for_other_processes_are_left_out_and_the_specific_ones_come_last() {
        let section = |process, application| Section {
            process_group: process,
            application_group: application,
            python_path: Some(b"/a::/b"),
            ..Section::default()
        };
        let plan = Plan {
            sections: vec![
                section(Some(&b""[..]), Some(&b"x"[..])),
                section(None, Some(b"")),
                section(Some(b"daemon"), None),
                section(None, None),
            ],
            ..Plan::default()
        };
        let options = plan.interpreter_options(b"");
        let groups: Vec<_> = options.iter().map(|o| o.application_group.as_deref()).collect();
        assert_eq!(groups, [None, Some(&b""[..]), Some(b"x")]);
        assert_eq!(options[0].python_path, [b"/a".to_vec(), b"/b".to_vec()]);
    }

    #[test]
    fn free_threading_is_a_matter_of_the_whole_process() {
        let section = |process, application, flag| Section {
            process_group: process,
            application_group: application,
            free_threading: Some(flag),
            ..Section::default()
        };
        let mut plan = Plan::default();
        assert_eq!(plan.free_threading(b""), None);
        plan.sections.push(section(None, Some(&b"x"[..]), true));
        assert_eq!(plan.free_threading(b""), None);
        plan.sections.push(section(Some(&b""[..]), None, true));
        plan.sections.push(section(None, None, false));
        assert_eq!(plan.free_threading(b""), Some(true));
    }
}
