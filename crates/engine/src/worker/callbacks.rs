//! Signals that are for the application: a thread of its own tells the subscribers in every interpreter, so that nobody
//! else has to wait for them.

use super::signals::Signal;
use crate::host::Host;
use crate::{attach, events};
use std::sync::mpsc::{Sender, channel};

/// The thread that tells subscribers, made when the first such signal comes.
#[derive(Default)]
pub struct Callbacks(Option<Sender<Signal>>);

impl Callbacks {
    /// Tells the subscribers of a signal.
    pub fn tell(&mut self, host: &'static Host, signal: Signal) {
        let signals = self.0.get_or_insert_with(|| {
            let (signals, came) = channel();
            let tell_all = move || came.iter().for_each(|signal| publish(host, signal));
            let thread = std::thread::Builder::new().name("wsgi-signals".into());
            if thread.spawn(tell_all).is_err() {
                super::journal::note(exchange::Level::Warning, "A signal could not be told.");
            }
            signals
        });
        let _gone = signals.send(signal);
    }
}

fn publish(host: &'static Host, signal: Signal) {
    let (name, number) = signal.name();
    for interpreter in [host.main()].into_iter().chain(host.subs()) {
        attach::enter(interpreter, |attached, _| {
            events::process_signal(attached, interpreter, name, number);
        });
    }
}
