"""95 headers come in, and 95 go out: some clients and servers take no more than 100."""

HEADERS = [('Content-Type', 'text/plain'), ('Content-Length', '12')] + [(f'X-Answer-{n}', f'value {n}') for n in range(93)]


def application(environ, start_response):
    if sum(name.startswith('HTTP_X_HEADER_') for name in environ) < 95:
        raise ValueError('not all headers have come')
    start_response('200 OK', HEADERS)
    return [b'Hello World!']
