//! The modules `mod_wsgi` and `apache`, as every interpreter has them before any user code runs.

use crate::interpreter::Interpreter;
use crate::py::{Attached, Object, Py};
use crate::settings;
use crate::state::{Setup, State};
use exchange::COMPATIBLE_WITH;

/// The two modules while an interpreter is being furnished.
pub struct Modules<'a> {
    /// `mod_wsgi`.
    pub mod_wsgi: Object<'a>,
    apache: Object<'a>,
}

impl<'a> Modules<'a> {
    /// Makes `mod_wsgi`, which keeps the `__path__` of an installed package of that name, and finds or makes `apache`.
    pub fn new(attached: &'a Attached, setup: &Setup) -> Py<Modules<'a>> {
        let package_path = setup.package_path.get(attached).call([]).unwrap_or_else(|raised| {
            crate::report::process(
                attached,
                setup,
                raised,
                exchange::Code::StartException,
                "looking for an installed package mod_wsgi",
            );
            attached.none()
        });
        let types = attached.import(c"types")?;
        let name = attached.interned("mod_wsgi")?;
        let mod_wsgi = types.call_method(c"ModuleType", [&name])?;
        mod_wsgi.set(c"__loader__", &attached.none())?;
        if !package_path.is_none() {
            mod_wsgi.set(c"__path__", &package_path)?;
        }
        attached.modules().dict_set(&name, &mod_wsgi)?;
        let apache = setup.apache_module.get(attached).call([])?;
        Ok(Modules { mod_wsgi, apache })
    }

    /// Gives them their attributes.
    pub fn fill(
        &self,
        attached: &Attached,
        state: &State,
        interpreter: &'static Interpreter,
    ) -> Py<()> {
        let settings = settings();
        let count = |n: u32| attached.int(i64::from(n));
        let wsgi = &self.mod_wsgi;
        wsgi.set(c"version", &version(attached, COMPATIBLE_WITH)?)?;
        wsgi.set(c"process_group", &attached.latin1(&settings.process_group)?)?;
        wsgi.set(c"application_group", &attached.latin1(&interpreter.name)?)?;
        wsgi.set(c"maximum_processes", &count(settings.maximum_processes)?)?;
        wsgi.set(c"threads_per_process", &count(settings.threads_per_process)?)?;
        wsgi.set(c"FileWrapper", state.file_wrapper.class(attached))?;
        wsgi.set(c"RequestTimeout", state.request_timeout.get(attached))?;
        let subscriptions = &state.subscriptions;
        wsgi.set(c"event_callbacks", subscriptions.events.get(attached))?;
        wsgi.set(c"shutdown_callbacks", subscriptions.shutdown.get(attached))?;
        wsgi.set(c"signal_callbacks", subscriptions.signals.get(attached))?;
        state.setup.prepare_module.get(attached).call([wsgi, state.control.get(attached)])?;

        let server = &settings.server;
        let apache = &self.apache;
        apache.set(c"version", &version(attached, server.version)?)?;
        apache.set(c"maximum_processes", &count(settings.maximum_processes)?)?;
        apache.set(c"threads_per_process", &count(settings.threads_per_process)?)?;
        apache.set(c"description", &attached.latin1(&server.description)?)?;
        apache.set(c"mpm_name", &attached.latin1(&server.mpm)?)?;
        apache.set(c"build_date", &attached.latin1(&server.built)?)
    }
}

/// A version as a tuple of three.
pub fn version(attached: &Attached, [major, minor, patch]: [u32; 3]) -> Py<Object<'_>> {
    let number = |n: u32| attached.int(i64::from(n));
    attached.tuple([number(major)?, number(minor)?, number(patch)?])
}

/// The class `mod_wsgi.RequestTimeout`: a BaseException, so that `except Exception` lets it through.
pub fn request_timeout(attached: &Attached) -> Py<Object<'_>> {
    let builtins = attached.import(c"builtins")?;
    let names = attached.dict()?;
    names.dict_set(&attached.text("__module__")?, &attached.text("mod_wsgi")?)?;
    let doc = "Raised in a request that takes longer than it may. Clean up and raise it again.";
    names.dict_set(&attached.text("__doc__")?, &attached.text(doc)?)?;
    builtins.get(c"type")?.call([
        &attached.text("RequestTimeout")?,
        &attached.tuple([builtins.get(c"BaseException")?])?,
        &names,
    ])
}
