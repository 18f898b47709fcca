"""Looks at everything it is given, reads the body in one of six ways and answers in one of six."""
import io
import ipaddress
import zlib

OBJECTS = ('wsgi.', 'mod_wsgi.', 'apache.')


def looked_at(environ):
    for key, value in environ.items():
        assert type(key) is str and key.isascii() and key.isprintable(), ascii(key)
        if key.startswith('HTTP_'):
            assert not any(c in ' .-:' or c.islower() for c in key), ascii(key)
        if type(value) is not str:
            assert key.startswith(OBJECTS), (ascii(key), type(value))
        elif key not in ('SCRIPT_FILENAME', 'DOCUMENT_ROOT'):
            value.encode('latin-1')
            # A path may hold an encoded newline, a header never.
            assert '\0' not in value, (ascii(key), ascii(value))
            assert '\n' not in value or not key.startswith('HTTP_'), (ascii(key), ascii(value))
    # The script name that a trusted proxy gives is its own affair.
    for key in ('mod_wsgi.script_name', 'PATH_INFO'):
        assert environ[key] == '' or environ[key].startswith('/'), ascii(environ[key])
        assert '//' not in environ[key], ascii(environ[key])
    ipaddress.ip_address(environ['REMOTE_ADDR'])
    if 'mod_wsgi.trusting' in environ:
        assert environ['wsgi.url_scheme'] in ('http', 'https')
    else:
        assert environ['wsgi.url_scheme'] == 'http'
        assert environ['SCRIPT_NAME'] == environ['mod_wsgi.script_name']
    for key in ('HTTPS', 'HTTP_PROXY', 'HTTP_CONTENT_LENGTH', 'HTTP_AUTHORIZATION', 'PATH'):
        assert key not in environ, key


def everything(body):
    return body.read()


def pieces(body):
    return b''.join(iter(lambda: body.read(7), b''))


def lines(body):
    return b''.join(iter(body.readline, b''))


def mixed(body):
    return body.readline(5) + body.read(3) + b''.join(body) + body.read()


def listed(body):
    return b''.join(body.readlines(20)) + b''.join(body.readlines())


def nothing(body):
    return b''


READERS = [everything, pieces, lines, mixed, listed, nothing]


def answered(way, body, environ, start_response):
    length = [('Content-Length', str(len(body)))]
    if way == 0:
        start_response('200 OK', length)
        return [body]
    if way == 1:
        start_response('200 OK', [])
        return (bytes([byte]) for byte in body)
    if way == 2:
        write = start_response('200 OK', [])
        write(body)
        return []
    if way == 3:
        start_response('200 OK', length)
        return environ['wsgi.file_wrapper'](io.BytesIO(body), 3)
    if way == 4:
        start_response('200 OK', [('X-Much', 'y' * 5000), ('X-Much', 'z')])
        return [b'', body, b'', b'x' * 70000]
    start_response('404 Not Found', [])
    return iter([body])


def application(environ, start_response):
    looked_at(environ)
    way = len(environ['PATH_INFO'])
    try:
        body = READERS[way % 6](environ['wsgi.input'])
    except OSError:
        # The client has not sent what it promised.
        start_response('400 Bad Request', [])
        return [b'cut']
    told = b'%d %08x\n' % (len(body), zlib.crc32(body))
    return answered(len(environ['QUERY_STRING']) % 6, told, environ, start_response)
