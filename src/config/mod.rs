//! The configuration: what was written, and what is meant by it.
//!
//! | noun | what it is | file |
//! |---|---|---|
//! | [`Directive`](directives::Directive) | one directive: name, place, help, default, effect | `directives.rs` |
//! | [`DIRECTIVES`](table::DIRECTIVES) | every directive, declared once | `table.rs` |
//! | [`Scope`], [`Written`] | what a server or a directory says; merged by httpd | `written.rs` |
//! | [`Meant`] | what that means for one request: nothing is optional any more | `written.rs` |
//! | [`Process`](written::Process) | what only the main server says, and holds for the process | `written.rs` |
//! | [`Plan`] | processes, and what runs in them from their start | `plan.rs` |
//! | [`Daemon`](daemon::Daemon) | one `WSGIDaemonProcess` | `daemon.rs` |
//! | [`Alias`] | one `WSGIScriptAlias` or `WSGIScriptAliasMatch` | `alias.rs` |
//! | [`Hook`], [`Handler`] | scripts that are asked about requests, and that handle files | `hooks.rs` |
//! | [`Network`](proxies::Network), [`Header`](proxies::Header) | which peers are believed, and what | `proxies.rs` |
//! | [`Expression`] | the value of a group or callable, which may be `%{...}` | `expression.rs` |
//! | [`Sole`](groups::Sole) | the only application group of a process, if there is one | `groups.rs` |
//! | `resolve` | what is known only when all of it has been read | `resolve.rs` |
//! | `store` | how httpd makes and merges all this | `store.rs` |
//! | `commands` | how httpd reads the directives into it | `commands.rs` |
//! | `values` | what the values of directives mean | `values.rs` |
//! | `words` | words, options and numbers of a line | `words.rs` |
//!
//! Everything lies in httpd's configuration pool and goes with it; no static remembers a configuration.

pub mod alias;
pub mod commands;
pub mod daemon;
pub mod directives;
pub mod expression;
pub mod groups;
pub mod hooks;
pub mod plan;
pub mod proxies;
#[cfg(test)]
mod reference;
pub mod resolve;
pub mod store;
pub mod table;
pub mod values;
pub mod words;
pub mod written;

pub use alias::Alias;
pub use expression::Expression;
pub use hooks::{Handler, Hook};
pub use plan::Plan;
pub use written::{MapHead, Meant, Scope, Server, Written};
