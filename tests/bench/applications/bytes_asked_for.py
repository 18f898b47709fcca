"""As many bytes as the query says, in pieces of at most 64 KiB (`?65536`), or in one (`?1048576&whole`)."""

PIECE = b'x' * 65536
KEPT = {}


def application(environ, start_response):
    query = environ['QUERY_STRING']
    size = int(query.partition('&')[0])
    start_response('200 OK', [('Content-Type', 'application/octet-stream'), ('Content-Length', str(size))])
    if query.endswith('whole'):
        return [KEPT.setdefault(size, b'x' * size)]
    return pieces(size)


def pieces(size):
    while size > 0:
        yield PIECE if size >= len(PIECE) else PIECE[:size]
        size -= len(PIECE)
