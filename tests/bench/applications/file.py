"""A file, in the way that PEP 3333 has for it. FILE names it."""
import os

NAME = os.environ['FILE']
SIZE = str(os.path.getsize(NAME))


def pieces(file, size):
    with file:
        while piece := file.read(size):
            yield piece


def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/octet-stream'), ('Content-Length', SIZE)])
    return environ.get('wsgi.file_wrapper', pieces)(open(NAME, 'rb'), 65536)
