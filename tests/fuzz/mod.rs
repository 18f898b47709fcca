//! Requests that no client should send, made from a seed.
//!
//! | noun | what it is | file |
//! |---|---|---|
//! | [`Random`] | the numbers that a seed stands for | `random.rs` |
//! | [`Draft`] | a request in parts | `draft.rs` |
//! | `MUTATIONS` | what is done to it | `mutation.rs` |
//! | [`Attempt`] | the bytes of one connection and how it ends | `attempt.rs` |
//! | [`fire`], [`Tally`] | many of them, and what came back | `volley.rs` |

mod attempt;
mod draft;
mod mutation;
mod random;
mod volley;

pub use attempt::{Attempt, Ending};
pub use draft::Draft;
pub use random::Random;
pub use volley::{fire, is_fault};
