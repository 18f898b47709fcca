//! Environ names that have a number. A carrier that knows a name sends its number, and a gateway that has made the
//! key once never makes it again. The numbers are part of the interface: append, and raise [`crate::abi::VERSION`].

macro_rules! known {
    ($($id:ident = $name:literal),* $(,)?) => {
        /// A name of environ that both sides know.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Known { $(#[doc = $name] $id),* }

        impl Known {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Known] = &[$(Known::$id),*];
            const NAMES: &'static [&'static str] = &[$($name),*];
        }
    };
}

known! {
    RequestMethod = "REQUEST_METHOD",
    RequestUri = "REQUEST_URI",
    QueryString = "QUERY_STRING",
    ScriptName = "SCRIPT_NAME",
    PathInfo = "PATH_INFO",
    ScriptFilename = "SCRIPT_FILENAME",
    DocumentRoot = "DOCUMENT_ROOT",
    ContextPrefix = "CONTEXT_PREFIX",
    ContextDocumentRoot = "CONTEXT_DOCUMENT_ROOT",
    RequestScheme = "REQUEST_SCHEME",
    ServerProtocol = "SERVER_PROTOCOL",
    ServerSoftware = "SERVER_SOFTWARE",
    ServerName = "SERVER_NAME",
    ServerPort = "SERVER_PORT",
    ServerAddr = "SERVER_ADDR",
    ServerAdmin = "SERVER_ADMIN",
    RemoteAddr = "REMOTE_ADDR",
    RemotePort = "REMOTE_PORT",
    RemoteUser = "REMOTE_USER",
    RedirectRemoteUser = "REDIRECT_REMOTE_USER",
    AuthType = "AUTH_TYPE",
    RedirectUrl = "REDIRECT_URL",
    RedirectQueryString = "REDIRECT_QUERY_STRING",
    RedirectStatus = "REDIRECT_STATUS",
    UniqueId = "UNIQUE_ID",
    ContentType = "CONTENT_TYPE",
    ContentLength = "CONTENT_LENGTH",
    HttpAccept = "HTTP_ACCEPT",
    HttpAcceptCharset = "HTTP_ACCEPT_CHARSET",
    HttpAcceptEncoding = "HTTP_ACCEPT_ENCODING",
    HttpAcceptLanguage = "HTTP_ACCEPT_LANGUAGE",
    HttpAuthorization = "HTTP_AUTHORIZATION",
    HttpCacheControl = "HTTP_CACHE_CONTROL",
    HttpConnection = "HTTP_CONNECTION",
    HttpCookie = "HTTP_COOKIE",
    HttpDnt = "HTTP_DNT",
    HttpExpect = "HTTP_EXPECT",
    HttpForwarded = "HTTP_FORWARDED",
    HttpHost = "HTTP_HOST",
    HttpIfMatch = "HTTP_IF_MATCH",
    HttpIfModifiedSince = "HTTP_IF_MODIFIED_SINCE",
    HttpIfNoneMatch = "HTTP_IF_NONE_MATCH",
    HttpIfUnmodifiedSince = "HTTP_IF_UNMODIFIED_SINCE",
    HttpKeepAlive = "HTTP_KEEP_ALIVE",
    HttpOrigin = "HTTP_ORIGIN",
    HttpPragma = "HTTP_PRAGMA",
    HttpPriority = "HTTP_PRIORITY",
    HttpRange = "HTTP_RANGE",
    HttpReferer = "HTTP_REFERER",
    HttpSecChUa = "HTTP_SEC_CH_UA",
    HttpSecChUaMobile = "HTTP_SEC_CH_UA_MOBILE",
    HttpSecChUaPlatform = "HTTP_SEC_CH_UA_PLATFORM",
    HttpSecFetchDest = "HTTP_SEC_FETCH_DEST",
    HttpSecFetchMode = "HTTP_SEC_FETCH_MODE",
    HttpSecFetchSite = "HTTP_SEC_FETCH_SITE",
    HttpSecFetchUser = "HTTP_SEC_FETCH_USER",
    HttpTe = "HTTP_TE",
    HttpTransferEncoding = "HTTP_TRANSFER_ENCODING",
    HttpUpgrade = "HTTP_UPGRADE",
    HttpUpgradeInsecureRequests = "HTTP_UPGRADE_INSECURE_REQUESTS",
    HttpUserAgent = "HTTP_USER_AGENT",
    HttpVia = "HTTP_VIA",
    HttpXForwardedFor = "HTTP_X_FORWARDED_FOR",
    HttpXForwardedHost = "HTTP_X_FORWARDED_HOST",
    HttpXForwardedPort = "HTTP_X_FORWARDED_PORT",
    HttpXForwardedProto = "HTTP_X_FORWARDED_PROTO",
    HttpXRealIp = "HTTP_X_REAL_IP",
    HttpXRequestId = "HTTP_X_REQUEST_ID",
    HttpXRequestedWith = "HTTP_X_REQUESTED_WITH",
    ProcessGroup = "mod_wsgi.process_group",
    ApplicationGroup = "mod_wsgi.application_group",
    CallableObject = "mod_wsgi.callable_object",
    RequestHandler = "mod_wsgi.request_handler",
    HandlerScript = "mod_wsgi.handler_script",
    ModWsgiScriptName = "mod_wsgi.script_name",
    ModWsgiPathInfo = "mod_wsgi.path_info",
    MountPoint = "mod_wsgi.mount_point",
    ListenerHost = "mod_wsgi.listener_host",
    ListenerPort = "mod_wsgi.listener_port",
    ServerPid = "mod_wsgi.server_pid",
    RequestId = "mod_wsgi.request_id",
    ConnectionId = "mod_wsgi.connection_id",
}

/// What a byte of a header's name is in a variable's name; 0 for one that no known name has.
const FOLDED: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'-' => b'_',
            b'_' => 0,
            other => other.to_ascii_uppercase(),
        };
        byte += 1;
    }
    table
};

/// The known `HTTP_*` names, each at its [`place`] or, if that was taken, at the next free one.
const BY_HEADER: [Option<Known>; PLACES] = {
    let mut table = [None; PLACES];
    let mut at = 0;
    while at < Known::COUNT {
        if let [b'H', b'T', b'T', b'P', b'_', header @ ..] = Known::NAMES[at].as_bytes() {
            let mut free = place(header.len(), header[0], header[header.len() - 1]);
            while table[free].is_some() {
                free = (free + 1) % PLACES;
            }
            table[free] = Some(Known::ALL[at]);
        }
        at += 1;
    }
    table
};

/// More than four times as many as there are names, so that few share a place.
const PLACES: usize = 256;

/// Where a name is looked for first, by its length and its ends.
const fn place(length: usize, first: u8, last: u8) -> usize {
    (length * 5 + first as usize * 11 + last as usize * 3) % PLACES
}

/// The headers of the known `HTTP_*` names as most clients spell them: `User-Agent`. Each fills its beginning.
static SPELLED: [[u8; LONGEST]; Known::COUNT] = {
    let mut table = [[0; LONGEST]; Known::COUNT];
    let mut slot = 0;
    while slot < Known::COUNT {
        if let [b'H', b'T', b'T', b'P', b'_', header @ ..] = Known::NAMES[slot].as_bytes() {
            let mut at = 0;
            while at < header.len() {
                table[slot][at] = match header[at] {
                    b'_' => b'-',
                    first if at == 0 || header[at - 1] == b'_' => first,
                    other => other.to_ascii_lowercase(),
                };
                at += 1;
            }
        }
        slot += 1;
    }
    table
};

/// No known header is longer.
const LONGEST: usize = 32;

impl Known {
    /// How many there are.
    pub const COUNT: usize = Known::ALL.len();

    /// The name itself.
    pub const fn name(self) -> &'static str {
        Known::NAMES[self as usize]
    }

    /// The name with this number.
    pub fn from_slot(slot: u32) -> Option<Known> {
        Known::ALL.get(slot as usize).copied()
    }

    /// The `HTTP_*` name of a request header, if it has a number: `Accept-Language` is [`Known::HttpAcceptLanguage`].
    pub fn of_header(header: &[u8]) -> Option<Known> {
        let fold = |byte: &u8| FOLDED[usize::from(*byte)];
        let mut at = place(header.len(), fold(header.first()?), fold(header.last()?));
        while let Some(known) = BY_HEADER[at] {
            if known.name().len() - "HTTP_".len() == header.len() {
                let spelled = &SPELLED[known as usize][..header.len()];
                if spelled == header || spelled.eq_ignore_ascii_case(header) {
                    return Some(known);
                }
            }
            at = (at + 1) % PLACES;
        }
        None
    }

    /// Whether the value is a path, decoded as the file system's names are, not as latin-1.
    pub const fn is_path(self) -> bool {
        matches!(self, Known::DocumentRoot | Known::ScriptFilename)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_leads_to_its_name_and_back() {
        for (slot, &known) in Known::ALL.iter().enumerate() {
            assert_eq!(Known::from_slot(slot as u32), Some(known));
        }
        assert_eq!(Known::from_slot(Known::COUNT as u32), None);
        assert_eq!(Known::from_slot(u32::MAX), None);
    }

    #[test]
    fn headers_are_found_in_any_case_and_by_hyphens_only() {
        assert_eq!(Known::of_header(b"accept-LANGUAGE"), Some(Known::HttpAcceptLanguage));
        assert_eq!(Known::of_header(b"X-Real-IP"), Some(Known::HttpXRealIp));
        assert_eq!(Known::of_header(b"Accept_Language"), None);
        assert_eq!(Known::of_header(b"X-Unheard-Of"), None);
        assert_eq!(Known::of_header(b"H\0st"), None);
        assert_eq!(Known::of_header(b""), None);
        assert_eq!(Known::of_header(&[b'x'; 4096]), None);
    }

    #[test]
    fn every_known_header_is_found_by_its_own_name() {
        for &known in Known::ALL {
            if let Some(rest) = known.name().strip_prefix("HTTP_") {
                let header = rest.replace('_', "-").to_ascii_lowercase();
                assert_eq!(Known::of_header(header.as_bytes()), Some(known));
            }
        }
    }
}
