//! The supervisor with a real tree of processes. What stands where the server's parent would is the test; the workers are
//! stand-ins, which speak as workers do.

mod endings;
mod examinations;
mod generations;
mod hanging;
mod harness;
mod operators;
mod surroundings;
