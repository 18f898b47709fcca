//! httpd's walk to the file of a request: it looks at the file, and merges what the configuration says of the directories
//! on the way (`<Directory>`) and of the file (`<Files>`).
//!
//! Where the way is the same for all requests, as it is to the script of an alias, so is what is merged, unless the file
//! system has a say in it: by a `.htaccess` that is looked for, or by links that are looked at (`Options` without
//! `FollowSymLinks`). Whether it has is seen by two hooks, through which httpd does both. If it has not, what the first
//! request came to is kept as a [`Walk`], in memory of its own, and later requests only look at the file.
#![expect(unsafe_code, reason = "has httpd walk, and takes over what it made")]

use super::callback::callback;
use super::{Request, ffi};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;

/// What walks to one file come to, from the same beginning.
pub struct Walk {
    beginning: *const ffi::ap_conf_vector_t,
    end: *mut ffi::ap_conf_vector_t,
    _memory: Memory,
}

// SAFETY: configuration, which nobody writes to once it has been merged, as with that of a virtual host.
unsafe impl Send for Walk {}
// SAFETY: as above.
unsafe impl Sync for Walk {}

/// What is known of the walks to one file: nothing, that each may be another one, or what all come to.
pub type Known = OnceLock<Option<Walk>>;

/// A pool that belongs to nobody else.
struct Memory(*mut ffi::apr_pool_t);

impl Memory {
    /// `None` if there is none. Without memory in it, httpd does what it does in the pool of the request.
    fn like_that_of(request: Request<'_>) -> Option<Memory> {
        let mut pool = std::ptr::null_mut();
        // SAFETY: the request's pool lives.
        let abort = unsafe { ffi::apr_pool_abort_get(request.pool().raw()) };
        // SAFETY: a place for the pool; it gets an allocator of its own.
        let status =
            unsafe { ffi::apr_pool_create_unmanaged_ex(&mut pool, abort, std::ptr::null_mut()) };
        (status == ffi::APR_SUCCESS as c_int && !pool.is_null()).then_some(Memory(pool))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the pool is this value's, and nothing of it is in use any more.
        unsafe { ffi::apr_pool_destroy(self.0) };
    }
}

/// What httpd did of which the file system has a say, on this thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Looked {
    at_files: u32,
    for_htaccess: u32,
}

impl Looked {
    /// It looked at the file, and at nothing else.
    const AT_THE_FILE: Looked = Looked { at_files: 1, for_htaccess: 0 };
}

thread_local! {
    static LOOKED: Cell<Looked> = const { Cell::new(Looked { at_files: 0, for_htaccess: 0 }) };
}

callback! {
    /// Notes that httpd looks at a file. To be called before all who may do so for it.
    pub fn dirwalk_stat(
        _information: *mut ffi::apr_finfo_t,
        _request: *mut ffi::request_rec,
        _wanted: ffi::apr_int32_t,
    ) -> ffi::apr_status_t, else ffi::AP_DECLINED as ffi::apr_status_t; {
        LOOKED.set(Looked { at_files: LOOKED.get().at_files.wrapping_add(1), ..LOOKED.get() });
        ffi::AP_DECLINED as ffi::apr_status_t
    }
}

callback! {
    /// Notes that httpd looks for a `.htaccess`. To be called before all who may do so for it.
    pub fn open_htaccess(
        _request: *mut ffi::request_rec,
        _directory: *const c_char,
        _name: *const c_char,
        _file: *mut *mut ffi::ap_configfile_t,
        _path: *mut *const c_char,
    ) -> ffi::apr_status_t, else ffi::AP_DECLINED as ffi::apr_status_t; {
        LOOKED.set(Looked { for_htaccess: LOOKED.get().for_htaccess.wrapping_add(1), ..LOOKED.get() });
        ffi::AP_DECLINED as ffi::apr_status_t
    }
}

impl<'r> Request<'r> {
    /// Has httpd look at `file`, and merge what the configuration says of it, as it does for a file that a path leads to;
    /// `path_info` is what follows it in the path. `known` is what is known of this file. Gives what httpd made of it. If
    /// there is no such regular file, nothing has happened, and there is no answer.
    pub fn walk_to(self, file: &CStr, path_info: &'r CStr, known: &Known) -> Option<c_int> {
        let is_first = self.has_not_walked();
        let again = known
            .get()
            .and_then(Option::as_ref)
            .filter(|walk| is_first && std::ptr::eq(walk.beginning, self.rec().per_dir_config));
        let answer = match (again, known.get()) {
            (Some(walk), _) => self.repeat(walk, file).or_else(|| self.walk(file)),
            (None, None) if is_first => self.walk_and_keep(file, known),
            _ => self.walk(file),
        }?;
        // SAFETY: `path_info` lives in the request's pool or longer. httpd takes a `char *` and does not write to it.
        unsafe { (*self.raw()).path_info = path_info.as_ptr().cast_mut() };
        Some(answer)
    }

    /// Whether the walk has yet to come, and depends on no other request's.
    fn has_not_walked(&self) -> bool {
        let rec = self.rec();
        // SAFETY: the server record lives as long as the configuration, which outlives its requests.
        let defaults = unsafe { (*rec.server).lookup_defaults };
        rec.per_dir_config == defaults
            && rec.finfo.filetype == ffi::APR_NOFILE
            && rec.main.is_null()
            && rec.prev.is_null()
            && rec.htaccess.is_null()
    }

    /// Looks at the file, and takes the rest as it is known.
    fn repeat(self, walk: &Walk, file: &CStr) -> Option<c_int> {
        let raw = self.raw();
        let before = self.rec().filename;
        let name = self.pool().text(file.to_bytes());
        self.set_filename(name);
        // SAFETY: a request that has the name of a file, and a place of its own for what is found.
        let status = unsafe {
            ffi::ap_run_dirwalk_stat(&raw mut (*raw).finfo, raw, ffi::APR_FINFO_MIN as i32)
        };
        // SAFETY: the request lives.
        let rec = unsafe { &mut *raw };
        if status != ffi::APR_SUCCESS as c_int || rec.finfo.filetype != ffi::APR_REG {
            (rec.filename, rec.finfo.filetype) = (before, ffi::APR_NOFILE);
            return None;
        }
        rec.canonical_filename = rec.filename;
        rec.per_dir_config = walk.end;
        Some(ffi::OK as c_int)
    }

    /// Walks to the file, and keeps what that comes to if later walks cannot come to anything else.
    fn walk_and_keep(self, file: &CStr, known: &Known) -> Option<c_int> {
        let Some(memory) = Memory::like_that_of(self) else { return self.walk(file) };
        let raw = self.raw();
        let (pool, environment) = (self.rec().pool, self.rec().subprocess_env);
        let beginning = self.rec().per_dir_config;
        LOOKED.set(Looked::default());
        // SAFETY: the pool of the request lives. What a section sets for its request (`MATCH_…`) is seen in a table of its
        // own.
        let set = unsafe { ffi::apr_table_make(pool, 1) };
        // SAFETY: the request lives, and the memory until the request has ended; both fields get back what they had.
        unsafe { ((*raw).pool, (*raw).subprocess_env) = (memory.0, set) };
        let answer = self.walk(file);
        // SAFETY: the request lives.
        unsafe { ((*raw).pool, (*raw).subprocess_env) = (pool, environment) };
        self.forget_walks();
        let sets_nothing = self.settle(set);
        let is_whole = answer == Some(ffi::OK as c_int);
        let is_always_so = LOOKED.get() == Looked::AT_THE_FILE
            && sets_nothing
            && self.filename().is_some_and(|name| name == file);
        let walk = Walk { beginning, end: self.rec().per_dir_config, _memory: memory };
        let unused = match (is_whole, is_always_so) {
            (true, true) => known.set(Some(walk)).err().flatten(),
            (true, false) => {
                let _other = known.set(None);
                Some(walk)
            }
            // There may be a file the next time.
            (false, _) => Some(walk),
        };
        if let Some(walk) = unused {
            self.pool().keep(walk);
        }
        answer
    }

    /// Has httpd walk to the file.
    fn walk(self, file: &CStr) -> Option<c_int> {
        let raw = self.raw();
        let rec = self.rec();
        let before = (rec.filename, rec.canonical_filename, rec.path_info, rec.per_dir_config);
        self.set_filename(self.pool().text(file.to_bytes()));
        // SAFETY: the request lives and has the name of a file.
        let refused = unsafe { ffi::ap_directory_walk(raw) };
        if refused != ffi::OK as c_int {
            return Some(refused);
        }
        if self.rec().finfo.filetype != ffi::APR_REG {
            // SAFETY: the request lives; the fields get back what they had.
            let rec = unsafe { &mut *raw };
            (rec.filename, rec.canonical_filename, rec.path_info, rec.per_dir_config) = before;
            rec.finfo.filetype = ffi::APR_NOFILE;
            return None;
        }
        // SAFETY: the request lives and has the name of a file.
        Some(unsafe { ffi::ap_file_walk(raw) })
    }

    /// Has httpd forget what it has noted of its walks for others of this request: it lies in memory that is not the
    /// request's.
    fn forget_walks(self) {
        for walk in [ffi::AP_NOTE_DIRECTORY_WALK, ffi::AP_NOTE_FILE_WALK] {
            // SAFETY: the request lives and has these notes.
            let note = unsafe { ffi::ap_get_request_note(self.raw(), walk as usize) };
            // SAFETY: the place of a pointer, which httpd takes for nothing yet noted when it is NULL.
            unsafe { *note = std::ptr::null_mut() };
        }
    }

    /// Gives the request the variables of a table. `true` if there are none.
    fn settle(self, set: *mut ffi::apr_table_t) -> bool {
        // SAFETY: the table was made for this request.
        let is_empty = unsafe { (*ffi::apr_table_elts(set)).nelts } == 0;
        if !is_empty {
            let how = ffi::APR_OVERLAP_TABLES_SET;
            // SAFETY: both tables are the request's; the names and values are copied.
            unsafe { ffi::apr_table_overlap(self.rec().subprocess_env, set, how) };
        }
        is_empty
    }
}
