//! What was written in the configuration, and what is meant by it: two types, because only the first can be merged and
//! only the second can be used.

use super::{Alias, Expression, groups};
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
}

/// What only the main server says; it holds for the whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process<'p> {
    /// `WSGIPythonHome`
    pub python_home: Option<&'p [u8]>,
    /// `WSGIPythonPath`
    pub python_path: Option<&'p [u8]>,
    /// `WSGIRestrictStdin`
    pub restrict_stdin: Option<bool>,
    /// `WSGIRestrictStdout`
    pub restrict_stdout: Option<bool>,
    /// `WSGIRestrictSignal`
    pub restrict_signal: Option<bool>,
}

/// What the configuration of one server says, and what was made of it when all of it was read.
#[derive(Default)]
pub struct Server<'p> {
    /// What it says of its requests.
    pub written: Written<'p>,
    /// What it says of the process; the main server's counts.
    pub process: Process<'p>,
    /// Its aliases, the virtual host's own first, then the main server's.
    pub aliases: Vec<Alias<'p>>,
    /// Every `WSGIApplicationGroup` in it, in whatever section.
    pub groups: Vec<Expression<'p>>,
    /// What is known only when all servers are.
    pub resolved: OnceLock<Resolved>,
}

/// What is known of a server when all of the configuration has been read.
pub struct Resolved {
    /// The only application group that this process will serve, as far as the configuration tells.
    pub sole: Option<groups::Sole>,
    /// What `httpd -t` found of Python; the main server's alone.
    pub python: Option<crate::python::Installation>,
}

impl<'p> Server<'p> {
    /// A virtual host's configuration: what it says, over what the main server says.
    pub fn over(&self, base: &Server<'p>) -> Server<'p> {
        let both = |own: &[Expression<'p>], inherited: &[Expression<'p>]| {
            own.iter().chain(inherited).copied().collect()
        };
        Server {
            written: self.written.over(&base.written),
            process: base.process,
            aliases: self.aliases.iter().chain(&base.aliases).copied().collect(),
            groups: both(&self.groups, &base.groups),
            resolved: OnceLock::new(),
        }
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
