//! `script-user` and `script-group`: a group of workers runs only scripts of somebody, which nobody else can have written.

use super::remote::Terms;
use crate::handler::Call;
use exchange::Code;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Who may have written a file.
#[derive(Clone, Copy, Debug)]
struct Owned {
    user: u32,
    group: u32,
    mode: u32,
}

/// Whether the file of a request and its directory belong to whom the group says.
///
/// # Errors
/// They do not, or cannot be looked at.
pub fn check<'r>(terms: &Terms, call: &Call<'r>) -> Result<(), (Code, &'r [u8])> {
    if terms.script_user.is_none() && terms.script_group.is_none() {
        return Ok(());
    }
    let file = call.resource();
    let path = Path::new(OsStr::from_bytes(file));
    let sound = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|found| {
            let owned = Owned { user: found.uid(), group: found.gid(), mode: found.mode() };
            owned.is_of(terms.script_user, terms.script_group)
        })
    };
    let is_sound = sound(path) && path.parent().is_some_and(sound);
    if is_sound { Ok(()) } else { Err((Code::ScriptOfOthers, file)) }
}

impl Owned {
    fn is_of(self, user: Option<u32>, group: Option<u32>) -> bool {
        const GROUP_WRITES: u32 = 0o020;
        const OTHERS_WRITE: u32 = 0o002;
        let by_user = |user| self.user == user && self.mode & (GROUP_WRITES | OTHERS_WRITE) == 0;
        let by_group = |group| self.group == group && self.mode & OTHERS_WRITE == 0;
        user.is_none_or(by_user) && group.is_none_or(by_group)
    }
}

#[cfg(test)]
mod tests {
    use super::Owned;

    #[test]
    fn what_others_may_write_is_nobodys_script() {
        let of = |mode| Owned { user: 7, group: 8, mode };
        assert!(of(0o100_644).is_of(Some(7), None));
        assert!(!of(0o100_644).is_of(Some(8), None));
        assert!(!of(0o100_664).is_of(Some(7), None));
        assert!(!of(0o100_646).is_of(Some(7), None));
        assert!(of(0o100_664).is_of(None, Some(8)));
        assert!(!of(0o100_664).is_of(None, Some(7)));
        assert!(!of(0o100_662).is_of(None, Some(8)));
    }
}
