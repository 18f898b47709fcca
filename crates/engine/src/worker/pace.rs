//! The pace of a worker: whether its requests are brisk, so short and waiting for nothing that a thread that has one in hand is
//! done with it before another thread could come for the next one. Then none is woken for it ([`link::Calls::set_brisk`]): to be
//! woken, to wait for the interpreter and to find the call taken would cost as much as the request. Found out from a few requests.

use super::post::Post;
use crate::account;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// One in so many requests of a thread is looked at.
const ONE_IN: u32 = 64;
/// One that was not short outweighs so many that were: where one in five waits for something, requests are not brisk. A machine
/// with much to do makes one in ten long now and then.
const WEIGHT: u32 = 4;
/// So many that were short are enough,
const ENOUGH: u32 = 8;
/// and no more are kept in mind.
const MOST: u32 = 16;
/// No longer than it takes to wake a thread that finds its processor taken.
const SHORT: Duration = Duration::from_micros(300);

/// The pace of a worker whose threads share an interpreter.
#[derive(Debug, Default)]
pub struct Pace {
    /// How many were short, less those that were not.
    short: AtomicU32,
}

/// A thread's part in finding out.
#[derive(Debug, Default)]
pub struct Sampling {
    requests: u32,
}

/// A look at one request.
#[derive(Debug)]
pub struct Sample {
    begun: Instant,
    waits: u64,
}

impl Sampling {
    /// A request begins, which may be one to be looked at.
    pub fn next(&mut self) -> Option<Sample> {
        self.requests = self.requests.wrapping_add(1);
        let is_one = self.requests % ONE_IN == 0;
        is_one.then(|| Sample { begun: Instant::now(), waits: account::thread_waits() })
    }
}

impl Sample {
    /// The request has ended: says what that means for the others.
    pub fn end(self, post: &Post) {
        let is_short = self.begun.elapsed() < SHORT && account::thread_waits() == self.waits;
        let (short, calls) = (&post.pace.short, &post.page.calls);
        let (before, was_brisk) = (short.load(Ordering::Relaxed), calls.is_brisk());
        let now = match before {
            // A child had to urge.
            ENOUGH.. if !was_brisk => 0,
            _ if is_short => (before + 1).min(MOST),
            _ => before.saturating_sub(WEIGHT),
        };
        short.store(now, Ordering::Relaxed);
        let is_brisk = now >= ENOUGH;
        if is_brisk != was_brisk {
            calls.set_brisk(is_brisk);
        }
    }
}
