//! The body of an answer, into httpd's output filters. Made with the exchange; one brigade serves all its writes.
//!
//! Bytes go as a transient bucket: it borrows them, and a filter that wants to keep them copies them first
//! (`apr_bucket_setaside`), as every filter of httpd must. So nothing of them is used after a pass has returned.
#![expect(unsafe_code, reason = "builds brigades and passes them to httpd's output filters")]

use super::{Request, ffi, process};
use exchange::{Part, WriteError};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The way out for the body of one answer.
pub struct Output<'r> {
    request: Request<'r>,
    brigade: *mut ffi::apr_bucket_brigade,
    passed: bool,
    /// The file in the brigade, and where the part of it ends that is to be sent.
    file: Option<(*mut ffi::apr_file_t, u64)>,
}

/// What follows the bytes of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// More bytes, soon.
    Open,
    /// Nothing for a while: the client gets what there is.
    Flush,
    /// Nothing; the answer is complete.
    Stream,
    /// Nothing; the answer is complete and the client gets it at once.
    FlushedStream,
}

impl<'r> Output<'r> {
    /// The way out for an answer to `request`, of which nothing has been passed.
    pub fn new(request: Request<'r>) -> Self {
        Output { request, brigade: std::ptr::null_mut(), passed: false, file: None }
    }

    /// Whether anything was given to the filters, which may have sent the head of the answer then.
    pub fn has_passed(&self) -> bool {
        self.passed
    }

    fn allocator(&self) -> *mut ffi::apr_bucket_alloc_t {
        // SAFETY: a request's connection lives longer than the request.
        unsafe { (*self.request.rec().connection).bucket_alloc }
    }

    fn brigade(&mut self) -> *mut ffi::apr_bucket_brigade {
        if self.brigade.is_null() {
            // SAFETY: the pool and the allocator live as long as the request.
            self.brigade =
                unsafe { ffi::apr_brigade_create(self.request.rec().pool, self.allocator()) };
        }
        self.brigade
    }

    fn append(&mut self, bucket: *mut ffi::apr_bucket) {
        let brigade = self.brigade();
        // SAFETY: a bucket that is in no brigade yet, of this brigade's allocator.
        unsafe { ffi::rustgi_brigade_append(brigade, bucket) };
    }

    /// Passes bytes and what follows them to the filters.
    ///
    /// # Errors
    /// The client is gone, or httpd has answered otherwise.
    pub fn pass(&mut self, bytes: &[u8], end: End) -> Result<(), WriteError> {
        let allocator = self.allocator();
        if !bytes.is_empty() {
            // SAFETY: the bucket is used up or copied when `send` returns, and `bytes` is borrowed until then.
            let bucket = unsafe {
                ffi::apr_bucket_transient_create(bytes.as_ptr().cast(), bytes.len(), allocator)
            };
            self.append(bucket);
        }
        self.send(end)
    }

    /// Passes a part of a file, which is as long as it says; or keeps it, if more bytes are to come, so that filters
    /// see it together with what follows (byte ranges need that). `None` if the file cannot be opened again.
    ///
    /// # Errors
    /// As [`pass`](Output::pass), and [`WriteError::Refused`] if the file was cut before it was sent.
    pub fn pass_file(
        &mut self,
        file: BorrowedFd<'_>,
        part: Part,
        sendfile: bool,
        end: End,
    ) -> Option<Result<(), WriteError>> {
        // A description of our own: its position is not the caller's, and it lives until the last byte is sent.
        let pool = self.request.pool();
        let path = pool.text(format!("/proc/self/fd/{}", file.as_raw_fd()).as_bytes());
        let flags =
            ffi::APR_FOPEN_READ | if sendfile { ffi::APR_FOPEN_SENDFILE_ENABLED } else { 0 };
        let mut opened = std::ptr::null_mut();
        // SAFETY: the pool lives, closes the file at its end, and `opened` is a place for it.
        let status =
            unsafe { ffi::apr_file_open(&mut opened, path.as_ptr(), flags as i32, 0, pool.raw()) };
        if status != ffi::APR_SUCCESS as i32 {
            return None;
        }
        let brigade = self.brigade();
        // SAFETY: brigade, file and pool live; the file is long enough, or its end is seen when it is read.
        let bucket = unsafe {
            ffi::apr_brigade_insert_file(
                brigade,
                opened,
                i64::try_from(part.offset).unwrap_or(i64::MAX),
                i64::try_from(part.length).unwrap_or(i64::MAX),
                pool.raw(),
            )
        };
        const READ_AT_ONCE: usize = 64 * 1024;
        // SAFETY: a FILE bucket. A mapping would be a SIGBUS once the file is cut, so the file is read instead; the
        // buckets that a long file is split into share this setting.
        unsafe { ffi::apr_bucket_file_enable_mmap(bucket, 0) };
        // SAFETY: as above.
        unsafe { ffi::apr_bucket_file_set_buf_size(bucket, READ_AT_ONCE) };
        self.file = Some((opened, part.offset.saturating_add(part.length)));
        Some(if end == End::Open { Ok(()) } else { self.send(end) })
    }

    /// Passes the mark of an answer that cannot be finished: the chunk filter then withholds the last chunk, and
    /// mod_http2 resets the stream (both take it from mod_proxy's broken backends).
    pub fn pass_broken(&mut self) {
        // SAFETY: pool and allocator live; no text is given.
        let bucket = unsafe {
            ffi::ap_bucket_error_create(
                ffi::HTTP_BAD_GATEWAY as i32,
                std::ptr::null(),
                self.request.rec().pool,
                self.allocator(),
            )
        };
        self.append(bucket);
        self.request.close_connection();
        // The client may be gone: that is as good.
        let _ = self.send(End::FlushedStream);
    }

    fn send(&mut self, end: End) -> Result<(), WriteError> {
        let allocator = self.allocator();
        if matches!(end, End::Flush | End::FlushedStream) {
            // SAFETY: the allocator lives as long as the connection.
            self.append(unsafe { ffi::apr_bucket_flush_create(allocator) });
        }
        if matches!(end, End::Stream | End::FlushedStream) {
            // SAFETY: as above.
            self.append(unsafe { ffi::apr_bucket_eos_create(allocator) });
        }
        let brigade = self.brigade();
        self.passed = true;
        // SAFETY: filters, brigade and request live.
        let status = unsafe { ffi::ap_pass_brigade(self.request.rec().output_filters, brigade) };
        // SAFETY: the brigade lives. A filter that failed may have left buckets in it, which borrow from the caller.
        unsafe { ffi::apr_brigade_cleanup(brigade.cast()) };
        match status {
            0 if self.request.is_aborted() => Err(WriteError::Gone),
            0 => self.check_file(),
            ffi::AP_FILTER_ERROR => Err(WriteError::Answered),
            _ => Err(WriteError::Gone),
        }
    }
    /// Whether the file that was passed still is as long as was said. If not, the client has got less, or will.
    fn check_file(&mut self) -> Result<(), WriteError> {
        let Some((file, end)) = self.file.take() else { return Ok(()) };
        let mut descriptor = -1;
        // SAFETY: a file of the request's pool, and a place for the answer.
        unsafe { ffi::apr_os_file_get(&mut descriptor, file) };
        // SAFETY: a filter that sets a file aside moves it and leaves -1 behind; otherwise it is open here.
        let is_whole = descriptor < 0
            || process::file_size(unsafe { BorrowedFd::borrow_raw(descriptor) })
                .is_none_or(|size| size >= end);
        if is_whole { Ok(()) } else { Err(WriteError::Refused) }
    }
}
