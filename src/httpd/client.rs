//! Whoever sent a request, at the other end of its connection: whether they take anything, and for how long they are
//! waited for. And the way from one request to another inside the server.
#![expect(
    unsafe_code,
    reason = "asks for the socket of a connection, and has httpd make another request"
)]

use super::{Request, ffi};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

impl<'r> Request<'r> {
    fn socket(self) -> Option<*mut ffi::apr_socket_t> {
        // SAFETY: the connection lives.
        let socket = unsafe { ffi::ap_get_conn_socket(self.rec().connection) };
        (!socket.is_null()).then_some(socket)
    }

    /// Whether the client's socket has room. Of a connection that carries several requests nobody knows: it says so.
    pub fn client_takes(self) -> bool {
        let mut descriptor = -1;
        // SAFETY: the socket of a live connection; a place for the answer.
        let found = self
            .socket()
            .is_some_and(|socket| unsafe { ffi::apr_os_sock_get(&mut descriptor, socket) } == 0);
        if !found || descriptor < 0 || self.is_multiplexed() {
            return true;
        }
        // SAFETY: open as long as the connection.
        let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let mut ready = [PollFd::new(socket, PollFlags::POLLOUT)];
        poll(&mut ready, PollTimeout::ZERO).map_or(true, |count| count > 0)
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
