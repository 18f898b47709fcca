//! What operators ask the supervisor over a socket of its own: `rustgi ctl`.

use link::Channel;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use wire::control::{Ask, Told, decode, encode};

/// How many may ask at once.
const MOST: usize = 16;

/// The socket, and who is connected.
pub struct Operators {
    listener: UnixListener,
    channels: Vec<Channel>,
}

impl Operators {
    /// Those who connect to this socket.
    pub fn new(listener: OwnedFd) -> Operators {
        Operators { listener: UnixListener::from(listener), channels: Vec::new() }
    }

    /// The socket has been made again.
    pub fn listen(&mut self, listener: OwnedFd) {
        self.listener = UnixListener::from(listener);
    }

    /// The descriptors to poll, and for each whether for room to write, too.
    pub fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let channels = self.channels.iter().map(|it| (it.as_fd(), it.has_unsent()));
        [(self.listener.as_fd(), false)].into_iter().chain(channels)
    }

    /// Lets in who knocks, and answers who has asked.
    pub fn attend(&mut self, mut answer: impl FnMut(Ask) -> Told) {
        while let Ok((stream, _)) = self.listener.accept() {
            let own = nix::unistd::geteuid().as_raw();
            let is_let_in = link::peer(&stream).is_ok_and(|it| it.user == own || it.user == 0);
            if is_let_in && self.channels.len() < MOST {
                self.channels.push(Channel::new(stream.into()));
            }
        }
        self.channels.retain_mut(|channel| attend_one(channel, &mut answer).is_ok());
    }
}

fn attend_one(channel: &mut Channel, answer: &mut impl FnMut(Ask) -> Told) -> io::Result<()> {
    channel.flush()?;
    while let Some((message, _)) = channel.try_receive()? {
        let ask = decode(&message).map_err(io::Error::other)?;
        // The supervisor does not wait for a client that does not read.
        channel.send_buffered(&encode(&answer(ask)), &[])?;
    }
    Ok(())
}
