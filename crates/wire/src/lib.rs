//! What is said between processes, as bytes: the encoders and decoders, and no input or output.
//!
//! | what | file |
//! |---|---|
//! | a frame: its header, the kinds of frames and how long each may be | `frame.rs` |
//! | a child of the server to a worker: [`Request`] and the body of it | `request.rs` |
//! | a worker to a child: [`Hello`], [`Answer`], notes, pieces of a body, the end | `answer.rs` |
//! | the server's parent, the supervisor and the workers among each other | `control.rs` |
//! | the [`Secret`] that a child sends to a worker before the worker sends anything | `secret.rs` |
//! | numbers and bytes in a row | `fields.rs` |
//! | environment variables in options and files | `variables.rs` |
//!
//! One request at a time is under way on a connection. Nobody trusts the other side: every length is checked against what
//! is there and against a limit, and a decoder never panics. Both sides must be of the same [`VERSION`], which each says first.

mod answer;
pub mod control;
mod fields;
mod frame;
mod request;
mod secret;
pub mod variables;

pub use answer::{
    Answer, End, File, Hello, Note, Ready, append_answer, append_end, append_note, append_want,
    decode_want,
};
pub use fields::Malformed;
pub use frame::{Frame, HEADER, Kind, Tag, header};
pub use request::{Carried, Request, read_error};
pub use secret::{Master, Secret};

/// The version of everything here. A child refuses a worker of another one.
pub const VERSION: u32 = 6;
