//! A worker: an ordinary Python process that serves the requests of a group, steered by a supervisor.
//!
//! | what | file |
//! |---|---|
//! | the extension module that the process imports, and its one function | `module.rs` |
//! | the process from its first message to its end, on its main thread | `life.rs` |
//! | what all threads of it share | `post.rs` `course.rs` `desk.rs` `scripts.rs` |
//! | the clock of its timeouts | `clock.rs` |
//! | connections, and the requests that arrive on them | `connections.rs` `threads.rs` `pace.rs` `carrier.rs` `body.rs` |
//! | connections that have not yet sent the secret of the group | `proof.rs` |
//! | the thread that steers: messages, signals, new connections, what is due | `steering.rs` `signals.rs` `timers.rs` |
//! | what needs an interpreter but must not make that thread wait for it | `prober.rs` `callbacks.rs` |
//! | a process that serves no requests but runs its scripts | `service.rs` |
//! | its log | `journal.rs` |
//! | its memory limits | `memory.rs` |
//! | processes that an application forks from it | `forks.rs` |

mod body;
mod callbacks;
mod carrier;
mod clock;
mod connections;
mod course;
mod desk;
mod forks;
mod journal;
mod life;
mod memory;
mod module;
mod pace;
mod post;
mod prober;
mod proof;
mod scripts;
mod service;
mod signals;
mod steering;
mod threads;
mod timers;

pub use post::{loaded, loading, memory_error, post, server_error, used};
pub use scripts::{Verdict, verdict};
