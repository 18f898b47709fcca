//! Scripts that have changed since a worker loaded them. It does not load them again: it has others started that begin
//! with the new ones, and serves what it has until they are there.

use super::post;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wire::control::Version;

/// What to do with a request whose script has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This process loads the script again.
    Load,
    /// Serve it with what has been loaded.
    AsLoaded,
    /// Others are being started; it waits for them.
    Elsewhere,
}

/// The changes that the supervisor has been told of: the last one of each script.
#[derive(Debug, Default)]
pub struct Changes(Mutex<HashMap<Vec<u8>, Told>>);

/// A change that the supervisor has been told of.
#[derive(Debug)]
struct Told {
    /// The modification time that was seen.
    modified: Option<i64>,
    /// Workers with it could not take over. A script that says itself that it wants to be loaded again
    /// (`reload_required`) is believed again from then on.
    again: Option<Instant>,
}

/// For how long a script is not believed that wants to be loaded again and could not be.
const DISBELIEF: Duration = Duration::from_secs(2);

impl Changes {
    /// Whether a change is a new one. It is not any more afterwards. `asked`: the script says so itself.
    pub fn discover(&self, path: &[u8], modified: Option<i64>, asked: bool) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = match all.get(path) {
            Some(told) if told.modified == modified => {
                asked && told.again.is_some_and(|again| Instant::now() >= again)
            }
            _ => true,
        };
        if new {
            all.insert(path.to_vec(), Told { modified, again: None });
        }
        new
    }

    /// The supervisor reports a change of a script that this worker may not have discovered yet.
    pub fn expect(&self, Version { path, modified }: Version) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(&path).is_none_or(|told| told.modified != modified) {
            all.insert(path, Told { modified, again: None });
        }
    }

    /// Workers with the script as it is could not take over.
    pub fn keep(&self, path: &[u8]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = all.get_mut(path) {
            told.again = Some(Instant::now() + DISBELIEF);
        }
    }
}

/// What to do with a request whose script has changed; `modified` is when, if the file is there. `asked`: the script says so
/// itself.
pub fn verdict(path: &[u8], asked: bool, modified: impl FnOnce() -> Option<i64>) -> Verdict {
    let Some(post) = post::post() else { return Verdict::Load };
    if post.course.is_draining() {
        return Verdict::AsLoaded;
    }
    let modified = modified();
    if !post.changes.discover(path, modified, asked) {
        return Verdict::AsLoaded;
    }
    post.say_changed(path, modified);
    Verdict::Elsewhere
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_discovered_once() {
        let changes = Changes::default();
        assert!(changes.discover(b"/a", Some(1), false));
        assert!(!changes.discover(b"/a", Some(1), false));
        assert!(changes.discover(b"/b", Some(1), false));
        assert!(changes.discover(b"/a", Some(2), false));
        assert!(changes.discover(b"/a", None, false));
        assert!(!changes.discover(b"/a", None, true));
        changes.keep(b"/a");
        assert!(!changes.discover(b"/a", None, true));
        changes.expect(Version { path: b"/a".to_vec(), modified: Some(3) });
        assert!(!changes.discover(b"/a", Some(3), true));
        assert!(changes.discover(b"/a", Some(4), false));
    }
}
