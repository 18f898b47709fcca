//! `script-user` and `script-group`: the check of an httpd child, of the file that a request names. The worker checks each file that it
//! loads.

use super::remote::Terms;
use crate::handler::Call;
use exchange::Code;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use wire::control::ScriptOwner;

/// Whether the file of a request and its directory belong to whom the group says.
///
/// # Errors
/// They do not, or cannot be looked at.
pub fn check<'r>(terms: &Terms, call: &Call<'r>) -> Result<(), (Code, &'r [u8])> {
    let owner = ScriptOwner { user: terms.script_user, group: terms.script_group };
    if owner.is_any() {
        return Ok(());
    }
    let file = call.resource();
    let path = Path::new(OsStr::from_bytes(file));
    let sound = |path: &Path| {
        std::fs::metadata(path)
            .is_ok_and(|found| owner.admits(found.uid(), found.gid(), found.mode()))
    };
    let is_sound = sound(path) && path.parent().is_some_and(sound);
    if is_sound { Ok(()) } else { Err((Code::ScriptOfOthers, file)) }
}
