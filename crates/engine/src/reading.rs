//! What has been read of a request body: the bytes left over from reading lines, and whether it has ended or failed.
//! No Python in here.

use exchange::{Body, ReadError};
use std::collections::VecDeque;

/// Where the bytes of a body come from.
pub trait Source {
    /// As [`exchange::Exchange::read`]; nothing if the request has ended.
    fn pull(&self, most: usize, sink: &mut dyn FnMut(&[u8])) -> Option<Result<usize, ReadError>>;
}

/// How far the body of a request has been read.
#[derive(Debug, Default)]
pub struct Reading {
    left_over: VecDeque<u8>,
    remaining: Option<u64>,
    touched: bool,
    ended: bool,
    failed: Option<Stop>,
    pulls: u64,
    delivered: u64,
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The body could not be read.
    Failed(ReadError),
    /// It could not be read earlier.
    FailedBefore,
    /// There is no memory for what was read of it.
    NoMemory,
    /// The request has ended.
    RequestEnded,
}

/// The piece in which lines are looked for.
const PIECE: usize = 8192;

impl Reading {
    /// Forgets the request before.
    pub fn begin(&mut self, body: Body) {
        let mut left_over = std::mem::take(&mut self.left_over);
        left_over.clear();
        left_over.shrink_to(PIECE);
        let remaining = match body {
            Body::None => Some(0),
            Body::Length(length) => Some(length),
            Body::Unknown => None,
        };
        *self = Reading { left_over, remaining, ended: body == Body::None, ..Reading::default() };
    }

    /// How many bytes there will be at the most, as far as the client has said.
    pub fn announced(&self) -> Option<u64> {
        self.remaining.map(|remaining| remaining + self.left_over.len() as u64)
    }

    /// Whether there is certainly nothing more to read.
    pub fn is_drained(&self) -> bool {
        self.ended && self.left_over.is_empty()
    }

    /// How often bytes were asked for, and how many were delivered.
    pub fn counts(&self) -> (u64, u64) {
        (self.pulls, self.delivered)
    }

    /// Whether an earlier call failed.
    pub fn check(&self) -> Result<(), Stop> {
        if self.failed.is_some() { Err(Stop::FailedBefore) } else { Ok(()) }
    }

    /// Lets the client continue if nothing has been read yet. Detached.
    pub fn touch(&mut self, source: &impl Source) -> Result<(), Stop> {
        if std::mem::replace(&mut self.touched, true) {
            return Ok(());
        }
        self.pull(source, 0, &mut |_| {}).map(drop)
    }

    /// Reads up to `most` bytes into `sink`, waiting until there are so many or the body ends. Detached.
    pub fn read(
        &mut self,
        source: &impl Source,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Stop> {
        let mut count = self.take_left_over(most, sink);
        while count < most && !self.ended {
            count += self.pull(source, most - count, sink)?;
        }
        self.delivered += count as u64;
        Ok(count)
    }

    /// Reads one line of at most `most` bytes into `line`, with its newline. Detached.
    pub fn read_line(
        &mut self,
        source: &impl Source,
        most: usize,
        line: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        let mut searched = 0;
        loop {
            let window = self.left_over.len().min(most);
            let found = self.newline(searched, window).map(|position| position + 1);
            searched = window;
            if let Some(end) = found.or((window == most || self.ended).then_some(window)) {
                line.try_reserve_exact(end).map_err(|_| self.give_up())?;
                line.extend(self.left_over.drain(..end));
                self.delivered += end as u64;
                return Ok(());
            }
            let mut piece = std::mem::take(&mut self.left_over);
            let mut full = false;
            let pulled = self.pull(source, PIECE, &mut |bytes| {
                full |= piece.try_reserve(bytes.len()).is_err();
                if !full {
                    piece.extend(bytes);
                }
            });
            self.left_over = piece;
            pulled?;
            if full {
                return Err(self.give_up());
            }
        }
    }

    /// Where the first newline stands among the bytes `from..to` that are left over.
    fn newline(&self, from: usize, to: usize) -> Option<usize> {
        let (first, second) = self.left_over.as_slices();
        let split = first.len();
        let (from_first, to_first) = (from.min(split), to.min(split));
        memchr::memchr(b'\n', &first[from_first..to_first])
            .map(|position| from_first + position)
            .or_else(|| {
                let (from_second, to_second) = (from.max(split), to.max(split));
                let tail = &second[from_second - split..to_second - split];
                memchr::memchr(b'\n', tail).map(|position| from_second + position)
            })
    }

    fn take_left_over(&mut self, most: usize, sink: &mut dyn FnMut(&[u8])) -> usize {
        let count = most.min(self.left_over.len());
        let (first, second) = self.left_over.as_slices();
        let split = count.min(first.len());
        sink(&first[..split]);
        sink(&second[..count - split]);
        self.left_over.drain(..count);
        count
    }

    fn pull(
        &mut self,
        source: &impl Source,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Stop> {
        self.touched = true;
        self.pulls += 1;
        let pulled = match source.pull(most, sink) {
            Some(Ok(count)) => count,
            Some(Err(error)) => return Err(self.fail(Stop::Failed(error))),
            None => return Err(self.fail(Stop::RequestEnded)),
        };
        self.ended |= pulled == 0 && most > 0;
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(pulled as u64);
        }
        Ok(pulled)
    }

    /// What was read has been lost for want of memory: nothing that comes after it may pass for the rest of the body.
    pub fn give_up(&mut self) -> Stop {
        self.fail(Stop::NoMemory)
    }

    fn fail(&mut self, stop: Stop) -> Stop {
        self.failed = Some(stop);
        self.left_over.clear();
        stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// A body that arrives in pieces of at most `piece` bytes and fails at its end if it is told to.
    struct Pieces {
        body: RefCell<Vec<u8>>,
        piece: usize,
        failure: Option<ReadError>,
    }

    impl Source for Pieces {
        fn pull(
            &self,
            most: usize,
            sink: &mut dyn FnMut(&[u8]),
        ) -> Option<Result<usize, ReadError>> {
            let mut body = self.body.borrow_mut();
            let count = most.min(self.piece).min(body.len());
            if count == 0 && most > 0 {
                return Some(self.failure.map_or(Ok(0), Err));
            }
            sink(&body[..count]);
            body.drain(..count);
            Some(Ok(count))
        }
    }

    fn pieces(body: &[u8], piece: usize) -> Pieces {
        Pieces { body: RefCell::new(body.to_vec()), piece, failure: None }
    }

    fn reading() -> Reading {
        let mut reading = Reading::default();
        reading.begin(Body::Unknown);
        reading
    }

    fn line(reading: &mut Reading, source: &Pieces, most: usize) -> Vec<u8> {
        let mut line = Vec::new();
        reading.read_line(source, most, &mut line).unwrap();
        line
    }

    #[test]
    fn lines_of_any_length_come_back_whole_whatever_pieces_they_arrive_in() {
        let lengths = [0, 1, 8191, 8192, 8193, 3, 40_000, 0, 16_384, 7];
        let body: Vec<u8> =
            lengths.iter().flat_map(|&n| std::iter::repeat_n(b'x', n).chain([b'\n'])).collect();
        for piece in [1, 100, 8192, 100_000] {
            let (mut reading, source) = (reading(), pieces(&body, piece));
            for length in lengths {
                assert_eq!(line(&mut reading, &source, usize::MAX).len(), length + 1);
            }
            assert_eq!(line(&mut reading, &source, usize::MAX), b"");
        }
    }

    #[test]
    fn reading_bytes_and_lines_in_turn_loses_nothing() {
        let (mut reading, source) = (reading(), pieces(b"one\ntwo three\nfour", 5));
        let mut bytes = Vec::new();
        assert_eq!(line(&mut reading, &source, usize::MAX), b"one\n");
        assert_eq!(reading.read(&source, 4, &mut |b| bytes.extend_from_slice(b)), Ok(4));
        assert_eq!(bytes, b"two ");
        assert_eq!(line(&mut reading, &source, 3), b"thr");
        assert_eq!(line(&mut reading, &source, 100), b"ee\n");
        assert_eq!(reading.read(&source, 100, &mut |_| {}), Ok(4));
        assert_eq!(reading.read(&source, 100, &mut |_| {}), Ok(0));
    }

    #[test]
    fn a_failure_stays_one_and_partial_data_is_not_taken_for_a_line() {
        let mut source = pieces(b"half a line", 100);
        source.failure = Some(ReadError::Disconnected);
        let mut reading = reading();
        let mut line = Vec::new();
        let failed = reading.read_line(&source, 100, &mut line);
        assert_eq!(failed, Err(Stop::Failed(ReadError::Disconnected)));
        assert_eq!(line, b"");
        assert_eq!(reading.check(), Err(Stop::FailedBefore));
        reading.begin(Body::None);
        assert_eq!(reading.check(), Ok(()));
        assert!(reading.is_drained());
    }
}
