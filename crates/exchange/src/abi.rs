//! The C tables through which two shared objects meet: the httpd module, which has requests, and the engine, which
//! answers them. They are built apart, perhaps by different compilers, so nothing but C layouts and C functions goes
//! between them; memory is freed by who made it, and a panic stops at the table.
//!
//! The module looks up [`ENTRY`] in the engine and gets an [`Engine`]. It compares [`VERSION`], calls `start` once in
//! each process, `serve` for each request from any thread, and `stop` once when the process ends.
#![expect(
    unsafe_code,
    reason = "calls through tables of C functions and back into the objects behind them"
)]

use crate::{
    Answer, Bytes, Code, Exchange, Failure, Found, Gateway, Head, Level, LookUp, Outcome, Part,
    ProcessSlot, Push, Question, ReadError, Record, Reply, Scoreboard, Settings, Slice, Slot,
    Surroundings, WorkerSlot, WriteError,
};
use std::cell::OnceCell;
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The version of everything in this crate that has a C layout. Both sides must have been built with the same one.
pub const VERSION: u32 = 4;

/// The symbol of the engine that is an [`EntryFunction`].
pub const ENTRY: &CStr = c"rustgi_engine";

/// Returns the engine's table, which lives as long as the shared object.
pub type EntryFunction = unsafe extern "C" fn() -> *const Engine;

/// Runs `body`; a panic in it becomes `otherwise`. The panic hook has printed it to standard error, the error log.
fn guarded<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// One setting as it crosses.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawPair<'a> {
    name: Bytes<'a>,
    value: Bytes<'a>,
}

/// What an engine offers.
#[repr(C)]
pub struct Engine {
    /// [`VERSION`] of the engine's build. The first field in every version.
    pub version: u32,
    start: unsafe extern "C" fn(Slice<'_, RawPair<'_>>, RawSurroundings) -> bool,
    serve: unsafe extern "C" fn(*mut c_void, *const ExchangeTable, *mut MaybeUninit<Outcome>),
    ask: unsafe extern "C" fn(
        *mut c_void,
        *const ExchangeTable,
        RawQuestion<'_>,
        RawReplySink,
        *mut u16,
    ),
    stop: unsafe extern "C" fn(),
}

/// What an engine implements to be offered as an [`Engine`]: one gateway in a process, started once.
pub trait Process: Gateway + Sized + 'static {
    /// Starts it. On failure everything worth knowing has been noted in its log.
    fn start(settings: Settings, surroundings: Box<dyn Surroundings>) -> Option<&'static Self>;
    /// The one that was started, if it was.
    fn started() -> Option<&'static Self>;
    /// Ends it, on the thread and in the process that started it; no request is being served, or will be.
    fn stop(&self);
}

impl Engine {
    /// The table of a process of type `P`.
    pub const fn of<P: Process>() -> Engine {
        Engine {
            version: VERSION,
            start: start::<P>,
            serve: serve::<P>,
            ask: ask::<P>,
            stop: stop::<P>,
        }
    }

    /// Starts the engine in this process. `false` if it could not be; its log says why.
    pub fn start(&self, settings: &Settings, surroundings: RawSurroundings) -> bool {
        let pairs = settings.to_pairs();
        let raw: Vec<RawPair<'_>> = pairs
            .iter()
            .map(|(name, value)| RawPair { name: (*name).into(), value: Bytes::new(value) })
            .collect();
        // SAFETY: the table came from an engine of this `VERSION`; `raw` outlives the call.
        unsafe { (self.start)(Slice::new(&raw), surroundings) }
    }

    /// Has the engine answer one request.
    pub fn serve<E: Exchange>(&self, exchange: &mut E) -> Outcome {
        let mut outcome = MaybeUninit::uninit();
        let carrier: *mut E = exchange;
        // SAFETY: `carrier` is the exclusive borrow that the thunks of this very table turn back into `&mut E`, and
        // the engine uses it only until this call returns.
        unsafe { (self.serve)(carrier.cast(), &Thunks::<E>::TABLE, &mut outcome) };
        // SAFETY: `serve` writes the outcome on every path.
        unsafe { outcome.assume_init() }
    }

    /// Has the engine ask a script about a request; see [`Gateway::ask`].
    ///
    /// # Errors
    /// As there.
    pub fn ask<E: Exchange>(
        &self,
        exchange: &mut E,
        question: Question<'_>,
        reply: &mut dyn FnMut(Reply<'_>),
    ) -> Result<(), Failure> {
        type Sink<'s> = &'s mut dyn FnMut(Reply<'_>);
        unsafe extern "C" fn take(state: *mut c_void, kind: u32, bytes: Bytes<'_>) {
            // SAFETY: `state` is the address of the `reply` variable below, and `ask` waits for this call.
            let sink = unsafe { &mut *state.cast::<Sink<'_>>() };
            guarded((), || reply_of(kind, bytes).into_iter().for_each(sink));
        }
        let mut reply = reply;
        let state: *mut Sink<'_> = &raw mut reply;
        let sink = RawReplySink { state: state.cast(), take };
        let mut result = 0;
        let carrier: *mut E = exchange;
        let table = &Thunks::<E>::TABLE;
        // SAFETY: as in `serve`; sink and result outlive the call.
        unsafe { (self.ask)(carrier.cast(), table, question.into(), sink, &mut result) };
        match result {
            0 => Ok(()),
            number => Err(Failure::from(Code::from_number(number).unwrap_or(Code::Panic))),
        }
    }

    /// Ends the engine in this process.
    pub fn stop(&self) {
        // SAFETY: the table came from an engine of this `VERSION`.
        unsafe { (self.stop)() }
    }
}

unsafe extern "C" fn start<P: Process>(
    pairs: Slice<'_, RawPair<'_>>,
    surroundings: RawSurroundings,
) -> bool {
    guarded(false, || {
        let read = Settings::from_pairs(pairs.iter().map(|p| (p.name.get(), p.value.get())));
        match read {
            Ok(settings) => P::start(settings, Box::new(surroundings)).is_some(),
            Err(error) => {
                surroundings.note(&Record::new(Level::Error, error.to_string().as_bytes()));
                false
            }
        }
    })
}

unsafe extern "C" fn serve<P: Process>(
    carrier: *mut c_void,
    table: *const ExchangeTable,
    outcome: *mut MaybeUninit<Outcome>,
) {
    let result = guarded(Outcome::Truncated(Failure::from(Code::Panic)), || {
        // SAFETY: `Engine::serve` passes the address of a promoted constant.
        let table = unsafe { &*table };
        let mut carried = Carried { carrier, table, head: OnceCell::new(), lent: PhantomData };
        match P::started() {
            Some(process) => process.serve(&mut carried),
            None => Outcome::Unanswered(Failure::from(Code::EmbeddedUnavailable)),
        }
    });
    // SAFETY: `Engine::serve` passes the address of its own variable.
    unsafe { (*outcome).write(result) };
}

unsafe extern "C" fn ask<P: Process>(
    carrier: *mut c_void,
    table: *const ExchangeTable,
    question: RawQuestion<'_>,
    sink: RawReplySink,
    result: *mut u16,
) {
    let answer = guarded(Err(Failure::from(Code::Panic)), || {
        // SAFETY: `Engine::ask` passes the address of a promoted constant.
        let table = unsafe { &*table };
        let mut carried = Carried { carrier, table, head: OnceCell::new(), lent: PhantomData };
        let (Some(process), Some(question)) = (P::started(), question.question()) else {
            return Err(Failure::from(Code::EmbeddedUnavailable));
        };
        process.ask(&mut carried, question, &mut |reply| {
            let (kind, bytes) = raw_reply(reply);
            // SAFETY: the sink is the closure of `Engine::ask`, which waits for this call.
            unsafe { (sink.take)(sink.state, kind, bytes) }
        })
    });
    // SAFETY: `Engine::ask` passes the address of its own variable.
    unsafe { *result = answer.err().map_or(0, |failure| failure.code as u16) };
}

unsafe extern "C" fn stop<P: Process>() {
    guarded((), || {
        if let Some(process) = P::started() {
            process.stop();
        }
    });
}

/// Surroundings as they cross: functions that need nothing else.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawSurroundings {
    note: unsafe extern "C" fn(*const Record<'_>),
    scoreboard: unsafe extern "C" fn(RawSlotSink, *mut Scoreboard) -> bool,
}

/// Where the places of a scoreboard go.
#[repr(C)]
struct RawSlotSink {
    state: *mut c_void,
    process: unsafe extern "C" fn(*mut c_void, *const ProcessSlot),
    worker: unsafe extern "C" fn(*mut c_void, *const WorkerSlot<'_>),
}

impl Surroundings for RawSurroundings {
    fn note(&self, record: &Record<'_>) {
        // SAFETY: `record` is a live borrow; the function is one that `RawSurroundings::of` made.
        unsafe { (self.note)(record) }
    }

    fn scoreboard(&self, sink: &mut dyn FnMut(Slot<'_>)) -> Option<Scoreboard> {
        type Sink<'s> = &'s mut dyn FnMut(Slot<'_>);
        unsafe extern "C" fn process(state: *mut c_void, slot: *const ProcessSlot) {
            // SAFETY: `state` is the address of the `sink` variable below, `slot` a live borrow.
            let (sink, slot) = unsafe { (&mut *state.cast::<Sink<'_>>(), &*slot) };
            guarded((), || sink(Slot::Process(*slot)));
        }
        unsafe extern "C" fn worker(state: *mut c_void, slot: *const WorkerSlot<'_>) {
            // SAFETY: as above.
            let (sink, slot) = unsafe { (&mut *state.cast::<Sink<'_>>(), &*slot) };
            guarded((), || sink(Slot::Worker(*slot)));
        }
        let mut sink = sink;
        let state: *mut Sink<'_> = &raw mut sink;
        let mut scoreboard = MaybeUninit::uninit();
        let raw = RawSlotSink { state: state.cast(), process, worker };
        // SAFETY: the function is one that `RawSurroundings::of` made; sink and scoreboard outlive the call.
        let there = unsafe { (self.scoreboard)(raw, scoreboard.as_mut_ptr()) };
        // SAFETY: written when there is one.
        there.then(|| unsafe { scoreboard.assume_init() })
    }
}

impl RawSurroundings {
    /// The surroundings `S`, which have no state of their own: they are made for each call.
    pub fn of<S: Surroundings + Default>() -> RawSurroundings {
        unsafe extern "C" fn note<S: Surroundings + Default>(record: *const Record<'_>) {
            // SAFETY: `RawSurroundings::note` passes a live borrow.
            let record = unsafe { &*record };
            guarded((), || S::default().note(record));
        }
        unsafe extern "C" fn scoreboard<S: Surroundings + Default>(
            sink: RawSlotSink,
            into: *mut Scoreboard,
        ) -> bool {
            guarded(false, || {
                // SAFETY: the sink's functions belong to its state, which waits for this call.
                let mut give = |slot: Slot<'_>| unsafe {
                    match slot {
                        Slot::Process(slot) => (sink.process)(sink.state, &slot),
                        Slot::Worker(slot) => (sink.worker)(sink.state, &slot),
                    }
                };
                let Some(found) = S::default().scoreboard(&mut give) else { return false };
                // SAFETY: `RawSurroundings::scoreboard` passes the address of its own variable.
                unsafe { into.write(found) };
                true
            })
        }
        RawSurroundings { note: note::<S>, scoreboard: scoreboard::<S> }
    }
}

/// A question as it crosses.
#[repr(C)]
struct RawQuestion<'a> {
    kind: u32,
    first: Bytes<'a>,
    second: Bytes<'a>,
}

impl<'a> From<Question<'a>> for RawQuestion<'a> {
    fn from(question: Question<'a>) -> Self {
        let (kind, first, second) = match question {
            Question::Password { user, password } => (0, user, password),
            Question::RealmHash { user, realm } => (1, user, realm),
            Question::Groups { user } => (2, user, &[][..]),
            Question::Access { host } => (3, host, &[][..]),
            Question::Dispatch => (4, &[][..], &[][..]),
        };
        RawQuestion { kind, first: first.into(), second: second.into() }
    }
}

impl<'a> RawQuestion<'a> {
    fn question(&self) -> Option<Question<'a>> {
        let (first, second) = (self.first.get(), self.second.get());
        Some(match self.kind {
            0 => Question::Password { user: first, password: second },
            1 => Question::RealmHash { user: first, realm: second },
            2 => Question::Groups { user: first },
            3 => Question::Access { host: first },
            4 => Question::Dispatch,
            _ => return None,
        })
    }
}

/// Where replies go: a number for the kind, and the bytes that belong to it.
#[repr(C)]
struct RawReplySink {
    state: *mut c_void,
    take: unsafe extern "C" fn(*mut c_void, u32, Bytes<'_>),
}

/// A reply as a number and bytes.
fn raw_reply<'a>(reply: Reply<'a>) -> (u32, Bytes<'a>) {
    let (kind, bytes): (u32, &'a [u8]) = match reply {
        Reply::Yes => (0, &[]),
        Reply::No => (1, &[]),
        Reply::YesAs(user) => (2, user),
        Reply::Hash(hash) => (3, hash),
        Reply::Group(group) => (4, group),
        Reply::ProcessGroup(group) => (5, group),
        Reply::ApplicationGroup(group) => (6, group),
        Reply::CallableObject(name) => (7, name),
    };
    (kind, bytes.into())
}

fn reply_of<'a>(kind: u32, bytes: Bytes<'a>) -> Option<Reply<'a>> {
    let bytes = bytes.get();
    Some(match kind {
        0 => Reply::Yes,
        1 => Reply::No,
        2 => Reply::YesAs(bytes),
        3 => Reply::Hash(bytes),
        4 => Reply::Group(bytes),
        5 => Reply::ProcessGroup(bytes),
        6 => Reply::ApplicationGroup(bytes),
        7 => Reply::CallableObject(bytes),
        _ => return None,
    })
}

/// Where the bytes of a request body go.
#[repr(C)]
struct RawSink {
    state: *mut c_void,
    take: unsafe extern "C" fn(*mut c_void, Bytes<'_>),
}

/// A look-up as it crosses.
#[repr(C)]
struct RawLookUp<'a> {
    kind: u32,
    level: Level,
    name: Bytes<'a>,
}

const LOOK_UP_TLS: u32 = 0;
const LOOK_UP_TLS_VARIABLE: u32 = 1;
const LOOK_UP_LOGGED: u32 = 2;
const LOOK_UP_NATIVE: u32 = 3;

/// An answer to a [`RawLookUp`].
#[repr(C)]
struct RawFound<'a> {
    kind: u32,
    flag: bool,
    text: Bytes<'a>,
    address: usize,
}

const FOUND_NOTHING: u32 = 0;
const FOUND_FLAG: u32 = 1;
const FOUND_TEXT: u32 = 2;
const FOUND_ADDRESS: u32 = 3;

/// The methods of an exchange. Those that can fail return 0 or the number of the error.
#[repr(C)]
pub struct ExchangeTable {
    /// The last argument is the address of an uninitialised `Head`.
    head: unsafe extern "C" fn(*const c_void, *mut c_void),
    read: unsafe extern "C" fn(*mut c_void, usize, RawSink, *mut usize) -> u32,
    start: unsafe extern "C" fn(*mut c_void, *const Answer<'_>) -> u32,
    write: unsafe extern "C" fn(*mut c_void, Bytes<'_>, Push) -> u32,
    send_file: unsafe extern "C" fn(*mut c_void, i32, Part, Push, *mut u64) -> u32,
    note: unsafe extern "C" fn(*mut c_void, *const Record<'_>),
    /// The last argument is the address of a `RawFound`.
    look_up: unsafe extern "C" fn(*const c_void, RawLookUp<'_>, *mut c_void),
}

/// Makes the table of an exchange of type `E`.
struct Thunks<E>(PhantomData<E>);

impl<E: Exchange> Thunks<E> {
    const TABLE: ExchangeTable = ExchangeTable {
        head: Self::head,
        read: Self::read,
        start: Self::start,
        write: Self::write,
        send_file: Self::send_file,
        note: Self::note,
        look_up: Self::look_up,
    };

    /// # Safety
    /// `carrier` is what `Engine::serve` was given, and no other borrow of it is in use.
    unsafe fn carrier<'a>(carrier: *mut c_void) -> &'a mut E {
        // SAFETY: the caller's promise; the engine serialises its calls (`Exchange` takes `&mut self`).
        unsafe { &mut *carrier.cast::<E>() }
    }

    unsafe extern "C" fn head(carrier: *const c_void, into: *mut c_void) {
        // SAFETY: `Carried::head` passes its own carrier.
        let carrier = unsafe { &*carrier.cast::<E>() };
        // SAFETY: `Carried::head` passes the address of its own variable.
        unsafe { into.cast::<Head<'_>>().write(carrier.head()) };
    }

    unsafe extern "C" fn read(
        carrier: *mut c_void,
        most: usize,
        sink: RawSink,
        count: *mut usize,
    ) -> u32 {
        guarded(ReadError::Failed as u32, || {
            // SAFETY: `Carried::read` passes its own carrier.
            let carrier = unsafe { Self::carrier(carrier) };
            // SAFETY: `sink` is the closure of `Carried::read`, which waits for this call.
            let mut take = |bytes: &[u8]| unsafe { (sink.take)(sink.state, Bytes::new(bytes)) };
            match carrier.read(most, &mut take) {
                Ok(read) => {
                    // SAFETY: `Carried::read` passes the address of its own variable.
                    unsafe { *count = read };
                    0
                }
                Err(error) => error as u32,
            }
        })
    }

    unsafe extern "C" fn start(carrier: *mut c_void, answer: *const Answer<'_>) -> u32 {
        guarded(WriteError::Refused as u32, || {
            // SAFETY: `Carried::start` passes its own carrier and a live borrow.
            let (carrier, answer) = unsafe { (Self::carrier(carrier), &*answer) };
            carrier.start(answer).err().map_or(0, |error| error as u32)
        })
    }

    unsafe extern "C" fn write(carrier: *mut c_void, bytes: Bytes<'_>, push: Push) -> u32 {
        guarded(WriteError::Refused as u32, || {
            // SAFETY: `Carried::write` passes its own carrier.
            let carrier = unsafe { Self::carrier(carrier) };
            carrier.write(bytes.get(), push).err().map_or(0, |error| error as u32)
        })
    }

    unsafe extern "C" fn send_file(
        carrier: *mut c_void,
        file: i32,
        part: Part,
        push: Push,
        sent: *mut u64,
    ) -> u32 {
        guarded(WriteError::Refused as u32, || {
            // SAFETY: `Carried::send_file` passes its own carrier.
            let carrier = unsafe { Self::carrier(carrier) };
            // SAFETY: `Carried::send_file` holds the descriptor's borrow while it waits for this call.
            let file = unsafe { BorrowedFd::borrow_raw(file) };
            match carrier.send_file(file, part, push) {
                Ok(count) => {
                    // SAFETY: `Carried::send_file` passes the address of its own variable.
                    unsafe { *sent = count };
                    0
                }
                Err(error) => error as u32,
            }
        })
    }

    unsafe extern "C" fn note(carrier: *mut c_void, record: *const Record<'_>) {
        guarded((), || {
            // SAFETY: `Carried::note` passes its own carrier and a live borrow.
            let (carrier, record) = unsafe { (Self::carrier(carrier), &*record) };
            carrier.note(record);
        });
    }

    unsafe extern "C" fn look_up(carrier: *const c_void, what: RawLookUp<'_>, into: *mut c_void) {
        guarded((), || {
            // SAFETY: `Carried::look_up` passes its own carrier and the address of its own variable.
            let (carrier, into) =
                unsafe { (&*carrier.cast::<E>(), &mut *into.cast::<RawFound<'_>>()) };
            let what = match what.kind {
                LOOK_UP_TLS => LookUp::Tls,
                LOOK_UP_TLS_VARIABLE => LookUp::TlsVariable(what.name.get()),
                LOOK_UP_LOGGED => LookUp::Logged(what.level),
                LOOK_UP_NATIVE => LookUp::Native,
                _ => return,
            };
            match carrier.look_up(what) {
                Some(Found::Flag(flag)) => (into.kind, into.flag) = (FOUND_FLAG, flag),
                Some(Found::Text(text)) => {
                    (into.kind, into.text) = (FOUND_TEXT, Bytes::new(text));
                }
                Some(Found::Address(address)) => {
                    (into.kind, into.address) = (FOUND_ADDRESS, address);
                }
                None => {}
            }
        });
    }
}

/// The engine's view of an exchange that lives in another shared object.
pub struct Carried<'a> {
    carrier: *mut c_void,
    table: &'a ExchangeTable,
    /// Asked for once: it does not change.
    head: OnceCell<Head<'a>>,
    lent: PhantomData<&'a mut ()>,
}

// SAFETY: the carrier behind it is an `Exchange`, which is `Send`, and this is the only handle to it.
unsafe impl Send for Carried<'_> {}

fn read_result(number: u32) -> Result<(), ReadError> {
    use ReadError::{Disconnected, Failed, Malformed, TimedOut, TooLarge};
    match number {
        0 => Ok(()),
        n => Err([Disconnected, TimedOut, Malformed, TooLarge]
            .into_iter()
            .find(|error| *error as u32 == n)
            .unwrap_or(Failed)),
    }
}

fn write_result(number: u32) -> Result<(), WriteError> {
    match number {
        0 => Ok(()),
        n if n == WriteError::Gone as u32 => Err(WriteError::Gone),
        n if n == WriteError::Answered as u32 => Err(WriteError::Answered),
        _ => Err(WriteError::Refused),
    }
}

impl Exchange for Carried<'_> {
    fn head(&self) -> Head<'_> {
        *self.head.get_or_init(|| {
            let mut head = MaybeUninit::<Head<'_>>::uninit();
            // SAFETY: carrier and table belong together; the head borrows from the carrier, as its lifetime says.
            unsafe { (self.table.head)(self.carrier, head.as_mut_ptr().cast()) };
            // SAFETY: `head` writes it.
            unsafe { head.assume_init() }
        })
    }

    fn read(&mut self, most: usize, sink: &mut dyn FnMut(&[u8])) -> Result<usize, ReadError> {
        unsafe extern "C" fn take(state: *mut c_void, bytes: Bytes<'_>) {
            // SAFETY: `state` is the address of the `sink` variable below, and `read` waits for this call.
            let sink = unsafe { &mut *state.cast::<&mut dyn FnMut(&[u8])>() };
            guarded((), || sink(bytes.get()));
        }
        let mut sink = sink;
        let state: *mut &mut dyn FnMut(&[u8]) = &raw mut sink;
        let mut count = 0;
        let raw = RawSink { state: state.cast(), take };
        // SAFETY: carrier and table belong together; sink and count outlive the call.
        read_result(unsafe { (self.table.read)(self.carrier, most, raw, &mut count) })?;
        Ok(count)
    }

    fn start(&mut self, answer: &Answer<'_>) -> Result<(), WriteError> {
        // SAFETY: carrier and table belong together.
        write_result(unsafe { (self.table.start)(self.carrier, answer) })
    }

    fn write(&mut self, bytes: &[u8], push: Push) -> Result<(), WriteError> {
        // SAFETY: carrier and table belong together; the carrier keeps nothing of `bytes`.
        write_result(unsafe { (self.table.write)(self.carrier, Bytes::new(bytes), push) })
    }

    fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        part: Part,
        push: Push,
    ) -> Result<u64, WriteError> {
        let mut sent = 0;
        let file = file.as_raw_fd();
        // SAFETY: carrier and table belong together; the borrow of the descriptor outlives the call.
        write_result(unsafe { (self.table.send_file)(self.carrier, file, part, push, &mut sent) })?;
        Ok(sent)
    }

    fn note(&mut self, record: &Record<'_>) {
        // SAFETY: carrier and table belong together.
        unsafe { (self.table.note)(self.carrier, record) }
    }

    fn look_up(&self, what: LookUp<'_>) -> Option<Found<'_>> {
        let (kind, level, name) = match what {
            LookUp::Tls => (LOOK_UP_TLS, Level::Error, Bytes::EMPTY),
            LookUp::TlsVariable(name) => (LOOK_UP_TLS_VARIABLE, Level::Error, Bytes::new(name)),
            LookUp::Logged(level) => (LOOK_UP_LOGGED, level, Bytes::EMPTY),
            LookUp::Native => (LOOK_UP_NATIVE, Level::Error, Bytes::EMPTY),
        };
        let mut found =
            RawFound { kind: FOUND_NOTHING, flag: false, text: Bytes::EMPTY, address: 0 };
        // SAFETY: carrier and table belong together; what is found borrows from the carrier, as its lifetime says.
        unsafe {
            (self.table.look_up)(
                self.carrier,
                RawLookUp { kind, level, name },
                (&raw mut found).cast(),
            )
        };
        match found.kind {
            FOUND_FLAG => Some(Found::Flag(found.flag)),
            FOUND_TEXT => Some(Found::Text(found.text.get())),
            FOUND_ADDRESS => Some(Found::Address(found.address)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
