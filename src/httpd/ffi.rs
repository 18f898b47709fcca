//! httpd and APR as bindgen sees them: made by `build.rs` from `apache/bindings.h`. Only `src/httpd`, `src/module.rs`
//! and the configuration's doors name it.
#![expect(
    unsafe_code,
    dead_code,
    non_camel_case_types,
    non_upper_case_globals,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "generated code"
)]

include!(concat!(env!("OUT_DIR"), "/httpd.rs"));

#[cfg(test)]
mod tests {
    use crate::httpd::ffi;
    use std::ffi::CStr;
    use std::os::raw::c_char;

    #[repr(C)]
    struct Layout {
        name: *const c_char,
        value: usize,
    }

    unsafe extern "C" {
        #[link_name = "rustgi_layout"]
        static COMPILED: Layout;
    }

    /// The same list in bindgen's view, made by `build.rs` from the same lines of `apache/layout.c`.
    const BOUND: &[(&str, usize)] = include!(concat!(env!("OUT_DIR"), "/layout.rs"));

    #[test]
    fn every_structure_lies_in_memory_as_the_c_compiler_has_it() {
        let mut entry = &raw const COMPILED;
        for (name, value) in BOUND {
            // SAFETY: the array in apache/layout.c has as many entries as BOUND, and one more that ends it.
            let compiled = unsafe { &*entry };
            // SAFETY: an entry before the last has a string literal for a name.
            let compiled_name = unsafe { CStr::from_ptr(compiled.name) };
            assert_eq!(compiled_name.to_str(), Ok(*name));
            assert_eq!(compiled.value, *value, "{name}");
            // SAFETY: see above.
            entry = unsafe { entry.add(1) };
        }
        // SAFETY: the entry that ends the array.
        assert!(unsafe { &*entry }.name.is_null());
        assert!(BOUND.len() > 100);
    }
}
