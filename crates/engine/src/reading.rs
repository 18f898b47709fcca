//! What has been read of a request body: the bytes left over from reading lines, and whether it has ended or failed.
//! No Python in here.

use crate::lease::Lease;
use exchange::{Body, ReadError};
use std::collections::VecDeque;

/// How far the body of a request has been read.
#[derive(Debug, Default)]
pub struct Reading {
    left_over: VecDeque<u8>,
    remaining: Option<u64>,
    touched: bool,
    ended: bool,
    failed: Option<Stop>,
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The body could not be read.
    Failed(ReadError),
    /// It could not be read earlier.
    FailedBefore,
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

    /// Whether an earlier call failed.
    pub fn check(&self) -> Result<(), Stop> {
        if self.failed.is_some() { Err(Stop::FailedBefore) } else { Ok(()) }
    }

    /// Lets the client continue if nothing has been read yet. Detached.
    pub fn touch(&mut self, lease: &Lease) -> Result<(), Stop> {
        if std::mem::replace(&mut self.touched, true) {
            return Ok(());
        }
        self.pull(lease, 0, &mut |_| {}).map(drop)
    }

    /// Reads up to `most` bytes into `sink`, waiting until there are so many or the body ends. Detached.
    pub fn read(
        &mut self,
        lease: &Lease,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Stop> {
        let mut count = self.take_left_over(most, sink);
        while count < most && !self.ended {
            count += self.pull(lease, most - count, sink)?;
        }
        Ok(count)
    }

    /// Reads one line of at most `most` bytes into `line`, with its newline. Detached.
    pub fn read_line(
        &mut self,
        lease: &Lease,
        most: usize,
        line: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        let mut searched = 0;
        loop {
            let window = self.left_over.len().min(most);
            let found = self
                .left_over
                .range(searched..window)
                .position(|&byte| byte == b'\n')
                .map(|position| searched + position + 1);
            searched = window;
            if let Some(end) = found.or((window == most || self.ended).then_some(window)) {
                line.extend(self.left_over.drain(..end));
                return Ok(());
            }
            let mut piece = std::mem::take(&mut self.left_over);
            let pulled = self.pull(lease, PIECE, &mut |bytes| piece.extend(bytes));
            self.left_over = piece;
            pulled?;
        }
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
        lease: &Lease,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Stop> {
        self.touched = true;
        let pulled = match lease.with(|exchange| exchange.read(most, sink)) {
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

    fn fail(&mut self, stop: Stop) -> Stop {
        self.failed = Some(stop);
        self.left_over.clear();
        stop
    }
}
