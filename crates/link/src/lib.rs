//! What the processes of one server share with each other.
//!
//! | what | file |
//! |---|---|
//! | memory that several processes map, and that nobody can cut short | `shared.rs` |
//! | the [`Board`]: groups and workers as the supervisor knows them, and as everybody may read them | `board.rs` |
//! | the [`Page`] of a worker: at which slots requests are pending, and the words that waiting threads sleep on | `page.rs` |
//! | [`OfferWord`]: the state of the request on a connection | `offer.rs` |
//! | [`RequestQueue`]: the threads of each worker that children have reserved, and the requests that wait for one | `queue.rs` |
//! | [`Calls`] at the slots of a page, and who comes for them | `calls.rs` |
//! | a [`Line`] between a child and a worker: two rings of bytes in memory, and a socket beside them | `line.rs` `ring.rs` |
//! | words in memory that a process waits for | `word.rs` |
//! | sockets: bytes and descriptors, who is at the other end | `stream.rs` |
//! | the monotonic clock, the same in all processes | `clock.rs` |
//! | a [`Channel`]: whole messages | `channel.rs` |
//!
//! Names nobody: neither Apache nor Python.

mod board;
mod calls;
mod channel;
mod clock;
mod line;
mod offer;
mod page;
mod queue;
mod ring;
mod shared;
mod stream;
mod word;

pub use board::{Board, Cause, Group, NameHash, Queue, State, Worker};
pub use calls::Calls;
pub use channel::Channel;
pub use clock::milliseconds;
pub use line::{Line, Side, Tray};
pub use offer::{Offer, OfferWord};
pub use page::Page;
pub use queue::{Candidate, RequestQueue, WaitState, WorkerRef};
pub use shared::{Mapped, Shared};
pub use stream::{
    Credentials, DESCRIPTORS, Stream, accept, connect, directory, listen, path, peer,
};
