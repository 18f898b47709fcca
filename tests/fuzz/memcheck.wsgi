"""Does, for `memcheck.py`, what the path says: reads, answers and fails in every way there is."""
import io
import os
import sys

FILE = os.path.join(os.path.dirname(__file__), 'docs/file')
HEADERS = [('Content-Type', 'text/plain'), ('X-A', 'b')]


def check_password(environ, user, password):
    return password == 'secret'


class Closing:
    def __iter__(self):
        return iter([b'one', b'two'])

    def close(self):
        pass


def read(environ):
    return [environ['wsgi.input'].read()]


def pieces(environ):
    return [b''.join(iter(lambda: environ['wsgi.input'].read(100), b''))]


def lines(environ):
    return list(iter(environ['wsgi.input'].readline, b''))


def iterate(environ):
    return list(environ['wsgi.input'])


def generator(environ):
    for number in range(20):
        yield b'piece %d\n' % number


def middle(environ):
    yield b'begin'
    raise ValueError('in the middle')


def file(environ):
    return environ['wsgi.file_wrapper'](open(FILE, 'rb'), 8192)


def memory(environ):
    return environ['wsgi.file_wrapper'](io.BytesIO(b'x' * 30000), 1000)


def errors(environ):
    print('to the log', file=environ['wsgi.errors'])
    environ['wsgi.errors'].writelines(['a\n', 'b'])
    return []


# What is called after an ordinary start_response, and gives the answer.
ANSWERS = {
    '/get': lambda environ: [b'fine'],
    '/read': read,
    '/pieces': pieces,
    '/lines': lines,
    '/iterate': iterate,
    '/generator': generator,
    '/middle': middle,
    '/file': file,
    '/memory': memory,
    '/errors': errors,
    '/closing': lambda environ: Closing(),
    '/text': lambda environ: ['no bytes'],
    '/none': lambda environ: None,
}


def application(environ, start_response):
    path = environ['PATH_INFO']
    if path in ANSWERS:
        start_response('200 OK', HEADERS)
        return ANSWERS[path](environ)
    if path == '/raise':
        raise ValueError('on purpose')
    if path == '/exit':
        raise SystemExit(1)
    if path == '/status':
        start_response('nonsense', HEADERS)
    if path == '/header':
        start_response('200 OK', [('X\n', 'y')])
    if path == '/types':
        start_response(200, {})
    if path == '/never':
        return [b'x']
    if path == '/write':
        write = start_response('200 OK', HEADERS)
        write(b'one')
        write(b'')
        write(b'two')
        return [b'three']
    if path == '/exc_info':
        start_response('200 OK', HEADERS)
        try:
            raise KeyError('x')
        except KeyError:
            start_response('503 Later', HEADERS, sys.exc_info())
        return [b'later']
    start_response('404 Not Found', HEADERS)
    return []
