//! The configuration: what was written, and what is meant by it.
//!
//! | noun | what it is | file |
//! |---|---|---|
//! | [`Directive`](directives::Directive) | every directive, declared once: name, place, help, default, effect | `directives.rs` |
//! | [`Written`] | what a server or a directory says; merged by httpd | `written.rs` |
//! | [`Meant`] | what that means for one request: nothing is optional any more | `written.rs` |
//! | [`Process`] | what only the main server says, and holds for the process | `written.rs` |
//! | [`Alias`] | one `WSGIScriptAlias` or `WSGIScriptAliasMatch` | `alias.rs` |
//! | [`Expression`] | the value of a group or callable, which may be `%{...}` | `expression.rs` |
//! | [`Sole`](groups::Sole) | the only application group of a process, if there is one | `groups.rs` |
//! | `store` | how httpd makes, merges and fills all this | `store.rs` |
//!
//! Everything lies in httpd's configuration pool and goes with it; no static remembers a configuration.

pub mod alias;
pub mod directives;
pub mod expression;
pub mod groups;
pub mod store;
pub mod words;
pub mod written;

pub use alias::Alias;
pub use expression::Expression;
pub use written::{MapHead, Meant, Process, Server, Written};
