//! httpd's walk to the file of a request: it looks at the file, and merges what the configuration says of the directories
//! on the way (`<Directory>`) and of the file (`<Files>`).
//!
//! Where the way is the same for all requests, as it is to the script of an alias, so is what is merged, unless the file
//! system has a say in it: by a `.htaccess` that is looked for, or by links that are looked at (`Options` without
//! `FollowSymLinks`). Whether it has is seen in the first walk by two hooks, through which httpd does both. If it has not, what
//! the second walk comes to is kept, in memory of its own, and later requests only look at the file.
#![expect(unsafe_code, reason = "has httpd walk, and takes over what it made")]

use super::callback::callback;
use super::{Request, ffi};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

/// What walks to one file come to, from the same beginning.
struct Walk {
    beginning: *const ffi::ap_conf_vector_t,
    end: *mut ffi::ap_conf_vector_t,
    /// What httpd noted of both parts of the walk.
    notes: [*mut c_void; 2],
    _memory: Memory,
}

// SAFETY: configuration, which nobody writes to once it has been merged, as with that of a virtual host; and notes that httpd
// copies for the requests that it makes of another one.
unsafe impl Send for Walk {}
// SAFETY: as above.
unsafe impl Sync for Walk {}

/// What is known of the walks to one file.
#[derive(Default)]
pub struct Known {
    /// From this beginning all come to the same. Virtual hosts that say nothing of aliases share this and begin elsewhere.
    alike_from: AtomicPtr<ffi::ap_conf_vector_t>,
    walk: OnceLock<Walk>,
}

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

/// The two parts of a walk, as httpd numbers its notes of them.
const NOTES: [u32; 2] = [ffi::AP_NOTE_DIRECTORY_WALK, ffi::AP_NOTE_FILE_WALK];

impl<'r> Request<'r> {
    /// Has httpd look at `file`, and merge what the configuration says of it, as it does for a file that a path leads to;
    /// `path_info` is what follows it in the path. `known` is what is known of this file. Gives what httpd made of it. If
    /// there is no such regular file, nothing has happened, and there is no answer.
    pub fn walk_to(self, file: &CStr, path_info: &'r CStr, known: &Known) -> Option<c_int> {
        let beginning = self.rec().per_dir_config;
        let alike_from = known.alike_from.load(Ordering::Relaxed);
        let answer = match (self.has_not_walked(), known.walk.get()) {
            (true, Some(walk)) if std::ptr::eq(walk.beginning, beginning) => {
                self.repeat(walk, file).or_else(|| self.walk(file))
            }
            (true, None) if alike_from == beginning => self.walk_and_keep(file, known),
            (true, None) => self.walk_and_look(file, known),
            _ => self.walk(file),
        }?;
        // SAFETY: `path_info` lives in the request's pool or longer. httpd takes a `char *` and does not write to it.
        unsafe { (*self.raw()).path_info = path_info.as_ptr().cast_mut() };
        Some(answer)
    }

    /// Gives this request what httpd would have noted of its walk to `file`, if it was not made as it was known. From these
    /// notes go on the walks of requests that httpd makes of this one, so that it sees where they come to the same, and does not
    /// ask again who may come in: for the page of an error, say. Not before, as httpd would write to notes of the request's own.
    pub fn recall_walk(self, file: &CStr, known: &Known) {
        let Some(walk) = known.walk.get() else { return };
        let has_come_here = self.filename().is_some_and(|name| name == file)
            && self.rec().finfo.filetype == ffi::APR_REG
            && std::ptr::eq(walk.beginning, self.defaults());
        if has_come_here && self.walk_notes().iter().all(|note| note.is_null()) {
            self.set_walk_notes(walk.notes);
        }
    }

    /// Where its virtual host has all walks begin.
    fn defaults(self) -> *const ffi::ap_conf_vector_t {
        // SAFETY: the server record lives as long as the configuration, which outlives its requests.
        unsafe { (*self.rec().server).lookup_defaults }
    }

    /// Whether the walk has yet to come, and depends on no other request's.
    fn has_not_walked(self) -> bool {
        let rec = self.rec();
        std::ptr::eq(rec.per_dir_config, self.defaults())
            && rec.finfo.filetype == ffi::APR_NOFILE
            && rec.main.is_null()
            && rec.prev.is_null()
            && rec.htaccess.is_null()
            && self.walk_notes().iter().all(|note| note.is_null())
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
        Some(OK)
    }

    /// Walks to the file, and sees whether later walks can come to anything else.
    fn walk_and_look(self, file: &CStr, known: &Known) -> Option<c_int> {
        let raw = self.raw();
        let (pool, environment) = (self.rec().pool, self.rec().subprocess_env);
        let beginning = self.rec().per_dir_config;
        // What a section sets for its request (`MATCH_…`) is seen in a table of its own.
        // SAFETY: the pool of the request lives.
        let set = unsafe { ffi::apr_table_make(pool, 1) };
        LOOKED.set(Looked::default());
        // SAFETY: the request lives, and the table as long as it.
        unsafe { (*raw).subprocess_env = set };
        let answer = self.walk(file);
        // SAFETY: the request lives; the field gets back what it had.
        unsafe { (*raw).subprocess_env = environment };
        // SAFETY: the table lives.
        let sets_nothing = unsafe { (*ffi::apr_table_elts(set)).nelts } == 0;
        if !sets_nothing {
            // SAFETY: both tables are the request's, and so are the strings in them.
            unsafe { ffi::apr_table_overlap(environment, set, ffi::APR_OVERLAP_TABLES_SET) };
        }
        let are_alike = answer == Some(OK)
            && LOOKED.get() == Looked::AT_THE_FILE
            && sets_nothing
            && self.filename().is_some_and(|name| name == file);
        if are_alike {
            known.alike_from.store(beginning, Ordering::Relaxed);
        }
        answer
    }

    /// Walks to the file, and keeps what that comes to.
    fn walk_and_keep(self, file: &CStr, known: &Known) -> Option<c_int> {
        let Some(memory) = Memory::like_that_of(self) else { return self.walk(file) };
        let raw = self.raw();
        let (pool, beginning) = (self.rec().pool, self.rec().per_dir_config);
        // SAFETY: the request lives, and the memory as long as what is made in it; the field gets back what it had.
        unsafe { (*raw).pool = memory.0 };
        let answer = self.walk(file);
        // SAFETY: the request lives.
        let rec = unsafe { &mut *raw };
        (rec.pool, rec.finfo.pool) = (pool, pool);
        let notes = self.walk_notes();
        // They lie in memory that is not the request's.
        self.set_walk_notes([std::ptr::null_mut(); 2]);
        match answer {
            Some(OK) => {
                let walk =
                    Walk { beginning, end: self.rec().per_dir_config, notes, _memory: memory };
                // Others that were first at the same time, each once: their requests need it to their end.
                let _others = known.walk.set(walk).map_err(std::mem::forget);
            }
            // The request has what was made there.
            Some(_) => _ = self.pool().keep(memory),
            None => {
                // SAFETY: the request lives. It has nothing of what was made there but this.
                unsafe { ((*raw).htaccess, (*raw).finfo) = (std::ptr::null(), std::mem::zeroed()) };
            }
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
        if refused != OK {
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

    /// What httpd has noted of its walk.
    fn walk_notes(self) -> [*mut c_void; 2] {
        // SAFETY: a place of the request's.
        NOTES.map(|note| unsafe { *self.walk_note(note) })
    }

    fn set_walk_notes(self, notes: [*mut c_void; 2]) {
        for (note, value) in NOTES.into_iter().zip(notes) {
            // SAFETY: a place of the request's; NULL is nothing noted yet.
            unsafe { *self.walk_note(note) = value };
        }
    }

    fn walk_note(self, note: u32) -> *mut *mut c_void {
        // SAFETY: the request lives, and all requests have these notes.
        unsafe { ffi::ap_get_request_note(self.raw(), note as usize) }
    }
}

const OK: c_int = ffi::OK as c_int;
