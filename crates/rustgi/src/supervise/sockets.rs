//! The directory of a supervisor's sockets: `<prefix>.<pid>/`, where a child of the server finds each worker by its number,
//! and `rustgi ctl` the supervisor. It is made when the supervisor begins and removed when it ends; one that a supervisor
//! left behind is removed by the next. If it or a file in it is removed while the supervisor runs, the supervisor makes it again.

use super::log::Log;
use super::removals::Removals;
use exchange::{Code, Level};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;
use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, chmodat, chownat, fchmod, fstat, openat, statat, unlinkat,
};
use rustix::process::Uid;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use wire::control::Group;

/// The file whose lock says that the supervisor of a directory lives.
const LOCK: &str = "lock";
/// Where `rustgi ctl` finds it.
pub const CONTROL: &str = "rustgi.control";

/// The directory.
#[derive(Debug)]
pub struct Sockets {
    prefix: PathBuf,
    /// Its path. Whoever owns the directory above can put something else there, so it is only told to others.
    directory: PathBuf,
    /// The directory itself.
    place: OwnedFd,
    /// Where it is to be found as well.
    aliases: Vec<PathBuf>,
    is_root: bool,
    lock: Flock<File>,
    removals: Option<Removals>,
}

impl Sockets {
    /// Makes the directory of this process.
    pub fn make(prefix: &[u8], log: &Log) -> io::Result<Sockets> {
        let prefix = PathBuf::from(OsStr::from_bytes(prefix));
        let directory = link::directory(&prefix, std::process::id());
        let is_root = nix::unistd::geteuid().is_root();
        if let Some(parent) = directory.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        for stale in stale(&prefix) {
            let text = format!("removed {}, which a supervisor left behind", stale.display());
            log.write(Level::Info, text);
            remove(&stale);
        }
        let (place, lock) = make_directory(&directory, is_root)?;
        let removals = Removals::of(&directory);
        Ok(Sockets { prefix, directory, place, aliases: Vec::new(), is_root, lock, removals })
    }

    /// Makes the directory, its lock and its aliases again if they have been removed, and logs that; the caller makes the sockets.
    /// `true` if anything had been removed.
    ///
    /// # Errors
    /// The directory cannot be made, or something else has its path now.
    pub fn restore(&mut self, log: &Log) -> io::Result<bool> {
        let is_restored = self.try_to_restore()?;
        if is_restored {
            let (code, what) = (Code::SocketsRemoved, self.directory.display());
            let text = format!(
                "{}: {what}, or a file in it. The supervisor has made it again.",
                code.text()
            );
            log.fail(Level::Warning, code, text);
        }
        Ok(is_restored)
    }

    fn try_to_restore(&mut self) -> io::Result<bool> {
        let mut is_restored = false;
        if !self.is_at_its_path() {
            if let Some(above) = self.directory.parent() {
                DirBuilder::new().recursive(true).mode(0o755).create(above)?;
            }
            (self.place, self.lock) = make_directory(&self.directory, self.is_root)?;
            self.removals = Removals::of(&self.directory);
            is_restored = true;
        } else if !self.has_file(LOCK) {
            self.lock = make_lock(&self.place)?;
            is_restored = true;
        }
        let target = std::path::absolute(&self.directory)?;
        for alias in self.aliases.iter().filter(|alias| !alias.is_symlink()) {
            if let Some(above) = alias.parent() {
                DirBuilder::new().recursive(true).mode(0o755).create(above)?;
            }
            symlink(&target, alias)?;
            is_restored = true;
        }
        Ok(is_restored)
    }

    /// Whether the path of the directory still names it.
    fn is_at_its_path(&self) -> bool {
        let (there, own) = (fs::symlink_metadata(&self.directory), fstat(&self.place));
        match (there, own) {
            (Ok(there), Ok(own)) => (there.dev(), there.ino()) == (own.st_dev, own.st_ino),
            _ => false,
        }
    }

    fn has_file(&self, name: &str) -> bool {
        statat(&self.place, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Whether the directory has the socket of a worker.
    pub fn has_socket_of(&self, number: u32) -> bool {
        self.has_file(&name(number))
    }

    /// Whether the directory has the socket for `rustgi ctl`.
    pub fn has_socket_for_operators(&self) -> bool {
        self.has_file(CONTROL)
    }

    /// The watch on the directory, if there is one.
    pub fn removals(&self) -> Option<&Removals> {
        self.removals.as_ref()
    }

    /// Makes a socket in the directory, which belongs to `owner`. An error if the path leads elsewhere by now.
    fn listen_as(&self, name: &str, backlog: u32, owner: Option<u32>) -> io::Result<OwnedFd> {
        let socket = link::listen(&self.directory.join(name), backlog)?;
        // Nobody else can write to the directory, so what is there is what was just made there.
        chmodat(&self.place, name, Mode::from_raw_mode(0o600), AtFlags::empty())?;
        if let Some(owner) = owner {
            chownat(
                &self.place,
                name,
                Some(Uid::from_raw(owner)),
                None,
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        Ok(socket)
    }

    /// The server looks for it there from now on; children that were there before look where it was.
    pub fn also(&mut self, prefix: &[u8]) -> io::Result<()> {
        let prefix = Path::new(OsStr::from_bytes(prefix));
        let alias = link::directory(prefix, std::process::id());
        if alias == self.directory || self.aliases.contains(&alias) {
            return Ok(());
        }
        symlink(std::path::absolute(&self.directory)?, &alias)?;
        self.aliases.push(alias);
        Ok(())
    }

    /// What the paths begin with.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The socket of a worker.
    pub fn listen(&self, number: u32, group: &Group) -> io::Result<OwnedFd> {
        let owner = group.socket_user.filter(|_| self.is_root);
        self.listen_as(&name(number), group.listen_backlog, owner)
    }

    /// The socket of the supervisor itself.
    pub fn listen_for_operators(&self) -> io::Result<OwnedFd> {
        self.listen_as(CONTROL, 8, None)
    }

    /// The worker is no more.
    pub fn forget(&self, number: u32) {
        let _ = unlinkat(&self.place, name(number), AtFlags::empty());
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.aliases.iter().for_each(|alias| remove(alias));
        remove(&self.directory);
    }
}

/// Makes a directory for this process, and the lock that marks it as in use.
fn make_directory(directory: &Path, is_root: bool) -> io::Result<(OwnedFd, Flock<File>)> {
    DirBuilder::new().mode(0o700).create(directory)?;
    let place = open(directory)?;
    let lock = make_lock(&place)?;
    // httpd's children, which are not root, must be able to reach the sockets in it.
    let mode = if is_root { 0o711 } else { 0o700 };
    fchmod(&place, Mode::from_raw_mode(mode))?;
    Ok((place, lock))
}

fn make_lock(place: &OwnedFd) -> io::Result<Flock<File>> {
    let mode = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let lock = File::from(openat(place, LOCK, mode, Mode::from_raw_mode(0o600))?);
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock);
    lock.map_err(|(_, error)| error.into())
}

/// Opens a directory of this user's own, which its path leads to without detours.
fn open(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let place = openat(CWD, directory, flags, Mode::empty())?;
    if fstat(&place)?.st_uid == nix::unistd::geteuid().as_raw() {
        return Ok(place);
    }
    Err(io::ErrorKind::PermissionDenied.into())
}

/// The name of a worker's socket in the directory.
fn name(number: u32) -> String {
    format!("{number}.sock")
}

/// Says in the log that there is no directory.
pub fn complain(log: &Log, prefix: &[u8], error: &io::Error) {
    let prefix = super::log::show(prefix);
    let text = format!("no directory for sockets could be made at {prefix}: {error}");
    log.fail(Level::Critical, Code::SocketFailed, text);
}

/// Directories of supervisors that are no more.
fn stale(prefix: &Path) -> Vec<PathBuf> {
    let (Some(parent), Some(name)) = (prefix.parent(), prefix.file_name()) else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let is_stale = |path: &PathBuf| {
        let found = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
        let pid = found.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"."));
        let pid = pid.and_then(|pid| std::str::from_utf8(pid).ok()?.parse::<u32>().ok());
        let own = nix::unistd::geteuid().as_raw();
        let is_ours = fs::symlink_metadata(path)
            .is_ok_and(|it| it.uid() == own && (it.is_dir() || it.is_symlink()));
        is_ours && pid.is_some_and(|pid| !is_in_use(path, pid))
    };
    entries.flatten().map(|entry| entry.path()).filter(is_stale).collect()
}

fn is_in_use(directory: &Path, pid: u32) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let lock = open(directory).and_then(|place| Ok(openat(&place, LOCK, flags, Mode::empty())?));
    match lock {
        Ok(file) => Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock).is_err(),
        // It may have been made just now.
        Err(_) => {
            let pid = Pid::from_raw(pid.try_into().unwrap_or(i32::MAX));
            pid != Pid::this() && nix::sys::signal::kill(pid, None) != Err(Errno::ESRCH)
        }
    }
}

/// Removes a directory and what is in it, or a link to one: never what the link leads to.
fn remove(directory: &Path) {
    let Ok(place) = open(directory) else {
        let _ = fs::remove_file(directory);
        return;
    };
    for entry in Dir::read_from(&place).into_iter().flatten().flatten() {
        let _ = unlinkat(&place, entry.file_name(), AtFlags::empty());
    }
    let _ = fs::remove_dir(directory);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_was_left_behind_is_removed_and_one_in_use_is_not() {
        let place = tempfile::tempdir().unwrap();
        let prefix = place.path().join("run/wsgi");
        fs::create_dir(place.path().join("run")).unwrap();
        for name in ["run/wsgi.1", "run/wsgi.x", "run/other.1"] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        fs::write(place.path().join("run/wsgi.1/7.sock"), "").unwrap();
        fs::write(place.path().join("run/wsgi.1/lock"), "").unwrap();
        let log = Log::new(tempfile::tempfile().unwrap().into(), 4);
        let mut sockets = Sockets::make(prefix.as_os_str().as_bytes(), &log).unwrap();
        let other = place.path().join("other");
        sockets.also(other.as_os_str().as_bytes()).unwrap();
        sockets.also(other.as_os_str().as_bytes()).unwrap();
        let alias = link::directory(&other, std::process::id());
        assert!(alias.join(LOCK).exists());
        let own = link::directory(&prefix, std::process::id());
        assert!(stale(&prefix).is_empty() && own.exists());
        assert!(!place.path().join("run/wsgi.1").exists());
        assert!(place.path().join("run/wsgi.x").exists());
        assert!(place.path().join("run/other.1").exists());
        drop(sockets);
        assert!(!own.exists() && !alias.is_symlink());
    }

    #[test]
    fn a_removed_directory_and_its_alias_are_made_again() {
        let place = tempfile::tempdir().unwrap();
        let (prefix, other) = (place.path().join("run/wsgi"), place.path().join("other"));
        let log = Log::new(tempfile::tempfile().unwrap().into(), 4);
        let mut sockets = Sockets::make(prefix.as_os_str().as_bytes(), &log).unwrap();
        sockets.also(other.as_os_str().as_bytes()).unwrap();
        let own = link::directory(&prefix, std::process::id());
        let alias = link::directory(&other, std::process::id());
        assert!(!sockets.removals().unwrap().take() && !sockets.restore(&log).unwrap());
        fs::remove_file(own.join(LOCK)).unwrap();
        assert!(sockets.removals().unwrap().take() && sockets.restore(&log).unwrap());
        assert!(own.join(LOCK).exists());
        fs::remove_dir_all(place.path().join("run")).unwrap();
        fs::remove_file(&alias).unwrap();
        assert!(sockets.removals().unwrap().take() && sockets.restore(&log).unwrap());
        assert!(alias.join(LOCK).exists() && !sockets.restore(&log).unwrap());
        let group = Group { listen_backlog: 5, ..Group::default() };
        let _socket = sockets.listen(7, &group).unwrap();
        assert!(sockets.has_socket_of(7) && !sockets.has_socket_for_operators());
        fs::remove_file(own.join("7.sock")).unwrap();
        assert!(sockets.removals().unwrap().take() && !sockets.has_socket_of(7));
    }

    #[test]
    fn nothing_is_done_where_somebody_else_has_led_the_path_to() {
        let place = tempfile::tempdir().unwrap();
        let (prefix, victim) = (place.path().join("wsgi"), place.path().join("victim"));
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("file"), "").unwrap();
        let log = Log::new(tempfile::tempfile().unwrap().into(), 4);
        let mut sockets = Sockets::make(prefix.as_os_str().as_bytes(), &log).unwrap();
        let own = link::directory(&prefix, std::process::id());
        fs::rename(&own, place.path().join("moved")).unwrap();
        symlink(&victim, &own).unwrap();
        let group = Group { listen_backlog: 5, ..Group::default() };
        fs::write(victim.join("8.sock"), "").unwrap();
        assert!(sockets.listen(7, &group).is_err() && sockets.listen(8, &group).is_err());
        assert!(sockets.restore(&log).is_err());
        drop(sockets);
        assert!(!own.is_symlink());
        assert!(victim.join("file").exists() && victim.join("8.sock").exists());
    }
}
