//! Whoever sent a request, at the other end of its connection: whether they take anything, and for how long they are
//! waited for. And the way from one request to another inside the server.
#![expect(
    unsafe_code,
    reason = "asks for the socket of a connection, and has httpd make another request"
)]

use super::{Request, ffi};
use crate::daemon::Waited;
use exchange::WriteError;
use std::ffi::{CStr, c_int};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

impl<'r> Request<'r> {
    fn socket(self) -> Option<*mut ffi::apr_socket_t> {
        // SAFETY: the connection lives.
        let socket = unsafe { ffi::ap_get_conn_socket(self.rec().connection) };
        (!socket.is_null()).then_some(socket)
    }

    /// The descriptor of that socket; `None` of a connection that carries several requests.
    fn client_descriptor(self) -> Option<BorrowedFd<'r>> {
        let socket = self.socket().filter(|_| !self.is_multiplexed())?;
        let mut descriptor = -1;
        // SAFETY: the socket of a live connection; a place for the answer.
        let found = unsafe { ffi::apr_os_sock_get(&mut descriptor, socket) } == 0;
        // SAFETY: open as long as the connection, which outlives the request.
        (found && descriptor >= 0).then(|| unsafe { BorrowedFd::borrow_raw(descriptor) })
    }

    /// Waits until the client's socket has room, or `other` has something to be read.
    pub fn wait_for_client(self, other: Option<BorrowedFd<'_>>, time: Duration) -> Waited {
        let client = self.client_descriptor();
        let watch = |file: Option<BorrowedFd<'_>>, events| {
            // A number that is none is passed over.
            let number = file.map_or(-1, |file| file.as_raw_fd());
            libc::pollfd { fd: number, events, revents: 0 }
        };
        let mut watched = [watch(client, libc::POLLOUT), watch(other, libc::POLLIN)];
        // Nobody knows of a shared connection when it has room, so nothing is gained by waiting.
        let time = if client.is_some() { time } else { Duration::ZERO };
        let time = c_int::try_from(time.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: two descriptors, which are open while they are borrowed.
        while unsafe { libc::poll(watched.as_mut_ptr(), 2, time) } < 0
            && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
        {}
        Waited { takes: client.map(|_| watched[0].revents != 0), readable: watched[1].revents != 0 }
    }

    /// How many bytes the client's socket takes without waiting (`SO_MEMINFO`, socket(7)): half of what the kernel still
    /// allows, as it counts what it needs itself, too. 0 if that cannot be known.
    pub fn room_of_client(self) -> usize {
        /// Where they stand (`SK_MEMINFO_SNDBUF` and `SK_MEMINFO_WMEM_QUEUED` of linux/sock_diag.h).
        const ALLOWED: usize = 3;
        const QUEUED: usize = 5;
        let Some(client) = self.client_descriptor() else { return 0 };
        let mut counts = [0_u32; 9];
        let mut length = size_of_val(&counts) as libc::socklen_t;
        let level = libc::SOL_SOCKET;
        let into = counts.as_mut_ptr().cast();
        // SAFETY: an open socket; there is as much room as is said.
        let asked = unsafe {
            libc::getsockopt(client.as_raw_fd(), level, libc::SO_MEMINFO, into, &mut length)
        };
        if asked != 0 {
            return 0;
        }
        counts[ALLOWED].saturating_sub(counts[QUEUED]) as usize / 2
    }

    /// How many bytes the client's system has acknowledged on the connection (`TCP_INFO`, tcp(7)); `None` if that cannot be known.
    pub fn acknowledged_by_client(self) -> Option<u64> {
        /// Offset and length in bytes of `tcpi_bytes_acked` (linux/tcp.h, since Linux 4.1).
        const AT: usize = 120;
        const LENGTH: usize = size_of::<u64>();
        let client = self.client_descriptor()?;
        let mut info = [0_u8; AT + LENGTH];
        let mut length = size_of_val(&info) as libc::socklen_t;
        let into = info.as_mut_ptr().cast();
        // SAFETY: an open socket; there is as much room as is said.
        let asked = unsafe {
            let (level, option) = (libc::IPPROTO_TCP, libc::TCP_INFO);
            libc::getsockopt(client.as_raw_fd(), level, option, into, &mut length)
        };
        let is_there = asked == 0 && length as usize == info.len();
        is_there.then(|| info[AT..].try_into().ok().map(u64::from_ne_bytes)).flatten()
    }

    /// Whether something is held in front of the client's socket.
    pub fn holds_output(self) -> bool {
        // Of a connection that carries several requests, the last filter is not core's.
        // SAFETY: the connection lives.
        !self.is_multiplexed() && unsafe { (*self.rec().connection).data_in_output_filters != 0 }
    }

    /// Moves it on as far as there is room, as the MPM does when a request has been answered.
    ///
    /// # Errors
    /// The client is gone.
    pub fn push_output(self) -> Result<(), WriteError> {
        // SAFETY: the connection lives, and with it the chain of its filters, which ends with NULL and is not empty.
        let last = unsafe {
            let mut filter = (*self.rec().connection).output_filters;
            while !(*filter).next.is_null() {
                filter = (*filter).next;
            }
            filter
        };
        // SAFETY: every filter has a record; that of the last one of a connection is core's, an output filter.
        let function = unsafe { (*(*last).frec).filter_func.out_func };
        // SAFETY: core's filter takes no brigade for "what is left".
        let status = function.map_or(0, |function| unsafe { function(last, std::ptr::null_mut()) });
        if status != 0 || self.is_aborted() { Err(WriteError::Gone) } else { Ok(()) }
    }

    /// For how long the client is waited for from now on. How long it was before; `None` if it cannot be said.
    pub fn set_client_timeout(self, time: Duration) -> Option<Duration> {
        let socket = self.socket().filter(|_| !self.is_multiplexed())?;
        let mut before = 0;
        // SAFETY: the socket of a live connection; a place for the answer.
        if unsafe { ffi::apr_socket_timeout_get(socket, &mut before) } != 0 {
            return None;
        }
        let time = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        // SAFETY: as above.
        unsafe { ffi::apr_socket_timeout_set(socket, time) };
        Some(Duration::from_micros(u64::try_from(before).unwrap_or(0)))
    }

    /// Has another place of the server answer this request, as if it had been asked for with GET.
    pub fn redirect_inside(self, place: &'r CStr) {
        // What there was of a body has been read.
        self.headers_in().unset(c"Content-Length");
        // SAFETY: the request lives; a constant, in a field that httpd only reads.
        unsafe {
            (*self.raw()).method = c"GET".as_ptr();
            (*self.raw()).method_number = ffi::M_GET as i32;
        }
        // SAFETY: the request lives; httpd copies the place, and returns when the other request has been answered.
        unsafe { ffi::ap_internal_redirect(place.as_ptr(), self.raw()) };
    }
}
