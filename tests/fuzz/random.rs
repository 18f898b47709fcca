//! Numbers that only look random: the same seed gives the same ones for ever, on every machine and with every version
//! of every crate, so that a seed in a message is a request that can be sent again. Made for one request each.

/// SplitMix64.
pub struct Random(u64);

impl Random {
    /// The numbers of one request of a volley.
    pub fn of(seed: u64, request: u64) -> Random {
        let mut random = Random(seed ^ request.wrapping_mul(0xd134_2543_de82_ef95));
        random.number();
        random
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.number() % end).unwrap()
    }

    /// Whether the one case of so many is this one.
    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, these: &'a [T]) -> &'a T {
        &these[self.below(these.len())]
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.number().to_le_bytes()[0]
    }

    /// A byte of those that parsers trip over.
    pub fn sharp_byte(&mut self) -> u8 {
        *self.pick(b"\0\r\n\t :;,\"\\/%?#_.-@[]{}\x01\x08\x0b\x1b\x7f\x80\xa0\xc3\xff0aZ")
    }
}
