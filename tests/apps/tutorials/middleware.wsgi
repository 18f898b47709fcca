"""Middleware in layers: one routes by the first segment of the path, one forwards to another server, one rewrites."""
import http.client
from wsgiref.headers import Headers
from wsgiref.util import is_hop_by_hop, request_uri, shift_path_info


class Router:
    def __init__(self, routes):
        self.routes = routes

    def __call__(self, environ, start_response):
        name = shift_path_info(environ)
        if name not in self.routes:
            start_response('404 Not Found', [('Content-Type', 'text/plain')])
            return [b'no such route\n']
        return self.routes[name](environ, start_response)


class Forward:
    """Sends the request on to another server and streams its answer back."""

    def __init__(self, host, port):
        self.address = host, port

    def __call__(self, environ, start_response):
        headers = {
            key[5:].replace('_', '-').title(): value
            for key, value in environ.items() if key.startswith('HTTP_')
        }
        headers['Connection'] = 'close'
        length = int(environ.get('CONTENT_LENGTH') or 0)
        body = environ['wsgi.input'].read(length) if length else None
        if environ.get('CONTENT_TYPE'):
            headers['Content-Type'] = environ['CONTENT_TYPE']
        path = request_uri(environ).split('/', 3)[3].removeprefix(environ['SCRIPT_NAME'][1:])
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        connection.request(environ['REQUEST_METHOD'], path, body, headers)
        answer = connection.getresponse()
        kept = [(name, value) for name, value in answer.getheaders() if not is_hop_by_hop(name)]
        start_response(f'{answer.status} {answer.reason}', kept)
        return iter(lambda: answer.read(65536), b'')


class Rewritten:
    """What an iterable yields, in capitals, whatever way it is made; closes what it wraps."""

    def __init__(self, result, begun):
        self.result = result
        self.pieces = iter(result)
        self.begun = begun

    def __iter__(self):
        return self

    def __next__(self):
        piece = next(self.pieces)
        return piece.upper() if self.begun.rewrites else piece

    def close(self):
        if hasattr(self.result, 'close'):
            self.result.close()


class Begun:
    """start_response in between: decides by the type whether the body is rewritten, and wraps write()."""
    rewrites = False

    def __init__(self, start_response):
        self.start_response = start_response

    def __call__(self, status, response_headers, exc_info=None):
        headers = Headers(response_headers)
        self.rewrites = headers.get('Content-Type', '').startswith('text/plain')
        if self.rewrites:
            del headers['Content-Length']
            headers['X-Rewritten'] = 'yes'
        arguments = [exc_info] if exc_info else []
        write = self.start_response(status, headers.items(), *arguments)
        return (lambda data: write(data.upper())) if self.rewrites else write


class Capitals:
    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        begun = Begun(start_response)
        return Rewritten(self.application(environ, begun), begun)


closed = []


class Pieces:
    def __iter__(self):
        yield b'piece\n'

    def close(self):
        closed.append('closed')


def plain(environ, start_response):
    write = start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '14')])
    write(b'written\n')
    return Pieces()


def binary(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/x-bytes'), ('Content-Length', '5')])
    return [b'lower']


def where(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/x-path')])
    return [f'{environ["SCRIPT_NAME"]}|{environ["PATH_INFO"]}'.encode('latin-1')]


def times_closed(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/x-count')])
    return [str(len(closed)).encode()]


application = Router({
    'plain': Capitals(plain),
    'binary': Capitals(binary),
    'where': where,
    'deeper': Router({'where': where}),
    'closed': times_closed,
    'forward': Forward('127.0.0.1', @port2@),
    'capitals': Capitals(Forward('127.0.0.1', @port2@)),
})
