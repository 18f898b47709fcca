//! The directory of a supervisor's sockets: `<prefix>.<pid>/`, where a child of the server finds each worker by its number,
//! and `rustgi ctl` the supervisor. It is made when the supervisor begins and removed when it ends; one that a supervisor
//! left behind is removed by the next.

use super::log::Log;
use exchange::{Code, Level};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;
use rustix::net::sockopt;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
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
    directory: PathBuf,
    is_root: bool,
    _lock: Flock<File>,
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
        DirBuilder::new().mode(0o700).create(&directory)?;
        let lock = File::create(directory.join(LOCK))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock);
        let lock = lock.map_err(|(_, error)| io::Error::from(error))?;
        // The children of the server, which are not root, are to get through to the sockets in it.
        let mode = if is_root { 0o711 } else { 0o700 };
        fs::set_permissions(&directory, Permissions::from_mode(mode))?;
        Ok(Sockets { prefix, directory, is_root, _lock: lock })
    }

    /// What the paths begin with.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The socket of a worker.
    pub fn listen(&self, number: u32, group: &Group) -> io::Result<OwnedFd> {
        let path = link::path(&self.prefix, std::process::id(), number);
        let socket = link::listen(&path, group.listen_backlog)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        if let Some(user) = group.socket_user.filter(|_| self.is_root) {
            chown(&path, Some(user), None)?;
        }
        if group.send_buffer > 0 {
            sockopt::set_socket_send_buffer_size(&socket, group.send_buffer as usize)?;
        }
        if group.receive_buffer > 0 {
            sockopt::set_socket_recv_buffer_size(&socket, group.receive_buffer as usize)?;
        }
        Ok(socket)
    }

    /// The socket of the supervisor itself.
    pub fn listen_for_operators(&self) -> io::Result<OwnedFd> {
        let path = self.directory.join(CONTROL);
        let socket = link::listen(&path, 8)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(socket)
    }

    /// The worker is no more.
    pub fn forget(&self, number: u32) {
        let _ = fs::remove_file(link::path(&self.prefix, std::process::id(), number));
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        remove(&self.directory);
    }
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
        let is_ours = fs::symlink_metadata(path).is_ok_and(|m| m.is_dir() && m.uid() == own);
        is_ours && pid.is_some_and(|pid| !is_in_use(path, pid))
    };
    entries.flatten().map(|entry| entry.path()).filter(is_stale).collect()
}

fn is_in_use(directory: &Path, pid: u32) -> bool {
    match File::open(directory.join(LOCK)) {
        Ok(file) => Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err(),
        // It may have been made just now.
        Err(_) => {
            let pid = Pid::from_raw(pid.try_into().unwrap_or(i32::MAX));
            pid != Pid::this() && nix::sys::signal::kill(pid, None) != Err(Errno::ESRCH)
        }
    }
}

fn remove(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
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
        let sockets = Sockets::make(prefix.as_os_str().as_bytes(), &log).unwrap();
        let own = link::directory(&prefix, std::process::id());
        assert!(stale(&prefix).is_empty() && own.exists());
        assert!(!place.path().join("run/wsgi.1").exists());
        assert!(place.path().join("run/wsgi.x").exists());
        assert!(place.path().join("run/other.1").exists());
        drop(sockets);
        assert!(!own.exists());
    }
}
