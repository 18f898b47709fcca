//! The list of variables, in which a name stands once: what is put later under a name that is there takes its place.

use exchange::{Known, Variable};
use std::cell::Cell;

/// The variables of one request. Its memory is the thread's, and goes back to it with [`recycle`](Variables::recycle).
pub struct Variables<'r> {
    list: Vec<Variable<'r>>,
    /// One bit for each known name that is in the list.
    present: u128,
}

const _: () = assert!(Known::COUNT <= u128::BITS as usize, "a bit for each known name");

/// More than a request of a browser has.
const COMMON: usize = 72;

thread_local! {
    static MEMORY: Cell<Vec<Variable<'static>>> = const { Cell::new(Vec::new()) };
}

/// The same memory for variables of another request: an empty list has no lifetime to speak of.
fn emptied<'a, 'b>(mut list: Vec<Variable<'a>>) -> Vec<Variable<'b>> {
    list.clear();
    // Collecting in place keeps the allocation (`Vec`'s `FromIterator`); there is nothing to convert.
    list.into_iter().map(|_| unreachable!("the list is empty")).collect()
}

impl<'r> Variables<'r> {
    /// No variables yet, in the memory that this thread used last.
    pub fn new() -> Self {
        let mut list = emptied(MEMORY.take());
        list.reserve(COMMON);
        Variables { list, present: 0 }
    }

    /// No variables, and no memory for any.
    pub fn none() -> Self {
        Variables { list: Vec::new(), present: 0 }
    }

    /// Gives the memory back to the thread.
    pub fn recycle(self) {
        MEMORY.set(emptied(self.list));
    }

    /// All of them.
    pub fn all(&self) -> &[Variable<'r>] {
        &self.list
    }

    /// Whether a known name is in the list.
    pub fn has(&self, known: Known) -> bool {
        self.present & (1 << known as u32) != 0
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&'r [u8]> {
        let named = |variable: &&Variable<'r>| variable.name() == name.as_bytes();
        self.list.iter().find(named).map(Variable::value)
    }

    /// Takes a variable away.
    pub fn remove(&mut self, name: &str) {
        let Some(place) = self.list.iter().position(|v| v.name() == name.as_bytes()) else {
            return;
        };
        if let Some(known) = self.list.remove(place).slot() {
            self.present &= !(1 << known as u32);
        }
    }

    /// Puts a variable whose name has a number.
    pub fn put(&mut self, known: Known, value: &'r [u8]) {
        if self.has(known) {
            self.replace(|variable| variable.slot() == Some(known), Variable::known(known, value));
        } else {
            self.present |= 1 << known as u32;
            self.list.push(Variable::known(known, value));
        }
    }

    /// Puts a variable of any other name.
    pub fn put_other(&mut self, name: &'r [u8], value: &'r [u8]) {
        let is_it = |variable: &Variable<'_>| variable.slot().is_none() && variable.name() == name;
        if self.list.iter().any(is_it) {
            self.replace(is_it, Variable::other(name, value));
        } else {
            self.list.push(Variable::other(name, value));
        }
    }

    fn replace(&mut self, is_it: impl Fn(&Variable<'_>) -> bool, variable: Variable<'r>) {
        if let Some(place) = self.list.iter_mut().find(|variable| is_it(variable)) {
            *place = variable;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_once_and_the_last_value_counts() {
        let mut variables = Variables::new();
        variables.put(Known::HttpHost, b"a");
        variables.put_other(b"X", b"1");
        variables.put(Known::HttpHost, b"b");
        variables.put_other(b"X", b"2");
        variables.put_other(b"x", b"3");
        let all: Vec<_> = variables.all().iter().map(|v| (v.name(), v.value())).collect();
        assert_eq!(all, [(&b"HTTP_HOST"[..], &b"b"[..]), (b"X", b"2"), (b"x", b"3")]);
    }

    #[test]
    fn what_was_taken_away_may_come_again() {
        let mut variables = Variables::new();
        variables.put(Known::HttpHost, b"a");
        variables.put_other(b"X", b"1");
        variables.remove("HTTP_HOST");
        variables.remove("X");
        variables.remove("Y");
        assert!(variables.all().is_empty());
        variables.put(Known::HttpHost, b"b");
        assert_eq!(variables.get("HTTP_HOST"), Some(&b"b"[..]));
        assert_eq!(variables.get("X"), None);
    }

    #[test]
    fn the_memory_of_one_request_serves_the_next() {
        let mut first = Variables::new();
        first.put(Known::HttpHost, b"a");
        let memory = first.list.as_ptr() as usize;
        first.recycle();
        let second = Variables::new();
        assert_eq!(second.list.as_ptr() as usize, memory);
        assert!(second.all().is_empty() && !second.has(Known::HttpHost));
    }
}
