//! The tests that run a real httpd with the module in it. One topic a file; `README.md` says how to write one.

mod harness;
mod topics;
