//! A connection to a worker: one request at a time is under way on it, offered in its slot of the worker's page. Made when
//! a request finds none that is idle; kept for later requests until the worker or this child ends.

use exchange::Header;
use link::{Mapped, Offer, Page, Shared, Stream};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use wire::{Frame, HEADER, Hello, Kind, Malformed, Request, Tag};

/// How long a read waits before it is looked at what else could be done.
pub const TICK: Duration = Duration::from_millis(50);

/// More than most answers need.
const BUFFER: usize = 16 * 1024;
/// As much of a large body as is passed on at once: httpd keeps twice as much in front of a socket that has no room before
/// it waits.
pub const PIECE: usize = 32 * 1024;
/// A buffer that has grown larger is not kept.
const KEPT: usize = 256 * 1024;
/// As many descriptors may be ahead of the frames that they belong to. Each takes one of this whole process's.
const FILES: usize = 4;

/// A connection to a worker.
pub struct Connection {
    stream: Stream,
    page: Option<Arc<Mapped<Page>>>,
    slot: u32,
    offer: Offer,
    input: Vec<u8>,
    /// What of `input` has been read from the socket and not yet been taken.
    unread: Range<usize>,
    descriptors: VecDeque<OwnedFd>,
    output: Vec<u8>,
    headers: Vec<Header<'static>>,
}

/// Why nothing more comes.
#[derive(Debug)]
pub enum Lost {
    /// Nothing came for a while. What is there stays.
    Tick,
    /// The worker is gone.
    Closed(io::ErrorKind),
    /// What came is none of what was agreed on.
    Malformed(Malformed),
}

impl From<Malformed> for Lost {
    fn from(malformed: Malformed) -> Self {
        Lost::Malformed(malformed)
    }
}

impl Connection {
    /// A connection on which the worker has said nothing yet. A write may wait for so long.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(stream: Stream, patience: Option<Duration>) -> io::Result<Connection> {
        stream.set_timeout(patience)?;
        stream.set_read_timeout(Some(TICK))?;
        Ok(Connection {
            stream,
            page: None,
            slot: 0,
            offer: Offer::from_serial(0),
            input: vec![0; BUFFER],
            unread: 0..0,
            descriptors: VecDeque::new(),
            output: Vec::new(),
            headers: Vec::new(),
        })
    }

    /// Whether the worker has said who it is.
    pub fn is_open(&self) -> bool {
        self.page.is_some()
    }

    /// Reads who the worker is: it must be the one with this number. Its page comes along, unless it is known already.
    ///
    /// # Errors
    /// It has not said it yet, or is somebody else.
    pub fn open(&mut self, number: u32, known: Option<&Arc<Mapped<Page>>>) -> Result<(), Lost> {
        let frame = self.frame()?;
        if frame.kind != Kind::Hello {
            return Err(Malformed("a worker did not say who it is").into());
        }
        let payload = self.payload(frame.length)?;
        let hello = Hello::decode(&self.input[payload.clone()])?;
        if hello.worker != number || hello.slot >= Page::SLOTS {
            return Err(Malformed("another worker has answered").into());
        }
        self.take(payload);
        let file = self.descriptors.pop_front().ok_or(Malformed("a worker has no page"))?;
        let page = match known {
            Some(page) => Arc::clone(page),
            None => Arc::new(mapped(file).map_err(|error| Lost::Closed(error.kind()))?),
        };
        self.slot = hello.slot;
        self.offer = page.last(hello.slot);
        self.page = Some(page);
        Ok(())
    }

    /// The worker's page, once it has said who it is.
    pub fn page(&self) -> Option<&Arc<Mapped<Page>>> {
        self.page.as_ref()
    }

    /// Offers a request to the worker, whose serial is that of this offer, and sends it. `false` if it is too large.
    ///
    /// # Errors
    /// Those of the system: the worker does not read, or is gone.
    pub fn offer(
        &mut self,
        request: &mut Request<'_>,
        body: Option<BorrowedFd<'_>>,
    ) -> io::Result<bool> {
        self.offer = self.offer.next();
        request.serial = self.offer.serial();
        self.output.clear();
        if !request.append_to(&mut self.output) {
            return Ok(false);
        }
        if let Some(page) = &self.page {
            page.offer(self.slot, self.offer);
        }
        self.stream.write(&[&self.output], body)?;
        Ok(true)
    }

    /// Takes the offer back. `false` if the worker has taken it: nobody else may have it then.
    pub fn withdraw(&self) -> bool {
        self.page.as_ref().is_none_or(|page| page.withdraw(self.slot, self.offer))
    }

    /// Whether the worker has taken what was offered.
    pub fn is_taken(&self) -> bool {
        self.page.as_ref().is_some_and(|page| page.is_taken(self.slot, self.offer))
    }

    /// Sends a part of a request's body, or that there is no more.
    ///
    /// # Errors
    /// As [`offer`](Connection::offer).
    pub fn send(&self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        self.stream.write(&[&wire::header(kind, 0, self.tag(), payload.len()), payload], None)
    }

    /// The next frame's header, which is taken.
    ///
    /// # Errors
    /// It is not there.
    pub fn frame(&mut self) -> Result<Frame, Lost> {
        while self.unread.len() < HEADER {
            self.fill(HEADER)?;
        }
        let start = self.unread.start;
        let bytes = self.input[start..start + HEADER].try_into();
        self.unread.start += HEADER;
        let frame = Frame::decode(bytes.map_err(|_| Malformed("a header is short"))?)?;
        if frame.tag != self.tag() {
            return Err(Malformed("it belongs to another request").into());
        }
        Ok(frame)
    }

    /// What all frames bear that belong to the request that was offered.
    fn tag(&self) -> Tag {
        match self.page {
            Some(_) => Tag::of_serial(self.offer.serial()),
            None => Tag::NONE,
        }
    }

    /// The whole of a frame's payload, which is not taken yet: where it lies.
    ///
    /// # Errors
    /// It is not there.
    pub fn payload(&mut self, length: usize) -> Result<Range<usize>, Lost> {
        while self.unread.len() < length {
            self.fill(length)?;
        }
        Ok(self.unread.start..self.unread.start + length)
    }

    /// Up to `most` bytes of a payload, at least one: where they lie.
    ///
    /// # Errors
    /// There are none.
    pub fn some(&mut self, most: usize) -> Result<Range<usize>, Lost> {
        if self.unread.is_empty() {
            self.fill(most.min(PIECE))?;
        }
        let end = self.unread.end.min(self.unread.start + most);
        Ok(self.unread.start..end)
    }

    /// The bytes that lie there.
    pub fn bytes(&self, place: Range<usize>) -> &[u8] {
        &self.input[place]
    }

    /// They have been used.
    pub fn take(&mut self, place: Range<usize>) {
        self.unread.start = place.end;
        if self.unread.is_empty() {
            self.unread = 0..0;
        }
    }

    /// The descriptor that came first and was not taken yet.
    pub fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// Memory for the headers of an answer; to be given back.
    pub fn headers(&mut self) -> Vec<Header<'static>> {
        std::mem::take(&mut self.headers)
    }

    /// Takes it back.
    pub fn recycle(&mut self, headers: Vec<Header<'static>>) {
        self.headers = headers;
    }

    /// Whether bytes have been read that were not taken.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Whether it can serve another request: nothing is left of the one before.
    pub fn is_clean(&self) -> bool {
        self.unread.is_empty() && self.descriptors.is_empty()
    }

    /// Makes it ready to wait for another request.
    pub fn rest(&mut self) {
        if self.input.len() > KEPT {
            self.input = vec![0; BUFFER];
        }
        self.output.clear();
        self.output.shrink_to(KEPT);
        self.headers.shrink_to(KEPT / size_of::<Header<'_>>());
    }

    /// Reads from the socket once. There shall be room for so many bytes that are not taken.
    fn fill(&mut self, room: usize) -> Result<(), Lost> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.input.len() - self.unread.start < room {
            self.input.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.input.len() < room {
            self.input.resize(room, 0);
        }
        let mut descriptor = None;
        let read = self.stream.read(&mut self.input[self.unread.end..], &mut descriptor);
        self.descriptors.extend(descriptor);
        if self.descriptors.len() > FILES {
            return Err(Malformed("more descriptors than files").into());
        }
        match read {
            Ok(0) => Err(Lost::Closed(io::ErrorKind::UnexpectedEof)),
            Ok(count) => {
                self.unread.end += count;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Lost::Tick),
            Err(error) => Err(Lost::Closed(error.kind())),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn mapped(file: OwnedFd) -> io::Result<Mapped<Page>> {
    Shared::<Page>::adopt(file)?.map_for_now()
}

/// The same memory for headers of another answer: an empty list has no lifetime to speak of.
pub fn emptied<'a, 'b>(mut list: Vec<Header<'a>>) -> Vec<Header<'b>> {
    list.clear();
    // Collecting in place keeps the allocation (`Vec`'s `FromIterator`); there is nothing to convert.
    list.into_iter().map(|_| unreachable!("the list is empty")).collect()
}
