//! Whom a worker runs as: the drop of privileges, and the proof that they are gone. Runs in the new process, between fork
//! and exec.

use super::spawn::Step;
use nix::errno::Errno;
use nix::unistd::{
    Gid, Uid, getgroups, getresgid, getresuid, setgid, setgroups, setresgid, setresuid, setuid,
};
use wire::control::Identity;

/// Becomes that user, for good.
pub fn assume(identity: &Identity) -> Result<(), (Step, Errno)> {
    let (user, group) = (Uid::from_raw(identity.user), Gid::from_raw(identity.group));
    let mut groups = vec![group];
    groups.extend(identity.groups.iter().copied().map(Gid::from_raw));
    groups.sort_unstable_by_key(|group| group.as_raw());
    groups.dedup();
    setgroups(&groups).map_err(|error| (Step::Groups, error))?;
    setresgid(group, group, group).map_err(|error| (Step::Group, error))?;
    setresuid(user, user, user).map_err(|error| (Step::User, error))?;
    if has_assumed(user, group, &groups) { Ok(()) } else { Err((Step::Verify, Errno::EPERM)) }
}

fn has_assumed(user: Uid, group: Gid, groups: &[Gid]) -> bool {
    let users = getresuid().is_ok_and(|is| [is.real, is.effective, is.saved] == [user; 3]);
    let group = getresgid().is_ok_and(|is| [is.real, is.effective, is.saved] == [group; 3]);
    let groups = getgroups().is_ok_and(|mut is| {
        is.sort_unstable_by_key(|group| group.as_raw());
        is == groups
    });
    let way_back = !user.is_root() && (setuid(Uid::from_raw(0)).is_ok() || regains_group());
    users && group && groups && !way_back
}

/// Whether the group of root can be had again.
fn regains_group() -> bool {
    let (before, root) = (nix::unistd::getgid(), Gid::from_raw(0));
    before != root && setgid(root).is_ok()
}
