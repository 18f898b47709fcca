//! mod_rustgi's module for Apache httpd. It knows httpd and nothing of Python: whoever answers a request is behind
//! the interface of the crate [`exchange`].
//!
//! A request's path through it, in the order of the files:
//!
//! | step | what happens | where |
//! |---|---|---|
//! | before all | httpd finds the module record and calls the hooks in it | [`module`] |
//! | | the configuration is read; what was written becomes what is meant | [`config`] |
//! | | the configured Python and its engine are found | [`python`] |
//! | | a child loads and starts the engine, and ends it when it ends itself | [`child`], [`engine`] |
//! | 1 | a URL becomes a script (`WSGIScriptAlias`), and httpd looks at its file | [`mapping`] |
//! | 2 | scripts say who may come in (`WSGIAccessScript`, `AuthBasicProvider wsgi`, `Require wsgi-group`) | [`access`], [`inquiry`] |
//! | 3 | the request is accepted or refused, step by step, and handed on | [`handler`] |
//! | | a script says where it is to be served (`WSGIDispatchScript`) | [`dispatch`], [`inquiry`] |
//! | 4 | which interpreter is to answer | [`group`] |
//! | 5 | what the application will see of the request | [`environ`] |
//! | 6 | the engine answers through an exchange over `request_rec` | [`httpd_exchange`] |
//! | underneath | httpd's own nouns, entered safely | [`httpd`] |

mod access;
mod child;
mod config;
mod daemon;
mod dispatch;
mod engine;
mod environ;
mod group;
mod handler;
mod httpd;
mod httpd_exchange;
mod identity;
mod inquiry;
mod mapping;
mod module;
mod python;
