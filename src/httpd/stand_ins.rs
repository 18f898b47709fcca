//! What the unit tests have in place of functions of httpd and APR, which are not there when they run: memory that is
//! never freed, and paths as they come.
#![expect(unsafe_code, reason = "stands in for functions of C")]

use super::ffi;
use std::ffi::{c_char, c_void};

/// # Safety
/// None is needed; the function it stands in for needs it.
pub unsafe fn apr_palloc(_pool: *mut ffi::apr_pool_t, size: usize) -> *mut c_void {
    Box::leak(vec![0_u64; size / size_of::<u64>() + 1].into_boxed_slice()).as_mut_ptr().cast()
}

/// # Safety
/// None is needed; the function it stands in for needs it.
pub unsafe fn ap_server_root_relative(
    _pool: *mut ffi::apr_pool_t,
    path: *const c_char,
) -> *const c_char {
    path
}
