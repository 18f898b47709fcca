//! Notices when the directory of sockets, or a file in it, has been removed: programs that clean temporary directories do
//! that. Made with the directory; watches it and the directory above by inotify.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A watch.
#[derive(Debug)]
pub struct Removals(OwnedFd);

impl Removals {
    /// Watches a directory. `None` if the kernel has no more watches for this user.
    pub fn of(directory: &Path) -> Option<Removals> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let flags = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR;
        let add = |path, flags| inotify::add_watch(&watch, path, flags).is_ok();
        let is_watched = add(directory, flags | WatchFlags::MOVE_SELF | WatchFlags::DONT_FOLLOW)
            && directory.parent().is_none_or(|above| add(above, flags));
        is_watched.then_some(Removals(watch))
    }

    /// Whether something may have been removed since this was asked last.
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
