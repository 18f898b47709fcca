//! Numbers and bytes in a row, little-endian, bytes with their length in front.

use std::fmt;

/// What came is not what was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed frame: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Appends fields to a buffer.
pub trait Put {
    /// One byte.
    fn put_u8(&mut self, value: u8);
    /// Two bytes.
    fn put_u16(&mut self, value: u16);
    /// Four bytes.
    fn put_u32(&mut self, value: u32);
    /// Eight bytes.
    fn put_u64(&mut self, value: u64);
    /// Bytes and their length. More than 4 GiB cannot be said; no caller has that many.
    fn put_bytes(&mut self, value: &[u8]);
}

/// A row of pairs of a byte and bytes, in memory that has been made for all of them at once: there are many in a request.
pub struct Tagged<'a>(&'a mut [u8]);

impl<'a> Tagged<'a> {
    /// What stands before the bytes.
    const HEAD: usize = 5;

    /// So many pairs with so many bytes in all, at the end of a row.
    pub fn new(row: &'a mut Vec<u8>, pairs: usize, bytes: usize) -> Tagged<'a> {
        let start = row.len();
        row.resize(start + pairs * Self::HEAD + bytes, 0);
        Tagged(&mut row[start..])
    }

    /// The next pair. They must not be more than have been announced.
    #[inline(always)]
    pub fn put(&mut self, tag: u8, value: &[u8]) {
        let length = u32::try_from(value.len()).expect("a field is shorter than 4 GiB");
        let [a, b, c, d] = length.to_le_bytes();
        let (head, rest) = std::mem::take(&mut self.0).split_at_mut(Self::HEAD);
        head.copy_from_slice(&[tag, a, b, c, d]);
        let (place, rest) = rest.split_at_mut(value.len());
        place.copy_from_slice(value);
        self.0 = rest;
    }
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_bytes(&mut self, value: &[u8]) {
        let length = u32::try_from(value.len()).expect("a field is shorter than 4 GiB");
        self.put_u32(length);
        self.extend_from_slice(value);
    }
}

/// Takes fields off the front of a payload.
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of a payload.
    pub fn new(payload: &'a [u8]) -> Self {
        Fields(payload)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Malformed("it ends too soon"))?;
        self.0 = rest;
        Ok(*first)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// One byte that is 0 or 1.
    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a flag is neither 0 nor 1")),
        }
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// Bytes with their length in front.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        let (bytes, rest) =
            self.0.split_at_checked(length).ok_or(Malformed("bytes are missing"))?;
        self.0 = rest;
        Ok(bytes)
    }

    /// The next pair of a byte and bytes.
    #[inline(always)]
    pub fn tagged(&mut self) -> Option<(u8, &'a [u8])> {
        let [tag, a, b, c, d, rest @ ..] = self.0 else { return None };
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes([*a, *b, *c, *d]) as usize)?;
        self.0 = rest;
        Some((*tag, bytes))
    }

    /// What is left: bytes whose length is that of the payload.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// There must be nothing left.
    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("there is more than was expected")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_their_order() {
        let mut row = Vec::new();
        row.put_u8(7);
        row.put_u16(300);
        row.put_u32(70_000);
        row.put_u64(u64::MAX);
        row.put_bytes(b"environ");
        row.put_bytes(b"");
        let mut tagged = Tagged::new(&mut row, 2, 6);
        tagged.put(9, b"tagged");
        tagged.put(0, b"");
        let mut fields = Fields::new(&row);
        assert_eq!(fields.u8(), Ok(7));
        assert_eq!(fields.u16(), Ok(300));
        assert_eq!(fields.u32(), Ok(70_000));
        assert_eq!(fields.i64(), Ok(-1));
        assert_eq!(fields.bytes(), Ok(&b"environ"[..]));
        assert_eq!(fields.bytes(), Ok(&b""[..]));
        assert_eq!(fields.tagged(), Some((9, &b"tagged"[..])));
        assert_eq!(fields.tagged(), Some((0, &b""[..])));
        assert_eq!(fields.end(), Ok(()));
    }

    #[test]
    fn what_is_cut_or_too_long_is_refused() {
        let mut row = Vec::new();
        row.put_bytes(b"environ");
        for cut in 0..row.len() {
            assert!(Fields::new(&row[..cut]).bytes().is_err(), "{cut}");
            assert!(Fields::new(&[b"t", &row[..cut]].concat()).tagged().is_none(), "{cut}");
        }
        assert!(Fields::new(&[0xff, 0xff, 0xff, 0xff, 0]).bytes().is_err());
        assert!(Fields::new(&[2]).flag().is_err());
        assert!(Fields::new(&[1]).end().is_err());
    }
}
