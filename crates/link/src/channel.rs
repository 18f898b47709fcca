//! A channel: whole messages with any number of descriptors each, in both directions, for what is said seldom. Messages
//! may be large, so each is sent as its length and its bytes.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest message in bytes.
const MOST: usize = 64 << 20;
/// How many descriptors the kernel takes at once (`SCM_MAX_FD` is 253).
const AT_ONCE: usize = 128;

/// One end of a channel.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    received: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Channel {
    /// Both ends of a new channel, closed on exec.
    ///
    /// # Errors
    /// Those of the system.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let (a, b) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok((Channel::new(a), Channel::new(b)))
    }

    /// The end that a process was given.
    pub fn new(socket: OwnedFd) -> Channel {
        Channel { socket, received: Vec::new(), descriptors: VecDeque::new() }
    }

    /// Sends a message, and waits until it is in the socket.
    ///
    /// # Errors
    /// Nobody is at the other end.
    pub fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let length = u32::try_from(message.len()).map_err(io::Error::other)?.to_le_bytes();
        let count = u32::try_from(descriptors.len()).map_err(io::Error::other)?.to_le_bytes();
        let head = [length, count].concat();
        // Descriptors go with bytes of their own, so that they are there before the message is complete.
        self.write(&head, &[])?;
        for some in descriptors.chunks(AT_ONCE) {
            self.write(&[0], some)?;
        }
        self.write(message, &[])
    }

    fn write(&self, mut bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut descriptors = descriptors;
        while !bytes.is_empty() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                beside.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            let slices = [IoSlice::new(bytes)];
            match sendmsg(&self.socket, &slices, &mut beside, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    descriptors = &[];
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for a message. `None` is the end of the channel.
    ///
    /// # Errors
    /// What comes is no message, or the system fails.
    pub fn receive(&mut self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            if self.fill(RecvFlags::empty())? == 0 {
                return Ok(None);
            }
        }
    }

    /// A message, if one is there. `Err(UnexpectedEof)` is the end of the channel.
    ///
    /// # Errors
    /// As [`receive`](Channel::receive).
    pub fn try_receive(&mut self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.fill(RecvFlags::DONTWAIT) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// The first message of what has been received, if it is complete.
    fn take(&mut self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let Some((head, rest)) = self.received.split_first_chunk::<8>() else { return Ok(None) };
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (length, count) = (number(0) as usize, number(4) as usize);
        if length > MOST || count > MOST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
        }
        let marks = count.div_ceil(AT_ONCE);
        if rest.len() < marks + length || self.descriptors.len() < count {
            return Ok(None);
        }
        let message = rest[marks..marks + length].to_vec();
        self.received.drain(..8 + marks + length);
        Ok(Some((message, self.descriptors.drain(..count).collect())))
    }

    fn fill(&mut self, flags: RecvFlags) -> io::Result<usize> {
        let mut buffer = [0; 8192];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let received = loop {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            match recvmsg(&self.socket, &mut slices, &mut beside, flags) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.received.extend_from_slice(&buffer[..received.bytes]);
        Ok(received.bytes)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> OwnedFd {
        channel.socket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_and_with_their_descriptors() {
        let (here, mut there) = Channel::pair().unwrap();
        let files: Vec<_> = (0..300).map(|_| tempfile::tempfile().unwrap()).collect();
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let large = vec![7; 3 << 20];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                here.send(b"first", &borrowed[..2]).unwrap();
                here.send(&large, &borrowed).unwrap();
                here.send(b"", &[]).unwrap();
            });
            let (message, descriptors) = there.receive().unwrap().unwrap();
            assert_eq!((message.as_slice(), descriptors.len()), (&b"first"[..], 2));
            let (message, descriptors) = there.receive().unwrap().unwrap();
            assert_eq!((message.len(), descriptors.len()), (large.len(), 300));
            let (message, descriptors) = there.receive().unwrap().unwrap();
            assert_eq!((message.len(), descriptors.len()), (0, 0));
        });
        assert!(there.try_receive().unwrap().is_none());
        drop(here);
        assert!(there.receive().unwrap().is_none());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let (here, mut there) = Channel::pair().unwrap();
        here.write(&[0xff; 8], &[]).unwrap();
        assert!(there.receive().is_err());
    }
}
