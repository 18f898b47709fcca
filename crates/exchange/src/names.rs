//! Environ names that have a number. A carrier that knows a name sends its number, and a gateway that has made the
//! key once never makes it again. The numbers are part of the interface: append, and raise [`crate::abi::VERSION`].

/// What a variable tells about, and so what requests have in common that have the same value of it.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The server, and the application at the place that was asked for.
    Server,
    /// The client, and what it says in every request.
    Client,
    /// This one request.
    Request,
}

impl About {
    /// All of them, in the order of their numbers.
    pub const ALL: [About; 3] = [About::Server, About::Client, About::Request];
}

macro_rules! known {
    ($($id:ident = $name:literal about $about:ident),* $(,)?) => {
        /// A name of environ that both sides know.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Known { $(#[doc = $name] $id),* }

        impl Known {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Known] = &[$(Known::$id),*];
            const NAMES: &'static [&'static str] = &[$($name),*];
            const ABOUT: &'static [About] = &[$(About::$about),*];
        }
    };
}

known! {
    RequestMethod = "REQUEST_METHOD" about Request,
    RequestUri = "REQUEST_URI" about Request,
    QueryString = "QUERY_STRING" about Request,
    ScriptName = "SCRIPT_NAME" about Server,
    PathInfo = "PATH_INFO" about Request,
    ScriptFilename = "SCRIPT_FILENAME" about Server,
    DocumentRoot = "DOCUMENT_ROOT" about Server,
    ContextPrefix = "CONTEXT_PREFIX" about Server,
    ContextDocumentRoot = "CONTEXT_DOCUMENT_ROOT" about Server,
    RequestScheme = "REQUEST_SCHEME" about Server,
    ServerProtocol = "SERVER_PROTOCOL" about Client,
    ServerSoftware = "SERVER_SOFTWARE" about Server,
    ServerName = "SERVER_NAME" about Server,
    ServerPort = "SERVER_PORT" about Server,
    ServerAddr = "SERVER_ADDR" about Server,
    ServerAdmin = "SERVER_ADMIN" about Server,
    RemoteAddr = "REMOTE_ADDR" about Client,
    RemotePort = "REMOTE_PORT" about Request,
    RemoteUser = "REMOTE_USER" about Client,
    RedirectRemoteUser = "REDIRECT_REMOTE_USER" about Client,
    AuthType = "AUTH_TYPE" about Client,
    RedirectUrl = "REDIRECT_URL" about Request,
    RedirectQueryString = "REDIRECT_QUERY_STRING" about Request,
    RedirectStatus = "REDIRECT_STATUS" about Request,
    UniqueId = "UNIQUE_ID" about Request,
    ContentType = "CONTENT_TYPE" about Request,
    ContentLength = "CONTENT_LENGTH" about Request,
    HttpAccept = "HTTP_ACCEPT" about Client,
    HttpAcceptCharset = "HTTP_ACCEPT_CHARSET" about Client,
    HttpAcceptEncoding = "HTTP_ACCEPT_ENCODING" about Client,
    HttpAcceptLanguage = "HTTP_ACCEPT_LANGUAGE" about Client,
    HttpAuthorization = "HTTP_AUTHORIZATION" about Client,
    HttpCacheControl = "HTTP_CACHE_CONTROL" about Client,
    HttpConnection = "HTTP_CONNECTION" about Client,
    HttpCookie = "HTTP_COOKIE" about Request,
    HttpDnt = "HTTP_DNT" about Client,
    HttpExpect = "HTTP_EXPECT" about Request,
    HttpForwarded = "HTTP_FORWARDED" about Client,
    HttpHost = "HTTP_HOST" about Client,
    HttpIfMatch = "HTTP_IF_MATCH" about Request,
    HttpIfModifiedSince = "HTTP_IF_MODIFIED_SINCE" about Request,
    HttpIfNoneMatch = "HTTP_IF_NONE_MATCH" about Request,
    HttpIfUnmodifiedSince = "HTTP_IF_UNMODIFIED_SINCE" about Request,
    HttpKeepAlive = "HTTP_KEEP_ALIVE" about Client,
    HttpOrigin = "HTTP_ORIGIN" about Client,
    HttpPragma = "HTTP_PRAGMA" about Client,
    HttpPriority = "HTTP_PRIORITY" about Client,
    HttpRange = "HTTP_RANGE" about Request,
    HttpReferer = "HTTP_REFERER" about Request,
    HttpSecChUa = "HTTP_SEC_CH_UA" about Client,
    HttpSecChUaMobile = "HTTP_SEC_CH_UA_MOBILE" about Client,
    HttpSecChUaPlatform = "HTTP_SEC_CH_UA_PLATFORM" about Client,
    HttpSecFetchDest = "HTTP_SEC_FETCH_DEST" about Client,
    HttpSecFetchMode = "HTTP_SEC_FETCH_MODE" about Client,
    HttpSecFetchSite = "HTTP_SEC_FETCH_SITE" about Client,
    HttpSecFetchUser = "HTTP_SEC_FETCH_USER" about Client,
    HttpTe = "HTTP_TE" about Client,
    HttpTransferEncoding = "HTTP_TRANSFER_ENCODING" about Request,
    HttpUpgrade = "HTTP_UPGRADE" about Client,
    HttpUpgradeInsecureRequests = "HTTP_UPGRADE_INSECURE_REQUESTS" about Client,
    HttpUserAgent = "HTTP_USER_AGENT" about Client,
    HttpVia = "HTTP_VIA" about Client,
    HttpXForwardedFor = "HTTP_X_FORWARDED_FOR" about Client,
    HttpXForwardedHost = "HTTP_X_FORWARDED_HOST" about Client,
    HttpXForwardedPort = "HTTP_X_FORWARDED_PORT" about Client,
    HttpXForwardedProto = "HTTP_X_FORWARDED_PROTO" about Client,
    HttpXRealIp = "HTTP_X_REAL_IP" about Client,
    HttpXRequestId = "HTTP_X_REQUEST_ID" about Request,
    HttpXRequestedWith = "HTTP_X_REQUESTED_WITH" about Client,
    ProcessGroup = "mod_wsgi.process_group" about Server,
    ApplicationGroup = "mod_wsgi.application_group" about Server,
    CallableObject = "mod_wsgi.callable_object" about Server,
    RequestHandler = "mod_wsgi.request_handler" about Server,
    HandlerScript = "mod_wsgi.handler_script" about Server,
    ModWsgiScriptName = "mod_wsgi.script_name" about Server,
    ModWsgiPathInfo = "mod_wsgi.path_info" about Request,
    MountPoint = "mod_wsgi.mount_point" about Server,
    ListenerHost = "mod_wsgi.listener_host" about Server,
    ListenerPort = "mod_wsgi.listener_port" about Server,
    ServerPid = "mod_wsgi.server_pid" about Server,
    RequestId = "mod_wsgi.request_id" about Request,
    ConnectionId = "mod_wsgi.connection_id" about Request,
}

/// A set of known names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSet([u64; 2]);

const _: () = assert!(Known::COUNT <= 2 * 64, "a bit for each known name");

impl KnownSet {
    const fn place(known: Known) -> (usize, u64) {
        (known as usize / 64, 1 << (known as u32 % 64))
    }

    /// Whether a name is in it.
    #[inline(always)]
    pub const fn has(&self, known: Known) -> bool {
        let (word, bit) = Self::place(known);
        self.0[word] & bit != 0
    }

    /// Puts a name in.
    #[inline(always)]
    pub const fn insert(&mut self, known: Known) {
        let (word, bit) = Self::place(known);
        self.0[word] |= bit;
    }

    /// Takes a name out.
    pub const fn remove(&mut self, known: Known) {
        let (word, bit) = Self::place(known);
        self.0[word] &= !bit;
    }

    /// The names that are not in the other.
    pub const fn without(self, other: KnownSet) -> KnownSet {
        KnownSet([self.0[0] & !other.0[0], self.0[1] & !other.0[1]])
    }

    /// The names in it.
    pub fn iter(self) -> impl Iterator<Item = Known> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let word = rest.0.iter().position(|word| *word != 0)?;
            let slot = word as u32 * 64 + rest.0[word].trailing_zeros();
            rest.0[word] &= rest.0[word] - 1;
            Known::from_slot(slot)
        })
    }
}

/// What a byte of a header's name is in a variable's name; 0 for one that no known name has.
static FOLDED: [u8; 256] = {
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
static BY_HEADER: [Option<Known>; PLACES] = {
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
    (length + first as usize * 5 + last as usize * 9) % PLACES
}

/// The headers of the known `HTTP_*` names as most clients spell them: `User-Agent`, or `user-agent`.
static SPELLED: [Spelled; 2] = [spelled(true), spelled(false)];

/// Each name fills the beginning of its place.
type Spelled = [[u8; LONGEST]; Known::COUNT];

const fn spelled(with_capitals: bool) -> Spelled {
    let mut table = [[0; LONGEST]; Known::COUNT];
    let mut slot = 0;
    while slot < Known::COUNT {
        if let [b'H', b'T', b'T', b'P', b'_', header @ ..] = Known::NAMES[slot].as_bytes() {
            let mut at = 0;
            while at < header.len() {
                table[slot][at] = match header[at] {
                    b'_' => b'-',
                    first if with_capitals && (at == 0 || header[at - 1] == b'_') => first,
                    other => other.to_ascii_lowercase(),
                };
                at += 1;
            }
        }
        slot += 1;
    }
    table
}

/// No known header is longer.
const LONGEST: usize = 32;

impl Known {
    /// How many there are.
    pub const COUNT: usize = Known::ALL.len();

    /// The name itself.
    pub const fn name(self) -> &'static str {
        Known::NAMES[self as usize]
    }

    /// What it tells about.
    pub const fn about(self) -> About {
        Known::ABOUT[self as usize]
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
                let [usual, lower] = SPELLED.each_ref().map(|all| &all[known as usize]);
                let (usual, lower) = (&usual[..header.len()], &lower[..header.len()]);
                if usual == header || lower == header || usual.eq_ignore_ascii_case(header) {
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
    fn a_set_holds_what_was_put_in() {
        let mut set = KnownSet::default();
        for &known in Known::ALL {
            assert!(!set.has(known));
            set.insert(known);
            assert!(set.has(known));
        }
        assert!(set.iter().eq(Known::ALL.iter().copied()));
        let all = set;
        set.remove(Known::HttpHost);
        set.remove(Known::ConnectionId);
        assert!(all.without(set).iter().eq([Known::HttpHost, Known::ConnectionId]));
        assert_eq!(set.without(all).iter().next(), None);
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
