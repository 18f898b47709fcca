//! environ: what the application sees of a request, straight from `request_rec`. Made for each request by
//! [`variables`], as names and values; the engine makes Python's dict of it.
//!
//! | part | file |
//! |---|---|
//! | the memory that they are in | `variables.rs` |
//! | the headers of the request, `HTTP_*` | `headers.rs` |
//! | what CGI defines, and what is ours (`mod_wsgi.*`) | `cgi.rs` |
//! | what `SetEnv` and its like add | `additions.rs` |
//! | what trusted proxies say | `proxies.rs` |
//! | the parts of a path | `paths.rs` |
//! | the shorter list for scripts that are asked about access | `reduced.rs` |
//!
//! No variable costs an allocation of its own on the common path, none a system call, a look-up of a name in the
//! network or a request inside the server; httpd's own `ap_add_common_vars` and `ap_add_cgi_vars` do all of that.

mod additions;
mod cgi;
mod headers;
mod paths;
mod proxies;
mod reduced;
mod variables;

pub use paths::{Paths, of as paths};
pub use reduced::variables as reduced;
pub use variables::{of_this_thread, recycle};

use crate::child::Child;
use crate::handler::Call;
use exchange::{Group, Scheme, Variables};

/// What else is known of a request by now, and shows in environ.
pub struct Known<'r> {
    /// The child that serves it.
    pub child: &'static Child,
    /// SCRIPT_NAME and PATH_INFO.
    pub paths: Paths<'r>,
    /// The process group.
    pub process_group: &'r [u8],
    /// The application group.
    pub group: Group<'r>,
    /// The name of the callable.
    pub callable: &'r [u8],
    /// The identifier of the request in the log, which goes by itself ([`exchange::Head::id`]).
    pub id: &'r [u8],
}

/// The string part of environ, and the scheme, which is made of a variable that is not shown.
pub fn variables<'r>(call: &Call<'r>, known: &Known<'r>, into: Variables) -> (Variables, Scheme) {
    let mut variables = into;
    headers::add_for(call, &mut variables);
    cgi::add(call, known, &mut variables);
    let https = additions::add(call.request, &mut variables);
    let said = if call.meant.proxy_headers.is_empty() {
        None
    } else {
        let keep = |text: &[u8]| call.request.pool().text(text).to_bytes();
        proxies::apply(call.meant.proxy_headers, call.meant.proxies, &mut variables, keep)
    };
    let is_tls = || https || crate::httpd::process::is_tls(call.request);
    let scheme = said.unwrap_or_else(|| if is_tls() { Scheme::Https } else { Scheme::Http });
    (variables, scheme)
}
