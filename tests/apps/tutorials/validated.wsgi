"""wsgiref's validator around an application that uses all that the interface offers."""
import json
from wsgiref.validate import validator


def read(stream, how):
    if how == 'line':
        return [line for line in iter(lambda: stream.readline(), b'')]
    if how == 'lines':
        return stream.readlines()
    if how == 'each':
        return list(stream)
    pieces = []
    while piece := stream.read(1000):
        pieces.append(piece)
    return pieces


def answer(environ, start_response):
    body = b''.join(read(environ['wsgi.input'], environ.get('HTTP_X_READ')))
    path = environ['PATH_INFO']
    environ['wsgi.errors'].write(f'{environ["REQUEST_METHOD"]} {path}\n')
    environ['wsgi.errors'].writelines(['one ', 'line\n'])
    environ['wsgi.errors'].flush()
    if path == '/nothing':
        start_response('204 No Content', [])
        return []
    if path == '/replaced':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        try:
            raise ValueError('on purpose')
        except ValueError:
            import sys
            start_response('500 Internal Server Error', [('Content-Type', 'text/plain')], sys.exc_info())
        return [b'replaced']
    if path == '/write':
        write = start_response('200 OK', [('Content-Type', 'text/plain')])
        write(b'written, ')
        return [b'returned']
    told = json.dumps({'method': environ['REQUEST_METHOD'], 'body': body.decode('latin-1')}).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(told)))])
    if path == '/pieces':
        return (told[i:i + 10] for i in range(0, len(told), 10))
    return [told]


application = validator(answer)
