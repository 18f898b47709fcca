//! The tests that run a worker by itself: a real Python with the engine in it, over real sockets, steered by a driver that
//! plays the supervisor and the children of the server. No httpd.

mod driver;
mod ends;
mod processes;
mod proof;
mod reloading;
mod requests;
mod scripts;
mod threads;
