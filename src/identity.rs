//! Whom programs run as that are not httpd: its children's user, or the user of a group of processes, perhaps with another
//! root directory. Made while the configuration is read, and of the configuration alone.
#![expect(unsafe_code, reason = "becomes another user between fork and exec")]

use crate::config::daemon::Options;
use crate::httpd::process;
use nix::unistd::{Gid, Group, Uid, User, chdir, chroot, getgrouplist, setgid, setgroups, setuid};
use std::ffi::{CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use wire::control::Identity;

/// Whom a program runs as.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Whom {
    /// User, group and other groups; `None` for whoever runs httpd.
    identity: Option<(u32, u32, Vec<u32>)>,
    /// Its root directory.
    jail: Option<Vec<u8>>,
    is_child: bool,
}

impl Whom {
    /// As the children of httpd.
    pub fn child() -> Whom {
        let (user, group) = process::child_identity();
        let changes = process::is_superuser() && user != 0;
        Whom { identity: changes.then(|| (user, group, vec![])), jail: None, is_child: true }
    }

    /// As the processes of a group.
    pub fn process(options: &Options<'_>) -> Whom {
        let identity = of_group(options).map(|who| (who.user, who.group, who.groups));
        let jail = options.text("chroot").map(<[u8]>::to_vec);
        Whom { identity, jail, is_child: false }
    }

    /// Where a file of its root directory is for us.
    pub fn outside(&self, path: &Path) -> PathBuf {
        match &self.jail {
            Some(jail) => {
                Path::new(OsStr::from_bytes(jail)).join(path.strip_prefix("/").unwrap_or(path))
            }
            None => path.to_owned(),
        }
    }

    /// Has a program run as this.
    pub fn run(&self, command: &mut Command) {
        let jail = self.jail.as_ref().and_then(|jail| CString::new(jail.as_slice()).ok());
        let identity = self.identity.as_ref().map(|(user, group, groups)| {
            let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
            (Uid::from_raw(*user), Gid::from_raw(*group), groups)
        });
        if jail.is_none() && identity.is_none() {
            return;
        }
        let become_it = move || -> std::io::Result<()> {
            if let Some(jail) = &jail {
                chroot(jail.as_c_str())?;
                chdir(c"/")?;
            }
            if let Some((user, group, groups)) = &identity {
                setgroups(groups)?;
                setgid(*group)?;
                setuid(*user)?;
            }
            Ok(())
        };
        // SAFETY: only system calls; everything they take was made before the fork.
        unsafe { command.pre_exec(become_it) };
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_child { "a child of the server" } else { "a process of the group" })
    }
}

/// The identity of the processes of a group; `None` if httpd cannot become anybody else.
pub fn of_group(options: &Options<'_>) -> Option<Identity> {
    if !process::is_superuser() {
        return None;
    }
    let (child_user, child_group) = process::child_identity();
    let user = options.identity("user").unwrap_or(child_user);
    let group = options.identity("group").unwrap_or(child_group);
    let entry = User::from_uid(Uid::from_raw(user)).ok().flatten();
    let groups = match (options.text("supplementary-groups"), &entry) {
        (Some(names), _) => named_groups(names),
        (None, Some(entry)) => groups_of(&entry.name, group),
        (None, None) => Vec::new(),
    };
    let (name, home) = entry.map(|entry| (entry.name, entry.dir)).unwrap_or_default();
    Some(Identity {
        user,
        group,
        groups,
        name: name.into_bytes(),
        home: home.as_os_str().as_bytes().to_vec(),
        is_other: user != child_user,
    })
}

/// The groups that the system's database has a user in, and the given one.
fn groups_of(name: &str, group: u32) -> Vec<u32> {
    let Ok(name) = CString::new(name) else { return Vec::new() };
    let found = getgrouplist(&name, Gid::from_raw(group)).unwrap_or_default();
    found.into_iter().map(Gid::as_raw).collect()
}

/// Groups with commas between them, which were known when the configuration was read.
fn named_groups(names: &[u8]) -> Vec<u32> {
    let known = |name: &[u8]| {
        let name = std::str::from_utf8(name).ok()?;
        match name.strip_prefix('#') {
            Some(number) => number.parse().ok(),
            None => Some(Group::from_name(name).ok()??.gid.as_raw()),
        }
    };
    names.split(|&byte| byte == b',').filter_map(known).collect()
}
