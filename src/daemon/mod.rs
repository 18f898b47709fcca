//! Daemon mode, httpd's side of it: what the server's parent wants to run, and how a child has a worker answer a request.
//!
//! | who | what | file |
//! |---|---|---|
//! | parent | `WSGIDaemonProcess` and all that concerns it, as the supervisor is told | `desired.rs` |
//! | | starts the supervisor, tells it at each reading of the configuration, ends it | `supervisor.rs` |
//! | child | [`Remote`]: the groups, their workers, and which of them is to answer | `remote.rs` |
//! | | a request in the queue: it reserves a thread of a worker, or waits for one | `queued_request.rs` |
//! | | a connection to a worker: a line, frames and offers | `connection.rs` |
//! | | the body of a request, gathered before a worker is asked | `body.rs` |
//! | | one request of httpd: what is checked and made ready before, and what httpd is told after | `serve.rs` |
//! | | the request: offered, perhaps offered again, and its answer relayed | `relay.rs` |
//! | | what of an answer the client has not taken yet | `backlog.rs` |
//! | | `spool-limit`: the budget for bytes of both in files, and the files | `spool.rs` |
//! | | `script-user` and `script-group` | `owner.rs` |

mod backlog;
mod body;
mod connection;
mod desired;
mod owner;
mod queued_request;
mod relay;
mod remote;
mod serve;
mod spool;
pub mod supervisor;

pub use relay::{Client, Waited, now};
pub use remote::Remote;
pub use serve::{Jailed, jailed, serve};

/// A path by the name that processes know it by whose root is `jail`; `None` if it is not below.
fn inside<'p>(jail: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let end = jail.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    path.strip_prefix(&jail[..end]).filter(|rest| rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn a_path_below_a_jail_loses_the_jail() {
        assert_eq!(inside(b"/jail", b"/jail/app.wsgi"), Some(&b"/app.wsgi"[..]));
        assert_eq!(inside(b"/jail/", b"/jail/app.wsgi"), Some(&b"/app.wsgi"[..]));
        assert_eq!(inside(b"/jail", b"/jailer/app.wsgi"), None);
        assert_eq!(inside(b"/jail", b"/app.wsgi"), None);
        assert_eq!(inside(b"/", b"/app.wsgi"), Some(&b"/app.wsgi"[..]));
    }
}
