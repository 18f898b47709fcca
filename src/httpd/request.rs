//! `request_rec`: one request as httpd has it, entered through a closure for the length of a hook. Strings and tables
//! reached from it lie in pools that httpd destroys after the hook, so they live for `'r`.
#![expect(unsafe_code, reason = "reads and writes fields of httpd's request_rec and conn_rec")]

use super::{Pool, ServerRec, Table, ffi};
use exchange::Level;
use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;

/// A request, for the length `'r` of the hook that it was given to.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    raw: *mut ffi::request_rec,
    lives: PhantomData<fn(&'r ()) -> &'r ()>,
}

/// What the file of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// There is none, or it could not be looked at.
    Missing,
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// Fields that are strings of C or NULL, each as bytes that live as long as the request.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $($(#[$doc])*
        pub fn $name(self) -> Option<&'r [u8]> {
            self.text(self.rec().$name)
        })*
    };
}

/// Fields that are tables; httpd makes them with the request.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $($(#[$doc])*
        pub fn $name(self) -> Table<'r> {
            // SAFETY: the table belongs to the request, as its strings do.
            unsafe { Table::of(self.rec().$name, &self) }
        })*
    };
}

impl<'r> Request<'r> {
    /// Enters a request.
    ///
    /// # Safety
    /// `raw` is the request that httpd has just given to a hook, and this returns before the hook does.
    pub unsafe fn with<T>(
        raw: *mut ffi::request_rec,
        body: impl for<'a> FnOnce(Request<'a>) -> T,
    ) -> T {
        body(Request { raw, lives: PhantomData })
    }

    /// For calls into httpd.
    pub fn raw(self) -> *mut ffi::request_rec {
        self.raw
    }

    /// The record itself. The borrow is a short one: hooks and filters write to it whenever httpd is called.
    pub(super) fn rec(&self) -> &ffi::request_rec {
        // SAFETY: `with` was promised that it lives as long as 'r, which outlives `self`; callers read a field and
        // let go of it before they call httpd.
        unsafe { &*self.raw }
    }

    fn connection(&self) -> &ffi::conn_rec {
        // SAFETY: a request's connection lives longer than the request.
        unsafe { &*self.rec().connection }
    }

    fn text(self, pointer: *const c_char) -> Option<&'r [u8]> {
        self.c_text(pointer).map(CStr::to_bytes)
    }

    fn c_text(self, pointer: *const c_char) -> Option<&'r CStr> {
        // SAFETY: a string of the request or its connection, in a pool that lives longer than 'r.
        (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
    }

    /// The pool that is destroyed with the request.
    pub fn pool(self) -> Pool<'r> {
        // SAFETY: the request's own pool; a request is served by one thread at a time.
        unsafe { Pool::of(self.rec().pool, &self) }
    }

    /// The virtual host.
    pub fn server(self) -> ServerRec<'r> {
        // SAFETY: the server record lives as long as the configuration, which outlives its requests.
        unsafe { ServerRec::of(self.rec().server, &self) }
    }

    /// The request that was redirected to this one inside the server.
    pub fn previous(self) -> Option<Request<'r>> {
        let raw = self.rec().prev;
        // The earlier request's pool is the same, or outlives this one's.
        (!raw.is_null()).then_some(Request { raw, lives: PhantomData })
    }

    /// The request that this one was made for (`ap_sub_req_lookup_uri`).
    pub fn main(self) -> Option<Request<'r>> {
        let raw = self.rec().main;
        // It waits for this one.
        (!raw.is_null()).then_some(Request { raw, lives: PhantomData })
    }

    texts! {
        /// The request line, as it came.
        the_request,
        /// The method, as it came.
        method,
        /// `HTTP/1.1`
        protocol,
        /// The host that the client asked for.
        hostname,
        /// What is to handle it.
        handler,
        /// The decoded path.
        uri,
        /// What follows the name of the file in the path.
        path_info,
        /// The query.
        args,
        /// Who was authenticated.
        user,
        /// How.
        ap_auth_type,
        /// The address of the client, as established by httpd.
        useragent_ip,
        /// `%L` of the error log, if one was needed already.
        log_id,
    }

    tables! {
        /// The headers of the request.
        headers_in,
        /// The headers of the answer.
        headers_out,
        /// The headers of the answer that an error page has too.
        err_headers_out,
        /// What `SetEnv` and its like gave the request.
        subprocess_env,
        /// What modules tell each other about it.
        notes,
    }

    /// The decoded path, as C has it.
    pub fn uri_text(self) -> Option<&'r CStr> {
        self.c_text(self.rec().uri)
    }

    /// The file it maps to.
    pub fn filename(self) -> Option<&'r CStr> {
        self.c_text(self.rec().filename)
    }

    /// Maps it to a file.
    pub fn set_filename(self, name: &'r CStr) {
        // SAFETY: `name` lives in the request's pool or longer. httpd takes a `char *` and does not write to it.
        unsafe { (*self.raw).filename = name.as_ptr().cast_mut() };
    }

    /// Names the handler.
    pub fn set_handler(self, name: &'static CStr) {
        // SAFETY: a string that lives for ever, in a field of the request.
        unsafe { (*self.raw).handler = name.as_ptr() };
    }

    /// Says who was authenticated.
    pub fn set_user(self, name: &'r CStr) {
        // SAFETY: `name` lives in the request's pool or longer. httpd takes a `char *` and does not write to it.
        unsafe { (*self.raw).user = name.as_ptr().cast_mut() };
    }

    /// The name of the client's host, if `HostnameLookups` has it looked up.
    pub fn client_name(self) -> Option<&'r [u8]> {
        // SAFETY: the request lives; the name is in its pool or its connection's.
        self.text(unsafe {
            ffi::ap_get_useragent_host(self.raw, ffi::REMOTE_HOST as c_int, std::ptr::null_mut())
        })
    }

    /// What `ServerSignature` puts under pages.
    pub fn signature(self) -> Option<&'r [u8]> {
        // SAFETY: the request lives; the text is in its pool or a constant.
        self.text(unsafe { ffi::ap_psignature(c"".as_ptr(), self.raw) })
    }

    /// `Satisfy Any`, and something to log in to.
    pub fn may_log_in_instead(self) -> bool {
        // SAFETY: the request lives.
        let satisfy = unsafe { ffi::ap_satisfies(self.raw) };
        // SAFETY: the request lives.
        satisfy == ffi::SATISFY_ANY as c_int && unsafe { ffi::ap_some_auth_required(self.raw) } != 0
    }

    /// Whether only the head of the answer is wanted.
    pub fn header_only(self) -> bool {
        self.rec().header_only != 0
    }

    /// `AcceptPathInfo Off` was said.
    pub fn rejects_path_info(self) -> bool {
        self.rec().used_path_info == ffi::AP_REQ_REJECT_PATH_INFO as c_int
    }

    /// When httpd began with it, in microseconds since the epoch.
    pub fn time(self) -> i64 {
        self.rec().request_time
    }

    /// What its file is, from httpd's own look at it.
    pub fn file_kind(self) -> FileKind {
        match self.rec().finfo.filetype {
            ffi::APR_NOFILE => FileKind::Missing,
            ffi::APR_DIR => FileKind::Directory,
            _ => FileKind::File,
        }
    }

    /// When its file was changed, in microseconds since the epoch, from httpd's own look at it.
    pub fn modified(self) -> i64 {
        self.rec().finfo.mtime
    }

    /// Whether something other than httpd's own reading of the protocol stands between the client and the body.
    pub fn filters_input(self) -> bool {
        self.rec().input_filters != self.rec().proto_input_filters
    }

    /// Whether the first output filter is of the kind that changes content (`DEFLATE`).
    pub fn filters_content(self) -> bool {
        let filter = self.rec().output_filters;
        // SAFETY: the chain belongs to the request; it is never empty, but NULL is checked all the same.
        let record = (!filter.is_null()).then(|| unsafe { &*filter }.frec);
        // SAFETY: every filter has a record, registered for the life of the process.
        record.is_some_and(|record| unsafe { &*record }.ftype < ffi::AP_FTYPE_PROTOCOL)
    }

    /// Whether records of this level are written for this request.
    pub fn logs(self, level: Level) -> bool {
        // SAFETY: the request lives.
        unsafe { ffi::rustgi_request_logs(self.raw, level as c_int) != 0 }
    }

    /// The level up to which records are written for this request.
    pub fn log_level(self) -> Level {
        // SAFETY: the request lives.
        match unsafe { ffi::rustgi_request_level(self.raw) } {
            ..=2 => Level::Critical,
            3 => Level::Error,
            4 => Level::Warning,
            5 => Level::Notice,
            6 => Level::Info,
            7 => Level::Debug,
            _ => Level::Trace,
        }
    }

    /// `Options ExecCGI`.
    pub fn may_execute(self) -> bool {
        // SAFETY: the request lives.
        let options = unsafe { ffi::ap_allow_options(self.raw) };
        options & ffi::OPT_EXECCGI as c_int != 0
    }

    /// `LimitRequestBody`; 0 is no limit.
    pub fn body_limit(self) -> u64 {
        // SAFETY: the request lives.
        u64::try_from(unsafe { ffi::ap_get_limit_req_body(self.raw) }).unwrap_or(0)
    }

    // ---- what environ shows and httpd computes ----

    /// The identifier of this request in the log, made now if there is none.
    pub fn established_log_id(self) -> &'r [u8] {
        if let Some(id) = self.log_id() {
            return id;
        }
        let mut id: *const c_char = std::ptr::null();
        // SAFETY: request and connection live; `id` is set to a string of the request's pool, or left NULL.
        let status =
            unsafe { ffi::ap_run_generate_log_id(self.rec().connection, self.raw, &mut id) };
        if status != ffi::OK as c_int || id.is_null() {
            return b"";
        }
        // SAFETY: the request lives; `id` is in its pool.
        unsafe { (*self.raw).log_id = id };
        self.text(id).unwrap_or_default()
    }

    /// Where the documents of the server are.
    pub fn document_root(self) -> Option<&'r [u8]> {
        // SAFETY: the request lives; the string is one of the configuration.
        self.text(unsafe { ffi::ap_document_root(self.raw) })
    }

    /// The prefix of the path that a directory was mapped to (`Alias`).
    pub fn context_prefix(self) -> Option<&'r [u8]> {
        // SAFETY: the request lives; the string is one of the request or the configuration.
        self.text(unsafe { ffi::ap_context_prefix(self.raw) })
    }

    /// That directory.
    pub fn context_document_root(self) -> Option<&'r [u8]> {
        // SAFETY: the request lives; the string is one of the request or the configuration.
        self.text(unsafe { ffi::ap_context_document_root(self.raw) })
    }

    /// `http` or `https`.
    pub fn scheme(self) -> Option<&'r [u8]> {
        // SAFETY: the request lives; a hook returns a constant or a string of the configuration.
        self.text(unsafe { ffi::ap_run_http_scheme(self.raw) })
    }

    /// The name of the server in URLs that refer to it.
    pub fn server_name(self) -> Option<&'r [u8]> {
        // SAFETY: the request lives; the string is one of the request or the configuration.
        self.text(unsafe { ffi::ap_get_server_name_for_url(self.raw) })
    }

    /// The port of the server in URLs that refer to it.
    pub fn server_port(self) -> u16 {
        // SAFETY: the request lives.
        unsafe { ffi::ap_get_server_port(self.raw) }
    }

    /// `text` with the characters escaped that HTML gives a meaning.
    pub fn escape_html(self, text: &[u8]) -> &'r [u8] {
        let text = self.pool().text(text);
        // SAFETY: the pool lives and owns the result.
        self.text(unsafe { ffi::ap_escape_html2(self.pool().raw(), text.as_ptr(), 0) })
            .unwrap_or_default()
    }

    /// How much of the path is before `path_info`, which ends it.
    pub fn length_before_path_info(self) -> usize {
        let rec = self.rec();
        if rec.uri.is_null() || rec.path_info.is_null() {
            return self.uri().map_or(0, <[u8]>::len);
        }
        // SAFETY: both are strings of C.
        usize::try_from(unsafe { ffi::ap_find_path_info(rec.uri, rec.path_info) }).unwrap_or(0)
    }

    /// `path` with scheme, name and port of the server in front.
    pub fn construct_url(self, path: &'r [u8]) -> &'r [u8] {
        let path = self.pool().text(path);
        // SAFETY: the pool lives and owns the result.
        self.text(unsafe { ffi::ap_construct_url(self.pool().raw(), path.as_ptr(), self.raw) })
            .unwrap_or_default()
    }

    fn core(&self) -> Option<&ffi::core_dir_config> {
        // SAFETY: the per-directory configuration belongs to the request.
        let core = unsafe { ffi::ap_get_core_module_config(self.rec().per_dir_config) };
        // SAFETY: it is core's, whose type this is (checked against the compiler in `ffi.rs`).
        unsafe { core.cast::<ffi::core_dir_config>().as_ref() }
    }

    /// `CGIPassAuth On`
    pub fn passes_all_authorization(self) -> bool {
        self.core().is_some_and(|core| core.cgi_pass_auth() == ffi::AP_CGI_PASS_AUTH_ON)
    }

    /// `QualifyRedirectURL On`
    pub fn qualifies_redirect_url(self) -> bool {
        self.core().is_some_and(|core| core.qualify_redirect_url() == ffi::AP_CORE_CONFIG_ON)
    }

    /// The rule that `CGIVar` gives for a variable.
    pub fn cgi_rule(self, name: &CStr) -> Option<&'r [u8]> {
        let rules = self.core()?.cgi_var_rules;
        if rules.is_null() {
            return None;
        }
        const TO_THE_NUL: isize = -1;
        // SAFETY: core's hash from names to strings of the configuration.
        let rule = unsafe { ffi::apr_hash_get(rules, name.as_ptr().cast(), TO_THE_NUL) };
        self.text(rule.cast())
    }

    // ---- the connection ----

    /// The address that the client reached.
    pub fn local_address(self) -> Option<&'r [u8]> {
        self.text(self.connection().local_ip)
    }

    /// The host and port of the listening socket; no host if the socket was not bound to one by name.
    pub fn listener(self) -> (Option<&'r [u8]>, u16) {
        // SAFETY: an address of the connection, or NULL.
        let address = unsafe { self.connection().local_addr.as_ref() };
        address.map_or((None, 0), |address| (self.text(address.hostname), address.port))
    }

    /// The port of the peer.
    pub fn peer_port(self) -> u16 {
        // SAFETY: an address of the connection, or NULL.
        unsafe { self.connection().client_addr.as_ref() }.map_or(0, |address| address.port)
    }

    /// The identifier of the connection in the log, if one was needed.
    pub fn connection_log_id(self) -> Option<&'r [u8]> {
        self.text(self.connection().log_id)
    }

    /// Where the connection lies in memory: no two that are open at once lie at the same place.
    pub fn connection_place(self) -> usize {
        self.rec().connection.addr()
    }

    /// Whether the connection carries several requests at once (HTTP/2).
    pub fn is_multiplexed(self) -> bool {
        !self.connection().master.is_null()
    }

    /// Whether the client is known to be gone.
    pub fn is_aborted(self) -> bool {
        self.connection().aborted != 0
    }

    /// No further request on this connection.
    pub fn close_connection(self) {
        // SAFETY: the connection lives, and is this thread's while it serves the request.
        unsafe { (*self.rec().connection).keepalive = ffi::AP_CONN_CLOSE };
    }
}
