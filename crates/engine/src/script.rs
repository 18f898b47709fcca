//! Scripts: the files that hold applications. Each is loaded once in each interpreter, as a module whose name is made from
//! its path, and again when it has changed. A lock for each script and interpreter makes one thread load it while others
//! wait; requests for what is loaded take no lock at all.

use crate::py::{Attached, Kept, Kind, Object, Py, Raised};
use crate::request::Request;
use crate::state::State;
use crate::turn::Turn;
use crate::worker::{self, Verdict};
use crate::{report, settings};
use exchange::{Code, Level, Script as Wanted};
use md5::{Digest, Md5};
use rustix::fs::{Mode, OFlags};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use wire::control::ScriptOwner;

/// A script in one interpreter and a callable of it. Leaked: there are as many as were served.
pub struct Script {
    file: &'static ScriptFile,
    callable_name: Vec<u8>,
    callable: Kept,
    /// The supervisor knows that requests use this callable.
    is_known: AtomicBool,
}

/// The file of a script in one interpreter.
struct ScriptFile {
    path: Vec<u8>,
    module: Kept,
    loading: Turn<()>,
    /// How often it has been loaded.
    loads: AtomicU64,
    /// It was loaded before there was a request for it, and there has been none since.
    is_unused: AtomicBool,
    /// It has had a callable that requests use.
    has_callable: AtomicBool,
}

/// The scripts of one interpreter.
#[derive(Default)]
pub struct Scripts {
    by_target: RwLock<HashMap<Target, &'static Script>>,
    files: RwLock<HashMap<Vec<u8>, &'static ScriptFile>>,
}

/// Path and name of the callable.
type Target = (Vec<u8>, Vec<u8>);

impl Scripts {
    /// The script that `wanted` names. `last` is the one this thread ran last.
    pub fn find(
        &self,
        attached: &Attached,
        wanted: &Wanted<'_>,
        last: Option<&'static Script>,
    ) -> Py<&'static Script> {
        let (path, callable) = (wanted.path.get(), wanted.callable.get());
        if let Some(last) = last.filter(|s| s.file.path == path && s.callable_name == callable) {
            return Ok(last);
        }
        let key = (path.to_vec(), callable.to_vec());
        if let Some(found) = self.by_target.read().unwrap_or_else(PoisonError::into_inner).get(&key)
        {
            return Ok(found);
        }
        let made = Script {
            file: self.file(attached, path)?,
            callable_name: callable.to_vec(),
            callable: Kept::new(attached.interned_latin1(callable)?),
            is_known: AtomicBool::new(false),
        };
        let mut scripts = self.by_target.write().unwrap_or_else(PoisonError::into_inner);
        Ok(scripts.entry(key).or_insert_with(|| Box::leak(Box::new(made))))
    }

    fn file(&self, attached: &Attached, path: &[u8]) -> Py<&'static ScriptFile> {
        if let Some(found) = self.files.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(found);
        }
        let made = ScriptFile {
            path: path.to_vec(),
            module: Kept::new(attached.interned(&module_name(path))?),
            loading: Turn::default(),
            loads: AtomicU64::new(0),
            is_unused: AtomicBool::new(false),
            has_callable: AtomicBool::new(false),
        };
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        Ok(files.entry(path.to_vec()).or_insert_with(|| Box::leak(Box::new(made))))
    }
}

/// `_mod_wsgi_` and the MD5 of the path: what mod_wsgi calls it, so that pickles and logs keep their names.
fn module_name(path: &[u8]) -> String {
    let digest = if settings().case_sensitive {
        Md5::digest(path)
    } else {
        Md5::digest(path.to_ascii_lowercase())
    };
    digest.iter().fold("_mod_wsgi_".to_string(), |name, byte| format!("{name}{byte:02x}"))
}

/// What a script is loaded for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To answer a request. The script may say itself that it wants to be loaded again (`reload_required`).
    Request,
    /// To answer a question about a request.
    Question,
    /// To be there before the first request.
    Preload,
    /// To run, and nothing else: it may end itself with SystemExit.
    Service,
}

/// Where a module stands.
enum Standing<'a> {
    /// It can be used.
    Ready(Object<'a>),
    /// It can be used, but its file has changed.
    Outdated(Object<'a>),
    /// It is not there, or not finished.
    Wanting,
}

impl Script {
    /// The callable of the script, loaded or loaded again if need be. On failure everything worth knowing is in the log.
    pub fn application<'a>(
        &self,
        attached: &'a Attached,
        request: &Request,
        wanted: &Wanted<'_>,
    ) -> Result<Object<'a>, Code> {
        let names = self.names(attached, request, wanted, Purpose::Request)?;
        let found = names.dict_get(self.callable.get(attached)).unwrap_or_else(|raised| {
            raised.forget();
            None
        });
        if !self.is_known.load(Ordering::Relaxed) {
            self.report_callable(request, found.as_ref());
        }
        found.ok_or_else(|| {
            let line = self.missing_callable(&self.callable_name);
            let line = format!("{}: {line}", Code::CallableMissing);
            request.note_line(attached, Level::Error, &line);
            Code::CallableMissing
        })
    }

    /// Tells the supervisor that requests use this callable, so that new workers become ready only if they have it. A callable of a
    /// script that never had any is not reported, because the script works no worse than before. A callable that is missing
    /// since the configuration or the script was changed is reported in addition to the old ones: otherwise a script that has only
    /// the new name could never take over.
    #[cold]
    fn report_callable(&self, request: &Request, found: Option<&Object<'_>>) {
        let is_there = found.is_some_and(Object::is_callable);
        if is_there {
            self.file.has_callable.store(true, Ordering::Relaxed);
        }
        if self.file.has_callable.load(Ordering::Relaxed) {
            self.is_known.store(true, Ordering::Relaxed);
            worker::used(&self.file.path, request.interpreter, &self.callable_name);
        }
    }

    fn missing_callable(&self, name: &[u8]) -> String {
        format!(
            "Target WSGI script '{}' does not contain WSGI application '{}'.",
            String::from_utf8_lossy(&self.file.path),
            String::from_utf8_lossy(name),
        )
    }

    /// Checks that the loaded script has one of these callables, if any are given. If it has none of them, writes that to the log.
    pub fn check_callables(
        &self,
        attached: &Attached,
        request: &Request,
        names: &Object<'_>,
        callables: &[Vec<u8>],
    ) -> Result<(), Code> {
        let find = |name: &Vec<u8>| names.dict_get(&attached.interned_latin1(name)?);
        let (mut missing, mut uncallable) = (None, None);
        for name in callables {
            match find(name) {
                Ok(Some(found)) if found.is_callable() => {
                    self.file.has_callable.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Ok(Some(found)) => {
                    uncallable = Some(format!(
                        "WSGI application '{}' of WSGI script '{}' cannot be called: it is of type {}.",
                        String::from_utf8_lossy(name),
                        String::from_utf8_lossy(&self.file.path),
                        found.type_name(),
                    ));
                }
                Ok(None) => missing = Some(self.missing_callable(name)),
                Err(raised) => {
                    raised.forget();
                    missing = Some(self.missing_callable(name));
                }
            }
        }
        // The last name is the one that requests have used last.
        if let Some(line) = uncallable.or(missing) {
            report::set_last(&line);
            let line = format!("{}: {line}", Code::CallableMissing);
            request.note_line(attached, Level::Error, &line);
        }
        if callables.is_empty() { Ok(()) } else { Err(Code::CallableMissing) }
    }

    /// The name space of the script, loaded or loaded again if need be. On failure everything worth knowing is in the log.
    pub fn names<'a>(
        &self,
        attached: &'a Attached,
        request: &Request,
        wanted: &Wanted<'_>,
        purpose: Purpose,
    ) -> Result<Object<'a>, Code> {
        let state = request.interpreter.state();
        let loads = self.file.loads.load(Ordering::Acquire);
        let asks = |names: &Object<'_>| {
            wanted.reloading
                && purpose == Purpose::Request
                && self.asks_for_reload(attached, state, request, wanted, names)
        };
        let (names, asked) = match self.standing(attached, state, wanted) {
            Standing::Ready(names) if !asks(&names) => return Ok(names),
            Standing::Ready(names) => (names, true),
            Standing::Outdated(names) => (names, false),
            Standing::Wanting => {
                return self.load(attached, state, request, loads, wanted, purpose);
            }
        };
        let modified = || attached.detach(|| modification_time(&self.file.path));
        if purpose == Purpose::Request && !self.is_known.load(Ordering::Relaxed) {
            // Reported before the change: new workers for the change must know that requests use this callable.
            self.report_callable(request, None);
        }
        match worker::verdict(&self.file.path, asked, modified) {
            Verdict::Load => self.load(attached, state, request, loads, wanted, purpose),
            Verdict::AsLoaded => Ok(names),
            Verdict::Elsewhere => {
                let path = String::from_utf8_lossy(&self.file.path);
                let line =
                    format!("WSGI script '{path}' has changed; it is loaded by new processes.");
                request.note_line(attached, Level::Info, &line);
                Err(Code::ScriptChanged)
            }
        }
    }

    /// Whether the module that is loaded can serve `wanted`.
    fn standing<'a>(
        &self,
        attached: &'a Attached,
        state: &'static State,
        wanted: &Wanted<'_>,
    ) -> Standing<'a> {
        let look = || {
            let Some(module) =
                state.modules.get(attached).dict_get(self.file.module.get(attached))?
            else {
                return Ok(None);
            };
            let Some(names) = module.module_dict() else { return Ok(None) };
            let time = names.dict_get(state.names.mtime.get(attached))?;
            let Some(time) = time.filter(Object::is_int) else { return Ok(None) };
            Ok(Some((time.as_i64()?, names)))
        };
        let (loaded, names) = match look() {
            Ok(Some(found)) => found,
            Ok(None) => return Standing::Wanting,
            Err(raised) => {
                let raised: Raised = raised;
                raised.forget();
                return Standing::Wanting;
            }
        };
        // What the carrier knows of the file may be older than what has been loaded meanwhile.
        let is_current = !wanted.reloading
            || wanted.modified == loaded
            || attached.detach(|| modification_time(&self.file.path)) == Some(loaded);
        if is_current { Standing::Ready(names) } else { Standing::Outdated(names) }
    }

    /// `reload_required(path)` of the module, if it has one. An exception means no, and is reported. The first request for
    /// what was loaded before does not ask: if it is the one for which new processes were started, and the answer were
    /// always yes, there would be no end of them.
    fn asks_for_reload(
        &self,
        attached: &Attached,
        state: &'static State,
        request: &Request,
        wanted: &Wanted<'_>,
        names: &Object<'_>,
    ) -> bool {
        let ask = || {
            let Some(function) = names.dict_get(state.names.reload_required.get(attached))? else {
                return Ok(false);
            };
            if !function.is_callable() || self.file.is_unused.swap(false, Ordering::Relaxed) {
                return Ok(false);
            }
            function.call([&attached.path(&wanted.resource)?])?.is_true()
        };
        ask().unwrap_or_else(|raised| {
            self.report(attached, request, raised, SCRIPT_RUNNING);
            false
        })
    }

    /// Loads the script, unless another thread has done so since there were `loads` loads.
    fn load<'a>(
        &self,
        attached: &'a Attached,
        state: &'static State,
        request: &Request,
        loads: u64,
        wanted: &Wanted<'_>,
        purpose: Purpose,
    ) -> Result<Object<'a>, Code> {
        let _turn = self.file.loading.take(attached);
        if self.file.loads.load(Ordering::Acquire) != loads {
            if let Standing::Ready(names) = self.standing(attached, state, wanted) {
                return Ok(names);
            }
        }
        let modules = state.modules.get(attached);
        let name = self.file.module.get(attached);
        let again = modules.dict_get(name).is_ok_and(|module| module.is_some());
        let verb = if again { "Reloading" } else { "Loading" };
        let line = format!(
            "{verb} WSGI script '{}' ({}).",
            String::from_utf8_lossy(&self.file.path),
            request.interpreter.describe()
        );
        request.note_line(attached, Level::Info, &line);
        let forget = || {
            if let Err(raised) = modules.dict_remove(name) {
                raised.forget();
            }
        };
        forget();
        let loaded =
            self.execute(attached, state, modules, purpose).map_err(|failed| match failed {
                Failed::Refused(why) => {
                    let path = String::from_utf8_lossy(&self.file.path);
                    let code = Code::ScriptOfOthers;
                    let line = format!("{code}: {}: '{path}': {why}.", code.text());
                    request.note_line(attached, Level::Error, &line);
                    report::set_last(&why);
                    code
                }
                Failed::Raised(raised, _)
                    if purpose == Purpose::Service && raised.is(Kind::SystemExit) =>
                {
                    raised.forget();
                    Code::PreloadSystemExit
                }
                // `interrupt-timeout`
                Failed::Raised(raised, _)
                    if purpose == Purpose::Request
                        && raised.is_a(state.request_timeout.get(attached)) =>
                {
                    raised.forget();
                    note_request_timeout(attached, request)
                }
                Failed::Raised(raised, codes) => self.report(attached, request, raised, codes),
            });
        match &loaded {
            Ok(_) => {
                self.file.loads.fetch_add(1, Ordering::Release);
                self.file.is_unused.store(purpose == Purpose::Preload, Ordering::Relaxed);
                worker::loaded(&self.file.path, request.interpreter, purpose != Purpose::Request);
            }
            Err(_) => forget(),
        }
        loaded
    }

    /// Reads, compiles and runs the script.
    fn execute<'a>(
        &self,
        attached: &'a Attached,
        state: &'static State,
        modules: &Object<'_>,
        purpose: Purpose,
    ) -> Result<Object<'a>, Failed> {
        let (broken, exception, exit) = match purpose {
            Purpose::Preload | Purpose::Service => {
                (Code::PreloadUnreadable, Code::PreloadException, Code::PreloadSystemExit)
            }
            _ => (Code::ScriptUnreadable, Code::ScriptException, Code::ScriptSystemExit),
        };
        let unreadable = |raised| Failed::Raised(raised, (broken, broken));
        let running = |raised| Failed::Raised(raised, (exception, exit));
        let path = attached.path(&self.file.path).map_err(unreadable)?;
        let (source, modified) =
            attached.detach(|| read(&self.file.path)).map_err(|error| match error {
                Unread::Refused(why) => Failed::Refused(why),
                Unread::Error(error) => unreadable(raise_os_error(attached, &error, &path)),
            })?;
        let source = attached.bytes(&source).map_err(unreadable)?;
        let compile = state.setup.compile_script.get(attached);
        let code = compile.call([&source, &path]).map_err(unreadable)?;
        let name = self.file.module.get(attached);
        let module = state.setup.new_script.get(attached).call([name, &path]).map_err(running)?;
        let Some(names) = module.module_dict() else { unreachable!("new_script makes a module") };
        // Registered before it runs, so that what its body defines can find its own module (dataclasses, pickle). It
        // has no `__mtime__` yet, so nobody takes it for loaded.
        modules.dict_set(name, &module).map_err(running)?;
        code.evaluate(&names).map_err(running)?;
        let modified = attached.int(modified).map_err(running)?;
        names.dict_set(state.names.mtime.get(attached), &modified).map_err(running)?;
        Ok(names)
    }

    fn report(
        &self,
        attached: &Attached,
        request: &Request,
        raised: Raised,
        codes: (Code, Code),
    ) -> Code {
        report::request(attached, request, raised, &self.file.path, codes)
    }

    /// The path of the file.
    pub fn path(&self) -> &[u8] {
        &self.file.path
    }
}

/// Writes to the log that a request has been interrupted.
pub fn note_request_timeout(attached: &Attached, request: &Request) -> Code {
    let line = format!("{}: {}.", Code::RequestTimeout, Code::RequestTimeout.text());
    request.note_line(attached, Level::Info, &line);
    Code::RequestTimeout
}

/// Why a script could not be loaded.
enum Failed {
    /// An exception, and the codes under which it is reported: for exceptions in general, and for SystemExit.
    Raised(Raised, (Code, Code)),
    /// The file or its directory does not belong to the owner that `script-user` or `script-group` demands.
    Refused(String),
}

/// Why the file of a script could not be read.
enum Unread {
    Error(std::io::Error),
    Refused(String),
}

impl From<std::io::Error> for Unread {
    fn from(error: std::io::Error) -> Self {
        Unread::Error(error)
    }
}

/// The codes of an exception that happens while a script that has been loaded is running.
pub const SCRIPT_RUNNING: (Code, Code) = (Code::ApplicationException, Code::ApplicationSystemExit);

/// An OSError as Python's own `open` raises it.
fn raise_os_error(attached: &Attached, error: &std::io::Error, path: &Object<'_>) -> Raised {
    let made = || {
        let number = attached.int(i64::from(error.raw_os_error().unwrap_or(libc::EIO)))?;
        let text = attached.import(c"os")?.call_method(c"strerror", [&number])?;
        attached.import(c"builtins")?.call_method(c"OSError", [&number, &text, path])
    };
    match made() {
        Ok(value) => crate::py::Exception { value }.restore(),
        Err(raised) => raised,
    }
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The bytes of a file and the time of its last change before they were read.
fn read(bytes: &[u8]) -> Result<(Vec<u8>, i64), Unread> {
    let mut file = open(path(bytes))?;
    let modified = microseconds(&file.metadata()?);
    let mut source = Vec::new();
    file.read_to_end(&mut source)?;
    Ok((source, modified))
}

/// Opens a script if its owner and the owner of its directory are admitted by `script-user` and `script-group`. Checks the opened
/// file, and opens it relative to the opened directory: neither can be replaced between the check and the use.
fn open(path: &Path) -> Result<File, Unread> {
    let owner = worker::post().map(|post| post.options.script_owner).unwrap_or_default();
    if owner.is_any() {
        return Ok(File::open(path)?);
    }
    let check = |opened: &File, what: &str| {
        let found = opened.metadata()?;
        let (user, group, mode) = (found.uid(), found.gid(), found.mode());
        if owner.admits(user, group, mode) {
            return Ok(());
        }
        let mode = mode & 0o7777;
        let is = format!("the {what} has owner {user}, group {group} and mode {mode:o}");
        let wanted = match owner {
            ScriptOwner { user: Some(user), .. } => format!("script-user is {user}"),
            ScriptOwner { group, .. } => format!("script-group is {}", group.unwrap_or_default()),
        };
        Err(Unread::Refused(format!("{is}; {wanted}, and no other user may have write access")))
    };
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput).into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = File::from(rustix::fs::open(directory, flags, Mode::empty()).map_err(unread)?);
    check(&directory, "directory")?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, name, flags, Mode::empty()).map_err(unread)?;
    let file = File::from(file);
    check(&file, "file")?;
    Ok(file)
}

fn unread(error: rustix::io::Errno) -> Unread {
    Unread::Error(error.into())
}

/// When a file was last modified, in microseconds since the epoch, if it is there.
pub fn modification_time(bytes: &[u8]) -> Option<i64> {
    std::fs::metadata(path(bytes)).ok().map(|facts| microseconds(&facts))
}

/// A modification time as httpd counts it (`apr_time_t`).
fn microseconds(facts: &std::fs::Metadata) -> i64 {
    facts.mtime() * 1_000_000 + facts.mtime_nsec() / 1000
}
