//! Sockets between processes of one machine: bytes, and descriptors beside them.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
    accept_with, bind, recvmsg, sendmsg, shutdown, socket_with, sockopt,
};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A connection. The other end is not trusted: closing what it sends must not keep a thread waiting.
#[derive(Debug)]
pub struct Stream(Option<OwnedFd>);

/// As many descriptors go together.
pub const DESCRIPTORS: usize = 2;

/// As many descriptors as the kernel lets a process send together (`SCM_MAX_FD`). There is room for all of them: what found none the
/// kernel would close for this process, and a [lingering](forbid_lingering) socket would keep it waiting.
const AT_ONCE: usize = 253;

/// Who is at the other end: for whoever connected, the process that made the socket listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its process.
    pub pid: u32,
    /// Its user.
    pub user: u32,
}

/// Where the directory of a supervisor's sockets is, and in it the one of a worker: `<prefix>.<supervisor>/<number>.sock`.
pub fn path(prefix: &Path, supervisor: u32, number: u32) -> PathBuf {
    directory(prefix, supervisor).join(format!("{number}.sock"))
}

/// The directory of a supervisor's sockets.
pub fn directory(prefix: &Path, supervisor: u32) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(format!(".{supervisor}"));
    name.into()
}

/// A socket at `path` that accepts connections, up to `backlog` of which may wait. It does not block.
///
/// # Errors
/// Those of the system. A path of more than 107 bytes is too long for one.
pub fn listen(path: &Path, backlog: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// A connection of whoever waits at a socket.
///
/// # Errors
/// Those of the system; `WouldBlock` if nobody waits.
pub fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    Ok(accept_with(&listener, SocketFlags::CLOEXEC)?)
}

/// Connects to the socket at `path`. Waits up to `patience` while its queue is full.
///
/// # Errors
/// Nobody listens there (`ConnectionRefused`, `NotFound`), or not in time (`WouldBlock`).
pub fn connect(path: &Path, patience: Duration) -> io::Result<Stream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The time to wait for room in the queue is that of sending (unix(7)); 0 would be for ever.
    let patience = patience.max(Duration::from_millis(1));
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(Stream::new(socket))
}

/// Who is at the other end of a connection.
///
/// # Errors
/// Those of the system.
pub fn peer(socket: impl AsFd) -> io::Result<Credentials> {
    let found = sockopt::socket_peercred(socket)?;
    let pid = u32::try_from(found.pid.as_raw_nonzero().get()).unwrap_or(0);
    Ok(Credentials { pid, user: found.uid.as_raw() })
}

impl Stream {
    /// A connection that was accepted.
    pub fn new(socket: OwnedFd) -> Stream {
        Stream(Some(socket))
    }

    /// For how long a read or a write may wait. `None`: for ever.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        let time = time.map(|time| time.max(Duration::from_millis(1)));
        sockopt::set_socket_timeout(self, sockopt::Timeout::Recv, time)?;
        sockopt::set_socket_timeout(self, sockopt::Timeout::Send, time)?;
        Ok(())
    }

    /// For how long a read may wait; writes as before. `None`: for ever.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        let time = time.map(|time| time.max(Duration::from_millis(1)));
        Ok(sockopt::set_socket_timeout(self, sockopt::Timeout::Recv, time)?)
    }

    /// Reads what there is, or waits for something. 0 is the end. Descriptors that come along are appended to
    /// `descriptors`, however many they are.
    ///
    /// # Errors
    /// `WouldBlock` when the time is over.
    pub fn read(&self, into: &mut [u8], descriptors: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
        self.receive(into, descriptors, RecvFlags::CMSG_CLOEXEC)
    }

    /// As [`read`](Stream::read), without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing.
    pub fn try_read(
        &self,
        into: &mut [u8],
        descriptors: &mut VecDeque<OwnedFd>,
    ) -> io::Result<usize> {
        self.receive(into, descriptors, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
    }

    fn receive(
        &self,
        into: &mut [u8],
        descriptors: &mut VecDeque<OwnedFd>,
        flags: RecvFlags,
    ) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(self, &mut [IoSliceMut::new(into)], &mut beside, flags) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received.inspect(forbid_lingering));
            }
        }
        Ok(received.bytes)
    }

    /// Writes all of the parts, and waits until they are in the socket. Descriptors go with the first byte.
    ///
    /// # Errors
    /// `WouldBlock` when the time is over, `BrokenPipe` or `ConnectionReset` when nobody is at the other end. Some of it may
    /// have been written.
    pub fn write(&self, parts: &[&[u8]], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut slices: [IoSlice<'_>; 3] = std::array::from_fn(|_| IoSlice::new(&[]));
        assert!(parts.len() <= slices.len(), "a frame has a header and a payload");
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        let mut left = &mut slices[..parts.len()];
        let mut descriptors = descriptors;
        while left.iter().any(|slice| !slice.is_empty()) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                let fit = beside.push(SendAncillaryMessage::ScmRights(descriptors));
                assert!(fit, "no more descriptors go together");
            }
            match sendmsg(self, left, &mut beside, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    descriptors = &[];
                    IoSlice::advance_slices(&mut left, count);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends one byte that says nothing, if there is room: whoever waits wakes up.
    pub fn nudge(&self) {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let _is_awake = rustix::net::send(self, b"n", flags);
    }
}

/// The process that closes the last descriptor of a TCP socket waits for as long as the process likes that had it before
/// (`SO_LINGER`).
fn forbid_lingering(descriptor: &OwnedFd) {
    // Of what is no socket nothing is to be forbidden.
    let _ = sockopt::set_socket_linger(descriptor, None);
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let Some(socket) = &self.0 else { unreachable!("it is there until the end of the stream") };
        socket.as_fd()
    }
}

impl From<Stream> for OwnedFd {
    fn from(mut stream: Stream) -> OwnedFd {
        let Some(socket) = stream.0.take() else {
            unreachable!("it is there until the end of the stream")
        };
        socket
    }
}

/// What has come and was not read is read now: there may be descriptors among it that the end of the socket would close.
impl Drop for Stream {
    fn drop(&mut self) {
        if self.0.is_none() {
            return;
        }
        // From here on nothing can come.
        let _ = shutdown(&*self, Shutdown::Both);
        let (mut bytes, mut descriptors) = ([0; 4096], VecDeque::new());
        while self.try_read(&mut bytes, &mut descriptors).is_ok_and(|count| count > 0) {
            descriptors.clear();
        }
    }
}

/// Two connected ends.
#[cfg(test)]
pub fn pair() -> io::Result<(Stream, Stream)> {
    let (one, other) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((Stream::new(one), Stream::new(other)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    fn pair() -> (tempfile::TempDir, Stream, Stream) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::from(listen(&path, 8).unwrap());
        let client = connect(&path, Duration::from_secs(1)).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(false).unwrap();
        (directory, client, Stream::new(server.into()))
    }

    #[test]
    fn bytes_and_descriptors_arrive_together() {
        let (_directory, client, server) = pair();
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"content").unwrap();
        client.write(&[b"he", b"", b"llo"], &[client.as_fd(), file.as_fd()]).unwrap();
        let (mut buffer, mut descriptors) = ([0; 16], VecDeque::new());
        assert_eq!(server.read(&mut buffer, &mut descriptors).unwrap(), 5);
        assert_eq!(descriptors.len(), DESCRIPTORS);
        assert_eq!(&buffer[..5], b"hello");
        let mut text = String::new();
        let mut received = File::from(descriptors.pop_back().unwrap());
        std::io::Seek::rewind(&mut received).unwrap();
        received.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
    }

    /// A descriptor whose closing takes 30 s, and the other end of its connection.
    fn lingering() -> (OwnedFd, std::net::TcpListener) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stuck = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stuck.set_nonblocking(true).unwrap();
        while std::io::Write::write(&mut stuck, &[0; 65_536]).is_ok() {}
        sockopt::set_socket_linger(&stuck, Some(Duration::from_secs(30))).unwrap();
        (stuck.into(), listener)
    }

    #[test]
    fn closing_what_another_process_has_sent_takes_no_time() {
        for is_read in [true, false] {
            let (_directory, client, server) = pair();
            let (stuck, _listener) = lingering();
            // The last of as many as go together.
            let file = tempfile::tempfile().unwrap();
            let all: Vec<_> = std::iter::repeat_n(file.as_fd(), AT_ONCE - 1).collect();
            let all = [all, vec![stuck.as_fd()]].concat();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            assert!(beside.push(SendAncillaryMessage::ScmRights(&all)));
            sendmsg(&client, &[IoSlice::new(b"x")], &mut beside, SendFlags::empty()).unwrap();
            drop(stuck);
            let begun = std::time::Instant::now();
            if is_read {
                let mut descriptors = VecDeque::new();
                assert_eq!(server.read(&mut [0; 4], &mut descriptors).unwrap(), 1);
                assert_eq!(descriptors.len(), AT_ONCE);
            }
            drop(server);
            assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        }
    }

    #[test]
    fn both_ends_know_each_other_and_notice_the_end() {
        let (_directory, client, server) = pair();
        let me = Credentials { pid: std::process::id(), user: rustix::process::getuid().as_raw() };
        assert_eq!(peer(&client).unwrap(), me);
        assert_eq!(peer(&server).unwrap(), me);
        drop(server);
        assert_eq!(client.read(&mut [0; 4], &mut VecDeque::new()).unwrap(), 0);
        assert_eq!(client.write(&[b"x"], &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn nothing_is_waited_for_longer_than_said() {
        let (_directory, client, _server) = pair();
        client.set_timeout(Some(Duration::from_millis(20))).unwrap();
        let wait = client.read(&mut [0; 4], &mut VecDeque::new()).unwrap_err();
        assert_eq!(wait.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(
            client.try_read(&mut [0; 4], &mut VecDeque::new()).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        let large = vec![0; 8 << 20];
        let full = client.write(&[&large], &[]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn nobody_listens_where_nobody_is() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = connect(&directory.path().join("s"), Duration::ZERO).unwrap_err();
        assert_eq!(nowhere.kind(), io::ErrorKind::NotFound);
        let path = directory.path().join("t");
        drop(listen(&path, 1).unwrap());
        let gone = connect(&path, Duration::ZERO).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn sockets_of_one_supervisor_lie_together() {
        let path = path(Path::new("/run/wsgi"), 12, 3);
        assert_eq!(path, Path::new("/run/wsgi.12/3.sock"));
    }
}
