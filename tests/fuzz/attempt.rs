//! The bytes of one connection and how it ends. Made from a seed and a number; sent by a volley.

use super::mutation::{MUTATIONS, sprinkle};
use super::{Draft, Random};
use std::fmt;

/// How the client ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Says that nothing more comes, and reads all answers.
    HalfClose,
    /// Goes away with the answers unread.
    Early,
}

/// One connection.
pub struct Attempt {
    /// What is sent at once.
    pub pieces: Vec<Vec<u8>>,
    pub ending: Ending,
}

impl Attempt {
    /// The one with this number of those with this seed.
    pub fn of(seed: u64, number: u64) -> Attempt {
        let mut random = Random::of(seed, number);
        let mut bytes = mutated(&mut random);
        if random.one_in(5) {
            for _ in 0..1 + random.below(4) {
                let next = if random.one_in(2) {
                    Draft::valid(&mut random).written()
                } else {
                    mutated(&mut random)
                };
                bytes.extend(next);
            }
        }
        if random.one_in(8) {
            bytes.truncate(random.below(bytes.len() + 1));
        }
        let ending = if random.one_in(10) { Ending::Early } else { Ending::HalfClose };
        Attempt { pieces: split(bytes, &mut random), ending }
    }
}

/// One request. One in sixteen stays valid.
fn mutated(random: &mut Random) -> Vec<u8> {
    let mut draft = Draft::valid(random);
    if random.one_in(16) {
        return draft.written();
    }
    // Mostly one: two are seldom both needed, and each may keep the request from the module.
    for _ in 0..*random.pick(&[1, 1, 1, 2, 3]) {
        let mutation = *random.pick(MUTATIONS);
        mutation(&mut draft, random);
    }
    let mut bytes = draft.written();
    if random.one_in(8) {
        sprinkle(&mut bytes, random);
    }
    bytes
}

fn split(mut bytes: Vec<u8>, random: &mut Random) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    while random.one_in(3) && bytes.len() > 1 {
        let rest = bytes.split_off(1 + random.below(bytes.len() - 1));
        pieces.push(std::mem::replace(&mut bytes, rest));
    }
    pieces.push(bytes);
    pieces
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            writeln!(f, "  b\"{}\"", piece.escape_ascii())?;
        }
        write!(f, "  then {:?}", self.ending)
    }
}
