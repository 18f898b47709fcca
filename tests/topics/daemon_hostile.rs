//! Workers that do not keep to what was agreed on: an application can write whatever it likes into the memory and the sockets
//! of its connections, and children of the server must neither crash, nor hang, nor give away what is not its own.

use crate::harness::{Builder, Server, request, wait_for};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// What it is asked for in the query it writes by itself into the connection that its request has come on.
const APPLICATION: &str = r#"
import array, ctypes, os, socket, struct, time

HOLD, FLUSH, LAST = 0, 1, 2
ANSWER, DATA, FILE, END, NOTE = 7, 8, 9, 10, 5

# The offset of the slots in a page, each of which begins with the word that the child sleeps on, and their size.
SLOTS, SLOT = 576, 64
# In the memory of a line: the state of its request, how much was written to the worker and to the child, and the bytes that go to
# the child.
STATE, TO_WORKER, TO_CHILD, REQUEST, BYTES, CAPACITY = 0, 4, 16, 4096, 4096 + 128 * 1024, 512 * 1024
TAKEN = 2

def connection():
    for name in os.listdir('/proc/self/fd'):
        try:
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        try:
            found.getpeername()
            if found.family == socket.AF_UNIX and str(found.getsockname()).endswith('.sock'):
                return found
        except OSError:
            pass

def memories(name):
    for line in open('/proc/self/maps'):
        if name in line:
            start, end = (int(number, 16) for number in line.split()[0].split('-'))
            yield (ctypes.c_uint8 * (end - start)).from_address(start)

def place():
    # The memory of the connection with this request: taken, with this serial number and this length.
    for line in memories('rustgi-line'):
        length, serial = struct.unpack_from('<II', bytes(line[REQUEST + 4:REQUEST + 12]))
        state, written = struct.unpack_from('<II', bytes(line[:8]))
        is_it = (state, written) == (serial << 3 | TAKEN, length + 8)
        if is_it and WHAT in bytes(line[REQUEST:REQUEST + length + 8]):
            return line, serial & 0xffff

def frame(kind, flags, payload):
    return struct.pack('<BBHI', kind, flags, TAG, len(payload)) + payload

def text(value):
    return struct.pack('<I', len(value)) + value

def answer(push, body=b'', length=None, headers=()):
    head = struct.pack('<HBBQ', 200, 0, length is not None, length or 0) + text(b'')
    head += struct.pack('<I', len(headers))
    for name, value in headers:
        head += text(name) + text(value)
    return frame(ANSWER, push, head + body)

def send(raw, file=None):
    if file is not None:
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [file]))]
        connection().sendmsg([b'd'], beside, socket.MSG_DONTWAIT)
    line, _ = place()
    written = ctypes.c_uint32.from_buffer(line, TO_CHILD)
    for byte in raw:
        line[BYTES + written.value % CAPACITY] = byte
        written.value += 1
    wake()

def wake():
    # The memory of a connection does not name its slot, so all slots are woken.
    page, = memories('rustgi-page')
    FUTEX, WAKE = 202 if os.uname().machine == 'x86_64' else 98, 1
    for at in range(SLOTS, SLOTS + 256 * SLOT, SLOT):
        word = ctypes.c_uint32.from_buffer(page, at)
        word.value += 1
        ctypes.CDLL(None).syscall(FUTEX, ctypes.c_void_p(ctypes.addressof(word)), WAKE, 1)

def part(offset, length, push=LAST):
    return frame(FILE, push, struct.pack('<QQ', offset, length))

def application(environ, start_response):
    global TAG, WHAT
    what = environ['QUERY_STRING']
    WHAT = b'?' + what.encode()
    _, TAG = place()
    if what == 'named':
        send(answer(FLUSH))
        send(part(0, 6), os.open('@root@/secret', os.O_PATH))
    elif what == 'write-only':
        send(answer(FLUSH))
        send(part(0, 6), os.open('@root@/log', os.O_WRONLY))
    elif what == 'pipe':
        send(answer(FLUSH))
        send(part(0, 6), os.pipe()[0])
    elif what == 'directory':
        send(answer(FLUSH))
        send(part(0, 6), os.open('/', os.O_RDONLY))
    elif what == 'far':
        send(answer(FLUSH))
        send(part(2**64 - 2, 2**64 - 1), os.open('/etc/passwd', os.O_RDONLY))
    elif what == 'many-files':
        file = os.open('/etc/passwd', os.O_RDONLY)
        try:
            for _ in range(2000):
                send(frame(NOTE, 0, struct.pack('<BII', 7, 0, 0)), file)
        except OSError:
            pass
        time.sleep(0.5)
    elif what == 'long':
        send(answer(FLUSH, b'12345HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison', 5))
    elif what == 'long-data':
        send(answer(FLUSH, b'123', 5))
        send(frame(DATA, LAST, b'45HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison'))
    elif what == 'short':
        send(answer(LAST, b'123', 50))
    elif what == 'short-end':
        send(answer(FLUSH, b'123', 50))
        send(frame(END, 0, b'\0\0\0'))
    elif what == 'no-answer':
        send(frame(END, 0, b'\0\0\0'))
    elif what == 'taken-back':
        send(answer(FLUSH, b'123', 50) + frame(END, 0, b'\4\0\0'))
    elif what == 'twice':
        send(answer(LAST, b'first') )
    elif what == 'lines':
        send(answer(LAST, b'', None, [(b'X', b'a\r\nSet-Cookie: b')]))
    elif what == 'nonsense':
        send(b'\xff' * 4096)
    elif what == 'beyond':
        line, _ = place()
        ctypes.c_uint32.from_buffer(line, TO_CHILD).value += CAPACITY + 1
        wake()
        time.sleep(0.2)
    elif what == 'state':
        line, _ = place()
        ctypes.c_uint32.from_buffer(line, STATE).value = 0xffffffff
        time.sleep(0.2)
    elif what == 'hints':
        page, = memories('rustgi-page')
        for at in range(8, SLOTS):
            page[at] = 0xff
        wake()
    elif what == 'forged-line':
        line = b'good\n[Fri Nov 20 10:17:39 2026] [wsgi:error] forged'
        send(frame(NOTE, 0, struct.pack('<BI', 3, 0) + text(b'/f\nforged') + line))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'asked for ' + what.encode()]
"#;

fn builder() -> Builder {
    let builder = Server::builder_of(APPLICATION)
        .daemon("site threads=1")
        .file("secret", "secret")
        .file("log", "secret")
        .files_may_stay_open();
    ["malformed", "WSGI0148", "WSGI1012", "WSGI1027"]
        .into_iter()
        .fold(builder, Builder::expect_in_log)
}

/// A server with files that its children may read and its workers may not.
fn start() -> Server {
    builder().start()
}

fn hide(server: &Server, name: &str, mode: u32) {
    let path = server.root().join(name);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_the_worker_cannot_read_is_not_read_for_it() {
    let server = start();
    hide(&server, "log", 0o666);
    for what in ["named", "write-only"] {
        let mut connection = server.connect();
        connection.send(request("GET", &format!("/?{what}"), &[], b""));
        let all = String::from_utf8_lossy(&connection.rest()).into_owned();
        assert!(!all.contains("secret"), "{what}: {all}");
    }
    assert_eq!(server.get("/?next").text(), "asked for next");
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let server = start();
    for what in ["pipe", "directory", "far"] {
        let mut connection = server.connect();
        connection.send(request("GET", &format!("/?{what}"), &[], b""));
        connection.rest();
        assert_eq!(server.get("/?next").text(), "asked for next", "{what}");
    }
}

#[test]
fn descriptors_without_end_do_not_use_up_those_of_the_server() {
    let server = start();
    server.get("/");
    let open = || fs::read_dir(format!("/proc/{}/fd", server.child())).unwrap().count();
    let before = open();
    let waiting = std::thread::scope(|scope| {
        let asked = scope.spawn(|| server.get("/?many-files"));
        let mut most = 0;
        while !asked.is_finished() {
            most = most.max(open());
        }
        most
    });
    assert!(waiting < before + 50, "{before} descriptors, and {waiting} in between");
    wait_for("the descriptors to be closed", || (open() < before + 10).then_some(()));
    assert_eq!(server.get("/?next").text(), "asked for next");
}

#[test]
fn nothing_follows_the_end_of_an_answer() {
    let server = start();
    for what in ["long", "long-data"] {
        let mut connection = server.connect();
        connection.send(request("GET", &format!("/?{what}"), &[], b""));
        let all = String::from_utf8_lossy(&connection.rest()).into_owned();
        assert!(!all.contains("poison"), "{what}: {all}");
    }
}

#[test]
fn a_client_can_tell_that_an_answer_is_not_whole() {
    let server = start();
    for what in ["short", "short-end", "taken-back", "no-answer", "lines", "nonsense", "beyond"] {
        let mut connection = server.connect();
        connection.send(request("GET", &format!("/?{what}"), &[], b""));
        // The connection is closed: what comes next on it would be taken for the rest, or there is another answer.
        let all = String::from_utf8_lossy(&connection.rest()).into_owned();
        assert!(all.starts_with("HTTP/1.1 500") || !all.contains("asked for"), "{what}: {all}");
        assert!(!all.contains("Set-Cookie"), "{what}: {all}");
        assert_eq!(server.get("/?next").text(), "asked for next", "{what}");
    }
}

#[test]
fn whatever_a_worker_writes_into_shared_memory_the_next_requests_are_served() {
    let server = start();
    for what in ["state", "hints"] {
        let mut connection = server.connect();
        connection.send(request("GET", &format!("/?{what}"), &[], b""));
        connection.rest();
        for _ in 0..3 {
            assert_eq!(server.get("/?next").text(), "asked for next", "{what}");
        }
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_nobodys() {
    let server = start();
    for round in 0..20 {
        server.get("/?twice");
        let next = server.get(&format!("/?next{round}"));
        assert!(next.status == 500 || next.text() == format!("asked for next{round}"), "{next:?}");
    }
}

#[test]
fn a_line_of_the_log_cannot_be_forged() {
    let server = start();
    server.get("/?forged-line");
    let log = server.await_log("good");
    assert!(log.contains("forged") && log.contains("\\n"), "{log}");
}
