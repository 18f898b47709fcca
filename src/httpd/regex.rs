//! `ap_regex_t`: a regular expression compiled by httpd, freed with the pool it was compiled in.
#![expect(unsafe_code, reason = "calls httpd's regular expressions")]

use super::{Pool, ffi};
use std::ffi::CStr;
use std::marker::PhantomData;

/// A compiled regular expression that lives for `'p`.
#[derive(Clone, Copy)]
pub struct Regex<'p> {
    raw: *const ffi::ap_regex_t,
    lives: PhantomData<&'p ()>,
}

impl<'p> Regex<'p> {
    /// Compiles an extended regular expression; `None` if it is not one.
    pub fn compile(pool: Pool<'p>, pattern: &CStr) -> Option<Regex<'p>> {
        const EXTENDED: i32 = 0;
        // SAFETY: the pool lives for 'p and owns the result.
        let raw = unsafe { ffi::ap_pregcomp(pool.raw(), pattern.as_ptr(), EXTENDED) };
        (!raw.is_null()).then_some(Regex { raw, lives: PhantomData })
    }

    /// Where the match in `text` ends, and `template` with `$0` to `$9` replaced. `None` if nothing matches.
    pub fn substitute<'r>(
        &self,
        pool: Pool<'r>,
        text: &CStr,
        template: &CStr,
    ) -> Option<(usize, &'r [u8])> {
        const GROUPS: usize = ffi::AP_MAX_REG_MATCH as usize;
        let mut groups = [ffi::ap_regmatch_t { rm_so: -1, rm_eo: -1 }; GROUPS];
        // SAFETY: a compiled expression is only read; `groups` has as many places as it says.
        let status =
            unsafe { ffi::ap_regexec(self.raw, text.as_ptr(), GROUPS, groups.as_mut_ptr(), 0) };
        if status != 0 {
            return None;
        }
        // SAFETY: text and groups are those of the match above; the result is a string of the pool.
        let replaced = unsafe {
            ffi::ap_pregsub(
                pool.raw(),
                template.as_ptr(),
                text.as_ptr(),
                GROUPS,
                groups.as_mut_ptr(),
            )
        };
        // SAFETY: `ap_pregsub` returns a string of the pool, which lives for 'r, or NULL.
        let replaced = (!replaced.is_null()).then(|| unsafe { CStr::from_ptr(replaced) })?;
        Some((usize::try_from(groups[0].rm_eo).ok()?, replaced.to_bytes()))
    }
}
