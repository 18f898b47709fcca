//! Notices when the directory of sockets, or a file in it, has been removed, which programs that clean temporary directories do.
//! Made with the directory; watches it and its parent directory with inotify.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The inotify descriptor.
#[derive(Debug)]
pub struct Removals(OwnedFd);

impl Removals {
    /// Watches a directory. `None` if this user has no inotify watches left.
    pub fn of(directory: &Path) -> Option<Removals> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let flags = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR;
        let add = |path, flags| inotify::add_watch(&watch, path, flags).is_ok();
        let is_watched = add(directory, flags | WatchFlags::MOVE_SELF | WatchFlags::DONT_FOLLOW)
            && directory.parent().is_none_or(|above| add(above, flags));
        is_watched.then_some(Removals(watch))
    }

    /// Whether a file may have been removed since the last call.
    pub fn take(&self) -> bool {
        let mut buffer = [0; 4096];
        let mut any = false;
        while rustix::io::read(&self.0, &mut buffer).is_ok_and(|count| count > 0) {
            any = true;
        }
        any
    }
}

impl AsFd for Removals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
