//! The body of a request, out of httpd's input filters. Made with the exchange; the brigade in it is kept from one read
//! to the next, because a filter may give more than it was asked for.
#![expect(unsafe_code, reason = "reads brigades of httpd's input filters")]

use super::{Request, ffi};
use exchange::ReadError;

/// How far the body of a request has been read.
pub struct Input<'r> {
    request: Request<'r>,
    brigade: *mut ffi::apr_bucket_brigade,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Failed(ReadError),
    /// A filter has sent an error page of its own.
    Answered,
}

impl<'r> Input<'r> {
    /// The body of `request`, of which nothing has been read.
    pub fn new(request: Request<'r>) -> Self {
        Input { request, brigade: std::ptr::null_mut(), state: State::Open }
    }

    /// Whether a filter has answered the request by itself.
    pub fn has_answered(&self) -> bool {
        self.state == State::Answered
    }

    /// See [`exchange::Exchange::read`].
    pub fn read(&mut self, most: usize, sink: &mut dyn FnMut(&[u8])) -> Result<usize, ReadError> {
        loop {
            let count = self.take(most, sink)?;
            match self.state {
                State::Failed(error) => return Err(error),
                State::Answered => return Err(self.request.answered_error()),
                State::Ended => return Ok(count),
                State::Open if count > 0 => return Ok(count),
                State::Open => self.fill(most)?,
            }
            if most == 0 {
                return Ok(0);
            }
        }
    }

    /// Hands over what is in the brigade, up to `most`.
    fn take(&mut self, most: usize, sink: &mut dyn FnMut(&[u8])) -> Result<usize, ReadError> {
        let mut count = 0;
        while self.state == State::Open && count < most && !self.brigade.is_null() {
            // SAFETY: the brigade lives as long as the request.
            let bucket = unsafe { ffi::rustgi_brigade_first(self.brigade) };
            if bucket.is_null() {
                break;
            }
            // SAFETY: the first bucket of a live brigade.
            if unsafe { ffi::rustgi_bucket_is_end(bucket) } != 0 {
                self.state = State::Ended;
                break;
            }
            let taken = self.take_from(bucket, most - count, sink)?;
            count += taken;
        }
        Ok(count)
    }

    fn take_from(
        &mut self,
        bucket: *mut ffi::apr_bucket,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, ReadError> {
        let (mut data, mut length) = (std::ptr::null(), 0);
        // SAFETY: a bucket of a live brigade; metadata has no bytes to read.
        if unsafe { ffi::rustgi_bucket_is_metadata(bucket) } == 0 {
            // SAFETY: as above; `data` stays valid until the bucket is deleted.
            let status = unsafe { ffi::rustgi_bucket_read(bucket, &mut data, &mut length) };
            if status != ffi::APR_SUCCESS as i32 {
                return Err(self.fail(status));
            }
        }
        let taken = length.min(most);
        if taken > 0 {
            // SAFETY: the bucket has `length` bytes at `data`, and is not touched while the sink looks at them.
            sink(unsafe { std::slice::from_raw_parts(data.cast(), taken) });
        }
        if taken < length {
            // SAFETY: the bucket is longer than `taken`; what is left becomes a bucket of its own.
            unsafe { ffi::rustgi_bucket_split(bucket, taken) };
        }
        // SAFETY: the bucket is the first of its brigade, and used up.
        unsafe { ffi::rustgi_bucket_delete(bucket) };
        Ok(taken)
    }

    /// Asks the filters for up to `most` bytes, and waits for them; with 0 only lets the client continue.
    fn fill(&mut self, most: usize) -> Result<(), ReadError> {
        let rec = self.request.rec();
        let (filters, connection, pool) = (rec.input_filters, rec.connection, rec.pool);
        if self.brigade.is_null() {
            // SAFETY: request and connection live.
            self.brigade = unsafe { ffi::apr_brigade_create(pool, (*connection).bucket_alloc) };
        }
        let (block, most) = match most {
            0 => (ffi::APR_NONBLOCK_READ, 1),
            _ => (ffi::APR_BLOCK_READ, most.min(1 << 30)),
        };
        // SAFETY: the filters, the brigade and the request live; nobody else reads this request.
        let status = unsafe {
            ffi::ap_get_brigade(filters, self.brigade, ffi::AP_MODE_READBYTES, block, most as i64)
        };
        if status == ffi::APR_SUCCESS as i32
            || (block == ffi::APR_NONBLOCK_READ && is_again(status))
        {
            return Ok(());
        }
        Err(self.fail(status))
    }

    /// Remembers that the body cannot be had, and why. What follows on the connection cannot be told from it.
    fn fail(&mut self, status: ffi::apr_status_t) -> ReadError {
        self.request.close_connection();
        if status == ffi::AP_FILTER_ERROR {
            self.state = State::Answered;
            return self.request.answered_error();
        }
        let error = error_of(status);
        self.state = State::Failed(error);
        error
    }
}

impl Request<'_> {
    /// What a filter that has answered by itself found wrong with the body: its answer's status says it.
    fn answered_error(self) -> ReadError {
        match self.rec().status {
            400 => ReadError::Malformed,
            408 => ReadError::TimedOut,
            413 => ReadError::TooLarge,
            _ => ReadError::Failed,
        }
    }
}

fn is_again(status: ffi::apr_status_t) -> bool {
    status == libc::EAGAIN
}

/// What the filters mean by a status (`ap_map_http_request_error` in httpd says the same in statuses of HTTP).
fn error_of(status: ffi::apr_status_t) -> ReadError {
    // SAFETY: functions of a number.
    let (timed_out, ended) = unsafe {
        (ffi::rustgi_status_is_timeout(status) != 0, ffi::rustgi_status_is_end(status) != 0)
    };
    match status {
        _ if timed_out => ReadError::TimedOut,
        _ if ended => ReadError::Disconnected,
        libc::ENOSPC => ReadError::TooLarge,
        libc::EINVAL => ReadError::Malformed,
        _ if status == ffi::APR_EGENERAL as i32 => ReadError::Malformed,
        _ => ReadError::Failed,
    }
}
