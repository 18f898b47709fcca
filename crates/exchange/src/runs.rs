//! The string part of environ as it is carried: three runs of bytes, one for each [`About`], so that what is the same in
//! many requests lies together and is recognised at once, whether it goes through a table of functions or a socket.
//!
//! A run is pairs of a byte and bytes with their length in front (little-endian, four bytes). The byte is the number of a
//! [`Known`] name and the bytes are the value; or it says that the bytes are a name of any kind, and the value follows as
//! another such pair. Names without a number are in the run about the request.

use crate::{About, Bytes, Known};
use std::fmt;

/// In place of the number of a known name.
pub(crate) const OTHER: u8 = u8::MAX;
const _: () = assert!(Known::COUNT < OTHER as usize, "a byte for each known name");

/// One variable of environ: a name and a value, both bytes as the carrier has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable<'a> {
    known: Option<Known>,
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Variable<'a> {
    /// The number of its name, when the carrier gave one.
    pub fn slot(&self) -> Option<Known> {
        self.known
    }

    /// Its name.
    pub fn name(&self) -> &'a [u8] {
        self.known.map_or(self.name, |known| known.name().as_bytes())
    }

    /// Its value.
    pub fn value(&self) -> &'a [u8] {
        self.value
    }
}

/// The variables about one thing.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Run<'a> {
    pub(crate) bytes: Bytes<'a>,
    pub(crate) number: u64,
}

impl<'a> Run<'a> {
    /// Runs of one process that have the same number are the same. 0 is that of the run without variables.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// It as it is carried.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes.get()
    }

    /// Its variables.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Variable<'a>> + use<'a> {
        Pairs(self.bytes.get())
    }
}

/// The variables of a request.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Runs<'a>(pub(crate) [Run<'a>; About::ALL.len()]);

impl<'a> Runs<'a> {
    /// No variables.
    pub const NONE: Runs<'a> = Runs([Run { bytes: Bytes::EMPTY, number: 0 }; About::ALL.len()]);

    /// The runs, in the order of [`About::ALL`].
    pub fn runs(&self) -> &[Run<'a>; About::ALL.len()] {
        &self.0
    }

    /// All variables. Names are unique.
    pub fn iter(&self) -> impl Iterator<Item = Variable<'a>> + use<'a> {
        self.0.into_iter().flat_map(|run| run.iter())
    }

    /// The value of a variable whose name has a number.
    pub fn get(&self, known: Known) -> Option<&'a [u8]> {
        let mut run = self.0[known.about() as usize].iter();
        run.find(|variable| variable.slot() == Some(known)).map(|variable| variable.value())
    }
}

impl fmt::Debug for Runs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Takes variables off the front of a run. Ends where what follows is none.
pub(crate) struct Pairs<'a>(pub(crate) &'a [u8]);

impl<'a> Pairs<'a> {
    /// What stands before the bytes of a pair.
    pub(crate) const HEAD: usize = 5;

    #[inline(always)]
    fn pair(&mut self) -> Option<(u8, &'a [u8])> {
        let [tag, a, b, c, d, rest @ ..] = self.0 else { return None };
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes([*a, *b, *c, *d]) as usize)?;
        self.0 = rest;
        Some((*tag, bytes))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Variable<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Variable<'a>> {
        let mut rest = Pairs(self.0);
        let (tag, bytes) = rest.pair()?;
        let variable = match Known::from_slot(tag.into()) {
            Some(known) => Variable { known: Some(known), name: &[], value: bytes },
            None if tag == OTHER => {
                let (OTHER, value) = rest.pair()? else { return None };
                Variable { known: None, name: bytes, value }
            }
            None => return None,
        };
        *self = rest;
        Some(variable)
    }
}

/// Whether these are variables that belong into this run, and nothing else.
pub(crate) fn is_sound(about: About, bytes: &[u8]) -> bool {
    let mut pairs = Pairs(bytes);
    let belong = pairs.by_ref().all(|variable| match variable.slot() {
        Some(known) => known.about() == about,
        None => about == About::Request,
    });
    belong && pairs.0.is_empty()
}
