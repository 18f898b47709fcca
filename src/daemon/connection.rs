//! A connection to a worker: one request at a time is under way on it. Made when
//! a request finds none that is idle; kept for later requests until the worker or this child ends.

use exchange::Header;
use link::{DESCRIPTORS, Line, Mapped, Offer, Page, Shared, Side, Stream, Tray};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use wire::{Frame, HEADER, Hello, Kind, Malformed, Request, Tag};

/// How long a read waits before it is looked at what else could be done.
const TICK: Duration = Duration::from_millis(50);
/// How long it waits first for a worker to take a request, before it has another of its threads come. Then twice as long, and so on;
const MOMENT: Duration = Duration::from_millis(2);
/// after this one it is time to look elsewhere as well.
const LAST: Duration = Duration::from_millis(16);

/// Upper bound of these waits. They double because a request that is not taken for so long waits for the lock of an interpreter, not for
/// a thread.
const LONGEST: Duration = Duration::from_millis(512);

/// More than most answers need.
const BUFFER: usize = 16 * 1024;
/// As much of a large body as is given to a client of whom it is not known that it takes more: httpd keeps twice as much in
/// front of a socket that has no room before it waits.
pub const PIECE: usize = 32 * 1024;
/// As much of a large body is taken at once.
pub const LARGE: usize = 256 * 1024;
/// A buffer that has grown larger is not kept.
const KEPT: usize = 256 * 1024;

/// A connection on which the worker has not said who it is.
pub struct Knock {
    stream: Stream,
    /// What has been read of the first thing that it says.
    hello: [u8; Hello::LENGTH],
    read: usize,
    descriptors: VecDeque<OwnedFd>,
    patience: Option<Duration>,
}

/// A connection to a worker.
pub struct Connection {
    line: Line,
    offer: Offer,
    input: Vec<u8>,
    /// What of `input` has come and not yet been taken.
    unread: Range<usize>,
    descriptors: VecDeque<OwnedFd>,
    output: Vec<u8>,
    headers: Vec<Header<'static>>,
    /// How long a read waits.
    tick: Duration,
    /// How many requests the worker had finished when it was looked at last.
    served: u64,
    /// The last frame of the response to its request has arrived.
    is_finished: bool,
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

impl Knock {
    /// Asks a worker who it is. A write may wait for so long later on.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(stream: Stream, patience: Option<Duration>) -> io::Result<Knock> {
        stream.set_read_timeout(Some(TICK))?;
        let (hello, descriptors) = ([0; Hello::LENGTH], VecDeque::new());
        Ok(Knock { stream, hello, read: 0, descriptors, patience })
    }

    /// Waits for the worker to say who it is: it must be the one with this number. Its page comes along, unless it is known
    /// already, and the memory of the line. Gives itself back if that takes longer than a tick.
    ///
    /// # Errors
    /// It is somebody else, or is gone.
    pub fn answered(
        mut self,
        number: u32,
        known: Option<&Arc<Mapped<Page>>>,
    ) -> Result<Result<Connection, Knock>, Lost> {
        while self.read < self.hello.len() {
            match self.stream.read(&mut self.hello[self.read..], &mut self.descriptors) {
                Ok(0) => return Err(Lost::Closed(io::ErrorKind::UnexpectedEof)),
                Ok(count) => self.read += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Err(self)),
                Err(error) => return Err(Lost::Closed(error.kind())),
            }
            if self.descriptors.len() > DESCRIPTORS {
                return Err(Malformed("more descriptors than were agreed on").into());
            }
        }
        self.connection(number, known).map(Ok)
    }

    fn connection(
        mut self,
        number: u32,
        known: Option<&Arc<Mapped<Page>>>,
    ) -> Result<Connection, Lost> {
        let hello = Hello::read(&self.hello)?;
        if hello.worker != number {
            return Err(Malformed("another worker has answered").into());
        }
        let mut memory =
            || self.descriptors.pop_front().ok_or(Malformed("a worker shows no memory"));
        let (page, tray) = (memory()?, memory()?);
        let page = match known {
            Some(page) => Arc::clone(page),
            None => Arc::new(
                Shared::<Page>::adopt(page).and_then(|page| page.map_for_now()).map_err(lost)?,
            ),
        };
        let tray = Shared::<Tray>::adopt(tray).and_then(|tray| tray.map_for_now()).map_err(lost)?;
        let line = Line::new(page, hello.slot, tray, self.stream, Side::Child, self.patience)
            .ok_or(Malformed("there is no such slot"))?;
        Ok(Connection {
            offer: line.offer().last(),
            line,
            input: vec![0; BUFFER],
            unread: 0..0,
            descriptors: VecDeque::new(),
            output: Vec::new(),
            tick: TICK,
            served: 0,
            is_finished: false,
            headers: Vec::new(),
        })
    }
}

impl Connection {
    /// The worker's page.
    pub fn page(&self) -> &Arc<Mapped<Page>> {
        self.line.page()
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
        self.line.restart();
        self.is_finished = false;
        self.line.offer().offer(self.offer);
        // First, as the worker looks for it when the request says so.
        if let Some(body) = body {
            self.line.send_descriptor(body)?;
        }
        self.tick = MOMENT;
        self.served = self.page().served();
        self.line.call(&[&self.output, request.inline()])?;
        Ok(true)
    }

    /// Takes the offer back. `false` if the worker has taken it: nobody else may have it then.
    pub fn withdraw(&self) -> bool {
        self.line.offer().withdraw(self.offer)
    }

    /// Notes that the last frame of the response has arrived.
    pub fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Whether the last frame of the response has arrived.
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Gives up the request. `true` if a thread of the worker is still running it; the worker then reports when the thread is free.
    pub fn give_up(&self) -> bool {
        !self.is_finished && !self.withdraw() && self.line.offer().abandon(self.offer)
    }

    /// Whether the worker has taken what was offered.
    pub fn is_taken(&self) -> bool {
        self.line.offer().is_taken(self.offer)
    }

    /// Sends a part of a request's body, or that there is no more.
    ///
    /// # Errors
    /// As [`offer`](Connection::offer).
    pub fn send(&self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        self.line.write(&[&wire::header(kind, 0, self.tag(), payload.len()), payload])
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
        Tag::of_serial(self.offer.serial())
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
            self.fill(most.min(LARGE))?;
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
    ///
    /// # Errors
    /// There is none, or too many are waiting.
    pub fn descriptor(&mut self) -> Result<OwnedFd, Lost> {
        if self.descriptors.is_empty() {
            self.line.descriptors(&mut self.descriptors).map_err(lost)?;
        }
        self.descriptors.pop_front().ok_or(Malformed("a file has no descriptor").into())
    }

    /// Memory for the headers of an answer; to be given back.
    pub fn headers(&mut self) -> Vec<Header<'static>> {
        std::mem::take(&mut self.headers)
    }

    /// Takes it back.
    pub fn recycle(&mut self, headers: Vec<Header<'static>>) {
        self.headers = headers;
    }

    /// Whether there are bytes that were not taken.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty() || self.line.has_bytes()
    }

    /// Waits until the worker says something, or is gone; `false` when the time is over.
    pub fn wait(&self, time: Duration) -> bool {
        self.line.wait(Some(time)).is_ok()
    }

    /// Has the worker say at the socket, which is given to `wait`, that it has written something. Whether it has, or is gone.
    ///
    /// # Errors
    /// Too many descriptors have come.
    pub fn wait_with<T>(
        &mut self,
        wait: impl FnOnce(Option<BorrowedFd<'_>>) -> T,
    ) -> Result<(T, bool), Lost> {
        self.line.listen();
        // What was written before is not told of.
        let waited = wait((!self.line.has_bytes()).then(|| self.line.as_fd()));
        self.line.hush(&mut self.descriptors).map_err(lost)?;
        Ok((waited, self.line.has_bytes() || self.line.has_ended()))
    }

    /// Whether it can serve another request: nothing is left of the one before.
    pub fn is_clean(&self) -> bool {
        !self.has_unread() && self.descriptors.is_empty()
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

    /// Reads once. There shall be room for so many bytes that are not taken.
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
        loop {
            match self.line.read(&mut self.input[self.unread.end..], Some(self.tick)) {
                Ok(0) => return Err(Lost::Closed(io::ErrorKind::UnexpectedEof)),
                Ok(count) => {
                    self.unread.end += count;
                    return Ok(());
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(lost(error)),
                Err(_) => {}
            }
            let is_taken = self.is_taken();
            // As long as the worker goes on, it will come to this one.
            let served = self.page().served();
            let before = std::mem::replace(&mut self.served, served);
            if !is_taken && self.tick >= TICK {
                self.line.force_wake();
            } else if !is_taken && served == before {
                self.line.urge();
            }
            if self.tick >= LAST {
                self.tick = if is_taken { TICK } else { (self.tick * 2).min(LONGEST) };
                return Err(Lost::Tick);
            }
            self.tick = if is_taken { TICK } else { self.tick * 2 };
        }
    }
}

/// The worker is told at once, whatever it waits for.
impl Drop for Connection {
    fn drop(&mut self) {
        self.line.end();
    }
}

/// Why nothing more comes, as the line says it.
fn lost(error: io::Error) -> Lost {
    match error.kind() {
        io::ErrorKind::WouldBlock => Lost::Tick,
        io::ErrorKind::InvalidData => Malformed("the memory of a line makes no sense").into(),
        kind => Lost::Closed(kind),
    }
}

/// The same memory for headers of another answer: an empty list has no lifetime to speak of.
pub fn emptied<'a, 'b>(mut list: Vec<Header<'a>>) -> Vec<Header<'b>> {
    list.clear();
    // Collecting in place keeps the allocation (`Vec`'s `FromIterator`); there is nothing to convert.
    list.into_iter().map(|_| unreachable!("the list is empty")).collect()
}
