//! A frame: eight bytes of header and a payload.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | the [`Kind`] |
//! | 1 | flags; what they mean depends on the kind |
//! | 2, 3 | the [`Tag`] of the request that it belongs to |
//! | 4 to 7 | the length of the payload |

use crate::Malformed;

/// The length of a frame's header.
pub const HEADER: usize = 8;

/// What a frame is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Child to worker: a request. If its body is in a file, the descriptor has come before it.
    Request = 1,
    /// Child to worker: bytes of the body, as an answer to [`Kind::Want`]. None are the end of the body.
    Body,
    /// Child to worker: the body cannot be had in full; the payload is the number of a `ReadError`.
    BodyFailed,
    /// Worker to child: the first frame of a connection. It goes through the socket, with the descriptors of the worker's
    /// page and of the memory of the connection.
    Hello,
    /// Worker to child: a record for the log of the request.
    Note,
    /// Worker to child: the application wants up to so many bytes of the body; with 0 the client shall only continue.
    Want,
    /// Worker to child: status and headers, and perhaps the first bytes of the body or all of them. Flags: [`Ready`](crate::Ready).
    Answer,
    /// Worker to child: bytes of the body. Flags: [`Ready`](crate::Ready).
    Data,
    /// Worker to child: a part of a file as bytes of the body; its descriptor has come before it. Flags: [`Ready`](crate::Ready).
    File,
    /// Worker to child: how the request ended, if that was not said with the last bytes.
    End,
}

impl Kind {
    const ALL: [Kind; 10] = [
        Kind::Request,
        Kind::Body,
        Kind::BodyFailed,
        Kind::Hello,
        Kind::Note,
        Kind::Want,
        Kind::Answer,
        Kind::Data,
        Kind::File,
        Kind::End,
    ];

    /// The longest payload of a frame of this kind in bytes. Only the payload of [`Kind::Data`] need not be gathered before
    /// it can be used.
    pub const fn limit(self) -> usize {
        match self {
            Kind::Request => 16 << 20,
            Kind::Body => 1 << 20,
            Kind::Answer => 16 << 20,
            Kind::Note => 1 << 20,
            Kind::Data => u32::MAX as usize,
            Kind::BodyFailed | Kind::Hello | Kind::Want | Kind::File | Kind::End => 64,
        }
    }
}

/// Which request of its connection a frame belongs to, so that nothing that is left of one is taken for a part of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(u16);

impl Tag {
    /// That of what belongs to no request, or says itself to which.
    pub const NONE: Tag = Tag(0);

    /// That of the request with this serial.
    pub const fn of_serial(serial: u32) -> Tag {
        Tag(serial as u16)
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Flags of the kind.
    pub flags: u8,
    /// Which request it belongs to.
    pub tag: Tag,
    /// The length of its payload in bytes.
    pub length: usize,
}

impl Frame {
    /// Reads a header.
    ///
    /// # Errors
    /// There is no such kind, or the payload would be longer than its kind allows.
    pub fn decode(bytes: [u8; HEADER]) -> Result<Frame, Malformed> {
        let [kind, flags, low, high, length @ ..] = bytes;
        let place = kind.checked_sub(Kind::Request as u8);
        let kind = place.and_then(|place| Kind::ALL.get(usize::from(place)).copied());
        let kind = kind.ok_or(Malformed("there is no such kind of frame"))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > kind.limit() {
            return Err(Malformed("a frame is longer than its kind allows"));
        }
        Ok(Frame { kind, flags, tag: Tag(u16::from_le_bytes([low, high])), length })
    }
}

/// The header of a frame whose payload has `length` bytes. No caller has more than 4 GiB.
pub fn header(kind: Kind, flags: u8, tag: Tag, length: usize) -> [u8; HEADER] {
    let length = u32::try_from(length).expect("a payload is shorter than 4 GiB").to_le_bytes();
    let [a, b, c, d] = length;
    let [low, high] = tag.0.to_le_bytes();
    [kind as u8, flags, low, high, a, b, c, d]
}

/// Appends a frame whose payload is what `fill` appends.
pub fn append(
    into: &mut Vec<u8>,
    kind: Kind,
    flags: u8,
    tag: Tag,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    let start = into.len();
    into.extend_from_slice(&[0; HEADER]);
    fill(into);
    let length = into.len() - start - HEADER;
    into[start..start + HEADER].copy_from_slice(&header(kind, flags, tag, length));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back() {
        for kind in Kind::ALL {
            let tag = Tag::of_serial(0x1_1234);
            let frame = Frame::decode(header(kind, 3, tag, 17)).unwrap();
            assert_eq!(frame, Frame { kind, flags: 3, tag, length: 17 });
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert!(Frame::decode([0; HEADER]).is_err());
        assert!(Frame::decode([11, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(Frame::decode(header(Kind::End, 0, Tag::NONE, 65)).is_err());
        assert!(Frame::decode(header(Kind::Request, 0, Tag::NONE, (16 << 20) + 1)).is_err());
    }
}
