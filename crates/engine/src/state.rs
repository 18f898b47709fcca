//! What we keep in each interpreter: the names, types and constants that requests use, made once.

use crate::adapter::Adapter;
use crate::control::Control;
use crate::events::Subscriptions;
use crate::file_wrapper::FileWrapper;
use crate::input::Input;
use crate::interpreter::Interpreter;
use crate::log::{Log, Stream};
use crate::module;
use crate::options::Options;
use crate::py::{Attached, Kept, Made, Object, Py};
use crate::restrict::{Restricted, SignalIntercept};
use crate::{settings, worker};
use exchange::{COMPATIBLE_WITH, Code, Known};
use std::ffi::CString;
use std::sync::OnceLock;

/// What we keep in one interpreter.
pub struct State {
    /// The keys of environ that have a number, by number.
    pub known: Vec<Kept>,
    /// The other names that requests use.
    pub names: Names,
    /// `environ` with the keys that are the same for every request of this interpreter, and room for the others.
    pub base: Kept,
    /// The types of `wsgi.input`, of the owner of `start_response`, and so on.
    pub input: Made<Input>,
    /// See `input`.
    pub adapter: Made<Adapter>,
    /// See `input`.
    pub log: Made<Log>,
    /// See `input`.
    pub file_wrapper: Made<FileWrapper>,
    /// `mod_wsgi.RequestTimeout`.
    pub request_timeout: Kept,
    /// `sys.modules`.
    pub modules: Kept,
    /// What applications have subscribed to.
    pub subscriptions: Subscriptions,
    /// `mod_wsgi.active_requests`, once somebody has asked for it.
    pub active_requests: OnceLock<Kept>,
    /// What the functions of `mod_wsgi` are methods of.
    pub control: Kept,
    /// What the configuration says of this interpreter.
    pub options: Options,
    /// Functions of `setup.py`.
    pub setup: Setup,
}

/// Names and constants.
pub struct Names {
    pub application_start: Kept,
    pub close: Kept,
    pub daemon_start: Kept,
    pub errors: Kept,
    pub fileno: Kept,
    pub input: Kept,
    pub mtime: Kept,
    pub queue_start: Kept,
    pub reload_required: Kept,
    pub request_rec: Kept,
    pub request_start: Kept,
    pub tell: Kept,
    pub thread_id: Kept,
    pub url_scheme: Kept,
    pub http: Kept,
    pub https: Kept,
}

/// Functions of `setup.py`.
pub struct Setup {
    pub add_site_directories: Kept,
    pub new_script: Kept,
    pub compile_script: Kept,
    pub traceback_lines: Kept,
    pub stack_lines: Kept,
    pub text_stream: Kept,
    pub package_path: Kept,
    pub apache_module: Kept,
    pub exception_info: Kept,
    pub prepare_module: Kept,
    pub publish: Kept,
    pub use_egg_cache: Kept,
    pub finish: Kept,
    pub stacks: Kept,
    pub settle_in: Kept,
    pub use_locale: Kept,
    pub exit_on_sigterm: Kept,
    pub write_stacks_on: Kept,
}

impl State {
    /// Makes everything in the interpreter that the thread is attached to, and puts the modules, streams and
    /// restrictions in their places.
    pub fn new(attached: &Attached, interpreter: &'static Interpreter) -> Py<State> {
        let setup = Setup::new(attached)?;
        let options = Options::of(interpreter);
        let modules = module::Modules::new(attached, &setup)?;
        let wsgi = &modules.mod_wsgi;
        let state = State {
            known: Known::ALL
                .iter()
                .map(|known| keep(attached, known.name()))
                .collect::<Py<Vec<_>>>()?,
            names: Names::new(attached)?,
            input: Made::new(attached, wsgi)?,
            adapter: Made::new(attached, wsgi)?,
            log: Made::new(attached, wsgi)?,
            file_wrapper: Made::new(attached, wsgi)?,
            request_timeout: Kept::new(module::request_timeout(attached)?),
            modules: Kept::new(attached.modules()),
            base: Kept::new(attached.dict()?),
            subscriptions: Subscriptions::new(attached)?,
            active_requests: OnceLock::new(),
            control: Kept::new(
                Made::<Control>::new(attached, wsgi)?
                    .instance(attached, Control { interpreter })?,
            ),
            options,
            setup,
        };
        state.fill_base(attached)?;
        modules.fill(attached, &state, interpreter)?;
        state.replace_streams(attached, wsgi, interpreter)?;
        if state.options.restrict_signal {
            SignalIntercept::install(attached, wsgi, &state.setup, interpreter)?;
        }
        state.adjust_python(attached)?;
        if let Some(post) = worker::post() {
            state.settle_in(attached)?;
            if interpreter.is_main() && post.options.threads > 0 {
                let (number, file) = post.stack_signal();
                let (number, file) = (attached.int(number)?, attached.int(file)?);
                state.setup.write_stacks_on.get(attached).call([&number, &file])?;
            }
        }
        state.extend_path(attached)?;
        if let Some(home) = worker::post().and_then(|post| post.options.home.as_ref()) {
            let path = attached.import(c"sys")?.get(c"path")?;
            path.call_method(c"insert", [&attached.int(0)?, &attached.path(home)?])?;
        }
        Ok(state)
    }

    /// A Python that was started by its own executable looks in the end like one that a server has started.
    fn settle_in(&self, attached: &Attached) -> Py<()> {
        self.setup.settle_in.get(attached).call([]).map(drop)
    }

    fn fill_base(&self, attached: &Attached) -> Py<()> {
        let settings = settings();
        let base = self.base.get(attached);
        let one = attached.int(1)?;
        let put = |key: &str, value: &Object<'_>| base.dict_set(&attached.interned(key)?, value);
        put("wsgi.version", &attached.tuple([one, attached.int(0)?])?)?;
        put("wsgi.multithread", &attached.bool(settings.multithread))?;
        put("wsgi.multiprocess", &attached.bool(settings.multiprocess))?;
        put("wsgi.run_once", &attached.bool(false))?;
        put("wsgi.input_terminated", &attached.bool(true))?;
        put("wsgi.file_wrapper", self.file_wrapper.class(attached))?;
        put("apache.version", &module::version(attached, settings.server.version)?)?;
        put("mod_wsgi.version", &module::version(attached, COMPATIBLE_WITH)?)?;
        put("mod_wsgi.queue_start", &attached.float(0.0)?)?;
        put("mod_wsgi.daemon_start", &attached.float(0.0)?)
    }

    /// `sys.stderr`, `sys.stdout` and `sys.stdin` as the configuration wants them. On a terminal the latter two stay.
    fn replace_streams(
        &self,
        attached: &Attached,
        module: &Object<'_>,
        interpreter: &'static Interpreter,
    ) -> Py<()> {
        let stream = |stream| {
            let log = self.log.instance(attached, Log::of_process(stream, interpreter))?;
            self.setup.text_stream.get(attached).call([&log])
        };
        attached.set_sys(c"stderr", &stream(Stream::Stderr)?)?;
        if settings().debugging {
            return Ok(());
        }
        let restricted = Made::<Restricted>::new(attached, module)?;
        let refuse = |name| restricted.instance(attached, Restricted { name });
        if self.options.restrict_stdout {
            attached.set_sys(c"stdout", &refuse("sys.stdout")?)?;
        } else {
            attached.set_sys(c"stdout", &stream(Stream::Stdout)?)?;
        }
        if self.options.restrict_stdin {
            attached.set_sys(c"stdin", &refuse("sys.stdin")?)?;
        }
        Ok(())
    }

    /// `WSGIPythonPath`, the least specific first, each in front of what was before. A directory that raises ends its
    /// list; the interpreter works without the rest.
    fn extend_path(&self, attached: &Attached) -> Py<()> {
        for layer in self.options.python_path.iter().filter(|layer| !layer.is_empty()) {
            let directories = attached.list()?;
            for directory in *layer {
                directories.append(&attached.path(directory)?)?;
            }
            let added = self.setup.add_site_directories.get(attached).call([&directories]);
            if let Err(raised) = added {
                crate::report::process(attached, &self.setup, raised, Code::PathEntryFailed, "");
            }
        }
        Ok(())
    }

    /// Settings that Python itself keeps: the switch interval and the egg cache.
    fn adjust_python(&self, attached: &Attached) -> Py<()> {
        if let Some(seconds) = self.options.switch_interval {
            let sys = attached.import(c"sys")?;
            sys.call_method(c"setswitchinterval", [&attached.float(seconds)?])?;
        }
        if !settings().python_eggs.is_empty() {
            let directory = attached.path(&settings().python_eggs)?;
            self.setup.use_egg_cache.get(attached).call([&directory])?;
        }
        Ok(())
    }
}

impl Names {
    fn new(attached: &Attached) -> Py<Names> {
        Ok(Names {
            application_start: keep(attached, "mod_wsgi.application_start")?,
            close: keep(attached, "close")?,
            daemon_start: keep(attached, "mod_wsgi.daemon_start")?,
            errors: keep(attached, "wsgi.errors")?,
            fileno: keep(attached, "fileno")?,
            input: keep(attached, "wsgi.input")?,
            mtime: keep(attached, "__mtime__")?,
            queue_start: keep(attached, "mod_wsgi.queue_start")?,
            reload_required: keep(attached, "reload_required")?,
            request_rec: keep(attached, "apache.request_rec")?,
            request_start: keep(attached, "mod_wsgi.request_start")?,
            tell: keep(attached, "tell")?,
            thread_id: keep(attached, "mod_wsgi.thread_id")?,
            url_scheme: keep(attached, "wsgi.url_scheme")?,
            http: keep(attached, "http")?,
            https: keep(attached, "https")?,
        })
    }
}

impl Setup {
    fn new(attached: &Attached) -> Py<Setup> {
        let names = attached.dict()?;
        let builtins = attached.import(c"builtins")?;
        let source = attached.text(include_str!("setup.py"))?;
        let code = builtins.call_method(
            c"compile",
            [&source, &attached.text("<mod_rustgi>")?, &attached.text("exec")?],
        )?;
        names.dict_set(&attached.text("__builtins__")?, &builtins)?;
        names.dict_set(&attached.text("__name__")?, &attached.text("mod_rustgi")?)?;
        builtins.call_method(c"exec", [&code, &names])?;
        let function = |name: &str| match names.dict_get(&attached.text(name)?)? {
            Some(function) => Ok(Kept::new(function)),
            None => unreachable!("setup.py defines {name}"),
        };
        Ok(Setup {
            add_site_directories: function("add_site_directories")?,
            new_script: function("new_script")?,
            compile_script: function("compile_script")?,
            traceback_lines: function("traceback_lines")?,
            stack_lines: function("stack_lines")?,
            text_stream: function("text_stream")?,
            package_path: function("package_path")?,
            apache_module: function("apache_module")?,
            exception_info: function("exception_info")?,
            prepare_module: function("prepare_module")?,
            publish: function("publish")?,
            use_egg_cache: function("use_egg_cache")?,
            finish: function("finish")?,
            stacks: function("stacks")?,
            settle_in: function("settle_in")?,
            use_locale: function("use_locale")?,
            exit_on_sigterm: function("exit_on_sigterm")?,
            write_stacks_on: function("write_stacks_on")?,
        })
    }
}

fn keep(attached: &Attached, text: &str) -> Py<Kept> {
    attached.interned(text).map(Kept::new)
}

/// A C string of bytes that hold no NUL; at the first NUL it ends.
pub fn c_string(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}
