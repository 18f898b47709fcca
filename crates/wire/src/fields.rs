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

/// Fields of `N` bytes in all, which are made in their place and then appended at once: there are many in every request.
pub struct Fixed<const N: usize> {
    bytes: [u8; N],
    end: usize,
}

impl<const N: usize> Fixed<N> {
    /// What `fill` puts, which has to be `N` bytes.
    #[inline(always)]
    pub fn of(fill: impl FnOnce(&mut Fixed<N>)) -> [u8; N] {
        let mut fixed = Fixed { bytes: [0; N], end: 0 };
        fill(&mut fixed);
        assert!(fixed.end == N, "all fields are there");
        fixed.bytes
    }

    #[inline(always)]
    fn put<const M: usize>(&mut self, value: [u8; M]) {
        self.bytes[self.end..self.end + M].copy_from_slice(&value);
        self.end += M;
    }

    /// One byte.
    #[inline(always)]
    pub fn put_u8(&mut self, value: u8) {
        self.put([value]);
    }

    /// Two bytes.
    #[inline(always)]
    pub fn put_u16(&mut self, value: u16) {
        self.put(value.to_le_bytes());
    }

    /// Eight bytes.
    #[inline(always)]
    pub fn put_u64(&mut self, value: u64) {
        self.put(value.to_le_bytes());
    }

    /// Four bytes: how many bytes or other things follow. More than 4 GiB cannot be said; no caller has that many.
    #[inline(always)]
    pub fn put_length(&mut self, length: usize) {
        self.put_u32(u32::try_from(length).expect("a field is shorter than 4 GiB"));
    }

    /// Four bytes.
    #[inline(always)]
    pub fn put_u32(&mut self, value: u32) {
        self.put(value.to_le_bytes());
    }
}

/// Takes fields off the front of a payload.
#[derive(Clone)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of a payload.
    pub fn new(payload: &'a [u8]) -> Self {
        Fields(payload)
    }

    /// So many bytes as fields of their own, of which the compiler knows how many there are.
    #[inline(always)]
    pub fn fixed<const N: usize>(&mut self) -> Result<Fields<'a>, Malformed> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("it ends too soon"))?;
        self.0 = rest;
        Ok(Fields(first))
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Malformed("it ends too soon"))?;
        self.0 = rest;
        Ok(*first)
    }

    /// One byte.
    #[inline(always)]
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// One byte that is 0 or 1.
    #[inline(always)]
    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a flag is neither 0 nor 1")),
        }
    }

    /// Two bytes.
    #[inline(always)]
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    #[inline(always)]
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    #[inline(always)]
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Eight bytes, signed.
    #[inline(always)]
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// Bytes with their length in front.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    /// So many bytes.
    #[inline(always)]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) =
            self.0.split_at_checked(length).ok_or(Malformed("bytes are missing"))?;
        self.0 = rest;
        Ok(bytes)
    }

    /// What was taken between this and `later`, which has gone on from here.
    pub fn up_to(&self, later: &Fields<'a>) -> &'a [u8] {
        &self.0[..self.0.len() - later.0.len()]
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
        let mut fields = Fields::new(&row);
        assert_eq!(fields.u8(), Ok(7));
        assert_eq!(fields.u16(), Ok(300));
        assert_eq!(fields.u32(), Ok(70_000));
        assert_eq!(fields.i64(), Ok(-1));
        assert_eq!(fields.bytes(), Ok(&b"environ"[..]));
        assert_eq!(fields.bytes(), Ok(&b""[..]));
        assert_eq!(fields.end(), Ok(()));
    }

    #[test]
    fn fixed_fields_come_back_in_their_order() {
        let row = Fixed::<19>::of(|row| {
            row.put_u8(7);
            row.put_u16(300);
            row.put_u32(70_000);
            row.put_u64(u64::MAX);
            row.put_length(9);
        });
        let mut rest = Fields::new(&row);
        let mut fields = rest.fixed::<15>().unwrap();
        assert_eq!(fields.u8(), Ok(7));
        assert_eq!(fields.u16(), Ok(300));
        assert_eq!(fields.u32(), Ok(70_000));
        assert_eq!(fields.i64(), Ok(-1));
        assert_eq!(fields.end(), Ok(()));
        assert!(rest.fixed::<5>().is_err());
        assert_eq!(rest.u32(), Ok(9));
    }

    #[test]
    fn what_is_cut_or_too_long_is_refused() {
        let mut row = Vec::new();
        row.put_bytes(b"environ");
        for cut in 0..row.len() {
            assert!(Fields::new(&row[..cut]).bytes().is_err(), "{cut}");
        }
        assert!(Fields::new(&[0xff, 0xff, 0xff, 0xff, 0]).bytes().is_err());
        assert!(Fields::new(&[2]).flag().is_err());
        assert!(Fields::new(&[1]).end().is_err());
    }
}
