//! A process that serves no requests (`threads=0`): it runs its scripts on its main thread and ends when they have.

use super::post::Post;
use super::signals;
use crate::attach;
use crate::host::Host;
use crate::preload::{self, Loading};
use crate::script::Purpose;
use exchange::Code;

/// Runs the scripts of the configuration.
pub fn run(post: &Post, host: &'static Host) {
    attach::enter(host.main(), |attached, seat| {
        let setup = &seat.interpreter.state().setup;
        let handled = setup.exit_on_sigterm.get(attached).call([]);
        if let Err(raised) = handled {
            crate::report::process(attached, setup, raised, Code::StartException, "SIGTERM");
        }
    });
    let goes_on = || !post.course.is_draining();
    let all: Vec<Loading> = preload::configured().iter().map(Loading::from).collect();
    preload::each(host, &all, Purpose::Service, goes_on);
    // It has been told to end. Otherwise it still may be, while it waits for threads of the scripts.
    if post.course.has_ended() {
        attach::enter(host.main(), |attached, _| signals::be_deaf_to_terminate(attached));
    }
}

/// Has the script that is running ended.
pub fn end() {
    signals::terminate();
}
