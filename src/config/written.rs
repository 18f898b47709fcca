//! What was written in the configuration, and what is meant by it: two types, because only the first can be merged and
//! only the second can be used.

use super::hooks::{Auth, Handler, Hook};
use super::plan::{Plan, Section};
use super::proxies::{Header, Network};
use super::{Alias, Expression, groups};
use crate::httpd::{Pool, walk};
use std::sync::OnceLock;

/// The callable of a script, unless another is named.
pub const CALLABLE: &[u8] = b"application";

/// `WSGIMapHEADToGET`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapHead {
    /// HEAD, unless a filter wants the body.
    Auto,
    /// GET, always.
    On,
    /// HEAD, always.
    Off,
}

/// Declares the settings that a server or a directory may write, once: the field, and what is meant without it.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $default:expr;)*) => {
        /// What a server or a directory says, as far as it says something.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Written<'p> { $($(#[$doc])* pub $name: Option<$kind>,)* }

        /// What is meant for one request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Meant<'p> { $($(#[$doc])* pub $name: $kind,)* }

        impl<'p> Written<'p> {
            /// This, and what `base` says where this says nothing.
            pub fn over(&self, base: &Written<'p>) -> Written<'p> {
                Written { $($name: self.$name.or(base.$name),)* }
            }

            /// What it means when nothing more specific is said.
            pub fn meant(&self) -> Meant<'p> {
                Meant { $($name: self.$name.unwrap_or($default),)* }
            }
        }
    };
}

settings! {
    /// `WSGIProcessGroup`
    process_group: Expression<'p> = Expression::Global;
    /// `WSGIApplicationGroup`
    application_group: Expression<'p> = Expression::Resource;
    /// `WSGICallableObject`
    callable_object: Expression<'p> = Expression::Literal(CALLABLE);
    /// `WSGIPassAuthorization`
    pass_authorization: bool = false;
    /// `WSGIScriptReloading`
    script_reloading: bool = true;
    /// `WSGIChunkedRequest`
    chunked_request: bool = false;
    /// `WSGIErrorOverride`: of answers of daemon processes.
    error_override: bool = false;
    /// `WSGIMapHEADToGET`
    map_head_to_get: MapHead = MapHead::Auto;
    /// `WSGIEnableSendfile`
    enable_sendfile: bool = false;
    /// `WSGIIgnoreActivity`: of daemon processes.
    ignore_activity: bool = false;
    /// `WSGIPassApacheRequest`
    pass_apache_request: bool = false;
    /// `WSGIRestrictProcess`; `None` if every process group is allowed.
    restrict_process: Option<&'p [&'p [u8]]> = None;
    /// `WSGIDispatchScript`
    dispatch: Option<Hook<'p>> = None;
    /// `WSGITrustedProxyHeaders`, as far as they are known.
    proxy_headers: &'p [&'static Header] = &[];
    /// `WSGITrustedProxies`; `None` if every peer is one.
    proxies: Option<&'p [Network]> = None;
}

/// What a directory says, or a server outside of all directories.
#[derive(Clone, Copy, Default)]
pub struct Scope<'p> {
    /// Of its requests.
    pub written: Written<'p>,
    /// `WSGIHandlerScript`
    pub handlers: &'p [Handler<'p>],
    /// Of access and authentication; only directories do.
    pub auth: Auth<'p>,
}

impl<'p> Scope<'p> {
    /// This, and what `base` says where this says nothing.
    pub fn over(&self, base: &Scope<'p>, pool: Pool<'p>) -> Scope<'p> {
        let handlers = match (self.handlers, base.handlers) {
            (own, []) => own,
            ([], inherited) => inherited,
            (own, inherited) => pool.list(&Handler::union(own, inherited)),
        };
        Scope {
            written: self.written.over(&base.written),
            handlers,
            auth: self.auth.over(&base.auth),
        }
    }
}

/// What only the main server says; it holds for the whole process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process<'p> {
    /// `WSGIPythonHome`
    pub python_home: Option<&'p [u8]>,
    /// What is said of all interpreters.
    pub interpreters: Section<'p>,
    /// `WSGIPythonEggs`
    pub python_eggs: Option<&'p [u8]>,
    /// `WSGIPythonOptimize`
    pub optimize: u32,
    /// `WSGIPythonWarnings`
    pub warnings: Vec<&'p [u8]>,
    /// `WSGIPythonHashSeed`; `None` leaves it to Python, which takes a random one.
    pub hash_seed: Option<u32>,
    /// `WSGIDontWriteBytecode`
    pub dont_write_bytecode: bool,
    /// `WSGICaseSensitivity Off`
    pub case_insensitive: bool,
    /// `WSGIRestrictEmbedded`
    pub restrict_embedded: Option<bool>,
    /// `WSGIDestroyInterpreter Off`
    pub keep_interpreters: bool,
    /// `WSGIServerMetrics`
    pub server_metrics: bool,
    /// `WSGISlowRequests`
    pub slow_requests: Option<f64>,
    /// `WSGITelemetryService`
    pub telemetry: Option<Telemetry<'p>>,
    /// `WSGITelemetryOptions`: CaptureUserAgent.
    pub capture_user_agent: bool,
    /// `WSGISocketPrefix`
    pub socket_prefix: Option<&'p [u8]>,
    /// `WSGISocketRotation Off`
    pub keep_sockets: bool,
    /// `WSGIAcceptMutex`
    pub accept_mutex: Option<&'static str>,
}

/// Whom metrics are sent to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Telemetry<'p> {
    /// The socket.
    pub path: &'p [u8],
    /// Every so many seconds.
    pub interval: f64,
}

/// What the configuration of one server says, and what was made of it when all of it was read.
#[derive(Default)]
pub struct Server<'p> {
    /// What it says of its requests, outside of all directories.
    pub scope: Scope<'p>,
    /// What it says of the process; the main server's counts.
    pub process: Process<'p>,
    /// Its aliases, the virtual host's own first, then the main server's.
    pub aliases: Vec<Alias<'p>>,
    /// Every `WSGIApplicationGroup` in it, in whatever section.
    pub groups: Vec<Expression<'p>>,
    /// What is known only when all servers are.
    pub resolved: OnceLock<Resolved<'p>>,
}

/// What is known of a server when all of the configuration has been read.
pub struct Resolved<'p> {
    /// The only application group that this process will serve, as far as the configuration tells.
    pub sole: Option<groups::Sole>,
    /// What the whole configuration says of processes.
    pub plan: &'p Plan<'p>,
    /// Children start Python.
    pub wants_python: bool,
    /// What `httpd -t` found of Python; the main server's alone.
    pub python: Option<crate::python::Installation>,
    /// For each alias, once a request has come there: the application group of what lies at the alias itself.
    pub resource_groups: Vec<OnceLock<ResourceGroup>>,
    /// For each alias, once a request has come there: what httpd's walk to its script comes to.
    pub walks: Vec<walk::Known>,
}

/// `%{RESOURCE}` at an alias, which says where a request came.
pub struct ResourceGroup {
    /// Where the record of the virtual host lies, several of which may have the same configuration.
    pub server: usize,
    /// The port.
    pub port: u16,
    /// The group.
    pub name: Vec<u8>,
}

impl<'p> Server<'p> {
    /// The only application group that the children of httpd will serve, as far as the configuration tells.
    pub fn sole(&self) -> Option<&groups::Sole> {
        self.resolved.get()?.sole.as_ref()
    }

    /// A virtual host's configuration: what it says, over what the main server says.
    pub fn over(&self, base: &Server<'p>, pool: Pool<'p>) -> Server<'p> {
        let both = |own: &[Expression<'p>], inherited: &[Expression<'p>]| {
            own.iter().chain(inherited).copied().collect()
        };
        Server {
            scope: self.scope.over(&base.scope, pool),
            process: base.process.clone(),
            aliases: self.aliases.iter().chain(&base.aliases).copied().collect(),
            groups: both(&self.groups, &base.groups),
            resolved: OnceLock::new(),
        }
    }
}

impl Process<'_> {
    /// Whether Python runs in the children of httpd.
    pub fn wants_python(&self, plan: &Plan<'_>) -> bool {
        !self.restrict_embedded.unwrap_or(false) || plan.has_hooks || plan.has_imports()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_in_a_more_specific_place_wins() {
        let base = Written {
            pass_authorization: Some(true),
            callable_object: Some(Expression::Literal(b"app")),
            ..Written::default()
        };
        let over = Written { pass_authorization: Some(false), ..Written::default() };
        let meant = over.over(&base).meant();
        assert!(!meant.pass_authorization);
        assert_eq!(meant.callable_object, Expression::Literal(b"app"));
        assert_eq!(meant.application_group, Expression::Resource);
        assert!(meant.script_reloading);
        assert_eq!(meant.map_head_to_get, MapHead::Auto);
    }
}
