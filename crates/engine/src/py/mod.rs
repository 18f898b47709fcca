//! Python as this crate sees it: owned references that cannot be used while detached, exceptions as values, and one
//! door for every function that Python calls. All `unsafe` that handles single objects is in here.
//!
//! | noun | what it is |
//! |---|---|
//! | [`Attached`] | proof that this thread may touch objects of the current interpreter |
//! | [`Object`] | an owned reference; `&Object` is a borrowed one |
//! | [`Kept`] | a reference that an interpreter holds for its whole life |
//! | [`Raised`] | an exception is set |
//! | [`Class`] | a type of ours, made anew in every interpreter |

pub mod class;
mod dict;
mod error;
pub mod object;
mod sequence;
mod text;

pub use class::{Class, Made, This};
pub use error::{Exception, Kind, Py, Raised, raise, raise_exc_info, take_exception};
pub use object::{Attached, Kept, Object};
pub use text::Filling;
