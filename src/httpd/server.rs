//! `server_rec`: the main server or a virtual host, as the configuration made it.
#![expect(unsafe_code, reason = "reads fields of httpd's server_rec")]

use super::{Pool, ffi};
use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A server that lives for `'p`.
#[derive(Clone, Copy)]
pub struct ServerRec<'p> {
    raw: *mut ffi::server_rec,
    lives: PhantomData<fn(&'p ()) -> &'p ()>,
}

impl<'p> ServerRec<'p> {
    /// Enters a server.
    ///
    /// # Safety
    /// `raw` is the server that httpd has just given to a hook, and this returns before the hook does.
    pub unsafe fn with<T>(
        raw: *mut ffi::server_rec,
        body: impl for<'a> FnOnce(ServerRec<'a>) -> T,
    ) -> T {
        body(ServerRec { raw, lives: PhantomData })
    }

    /// Enters the main server, if the configuration has been read. In the parent alone.
    pub fn with_main<T>(body: impl for<'a> FnOnce(ServerRec<'a>) -> T) -> Option<T> {
        // SAFETY: a pointer of httpd's, which only the parent's one thread changes.
        let main = unsafe { ffi::ap_server_conf };
        // SAFETY: it points to the server of the configuration that is there, until the next one is read.
        (!main.is_null()).then(|| unsafe { ServerRec::with(main, body) })
    }

    /// The server of something that itself lives for `'p`.
    ///
    /// # Safety
    /// `raw` is a server whose configuration lives until `'p` ends.
    pub(super) unsafe fn of<O: ?Sized>(raw: *mut ffi::server_rec, _owner: &O) -> ServerRec<'p> {
        ServerRec { raw, lives: PhantomData }
    }

    /// The same server, for as long as a pool lives that does not outlive the configuration.
    pub(super) fn as_long_as<'q>(self, _pool: Pool<'q>) -> ServerRec<'q> {
        ServerRec { raw: self.raw, lives: PhantomData }
    }

    /// The pool that its configuration is in.
    pub fn configuration_pool(self) -> *mut ffi::apr_pool_t {
        // SAFETY: every server knows the process that it is part of.
        unsafe { (*self.rec().process).pconf }
    }

    /// Enters that pool. In the parent alone.
    pub fn with_configuration_pool<T>(self, body: impl for<'a> FnOnce(Pool<'a>) -> T) -> T {
        // SAFETY: it lives as long as the server; only the parent's one thread uses it.
        unsafe { Pool::with(self.configuration_pool(), body) }
    }

    /// The pool that lives as long as the process.
    pub fn process_pool(self) -> *mut ffi::apr_pool_t {
        // SAFETY: every server knows the process that it is part of.
        unsafe { (*self.rec().process).pool }
    }

    /// For calls into httpd.
    pub fn raw(self) -> *mut ffi::server_rec {
        self.raw
    }

    fn rec(&self) -> &ffi::server_rec {
        // SAFETY: it lives as long as 'p, and nobody writes to it once the configuration is read.
        unsafe { &*self.raw }
    }

    /// This server and all that follow it in the configuration; from the main server, all there are.
    pub fn and_following(self) -> impl Iterator<Item = ServerRec<'p>> {
        let mut next = Some(self);
        std::iter::from_fn(move || {
            let this = next?;
            let raw = this.rec().next;
            next = (!raw.is_null()).then_some(ServerRec { raw, lives: PhantomData });
            Some(this)
        })
    }

    /// `ServerName`
    pub fn name(self) -> Option<&'p [u8]> {
        let name = self.rec().server_hostname;
        // SAFETY: a string of the configuration.
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes())
    }

    /// `ServerAdmin`
    pub fn admin(self) -> Option<&'p [u8]> {
        let admin = self.rec().server_admin;
        // SAFETY: a string of the configuration.
        (!admin.is_null()).then(|| unsafe { CStr::from_ptr(admin) }.to_bytes())
    }

    /// The port of `ServerName`; 0 if it has none.
    pub fn port(self) -> u16 {
        self.rec().port
    }

    /// `Timeout`
    pub fn timeout(self) -> Duration {
        Duration::from_micros(u64::try_from(self.rec().timeout).unwrap_or(0))
    }

    /// The level up to which our records are written to its log (`LogLevel`).
    pub fn log_level(self) -> u8 {
        // SAFETY: the server lives.
        let level = unsafe { ffi::rustgi_server_level(self.raw) };
        u8::try_from(level).unwrap_or(0)
    }

    /// Whether it has another error log than the main server.
    pub fn has_own_log(self, main: ServerRec<'_>) -> bool {
        self.rec().error_log != main.rec().error_log && !self.rec().error_log.is_null()
    }

    /// The descriptor of its error log; `None` if that is no file and no pipe (syslog).
    pub fn log_file(self) -> Option<BorrowedFd<'p>> {
        let file = self.rec().error_log;
        let mut descriptor = -1;
        // SAFETY: the log of a server, or NULL; a place for the answer.
        if file.is_null() || unsafe { ffi::apr_os_file_get(&mut descriptor, file) } != 0 {
            return None;
        }
        // SAFETY: the log stays open as long as the configuration.
        (descriptor >= 0).then(|| unsafe { BorrowedFd::borrow_raw(descriptor) })
    }

    /// Whether one of its addresses (`<VirtualHost *:8080>`) has this port.
    pub fn has_port(self, port: u16) -> bool {
        let mut address = self.rec().addrs;
        // SAFETY: a list of the configuration that ends with NULL.
        while let Some(here) = unsafe { address.as_ref() } {
            if here.host_port == port {
                return true;
            }
            address = here.next;
        }
        self.rec().port == port
    }
}
