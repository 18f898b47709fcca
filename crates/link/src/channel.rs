//! A channel: whole messages with any number of descriptors each, in both directions, for what is said seldom. Messages
//! may be large, so each is sent as its length and its bytes, or as a sealed memfd that holds the bytes.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recv,
    recvmsg, sendmsg, shutdown, socketpair, sockopt,
};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The longest message in bytes.
const MOST: usize = 64 << 20;
/// How many descriptors the kernel takes at once (`SCM_MAX_FD` is 253).
const AT_ONCE: usize = 128;
/// The longest message in bytes that [`Channel::try_send`] sends through the socket itself.
const INLINE: usize = 4096;
/// In the count of descriptors: the first descriptor is a memfd that holds the message.
const IN_MEMFD: u32 = 1 << 31;
/// A memfd with these seals can be read without waiting, and the sender cannot change its bytes any more.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE);

/// Upper bound in bytes of what [`Channel::send_buffered`] keeps for a process at the other end that does not read.
const MOST_UNSENT: usize = 8 << 20;

/// One end of a channel.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    received: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
    most_bytes: usize,
    most_descriptors: usize,
    unsent: VecDeque<Unsent>,
}

/// A part of a message that is not yet in the socket.
#[derive(Debug)]
struct Unsent {
    bytes: Vec<u8>,
    /// Sent with the first byte.
    descriptors: Vec<OwnedFd>,
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
        let (received, descriptors) = (Vec::new(), VecDeque::new());
        let unsent = VecDeque::new();
        Channel { socket, received, descriptors, most_bytes: MOST, most_descriptors: MOST, unsent }
    }

    /// Takes no message that is longer or has more descriptors: the other end is not trusted. If no descriptors may come, none is
    /// received: the process that closes the last descriptor of a file may have to wait for as long as the sender likes (a socket
    /// that lingers, a file system that does not answer).
    pub fn accept_at_most(&mut self, bytes: usize, descriptors: usize) {
        (self.most_bytes, self.most_descriptors) = (bytes, descriptors);
    }

    /// For how long [`send`](Channel::send) may wait for room in the socket each time it must.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_send_timeout(&self, time: Duration) -> io::Result<()> {
        Ok(sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Send, Some(time))?)
    }

    /// Sends a message without waiting, for a caller with an event loop: what does not fit into the socket now is kept, and
    /// [`flush`](Channel::flush) sends it. The caller must not use [`send`](Channel::send) or [`try_send`](Channel::try_send) on
    /// the same channel: their messages would be sent before the kept ones.
    ///
    /// # Errors
    /// More than 8 MiB would be kept (`WouldBlock`), there are no more descriptors, or the other end is closed.
    pub fn send_buffered(
        &mut self,
        message: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let kept: usize = self.unsent.iter().map(|part| part.bytes.len()).sum();
        if kept + message.len() > MOST_UNSENT {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut add = |bytes: &[u8], descriptors: &[BorrowedFd<'_>]| {
            let descriptors = descriptors.iter().map(|fd| fd.try_clone_to_owned());
            let descriptors = descriptors.collect::<io::Result<_>>()?;
            self.unsent.push_back(Unsent { bytes: bytes.to_vec(), descriptors });
            io::Result::Ok(())
        };
        add(&head(message, descriptors)?, &[])?;
        for some in descriptors.chunks(AT_ONCE) {
            add(&[0], some)?;
        }
        add(message, &[])?;
        self.flush()
    }

    /// Sends as much of the kept messages as fits into the socket now.
    ///
    /// # Errors
    /// The other end is closed.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some(mut part) = self.unsent.pop_front() {
            let borrowed: Vec<_> = part.descriptors.iter().map(AsFd::as_fd).collect();
            let (sent, result) = self.write_some(&part.bytes, &borrowed, SendFlags::DONTWAIT);
            if let Err(error) = result {
                if sent > 0 {
                    part.descriptors.clear();
                }
                part.bytes.drain(..sent);
                self.unsent.push_front(part);
                return match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(()),
                    _ => Err(error),
                };
            }
        }
        Ok(())
    }

    /// Whether messages are kept: the caller must call [`flush`](Channel::flush) when the socket has room.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends a message without waiting, for a caller without an event loop: all of it, or the channel cannot be used any more,
    /// because a part of the message may have been sent. A message above 4 KiB is sent as a memfd, so that several messages of any
    /// length fit into the socket while the process at the other end does not read. That process must accept any number of
    /// descriptors.
    ///
    /// # Errors
    /// There is no room (`WouldBlock`), there are no more descriptors, or the other end is closed.
    pub fn try_send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT;
        if message.len() <= INLINE {
            return self.send_with(message, descriptors, flags);
        }
        let memfd = memfd_of(message)?;
        let all: Vec<_> = [memfd.as_fd()].into_iter().chain(descriptors.iter().copied()).collect();
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        let count = u32::try_from(all.len()).map_err(io::Error::other)?;
        let head = [length.to_le_bytes(), (count | IN_MEMFD).to_le_bytes()].concat();
        self.write(&head, &[], flags)?;
        all.chunks(AT_ONCE).try_for_each(|some| self.write(&[0], some, flags))
    }

    /// Sends a message, and waits until it is in the socket.
    ///
    /// # Errors
    /// Nobody is at the other end.
    pub fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(message, descriptors, SendFlags::empty())
    }

    fn send_with(
        &self,
        message: &[u8],
        descriptors: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> io::Result<()> {
        if descriptors.is_empty() {
            // In one write: a process that replaces its end between two messages does not lose half of one.
            return self.write(&[head(message, &[])?.as_slice(), message].concat(), &[], flags);
        }
        // Descriptors go with bytes of their own, so that they are there before the message is complete.
        self.write(&head(message, descriptors)?, &[], flags)?;
        for some in descriptors.chunks(AT_ONCE) {
            self.write(&[0], some, flags)?;
        }
        self.write(message, &[], flags)
    }

    fn write(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> io::Result<()> {
        self.write_some(bytes, descriptors, flags).1
    }

    /// Writes the bytes; returns how many were written before an error. The descriptors are sent with the first byte.
    fn write_some(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> (usize, io::Result<()>) {
        let mut descriptors = descriptors;
        let flags = flags | SendFlags::NOSIGNAL;
        let mut sent = 0;
        while sent < bytes.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                beside.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            let slices = [IoSlice::new(&bytes[sent..])];
            match sendmsg(&self.socket, &slices, &mut beside, flags) {
                Ok(count) => {
                    sent += count;
                    descriptors = &[];
                }
                Err(Errno::INTR) => {}
                Err(error) => return (sent, Err(error.into())),
            }
        }
        (sent, Ok(()))
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
        let in_memfd = number(4) & IN_MEMFD != 0;
        let (length, count) = (number(0) as usize, (number(4) & !IN_MEMFD) as usize);
        if length > self.most_bytes || count > self.most_descriptors {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
        }
        let marks = count.div_ceil(AT_ONCE);
        let inline = if in_memfd { 0 } else { length };
        if rest.len() < marks + inline || self.descriptors.len() < count {
            return Ok(None);
        }
        let mut message = rest[marks..marks + inline].to_vec();
        self.received.drain(..8 + marks + inline);
        let mut descriptors: Vec<OwnedFd> = self.descriptors.drain(..count).collect();
        if in_memfd {
            let no_memfd = || {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the memfd of a message is missing or not sealed",
                )
            };
            if descriptors.is_empty() {
                return Err(no_memfd());
            }
            let memfd = descriptors.remove(0);
            if !fcntl_get_seals(&memfd).is_ok_and(|seals| seals.contains(SEALS)) {
                return Err(no_memfd());
            }
            message.resize(length, 0);
            File::from(memfd).read_exact_at(&mut message, 0)?;
        }
        Ok(Some((message, descriptors)))
    }

    /// Ends the channel to a process that is not trusted. If something that it has sent was not received, there may be descriptors
    /// among it: then the socket is returned, and the caller must see to it that closing it keeps nothing waiting.
    pub fn end(self) -> Option<OwnedFd> {
        // From here on nothing can come.
        let _ = shutdown(&self.socket, Shutdown::Both);
        let mut byte = [0];
        let unread = recv(&self.socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        unread.is_ok_and(|(_, count)| count > 0).then_some(self.socket)
    }

    /// As `fill`, but descriptors stay in the socket, and are an error.
    fn fill_with_bytes(&mut self, flags: RecvFlags) -> io::Result<usize> {
        let mut buffer = [0; 8192];
        let look = |buffer: &mut [u8], flags| loop {
            let mut beside = RecvAncillaryBuffer::default();
            match recvmsg(&self.socket, &mut [IoSliceMut::new(buffer)], &mut beside, flags) {
                Err(Errno::INTR) => {}
                other => return other,
            }
        };
        let there = look(&mut buffer, flags | RecvFlags::PEEK)?;
        // There is no room for descriptors, and the kernel says so if there are some with these bytes.
        if there.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors have come"));
        }
        if there.bytes == 0 {
            return Ok(0);
        }
        let received = look(&mut buffer[..there.bytes], RecvFlags::DONTWAIT)?;
        self.received.extend_from_slice(&buffer[..received.bytes]);
        Ok(received.bytes)
    }

    fn fill(&mut self, flags: RecvFlags) -> io::Result<usize> {
        if self.most_descriptors == 0 {
            return self.fill_with_bytes(flags);
        }
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
            // Even if the head of the message never comes.
            if self.descriptors.len() > self.most_descriptors {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors"));
            }
        }
        self.received.extend_from_slice(&buffer[..received.bytes]);
        Ok(received.bytes)
    }
}

/// The head of a message: its length in bytes and the number of its descriptors.
fn head(message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?.to_le_bytes();
    let count = u32::try_from(descriptors.len()).map_err(io::Error::other)?.to_le_bytes();
    Ok([length, count].concat())
}

/// A sealed memfd that holds these bytes.
fn memfd_of(message: &[u8]) -> io::Result<OwnedFd> {
    let memfd = memfd_create("rustgi-message", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memfd);
    file.write_all(message)?;
    fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
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
        here.write(&[0xff; 8], &[], SendFlags::empty()).unwrap();
        assert!(there.receive().is_err());
    }

    #[test]
    fn who_does_not_read_is_not_waited_for() {
        let (here, _there) = Channel::pair().unwrap();
        let full = (0..10_000).find_map(|_| here.try_send(&[0; 1000], &[]).err());
        assert_eq!(full.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        here.set_send_timeout(Duration::from_millis(10)).unwrap();
        let late = here.send(&[0; 1 << 20], &[]).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_buffered_message_waits_for_room_and_arrives_whole_and_in_order() {
        let (mut here, mut there) = Channel::pair().unwrap();
        let files: Vec<_> = (0..3).map(|_| tempfile::tempfile().unwrap()).collect();
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let large = vec![7; 3 << 20];
        here.send_buffered(&large, &borrowed[..1]).unwrap();
        here.send_buffered(b"second", &borrowed).unwrap();
        assert!(here.has_unsent());
        let mut received = Vec::new();
        while received.len() < 2 {
            here.flush().unwrap();
            received.extend(there.try_receive().unwrap());
        }
        assert!(!here.has_unsent());
        let sizes: Vec<_> = received.iter().map(|(bytes, fds)| (bytes.len(), fds.len())).collect();
        assert_eq!(sizes, [(large.len(), 1), (6, 3)]);
        let full = (0..100).find_map(|_| here.send_buffered(&large, &[]).err());
        assert_eq!(full.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        drop(there);
        assert!(here.flush().is_err());
    }

    #[test]
    fn several_long_messages_with_many_descriptors_fit_into_a_socket_that_is_not_read() {
        let (here, mut there) = Channel::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let (message, files) = (vec![3; 1 << 20], vec![file.as_fd(); 300]);
        for _ in 0..8 {
            here.try_send(&message, &files).unwrap();
        }
        for _ in 0..8 {
            let (back, descriptors) = there.try_receive().unwrap().unwrap();
            assert!(back == message && descriptors.len() == 300);
        }
    }

    #[test]
    fn a_file_that_is_not_a_sealed_memfd_is_refused_as_a_message() {
        let (here, mut there) = Channel::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let head = [5000_u32.to_le_bytes(), (1 | IN_MEMFD).to_le_bytes()].concat();
        here.write(&head, &[], SendFlags::empty()).unwrap();
        here.write(&[0], &[file.as_fd()], SendFlags::empty()).unwrap();
        assert!(there.receive().is_err());
    }

    #[test]
    fn descriptors_that_may_not_come_are_not_received() {
        let (here, mut there) = Channel::pair().unwrap();
        there.accept_at_most(100, 0);
        let (mut kept, sent) = std::os::unix::net::UnixStream::pair().unwrap();
        here.send(b"first", &[]).unwrap();
        here.write(&[7], &[sent.as_fd()], SendFlags::empty()).unwrap();
        drop(sent);
        let received = there.try_receive().and_then(|_| there.try_receive());
        assert_eq!(received.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let socket = there.end().unwrap();
        kept.set_nonblocking(true).unwrap();
        let mut has_other_end = || io::Read::read(&mut kept, &mut [0]).is_err();
        assert!(has_other_end(), "the descriptor is still on its way");
        assert!(here.send(b"more", &[]).is_err());
        drop(socket);
        assert!(!has_other_end());
        let (here, there) = Channel::pair().unwrap();
        assert!(there.end().is_none());
        drop(here);
    }

    #[test]
    fn more_than_may_come_is_refused() {
        let file = tempfile::tempfile().unwrap();
        for (bytes, files) in [(&b"five!"[..], &[][..]), (b"four", &[file.as_fd()])] {
            let (here, mut there) = Channel::pair().unwrap();
            there.accept_at_most(4, 0);
            here.send(b"four", &[]).unwrap();
            assert!(there.receive().unwrap().is_some());
            here.send(bytes, files).unwrap();
            assert!(there.receive().is_err());
        }
    }
}
