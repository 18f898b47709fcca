//! What one request leaves behind for the next one on the same thread: nothing, though its objects are used again.

use crate::harness::Server;

/// One request thread, so that every request comes after the one before.
fn in_a_row(application: &str) -> Server {
    Server::builder_of(application).children(1, 1).start()
}

fn answers(server: &Server) -> [String; 3] {
    std::array::from_fn(|_| server.get("/").text().to_string())
}

#[test]
fn an_attribute_set_on_wsgi_errors_is_gone_in_the_next_request() {
    let server = in_a_row(
        "
def application(environ, start_response):
    errors = environ['wsgi.errors']
    found = getattr(errors, 'user', 'nobody')
    errors.user = 'somebody'
    start_response('200 OK', [])
    return [found.encode()]
",
    );
    assert_eq!(answers(&server), ["nobody"; 3]);
}

#[test]
fn a_stream_that_was_changed_or_detached_is_a_new_one_in_the_next_request() {
    let server = in_a_row(
        "
import io
kept = []
def application(environ, start_response):
    errors = environ['wsgi.errors']
    found = (errors.encoding, errors.write_through, errors.writable())
    if len(kept) % 2:
        kept.append(errors.detach())
    else:
        errors.reconfigure(encoding='ascii', write_through=False, line_buffering=False)
        errors.write('the secret of the request before')
        kept.append(None)
    start_response('200 OK', [])
    return [repr(found).encode()]
",
    );
    assert_eq!(answers(&server), ["('utf-8', True, True)"; 3]);
}

#[test]
fn what_is_kept_by_weak_reference_is_gone_in_the_next_request() {
    let server = in_a_row(
        "
import weakref
seen = weakref.WeakKeyDictionary()
def application(environ, start_response):
    found = [seen.get(environ['wsgi.errors']), seen.get(start_response)]
    seen[environ['wsgi.errors']] = seen[start_response] = 'seen'
    start_response('200 OK', [])
    return [repr(found).encode()]
",
    );
    assert_eq!(answers(&server), ["[None, None]"; 3]);
}

#[test]
fn write_before_start_response_sends_no_head_of_the_request_before() {
    let server = in_a_row(
        "
def application(environ, start_response):
    if environ['PATH_INFO'] == '/first':
        start_response('404 Not here', [('X-First', 'yes')])
        return [b'first']
    try:
        start_response.__self__.write(b'early')
    except RuntimeError:
        start_response('200 OK', [])
        return [b'refused']
",
    );
    assert_eq!(server.get("/first").status, 404);
    let second = server.get("/second");
    assert_eq!((second.status, second.text()), (200, "refused"));
    assert_eq!(second.header("X-First"), None);
}

#[test]
fn file_wrappers_around_file_wrappers_end_however_many_there_are() {
    let server = in_a_row(
        "
import io
def application(environ, start_response):
    wrap = environ['wsgi.file_wrapper']
    class Own(wrap):
        pass
    ended = []
    class File(io.BytesIO):
        def __del__(self):
            ended.append(True)
    for kinds in ([wrap], [Own], [wrap, Own, lambda inner: wrap([inner])]):
        wrapped = File()
        for turn in range(300000):
            wrapped = kinds[turn % len(kinds)](wrapped)
        del wrapped
    start_response('200 OK', [])
    return [str(len(ended)).encode()]
",
    );
    assert_eq!(server.get("/").text(), "3");
    assert_eq!(server.get("/").text(), "3");
}
