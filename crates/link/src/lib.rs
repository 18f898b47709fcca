//! What the processes of one server share with each other.
//!
//! | what | file |
//! |---|---|
//! | memory that several processes map, and that nobody can cut short | `shared.rs` |
//! | the [`Board`]: groups and workers as the supervisor knows them, and as everybody may read them | `board.rs` |
//! | the [`Page`] of a worker: at which slots requests lie, and which of them it has taken | `page.rs` |
//! | a [`Line`] between a child and a worker: two rings of bytes in memory, and a socket beside them | `line.rs` `ring.rs` |
//! | sockets: bytes and descriptors, who is at the other end | `stream.rs` |
//! | a [`Channel`]: whole messages | `channel.rs` |
//!
//! Names nobody: neither Apache nor Python.

mod board;
mod channel;
mod line;
mod page;
mod ring;
mod shared;
mod stream;

pub use board::{Board, Cause, Group, State, Worker};
pub use channel::Channel;
pub use line::{Line, Side, Tray};
pub use page::{Offer, Page};
pub use shared::{Mapped, Shared};
pub use stream::{
    Credentials, DESCRIPTORS, Stream, accept, connect, directory, listen, path, peer,
};
