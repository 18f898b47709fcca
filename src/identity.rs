//! The users as which other programs than httpd run: the user of httpd's children, or the user of a process group. Computed from the
//! configuration alone while it is read.

use crate::config::daemon::Options;
use crate::httpd::process;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use wire::control::Identity;

/// The identity of the children of httpd; `None` if httpd does not become another user.
pub fn of_children() -> Option<Identity> {
    let (user, group) = process::child_identity();
    let changes = process::is_superuser() && user != 0;
    changes.then(|| Identity { user, group, ..Identity::default() })
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
