//! The variables of a request while they are made, and the memory of those of the request before, with which they are
//! compared. Whoever carries requests has one such memory for each thread.

use crate::runs::{OTHER, Pairs, is_sound};
use crate::{About, Known, KnownSet, Run, Runs, Slice, Variable};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variables of a request in the making. A name stands once: what is put later under a name that is there takes its
/// place. The memory is that of a request before ([`Settled::again`]).
#[derive(Default)]
pub struct Variables(Box<Rows>);

/// The variables of a request, which do not change any more.
#[derive(Default)]
pub struct Settled(Box<Rows>);

#[derive(Default)]
struct Rows {
    rows: [Row; About::ALL.len()],
    /// The known names that have been put.
    present: KnownSet,
    numbers: Numbers,
}

/// A run in the making, and as it was settled last.
#[derive(Default)]
struct Row {
    made: Stretch,
    last: Stretch,
    number: u64,
}

/// Bytes at the beginning of memory that may be longer, and of which each is something already: appending is one
/// comparison and a copy.
#[derive(Default)]
struct Stretch {
    memory: Vec<u8>,
    end: usize,
}

/// Numbers for runs, different from those of any other thread.
#[derive(Default)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        /// As many are taken at once, so that threads do not meet.
        const SHARE: u64 = 4096;
        static GIVEN: AtomicU64 = AtomicU64::new(SHARE);
        if self.0 % SHARE == 0 {
            self.0 = GIVEN.fetch_add(SHARE, Ordering::Relaxed);
        }
        self.0 += 1;
        self.0 - 1
    }
}

impl Variables {
    /// Whether a known name has been put.
    pub fn has(&self, known: Known) -> bool {
        self.0.present.has(known)
    }

    /// All that have been put.
    pub fn iter(&self) -> impl Iterator<Item = Variable<'_>> {
        self.0.rows.iter().flat_map(|row| Pairs(row.made.get()))
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut all = self.iter();
        all.find(|variable| variable.name() == name.as_bytes()).map(|variable| variable.value())
    }

    /// Puts a variable whose name has a number.
    #[inline(always)]
    pub fn put(&mut self, known: Known, value: &[u8]) {
        if self.has(known) {
            self.0.take_out_known(known);
        }
        self.0.present.insert(known);
        self.0.rows[known.about() as usize].made.append(known as u8, value);
    }

    /// Puts a variable of any other name.
    pub fn put_other(&mut self, name: &[u8], value: &[u8]) {
        let is_it = |variable: &Variable<'_>| variable.slot().is_none() && variable.name() == name;
        self.0.take_out(About::Request, is_it);
        let row = &mut self.0.rows[About::Request as usize].made;
        row.append(OTHER, name);
        row.append(OTHER, value);
    }

    /// Takes a variable away.
    pub fn remove(&mut self, name: &str) {
        for about in About::ALL {
            self.0.take_out(about, |variable| variable.name() == name.as_bytes());
        }
    }

    /// Says that these are all.
    pub fn settle(mut self) -> Settled {
        let Rows { rows, numbers, .. } = &mut *self.0;
        for row in rows {
            if row.made.get() != row.last.get() {
                std::mem::swap(&mut row.made, &mut row.last);
                row.number = numbers.next();
            }
        }
        Settled(self.0)
    }
}

impl Settled {
    /// They as they are carried.
    pub fn runs(&self) -> Runs<'_> {
        let run = |row| {
            let Row { last, number, .. }: &Row = row;
            Run { bytes: Slice::new(last.get()), number: *number }
        };
        Runs(self.0.rows.each_ref().map(run))
    }

    /// Takes over the variables of another request as they were carried. What is not recognised is copied before it is
    /// looked at, so whoever carries it may change it meanwhile.
    ///
    /// # Errors
    /// These are none. Then there are none at all.
    pub fn take_over(&mut self, carried: [&[u8]; About::ALL.len()]) -> Result<(), Unsound> {
        let Rows { rows, numbers, .. } = &mut *self.0;
        for ((row, about), carried) in rows.iter_mut().zip(About::ALL).zip(carried) {
            if row.last.get() == carried {
                continue;
            }
            row.last.clear();
            row.last.extend(carried);
            row.number = numbers.next();
            if !is_sound(about, row.last.get()) {
                *self = Settled::default();
                return Err(Unsound);
            }
        }
        Ok(())
    }

    /// The same memory for another request.
    pub fn again(mut self) -> Variables {
        self.0.present = KnownSet::default();
        self.0.rows.iter_mut().for_each(|row| row.made.clear());
        Variables(self.0)
    }
}

/// Bytes that were carried are no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsound;

impl Rows {
    /// Takes a variable out, if it is there.
    fn take_out(&mut self, about: About, is_it: impl Fn(&Variable<'_>) -> bool) {
        let row = &mut self.rows[about as usize].made;
        let mut pairs = Pairs(row.get());
        let mut start = 0;
        while let Some(variable) = pairs.next() {
            let end = row.end - pairs.0.len();
            if is_it(&variable) {
                if let Some(known) = variable.slot() {
                    self.present.remove(known);
                }
                row.remove(start..end);
                return;
            }
            start = end;
        }
    }

    #[cold]
    fn take_out_known(&mut self, known: Known) {
        self.take_out(known.about(), |variable| variable.slot() == Some(known));
    }
}

impl Stretch {
    /// More than most requests need.
    const USUAL: usize = 2048;
    /// What has grown larger is given back.
    const KEPT: usize = 64 * 1024;

    fn get(&self) -> &[u8] {
        &self.memory[..self.end]
    }

    fn clear(&mut self) {
        self.end = 0;
        if self.memory.len() > Self::KEPT {
            self.memory = Vec::new();
        }
    }

    /// Appends a pair.
    #[inline(always)]
    fn append(&mut self, tag: u8, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("a variable is shorter than 4 GiB");
        let [a, b, c, d] = length.to_le_bytes();
        let free = &mut self.memory[self.end..];
        if let Some((head, free)) = free.split_first_chunk_mut() {
            if let Some(place) = free.get_mut(..bytes.len()) {
                *head = [tag, a, b, c, d];
                place.copy_from_slice(bytes);
                self.end += Pairs::HEAD + bytes.len();
                return;
            }
        }
        self.extend(&[tag, a, b, c, d]);
        self.extend(bytes);
    }

    /// Appends bytes, for which there may have to be more memory.
    fn extend(&mut self, bytes: &[u8]) {
        let (start, end) = (self.end, self.end + bytes.len());
        if self.memory.len() < end {
            self.memory.resize(end.next_power_of_two().max(Self::USUAL), 0);
        }
        self.memory[start..end].copy_from_slice(bytes);
        self.end = end;
    }

    fn remove(&mut self, range: Range<usize>) {
        self.memory.copy_within(range.end..self.end, range.start);
        self.end -= range.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(variables: &Variables) -> Vec<(&[u8], &[u8])> {
        variables.iter().map(|variable| (variable.name(), variable.value())).collect()
    }

    #[test]
    fn a_name_stands_once_and_the_last_value_counts() {
        let mut variables = Variables::default();
        variables.put(Known::HttpHost, b"a");
        variables.put_other(b"X", b"1");
        variables.put(Known::HttpHost, b"b");
        variables.put_other(b"X", b"2");
        variables.put_other(b"x", b"3");
        assert_eq!(all(&variables), [(&b"HTTP_HOST"[..], &b"b"[..]), (b"X", b"2"), (b"x", b"3")]);
    }

    #[test]
    fn what_was_taken_away_may_come_again() {
        let mut variables = Variables::default();
        variables.put(Known::HttpHost, b"a");
        variables.put_other(b"X", b"1");
        variables.remove("HTTP_HOST");
        variables.remove("X");
        variables.remove("Y");
        assert!(all(&variables).is_empty() && !variables.has(Known::HttpHost));
        variables.put(Known::HttpHost, b"b");
        assert_eq!(variables.get("HTTP_HOST"), Some(&b"b"[..]));
        assert_eq!(variables.get("X"), None);
    }

    #[test]
    fn a_run_keeps_its_number_until_it_changes() {
        let mut settled = Settled::default();
        let mut numbers_of = |server: &[u8], client: &[u8], request: &[u8]| {
            let mut variables = std::mem::take(&mut settled).again();
            variables.put(Known::ServerName, server);
            variables.put(Known::HttpHost, client);
            variables.put(Known::PathInfo, request);
            settled = variables.settle();
            assert_eq!(settled.runs().get(Known::ServerName), Some(server));
            assert_eq!(settled.runs().get(Known::HttpHost), Some(client));
            assert_eq!(settled.runs().get(Known::PathInfo), Some(request));
            settled.runs().runs().map(|run| run.number())
        };
        let first = numbers_of(b"s", b"c", b"1");
        assert_eq!(numbers_of(b"s", b"c", b"1"), first);
        let other = numbers_of(b"s", b"d", b"2");
        assert_eq!(other[0], first[0]);
        assert!(other[1] != first[1] && other[2] != first[2]);
        let back = numbers_of(b"s", b"c", b"2");
        assert_eq!((back[0], back[2]), (first[0], other[2]));
        assert!(![first[1], other[1], 0].contains(&back[1]));
    }

    #[test]
    fn no_two_runs_that_differ_have_the_same_number() {
        let mut seen = std::collections::HashSet::new();
        let (mut one, mut two) = (Settled::default(), Settled::default());
        for count in 0..10_000u32 {
            for settled in [&mut one, &mut two] {
                let mut variables = std::mem::take(settled).again();
                variables.put(Known::HttpHost, &count.to_le_bytes());
                *settled = variables.settle();
                let number = settled.runs().runs()[About::Client as usize].number();
                assert!(number != 0 && seen.insert(number));
            }
        }
    }

    #[test]
    fn runs_that_were_carried_are_recognised() {
        let mut variables = Variables::default();
        variables.put(Known::HttpHost, b"h");
        variables.put_other(b"X_\xff", b"v\0");
        let sent = variables.settle();
        let carried = sent.runs().runs().map(|run| run.bytes());
        let mut taken = Settled::default();
        taken.take_over(carried).unwrap();
        assert_eq!(format!("{:?}", taken.runs()), format!("{:?}", sent.runs()));
        let numbers = taken.runs().runs().map(|run| run.number());
        taken.take_over(carried).unwrap();
        assert_eq!(taken.runs().runs().map(|run| run.number()), numbers);
    }

    #[test]
    fn what_is_no_run_or_not_this_one_is_refused() {
        let mut variables = Variables::default();
        variables.put(Known::HttpHost, b"h");
        variables.put_other(b"X", b"value");
        let sent = variables.settle();
        let [server, client, request] = sent.runs().runs().map(|run| run.bytes());
        let mut taken = Settled::default();
        for cut in 1..request.len() {
            assert_eq!(taken.take_over([server, client, &request[..cut]]), Err(Unsound), "{cut}");
        }
        assert_eq!(taken.take_over([client, client, request]), Err(Unsound));
        assert_eq!(taken.take_over([server, request, client]), Err(Unsound));
        assert_eq!(
            taken.take_over([server, client, &[Known::COUNT as u8, 0, 0, 0, 0]]),
            Err(Unsound)
        );
        assert_eq!(taken.runs().iter().count(), 0);
        assert_eq!(taken.take_over([server, client, request]), Ok(()));
    }
}
