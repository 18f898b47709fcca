//! What processes do at the memory that they share, with words whose every order and every age of a value is tried by `loom`.
//! These are the files of `link` themselves, without their unit tests, which are about real memory; only their words are others.

#[cfg(not(test))]
#[path = "../../src/calls.rs"]
pub mod calls;
#[cfg(not(test))]
#[path = "../../src/offer.rs"]
pub mod offer;
#[cfg(not(test))]
#[path = "../../src/queue.rs"]
pub mod queue;
#[cfg(not(test))]
#[path = "../../src/ring.rs"]
pub mod ring;
pub mod word;

/// Tries one thing in every order in which so many changes of thread come besides those where one waits.
pub fn in_every_order(changes: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(changes);
    builder.check(body);
}
